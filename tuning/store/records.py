"""What the files of a search directory may hold: checks of all that is read.

Each check takes what a file was parsed to and returns it, or raises ValueError
saying what is wrong. Nothing here imports Keras or KerasTuner, and nothing that is
read names code.
"""

from __future__ import annotations

import math
import re
from typing import Any

TRIAL_STATUSES = ("RUNNING", "COMPLETED", "FAILED", "PRUNED")
ENDED_STATUSES = ("COMPLETED", "FAILED", "PRUNED")
MAX_TEXT = 500
TOLERANCE = 1e-9  # Of floats that are drawn on a logarithmic scale.

_TRIAL_ID = re.compile(r"[0-9]{1,9}")


def check_point(value: Any, trial_id: str, space: list[Any]) -> dict[str, Any]:
    """Check a point.json: the point of a trial, written once."""
    point = _table(value, "trial", "values", "seed_state", "is_given", "search")
    _demand(point["trial"] == trial_id, "it is of another trial")
    check_values(point["values"], space)
    _demand(_is_count(point["seed_state"]), "seed_state")
    _demand(isinstance(point["is_given"], bool), "is_given")
    _demand(isinstance(point["search"], str), "search")
    return point


def check_trial(value: Any, trial_id: str, space: list[Any]) -> dict[str, Any]:
    """Check a trial.json, KerasTuner's record of a trial."""
    trial = _table(value, "trial_id", "hyperparameters", "metrics", "score", "status")
    _demand(trial["trial_id"] == trial_id, "it is of another trial")
    check_values(_table(trial["hyperparameters"], "values")["values"], space)
    _demand(trial["status"] in TRIAL_STATUSES, f"status {trial['status']!r}")
    _demand(trial["score"] is None or is_finite(trial["score"]), "score")
    has_score = trial["status"] in ("COMPLETED", "PRUNED")
    _demand(not has_score or trial["score"] is not None, "no score")
    _demand(isinstance(trial.get("message") or "", str), "message")
    step = trial.get("best_step")
    _demand(step is None or _is_count(step), "best_step")
    metrics = _table(_table(trial["metrics"], "metrics")["metrics"])
    for name, history in metrics.items():
        _demand(_table(history)["direction"] in ("min", "max"), f"metric {name!r}")
        for observation in history["observations"]:
            values = _table(observation, "value", "step")["value"]
            _demand(all(map(is_number, values)), f"metric {name!r}")
            _demand(_is_count(observation["step"]), f"metric {name!r}")
    return trial


def check_record(value: Any) -> dict[str, Any]:
    """Check a record.json, what a trial's worker measured."""
    record = _table(value, "history")  # A failed trial may have no network.
    for name in ("parameters", "multiply_adds"):
        _demand(record.get(name) is None or _is_count(record[name]), name)
    notes = record.get("notes", [])
    _demand(isinstance(notes, list), "notes")
    _demand(all(isinstance(note, str) for note in notes), "notes")
    for name in ("seconds", "best_epoch"):
        known = record.get(name)
        _demand(known is None or (is_number(known) and known >= 0), name)
    for name, values in _table(record["history"]).items():
        _demand(isinstance(values, list) and all(map(is_number, values)), f"{name!r}")
    return record


def check_checkpoint(value: Any) -> dict[str, Any]:
    """Check the content of a checkpoint's state.json: how far a trial has come."""
    state = _table(value, "epochs", "next_epoch", "batch_size", "seconds", "best")
    check_record(state)
    _demand(all(map(_is_count, state["epochs"])), "epochs")
    _demand(_is_count(state["next_epoch"]), "next_epoch")
    batch_size = state["batch_size"]
    _demand(batch_size is None or (_is_count(batch_size) and batch_size), "batch_size")
    lengths = {len(values) for values in state["history"].values()}
    _demand(lengths <= {len(state["epochs"])}, "history")
    best = _table(state["best"], "epoch", "metrics")
    _demand(_is_count(best["epoch"]), "best epoch")
    _demand(all(map(is_number, _table(best["metrics"]).values())), "best metrics")
    return state


def check_state(value: Any) -> dict[str, Any]:
    """Check an oracle.json, the state of the oracle."""
    state = _table(value, "settings", "run", "seed_state", "ongoing_trials", "ended")
    _table(state["settings"])
    _demand(state["run"] is None or isinstance(state["run"], str), "run")
    _demand(_is_count(state["seed_state"]), "seed_state")
    for trial_id in _table(state["ongoing_trials"]).values():
        _demand(is_trial_id(trial_id), f"trial {trial_id!r}")
    for trial_id, status, score in state["ended"]:
        _demand(is_trial_id(trial_id), f"trial {trial_id!r}")
        _demand(status in ENDED_STATUSES, f"status {status!r}")
        _demand(score is None or is_finite(score), f"score of trial {trial_id}")
    ids = [row[0] for row in state["ended"]]
    _demand(len(set(ids)) == len(ids), "a trial that ended twice")
    return state


def check_values(values: Any, space: list[Any]) -> None:
    """Check a point's values: known names within their range, others plain."""
    entries: dict[str, list[Any]] = {}
    for entry in space:
        entries.setdefault(entry.name, []).append(entry)
    for name, value in _table(values).items():
        _demand(len(name) <= MAX_TEXT, "a long name")
        is_plain = isinstance(value, bool | str) or is_finite(value)
        _demand(is_plain and len(str(value)) <= MAX_TEXT, f"{name}={value!r}")
        if name in entries:
            _demand(
                any(allows(entry, value) for entry in entries[name]),
                f"{name}={value!r}, which is out of range",
            )


def allows(entry: Any, value: Any) -> bool:
    """Tell whether a hyperparameter of the space may have a value."""
    if not hasattr(entry, "min_value"):
        same = [item for item in entry.values if item == value]  # True == 1 == 1.0
        return any(isinstance(item, bool) == isinstance(value, bool) for item in same)
    if not is_finite(value):
        return False
    if type(entry).__name__ == "Int" and not isinstance(value, int):
        return False
    if entry.step is not None:
        return any(math.isclose(value, item) for item in entry.values)
    slack = TOLERANCE * max(abs(entry.min_value), abs(entry.max_value))
    return bool(entry.min_value - slack <= value <= entry.max_value + slack)


def is_trial_id(value: Any) -> bool:
    """Tell whether a value is a trial's id: a number as text."""
    return isinstance(value, str) and _TRIAL_ID.fullmatch(value) is not None


def is_number(value: Any) -> bool:
    """Tell whether a value is a number, finite or not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Tell whether a value is a finite number."""
    return is_number(value) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return is_number(value) and value >= 0 and value == int(value)


def _table(value: Any, *names: str) -> dict[str, Any]:
    _demand(isinstance(value, dict), "it holds no table")
    for name in names:
        _demand(name in value, f"it lacks {name!r}")
    return value


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"unexpected content: {what}")
