"""Failing trials: NaN, out of memory, hung; each ends alone, soon, and is recorded."""

from __future__ import annotations

import time

import numpy as np
import pytest
import tensorflow as tf
from tuning.oracles.kinds import make_oracle
from tuning.store.directory import Store, read_json
from tuning.trial.tuner import TrialTuner

from alexnet import AlexNet
from alexnet.data.images import ImageData, load_images
from tuning import HyperAlexNet, SearchSettings
from tuning.store.results import read_results
from tuning.trial.failures import is_out_of_memory
from tuning.trial.watch import Watch

# KerasTuner calls threading.currentThread().getName().
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]
TOO_MUCH = 2**50  # Bytes; no machine has them.


class Quick(AlexNet):
    """Two small blocks, without a graph, which takes longer to make than to run."""

    steps = 0

    @classmethod
    def search_space(cls, hp, image_shape):
        """Read a point of a space of small networks."""
        return super().search_space(
            hp,
            image_shape,
            num_blocks=(2, 2),
            filters=((16,), (32,)),
            use_lrn=(False,),
            num_dense=(0, 0),
            batch_size=(16,),
        )

    def compile(self, *args, **kwargs):
        """Compile for eager execution."""
        super().compile(*args, **kwargs, run_eagerly=True)

    def train_step(self, data):
        """Count the step and train."""
        type(self).steps += 1
        self.suffer(data)
        return super().train_step(data)

    def suffer(self, data):
        """Do what makes the trial fail."""


def run(directory, data, model, **settings):
    """Run a search of one trial unless told otherwise; return its store."""
    model.steps = 0
    settings = {"trials": 1, "epochs": 2, "tune": ("weight_decay",), **settings}
    settings = SearchSettings(directory=directory, **settings)
    hypermodel = HyperAlexNet((8, 8, 1), 10, model, rescale=1 / 255)
    store = Store(directory)
    oracle = make_oracle(settings, hypermodel, store)
    TrialTuner(oracle, hypermodel, store, settings, "worker-0").run(data)
    return store


@pytest.fixture(scope="module")
def data():
    """Return a part of the digits: 320 to train on, 50 to validate with."""
    digits = load_images("digits")
    return ImageData(
        digits.x_train[:320],
        digits.y_train[:320],
        digits.x_val[:50],
        digits.y_val[:50],
        digits.class_names,
        "digits",
    )


class NotANumber(Quick):
    """Has a weight that is no number from the fourth step on."""

    def suffer(self, data):
        """Spoil a weight, and give the loss time to be looked at."""
        time.sleep(0.02)
        if self.steps == 24:
            self.weights[0].assign(np.full(self.weights[0].shape, np.nan))


def test_a_loss_that_is_no_number_ends_the_trial_within_the_epoch(data, tmp_path):
    """Of an epoch whose loss is NaN the rest is not trained."""
    store = run(tmp_path, data, NotANumber)
    assert 24 <= NotANumber.steps <= 30  # Of 40.
    (row,) = read_results(store)
    assert (row["status"], row["notes"]) == ("FAILED", "loss not finite")
    last = store.error_file("0").read_text().strip().splitlines()[-1]
    assert "loss was nan in batch " in last
    assert " of epoch 2 with " in last
    assert "weight_decay=0.0005" in last
    assert read_json(store.record_file("0"))["epochs"] == [0]


class Huge(Quick):
    """Asks TensorFlow for more memory than there is, which takes it ten seconds."""

    def suffer(self, data):
        """Allocate."""
        tf.zeros((TOO_MUCH // 4,))


class Greedy(Quick):
    """Asks NumPy for more memory than there is, for batches of more than eight."""

    def suffer(self, data):
        """Allocate."""
        if len(data[0]) > 8:
            np.ones(TOO_MUCH)


class Insatiable(Quick):
    """Asks for more memory than there is for any batch."""

    def suffer(self, data):
        """Allocate."""
        np.ones(TOO_MUCH)


def test_out_of_memory_fails_the_trial(data, tmp_path):
    """Without retry_oom a trial that is out of memory fails with what it asked for."""
    store = run(tmp_path, data, Huge)
    assert Huge.steps == 1
    (row,) = read_results(store)
    assert (row["status"], row["notes"]) == ("FAILED", "out of memory")
    text = store.error_file("0").read_text()
    assert "ResourceExhaustedError" in text
    assert "OutOfMemory: A trial must fit into memory; epoch 1 did not" in text
    assert "with batches of 16 and resize=8, " in text.splitlines()[-1]


def test_out_of_memory_is_tried_again_with_half_the_batch(data, tmp_path):
    """With retry_oom the trial runs with half the batch size and says so."""
    store = run(tmp_path, data, Greedy, retry_oom=True)
    assert Greedy.steps == 1 + 2 * 40
    (row,) = read_results(store)
    assert row["status"] == "COMPLETED"
    assert row["notes"] == "out of memory with the point's batch_size; run with 8"
    assert not store.error_file("0").exists()


def test_out_of_memory_is_tried_again_once(data, tmp_path):
    """If half the batch size is too much, too, the trial fails."""
    store = run(tmp_path, data, Insatiable, retry_oom=True)
    assert Insatiable.steps == 2
    (row,) = read_results(store)
    assert row["status"] == "FAILED"
    assert row["notes"].endswith("run with 8; out of memory")
    last = store.error_file("0").read_text().splitlines()[-1]
    assert "did not with batches of 8 and" in last


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (np._core._exceptions._ArrayMemoryError((9,), np.dtype(float)), True),
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating"), True),
        (RuntimeError("out of luck"), False),
        (ValueError(), False),
    ],
)
def test_tells_what_is_out_of_memory(error, expected):
    """Python's, NumPy's, TensorFlow's and XLA's errors count, and no others."""
    assert is_out_of_memory(error) == expected


class Hanging(Quick):
    """Hangs in its second epoch, once."""

    hung = 0

    def suffer(self, data):
        """Hang, as a worker process of a data loader that died would make it."""
        if self.steps == 30:
            type(self).hung += 1
            time.sleep(600)


def test_a_trial_that_hangs_is_stopped_and_the_next_one_runs(data, tmp_path):
    """Without progress for trial_timeout a trial fails, with where it hung."""
    began = time.monotonic()
    store = run(tmp_path, data, Hanging, trials=2, trial_timeout=3)
    assert time.monotonic() - began < 30
    assert Hanging.hung == 1
    failed, completed = read_results(store)
    assert (failed["status"], failed["notes"]) == ("FAILED", "no progress")
    assert completed["status"] == "COMPLETED"
    text = store.error_file("0").read_text()
    assert "time.sleep(600)" in text
    assert (
        text.strip()
        .splitlines()[-1]
        .startswith("TrialTimeout: A trial must end a batch every 3 s; none has ended.")
    )


def test_a_watch_calls_once_and_only_without_progress():
    """Beats keep a watch quiet; without them it calls once; ended, never."""
    calls = []
    with Watch(0.5, calls.append) as watch:
        for _ in range(8):
            time.sleep(0.1)
            watch.beat()
        assert calls == []
        time.sleep(1.2)
        assert len(calls) == 1
        assert "time.sleep(1.2)" in calls[0]
    with Watch(0.1, calls.append):
        pass
    time.sleep(0.3)
    assert len(calls) == 1
