"""Resuming inside a trial: the same score as without the interruption."""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from alexnet import AlexNet
from alexnet.data.images import ImageData, load_images
from tuning import HyperAlexNet, SearchSettings
from tuning.oracles.kinds import make_oracle
from tuning.store.directory import Store, read_json
from tuning.store.records import check_checkpoint
from tuning.trial import checkpoints
from tuning.trial.checkpoints import CheckpointError, TrialState, load
from tuning.trial.resume import begin
from tuning.trial.tuner import TrialTuner
from tuning.trial.weights import BestEpoch

# KerasTuner calls threading.currentThread().getName().
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]
ROOT = Path(__file__).resolve().parents[3]
KILLED = """
import sys
from pathlib import Path
from types import SimpleNamespace
sys.path.insert(0, str(Path(sys.argv[1])))
import test_resume
test_resume.new_tuner(sys.argv[2], "first").run(test_resume.some_digits())
"""


@keras.saving.register_keras_serializable(package="test_resume")
class Random(AlexNet):
    """A small network whose training draws from every generator there is."""

    step = 0
    stop_at: int | None = None
    pause_s = 0.0

    @classmethod
    def search_space(cls, hp, image_shape):
        """Read a point of a space of small networks."""
        small = {"num_blocks": (2, 2), "filters": ((16,), (32,)), "use_lrn": (False,)}
        small |= {"num_dense": (1, 1), "dense_units": (32,), "batch_size": (64, 128)}
        small |= {"dropout": (0.3, 0.5), "augmentation": (0.1, 0.2)}
        return super().search_space(hp, image_shape, **small)

    def compile(self, *args, **kwargs):
        """Compile without a graph, which takes longer to make than to run."""
        super().compile(*args, **kwargs, run_eagerly=True)

    def train_step(self, data):
        """Train on images with noise from Python's, NumPy's and Keras' generators."""
        cls = type(self)
        if cls.step == cls.stop_at:
            raise KeyboardInterrupt
        cls.step += 1
        time.sleep(cls.pause_s)
        noise = random.random() + np.random.random() + keras.random.uniform(())  # noqa: NPY002
        x, y = data
        return super().train_step((keras.ops.cast(x, "float32") + 20 * noise, y))


def some_digits():
    """Return a part of the digits: 256 to train on, 100 to validate with."""
    digits = load_images("digits")
    return ImageData(
        digits.x_train[:256],
        digits.y_train[:256],
        digits.x_val[:100],
        digits.y_val[:100],
        digits.class_names,
        "digits",
    )


@pytest.fixture(scope="module")
def data():
    """Return the digits to train on."""
    return some_digits()


def new_tuner(directory, run, **settings):
    """Return a tuner on a directory, in a run of the search of its own."""
    settings = {
        "trials": 2,
        "epochs": 4,
        "tune": ("optimizer", "dropout"),
        **settings,
    }
    settings = SearchSettings(directory=directory, **settings)
    hypermodel = HyperAlexNet((8, 8, 1), 10, Random, rescale=1 / 255)
    store = Store(directory)
    oracle = make_oracle(settings, hypermodel, store)
    oracle.begin(run)
    return TrialTuner(oracle, hypermodel, store, settings, "worker-0")


def outcome(directory):
    """Return each trial's history, score and weights of its best epoch."""
    store = Store(directory)
    return {
        trial: (
            {**read_json(store.record_file(trial)), "seconds": None},
            read_json(store.trial_file(trial))["score"],
            store.weights_file(trial).stat().st_size,
        )
        for trial in store.trial_ids()
    }


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """Return the outcome of a search that nothing interrupted."""
    directory = tmp_path_factory.mktemp("whole")
    Random.step, Random.stop_at = 0, None
    new_tuner(directory, "first").run(data)
    return outcome(directory), Random.step


def interrupted(directory, data, step, **settings):
    """Run a search until it stops at a training step; return its store."""
    Random.step, Random.stop_at = 0, step
    with pytest.raises(KeyboardInterrupt):
        new_tuner(directory, "first", **settings).run(data)
    Random.step, Random.stop_at = 0, None
    return Store(directory)


@pytest.mark.parametrize("step", [3, 13, 16, 26])
def test_a_trial_cut_off_ends_as_if_it_were_not(
    data, whole, tmp_path, step, monkeypatch
):
    """A trial goes on after its last whole epoch: same history, to the last bit."""
    monkeypatch.setattr(checkpoints, "MOST_TIME", math.inf)
    expected, steps = whole
    per_epoch = steps // 8
    interrupted(tmp_path, data, step)
    new_tuner(tmp_path, "second").run(data)
    assert outcome(tmp_path) == expected
    assert Random.step == steps - step // per_epoch * per_epoch
    assert not list(tmp_path.glob("trial_*/checkpoint"))


def test_a_process_that_was_killed_costs_no_whole_epoch(data, whole, tmp_path):
    """After kill -9 within a trial the same search comes to the same scores."""
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, Path(__file__).parent, tmp_path],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    state = Store(tmp_path).checkpoint_folder("0") / "state.json"
    try:
        end = time.monotonic() + 60
        while not state.exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert read_json(state)["content"]["epochs"]
    Random.step, Random.stop_at = 0, None
    new_tuner(tmp_path, "second").run(data)
    assert Random.step < whole[1]
    ours, theirs = outcome(tmp_path), whole[0]
    assert ours.keys() == theirs.keys()
    for trial in ours:
        # Tolerance: the promise; it is zero if both use as many threads.
        assert ours[trial][1] == pytest.approx(theirs[trial][1], abs=1e-5)
    assert ours == theirs


@pytest.fixture(scope="module")
def cut(data, tmp_path_factory):
    """Return the directory of a search whose first trial was cut off in epoch 3."""
    directory = tmp_path_factory.mktemp("cut")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "MOST_TIME", math.inf)
        interrupted(directory, data, 10)
    return directory


def cut_off(file):
    """Cut the end off a file."""
    file.write_bytes(file.read_bytes()[:-9])


def flip(file):
    """Change one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", -5),
        ("epochs", ["1", "2"]),
        ("history", {"loss": ["low", "lower"]}),
        ("history", {"loss": [0.5]}),
        ("next_epoch", -1),
        ("seconds", "long"),
        ("best", {"epoch": 0, "metrics": {"val_accuracy": "high"}}),
    ],
)
def test_a_checkpoint_that_holds_nonsense_does_not_count(cut, name, value):
    """What a checkpoint holds is checked, though its digest be right."""
    content = read_json(Store(cut).checkpoint_folder("0") / "state.json")["content"]
    check_checkpoint(content)
    with pytest.raises((ValueError, TypeError), match="unexpected content"):
        check_checkpoint({**content, name: value})


@pytest.mark.parametrize("change", [cut_off, flip, Path.unlink])
@pytest.mark.parametrize("name", ["state.json", "1.weights.h5", "*.best.weights.h5"])
def test_a_damaged_checkpoint_does_not_count(cut, tmp_path, change, name):
    """Of a checkpoint that is not as it was written, nothing is used."""
    shutil.copytree(cut, tmp_path / "search")
    tuner = new_tuner(tmp_path / "search", "second")
    folder = tuner.store.checkpoint_folder("0")
    (file,) = folder.glob(name)
    change(file)
    best = BestEpoch(tuner.oracle.objective)
    identity = read_json(Store(cut).checkpoint_folder("0") / "state.json")
    identity = identity["content"]["identity"]
    error = CheckpointError
    if (name, change) == ("state.json", Path.unlink):
        error = FileNotFoundError
    hp = tuner.oracle.trials["0"].hyperparameters
    with pytest.raises(error, match=str(folder)):
        load(folder, identity, lambda: tuner.hypermodel.build(hp), best)
    assert (best.epoch, best.metrics, best.weights) == (None, {}, [])


def test_a_trial_whose_checkpoint_is_damaged_starts_afresh(data, whole, cut, tmp_path):
    """Then a trial is run from its beginning, and its record says so."""
    shutil.copytree(cut, tmp_path / "search")
    cut_off(Store(tmp_path / "search").checkpoint_folder("0") / "1.weights.h5")
    new_tuner(tmp_path / "search", "second").run(data)
    ours = outcome(tmp_path / "search")
    (note,) = ours["0"][0]["notes"]
    assert note.startswith("a checkpoint was ignored: ")
    assert note.endswith("1.weights.h5 is not as it was written")
    ours["0"][0]["notes"] = []
    assert ours == whole[0]


def test_the_checkpoint_of_another_trial_does_not_count(data, cut, tmp_path):
    """A checkpoint that was copied from another trial or search is not used."""
    shutil.copytree(cut, tmp_path / "search")
    tuner = new_tuner(tmp_path / "search", "second")
    trial = tuner.oracle.create_trial("worker-0")
    other = tuner.oracle.create_trial("worker-1")
    folders = [tuner.store.checkpoint_folder(t.trial_id) for t in (trial, other)]
    shutil.copytree(*folders)
    best = BestEpoch(tuner.oracle.objective)
    arguments = (
        tuner.oracle,
        tuner.store,
        tuner.settings,
        tuner.hypermodel.build,
        best,
    )
    assert begin(trial, *arguments)[1].next_epoch == 2
    state = begin(other, *arguments)[1]
    assert state.next_epoch == 0
    assert state.notes == [
        f"a checkpoint was ignored: {folders[1]}: it is of another training"
    ]


def test_checkpoints_take_a_share_of_the_time(cut, tmp_path, monkeypatch):
    """If writing takes long, epochs are left out; the last need not be written."""
    tuner = new_tuner(tmp_path, "first")
    best = BestEpoch(tuner.oracle.objective)
    written = []

    def write(folder, state, model, best):
        written.append(state.next_epoch - 1)
        now[0] += 1.0

    now = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(checkpoints, "write", write)
    writer = checkpoints.Checkpoints(tmp_path, TrialState({}), best)
    writer.set_params({"epochs": 31})
    writer.set_model(SimpleNamespace(stop_training=False))
    for epoch in range(31):
        now[0] += 4.0
        writer.on_epoch_end(epoch, {"loss": 1.0})
    assert written == [0, 13, 26]


def test_a_promoted_trial_is_one_training_with_its_forerunner(
    data, tmp_path, monkeypatch
):
    """Hyperband's rounds train as one: weights, optimizer and batches go on."""
    Random.step, Random.stop_at = 0, None
    settings = {"tuner": "hyperband", "trials": 4, "epochs": 3}
    tuner = new_tuner(tmp_path, "first", **settings)
    tuner.run(data)
    promoted = next(
        trial
        for trial in tuner.oracle.trials.values()
        if "tuner/trial_id" in trial.hyperparameters.values
    )
    parent = promoted.hyperparameters.values["tuner/trial_id"]
    first, second = (
        read_json(tuner.store.record_file(t)) for t in (parent, promoted.trial_id)
    )
    assert (first["epochs"], second["epochs"]) == ([0], [1, 2])
    assert second["notes"] == []
    # Without a checkpoint to go on from, the trial begins at the beginning.
    for folder in tmp_path.glob("trial_*/checkpoint"):
        shutil.rmtree(folder)
    fit = {"validation_data": (data.x_val, data.y_val), "epochs": 3}
    tuner.run_trial(promoted, data.x_train, data.y_train, **fit)
    whole = read_json(tuner.store.record_file(promoted.trial_id))
    assert whole["notes"] == [
        f"trained from its first epoch, not from trial {parent}'s last"
    ]
    assert whole["history"] == {
        name: first["history"][name] + values
        for name, values in second["history"].items()
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_hyperband_keeps_what_it_may_go_on_from(tmp_path, workers):
    """No checkpoint is missed by a later round, and few are on disk at a time."""
    oracle = new_tuner(tmp_path, "first", tuner="hyperband", trials=40, epochs=9).oracle
    names = [f"worker-{n}" for n in range(workers)]
    running, most, rounds = {}, 0, 0
    for step in range(200):
        name = names[step % workers]
        if trial := running.pop(name, None):
            folder = oracle.store.checkpoint_folder(trial.trial_id)
            if trial.hyperparameters.values["tuner/epochs"] < 9:
                folder.mkdir(parents=True)
            score = random.random()
            oracle.update_trial(trial.trial_id, {"val_accuracy": score})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)
        else:
            trial = oracle.create_trial(name)
            if trial.status == "STOPPED":
                break
            if trial.status == "IDLE":
                continue
            running[name] = trial
            if parent := trial.hyperparameters.values.get("tuner/trial_id"):
                assert oracle.store.checkpoint_folder(parent).exists()
                rounds += 1
        most = max(most, len(list(tmp_path.glob("trial_*/checkpoint"))))
    assert len(oracle.end_order) == 40
    assert rounds >= 10
    # The first round of the largest bracket has nine trials, of which three go on.
    assert 3 <= most <= 4 + workers
