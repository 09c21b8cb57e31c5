"""RemoteOracle: an oracle whose calls go to another process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras_tuner
from keras_tuner.src.engine.trial import Trial, TrialStatus

IDLE_WAIT_S = 0.2


class RemoteOracle(keras_tuner.Oracle):
    """What a worker's tuner takes for its oracle.

    Args:
        call: Calls a method of the real oracle, by name, with arguments.
        objective: As of KerasTuner's oracles.
        most_trials: How many trials to hand out; None for all there are.

    Attributes:
        has_more: Whether there may be trials beyond those.
    """

    def __init__(
        self, call: Callable[..., Any], objective: str, most_trials: int | None = None
    ) -> None:
        super().__init__(objective=objective)
        self._call = call
        self._left = most_trials
        self.has_more = True

    def create_trial(self, tuner_id: str) -> Any:
        if self._left == 0:
            return Trial(self.hyperparameters, None, TrialStatus.STOPPED)
        trial = self._call("create_trial", tuner_id)
        self.has_more = trial.status != TrialStatus.STOPPED
        if self._left is not None and trial.status == TrialStatus.RUNNING:
            self._left -= 1
        if trial.status == TrialStatus.IDLE:
            time.sleep(IDLE_WAIT_S)  # KerasTuner asks again at once.
        return trial

    def update_trial(self, trial_id: str, metrics: Any, step: int = 0) -> Any:
        return self._call("update_trial", trial_id, metrics, step)

    def end_trial(self, trial: Any) -> None:
        self._call("end_trial", trial)

    def abandon(self, tuner_id: str, message: str) -> bool:
        """Fail the trial of a worker, which is about to end its process."""
        return self._call("abandon", tuner_id, message)

    def get_trial(self, trial_id: str) -> Any:
        return self._call("get_trial", trial_id)

    def get_space(self) -> Any:
        return self._call("get_space")

    def update_space(self, hyperparameters: Any) -> None:
        self._call("update_space", hyperparameters)
