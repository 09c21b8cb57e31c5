"""What `status` shows of a search's rows: counts, the best, what runs and failed."""

from __future__ import annotations

from tuning import SearchSettings
from tuning.store.layout import Store
from tuning.view import status as view
from tuning.view.status import leaderboard


def row(trial, status="COMPLETED", score=0.5, failure=None, history=(), **values):
    """Return a row as `read_results` returns it."""
    return {
        "trial": trial,
        "status": status,
        "score": score,
        "parameters": 12345,
        "multiply_adds": 678900,
        "seconds": 1.25,
        "best_epoch": 0,
        "first_epoch": 3,
        "planned_epochs": 9,
        "epochs": len(history),
        "history": {"val_accuracy": list(history)},
        "hyperparameters": values,
        "failure": failure,
    }


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


def test_status_tells_of_what_runs_and_what_failed(tmp_path, monkeypatch):
    """Trials are counted; those that run have epochs and score, failures a reason."""
    rows = [
        row("0"),
        row("1", status="RUNNING", score=None, history=(0.25, 0.5)),
        row("2", status="FAILED", score=None, failure="Traceback:\n x\nBad: news\n"),
        row("3", status="FAILED", score=None),
        row("4", status="PRUNED", score=0.9),
    ]
    monkeypatch.setattr(view, "read_results", lambda store: rows)
    (tmp_path / "a").write_bytes(bytes(3 * 2**19))
    shown = view.status(SearchSettings(trials=7), Store(tmp_path))
    heading, empty, _, best, *rest = shown.splitlines()
    assert heading == (
        "random search on digits: 5 of 7 trials begun; 1 completed, 1 pruned, 2 "
        "failed, 1 running; 1.5 MiB on disk"
    )
    assert empty == ""
    assert best.split()[:3] == ["1", "0", "0.5000"]
    assert rest == [
        "",
        "trial 1 runs: 5 of 9 epochs, val_accuracy 0.5000",
        "",
        "trial 2 failed:",
        "Bad: news",
        "",
        "trial 3 failed:",
        "its traceback is gone",
    ]
    blank = [row("0", status="FAILED", score=None, failure=" \n")]
    monkeypatch.setattr(view, "read_results", lambda store: blank)
    shown = view.status(SearchSettings(), Store(tmp_path))
    assert shown.endswith("trial 0 failed:\nits traceback is gone")
    damaged = [{**row("0"), "status": "DAMAGED"}]
    monkeypatch.setattr(view, "read_results", lambda store: damaged)
    assert "0 running, 1 damaged;" in view.status(SearchSettings(), Store(tmp_path))
