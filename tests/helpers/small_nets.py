"""Networks that train in seconds, and note in files what tests want to know.

A module of its own, for processes that import their model from a path: it notes in
the current directory, into the files that a test has made there.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
import time
from pathlib import Path

import keras

from alexnet import AlexNet
from tuning.trial import checkpoints


def note(name, *values):
    """Add a line to a file, if it is there."""
    if Path(name).exists():
        with Path(name).open("a") as file:
            print(*values, file=file)


@keras.saving.register_keras_serializable(package="small_nets")
class Slow(AlexNet):
    """Trains eagerly, a twentieth of a second per batch, with a checkpoint per epoch.

    Notes its batches in "steps" and its process' id and number of threads in "pids".
    """

    pause_s = 0.05

    @classmethod
    def search_space(cls, hp, image_shape, num_dense=(0, 0)):
        """Read a configuration of a space of small networks."""
        checkpoints.MOST_TIME = math.inf  # One after every epoch.
        return super().search_space(
            hp,
            image_shape,
            num_blocks=(2, 2),
            filters=((16,), (32,)),
            use_lrn=(False,),
            num_dense=num_dense,
            batch_size=(128,),
            resize=(8,),
        )

    def compile(self, *args, **kwargs):
        """Compile without a graph, which takes longer to make than to run."""
        note("pids", os.getpid(), os.environ.get("OMP_NUM_THREADS"))
        super().compile(*args, **kwargs, run_eagerly=True)

    def train_step(self, data):
        """Train on a batch."""
        note("steps", os.getpid())
        time.sleep(self.pause_s)
        return super().train_step(data)


@keras.saving.register_keras_serializable(package="small_nets")
class Gated(Slow):
    """Stays at the first batch of its second epoch until the file "go" is there."""

    def train_step(self, data):
        """Train on a batch."""
        # The search's current directory is in the path, wherever a worker is.
        while int(self.optimizer.iterations) >= 12 and not any(
            (Path(folder) / "go").exists() for folder in sys.path
        ):
            time.sleep(0.05)
        return super().train_step(data)


@keras.saving.register_keras_serializable(package="small_nets")
class Hanging(Slow):
    """Hangs in training except with the default values."""

    @classmethod
    def search_space(cls, hp, image_shape, num_dense=(1, 1)):
        """Read a configuration of a space with dropout."""
        return super().search_space(hp, image_shape, num_dense)

    def train_step(self, data):
        """Train on a batch, or hang in compiled code, which no signal reaches."""
        if abs(self.dropout - 0.3) > 0.01:
            ctypes.CDLL(None).sleep(1000)
        return super().train_step(data)
