"""TrialRunner: what a trial leaves on disk, and on what its result depends."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from small_trials import Quick, SmallSearch

from tuning.store.arrays import read_arrays
from tuning.store.objective import Objective
from tuning.store.recovery import read_record
from tuning.trial.callbacks import BestEpoch
from tuning.trial.checkpoints import load_weights, save_weights

TUNE = ("batch_size", "adamw_learning_rate", "dropout", "augmentation")


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """Return a search that has run three trials."""
    directory = tmp_path_factory.mktemp("search")
    return SmallSearch(directory, trials=3, tune=TUNE).run()


def test_records_the_result_of_a_trial(search):
    """A trial's record holds its history per epoch, its cost and its time."""
    assert len(search.records) == 3
    for trial_id, record in search.records.items():
        assert record == read_record(search.store, trial_id, search.space.entries)
        assert record.status == "COMPLETED"
        assert {"loss", "accuracy", "val_loss", "val_accuracy"} == {*record.history}
        assert all(len(values) == 2 for values in record.history.values())
        scores = record.history["val_accuracy"]
        assert record.score == max(scores)
        assert record.best_epoch == scores.index(max(scores))
        cost = search.space.cost(record.values)
        assert (record.parameters, record.multiply_adds) == cost
        assert record.seconds > 0
        assert record.began < record.ended


def test_keeps_the_weights_of_the_best_epoch_alone(search):
    """A trial's weights give its score again, and no optimizer lies beside them."""
    for trial_id, record in search.records.items():
        model = search.build(trial_id)
        load_weights(model, search.store.weights_file(trial_id))
        x, y = search.data.x_val, search.data.y_val
        _, accuracy = model.evaluate(x, y, verbose=0)
        # Tolerance: the batches are others.
        assert accuracy == pytest.approx(record.score, abs=1e-6)
        folder = search.store.trial_folder(trial_id)
        assert {file.name for file in folder.iterdir()} == {"trial.json", "weights.npz"}
        _, arrays = read_arrays(search.store.weights_file(trial_id))
        assert sum(array.size for array in arrays.values()) == model.count_params()


def test_a_trial_depends_on_its_own_seed(search, tmp_path):
    """A trial that another process runs first, alone, has the very same history."""
    alone = SmallSearch(tmp_path, trials=3, tune=TUNE)
    records = [alone.oracle.suggest(f"worker-{number}") for number in range(3)]
    np.random.default_rng().random()
    alone.runner.run(records[2])
    assert alone.records["2"].history == search.records["2"].history
    assert alone.records["1"].status == "RUNNING"


def test_another_seed_trains_differently(search, tmp_path):
    """The default values come first with every seed, but with other weights."""
    other = SmallSearch(tmp_path, seed=1, tune=TUNE).run()
    ours, theirs = other.records["0"], search.records["0"]
    assert ours.values == theirs.values
    assert ours.history["loss"] != theirs.history["loss"]


def test_a_record_on_disk_follows_the_epochs(tmp_path):
    """After each epoch trial.json has its metrics, also where a trial was resumed."""
    search = SmallSearch(tmp_path, epochs=3)
    seen = []
    report = search.oracle.report

    def look(trial_id, history):
        stops = report(trial_id, history)
        row = json.loads(search.store.trial_file(trial_id).read_text())
        seen.append(len(row["history"]["loss"]))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return stops

    search.oracle.report = look
    with pytest.raises(KeyboardInterrupt):
        search.run()
    search.run()
    assert seen == [1, 2, 1, 2, 3]  # A checkpoint was due after the first epoch alone.


class Failing(Quick):
    """Fails in training."""

    def before_step(self, data):
        """Fail."""
        raise RuntimeError("broken on purpose")


def test_a_failed_trial_leaves_its_traceback(tmp_path):
    """What training raises ends that trial alone, with the traceback in error.txt."""
    search = SmallSearch(tmp_path, Failing, trials=2, epochs=1).run()
    assert [record.status for record in search.records.values()] == ["FAILED"] * 2
    for trial_id, record in search.records.items():
        text = search.store.error_file(trial_id).read_text()
        assert "Traceback" in text
        assert 'raise RuntimeError("broken on purpose")' in text
        assert record.failure.message == text
        assert record.failure.kind is None
        assert not search.store.weights_file(trial_id).exists()


class Exploding(Quick):
    """Learns at a rate that no network survives."""

    ranges = {
        **Quick.ranges,
        "optimizer": ("sgd",),
        "sgd_learning_rate": (1e30, 1e30),
    }


def test_a_loss_that_is_no_number_fails_the_trial(tmp_path):
    """A NaN or infinite loss ends the trial there and names epoch and values."""
    search = SmallSearch(tmp_path, Exploding, epochs=5, tune=("batch_size",)).run()
    record = search.records["0"]
    assert record.status == "FAILED"
    last = search.store.error_file("0").read_text().strip().splitlines()[-1]
    assert last.startswith("FloatingPointError: Training must stay finite; ")
    assert " of epoch 1 with " in last
    assert {"batch_size", "momentum", "kernel_size_1"} <= {*record.values}
    assert all(f"{name}={value}" in last for name, value in record.values.items())
    assert last.endswith(". Lower the learning rate.")


class Mute(Quick):
    """Reports no accuracy."""

    def compile(self, *args, **kwargs):
        """Compile without metrics."""
        super().compile(*args, **{**kwargs, "metrics": None})


def test_a_model_without_the_objective_fails_with_what_it_reports(tmp_path):
    """If the objective is not reported, the error says what is."""
    search = SmallSearch(tmp_path, Mute).run()
    assert (
        "must report the objective 'val_accuracy'; it reported loss, val_loss"
        in search.records["0"].failure.message
    )


def test_lower_losses_are_better(tmp_path):
    """With val_loss the best epoch is that of the lowest loss."""
    search = SmallSearch(tmp_path, objective="val_loss", epochs=3).run()
    record = search.records["0"]
    losses = record.history["val_loss"]
    assert record.score == min(losses)
    assert record.best_epoch == losses.index(min(losses))


def test_progress_follows_the_trials(tmp_path):
    """A trial runs once it is handed out, and has ended once its runner is done."""
    search = SmallSearch(tmp_path, epochs=1)
    seen = []

    def look():
        progress = search.oracle.progress()
        seen.append((progress["running"], [t for t, *_ in progress["ended"]]))

    record = search.oracle.suggest("worker-0")
    look()
    search.runner.run(record)
    look()
    assert seen == [(["0"], []), ([], ["0"])]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_best_epoch_need_not_be_the_last(tmp_path, dtype):
    """The weights kept are those of the best epoch, of equals the earlier."""
    dense = keras.layers.Dense(3, dtype=dtype)
    model = keras.Sequential([keras.Input((2,)), dense])
    best = BestEpoch(Objective("val_accuracy"))
    best.set_model(model)
    for epoch, accuracy in enumerate((0.25, 0.75, 0.75, 0.5)):
        model.set_weights([np.full(w.shape, epoch) for w in model.weights])
        best.on_epoch_end(epoch, {"val_accuracy": accuracy, "loss": 1.0})
    assert (best.epoch, best.score) == (1, 0.75)
    save_weights(tmp_path / "weights.npz", best.weights)
    load_weights(model, tmp_path / "weights.npz")
    assert {str(weight.dtype) for weight in model.get_weights()} == {dtype}
    assert {float(value) for w in model.get_weights() for value in w.flat} == {1.0}


def test_epochs_before_the_first_do_not_count():
    """An epoch that another trial counts is not the best, though it is better."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    best = BestEpoch(Objective("val_accuracy"), first_epoch=2)
    best.set_model(model)
    for epoch, accuracy in enumerate((0.5, 1.0, 0.25, 0.75, 0.5)):
        model.set_weights([np.full(w.shape, epoch) for w in model.weights])
        best.on_epoch_end(epoch, {"val_accuracy": accuracy})
        assert (best.epoch is None) == (epoch < 2)
    assert (best.epoch, best.score) == (3, 0.75)
    assert {float(value) for w in best.weights for value in w.flat} == {3.0}


def test_weights_of_another_network_are_refused(tmp_path):
    """Nothing is assigned of weights whose shapes, number or type do not fit."""
    file = tmp_path / "weights.npz"
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    before = model.get_weights()
    for arrays, expected in (
        ([np.ones((2, 3), "f4"), np.ones(4)], r"an array of shape \(4,\) does not fit"),
        ([np.ones((2, 3))], "it has 1 arrays; the network has 2"),
        ([np.ones((2, 3)), np.ones(3)], "of type float64 is not of type float32"),
    ):
        save_weights(file, arrays)
        with pytest.raises(ValueError, match=expected):
            load_weights(model, file)
        assert all(map(np.array_equal, model.get_weights(), before))


def test_keeps_the_weights_of_the_best_trials_alone(tmp_path):
    """After each trial the weights of the best `keep` are there, and no others."""
    search = SmallSearch(tmp_path, trials=4, epochs=1, keep=2, tune=TUNE)
    for _ in range(4):
        search.runner.run(search.oracle.suggest("worker-0"))
        ended = [record for record in search.records.values() if record.has_ended]
        ended.sort(key=lambda record: (-record.score, record.trial))
        held = {file.parent.name[-1] for file in tmp_path.glob("trial_*/weights.npz")}
        assert held == {record.trial for record in ended[:2]}
