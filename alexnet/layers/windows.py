"""Sizes that sliding windows leave of an image, and that they need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from alexnet.checks import Padding, Pair


class Window(NamedTuple):
    """A sliding window over height and width: of a convolution or a pool.

    `padding` is "same" (TensorFlow's: the output is the input divided by the
    stride, rounded up), "valid", "ceil" (`CeilPooling2D`'s) or ((top, bottom),
    (left, right)) pixels.
    """

    size: Pair
    strides: Pair
    padding: Padding

    def output_size(self, height_width: Pair) -> Pair:
        """Return the (height, width) left of an image; 0 or less if none is."""
        height, width = (
            self._output_length(axis, length)
            for axis, length in enumerate(height_width)
        )
        return height, width

    def smallest_input(self, height_width: Pair = (1, 1)) -> Pair:
        """Return the smallest (height, width) that leaves at least this much."""
        height, width = (
            self._smallest_length(axis, length)
            for axis, length in enumerate(height_width)
        )
        return height, width

    def pixels_after(self, height_width: Pair) -> Pair:
        """Return by how much the windows stick out at (the bottom, the right)."""
        bottom, right = (
            max(0, (places - 1) * stride + size - length)
            for places, stride, size, length in zip(
                self.output_size(height_width),
                self.strides,
                self.size,
                height_width,
                strict=True,
            )
        )
        return bottom, right

    def _pixels_added(self, axis: int) -> int:
        if self.padding == "ceil":
            # As many windows as start inside, and at most one that ends outside.
            return min(self.size[axis], self.strides[axis]) - 1
        return 0 if isinstance(self.padding, str) else sum(self.padding[axis])

    def _output_length(self, axis: int, length: int) -> int:
        stride = self.strides[axis]
        if self.padding == "same":
            return -(-length // stride)
        return (length + self._pixels_added(axis) - self.size[axis]) // stride + 1

    def _smallest_length(self, axis: int, length: int) -> int:
        least = (length - 1) * self.strides[axis]
        if self.padding == "same":
            return least + 1
        return max(1, least + self.size[axis] - self._pixels_added(axis))


def smallest_input(windows: Sequence[Window]) -> Pair:
    """Return the smallest (height, width) that leaves one pixel after all `windows`."""
    size = (1, 1)
    for window in reversed(windows):
        size = window.smallest_input(size)
    return size
