"""Results: rows of a directory's trials, their ranking and the leaderboard."""

from __future__ import annotations

import pytest
from tuning.store.directory import Store, write_json

from tuning.store.results import leaderboard, ranked, read_results, table


def row(trial, status="COMPLETED", score=0.5, **hyperparameters):
    """Return a row as `read_results` gives it."""
    return {
        "trial": trial,
        "status": status,
        "score": score,
        "parameters": 12345,
        "multiply_adds": 678900,
        "seconds": 1.25,
        "best_epoch": 0,
        "hyperparameters": hyperparameters,
    }


@pytest.fixture
def store(tmp_path):
    """Return a directory with a trial that ended, one that runs and one that failed."""
    store = Store(tmp_path)
    for trial, status, score in (
        ("0", "COMPLETED", 0.5),
        ("1", "RUNNING", None),
        ("2", "FAILED", None),
    ):
        write_json(
            store.trial_file(trial),
            {
                "trial_id": trial,
                "status": status,
                "score": score,
                "metrics": {"metrics": {}},
                "hyperparameters": {"values": {"batch_size": 16 + int(trial)}},
            },
        )
    write_json(
        store.record_file("0"),
        {
            "parameters": 9,
            "multiply_adds": 8,
            "seconds": 7.5,
            "best_epoch": 1,
            "history": {},
        },
    )
    return store


def test_reads_a_row_per_trial(store):
    """Each trial is a row; what a trial has not come to is None."""
    rows = read_results(store)
    assert [(r["trial"], r["status"], r["score"]) for r in rows] == [
        ("0", "COMPLETED", 0.5),
        ("1", "RUNNING", None),
        ("2", "FAILED", None),
    ]
    assert rows[0]["parameters"] == 9
    assert rows[0]["multiply_adds"] == 8
    assert rows[0]["seconds"] == 7.5
    assert rows[0]["best_epoch"] == 1
    assert rows[1]["parameters"] is None
    assert rows[1]["hyperparameters"] == {"batch_size": 17}


def test_table_has_a_column_per_hyperparameter(store):
    """In the table each hyperparameter is a column, and nothing else is lost."""
    flat = table(read_results(store))
    assert [r["batch_size"] for r in flat] == [16, 17, 18]
    assert {*flat[0]} == {*read_results(store)[0], "batch_size"} - {
        *("history", "hyperparameters")
    }


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
    ]
    assert "".join(r["trial"] for r in ranked(rows, objective)) == order


def test_leaderboard_shows_the_best():
    """The leaderboard has a line per trial, best first, at most as many as asked."""
    rows = [
        row("0", score=0.5, filters_1=16, filters_2=32, optimizer="sgd"),
        row("1", score=0.75, use_lrn=True, optimizer="adamw", adamw_learning_rate=1e-3),
        row("2", score=0.25),
    ]
    lines = leaderboard(rows, "val_accuracy", most=2).splitlines()
    assert len(lines) == 3
    assert lines[0].split() == [
        *("trial", "val_accuracy", "parameters", "multiply-adds", "seconds", "network")
    ]
    assert lines[1].split() == [
        *("1", "1", "0.7500", "12,345", "678,900", "1.2", "LRN", "adamw", "1.0e-03")
    ]
    assert lines[2].split()[6:] == ["16-32", "filters", "sgd"]


def test_leaderboard_without_trials_has_a_heading():
    """With no completed trial there is only the heading."""
    assert len(leaderboard([row("0", status="RUNNING")], "val_loss").splitlines()) == 1
