"""A search goes on with more trials, or with points that people add."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tuning.points.start_points import complete_points, nearest
from tuning.points.values import public
from tuning.settings import SearchSettings
from tuning.store.directory import Store, StoreError
from tuning.store.recovery import TrialFiles

if TYPE_CHECKING:
    from tuning.space.hypermodel import HyperAlexNet


def go_on_with(
    stored: SearchSettings | None, given: SearchSettings, store: Store
) -> SearchSettings:
    """Return the settings with which a search begins, or goes on.

    Args:
        stored: Of the search in the directory; None if there is none.
        given: Of the command.
        store: The search directory.

    Raises:
        StoreError: They differ in more than what may grow.
    """
    if stored is None:
        return given
    if differences := given.differences(stored.to_json()):
        raise StoreError(
            f"A search is resumed with its own settings; received {store.root}, "
            f"whose search differs in {'; '.join(differences)}. Use the same "
            "settings, or another directory."
        )
    added = [point for point in given.add if point not in stored.add]
    return dataclasses.replace(given, add=(*stored.add, *added))


def is_more(settings: SearchSettings, stored: SearchSettings | None) -> bool:
    """Tell whether a search goes on with more than it had."""
    return stored is None or settings.total_trials > stored.total_trials


def without_tried(
    settings: SearchSettings,
    stored: SearchSettings | None,
    hypermodel: HyperAlexNet,
    store: Store,
    tell: Callable[[str], None],
) -> SearchSettings:
    """Return settings without those added points that were tried before.

    A point that the search remembers stays: the same command adds it once. What new
    points have otherwise than the presets that they are named after is told.

    Args:
        settings: As `go_on_with` returns them.
        stored: Of the search in the directory; None if there is none.
        hypermodel: Declares the space, and measures points against the limits.
        store: The search directory.
        tell: Is told what is left out, and what is not as published.

    Raises:
        ValueError: A point is none of the space, or beyond the limits.
    """
    from tuning.space.limits import make_space

    space = make_space(hypermodel, settings.tune)

    def complete(name: str, points: tuple) -> list:
        return complete_points(name, points, space, hypermodel, settings)

    remembered = () if stored is None else stored.add
    new = settings.add[len(remembered) :]
    tried = {}
    for trial_id in store.trial_ids() if new else ():
        files = TrialFiles(store, trial_id, space.space, tell)
        point = public(files.values or {})
        tried[repr(sorted(point.items()))] = f"trial {trial_id}"
    known = [*complete("start_with", settings.start_with), *complete("add", remembered)]
    for index, name in enumerate(() if stored else settings.start_with):
        _tell_changes(name, space, hypermodel, tell)
        if known[index] in known[:index]:
            first = settings.start_with[known.index(known[index])]
            tell(f"Tried once, since they are the same point here: {first}, {name}")
    for point in known:
        tried.setdefault(repr(sorted(point.items())), "a point that it has yet to try")
    kept = list(remembered)
    for given, values in zip(new, complete("add", new), strict=True):
        key = repr(sorted(values.items()))
        if key in tried:
            tell(f"Not added, since the search has it as {tried[key]}: {given}")
        else:
            tried[key] = "a point that is added"
            kept.append(given)
            _tell_changes(given, space, hypermodel, tell)
    return dataclasses.replace(settings, add=tuple(kept))


def _tell_changes(
    given: Any, space: Any, hypermodel: HyperAlexNet, tell: Callable[[str], None]
) -> None:
    """Tell what is not as published at a point that is given as a preset."""
    if isinstance(given, str):
        head = f"{given} is tried as near to it as the space allows. Not as published:"
        tell("\n  ".join([head, *nearest(given, space, hypermodel).changes]))
