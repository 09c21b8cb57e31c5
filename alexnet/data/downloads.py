"""Published files: downloaded once, checked, and kept in Keras' directory."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import keras

# Without a byte for this long, a download has failed.
STALLED_S = 60.0


class DownloadError(OSError):
    """A published file cannot be downloaded, or is not what was published."""


def cache_folder(name: str) -> Path:
    """Return a folder of Keras' directory, where downloads are kept."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    return Path(home, name)


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
    path = cache_folder(folder) / url.rsplit("/", 1)[-1]
    patience = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(STALLED_S)  # Keras would wait for ever.
        path.parent.mkdir(parents=True, exist_ok=True)
        # Keras takes another place if it may not write to this one.
        path = Path(
            keras.utils.get_file(
                path.name, url, cache_dir=str(path.parent.parent), cache_subdir=folder
            )
        )
        with path.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
    except Exception as error:  # Keras raises Exception itself.
        raise DownloadError(
            f"Cannot download {url} ({error}). Download it elsewhere and put it at "
            f"{path}."
        ) from error
    finally:
        socket.setdefaulttimeout(patience)
    if found != published[algorithm]:
        raise DownloadError(
            f"The {algorithm} of {path} must be {published[algorithm]}, but is "
            f"{found}: the file is incomplete or another one. Delete it, to download "
            f"{url} again."
        )
    return path
