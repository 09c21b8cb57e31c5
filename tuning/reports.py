"""Reports: a trial's metrics per epoch, on KerasTuner's record of it."""

from __future__ import annotations

from typing import Any

import keras


class Reports(keras.callbacks.Callback):
    """Tells the oracle the metrics of each epoch.

    Args:
        oracle: The oracle.
        trial_id: Of the trial.
    """

    def __init__(self, oracle: Any, trial_id: str) -> None:
        super().__init__()
        self.oracle = oracle
        self.trial_id = trial_id

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.oracle.update_trial(self.trial_id, dict(logs or {}), epoch)


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
