"""One trial: built, trained, watched; its weights saved, its end reported."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import keras

from alexnet.data import ImageData
from tuning.space.hypermodel import VALIDATION_BATCH_SIZE, clear_session, cost_of
from tuning.space.search_space import SearchSpace
from tuning.store.files import PART, WriteError
from tuning.store.layout import Store
from tuning.store.objective import Objective
from tuning.store.records import Failure, Result, TrialRecord
from tuning.trial.callbacks import BestEpoch, FiniteLoss, Reports, text_of
from tuning.trial.checkpoints import Checkpoints, TrialState, save_weights
from tuning.trial.failures import (
    OutOfMemory,
    TrialTimeout,
    chain_of,
    failure_of,
    is_out_of_memory,
)
from tuning.trial.resume import begin
from tuning.trial.watch import Beats, MainThreadInterrupt, Watch


class Reporter(Protocol):
    """What a trial reports to: the oracle, in this process or in another."""

    def report(self, trial_id: str, history: dict[str, list[float]]) -> bool:
        """Take the metrics of all epochs so far; return whether to stop."""

    def end(self, trial_id: str, result: Result) -> None:
        """Take a trial's end."""

    def halt(self, reason: str) -> None:
        """Stop the search: its directory takes no more."""


class TrialRunner:
    """Runs trials, one after another, in this process.

    Each trial has a seed of its own, so that its result does not depend on what
    the process ran before. The weights of its best epoch are in its folder before
    the oracle receives its score.

    Args:
        oracle: Takes the reports.
        space: Of the search.
        store: The search directory.
        data: The images.
        owns_process: Whether a trial that hangs may end this process; otherwise it
            is interrupted, if the search runs in the main thread.
        strategy: A `tf.distribute.Strategy` that each trial trains with, if any; its
            batches are shared out among the replicas.
    """

    def __init__(
        self,
        oracle: Reporter,
        space: SearchSpace,
        store: Store,
        data: ImageData,
        owns_process: bool = False,
        strategy: Any = None,
    ) -> None:
        self.oracle = oracle
        self.space = space
        self.settings = space.settings
        self.store = store
        self.data = data
        self.owns_process = owns_process
        self.strategy = strategy
        self._state: TrialState | None = None  # Of the trial that runs.
        self._watch = Watch(None, lambda message: None)

    def run(self, record: TrialRecord) -> None:
        """Run a trial and report its end; whatever it raises fails it alone.

        A search directory that takes no more halts the search and fails no trial.
        """
        with contextlib.suppress(OSError):  # It is for people alone.
            self.store.error_file(record.trial).unlink()
        # What a process that died while it wrote has left.
        for file in ("checkpoint.npz", "weights.npz"):
            for part in self.store.trial_folder(record.trial).glob(f".{file}{PART}*"):
                with contextlib.suppress(OSError):
                    part.unlink()
        self._state = None
        clear_session()  # What the trial before left in Keras and in memory.
        try:
            with self._watched(record):
                result = self._attempts(record)
        # Whatever the network or the user's code raises, sys.exit() too.
        except (Exception, SystemExit) as error:
            for found in chain_of(error):  # The user's code may have wrapped it.
                if isinstance(found, WriteError):
                    self.oracle.halt(found.strerror or str(found))
                    return
            result = self._failed(failure_of(error))
        self.oracle.end(record.trial, result)

    def _attempts(self, record: TrialRecord) -> Result:
        """Run the trial, if it is out of memory once more with half the batch size."""
        hp = self.space.at(record.values)
        halves_batches = False
        while True:
            try:
                return self._attempt(record, hp, halves_batches)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                state = self._state  # None if the network itself was too large.
                halves_batches = (
                    self.settings.retry_oom
                    and state is not None
                    and not state.halves_batches
                    and self._batch_size(hp) > 1
                )
                if not halves_batches:
                    raise self._out_of_memory(record, hp) from error

    def _out_of_memory(self, record: TrialRecord, hp: Any) -> OutOfMemory:
        epoch = 1 + (self._state.next_epoch if self._state else 0)
        return OutOfMemory(
            f"A trial must fit into memory; epoch {epoch} did not with batches of "
            f"{self._batch_size(hp)} and {text_of(record.values)}. Lower "
            "max_parameters, or allow half the batch size with retry_oom."
        )

    def _batch_size(self, hp: Any) -> int:
        """Return the images per batch with which the trial runs."""
        halves = self._state is not None and self._state.halves_batches
        return self.space.hypermodel.batch_size(hp) // (2 if halves else 1)

    def _attempt(self, record: TrialRecord, hp: Any, halves_batches: bool) -> Result:
        """Train the trial's network; save the weights of its best epoch."""
        self._state = None
        best = BestEpoch(Objective(self.settings.objective), record.first_epoch)
        model, state, randomness = begin(
            record, self.store, functools.partial(self._build, hp), best, halves_batches
        )
        self._state = state
        options: dict[str, Any] = {}
        if state.halves_batches:
            options["batch_size"] = self._batch_size(hp)
            options["validation_batch_size"] = VALIDATION_BATCH_SIZE // 2
        if halves_batches:
            state.notes.append(
                "out of memory with its own batch_size; run with "
                f"{options['batch_size']}"
            )
        report = functools.partial(self.oracle.report, record.trial)
        reports = Reports(report, state.history, record.first_epoch)
        callbacks = [
            FiniteLoss(record.values),
            best,
            reports,
            Checkpoints(
                self.store.checkpoint_file(record.trial),
                state,
                best,
                randomness,
                keep_last=record.epochs < self.settings.epochs,
            ),
            Beats(self._watch),
        ]
        self.space.hypermodel.fit(
            hp,
            model,
            self.data.x_train,
            self.data.y_train,
            validation_data=(self.data.x_val, self.data.y_val),
            epochs=record.epochs,
            initial_epoch=state.next_epoch,
            callbacks=callbacks,
            verbose=0,
            **options,
        )
        if best.epoch is None:
            raise ValueError(
                "A trial must train at least one epoch of its own; fit ended before "
                f"epoch {record.first_epoch + 1} of {record.epochs} did. Let the "
                "model's fit train, and stop it later, if it stops early."
            )
        if not reports.is_pruned:
            save_weights(self.store.weights_file(record.trial), best.weights)
        return Result(
            is_pruned=reports.is_pruned,
            best_epoch=best.epoch,
            **cost_of(model)._asdict(),
            seconds=round(state.seconds, 3),
            notes=tuple(state.notes),
        )

    def _build(self, hp: Any) -> keras.Model:
        with self.strategy.scope() if self.strategy else contextlib.nullcontext():
            model = self.space.hypermodel.build(hp)
            model.optimizer.build(model.trainable_variables)
        return model

    def _failed(self, failure: Failure) -> Result:
        notes = tuple(self._state.notes) if self._state else ()
        if failure.kind is not None:
            notes = (*notes, failure.kind)
        seconds = round(self._state.seconds, 3) if self._state else 0.0
        return Result(failure=failure, seconds=seconds, notes=notes)

    @contextlib.contextmanager
    def _watched(self, record: TrialRecord) -> Iterator[None]:
        """Watch over the trial for as long as this is entered."""
        timeout_s = self.settings.trial_timeout
        with contextlib.ExitStack() as stack:
            on_hang: Callable[[str], None]
            if self.owns_process or timeout_s is None:
                on_hang = functools.partial(self._end_process, record)
            else:
                on_hang = stack.enter_context(MainThreadInterrupt())
            self._watch = stack.enter_context(Watch(timeout_s, on_hang))
            yield

    def _end_process(self, record: TrialRecord, message: str) -> None:
        """Fail the trial, which hangs, and end the process; Ray starts another."""
        kind = failure_of(TrialTimeout()).kind
        failure = Failure(kind=kind, message=message)
        self.oracle.end(record.trial, self._failed(failure))
        os._exit(1)
