"""What watches a trial's epochs: the best one, the oracle's word, finite losses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tuning.store.objective import Objective


class BestEpoch(keras.callbacks.Callback):
    """Keeps the weights of the best epoch.

    Args:
        objective: Of the search.
        first_epoch: The trial's first; those before are another trial's.

    Attributes:
        epoch: Number of the best epoch, from 0; None before the first.
        score: The objective after it.
        weights: The weights after it.

    Raises:
        ValueError: The model does not report the objective (raised while training).
    """

    def __init__(self, objective: Objective, first_epoch: int = 0) -> None:
        super().__init__()
        self.objective = objective
        self.first_epoch = first_epoch
        self.epoch: int | None = None
        self.score = math.nan
        self.weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        name = self.objective.name
        if name not in logs:
            raise ValueError(
                f"The model must report the objective {name!r}; it reported "
                f"{', '.join(logs)}. Compile it with that metric."
            )
        if epoch < self.first_epoch:
            return
        score = float(logs[name])
        if self.epoch is None or self.objective.better(score, self.score):
            self.epoch = epoch
            self.score = score
            self.weights = self.model.get_weights()


class Reports(keras.callbacks.Callback):
    """Reports the metrics after each epoch, and stops where the oracle says so.

    Args:
        report: Takes the metrics of all epochs; returns whether to stop.
        history: Of the epochs before, by metric; epochs are added to it here.
        first_epoch: The trial's first; those before are not reported.

    Attributes:
        is_pruned: Whether the oracle has stopped the trial.
    """

    def __init__(
        self,
        report: Callable[[dict[str, list[float]]], bool],
        history: dict[str, list[float]],
        first_epoch: int = 0,
    ) -> None:
        super().__init__()
        self.report = report
        self.history = history
        self.first_epoch = first_epoch
        self.is_pruned = False

    def on_train_begin(self, logs: Any = None) -> None:
        if self.history:  # Of which the oracle may know more, or less.
            self._report()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch < self.first_epoch:
            return
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        stops = self._report()
        is_last = epoch + 1 == self.params["epochs"]  # There is nothing to save.
        if stops and not is_last:
            self.is_pruned = self.model.stop_training = True

    def _report(self) -> bool:
        # A copy: the oracle keeps it, and compares it with the next one.
        return self.report({name: [*past] for name, past in self.history.items()})


class FiniteLoss(keras.callbacks.Callback):
    """Ends training at a loss that is no number, in the batch where it arises.

    Args:
        values: The hyperparameters, for the message.

    Raises:
        FloatingPointError: A loss is NaN or infinite (raised while training).
    """

    # Keras then looks at a batch's loss while the next batches are on their way.
    async_safe = True

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__()
        self.values = values
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        self._check({"loss": (logs or {}).get("loss", 0.0)}, f"batch {batch + 1} of ")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._check(logs or {}, "")

    def _check(self, losses: dict[str, float], place: str) -> None:
        for name, value in losses.items():
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"Training must stay finite; {name} was {value} in {place}epoch "
                    f"{self.epoch + 1} with {text_of(self.values)}. Lower the learning "
                    "rate."
                )


def text_of(values: dict[str, Any]) -> str:
    """Return hyperparameters as text."""
    return ", ".join(f"{name}={value}" for name, value in values.items())
