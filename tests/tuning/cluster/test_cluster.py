"""Ray: two workers on this machine, killed processes, Ctrl-C, and what is left."""

from __future__ import annotations

import os
import re
import shlex
import signal
import time
from pathlib import Path

import psutil
import pytest
from search_process import (
    NETS,
    descendants,
    finish,
    rows_of,
    start,
    statuses,
    wait_for,
)
from tuning.store.directory import Store, read_json

OPTIONS = ["--directory", "s", "--model", "nets:Slow", "--workers", "2"]
STOP_S = 10


def kill_at_work(process, name):
    """Kill a process of that title with SIGKILL, half a second from now."""
    victims = wait_for(lambda: descendants(process, name), process)
    time.sleep(0.5)
    victims[0].send_signal(signal.SIGKILL)
    return victims[0].pid


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """Return a search whose worker and whose oracle are killed while trials run."""
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "nets.py").write_text(NETS)
    process = start(folder, *OPTIONS, "--trials", 6, "--epochs", 2)
    seen = {}
    try:
        wait_for(lambda: "RUNNING" in statuses(folder).values(), process)
        seen["addresses"] = {
            connection.laddr.ip
            for child in [psutil.Process(process.pid), *descendants(process)]
            for connection in child.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        seen["worker"] = kill_at_work(process, "ray::run_worker")
        wait_for(lambda: "COMPLETED" in statuses(folder).values(), process)
        seen["oracle"] = kill_at_work(process, "ray::OracleService")
    finally:
        seen["done"] = finish(process)
    return folder, seen


def test_killed_processes_cost_no_trial(faulty):
    """With a worker and the oracle killed in mid-trial, all trials end, each once."""
    folder, seen = faulty
    status, output, errors = seen["done"]
    assert (status, errors) == (0, "")
    rows = rows_of(folder)
    assert [row["trial"] for row in rows] == [str(n) for n in range(6)]
    assert {row["status"] for row in rows} == {"COMPLETED"}
    ended = re.findall(r"^trial (\d)  completed", output, re.MULTILINE)
    assert sorted(ended) == [row["trial"] for row in rows]
    for row in rows:
        record = read_json(folder / "s" / f"trial_{row['trial']}" / "record.json")
        assert record["epochs"] == [0, 1]
        assert max(record["history"]["val_accuracy"]) == float(row["score"])


def test_ray_listens_on_this_machine_alone(faulty):
    """No process of a search listens on an address that others can reach."""
    _, seen = faulty
    assert seen["addresses"]
    for address in seen["addresses"]:
        assert address.removeprefix("::ffff:") in ("127.0.0.1", "::1")


def test_workers_share_one_search(faulty):
    """Two workers run trials of a model from the current directory at once."""
    folder, seen = faulty
    output = seen["done"][1]
    assert "random search of Slow on digits" in output
    best = max(rows_of(folder), key=lambda row: float(row["score"]))
    assert f"Best: trial {best['trial']} with val_accuracy" in output
    assert (folder / "s" / "best" / "model.keras").exists()


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """Return a search that Ctrl-C stops while trials run, and that is resumed."""
    folder = tmp_path_factory.mktemp("interrupted")
    (folder / "nets.py").write_text(NETS)
    process = start(folder, *OPTIONS, "--trials", 4, "--epochs", 3)
    seen = {}
    try:
        wait_for(lambda: "COMPLETED" in statuses(folder).values(), process)
        children = descendants(process)
        seen["folders"] = set(
            re.findall(
                r"/tmp/alexnet-\w+",
                " ".join(" ".join(child.cmdline()) for child in children),
            )
        )
        assert all(Path(folder).is_dir() for folder in seen["folders"])
        started = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        seen["done"] = finish(process, timeout=60)
        seen["seconds"] = time.monotonic() - started
        seen["left"] = [child for child in children if child.is_running()]
        seen["statuses"] = statuses(folder)
    finally:
        finish(process)
    return folder, seen


def test_ctrl_c_stops_soon_and_says_how_to_resume(interrupted):
    """Ctrl-C stops a search within ten seconds with status 130 and the command."""
    _, seen = interrupted
    status, output, errors = seen["done"]
    assert status == 130
    assert seen["seconds"] < STOP_S
    assert errors == ""
    assert "Stopped. What has ended is in s; the same command resumes:" in output


def test_ctrl_c_leaves_nothing_behind(interrupted):
    """After Ctrl-C no process of the search runs and its temporary folder is gone."""
    _, seen = interrupted
    assert seen["left"] == []
    assert len(seen["folders"]) == 1
    assert not any(Path(folder).exists() for folder in seen["folders"])


def test_the_same_command_resumes(interrupted):
    """The command that Ctrl-C shows ends the search: each trial once, none lost."""
    folder, seen = interrupted
    before = {t for t, status in seen["statuses"].items() if status == "COMPLETED"}
    records = {
        trial: (folder / "s" / f"trial_{trial}" / "record.json").read_bytes()
        for trial in before
    }
    command = shlex.split(seen["done"][1].strip().splitlines()[-1])
    assert command[:4] == ["python", "-m", "tuning", "search"]
    status, output, errors = finish(start(folder, *command[4:]))
    assert (status, errors) == (0, "")
    assert f"Going on: {len(before)} of 4 trials are done." in output
    rows = rows_of(folder)
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3"]
    assert {row["status"] for row in rows} == {"COMPLETED"}
    for trial, record in records.items():
        file = folder / "s" / f"trial_{trial}" / "record.json"
        assert file.read_bytes() == record


STEPS = """
import math
import keras
import nets
from tuning.trial import checkpoints

checkpoints.MOST_TIME = math.inf  # One after every epoch.

@keras.saving.register_keras_serializable(package="steps")
class Steps(nets.Slow):
    def train_step(self, data):
        with open("steps", "a") as file:
            print(end=".", file=file)
        return super().train_step(data)
"""


def test_a_killed_worker_goes_on_within_the_trial(tmp_path):
    """After kill -9 the trial goes on after its last epoch, to the very same score."""
    options = ["--directory", "s", "--model", "steps:Steps", "--tune", "dropout"]
    options += ["--trials", "1", "--epochs", "6"]
    folders = [tmp_path / "whole", tmp_path / "killed"]
    for folder in folders:
        folder.mkdir()
        (folder / "nets.py").write_text(NETS.replace("(0, 0)", "(1, 1)"))
        (folder / "steps.py").write_text(STEPS)
    process = start(folders[1], *options, "--workers", "1")
    checkpoint = Store(folders[1] / "s").checkpoint_folder("0") / "state.json"
    try:
        wait_for(checkpoint.exists, process)
        kill_at_work(process, "ray::run_worker")
        assert statuses(folders[1]) == {"0": "RUNNING"}
    finally:
        done = finish(process)
    assert (done[0], done[2]) == (0, "")
    status, _, errors = finish(start(folders[0], *options, "--workers", "0"))
    assert (status, errors) == (0, "")
    (whole,), (killed,) = map(rows_of, folders)
    # Tolerance: the promise; the processes may use other numbers of threads.
    assert float(killed["score"]) == pytest.approx(float(whole["score"]), abs=1e-5)
    assert killed["best_epoch"] == whole["best_epoch"]
    steps = [len((folder / "steps").read_text()) for folder in folders]
    assert steps[0] <= steps[1] < steps[0] * 7 / 6  # Less than an epoch is repeated.


COUNTED = """
import os
import keras
import nets

@keras.saving.register_keras_serializable(package="counted")
class Counted(nets.Slow):
    def compile(self, *args, **kwargs):
        if os.path.exists("pids"):
            with open("pids", "a") as file:
                print(os.getpid(), os.environ.get("OMP_NUM_THREADS"), file=file)
        super().compile(*args, **kwargs)
"""


@pytest.mark.parametrize(
    "is_isolated", [pytest.param(False, marks=pytest.mark.slow), True]
)
def test_isolated_trials_have_processes_of_their_own(tmp_path, is_isolated):
    """With --isolate-trials each trial has a new process, otherwise all have one.

    Each has as many threads as --cpus-per-trial says.
    """
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "counted.py").write_text(COUNTED)
    (tmp_path / "pids").write_text("")
    options = ["--directory", "s", "--model", "counted:Counted", "--workers", "1"]
    options += ["--trials", "2", "--epochs", "1", "--cpus-per-trial", "1"]
    options += ["--isolate-trials"] if is_isolated else []
    process = start(tmp_path, *options)
    status, _, errors = finish(process)
    assert (status, errors) == (0, "")
    assert statuses(tmp_path) == dict.fromkeys("01", "COMPLETED")
    lines = [line.split() for line in (tmp_path / "pids").read_text().splitlines()]
    # The search's own process makes the best model.
    workers = {pid: threads for pid, threads in lines if int(pid) != process.pid}
    assert list(workers.values()) == ["1"] * (2 if is_isolated else 1)


HANGING = """
import ctypes
import keras
import nets

@keras.saving.register_keras_serializable(package="hanging")
class Hanging(nets.Slow):
    @classmethod
    def search_space(cls, hp, image_shape):
        return super().search_space(hp, image_shape, num_dense=(1, 1))

    def train_step(self, data):
        if abs(self.dropout - 0.3) > {least}:  # Not at the default point.
            ctypes.CDLL(None).sleep(1000)  # Compiled code, which no signal reaches.
        return super().train_step(data)
"""


def run_hanging(folder, trials, least):
    """Run a search some of whose trials hang; return what it came to."""
    (folder / "nets.py").write_text(NETS)
    (folder / "hanging.py").write_text(HANGING.format(least=least))
    options = ["--directory", "s", "--model", "hanging:Hanging", "--workers", "1"]
    options += ["--trial-timeout", "10", "--tune", "dropout", "--seed", "3"]
    process = start(folder, *options, "--trials", trials, "--epochs", 1)
    try:
        return finish(process, timeout=500)
    finally:
        finish(process)


def check_hanging(folder, done, least):
    """Check that those trials that hang have failed, and these alone."""
    status, _, errors = done
    assert (status, errors) == (0, "")
    hung = 0
    for row in rows_of(folder):
        hangs = abs(float(row["dropout"]) - 0.3) > least
        hung += hangs
        assert row["status"] == ("FAILED" if hangs else "COMPLETED")
        assert row["notes"] == ("no progress" if hangs else "")
        error = folder / "s" / f"trial_{row['trial']}" / "error.txt"
        assert error.exists() == hangs
        if hangs:
            assert "sleep(1000)" in error.read_text()
    return hung


def test_a_trial_that_hangs_ends_its_process_and_no_other_trial(tmp_path):
    """A trial that hangs fails; its worker goes on with the next in a new process."""
    done = run_hanging(tmp_path, 3, 0.05)
    assert 1 <= check_hanging(tmp_path, done, 0.05) <= 2


@pytest.mark.slow
def test_any_number_of_trials_may_hang(tmp_path):
    """More trials may hang than Ray starts a worker again."""
    done = run_hanging(tmp_path, 7, 0.01)
    assert 5 <= check_hanging(tmp_path, done, 0.01) <= 6


@pytest.mark.slow
def test_an_oracle_that_finds_its_state_damaged_goes_on(tmp_path):
    """If the oracle dies and its state is damaged, it is rebuilt with one message."""
    (tmp_path / "nets.py").write_text(NETS)
    process = start(tmp_path, *OPTIONS, "--trials", 4, "--epochs", 3)
    try:
        wait_for(lambda: "COMPLETED" in statuses(tmp_path).values(), process)
        (oracle,) = descendants(process, "ray::OracleService")
        (tmp_path / "s" / "oracle.json").write_text("{")
        oracle.send_signal(signal.SIGKILL)
    finally:
        status, output, errors = finish(process)
    assert (status, errors) == (0, "")
    assert len(re.findall(r"^Damaged .*oracle\.json\. It is set", output, re.M)) == 1
    rows = rows_of(tmp_path)
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3"]
    assert {row["status"] for row in rows} == {"COMPLETED"}
