"""Read a whole file, after checks of its kind, size, first bytes and hash."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable
from pathlib import Path

from alexnet.weights.errors import WeightsError


def read_file(
    path: Path,
    most: int,
    sha256: str | None = None,
    check_start: Callable[[bytes], None] = lambda start: None,
) -> bytes:
    """Return a file's bytes.

    Args:
        path: The file.
        most: Number of bytes that it may have.
        sha256: Hash that it must have, in hexadecimal; None for any.
        check_start: Called with the first bytes, before the rest is read.

    Raises:
        WeightsError: It is missing, no file, too large or of another hash.
        TypeError: `sha256` is no text.
    """
    if sha256 is not None and not isinstance(sha256, str):
        raise TypeError(
            f"sha256 must be a text; received sha256={sha256!r}. Pass the hash in "
            "hexadecimal."
        )
    try:
        # A pipe would be waited for, and a device has no end.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "directory" if stat.S_ISDIR(status.st_mode) else "device or pipe"
            raise WeightsError(f"it is a {kind}, not a file")
        if status.st_size > most:
            raise WeightsError(
                f"it has {status.st_size} bytes; {most} are more than enough"
            )
        with path.open("rb") as file:
            check_start(file.read(16))
            file.seek(0)
            data = file.read(status.st_size)
    except (OSError, ValueError) as error:  # ValueError: the path has a NUL.
        if isinstance(error, WeightsError):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise WeightsError(f"it cannot be read ({reason})") from error
    if sha256 is not None:
        found = hashlib.sha256(data).hexdigest()
        if found != sha256.lower():
            raise WeightsError(f"its SHA-256 should be {sha256}, but is {found}")
    return data
