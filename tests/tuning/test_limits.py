"""What a search does under a limit of its files, and with files that were cut off.

A limit of a file's size stands for a quota: neither shows in the room on the disk.
"""

from __future__ import annotations

import os

import keras
import numpy as np
import pytest
from search_process import TINY, check_complete, finish, rows_of, start, statuses

from alexnet import AlexNet
from tuning.store.directory import Store
from tuning.trial.weights import reserve, save_weights

# Trains in a process that, while there is a file `limit`, has such a limit.
NETS = """
import resource
from pathlib import Path
import keras
from alexnet import AlexNet

@keras.saving.register_keras_serializable(package="nets")
class Limited(AlexNet):
    @classmethod
    def search_space(cls, hp, image_shape):
        return super().search_space(
            hp, image_shape, num_blocks=(2, 2), filters=((16,), (32,)),
            use_lrn=(False,), num_dense=(0, 0), batch_size=(128,), resize=(8,),
        )

    def compile(self, *args, **kwargs):
        super().compile(*args, **kwargs)
        if Path("limit").exists():
            size = int(Path("limit").read_text())
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
"""
MESSAGE = "StoreError: A search must be able to write; received "
WEIGHTS_ALONE = 30_000  # Too little for weights, enough for all else.
POINT_TOO_LARGE = 650  # Enough for the settings alone.


def check_stopped(folder, status, output, message):
    """Check that a search ended with the message, and failed no trial."""
    assert status == 1, output
    assert message.startswith(MESSAGE)
    assert "/s: File too large. What had ended is kept. Make room, raise the" in message
    assert message.count("\n") == 1
    assert "FAILED" not in statuses(folder).values()
    assert not list(folder.rglob("*.h5"))


@pytest.mark.parametrize("most_bytes", [POINT_TOO_LARGE, WEIGHTS_ALONE])
def test_a_limit_stops_a_search_that_goes_on_without(tmp_path, most_bytes):
    """What no file can hold is told in one message and costs no trial."""
    command = [*TINY, "--trials", 2]
    first = finish(start(tmp_path, *command, most_bytes=most_bytes))
    check_stopped(tmp_path, *first)
    assert statuses(tmp_path) == (
        {} if most_bytes == POINT_TOO_LARGE else {"0": "RUNNING"}
    )
    status, output, message = finish(start(tmp_path, *command))
    assert (status, message) == (0, "")
    assert "Damaged" not in output
    check_complete(tmp_path, 2)


@pytest.mark.slow
def test_a_limit_of_workers_stops_the_search(tmp_path):
    """Workers that cannot write do not die of it; the same command goes on."""
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "limit").write_text(str(WEIGHTS_ALONE))
    command = ["--directory", "s", "--model", "nets:Limited", "--workers", 2]
    command += ["--trials", 2, "--epochs", 1]
    check_stopped(tmp_path, *finish(start(tmp_path, *command)))
    (tmp_path / "limit").unlink()
    status, _, message = finish(start(tmp_path, *command))
    assert (status, message) == (0, "")
    check_complete(tmp_path, 2)


def test_ray_under_a_limit_is_refused_at_once(tmp_path):
    """Ray, which cannot start then and does not say so, is not waited for."""
    command = ["--directory", "s", "--workers", 1, "--trials", 1]
    status, _, message = finish(start(tmp_path, *command, most_bytes=100_000_000))
    assert status == 1
    assert message.startswith("WorkerError: Ray must be able to write a file of 200,")
    assert "received a limit of 100,000,000 bytes (ulimit -f)." in message
    assert message.count("\n") == 1
    assert statuses(tmp_path) == {}


@pytest.mark.parametrize("optimizer", ["adamw", None])
@pytest.mark.parametrize("preset", ["cifar10_quick", "net146"])
def test_enough_is_reserved(tmp_path, monkeypatch, optimizer, preset):
    """What is reserved is as large as the file, and not by far larger."""
    model = AlexNet.from_preset(preset, image_shape=(64, 64, 3), dense_units=(9, 9))
    if optimizer:
        model.compile(optimizer, "mse")
        model.optimizer.build(model.trainable_variables)
    file = tmp_path / "a.weights.h5"
    reserve(file, model)
    reserved = file.stat().st_size
    save_weights(model, file)
    assert file.stat().st_size <= reserved <= 1.5 * file.stat().st_size
    whole = file.read_bytes()
    model.load_weights(file)
    monkeypatch.delattr(os, "posix_fallocate")  # macOS
    reserve(file, model)
    assert file.stat().st_size == reserved
    save_weights(model, file)
    assert len(file.read_bytes()) == len(whole)


def test_enough_is_reserved_for_the_smallest(tmp_path):
    """HDF5's own share of a file is counted, too."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    file = tmp_path / "a.weights.h5"
    reserve(file, model)
    reserved = file.stat().st_size
    save_weights(model, file)
    assert file.stat().st_size <= reserved


def test_what_cannot_be_reserved_leaves_nothing(tmp_path, monkeypatch):
    """A file that does not fit is not begun; its name stays free."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])

    def refuse(*_):
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OSError, match="Disk quota exceeded"):
        save_weights(model, tmp_path / "a.weights.h5")
    assert not list(tmp_path.iterdir())


def test_files_that_are_cut_off_cost_their_trial_alone(tmp_path):
    """With the best trial's weights and a history cut off, the others stay.

    The same command trains that trial again, to the same score.
    """
    command = [*TINY, "--trials", 2]
    assert finish(start(tmp_path, *command))[0] == 0
    before = rows_of(tmp_path)
    best, worst = sorted(before, key=lambda row: -float(row["score"]))
    store = Store(tmp_path / "s")
    for file in (store.weights_file(best["trial"]), store.record_file(worst["trial"])):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    status, output, message = finish(start(tmp_path, *command))
    assert (status, message) == (0, "")
    for name in ("best.weights.h5", "record.json"):
        assert f"is set aside as {name}.damaged-1" in output
    assert f"\nTrial {best['trial']} runs again" in output
    after = rows_of(tmp_path)
    assert [row["status"] for row in after] == ["COMPLETED"] * 2
    scores = ([float(row["score"]) for row in rows] for rows in (after, before))
    np.testing.assert_allclose(*scores, rtol=1e-6)
    assert output.count("  completed  ") == 1
