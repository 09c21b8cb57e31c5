"""Local response normalization across channels."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from alexnet import checks
from alexnet.layers.energy import ResponseNormalization
from alexnet.layers.norms import check_constant


@keras.saving.register_keras_serializable(package="alexnet")
class LocalResponseNormalization(ResponseNormalization):
    """Divide each activation by the energy of nearby channels.

        y[..., c] = x[..., c] / (bias + alpha * s[..., c]) ** beta

    `s[..., c]` sums `x**2` over channels `c - depth_radius` to
    `c + depth_radius`, cut off at the ends. `alpha` scales the sum;
    Caffe and PyTorch scale the mean (see `from_caffe`). The defaults are the
    paper's constants: n 5, k 2, alpha 1e-4, beta 0.75.

    Computed in float32 (float64 stays float64) under any dtype policy: squares
    above 256 overflow float16. The gradient is written out, which takes a
    quarter of the time of differentiating the sum term by term.

    Args:
        depth_radius: Half-width of the window, in channels; int >= 0.
        bias: Constant added to the scaled sum; float > 0.
        alpha: Factor of the sum; float >= 0.
        beta: Exponent; float >= 0.
        groups: Number of equal, consecutive parts of the channels; a window
            stops at the edge of its part. Int >= 1 that divides the channels.
        data_format: "channels_last" or "channels_first" (the channels are then
            axis 1). None takes `keras.config.image_data_format()`.
        name, trainable, dtype: As of every Keras layer.

    Input shape: `(batch, ..., channels)` or `(batch, channels, ...)`, of any
        rank from 2 on, floating point.
    Output shape: same as the input.

    Raises:
        TypeError, ValueError: An argument is of the wrong kind or outside its
            range, or `groups` does not divide the channels.

    Reference: Krizhevsky et al., NeurIPS 2012, section 3.3; equal to
        `tf.nn.local_response_normalization` when `groups` is 1.
    """

    def __init__(
        self,
        depth_radius: int = 2,
        bias: float = 2.0,
        alpha: float = 1e-4,
        beta: float = 0.75,
        groups: int = 1,
        data_format: str | None = None,
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            bias, alpha, beta, data_format, name=name, trainable=trainable, dtype=dtype
        )
        self.depth_radius = check_constant("depth_radius", depth_radius)
        self.groups = check_constant("groups", groups)

    @classmethod
    def from_caffe(
        cls,
        local_size: int = 5,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 1.0,
        **kwargs: Any,
    ) -> LocalResponseNormalization:
        """Build the layer from the constants of Caffe's, PyTorch's or cuda-convnet's.

        They scale the mean of the window: `alpha` is divided by `local_size`.

        Args:
            local_size: Width of the whole window, in channels; odd int >= 1.
            alpha: Factor of the window's mean of squares.
            beta: Exponent.
            k: Constant added; the `bias` here.
            **kwargs: `groups`, `data_format`, `name`, `trainable`, `dtype`.

        Raises:
            ValueError: `local_size` is even: its window has no centre.
        """
        local_size = checks.check_int("local_size", local_size, 1)
        if local_size % 2 == 0:
            raise ValueError(
                "local_size must be odd, so that the window has a centre; "
                f"received local_size={local_size}. Use {local_size - 1} or "
                f"{local_size + 1}."
            )
        alpha = check_constant("alpha", alpha)
        return cls(local_size // 2, k, alpha / local_size, beta, **kwargs)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if len(input_shape) < 2:
            raise ValueError(
                "LocalResponseNormalization needs a batch and a channel "
                f"dimension; received an input of shape {tuple(input_shape)}."
            )
        channels = input_shape[self._channel_axis(len(input_shape))]
        if channels is None or channels % self.groups:
            raise ValueError(
                "groups must divide the number of channels, which must be known; "
                f"received groups={self.groups} for an input of shape "
                f"{tuple(input_shape)} ({self.data_format})."
            )
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "depth_radius": self.depth_radius,
            "groups": self.groups,
        }

    def _channel_axis(self, rank: int) -> int:
        return rank - 1 if self.data_format == "channels_last" else 1

    def _window_sum(self, x: Any) -> Any:
        """Sum over the window of each channel; same shape as `x`."""
        axis = self._channel_axis(len(x.shape))
        channels = x.shape[axis] // self.groups
        radius = min(self.depth_radius, channels - 1)
        shape = ops.shape(x)
        grouped = (*shape[:axis], self.groups, channels, *shape[axis + 1 :])
        x = ops.reshape(x, grouped)
        padding = [(0, 0)] * len(grouped)
        padding[axis + 1] = (radius, radius)
        padded = ops.pad(x, padding)

        def shifted(offset: int) -> Any:
            window = [slice(None)] * len(grouped)
            window[axis + 1] = slice(offset, offset + channels)
            return padded[tuple(window)]

        total = shifted(0)
        for offset in range(1, 2 * radius + 1):
            total = total + shifted(offset)
        return ops.reshape(total, shape)
