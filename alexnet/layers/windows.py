"""Sizes: what sliding windows leave of an image, what they need, which a block has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from alexnet import checks
from alexnet.checks import Padding, Pair

STAGES = ("conv", "activation", "norm", "pool")
POOLS = ("max", "average")
POOL_PADDINGS = ("valid", "same", "ceil")


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

    def pixels_behind(self, height_width: Pair) -> Pair:
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
        return 0 if isinstance(self.padding, str) else sum(self.padding[axis])

    def _output_length(self, axis: int, length: int) -> int:
        stride = self.strides[axis]
        if self.padding == "same":
            return -(-length // stride)
        if self.padding == "ceil":
            # As many as start inside, and at most one that does not end there.
            behind = min(self.size[axis], stride) - 1
            return (length + behind - self.size[axis]) // stride + 1
        return (length + self._pixels_added(axis) - self.size[axis]) // stride + 1

    def _smallest_length(self, axis: int, length: int) -> int:
        stride = self.strides[axis]
        if self.padding == "same":
            return (length - 1) * stride + 1
        if self.padding == "ceil":
            behind = min(self.size[axis], stride) - 1
            return (length - 1) * stride + self.size[axis] - behind
        needed = (length - 1) * stride + self.size[axis] - self._pixels_added(axis)
        return max(1, needed)


def smallest_input(windows: Sequence[Window]) -> Pair:
    """Return the least (height, width) of which `windows`, in turn, leave one pixel."""
    size = (1, 1)
    for window in reversed(windows):
        size = window.smallest_input(size)
    return size


def first_empty(windows: Sequence[tuple[str, Window]], size: Pair) -> str | None:
    """Return the name of the first window that leaves nothing of an image, if any."""
    for name, window in windows:
        size = window.output_size(size)
        if min(size) < 1:
            return name
    return None


def check_windows(
    order: Any,
    *,
    kernel_size: Any,
    strides: Any,
    padding: Any,
    pool: str | None,
    pool_size: Any,
    pool_strides: Any,
    pool_padding: str,
) -> dict[str, Window]:
    """Return the sliding windows of a block's stages, in order, by stage.

    Args:
        order: As of `ConvBlock`, like the others.

    Raises:
        TypeError, ValueError: An argument is of the wrong kind or outside its range.
    """
    windows = {
        "conv": Window(
            checks.check_pair("kernel_size", kernel_size),
            checks.check_pair("strides", strides),
            checks.check_padding("padding", padding),
        ),
        "pool": Window(
            checks.check_pair("pool_size", pool_size),
            checks.check_pair("pool_strides", pool_strides),
            checks.check_choice("pool_padding", pool_padding, POOL_PADDINGS),
        ),
    }
    if pool is None:
        del windows["pool"]
    else:
        checks.check_choice("pool", pool, POOLS)
    return {stage: windows[stage] for stage in check_order(order) if stage in windows}


def check_order(order: Any) -> tuple[str, ...]:
    """Return the stages of a block in their order."""
    if not isinstance(order, (list, tuple)) or sorted(map(str, order)) != sorted(
        STAGES
    ):
        raise ValueError(
            f"order must hold each of {', '.join(map(repr, STAGES))} once; received "
            f"order={order!r}. A stage that the block lacks (norm=None) is named "
            "all the same."
        )
    return tuple(order)
