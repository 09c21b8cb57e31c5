"""Searches whose trials are timed from the first one's beginning to the last one's end.

Every trial has the network of the default point, so that all take about as long.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tuning.store.layout import Store
from tuning.store.recovery import read_record

REPOSITORY = Path(__file__).resolve().parents[2]
TUNE = "weight_decay"


@dataclasses.dataclass(frozen=True)
class Load:
    """What a search is to do: so many trials of so many epochs."""

    trials: int
    epochs: int


def search_seconds(
    directory: Path, load: Load, workers: int, address: str, model: str | None = None
) -> float:
    """Run a search on a cluster with one core per worker; return its trials' seconds.

    Starting Ray and TensorFlow, and writing the best model, are not counted.
    """
    options: dict[str, Any] = {
        "directory": directory,
        "trials": load.trials,
        "epochs": load.epochs,
        "tune": TUNE,
        "workers": workers,
        "cpus-per-trial": 1,
        "address": address,
    }
    if model is not None:
        options["model"] = model
    line = [f"--{name}={value}" for name, value in options.items()]
    subprocess.run(
        [sys.executable, "-m", "tuning", "search", *line],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    store = Store(directory)
    records = [read_record(store, trial_id, []) for trial_id in store.trial_ids()]
    return max(r.ended or 0.0 for r in records) - min(r.began or 0.0 for r in records)


def bare_seconds(points: list[dict[str, Any]], epochs: int, processes: int) -> float:
    """Train networks at points without a search, one core per process.

    Each process trains all points; returns the seconds of the slowest, of which the
    start of TensorFlow is no part.
    """
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    command = [sys.executable, "-c", _BARE, repr(points), str(epochs)]
    running = [
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**os.environ, **threads, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(processes)
    ]
    return max(float(process.communicate()[0].split()[-1]) for process in running)


_BARE = """
import ast, gc, sys, time
import keras, keras_tuner
from alexnet.data.images import load_images
from tuning import HyperAlexNet

points, epochs = ast.literal_eval(sys.argv[1]), int(sys.argv[2])
data = load_images("digits")
rescale = 1 / 255 if data.x_train.dtype == "uint8" else None
hypermodel = HyperAlexNet(data.image_shape, data.num_classes, rescale=rescale)
gc.collect()
gc.freeze()  # As a worker does.
begun = time.time()
for values in points:
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    hp = keras_tuner.HyperParameters()
    hp.values = values
    validation = data.x_val, data.y_val
    hypermodel.fit(
        hp, hypermodel.build(hp), data.x_train, data.y_train,
        validation_data=validation, epochs=epochs, verbose=0,
    )
print(time.time() - begun)
"""
