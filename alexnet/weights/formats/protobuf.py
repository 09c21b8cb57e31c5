"""Protocol buffers' wire format: the fields of a message, without a schema.

A message is read field by field within its bytes, none of which is copied; a
reader descends only into the fields that it knows, so depth is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from alexnet.weights.errors import WeightsError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTHS = {FIXED64: 8, FIXED32: 4}
# In all of a file. A net of Caffe has dozens of layers, and each packs its numbers
# into one field.
MOST_FIELDS = 50_000


class Field(NamedTuple):
    """One field: its number, its wire type and what it holds.

    `number` of VARINT is in `value`, the bytes of the others in `content`.
    """

    number: int
    kind: int
    value: int
    content: memoryview


class Reader:
    """Reads the messages of one file, of `MOST_FIELDS` fields at most."""

    def __init__(self) -> None:
        self._left = MOST_FIELDS

    def fields(self, message: memoryview) -> Iterator[Field]:
        """Yield the fields of a message in their order.

        Raises:
            WeightsError: A field reaches beyond the message, or is of a kind that
                Caffe's messages do not have; or the file has too many.
        """
        position = 0
        empty = message[:0]
        while position < len(message):
            self._left -= 1
            if self._left < 0:
                raise WeightsError(f"it has more than {MOST_FIELDS} protobuf fields")
            key, position = _varint(message, position)
            number, kind = key >> 3, key & 7
            if number == 0:
                raise WeightsError("its protobuf message has a field 0")
            if kind == VARINT:
                value, position = _varint(message, position)
                yield Field(number, kind, value, empty)
                continue
            if kind == BYTES:
                length, position = _varint(message, position)
            elif kind in _WIDTHS:
                length = _WIDTHS[kind]
            else:
                raise WeightsError(
                    f"its protobuf message has a field of wire type {kind}"
                )
            if length > len(message) - position:
                raise WeightsError(
                    f"its protobuf field {number} announces {length} bytes where "
                    f"{len(message) - position} are left; the file may be cut off"
                )
            yield Field(number, kind, 0, message[position : position + length])
            position += length


def varints(content: memoryview) -> Iterator[int]:
    """Yield the numbers of a packed field."""
    position = 0
    while position < len(content):
        value, position = _varint(content, position)
        yield value


def text(field: Field) -> str:
    """Return the text that a field holds."""
    if field.kind != BYTES:
        raise WeightsError(f"its protobuf field {field.number} should hold text")
    try:
        return str(field.content[:1000], "utf-8")
    except UnicodeDecodeError as error:
        raise WeightsError(
            f"its protobuf field {field.number} should hold text ({error})"
        ) from error


def message(field: Field) -> memoryview:
    """Return the message that a field holds."""
    if field.kind != BYTES:
        raise WeightsError(f"its protobuf field {field.number} should hold a message")
    return field.content


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise WeightsError("its protobuf message ends inside a field")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
    raise WeightsError("its protobuf message has a number of more than 64 bits")
