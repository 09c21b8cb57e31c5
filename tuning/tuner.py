"""The Tuner that runs one trial after another: seeds, best weights, records."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import keras
import keras_tuner
from keras_tuner.src.engine import trial as trial_module

from alexnet.data import ImageData
from tuning.checkpoints import (
    CheckpointError,
    Checkpoints,
    TrialState,
    load,
    remove,
)
from tuning.failures import FiniteLoss, public
from tuning.hypermodel import HyperAlexNet, cost_of
from tuning.settings import SearchSettings, derive_seed
from tuning.store import Store, write_bytes, write_json
from tuning.weights import BestEpoch


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
        """Train the trial's network; return the metrics of its best epoch.

        A trial that was cut off goes on from its checkpoint, and one of Hyperband's
        later rounds from that of the trial it continues.
        """
        values = trial.hyperparameters.values
        best = BestEpoch(self.oracle.objective)
        model, state, randomness = self._begin(trial, best)
        if state.batch_size is not None:
            kwargs["batch_size"] = state.batch_size
        kwargs["epochs"] = values.get("tuner/epochs", kwargs["epochs"])
        kwargs["initial_epoch"] = state.next_epoch
        for index, epoch in enumerate(state.epochs):
            self.oracle.update_trial(trial.trial_id, state.metrics(index), epoch)
        callbacks = [
            FiniteLoss(values),
            best,
            Reports(self.oracle, trial.trial_id),
            Checkpoints(
                self.store.checkpoint_folder(trial.trial_id),
                state,
                best,
                randomness,
                keep_last=kwargs["epochs"] < self.settings.epochs,
            ),
        ]
        self.hypermodel.fit(
            trial.hyperparameters,
            model,
            *args,
            callbacks=callbacks,
            verbose=0,
            **kwargs,
        )
        best.save(model, self.store, trial.trial_id)
        cost = cost_of(model)
        write_json(
            self.store.record_file(trial.trial_id),
            {
                "parameters": cost.parameters,
                "multiply_adds": cost.multiply_adds,
                "seconds": round(state.seconds, 3),
                "best_epoch": best.epoch,
                "notes": state.notes,
                "epochs": state.epochs,
                "history": state.history,
            },
        )
        return {name: float(value) for name, value in best.metrics.items()}

    def _begin(
        self, trial: Any, best: BestEpoch
    ) -> tuple[keras.Model, TrialState, dict[str, Any] | None]:
        """Return the network to train, what it has come to, and `randomness`."""
        hp = trial.hyperparameters
        chain = self._chain(trial)
        seed = derive_seed(self.settings.seed, f"trial {int(chain[0])}")

        def build() -> keras.Model:
            keras.utils.set_random_seed(seed)
            return self._try_build(hp)

        identity = {"seed": seed, "values": public(hp.values)}
        notes = []
        for trial_id in reversed(chain[-2:]):
            is_own = trial_id == trial.trial_id
            folder = self.store.checkpoint_folder(trial_id)
            try:
                model, state, randomness = load(
                    folder, identity, build, best if is_own else None
                )
            except FileNotFoundError:
                continue
            except CheckpointError as error:
                notes.append(f"a checkpoint was ignored: {error}")
                continue
            if is_own:
                return model, state, randomness
            if state.next_epoch == hp.values["tuner/initial_epoch"]:
                state = TrialState(
                    identity, next_epoch=state.next_epoch, batch_size=state.batch_size
                )
                state.notes = notes
                return model, state, randomness
        if len(chain) > 1:
            notes.append(
                f"trained from its first epoch, not from trial {chain[-2]}'s last"
            )
        remove(self.store.checkpoint_folder(trial.trial_id))
        return build(), TrialState(identity, notes=notes), None

    def _chain(self, trial: Any) -> list[str]:
        """Return the ids of the trials that this one continues, first to last, and its.

        One training in rounds is one trial's: it has the seed of the first.
        """
        chain = [trial.trial_id]
        values = trial.hyperparameters.values
        while "tuner/trial_id" in values:
            chain.insert(0, values["tuner/trial_id"])
            values = self.oracle.get_trial(chain[0]).hyperparameters.values
        return chain

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
            self.run_trial(trial, *args, **kwargs)
            trial.status = trial_module.TrialStatus.COMPLETED
        except Exception:  # Whatever the network or the user's code raises.
            trial.status = trial_module.TrialStatus.FAILED
            trial.message = traceback.format_exc()
            error_file = self.store.error_file(trial.trial_id)
            write_bytes(error_file, trial.message.encode())


class Reports(keras.callbacks.Callback):
    """Tells the oracle the metrics of each epoch.

    Args:
        oracle: The oracle.
        trial_id: Of the trial.
    """

    def __init__(self, oracle: keras_tuner.Oracle, trial_id: str) -> None:
        super().__init__()
        self.oracle = oracle
        self.trial_id = trial_id

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.oracle.update_trial(self.trial_id, dict(logs or {}), epoch)
