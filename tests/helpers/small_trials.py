"""Small trials: networks of milliseconds, some digits, what runs a trial on them."""

from __future__ import annotations

import math
import os
import random
import signal
import uuid

import keras
import numpy as np

from alexnet import AlexNet
from alexnet.data import ImageData
from alexnet.data.images import load_images
from tuning import SearchSettings
from tuning.oracles.search_oracle import SearchOracle
from tuning.points import given_values
from tuning.settings import DataFacts
from tuning.space.search_space import SearchSpace
from tuning.store.layout import Store
from tuning.store.results import read_results
from tuning.trial import checkpoints
from tuning.trial.run import TrialRunner


@keras.saving.register_keras_serializable("small_trials")
class Quick(AlexNet):
    """Two small blocks, without a graph, which takes longer to make than to run.

    Attributes:
        steps: How many training steps this process has taken.
        ranges: Of its hyperparameters; a subclass may add some.
    """

    steps = 0
    ranges = {
        "num_blocks": (2, 2),
        "filters": ((16,), (32,)),
        "use_lrn": (False,),
        "num_dense": (1, 1),
        "dense_units": (32,),
        "batch_size": (32, 64),
    }

    @classmethod
    def search_space(cls, hp, image_shape):
        """Read the configuration of a space of small networks."""
        return super().search_space(hp, image_shape, **cls.ranges)

    def compile(self, *args, **kwargs):
        """Compile for eager execution."""
        super().compile(*args, **kwargs, run_eagerly=True)

    def train_step(self, data):
        """Count the step, and train."""
        type(self).steps += 1
        self.before_step(data)
        return super().train_step(data)

    def before_step(self, data):
        """Do what a test wants before a step."""


@keras.saving.register_keras_serializable("small_trials")
class Random(Quick):
    """A small network whose training draws from every generator there is."""

    kill_at = None  # The step before which the process dies, as of kill -9.
    stop_at = None  # The step before which it is interrupted, as by Ctrl-C.
    ranges = {**Quick.ranges, "dropout": (0.3, 0.5), "augmentation": (0.1, 0.2)}

    def train_step(self, data):
        """Train on images with noise from Python's, NumPy's and Keras' generators."""
        noise = random.random() + np.random.random() + keras.random.uniform(())  # noqa: NPY002
        x, y = data
        return super().train_step((keras.ops.cast(x, "float32") + 20 * noise, y))

    def before_step(self, data):
        """Kill the process or interrupt it, if it is time."""
        if self.steps == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.steps == self.stop_at:
            raise KeyboardInterrupt


def some_digits(train=128, validation=64):
    """Return a part of the digits."""
    digits = load_images("digits")
    return ImageData(
        digits.x_train[:train],
        digits.y_train[:train],
        digits.x_val[:validation],
        digits.y_val[:validation],
        digits.class_names,
        "digits",
    )


class SmallSearch:
    """A search in this process, from its oracle to its runner, but for its results.

    Args:
        directory: Of the search.
        model: A class.
        data: The images; some digits if not given.
        **settings: Of the search.
    """

    def __init__(self, directory, model=Quick, data=None, **settings):
        if keras.saving.get_registered_name(model) == model.__name__:
            keras.saving.register_keras_serializable(model.__module__)(model)
        settings = {"trials": 1, "epochs": 2, **settings}
        settings = SearchSettings(directory=directory, model=model, **settings)
        self.store = Store(directory)
        self.data = some_digits() if data is None else data
        facts = DataFacts(self.data.image_shape, self.data.num_classes, 1 / 255)
        self.space = SearchSpace(settings, facts)
        _, given = given_values(settings, None, self.space, {}, print)
        self.messages = []
        self.oracle = SearchOracle(
            self.space, self.store, given, uuid.uuid4().hex, self.messages.append
        )
        self.runner = TrialRunner(self.oracle, self.space, self.store, self.data)
        model.steps = 0

    def run(self):
        """Run all trials; return the search."""
        while not isinstance(record := self.oracle.suggest("worker-0"), str):
            self.runner.run(record)
        return self

    @property
    def records(self):
        """The trials' records by id."""
        return self.oracle.records

    @property
    def rows(self):
        """The trials' rows, as they are on disk."""
        return read_results(self.store)

    def build(self, trial_id="0"):
        """Return the network of a trial, before its training."""
        return self.space.hypermodel.build(self.space.at(self.records[trial_id].values))


def die_at(step, directory, policy="float32", **settings):
    """Run a search of `Random` until its process is killed before a step.

    Each epoch leaves a checkpoint, however short it is.
    """
    checkpoints.MOST_TIME = math.inf
    keras.config.set_dtype_policy(policy)
    search = SmallSearch(directory, Random, **settings)
    Random.kill_at = step
    search.run()
