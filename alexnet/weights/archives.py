"""Zip files: entries read whole, within bounds, with their checksum."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from alexnet.weights.errors import WeightsError, shown

# torch and Keras store entries as they are; repacked files may be compressed.
# Weights hardly shrink: what grows more than this is a bomb.
MOST_EXPANSION = 20
_SLACK = 1 << 16


class Archive:
    """A zip file in memory; `names` are its entries."""

    def __init__(self, data: bytes) -> None:
        self._size = len(data)
        try:
            self._file = zipfile.ZipFile(io.BytesIO(data))
        except _DAMAGE as error:
            raise WeightsError(
                f"its zip directory is missing or damaged ({error}); "
                "the file may be cut off"
            ) from error
        entries = self._file.infolist()
        self._entries = {entry.filename: entry for entry in entries}
        if len(self._entries) != len(entries):
            raise WeightsError("its zip directory lists a name twice")
        self.names = list(self._entries)

    def read(self, name: str) -> bytes:
        """Return an entry's bytes, checked against their CRC-32.

        Raises:
            WeightsError: There is no such entry, it is damaged, or it grows more
                than weights do.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise WeightsError(f"its zip directory lacks {shown(name)}")
        allowed = MOST_EXPANSION * min(entry.compress_size, self._size) + _SLACK
        if entry.file_size > allowed:
            raise WeightsError(
                f"its entry {shown(name)} grows from {entry.compress_size} to "
                f"{entry.file_size} bytes, which weights do not"
            )
        try:
            with self._file.open(entry) as stream:
                # One byte more, so that the end is reached and the CRC compared.
                data = stream.read(entry.file_size + 1)
        except _DAMAGE as error:
            message = f"its entry {shown(name)} is damaged ({error})"
            raise WeightsError(message) from error
        if len(data) != entry.file_size:
            raise WeightsError(
                f"its entry {shown(name)} should have {entry.file_size} bytes, but "
                f"has {len(data)}"
            )
        return data


_DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    OverflowError,
    MemoryError,
    NotImplementedError,  # An unknown method of compression.
    RuntimeError,  # An encrypted entry.
)
