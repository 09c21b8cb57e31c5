"""What a search survives: kill -9 of all it consists of, full and read-only disks."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from search_process import (
    NETS,
    TINY,
    check_complete,
    descendants,
    finish,
    start,
    statuses,
    wait_for,
)
from test_oracles import end, new_oracle

from tuning.__main__ import main
from tuning.store.directory import Store, read_json, write_json

# KerasTuner calls threading.currentThread().getName().
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]
SLOW = ["--directory", "s", "--model", "nets:Slow", "--workers", "2"]
KILLS = 20
CHAOS_TRIALS = 24


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


def abandon(process):
    """Kill what is left of a search, and close its pipes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def points_of(folder):
    """Return each trial's point by its id."""
    store = Store(folder / "s")
    return {t: read_json(store.point_file(t))["values"] for t in store.trial_ids()}


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a model that trains slowly."""
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    "kill",
    [pytest.param(kill_driver, id="driver"), pytest.param(kill_all, id="all")],
)
def test_a_killed_search_goes_on(folder, kill):
    """After kill -9 of the driver or of all, at once again, each trial ends once."""
    command = [*SLOW, "--trials", 4, "--epochs", 2]
    process = start(folder, *command)
    try:
        wait_for(lambda: "COMPLETED" in statuses(folder).values(), process)
        done = [t for t, status in statuses(folder).items() if status == "COMPLETED"]
        records = [Store(folder / "s").record_file(t) for t in done]
        before = [file.stat().st_mtime_ns for file in records]
        ray_folder = Path(Store(folder / "s").ray_file.read_text())
        assert (ray_folder / "token").exists()
        kill(process)
        status, output, errors = finish(start(folder, *command))
    finally:
        abandon(process)
    assert (status, errors) == (0, "")
    assert [file.stat().st_mtime_ns for file in records] == before
    assert not ray_folder.exists()
    check_complete(folder, 4)
    for trial in done:
        assert f"\ntrial {trial} " not in output


def mounted(path, *options):
    """Mount a small file system in memory; skip the test where that is not allowed."""
    path.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(path)]
    if not shutil.which("mount") or subprocess.run(command, check=False).returncode:
        pytest.skip("mounting is not allowed here")


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder s on a disk that holds the weights of a few trials."""
    mounted(tmp_path / "s", "size=3200k")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path / "s")], check=True)


def test_a_full_disk_stops_a_search_that_goes_on_with_room(small_disk):
    """A full disk is told in one message and costs no trial; with room all end."""
    command = [*TINY, "--trials", 4]
    status, output, message = finish(start(small_disk, *command))
    assert status == 1, output
    assert message.startswith("StoreError: A search must be able to write; received ")
    assert "/s: No space left on device. What had ended is kept." in message
    assert "Traceback" not in message
    assert "FAILED" not in statuses(small_disk).values()
    remount = ["mount", "-o", "remount,size=64m", str(small_disk / "s")]
    subprocess.run(remount, check=True)
    before = statuses(small_disk)
    done = [t for t, status in before.items() if status == "COMPLETED"]
    status, output, message = finish(start(small_disk, *command))
    assert (status, message) == (0, "")
    assert "Damaged" not in output
    for trial in done:
        assert f"\ntrial {trial} " not in output
    check_complete(small_disk, 4)


@pytest.mark.parametrize("call", ["create", "report", "end"])
def test_an_oracle_that_cannot_write_hands_out_nothing(small_disk, call):
    """A full disk stops an oracle in any call; what it held is there with room."""
    directory = small_disk / "s"
    subprocess.run(["mount", "-o", "remount,size=8m", str(directory)], check=True)
    oracle = new_oracle(directory)
    end(oracle, oracle.create_trial("worker-0"))
    ended = oracle.progress()["ended"]
    trial = None if call == "create" else oracle.create_trial("worker-0")
    if call == "end":
        oracle.update_trial(trial.trial_id, {"val_accuracy": 0.5})
    with contextlib.suppress(OSError), (directory / "filler").open("wb", 0) as filler:
        while True:
            filler.write(b"\0" * 4096)
    if call == "create":
        assert oracle.create_trial("worker-0").status == "STOPPED"
    else:
        end(oracle, trial)
    assert oracle.progress()["halted"] == "No space left on device"
    assert oracle.create_trial("worker-1").status == "STOPPED"
    (directory / "filler").unlink()
    again = new_oracle(directory)
    again.begin("next")
    assert again.progress()["ended"] == ended
    assert again.create_trial("worker-0").trial_id == "1"
    assert not list(directory.rglob("*.damaged-*"))


def test_an_error_of_the_disk_fails_no_trial(tmp_path):
    """A trial that ended because nothing could be written runs again later."""
    oracle = new_oracle(tmp_path)
    trial = oracle.create_trial("worker-0")
    trial.status, trial.message = "FAILED", "OSError: [Errno 122] Disk quota exceeded"
    oracle.end_trial(trial)
    assert oracle.progress()["halted"] == "Disk quota exceeded"
    assert oracle.progress()["ended"] == []
    again = new_oracle(tmp_path)
    again.begin("next")
    assert again.create_trial("worker-0").trial_id == trial.trial_id


def test_a_read_only_directory_is_refused_and_can_be_read(small_disk, capsys):
    """Where nothing can be written a search is refused; `status` still shows it."""
    directory = small_disk / "s"
    oracle = new_oracle(directory)
    end(oracle, oracle.create_trial("worker-0"))
    write_json(directory / "search.json", oracle.settings.to_json())
    oracle.create_trial("worker-0")
    for file in (oracle.store.record_file("0"), oracle.store.trial_file("1")):
        file.write_text("damaged")
    subprocess.run(["mount", "-o", "remount,ro", str(directory)], check=True)
    status, output, message = finish(start(small_disk, *TINY))
    assert (status, output) == (1, "")
    assert message.startswith("StoreError: The search directory must be writable; rec")
    assert "Read-only file system" in message
    assert main(["status", str(directory)]) == 0
    shown = capsys.readouterr().out
    assert (
        "2 of 9 trials begun; 1 completed, 0 pruned, 0 failed, 0 running, 1 damaged;"
        in (shown)
    )


@pytest.mark.slow
def test_chaos_costs_no_trial(folder):
    """Killed 20 times at random, a search ends with each of its trials, once.

    Random search tries the same points as one that nothing disturbs.
    """
    command = [*SLOW, "--trials", CHAOS_TRIALS, "--epochs", 4]
    rng = random.Random(2012)
    killed = dict.fromkeys(("worker", "oracle", "driver", "all"), 0)
    titles = {"worker": "ray::run_worker", "oracle": "ray::OracleService"}
    processes, log = [], (folder / "log").open("w+")
    try:
        while sum(killed.values()) < KILLS:
            if not processes or processes[-1].poll() is not None:
                processes.append(start(folder, *command, stdout=log))
            process = processes[-1]
            wait_for(partial(descendants, process, "ray::run_worker"), process)
            time.sleep(rng.uniform(0, 4))
            assert process.poll() is None, finish(process)
            victim = rng.choice(list(killed))
            if victim == "driver":
                kill_driver(process)
            elif victim == "all":
                kill_all(process)
            else:
                found = descendants(process, titles[victim])
                if not found:
                    continue
                with contextlib.suppress(psutil.NoSuchProcess):
                    rng.choice(found).kill()
            killed[victim] += 1
        if processes[-1].poll() is not None:
            processes.append(start(folder, *command, stdout=log))
        status, _, errors = finish(processes[-1], timeout=400)
    finally:
        for process in processes:
            abandon(process)
    log.seek(0)
    output = log.read()
    log.close()
    print(killed, output)
    assert min(killed.values()) > 0
    assert (status, errors) == (0, "")
    check_complete(folder, CHAOS_TRIALS)
    ended = re.findall(r"^trial (\d+)  completed", output, re.MULTILINE)
    assert len(ended) == len(set(ended))
    points = points_of(folder)
    shutil.rmtree(folder / "s")
    status, _, errors = finish(start(folder, *command), timeout=400)
    assert (status, errors) == (0, "")
    assert points_of(folder) == points


OTHER_FILE = """
import errno
import os
import keras
import nets

@keras.saving.register_keras_serializable(package="logging")
class Logging(nets.Slow):
    def compile(self, *args, **kwargs):
        super().compile(*args, **kwargs)
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/opt/theirs/debug.log")
"""


def test_an_error_of_another_file_is_the_models(folder):
    """A model that cannot write a file of its own fails its trials, not the disk."""
    (folder / "own_log.py").write_text(OTHER_FILE)
    command = ["--directory", "s", "--model", "own_log:Logging", "--workers", 1]
    status, _, errors = finish(start(folder, *command, "--epochs", 1))
    assert status == 1
    assert errors.startswith("SearchError: Every trial failed (3 of 12 were run)")
    assert "Read-only file system: '/opt/theirs/debug.log'" in errors
    assert set(statuses(folder).values()) == {"FAILED"}
