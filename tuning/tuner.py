"""The Tuner that runs one trial after another: seeds, best weights, records."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable
from typing import Any

import keras
import keras_tuner
import numpy as np
from keras_tuner.src.engine import trial as trial_module

from alexnet.data import ImageData
from tuning.hypermodel import HyperAlexNet, cost_of
from tuning.settings import SearchSettings, derive_seed
from tuning.store import Store, write_bytes, write_json


class TrialTuner(keras_tuner.Tuner):
    """Runs trials as the oracle hands them out; a KerasTuner `Tuner`.

    Each trial has a seed of its own, so that its result does not depend on what
    the process ran before. Its best epoch's weights, history and cost are in its
    folder before the oracle hears its score.

    Args:
        oracle: Hands out trials and takes their scores.
        hypermodel: Builds and trains networks.
        store: The search directory.
        settings: Of the search.
        tuner_id: Name of the worker; one that is started again under its name
            gets its trial back.
        on_progress: Called as each trial begins and ends.
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        hypermodel: HyperAlexNet,
        store: Store,
        settings: SearchSettings,
        tuner_id: str,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        # KerasTuner only needs the two names; the store says where files go.
        super().__init__(
            oracle,
            hypermodel,
            directory=str(store.root.parent),
            project_name=store.root.name,
            tuner_id=tuner_id,
        )
        self.store = store
        self.settings = settings
        self._on_progress = on_progress

    def run(self, data: ImageData) -> None:
        """Run trials on `data` until the oracle has no more."""
        self.search(
            data.x_train,
            data.y_train,
            validation_data=(data.x_val, data.y_val),
            epochs=self.settings.epochs,
        )

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Train the trial's network; return the metrics of its best epoch."""
        started = time.monotonic()
        values = trial.hyperparameters.values
        keras.utils.set_random_seed(
            derive_seed(self.settings.seed, f"trial {int(trial.trial_id)}")
        )
        model = self._try_build(trial.hyperparameters)
        if "tuner/epochs" in values:  # Hyperband's rounds go on where one ended.
            kwargs["epochs"] = values["tuner/epochs"]
            kwargs["initial_epoch"] = values["tuner/initial_epoch"]
        if "tuner/trial_id" in values:
            load_weights(model, self.store, values["tuner/trial_id"])
        best = BestEpoch(self.oracle.objective)
        history = self.hypermodel.fit(
            trial.hyperparameters, model, *args, callbacks=[best], verbose=0, **kwargs
        )
        best.save(model, self.store, trial.trial_id)
        cost = cost_of(model)
        write_json(
            self.store.record_file(trial.trial_id),
            {
                "parameters": cost.parameters,
                "multiply_adds": cost.multiply_adds,
                "seconds": round(time.monotonic() - started, 3),
                "best_epoch": best.epoch,
                "epochs": history.epoch,
                "history": history.history,
            },
        )
        return {name: float(value) for name, value in best.metrics.items()}

    def on_trial_begin(self, trial: Any) -> None:
        """Report that the trial runs."""
        super().on_trial_begin(trial)
        self._on_progress()

    def on_trial_end(self, trial: Any) -> None:
        """Report the trial's end to the oracle."""
        super().on_trial_end(trial)
        self._on_progress()

    def save(self) -> None:
        """Do nothing: KerasTuner would write a file that holds nothing."""

    def _populate_initial_space(self) -> None:
        """Do nothing: the oracle knows the space."""

    def _try_run_and_update_trial(self, trial: Any, *args: Any, **kwargs: Any) -> None:
        self.store.error_file(trial.trial_id).unlink(missing_ok=True)
        try:
            metrics = self.run_trial(trial, *args, **kwargs)
            self.oracle.update_trial(trial.trial_id, metrics)
            trial.status = trial_module.TrialStatus.COMPLETED
        except Exception:  # Whatever the network or the user's code raises.
            trial.status = trial_module.TrialStatus.FAILED
            trial.message = traceback.format_exc()
            error_file = self.store.error_file(trial.trial_id)
            write_bytes(error_file, trial.message.encode())


class BestEpoch(keras.callbacks.Callback):
    """Keeps the weights of the best epoch, and stops at a loss that is no number.

    Args:
        objective: KerasTuner's: the metric and its direction.

    Attributes:
        epoch: Number of the best epoch, from 0.
        metrics: All metrics of that epoch.

    Raises:
        FloatingPointError: A loss is NaN or infinite (raised while training).
        ValueError: The model does not report the objective.
    """

    def __init__(self, objective: Any) -> None:
        super().__init__()
        self.objective = objective
        self.epoch: int | None = None
        self.metrics: dict[str, float] = {}
        self.weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        for name, value in logs.items():
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"Training must stay finite; {name} was {value} after epoch "
                    f"{epoch + 1}. Lower the learning rate."
                )
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
        _without_optimizer(model).save_weights(part)
        part.replace(file)


def load_weights(model: keras.Model, store: Store, trial_id: str) -> None:
    """Load the weights of a trial's best epoch."""
    _without_optimizer(model).load_weights(store.weights_file(trial_id))


def _without_optimizer(model: keras.Model) -> keras.Model:
    # Keras writes a compiled model's optimizer along: up to twice the weights.
    return keras.Model(model.inputs, model.outputs)
