"""Toronto's `bvlc_alexnet.npy`: a pickled dict of [kernel, bias] lists.

NumPy wrote it under Python 2: a header, then the pickle of an array that holds
one object. Kernels are HWIO; the net is Caffe's, so its images are BGR and the
rows of fc6 already run over (height, width, channels).
"""

from __future__ import annotations

import io
import math
import re
from typing import Any

import numpy as np

from alexnet.weights.errors import WeightsError, shown
from alexnet.weights.formats.pickles import Stateful, read_pickle
from alexnet.weights.source import Normalization, Source

START = b"\x93NUMPY"
_HEADER = re.compile(
    rb"\{'descr': '\|?O', 'fortran_order': (False|True), 'shape': \(\),? *\} *\n"
)
# tf.nn.local_response_normalization's arguments beside the file, at its source.
LRN = (Normalization(depth_radius=2, bias=1.0, alpha=2e-5, beta=0.75),) * 2


class _Dtype(Stateful):
    """Stand in for `numpy.dtype`; only floating point and object."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or code not in ("f2", "f4", "f8", "O8", "O"):
            raise WeightsError(f"its numbers are of type {shown(code)}, not float")
        self.code = code
        self.order = "="

    def set_state(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "|", "="):
            raise ValueError("a dtype's byte order is unknown")
        self.order = order


class _Array(Stateful):
    """Stand in for `numpy.ndarray`; `value` is an array or an object's list."""

    def __init__(self) -> None:
        self.value: Any = None

    def set_state(self, state: Any) -> None:
        _, shape, dtype, is_fortran, content = state
        if not isinstance(dtype, _Dtype) or not isinstance(is_fortran, bool | int):
            raise TypeError("an array has no dtype")
        if not all(type(size) is int and 0 <= size < 2**48 for size in shape):
            raise ValueError("an array's shape is none")
        if dtype.code.startswith("O"):
            if shape != () or not isinstance(content, list) or len(content) != 1:
                raise ValueError("an array of objects should hold one")
            self.value = content[0]
            return
        raw = content.encode("latin-1") if isinstance(content, str) else content
        kind = np.dtype(dtype.order + dtype.code)
        if not isinstance(raw, bytes) or len(raw) != math.prod(shape) * kind.itemsize:
            raise ValueError("an array's shape and bytes do not match")
        self.value = np.frombuffer(raw, kind).reshape(
            shape, order="F" if is_fortran else "C"
        )


def read_npy(data: bytes) -> Source:
    """Read an `.npy` file that holds a dict of layers.

    Raises:
        WeightsError: The file is damaged or holds something else.
    """
    length = int.from_bytes(data[8:10], "little")
    header = data[10 : 10 + length]
    if data[6:8] != b"\x01\x00" or not _HEADER.fullmatch(header):
        raise WeightsError(
            "its header does not announce one object, a dict of layers, as that of "
            "bvlc_alexnet.npy does"
        )
    stream = io.BytesIO(data)
    stream.seek(10 + length)
    content = read_pickle(stream, _FUNCTIONS)
    if stream.read(1):
        raise WeightsError("its pickle ends before the file does")
    layers = _value(content)
    if not isinstance(layers, dict) or not layers:
        raise WeightsError(f"it holds {shown(layers)} instead of a dict of layers")
    numbers = range(1, len(layers) + 1)
    names = [f"conv{n}" if f"conv{n}" in layers else f"fc{n}" for n in numbers]
    if set(names) != set(layers):
        raise WeightsError(
            "its layers should be called conv1, conv2, ..., then fc6, fc7, ...; "
            f"it has {', '.join(map(shown, list(layers)[:12]))}"
        )
    return Source(
        "Toronto's .npy",
        [(name, _arrays(name, layers[name])) for name in names],
        channels_first=False,
        channel_order="bgr",
        lrn=LRN,
    )


def _arrays(name: str, entry: Any) -> list[np.ndarray]:
    arrays = [_value(item) for item in entry] if isinstance(entry, list | tuple) else []
    if len(arrays) != 2 or not all(isinstance(array, np.ndarray) for array in arrays):
        raise WeightsError(f"its layer {shown(name)} should be [kernel, bias]")
    return arrays


def _value(item: Any) -> Any:
    return item.value if isinstance(item, _Array) else item


def _encode(text: Any, _: Any) -> bytes:
    """Stand in for `_codecs.encode`, Python 3's way to write bytes as text."""
    if not isinstance(text, str):
        raise TypeError("bytes are not given as text")
    return text.encode("latin-1")


_FUNCTIONS = {
    "numpy dtype": _Dtype,
    "numpy ndarray": None,
    "numpy.core.multiarray _reconstruct": lambda *_: _Array(),
    "numpy._core.multiarray _reconstruct": lambda *_: _Array(),
    "_codecs encode": _encode,
}
