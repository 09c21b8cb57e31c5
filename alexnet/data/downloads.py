"""Published files: downloaded once, checked, and kept in Keras' directory."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import keras

# Without a byte for this long, a download has failed.
STALLED_S = 60.0


class DownloadError(OSError):
    """A published file cannot be downloaded, or is not what was published."""


def keras_folder() -> Path:
    """Return Keras' directory, by the documentation of `keras.utils.get_file`."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser().absolute()


@contextlib.contextmanager
def stalled_downloads_fail() -> Iterator[None]:
    """Let downloads by Keras fail if the server stalls; Keras itself sets no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALLED_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def fetch(published: dict[str, str], folder: str) -> Path:
    """Download a file, unless it is there, and check its hash.

    Args:
        published: The file's "url", and its hash in hexadecimal by the name of
            its algorithm, as in {"url": ..., "sha256": ...}.
        folder: Where to keep it, below Keras' directory.

    Raises:
        DownloadError: It cannot be downloaded, or has another hash.
    """
    url = published["url"]
    (algorithm,) = set(published) - {"url"}
    path = keras_folder() / folder / url.rsplit("/", 1)[-1]
    try:
        with stalled_downloads_fail():
            # An absolute folder is taken as it is.
            keras.utils.get_file(path.name, url, cache_subdir=str(path.parent))
        with path.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
    except Exception as error:  # Keras raises Exception itself.
        raise DownloadError(
            f"Cannot download {url} ({error}). Download it elsewhere and put it at "
            f"{path}; the variable KERAS_HOME sets another directory for ~/.keras."
        ) from error
    if found != published[algorithm]:
        raise DownloadError(
            f"The {algorithm} of {path} must be {published[algorithm]}, but is "
            f"{found}: the file is incomplete or another one. Delete it, to download "
            f"{url} again."
        )
    return path
