"""A search on a Ray of its own: Ctrl-C, hanging trials, isolation, a killed driver."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shlex
import signal
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from driven_oracle import new_oracle
from search_process import (
    check_complete,
    descendants,
    finish,
    kill,
    rows_of,
    start,
    statuses,
    wait_for,
)

from tuning.cluster.session import local_ray
from tuning.store.layout import Store
from tuning.store.results import read_results
from tuning.trial import checkpoints

pytestmark = pytest.mark.cluster
OPTIONS = ["--directory", "s", "--model", "small_nets:Slow", "--workers", "2"]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """Return a search that Ctrl-C stops in trials that would not end, and resumed."""
    folder = tmp_path_factory.mktemp("interrupted")
    options = ["--directory", "s", "--model", "small_nets:Gated", "--workers", "2"]
    process = start(folder, *options, "--trials", 4, "--epochs", 2)
    store, seen = Store(folder / "s"), {}
    try:
        wait_for(lambda: all(store.checkpoint_file(t).exists() for t in "01"), process)
        children = descendants(process)
        command_lines = " ".join(" ".join(child.cmdline()) for child in children)
        seen["folders"] = set(re.findall(r"/tmp/alexnet-\w+", command_lines))
        assert all(Path(folder).is_dir() for folder in seen["folders"])
        os.killpg(process.pid, signal.SIGINT)
        seen["done"] = finish(process)
        seen["left"] = [child for child in children if child.is_running()]
        seen["epochs"] = [row["epochs"] for row in read_results(store)]
    finally:
        finish(process)
    return folder, seen


def test_ctrl_c_stops_in_mid_trial_and_says_how_to_resume(interrupted):
    """Ctrl-C waits for no trial: status 130, and the command that resumes."""
    _, seen = interrupted
    status, output, errors = seen["done"]
    assert (status, errors) == (130, "")
    assert seen["epochs"] == [1, 1]
    assert "Stopped. What has ended is in s; the same command resumes:" in output


def test_ctrl_c_leaves_nothing_behind(interrupted):
    """After Ctrl-C no process of the search runs and its temporary folder is gone."""
    _, seen = interrupted
    assert seen["left"] == []
    assert len(seen["folders"]) == 1
    assert not any(Path(folder).exists() for folder in seen["folders"])


def test_the_same_command_resumes(interrupted):
    """The command that Ctrl-C shows ends the search, each trial from where it was."""
    folder, seen = interrupted
    for name in ("go", "steps"):
        (folder / name).touch()
    command = shlex.split(seen["done"][1].strip().splitlines()[-1])
    assert command[:4] == ["python", "-m", "tuning", "search"]
    status, _, errors = finish(start(folder, *command[4:]))
    assert (status, errors) == (0, "")
    check_complete(folder, 4)
    steps = len((folder / "steps").read_text().splitlines())
    assert steps == 2 * 12 + 2 * 2 * 12  # Two trials' second epoch; two whole trials.


def test_isolated_trials_have_processes_of_their_own(tmp_path):
    """With --isolate-trials each trial has a new process, with --cpus-per-trial."""
    (tmp_path / "pids").touch()
    options = ["--directory", "s", "--model", "small_nets:Slow", "--workers", "1"]
    options += ["--trials", "2", "--epochs", "1", "--cpus-per-trial", "1"]
    process = start(tmp_path, *options, "--isolate-trials")
    status, _, errors = finish(process)
    assert (status, errors) == (0, "")
    assert statuses(tmp_path) == dict.fromkeys("01", "COMPLETED")
    lines = [line.split() for line in (tmp_path / "pids").read_text().splitlines()]
    # The search's own process makes the best model.
    workers = {pid: threads for pid, threads in lines if int(pid) != process.pid}
    assert list(workers.values()) == ["1", "1"]


@pytest.mark.parametrize(
    "trials", [3, pytest.param(7, marks=pytest.mark.slow, id="more than may die")]
)
def test_a_trial_that_hangs_ends_its_process_and_no_other_trial(tmp_path, trials):
    """Trials that hang fail, however many; the first, which does not, completes."""
    options = ["--directory", "s", "--model", "small_nets:Hanging", "--workers", "1"]
    options += ["--trial-timeout", "8", "--tune", "dropout", "--seed", "3"]
    process = start(tmp_path, *options, "--trials", trials, "--epochs", 1)
    status, _, errors = finish(process)
    assert (status, errors) == (0, "")
    hung = 0
    for row in rows_of(tmp_path):
        hangs = abs(float(row["dropout"]) - 0.3) > 0.01
        hung += hangs
        assert row["status"] == ("FAILED" if hangs else "COMPLETED")
        assert row["notes"] == ("no progress" if hangs else "")
        error = tmp_path / "s" / f"trial_{row['trial']}" / "error.txt"
        assert error.exists() == hangs
        if hangs:
            assert "sleep(1000)" in error.read_text()
    assert trials - 2 <= hung < trials


def test_a_task_that_is_always_out_of_memory_ends(monkeypatch, tmp_path):
    """Ray runs no task again whose process it ended for its memory.

    With retries it would do so for ever.
    """
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.001")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    notes = tmp_path / "notes"

    def run():
        with notes.open("a") as file:
            print("begun", file=file)
        time.sleep(600)

    with local_ray() as ray:
        task = ray.remote(max_retries=0)(run).remote()
        with pytest.raises(ray.exceptions.OutOfMemoryError):
            ray.get(task, timeout=200)
    assert notes.read_text().splitlines() == ["begun"]


def kill_driver(process):
    """Kill a search's own process with SIGKILL; Ray's end by themselves, later."""
    process.kill()
    process.wait()


def kill_all(process):
    """Kill a search and every process below it with SIGKILL."""
    for victim in [*descendants(process), psutil.Process(process.pid)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    process.wait()


KILLS = {
    "worker": partial(kill, name="ray::run_trial"),
    "oracle": partial(kill, name="ray::OracleService"),
    "driver": kill_driver,
    "all": kill_all,
}


@pytest.mark.parametrize(
    ("kills", "trials"),
    [(6, 6), pytest.param(20, 24, marks=pytest.mark.slow)],
)
def test_chaos_costs_no_trial(tmp_path, monkeypatch, kills, trials):
    """Killed at random, a search ends with each of its trials, once.

    What had ended is kept as it is; nothing is left of the runs that were killed.
    """
    command = [*OPTIONS, "--trials", trials, "--epochs", 3]
    rng = random.Random(2012)
    victims = [*KILLS, *rng.choices(list(KILLS), k=kills - len(KILLS))]
    rng.shuffle(victims)
    store, processes, folders = Store(tmp_path / "s"), [], set()
    ended = {}
    with (tmp_path / "log").open("w+") as log:
        try:
            for victim in [*victims, None]:
                if not processes or processes[-1].poll() is not None:
                    processes.append(start(tmp_path, *command, stdout=log))
                process = processes[-1]
                if victim is None:
                    break
                wait_for(partial(descendants, process, "ray::run_trial"), process)
                folders.add(Path(store.ray_file.read_text()))
                time.sleep(rng.uniform(0, 2))
                KILLS[victim](process)
                for trial, status in statuses(tmp_path).items():
                    if status == "COMPLETED":
                        file = store.trial_file(trial)
                        ended.setdefault(trial, file.read_bytes())
            status, _, errors = finish(process)
        finally:
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                process.stderr.close()
        log.seek(0)
        output = log.read()
    assert (status, errors) == (0, "")
    check_complete(tmp_path, trials)
    shown = re.findall(r"^trial (\d+)  completed", output, re.MULTILINE)
    assert len(shown) == len(set(shown))
    for trial, record in ended.items():
        assert store.trial_file(trial).read_bytes() == record
    assert not any(folder.exists() for folder in folders)
    # The values are an undisturbed oracle's.
    monkeypatch.setattr(checkpoints, "MOST_TIME", checkpoints.MOST_TIME)  # By `Slow`.
    search = {"model": "small_nets:Slow", "trials": trials, "tune": ()}
    oracle = new_oracle(tmp_path / "undisturbed", **search)
    expected = [oracle.suggest(f"worker-{number}").values for number in range(trials)]
    assert [row["hyperparameters"] for row in read_results(store)] == expected
