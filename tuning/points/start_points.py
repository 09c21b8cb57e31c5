"""Points that people name, or presets: checked, completed with defaults."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning.settings import SearchSettings
from tuning.store.records import allows

if TYPE_CHECKING:
    from alexnet.compare.nearest import NearestPoint
    from tuning.space.hypermodel import HyperAlexNet

Point = dict[str, Any] | str


def check_presets(settings: SearchSettings, presets: dict[str, Any]) -> None:
    """Check that each name among a search's points is a preset's.

    Raises:
        ValueError: One is not; says which there are.
    """
    from alexnet.checks import unknown

    for name in ("start_with", "add"):
        for index, point in enumerate(getattr(settings, name)):
            if not isinstance(point, str) or point in presets:
                continue
            file = f"There is no file {point!r} either."
            if Path(point).exists():
                file = f"For the file, write ./{point}."
            raise ValueError(
                f"A point must be given by its values or be the name of a preset; "
                f"received {point!r} in {name}[{index}]. "
                f"{unknown('preset', point, presets)} {file}"
            )


def nearest(preset: str, space: Any, hypermodel: HyperAlexNet) -> NearestPoint:
    """Return the point of a search space that is nearest to a preset."""
    from alexnet.compare.nearest import nearest_point

    return nearest_point(preset, space, hypermodel.image_shape, hypermodel.model)


def complete_points(
    name: str,
    points: tuple[Point, ...],
    space: Any,
    hypermodel: HyperAlexNet,
    settings: SearchSettings,
) -> list[dict[str, Any]]:
    """Return points with every active hyperparameter's value, checked.

    Args:
        name: Of the setting that the points come from.
        points: Values by name, where what is left out has its default; or the names
            of presets.
        space: The search space.
        hypermodel: Knows the images and the presets, and measures networks.
        settings: Hold the limits of a network's cost.

    Raises:
        ValueError: A point has an unknown name, a value out of range, or one that
            does not vary or has no effect; or its network is beyond the limits.
    """
    from tuning.space import limits as spaces

    cost_of = spaces.costs(space, hypermodel)
    completed = []
    for index, point in enumerate(points):
        where = f"{name}[{index}]"
        if isinstance(point, str):
            values = nearest(point, space, hypermodel).values
        else:
            values = _complete(where, point, space)
        if not spaces.fits(values, cost_of, settings):
            cost = cost_of(values)
            raise ValueError(
                "A point must lie within the limits; received "
                f"max_parameters={settings.max_parameters}, "
                f"max_multiply_adds={settings.max_multiply_adds} and {point!r} in "
                f"{where}, whose network has {cost.parameters:,} parameters and "
                f"{cost.multiply_adds:,} multiply-adds for images of "
                f"{hypermodel.image_shape}. Raise the limits, make the images smaller "
                "with image_size, or leave it out."
            )
        completed.append(values)
    return completed


def _complete(where: str, point: dict[str, Any], space: Any) -> dict[str, Any]:
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
