"""Retention: which weights and checkpoints stay on disk."""

from __future__ import annotations

from collections.abc import Iterable

from tuning.store.layout import Store
from tuning.store.objective import Objective
from tuning.store.records import TrialRecord


class Retention:
    """Removes weights and checkpoints that no trial needs any more.

    The oracle alone does so, after it has a trial's end on record: of two trials that
    end at once, the second is compared with the first.

    Args:
        store: The search directory.
        objective: Of the search.
        keep: Number of completed trials, the best ones, whose weights stay.
    """

    def __init__(self, store: Store, objective: Objective, keep: int) -> None:
        self.store = store
        self.objective = objective
        self.keep = keep
        self._without_weights: set[str] = set()
        self._without_checkpoint: set[str] = set()

    def tidy(self, records: Iterable[TrialRecord], to_continue: set[str]) -> None:
        """Remove the weights and checkpoints of trials that ended.

        Args:
            records: Of all trials.
            to_continue: Ids of the trials whose training another may continue.
        """
        ended = [record for record in records if record.has_ended]
        best = [record.trial for record in self.objective.ranked(ended)[: self.keep]]
        for trial_id in {r.trial for r in ended} - {*best} - self._without_weights:
            self.store.weights_file(trial_id).unlink(missing_ok=True)
            self._without_weights.add(trial_id)
        done = {record.trial for record in ended} - to_continue
        for trial_id in done - self._without_checkpoint:
            self.store.checkpoint_file(trial_id).unlink(missing_ok=True)
            self._without_checkpoint.add(trial_id)
