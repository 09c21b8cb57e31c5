"""The trials of a search directory as rows, for tables of any kind."""

from __future__ import annotations

from typing import Any

from tuning.store.layout import Store
from tuning.store.objective import Objective
from tuning.store.records import TrialRecord
from tuning.store.recovery import read_record

# Not in a CSV file.
NESTED = ("history", "hyperparameters", "failure", "first_epoch", "planned_epochs")
SHOWN = ("score", "parameters", "multiply_adds", "seconds", "best_epoch", "continues")


def read_results(store: Store) -> list[dict[str, Any]]:
    """Return one row per trial, in the order of their ids.

    A row holds "trial", "status" (RUNNING for one that has not ended, DAMAGED for one
    whose record cannot be read), "score", "parameters", "multiply_adds" (per image),
    "seconds", "best_epoch" (from 0), "continues" (Hyperband's: the trial whose
    training it continues), "notes" (what happened to it, as text), "first_epoch" and
    "planned_epochs" (where its training begins, and how far it goes), "epochs" (how
    many have ended), "history" (per metric its value after each of them),
    "hyperparameters", a dict, and "failure", its traceback. What is not known is None.
    """
    rows = []
    for trial_id in store.trial_ids():
        try:
            rows.append(_row(read_record(store, trial_id, [])))
        except ValueError:
            unknown = dict.fromkeys(SHOWN)
            row = {"trial": trial_id, "status": "DAMAGED", **unknown, "notes": ""}
            nested: dict[str, Any] = {"history": {}, "hyperparameters": {}}
            planned = {"first_epoch": 0, "planned_epochs": 0, "epochs": 0}
            rows.append({**row, **planned, **nested, "failure": None})
    return rows


def _row(record: TrialRecord) -> dict[str, Any]:
    failure = record.failure
    return {
        "trial": record.trial,
        "status": record.status,
        **{name: getattr(record, name) for name in SHOWN},
        "notes": "; ".join(record.notes),
        "first_epoch": record.first_epoch,
        "planned_epochs": record.epochs,
        "epochs": max(map(len, record.history.values()), default=0),
        "history": record.history,
        "hyperparameters": record.values,
        "failure": None if failure is None else failure.message,
    }


def table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with each hyperparameter as a column of its own, for a CSV file."""
    flat = []
    for row in rows:
        known = {key: value for key, value in row.items() if key not in NESTED}
        flat.append({**known, **row["hyperparameters"]})
    return flat


def ranked(rows: list[dict[str, Any]], objective: str) -> list[dict[str, Any]]:
    """Return the rows of completed trials, best first; of equals the earlier."""
    return Objective(objective).ranked_rows(rows)
