"""Where a trial begins: at its beginning, or after the last epoch on disk."""

from __future__ import annotations

from collections.abc import Callable

import keras

from tuning.store.layout import Store
from tuning.store.records import TrialRecord
from tuning.trial.callbacks import BestEpoch
from tuning.trial.checkpoints import CheckpointError, Start, TrialState, load


def begin(
    record: TrialRecord,
    store: Store,
    build: Callable[[], keras.Model],
    best: BestEpoch,
    halves_batches: bool = False,
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
        halves_batches: Whether the trial begins again with half the batch size.
    """

    def build_seeded() -> keras.Model:
        keras.utils.set_random_seed(record.seed)
        return build()

    notes = []
    before = [] if record.continues is None else [record.continues]
    for trial_id in () if halves_batches else (record.trial, *before):
        is_own = trial_id == record.trial
        file = store.checkpoint_file(trial_id)
        try:
            start = load(file, record, build_seeded, best if is_own else None)
        except FileNotFoundError:
            continue
        except CheckpointError as error:
            notes.append(f"a checkpoint was ignored: {error}")
            continue
        if is_own:
            return start
        if start.state.next_epoch == record.first_epoch:
            fresh = {"history": {}, "notes": notes, "seconds": 0.0}
            return start._replace(state=start.state.model_copy(update=fresh))
    if before and not halves_batches:
        notes.append(f"trained from its first epoch, not from trial {before[0]}'s last")
    state = TrialState(
        seed=record.seed,
        values=record.values,
        halves_batches=halves_batches,
        notes=notes,
    )
    return Start(build_seeded(), state)
