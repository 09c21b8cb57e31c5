"""What `python -m tuning status` shows; it reads the directory and nothing else."""

from __future__ import annotations

from typing import Any

from alexnet.compare.tables import table
from tuning.settings import SearchSettings
from tuning.store.files import disk_use
from tuning.store.layout import Store
from tuning.store.results import ranked, read_results

STATUSES = ("COMPLETED", "PRUNED", "FAILED", "RUNNING", "DAMAGED")


def status(settings: SearchSettings, store: Store, most: int = 10) -> str:
    """Return how far a search has come, as text.

    Args:
        settings: Of the search.
        store: The search directory.
        most: Trials to list at most, the best ones.
    """
    rows = read_results(store)
    counts = [
        f"{sum(row['status'] == name for row in rows)} {name.lower()}"
        for name in STATUSES
        if name != "DAMAGED" or any(row["status"] == name for row in rows)
    ]
    objective = settings.objective
    heading = (
        f"{settings.tuner} search on {settings.data}: {len(rows)} of "
        f"{settings.total_trials} trials begun; {', '.join(counts)}; "
        f"{disk_use(store.root) / 2**20:,.1f} MiB on disk"
    )
    lines = [heading, "", leaderboard(rows, objective, most)]
    running = [row for row in rows if row["status"] == "RUNNING"]
    if running:
        lines.append("")
    for row in running:
        epochs, begun = row["planned_epochs"], row["first_epoch"]
        latest = "".join(
            f", {objective} {value:.4f}"
            for value in row["history"].get(objective, [])[-1:]
        )
        lines.append(
            f"trial {row['trial']} runs: {begun + row['epochs']} of {epochs} epochs"
            f"{latest}"
        )
    for row in rows:
        if row["status"] == "FAILED":
            text = (row["failure"] or "").strip() or "its traceback is gone"
            lines += ["", f"trial {row['trial']} failed:", text.splitlines()[-1]]
    return "\n".join(lines)


def leaderboard(rows: list[dict[str, Any]], objective: str, most: int = 10) -> str:
    """Return the best trials as a table of text."""
    head = ("", "trial", objective, "parameters", "multiply-adds", "seconds", "network")
    lines = [
        (
            str(rank),
            row["trial"],
            f"{row['score']:.4f}",
            _grouped(row["parameters"]),
            _grouped(row["multiply_adds"]),
            "" if row["seconds"] is None else f"{row['seconds']:.1f}",
            _network(row["hyperparameters"]),
        )
        for rank, row in enumerate(ranked(rows, objective)[:most], start=1)
    ]
    return table([head, *lines], right=range(6), rule=False)


def _grouped(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _network(values: dict[str, Any]) -> str:
    """Describe hyperparameters in a few words."""
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
