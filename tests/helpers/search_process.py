"""Searches in processes of their own, to be killed, starved and started again.

`start` begins a fresh process, as users do. `Forked` takes one from a server that has
imported TensorFlow, which saves each several seconds of a core; not for searches on
Ray, nor where it matters how a process begins.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tuning.cluster.session import variables
from tuning.store.layout import Store
from tuning.store.results import read_results

ROOT = Path(__file__).resolve().parents[2]
# For `Forked`, which finds that model.
TINY = ["--directory", "s", "--epochs", "1", "--workers", "0", "--tune", "batch_size"]
TINY += ["--model", "small_trials:Quick", "--validation-fraction", "0.9"]
KEPT = 3
# Sets the limit of a file's size, as a quota or `ulimit -f` does; then the command.
LIMITED = """
import resource, runpy, sys
size = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
runpy.run_module("tuning", run_name="__main__", alter_sys=True)
"""
# Small, and slow enough to be met in the middle of a trial.
NETS = """
import time
import keras
from alexnet import AlexNet

@keras.saving.register_keras_serializable(package="nets")
class Slow(AlexNet):
    @classmethod
    def search_space(cls, hp, image_shape, num_dense=(0, 0)):
        return super().search_space(
            hp, image_shape, num_blocks=(2, 2), filters=((16,), (32,)),
            use_lrn=(False,), num_dense=num_dense, batch_size=(128,), resize=(8,),
        )

    def compile(self, *args, **kwargs):
        super().compile(*args, **kwargs, run_eagerly=True)

    def train_step(self, data):
        time.sleep(0.05)
        return super().train_step(data)
"""


def start(folder, *arguments, stdout=subprocess.PIPE, most_bytes=None, **variables):
    """Start a search by the command line as the leader of a process group.

    With `most_bytes`, no file of its processes may be larger. `variables` are added
    to its environment.
    """
    module = ["-m", "tuning"] if most_bytes is None else ["-c", LIMITED, most_bytes]
    return subprocess.Popen(
        [sys.executable, *map(str, [*module, "search", *arguments])],
        cwd=folder,
        # A Ray elsewhere is none of its business.
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}",
            "RAY_ADDRESS": "127.0.0.1:1",
            # Under a limit, Python leaves bytecode that is cut off in the sources.
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        },
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["small_trials", "tuning.search", "search_process"])


def forked(function, *arguments, **keywords):
    """Call a function of a helper in a process of its own; return that process.

    It has TensorFlow, as imported, and is the leader of a process group.
    """
    process = SERVER.Process(
        target=_lead, args=(function, arguments, keywords), daemon=True
    )
    # As the server begins with; its path is not this process'.
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    with variables({"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": path}):
        process.start()
    return process


def _lead(function, arguments, keywords):
    os.setsid()
    function(*arguments, **keywords)


class Forked:
    """A search by the command line in a forked process; used as `start`'s are."""

    def __init__(self, folder, *arguments, most_bytes=None):
        # Open for as long as the process may write to them.
        self._logs = [tempfile.NamedTemporaryFile("r") for _ in range(2)]  # noqa: SIM115
        names = [log.name for log in self._logs]
        line = ["tuning", "search", *map(str, arguments)]
        self._process = forked(_search, str(folder), line, most_bytes, names)
        self.pid = self._process.pid

    @property
    def returncode(self):
        """Its exit status; None while it runs."""
        return self._process.exitcode

    def poll(self):
        """Return its exit status; None while it runs."""
        return self._process.exitcode

    def kill(self):
        """Kill it with SIGKILL."""
        self._process.kill()

    def wait(self, timeout=None):
        """Wait for its end."""
        self._process.join(timeout)

    def communicate(self, timeout):
        """Wait for its end; return standard output and standard error."""
        self.wait(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("a forked search", timeout)
        return [log.read() for log in self._logs]


def _search(folder, line, most_bytes, logs):
    for number, log in enumerate(logs, 1):
        os.dup2(os.open(log, os.O_WRONLY), number)
    os.chdir(folder)
    sys.path.insert(0, folder)
    sys.argv = line
    if most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
        sys.dont_write_bytecode = True  # It would be cut off.
    runpy.run_module("tuning", run_name="__main__", alter_sys=True)


def finish(process, timeout=300):
    """Return exit status, standard output and standard error."""
    try:
        output, errors = process.communicate(timeout=timeout)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode, output, errors


def wait_for(condition, process, timeout=300):
    """Wait until a condition holds, while the process runs; return its value."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert process.poll() is None, finish(process)
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.1)
    return value


def descendants(process, name=""):
    """Return the processes below one, those whose title holds a name."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if name in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            pass
    return found


def kill(process, name):
    """Kill a process of that title with SIGKILL; return its id."""
    victim = wait_for(lambda: descendants(process, name), process)[0]
    victim.kill()
    return victim.pid


def statuses(folder):
    """Return the trials' statuses by id."""
    rows = read_results(Store(folder / "s"))
    return {row["trial"]: row["status"] for row in rows}


def rows_of(folder):
    """Return the rows of results.csv."""
    with (folder / "s" / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def check_complete(folder, number):
    """Check that each trial ended once, with a score, and the best with weights."""
    rows = rows_of(folder)
    assert [int(row["trial"]) for row in rows] == list(range(number))
    assert {row["status"] for row in rows} == {"COMPLETED"}
    store = Store(folder / "s")
    for row in read_results(store):
        assert max(row["history"]["val_accuracy"]) == row["score"]
    best = sorted(rows, key=lambda row: -float(row["score"]))[:KEPT]
    kept = [row for row in rows if store.weights_file(row["trial"]).exists()]
    assert sorted(row["trial"] for row in kept) == sorted(row["trial"] for row in best)
    assert not list((folder / "s").rglob("checkpoint.npz"))
    assert not list((folder / "s").rglob("*.damaged-*"))
    assert not list((folder / "s").rglob("*.part-*"))
