"""Reports: a trial's metrics per epoch, on KerasTuner's record of it."""

from __future__ import annotations

from typing import Any

import keras
from keras_tuner.src.engine.trial import TrialStatus


class Reports(keras.callbacks.Callback):
    """Tells the oracle the metrics of each epoch, and stops where it says so.

    Attributes:
        is_pruned: Whether the oracle has stopped the trial.

    Args:
        oracle: The oracle.
        trial_id: Of the trial.
    """

    def __init__(self, oracle: Any, trial_id: str) -> None:
        super().__init__()
        self.oracle = oracle
        self.trial_id = trial_id
        self.is_pruned = False

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        trial = self.oracle.update_trial(self.trial_id, dict(logs or {}), epoch)
        is_last = epoch + 1 == self.params["epochs"]  # There is nothing to save.
        if trial.status == TrialStatus.STOPPED and not is_last:
            self.is_pruned = self.model.stop_training = True


def observe(trial: Any, step: int, metrics: dict[str, float]) -> None:
    """Put an epoch's metrics, which are known to the trial, on its record.

    KerasTuner would look twice for the best of all epochs, which takes longer than
    anything else in a report.
    """
    for name, value in metrics.items():
        trial.metrics.metrics[name].update(float(value), step)


def observed(trial: Any, step: int) -> dict[str, float]:
    """Return the metrics that were reported after an epoch, by name."""
    return {
        name: observation.value[-1]
        for name, history in trial.metrics.metrics.items()
        for observation in history.get_history()
        if observation.step == step
    }


def values_of(trial: Any, name: str) -> list[float]:
    """Return a metric's value after each epoch that was reported."""
    history = trial.metrics.metrics.get(name)
    return [seen.value[-1] for seen in history.get_history()] if history else []


def forget(trial: Any, step: int) -> None:
    """Take an epoch's metrics and those of later ones off the record.

    A trial that reports other metrics for an epoch than before is run again.
    """
    for history in trial.metrics.metrics.values():
        kept = [seen for seen in history.get_history() if seen.step < step]
        history._observations = {seen.step: seen for seen in kept}
