"""The best trial's model: built with its weights, saved, and checked on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras

from alexnet.data import ImageData
from tuning.space.hypermodel import VALIDATION_BATCH_SIZE
from tuning.space.search_space import SearchSpace
from tuning.store.files import WriteError, write_json
from tuning.store.layout import Store
from tuning.trial.checkpoints import load_weights


def write_best(
    space: SearchSpace,
    store: Store,
    data: ImageData,
    trial_id: str,
    values: dict[str, Any],
) -> dict[str, float]:
    """Write a trial's model and its hyperparameters as the best.

    Returns:
        The metrics of the model on disk, loaded again, on the validation images.

    Raises:
        WriteError: They cannot be written.
    """
    model = space.hypermodel.build(space.at(values))
    load_weights(model, store.weights_file(trial_id))
    # For evaluation; the trial's optimizer has no state on disk to continue from.
    model.compile("sgd", loss=model.loss, metrics=["accuracy"])
    save_model(model, store.best_model_file)
    write_json(store.best_hyperparameters_file, values)
    # A subclass may compile in a way of its own, which Keras does not repeat.
    reloaded = keras.saving.load_model(store.best_model_file, compile=False)
    reloaded.compile(loss=model.loss, metrics=["accuracy"])
    return reloaded.evaluate(
        data.x_val,
        data.y_val,
        batch_size=VALIDATION_BATCH_SIZE,
        verbose=0,
        return_dict=True,
    )


def save_model(model: Any, file: Path) -> None:
    """Save a model so that its file is either wholly there or as it was before.

    Raises:
        WriteError: It cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name("part.keras")
    try:
        # Keras builds the archive's HDF5 in memory, so that a full disk is an OSError.
        model.save(part)
        part.replace(file)
    except OSError as error:
        raise WriteError(error.errno, error.strerror, os.fspath(file)) from error
    finally:
        part.unlink(missing_ok=True)
