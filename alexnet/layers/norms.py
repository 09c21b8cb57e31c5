"""A block's normalizations: from its `norm` argument to layers."""

from __future__ import annotations

from typing import Any

import keras

from alexnet.layers.arguments import serialized, tuples
from alexnet.layers.local_response import LocalResponseNormalization
from alexnet.layers.spatial_response import SpatialResponseNormalization


def check_norm(norm: Any) -> Any:
    """Return the plain data that stands for a block's `norm` argument.

    Args:
        norm: None; a dict of `LocalResponseNormalization`'s arguments or, if it
            has a `pool_size`, of `SpatialResponseNormalization`'s; a Keras layer
            or its serialized form; or a sequence of these.

    Returns:
        None, a dict or a tuple of dicts.
    """
    if norm is None:
        return None
    if isinstance(norm, (list, tuple)):
        return tuple(_check_one(item, norm) for item in norm)
    return _check_one(norm, norm)


def make_norms(norm: Any, name: str, dtype: Any) -> list[keras.layers.Layer]:
    """Return new layers for what `check_norm` returned.

    Args:
        norm: The plain data.
        name: Of the first layer; a second is called `name` and "_2", and so on.
        dtype: Policy of the layers that are given as arguments.
    """
    templates = norm if isinstance(norm, tuple) else [] if norm is None else [norm]
    return [
        _make_one(template, name if count == 1 else f"{name}_{count}", dtype)
        for count, template in enumerate(templates, start=1)
    ]


def _check_one(norm: Any, received: Any) -> dict[str, Any]:
    if isinstance(norm, keras.layers.Layer):
        return serialized(norm)
    if not isinstance(norm, dict):
        raise TypeError(
            "norm must be None, a dict of LocalResponseNormalization's or "
            "SpatialResponseNormalization's arguments, a Keras layer, or a sequence "
            f"of these; received norm={received!r}."
        )
    if any(key in norm for key in ("name", "dtype")):
        raise ValueError(
            "norm must hold neither name nor dtype, which the block gives; received "
            f"norm={received!r}."
        )
    if "class_name" in norm:
        return dict(norm)
    return {key: tuples(value) for key, value in norm.items()}


def _make_one(template: dict[str, Any], name: str, dtype: Any) -> keras.layers.Layer:
    if "class_name" in template:
        layer = keras.saving.deserialize_keras_object(dict(template))
        return type(layer).from_config({**layer.get_config(), "name": name})
    kind = (
        SpatialResponseNormalization
        if "pool_size" in template
        else LocalResponseNormalization
    )
    return kind(
        **{"data_format": "channels_last", **template, "name": name, "dtype": dtype}
    )
