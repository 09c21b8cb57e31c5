"""Pooling that rounds sizes up and pads at the bottom and right only."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from alexnet import checks
from alexnet.layers.windows import Window

_OPERATIONS = {"max": ops.max_pool, "average": ops.average_pool}


@keras.saving.register_keras_serializable(package="alexnet")
class CeilPooling2D(keras.layers.Layer):
    """Max or average pooling whose sizes round up, as cuda-convnet's and Caffe's.

        output length = ceil((length - pool_size) / stride) + 1

    Windows start at the top left and may stick out at the bottom and right, never
    at the top or left, as those of Keras' "same" do. What sticks out counts
    neither for the maximum nor for the average: it is the mean of the pixels
    inside. Where the division leaves nothing, this is "valid" pooling, at no cost.

    A last window that would start outside of the image, as one may if `strides` are
    larger than `pool_size`, is dropped: the originals refuse such strides, or compute
    nothing sensible.

    Args:
        pool: "max" or "average".
        pool_size: Height and width of the window in pixels; one int or two, >= 1.
        strides: One int or two, >= 1.
        name, trainable, dtype: As of every Keras layer.

    Input shape: `(batch, height, width, channels)`; height and width may be unknown.
    Output shape: `(batch, new_height, new_width, channels)`.

    Raises:
        TypeError, ValueError: An argument is of the wrong kind or outside its
            range, or the input has no height and width, or leaves no window.

    Reference: cuda-convnet2, layer.py, PoolLayerParser, and
        cudaconv3/include/conv_util.cuh, kLocalPool; Caffe,
        src/caffe/layers/pooling_layer.cpp, Reshape and Forward_cpu.
    """

    def __init__(
        self,
        pool: str = "max",
        pool_size: Any = 3,
        strides: Any = 2,
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
    ) -> None:
        checks.check_choice("pool", pool, tuple(_OPERATIONS))
        window = Window(
            checks.check_pair("pool_size", pool_size),
            checks.check_pair("strides", strides),
            "ceil",
        )
        super().__init__(name=name, trainable=trainable, dtype=dtype)
        self.pool = pool
        self.pool_size = checks.tuples(pool_size)
        self.strides = checks.tuples(strides)
        self._window = window

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.compute_output_shape(input_shape)
        self.built = True

    def call(self, inputs: Any) -> Any:
        inputs = ops.cast(inputs, self.compute_dtype)
        size = tuple(inputs.shape)[1:3]
        if None not in size:
            if not any(self._window.pixels_after(size)):
                return self._pool(inputs, "valid")
            if self._is_same(size):
                return self._pool(inputs, "same")
        if self.pool == "max":
            return self._pool(self._pad(inputs, float("-inf")), "valid")
        # Windows of zeros and pixels, divided by the share of pixels.
        wide = keras.backend.result_type(inputs.dtype, "float32")
        pixels = ops.ones_like(inputs[:1, :, :, :1], dtype=wide)
        share = self._pool(self._pad(pixels, 0), "valid")
        means = self._pool(self._pad(inputs, 0), "valid")
        return means * ops.cast(1 / share, means.dtype)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        if len(input_shape) != 4:
            raise ValueError(
                "CeilPooling2D needs an input of shape (batch, height, width, "
                f"channels); received an input of shape {tuple(input_shape)}."
            )
        batch, height, width, channels = input_shape
        # An unknown size stays unknown; the smallest stands in for it here.
        smallest = self._window.smallest_input()
        new_height, new_width = self._window.output_size(
            (height or smallest[0], width or smallest[1])
        )
        if min(new_height, new_width) < 1:
            raise ValueError(
                f"CeilPooling2D needs an input of at least {smallest[0]} by "
                f"{smallest[1]} pixels, or it has no output; received shape "
                f"{tuple(input_shape)}. Enlarge the images, or use smaller pools."
            )
        return batch, height and new_height, width and new_width, channels

    def get_config(self) -> dict[str, Any]:
        names = ("pool", "pool_size", "strides")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _pool(self, x: Any, padding: str) -> Any:
        size, strides, _ = self._window
        pool = _OPERATIONS[self.pool]
        return pool(x, size, strides, padding, data_format="channels_last")

    def _is_same(self, size: checks.Pair) -> bool:
        """Return whether Keras' "same" pools these windows, without a padded copy.

        It pads the odd pixel at the end. With the PyTorch backend it repeats that
        pixel and counts it, which changes averages.
        """
        if self.pool == "average" and keras.backend.backend() == "torch":
            return False
        same = self._window._replace(padding="same")
        return (
            same.output_size(size) == self._window.output_size(size)
            and max(self._window.pixels_after(size)) <= 1
        )

    def _pad(self, x: Any, value: float) -> Any:
        """Add what windows stick out by; more than needed if a length is unknown."""
        size = tuple(x.shape)[1:3]
        # Adds no window: the last would start outside, or a stride too early.
        most = (min(sides) - 1 for sides in zip(*self._window[:2], strict=True))
        after = tuple(most) if None in size else self._window.pixels_after(size)
        padding = ((0, 0), (0, after[0]), (0, after[1]), (0, 0))
        return ops.pad(x, padding, constant_values=value)
