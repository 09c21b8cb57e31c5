"""One search per directory: its lock, its processes, what a killed run left."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tuning.store.files import PART, StoreError
from tuning.store.layout import Store

LEAVE_S = 60.0
POLL_S = 0.1
RAY_FOLDER = re.compile("/tmp/alexnet-[a-z0-9_]+")


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """Keep other searches out; a lock dies with the process that holds it.

    Raises:
        StoreError: Another search holds the directory.
    """
    with store.lock_file.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(
                "A directory can hold one search at a time; received "
                f"{store.root}, where another is running. Wait for it or choose "
                "another directory with --directory."
            ) from error
        yield


@contextmanager
def joined(store: Store) -> Iterator[None]:
    """Count as a process of the search that uses the directory."""
    # To read and write, without which NFS gives no lock.
    with store.members_file.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def wait_until_left(store: Store, timeout_s: float = LEAVE_S) -> None:
    """Wait until no process of an earlier run is left; then remove its leavings.

    A killed search frees its lock at once, its workers die a little later.

    Raises:
        StoreError: Some process still is.
    """
    end = time.monotonic() + timeout_s
    with store.members_file.open("a+") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise StoreError(
                        "The processes of a search end with it; received "
                        f"{store.root}, which some of an earlier run still use "
                        f"after {timeout_s:g} s. End them: `lsof "
                        f"{store.members_file}` lists them."
                    ) from error
                time.sleep(POLL_S)
        for folder in (store.root, *store.root.glob("trial_*")):
            for part in folder.glob(f".*{PART}*"):
                part.unlink(missing_ok=True)
        _remove_ray_files(store)


def _remove_ray_files(store: Store) -> None:
    """Remove the files of the Ray of a run that was killed."""
    with suppress(OSError):
        folder = Path(store.ray_file.read_text())
        is_ours = RAY_FOLDER.fullmatch(str(folder)) and not folder.is_symlink()
        if is_ours and folder.stat().st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)
    store.ray_file.unlink(missing_ok=True)
