"""Checkpoints: a trial resumes where it was cut off.

checkpoint.npz holds the weights, the optimizer, the weights of the best epoch so
far, the state of all random generators, and how far the trial has come. It is
written atomically and checked as a whole: all of it is there, or it does not count.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.random import seed_generator
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tuning.store.arrays import read_arrays, restored, write_arrays
from tuning.store.records import Count, History, Values
from tuning.trial.callbacks import BestEpoch

# The share of a trial's time that its checkpoints after the first may take.
MOST_TIME = 0.02


class CheckpointError(RuntimeError):
    """A checkpoint is damaged or another training's."""


class TrialState(BaseModel):
    """How far a trial has come, beside the weights of its network.

    Attributes:
        seed, values: What tells this training from others.
        history: The metrics of each epoch of this trial, by name.
        next_epoch: The epoch to resume at.
        batch_size: Images per batch, if not as the values say; else None.
        notes: What happened to the trial, for people.
        seconds: What its training took.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    seed: Count
    values: Values
    history: History = Field(default_factory=dict)
    next_epoch: Count = 0
    batch_size: Annotated[int, Field(ge=1)] | None = None
    notes: list[str] = Field(default_factory=list)
    seconds: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _check_whole(self) -> TrialState:
        if len({len(values) for values in self.history.values()}) > 1:
            raise ValueError("its metrics are not of the same epochs")
        return self

    def is_of(self, seed: int, values: dict[str, Any]) -> bool:
        """Return whether the state is of the training with a seed and values."""
        return self.seed == seed and self.values == values


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
    meta = {
        "state": state.model_dump(),
        "best": {"epoch": best.epoch, "score": best.score},
        "randomness": randomness(model),
    }
    write_arrays(file, meta, arrays)


def load(
    file: Path,
    seed: int,
    values: dict[str, Any],
    build: Callable[[], keras.Model],
    best: BestEpoch | None,
) -> tuple[keras.Model, TrialState, dict[str, Any]]:
    """Return a network as a checkpoint has it, the trial's state, and `randomness`.

    Args:
        file: The checkpoint.
        seed, values: What the checkpoint's must be.
        build: Makes the network.
        best: Set to the best epoch so far, unless it is None.

    Raises:
        FileNotFoundError: There is none.
        CheckpointError: It is damaged, or another training's.
    """
    try:
        meta, arrays = read_arrays(file)
        state = TrialState.model_validate(meta["state"])
        if not state.is_of(seed, values):
            raise ValueError("it is of another training")
        model = build()
        model.optimizer.build(model.trainable_variables)  # Unless it is.
        set_weights(model.weights, _unnamed("weights", arrays))
        set_weights(model.optimizer.variables, _unnamed("optimizer", arrays))
        if best is not None:
            best.epoch, best.score = int(meta["best"]["epoch"]), meta["best"]["score"]
            stored = _unnamed("best", arrays) or _unnamed("weights", arrays)
            best.weights = _fitting(model.weights, stored)
        # A trial run, which fails here and not within `fit`.
        fresh = randomness(model)
        set_randomness(model, meta["randomness"])
        set_randomness(model, fresh)
    except FileNotFoundError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        if best is not None:
            best.forget()
        reason = str(error)
        if isinstance(error, ValidationError):
            reason = error.errors(include_url=False)[0]["msg"]
        raise CheckpointError(f"{file}: {reason}") from error
    return model, state, meta["randomness"]


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


def randomness(model: keras.Model) -> dict[str, Any]:
    """Return the state of all random generators, as plain data.

    These are Python's, NumPy's, Keras' own, and those of the model's layers, such
    as Dropout. TensorFlow's stateful operations are not among them.
    """
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 (the global one)
    shared = global_state.get_global_attribute(seed_generator.GLOBAL_SEED_GENERATOR)
    return {
        "python": random.getstate(),
        "numpy": [name, np.asarray(keys).tolist(), *rest],
        "keras": None if shared is None else _numbers(shared.state),
        "layers": [_numbers(seed) for seed in _seeds(model)],
    }


def set_randomness(model: keras.Model, state: dict[str, Any]) -> None:
    """Set all random generators to what `randomness` returned.

    Raises:
        ValueError, TypeError, KeyError: It cannot have returned that.
    """
    seeds = _seeds(model)
    if len(seeds) != len(state["layers"]):
        raise ValueError(
            f"it has {len(state['layers'])} random generators of layers; the network "
            f"has {len(seeds)}"
        )
    for seed, numbers in zip(seeds, state["layers"], strict=True):
        seed.assign(np.asarray(numbers, seed.dtype))
    if state["keras"] is not None:
        shared = seed_generator.global_seed_generator().state
        shared.assign(np.asarray(state["keras"], shared.dtype))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), *rest))  # noqa: NPY002
    version, numbers, following = state["python"]
    random.setstate((version, tuple(numbers), following))


def _seeds(model: keras.Model) -> list[Any]:
    return [v for v in model.variables if v.name == "seed_generator_state"]


def _numbers(variable: Any) -> list[int]:
    return keras.ops.convert_to_numpy(variable).tolist()
