"""Damaged files: set aside, told, and rebuilt from the trials' own records.

Oracles are driven without training: a point's score follows from its values.
"""

from __future__ import annotations

import shutil

import h5py
import pytest
from test_oracles import TUNE, drive, end, files_of, new_oracle
from tuning.oracles.restore import mend_results
from tuning.points.extension import go_on_with
from tuning.store.directory import Store, StoreError, read_json, write_json

from tuning import SearchSettings
from tuning.settings import TUNERS
from tuning.store.recovery import check_weights, read_settings
from tuning.store.results import read_results

# KerasTuner calls threading.currentThread().getName().
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]
WRONG = {
    "empty": lambda text: "",
    "cut": lambda text: text[: len(text) // 2],
    "no-table": lambda text: "[1]",
    "other": lambda text: '{"a": 1}',
    "deep": lambda text: "[" * 100_000,
    "bytes": lambda text: "\x00" * len(text),
}

CASES = [(tuner, "cut") for tuner in TUNERS] + [("random", how) for how in WRONG]


def settings_of(directory, tuner="random", **settings):
    """Return the settings with which `new_oracle` makes an oracle."""
    settings = {"trials": 9, "epochs": 3, "tune": TUNE, **settings}
    return SearchSettings(tuner=tuner, directory=directory, **settings)


def damage(file, how="cut"):
    """Damage a file."""
    file.write_text(WRONG[how](file.read_text()))


def aside(directory):
    """Return the names of the files that were set aside."""
    return sorted(
        str(file.relative_to(directory)) for file in directory.rglob("*.damaged-*")
    )


def begin(directory, tuner, steps=9, workers=2):
    """Drive a search for some steps; return an undisturbed search's trials."""
    whole = drive(new_oracle(directory / "whole", tuner), workers)
    drive(new_oracle(directory / "search", tuner), workers, steps=steps)
    return whole, directory / "search"


@pytest.mark.parametrize(("tuner", "how"), CASES)
def test_a_damaged_oracle_is_rebuilt(tmp_path, tuner, how, capsys):
    """Without oracle.json the search goes on with the very same trials."""
    whole, search = begin(tmp_path, tuner, steps=11, workers=1)
    before = new_oracle(search, tuner).progress()["ended"]
    seed_state = read_json(search / "oracle.json")["seed_state"]
    damage(search / "oracle.json", how)
    oracle = new_oracle(search, tuner)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Damaged (")
    assert f"{search}/oracle.json. It is set aside as oracle.json.damaged-1" in line
    assert aside(search) == ["oracle.json.damaged-1"]
    assert oracle.progress()["ended"] == before
    assert read_json(search / "oracle.json")["seed_state"] == seed_state
    drive(oracle)
    points = {t: v.hyperparameters.values for t, v in oracle.trials.items()}
    assert points == dict(whole)
    assert sorted(oracle.end_order) == sorted(dict(whole))
    assert new_oracle(search, tuner).progress() == oracle.progress()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["trial.json", "point.json"])
@pytest.mark.parametrize(("tuner", "how"), CASES)
def test_a_damaged_trial_is_rebuilt(tmp_path, tuner, name, how, capsys):
    """A trial.json or point.json is rebuilt from the other; no trial is run again."""
    _, search = begin(tmp_path, tuner)
    before = new_oracle(search, tuner).progress()
    point = read_json(search / "trial_1" / "point.json")
    damage(search / "trial_1" / name, how)
    oracle = new_oracle(search, tuner)
    assert f"trial_1/{name}. It is set aside as" in capsys.readouterr().out
    assert aside(search) == [f"trial_1/{name}.damaged-1"]
    assert oracle.progress() == before
    assert "1" in oracle.end_order
    rebuilt = read_json(search / "trial_1" / "point.json")
    assert rebuilt["values"] == point["values"]
    assert new_oracle(search, tuner).progress() == before
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("tuner", ["random", "grid", "bayesian"])
def test_a_lost_trial_is_drawn_again(tmp_path, tuner, number, capsys):
    """A trial whose folder is gone runs again, at the point that it had."""
    whole, search = begin(tmp_path, tuner, steps=9, workers=1)
    shutil.rmtree(search / f"trial_{number}")
    oracle = new_oracle(search, tuner)
    assert f"Nothing is left of trial {number}" in capsys.readouterr().out
    assert str(number) not in oracle.end_order
    oracle.begin("next")
    again = drive(oracle)
    assert again[0] == whole[number]
    points = {t: v.hyperparameters.values for t, v in oracle.trials.items()}
    assert points == dict(whole)
    assert sorted(oracle.end_order) == sorted(dict(whole))


def test_a_search_survives_the_loss_of_everything_but_points(tmp_path):
    """With every oracle.json and trial.json damaged, the same points run again."""
    whole, search = begin(tmp_path, "random")
    for file in [search / "oracle.json", *search.glob("trial_*/trial.json")]:
        damage(file)
    oracle = new_oracle(search, "random")
    assert oracle.end_order == []
    assert drive(oracle, workers=2) == whole


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("oracle.json", ["ended", 0, 0], "../../etc"),
        ("oracle.json", ["ended", 0, 1], "DONE"),
        ("oracle.json", ["ended", 0, 2], float("inf")),
        ("oracle.json", ["seed_state"], -1),
        ("oracle.json", ["ongoing_trials"], ["0"]),
        ("trial_0/trial.json", ["trial_id"], "1"),
        ("trial_0/trial.json", ["status"], "DONE"),
        ("trial_0/trial.json", ["score"], None),
        ("trial_0/trial.json", ["score"], float("nan")),
        ("trial_0/trial.json", ["metrics", "metrics", "val_accuracy"], 3),
        ("trial_0/trial.json", ["hyperparameters", "values", "batch_size"], 17),
        ("trial_0/trial.json", ["hyperparameters", "values", "batch_size"], 64),
        ("trial_0/trial.json", ["hyperparameters", "values", "batch_size"], [16]),
        ("trial_0/trial.json", ["hyperparameters", "values", "optimizer"], "a" * 999),
        ("trial_0/point.json", ["values", "weight_decay"], 1e9),
        ("trial_0/point.json", ["values", "weight_decay"], True),
        ("trial_0/point.json", ["trial"], "7"),
    ],
)
def test_wrong_content_is_damage(tmp_path, name, path, value):
    """An id, type, value or size that no such file can hold is found on reading."""
    oracle = new_oracle(tmp_path)
    drive(oracle, steps=5)
    content = read_json(tmp_path / name)
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    write_json(tmp_path / name, content)
    again = new_oracle(tmp_path)
    assert aside(tmp_path) == [f"{name}.damaged-1"]
    assert again.progress()["ended"] == oracle.progress()["ended"]


def test_what_is_set_aside_is_kept(tmp_path):
    """Each damaged file gets a name of its own; none replaces another."""
    drive(new_oracle(tmp_path), steps=4)
    for content in ("one", "two"):
        (tmp_path / "oracle.json").write_text(content)
        new_oracle(tmp_path)
    assert (tmp_path / "oracle.json.damaged-1").read_text() == "one"
    assert (tmp_path / "oracle.json.damaged-2").read_text() == "two"


def with_results(directory):
    """Return an oracle whose completed trials have weights and records."""
    oracle = new_oracle(directory)
    drive(oracle, steps=7)
    for trial_id in oracle.end_order:
        with h5py.File(oracle.store.weights_file(trial_id), "w") as file:
            file["layers/conv1/vars/0"] = [float(trial_id)] * 1000
        record = {"parameters": 9, "multiply_adds": 8, "seconds": 1.5, "best_epoch": 0}
        write_json(
            oracle.store.record_file(trial_id),
            {**record, "epochs": [0], "history": {"val_accuracy": [0.5]}},
        )
    return oracle


def test_weights_that_are_cut_off_anywhere_are_found(tmp_path):
    """A file of weights that lacks any number of its last bytes is set aside."""
    store = with_results(tmp_path).store
    file = store.weights_file("0")
    whole = file.read_bytes()
    assert check_weights(store, "0", print)
    for length in range(0, len(whole), 97):
        file.write_bytes(whole[:length])
        told = []
        assert not check_weights(store, "0", told.append)
        assert len(told) == 1
        assert not file.exists()
    assert len(aside(tmp_path)) == len(range(0, len(whole), 97))


def test_a_trial_whose_weights_are_damaged_runs_again(tmp_path):
    """A score stands only with its weights; the other trials stay as they are."""
    oracle = with_results(tmp_path)
    expected = oracle.trials["1"].hyperparameters.values
    file = oracle.store.weights_file("1")
    file.write_bytes(file.read_bytes()[:-1])
    again, told = new_oracle(tmp_path), []
    mend_results(again, told.append)
    assert [line.split(":")[0] for line in told][-1] == "Trial 1 runs again"
    assert again.end_order == [t for t in oracle.end_order if t != "1"]
    assert new_oracle(tmp_path).progress() == again.progress()
    again.begin("next")
    trial = again.create_trial("worker-0")
    assert (trial.trial_id, trial.hyperparameters.values) == ("1", expected)
    assert trial.score is None


def test_the_best_trial_needs_its_weights(tmp_path):
    """A best trial without weights runs again, one that is not the best does not."""
    oracle = with_results(tmp_path)
    ranked = [trial.trial_id for trial in oracle.get_best_trials(3)]
    oracle.store.weights_file(ranked[2]).unlink()
    again = new_oracle(tmp_path)
    mend_results(again, print)
    assert again.end_order == oracle.end_order
    oracle.store.weights_file(ranked[0]).unlink()
    again = new_oracle(tmp_path)
    mend_results(again, print)
    assert set(oracle.end_order) - set(again.end_order) == {ranked[0]}


def test_lost_weights_of_the_best_leave_the_others_alone(tmp_path):
    """Of trials that all lack weights, as most do, only the best runs again."""
    oracle = with_results(tmp_path)
    (best, *_) = [trial.trial_id for trial in oracle.get_best_trials(9)]
    for trial_id in oracle.end_order:
        oracle.store.weights_file(trial_id).unlink()
    again = new_oracle(tmp_path)
    mend_results(again, print)
    assert set(oracle.end_order) - set(again.end_order) == {best}


@pytest.mark.parametrize("how", WRONG)
def test_a_damaged_record_is_rebuilt_from_the_network(tmp_path, how):
    """A record.json that is damaged loses the history, never the trial."""
    oracle = with_results(tmp_path)
    damage(oracle.store.record_file("0"), how)
    again, told = new_oracle(tmp_path), []
    mend_results(again, told.append)
    assert again.progress()["ended"] == oracle.progress()["ended"]
    assert len(told) == 1
    cost = oracle.cost(oracle.trials["0"].hyperparameters.values)
    row = read_results(oracle.store)[0]
    assert (row["parameters"], row["multiply_adds"], row["seconds"]) == (*cost, None)
    mend_results(new_oracle(tmp_path), told.append)
    assert len(told) == 1


def with_settings(directory):
    """Return the settings of a search that has begun in a directory."""
    settings = settings_of(directory, add=({"batch_size": 64},))
    write_json(directory / "search.json", settings.to_json())
    drive(new_oracle(directory, add=settings.add), steps=4)
    return settings


@pytest.mark.parametrize("how", [*WRONG, "missing"])
def test_damaged_settings_are_rebuilt_from_the_oracle(tmp_path, how):
    """A search.json that is damaged or gone comes back from oracle.json."""
    settings, told = with_settings(tmp_path), []
    file = tmp_path / "search.json"
    if how == "missing":
        file.unlink()
    else:
        damage(file, how)
    rebuilt = read_settings(Store(tmp_path), settings_of(tmp_path), told.append)
    assert rebuilt == settings
    assert len(told) == 1
    assert not file.exists()


def test_damaged_settings_are_rebuilt_from_the_command_if_the_trials_prove_it(tmp_path):
    """Without oracle.json, a search.json is only rebuilt from the same settings."""
    with_settings(tmp_path)
    damage(tmp_path / "search.json")
    damage(tmp_path / "oracle.json")
    store, before = Store(tmp_path), files_of(tmp_path)
    with pytest.raises(StoreError, match="rebuilt from oracle"):
        read_settings(store, settings_of(tmp_path, seed=7), print)
    assert files_of(tmp_path) == before
    same = settings_of(tmp_path)
    assert read_settings(store, same, print) == same
    assert aside(tmp_path) == ["search.json.damaged-1"]


def test_settings_of_another_version_are_completed(tmp_path):
    """A search.json that lacks a setting has its default; one more is ignored."""
    stored = settings_of(tmp_path).to_json()
    del stored["start_with"]
    write_json(tmp_path / "search.json", {**stored, "colour": "blue"})
    same = settings_of(tmp_path)
    assert read_settings(Store(tmp_path), same, print) == same
    assert go_on_with(same, same, Store(tmp_path)) == same


def test_damaged_trials_are_shown_and_stay(tmp_path):
    """Reading results changes nothing; a damaged trial is a row that says so."""
    store = with_results(tmp_path).store
    damage(store.trial_file("1"))
    damage(store.record_file("0"))
    before = files_of(tmp_path)
    rows = read_results(store)
    assert [row["status"] for row in rows][:2] == ["COMPLETED", "DAMAGED"]
    assert rows[0]["parameters"] is None
    assert files_of(tmp_path) == before


def test_foreign_folders_are_no_trials(tmp_path):
    """Folders that are named like trials and are none of the search's are ignored."""
    oracle = new_oracle(tmp_path)
    end(oracle, oracle.create_trial("worker-0"))
    for name in ("trial_x", "trial_99999999", "trial_-1", "trial_"):
        write_json(tmp_path / name / "trial.json", {})
    assert new_oracle(tmp_path).progress() == oracle.progress()
