"""Trials on several devices: two logical CPU devices, in this process and on Ray."""

from __future__ import annotations

import os
import signal

import pytest
from ray_cluster import LOOPBACK, cluster_of_one
from search_process import finish, start, wait_for
from tuning.store.directory import Store, read_json

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
            print(self.distribute_strategy.num_replicas_in_sync, file=file)
        return super().fit(*args, **kwargs)
"""
OPTIONS = ["--directory", "s", "--tune", "batch_size", "--objective", "val_loss"]
OPTIONS += ["--trials", 2]


def make(folder, name, devices):
    """Return a folder with a model whose import sets up logical devices."""
    folder.mkdir()
    (folder / f"{name}.py").write_text(NETS.format(name=name, devices=devices))
    return folder, [*OPTIONS, "--model", f"{name}:Net"]


def record(folder, trial):
    """Return what a trial's worker measured."""
    return read_json(Store(folder / "s").record_file(trial))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return a search whose trials train on one device."""
    folder, options = make(tmp_path_factory.mktemp("plain") / "f", "plain", 0)
    done = finish(start(folder, *options, "--workers", 0, "--epochs", 4))
    assert (done[0], done[2]) == (0, "")
    return folder


def test_two_devices_come_to_what_one_comes_to(plain, tmp_path):
    """A trial on two devices, killed and resumed, learns what it does on one.

    Each device has one half of every batch; the sum of the gradients is the same.
    """
    folder, options = make(tmp_path / "two", "two", 2)
    options += ["--workers", 0, "--gpus-per-trial", 2, "--epochs", 4]
    process = start(folder, *options)
    store = Store(folder / "s")
    state = store.checkpoint_folder("1") / "state.json"
    try:
        wait_for(state.exists, process)
        os.killpg(process.pid, signal.SIGKILL)
    finally:
        finish(process)
    assert not store.record_file("1").exists()
    status, _, errors = finish(start(folder, *options))
    assert (status, errors) == (0, "")
    assert set((folder / "two.txt").read_text().split()) == {"2"}
    assert set((plain / "plain.txt").read_text().split()) == {"1"}
    for trial in "01":
        single, double = record(plain, trial), record(folder, trial)
        assert double["epochs"] == single["epochs"] == [0, 1, 2, 3]
        for name in ("loss", "val_loss"):
            # Tolerance: sums in another order, through four epochs.
            expected = pytest.approx(single["history"][name], rel=2e-3)
            assert double["history"][name] == expected


def test_ray_gives_a_trial_two_gpus(plain, tmp_path, monkeypatch):
    """On Ray a trial has as many GPUs as it asks for, and says if it sees none."""
    monkeypatch.setenv(*next(iter(LOOPBACK.items())))
    for name, devices in (("two", 2), ("none", 0)):
        folder, options = make(tmp_path / name, name, devices)
        with cluster_of_one(num_gpus=2) as cluster:  # Ray takes our word for it.
            options += ["--address", cluster.address, "--gpus-per-trial", 2]
            process = start(folder, *options, "--epochs", 1, **LOOPBACK)
            status, output, errors = finish(process)
        assert "room for 1 worker(s), each with 1 thread(s) and 2 GPU" in output
        if devices == 0:
            assert (status, (folder / "s").exists()) == (1, False)
            assert errors.startswith("NodeError: A node must have what a worker needs")
            assert "WorkerError: TensorFlow must see the GPUs of a trial" in errors
            assert "received gpus_per_trial=2, and it sees 0. Install" in errors
            assert len(errors.splitlines()) == 1
        else:
            assert (status, errors) == (0, "")
            assert output.count("Trials run on CPUs: a machine has GPUs, but") == 1
            assert set((folder / "two.txt").read_text().split()) == {"2"}
            losses = record(plain, "0")["history"]["val_loss"][:1]
            # Tolerance: as above.
            found = record(folder, "0")["history"]["val_loss"]
            assert found == pytest.approx(losses, rel=2e-3)
