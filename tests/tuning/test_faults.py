"""What a whole search survives: full and read-only disks, limits, files cut off.

What it survives of kill -9 is in `cluster/test_killed_worker.py`, in the chaos of
`cluster/test_cluster.py` and, bit by bit, in `trial/test_resume.py`.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from driven_oracle import end, new_oracle
from search_process import (
    TINY,
    Forked,
    check_complete,
    finish,
    rows_of,
    start,
    statuses,
)

from tuning.__main__ import main
from tuning.search import write_settings
from tuning.store.layout import Store

MESSAGE = "StoreError: A search must be able to write; received "
COMMAND = [*TINY, "--tune", "weight_decay", "--trials", "4"]
RECORD_TOO_LARGE = 900  # Bytes; enough for the settings alone.
CHECKPOINT_TOO_LARGE = 30_000  # Enough for all but weights and checkpoints.
# Trains in a process that, while there is a file `limit`, has such a limit.
LIMITED = """
import resource
from pathlib import Path
import keras
from small_trials import Quick

@keras.saving.register_keras_serializable(package="limited")
class Limited(Quick):
    def compile(self, *args, **kwargs):
        super().compile(*args, **kwargs)
        if Path("limit").exists():
            size = int(Path("limit").read_text())
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return the scores of a search of four trials that nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert finish(Forked(folder, *COMMAND))[0] == 0
    return [row["score"] for row in rows_of(folder)]


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder with a folder s on a disk of its own, of 1 MiB.

    Only root may mount one.
    """
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting needs root")
    path = tmp_path / "s"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)]
    subprocess.run(mount, check=True)
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def remount(folder, options):
    """Change the disk of the folder s."""
    command = ["mount", "-o", f"remount,{options}", str(folder / "s")]
    subprocess.run(command, check=True)


def check_stopped(folder, reason, status, output, message):
    """Check that a search ended with one message, and failed no trial."""
    assert status == 1, output
    assert message.startswith(MESSAGE)
    assert f"/s: {reason}. What had ended is kept. Make room, raise the" in message
    assert message.count("\n") == 1
    assert "FAILED" not in statuses(folder).values()
    assert "DAMAGED" not in statuses(folder).values()
    assert not list(folder.rglob("*.part-*"))


def check_resumed(folder, done, undisturbed):
    """Check that the same command ends a search as if nothing had disturbed it."""
    status, output, message = finish(Forked(folder, *COMMAND))
    assert (status, message) == (0, "")
    assert "Damaged" not in output
    for trial in done:
        assert f"\ntrial {trial} " not in output
    check_complete(folder, 4)
    assert [row["score"] for row in rows_of(folder)] == undisturbed


@pytest.mark.parametrize("size", ["128k", pytest.param("200k", marks=pytest.mark.long)])
def test_a_full_disk_stops_a_search_that_resumes_with_room(
    small_disk, size, undisturbed
):
    """A full disk is reported in one message and costs no trial; with room all end."""
    remount(small_disk, f"size={size}")
    first = finish(Forked(small_disk, *COMMAND))
    check_stopped(small_disk, "No space left on device", *first)
    done = [t for t, status in statuses(small_disk).items() if status == "COMPLETED"]
    remount(small_disk, "size=64m")
    check_resumed(small_disk, done, undisturbed)


@pytest.mark.long
@pytest.mark.parametrize("most_bytes", [RECORD_TOO_LARGE, CHECKPOINT_TOO_LARGE])
def test_a_limit_stops_a_search_that_resumes_without(tmp_path, most_bytes, undisturbed):
    """What no file can hold is reported in one message and costs no trial.

    A limit of a file's size stands for a quota: neither shows in the room on the disk.
    """
    first = finish(Forked(tmp_path, *COMMAND, most_bytes=most_bytes))
    check_stopped(tmp_path, "File too large", *first)
    begun = {} if most_bytes == RECORD_TOO_LARGE else {"0": "RUNNING"}
    assert statuses(tmp_path) == begun
    check_resumed(tmp_path, [], undisturbed)


@pytest.mark.cluster
def test_a_limit_of_workers_stops_the_search(tmp_path):
    """Workers that cannot write do not die of it; the same command resumes."""
    (tmp_path / "limited.py").write_text(LIMITED)
    (tmp_path / "limit").write_text(str(CHECKPOINT_TOO_LARGE))
    command = ["--directory", "s", "--model", "limited:Limited", "--workers", 2]
    command += ["--trials", 2, "--epochs", 1]
    first = finish(start(tmp_path, *command))
    check_stopped(tmp_path, "File too large", *first)
    (tmp_path / "limit").unlink()
    status, _, message = finish(start(tmp_path, *command))
    assert (status, message) == (0, "")
    check_complete(tmp_path, 2)


def test_ray_under_a_limit_is_refused_at_once(tmp_path):
    """Ray, which cannot start then and does not say so, is not waited for."""
    command = ["--directory", "s", "--workers", 1, "--trials", 1]
    status, _, message = finish(Forked(tmp_path, *command, most_bytes=100_000_000))
    assert status == 1
    assert message.startswith("WorkerError: Ray must be able to write a file of 200,")
    assert "received a limit of 100,000,000 bytes (ulimit -f)." in message
    assert message.count("\n") == 1
    assert statuses(tmp_path) == {}


def test_a_read_only_directory_is_refused_and_can_be_read(small_disk, capsys):
    """Where nothing can be written a search is refused; `status` still shows it."""
    oracle = new_oracle(small_disk / "s")
    end(oracle, oracle.suggest("worker-0").trial)
    oracle.suggest("worker-0")
    write_settings(oracle.space.settings, oracle.store)
    oracle.store.trial_file("1").write_text("damaged")
    remount(small_disk, "ro")
    status, output, message = finish(Forked(small_disk, *TINY))
    assert (status, output) == (1, "")
    assert message.startswith("StoreError: The search directory must be writable; rec")
    assert "Read-only file system" in message
    assert main(["status", str(small_disk / "s")]) == 0
    assert (
        "2 of 9 trials begun; 1 completed, 0 pruned, 0 failed, 0 running, 1 damaged;"
        in capsys.readouterr().out
    )


def test_files_that_are_cut_off_cost_their_trials_alone(tmp_path, undisturbed):
    """With weights, a record and the settings cut off, the other trials stay.

    The same command trains those trials again, to the same scores.
    """
    assert finish(Forked(tmp_path, *COMMAND))[0] == 0
    store = Store(tmp_path / "s")
    rows = sorted(rows_of(tmp_path), key=lambda row: -float(row["score"]))
    best, worst = rows[0]["trial"], rows[-1]["trial"]
    damaged = (
        store.weights_file(best),
        store.trial_file(worst),
        store.settings_file,
    )
    for file in damaged:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    status, output, message = finish(Forked(tmp_path, *COMMAND))
    assert (status, message) == (0, "")
    for file in damaged:
        assert f"{file}. It is set aside as {file.name}.damaged-1" in output
        assert file.with_name(f"{file.name}.damaged-1").exists()
    assert f"\nTrial {best} runs again" in output
    assert output.count("  completed  ") == 2
    assert [row["score"] for row in rows_of(tmp_path)] == undisturbed
