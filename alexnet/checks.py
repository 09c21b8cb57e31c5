"""Argument checks, one function per rule.

Each returns the value in its normal form, or raises an error that states the
rule, the argument with the value received, and the remedy.
"""

from __future__ import annotations

import difflib
import math
import numbers
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

Pair = tuple[int, int]
Padding = str | tuple[Pair, Pair]


def is_integer(value: Any) -> bool:
    """Return whether `value` is a whole number; booleans are not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_int(name: str, value: Any, minimum: int, maximum: int | None = None) -> int:
    """Return `value` as an int in `minimum..maximum`."""
    if not is_integer(value):
        raise TypeError(
            f"{name} must be a whole number; received {name}={value!r} "
            f"({type(value).__name__}). Pass an int, {_bounds(minimum, maximum)}."
        )
    if value < minimum or (maximum is not None and value > maximum):
        raise ValueError(
            f"{name} must be {_bounds(minimum, maximum)}; received {name}={value!r}."
        )
    return int(value)


def check_float(
    name: str,
    value: Any,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    *,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """Return `value` as a finite float in the interval described.

    `minimum` and `maximum` are inclusive, `above` and `below` exclusive.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"{name} must be a number; received {name}={value!r} "
            f"({type(value).__name__}). Pass a float."
        )
    number = float(value)
    rules = [
        (f"at least {minimum:g}", number >= minimum, minimum != -math.inf),
        (f"at most {maximum:g}", number <= maximum, maximum != math.inf),
        (f"greater than {above}", above is None or number > above, above is not None),
        (f"less than {below}", below is None or number < below, below is not None),
    ]
    if not math.isfinite(number) or not all(held for _, held, _ in rules):
        wanted = " and ".join(text for text, _, stated in rules if stated)
        raise ValueError(
            f"{name} must be finite{' and ' if wanted else ''}{wanted}; "
            f"received {name}={value!r}."
        )
    return number


def check_bool(name: str, value: Any) -> bool:
    """Return `value` if it is a bool."""
    if not isinstance(value, bool):
        raise TypeError(
            f"{name} must be True or False; received {name}={value!r} "
            f"({type(value).__name__})."
        )
    return value


def check_choice(name: str, value: Any, choices: Collection[Any]) -> Any:
    """Return `value` if it is one of `choices`."""
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {listed}; received {name}={value!r}.")
    return value


def check_letters(name: str, value: Any) -> str:
    """Return `value` if it is a string of lowercase letters, which may be empty."""
    if not isinstance(value, str) or not re.fullmatch("[a-z]*", value):
        raise ValueError(
            f'{name} must be lowercase letters, or "" for none; received '
            f"{name}={value!r}."
        )
    return value


def check_path(
    name: str,
    value: Any,
    rule: str = "a path",
    remedy: str = "Pass a str or a pathlib.Path.",
) -> Path:
    """Return a str or a path as a `Path`.

    Args:
        name, value: The argument.
        rule, remedy: What it must be and what to pass, if a name will do as well.
    """
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise TypeError(
            f"{name} must be {rule}; received {name}={value!r} "
            f"({type(value).__name__}). {remedy}"
        )
    return Path(value)


def check_preset(value: Any, presets: Collection[str]) -> str:
    """Return `value` if it is the name of a preset."""
    if not isinstance(value, str) or value not in presets:
        raise ValueError(unknown("preset", value, presets))
    return value


def check_pair(name: str, value: Any, minimum: int = 1) -> Pair:
    """Return a whole number, or two, as (height, width)."""
    if is_integer(value):
        side = check_int(name, value, minimum)
        return side, side
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise TypeError(
            f"{name} must be a whole number or two of them, (height, width); "
            f"received {name}={value!r}."
        )
    height, width = _check_items(name, value, value, minimum)
    return height, width


def check_size(name: str, value: Any) -> int | Pair | None:
    """Return None, the side of a square, or (height, width)."""
    if value is None:
        return None
    if is_integer(value):
        return check_int(name, value, 1)
    return check_pair(name, value)


def check_ints(name: str, value: Any, minimum: int = 1) -> tuple[int, ...]:
    """Return a sequence of whole numbers, which may be empty, as a tuple."""
    if not isinstance(value, (list, tuple)):
        raise TypeError(
            f"{name} must be a sequence of whole numbers; received "
            f"{name}={value!r}. Pass () for none."
        )
    return _check_items(name, value, value, minimum)


def check_padding(name: str, value: Any) -> Padding:
    """Return "same", "valid" or ((top, bottom), (left, right))."""
    if is_integer(value):
        amount = check_int(name, value, 0)
        return (amount, amount), (amount, amount)
    if isinstance(value, str):
        return check_choice(name, value, ("same", "valid"))
    if (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(side, (list, tuple)) and len(side) == 2 for side in value)
    ):
        sides = [item for side in value for item in side]
        top, bottom, left, right = _check_items(name, value, sides, 0)
        return (top, bottom), (left, right)
    raise TypeError(
        f'{name} must be "same", "valid", a whole number of pixels or '
        f"((top, bottom), (left, right)); received {name}={value!r}."
    )


def check_image_shape(value: Any) -> tuple[int, int, int]:
    """Return (height, width, channels), with 1 to 4 channels."""
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        raise ValueError(
            "image_shape must be (height, width, channels); received "
            f"image_shape={value!r}. Leave out the batch dimension."
        )
    if not all(is_integer(item) and item >= 1 for item in value[:2]):
        raise ValueError(
            "image_shape must begin with a height and a width of at least 1 pixel; "
            f"received image_shape={tuple(value)!r}."
        )
    height, width = (int(item) for item in value[:2])
    if not is_integer(value[2]) or not 1 <= value[2] <= 4:
        raise ValueError(
            "image_shape must end in 1 to 4 channels; received "
            f"image_shape={tuple(value)!r}. Give channels last."
        )
    return height, width, int(value[2])


def tuples(value: Any) -> Any:
    """Return `value` with lists, as JSON gives them, turned into tuples."""
    if isinstance(value, (list, tuple)):
        return tuple(tuples(item) for item in value)
    return int(value) if is_integer(value) else value


def unknown(kind: str, name: Any, known: Collection[str]) -> str:
    """Return the error message for a name that is not in `known`."""
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"There is no {kind} {name!r}.{hint} There are: {', '.join(sorted(known))}."


def _check_items(
    name: str, value: Any, items: Collection[Any], minimum: int
) -> tuple[int, ...]:
    """Return `items`, which make up `value`, as ints of at least `minimum`."""
    for item in items:
        if not is_integer(item):
            raise TypeError(
                f"{name} must hold whole numbers; received {name}={value!r}."
            )
        if item < minimum:
            raise ValueError(
                f"{name} must hold numbers of at least {minimum}; received "
                f"{name}={value!r}."
            )
    return tuple(int(item) for item in items)


def _bounds(minimum: int, maximum: int | None) -> str:
    if maximum is None:
        return f"at least {minimum}"
    return f"from {minimum} to {maximum}"
