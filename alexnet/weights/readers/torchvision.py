"""PyTorch's `.pth`: the zip format, and the one before PyTorch 1.6.

Both hold a pickled dict of tensors, which refer by key to storages: entries of
the archive, or, in the older format, the rest of the file in the order of a
pickled list of keys.
"""

from __future__ import annotations

import functools
import io
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from alexnet.weights.errors import WeightsError, shown
from alexnet.weights.formats.archives import Archive
from alexnet.weights.formats.pickles import ForeignPickleError, Global, read_pickle
from alexnet.weights.source import Layer, Source

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
LEGACY_START = b"\x80\x02\x8a\x0a" + MAGIC_NUMBER.to_bytes(10, "little")
_PROTOCOL = 1001

# By the storage's class; bfloat16 is the upper half of a float32.
_FLOATS = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",
}
_DTYPES = {
    **_FLOATS,
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}

_ADVICE = "save model.state_dict() alone, with torch.save"
# Under which checkpoints keep it.
_STATE_NAMES = ("state_dict", "model_state_dict", "model")
_TORCHVISION_LAYERS = [
    *(f"features.{number}" for number in (0, 3, 6, 8, 10)),
    *(f"classifier.{number}" for number in (1, 4, 6)),
]


class _Storage(NamedTuple):
    kind: str
    key: str
    length: int

    def numbers(self, raw: bytes | memoryview, endian: str) -> np.ndarray:
        """Return the storage's content as numbers."""
        dtype = np.dtype(endian + _DTYPES[self.kind])
        if len(raw) != self.length * dtype.itemsize:
            raise WeightsError(
                f"its storage {shown(self.key)} should have "
                f"{self.length * dtype.itemsize} bytes, but has {len(raw)}; the file "
                "may be cut off"
            )
        return np.frombuffer(raw, dtype)


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_Numbers = Callable[[_Storage], np.ndarray]


def read_zip(archive: Archive) -> Source:
    """Read the zip format, PyTorch's since 1.6."""
    pickles = [name for name in archive.names if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise WeightsError(
            "its archive should hold one data.pkl, as torch.save writes, or Keras' "
            f"model.weights.h5; it has {', '.join(map(shown, archive.names[:5]))}"
        )
    prefix = pickles[0].removesuffix("data.pkl")
    order = b"little"
    if prefix + "byteorder" in archive.names:
        order = archive.read(prefix + "byteorder")
    endian = {b"little": "<", b"big": ">"}.get(order)
    if endian is None:
        raise WeightsError(f"its byte order is {shown(order)}")
    stream = io.BytesIO(archive.read(pickles[0]))
    state = _read_state(stream, _storage)
    if stream.read(1):
        raise WeightsError("its pickle ends before data.pkl does")

    @functools.cache
    def numbers(storage: _Storage) -> np.ndarray:
        return storage.numbers(archive.read(f"{prefix}data/{storage.key}"), endian)

    return _source(state, numbers)


def read_legacy(data: bytes) -> Source:
    """Read the format before PyTorch 1.6: five pickles, then the numbers."""
    stream = io.BytesIO(data)
    magic, protocol, system = (read_pickle(stream, {}) for _ in range(3))
    little = isinstance(system, dict) and system.get("little_endian")
    if magic != MAGIC_NUMBER or protocol != _PROTOCOL or not isinstance(little, bool):
        raise WeightsError("it does not begin as torch.save's files do")
    endian = "<" if little else ">"
    storages: dict[str, _Storage] = {}

    def found(reference: Any) -> _Storage:
        storage = _storage(reference)
        if storages.setdefault(storage.key, storage) != storage:
            raise WeightsError(f"its storage {shown(storage.key)} is described twice")
        return storage

    state = _read_state(stream, found)
    keys = read_pickle(stream, {})
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise WeightsError("its list of storages does not match its tensors")
    view, position = memoryview(data), stream.tell()
    numbers = {}
    for key in keys:
        storage = storages[str(key)]
        start = position + 8
        length = int.from_bytes(view[position:start], "little" if little else "big")
        position = start + storage.length * np.dtype(_DTYPES[storage.kind]).itemsize
        if length != storage.length:
            raise WeightsError(
                f"its storage {shown(key)} should hold {storage.length} numbers; the "
                f"file announces {length}"
            )
        numbers[storage] = storage.numbers(view[start:position], endian)
    if position != len(data):
        raise WeightsError(f"{len(data) - position} bytes follow its last storage")
    return _source(state, numbers.__getitem__)


def _read_state(stream: io.BytesIO, storage: Callable[[Any], _Storage]) -> Any:
    try:
        return read_pickle(stream, _FUNCTIONS, storage)
    except ForeignPickleError as error:
        raise WeightsError(f"{error}; {_ADVICE}") from error


def _source(state: Any, numbers: _Numbers) -> Source:
    """Pair the weights and biases of a `state_dict`, in its order.

    A checkpoint that holds the `state_dict` under one of the usual names works too;
    its other entries are ignored.
    """
    for name in _STATE_NAMES:
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    if not isinstance(state, dict) or not state:
        found = shown(state) if state else f"an empty {type(state).__name__}"
        raise WeightsError(f"it holds {found} instead of a dict of tensors; {_ADVICE}")
    arrays: dict[str, dict[str, np.ndarray]] = {}
    used: Counter[str] = Counter()
    for name, tensor in state.items():
        match = re.fullmatch(r"(.+)\.(weight|bias)", str(name))
        if match is None or not isinstance(tensor, _Tensor):
            raise WeightsError(
                f"its entry {shown(name)} is {shown(tensor)}, not a layer's weight "
                f"or bias; {_ADVICE}"
            )
        used[tensor.storage.key] += math.prod(tensor.shape)
        if used[tensor.storage.key] > tensor.storage.length:
            raise WeightsError(
                f"its tensor {shown(name)} repeats numbers, its own or another's, or "
                "does not lie within its storage"
            )
        arrays.setdefault(match[1], {})[match[2]] = _array(name, tensor, numbers)
    layers: list[Layer] = []
    for name, pair in arrays.items():
        if "weight" not in pair:
            raise WeightsError(f"its layer {shown(name)} has a bias, but no weight")
        layers.append((name, [pair[key] for key in ("weight", "bias") if key in pair]))
    # torchvision's own net normalizes nowhere; of others the file does not say.
    lrn = () if list(arrays) == _TORCHVISION_LAYERS else None
    return Source("PyTorch", layers, channels_first=True, channel_order="rgb", lrn=lrn)


def _array(name: str, tensor: _Tensor, numbers: _Numbers) -> np.ndarray:
    storage, offset, shape, strides = tensor
    if storage.kind not in _FLOATS:
        raise WeightsError(f"its tensor {shown(name)} holds no floating-point numbers")
    steps = zip(shape, strides, strict=True)
    last = offset + sum((size - 1) * stride for size, stride in steps)
    if last >= storage.length or 0 in shape:
        raise WeightsError(
            f"its tensor {shown(name)} of shape {shape} does not lie within its "
            f"storage of {storage.length} numbers"
        )
    flat = numbers(storage)
    view = np.lib.stride_tricks.as_strided(
        flat[offset:], shape, [n * flat.itemsize for n in strides], writeable=False
    )
    if storage.kind == "BFloat16Storage":
        return (view.astype(np.uint32) << 16).view(np.float32)
    return view


def _storage(reference: Any) -> _Storage:
    """Check a reference: ("storage", class, key, device, length)."""
    if isinstance(reference, tuple) and len(reference) in (5, 6):
        tag, kind, key, _, length, *views = reference
        name = kind.name.removeprefix("torch ") if isinstance(kind, Global) else None
        if views not in ([], [None]):
            raise WeightsError("its storages are views of others; save it again")
        if tag == "storage" and name in _DTYPES and isinstance(key, str | int):
            return _Storage(name, str(key), _size(length))
    raise WeightsError("its pickle refers to data in an unknown way")


def _rebuild(
    storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any
) -> _Tensor:
    """Stand in for `torch._utils._rebuild_tensor_v2`."""
    # Whether gradients are needed, hooks, and metadata: that it is to be negated.
    if len(rest) > 3 or (len(rest) == 3 and rest[2]):
        raise ValueError("a tensor is more than its numbers")
    if not isinstance(storage, _Storage):
        raise TypeError("a tensor has no storage")
    if len(shape) != len(strides) or len(shape) > 8:
        raise ValueError("a tensor's shape and strides differ in length")
    return _Tensor(
        storage, _size(offset), tuple(map(_size, shape)), tuple(map(_size, strides))
    )


def _size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**48:
        raise ValueError(f"{shown(value)} is no size")
    return value


_FUNCTIONS: dict[str, Callable[..., Any] | None] = {
    "torch._utils _rebuild_tensor": _rebuild,
    "torch._utils _rebuild_tensor_v2": _rebuild,
    "torch._utils _rebuild_parameter": lambda tensor, *_: tensor,
    **dict.fromkeys((f"torch {name}" for name in _DTYPES), None),
}
