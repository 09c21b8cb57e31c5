"""What to try next, by each kind of search.

Each kind is a function of the trials so far, so that an oracle that is started again
proposes what it would have proposed; for a trial whose record is lost, of those before
it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from tuning.oracles.trials import Trials
from tuning.settings import derive_seed
from tuning.space.engine import GaussianProcess, Grid
from tuning.space.search_space import MAX_DRAWS, SearchSpace
from tuning.store.objective import Objective

# What Bayesian search compares: evenly drawn, and around the best of them.
CANDIDATES = 2000
SPREADS = (0.1, 0.02)


class Proposal(NamedTuple):
    """What a trial is to be.

    Attributes:
        values: Of the active hyperparameters, by name.
        continues: Hyperband's: id of the trial whose training it continues.
        first_epoch, epochs: Where its training begins, and how far it goes.
        bracket, round: Hyperband's, from 0.
    """

    values: dict[str, Any]
    epochs: int
    continues: str | None = None
    first_epoch: int = 0
    bracket: int | None = None
    round: int | None = None


class Kind(Protocol):
    """A kind of search."""

    def propose(self, trials: Trials, trial_id: str) -> Proposal | None:
        """Return what the next trial is to be; None if there is nothing now."""

    def to_continue(self, trials: Trials) -> set[str]:
        """Return the ids of ended trials whose training another may continue."""


class RandomSearch:
    """Values at random.

    Args:
        epochs: Of each trial.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def propose(self, trials: Trials, trial_id: str) -> Proposal | None:
        values = self._values(trials, trial_id)
        return None if values is None else Proposal(values, self.epochs)

    def to_continue(self, trials: Trials) -> set[str]:
        return set()

    def _values(self, trials: Trials, trial_id: str) -> dict[str, Any] | None:
        return trials.draw()


class BayesianSearch(RandomSearch):
    """The values of which KerasTuner's Gaussian process expects most.

    Args:
        space: Of the search.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(space.settings.epochs)
        self.seed = derive_seed(space.settings.seed, "oracle")
        # KerasTuner's own number, three per dimension, would leave nothing to it.
        self.num_initial = max(3, space.settings.trials // 4)
        objective = Objective(space.settings.objective)
        self.process = GaussianProcess(space.hp, objective, self.seed)

    def _values(self, trials: Trials, trial_id: str) -> dict[str, Any] | None:
        records = trials.before(trial_id)
        ended = [r for r in records if r.status in ("COMPLETED", "PRUNED")]
        if len(ended) < self.num_initial or trials.next_given():
            return trials.draw()
        # A trial's own, so that it is the same after any restart.
        rng = np.random.RandomState(derive_seed(self.seed, f"trial {int(trial_id)}"))
        self.process.fit(ended, [r for r in records if r.status == "RUNNING"])
        # KerasTuner follows numeric gradients, which takes a minute with forty
        # hyperparameters, and finds one set of values, within the limits or not.
        vectors = rng.uniform(size=(CANDIDATES, self.process.dimensions))
        for spread in SPREADS:
            order = np.argsort(self.process.bound(vectors))
            best = vectors[order[: CANDIDATES // 50]]
            near = rng.normal(np.repeat(best, 25, axis=0), spread)
            vectors = np.concatenate([vectors, np.clip(near, 0, 1)])
        order = np.argsort(self.process.bound(vectors), kind="stable")
        for index in order[:MAX_DRAWS]:
            values = self.process.values(vectors[index])
            if trials.is_new(values):
                return values
        return trials.draw()


class GridSearch(RandomSearch):
    """Each combination once, in KerasTuner's order.

    KerasTuner waits for trials to end, since one may declare hyperparameters; here
    the space is known.

    Args:
        space: Of the search.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(space.settings.epochs)
        self.space = space
        self.grid = Grid(space.hp)

    def _values(self, trials: Trials, trial_id: str) -> dict[str, Any] | None:
        if (values := trials.next_given()) is not None:
            return values
        for record in reversed(trials.before(trial_id)):
            if not record.is_given:
                return self._after(record.values, trials.is_new)
        default = dict(self.space.default)
        is_new = trials.is_new(default)
        return default if is_new else self._after(default, trials.is_new)

    def _after(
        self, values: dict[str, Any], is_new: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any] | None:
        following: dict[str, Any] | None = values
        for _ in range(MAX_DRAWS):
            following = self.grid.after(following or {})
            if following is None or is_new(following):
                return following
            if not self.space.is_within_limits(following):
                following = self._last_of_network(following)
        return None

    def _last_of_network(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return a later combination, if there is one before the cost changes.

        What says how to train varies fastest; without this, thousands of combinations
        beyond the limits would be the same network.
        """
        cost = self.space.cost(values)
        entries = self.space.entries
        parents = {condition.name for e in entries for condition in e.conditions}
        for entry in reversed(entries):
            if entry.name not in values:
                continue
            others = [value for value in entry.values if value != entry.default]
            later = {**values, entry.name: others[-1] if others else entry.default}
            if entry.name in parents or self.space.cost(later) != cost:
                break
            values = later
        return values
