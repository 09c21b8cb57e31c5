"""Checkpoints: a trial resumes where it was cut off.

checkpoint.npz holds the weights, the optimizer, the weights of the best epoch so
far, the state of all random generators, and how far the trial has come. It is
written atomically and checked as a whole: all of it is there, or it does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import keras
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tuning.store.arrays import read_arrays, restored, write_arrays
from tuning.store.objective import Objective
from tuning.store.records import Count, History, TrialRecord, Values
from tuning.trial.callbacks import BestEpoch
from tuning.trial.randomness import randomness, set_randomness

# The share of a trial's time that its checkpoints after the first may take.
MOST_TIME = 0.02


class CheckpointError(RuntimeError):
    """A checkpoint is damaged or another training's."""


class TrialState(BaseModel):
    """How far a trial has come, beside the weights of its network.

    Attributes:
        seed, values: What distinguishes this training from others.
        history: The metrics of each epoch from the trial's first on, by name; the
            epochs before, if it had to train them, are another trial's.
        next_epoch: The epoch to resume at.
        halves_batches: Whether batches are half as large as the values say.
        notes: What happened to the trial, for people.
        seconds: What its training took.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    seed: Count
    values: Values
    history: History = Field(default_factory=dict)
    next_epoch: Count = 0
    halves_batches: bool = False
    notes: list[str] = Field(default_factory=list)
    seconds: Annotated[float, Field(ge=0)] = 0.0

    def best_epoch(
        self, objective: Objective, first_epoch: int
    ) -> tuple[int, float] | None:
        """Return the best epoch of this trial, the earliest of equals, and its score.

        Args:
            objective: Of the search.
            first_epoch: The trial's first.

        Returns:
            None if no epoch of its own has ended.

        Raises:
            ValueError, KeyError: The history cannot be that of the epochs from
                `first_epoch` to `next_epoch`.
        """
        count = max(0, self.next_epoch - first_epoch)
        if any(len(past) != count for past in self.history.values()):
            raise ValueError("its metrics are not of the same epochs")
        if not count:
            return None
        scores = self.history[objective.name]
        score = objective.best(scores)
        return first_epoch + scores.index(score), score


class Start(NamedTuple):
    """Where a trial begins.

    Attributes:
        model: Its network.
        state: How far it has come.
        randomness: State of the random generators, as `tuning.trial.randomness`
            returns it; None at the beginning.
    """

    model: keras.Model
    state: TrialState
    randomness: dict[str, Any] | None = None


class Checkpoints(keras.callbacks.Callback):
    """Writes checkpoints while a trial trains.

    One is written after the first epoch, and after another unless writing takes more
    than a fiftieth of the time since: if epochs are short, some are left out.

    Args:
        file: The trial's checkpoint.
        state: Of the trial; what its epochs take is added here.
        best: Holds the best epoch so far.
        randomness: State of the random generators to begin with, as `randomness`
            returns it; None leaves them as they are.
        keep_last: Whether the last epoch's is written in any case: the training
            may be continued by another trial.
    """

    def __init__(
        self,
        file: Path,
        state: TrialState,
        best: BestEpoch,
        randomness: dict[str, Any] | None = None,
        keep_last: bool = False,
    ) -> None:
        super().__init__()
        self.file = file
        self.state = state
        self.best = best
        self.keep_last = keep_last
        self._randomness = randomness
        self._seconds = 0.0  # What the last one took.
        self._written = self._started = time.monotonic()

    def on_train_begin(self, logs: Any = None) -> None:
        # Not before: `fit` itself draws a number.
        if self._randomness is not None:
            set_randomness(self.model, self._randomness)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        now = time.monotonic()
        self.state.next_epoch = epoch + 1
        self.state.seconds += now - self._started
        self._started = now
        is_last = epoch + 1 == self.params["epochs"] or self.model.stop_training
        is_due = self._seconds <= MOST_TIME * (now - self._written)
        if (is_last and self.keep_last) or (is_due and not is_last):
            write(self.file, self.state, self.model, self.best)
            self._written = time.monotonic()
            self._seconds = self._written - now


def write(file: Path, state: TrialState, model: keras.Model, best: BestEpoch) -> None:
    """Write a checkpoint over the one before.

    Raises:
        WriteError: It cannot be written; the one before still counts.
    """
    arrays = _named("weights", model.get_weights())
    arrays |= _named("optimizer", _numpy(model.optimizer.variables))
    if best.epoch != state.next_epoch - 1:
        arrays |= _named("best", best.weights)
    meta = {"state": state.model_dump(), "randomness": randomness(model)}
    write_arrays(file, meta, arrays)


def load(
    file: Path,
    record: TrialRecord,
    build: Callable[[], keras.Model],
    best: BestEpoch | None,
) -> Start:
    """Return where a checkpoint lets a training resume.

    Args:
        file: The checkpoint.
        record: Of the trial that resumes.
        build: Makes the network.
        best: Set to the best epoch so far; None if that is another trial's.

    Raises:
        FileNotFoundError: There is none.
        CheckpointError: It is damaged, or another training's.
    """
    try:
        meta, arrays = read_arrays(file)
        state = TrialState.model_validate(meta["state"])
        if (state.seed, state.values) != (record.seed, record.values):
            raise ValueError("it is of another training")
        if state.next_epoch > record.epochs:
            raise ValueError(f"it is of epoch {state.next_epoch} of {record.epochs}")
        model = build()
        model.optimizer.build(model.trainable_variables)  # Unless it is.
        set_weights(model.weights, _unnamed("weights", arrays))
        set_weights(model.optimizer.variables, _unnamed("optimizer", arrays))
        # A trial run, which fails here and not within `fit`.
        fresh = randomness(model)
        set_randomness(model, meta["randomness"])
        set_randomness(model, fresh)
        if best is not None and (
            found := state.best_epoch(best.objective, record.first_epoch)
        ):
            epoch, score = found
            name = "weights" if epoch == state.next_epoch - 1 else "best"
            best.weights = _fitting(model.weights, _unnamed(name, arrays))
            best.epoch, best.score = epoch, score
    except FileNotFoundError:
        raise
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            reason = error.errors(include_url=False)[0]["msg"]
        raise CheckpointError(f"{file}: {reason}") from error
    return Start(model, state, meta["randomness"])


def save_weights(file: Path, weights: list[np.ndarray]) -> None:
    """Write the weights of a trial's best epoch.

    Raises:
        WriteError: They cannot be written.
    """
    write_arrays(file, {}, _named("weights", weights))


def load_weights(model: keras.Model, file: Path) -> None:
    """Set a model to the weights of a trial's best epoch.

    Raises:
        FileNotFoundError: There are none.
        ValueError: They are damaged or of another network.
    """
    set_weights(model.weights, _unnamed("weights", read_arrays(file)[1]))


def set_weights(variables: Sequence[Any], arrays: list[np.ndarray]) -> None:
    """Assign arrays to variables, all or none.

    Raises:
        ValueError: They are of other shapes or types.
    """
    for variable, array in zip(variables, _fitting(variables, arrays), strict=True):
        variable.assign(array)


def _fitting(variables: Sequence[Any], arrays: list[np.ndarray]) -> list[np.ndarray]:
    if len(variables) != len(arrays):
        raise ValueError(
            f"it has {len(arrays)} arrays; the network has {len(variables)}"
        )
    fitting = []
    for variable, array in zip(variables, arrays, strict=True):
        if tuple(variable.shape) != array.shape:
            raise ValueError(
                f"an array of shape {array.shape} does not fit {variable.path}, of "
                f"shape {tuple(variable.shape)}"
            )
        fitting.append(restored(array, np.dtype(str(variable.dtype))))
    return fitting


def _named(name: str, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{name}/{index}": array for index, array in enumerate(arrays)}


def _unnamed(name: str, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    count = sum(key.startswith(f"{name}/") for key in arrays)
    return [arrays[f"{name}/{index}"] for index in range(count)]


def _numpy(variables: Sequence[Any]) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in variables]
