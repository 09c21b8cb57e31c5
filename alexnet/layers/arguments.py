"""Arguments that are Keras objects: checks, copies, plain data."""

from __future__ import annotations

import inspect
import re
from typing import Any

import keras


def check_activation(name: str, value: Any) -> Any:
    """Return `value` if it is None, or the name or serialized form of a function.

    A function itself needs a name, which its layer takes and files keep.
    """
    if value is None:
        return None
    try:
        function = keras.activations.get(value)
        named = re.fullmatch(r"[A-Za-z0-9_]+", getattr(function, "__name__", ""))
    except (TypeError, ValueError) as error:
        raise ValueError(_must_be(name, value, "an activation")) from error
    if inspect.isclass(value) or isinstance(value, keras.layers.Layer) or not named:
        raise TypeError(
            f"{name} must be the name of an activation or a function that has one; "
            f"received {name}={value!r}. Write a function with def, or draw a "
            "layer in draw_block."
        )
    return value


def check_initializer(name: str, value: Any) -> Any:
    """Return `value` if it is an initializer, its name or its serialized form."""
    if inspect.isclass(value):
        value = value()
    try:
        initializer = keras.initializers.get(value)
    except (TypeError, ValueError) as error:
        raise ValueError(_must_be(name, value, "an initializer")) from error
    if initializer is None:
        raise TypeError(_must_be(name, value, "an initializer"))
    return value


def own_initializer(value: Any) -> Any:
    """Return an initializer for one layer alone.

    A Keras initializer draws the same values each time it is called, so layers
    of one shape that share it would start out equal.
    """
    initializer = keras.initializers.get(value)
    if isinstance(initializer, keras.initializers.Initializer):
        return initializer.clone()
    return initializer


def serialized(value: Any) -> Any:
    """Return the plain data from which Keras makes `value` again."""
    if isinstance(value, dict):
        return {key: serialized(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(serialized(item) for item in value)
    return keras.saving.serialize_keras_object(value)


def _must_be(name: str, value: Any, kind: str) -> str:
    return (
        f"{name} must be {kind} that Keras knows; received {name}={value!r}. "
        "Decorate one of your own with "
        "keras.saving.register_keras_serializable."
    )
