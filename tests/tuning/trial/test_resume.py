"""Resuming inside a trial: the same bits as without the interruption."""

from __future__ import annotations

import math
import shutil
import signal

import keras
import numpy as np
import pytest
from search_process import forked
from small_trials import Random, SmallSearch, die_at

from tuning.store.arrays import read_arrays
from tuning.store.layout import Store
from tuning.store.recovery import read_record
from tuning.trial import checkpoints

# Two trials of three epochs of four steps, on 128 images.
BOTH = {
    "trials": 2,
    "epochs": 3,
    "tune": ("optimizer",),
    "start_with": ({"optimizer": "sgd"}, {"optimizer": "adamw"}),
}
VARYING = {"settings", "seconds", "began", "ended", "run"}


def outcome(search):
    """Return all that a search leaves of its trials, but for times and its place."""
    left = {}
    for trial_id in search.records:
        _, arrays = read_arrays(search.store.weights_file(trial_id))
        left[trial_id] = (
            read_record(search.store, trial_id, []).model_dump(exclude=VARYING),
            {name: array.tobytes() for name, array in arrays.items()},
        )
    return left


# Of 24 steps, before which a process dies.
KILLS = {"float32": (5, 12, 20), "mixed_bfloat16": (22,), "bfloat16": (10, 23)}


@pytest.fixture(
    params=[
        "mixed_bfloat16",
        pytest.param("float32", marks=pytest.mark.long),
        pytest.param("bfloat16", marks=pytest.mark.long),
    ]
)
def policy(request):
    """Set a policy of Keras, and return its name."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


def killed(step, directory, *arguments, **settings):
    """Run a search in a process that dies before a step, as of kill -9."""
    process = forked(die_at, step, directory, *arguments, **settings)
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def test_a_killed_trial_ends_as_if_it_were_not(tmp_path, policy):
    """Killed in any epoch, a trial resumes to the same metrics and weights, bit by bit.

    With SGD and its momentum, and with AdamW; with variables of 32 and 16 bits.
    """
    whole = SmallSearch(tmp_path / "whole", Random, **BOTH).run()
    expected = outcome(whole)
    steps = Random.steps
    assert steps == 2 * 3 * 4
    model = whole.build()
    assert model.dtype_policy.name == policy
    assert model.weights[0].dtype == model.dtype_policy.variable_dtype
    for step in KILLS[policy]:
        directory = tmp_path / str(step)
        process = forked(die_at, step, directory, policy, **BOTH)
        process.join(120)
        assert process.exitcode == -signal.SIGKILL
        again = SmallSearch(directory, Random, **BOTH).run()
        assert outcome(again) == expected
        assert Random.steps == steps - (step - 1) // 4 * 4
        assert not list(directory.glob("trial_*/checkpoint.npz"))


class Greedy(Random):
    """Asks NumPy for more memory than there is, for batches of more than sixteen."""

    def before_step(self, data):
        """Allocate."""
        if len(data[0]) > 16:
            np.ones(2**50)
        super().before_step(data)


@pytest.mark.long
def test_half_the_batch_size_lasts(tmp_path, monkeypatch):
    """A trial that ran out of memory once resumes with half the batch size."""
    monkeypatch.setattr(checkpoints, "MOST_TIME", math.inf)
    settings = {"retry_oom": True, "epochs": 3}
    whole = SmallSearch(tmp_path / "whole", Greedy, **settings).run()
    assert whole.records["0"].notes == [
        "out of memory with its own batch_size; run with 16"
    ]
    assert Greedy.steps == 1 + 3 * 8
    monkeypatch.setattr(Greedy, "stop_at", 1 + 8 + 3)
    cut = SmallSearch(tmp_path / "cut", Greedy, **settings)
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    monkeypatch.setattr(Greedy, "stop_at", None)
    again = SmallSearch(tmp_path / "cut", Greedy, **settings).run()
    assert Greedy.steps == 2 * 8
    assert outcome(again) == outcome(whole)


HYPERBAND = {"tuner": "hyperband", "trials": 4, "epochs": 3, "keep": 4}


def promoted_in(directory, model, **settings):
    """Run a Hyperband search; return it with a promoted trial and its parent."""
    search = SmallSearch(directory, model, **HYPERBAND, **settings).run()
    child = next(record for record in search.records.values() if record.continues)
    return search, search.records[child.continues], child


@pytest.fixture(scope="module")
def promoted(tmp_path_factory):
    """Return a Hyperband search, and the records of a promoted trial and its parent."""
    return promoted_in(tmp_path_factory.mktemp("hyperband"), Random)


def test_a_promoted_trial_is_one_training_with_its_parent(promoted):
    """Hyperband's rounds train as one: weights, optimizer and batches continue."""
    _, parent, child = promoted
    assert (parent.first_epoch, parent.epochs) == (0, 1)
    assert (child.first_epoch, child.epochs) == (1, 3)
    lengths = [len(record.history["loss"]) for record in (parent, child)]
    assert lengths == [1, 2]
    assert child.notes == []
    assert child.history["loss"][0] < parent.history["loss"][0]
    assert child.best_epoch >= 1


def check_without_parent(search, child, directory, cuts, monkeypatch, **settings):
    """Train a promoted trial again whose parent's checkpoint is gone.

    It is cut off at each of the steps `cuts`, counted from the start of each process,
    and must end as it did with that checkpoint. Returns the number of steps of the last
    process, and the trial's notes.
    """
    shutil.copytree(search.store.root, directory)
    for file in directory.glob("trial_*/checkpoint.npz"):
        file.unlink()
    file = Store(directory).trial_file(child.trial)
    file.write_text(child.again().model_dump_json())
    model = search.space.settings.load_model_class()
    monkeypatch.setattr(checkpoints, "MOST_TIME", math.inf)
    for cut in cuts:
        monkeypatch.setattr(model, "stop_at", cut)
        with pytest.raises(KeyboardInterrupt):
            SmallSearch(directory, model, **HYPERBAND, **settings).run()
    monkeypatch.setattr(model, "stop_at", None)
    again = SmallSearch(directory, model, **HYPERBAND, **settings).run()
    expected, found = outcome(search), outcome(again)
    notes = found[child.trial][0].pop("notes")
    assert expected[child.trial][0].pop("notes") == []
    assert found == expected
    return model.steps, notes


@pytest.mark.parametrize(
    ("cuts", "steps"),
    [((), 12), pytest.param((2, 6, 6), 4, marks=pytest.mark.long)],
)
def test_a_promoted_trial_does_not_need_its_parent(
    promoted, tmp_path, monkeypatch, cuts, steps
):
    """Without its parent's checkpoint a trial ends with the same bits.

    It trains the parent's epoch, which is neither reported nor ranked nor counted.
    Cut off there, and in each of its own epochs, it resumes to the same bits, too.
    """
    search, parent, child = promoted
    directory = tmp_path / "again"
    trained, notes = check_without_parent(search, child, directory, cuts, monkeypatch)
    assert trained == steps
    assert notes == [
        f"trained from its first epoch, not from trial {parent.trial}'s last"
    ]


@pytest.mark.long
def test_a_trial_resumes_before_its_first_epoch(tmp_path, monkeypatch):
    """Cut off between two epochs that are another trial's, it ends with the same bits.

    The best of the trial's own epochs counts, not a better one before.
    """
    monkeypatch.setattr(checkpoints, "MOST_TIME", math.inf)
    found = []
    for cut in (None, 6):
        search = SmallSearch(tmp_path / str(cut), Random, epochs=4)
        record = search.oracle.suggest("worker-0").replace(first_epoch=2)
        search.oracle.trials.put(record)
        if cut:
            monkeypatch.setattr(Random, "stop_at", cut)
            with pytest.raises(KeyboardInterrupt):
                search.runner.run(record)
            assert search.records["0"].history == {}
        search.runner.run(record)
        found.append(outcome(search))
    assert Random.steps == 6 + 12
    assert found[0] == found[1]
    record = search.records["0"]
    assert len(record.history["val_accuracy"]) == 2
    assert record.score == record.history["val_accuracy"][record.best_epoch - 2]


@pytest.mark.long
def test_half_the_batch_size_needs_no_parent_either(tmp_path, monkeypatch):
    """A trial that restarts with half batches does not count its parent's epochs."""
    settings = {"tune": ("dropout",), "retry_oom": True}
    search, _, child = promoted_in(tmp_path / "whole", Greedy, **settings)
    directory = tmp_path / "again"
    trained, notes = check_without_parent(
        search, child, directory, (1 + 8 + 3,), monkeypatch, **settings
    )
    assert trained == 2 * 8
    assert notes[-1] == "out of memory with its own batch_size; run with 16"


def test_a_killed_search_of_hyperband_ends_as_if_it_were_not(promoted, tmp_path):
    """Killed in a promoted trial's second epoch, it resumes to the same bits."""
    search, _, child = promoted
    before = [r for r in search.records.values() if int(r.trial) < int(child.trial)]
    steps = sum(4 * len(record.history["loss"]) for record in before)
    process = forked(die_at, steps + 4 + 2, tmp_path, **HYPERBAND)
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    again = SmallSearch(tmp_path, Random, **HYPERBAND).run()
    resumed = again.records[child.trial]
    assert resumed.history == child.history
    assert (resumed.score, resumed.best_epoch) == (child.score, child.best_epoch)
    assert [r.values for r in again.records.values()] == [
        r.values for r in search.records.values()
    ]
