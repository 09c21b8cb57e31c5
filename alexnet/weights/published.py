"""Published weights by name: downloaded, checked, converted once and kept."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alexnet.downloads import DownloadError, cache_folder, fetch
from alexnet.weights.errors import WeightsError

_FOLDER = "alexnet"


def converted(
    published: dict[str, str], name: str, convert: Callable[[Path], Any]
) -> tuple[Path, str]:
    """Return a published file in this package's own format, and its SHA-256.

    Args:
        published: Address and hash of the published file, as for `fetch`.
        name: What else distinguishes the converted file.
        convert: Makes a model with the weights of a file; called if that has not
            been done before, or what was kept is damaged.

    Raises:
        WeightsError: It cannot be downloaded, checked or converted.
    """
    stem = published["url"].rsplit("/", 1)[-1].rsplit(".", 1)[0]
    path = cache_folder(_FOLDER) / f"{stem}-{name}.weights.h5"
    record = path.with_suffix(".sha256")
    (digest,) = (value for key, value in published.items() if key != "url")
    with contextlib.suppress(OSError):
        # The hash of what is kept, and of what it was made from.
        kept = record.read_text().split()
        with path.open("rb") as file:
            if kept == [hashlib.file_digest(file, "sha256").hexdigest(), digest]:
                return path, kept[0]
    try:
        model = convert(fetch(published, _FOLDER))
    except DownloadError as error:
        raise WeightsError(str(error)) from error
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        new = Path(folder, path.name)
        model.save_weights(new)
        with new.open("rb") as file:
            made = hashlib.file_digest(file, "sha256").hexdigest()
        new.replace(path)
        new.write_text(f"{made} {digest}\n")
        new.replace(record)
    return path, made
