"""The Tuner that runs one trial after another: seeds, best weights, records."""

from __future__ import annotations

import contextlib
import functools
import os
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import keras_tuner
from keras_tuner.src.engine import trial as trial_module
from keras_tuner.src.engine.tuner import maybe_distribute

from alexnet.data.images import ImageData
from tuning.oracles.durable import PRUNED
from tuning.oracles.reports import Reports
from tuning.points.values import text_of
from tuning.settings import SearchSettings
from tuning.space.hypermodel import VALIDATION_BATCH_SIZE, HyperAlexNet, cost_of
from tuning.store.directory import Store, write_bytes, write_json
from tuning.trial.checkpoints import Checkpoints, TrialState
from tuning.trial.failures import (
    FiniteLoss,
    OutOfMemory,
    TrialTimeout,
    is_of_another_file,
    is_out_of_memory,
    note_of,
)
from tuning.trial.resume import begin
from tuning.trial.watch import Beats, MainThreadInterrupt, Watch
from tuning.trial.weights import BestEpoch


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
        owns_process: Whether a trial that hangs may end this process; otherwise it
            is interrupted, if the search runs in the main thread.
        distribution_strategy: A `tf.distribute.Strategy` that each trial trains
            with, if any; its batches are shared out among the replicas.
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        hypermodel: HyperAlexNet,
        store: Store,
        settings: SearchSettings,
        tuner_id: str,
        on_progress: Callable[[], None] = lambda: None,
        owns_process: bool = False,
        distribution_strategy: Any = None,
    ) -> None:
        # KerasTuner only needs the two names; the store says where files go.
        super().__init__(
            oracle,
            hypermodel,
            directory=str(store.root.parent),
            project_name=store.root.name,
            tuner_id=tuner_id,
            distribution_strategy=distribution_strategy,
        )
        self.store = store
        self.settings = settings
        self.owns_process = owns_process
        self._on_progress = on_progress
        self._state: TrialState | None = None  # Of the trial that runs.
        self._watch = Watch(None, lambda message: None)

    def run(self, data: ImageData) -> None:
        """Run trials on `data` until the oracle has no more."""
        self.search(
            data.x_train,
            data.y_train,
            validation_data=(data.x_val, data.y_val),
            epochs=self.settings.epochs,
        )

    def run_trial(
        self, trial: Any, *args: Any, batch_size: int | None = None, **kwargs: Any
    ) -> dict[str, float]:
        """Train the trial's network, set its status, return its best epoch's metrics.

        A trial that was cut off goes on from its checkpoint, and one of Hyperband's
        later rounds from that of the trial it continues. With a `batch_size`, which
        the point does not have, it is run from its beginning.
        """
        values = trial.hyperparameters.values
        best = BestEpoch(self.oracle.objective)
        model, state, randomness = begin(
            trial,
            self.oracle,
            self.store,
            self.settings,
            self._build,
            best,
            batch_size,
        )
        self._state = state
        if state.batch_size is not None:
            kwargs["batch_size"] = state.batch_size
            kwargs["validation_batch_size"] = VALIDATION_BATCH_SIZE // 2
        kwargs["epochs"] = values.get("tuner/epochs", kwargs["epochs"])
        kwargs["initial_epoch"] = state.next_epoch
        for index, epoch in enumerate(state.epochs):
            self.oracle.update_trial(trial.trial_id, state.metrics(index), epoch)
        reports = Reports(self.oracle, trial.trial_id)
        callbacks = [
            FiniteLoss(values),
            best,
            reports,
            Checkpoints(
                self.store.checkpoint_folder(trial.trial_id),
                state,
                best,
                randomness,
                keep_last=kwargs["epochs"] < self.settings.epochs,
            ),
            Beats(self._watch),
        ]
        self.hypermodel.fit(
            trial.hyperparameters,
            model,
            *args,
            callbacks=callbacks,
            verbose=0,
            **kwargs,
        )
        if reports.is_pruned:
            trial.status = PRUNED
        else:
            trial.status = trial_module.TrialStatus.COMPLETED
            best.save(model, self.store, trial.trial_id)
        cost = cost_of(model)
        write_json(
            self.store.record_file(trial.trial_id),
            {
                "parameters": cost.parameters,
                "multiply_adds": cost.multiply_adds,
                "best_epoch": best.epoch,
                **state.record(),
            },
        )
        return {name: float(value) for name, value in best.metrics.items()}

    def _build(self, hp: Any) -> Any:
        model = self._try_build(hp)
        with maybe_distribute(self.distribution_strategy):
            model.optimizer.build(model.trainable_variables)
        return model

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
        self._state = None
        try:
            with self._watched(trial):
                if batch_size := self._attempt(trial, *args, **kwargs):
                    self._attempt(trial, *args, batch_size=batch_size, **kwargs)
        except Exception as error:  # Whatever the network or the user's code raises.
            trial.status = trial_module.TrialStatus.FAILED
            trial.message = traceback.format_exc()
            # What the user's code does elsewhere is its own affair.
            trial.may_halt = not is_of_another_file(error, self.store.root)
            self._record_failure(trial, trial.message, note_of(error))

    def _attempt(self, trial: Any, *args: Any, **kwargs: Any) -> int | None:
        """Run the trial; return the batch size to run it again with, if any."""
        try:
            self.run_trial(trial, *args, **kwargs)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            state = self._state or TrialState(None)
            used = state.batch_size or self.hypermodel.batch_size(trial.hyperparameters)
            may_retry = self.settings.retry_oom and state.batch_size is None
            if may_retry and self._state is not None and used > 1:
                return used // 2
            raise OutOfMemory(
                f"A trial must fit into memory; epoch {state.next_epoch + 1} did not "
                f"with batches of {used} and {text_of(trial.hyperparameters.values)}. "
                "Lower max_parameters, or allow half the batch size with retry_oom."
            ) from error
        return None

    @contextlib.contextmanager
    def _watched(self, trial: Any) -> Iterator[None]:
        """Watch over the trial for as long as this is entered."""
        timeout_s = self.settings.trial_timeout
        with contextlib.ExitStack() as stack:
            on_hang: Callable[[str], None]
            if self.owns_process or timeout_s is None:
                on_hang = functools.partial(self._end_process, trial)
            else:
                on_hang = stack.enter_context(MainThreadInterrupt())
            self._watch = stack.enter_context(Watch(timeout_s, on_hang))
            yield

    def _end_process(self, trial: Any, message: str) -> None:
        """Fail the trial, which hangs, and end the process; Ray starts another."""
        self._record_failure(trial, message, note_of(TrialTimeout()))
        self.oracle.abandon(self.tuner_id, message)
        os._exit(1)

    def _record_failure(self, trial: Any, message: str, note: str | None) -> None:
        record = (self._state or TrialState(None)).record()
        if note:
            record["notes"] = [*record["notes"], note]
        write_bytes(self.store.error_file(trial.trial_id), message.encode())
        write_json(self.store.record_file(trial.trial_id), record)
