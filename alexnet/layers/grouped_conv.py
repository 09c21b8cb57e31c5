"""Convolution with explicit padding, and with groups that train and export."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from alexnet import checks
from alexnet.layers.windows import Window


@keras.saving.register_keras_serializable(package="alexnet")
class GroupedConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, channels last, with two differences.

    `padding` may also be a number of pixels, or ((top, bottom), (left, right)).

    `groups` are computed by splitting the channels, convolving each part and
    concatenating. Keras' own groups run inside an XLA function on TensorFlow:
    several times slower in training on a CPU, and not exportable to ONNX.

    Args:
        filters: Number of output channels; `groups` divides it.
        kernel_size: Height and width of the kernel, one int or two.
        strides: One int or two.
        padding: "same", "valid", an int or ((top, bottom), (left, right)).
        groups: Number of parts of the channels that are convolved separately.
        **kwargs: `use_bias`, the initializers and other arguments of
            `keras.layers.Conv2D`; no dilation.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, new_height, new_width, filters)`.

    Raises:
        ValueError: `groups` does not divide the filters or the input channels;
            or `data_format` or `dilation_rate` is given another value.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        groups: int = 1,
        **kwargs: Any,
    ) -> None:
        padding = checks.check_padding("padding", padding)
        data_format = kwargs.pop("data_format", "channels_last")
        checks.check_choice("data_format", data_format, ("channels_last",))
        dilation_rate = checks.check_pair(
            "dilation_rate", kwargs.pop("dilation_rate", 1)
        )
        checks.check_choice("dilation_rate", dilation_rate, ((1, 1),))
        super().__init__(
            filters,
            kernel_size,
            strides,
            padding if isinstance(padding, str) else "valid",
            data_format="channels_last",
            groups=groups,
            **kwargs,
        )
        self.padding = padding

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        window = Window(self.kernel_size, self.strides, self.padding)
        batch, height, width, _ = input_shape
        # An unknown size stays unknown; 1 stands in for it meanwhile.
        new_height, new_width = window.output_size((height or 1, width or 1))
        return batch, height and new_height, width and new_width, self.filters

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        padding = self.padding
        if not isinstance(padding, str):
            inputs = ops.pad(inputs, ((0, 0), *padding, (0, 0)))
            padding = "valid"

        def convolve(part: Any, part_kernel: Any) -> Any:
            return ops.conv(
                part,
                part_kernel,
                strides=list(self.strides),
                padding=padding,
                data_format="channels_last",
            )

        if self.groups == 1:
            return convolve(inputs, kernel)
        parts = zip(
            ops.split(inputs, self.groups, axis=-1),
            ops.split(kernel, self.groups, axis=-1),
            strict=True,
        )
        return ops.concatenate([convolve(*part) for part in parts], axis=-1)
