"""What `python -m tuning status` shows; it reads the directory and nothing else."""

from __future__ import annotations

from tuning.settings import SearchSettings
from tuning.store.directory import Store, disk_use
from tuning.store.results import leaderboard, read_results

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
        epochs = row["hyperparameters"].get("tuner/epochs", settings.epochs)
        begun = row["hyperparameters"].get("tuner/initial_epoch", 0)
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
            file = store.error_file(row["trial"])
            error = file.read_text().strip() if file.exists() else ""
            last = error.splitlines()[-1] if error else "its traceback is gone"
            lines += ["", f"trial {row['trial']} failed:", last]
    return "\n".join(lines)
