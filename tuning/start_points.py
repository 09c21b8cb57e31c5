"""Points that people name: read from a file, checked, completed with defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tuning.records import allows


def read_points(path: str) -> tuple[dict[str, Any], ...]:
    """Read a JSON file that holds a point, or a list of points.

    Raises:
        ValueError: It cannot be read, or holds something else.
    """
    try:
        points = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"The file of points must be readable JSON; received {path}: {error}."
        ) from error
    points = [points] if isinstance(points, dict) else points
    if not isinstance(points, list) or not all(isinstance(p, dict) for p in points):
        raise ValueError(
            "The file of points must hold a point, as best/hyperparameters.json does, "
            f"or a list of points; received {path}, which holds something else."
        )
    return tuple(points)


def complete_points(
    name: str, points: tuple[dict[str, Any], ...], space: Any, limits: Any
) -> list[dict[str, Any]]:
    """Return points with every active hyperparameter's value, checked.

    Args:
        name: Of the setting that the points come from.
        points: Values by name; what a point leaves out has its default.
        space: The search space.
        limits: Tells whether a point is within the limits.

    Raises:
        ValueError: A point has an unknown name, a value out of range, or one that
            does not vary or has no effect; or its network is beyond the limits.
    """
    return [
        _complete(f"{name}[{index}]", point, space, limits)
        for index, point in enumerate(points)
    ]


def _complete(where: str, point: dict[str, Any], space: Any, limits: Any) -> Any:
    names = list(dict.fromkeys(entry.name for entry in space.space))
    for name in point:
        if name not in names:
            raise ValueError(
                "A point must name hyperparameters of the space; received "
                f"{name}={point[name]!r} in {where}. They are {', '.join(names)}."
            )
    hp = space.copy()
    hp.values = {}
    for entry in space.space:
        if not hp.is_active(entry):
            continue
        value = point.get(entry.name, entry.default)
        if not allows(entry, value):
            raise ValueError(_refusal(where, entry, value))
        if hasattr(entry, "min_value"):
            value = type(entry.default)(value)
        else:
            value = entry.values[list(entry.values).index(value)]  # 32 for 32.0
        hp.values[entry.name] = value
    for name in point:
        if name not in hp.values:
            raise ValueError(
                "A point must name hyperparameters that have an effect; received "
                f"{name}={point[name]!r} in {where}, which needs {_needs(name, space)}."
                " Leave it out, or give the other its value."
            )
    if not limits(hp.values):
        raise ValueError(
            "A point must lie within max_parameters and max_multiply_adds; received "
            f"{point!r} in {where}, whose network is larger. Raise the limits, or make "
            "it smaller."
        )
    return hp.values


def _refusal(where: str, entry: Any, value: Any) -> str:
    if hasattr(entry, "min_value"):
        allowed = f"from {entry.min_value} to {entry.max_value}"
    elif len(entry.values) == 1:
        return (
            f"{entry.name} does not vary in this search and must be {entry.default!r}; "
            f"received {entry.name}={value!r} in {where}. Leave it out, or name it in "
            "tune."
        )
    else:
        allowed = f"one of {', '.join(map(repr, entry.values))}"
    return (
        f"{entry.name} must be {allowed}; received {entry.name}={value!r} in {where}."
    )


def _needs(name: str, space: Any) -> str:
    return " or ".join(
        " and ".join(
            f"{condition.name} to be {' or '.join(map(str, condition.values))}"
            for condition in entry.conditions
        )
        for entry in space.space
        if entry.name == name
    )
