"""What each setting of a search may be, one function per rule."""

from __future__ import annotations

import math
import os
from typing import Any


def path_text(name: str, value: Any) -> str:
    """Return a name or a path as text."""
    if not isinstance(value, (str, os.PathLike)) or not str(value):
        raise TypeError(f"{name} must be a name or a path; received {name}={value!r}.")
    return str(value)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Check that a value is one of a few."""
    if value not in choices:
        raise ValueError(
            f"{name} must be one of {', '.join(choices)}; received {name}={value!r}."
        )


def check_whole(name: str, value: Any, least: int) -> None:
    """Check a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number; received {name}={value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}; received {name}={value!r}.")


def check_switch(name: str, value: Any) -> None:
    """Check a yes or no."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False; received {name}={value!r}.")


def check_positive(name: str, value: Any) -> None:
    """Check a finite number greater than 0."""
    _number(name, value)
    if not 0 < value < math.inf:
        raise ValueError(
            f"{name} must be greater than 0 and finite; received {name}={value!r}."
        )


def check_share(name: str, value: Any) -> None:
    """Check a part of a whole, neither nothing nor all of it."""
    _number(name, value)
    if not 0 < value < 1:
        raise ValueError(
            f"{name} must be greater than 0 and less than 1; received {name}={value!r}."
        )


def check_gpus(name: str, value: Any) -> None:
    """Check a number of GPUs: a part of one, or some whole ones."""
    _number(name, value)
    if not (0 < value <= 1 or (value > 1 and float(value).is_integer())):
        raise ValueError(
            f"{name} must be greater than 0 and at most 1, or a whole number; received "
            f"{name}={value!r}."
        )


def _number(name: str, value: Any) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number; received {name}={value!r}.")


def address_text(name: str, value: Any) -> str:
    """Return an address of a Ray cluster: "auto" or "host:port"."""
    is_text = isinstance(value, str)
    host, _, port = value.rpartition(":") if is_text else ("", "", "")
    if value != "auto" and not (host and port.isdecimal() and "//" not in host):
        raise (ValueError if is_text else TypeError)(
            f'{name} must be "auto" or "host:port", as `ray start` prints it; received '
            f"{name}={value!r}."
        )
    return value


def points_of(name: str, value: Any) -> tuple[dict[str, Any] | str, ...]:
    """Return points, or names of presets, as a tuple of their own."""
    if not isinstance(value, tuple | list) or not all(
        isinstance(point, str)
        or (isinstance(point, dict) and all(isinstance(key, str) for key in point))
        for point in value
    ):
        raise TypeError(
            f"{name} must be a sequence of points, each a dict of values by name or "
            f"the name of a preset; received {name}={value!r}."
        )
    return tuple(p if isinstance(p, str) else dict(p) for p in value)


def model_text(model: Any) -> str:
    """Return "package.module:Class" of a class, or of such a text."""
    if isinstance(model, type):
        if model.__module__ == "__main__" or "<locals>" in model.__qualname__:
            raise ValueError(
                "model must be a class that other processes can import; received "
                f"model={model!r}. Move it to a module of its own."
            )
        return f"{model.__module__}:{model.__qualname__}"
    if not isinstance(model, str) or model.count(":") != 1 or model[:1] in ":.":
        raise ValueError(
            'model must be "package.module:Class" or a class; received '
            f"model={model!r}."
        )
    return model
