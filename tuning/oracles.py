"""KerasTuner's four oracles by name, durable and held to limits of cost.

What is added to each: the default point of the space comes first; points beyond
`max_parameters` or `max_multiply_adds` are drawn again; state is written
atomically and complete, so that any of them goes on after a restart; calls that
are repeated change nothing.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.src.engine import trial as trial_module
from keras_tuner.src.engine.metrics_tracking import MetricsTracker
from keras_tuner.src.tuners.gridsearch import LinkedList
from sklearn.exceptions import ConvergenceWarning

from tuning.hypermodel import Cost, HyperAlexNet
from tuning.settings import SearchSettings, derive_seed
from tuning.space import MAX_DRAWS, default_point, fits, make_space, point
from tuning.store import Store, read_json, write_bytes, write_json

Status = trial_module.TrialStatus
ENDED = (Status.COMPLETED, Status.FAILED)
FAILURES_AT_START = 3
# Points that Bayesian search compares, evenly drawn, and around the best of them.
CANDIDATES = 2000
SPREADS = (0.1, 0.02)


class DurableOracle(keras_tuner.Oracle):
    """What the four oracles have in common; a mixin before one of KerasTuner's.

    Attributes:
        store: The search directory.
        fits: Tells whether a point, as values by name, is within the limits.
        cost: Returns the cost of such a point.
        run: Name of the run of the search that the state belongs to.
    """

    store: Store
    fits: Callable[[dict[str, Any]], bool]
    cost: Callable[[dict[str, Any]], Cost]
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
        trial.metrics = MetricsTracker()  # A repeated report replaces the first.
        return super().update_trial(trial_id, metrics, step)

    def end_trial(self, trial: Any) -> None:
        if trial.trial_id in self.end_order:
            return
        super().end_trial(trial)
        self.save()  # KerasTuner saves before it takes the trial off its list.

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


class _Random(DurableOracle, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Bayesian(DurableOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    def populate_space(self, trial_id: str) -> dict[str, Any]:
        completed = {
            trial_id: trial
            for trial_id, trial in self.trials.items()
            if trial.status == Status.COMPLETED
        }
        if len(completed) < self.num_initial_points:
            return self._random_populate_space()
        self._fit(completed)
        # KerasTuner follows numeric gradients, which takes a minute with forty
        # hyperparameters, and comes to a single point, within the limits or not.
        points = self._random_state.uniform(
            size=(CANDIDATES, len(self._get_hp_bounds()))
        )
        for spread in SPREADS:
            best = points[np.argsort(self._bound(points))[: CANDIDATES // 50]]
            near = self._random_state.normal(np.repeat(best, 25, axis=0), spread)
            points = np.concatenate([points, np.clip(near, 0, 1)])
        for index in np.argsort(self._bound(points), kind="stable")[:MAX_DRAWS]:
            values = self._vector_to_values(points[index])
            if not self._duplicate(values) and self.fits(values):
                return {"status": Status.RUNNING, "values": values}
        return self._random_populate_space()

    def _fit(self, completed: dict[str, Any]) -> None:
        """Fit the Gaussian process to the trials so far.

        Those that run count with a pessimistic guess, which KerasTuner takes from
        the last fit; here it is one to the completed trials, so that the next
        point does not depend on whether the oracle was started again.
        """
        with warnings.catch_warnings():
            # Few points may fit any length scale.
            warnings.simplefilter("ignore", ConvergenceWarning)
            trials, self.trials = self.trials, completed
            try:
                self.gpr.fit(*self._vectorize_trials())
            finally:
                self.trials = trials
            if self.ongoing_trials:
                self.gpr.fit(*self._vectorize_trials())

    def _bound(self, points: np.ndarray) -> np.ndarray:
        """Return the lower confidence bound of the score to be minimized."""
        mean, deviation = self.gpr.predict(points, return_std=True)
        return mean - self.beta * deviation

    def get_state(self) -> dict[str, Any]:
        name, keys, *rest = self._random_state.get_state()
        return {**super().get_state(), "random_state": [name, keys.tolist(), *rest]}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        name, keys, *rest = state["random_state"]
        self._random_state.set_state((name, np.array(keys, np.uint32), *rest))


class _Hyperband(DurableOracle, keras_tuner.oracles.HyperbandOracle):
    pass


class _Grid(DurableOracle, keras_tuner.oracles.GridSearchOracle):
    def populate_space(self, trial_id: str) -> dict[str, Any]:
        is_first = not self.start_order
        response = super().populate_space(trial_id)
        if is_first and not self.fits(response["values"]):
            response["values"] = self._get_next_combination(response["values"])
            if response["values"] is None:
                return {"status": Status.STOPPED, "values": None}
        if response["status"] == Status.RUNNING:
            # The space is known, so that the next point need not wait for this one.
            self._populate_next.append(trial_id)
        return response

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        # KerasTuner forgets which points are neighbours, and which lack a next.
        self._ordered_ids = LinkedList()

        def compare(one: str, other: str) -> int:
            pair = (self.trials[key].hyperparameters.values for key in (one, other))
            return self._compare(*pair)

        self._populate_next = sorted(
            self.start_order, key=functools.cmp_to_key(compare)
        )
        for trial_id in self._populate_next:
            self._ordered_ids.insert(trial_id)

    def _get_next_combination(self, values: dict[str, Any]) -> dict[str, Any] | None:
        for _ in range(MAX_DRAWS):
            values = super()._get_next_combination(values)
            if values is None or self.fits(values):
                return values
            values = self._last_of_network(values)
        return None

    def _last_of_network(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return a later combination, if there is one before the cost changes.

        What says how to train varies fastest; without this, thousands of points
        beyond the limits would be the same network.
        """
        space = self.get_space().space
        cost = self.cost(values)
        parents = {condition.name for hp in space for condition in hp.conditions}
        for hp in reversed(space):
            if hp.name not in values:
                continue
            others = [value for value in hp.values if value != hp.default]
            later = {**values, hp.name: others[-1] if others else hp.default}
            if hp.name in parents or self.cost(later) != cost:
                break
            values = later
        return values


def make_oracle(
    settings: SearchSettings, hypermodel: HyperAlexNet, store: Store
) -> DurableOracle:
    """Return the oracle of a search, with the state that its directory holds.

    Args:
        settings: Of the search.
        hypermodel: Declares the space, and measures points against the limits.
        store: The search directory.

    Raises:
        ValueError: The space has no hyperparameter that `settings.tune` names.
    """
    space = make_space(hypermodel, settings.tune)
    arguments: dict[str, Any] = {
        "objective": settings.objective,
        "hyperparameters": space,
        "seed": derive_seed(settings.seed, "oracle"),
        # `has_failed` stands in for KerasTuner's own count.
        "max_consecutive_failed_trials": settings.trials + 1,
    }
    oracle: DurableOracle
    if settings.tuner == "hyperband":
        oracle = _Hyperband(
            max_epochs=settings.epochs, hyperband_iterations=None, **arguments
        )
        oracle.max_trials = settings.trials
    elif settings.tuner == "bayesian":
        # KerasTuner's own default, three per dimension, would leave nothing to it.
        oracle = _Bayesian(
            max_trials=settings.trials,
            num_initial_points=max(3, settings.trials // 4),
            **arguments,
        )
    else:
        kind = _Random if settings.tuner == "random" else _Grid
        oracle = kind(max_trials=settings.trials, **arguments)
    oracle.verbose = 0
    oracle.store = store
    oracle.fits = lambda values: fits(values, space, hypermodel, settings)
    oracle.cost = lambda values: hypermodel.cost(point(values, space))
    oracle.reload()
    return oracle
