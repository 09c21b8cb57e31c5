"""What to try next, by each kind of search.

Each kind is a function of the trials so far, so that an oracle that is started again
proposes what it would have proposed; for a trial whose record is lost, of those before
it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from tuning.oracles.engine import GaussianProcess, Grid
from tuning.settings import derive_seed
from tuning.space.search_space import MAX_DRAWS, SearchSpace
from tuning.store.objective import Objective
from tuning.store.records import TrialRecord

# What Bayesian search compares: evenly drawn, and around the best of them.
CANDIDATES = 2000
SPREADS = (0.1, 0.02)
# KerasTuner gives up after as many values in a row that were tried.
MAX_TRIED = 21


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


class Trials:
    """The trials of a search, and the values that are drawn for more.

    Args:
        space: Of the search.
        given: Values that people named, complete, to be tried before all others.

    Attributes:
        records: By id, in the order of their numbers.
        draws: Random state of the next draw.
    """

    def __init__(self, space: SearchSpace, given: list[dict[str, Any]]) -> None:
        self.space = space
        self.given = given
        self.records: dict[str, TrialRecord] = {}
        self.draws = derive_seed(space.settings.seed, "oracle")
        self._tried: set[str] = set()
        self._ends: set[int] = set()  # Random states after the draws on record.

    def put(self, record: TrialRecord) -> None:
        """Hold a record, new or changed."""
        is_new = record.trial not in self.records
        last = next(reversed(self.records), record.trial)
        self.records[record.trial] = record
        if int(last) > int(record.trial):
            self.records = dict(sorted(self.records.items(), key=_number))
        # One that continues another has the other's values, which may be lost.
        if is_new and record.continues is None:
            self._tried.add(_key(record.values))
            self._ends.add(record.draws)

    def before(self, trial_id: str) -> list[TrialRecord]:
        """Return the records of the trials with lower numbers."""
        number = int(trial_id)
        return [r for r in self.records.values() if int(r.trial) < number]

    def is_new(self, values: dict[str, Any]) -> bool:
        """Return whether values were not tried and are within the limits."""
        return _key(values) not in self._tried and self.space.fits(values)

    def is_given(self, values: dict[str, Any]) -> bool:
        """Return whether people named these values."""
        return _key(values) in map(_key, self.given)

    def next_given(self) -> dict[str, Any] | None:
        """Return the first values that people named that were not tried."""
        untried = (v for v in self.given if _key(v) not in self._tried)
        return next((dict(values) for values in untried), None)

    def draw(self) -> dict[str, Any] | None:
        """Return untried values: given ones, then the default ones, then at random.

        None if all were tried, or none within the limits was found; drawing again
        then finds none either.
        """
        if (values := self.next_given()) is not None:
            return values
        if self.is_new(self.space.default):
            return dict(self.space.default)
        start, num_tried, num_beyond = self.draws, 0, 0
        while num_tried < MAX_TRIED and num_beyond < MAX_DRAWS:
            values = self.space.draw(self._sample)
            if _key(values) not in self._tried:
                if self.space.fits(values):
                    return values
                num_tried, num_beyond = 0, num_beyond + 1
            elif self.draws in self._ends:  # Of a trial after one that was lost.
                num_tried = num_beyond = 0
            else:
                num_tried += 1
        self.draws = start
        return None

    def _sample(self, entry: Any) -> Any:
        self.draws += 1
        return entry.random_sample(self.draws - 1)


def _number(item: tuple[str, TrialRecord]) -> int:
    return int(item[0])


def _key(values: dict[str, Any]) -> str:
    return repr(sorted(values.items()))


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
            if not self.space.fits(following):
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
