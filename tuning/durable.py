"""DurableOracle: what makes KerasTuner's oracles safe to stop and start again."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras_tuner
from keras_tuner.src.engine import trial as trial_module
from keras_tuner.src.engine.metrics_tracking import MetricsTracker

from tuning.hypermodel import Cost
from tuning.pruning import stops
from tuning.reports import forget, observed, values_of
from tuning.results import ranked
from tuning.retention import Retention
from tuning.settings import SearchSettings
from tuning.space import MAX_DRAWS, default_point
from tuning.store import Store, disk_error, write_bytes, write_json

Status = trial_module.TrialStatus
PRUNED = "PRUNED"  # A status of ours: stopped early, with a score.
ENDED = (Status.COMPLETED, Status.FAILED, PRUNED)
FAILURES_AT_START = 3
# Weights, the best ones and an optimizer of two slots, each while it is replaced.
BYTES_PER_PARAMETER = 40
SPARE_BYTES = 2**18


class DurableOracle(keras_tuner.Oracle):
    """What the four oracles have in common; a mixin before one of KerasTuner's.

    Attributes:
        store: The search directory.
        settings: Of the search.
        given: Points to try before all others, complete.
        points: What point.json holds, by trial.
        fits: Tells whether a point, as values by name, is within the limits.
        cost: Returns the cost of such a point.
        retention: Removes what no trial needs any more.
        prune: Rule by which trials are stopped early, or None.
        run: Name of the run of the search that the state belongs to.
        halted: Why no more trials are handed out; None if they are.
    """

    store: Store
    settings: SearchSettings
    given: list[dict[str, Any]]
    points: dict[str, dict[str, Any]]
    fits: Callable[[dict[str, Any]], bool]
    cost: Callable[[dict[str, Any]], Cost]
    retention: Retention
    prune: str | None = None
    run: str | None = None
    halted: str | None = None
    trials: dict[str, Any]
    ongoing_trials: dict[str, Any]
    start_order: list[str]
    end_order: list[str]
    _retry_queue: list[str]

    def create_trial(self, tuner_id: str) -> Any:
        stopped = trial_module.Trial(self.get_space(), None, Status.STOPPED)
        if self.has_failed() and tuner_id not in self.ongoing_trials:
            return stopped
        if self.halted is None:
            with self.halting():
                trial = super().create_trial(tuner_id)
                self._check_room()
                return trial
        return stopped

    def update_trial(self, trial_id: str, metrics: Any, step: int = 0) -> Any:
        trial = self.trials[trial_id]
        if trial_id in self.end_order:
            return trial
        with self.halting():
            if observed(trial, step) != metrics:  # A repeated report changes nothing.
                forget(trial, step)
                super().update_trial(trial_id, metrics, step)
        if self.prune is not None and self._is_hopeless(trial, step):
            return trial_module.Trial(trial.hyperparameters, trial_id, Status.STOPPED)
        return trial

    def _is_hopeless(self, trial: Any, step: int) -> bool:
        name = self.objective.name
        others = [
            (other.status == Status.COMPLETED, values_of(other, name))
            for other in self.trials.values()
            if other is not trial
        ]
        own = values_of(trial, name)[: step + 1]
        return stops(self.prune or "", own, others, self.objective.direction == "max")

    def end_trial(self, trial: Any) -> None:
        if trial.trial_id in self.end_order:
            return
        if trial.status == Status.FAILED and self.halts(trial.message):
            return
        with self.halting():
            if trial.status == PRUNED:
                self.score_trial(self.trials[trial.trial_id])
            super().end_trial(trial)
            self.save()  # KerasTuner saves before it takes the trial off its list.
            self.retention.tidy(self)

    def best_first(self, trial_ids: Iterable[str]) -> list[str]:
        """Return those trials that completed, as `tuning.results.ranked` has them."""
        trials = {key: self.trials[key] for key in sorted(trial_ids, key=int)}
        rows = [
            {"trial": key, "status": trial.status, "score": trial.score}
            for key, trial in trials.items()
        ]
        return [row["trial"] for row in ranked(rows, self.objective.name)]

    def to_continue(self) -> set[str]:
        """Return the ended trials that others may yet go on from."""
        return set()

    def _check_room(self) -> None:
        """Raise OSError if the weights of the trials that run would not fit.

        HDF5 crashes the process that it fills a disk in.
        """
        costs = [
            self.cost(trial.hyperparameters.values)
            for trial in self.ongoing_trials.values()
        ]
        needed = sum(BYTES_PER_PARAMETER * cost.parameters for cost in costs)
        if needed + SPARE_BYTES > shutil.disk_usage(self.store.root).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def halts(self, message: str | None) -> bool:
        """Hand out no more trials if an error is of the disk; tell whether it is.

        Such an error fails no trial: it runs again when the search goes on.
        """
        reason = disk_error(message or "")
        self.halted = self.halted or reason
        return reason is not None

    @contextlib.contextmanager
    def halting(self) -> Iterator[None]:
        """Bear that a file cannot be written; it stays as it was."""
        try:
            yield
        except OSError as error:
            if not self.halts(str(error)):
                raise

    def has_failed(self) -> bool:
        """Tell whether every trial so far has failed, as the user's code would."""
        ended = [self.trials[trial_id].status for trial_id in self.end_order]
        enough = min(FAILURES_AT_START, self.max_trials or FAILURES_AT_START)
        return len(ended) >= enough and set(ended) == {Status.FAILED}

    def save(self) -> None:
        write_json(self.store.oracle_file, self.get_state())

    def get_state(self) -> dict[str, Any]:
        """Return what does not follow from the trials' own records."""
        return {
            "settings": self.settings.to_json(),
            "run": self.run,
            "seed_state": self._seed_state,
            "ongoing_trials": {
                tuner_id: trial.trial_id
                for tuner_id, trial in self.ongoing_trials.items()
            },
            "ended": self._ended(),
        }

    def _save_trial(self, trial: Any) -> None:
        if trial.trial_id not in self.points:
            values = dict(trial.hyperparameters.values)
            self.points[trial.trial_id] = self.point_of(trial.trial_id, values)
            self.save_point(trial.trial_id)
        write_json(self.store.trial_file(trial.trial_id), trial.get_state())

    def point_of(self, trial_id: str, values: dict[str, Any]) -> dict[str, Any]:
        """Return what point.json holds of a trial that has just been drawn."""
        values_hash = self._compute_values_hash(values)
        return {
            "trial": trial_id,
            "values": values,
            "seed_state": self._seed_state,
            "is_given": values_hash in map(self._compute_values_hash, self.given),
            "search": self.settings.identity(),
        }

    def save_point(self, trial_id: str) -> None:
        """Write a trial's point."""
        write_json(self.store.point_file(trial_id), self.points[trial_id])

    def place(self, trial: Any) -> None:
        """Take a trial up that was begun before; called in the order of beginning."""
        values_hash = self._compute_values_hash(trial.hyperparameters.values)
        self._tried_so_far.add(values_hash)
        self._id_to_hash[trial.trial_id] = values_hash
        self.trials[trial.trial_id] = trial
        self.start_order.append(trial.trial_id)

    def begin(self, run: str) -> None:
        """Begin a run of the search, unless the state already belongs to it.

        A run is from one start of the search to its end or interruption; an
        oracle that is started again within it keeps its workers' trials.
        """
        if self.run != run:
            self.run = run
            self.requeue()
        self.retention = Retention(self.retention.keep)
        self.retention.tidy(self)

    def requeue(self) -> None:
        """Hand out again what the workers of an earlier run left unfinished.

        If all trials failed, these too: whoever starts the search again has
        mended what broke them.
        """
        self.ongoing_trials = {}
        self.run_again(self.end_order if self.has_failed() else [])

    def run_again(self, trial_ids: list[str]) -> None:
        """Hand out again trials that ended, and all that no worker is at."""
        for trial_id in list(trial_ids):
            trial = self.trials[trial_id]
            self.end_order.remove(trial_id)
            trial.status, trial.message, trial.score = Status.RUNNING, None, None
            trial.metrics = MetricsTracker()
            self._save_trial(trial)
        self.queue_unfinished()
        self.save()

    def queue_unfinished(self) -> None:
        """Queue the trials that neither ended nor have a worker."""
        taken = {trial.trial_id for trial in self.ongoing_trials.values()}
        waiting = set(self.trials) - set(self.end_order) - taken
        self._retry_queue = sorted(waiting, key=int, reverse=True)  # It is a stack.

    def progress(self) -> dict[str, Any]:
        """Return what has become of the trials, as plain data."""
        running = (trial.trial_id for trial in self.ongoing_trials.values())
        return {
            "total": self.max_trials,
            "running": sorted(running, key=int),
            "ended": self._ended(),
            "has_failed": self.has_failed(),
            "halted": self.halted,
        }

    def _ended(self) -> list[tuple[str, str, float | None]]:
        ended = (self.trials[trial_id] for trial_id in self.end_order)
        return [(trial.trial_id, trial.status, trial.score) for trial in ended]

    def trial_of(self, tuner_id: str) -> str | None:
        """Return the id of the trial that a worker is at, if it is at one."""
        trial = self.ongoing_trials.get(tuner_id)
        return None if trial is None else trial.trial_id

    def release(self, tuner_id: str) -> None:
        """Let any worker go on with the trial of one whose machine is gone."""
        if self.ongoing_trials.pop(tuner_id, None) is not None:
            self.queue_unfinished()
            with self.halting():
                self.save()

    def abandon(self, tuner_id: str, message: str) -> bool:
        """Fail the trial of a worker that died for good; tell whether it had one."""
        trial = self.ongoing_trials.get(tuner_id)
        if trial is None:
            return False
        if self.halts(message):
            return True
        ended = trial_module.Trial.from_state(trial.get_state())
        ended.status, ended.message = Status.FAILED, message
        write_bytes(self.store.error_file(trial.trial_id), message.encode())
        self.end_trial(ended)
        return True

    def next_given(self) -> dict[str, Any] | None:
        """Return the first of the points that people named that was not tried."""
        untried = (values for values in self.given if not self._duplicate(values))
        return next((dict(values) for values in untried), None)

    def _random_values(self) -> dict[str, Any] | None:
        if (values := self.next_given()) is not None:
            return values
        values = default_point(self.hyperparameters).values
        if not self._duplicate(values) and self.fits(values):
            return values
        for _ in range(MAX_DRAWS):
            values = super()._random_values()
            if values is None or self.fits(values):
                return values
        return None
