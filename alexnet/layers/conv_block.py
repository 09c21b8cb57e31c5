"""ConvBlock: convolution, activation, normalization and pooling in one layer."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from alexnet import checks
from alexnet.layers.arguments import (
    check_activation,
    check_initializer,
    own_initializer,
    serialized,
)
from alexnet.layers.block import Block, Stage
from alexnet.layers.ceil_pooling import CeilPooling2D
from alexnet.layers.grouped_conv import GroupedConv2D
from alexnet.layers.local_response import LocalResponseNormalization
from alexnet.layers.norms import KERAS, WITHIN, Norm
from alexnet.layers.spatial_response import SpatialResponseNormalization
from alexnet.layers.windows import smallest_input

POOLS = {"max": keras.layers.MaxPooling2D, "average": keras.layers.AveragePooling2D}

_FIELDS = tuple(field.name for field in dataclasses.fields(Block))


@keras.saving.register_keras_serializable(package="alexnet")
class ConvBlock(keras.layers.Layer):
    """Convolution, activation, normalization and pooling, in a declared order.

    Args:
        filters: Number of output channels; int >= 1.
        kernel_size: Height and width of the kernel; one int or two.
        strides: Strides of the convolution; one int or two.
        padding: Of the convolution: "same", "valid", a number of pixels, or
            ((top, bottom), (left, right)).
        groups: Parts of the channels that are convolved separately (the two
            GPUs of 2012); divides `filters` and the input channels.
        order: The four stages, each once, in the order they are applied.
        activation: Name, or function that has a name; None leaves the stage out.
        norm: None; a dict of `LocalResponseNormalization`'s arguments or, if it
            has a `pool_size`, of `SpatialResponseNormalization`'s; a Keras layer
            that keeps the shape, such as `BatchNormalization`: kept as its
            serialized configuration, from which each block makes a layer of its
            own, with the dtype policy of the layer given; or a sequence of these,
            one after another (`norm1`, `norm1_2`, ...).
        pool: "max", "average" or None.
        pool_size: Height and width of the pool; one int or two.
        pool_strides: Strides of the pool; one int or two.
        pool_padding: "valid", which rounds sizes down; "ceil", which rounds them
            up as cuda-convnet and Caffe do, ceil((length - pool_size) / stride) + 1
            (`CeilPooling2D`); or "same", Keras' length / stride, rounded up.
        use_bias: Whether the convolution adds a bias.
        kernel_initializer, bias_initializer: Of the convolution; copied, so that
            blocks that share one do not start with the same values.
        number: Appended to the names of the stages: 1 gives `conv1`, `relu1`,
            `norm1`, `pool1`. None appends nothing.
        suffix: Letters after the number: "b" gives `conv5b`. In a model, a block
            with a suffix has the number of the block before it, and the next
            block has the next number.
        name, trainable, dtype: As of every Keras layer.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, new_height, new_width, filters)`.

    Attributes:
        stages: The layers of the block, in order; a stage left out has none.
        windows: Name and sliding window of the convolution and the pool, in order.
        smallest_input: The smallest (height, width) that leaves one pixel.
        block: The arguments as a `Block`.

    Raises:
        TypeError, ValueError: An argument is of the wrong kind or outside its
            range, or the input is smaller than `smallest_input`.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = Block.strides,
        padding: Any = Block.padding,
        groups: int = Block.groups,
        order: Any = Block.order,
        activation: Any = Block.activation,
        norm: Any = Block.norm,
        pool: str | None = Block.pool,
        pool_size: Any = Block.pool_size,
        pool_strides: Any = Block.pool_strides,
        pool_padding: str = Block.pool_padding,
        use_bias: bool = Block.use_bias,
        kernel_initializer: Any = Block.kernel_initializer,
        bias_initializer: Any = Block.bias_initializer,
        number: int | None = None,
        suffix: str = Block.suffix,
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
    ) -> None:
        block = Block(
            filters,
            kernel_size,
            strides,
            padding,
            groups,
            order,
            check_activation("activation", activation),
            norm,
            pool,
            pool_size,
            pool_strides,
            pool_padding,
            use_bias,
            check_initializer("kernel_initializer", kernel_initializer),
            check_initializer("bias_initializer", bias_initializer),
            suffix,
        )
        if number is not None:
            number = checks.check_int("number", number, 1)
        super().__init__(name=name, trainable=trainable, dtype=dtype)
        for field in _FIELDS:
            setattr(self, field, getattr(block, field))
        self.number = number
        self.block = block
        stages = block.stages(number)
        self.windows = [(stage.name, stage.window) for stage in stages if stage.window]
        self.stages = [self._layer(stage) for stage in stages]

    @property
    def smallest_input(self) -> checks.Pair:
        """The smallest (height, width) that leaves at least one pixel."""
        return smallest_input([window for _, window in self.windows])

    def build(self, input_shape: tuple[Any, ...]) -> None:
        shape = tuple(input_shape)
        self.compute_output_shape(shape)
        for layer in self.stages:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.built = True

    def call(self, inputs: Any) -> Any:
        outputs = inputs
        for layer in self.stages:
            outputs = layer(outputs)
        return outputs

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        shape = tuple(input_shape)
        if len(shape) != 4:
            raise ValueError(
                "ConvBlock needs an input of shape (batch, height, width, "
                f"channels); received a shape of {len(shape)} dimensions, {shape}."
            )
        channels = shape[3]
        if channels is None or channels % self.groups:
            raise ValueError(
                "groups must divide the number of input channels, which must be "
                f"known; received groups={self.groups} and an input of shape "
                f"{shape}."
            )
        smallest = self.smallest_input
        if any(
            length is not None and length < least
            for length, least in zip(shape[1:3], smallest, strict=True)
        ):
            raise ValueError(
                f"ConvBlock {self.name!r} needs an input of at least {smallest[0]} "
                f"by {smallest[1]} pixels, or it has no output; received shape "
                f"{shape}. Enlarge the images, or use smaller kernels and pools "
                "or more padding."
            )
        for _, window in self.windows:
            size = window.output_size((shape[1] or 1, shape[2] or 1))
            shape = (shape[0], shape[1] and size[0], shape[2] and size[1], channels)
        return (*shape[:3], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **{field: serialized(getattr(self, field)) for field in _FIELDS},
            "number": self.number,
        }

    def _layer(self, stage: Stage) -> keras.layers.Layer:
        given = {"name": stage.name, "dtype": self.dtype_policy}
        if stage.kind == "conv":
            return GroupedConv2D(
                self.filters,
                *self.block.windows["conv"],
                groups=self.groups,
                use_bias=self.use_bias,
                kernel_initializer=own_initializer(self.kernel_initializer),
                bias_initializer=own_initializer(self.bias_initializer),
                **given,
            )
        if stage.kind == "activation":
            function = keras.activations.get(self.activation)
            return keras.layers.Activation(function, **given)
        if stage.norm is not None:
            return _norm_layer(stage.norm, given)
        size, strides, padding = self.block.windows["pool"]
        if padding == "ceil":
            return CeilPooling2D(self.pool, size, strides, **given)
        pool = POOLS[self.pool]
        return pool(size, strides, padding, data_format="channels_last", **given)


def _norm_layer(norm: Norm, given: dict[str, Any]) -> keras.layers.Layer:
    """Return a new layer; one that Keras made keeps its own dtype."""
    if norm.kind == KERAS:
        layer = keras.saving.deserialize_keras_object(dict(norm.arguments))
        return type(layer).from_config({**layer.get_config(), "name": given["name"]})
    kind = (
        SpatialResponseNormalization
        if norm.kind == WITHIN
        else LocalResponseNormalization
    )
    return kind(**{"data_format": "channels_last", **norm.arguments, **given})
