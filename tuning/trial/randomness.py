"""Randomness: the state of all random generators, as plain data."""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.random import seed_generator


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
    name, keys, position, *rest = state["numpy"]
    if not 0 <= position <= len(keys):  # NumPy would read beyond them.
        raise ValueError(f"NumPy's generator cannot be at number {position}")
    np.random.set_state((name, np.array(keys, np.uint32), position, *rest))  # noqa: NPY002
    version, numbers, following = state["python"]
    random.setstate((version, tuple(numbers), following))


def _seeds(model: keras.Model) -> list[Any]:
    return [v for v in model.variables if v.name == "seed_generator_state"]


def _numbers(variable: Any) -> list[int]:
    return keras.ops.convert_to_numpy(variable).tolist()
