"""Published weights by name: downloaded, checked, converted once and kept."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from alexnet.weights.errors import WeightsError

_FOLDER = "alexnet"


def cache_folder() -> Path:
    """Return where downloads and converted weights are kept: in Keras' directory."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    return Path(home, _FOLDER)


def fetch(url: str) -> Path:
    """Download a file, unless it is there, and check its hash.

    Args:
        url: Address; the file's name ends in a hyphen and the first digits of its
            SHA-256, as PyTorch's do.

    Raises:
        WeightsError: It cannot be downloaded, or has another hash.
    """
    name = url.rsplit("/", 1)[-1]
    digits = re.fullmatch(r".*-([0-9a-f]{8,64})\.\w+", name)
    if digits is None:
        raise WeightsError(
            "A published file's name must end in its hash, as in "
            f"alexnet-owt-7be5be79.pth; received {url}."
        )
    path = cache_folder() / name
    try:
        keras.utils.get_file(
            name, url, cache_dir=str(path.parent.parent), cache_subdir=_FOLDER
        )
    except Exception as error:  # Keras raises Exception itself.
        raise WeightsError(
            f"Cannot download {url} ({error}). Download it elsewhere and put it at "
            f"{path}."
        ) from error
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(digits[1]):
        raise WeightsError(
            f"The hash of {path} must begin with {digits[1]}, but is {found}: the file "
            f"is incomplete or another one. Delete it, to download {url} again."
        )
    return path


def converted(url: str, name: str, convert: Callable[[Path], Any]) -> tuple[Path, str]:
    """Return a published file in this package's own format, and its SHA-256.

    Args:
        url: Address of the published file, as for `fetch`.
        name: What else distinguishes the converted file.
        convert: Makes a model with the weights of a file; called if that has not
            been done before, or what was kept is damaged.

    Raises:
        WeightsError: It cannot be downloaded, checked or converted.
    """
    stem = url.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    path = cache_folder() / f"{stem}-{name}.weights.h5"
    record = path.with_suffix(".sha256")
    with contextlib.suppress(OSError):
        kept = record.read_text().strip()
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == kept:
                return path, kept
    model = convert(fetch(url))
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        new = Path(folder, path.name)
        model.save_weights(new)
        with new.open("rb") as file:
            made = hashlib.file_digest(file, "sha256").hexdigest()
        new.replace(path)
        new.write_text(made)
        new.replace(record)
    return path, made
