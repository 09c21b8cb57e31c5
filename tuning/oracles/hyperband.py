"""Hyperband: the same trials whatever the number of workers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import keras_tuner

from tuning.oracles.durable import ENDED, DurableOracle, Status


class Round(NamedTuple):
    """A round of a bracket.

    Attributes:
        bracket: KerasTuner's, with the entries of its rounds.
        number: Of the round, from 0.
        places: Entries that it may come to, as far as is known: every failure in
            an earlier round may leave it one short.
        allowed: Those of them that are within the trials of the search.
    """

    bracket: dict[str, Any]
    number: int
    places: int
    allowed: int

    @property
    def entries(self) -> list[dict[str, Any]]:
        """Its trials so far."""
        return self.bracket["rounds"][self.number]


class Hyperband(DurableOracle, keras_tuner.oracles.HyperbandOracle):
    """KerasTuner's Hyperband, whose trials do not depend on which ends first.

    One worker runs bracket after bracket, and in each round after round. Several
    begin the next bracket while a round waits for its last trials, but no trial
    that would not be among the first `max_trials` of one worker.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return the next trial of the first round that may begin one."""
        self._remove_completed_brackets()
        room = self.max_trials - len(self.trials)
        before = None
        for current in self._rounds():
            room -= current.places - len(current.entries)
            if len(current.entries) < current.allowed:
                if current.number == 0:
                    response = self._first(trial_id, current.bracket)
                    if response["status"] == Status.RUNNING:
                        return response
                    current.bracket["is_full"] = True  # The space has no more points.
                    return self.populate_space(trial_id)
                if (parent := self._to_promote(before, current)) is not None:
                    return self._promote(trial_id, parent, current)
            before = current
        if room > 0 and not any("is_full" in bracket for bracket in self._brackets):
            self._increment_bracket_num()
            self._start_new_bracket()
            return self.populate_space(trial_id)
        return {"status": Status.IDLE if self.ongoing_trials else Status.STOPPED}

    def _rounds(self) -> Iterator[Round]:
        """Yield the rounds of the brackets that are not complete, in their order."""
        rounds = [
            entries for bracket in self._brackets for entries in bracket["rounds"]
        ]
        position = len(self.trials) - sum(map(len, rounds))
        for bracket in self._brackets:
            places = self._get_size(bracket["bracket_num"], 0)
            if "is_full" in bracket:
                places = len(bracket["rounds"][0])
            for number, entries in enumerate(bracket["rounds"]):
                places = min(places, self._get_size(bracket["bracket_num"], number))
                allowed = max(0, min(places, self.max_trials - position))
                yield Round(bracket, number, places, allowed)
                position += places
                places -= sum(self._status(entry) == Status.FAILED for entry in entries)

    def _status(self, entry: dict[str, Any]) -> str:
        return self.trials[entry["id"]].status

    def _to_promote(self, past: Round | None, current: Round) -> str | None:
        """Return the trial to go on with, unless one that runs may be better."""
        past_entries = past.entries if past else []
        chosen = {entry["past_id"] for entry in current.entries}
        ended = [e for e in past_entries if self._status(e) in ENDED]
        completed = [e["id"] for e in ended if self._status(e) == Status.COMPLETED]
        waiting = (past.places if past else 0) - len(ended)
        candidates = self._best_first(key for key in completed if key not in chosen)
        if candidates and waiting < current.allowed - len(current.entries):
            return candidates[0]
        return None

    def _best_first(self, trial_ids: Iterable[str]) -> list[str]:
        """Return trials by score; of equal ones that first whose point was drawn first.

        Their own order says which were promoted first, which may be any.
        """
        sign = -1 if self.objective.direction == "max" else 1

        def rank(trial_id: str) -> tuple[float, int]:
            return sign * self.trials[trial_id].score, int(self._root(trial_id))

        return sorted(trial_ids, key=rank)

    def _root(self, trial_id: str) -> str:
        values = self.trials[trial_id].hyperparameters.values
        while "tuner/trial_id" in values:
            trial_id = values["tuner/trial_id"]
            values = self.trials[trial_id].hyperparameters.values
        return trial_id

    def _first(self, trial_id: str, bracket: dict[str, Any]) -> dict[str, Any]:
        """Return a trial with a point of its own."""
        response = self._random_trial(trial_id, bracket)
        if response["status"] == Status.RUNNING:
            # KerasTuner's is that of the latest bracket.
            response["values"]["tuner/bracket"] = bracket["bracket_num"]
        return response

    def _promote(self, trial_id: str, parent: str, current: Round) -> dict[str, Any]:
        """Return the trial that goes on with another."""
        bracket_num, number = current.bracket["bracket_num"], current.number
        current.entries.append({"past_id": parent, "id": trial_id})
        values = {
            **self.trials[parent].hyperparameters.values,
            "tuner/trial_id": parent,
            "tuner/epochs": self._get_epochs(bracket_num, number),
            "tuner/initial_epoch": self._get_epochs(bracket_num, number - 1),
            "tuner/bracket": bracket_num,
            "tuner/round": number,
        }
        return {"status": Status.RUNNING, "values": values}

    def to_continue(self) -> set[str]:
        """Return the trials that others go on from, or may yet go on from."""
        needed = {
            trial.hyperparameters.values.get("tuner/trial_id")
            for trial_id, trial in self.trials.items()
            if trial_id not in self.end_order
        }
        for past, current in itertools.pairwise(self._rounds()):
            if current.number == 0:
                continue
            chosen = {entry["past_id"] for entry in current.entries}
            waiting = (
                entry["id"]
                for entry in past.entries
                if entry["id"] not in chosen and self._status(entry) == Status.COMPLETED
            )
            # Those better than the rest; no other can be chosen any more.
            left = current.places - len(current.entries)
            needed |= set(self._best_first(waiting)[:left])
        return needed - {None}

    def place(self, trial: Any) -> None:
        super().place(trial)
        values = trial.hyperparameters.values
        parent = values.get("tuner/trial_id")
        info = {"past_id": parent, "id": trial.trial_id}
        for bracket in self._brackets:
            for last, following in itertools.pairwise(bracket["rounds"]):
                if parent in [entry["id"] for entry in last]:
                    following.append(info)
                    return
        # A bracket's first round is filled before the next bracket is opened.
        while len(self._brackets[-1]["rounds"][0]) >= self._get_size(
            self._current_bracket, round_num=0
        ):
            self._increment_bracket_num()
            self._start_new_bracket()
        self._brackets[-1]["rounds"][0].append(info)
