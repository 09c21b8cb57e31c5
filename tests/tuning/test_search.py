"""run_search: from settings to the best model, here and by the command line."""

from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from small_trials import Quick

from alexnet import AlexNet
from tuning import SearchError, SearchSettings, run_search
from tuning.search import Search
from tuning.settings import DataFacts
from tuning.space.search_space import SearchSpace
from tuning.store.files import StoreError
from tuning.store.layout import Store
from tuning.store.lock import locked

# KerasTuner calls threading.currentThread().getName().
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]
ROOT = Path(__file__).resolve().parents[2]
PATH = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")])
OPTIONS = {
    "model": "small_trials:Quick",
    "validation_fraction": 0.9,
    "trials": 3,
    "epochs": 1,
    "workers": 0,
    "seed": 5,
    "tune": ("batch_size", "dropout", "optimizer"),
}
LOAD = """
import sys
import alexnet
import keras
from alexnet.data.images import load_images
data = load_images("digits", seed=5, validation_fraction=0.9)
model = keras.saving.load_model(sys.argv[1])
print(model.evaluate(data.x_val, data.y_val, verbose=0, return_dict=True)["accuracy"])
"""


def python(*arguments, cwd=ROOT, timeout=200):
    """Run Python in a process of its own; return the finished process."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={"PATH": "", "PYTHONPATH": PATH, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def rows_of(directory):
    """Return the rows of results.csv."""
    with (Path(directory) / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Return a search of three small trials that ran in this process."""
    directory = tmp_path_factory.mktemp("here") / "search"
    return run_search(SearchSettings(directory=directory, **OPTIONS))


@pytest.fixture(scope="module")
def by_command(tmp_path_factory):
    """Return the same search by the command line: the process and its directory."""
    folder = tmp_path_factory.mktemp("command")
    options = []
    for name, value in OPTIONS.items():
        text = ",".join(value) if isinstance(value, tuple) else value
        options += [f"--{name.replace('_', '-')}", text]
    done = python("-m", "tuning", "search", "--directory", "s", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done, folder / "s"


def test_results_have_a_row_per_trial(here):
    """results.csv has one row per trial with all that is known of it."""
    rows = rows_of(here.directory)
    assert [row["trial"] for row in rows] == ["0", "1", "2"]
    # As the search is over.
    space = SearchSpace(SearchSettings(**OPTIONS), DataFacts((8, 8, 1), 10, None))
    for row, result in zip(rows, here.rows, strict=True):
        assert row["status"] == "COMPLETED"
        assert 0 <= float(row["score"]) <= 1
        assert int(row["parameters"]) > 9_000
        assert int(row["multiply_adds"]) > int(row["parameters"])
        assert float(row["seconds"]) > 0
        assert float(row["score"]) == result["score"]
        for name, value in result["hyperparameters"].items():
            assert row[name] == str(value)
        active = set(result["hyperparameters"])
        assert (
            active
            <= {hp.name for hp in space.entries}
            <= {*row, *active} | {hp.name for hp in space.entries if hp.conditions}
        )
    first = {name: rows[0][name] for name in space.default}
    assert first == {name: str(value) for name, value in space.default.items()}


def test_result_is_the_best_trial(here):
    """The result is the trial with the best score, with its values."""
    scores = {row["trial"]: row["score"] for row in here.rows}
    assert here.score == scores[here.trial] == max(scores.values())
    stored = json.loads((here.directory / "best" / "hyperparameters.json").read_text())
    assert (
        stored == here.hyperparameters == here.rows[int(here.trial)]["hyperparameters"]
    )
    assert here.leaderboard.splitlines()[1].split()[1] == here.trial


def test_best_model_scores_the_same_elsewhere(tmp_path):
    """A fresh process that imports alexnet alone gets the score that was reported."""
    options = {**OPTIONS, "model": AlexNet, "trials": 1}
    result = run_search(SearchSettings(directory=tmp_path, **options))
    done = python("-c", LOAD, result.directory / "best" / "model.keras")
    assert done.returncode == 0, done.stderr
    # Tolerance: a float32 is printed and read.
    assert float(done.stdout) == pytest.approx(result.score, abs=1e-6)
    assert result.reloaded_score == pytest.approx(result.score, abs=1e-6)
    assert isinstance(result.load_model(), AlexNet)


def test_same_seed_same_search(here, by_command):
    """One seed gives the same trials and scores in another process, to the bit."""
    _, directory = by_command
    ours, theirs = (
        [{k: v for k, v in row.items() if k != "seconds"} for row in rows_of(of)]
        for of in (here.directory, directory)
    )
    assert ours == theirs


def test_command_tells_how_far_it_is(by_command):
    """The command prints the search, a line per trial, the leaderboard, the files."""
    done, directory = by_command
    lines = done.stdout.splitlines()
    assert lines[0].startswith(
        "random search of Quick on digits: 179 training and 1,618 validation images"
    )
    rows = rows_of(directory)
    ended = [line for line in lines if "  completed  " in line]
    for number, line in enumerate(ended, start=1):
        score = float(rows[number - 1]["score"])
        best = max(float(row["score"]) for row in rows[:number])
        assert line.startswith(
            f"trial {number - 1}  completed  val_accuracy {score:.4f}  "
            f"[{number} of 3 done, best {best:.4f}"
        )
        assert (" left]" in line) == (number < 3)
    assert len(ended) == 3
    assert f"Best: trial {best_of(rows)}" in done.stdout
    for file in ("best/model.keras", "best/hyperparameters.json", "results.csv"):
        assert f"s/{file}" in done.stdout
        assert (directory / file).exists()
    *_, look, use, more = lines
    assert look.endswith("  python -m tuning status s")
    assert use.endswith("  python -m tuning best s")
    assert more.endswith(f"  {shlex.join(['python', *done.args[1:]])} --trials 6")
    assert done.stderr == ""


def best_of(rows):
    """Return the best trial's id."""
    return max(rows, key=lambda row: float(row["score"]))["trial"]


def test_status_and_best_show_a_search(by_command):
    """`status` counts the trials and ranks them; `best` shows the best values."""
    _, directory = by_command
    rows = rows_of(directory)
    status = python("-m", "tuning", "status", directory)
    assert status.returncode == 0, status.stderr
    assert status.stdout.startswith(
        "random search on digits: 3 of 3 trials begun; 3 completed, 0 pruned, "
        "0 failed, 0 running; "
    )
    assert status.stdout.count("adamw") + status.stdout.count("sgd") == 3
    best = python("-m", "tuning", "best", directory)
    assert best.returncode == 0, best.stderr
    assert best.stdout.startswith(f"trial {best_of(rows)}: val_accuracy 0.")
    assert f"load_model('{directory}/best/model.keras')" in best.stdout
    assert "  batch_size " in best.stdout


def test_a_finished_search_runs_no_trial_again(here, capsys):
    """The same settings again only write the results again."""
    store = Store(here.directory)
    files = [store.trial_file(trial) for trial in "012"]
    before = [file.stat().st_mtime_ns for file in files]
    table = store.results_file.read_bytes()
    capsys.readouterr()
    again = run_search(SearchSettings(directory=here.directory, **OPTIONS))
    assert [file.stat().st_mtime_ns for file in files] == before
    assert store.results_file.read_bytes() == table
    assert (again.trial, again.score) == (here.trial, here.score)
    assert "3 of 3 trials are done" in capsys.readouterr().out


def test_other_settings_are_refused_with_the_difference(here):
    """A directory is refused with other settings than its own, which are named."""
    stored = (here.directory / "search.json").read_bytes()
    with pytest.raises(
        StoreError,
        match=r"differs in seed: 5 there, 6 here; trials: 3 there, 2 here, and they ",
    ):
        run_search(
            SearchSettings(
                directory=here.directory, **{**OPTIONS, "trials": 2, "seed": 6}
            )
        )
    assert (here.directory / "search.json").read_bytes() == stored


def test_impossible_limits_are_refused_before_anything_starts(tmp_path):
    """Limits that no values meet leave no directory behind."""
    settings = {**OPTIONS, "tune": ("batch_size",), "max_parameters": 1000}
    with pytest.raises(ValueError, match=r"max_parameters=1000 .*fewest parameters"):
        run_search(SearchSettings(directory=tmp_path / "search", **settings))
    assert not (tmp_path / "search").exists()


def test_a_directory_in_use_is_refused_and_stays_in_use(tmp_path):
    """A search that is refused leaves the lock of the one that runs in place."""
    store = Store(tmp_path)
    settings = SearchSettings(directory=tmp_path, **OPTIONS)
    with locked(store):
        for _ in range(2):
            with pytest.raises(StoreError, match="one search at a time"):
                run_search(settings)


@keras.saving.register_keras_serializable(package="test_search")
class Fixable(Quick):
    """Fails in training until it is fixed."""

    is_broken = True
    ranges = {**Quick.ranges, "batch_size": (128,)}

    def before_step(self, data):
        """Fail, unless it is fixed."""
        if self.is_broken:
            raise RuntimeError("a bug in the model")


def test_a_broken_model_stops_the_search_and_resumes_once_fixed(tmp_path, monkeypatch):
    """Three failures stop a search with the traceback; once fixed, it resumes."""
    monkeypatch.setattr(Fixable, "is_broken", True)
    settings = small(tmp_path, trials=4)
    with pytest.raises(
        SearchError,
        match=r"(?s)Every trial failed \(3 of 4 were run\).*Traceback.*a bug in the mo",
    ):
        run_search(settings)
    assert [row["status"] for row in rows_of(tmp_path)] == ["FAILED"] * 3
    monkeypatch.setattr(Fixable, "is_broken", False)
    result = run_search(settings)
    assert [row["status"] for row in rows_of(tmp_path)] == ["COMPLETED"] * 4
    assert not list(tmp_path.glob("trial_*/error.txt"))
    assert result.score == max(row["score"] for row in result.rows)


def test_pruned_trials_are_not_called_failed(tmp_path):
    """Without a completed trial, the message counts as failed only what failed."""
    rows = [
        {"trial": "0", "status": "FAILED", "failure": "Bad: news", "score": None},
        {"trial": "1", "status": "PRUNED", "failure": None, "score": 0.5},
    ]
    settings = SearchSettings(directory=tmp_path, **OPTIONS)
    search = Search(settings, Store(tmp_path), None, None, None, [])
    with pytest.raises(
        SearchError,
        match=r"2 of 3 trials, of which 1 failed and none completed; .*\nBad: news",
    ):
        search._best_of(rows)


def small(directory, **settings):
    """Return settings of a search of small networks that train in a second."""
    fixed = {"directory": directory, "model": Fixable, "tune": ("weight_decay",)}
    return SearchSettings(**{**OPTIONS, "trials": 2, **fixed, **settings})


def scores_of(result):
    """Return each trial's score by its id."""
    return {row["trial"]: row["score"] for row in result.rows}


def test_a_search_grows_and_survives_damage(tmp_path, monkeypatch, capsys):
    """More trials and added values run next; damaged files cost nothing but a rerun."""
    monkeypatch.setattr(Fixable, "is_broken", False)
    first = scores_of(run_search(small(tmp_path)))
    added = {"weight_decay": 1.5e-4}
    more = run_search(small(tmp_path, trials=3, add=(added,)))
    scores = scores_of(more)
    assert list(scores) == ["0", "1", "2", "3"]
    assert {trial: scores[trial] for trial in first} == first
    assert more.rows[2]["hyperparameters"]["weight_decay"] == 1.5e-4
    stored = json.loads((tmp_path / "search.json").read_text())
    assert (stored["trials"], stored["add"]) == (3, [added])

    with pytest.raises(StoreError, match="trials: 3 there, 2 here, and they may only"):
        run_search(small(tmp_path))
    worst = min(scores, key=lambda trial: scores[trial])
    assert worst != more.trial
    store = Store(tmp_path)
    table = store.results_file.read_text()
    records = [store.trial_file(t).stat().st_mtime_ns for t in "0123"]
    for file in (
        store.settings_file,
        store.results_file,
        store.trial_file(worst),
        store.best_model_file,
        store.weights_file(more.trial),
    ):
        file.write_bytes(file.read_bytes()[:-20])
    capsys.readouterr()
    again = run_search(small(tmp_path, trials=3, add=(added,)))
    output = capsys.readouterr().out
    assert len(list(tmp_path.rglob("*.damaged-1"))) == 3
    for name in ("search.json", f"_{worst}/trial.json", "weights.npz"):
        assert output.count(f"{name}. It is set aside as") == 1
    # One lost its record, the other its weights.
    run_again = {worst, more.trial}
    for trial, before in zip("0123", records, strict=True):
        is_new = store.trial_file(trial).stat().st_mtime_ns != before
        assert is_new == (trial in run_again)
    # Tolerance: of the order of sums, which threads may change.
    assert scores_of(again) == pytest.approx(scores, abs=1e-6)
    assert again.reloaded_score == pytest.approx(again.score, abs=1e-6)
    assert without_seconds(store.results_file.read_text()) == without_seconds(table)


def without_seconds(text):
    """Return the rows of a table but for their seconds."""
    rows = csv.DictReader(text.splitlines())
    return [{name: row[name] for name in row if name != "seconds"} for row in rows]
