"""Reports: a trial's metrics per epoch, on KerasTuner's record of it."""

from __future__ import annotations

from typing import Any


def observed(trial: Any, step: int) -> dict[str, float]:
    """Return the metrics that were reported after an epoch, by name."""
    return {
        name: observation.value[-1]
        for name, history in trial.metrics.metrics.items()
        for observation in history.get_history()
        if observation.step == step
    }


def forget(trial: Any, step: int) -> None:
    """Take an epoch's metrics and those of later ones off the record.

    A trial that reports other metrics for an epoch than before is run again.
    """
    for history in trial.metrics.metrics.values():
        kept = [seen for seen in history.get_history() if seen.step < step]
        history._observations = {seen.step: seen for seen in kept}
