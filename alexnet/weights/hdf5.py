"""HDF5 files: Keras' `.weights.h5` and Caffe's `.caffemodel.h5`.

h5py reads them from memory. A dataset counts only if its numbers lie in the file
as they are: no links to other files, no compression, no shape without contents.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from alexnet.weights import caffe
from alexnet.weights.errors import WeightsError, shown
from alexnet.weights.layout import Arrays, Source

START = b"\x89HDF\r\n\x1a\n"
# Far more than an AlexNet's layers.
MOST_MEMBERS = 10_000


def read_keras(data: bytes) -> Arrays:
    """Read a Keras 3 `.weights.h5`: each layer's arrays by the layer's name.

    Raises:
        WeightsError: The file is damaged, or not of this kind.
    """
    arrays: Arrays = {}
    with _opened(data) as file:
        layers = _group(file, "layers")
        for key in _names(layers):
            variables = _group(layers, key)
            if "vars" not in _names(variables):
                continue
            variables = _group(variables, "vars")
            indices = _names(variables)
            if not indices:
                continue
            name = variables.attrs.get("name")
            if not isinstance(name, str) or name in arrays:
                raise WeightsError(
                    f"its group layers/{key} does not say its layer's name, as Keras "
                    "3.12 and later do, or shares it with another"
                )
            if sorted(indices) != sorted(map(str, range(len(indices)))):
                raise WeightsError(f"its layer {shown(name)} lacks a variable")
            arrays[name] = [
                _array(variables, str(index), len(data))
                for index in range(len(indices))
            ]
    if not arrays:
        raise WeightsError("it holds no layers with weights")
    return arrays


def read_caffe(data: bytes) -> Source:
    """Read a `.caffemodel.h5`: /data/<layer>/0 is a kernel, 1 its bias.

    The file keeps no order: convolutions come first, then by number.
    """
    layers = []
    with _opened(data) as file:
        root = _group(file, "data")
        for name in _names(root):
            group = _group(root, name)
            indices = sorted(_names(group))
            if indices != ["0", "1"][: len(indices)]:
                raise WeightsError(f"its layer {shown(name)} has no kernel and bias")
            blobs = [_array(group, index, len(data)) for index in indices]
            if blobs:
                layers.append(caffe.pair(name, blobs))
    if not layers:
        raise WeightsError("it holds no layers with weights")
    layers.sort(key=lambda layer: (-layer.kernel.ndim, _natural(layer.name)))
    return caffe.source("Caffe's .caffemodel.h5", layers, None)


def is_caffe(data: bytes) -> bool:
    """Tell a `.caffemodel.h5` from other HDF5 files."""
    with _opened(data) as file:
        return "data" in _names(file)


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[h5py.File]:
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            yield file
    except WeightsError:
        raise
    except (
        OSError,
        RuntimeError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        OverflowError,
        MemoryError,
        NotImplementedError,
    ) as error:
        raise WeightsError(f"its HDF5 structure is damaged ({error})") from error


def _names(group: h5py.Group) -> list[str]:
    if len(group) > MOST_MEMBERS:
        raise WeightsError(f"a group of it has {len(group)} members")
    return list(group)


def _member(group: h5py.Group, name: str) -> Any:
    if name not in _names(group):
        raise WeightsError(f"it lacks {shown(name)} in its group {shown(group.name)}")
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise WeightsError(f"its {shown(name)} is a link to elsewhere")
    return group[name]


def _group(parent: h5py.Group, name: str) -> h5py.Group:
    group = _member(parent, name)
    if not isinstance(group, h5py.Group):
        raise WeightsError(f"its {shown(name)} should be a group")
    return group


def _array(group: h5py.Group, name: str, file_size: int) -> np.ndarray:
    dataset = _member(group, name)
    where = f"{group.name}/{name}"
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise WeightsError(f"its {shown(where)} should be an array")
    if dataset.dtype.kind not in "fiu" or len(dataset.shape) > 8:
        raise WeightsError(f"its array {shown(where)} holds no numbers")
    size = math.prod(dataset.shape) * dataset.dtype.itemsize
    if dataset.chunks or dataset.external or dataset.is_virtual:
        raise WeightsError(
            f"its array {shown(where)} is compressed, in chunks or in another file; "
            "neither Keras nor Caffe writes weights so"
        )
    if size > file_size or dataset.id.get_storage_size() != size:
        raise WeightsError(
            f"its array {shown(where)} of shape {dataset.shape} has no numbers or "
            "reaches beyond the file"
        )
    return np.asarray(dataset[()])


def _natural(name: str) -> list[Any]:
    return [
        (1, int(part), "") if part.isdecimal() else (0, 0, part)
        for part in re.split(r"(\d{1,9})", name)
    ]
