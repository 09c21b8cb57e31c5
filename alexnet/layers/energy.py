"""What response normalizations share: their constants, formula and gradient."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from alexnet import checks
from alexnet.layers.norms import check_constant


class ResponseNormalization(keras.layers.Layer):
    """Compute `x / (bias + alpha * s) ** beta`; a subclass sums `s` in its windows.

    `_window_sum` sums, for each position, over the positions in its window;
    `_spread_sum`, for the gradient, over those whose windows it is in.
    """

    def __init__(
        self,
        bias: float,
        alpha: float,
        beta: float,
        data_format: str | None,
        **kwargs: Any,
    ) -> None:
        if data_format is None:
            data_format = keras.config.image_data_format()
        checks.check_choice(
            "data_format", data_format, ("channels_last", "channels_first")
        )
        super().__init__(**kwargs)
        self.bias = check_constant("bias", bias)
        self.alpha = check_constant("alpha", alpha)
        self.beta = check_constant("beta", beta)
        self.data_format = data_format

    def call(self, inputs: Any) -> Any:
        @ops.custom_gradient
        def normalize(x: Any) -> Any:
            base = self.bias + self.alpha * self._window_sum(ops.square(x))
            scale = _negative_power(base, self.beta)

            def gradient(*args: Any, upstream: Any = None) -> Any:
                # Each backend hands over the upstream gradient in its own way.
                upstream = args[0] if upstream is None else upstream
                spread = self._spread_sum(upstream * x * scale / base)
                return upstream * scale - 2 * self.alpha * self.beta * x * spread

            return x * scale, gradient

        float_type = keras.backend.standardize_dtype(inputs.dtype)
        if float_type != "float64":
            float_type = "float32"
        return ops.cast(normalize(ops.cast(inputs, float_type)), self.compute_dtype)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        names = ("bias", "alpha", "beta", "data_format")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _window_sum(self, x: Any) -> Any:
        raise NotImplementedError

    def _spread_sum(self, x: Any) -> Any:
        """Return the transpose of `_window_sum`: the same if windows are symmetric."""
        return self._window_sum(x)


def _negative_power(base: Any, beta: float) -> Any:
    # A power is several times slower than these, on CPUs above all.
    if beta == 0.5:
        return ops.rsqrt(base)
    if beta == 0.75:
        root = ops.rsqrt(base)
        return root * ops.sqrt(root)
    return ops.power(base, -beta)
