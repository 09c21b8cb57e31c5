"""The dense layers behind the blocks."""

from __future__ import annotations

from typing import Any

import keras

from alexnet.layers.arguments import own_initializer
from alexnet.layers.grouped_conv import GroupedConv2D


def draw_dense(
    inputs: Any,
    units: int,
    number: int,
    *,
    activation: Any,
    dropout: float,
    dropout_position: str,
    kernel_initializer: Any,
    bias_initializer: Any,
    dtype: Any,
) -> Any:
    """Draw a dense layer with its activation and dropout; return the output.

    Args:
        inputs: Symbolic tensor: (batch, features), or (batch, height, width,
            channels) for a convolution whose kernel covers all of it.
        units: Units of the layer.
        number: Appended to the layers' names.
        activation, dropout, dropout_position, kernel_initializer,
            bias_initializer: As of the model.
        dtype: Policy of the layers.
    """

    def drop(tensor: Any) -> Any:
        if dropout == 0:
            return tensor
        return keras.layers.Dropout(dropout, name=f"drop{number}", dtype=dtype)(tensor)

    arguments = {
        "kernel_initializer": own_initializer(kernel_initializer),
        "bias_initializer": own_initializer(bias_initializer),
        "name": f"fc{number}",
        "dtype": dtype,
    }
    outputs = drop(inputs) if dropout_position == "before" else inputs
    if len(inputs.shape) == 2:
        outputs = keras.layers.Dense(units, **arguments)(outputs)
    else:
        outputs = GroupedConv2D(units, inputs.shape[1:3], **arguments)(outputs)
    if activation is not None:
        function = keras.activations.get(activation)
        outputs = keras.layers.Activation(
            function, name=f"{function.__name__}{number}", dtype=dtype
        )(outputs)
    return drop(outputs) if dropout_position == "after" else outputs
