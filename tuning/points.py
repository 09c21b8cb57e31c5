"""Values that people name for a search to try: presets, files, dicts.

The command line reads them before anything that takes seconds to import.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tuning.settings import Given, SearchSettings
from tuning.store.records import allows, key_of

if TYPE_CHECKING:
    from tuning.space.search_space import SearchSpace
    from tuning.store.recovery import Notify


class CompleteValues(NamedTuple):
    """What is given, and what is tried for it.

    Attributes:
        given: Values by name, or the name of a preset.
        values: Of every active hyperparameter, by name.
        changes: One line for each difference from the preset; empty for a dict.
    """

    given: Given
    values: dict[str, Any]
    changes: list[str]


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
    given: list[Given] = []
    for part in filter(None, map(str.strip, text.split(","))):
        is_file = part.endswith(".json") or "/" in part
        given += _read(part) if is_file else [part]
    return tuple(given)


def _read(path: str) -> list[dict[str, Any]]:
    """Read a JSON file that holds values by name, or a list of such."""
    try:
        given = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"A file of values must be readable JSON; received {path}: {error}."
        ) from error
    given = [given] if isinstance(given, dict) else given
    if not isinstance(given, list) or not all(isinstance(v, dict) for v in given):
        raise ValueError(
            "A file of values must hold values by name, as best/hyperparameters.json "
            f"does, or a list of such; received {path}, which holds something else."
        )
    return given


def check_presets(settings: SearchSettings, presets: dict[str, Any]) -> None:
    """Check that each name in `start_with` and `add` is a preset's.

    Raises:
        ValueError: One is not; says which there are.
    """
    from alexnet.checks import unknown

    for name in ("start_with", "add"):
        for index, item in enumerate(getattr(settings, name)):
            if not isinstance(item, str) or item in presets:
                continue
            file = f"There is no file {item!r} either."
            if Path(item).exists():
                file = f"For the file, write ./{item}."
            raise ValueError(
                f"{name} must hold values by name, or names of presets; received "
                f"{item!r} in {name}[{index}]. "
                f"{unknown('preset', item, presets)} {file}"
            )


def complete(
    name: str, given: Iterable[Given], space: SearchSpace
) -> list[CompleteValues]:
    """Return the values of every active hyperparameter of what is given, checked.

    Args:
        name: Of the setting that they come from.
        given: Values by name, where what is left out has its default; or the names
            of presets.
        space: Of the search.

    Raises:
        ValueError: There is an unknown name, a value out of range, or one that does
            not vary or has no effect; or the network is beyond the limits.
    """
    from alexnet.compare.nearest import nearest_point

    settings, hypermodel = space.settings, space.hypermodel
    completed = []
    for index, item in enumerate(given):
        where = f"{name}[{index}]"
        changes: list[str] = []
        if isinstance(item, str):
            shape, model = hypermodel.image_shape, hypermodel.model
            values, changes = nearest_point(item, space.hp, shape, model)
        else:
            values = _with_defaults(where, item, space)
        if not space.is_within_limits(values):
            cost = space.cost(values)
            raise ValueError(
                "Given values must be within the limits; received "
                f"max_parameters={settings.max_parameters}, "
                f"max_multiply_adds={settings.max_multiply_adds} and {item!r} in "
                f"{where}, whose network has {cost.parameters:,} parameters and "
                f"{cost.multiply_adds:,} multiply-adds for images of "
                f"{hypermodel.image_shape}. Raise the limits, make the images "
                "smaller with image_size, or leave it out."
            )
        completed.append(CompleteValues(item, values, changes))
    return completed


def given_values(
    settings: SearchSettings,
    stored: SearchSettings | None,
    space: SearchSpace,
    tried: dict[str, dict[str, Any]],
    notify: Notify,
) -> tuple[SearchSettings, list[dict[str, Any]]]:
    """Return the settings less the added values that were tried, and all given values.

    Values that the search remembers stay: the same command adds them once. How new
    ones differ from the presets that they are named after is reported.

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
    start = complete("start_with", settings.start_with, space)
    added = complete("add", remembered, space)
    new = complete("add", settings.add[len(remembered) :], space)
    if stored is None:
        _report_start(start, notify)
    reasons = {key_of(values): f"trial {trial} has" for trial, values in tried.items()}
    for item in (*start, *added):
        reasons.setdefault(key_of(item.values), "the search has yet to try")
    for item in new:
        if reason := reasons.get(key_of(item.values)):
            notify(f"Not added, since {reason} these values: {item.given}")
            continue
        reasons[key_of(item.values)] = "this command already adds"
        added.append(item)
        _report_changes(item, notify)
    settings = settings.replace(add=tuple(item.given for item in added))
    return settings, [item.values for item in (*start, *added)]


def _report_start(start: list[CompleteValues], notify: Notify) -> None:
    """Report what differs from presets in what a new search starts with."""
    first: dict[str, CompleteValues] = {}
    for item in start:
        _report_changes(item, notify)
        same = first.setdefault(key_of(item.values), item)
        if same is not item:
            names = f"{same.given}, {item.given}"
            notify(f"Tried once, since they are the same here: {names}")


def _report_changes(item: CompleteValues, notify: Notify) -> None:
    """Report what is not as published in the values of a preset."""
    if item.changes:
        head = f"{item.given} is tried as near to it as the space allows. "
        notify("\n  ".join([head + "Not as published:", *item.changes]))


def _with_defaults(
    where: str, given: dict[str, Any], space: SearchSpace
) -> dict[str, Any]:
    names = list(dict.fromkeys(entry.name for entry in space.entries))
    for name in given:
        if name not in names:
            raise ValueError(
                "Given values must name hyperparameters of the space; received "
                f"{name}={given[name]!r} in {where}. They are {', '.join(names)}."
            )

    def value_of(entry: Any) -> Any:
        value = given.get(entry.name, entry.default)
        if not allows(entry, value):
            raise ValueError(_refusal(where, entry, value))
        if hasattr(entry, "min_value"):
            return type(entry.default)(value)
        return entry.values[list(entry.values).index(value)]  # 32 for 32.0

    values = space.draw(value_of)
    for name in given:
        if name not in values:
            raise ValueError(
                "Given values must name hyperparameters with an effect; received "
                f"{name}={given[name]!r} in {where}, which needs {_needs(name, space)}."
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
