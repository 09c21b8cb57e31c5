"""What a search directory's trials came to: rows, ranking, leaderboard."""

from __future__ import annotations

import functools
from typing import Any

from tuning.store.directory import Store
from tuning.store.records import check_record, check_trial
from tuning.store.recovery import checked

NESTED = ("history", "hyperparameters")
RECORDED = ("parameters", "multiply_adds", "seconds", "best_epoch")


def read_results(store: Store) -> list[dict[str, Any]]:
    """Return one row per trial, in the order of their ids.

    A row holds "trial", "status" (RUNNING for one that was cut off, DAMAGED for one
    whose trial.json cannot be read), "score", "parameters", "multiply_adds" (per
    image), "seconds", "best_epoch" (from 0), "notes" (what happened to it, as text),
    "epochs" (how many have ended), "history" (per metric its value after each of
    them) and "hyperparameters", a dict. What is not known is None.
    """
    rows = []
    for trial_id in store.trial_ids():
        try:
            check = functools.partial(check_trial, trial_id=trial_id, space=[])
            trial = checked(store.trial_file(trial_id), check)
        except ValueError:
            trial = {"status": "DAMAGED", "score": None, "hyperparameters": {}}
        try:
            record = checked(store.record_file(trial_id), check_record)
        except ValueError:
            record = {}
        history = _history(trial)
        rows.append(
            {
                "trial": trial_id,
                "status": trial["status"],
                "score": trial["score"],
                **{name: record.get(name) for name in RECORDED},
                "notes": "; ".join(record.get("notes", [])),
                "epochs": max(map(len, history.values()), default=0),
                "history": history,
                "hyperparameters": trial["hyperparameters"].get("values", {}),
            }
        )
    return rows


def _history(trial: dict[str, Any]) -> dict[str, list[float]]:
    """Return the metrics that a trial reported, from KerasTuner's record of it."""
    metrics = trial.get("metrics", {}).get("metrics", {})
    return {
        name: [seen["value"][-1] for seen in metric["observations"]]
        for name, metric in metrics.items()
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
    completed = [row for row in rows if row["status"] == "COMPLETED"]
    sign = 1 if objective.endswith("loss") else -1
    return sorted(completed, key=lambda row: sign * row["score"])


def leaderboard(rows: list[dict[str, Any]], objective: str, most: int = 10) -> str:
    """Return the best trials as a table of text."""
    lines = [
        ("", "trial", objective, "parameters", "multiply-adds", "seconds", "network")
    ]
    best = ranked(rows, objective)[:most]
    for rank, row in enumerate(best, start=1):
        lines.append(
            (
                str(rank),
                row["trial"],
                f"{row['score']:.4f}",
                _grouped(row["parameters"]),
                _grouped(row["multiply_adds"]),
                "" if row["seconds"] is None else f"{row['seconds']:.1f}",
                _network(row["hyperparameters"]),
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == len(widths) - 1 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _grouped(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _network(values: dict[str, Any]) -> str:
    """Describe a point in a few words."""
    filters = [
        str(values[name]) for name in sorted(values) if name.startswith("filters_")
    ]
    rate = values.get(f"{values.get('optimizer')}_learning_rate")
    words = [
        "-".join(filters) and f"{'-'.join(filters)} filters",
        "LRN" if values.get("use_lrn") else "",
        values.get("optimizer", ""),
        "" if rate is None else f"{rate:.1e}",
    ]
    return " ".join(word for word in words if word)
