"""Values that people name for a search to try: presets, files, dicts.

The command line reads them before anything that takes seconds to import.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning.settings import SearchSettings
from tuning.store.records import allows

if TYPE_CHECKING:
    from tuning.space.search_space import SearchSpace
    from tuning.store.recovery import Notify

Given = dict[str, Any] | str


def given_points(text: str) -> tuple[Given, ...]:
    """Return what the command line names as `SearchSettings` takes it.

    What ends in .json or names its folder is a file, whatever else is there; any
    other name is a preset's, also beside a file of that name (./name is the file).
    So the same command means the same search wherever it is resumed.

    Args:
        text: Names of presets and files, separated by commas; empty for none.

    Raises:
        ValueError: A file cannot be read, or holds something else.
    """
    points: list[Given] = []
    for part in filter(None, map(str.strip, text.split(","))):
        is_file = part.endswith(".json") or "/" in part
        points += _read(part) if is_file else [part]
    return tuple(points)


def _read(path: str) -> list[dict[str, Any]]:
    """Read a JSON file that holds values by name, or a list of such."""
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
    return points


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


def complete(name: str, points: Iterable[Given], space: SearchSpace) -> list[dict]:
    """Return the values of every active hyperparameter of each point, checked.

    Args:
        name: Of the setting that the points come from.
        points: Values by name, where what is left out has its default; or the names
            of presets.
        space: Of the search.

    Raises:
        ValueError: A point has an unknown name, a value out of range, or one that
            does not vary or has no effect; or its network is beyond the limits.
    """
    settings = space.settings
    completed = []
    for index, point in enumerate(points):
        where = f"{name}[{index}]"
        if isinstance(point, str):
            values = _nearest(point, space).values
        else:
            values = _complete(where, point, space)
        if not space.is_within_limits(values):
            cost = space.cost(values)
            raise ValueError(
                "A point must lie within the limits; received "
                f"max_parameters={settings.max_parameters}, "
                f"max_multiply_adds={settings.max_multiply_adds} and {point!r} in "
                f"{where}, whose network has {cost.parameters:,} parameters and "
                f"{cost.multiply_adds:,} multiply-adds for images of "
                f"{space.hypermodel.image_shape}. Raise the limits, make the images "
                "smaller with image_size, or leave it out."
            )
        completed.append(values)
    return completed


def given_values(
    settings: SearchSettings,
    stored: SearchSettings | None,
    space: SearchSpace,
    tried: dict[str, dict[str, Any]],
    notify: Notify,
) -> tuple[SearchSettings, list[dict[str, Any]]]:
    """Return the settings less the added points that were tried, and all given values.

    A point that the search remembers stays: the same command adds it once. How new
    points differ from the presets that they are named after is reported.

    Args:
        settings: Of the command; what `stored` was given comes first in `add`.
        stored: Of the search in the directory; None if there is none.
        space: Of the search.
        tried: The values of the trials on record, by id.
        notify: Is called with what is left out, and what is not as published.

    Raises:
        ValueError: As of `complete`.
    """
    remembered = () if stored is None else stored.add
    new = settings.add[len(remembered) :]
    start = complete("start_with", settings.start_with, space)
    known = [*start, *complete("add", remembered, space)]
    for index, point in enumerate(() if stored else settings.start_with):
        _report_changes(point, space, notify)
        if known[index] in known[:index]:
            first = settings.start_with[known.index(known[index])]
            notify(f"Tried once, since they are the same here: {first}, {point}")
    reasons = {_key(values): f"trial {trial}" for trial, values in tried.items()}
    for values in known:
        reasons.setdefault(_key(values), "a point that it has yet to try")
    kept = list(remembered)
    for point, values in zip(new, complete("add", new, space), strict=True):
        if _key(values) in reasons:
            reason = reasons[_key(values)]
            notify(f"Not added, since the search has it as {reason}: {point}")
            continue
        reasons[_key(values)] = "a point that is added"
        kept.append(point)
        known.append(values)
        _report_changes(point, space, notify)
    return settings.replace(add=tuple(kept)), known


def _key(values: dict[str, Any]) -> str:
    return repr(sorted(values.items()))


def _nearest(preset: str, space: SearchSpace) -> Any:
    """Return the values, and the differences, of what is nearest to a preset."""
    from alexnet.compare.nearest import nearest_point

    hypermodel = space.hypermodel
    return nearest_point(preset, space.hp, hypermodel.image_shape, hypermodel.model)


def _report_changes(point: Given, space: SearchSpace, notify: Notify) -> None:
    """Report what is not as published in a point that is given as a preset."""
    if isinstance(point, str):
        head = f"{point} is tried as near to it as the space allows. Not as published:"
        notify("\n  ".join([head, *_nearest(point, space).changes]))


def _complete(where: str, point: dict[str, Any], space: SearchSpace) -> dict[str, Any]:
    names = list(dict.fromkeys(entry.name for entry in space.entries))
    for name in point:
        if name not in names:
            raise ValueError(
                "A point must name hyperparameters of the space; received "
                f"{name}={point[name]!r} in {where}. They are {', '.join(names)}."
            )

    def value_of(entry: Any) -> Any:
        value = point.get(entry.name, entry.default)
        if not allows(entry, value):
            raise ValueError(_refusal(where, entry, value))
        if hasattr(entry, "min_value"):
            return type(entry.default)(value)
        return entry.values[list(entry.values).index(value)]  # 32 for 32.0

    values = space.draw(value_of)
    for name in point:
        if name not in values:
            raise ValueError(
                "A point must name hyperparameters that have an effect; received "
                f"{name}={point[name]!r} in {where}, which needs {_needs(name, space)}."
                " Leave it out, or give the other its value."
            )
    return values


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


def _needs(name: str, space: SearchSpace) -> str:
    return " or ".join(
        " and ".join(
            f"{condition.name} to be {' or '.join(map(str, condition.values))}"
            for condition in entry.conditions
        )
        for entry in space.entries
        if entry.name == name
    )
