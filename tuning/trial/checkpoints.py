"""Checkpoints: how far a trial has come, so that it goes on where it was cut off.

A trial's folder `checkpoint/` holds

    state.json              epoch, history, best epoch, random states, digests
    4.weights.h5            weights and optimizer after epoch 4, as Keras saves them
    2.best.weights.h5       weights of the best epoch so far

`state.json` is written last and atomically; it names the other files and their
digests, so that either all of it is there or it does not count. Nothing in it is
executed when it is read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.random import seed_generator

from tuning.store.directory import read_json, write_json
from tuning.store.records import check_checkpoint
from tuning.trial.weights import BestEpoch, save_weights, without_optimizer

# The share of a trial's time that its checkpoints after the first may take.
MOST_TIME = 0.02
VERSION = 1


class CheckpointError(RuntimeError):
    """A checkpoint is damaged or another training's."""


@dataclasses.dataclass
class TrialState:
    """What a trial has come to, beside the weights of its network.

    Attributes:
        identity: Plain data that tells this training from others.
        epochs: Numbers of the epochs on record, from 0.
        history: The metrics of each of them, by name.
        next_epoch: The epoch to go on with.
        batch_size: Images per batch, if not as the point says; else None.
        notes: What happened to the trial, for people.
        seconds: What its training took.
    """

    identity: Any
    epochs: list[int] = dataclasses.field(default_factory=list)
    history: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    next_epoch: int = 0
    batch_size: int | None = None
    notes: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    def add(self, epoch: int, metrics: dict[str, float]) -> None:
        """Put an epoch on record."""
        self.epochs.append(epoch)
        for name, value in metrics.items():
            self.history.setdefault(name, []).append(value)
        self.next_epoch = epoch + 1

    def record(self) -> dict[str, Any]:
        """Return what record.json holds of any trial."""
        return {
            "seconds": round(self.seconds, 3),
            "notes": self.notes,
            "epochs": self.epochs,
            "history": self.history,
        }

    def metrics(self, index: int) -> dict[str, float]:
        """Return the metrics of an epoch on record, by its place in `epochs`."""
        return {name: values[index] for name, values in self.history.items()}


class Checkpoints(keras.callbacks.Callback):
    """Writes checkpoints while a trial trains.

    One is written after the first epoch, and after another unless writing takes more
    than a fiftieth of the time since: if epochs are short, some are left out.

    Args:
        folder: The trial's `checkpoint/`.
        state: Of the trial; epochs are added to it here.
        best: Holds the best epoch so far.
        randomness: State of the random generators to begin with, as `randomness`
            returns it; None leaves them as they are.
        keep_last: Whether the last epoch's is written in any case: the training
            may be continued by another trial.
    """

    def __init__(
        self,
        folder: Path,
        state: TrialState,
        best: BestEpoch,
        randomness: dict[str, Any] | None = None,
        keep_last: bool = False,
    ) -> None:
        super().__init__()
        self.folder = folder
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
        self.state.add(epoch, logs or {})
        now = time.monotonic()
        self.state.seconds += now - self._started
        self._started = now
        is_last = epoch + 1 == self.params["epochs"] or self.model.stop_training
        is_due = self._seconds <= MOST_TIME * (now - self._written)
        if (is_last and self.keep_last) or (is_due and not is_last):
            write(self.folder, self.state, self.model, self.best)
            self._written = time.monotonic()
            self._seconds = self._written - now


def write(folder: Path, state: TrialState, model: keras.Model, best: BestEpoch) -> None:
    """Write a checkpoint, and remove the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    epoch = state.next_epoch - 1
    current = folder / f"{epoch}.weights.h5"
    best_file = folder / f"{best.epoch}.best.weights.h5"
    before = _files(folder)
    save_weights(model, current)
    if best_file.name not in before:
        weights = model.get_weights()
        model.set_weights(best.weights)
        save_weights(without_optimizer(model), best_file)
        model.set_weights(weights)
    content = {
        "version": VERSION,
        **dataclasses.asdict(state),
        "best": {"epoch": best.epoch, "metrics": best.metrics},
        "files": {
            file.name: before.get(file.name) or _digest(file)
            for file in (current, best_file)
        },
        "randomness": randomness(model),
    }
    write_json(
        folder / "state.json", {"digest": _digest_of(content), "content": content}
    )
    for file in folder.glob("*.weights.h5"):
        if file not in (current, best_file):
            file.unlink(missing_ok=True)


def load(
    folder: Path,
    identity: Any,
    build: Callable[[], keras.Model],
    best: BestEpoch | None,
) -> tuple[keras.Model, TrialState, dict[str, Any]]:
    """Return a network as a checkpoint has it, the trial's state, and `randomness`.

    Args:
        folder: Of the checkpoint.
        identity: What the checkpoint's must be.
        build: Makes the network.
        best: Set to the best epoch so far, unless it is None.

    Raises:
        FileNotFoundError: There is none.
        CheckpointError: It is damaged, or another training's.
    """
    file = folder / "state.json"
    if not file.exists():
        raise FileNotFoundError(file)
    try:
        written = read_json(file)
        stored = written["content"]
        if _digest_of(stored) != written["digest"]:
            raise ValueError("state.json is not as it was written")
        if stored["version"] != VERSION:
            raise ValueError(f"its version is {stored['version']!r}")
        if stored["identity"] != identity:
            raise ValueError("it is of another training")
        check_checkpoint(stored)
        names = [field.name for field in dataclasses.fields(TrialState)]
        state = TrialState(**{name: stored[name] for name in names})
        current = folder / f"{int(state.next_epoch) - 1}.weights.h5"
        best_file = folder / f"{int(stored['best']['epoch'])}.best.weights.h5"
        for path in (current, best_file):
            if _digest(path) != stored["files"][path.name]:
                raise ValueError(f"{path.name} is not as it was written")
        model = build()
        if best is not None:
            without_optimizer(model).load_weights(best_file)
            best.weights = model.get_weights()
            best.epoch = int(stored["best"]["epoch"])
            best.metrics = dict(stored["best"]["metrics"])
        model.optimizer.build(model.trainable_variables)  # Unless it is.
        with warnings.catch_warnings():
            # What Keras says if the optimizer is another.
            warnings.filterwarnings("error", message="Skipping variable loading")
            model.load_weights(current)
        # A trial run, which fails here and not within `fit`.
        fresh = randomness(model)
        set_randomness(model, stored["randomness"])
        set_randomness(model, fresh)
    except Exception as error:  # Whatever a damaged file makes Keras and h5py raise.
        if best is not None:
            best.epoch, best.metrics, best.weights = None, {}, []
        raise CheckpointError(f"{folder}: {error}") from error
    return model, state, stored["randomness"]


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
    """Set all random generators to what `randomness` returned."""
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


def _files(folder: Path) -> dict[str, Any]:
    """Return the digests of the files that count, by name."""
    try:
        return dict(read_json(folder / "state.json")["content"]["files"])
    except Exception:  # There is none, or it does not count.
        return {}


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
