"""Protocol buffers' wire format: the fields of a message, without a schema.

None of a message's bytes is copied, and a message inside is read only when it is
asked for, so depth is bounded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from alexnet.weights.errors import WeightsError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# In all of a file. A net of Caffe has dozens of layers, and each packs its numbers
# into one field.
MOST_FIELDS = 50_000


class Message:
    """One message: its fields' values by field number, in their order.

    Args:
        content: The message's bytes.
        budget: What is left of the file's fields; None for a file's first message.

    Attributes:
        integers: Of the fields that hold a number of variable length.
        contents: Bytes of the fields that hold text, a message or packed numbers.
        reals: Bytes of the fields that hold one number of 4 or 8 bytes.

    Raises:
        WeightsError: A field reaches beyond the message, or is of a kind that
            Caffe's messages do not have; or the file has too many.
    """

    def __init__(
        self, content: memoryview, budget: Iterator[int] | None = None
    ) -> None:
        self._budget = iter(range(MOST_FIELDS)) if budget is None else budget
        self.integers: dict[int, list[int]] = defaultdict(list)
        self.contents: dict[int, list[memoryview]] = defaultdict(list)
        self.reals: dict[int, list[memoryview]] = defaultdict(list)
        position = 0
        while position < len(content):
            if next(self._budget, None) is None:
                raise WeightsError(f"it has more than {MOST_FIELDS} protobuf fields")
            key, position = _varint(content, position)
            number, kind = key >> 3, key & 7
            if number == 0:
                raise WeightsError("its protobuf message has a field 0")
            if kind == _VARINT:
                value, position = _varint(content, position)
                self.integers[number].append(value)
                continue
            if kind == _BYTES:
                length, position = _varint(content, position)
            elif kind in (_FIXED64, _FIXED32):
                length = 8 if kind == _FIXED64 else 4
            else:
                raise WeightsError(
                    f"its protobuf message has a field of wire type {kind}"
                )
            if length > len(content) - position:
                raise WeightsError(
                    f"its protobuf field {number} announces {length} bytes where "
                    f"{len(content) - position} are left; the file may be cut off"
                )
            fields = self.contents if kind == _BYTES else self.reals
            fields[number].append(content[position : position + length])
            position += length

    def messages(self, number: int) -> Iterator[Message]:
        """Yield the messages in a field."""
        if self.integers[number] or self.reals[number]:
            raise WeightsError(f"its protobuf field {number} should hold a message")
        for content in self.contents[number]:
            yield Message(content, self._budget)

    def text(self, number: int) -> str:
        """Return the last text of a field, up to a thousand bytes."""
        texts = self.contents[number] or [memoryview(b"")]
        return bytes(texts[-1][:1000]).decode(errors="replace")

    def integer(self, number: int, default: int) -> int:
        """Return the last whole number of a field."""
        return self.integers[number][-1] if self.integers[number] else default

    def real(self, number: int, default: float) -> float:
        """Return the last number of 4 bytes of a field."""
        reals = self.reals[number]
        return float(np.frombuffer(reals[-1][:4], "<f4")[0]) if reals else default


def varints(content: memoryview) -> Iterator[int]:
    """Yield the numbers of a packed field."""
    position = 0
    while position < len(content):
        value, position = _varint(content, position)
        yield value


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
