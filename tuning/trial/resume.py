"""Where a trial begins: at its beginning, or after the last epoch on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import keras

from tuning.points.values import public
from tuning.settings import SearchSettings, derive_seed
from tuning.store.directory import Store
from tuning.store.retention import remove
from tuning.trial.checkpoints import CheckpointError, TrialState, load
from tuning.trial.weights import BestEpoch


def begin(
    trial: Any,
    oracle: Any,
    store: Store,
    settings: SearchSettings,
    build: Callable[[Any], keras.Model],
    best: BestEpoch,
    batch_size: int | None = None,
) -> tuple[keras.Model, TrialState, dict[str, Any] | None]:
    """Return a trial's network, what it has come to, and its random generators.

    A trial that was cut off goes on from its checkpoint. One that continues another
    goes on from the other's last; if that is not there, it trains from the first
    epoch, which is longer and comes to the same.

    Args:
        trial: KerasTuner's.
        oracle: Knows the trials that this one continues.
        store: The search directory.
        settings: Of the search.
        build: Makes the network at a point.
        best: Set to the best epoch so far, if there is one.
        batch_size: Another than the point's: the trial begins at its beginning.

    Returns:
        The network, its `TrialState`, and `tuning.trial.checkpoints.randomness`, or
        None at the beginning.
    """
    chain = _chain(trial, oracle)
    values = public(trial.hyperparameters.values)
    # Of the point alone, which may be another trial with another number of workers.
    seed = derive_seed(settings.seed, f"trial {json.dumps(values, sort_keys=True)}")
    identity = {"seed": seed, "values": values}

    def build_seeded() -> keras.Model:
        keras.utils.set_random_seed(seed)
        return build(trial.hyperparameters)

    notes = []
    for trial_id in () if batch_size else reversed(chain[-2:]):
        is_own = trial_id == trial.trial_id
        folder = store.checkpoint_folder(trial_id)
        try:
            model, state, randomness = load(
                folder, identity, build_seeded, best if is_own else None
            )
        except FileNotFoundError:
            continue
        except CheckpointError as error:
            notes.append(f"a checkpoint was ignored: {error}")
            continue
        if is_own:
            return model, state, randomness
        first_epoch = trial.hyperparameters.values["tuner/initial_epoch"]
        if state.next_epoch == first_epoch:
            state = TrialState(
                identity,
                next_epoch=first_epoch,
                batch_size=state.batch_size,
                notes=notes,
            )
            return model, state, randomness
    remove(store.checkpoint_folder(trial.trial_id))
    if batch_size:
        notes.append(
            f"out of memory with the point's batch_size; run with {batch_size}"
        )
    elif len(chain) > 1:
        notes.append(f"trained from its first epoch, not from trial {chain[-2]}'s last")
    return (
        build_seeded(),
        TrialState(identity, batch_size=batch_size, notes=notes),
        None,
    )


def _chain(trial: Any, oracle: Any) -> list[str]:
    """Return the ids of the trials that a trial continues, first to last, and its own.

    A training in rounds is one training.
    """
    chain = [trial.trial_id]
    values = trial.hyperparameters.values
    while "tuner/trial_id" in values:
        chain.insert(0, values["tuner/trial_id"])
        values = oracle.get_trial(chain[0]).hyperparameters.values
    return chain
