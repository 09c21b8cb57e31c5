"""Retention: which weights and checkpoints stay on disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any


class Retention:
    """Removes weights and checkpoints that no trial needs any more.

    The oracle's process alone does so, after it has a trial's end on record: of two
    trials that end at once, the second is compared with the first.

    Args:
        keep: Number of completed trials, the best ones, whose weights stay.
    """

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self._without_weights: set[str] = set()
        self._without_checkpoint: set[str] = set()

    def tidy(self, oracle: Any) -> None:
        """Remove the weights and checkpoints of trials that ended.

        Weights stay if the trial is among the best, checkpoints if another trial
        may go on from them.

        Args:
            oracle: A `DurableOracle`.
        """
        ended = set(oracle.end_order)
        # No trial comes back among the best: the others' scores stay as they are.
        best = set(oracle.best_first(ended - self._without_weights)[: self.keep])
        for trial_id in ended - best - self._without_weights:
            oracle.store.weights_file(trial_id).unlink(missing_ok=True)
            self._without_weights.add(trial_id)
        for trial_id in ended - oracle.to_continue() - self._without_checkpoint:
            remove(oracle.store.checkpoint_folder(trial_id))
            self._without_checkpoint.add(trial_id)


def remove(folder: Path) -> None:
    """Remove a checkpoint; what cannot be removed does not count any more."""
    (folder / "state.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
