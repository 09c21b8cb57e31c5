"""TrialTuner: what a trial leaves behind, and on what its result depends."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from alexnet import AlexNet
from alexnet.data.images import ImageData, load_images
from tuning import HyperAlexNet, SearchSettings
from tuning.oracles.kinds import make_oracle
from tuning.store.directory import Store, read_json
from tuning.trial.tuner import TrialTuner
from tuning.trial.weights import BestEpoch, load_weights

# KerasTuner calls threading.currentThread().getName().
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]
TUNE = ("batch_size", "adamw_learning_rate", "dropout", "augmentation")


class Quick(AlexNet):
    """Two small blocks, without a graph, which takes longer to make than to run."""

    @classmethod
    def search_space(cls, hp, image_shape, **ranges):
        """Read a point of a space of small networks."""
        small = {"num_blocks": (2, 2), "filters": ((16,), (32,)), "use_lrn": (False,)}
        small |= {"num_dense": (1, 1), "dense_units": (32,), "batch_size": (64, 128)}
        return super().search_space(hp, image_shape, **small, **ranges)

    def compile(self, *args, **kwargs):
        """Compile for eager execution."""
        super().compile(*args, **kwargs, run_eagerly=True)


@pytest.fixture(scope="module")
def data():
    """Return a part of the digits: 300 to train on, 100 to validate with."""
    digits = load_images("digits")
    return ImageData(
        digits.x_train[:300],
        digits.y_train[:300],
        digits.x_val[:100],
        digits.y_val[:100],
        digits.class_names,
        "digits",
    )


def new_tuner(directory, model=Quick, worker="worker-0", **settings):
    """Return a tuner on a directory."""
    settings = SearchSettings(
        directory=directory, **{"trials": 3, "epochs": 2, "tune": TUNE, **settings}
    )
    hypermodel = HyperAlexNet((8, 8, 1), 10, model, rescale=1 / 255)
    store = Store(directory)
    oracle = make_oracle(settings, hypermodel, store)
    return TrialTuner(oracle, hypermodel, store, settings, worker)


@pytest.fixture(scope="module")
def tuner(data, tmp_path_factory):
    """Return a tuner that has run three trials."""
    tuner = new_tuner(tmp_path_factory.mktemp("search"))
    tuner.run(data)
    return tuner


def test_records_what_a_trial_came_to(tuner):
    """A trial's record holds its history per epoch, its cost and its time."""
    for trial in tuner.oracle.trials.values():
        assert trial.status == "COMPLETED"
        record = read_json(tuner.store.record_file(trial.trial_id))
        assert record["epochs"] == [0, 1]
        assert {"loss", "accuracy", "val_loss", "val_accuracy"} == {*record["history"]}
        assert all(len(values) == 2 for values in record["history"].values())
        scores = record["history"]["val_accuracy"]
        assert trial.score == max(scores)
        assert record["best_epoch"] == scores.index(max(scores))
        cost = tuner.hypermodel.cost(trial.hyperparameters)
        assert (record["parameters"], record["multiply_adds"]) == cost
        assert record["seconds"] > 0


def num_values(file):
    """Return how many numbers an HDF5 file holds."""
    sizes = []
    with h5py.File(file) as weights:
        weights.visititems(lambda _, item: sizes.append(getattr(item, "size", 0)))
    return sum(sizes)


def test_keeps_the_weights_of_the_best_epoch_alone(tuner, data):
    """A trial's weights give its score again, and no optimizer lies beside them."""
    for trial in tuner.oracle.trials.values():
        model = tuner.hypermodel.build(trial.hyperparameters)
        load_weights(model, tuner.store, trial.trial_id)
        _, accuracy = model.evaluate(data.x_val, data.y_val, verbose=0)
        assert accuracy == pytest.approx(trial.score, abs=1e-6)
        files = {
            file.name for file in tuner.store.trial_folder(trial.trial_id).iterdir()
        }
        assert files == {"point.json", "trial.json", "record.json", "best.weights.h5"}
        assert num_values(tuner.store.weights_file(trial.trial_id)) == (
            model.count_params()
        )


def test_a_trial_depends_on_its_own_seed(tuner, data, tmp_path):
    """A trial that another process runs first, alone, has the very same history."""
    alone = new_tuner(tmp_path, worker="worker-2")
    trials = [alone.oracle.create_trial(f"worker-{n}") for n in range(3)]
    fit = {"validation_data": (data.x_val, data.y_val), "epochs": 2}
    np.random.default_rng().random()
    alone.run_trial(trials[2], data.x_train, data.y_train, **fit)
    ours, theirs = (
        read_json(of.store.record_file("2"))["history"] for of in (alone, tuner)
    )
    assert ours == theirs


def test_another_seed_trains_otherwise(tuner, data, tmp_path):
    """The default point comes first with every seed, but with other weights."""
    other = new_tuner(tmp_path, seed=1, trials=1)
    other.run(data)
    ours, theirs = (
        read_json(of.store.record_file("0"))["history"] for of in (other, tuner)
    )
    assert ours["loss"] != theirs["loss"]


class Failing(Quick):
    """Fails in training."""

    def train_step(self, data):
        """Fail."""
        raise RuntimeError("broken on purpose")


def test_a_failed_trial_leaves_its_traceback(data, tmp_path):
    """What training raises ends that trial alone, with the traceback in error.txt."""
    tuner = new_tuner(tmp_path, Failing, trials=2, epochs=1)
    tuner.run(data)
    trials = tuner.oracle.trials
    assert [trial.status for trial in trials.values()] == ["FAILED"] * 2
    for trial in trials:
        text = tuner.store.error_file(trial).read_text()
        assert "Traceback" in text
        assert 'raise RuntimeError("broken on purpose")' in text
        assert trials[trial].message == text
        assert not tuner.store.weights_file(trial).exists()


class Exploding(Quick):
    """Learns at a rate that no network survives."""

    @classmethod
    def search_space(cls, hp, image_shape):
        """Read a point whose learning rate is 1e30."""
        return super().search_space(
            hp, image_shape, optimizer=("sgd",), sgd_learning_rate=(1e30, 1e30)
        )


def test_a_loss_that_is_no_number_fails_the_trial(data, tmp_path):
    """A NaN or infinite loss ends the trial in that epoch and names epoch and point."""
    tuner = new_tuner(tmp_path, Exploding, trials=1, epochs=5, tune=("batch_size",))
    tuner.run(data)
    assert tuner.oracle.trials["0"].status == "FAILED"
    last = tuner.store.error_file("0").read_text().strip().splitlines()[-1]
    assert last.startswith("FloatingPointError: Training must stay finite; ")
    assert " of epoch 1 with " in last
    values = tuner.oracle.trials["0"].hyperparameters.values
    assert {"batch_size", "momentum", "kernel_size_1"} <= {*values}
    assert all(f"{name}={value}" in last for name, value in values.items())
    assert last.endswith(". Lower the learning rate.")


class Mute(Quick):
    """Reports no accuracy."""

    def compile(self, *args, **kwargs):
        """Compile without metrics."""
        super().compile(*args, **{**kwargs, "metrics": None})


def test_a_model_without_the_objective_fails_with_what_it_reports(data, tmp_path):
    """If the objective is not reported, the error says what is."""
    tuner = new_tuner(tmp_path, Mute, trials=1)
    tuner.run(data)
    assert (
        "must report the objective 'val_accuracy'; it reported loss, val_loss"
        in tuner.store.error_file("0").read_text()
    )


def test_lower_losses_are_better(data, tmp_path):
    """With val_loss the best epoch is that of the lowest loss."""
    tuner = new_tuner(tmp_path, objective="val_loss", trials=1, epochs=3)
    tuner.run(data)
    record = read_json(tuner.store.record_file("0"))
    losses = record["history"]["val_loss"]
    assert tuner.oracle.trials["0"].score == min(losses)
    assert record["best_epoch"] == losses.index(min(losses))


def test_hyperband_goes_on_from_the_weights_of_the_round_before(data, tmp_path):
    """A promoted trial trains the remaining epochs, from its forerunner's weights."""
    tuner = new_tuner(
        tmp_path, tuner="hyperband", trials=4, epochs=3, tune=("adamw_learning_rate",)
    )
    tuner.run(data)
    promoted = [
        trial
        for trial in tuner.oracle.trials.values()
        if "tuner/trial_id" in trial.hyperparameters.values
    ]
    assert promoted
    for trial in promoted:
        parent = trial.hyperparameters.values["tuner/trial_id"]
        record, before = (
            read_json(tuner.store.record_file(t)) for t in (trial.trial_id, parent)
        )
        assert before["epochs"] == [0]
        assert record["epochs"] == [1, 2]
        assert record["history"]["loss"][0] < before["history"]["loss"][0]


def test_reports_progress_as_trials_begin_and_end(data, tmp_path):
    """Progress is reported when a trial begins and when the oracle knows its end."""
    tuner = new_tuner(tmp_path, trials=1, epochs=1)
    seen = []

    def look():
        progress = tuner.oracle.progress()
        seen.append((progress["running"], [t for t, *_ in progress["ended"]]))

    tuner._on_progress = look
    tuner.run(data)
    assert seen == [(["0"], []), ([], ["0"])]


def test_the_best_epoch_need_not_be_the_last(tmp_path):
    """The weights kept are those of the best epoch, of equals the earlier."""
    tuner = new_tuner(tmp_path)
    model = tuner.hypermodel.build(tuner.oracle.create_trial("w").hyperparameters)
    best = BestEpoch(tuner.oracle.objective)
    best.set_model(model)
    for epoch, accuracy in enumerate((0.25, 0.75, 0.75, 0.5)):
        model.set_weights([np.full(w.shape, epoch) for w in model.weights])
        best.on_epoch_end(epoch, {"val_accuracy": accuracy, "loss": 1.0})
    best.save(model, tuner.store, "0")
    assert best.epoch == 1
    assert best.metrics == {"val_accuracy": 0.75, "loss": 1.0}
    again = tuner.hypermodel.build(tuner.oracle.trials["0"].hyperparameters)
    load_weights(again, tuner.store, "0")
    for of in (model, again):
        assert {float(value) for w in of.get_weights() for value in w.flat} == {1.0}


def test_keeps_the_weights_of_the_best_trials_alone(data, tmp_path):
    """After each trial the weights of the best `keep` are there, and no others."""
    tuner = new_tuner(tmp_path, trials=5, epochs=1, keep=2)
    seen = []

    def look():
        scores = {
            trial_id: tuner.oracle.trials[trial_id].score
            for trial_id in tuner.oracle.end_order
        }
        best = sorted(scores, key=lambda trial_id: (-scores[trial_id], trial_id))[:2]
        held = {file.parent.name[-1] for file in tmp_path.glob("trial_*/*.weights.h5")}
        seen.append(held == set(best))

    tuner._on_progress = look
    tuner.run(data)
    assert seen == [True] * 10
    assert len(list(tmp_path.glob("trial_*/*.weights.h5"))) == 2
