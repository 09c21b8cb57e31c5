"""Zip files: entries read whole, within bounds, with their checksum."""

from __future__ import annotations

import io
import zipfile

from alexnet.weights.errors import WeightsError, shown

# torch and Keras store entries as they are; repacked files may be compressed.
# Weights hardly shrink: a file that grows more than this in all is a bomb, and so is
# one whose entries overlap.
MOST_EXPANSION = 4
_SLACK = 1 << 20
MOST_ENTRIES = 10_000
_ENTRY = b"PK\x01\x02"
# bzip2 and LZMA are no part of the formats, and take memory that the file chooses.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Archive:
    """A zip file in memory; `names` are its entries."""

    def __init__(self, data: bytes) -> None:
        # Before the standard library lists them, at half a kilobyte each.
        if data.count(_ENTRY) > MOST_ENTRIES:
            raise WeightsError(f"its archive has more than {MOST_ENTRIES} entries")
        try:
            self._file = zipfile.ZipFile(io.BytesIO(data))
        except Exception as error:  # zipfile raises a dozen kinds.
            raise WeightsError(
                f"its zip directory is missing or damaged ({error}); "
                "the file may be cut off"
            ) from error
        entries = self._file.infolist()
        self._entries = {entry.filename: entry for entry in entries}
        if len(self._entries) != len(entries):
            raise WeightsError("its zip directory lists a name twice")
        total = sum(entry.file_size for entry in entries)
        if total > MOST_EXPANSION * len(data) + _SLACK:
            raise WeightsError(
                f"its archive of {len(data)} bytes grows to {total}, which weights do "
                "not"
            )
        self.names = list(self._entries)

    def read(self, name: str) -> bytes:
        """Return an entry's bytes, checked against their CRC-32.

        Raises:
            WeightsError: There is no such entry, or it is damaged.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise WeightsError(f"its zip directory lacks {shown(name)}")
        if entry.compress_type not in _METHODS:
            raise WeightsError(
                f"its entry {shown(name)} is damaged, or compressed by an unusual "
                f"method ({entry.compress_type})"
            )
        try:
            with self._file.open(entry) as stream:
                # One byte more, so that the end is reached and the CRC compared.
                data = stream.read(entry.file_size + 1)
        except Exception as error:  # zipfile raises a dozen kinds.
            message = f"its entry {shown(name)} is damaged ({error})"
            raise WeightsError(message) from error
        if len(data) != entry.file_size:
            raise WeightsError(
                f"its entry {shown(name)} should have {entry.file_size} bytes, but "
                f"has {len(data)}"
            )
        return data
