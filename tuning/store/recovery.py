"""Damaged files: found, set aside under a clear name, and told.

A file is damaged if it is cut off, no JSON, or holds what no such file can hold.
It is renamed, never deleted: oracle.json becomes oracle.json.damaged-1.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tuning.settings import SearchSettings
from tuning.store.directory import Store, StoreError, read_json
from tuning.store.records import check_point, check_record, check_state, check_trial

Tell = Callable[[str], None]


class TrialFiles:
    """What a trial's folder holds; None for what is missing or was set aside.

    Args:
        store: The search directory.
        trial_id: Of the trial.
        space: The hyperparameters of the space, which values are checked against.
        tell: Is told what was set aside.

    Attributes:
        point: Of point.json.
        trial: Of trial.json.
        are_damaged: Whether one of the two is missing or was set aside.
    """

    def __init__(
        self, store: Store, trial_id: str, space: list[Any], tell: Tell
    ) -> None:
        self.trial_id = trial_id
        self.point = read_sound(
            store.point_file(trial_id),
            lambda content: check_point(content, trial_id, space),
            tell,
        )
        self.trial = read_sound(
            store.trial_file(trial_id),
            lambda content: self._fits(check_trial(content, trial_id, space)),
            tell,
        )
        self.are_damaged = self.point is None or self.trial is None

    def _fits(self, trial: dict[str, Any]) -> dict[str, Any]:
        values = trial["hyperparameters"]["values"]
        if self.point and not self.point["values"].items() <= values.items():
            raise ValueError("unexpected content: its point is not that of point.json")
        return trial

    @property
    def values(self) -> dict[str, Any] | None:
        """The trial's point, if either file has it."""
        if self.trial is not None:
            return self.trial["hyperparameters"]["values"]
        return None if self.point is None else self.point["values"]


def read_sound(file: Path, check: Callable[[Any], Any], tell: Tell) -> Any:
    """Return a JSON file's content; None if it is missing or had to be set aside.

    Args:
        file: To read.
        check: Returns its content or raises an error that says what is wrong.
        tell: Is told what was set aside.
    """
    if not file.exists():
        return None
    try:
        return checked(file, check)
    except ValueError as error:
        set_aside(file, str(error), tell)
        return None


def set_aside(file: Path, reason: str, tell: Tell) -> None:
    """Rename a damaged file, and tell its new name."""
    for number in itertools.count(1):
        aside = file.with_name(f"{file.name}.damaged-{number}")
        if not aside.exists():
            file.rename(aside)
            break
    tell(f"Damaged ({reason}): {file}. It is set aside as {aside.name} and rebuilt.")


def read_state(store: Store, tell: Tell) -> dict[str, Any] | None:
    """Return the oracle's state, if there is one and it is sound."""
    return read_sound(store.oracle_file, check_state, tell)


def check_weights(store: Store, trial_id: str, tell: Tell) -> bool:
    """Tell whether a trial's weights are there and whole; set aside what is not."""
    import h5py

    file = store.weights_file(trial_id)
    if not file.exists():
        return False
    try:
        with h5py.File(file) as weights:  # Knows how long it must be.
            weights.visititems(lambda name, item: None)
        return True
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        set_aside(file, " ".join(str(error).split()), tell)
        return False


def read_record(store: Store, trial_id: str, tell: Tell) -> dict[str, Any] | None:
    """Return what a trial's worker measured, if it is there and sound."""
    return read_sound(store.record_file(trial_id), check_record, tell)


def read_settings(
    store: Store, given: SearchSettings, tell: Tell
) -> SearchSettings | None:
    """Return the settings of the search in a directory; None if there is none.

    A damaged search.json is rebuilt from the copy in oracle.json or, if this is
    damaged, too, from `given`, if the trials prove that these are the search's.

    Args:
        store: The search directory.
        given: Settings of the command.
        tell: Is told what was set aside.

    Raises:
        StoreError: It is damaged, and nothing proves that `given` are its settings.
    """
    reason = "it is missing"
    if store.settings_file.exists():
        try:
            return checked(store.settings_file, settings_from)
        except ValueError as error:
            reason = str(error)
    elif not store.oracle_file.exists() and not store.trial_ids():
        return None
    settings = _settings_of_state(store)
    if settings is None and not _prove(store, given):
        raise StoreError(
            "A damaged search.json is rebuilt from oracle.json, or from the command's "
            "own settings if the trials are of the same search; received "
            f"{store.root}, where neither can be done ({reason}). Give the settings "
            "that the search was started with, or use another directory."
        )
    if store.settings_file.exists():
        set_aside(store.settings_file, reason, tell)
    else:
        tell(f"Missing: {store.settings_file}. It is rebuilt.")
    return settings or dataclasses.replace(given, add=())


def _settings_of_state(store: Store) -> SearchSettings | None:
    try:
        return settings_from(checked(store.oracle_file, check_state)["settings"])
    except ValueError:
        return None


def _prove(store: Store, given: SearchSettings) -> bool:
    """Tell whether the trials, if there are any, are of a search with these settings.

    Their points name it; a single one that does not is no proof.
    """
    names = set()
    for trial_id in store.trial_ids():
        try:
            names.add(read_json(store.point_file(trial_id))["search"])
        except (StoreError, TypeError, KeyError):  # Damaged; others may prove it.
            continue
    return names == {given.identity()} or not store.trial_ids()


def settings_from(value: Any) -> SearchSettings:
    """Return the settings that a search.json holds; ValueError if it holds none."""
    known = {field.name for field in dataclasses.fields(SearchSettings)}
    if not {"data", "tuner", "trials", "seed"} <= value.keys():
        raise ValueError("unexpected content: it lacks the settings of a search")
    return SearchSettings(**{name: value[name] for name in known & value.keys()})


def checked(file: Path, check: Callable[[Any], Any]) -> Any:
    """Return a file's content.

    Args:
        file: To read.
        check: Returns its content or raises an error that says what is wrong.

    Raises:
        ValueError: It is missing or damaged; says how.
    """
    try:
        return check(read_json(file))
    except StoreError as error:
        raise ValueError(str(error.__cause__)) from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(str(error)) from error
