"""All that is used of KerasTuner's private names, in one file.

KerasTuner proposes: its Gaussian process and its embedding of hyperparameters for
Bayesian search, its order of combinations for grid search, its sizes and epochs of
brackets for Hyperband. What trials there are is this project's, which keeps them
through kills and restarts. Most of what is used is private; KerasTuner is dormant
(1.4.8 of 2025 differs from 2024 by imports alone) and pinned in setup.cfg: another
version is to be read first.
"""

from __future__ import annotations

import warnings
from collections.abc import Container, Iterable
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.hyperparameters import Fixed
from keras_tuner.engine.trial import Trial
from sklearn.exceptions import ConvergenceWarning

from tuning.store.objective import Objective
from tuning.store.records import TrialRecord

ANY_OBJECTIVE = keras_tuner.Objective("val_accuracy", "max")  # Required, not used.


class SharedHyperParameters(keras_tuner.HyperParameters):
    """Hyperparameters whose copies share the entries of the space.

    KerasTuner makes each entry anew for every copy, though none ever changes; that
    takes longer than all else in a suggestion.
    """

    def copy(self) -> SharedHyperParameters:
        copied = SharedHyperParameters()
        for entry in self.space:
            copied._hps[entry.name].append(entry)
            copied._space.append(entry)
        copied.values = dict(self.values)
        return copied

    def at(self, values: dict[str, Any]) -> SharedHyperParameters:
        """Return a copy with the given values."""
        copied = self.copy()
        copied.values = dict(values)
        return copied

    def vary_only(self, names: Container[str]) -> SharedHyperParameters:
        """Return a copy in which all others than `names` are fixed at their default."""
        copied = SharedHyperParameters()
        for entry in self.space:
            if entry.name not in names:
                entry = Fixed(entry.name, entry.default, conditions=entry.conditions)
            copied.merge([entry])
        return copied


class GaussianProcess:
    """KerasTuner's Bayesian search: a model of the score, fitted to trials.

    Args:
        hp: The hyperparameters of the search.
        objective: Of the search.
        seed: Of the fit's restarts.
    """

    def __init__(self, hp: Any, objective: Objective, seed: int) -> None:
        self._hp = hp
        self._oracle = keras_tuner.oracles.BayesianOptimizationOracle(
            objective=keras_tuner.Objective(
                objective.name, "max" if objective.maximize else "min"
            ),
            hyperparameters=hp,
            seed=seed,
        )
        self.dimensions = sum(not isinstance(entry, Fixed) for entry in hp.space)

    def fit(self, ended: Iterable[TrialRecord], running: Iterable[TrialRecord]) -> None:
        """Fit to the scores of ended trials; running ones get a pessimistic guess.

        KerasTuner takes the guess from its last fit; here it is one to the ended
        trials, so that it is the same after a restart of the oracle.
        """
        known = {r.trial: self._trial(r, "COMPLETED") for r in ended}
        guessed = {r.trial: self._trial(r, "RUNNING") for r in running}
        oracle = self._oracle
        with warnings.catch_warnings():
            # A few trials may fit any length scale.
            warnings.simplefilter("ignore", ConvergenceWarning)
            oracle.trials, oracle.ongoing_trials = known, {}
            oracle.gpr.fit(*oracle._vectorize_trials())
            if guessed:
                both = {**known, **guessed}
                oracle.trials = {key: both[key] for key in sorted(both, key=int)}
                oracle.ongoing_trials = guessed
                oracle.gpr.fit(*oracle._vectorize_trials())

    def bound(self, vectors: np.ndarray) -> np.ndarray:
        """Return the lower confidence bound of the score to be minimized.

        Args:
            vectors: (n, dimensions), in [0, 1].
        """
        mean, deviation = self._oracle.gpr.predict(vectors, return_std=True)
        return mean - self._oracle.beta * deviation

    def values(self, vector: np.ndarray) -> dict[str, Any]:
        """Return the values of the active hyperparameters that a vector stands for."""
        return self._oracle._vector_to_values(vector)

    def _trial(self, record: TrialRecord, status: str) -> Any:
        trial = Trial(self._hp.at(record.values), record.trial, status)
        trial.score = record.score
        return trial


class Grid:
    """KerasTuner's grid search: its order of the combinations.

    Args:
        hp: The hyperparameters of the search.
    """

    def __init__(self, hp: Any) -> None:
        self._oracle = keras_tuner.oracles.GridSearchOracle(
            objective=ANY_OBJECTIVE, hyperparameters=hp
        )

    def after(self, values: dict[str, Any]) -> dict[str, Any] | None:
        """Return the combination after one; None after the last."""
        return self._oracle._get_next_combination(values)


class Brackets:
    """KerasTuner's Hyperband: how many trials and epochs each round has.

    Args:
        max_epochs: Epochs of the longest trials.
    """

    def __init__(self, max_epochs: int) -> None:
        self._oracle = keras_tuner.oracles.HyperbandOracle(
            objective=ANY_OBJECTIVE, max_epochs=max_epochs
        )
        self._count = self._oracle._get_num_brackets()

    def rounds(self, bracket: int) -> list[tuple[int, int]]:
        """Return the number of trials, and the epochs they reach, of each round.

        Args:
            bracket: Number of the bracket, from 0; the one that halves most is first.
        """
        number = self._count - 1 - bracket % self._count
        oracle = self._oracle
        return [
            (oracle._get_size(number, index), oracle._get_epochs(number, index))
            for index in range(oracle._get_num_rounds(number))
        ]
