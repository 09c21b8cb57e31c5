"""Files that are either wholly there or as they were before."""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

# No file of ours comes near; one that is larger is none of ours.
MAX_JSON_BYTES = 64 * 2**20
PART = ".part-"  # In the names of files that are being written.


class StoreError(RuntimeError):
    """The search directory cannot be used."""


class WriteError(OSError):
    """A file of the search directory cannot be written: full disk, quota, limit.

    It fails no trial: the search stops, and the same command resumes it.
    """


@contextmanager
def writing(file: Path) -> Iterator[BinaryIO]:
    """Open a file that appears at the end, whole, or not at all.

    Raises:
        WriteError: It cannot be written; what was there before still is.
    """
    part = file.with_name(f".{file.name}{PART}{secrets.token_hex(4)}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(part, flags, 0o666), "w+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except OSError as error:
        raise WriteError(error.errno, error.strerror, str(file)) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file atomically."""
    with writing(file) as stream:
        stream.write(content)


def write_json(file: Path, value: Any) -> None:
    """Write plain data as JSON, atomically."""
    write_bytes(file, (json.dumps(value, indent=1) + "\n").encode())


def read_json(file: Path) -> Any:
    """Read a JSON file.

    Raises:
        FileNotFoundError: It is missing.
        ValueError: It is damaged or cannot be read.
    """
    try:
        if file.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"it is larger than {MAX_JSON_BYTES} bytes")
        return json.loads(file.read_bytes())
    except FileNotFoundError:
        raise
    except (OSError, RecursionError) as error:
        raise ValueError(str(error)) from error


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
        with suppress(FileNotFoundError):  # The search has just removed it.
            total += file.stat().st_size if file.is_file() else 0
    return total
