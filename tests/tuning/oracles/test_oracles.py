"""The four oracles: same seed same trials, within limits, and after any restart.

Oracles are driven without training: a trial's score follows from its values.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import math
import os

import keras_tuner
import pytest
from driven_oracle import (
    FAILED,
    drive,
    end,
    files_of,
    new_oracle,
    new_space,
    planned,
    results_of,
    score_of,
    values_by_id,
)

from tuning.settings import TUNERS
from tuning.space.engine import Brackets
from tuning.store import files as files_module
from tuning.store.files import read_json
from tuning.store.records import Result

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.mark.parametrize("tuner", TUNERS)
def test_first_trial_has_the_default_values(tmp_path, tuner):
    """Whatever the tuner, the first values tried are the default ones."""
    record = new_oracle(tmp_path, tuner, tune=()).suggest("worker-0")
    assert record.values == new_space(tune=()).default


@pytest.mark.parametrize("tuner", TUNERS)
def test_same_seed_same_trials(tmp_path, tuner):
    """Two searches with one seed try the same values in the same order."""
    first = drive(new_oracle(tmp_path / "a", tuner))
    assert drive(new_oracle(tmp_path / "b", tuner)) == first
    assert [trial for trial, _ in first] == [str(n) for n in range(9)]
    own = [
        json.dumps(record.values, sort_keys=True)
        for record in new_oracle(tmp_path / "a", tuner).records.values()
        if record.continues is None
    ]
    assert len(set(own)) == len(own)
    assert tuner == "hyperband" or len(own) == 9


@pytest.mark.parametrize(
    ("tuner", "digest"),
    [("random", "7bd6fae6"), ("hyperband", "3d0a362a"), ("grid", "b3daad3f")],
)
def test_a_seed_draws_what_it_always_drew(tmp_path, tuner, digest):
    """The values and seeds of a search are those of every version before."""
    oracle = new_oracle(tmp_path, tuner, trials=24, epochs=9, seed=7, tune=())
    drive(oracle)
    drawn = [(r.values, r.seed) for r in oracle.records.values()]
    text = json.dumps(drawn, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest()[:8] == digest


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_another_seed_other_trials(tmp_path, tuner):
    """Another seed tries other values; 0 is a seed like any other."""
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
def test_a_restart_before_every_call_changes_nothing(tmp_path, tuner, workers):
    """An oracle that is made anew before every call gives the very same trials."""
    whole = new_oracle(tmp_path / "whole", tuner)
    expected = drive(whole, workers)

    def reopen(_):
        return new_oracle(tmp_path / "broken", tuner)

    assert drive(reopen(None), workers, reopen=reopen) == expected
    assert planned(reopen(None)) == planned(whole)
    assert results_of(reopen(None)) == results_of(whole)
    assert reopen(None).progress() == whole.progress()
    assert len(whole.progress()["ended"]) == 9


@pytest.mark.parametrize("tuner", TUNERS)
def test_repeated_calls_change_nothing(tmp_path, tuner):
    """A call that Ray repeats after a restart leaves all files as they are."""
    oracle = new_oracle(tmp_path, tuner)
    drive(oracle, steps=4)
    record = oracle.suggest("worker-0")
    before = files_of(tmp_path)
    assert oracle.suggest("worker-0") == record
    assert new_oracle(tmp_path, tuner).suggest("worker-0") == record
    assert files_of(tmp_path) == before
    oracle.report(record.trial, {"val_accuracy": [0.25]})
    reported = files_of(tmp_path)
    oracle.report(record.trial, {"val_accuracy": [0.25]})
    assert files_of(tmp_path) == reported != before
    oracle.end(record.trial, Result(seconds=1.0))
    ended = files_of(tmp_path)
    assert oracle.progress()["running"] == []
    for again in (oracle, new_oracle(tmp_path, tuner)):
        again.report(record.trial, {"val_accuracy": [0.75]})
        again.end(record.trial, Result(seconds=2.0))
        again.end(record.trial, FAILED)
        assert files_of(tmp_path) == ended
        assert again.records[record.trial].score == 0.25


def test_reports_are_kept_and_the_last_counts(tmp_path):
    """A report has all epochs so far; one that differs takes back what it lacks."""
    oracle = new_oracle(tmp_path)
    trial_id = oracle.suggest("worker-0").trial
    history = {"val_accuracy": [], "loss": []}
    for value in (0.5, 0.75, 0.25):
        history["val_accuracy"].append(value)  # As a trial in this process does.
        history["loss"].append(1.0)
        oracle.report(trial_id, history)
        again = new_oracle(tmp_path).records[trial_id]
        assert again.history == oracle.records[trial_id].history == history
    oracle.report(trial_id, {"val_accuracy": [0.5, 0.625], "loss": [1.0, 2.0]})
    oracle.end(trial_id, Result(best_epoch=1))
    for one in (oracle, new_oracle(tmp_path)):
        record = one.records[trial_id]
        assert record.history == {"val_accuracy": [0.5, 0.625], "loss": [1.0, 2.0]}
        assert (record.score, record.best_epoch) == (0.625, 1)


def test_lower_losses_are_better(tmp_path):
    """With val_loss a trial's score is its lowest loss."""
    oracle = new_oracle(tmp_path, objective="val_loss")
    record = oracle.suggest("worker-0")
    oracle.report(record.trial, {"val_loss": [0.5, 0.25, 0.75]})
    oracle.end(record.trial, Result(best_epoch=1))
    assert oracle.records[record.trial].score == 0.25


@pytest.mark.parametrize("tuner", TUNERS)
def test_each_call_writes_one_file(tmp_path, tuner, monkeypatch):
    """A call writes the record of its trial, once; no file grows with the space."""
    oracle, written = new_oracle(tmp_path, tuner, tune=()), []
    writing = files_module.writing

    def recorded(file):
        written.append(str(file.relative_to(tmp_path)))
        return writing(file)

    monkeypatch.setattr(files_module, "writing", recorded)
    for number in range(2):
        record, file = oracle.suggest("worker-0"), f"trial_{number}/trial.json"
        oracle.suggest("worker-0")
        assert written == [file]
        oracle.report(record.trial, {"val_accuracy": [0.5]})
        assert written == [file] * 2
        oracle.end(record.trial, Result())
        assert written == [file] * 3
        oracle.progress()
        written.clear()
    failed = oracle.suggest("worker-0")
    oracle.end(failed.trial, FAILED)
    assert written[1:] == ["trial_2/error.txt", "trial_2/trial.json"]
    stored = read_json(oracle.store.trial_file("0"))
    assert stored["values"] == oracle.records["0"].values
    assert oracle.store.trial_file("0").stat().st_size < 3000


@pytest.mark.parametrize("seed", [0, 1])
def test_draws_are_those_of_kerastuner(tmp_path, seed):
    """Values are drawn as KerasTuner's own method does, in the same order."""
    oracle = new_oracle(tmp_path, seed=seed, tune=())
    oracle.suggest("worker-0")  # The default values.
    theirs = keras_tuner.oracles.RandomSearchOracle(
        objective="val_accuracy",
        hyperparameters=oracle.space.hp,
        seed=oracle.trials.draws,
    )
    for number in range(9):
        drawn = oracle.suggest(f"worker-{number + 1}")
        if number < 8:
            assert theirs._random_values() == drawn.values
            assert theirs._seed_state == drawn.draws == oracle.trials.draws


def test_an_exhausted_space_stays_so(tmp_path):
    """If nothing untried is found, asking again, after a restart or not, finds none."""
    oracle = new_oracle(tmp_path, trials=99, tune=("optimizer",))
    assert [values["optimizer"] for _, values in drive(oracle)] == ["adamw", "sgd"]
    before = oracle.trials.draws
    for one in (oracle, oracle, new_oracle(tmp_path, trials=99, tune=("optimizer",))):
        assert one.suggest("worker-0") == "done"
        assert one.trials.draws == before


def test_the_weights_of_the_best_stay(tmp_path):
    """After each trial those with weights are the best of all that completed."""
    oracle = new_oracle(tmp_path, keep=2)
    for number in range(9):
        trial_id = oracle.suggest("worker-0").trial
        for file in (oracle.store.weights_file, oracle.store.checkpoint_file):
            file(trial_id).write_text("weights")
        end(oracle, trial_id, FAILED if number == 3 else None)
        records = oracle.records.values()
        completed = [record for record in records if record.status == "COMPLETED"]
        best = sorted(completed, key=lambda record: -record.score)[:2]
        assert {file.parent.name for file in tmp_path.rglob("weights.npz")} == {
            f"trial_{record.trial}" for record in best
        }
        assert not list(tmp_path.rglob("checkpoint.npz"))


def test_what_later_rounds_continue_stays(tmp_path):
    """Hyperband keeps the checkpoints that a later round needs, and no others."""
    sizes = [size for bracket in range(3) for size, _ in Brackets(9).rounds(bracket)]
    oracle = new_oracle(tmp_path, "hyperband", trials=sum(sizes), epochs=9)
    needed_again = set()
    while not isinstance(record := oracle.suggest("worker-0"), str):
        if record.continues is not None:
            assert oracle.store.checkpoint_file(record.continues).exists()
            needed_again.add(record.continues)
        oracle.store.checkpoint_file(record.trial).write_text("checkpoint")
        end(oracle, record.trial)
        held = {file.parent.name for file in tmp_path.rglob("checkpoint.npz")}
        assert len(held) <= 9
    assert needed_again
    assert not list(tmp_path.rglob("checkpoint.npz"))


@pytest.mark.parametrize("tuner", TUNERS)
def test_a_new_run_hands_out_what_was_left(tmp_path, tuner):
    """What an earlier run left unfinished is handed out first, each once."""
    oracle = new_oracle(tmp_path, tuner, run="first")
    end(oracle, oracle.suggest("worker-0").trial)
    begun = [oracle.suggest(f"worker-{n}") for n in range(3)]
    left = {record.trial: record.values for record in begun}
    same_run = new_oracle(tmp_path, tuner, run="first")
    assert same_run.progress()["running"] == sorted(left)
    again = new_oracle(tmp_path, tuner, run="second")
    assert again.progress()["running"] == []
    assert again.progress()["waiting"] == sorted(left)
    records = [again.suggest(f"worker-{n}") for n in range(4)]
    assert [record.trial for record in records[:3]] == sorted(left)
    assert {record.trial: record.values for record in records[:3]} == left
    assert records[3].trial not in {"0", *left}


def test_a_released_trial_goes_to_whoever_asks_first(tmp_path):
    """The trial of a worker whose machine is gone is another's, on disk as well."""
    oracle = new_oracle(tmp_path)
    lost = oracle.suggest("worker-0").trial
    oracle.suggest("worker-1")
    assert oracle.lost("worker-0", None)
    assert not oracle.lost("worker-0", None)
    assert not oracle.lost("worker-9", None)
    for one in (new_oracle(tmp_path), oracle):
        assert one.progress()["waiting"] == [lost]
        assert one.progress()["running"] == ["1"]
    assert oracle.suggest("worker-2").trial == lost
    assert oracle.suggest("worker-0").trial == "2"


def test_a_search_whose_trials_all_fail_stops_and_tries_them_again(tmp_path):
    """After three failures and no success no trial begins; a new run tries again."""
    oracle = new_oracle(tmp_path, run="first")
    assert len(drive(oracle, result=FAILED)) == 3
    assert oracle.progress()["has_failed"]
    assert new_oracle(tmp_path, run="first").suggest("worker-0") == "done"
    assert oracle.store.error_file("0").read_text() == FAILED.failure.message
    again = new_oracle(tmp_path, run="second")
    assert not again.progress()["has_failed"]
    assert not oracle.store.error_file("0").exists()
    begun = drive(again)
    assert [trial for trial, _ in begun] == [str(n) for n in range(9)]
    assert {status for _, status, _ in again.progress()["ended"]} == {"COMPLETED"}


def test_one_that_runs_may_yet_succeed(tmp_path):
    """While a trial runs, three failures keep others waiting and stop nothing."""
    oracle = new_oracle(tmp_path)
    first = oracle.suggest("worker-0")
    for _ in range(3):
        end(oracle, oracle.suggest("worker-1").trial, FAILED)
    assert oracle.suggest("worker-1") == "wait"
    assert oracle.suggest("worker-0") == oracle.records[first.trial]
    end(oracle, first.trial)
    assert oracle.suggest("worker-1").trial == "4"


def test_a_search_with_a_success_tolerates_failures(tmp_path):
    """If a trial completed, any number of failures ends no search."""
    oracle = new_oracle(tmp_path)
    end(oracle, oracle.suggest("worker-0").trial)
    assert len(drive(oracle, result=FAILED)) == 8
    progress = oracle.progress()
    assert not progress["has_failed"]
    assert [status for _, status, _ in progress["ended"]] == (
        ["COMPLETED"] + ["FAILED"] * 8
    )
    assert new_oracle(tmp_path).suggest("worker-0") == "done"


def test_a_trial_whose_process_dies_again_and_again_fails(tmp_path):
    """Any worker resumes it three times; the fourth death is in its error.txt.

    A machine that is gone does not count, and neither do other trials' deaths.
    """
    oracle = new_oracle(tmp_path)
    trial_id = oracle.suggest("worker-0").trial
    other_id = oracle.suggest("worker-9").trial
    for worker in ("worker-1", "worker-2", "worker-3"):
        assert oracle.lost("worker-9", "killed")
        assert oracle.suggest("worker-9").trial == other_id
        for reason in (None, "killed"):
            owner = oracle.trials.records[trial_id].worker
            assert oracle.lost(owner, reason)
            assert oracle.suggest(worker).trial == trial_id
    assert oracle.progress()["ended"] == []
    assert oracle.lost("worker-3", "out of memory")
    assert not oracle.lost("worker-3", "out of memory")
    assert oracle.progress()["ended"] == [(trial_id, "FAILED", None)]
    assert oracle.store.error_file(trial_id).read_text() == "out of memory"
    failure = new_oracle(tmp_path).records[trial_id].failure
    assert (failure.kind, failure.message) == (None, "out of memory")
    assert oracle.suggest("worker-0").trial == "2"


@pytest.mark.parametrize("call", ["start", "suggest", "report", "end"])
def test_an_oracle_that_cannot_write_hands_out_nothing(tmp_path, monkeypatch, call):
    """A disk that takes no more stops any call, fails no trial and loses none."""
    oracle = new_oracle(tmp_path, run="first")
    end(oracle, oracle.suggest("worker-0").trial)
    ended = oracle.progress()["ended"]
    if call != "suggest":
        oracle.suggest("worker-0")
    if call == "end":
        oracle.report("1", {"val_accuracy": [0.5]})
    with monkeypatch.context() as full:

        def fsync(descriptor):
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

        full.setattr("os.fsync", fsync)
        if call == "start":
            oracle = new_oracle(tmp_path, run="second")
        elif call == "suggest":
            assert oracle.suggest("worker-0") == "done"
        else:
            end(oracle, "1")
        assert oracle.progress()["halted"] == os.strerror(errno.EDQUOT)
        assert oracle.progress()["ended"] == ended
        assert oracle.suggest("worker-0") == oracle.suggest("worker-1") == "done"
    again = new_oracle(tmp_path, run="next")
    assert again.progress()["ended"] == ended
    assert again.suggest("worker-0").trial == "1"
    assert not list(tmp_path.rglob("*.damaged-*"))
    assert not list(tmp_path.rglob("*.part-*"))


def test_a_report_that_could_not_be_written_is_in_the_trials_end(tmp_path, monkeypatch):
    """If there is room again when a trial ends, its record has all of its epochs."""
    oracle = new_oracle(tmp_path)
    oracle.suggest("worker-0")
    oracle.report("0", {"val_accuracy": [0.25]})
    with monkeypatch.context() as full:
        full.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
        oracle.report("0", {"val_accuracy": [0.25, 0.75]})
    oracle.end("0", Result(best_epoch=1))
    record = new_oracle(tmp_path).records["0"]
    assert (record.score, record.history) == (0.75, {"val_accuracy": [0.25, 0.75]})
    assert oracle.progress()["halted"] == "full"


@pytest.mark.parametrize("limits", [(30_000, None), (45_000, 250_000)])
@pytest.mark.parametrize("tuner", TUNERS)
def test_every_trial_is_within_the_limits(tmp_path, tuner, limits):
    """No trial has more parameters or multiply-adds than allowed, and all are run."""
    tune = ("filters_*", "num_dense", "dense_units_1", "batch_size", "augmentation")
    oracle = new_oracle(
        tmp_path,
        tuner,
        tune=tune,
        max_parameters=limits[0],
        max_multiply_adds=limits[1],
    )
    default = oracle.space.cost(oracle.space.default)
    assert default.parameters > 45_000
    assert default.multiply_adds > 250_000
    begun = drive(oracle)
    assert len(begun) == 9
    for trial_id, values in begun:
        assert oracle.records[trial_id].status == "COMPLETED"
        cost = oracle.space.cost(values)
        assert cost.parameters <= (limits[0] or math.inf)
        assert cost.multiply_adds <= (limits[1] or math.inf)
    # That costs are those of the networks has tests of its own.
    for _, values in (begun[0], begun[4], begun[8]):
        model = oracle.space.hypermodel.build(oracle.space.at(values))
        cost = (model.count_params(), model.multiply_adds)
        assert oracle.space.cost(values) == cost


def test_grid_visits_each_combination_once(tmp_path):
    """A grid search tries every combination of a small space once, then stops."""
    settings = {"trials": 99, "tune": ("optimizer", "batch_size")}
    oracle = new_oracle(tmp_path, "grid", **settings)
    begun = drive(oracle, workers=2)
    tried = [(values["optimizer"], values["batch_size"]) for _, values in begun]
    assert sorted(tried) == sorted(
        itertools.product(("adamw", "sgd"), (16, 32, 64, 128))
    )
    again = new_oracle(tmp_path, "grid", **settings)
    assert again.suggest("worker-0") == "done"


def test_grid_visits_each_combination_within_the_limits(tmp_path):
    """With limits a grid search tries exactly the combinations that are within."""
    tune = ("filters_2", "filters_3", "optimizer", "batch_size")
    space = new_space(tune=tune)
    widths = next(entry.values for entry in space.entries if entry.name == "filters_2")
    limit = space.cost(space.default).multiply_adds - 1
    within = {
        (two, three)
        for two, three in itertools.product(widths, widths)
        if space.cost(
            {**space.default, "filters_2": two, "filters_3": three}
        ).multiply_adds
        <= limit
    }
    assert 0 < len(within) < len(widths) ** 2
    oracle = new_oracle(
        tmp_path, "grid", trials=999, tune=tune, max_multiply_adds=limit
    )
    tried = [
        tuple(values[name] for name in tune) for _, values in drive(oracle, workers=2)
    ]
    assert sorted(tried) == sorted(
        (*widths, optimizer, batch_size)
        for widths in within
        for optimizer in ("adamw", "sgd")
        for batch_size in (16, 32, 64, 128)
    )


def test_hyperband_promotes_the_best(tmp_path):
    """Hyperband's later rounds continue the best trials of the round before."""
    oracle = new_oracle(tmp_path, "hyperband", trials=30, epochs=9)
    drive(oracle)
    records = oracle.records
    promoted = [record for record in records.values() if record.continues is not None]
    assert len(promoted) >= 5
    for record in promoted:
        parent = records[record.continues]
        assert record.first_epoch == parent.epochs < record.epochs
        assert (record.bracket, record.round) == (parent.bracket, parent.round + 1)
        assert (record.values, record.seed) == (parent.values, parent.seed)
    for bracket, number in {(r.bracket, r.round - 1) for r in promoted}:
        those = [
            r for r in records.values() if (r.bracket, r.round) == (bracket, number)
        ]
        chosen = {r.continues for r in promoted} & {r.trial for r in those}
        best = sorted(those, key=lambda record: -record.score)[: len(chosen)]
        assert {record.trial for record in best} == chosen
    assert {record.epochs for record in records.values()} == {1, 3, 9}


def test_hyperband_promotes_in_a_space_that_is_used_up(tmp_path):
    """Where there are fewer values than places, the best are continued all the same."""
    settings = {"trials": 20, "epochs": 9, "tune": ("batch_size",)}
    oracle = new_oracle(tmp_path, "hyperband", **settings)
    drive(oracle, reopen=lambda _: new_oracle(tmp_path, "hyperband", **settings))
    records = list(new_oracle(tmp_path, "hyperband", **settings).records.values())
    assert [record.epochs for record in records] == [1, 1, 1, 1, 3, 3, 3, 9]
    sizes = [record.values["batch_size"] for record in records]
    assert sorted(sizes[:4]) == [16, 32, 64, 128]


def test_bayesian_learns_from_scores(tmp_path):
    """Bayesian search goes where the scores are: the same seed, other trials."""

    def decays(sign):
        oracle = new_oracle(tmp_path / str(sign), "bayesian", trials=12)
        for _ in range(12):
            record = oracle.suggest("worker-0")
            value = math.log10(record.values["weight_decay"]) * sign
            end(oracle, record.trial, score=value)
        return [math.log10(v["weight_decay"]) for v in values_by_id(oracle).values()]

    high, low = decays(1), decays(-1)
    assert high[:3] == low[:3]
    assert sum(high[3:]) > sum(low[3:]) + 9


def test_bayesian_begins_with_a_quarter_of_the_trials_at_random(tmp_path):
    """The first quarter of the trials is as of random search, and no more."""
    drawn = {
        tuner: drive(new_oracle(tmp_path / tuner, tuner, trials=20))
        for tuner in ("random", "bayesian")
    }
    assert drawn["bayesian"][:5] == drawn["random"][:5]
    assert all(trial not in drawn["random"] for trial in drawn["bayesian"][5:])


def test_bayesian_looks_elsewhere_for_each_trial(tmp_path):
    """Each trial draws candidates of its own, so that workers do not meet."""
    oracle = new_oracle(tmp_path, "bayesian", tune=("weight_decay",))
    for _ in range(3):
        end(oracle, oracle.suggest("worker-0").trial)
    seen = []
    predict = oracle.kind.process.bound
    oracle.kind.process.bound = lambda v: seen.append(v[:2000]) or predict(v)
    for worker in range(3):
        oracle.suggest(f"worker-{worker}")
    first = [vectors.tobytes() for vectors in seen[::3]]
    assert len(set(first)) == len(first) == 3


def test_bayesian_counts_what_was_pruned_while_others_run(tmp_path):
    """A pruned trial counts as one that ended, whatever runs at the time."""
    oracle = new_oracle(tmp_path, "bayesian", prune="halving")
    oracle.suggest("worker-1")
    for score in (0.5, 0.25, 0.75):
        record = oracle.suggest("worker-0")
        end(oracle, record.trial, Result(is_pruned=score == 0.25), score=score)
    fitted = []
    fit = oracle.kind.process.fit

    def watched(ended, running):
        fitted.append(([r.trial for r in ended], [r.trial for r in running]))
        fit(ended, running)

    oracle.kind.process.fit = watched
    oracle.suggest("worker-0")
    assert fitted == [(["1", "2", "3"], ["0"])]


def test_an_empty_directory_is_a_search_to_begin(tmp_path):
    """A directory without trials is a search that has yet to begin."""
    oracle = new_oracle(tmp_path)
    assert oracle.progress() == {
        "total": 9,
        "running": [],
        "waiting": [],
        "ended": [],
        "has_failed": False,
        "halted": None,
    }
    assert list(tmp_path.iterdir()) == []


def test_trials_are_reported_in_the_order_in_which_they_ended(tmp_path):
    """Progress lists trials as they ended, after a restart, too."""
    oracle = new_oracle(tmp_path)
    for worker in range(3):
        oracle.suggest(f"worker-{worker}")
    for trial_id in "201":
        end(oracle, trial_id)
    for one in (oracle, new_oracle(tmp_path)):
        ended = one.progress()["ended"]
        assert ended == [
            (t, "COMPLETED", score_of(one.records[t].values)) for t in "201"
        ]
