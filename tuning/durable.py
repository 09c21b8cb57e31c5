"""DurableOracle: what makes KerasTuner's oracles safe to stop and start again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras_tuner
from keras_tuner.src.engine import trial as trial_module
from keras_tuner.src.engine.metrics_tracking import MetricsTracker

from tuning.hypermodel import Cost
from tuning.pruning import stops
from tuning.reports import forget, observed, values_of
from tuning.results import ranked
from tuning.retention import Retention
from tuning.space import MAX_DRAWS, default_point
from tuning.store import Store, read_json, write_bytes, write_json

Status = trial_module.TrialStatus
PRUNED = "PRUNED"  # A status of ours: stopped early, with a score.
ENDED = (Status.COMPLETED, Status.FAILED, PRUNED)
FAILURES_AT_START = 3


class DurableOracle(keras_tuner.Oracle):
    """What the four oracles have in common; a mixin before one of KerasTuner's.

    Attributes:
        store: The search directory.
        fits: Tells whether a point, as values by name, is within the limits.
        cost: Returns the cost of such a point.
        retention: Removes what no trial needs any more.
        prune: Rule by which trials are stopped early, or None.
        run: Name of the run of the search that the state belongs to.
    """

    store: Store
    fits: Callable[[dict[str, Any]], bool]
    cost: Callable[[dict[str, Any]], Cost]
    retention: Retention
    prune: str | None = None
    run: str | None = None
    trials: dict[str, Any]
    ongoing_trials: dict[str, Any]
    end_order: list[str]
    _retry_queue: list[str]

    def create_trial(self, tuner_id: str) -> Any:
        if self.has_failed() and tuner_id not in self.ongoing_trials:
            return trial_module.Trial(self.get_space(), None, Status.STOPPED)
        return super().create_trial(tuner_id)

    def update_trial(self, trial_id: str, metrics: Any, step: int = 0) -> Any:
        trial = self.trials[trial_id]
        if trial_id in self.end_order:
            return trial
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
        if trial.status == PRUNED:
            self.score_trial(self.trials[trial.trial_id])
        super().end_trial(trial)
        self.save()  # KerasTuner saves before it takes the trial off its list.
        self.retention.tidy(self)

    def best_first(self, trial_ids: Iterable[str]) -> list[str]:
        """Return those trials that completed, as `tuning.results.ranked` has them."""
        trials = {key: self.trials[key] for key in sorted(trial_ids)}
        rows = [
            {"trial": key, "status": trial.status, "score": trial.score}
            for key, trial in trials.items()
        ]
        return [row["trial"] for row in ranked(rows, self.objective.name)]

    def to_continue(self) -> set[str]:
        """Return the ended trials that others may yet go on from."""
        return set()

    def has_failed(self) -> bool:
        """Tell whether every trial so far has failed, as the user's code would."""
        ended = [self.trials[trial_id].status for trial_id in self.end_order]
        enough = min(FAILURES_AT_START, self.max_trials or FAILURES_AT_START)
        return len(ended) >= enough and set(ended) == {Status.FAILED}

    def save(self) -> None:
        write_json(self.store.oracle_file, {**self.get_state(), "run": self.run})

    def _save_trial(self, trial: Any) -> None:
        write_json(self.store.trial_file(trial.trial_id), trial.get_state())

    def reload(self) -> None:
        """Go on from the directory's state, if it has one."""
        if not self.store.oracle_file.exists():
            return
        state = read_json(self.store.oracle_file)
        for trial_id in state["start_order"]:
            record = read_json(self.store.trial_file(trial_id))
            self.trials[trial_id] = trial_module.Trial.from_state(record)
        # A trial that ended just before the state was to be written.
        for tuner_id, trial_id in list(state["ongoing_trials"].items()):
            if self.trials[trial_id].status in ENDED:
                del state["ongoing_trials"][tuner_id]
                if trial_id not in state["end_order"]:
                    state["end_order"].append(trial_id)
        self.set_state(state)
        self.run = state["run"]

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
        again = [trial.trial_id for trial in self.ongoing_trials.values()]
        if self.has_failed():
            again += self.end_order
            self.end_order = []
        self.ongoing_trials = {}
        waiting = {*self._retry_queue, *again}
        self._retry_queue = sorted(waiting, reverse=True)  # It is a stack.
        for trial_id in waiting:
            trial = self.trials[trial_id]
            trial.status, trial.message = Status.RUNNING, None
            trial.metrics = MetricsTracker()
            self._save_trial(trial)
        self.save()

    def progress(self) -> dict[str, Any]:
        """Return what has become of the trials, as plain data."""
        return {
            "total": self.max_trials,
            "running": sorted(t.trial_id for t in self.ongoing_trials.values()),
            "ended": [
                (trial_id, self.trials[trial_id].status, self.trials[trial_id].score)
                for trial_id in self.end_order
            ],
            "has_failed": self.has_failed(),
        }

    def abandon(self, tuner_id: str, message: str) -> bool:
        """Fail the trial of a worker that died for good; tell whether it had one."""
        trial = self.ongoing_trials.get(tuner_id)
        if trial is None:
            return False
        ended = trial_module.Trial.from_state(trial.get_state())
        ended.status, ended.message = Status.FAILED, message
        write_bytes(self.store.error_file(trial.trial_id), message.encode())
        self.end_trial(ended)
        return True

    def _random_values(self) -> dict[str, Any] | None:
        if not self.start_order:
            values = default_point(self.hyperparameters).values
            if self.fits(values):
                return values
        for _ in range(MAX_DRAWS):
            values = super()._random_values()
            if values is None or self.fits(values):
                return values
            self._tried_so_far.add(self._compute_values_hash(values))
        return None
