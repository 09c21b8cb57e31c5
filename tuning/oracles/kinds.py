"""KerasTuner's four oracles by name, durable and held to limits of cost.

What is added to each: the default point of the space comes first; points beyond
`max_parameters` or `max_multiply_adds` are drawn again; state is written
atomically and complete, so that any of them goes on after a restart; calls that
are repeated change nothing.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import keras_tuner
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from tuning.oracles.durable import PRUNED, DurableOracle, Status
from tuning.oracles.hyperband import Hyperband
from tuning.oracles.restore import restore
from tuning.points.start_points import complete_points
from tuning.settings import SearchSettings, derive_seed
from tuning.space.hypermodel import HyperAlexNet
from tuning.space.limits import MAX_DRAWS, costs, default_point, fits, make_space
from tuning.store.directory import Store
from tuning.store.retention import Retention

# Points that Bayesian search compares, evenly drawn, and around the best of them.
CANDIDATES = 2000
SPREADS = (0.1, 0.02)


class _Random(DurableOracle, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Bayesian(DurableOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    def populate_space(self, trial_id: str) -> dict[str, Any]:
        completed = {
            trial_id: _completed(trial)
            for trial_id, trial in self.trials.items()
            if trial.status in (Status.COMPLETED, PRUNED)
        }
        if len(completed) < self.num_initial_points or self.next_given():
            return self._random_populate_space()
        # A trial's own, so that it is the same after any restart.
        rng = np.random.RandomState(derive_seed(self.seed, f"trial {int(trial_id)}"))
        self._fit(completed)
        # KerasTuner follows numeric gradients, which takes a minute with forty
        # hyperparameters, and comes to a single point, within the limits or not.
        points = rng.uniform(size=(CANDIDATES, len(self._get_hp_bounds())))
        for spread in SPREADS:
            best = points[np.argsort(self._bound(points))[: CANDIDATES // 50]]
            near = rng.normal(np.repeat(best, 25, axis=0), spread)
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
        trials = self.trials
        with warnings.catch_warnings():
            # Few points may fit any length scale.
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                self.trials = completed
                self.gpr.fit(*self._vectorize_trials())
                if self.ongoing_trials:
                    self.trials = {**trials, **completed}
                    self.gpr.fit(*self._vectorize_trials())
            finally:
                self.trials = trials

    def _bound(self, points: np.ndarray) -> np.ndarray:
        """Return the lower confidence bound of the score to be minimized."""
        mean, deviation = self.gpr.predict(points, return_std=True)
        return mean - self.beta * deviation


def _completed(trial: Any) -> Any:
    """Return a trial that was pruned as one that completed, with its score then."""
    if trial.status == PRUNED:
        trial = copy.copy(trial)
        trial.status = Status.COMPLETED
    return trial


class _Grid(DurableOracle, keras_tuner.oracles.GridSearchOracle):
    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return the combination after the last one, in KerasTuner's order.

        KerasTuner waits for trials to end, since one may declare hyperparameters;
        here the space is known.
        """
        values = self.next_given()
        if values is None:
            values = self._after_last()
        status = Status.STOPPED if values is None else Status.RUNNING
        return {"status": status, "values": values}

    def _after_last(self) -> dict[str, Any] | None:
        for trial_id in reversed(self.start_order):
            if not self.points[trial_id]["is_given"]:
                last = self.trials[trial_id].hyperparameters.values
                return self._get_next_combination(last)
        values = default_point(self.hyperparameters).values
        if self._is_new(values):
            return values
        return self._get_next_combination(values)

    def _is_new(self, values: dict[str, Any]) -> bool:
        return not self._duplicate(values) and self.fits(values)

    def _get_next_combination(self, values: dict[str, Any]) -> dict[str, Any] | None:
        for _ in range(MAX_DRAWS):
            values = super()._get_next_combination(values)
            if values is None or self._is_new(values):
                return values
            if not self.fits(values):
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
    settings: SearchSettings,
    hypermodel: HyperAlexNet,
    store: Store,
    tell: Callable[[str], None] = print,
) -> DurableOracle:
    """Return the oracle of a search, with the state that its directory holds.

    Args:
        settings: Of the search.
        hypermodel: Declares the space, and measures points against the limits.
        store: The search directory.
        tell: Is told what was damaged.

    Raises:
        ValueError: The space has no hyperparameter that `settings.tune` names, or a
            given point is none of the space or beyond the limits.
    """
    space = make_space(hypermodel, settings.tune)
    total = settings.total_trials
    arguments: dict[str, Any] = {
        "objective": settings.objective,
        "hyperparameters": space,
        "seed": derive_seed(settings.seed, "oracle"),
    }
    oracle: DurableOracle
    if settings.tuner == "hyperband":
        oracle = Hyperband(
            max_epochs=settings.epochs, hyperband_iterations=None, **arguments
        )
        oracle.max_trials = total
    elif settings.tuner == "bayesian":
        # KerasTuner's own default, three per dimension, would leave nothing to it.
        oracle = _Bayesian(
            max_trials=total,
            num_initial_points=max(3, settings.trials // 4),
            **arguments,
        )
    else:
        kind = _Random if settings.tuner == "random" else _Grid
        oracle = kind(max_trials=total, **arguments)
    oracle.verbose = 0
    oracle.store = store
    oracle.retention = Retention(settings.keep)
    oracle.prune = settings.prune
    oracle.cost = costs(space, hypermodel)
    oracle.fits = lambda values: fits(values, oracle.cost, settings)
    oracle.settings = settings
    oracle.given = [
        values
        for name in ("start_with", "add")
        for values in complete_points(
            name, getattr(settings, name), space, hypermodel, settings
        )
    ]
    oracle.points = {}
    restore(oracle, tell)
    return oracle
