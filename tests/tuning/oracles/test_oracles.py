"""The four oracles: same seed same trials, within limits, and after any restart.

Oracles are driven without training: a point's score follows from its values.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math

import keras_tuner
import pytest
from tuning.oracles.kinds import make_oracle
from tuning.oracles.reports import values_of
from tuning.space.limits import default_point, make_space
from tuning.store.directory import Store, read_json, write_json

from tuning import HyperAlexNet, SearchSettings
from tuning.settings import TUNERS

# KerasTuner calls threading.currentThread().getName().
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]

TUNE = ("filters_1", "dense_units_1", "optimizer", "batch_size", "weight_decay")
HYPERMODEL = HyperAlexNet((8, 8, 1), 10)


def new_oracle(directory, tuner="random", **settings):
    """Return the oracle on a directory, with the state that this holds."""
    settings = {"trials": 9, "epochs": 3, "tune": TUNE, **settings}
    return make_oracle(
        SearchSettings(tuner=tuner, directory=directory, **settings),
        HYPERMODEL,
        Store(directory),
    )


def score_of(trial):
    """Return a score in [0, 1) that depends on the trial's point alone."""
    text = json.dumps(trial.hyperparameters.values, sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


def end(oracle, trial, status="COMPLETED"):
    """Report a trial's score and its end."""
    if status == "COMPLETED":
        oracle.update_trial(trial.trial_id, {"val_accuracy": score_of(trial)})
    trial.status = status
    oracle.end_trial(trial)


def drive(oracle, workers=1, steps=None, status="COMPLETED", reopen=lambda o: o):
    """Run a search of `workers`, first in first out; return trials as they began.

    Args:
        oracle: Of the search.
        workers: Number of trials that run at once.
        steps: Calls after which to leave the search; None for its end.
        status: With which trials end.
        reopen: Called with the oracle before each call; returns the one to use.
    """
    begun, running = [], []
    for _ in itertools.count() if steps is None else range(steps):
        oracle = reopen(oracle)
        worker = next(n for n in range(workers + 1) if n not in dict(running))
        if worker < workers:
            trial = oracle.create_trial(f"worker-{worker}")
            if trial.status == "RUNNING":
                running.append((worker, trial.trial_id))
                begun.append((trial.trial_id, dict(trial.hyperparameters.values)))
                continue
            if not running:
                assert trial.status == "STOPPED"
                break
        _, trial_id = running.pop(0)
        end(oracle, oracle.trials[trial_id], status)
    return begun


def files_of(directory):
    """Return every stored file's content by name."""
    return {
        str(file.relative_to(directory)): file.read_bytes()
        for file in directory.rglob("*.json")
    }


@pytest.mark.parametrize("tuner", TUNERS)
def test_first_trial_is_the_default_point(tmp_path, tuner):
    """Whatever the tuner, the first point tried is the default one."""
    trial = new_oracle(tmp_path, tuner, tune=()).create_trial("worker-0")
    default = default_point(make_space(HYPERMODEL)).values
    values = trial.hyperparameters.values
    assert {name: values[name] for name in default} == default
    assert all(name in default or name.startswith("tuner/") for name in values)


@pytest.mark.parametrize("tuner", TUNERS)
def test_same_seed_same_trials(tmp_path, tuner):
    """Two searches with one seed try the same points in the same order."""
    first = drive(new_oracle(tmp_path / "a", tuner))
    assert drive(new_oracle(tmp_path / "b", tuner)) == first
    assert [trial for trial, _ in first] == [str(n) for n in range(9)]
    points = [json.dumps(values, sort_keys=True) for _, values in first]
    assert len(set(points)) == len(points)


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_another_seed_other_trials(tmp_path, tuner):
    """Another seed tries other points; 0 is a seed like any other."""
    searches = [
        drive(new_oracle(tmp_path / str(seed), tuner, seed=seed), steps=8)
        for seed in (0, 1, 2)
    ]
    assert searches[0] == drive(new_oracle(tmp_path / "again", tuner, seed=0), steps=8)
    for one, other in itertools.combinations(searches, 2):
        assert one[0] == other[0]
        assert one[1:] != other[1:]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("tuner", TUNERS)
def test_goes_on_after_a_restart_as_if_there_was_none(tmp_path, tuner, workers):
    """An oracle that is made anew before every call gives the very same trials."""
    expected = drive(new_oracle(tmp_path / "whole", tuner), workers)

    def reopen(oracle):
        return new_oracle(tmp_path / "broken", tuner)

    assert drive(new_oracle(tmp_path / "broken", tuner), workers, reopen=reopen) == (
        expected
    )
    ended = new_oracle(tmp_path / "broken", tuner).progress()
    assert ended == new_oracle(tmp_path / "whole", tuner).progress()
    assert len(ended["ended"]) == 9


@pytest.mark.parametrize("tuner", TUNERS)
def test_repeated_calls_change_nothing(tmp_path, tuner):
    """A call that Ray repeats after a restart leaves all files as they are."""
    oracle = new_oracle(tmp_path, tuner)
    drive(oracle, steps=4)
    trial = oracle.create_trial("worker-0")
    before = files_of(tmp_path)
    assert oracle.create_trial("worker-0") is trial
    oracle.update_trial(trial.trial_id, {"val_accuracy": 0.25})
    reported = files_of(tmp_path)
    oracle.update_trial(trial.trial_id, {"val_accuracy": 0.25})
    assert files_of(tmp_path) == reported != before
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    ended = files_of(tmp_path)
    assert read_json(oracle.store.oracle_file)["ongoing_trials"] == {}
    for again in (oracle, new_oracle(tmp_path, tuner)):
        again.update_trial(trial.trial_id, {"val_accuracy": 0.75})
        again.end_trial(trial)
        assert files_of(tmp_path) == ended
        assert again.trials[trial.trial_id].score == 0.25


def test_reports_of_epochs_are_kept_and_repeats_change_nothing(tmp_path):
    """Any report may come twice; one that differs takes back what came after it."""
    oracle = new_oracle(tmp_path)
    trial_id = oracle.create_trial("worker-0").trial_id
    for epoch, value in enumerate((0.5, 0.75, 0.25)):
        oracle.update_trial(trial_id, {"val_accuracy": value, "loss": 1.0}, epoch)
    before = files_of(tmp_path)
    for one in (oracle, new_oracle(tmp_path)):
        for epoch, value in ((0, 0.5), (2, 0.25), (1, 0.75)):
            one.update_trial(trial_id, {"val_accuracy": value, "loss": 1.0}, epoch)
            assert files_of(tmp_path) == before
            assert values_of(one.trials[trial_id], "val_accuracy") == [0.5, 0.75, 0.25]
    oracle.update_trial(trial_id, {"val_accuracy": 0.625, "loss": 2.0}, 1)
    assert values_of(oracle.trials[trial_id], "val_accuracy") == [0.5, 0.625]
    assert values_of(oracle.trials[trial_id], "loss") == [1.0, 2.0]
    trial = oracle.trials[trial_id]
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    assert (trial.score, trial.best_step) == (0.625, 1)


def test_a_repeated_report_replaces_the_first(tmp_path):
    """A trial that is run again after its report counts with its last score."""
    oracle = new_oracle(tmp_path)
    trial = oracle.create_trial("worker-0")
    oracle.update_trial(trial.trial_id, {"val_accuracy": 0.9})
    oracle.update_trial(trial.trial_id, {"val_accuracy": 0.1})
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    assert oracle.trials[trial.trial_id].score == 0.1


@pytest.mark.parametrize("tuner", TUNERS)
def test_each_call_writes_a_file_once(tmp_path, tuner, monkeypatch):
    """A call writes what it changes, once; no file grows with the space."""
    oracle, written = new_oracle(tmp_path, tuner, tune=()), []

    def write(file, *args, **kwargs):
        written.append(file.name)
        write_json(file, *args, **kwargs)

    monkeypatch.setattr("tuning.oracles.durable.write_json", write)
    for _ in range(2):
        trial = oracle.create_trial("worker-0")
        assert written == ["point.json", "trial.json", "oracle.json"]
        oracle.update_trial(trial.trial_id, {"val_accuracy": 0.5})
        assert written[3:] == ["trial.json"]
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
        assert written[4:] == ["trial.json", "oracle.json"]
        written.clear()
    record = read_json(oracle.store.trial_file("0"))
    assert record["hyperparameters"] == {
        "space": [],
        "values": oracle.trials["0"].hyperparameters.values,
    }


def test_the_state_says_that_a_trial_ended_while_kerastuner_has_it_on_its_list(
    tmp_path, monkeypatch
):
    """As soon as a trial's end is on record, no worker is at it any more."""
    oracle = new_oracle(tmp_path)
    trial = oracle.create_trial("worker-0")
    oracle.create_trial("worker-1")
    states = []
    monkeypatch.setattr(oracle, "save", lambda: states.append(oracle.get_state()))
    end(oracle, trial)
    assert [state["ongoing_trials"] for state in states] == [{"worker-1": "1"}]
    assert [state["ended"] for state in states] == [
        [("0", "COMPLETED", score_of(trial))]
    ]


@pytest.mark.parametrize("tuner", TUNERS)
def test_goes_on_from_the_files_of_earlier_versions(tmp_path, tuner, capsys):
    """Files with the whole space in them, written for people, are read the same."""
    oracle = new_oracle(tmp_path, tuner)
    drive(oracle, workers=2, steps=7)
    for trial_id, trial in oracle.trials.items():
        write_json(oracle.store.trial_file(trial_id), trial.get_state())
    write_json(oracle.store.oracle_file, oracle.get_state())
    again = new_oracle(tmp_path, tuner)
    assert capsys.readouterr().out == ""
    assert again.progress() == oracle.progress()
    assert drive(again, workers=2) == drive(oracle, workers=2)


@pytest.mark.parametrize("seed", [0, 1])
def test_draws_are_those_of_kerastuner(tmp_path, seed):
    """Points are drawn as KerasTuner's own method does, in the same order."""
    oracle = new_oracle(tmp_path, seed=seed, tune=())
    first = oracle._seed_state
    drawn = [oracle._untried_values() for _ in range(9)]
    last, oracle._seed_state = oracle._seed_state, first
    assert [keras_tuner.Oracle._random_values(oracle) for _ in range(9)] == drawn
    assert oracle._seed_state == last
    few = new_oracle(tmp_path / "few", tune=("optimizer",))
    drive(few)
    first = few._seed_state
    assert few._untried_values() is None
    last, few._seed_state = few._seed_state, first
    assert keras_tuner.Oracle._random_values(few) is None
    assert few._seed_state == last


def test_the_weights_of_the_best_stay(tmp_path):
    """After each trial those with weights are the best of all that completed."""
    oracle = new_oracle(tmp_path, keep=2)
    oracle.begin("first")
    for number in range(9):
        trial = oracle.create_trial("worker-0")
        file = oracle.store.weights_file(trial.trial_id)
        file.write_text("weights")
        end(oracle, trial, "FAILED" if number == 3 else "COMPLETED")
        completed = [t for t in oracle.trials.values() if t.status == "COMPLETED"]
        best = sorted(completed, key=lambda trial: -trial.score)[:2]
        assert {file.parent.name for file in tmp_path.rglob("*.h5")} == {
            oracle.store.trial_folder(trial.trial_id).name for trial in best
        }


@pytest.mark.parametrize("tuner", TUNERS)
def test_a_trial_ends_once_if_the_state_was_not_written(tmp_path, tuner):
    """If the oracle dies between a trial's record and its state, the trial counts."""
    oracle = new_oracle(tmp_path, tuner)
    trial = oracle.create_trial("worker-0")
    before = oracle.store.oracle_file.read_bytes()
    end(oracle, trial)
    expected = oracle.create_trial("worker-0").hyperparameters.values
    oracle.store.oracle_file.write_bytes(before)
    again = new_oracle(tmp_path, tuner)
    assert [ended[:2] for ended in again.progress()["ended"]] == [("0", "COMPLETED")]
    assert again.progress()["running"] == []
    assert again.create_trial("worker-0").hyperparameters.values == expected


@pytest.mark.parametrize("tuner", TUNERS)
def test_a_trial_begins_once_if_the_state_was_not_written(tmp_path, tuner):
    """If the oracle dies between a new trial's record and its state, it begins anew."""
    oracle = new_oracle(tmp_path, tuner)
    end(oracle, oracle.create_trial("worker-0"))
    before = oracle.store.oracle_file.read_bytes()
    expected = oracle.create_trial("worker-0")
    oracle.store.oracle_file.write_bytes(before)
    again = new_oracle(tmp_path, tuner).create_trial("worker-0")
    assert again.trial_id == expected.trial_id == "1"
    assert again.hyperparameters.values == expected.hyperparameters.values


@pytest.mark.parametrize("tuner", TUNERS)
def test_a_new_run_hands_out_what_was_left(tmp_path, tuner):
    """What an earlier run left unfinished is handed out first, each once."""
    oracle = new_oracle(tmp_path, tuner)
    oracle.begin("first")
    end(oracle, oracle.create_trial("worker-0"))
    left = {
        t.trial_id: t.hyperparameters.values
        for t in (oracle.create_trial(f"worker-{n}") for n in range(3))
    }
    same_run = new_oracle(tmp_path, tuner)
    same_run.begin("first")
    assert same_run.progress()["running"] == sorted(left)
    again = new_oracle(tmp_path, tuner)
    again.begin("second")
    assert again.progress()["running"] == []
    trials = [again.create_trial(f"worker-{n}") for n in range(4)]
    assert [t.trial_id for t in trials[:3]] == sorted(left)
    assert {t.trial_id: t.hyperparameters.values for t in trials[:3]} == left
    assert trials[3].trial_id not in {"0", *left}


def test_a_search_whose_trials_all_fail_stops_and_tries_them_again(tmp_path):
    """After three failures and no success no trial begins; a new run tries again."""
    oracle = new_oracle(tmp_path)
    oracle.begin("first")
    assert len(drive(oracle, status="FAILED")) == 3
    assert oracle.progress()["has_failed"]
    again = new_oracle(tmp_path)
    again.begin("second")
    assert not again.progress()["has_failed"]
    begun = drive(again)
    assert [trial for trial, _ in begun] == [str(n) for n in range(9)]
    assert {status for _, status, _ in again.progress()["ended"]} == {"COMPLETED"}


def test_a_search_with_a_success_bears_failures(tmp_path):
    """If a trial completed, any number of failures ends no search."""
    oracle = new_oracle(tmp_path)
    end(oracle, oracle.create_trial("worker-0"))
    assert len(drive(oracle, status="FAILED")) == 8
    progress = oracle.progress()
    assert not progress["has_failed"]
    assert [status for _, status, _ in progress["ended"]] == (
        ["COMPLETED"] + ["FAILED"] * 8
    )
    assert new_oracle(tmp_path).create_trial("worker-0").status == "STOPPED"


def test_a_worker_that_died_for_good_fails_its_trial(tmp_path):
    """The trial of a lost worker fails with the reason in its error.txt."""
    oracle = new_oracle(tmp_path)
    trial = oracle.create_trial("worker-0")
    assert oracle.abandon("worker-0", "out of memory")
    assert not oracle.abandon("worker-0", "out of memory")
    assert not oracle.abandon("worker-1", "out of memory")
    assert oracle.progress()["ended"] == [(trial.trial_id, "FAILED", None)]
    assert oracle.store.error_file(trial.trial_id).read_text() == "out of memory"
    assert new_oracle(tmp_path).trials[trial.trial_id].message == "out of memory"
    assert oracle.create_trial("worker-0").trial_id == "1"


@pytest.mark.parametrize("limits", [(30_000, None), (45_000, 250_000)])
@pytest.mark.parametrize("tuner", TUNERS)
def test_every_point_is_within_the_limits(tmp_path, tuner, limits):
    """No trial has more parameters or multiply-adds than allowed, and all are run."""
    tune = ("filters_*", "num_dense", "dense_units_1", "batch_size", "augmentation")
    oracle = new_oracle(
        tmp_path,
        tuner,
        tune=tune,
        max_parameters=limits[0],
        max_multiply_adds=limits[1],
    )
    default = HYPERMODEL.cost(default_point(make_space(HYPERMODEL, tune)))
    assert default.parameters > 45_000
    assert default.multiply_adds > 250_000
    begun = drive(oracle)
    assert len(begun) == 9
    for trial_id, _ in begun:
        trial = oracle.trials[trial_id]
        assert trial.status == "COMPLETED"
        model = HYPERMODEL.build(trial.hyperparameters)
        assert model.count_params() <= (limits[0] or math.inf)
        assert model.multiply_adds <= (limits[1] or math.inf)
        assert HYPERMODEL.cost(trial.hyperparameters) == (
            model.count_params(),
            model.multiply_adds,
        )


def test_grid_visits_each_combination_once(tmp_path):
    """A grid search tries every combination of a small space once, then stops."""
    settings = {"trials": 99, "tune": ("optimizer", "batch_size")}
    oracle = new_oracle(tmp_path, "grid", **settings)
    begun = drive(oracle, workers=2)
    points = [(values["optimizer"], values["batch_size"]) for _, values in begun]
    assert sorted(points) == sorted(
        itertools.product(("adamw", "sgd"), (16, 32, 64, 128))
    )
    again = new_oracle(tmp_path, "grid", **settings)
    assert again.create_trial("worker-0").status == "STOPPED"


def test_grid_visits_each_combination_within_the_limits(tmp_path):
    """With limits a grid search tries exactly the combinations that are within."""
    tune = ("filters_2", "filters_3", "optimizer", "batch_size")
    space = make_space(HYPERMODEL, tune)
    hp = default_point(space)
    widths = next(entry.values for entry in space.space if entry.name == "filters_2")
    limit = HYPERMODEL.cost(hp).multiply_adds - 1
    within = set()
    for two, three in itertools.product(widths, widths):
        hp.values |= {"filters_2": two, "filters_3": three}
        if HYPERMODEL.cost(hp).multiply_adds <= limit:
            within.add((two, three))
    assert 0 < len(within) < len(widths) ** 2
    oracle = new_oracle(
        tmp_path, "grid", trials=999, tune=tune, max_multiply_adds=limit
    )
    points = [
        tuple(values[name] for name in tune) for _, values in drive(oracle, workers=2)
    ]
    assert sorted(points) == sorted(
        (*widths, optimizer, batch_size)
        for widths in within
        for optimizer in ("adamw", "sgd")
        for batch_size in (16, 32, 64, 128)
    )


def test_random_stops_when_a_small_space_is_used_up(tmp_path):
    """A random search of a small space tries no point twice and comes to an end."""
    begun = drive(new_oracle(tmp_path, trials=99, tune=("optimizer",)))
    assert [values["optimizer"] for _, values in begun] == ["adamw", "sgd"]


def test_hyperband_promotes_the_best(tmp_path):
    """Hyperband's later rounds go on with the best trials of the round before."""
    oracle = new_oracle(tmp_path, "hyperband", trials=30, epochs=9)
    begun = dict(drive(oracle))
    promoted = {t: v for t, v in begun.items() if "tuner/trial_id" in v}
    assert len(promoted) >= 5
    for values in promoted.values():
        parent = begun[values["tuner/trial_id"]]
        assert values["tuner/initial_epoch"] == parent["tuner/epochs"]
        assert values["tuner/epochs"] > parent["tuner/epochs"]
        assert values["tuner/round"] == parent["tuner/round"] + 1
        for name, value in parent.items():
            assert name.startswith("tuner/") or values[name] == value
    first_round = [
        t
        for t, v in begun.items()
        if (v["tuner/bracket"], v["tuner/round"]) == (2, 0) and int(t) < 9
    ]
    scores = sorted(oracle.trials[t].score for t in first_round)
    parents = {v["tuner/trial_id"] for v in promoted.values()} & set(first_round)
    assert parents
    assert max(scores) in {oracle.trials[t].score for t in parents}
    assert {values["tuner/epochs"] for values in begun.values()} == {1, 3, 9}


def test_hyperband_promotes_in_a_space_that_is_used_up(tmp_path):
    """Where there are fewer points than places, the best of them go on all the same."""
    oracle = new_oracle(
        tmp_path, "hyperband", trials=20, epochs=9, tune=("batch_size",)
    )
    begun = drive(oracle)
    epochs = [values["tuner/epochs"] for _, values in begun]
    assert epochs == [1, 1, 1, 1, 3, 3, 3, 9]
    sizes = [values["batch_size"] for _, values in begun]
    assert sorted(sizes[:4]) == [16, 32, 64, 128]


def test_bayesian_learns_from_scores(tmp_path):
    """Bayesian search goes where the scores are: the same seed, other trials."""

    def points(score):
        oracle = new_oracle(tmp_path / str(score), "bayesian", trials=12)
        for _ in range(12):
            trial = oracle.create_trial("worker-0")
            decay = trial.hyperparameters.values["weight_decay"]
            value = math.log10(decay) * score
            oracle.update_trial(trial.trial_id, {"val_accuracy": value})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)
        return [
            math.log10(oracle.trials[t].hyperparameters.values["weight_decay"])
            for t in oracle.end_order
        ]

    high, low = points(1), points(-1)
    assert high[:3] == low[:3]
    assert sum(high[3:]) > sum(low[3:]) + 9


def test_state_is_read_without_training(tmp_path):
    """A directory without state is a search that has yet to begin."""
    write_json(tmp_path / "search.json", {})
    oracle = new_oracle(tmp_path)
    assert oracle.progress() == {
        "total": 9,
        "running": [],
        "waiting": [],
        "ended": [],
        "has_failed": False,
        "halted": None,
    }
    oracle.begin("first")
    assert read_json(oracle.store.oracle_file)["run"] == "first"
