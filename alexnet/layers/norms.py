"""A block's normalizations as data: their kinds and their arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from alexnet import checks

ACROSS = "across channels"
WITHIN = "within maps"
KERAS = "Keras layer"
# The layers' defaults; a test compares them.
DEFAULTS: dict[str, dict[str, Any]] = {
    ACROSS: {"depth_radius": 2, "bias": 2.0, "alpha": 1e-4, "beta": 0.75, "groups": 1},
    WITHIN: {"pool_size": 5, "bias": 1.0, "alpha": 4e-5, "beta": 0.75},
    KERAS: {},
}
_LAYERS = {
    ACROSS: "LocalResponseNormalization",
    WITHIN: "SpatialResponseNormalization",
}
_RULES: dict[str, Callable[[str, Any], Any]] = {
    "depth_radius": functools.partial(checks.check_int, minimum=0),
    "pool_size": checks.check_pair,
    "bias": functools.partial(checks.check_float, above=0),
    "alpha": functools.partial(checks.check_float, minimum=0),
    "beta": functools.partial(checks.check_float, minimum=0),
    "groups": functools.partial(checks.check_int, minimum=1),
}


class Norm(NamedTuple):
    """One normalization.

    Attributes:
        kind: `ACROSS` (`LocalResponseNormalization`), `WITHIN`
            (`SpatialResponseNormalization`) or `KERAS`.
        arguments: All of the layer's, or a Keras layer's serialized form.
    """

    kind: str
    arguments: dict[str, Any]


def check_constant(name: str, value: Any) -> Any:
    """Return an argument of a response normalization in its normal form.

    Raises:
        TypeError, ValueError: It is of the wrong kind or outside its range.
    """
    return _RULES[name](name, value)


def check_norm(norm: Any) -> Any:
    """Return the plain data that stands for a block's `norm` argument.

    Args:
        norm: None; a dict of `LocalResponseNormalization`'s arguments or, if it
            has a `pool_size`, of `SpatialResponseNormalization`'s; a Keras layer
            or its serialized form; or a sequence of these.

    Returns:
        None, a dict or a tuple of dicts.

    Raises:
        TypeError, ValueError: It is something else, holds a name or a dtype, or an
            argument that is unknown or outside its range.
    """
    if norm is None:
        return None
    if isinstance(norm, (list, tuple)):
        return tuple(_check_one(item, norm) for item in norm)
    return _check_one(norm, norm)


def norms_of(norm: Any) -> tuple[Norm, ...]:
    """Return the normalizations that `check_norm` returned, their defaults filled in.

    A dict's keys decide its kind here and nowhere else.
    """
    given = norm if isinstance(norm, tuple) else () if norm is None else (norm,)
    return tuple(Norm(_kind(one), {**DEFAULTS[_kind(one)], **one}) for one in given)


def _kind(norm: dict[str, Any]) -> str:
    return KERAS if "class_name" in norm else WITHIN if "pool_size" in norm else ACROSS


def _check_one(norm: Any, received: Any) -> dict[str, Any]:
    if hasattr(norm, "get_config"):
        # A layer was given, so Keras is loaded.
        from alexnet.layers.arguments import serialized

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
    kind = _kind(norm)
    known = (*DEFAULTS[kind], "data_format", "trainable")
    for key, value in norm.items():
        if key not in known:
            raise TypeError(
                checks.unknown(f"{_LAYERS[kind]} keyword argument", key, known)
                + f" Received norm={received!r}."
            )
        if key in _RULES:
            check_constant(key, value)
    return {key: checks.tuples(value) for key, value in norm.items()}
