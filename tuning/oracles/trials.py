"""The trials of a search: who is at which, and what was tried."""

from __future__ import annotations

from typing import Any

from tuning.settings import derive_seed
from tuning.space.search_space import MAX_DRAWS, SearchSpace
from tuning.store.records import TrialRecord, key_of

# KerasTuner gives up after as many values in a row that were tried.
MAX_TRIED = 21


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
            self._tried.add(key_of(record.values))
            self._ends.add(record.draws)

    def running(self) -> dict[str, TrialRecord]:
        """Return the trials that workers are at, by worker."""
        unfinished = (r for r in self.records.values() if not r.has_ended)
        return {r.worker: r for r in unfinished if r.worker is not None}

    def waiting(self) -> list[TrialRecord]:
        """Return the trials that have begun, and that no worker is at."""
        unfinished = (r for r in self.records.values() if not r.has_ended)
        return [r for r in unfinished if r.worker is None]

    def ended(self) -> list[TrialRecord]:
        """Return the trials that have ended, in whichever way."""
        return [r for r in self.records.values() if r.has_ended]

    def before(self, trial_id: str) -> list[TrialRecord]:
        """Return the records of the trials with lower numbers."""
        number = int(trial_id)
        return [r for r in self.records.values() if int(r.trial) < number]

    def is_new(self, values: dict[str, Any]) -> bool:
        """Return whether values were not tried and are within the limits."""
        return key_of(values) not in self._tried and self.space.is_within_limits(values)

    def is_given(self, values: dict[str, Any]) -> bool:
        """Return whether people named these values."""
        return key_of(values) in map(key_of, self.given)

    def next_given(self) -> dict[str, Any] | None:
        """Return the first values that people named that were not tried."""
        untried = (v for v in self.given if key_of(v) not in self._tried)
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
            if key_of(values) not in self._tried:
                if self.space.is_within_limits(values):
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
