"""Checkpoints: whole and this training's own, or they do not count."""

from __future__ import annotations

import json
import math
import shutil
import zipfile
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from small_trials import Random, SmallSearch

from tuning.store.arrays import read_arrays, write_arrays
from tuning.store.objective import Objective
from tuning.trial import checkpoints
from tuning.trial.callbacks import BestEpoch
from tuning.trial.checkpoints import CheckpointError, TrialState, load
from tuning.trial.resume import begin


class Interrupted(Random):
    """Stops in the third epoch."""

    stop_at = None

    def before_step(self, data):
        """Stop, if it is time."""
        if self.steps == self.stop_at:
            raise KeyboardInterrupt


SETTINGS = {"trials": 2, "epochs": 3, "tune": ("dropout",)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a search that nothing interrupted."""
    directory = tmp_path_factory.mktemp("whole")
    return SmallSearch(directory, Interrupted, **SETTINGS).run()


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """Return the directory of a search whose first trial was cut off in epoch 3."""
    directory = tmp_path_factory.mktemp("cut")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "MOST_TIME", math.inf)
        patch.setattr(Interrupted, "stop_at", 10)
        with pytest.raises(KeyboardInterrupt):
            SmallSearch(directory, Interrupted, **SETTINGS).run()
    return directory


@pytest.fixture
def search(cut, tmp_path):
    """Return the search that was cut off, started again elsewhere."""
    shutil.copytree(cut, tmp_path / "search")
    return SmallSearch(tmp_path / "search", Interrupted, **SETTINGS)


def file_of(search, trial_id="0"):
    """Return the file of a trial's checkpoint."""
    return search.store.checkpoint_file(trial_id)


def loaded(search):
    """Return what `load` does with the checkpoint, and the best epoch."""
    best = BestEpoch(search.oracle.objective)
    start = load(file_of(search), search.records["0"], search.build, best)
    return start, best


def change(search, edit):
    """Write the checkpoint again after a change of its state or arrays."""
    meta, arrays = read_arrays(file_of(search))
    edit(meta, arrays)
    write_arrays(file_of(search), meta, arrays)


def test_a_checkpoint_is_the_network_as_it_was(search):
    """It holds weights, optimizer and the best epoch's weights, each bit of them."""
    start, best = loaded(search)
    _, arrays = read_arrays(file_of(search))
    assert start.state.next_epoch == 2
    scores = start.state.history["val_accuracy"]
    assert (best.epoch, best.score) == (scores.index(max(scores)), max(scores))
    kept = "weights" if best.epoch == 1 else "best"
    for index, weight in enumerate(best.weights):
        np.testing.assert_array_equal(weight, arrays[f"{kept}/{index}"])
    for name, variables in (
        ("weights", start.model.weights),
        ("optimizer", start.model.optimizer.variables),
    ):
        assert len(variables) == sum(key.startswith(f"{name}/") for key in arrays)
        for index, variable in enumerate(variables):
            array = keras.ops.convert_to_numpy(variable)
            np.testing.assert_array_equal(array, arrays[f"{name}/{index}"])


def cut_off(file, content):
    """Cut the end off a file."""
    file.write_bytes(content[:-9])


def halve(file, content):
    """Cut half of a file off."""
    file.write_bytes(content[: len(content) // 2])


def empty(file, content):
    """Leave nothing of a file."""
    file.write_bytes(b"")


def flip(file, content):
    """Change one bit in the middle of a file."""
    middle = len(content) // 2
    file.write_bytes(
        content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    )


def replace(file, content):
    """Put another project's archive there."""
    np.savez(file, np.ones(3))


@pytest.mark.parametrize("damage", [cut_off, halve, empty, flip, replace])
def test_a_damaged_checkpoint_does_not_count(search, damage):
    """Of a checkpoint that is not as it was written, nothing is used."""
    damage(file_of(search), file_of(search).read_bytes())
    with pytest.raises(CheckpointError, match=r"checkpoint\.npz: [^\n]{5}"):
        loaded(search)


def test_each_byte_of_a_checkpoint_is_checked(search):
    """Flipped bytes, wherever they are, are found or change nothing."""
    content = file_of(search).read_bytes()
    meta, arrays = read_arrays(file_of(search))
    rng = np.random.default_rng(2012)
    found = 0
    for place in rng.integers(0, len(content), 200):
        damaged = bytearray(content)
        damaged[place] ^= int(rng.integers(1, 256))
        file_of(search).write_bytes(damaged)
        try:
            again = read_arrays(file_of(search))
        except ValueError:
            found += 1
            continue
        assert again[0] == meta
        assert {name: array.tobytes() for name, array in again[1].items()} == {
            name: array.tobytes() for name, array in arrays.items()
        }
    assert found > 150


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("next_epoch", -1, "greater than or equal to 0"),
        ("next_epoch", 2**70, "less than or equal to"),
        ("next_epoch", 4, "it is of epoch 4 of 3"),
        ("next_epoch", 1, "its metrics are not of the same epochs"),
        ("next_epoch", math.nan, "valid integer"),
        ("halves_batches", 2, "valid boolean"),
        ("history", {"loss": ["low", "lower"]}, "valid number"),
        ("history", {"val_accuracy": [math.nan, 0.5]}, "not finite|finite number"),
        ("history", {"val_accuracy": [0.5, math.inf]}, "not finite|finite number"),
        ("history", {"loss": [0.5, 0.6]}, "val_accuracy"),
        (
            "history",
            {"val_accuracy": [0.5, 0.6], "loss": [1.0]},
            "its metrics are not of the same epochs",
        ),
        ("history", {}, "val_accuracy"),
        ("seconds", "long", "valid number"),
        ("seconds", math.inf, "finite number"),
        ("seed", 2**70, "less than or equal to"),
        ("notes", {"a": "b"}, "valid list"),
        ("colour", "red", "not permitted"),
    ],
)
def test_a_checkpoint_that_holds_nonsense_does_not_count(search, name, value, expected):
    """What a checkpoint holds is checked, though its checksums be right."""
    change(search, lambda meta, arrays: meta["state"].update({name: value}))
    with pytest.raises(CheckpointError, match=expected):
        loaded(search)


def of_numpy(place, value):
    """Return an edit of the state of NumPy's generator."""

    def edit(meta, arrays):
        meta["randomness"]["numpy"][place] = value

    return edit


HOSTILE = {
    # NumPy reads beyond its numbers, if there is nobody to keep it from that.
    "position": of_numpy(2, 10**9),
    "negative": of_numpy(2, -5),
    "generator": of_numpy(0, "PCG64"),
    "few": of_numpy(1, [1, 2]),
    "nan": of_numpy(1, [math.nan] * 624),
    "python": lambda meta, arrays: meta["randomness"].update(python=[3, [1], None]),
    "layers": lambda meta, arrays: meta["randomness"].update(layers=[]),
    "huge": lambda meta, arrays: meta["randomness"].update(layers=[[2**80, 1]] * 9),
    "keras": lambda meta, arrays: meta["randomness"].update(keras=[1, 2, 3]),
    "gone": lambda meta, arrays: meta.pop("randomness"),
    "list": lambda meta, arrays: meta.update(state=[]),
    "shape": lambda meta, arrays: arrays.update({"weights/0": np.ones((1, 2), "f4")}),
    "type": lambda meta, arrays: arrays.update(
        {"weights/0": arrays["weights/0"].astype("f8")}
    ),
    "missing": lambda meta, arrays: arrays.pop("weights/1"),
    # As of SGD without momentum.
    "optimizer": lambda meta, arrays: [
        arrays.pop(name) for name in list(arrays) if name.startswith("optimizer/")
    ],
    "more": lambda meta, arrays: arrays.update({"optimizer/99": np.ones(3)}),
}


@pytest.mark.parametrize("edit", HOSTILE.values(), ids=HOSTILE)
def test_hostile_numbers_do_not_count(search, edit):
    """No number of a checkpoint reaches NumPy, Keras or the optimizer unchecked."""
    change(search, edit)
    with pytest.raises(CheckpointError, match=r"checkpoint\.npz: "):
        loaded(search)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999,), }",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (%d,), }" % 2**80,
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), ",
        b"(" * 200,
    ],
)
def test_an_array_that_lies_about_its_size_does_not_count(search, header):
    """No memory is asked for that the file does not fill, and nothing is unpickled."""
    header = header.ljust(117) + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    meta, _ = read_arrays(file_of(search))
    with zipfile.ZipFile(file_of(search), "w") as archive:
        archive.writestr("meta.json", json.dumps(meta))
        archive.writestr("weights/0.npy", content)
    with pytest.raises(CheckpointError, match=r"checkpoint\.npz: "):
        loaded(search)


def test_the_best_epoch_is_that_of_the_record(search):
    """Weights of the last epoch are not taken for those of a better one before."""

    def edit(meta, arrays):
        meta["state"]["history"]["val_accuracy"] = [0.9, 0.1]
        for name in [name for name in arrays if name.startswith("best/")]:
            del arrays[name]

    change(search, edit)
    best = BestEpoch(Objective("val_accuracy"))
    with pytest.raises(CheckpointError, match="it has 0 arrays; the network has"):
        load(file_of(search), search.records["0"], search.build, best)
    assert (best.epoch, best.weights) == (None, [])


@pytest.mark.parametrize(
    "damage",
    [
        cut_off,
        pytest.param(flip, marks=pytest.mark.long),
        pytest.param(HOSTILE["optimizer"], marks=pytest.mark.long),
    ],
)
def test_a_trial_whose_checkpoint_is_damaged_starts_again(search, whole, damage):
    """The trial runs from its beginning, to the same bits, and its record says so."""
    if damage in (cut_off, flip):
        damage(file_of(search), file_of(search).read_bytes())
    else:
        change(search, damage)
    search.run()
    assert Interrupted.steps == 2 * 3 * 4
    for trial_id, expected in whole.records.items():
        record = search.records[trial_id]
        assert record.history == expected.history
        assert (record.score, record.best_epoch) == (
            expected.score,
            expected.best_epoch,
        )
        ours, theirs = (
            read_arrays(of.store.weights_file(trial_id))[1] for of in (search, whole)
        )
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    (note,) = search.records["0"].notes
    assert note.startswith(f"a checkpoint was ignored: {file_of(search)}: ")
    assert search.records["1"].notes == []


def test_the_checkpoint_of_another_trial_does_not_count(search):
    """A checkpoint that was copied from another trial or search is not used."""
    first, second = (search.oracle.suggest(f"worker-{number}") for number in range(2))
    shutil.copy(file_of(search), file_of(search, second.trial))
    best = BestEpoch(search.oracle.objective)
    assert begin(first, search.store, search.build, best).state.next_epoch == 2
    state = begin(second, search.store, search.build, best).state
    assert state.next_epoch == 0
    file = file_of(search, second.trial)
    assert state.notes == [
        f"a checkpoint was ignored: {file}: it is of another training"
    ]


def test_checkpoints_take_a_share_of_the_time(tmp_path, monkeypatch):
    """If writing takes long, epochs are left out; the last need not be written."""
    written = []

    def write(file, state, model, best):
        written.append(state.next_epoch - 1)
        now[0] += 1.0

    now = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(checkpoints, "write", write)
    best = BestEpoch(Objective("val_accuracy"))
    state = TrialState(seed=1, values={})
    writer = checkpoints.Checkpoints(tmp_path / "checkpoint.npz", state, best)
    writer.set_params({"epochs": 31})
    writer.set_model(SimpleNamespace(stop_training=False))
    for epoch in range(31):
        now[0] += 4.0
        writer.on_epoch_end(epoch, {"loss": 1.0})
    assert written == [0, 13, 26]
