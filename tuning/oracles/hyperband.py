"""Hyperband: the same trials whatever the number of workers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tuning.oracles.proposals import Proposal
from tuning.oracles.trials import Trials
from tuning.space.engine import Brackets
from tuning.space.search_space import SearchSpace
from tuning.store.objective import Objective
from tuning.store.records import TrialRecord


class Round(NamedTuple):
    """A round of a bracket.

    Attributes:
        bracket, number: From 0.
        epochs: That its trials reach.
        places: Trials that it may come to hold, as far as is known: every failure in
            an earlier round may leave it one short.
        allowed: Those of them that are within the trials of the search.
        trials: Those that have begun.
    """

    bracket: int
    number: int
    epochs: int
    places: int
    allowed: int
    trials: list[TrialRecord]


class Hyperband:
    """Short trials first, of which the best are continued; as KerasTuner has it.

    One worker runs bracket after bracket, and in each round after round. Several
    begin the next bracket while a round waits for its last trials, but no trial
    that would not be among the first `total_trials` of one worker.

    Args:
        space: Of the search.
    """

    def __init__(self, space: SearchSpace) -> None:
        settings = space.settings
        self.total = settings.total_trials
        self.objective = Objective(settings.objective)
        self.brackets = Brackets(settings.epochs)
        self._full: set[int] = set()  # Brackets for which there are no more values.

    def propose(self, trials: Trials, trial_id: str) -> Proposal | None:
        """Return the next trial of the first round that may begin one."""
        room, last = self.total - len(trials.records), -1
        before: Round | None = None
        for current in self._rounds(trials):
            room -= current.places - len(current.trials)
            if len(current.trials) < current.allowed:
                if current.number == 0:
                    if proposal := self._first(trials, current.bracket):
                        return proposal
                    return self.propose(trials, trial_id)  # The bracket is full now.
                if parent := self._to_promote(before, current, trials):
                    return Proposal(
                        parent.values,
                        epochs=current.epochs,
                        continues=parent.trial,
                        first_epoch=parent.epochs,
                        bracket=current.bracket,
                        round=current.number,
                    )
            before, last = current, current.bracket
        if room > 0 and not self._full:
            return self._first(trials, last + 1)
        return None

    def _first(self, trials: Trials, bracket: int) -> Proposal | None:
        """Return a trial with values of its own; None if there are no more."""
        values = trials.draw()
        if values is None:
            self._full.add(bracket)
            return None
        epochs = self.brackets.rounds(bracket)[0][1]
        return Proposal(values, epochs=epochs, bracket=bracket, round=0)

    def _rounds(self, trials: Trials) -> Iterator[Round]:
        """Yield the rounds of the brackets that have begun, in their order."""
        begun: dict[tuple[int | None, int | None], list[TrialRecord]] = {}
        for record in trials.records.values():
            begun.setdefault((record.bracket, record.round), []).append(record)
        position = 0
        for bracket in range(1 + max((key[0] or 0 for key in begun), default=-1)):
            places = self.total
            if bracket in self._full:
                places = len(begun.get((bracket, 0), ()))
            for number, (size, epochs) in enumerate(self.brackets.rounds(bracket)):
                places = min(places, size)
                allowed = max(0, min(places, self.total - position))
                records = begun.get((bracket, number), [])
                yield Round(bracket, number, epochs, places, allowed, records)
                position += places
                places -= sum(record.status == "FAILED" for record in records)

    def _to_promote(
        self, past: Round | None, current: Round, trials: Trials
    ) -> TrialRecord | None:
        """Return the trial to continue, unless one that runs may be better."""
        if past is None:
            return None
        chosen = {record.continues for record in current.trials}
        ended = [record for record in past.trials if record.has_ended]
        candidates = (
            r for r in ended if r.status == "COMPLETED" and r.trial not in chosen
        )
        best = self._best_first(candidates, trials)
        if best and past.places - len(ended) < current.allowed - len(current.trials):
            return best[0]
        return None

    def _best_first(
        self, records: Iterable[TrialRecord], trials: Trials
    ) -> list[TrialRecord]:
        """Return trials by score; of equals that first whose values were drawn first.

        Their own order says which were promoted first, which may be any.
        """

        def rank(record: TrialRecord) -> tuple[float, int]:
            root = record
            while root.continues in trials.records:  # Its own may be lost.
                root = trials.records[root.continues]
            return self.objective.cost_of(record.score or 0.0), int(root.trial)

        return sorted(records, key=rank)

    def to_continue(self, trials: Trials) -> set[str]:
        """Return the trials that others continue, or may yet continue."""
        needed = {
            record.continues
            for record in trials.records.values()
            if not record.has_ended and record.continues is not None
        }
        for past, current in itertools.pairwise(self._rounds(trials)):
            if current.number == 0:
                continue
            chosen = {record.continues for record in current.trials}
            waiting = (
                record
                for record in past.trials
                if record.status == "COMPLETED" and record.trial not in chosen
            )
            # Those better than the rest; no other can be chosen any more.
            left = current.places - len(current.trials)
            best = self._best_first(waiting, trials)[:left]
            needed |= {record.trial for record in best}
        return needed
