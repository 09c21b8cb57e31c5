"""Weights of a trial: those of its best epoch, in memory and on disk."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tuning.store.directory import Store, allocate

# At most, of an HDF5 file: beside its variables, and beside each one's numbers.
FILE_BYTES = 2**16
VARIABLE_BYTES = 2**12


class BestEpoch(keras.callbacks.Callback):
    """Keeps the weights of the best epoch.

    Args:
        objective: KerasTuner's: the metric and its direction.

    Attributes:
        epoch: Number of the best epoch, from 0.
        metrics: All metrics of that epoch.
        weights: The weights after it.

    Raises:
        ValueError: The model does not report the objective (raised while training).
    """

    def __init__(self, objective: Any) -> None:
        super().__init__()
        self.objective = objective
        self.epoch: int | None = None
        self.metrics: dict[str, float] = {}
        self.weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        if not self.objective.has_value(logs):
            raise ValueError(
                f"The model must report the objective {self.objective.name!r}; it "
                f"reported {', '.join(logs)}. Compile it with that metric."
            )
        value = self.objective.get_value(logs)
        if self.epoch is None or self.objective.better_than(
            value, self.objective.get_value(self.metrics)
        ):
            self.epoch = epoch
            self.metrics = dict(logs)
            self.weights = self.model.get_weights()

    def save(self, model: keras.Model, store: Store, trial_id: str) -> None:
        """Set the model to its best epoch and write those weights."""
        model.set_weights(self.weights)
        file = store.weights_file(trial_id)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name("part.weights.h5")
        save_weights(without_optimizer(model), part)
        part.replace(file)


def save_weights(model: keras.Model, file: Path) -> None:
    """Write a model's weights, and its optimizer's if it is compiled.

    Raises:
        OSError: They do not fit; the file is not there then.
    """
    reserve(file, model)
    model.save_weights(file)


def reserve(file: Path, model: keras.Model) -> None:
    """Check that a file of a model can be written: room, quota, limit of a file's size.

    HDF5 that cannot finish a file crashes its process, at once or later.

    Raises:
        OSError: It cannot; the file is not there then.
    """
    variables = list(model.variables)
    if getattr(model, "optimizer", None) is not None:
        variables += model.optimizer.variables
    size = FILE_BYTES
    for variable in variables:
        item_size = 8 if "64" in str(variable.dtype) else 4
        size += VARIABLE_BYTES + item_size * math.prod(variable.shape)
    try:
        with file.open("wb") as stream:
            allocate(stream, size)
    except OSError:
        file.unlink(missing_ok=True)
        raise


def load_weights(model: keras.Model, store: Store, trial_id: str) -> None:
    """Load the weights of a trial's best epoch."""
    without_optimizer(model).load_weights(store.weights_file(trial_id))


def without_optimizer(model: keras.Model) -> keras.Model:
    """Return a model with the same weights that Keras saves alone.

    Keras writes a compiled model's optimizer along: up to twice the weights.
    """
    return keras.Model(model.inputs, model.outputs)
