"""Trials on several devices: two logical CPU devices, in this process and on Ray."""

from __future__ import annotations

import os
import signal

import pytest
from ray_cluster import LOOPBACK, cluster_of_one
from search_process import finish, start, wait_for

from tuning.cluster.replicas import strategy_for
from tuning.cluster.session import WorkerError
from tuning.store.layout import Store
from tuning.store.results import read_results

# Without dropout, which no two devices draw alike.
NETS = """
import os
import keras
import tensorflow as tf
from alexnet import AlexNet

devices = [tf.config.LogicalDeviceConfiguration()] * {devices}
(cpu,) = tf.config.list_physical_devices("CPU")
if devices and not tf.config.get_logical_device_configuration(cpu):
    tf.config.set_logical_device_configuration(cpu, devices)

@keras.saving.register_keras_serializable(package="{name}")
class Net(AlexNet):
    @classmethod
    def search_space(cls, hp, image_shape):
        return super().search_space(
            hp, image_shape, num_blocks=(2, 2), filters=((16,), (32,)),
            num_dense=(0, 0), batch_size=(32, 128), optimizer=("sgd",),
        )

    def fit(self, *args, **kwargs):
        with open(__file__.replace(".py", ".txt"), "a") as file:
            print(self.distribute_strategy.num_replicas_in_sync, os.getpid(), file=file)
        return super().fit(*args, **kwargs)
"""
OPTIONS = ["--directory", "s", "--tune", "batch_size", "--objective", "val_loss"]
OPTIONS += ["--trials", 2]
EPOCHS = 3


def make(folder, name, devices):
    """Return a folder with a model whose import sets up logical devices."""
    folder.mkdir()
    (folder / f"{name}.py").write_text(NETS.format(name=name, devices=devices))
    return folder, [*OPTIONS, "--model", f"{name}:Net"]


def rows_of(folder):
    """Return what is known of a search's trials."""
    return read_results(Store(folder / "s"))


def notes_of(file):
    """Return how many replicas trained a trial, and in which process, for each."""
    return [line.split() for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return a search whose trials train on one device."""
    folder, options = make(tmp_path_factory.mktemp("plain") / "f", "plain", 0)
    done = finish(start(folder, *options, "--workers", 0, "--epochs", EPOCHS))
    assert (done[0], done[2]) == (0, "")
    return folder


@pytest.mark.long
def test_two_devices_come_to_what_one_comes_to(plain, tmp_path):
    """A trial on two devices, killed and resumed, learns what it does on one.

    Each device has one half of every batch; the sum of the gradients is the same.
    """
    folder, options = make(tmp_path / "two", "two", 2)
    options += ["--workers", 0, "--gpus-per-trial", 2, "--epochs", EPOCHS]
    process = start(folder, *options)
    checkpoint = Store(folder / "s").checkpoint_file("1")
    try:
        wait_for(checkpoint.exists, process)
        os.killpg(process.pid, signal.SIGKILL)
    finally:
        finish(process)
    assert rows_of(folder)[1]["status"] == "RUNNING"
    status, _, errors = finish(start(folder, *options))
    assert (status, errors) == (0, "")
    assert {replicas for replicas, _ in notes_of(folder / "two.txt")} == {"2"}
    assert {replicas for replicas, _ in notes_of(plain / "plain.txt")} == {"1"}
    for single, double in zip(rows_of(plain), rows_of(folder), strict=True):
        assert double["epochs"] == single["epochs"] == EPOCHS
        for name in ("loss", "val_loss"):
            # Tolerance: sums in another order, through the epochs.
            expected = pytest.approx(single["history"][name], rel=2e-3)
            assert double["history"][name] == expected


def test_says_that_there_are_too_few_gpus():
    """A process that does not see its trials' GPUs says how to have TensorFlow do."""
    message = r"must see the GPUs .* gpus_per_trial=9, and it sees 0\. Install"
    with pytest.raises(WorkerError, match=message):
        strategy_for(9)
    assert strategy_for(1) is None


@pytest.mark.cluster
def test_ray_gives_a_trial_two_gpus(plain, tmp_path):
    """On Ray a trial has as many GPUs as it asks for, and says if it sees none.

    Its process, which holds GPUs, stays for the next trial.
    """
    folder, options = make(tmp_path / "two", "two", 2)
    with cluster_of_one(num_gpus=2) as cluster:  # Ray takes our word for it.
        options += ["--address", cluster.address, "--gpus-per-trial", 2]
        process = start(folder, *options, "--epochs", 1, **LOOPBACK)
        status, output, errors = finish(process)
    assert (status, errors) == (0, "")
    assert "room for 1 worker(s), each with 1 thread(s) and 2 GPU" in output
    assert output.count("Trials run on CPUs: a machine has GPUs, but") == 1
    notes = notes_of(folder / "two.txt")
    assert {replicas for replicas, _ in notes} == {"2"}
    assert len({pid for _, pid in notes}) == 1
    for single, double in zip(rows_of(plain), rows_of(folder), strict=True):
        # Tolerance: as above.
        losses = single["history"]["val_loss"][:1]
        assert double["history"]["val_loss"] == pytest.approx(losses, rel=2e-3)
