"""Damaged files: found, set aside under a clear name, and reported.

A file is damaged if it is cut off, no JSON, or holds what no such file can hold.
It is renamed, never deleted: trial.json becomes trial.json.damaged-1.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tuning.settings import SearchSettings
from tuning.store.files import MAX_JSON_BYTES, StoreError, read_json
from tuning.store.layout import Store
from tuning.store.records import TrialRecord, parse

Notify = Callable[[str], None]


def set_aside(file: Path, reason: str, notify: Notify) -> None:
    """Rename a damaged file, and report its new name."""
    for number in itertools.count(1):
        aside = file.with_name(f"{file.name}.damaged-{number}")
        if not aside.exists():
            file.rename(aside)
            break
    notify(f"Damaged ({reason}): {file}. It is set aside as {aside.name}.")


def read_record(store: Store, trial_id: str, space: list[Any]) -> TrialRecord:
    """Return a trial's record.

    Raises:
        ValueError: It is missing or damaged; says how.
    """
    file = store.trial_file(trial_id)
    try:
        if file.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"it is larger than {MAX_JSON_BYTES} bytes")
        content = file.read_bytes()
    except OSError as error:
        raise ValueError(str(error)) from error
    return parse(content, trial_id, space)


def sound_records(
    store: Store, space: list[Any], notify: Notify
) -> dict[str, TrialRecord | None]:
    """Return the trials' records by id, in order; None for one that is damaged.

    What is damaged is set aside.

    Args:
        store: The search directory.
        space: The hyperparameters of the space, which values are checked against.
        notify: Is called with what was set aside.
    """
    records: dict[str, TrialRecord | None] = {}
    for trial_id in store.trial_ids():
        try:
            records[trial_id] = read_record(store, trial_id, space)
        except ValueError as error:
            set_aside(store.trial_file(trial_id), str(error), notify)
            records[trial_id] = None
    return records


def has_weights(store: Store, trial_id: str, notify: Notify) -> bool:
    """Return whether a trial's weights are there and whole; set aside what is not."""
    from tuning.store.arrays import check_arrays  # NumPy, which `status` spares.

    file = store.weights_file(trial_id)
    if not file.exists():
        return False
    try:
        check_arrays(file)
    except ValueError as error:
        set_aside(file, str(error), notify)
        return False
    return True


def read_settings(store: Store, notify: Notify) -> SearchSettings | None:
    """Return the settings of the search in a directory; None if there is none.

    A damaged search.json is rebuilt from the record of the last trial.

    Args:
        store: The search directory.
        notify: Is called with what was set aside.

    Raises:
        StoreError: It is damaged, and so is every record.
    """
    reason = "it is missing"
    try:
        return stored_settings(store)
    except FileNotFoundError:
        if not store.trial_ids():
            return None
    except ValueError as error:
        reason = str(error)
    settings = _settings_of_records(store)
    if settings is None and store.trial_ids():
        raise StoreError(
            "A damaged search.json is rebuilt from the trials' records; received "
            f"{store.root}, where all of them are damaged, too ({reason}). Use another "
            "directory."
        )
    if store.settings_file.exists():
        set_aside(store.settings_file, reason, notify)
    notify(f"Rebuilt: {store.settings_file}.")
    return settings


def stored_settings(store: Store) -> SearchSettings:
    """Return the settings that search.json holds.

    Raises:
        FileNotFoundError: It is missing.
        ValueError: It is damaged; says how.
    """
    try:
        return SearchSettings.from_json(read_json(store.settings_file))
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(str(error)) from error


def _settings_of_records(store: Store) -> SearchSettings | None:
    for trial_id in reversed(store.trial_ids()):
        try:
            stored = read_record(store, trial_id, []).settings
            return SearchSettings.from_json(stored)
        except (ValueError, TypeError):  # Damaged; others may have them.
            continue
    return None
