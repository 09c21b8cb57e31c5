"""Published weights by name: downloaded, checked, converted once and kept."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alexnet.data.downloads import DownloadError, cache_folder, fetch
from alexnet.weights.errors import WeightsError

_FOLDER = "alexnet"


class Kept:
    """A published file in this package's own format, kept beside the download.

    Args:
        published: Address and hash of the published file, as for `fetch`.
        name: What else distinguishes the converted file.

    Attributes:
        path: The converted file.
        sha256: Its hash; set by `is_sound` and `make`.
    """

    def __init__(self, published: dict[str, str], name: str) -> None:
        stem = published["url"].rsplit("/", 1)[-1].rsplit(".", 1)[0]
        self.path = cache_folder(_FOLDER) / f"{stem}-{name}.weights.h5"
        self.sha256 = ""
        self._published = published
        (self._digest,) = (value for key, value in published.items() if key != "url")
        # Holds the hash of what is kept, and of what it was made from.
        self._record = self.path.with_suffix(".sha256")

    def is_sound(self) -> bool:
        """Tell whether it is there, undamaged, and made from what is published."""
        with contextlib.suppress(OSError, ValueError):
            kept = self._record.read_text().split()
            with self.path.open("rb") as file:
                self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            return kept == [self.sha256, self._digest]
        return False

    def make(self, convert: Callable[[Path], Any]) -> None:
        """Download the published file, unless it is there, convert and keep it.

        Args:
            convert: Makes a model with the weights of a file.

        Raises:
            WeightsError: It cannot be downloaded, checked, converted or kept.
        """
        try:
            model = convert(fetch(self._published, _FOLDER))
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
                new = Path(folder, self.path.name)
                model.save_weights(new)
                with new.open("rb") as file:
                    self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                new.replace(self.path)
                new.write_text(f"{self.sha256} {self._digest}\n")
                new.replace(self._record)
        except DownloadError as error:
            raise WeightsError(str(error)) from error
        except OSError as error:
            raise WeightsError(
                f"Cannot keep the converted weights at {self.path} ({error}). Make "
                "room and the directory writable, or set KERAS_HOME to another."
            ) from error
