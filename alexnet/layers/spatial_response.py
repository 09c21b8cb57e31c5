"""Response normalization within each map, over neighbouring pixels."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from alexnet import checks
from alexnet.layers.energy import ResponseNormalization
from alexnet.layers.norms import check_constant


@keras.saving.register_keras_serializable(package="alexnet")
class SpatialResponseNormalization(ResponseNormalization):
    """Divide each activation by the energy of nearby pixels of its own map.

        y[h, w, c] = x[h, w, c] / (bias + alpha * s[h, w, c]) ** beta

    `s[h, w, c]` sums `x[..., c]**2` over a window of `pool_size` around (h, w).
    At the border the window is cut off: what lies outside of the image adds
    nothing, and `alpha` stays the same. In a window of even size the pixel is the
    first of the second half.

    `alpha` scales the sum, as in `LocalResponseNormalization`. The layer files of
    cuda-convnet (`rnorm`) and of Caffe (LRN with `WITHIN_CHANNEL`) scale the mean
    over the whole window, at the border too: divide theirs by the window's area,
    or use `from_caffe`. The defaults are those after conv2 of the network of
    2012: .001 / 25.

    Computed in float32 (float64 stays float64) under any dtype policy; the
    gradient is written out.

    Args:
        pool_size: Height and width of the window in pixels; one int or two, >= 1.
        bias: Constant added to the scaled sum; float > 0.
        alpha: Factor of the sum; float >= 0.
        beta: Exponent; float >= 0.
        data_format: "channels_last" or "channels_first". None takes
            `keras.config.image_data_format()`.
        name, trainable, dtype: As of every Keras layer.

    Input shape: `(batch, height, width, channels)`, or with the channels first,
        floating point.
    Output shape: same as the input.

    Raises:
        TypeError, ValueError: An argument is of the wrong kind or outside its
            range, or the input has no height and width.

    Reference: cuda-convnet2, cudaconv3/src/conv_util.cu, kCNorm_fewfilter, and
        layer.py, line 1331; Caffe, src/caffe/layers/lrn_layer.cpp, lines 38-58.
    """

    def __init__(
        self,
        pool_size: Any = 5,
        bias: float = 1.0,
        alpha: float = 4e-5,
        beta: float = 0.75,
        data_format: str | None = None,
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
    ) -> None:
        window = check_constant("pool_size", pool_size)
        super().__init__(
            bias, alpha, beta, data_format, name=name, trainable=trainable, dtype=dtype
        )
        self.pool_size = checks.tuples(pool_size)
        # Pixels of the window before and after the centre.
        self._reach = [(side // 2, side - 1 - side // 2) for side in window]

    @classmethod
    def from_caffe(
        cls,
        local_size: int = 5,
        alpha: float = 1.0,
        beta: float = 0.75,
        **kwargs: Any,
    ) -> SpatialResponseNormalization:
        """Build the layer from the constants of Caffe's or cuda-convnet's.

        They scale the mean of the window: `alpha` is divided by its area. The
        constant added is always 1.

        Args:
            local_size: Side of the window, in pixels.
            alpha: Factor of the window's mean of squares.
            beta: Exponent.
            **kwargs: `data_format`, `name`, `trainable`, `dtype`.
        """
        local_size = checks.check_int("local_size", local_size, 1)
        alpha = check_constant("alpha", alpha)
        return cls(local_size, 1.0, alpha / local_size**2, beta, **kwargs)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if len(input_shape) != 4:
            raise ValueError(
                "SpatialResponseNormalization needs a batch, a height, a width and "
                f"channels; received an input of shape {tuple(input_shape)}."
            )
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pool_size": self.pool_size}

    def _window_sum(self, x: Any) -> Any:
        return self._sum(x, self._reach)

    def _spread_sum(self, x: Any) -> Any:
        return self._sum(x, [(after, before) for before, after in self._reach])

    def _sum(self, x: Any, reach: list[tuple[int, int]]) -> Any:
        """Sum, along height and then width, over the pixels within `reach`."""
        first = 1 if self.data_format == "channels_last" else 2
        for axis, (before, after) in enumerate(reach, start=first):
            if x.shape[axis] is not None:
                most = x.shape[axis] - 1
                before, after = min(before, most), min(after, most)
            padding = [(0, 0)] * 4
            padding[axis] = (before, after)
            padded = ops.pad(x, padding)
            x = 0
            for offset in range(before + after + 1):
                window = [slice(None)] * 4
                window[axis] = slice(offset, offset - before - after or None)
                x = x + padded[tuple(window)]
        return x
