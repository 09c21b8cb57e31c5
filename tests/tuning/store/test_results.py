"""Results: the rows of a directory's trials, and their ranking."""

from __future__ import annotations

import pytest
from driven_oracle import FAILED, end, files_of, new_oracle

from tuning.store.objective import Objective
from tuning.store.records import Result
from tuning.store.results import ranked, read_results, table


@pytest.fixture
def oracle(tmp_path):
    """Return an oracle with a trial that ended, one that runs and one that failed."""
    oracle = new_oracle(tmp_path)
    for worker in range(3):
        oracle.suggest(f"worker-{worker}")
    oracle.report("0", {"val_accuracy": [0.25, 0.5], "loss": [2.0, 1.0]})
    cost = {"parameters": 9, "multiply_adds": 8}
    notes = ("one", "two")
    oracle.end("0", Result(best_epoch=1, seconds=7.5, notes=notes, **cost))
    oracle.report("1", {"val_accuracy": [0.75]})
    end(oracle, "2", FAILED)
    return oracle


def test_reads_a_row_per_trial(oracle):
    """Each trial is a row; what is not known of a trial is None."""
    rows = read_results(oracle.store)
    assert [(r["trial"], r["status"], r["score"]) for r in rows] == [
        ("0", "COMPLETED", 0.5),
        ("1", "RUNNING", None),
        ("2", "FAILED", None),
    ]
    assert rows[0]["parameters"] == 9
    assert rows[0]["multiply_adds"] == 8
    assert rows[0]["seconds"] == 7.5
    assert rows[0]["best_epoch"] == 1
    assert rows[0]["notes"] == "one; two"
    assert rows[0]["history"] == {"val_accuracy": [0.25, 0.5], "loss": [2.0, 1.0]}
    assert [row["epochs"] for row in rows] == [2, 1, 0]
    assert [row["planned_epochs"] for row in rows] == [3, 3, 3]
    assert rows[1]["parameters"] is rows[1]["failure"] is None
    assert rows[1]["hyperparameters"] == oracle.records["1"].values
    assert rows[2]["failure"] == "it failed\n"


def test_hyperbands_rows_say_what_they_continue(tmp_path):
    """A promoted trial's row has its first epoch and the trial that it continues."""
    oracle = new_oracle(tmp_path, "hyperband")
    while oracle.suggest("worker-0").continues is None:
        (running,) = oracle.progress()["running"]
        end(oracle, running)
    row = read_results(oracle.store)[-1]
    parent = read_results(oracle.store)[int(row["continues"])]
    assert (row["first_epoch"], row["planned_epochs"]) == (1, 3)
    assert parent["planned_epochs"] == 1
    assert parent["hyperparameters"] == row["hyperparameters"]


def test_damaged_trials_are_shown_and_stay(oracle):
    """Reading results changes nothing; a damaged trial is a row that says so."""
    store = oracle.store
    store.trial_file("1").write_text("{")
    before = files_of(store.root)
    rows = read_results(store)
    assert [row["status"] for row in rows] == ["COMPLETED", "DAMAGED", "FAILED"]
    assert {*rows[1]} == {*rows[0]}
    assert rows[1]["hyperparameters"] == rows[1]["history"] == {}
    assert files_of(store.root) == before
    assert len(table(rows)) == 3


def test_table_has_a_column_per_hyperparameter(oracle):
    """In the table each hyperparameter is a column, and nothing flat is lost."""
    rows = read_results(oracle.store)
    flat = table(rows)
    assert [r["batch_size"] for r in flat] == [
        record.values["batch_size"] for record in oracle.records.values()
    ]
    names = {name for row in rows for name in row["hyperparameters"]}
    nested = {"history", "hyperparameters", "failure"}
    planned = {"first_epoch", "planned_epochs"}
    columns = {name for row in flat for name in row}
    assert columns == {*rows[0], *names} - nested - planned


def row(trial, status="COMPLETED", score=0.5):
    """Return what of a row its rank depends on."""
    return {"trial": trial, "status": status, "score": score}


@pytest.mark.parametrize(
    ("objective", "order"), [("val_accuracy", "1203"), ("val_loss", "0231")]
)
def test_ranks_completed_trials(objective, order):
    """The best comes first, of equals the earlier; others than completed are out."""
    rows = [
        row("0", score=0.2),
        row("1", score=0.9),
        row("2", score=0.4 if objective == "val_accuracy" else 0.2),
        row("3", score=0.2 if objective == "val_accuracy" else 0.4),
        row("4", status="FAILED", score=None),
        row("5", status="RUNNING", score=None),
        row("6", status="PRUNED", score=2.0),
    ]
    assert "".join(r["trial"] for r in ranked(rows, objective)) == order


@pytest.mark.parametrize(
    ("name", "order"), [("val_accuracy", "1203"), ("val_loss", "3021")]
)
def test_records_are_ranked_as_their_rows(tmp_path, name, order):
    """Records and rows have one order; equals are as they began, whoever ended first.

    Numbers of ids count: 10 is after 9.
    """
    scores = {"0": 0.25, "1": 0.75, "2": 0.5, "3": 0.125}
    oracle = new_oracle(tmp_path, objective=name)
    for worker in range(5):
        oracle.suggest(f"worker-{worker}")
    for trial, score in reversed(scores.items()):
        end(oracle, trial, score=score)
    objective = Objective(name)
    found = objective.ranked(reversed(oracle.records.values()))
    assert "".join(record.trial for record in found) == order
    rows = ranked(read_results(oracle.store), name)
    assert "".join(r["trial"] for r in rows) == order
    assert objective.best([*scores.values()]) == scores[order[0]]
    assert objective.better(scores[order[0]], scores[order[1]])
    assert not objective.better(0.5, 0.5)
    same = [r.replace(score=0.5) for r in oracle.records.values() if r.has_ended]
    twelve = [same[0].replace(trial=str(n)) for n in (10, 9, 2)]
    assert [r.trial for r in objective.ranked(twelve)] == ["2", "9", "10"]
