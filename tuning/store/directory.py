"""The search directory: layout, atomic writes, lock, results.

search.json                 settings
oracle.json                 state of the oracle; all else follows from the trials
trial_03/point.json         its point, and what it takes to draw the next; written once
trial_03/trial.json         KerasTuner's record: hyperparameters, status, score
trial_03/record.json        history, parameters, multiply-adds, seconds
trial_03/best.weights.h5    weights of its best epoch
trial_03/checkpoint/        weights, optimizer and random state, while it runs
trial_03/error.txt          traceback, if it failed
results.csv                 one row per trial
best/model.keras            the best trial's model
best/hyperparameters.json   its point in the search space
"""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from tuning.store.records import is_trial_id

# No file of ours comes near; one that is larger is none of ours.
MAX_JSON_BYTES = 64 * 2**20
SPARE_BYTES = 2**18
LEAVE_S = 60.0
RAY_FOLDER = re.compile("/tmp/alexnet-[a-z0-9_]+")
POLL_S = 0.1
# What a directory that takes no more answers to a write.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
os.umask(UMASK := os.umask(0o077))  # There is no other way to ask for it.
PART = ".part-"  # In the names of files that are being written.


class StoreError(RuntimeError):
    """The search directory cannot be used."""


class Store:
    """Names and files of one search directory.

    Args:
        root: The directory; made by `create`.

    Attributes:
        is_new: Whether this process began the search in it.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).absolute()
        self.is_new = False
        self.lock_file = self.root / ".lock"
        self.members_file = self.root / ".members"
        self.run_file = self.root / ".run"
        self.ray_file = self.root / ".ray"
        self.settings_file = self.root / "search.json"
        self.oracle_file = self.root / "oracle.json"
        self.results_file = self.root / "results.csv"
        self.native_log_file = self.root / "native.log"
        self.best_model_file = self.root / "best" / "model.keras"
        self.best_hyperparameters_file = self.root / "best" / "hyperparameters.json"

    def trial_folder(self, trial_id: str) -> Path:
        """Return a trial's folder."""
        return self.root / f"trial_{trial_id}"

    def point_file(self, trial_id: str) -> Path:
        """Return the file of a trial's point."""
        return self.trial_folder(trial_id) / "point.json"

    def trial_file(self, trial_id: str) -> Path:
        """Return the file of KerasTuner's record of a trial."""
        return self.trial_folder(trial_id) / "trial.json"

    def record_file(self, trial_id: str) -> Path:
        """Return the file of what a trial's worker measured."""
        return self.trial_folder(trial_id) / "record.json"

    def weights_file(self, trial_id: str) -> Path:
        """Return the file of the weights of a trial's best epoch."""
        return self.trial_folder(trial_id) / "best.weights.h5"

    def checkpoint_folder(self, trial_id: str) -> Path:
        """Return the folder of how far a trial has come, while it has not ended."""
        return self.trial_folder(trial_id) / "checkpoint"

    def error_file(self, trial_id: str) -> Path:
        """Return the file of a failed trial's traceback."""
        return self.trial_folder(trial_id) / "error.txt"

    def trial_ids(self) -> list[str]:
        """Return the ids of all trials on record, in order."""
        files = [*self.root.glob("trial_*/*.json")]
        ids = {
            file.parent.name.removeprefix("trial_")
            for file in files
            if file.name in ("trial.json", "point.json")
        }
        return sorted(filter(is_trial_id, ids), key=int)

    def check_room(self, size: int) -> None:
        """Raise OSError if the disk does not take so many bytes, and some to spare."""
        if size + SPARE_BYTES > shutil.disk_usage(self.root).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def create(self) -> None:
        """Make the directory.

        Raises:
            StoreError: It cannot be made or written to.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise StoreError(
                f"The search directory must be writable; received {self.root}: "
                f"{error}. Choose another with --directory."
            ) from error

    def discard_if_unused(self) -> None:
        """Remove the directory again if no trial has begun in it."""
        began = [self.settings_file, self.oracle_file, self.results_file]
        if self.trial_ids() or (self.settings_file.exists() and not self.is_new):
            return
        for file in (
            self.lock_file,
            self.members_file,
            self.run_file,
            self.ray_file,
            self.native_log_file,
            *(began if self.is_new else ()),
        ):
            file.unlink(missing_ok=True)
        with suppress(OSError):  # It holds other files, or never came to be.
            self.root.rmdir()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other searches out; a lock dies with the process that holds it.

        Raises:
            StoreError: Another search holds the directory.
        """
        with self.lock_file.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StoreError(
                    "A directory can hold one search at a time; received "
                    f"{self.root}, where another is running. Wait for it or choose "
                    "another directory with --directory."
                ) from error
            yield

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Count as a process of the search that uses the directory."""
        # To read and write, without which NFS gives no lock.
        with self.members_file.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    def wait_until_left(self, timeout_s: float = LEAVE_S) -> None:
        """Wait until no process of an earlier run is left; then remove its leavings.

        A killed search frees its lock at once, its workers die a little later.

        Raises:
            StoreError: Some process still is.
        """
        end = time.monotonic() + timeout_s
        with self.members_file.open("a+") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > end:
                        raise StoreError(
                            "The processes of a search end with it; received "
                            f"{self.root}, which some of an earlier run still use "
                            f"after {timeout_s:g} s. End them: `lsof "
                            f"{self.members_file}` lists them."
                        ) from error
                    time.sleep(POLL_S)
            for folder in (self.root, *self.root.glob("trial_*")):
                for part in folder.glob(f".*{PART}*"):
                    part.unlink(missing_ok=True)
            self._remove_ray_files()

    def _remove_ray_files(self) -> None:
        """Remove the files of the Ray of a run that was killed."""
        with suppress(OSError):
            folder = Path(self.ray_file.read_text())
            is_ours = RAY_FOLDER.fullmatch(str(folder)) and not folder.is_symlink()
            if is_ours and folder.stat().st_uid == os.getuid():
                shutil.rmtree(folder, ignore_errors=True)
        self.ray_file.unlink(missing_ok=True)


def disk_error(text: str) -> str | None:
    """Return what an error's text says of a disk that takes no more, if it does."""
    reasons = map(os.strerror, DISK_ERRORS)
    return next((reason for reason in reasons if reason in text), None)


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file so that it is either wholly there or as it was before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}{PART}")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o666 & ~UMASK)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def allocate(stream: BinaryIO, size: int) -> None:
    """Make a file so many bytes long, with room on the disk for each of them."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(stream.fileno(), 0, size)
        return
    block = bytes(2**20)  # macOS
    for start in range(0, size, len(block)):
        stream.write(block[: size - start])
    stream.flush()


def write_json(file: Path, value: Any, indent: int | None = 1) -> None:
    """Write plain data as JSON, atomically.

    Args:
        file: To write.
        value: Plain data.
        indent: As of `json.dumps`; None takes a tenth of the time, for what is
            written often and read by programs.
    """
    write_bytes(file, (json.dumps(value, indent=indent) + "\n").encode())


def read_json(file: Path) -> Any:
    """Read a JSON file.

    Raises:
        StoreError: It is damaged or cannot be read.
    """
    try:
        if file.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"it is larger than {MAX_JSON_BYTES} bytes")
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(
            f"The file must be readable JSON; received {file}: {error}. The search's "
            "own command sets it aside and goes on."
        ) from error


def write_csv(file: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows with the union of their keys as columns, atomically."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(file, text.getvalue().encode())


def disk_use(folder: Path) -> int:
    """Return the bytes that a folder's files hold."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except FileNotFoundError:  # Removed by the search in the meantime.
            continue
    return total
