"""ConvBlock: convolution, activation, normalization and pooling in one layer."""

from __future__ import annotations

from typing import Any

import keras

from alexnet import checks
from alexnet.layers.arguments import (
    check_activation,
    check_initializer,
    own_initializer,
    serialized,
    tuples,
)
from alexnet.layers.ceil_pooling import CeilPooling2D
from alexnet.layers.grouped_conv import GroupedConv2D
from alexnet.layers.norms import check_norm, make_norms
from alexnet.layers.windows import (
    STAGES,
    Window,
    check_order,
    check_windows,
    smallest_input,
)

POOLS = {
    "max": keras.layers.MaxPooling2D,
    "average": keras.layers.AveragePooling2D,
}


@keras.saving.register_keras_serializable(package="alexnet")
class ConvBlock(keras.layers.Layer):
    """Convolution, activation, normalization and pooling, in a declared order.

    Args:
        filters: Number of output channels; int >= 1.
        kernel_size: Height and width of the kernel; one int or two.
        strides: Strides of the convolution; one int or two.
        padding: Of the convolution: "same", "valid", a number of pixels, or
            ((top, bottom), (left, right)).
        groups: Parts of the channels that do not see each other (the two GPUs
            of 2012); divides `filters` and the input channels.
        order: The four stages, each once, as they follow one another.
        activation: Name, or function that has a name; None leaves the stage out.
        norm: None; a dict of `LocalResponseNormalization`'s arguments or, if it
            has a `pool_size`, of `SpatialResponseNormalization`'s; a Keras layer
            that keeps the shape, such as `BatchNormalization`: kept as its
            serialized configuration, of which each block makes a layer of its
            own, with the dtype policy of the layer given; or a sequence of these,
            one behind the other (`norm1`, `norm1_2`, ...).
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
        suffix: Letters behind the number: "b" gives `conv5b`. In a model, a block
            with a suffix bears the number of the block before it, and the layers
            behind it count on as if it were not there.
        name, trainable, dtype: As of every Keras layer.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, new_height, new_width, filters)`.

    Attributes:
        stages: The layers of the block, in order; a stage left out has none.
        windows: Name and sliding window of the convolution and the pool, in order.
        smallest_input: The least (height, width) that leaves one pixel.

    Raises:
        TypeError, ValueError: An argument is of the wrong kind or outside its
            range, or the input is smaller than `smallest_input`.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "same",
        groups: int = 1,
        order: Any = STAGES,
        activation: Any = "relu",
        norm: Any = None,
        pool: str | None = "max",
        pool_size: Any = 3,
        pool_strides: Any = 2,
        pool_padding: str = "valid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        number: int | None = None,
        suffix: str = "",
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
    ) -> None:
        filters = checks.check_int("filters", filters, 1)
        groups = checks.check_int("groups", groups, 1)
        if filters % groups:
            raise ValueError(
                f"groups must divide filters; received groups={groups} and "
                f"filters={filters}. Use a multiple of {groups} filters."
            )
        order = check_order(order)
        windows = check_windows(
            order,
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            pool=pool,
            pool_size=pool_size,
            pool_strides=pool_strides,
            pool_padding=pool_padding,
        )
        check_activation("activation", activation)
        norm = check_norm(norm)
        kernel_initializer = check_initializer("kernel_initializer", kernel_initializer)
        bias_initializer = check_initializer("bias_initializer", bias_initializer)
        checks.check_bool("use_bias", use_bias)
        if number is not None:
            number = checks.check_int("number", number, 1)
        checks.check_letters("suffix", suffix)
        super().__init__(name=name, trainable=trainable, dtype=dtype)
        self.filters = filters
        self.kernel_size = tuples(kernel_size)
        self.strides = tuples(strides)
        self.padding = tuples(padding)
        self.groups = groups
        self.order = order
        self.activation = activation
        self.norm = norm
        self.pool = pool
        self.pool_size = tuples(pool_size)
        self.pool_strides = tuples(pool_strides)
        self.pool_padding = pool_padding
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self.number = number
        self.suffix = suffix

        self.windows = [
            (self._stage_arguments(stage)["name"], window)
            for stage, window in windows.items()
        ]
        self.stages = [
            layer for stage in order for layer in self._make_stage(stage, windows)
        ]

    @property
    def smallest_input(self) -> checks.Pair:
        """The least (height, width) that leaves at least one pixel."""
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
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "groups": self.groups,
            "order": self.order,
            "activation": serialized(self.activation),
            "norm": serialized(self.norm),
            "pool": self.pool,
            "pool_size": self.pool_size,
            "pool_strides": self.pool_strides,
            "pool_padding": self.pool_padding,
            "use_bias": self.use_bias,
            "kernel_initializer": serialized(self.kernel_initializer),
            "bias_initializer": serialized(self.bias_initializer),
            "number": self.number,
            "suffix": self.suffix,
        }

    def _make_stage(
        self, stage: str, windows: dict[str, Window]
    ) -> list[keras.layers.Layer]:
        """Build one stage's layers; none if the block does without it."""
        if stage == "conv":
            conv = GroupedConv2D(
                self.filters,
                *windows["conv"],
                groups=self.groups,
                use_bias=self.use_bias,
                kernel_initializer=own_initializer(self.kernel_initializer),
                bias_initializer=own_initializer(self.bias_initializer),
                **self._stage_arguments("conv"),
            )
            return [conv]
        if stage == "activation" and self.activation is not None:
            function = keras.activations.get(self.activation)
            arguments = self._stage_arguments(function.__name__)
            return [keras.layers.Activation(function, **arguments)]
        if stage == "norm":
            return make_norms(self.norm, **self._stage_arguments("norm"))
        if stage == "pool" and self.pool is not None:
            window = windows["pool"]
            arguments = self._stage_arguments("pool")
            if window.padding == "ceil":
                return [CeilPooling2D(self.pool, *window[:2], **arguments)]
            return [POOLS[self.pool](*window, data_format="channels_last", **arguments)]
        return []

    def _stage_arguments(self, kind: str) -> dict[str, Any]:
        number = "" if self.number is None else str(self.number)
        return {"name": f"{kind}{number}{self.suffix}", "dtype": self.dtype_policy}
