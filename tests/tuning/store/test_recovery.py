"""Damaged files: set aside, reported, and made good by the trials' own records.

Oracles are driven without training: a trial's score follows from its values.
"""

from __future__ import annotations

import itertools
import shutil

import pytest
from driven_oracle import (
    FAILED,
    TUNE,
    aside,
    drive,
    end,
    files_of,
    new_oracle,
    planned,
    results_of,
    settings_of,
)

from tuning.search import resumed
from tuning.settings import TUNERS
from tuning.store.files import MAX_JSON_BYTES, StoreError, read_json, write_json
from tuning.store.layout import Store
from tuning.store.recovery import has_weights, read_settings

pytestmark = pytest.mark.usefixtures("no_fsync")
WRONG = {
    "empty": lambda text: "",
    "cut": lambda text: text[: len(text) // 2],
    "no-table": lambda text: "[1]",
    "other": lambda text: '{"a": 1}',
    "deep": lambda text: "[" * 100_000,
    "bytes": lambda text: "\x00" * len(text),
}


def damage(file, how="cut"):
    """Damage a file."""
    file.write_text(WRONG[how](file.read_text()))


def lose(file, how):
    """Damage a trial's record, remove it, or remove its folder."""
    if how == "missing":
        file.unlink()
    elif how == "folder":
        shutil.rmtree(file.parent)
    else:
        damage(file, how)


@pytest.fixture(scope="module", params=TUNERS)
def undisturbed(request, tmp_path_factory):
    """Return a tuner, and the oracle of a search with it that ran to its end."""
    oracle = new_oracle(tmp_path_factory.mktemp("whole"), request.param, trials=12)
    drive(oracle)
    assert len(oracle.records) == 12
    return request.param, oracle


@pytest.mark.parametrize(
    ("how", "steps"),
    [("cut", None), ("missing", None), ("folder", None), ("cut", 12), ("cut", 13)],
)
def test_any_lost_record_is_drawn_and_run_again(tmp_path, undisturbed, how, steps):
    """Without any one of its records, a search has the very same trials again."""
    tuner, whole = undisturbed
    begun = drive(new_oracle(tmp_path / "begun", tuner, trials=12), steps=steps)
    for number in range(len(begun)):
        trial_id, folder = f"{number:02d}", tmp_path / str(number)
        shutil.copytree(tmp_path / "begun", folder)
        lose(Store(folder).trial_file(trial_id), how)
        messages = []
        oracle = new_oracle(folder, tuner, "next", messages.append, trials=12)
        # A last one that is gone leaves no gap: it is drawn as any other.
        message = f"Trial {trial_id} has no record; its values are drawn again."
        is_gap = how == "cut" or number < len(begun) - 1
        assert (message in messages) == is_gap
        assert trial_id not in oracle.records
        if steps is None or number % 3 == 0:
            drive(oracle)
            assert planned(oracle) == planned(whole)
            assert results_of(oracle) == results_of(whole)
        assert aside(folder) == (
            [f"trial_{trial_id}/trial.json.damaged-1"] if how == "cut" else []
        )


@pytest.mark.parametrize(
    "lost", [(0, 1), (0, 5, 6), (2, 3, 4, 8), (9, 10), range(12)], ids=str
)
def test_any_lost_records_are_drawn_and_run_again(tmp_path, undisturbed, lost):
    """Without several records, or all of them, the same trials run again."""
    tuner, whole = undisturbed
    drive(new_oracle(tmp_path, tuner, trials=12))
    for number in lost:
        damage(Store(tmp_path).trial_file(f"{number:02d}"))
    oracle = new_oracle(tmp_path, tuner, "next", trials=12)
    assert len(oracle.records) == 12 - len(lost)
    begun = drive(
        oracle, reopen=lambda _: new_oracle(tmp_path, tuner, "next", trials=12)
    )
    # And, if its weights are gone, what is the best now.
    assert {*lost} <= {int(trial) for trial, _ in begun}
    oracle = new_oracle(tmp_path, tuner, "next", trials=12)
    assert planned(oracle) == planned(whole)
    assert results_of(oracle) == results_of(whole)


@pytest.mark.parametrize("tuner", ["random", "grid", "hyperband"])
def test_several_workers_run_what_was_lost(tmp_path, tuner):
    """Whoever runs what was lost, it is what it was; Hyperband may number it anew."""

    def trained(oracle):
        return sorted(
            (repr(r.values), r.seed, r.first_epoch, r.epochs, r.bracket, r.round)
            for r in oracle.records.values()
        )

    whole = new_oracle(tmp_path / "whole", tuner, trials=12, epochs=9)
    drive(whole, workers=3)
    for lost in [*itertools.combinations(range(0, 12, 3), 2), range(12)]:
        folder = tmp_path / str(lost)
        drive(new_oracle(folder, tuner, trials=12, epochs=9), workers=3)
        for number in lost:
            damage(Store(folder).trial_file(f"{number:02d}"))
        oracle = new_oracle(folder, tuner, "next", trials=12, epochs=9)
        drive(oracle, workers=2)
        assert trained(oracle) == trained(whole)
        if tuner != "hyperband":
            assert planned(oracle) == planned(whole)


def test_a_lost_trial_keeps_the_name_that_others_have_for_it(tmp_path):
    """In a search that grew, a trial that another continues keeps its short id."""
    oracle = new_oracle(tmp_path, "hyperband")
    drive(oracle)
    (parent, *_) = [r.continues for r in oracle.records.values() if r.continues]
    assert len(parent) == 1
    expected = oracle.records[parent]
    shutil.rmtree(oracle.store.trial_folder(parent))
    longer = new_oracle(tmp_path, "hyperband", "next", trials=12)
    drive(longer)
    assert longer.records[parent].values == expected.values
    assert len(longer.records) == 12
    assert all(r.continues in {*longer.records, None} for r in longer.records.values())


@pytest.mark.parametrize("how", WRONG)
def test_a_damaged_record_is_set_aside_and_reported(tmp_path, how):
    """However a record is damaged, it is renamed, named once, and the rest stays."""
    drive(new_oracle(tmp_path), steps=9, workers=2)
    before = new_oracle(tmp_path).progress()
    damage(tmp_path / "trial_1" / "trial.json", how)
    messages = []
    oracle = new_oracle(tmp_path, notify=messages.append)
    assert messages[0].startswith("Damaged (")
    assert f"{tmp_path}/trial_1/trial.json. It is set aside as" in messages[0]
    assert messages[1:] == ["Trial 1 has no record; its values are drawn again."]
    assert aside(tmp_path) == ["trial_1/trial.json.damaged-1"]
    ended = oracle.progress()["ended"]
    assert ended == [row for row in before["ended"] if row[0] != "1"]


def test_a_huge_record_is_not_read(tmp_path):
    """A record that is larger than any is damage, reported with its size."""
    drive(new_oracle(tmp_path), steps=4)
    with (tmp_path / "trial_0" / "trial.json").open("wb") as file:
        file.truncate(MAX_JSON_BYTES + 1)
    messages = []
    new_oracle(tmp_path, notify=messages.append)
    assert messages[0].startswith(f"Damaged (it is larger than {MAX_JSON_BYTES} bytes)")


def test_what_is_set_aside_is_kept(tmp_path):
    """Each damaged file gets a name of its own; none replaces another."""
    drive(new_oracle(tmp_path), steps=4)
    folder = tmp_path / "trial_0"
    for content in ("one", "two"):
        (folder / "trial.json").write_text(content)
        new_oracle(tmp_path)
    assert (folder / "trial.json.damaged-1").read_text() == "one"
    assert (folder / "trial.json.damaged-2").read_text() == "two"


def test_foreign_folders_are_no_trials(tmp_path):
    """Folders that are named like trials and are none of the search's are ignored."""
    oracle = new_oracle(tmp_path)
    end(oracle, oracle.suggest("worker-0").trial)
    for name in ("trial_x", "trial_99999999", "trial_-1", "trial_"):
        write_json(tmp_path / name / "trial.json", {})
    again = new_oracle(tmp_path)
    assert again.progress() == oracle.progress()
    assert again.suggest("worker-0").trial == "1"


def test_weights_that_are_cut_off_anywhere_are_found(tmp_path):
    """A file of weights that lacks any number of its last bytes is set aside."""
    drive(new_oracle(tmp_path), steps=4)
    store = Store(tmp_path)
    file = store.weights_file("0")
    whole = file.read_bytes()
    assert has_weights(store, "0", print)
    lengths = range(0, len(whole), 7)
    for length in lengths:
        file.write_bytes(whole[:length])
        messages = []
        assert not has_weights(store, "0", messages.append)
        assert len(messages) == 1
        assert not file.exists()
    assert len(aside(tmp_path)) == len(lengths)


def best_first(oracle):
    """Return the ids of the completed trials, best first."""
    records = oracle.objective.ranked(oracle.records.values())
    return [record.trial for record in records]


def test_a_trial_whose_weights_are_damaged_runs_again(tmp_path):
    """A score stands only with its weights; the other trials stay as they are."""
    oracle = new_oracle(tmp_path)
    drive(oracle, steps=7)
    trial_id = best_first(oracle)[1]
    expected = oracle.records[trial_id].again()
    file = oracle.store.weights_file(trial_id)
    file.write_bytes(file.read_bytes()[:-1])
    messages = []
    assert new_oracle(tmp_path, "random", "run").records == oracle.records
    again = new_oracle(tmp_path, run="next", notify=messages.append)
    assert messages[-1] == f"Trial {trial_id} runs again: its score needs its weights."
    assert again.progress()["waiting"][0] == trial_id
    others = [row for row in oracle.progress()["ended"] if row[0] != trial_id]
    assert again.progress()["ended"] == others
    record = again.suggest("worker-0")
    assert record.replace(run=None, worker=None, began=None) == expected


def test_the_best_trial_needs_its_weights(tmp_path):
    """A best trial without weights runs again, one that is not the best does not."""
    oracle = new_oracle(tmp_path)
    drive(oracle, steps=7)
    ranked = best_first(oracle)
    oracle.store.weights_file(ranked[2]).unlink()
    again = new_oracle(tmp_path, run="second")
    assert again.progress()["ended"] == oracle.progress()["ended"]
    oracle.store.weights_file(ranked[0]).unlink()
    again = new_oracle(tmp_path, run="third")
    assert set(ranked) - set(best_first(again)) == {ranked[0]}


def test_lost_weights_of_the_best_leave_the_others_alone(tmp_path):
    """Of trials that all lack weights, as most do, only the best runs again."""
    oracle = new_oracle(tmp_path)
    drive(oracle, steps=7)
    ranked = best_first(oracle)
    for trial_id in ranked:
        oracle.store.weights_file(trial_id).unlink(missing_ok=True)
    again = new_oracle(tmp_path, run="next")
    assert set(ranked) - set(best_first(again)) == {ranked[0]}


ADD = ({"batch_size": 64}, {"batch_size": 128})


def with_settings(directory):
    """Return the settings of a search that has begun in a directory."""
    settings = settings_of(directory, add=ADD)
    write_json(directory / "search.json", settings.to_json())
    drive(new_oracle(directory, add=ADD), steps=6)
    return settings


@pytest.mark.parametrize("how", [*WRONG, "missing"])
def test_damaged_settings_are_rebuilt_from_the_records(tmp_path, how):
    """A search.json that is damaged or gone comes back, with the points added."""
    settings, messages = with_settings(tmp_path), []
    file = tmp_path / "search.json"
    lose(file, how)
    damage(tmp_path / "trial_02" / "trial.json")  # The last; others have them, too.
    rebuilt = read_settings(Store(tmp_path), messages.append)
    assert rebuilt == settings
    assert rebuilt.add == ADD
    assert messages[-1] == f"Rebuilt: {file}."
    assert len(messages) == (1 if how == "missing" else 2)
    assert not file.exists()
    assert aside(tmp_path) == ([] if how == "missing" else ["search.json.damaged-1"])


def test_settings_are_lost_with_every_record(tmp_path):
    """If all that has the settings is damaged, the search is refused; nothing moves."""
    with_settings(tmp_path)
    for file in [tmp_path / "search.json", *tmp_path.glob("trial_*/trial.json")]:
        damage(file)
    before = files_of(tmp_path)
    match = rf"rebuilt from the trials' records; received {tmp_path}, where all of th"
    with pytest.raises(StoreError, match=match):
        read_settings(Store(tmp_path), print)
    assert files_of(tmp_path) == before


def test_damaged_settings_of_a_search_without_trials_are_set_aside(tmp_path):
    """Before the first trial nothing is lost: the command's settings count."""
    assert read_settings(Store(tmp_path), print) is None
    (tmp_path / "search.json").write_text("{")
    assert read_settings(Store(tmp_path), print) is None
    assert aside(tmp_path) == ["search.json.damaged-1"]


def test_settings_of_another_version_are_completed(tmp_path):
    """A search.json that lacks a setting has its default; one more is ignored."""
    stored = settings_of(tmp_path).to_json()
    del stored["start_with"]
    write_json(tmp_path / "search.json", {**stored, "colour": "blue"})
    same = settings_of(tmp_path)
    assert read_settings(Store(tmp_path), print) == same
    assert resumed(same, same, Store(tmp_path)) == same


def test_lost_failures_fail_again(tmp_path):
    """A failed trial whose record is lost runs, and counts, once more."""
    oracle = new_oracle(tmp_path, tune=TUNE)
    end(oracle, oracle.suggest("worker-0").trial)
    end(oracle, oracle.suggest("worker-0").trial, FAILED)
    end(oracle, oracle.suggest("worker-0").trial)
    expected = read_json(oracle.store.trial_file("1"))["values"]
    damage(oracle.store.trial_file("1"))
    again = new_oracle(tmp_path, run="next")
    assert again.suggest("worker-0").values == expected
    end(again, "1", FAILED)
    assert [status for _, status, _ in new_oracle(tmp_path).progress()["ended"]] == [
        *("COMPLETED", "COMPLETED", "FAILED")
    ]
