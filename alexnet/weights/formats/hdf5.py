"""HDF5 files as h5py and Caffe write them: groups, arrays, one text attribute.

libhdf5 is not safe with files from others: single damaged bytes made it crash or
take gigabytes. Weights need little of the format, and h5py writes by default, as
Caffe does, its oldest variant: superblock 0, object headers 1, groups as B-trees
of symbol tables, arrays in one piece. This reads that, and refuses the rest: links
to elsewhere, compression, chunks, other files.

Reference: HDF5 File Format Specification, version 3.0.
"""

from __future__ import annotations

import bisect
import math
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from alexnet.weights.errors import WeightsError, shown

START = b"\x89HDF\r\n\x1a\n"
# An AlexNet has some two hundred objects; each costs a few steps.
MOST_STEPS = 200_000
LONGEST_TEXT = 1000

_DATASPACE, _DATATYPE, _EXTERNAL, _LAYOUT = 0x01, 0x03, 0x07, 0x08
_FILTERS, _ATTRIBUTE, _CONTINUATION, _SYMBOLS = 0x0B, 0x0C, 0x10, 0x11
_INTEGER, _FLOAT, _STRING, _OPAQUE, _VARIABLE = 0, 1, 3, 5, 9


class Hdf5:
    """An HDF5 file in memory; objects are known by their address.

    Attributes:
        root: Address of the root group.

    Raises:
        WeightsError: The file is cut off, damaged or of a newer variant; so do all
            methods.
    """

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._steps = 0
        self._read: list[tuple[int, int]] = []  # Start and end, sorted.
        start = self._at(0, 96)
        version, sizes = start[8], bytes(start[13:15])
        if version != 0 or sizes != b"\x08\x08":
            raise WeightsError(
                f"its HDF5 variant (superblock {version}) is not the one that h5py "
                'writes by default; save it with libver="earliest"'
            )
        base, _, end = struct.unpack_from("<QQQ", start, 24)
        if base != 0 or end != len(data):
            raise WeightsError(
                f"its HDF5 header announces {end} bytes, but the file has "
                f"{len(data)}; it may be cut off"
            )
        (self.root,) = struct.unpack_from("<Q", start, 64)

    def members(self, address: int) -> dict[str, int]:
        """Return the addresses of a group's members by their names."""
        tables = [
            message for kind, message in self._messages(address) if kind == _SYMBOLS
        ]
        if len(tables) != 1:
            raise WeightsError(
                "its HDF5 groups are damaged, of a newer variant, or hold links to "
                "elsewhere"
            )
        tree, heap = self._unpack("<QQ", tables[0])
        size, _, names = self._unpack("<QQQ", self._block(heap, b"HEAP", 32)[8:])
        content = self._at(names, size)
        found: dict[str, int] = {}
        for offset, member, cache in self._entries(tree, None):
            name = bytes(content[offset : offset + 256]).split(b"\0")[0]
            if cache == 2:
                raise WeightsError(f"its member {shown(name)} is a link to elsewhere")
            text = _decoded(name)
            if not text or text in found:
                raise WeightsError("its HDF5 groups have members without a name")
            found[text] = member
        return found

    def text_attribute(self, address: int, name: str) -> str | None:
        """Return the text of an object's attribute; None if it has none."""
        for kind, message in self._messages(address):
            if kind == _ATTRIBUTE:
                found, datatype, value = self._attribute(message)
                if found == name:
                    return self._text(datatype, value)
        return None

    def array(self, address: int) -> np.ndarray:
        """Return an array; its numbers lie in the file in one piece."""
        messages = dict(self._messages(address))
        if not messages.keys() >= {_DATASPACE, _DATATYPE, _LAYOUT}:
            raise WeightsError("a member of its HDF5 groups should be an array")
        layout = messages[_LAYOUT]
        version, kind = self._unpack("<BB", layout)
        if version not in (3, 4) or kind == 2 or {_EXTERNAL, _FILTERS} & set(messages):
            raise WeightsError(
                "its arrays are compressed, in chunks or in another file; neither "
                "Keras nor Caffe writes weights so"
            )
        shape = self._shape(messages[_DATASPACE])
        # Keras stores bfloat16 as two bytes of no known kind, and says so.
        is_bfloat16 = (
            self._unpack("<B", messages[_DATATYPE])[0] & 15 == _OPAQUE
            and self.text_attribute(address, "dtype") == "bfloat16"
        )
        dtype = np.dtype("<u2") if is_bfloat16 else self._dtype(messages[_DATATYPE])
        size = math.prod(shape) * dtype.itemsize
        if kind == 0:
            (length,) = self._unpack("<H", layout[2:])
            raw = layout[4 : 4 + length]
        else:
            start, length = self._unpack("<QQ", layout[2:])
            raw = self._at(start, length)
            place = bisect.bisect(self._read, (start, start + length))
            if (place > 0 and self._read[place - 1][1] > start) or (
                place < len(self._read) and self._read[place][0] < start + length
            ):
                raise WeightsError("its HDF5 arrays overlap")
            self._read.insert(place, (start, start + length))
        if len(raw) != size or size == 0:
            raise WeightsError(
                f"its HDF5 array of shape {shape} should have {size} bytes, but has "
                f"{len(raw)}"
            )
        array = np.frombuffer(raw, dtype).reshape(shape)
        return (array.astype("<u4") << 16).view("<f4") if is_bfloat16 else array

    # The file's structure.

    def _at(self, address: int, size: int) -> memoryview:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise WeightsError(
                "its HDF5 structure has no end, or far more objects than weights need"
            )
        if address + size > len(self._data):
            raise WeightsError(
                "its HDF5 structure points beyond the file, which may be cut off"
            )
        return self._data[address : address + size]

    def _block(self, address: int, signature: bytes, size: int) -> memoryview:
        block = self._at(address, size)
        if block[:4] != signature:
            raise WeightsError(f"its HDF5 structure lacks a {signature.decode()}")
        return block

    def _unpack(self, form: str, content: memoryview) -> tuple[Any, ...]:
        if len(content) < struct.calcsize(form):
            raise WeightsError("its HDF5 structure has a message that is too short")
        return struct.unpack_from(form, content)

    def _entries(
        self, address: int, level: int | None
    ) -> Iterator[tuple[int, int, int]]:
        """Yield (offset of the name, address, kind) of the entries below a node."""
        node = self._block(address, b"TREE", 24)
        if node[4] != 0 or (level is not None and node[5] != level) or node[5] > 8:
            raise WeightsError("its HDF5 groups are damaged")
        (count,) = self._unpack("<H", node[6:])
        keys = self._at(address + 24, 16 * count + 8)
        for number in range(count):
            (child,) = self._unpack("<Q", keys[16 * number + 8 :])
            if node[5] > 0:
                yield from self._entries(child, node[5] - 1)
                continue
            table = self._block(child, b"SNOD", 8)
            (size,) = self._unpack("<H", table[6:])
            for index in range(size):
                entry = self._at(child + 8 + 40 * index, 40)
                yield self._unpack("<QQI", entry)

    def _messages(self, address: int) -> Iterator[tuple[int, memoryview]]:
        """Yield the messages of an object's header."""
        version, _, count, _, size = self._unpack("<BBHII", self._at(address, 16))
        if version != 1:
            raise WeightsError("its HDF5 objects are damaged, or of a newer variant")
        blocks = [(address + 16, size)]
        for start, length in blocks:
            position = 0
            content = self._at(start, length)
            while position + 8 <= length and count > 0:
                kind, size, flags = self._unpack("<HHB", self._at(start + position, 8))
                message = content[position + 8 : position + 8 + size]
                if len(message) != size or (flags & 2 and kind in _KNOWN):
                    raise WeightsError("its HDF5 objects are damaged")
                position += 8 + size
                count -= 1
                if kind == _CONTINUATION:
                    blocks.append(self._unpack("<QQ", message))
                else:
                    yield kind, message

    def _shape(self, message: memoryview) -> tuple[int, ...]:
        version, rank = self._unpack("<BB", message)
        if version not in (1, 2) or rank > 8:
            raise WeightsError("its HDF5 arrays have no known shape")
        return self._unpack(f"<{rank}Q", message[8 if version == 1 else 4 :])

    def _dtype(self, message: memoryview) -> np.dtype:
        kind, bits, size = self._unpack("<BBxxI", message)
        order = ">" if bits & 1 else "<"
        if kind & 15 == _INTEGER and size in (1, 2, 4, 8):
            return np.dtype(f"{order}{'i' if bits & 8 else 'u'}{size}")
        if kind & 15 == _FLOAT:
            form = self._unpack("<HHBBBBI", message[8:])
            for info in map(np.finfo, ("f2", "f4", "f8")):
                # Bits: first, all; exponent: first, all; mantissa: first, all; bias.
                bits, bias = (0, info.bits), 2 ** (info.nexp - 1) - 1
                wanted = (*bits, info.nmant, info.nexp, 0, info.nmant, bias)
                if (8 * size, form) == (info.bits, wanted):
                    return np.dtype(f"{order}f{size}")
        raise WeightsError("its HDF5 arrays hold no numbers of a known kind")

    def _attribute(self, message: memoryview) -> tuple[str, memoryview, memoryview]:
        """Split an attribute into its name, its datatype and its value."""
        version, _, *sizes = self._unpack("<BBHHH", message)
        if version not in (1, 2, 3):
            raise WeightsError("its HDF5 attributes are damaged")
        position = 9 if version == 3 else 8
        parts = []
        for size in sizes:
            parts.append(message[position : position + size])
            position += -(-size // 8) * 8 if version == 1 else size
        name = _decoded(bytes(parts[0]).split(b"\0")[0])
        return name, parts[1], message[position:]

    def _text(self, datatype: memoryview, value: memoryview) -> str:
        kind, bits, size = self._unpack("<BBxxI", datatype)
        if kind & 15 == _STRING:
            return _decoded(bytes(value[: min(size, LONGEST_TEXT)]).rstrip(b"\0 "))
        if kind & 15 != _VARIABLE or bits & 15 != 1:
            raise WeightsError("its HDF5 attributes hold no text")
        length, heap, wanted = self._unpack("<IQI", value)
        if length > LONGEST_TEXT:
            raise WeightsError(f"its HDF5 attributes hold a text of {length} bytes")
        block = self._block(heap, b"GCOL", 16)
        (size,) = self._unpack("<Q", block[8:])
        position, end = heap + 16, heap + size
        while position + 16 <= end:
            index, length_here = self._unpack("<H6xQ", self._at(position, 16))
            if index == 0:
                break
            if index == wanted:
                return _decoded(bytes(self._at(position + 16, length_here)[:length]))
            position += 16 + -(-length_here // 8) * 8
        raise WeightsError("its HDF5 attributes point to no text")


_KNOWN = {_DATASPACE, _DATATYPE, _EXTERNAL, _LAYOUT, _FILTERS, _ATTRIBUTE, _SYMBOLS}


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise WeightsError(f"its HDF5 names are damaged ({error})") from error
