"""The objective of a search: which of two scores is better, in which order trials are.

There is one rule for ties: the trial that began first is ahead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tuning.store.records import TrialRecord


class Objective(NamedTuple):
    """A metric to optimize; lower is better if its name ends in "loss"."""

    name: str

    @property
    def maximize(self) -> bool:
        """Whether more is better."""
        return not self.name.endswith("loss")

    def cost_of(self, score: float) -> float:
        """Return a number that is lower for a better score."""
        return -score if self.maximize else score

    def better(self, score: float, other: float) -> bool:
        """Return whether a score is better than another."""
        return self.cost_of(score) < self.cost_of(other)

    def best(self, scores: Sequence[float]) -> float:
        """Return the best of some scores, at least one."""
        return min(scores, key=self.cost_of)

    def ranked(self, records: Iterable[TrialRecord]) -> list[TrialRecord]:
        """Return the trials that completed, best first."""
        completed = [r for r in records if r.status == "COMPLETED"]
        return sorted(completed, key=self._rank)

    def _rank(self, record: TrialRecord) -> tuple[float, int]:
        return self.cost_of(record.score or 0.0), int(record.trial)

    def ranked_rows(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the rows of trials that completed, best first."""
        completed = [row for row in rows if row["status"] == "COMPLETED"]
        return sorted(completed, key=lambda row: self.cost_of(row["score"]))
