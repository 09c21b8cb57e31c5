"""Where a trial begins: at its beginning, or after the last epoch on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from tuning.store.layout import Store
from tuning.store.records import TrialRecord
from tuning.trial.callbacks import BestEpoch
from tuning.trial.checkpoints import CheckpointError, TrialState, load


class Start(NamedTuple):
    """Where a trial begins.

    Attributes:
        model: Its network.
        state: How far it has come.
        randomness: As of `tuning.trial.checkpoints`; None at the beginning.
    """

    model: keras.Model
    state: TrialState
    randomness: dict[str, Any] | None


def begin(
    record: TrialRecord,
    store: Store,
    build: Callable[[], keras.Model],
    best: BestEpoch,
    batch_size: int | None = None,
) -> Start:
    """Return where a trial begins.

    A trial that was cut off resumes from its checkpoint. One that continues another
    resumes from the other's last; if that is missing, it trains from the first
    epoch, which takes longer and gives the same.

    Args:
        record: Of the trial.
        store: The search directory.
        build: Makes the network.
        best: Set to the best epoch so far, if there is one.
        batch_size: Another than the values': the trial begins at its beginning.
    """
    seed, values = record.seed, record.values

    def build_seeded() -> keras.Model:
        keras.utils.set_random_seed(seed)
        return build()

    notes = []
    before = [] if record.continues is None else [record.continues]
    for trial_id in () if batch_size else (record.trial, *before):
        is_own = trial_id == record.trial
        file = store.checkpoint_file(trial_id)
        try:
            start = load(file, seed, values, build_seeded, best if is_own else None)
        except FileNotFoundError:
            continue
        except CheckpointError as error:
            notes.append(f"a checkpoint was ignored: {error}")
            continue
        model, state, randomness = start
        if is_own:
            return Start(model, state, randomness)
        if state.next_epoch == record.first_epoch:
            fresh = {"history": {}, "notes": notes, "seconds": 0.0}
            return Start(model, state.model_copy(update=fresh), randomness)
    store.checkpoint_file(record.trial).unlink(missing_ok=True)
    if batch_size:
        notes.append(
            f"out of memory with the point's batch_size; run with {batch_size}"
        )
    elif before:
        notes.append(f"trained from its first epoch, not from trial {before[0]}'s last")
    state = TrialState(seed=seed, values=values, batch_size=batch_size, notes=notes)
    return Start(build_seeded(), state, None)
