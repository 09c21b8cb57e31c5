"""DurableOracle: what makes KerasTuner's oracles safe to stop and start again."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from keras_tuner.src.engine import trial as trial_module
from keras_tuner.src.engine.metrics_tracking import MetricsTracker

from tuning.oracles.draws import Draws
from tuning.oracles.pruning import stops
from tuning.oracles.reports import forget, observe, observed, values_of
from tuning.settings import SearchSettings
from tuning.space.hypermodel import Cost
from tuning.store.directory import Store, disk_error, write_bytes, write_json
from tuning.store.results import ranked
from tuning.store.retention import Retention

Status = trial_module.TrialStatus
PRUNED = "PRUNED"  # A status of ours: stopped early, with a score.
ENDED = (Status.COMPLETED, Status.FAILED, PRUNED)
FAILURES_AT_START = 3
# Weights, the best ones and an optimizer of two slots, each while it is replaced.
BYTES_PER_PARAMETER = 40


class DurableOracle(Draws):
    """What the four oracles have in common; a mixin before one of KerasTuner's.

    Attributes:
        store: The search directory.
        settings: Of the search.
        points: What point.json holds, by trial.
        cost: Returns the cost of such a point.
        retention: Removes what no trial needs any more.
        prune: Rule by which trials are stopped early, or None.
        run: Name of the run of the search that the state belongs to.
        halted: Why no more trials are handed out; None if they are.
    """

    store: Store
    settings: SearchSettings
    points: dict[str, dict[str, Any]]
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
        has_failed = self.has_failed() and tuner_id not in self.ongoing_trials
        if has_failed and self.ongoing_trials and self.halted is None:
            # One that runs may yet succeed.
            return trial_module.Trial(self.get_space(), None, Status.IDLE)
        if self.halted is None and not has_failed:
            with self.halting():
                trial = super().create_trial(tuner_id)
                self._check_room()
                return trial
        return trial_module.Trial(self.get_space(), None, Status.STOPPED)

    def update_trial(self, trial_id: str, metrics: Any, step: int = 0) -> Any:
        trial = self.trials[trial_id]
        if trial_id in self.end_order:
            return trial
        with self.halting():
            if observed(trial, step) != metrics:  # A repeated report changes nothing.
                forget(trial, step)
                known = all(map(trial.metrics.exists, metrics))
                if known and self.objective.name in metrics:
                    observe(trial, step, metrics)
                    self._save_trial(trial)
                else:
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
        may_halt = trial.status == Status.FAILED and getattr(trial, "may_halt", True)
        if may_halt and self.halts(trial.message):
            return
        with self.halting():
            if trial.status == PRUNED:
                self.score_trial(self.trials[trial.trial_id])
            super().end_trial(trial)
            self.retention.tidy(self)

    def best_first(self, trial_ids: Iterable[str]) -> list[str]:
        """Return those trials that completed, best first, as `ranked` has them."""
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
        self.store.check_room(sum(BYTES_PER_PARAMETER * c.parameters for c in costs))

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
        enough = min(FAILURES_AT_START, self.max_trials or FAILURES_AT_START)
        return len(self.end_order) >= enough and all(
            self.trials[trial_id].status == Status.FAILED for trial_id in self.end_order
        )

    def _check_consecutive_failures(self) -> None:
        """Do nothing: `has_failed` stands in for it."""

    def save(self) -> None:
        write_json(self.store.oracle_file, self.get_state(), indent=None)

    def get_state(self) -> dict[str, Any]:
        """Return what does not follow from the trials' own records."""
        ended = self._ended()
        is_over = {trial_id for trial_id, *_ in ended}
        return {
            "settings": self._stored_settings,
            "run": self.run,
            "seed_state": self._seed_state,
            "ongoing_trials": {
                tuner_id: trial.trial_id
                for tuner_id, trial in self.ongoing_trials.items()
                # KerasTuner saves before it takes a trial that ended off its list.
                if trial.trial_id not in is_over
            },
            "ended": ended,
        }

    @functools.cached_property
    def _stored_settings(self) -> dict[str, Any]:
        return self.settings.to_json()

    @functools.cached_property
    def _identity(self) -> str:
        return self.settings.identity()

    def _save_trial(self, trial: Any) -> None:
        if trial.trial_id not in self.points:
            values = dict(trial.hyperparameters.values)
            self.points[trial.trial_id] = self.point_of(trial.trial_id, values)
            self.save_point(trial.trial_id)
        state = trial.get_state()
        state["hyperparameters"]["space"] = []  # The search's own; most of the bytes.
        write_json(self.store.trial_file(trial.trial_id), state, indent=None)

    def point_of(self, trial_id: str, values: dict[str, Any]) -> dict[str, Any]:
        """Return what point.json holds of a trial that has just been drawn."""
        values_hash = self._compute_values_hash(values)
        return {
            "trial": trial_id,
            "values": values,
            "seed_state": self._seed_state,
            "is_given": values_hash in map(self._compute_values_hash, self.given),
            "search": self._identity,
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
            "waiting": list(self._retry_queue),
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
