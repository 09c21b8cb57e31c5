"""The parts of the graph before and after the blocks."""

from __future__ import annotations

from typing import Any

import keras

from alexnet import checks
from alexnet.layers.arguments import own_initializer
from alexnet.layers.block import block_numbers
from alexnet.layers.grouped_conv import GroupedConv2D


def draw_pixels(model: Any, inputs: Any) -> Any:
    """Rescale, normalize and resize the images; return the output.

    Args:
        model: An `AlexNet`, whose arguments say how.
        inputs: Symbolic tensor, (batch, height, width, channels).
    """
    outputs = inputs
    scale: Any = 1.0 if model.rescale is None else model.rescale
    offset: Any = 0.0
    if model.pixel_std is not None:
        scale = [scale / std for std in model.pixel_std]
    if model.pixel_mean is not None:
        stds = model.pixel_std or (1.0,) * len(model.pixel_mean)
        pairs = zip(model.pixel_mean, stds, strict=True)
        offset = [-mean / std for mean, std in pairs]
    if (scale, offset) != (1.0, 0.0):
        outputs = keras.layers.Rescaling(
            scale, offset, name="rescale", dtype="float32"
        )(outputs)
    if model.resize is not None:
        outputs = keras.layers.Resizing(
            *checks.check_pair("resize", model.resize),
            data_format="channels_last",
            name="resize",
            dtype="float32",
        )(outputs)
    return outputs


def draw_head(model: Any, inputs: Any, dtype: Any) -> Any:
    """Draw the dense layers and the classifier; return the model's output.

    Args:
        model: An `AlexNet`, whose arguments say how.
        inputs: Symbolic tensor, (batch, height, width, channels).
        dtype: Policy of the layers.
    """
    outputs = inputs
    if model.adaptive_pool is not None:
        outputs = keras.layers.AdaptiveAveragePooling2D(
            checks.check_pair("adaptive_pool", model.adaptive_pool),
            data_format="channels_last",
            name="adaptive_pool",
            dtype=dtype,
        )(outputs)
    flatten = keras.layers.Flatten(
        data_format="channels_last", name="flatten", dtype=dtype
    )
    if not model.use_convolutional_head:
        outputs = flatten(outputs)
    first = block_numbers(model.blocks)[-1] + 1
    for number, units in enumerate(model.dense_units, start=first):
        outputs = _draw_dense(model, outputs, units, number, dtype)
    if model.use_convolutional_head:
        outputs = flatten(outputs)
    outputs = keras.layers.Dense(
        model.num_classes,
        kernel_initializer=own_initializer(model.logits_kernel_initializer),
        bias_initializer=own_initializer(model.logits_bias_initializer),
        name="logits",
        dtype=dtype,
    )(outputs)
    if model.classifier_activation is None:
        return outputs
    return keras.layers.Activation(
        model.classifier_activation, name="predictions", dtype="float32"
    )(outputs)


def _draw_dense(model: Any, inputs: Any, units: int, number: int, dtype: Any) -> Any:
    """Draw one dense layer with its activation and dropout; return the output."""

    def drop(tensor: Any, position: str) -> Any:
        if model.dropout == 0 or model.dropout_position != position:
            return tensor
        layer = keras.layers.Dropout(model.dropout, name=f"drop{number}", dtype=dtype)
        return layer(tensor)

    arguments = {
        "kernel_initializer": own_initializer(model.dense_kernel_initializer),
        "bias_initializer": own_initializer(model.dense_bias_initializer),
        "name": f"fc{number}",
        "dtype": dtype,
    }
    outputs = drop(inputs, "before")
    if len(inputs.shape) == 2:
        outputs = keras.layers.Dense(units, **arguments)(outputs)
    else:
        outputs = GroupedConv2D(units, inputs.shape[1:3], **arguments)(outputs)
    if model.dense_activation is not None:
        function = keras.activations.get(model.dense_activation)
        outputs = keras.layers.Activation(
            function, name=f"{function.__name__}{number}", dtype=dtype
        )(outputs)
    return drop(outputs, "after")
