"""A block's normalizations as data: their kinds and their arguments."""

from __future__ import annotations

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


class Norm(NamedTuple):
    """One normalization.

    Attributes:
        kind: `ACROSS` (`LocalResponseNormalization`), `WITHIN`
            (`SpatialResponseNormalization`) or `KERAS`.
        arguments: All of the layer's, or a Keras layer's serialized form.
    """

    kind: str
    arguments: dict[str, Any]


def check_norm(norm: Any) -> Any:
    """Return the plain data that stands for a block's `norm` argument.

    Args:
        norm: None; a dict of `LocalResponseNormalization`'s arguments or, if it
            has a `pool_size`, of `SpatialResponseNormalization`'s; a Keras layer
            or its serialized form; or a sequence of these.

    Returns:
        None, a dict or a tuple of dicts.

    Raises:
        TypeError, ValueError: It is something else, or holds a name or a dtype.
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
    kinds = [
        KERAS if "class_name" in one else WITHIN if "pool_size" in one else ACROSS
        for one in given
    ]
    return tuple(
        Norm(kind, {**DEFAULTS[kind], **one})
        for kind, one in zip(kinds, given, strict=True)
    )


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
    return {key: checks.tuples(value) for key, value in norm.items()}
