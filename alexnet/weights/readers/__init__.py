"""Readers: from a file of any known format to its weights, without a backend.

A reader is a function that takes a file's content and returns a `Source`, or raises
`WeightsError`. To add a format, add its first bytes and its reader to `_READERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alexnet.weights.errors import WeightsError, shown
from alexnet.weights.files import read_file
from alexnet.weights.formats.archives import Archive
from alexnet.weights.formats.hdf5 import START as HDF5_START
from alexnet.weights.formats.hdf5 import Hdf5
from alexnet.weights.readers import caffe, keras, torchvision, toronto
from alexnet.weights.source import Source

# The largest AlexNet with Adam's state in float64 has 1.5 GB.
LARGEST_FILE = 2 << 30


def read(path: Path, sha256: str | None = None) -> Source:
    """Read a weight file.

    Of the extensions only `.caffemodel` matters: that format cannot be recognized
    by its first bytes.

    Args:
        path: The file.
        sha256: Hash that it must have, in hexadecimal; None for any.

    Raises:
        WeightsError: The file is missing, damaged, of another format or hash.
    """
    reader: Callable[[bytes], Source] | None = None
    if path.suffix.lower() == ".caffemodel":
        reader = caffe.read_caffemodel

    def recognize(start: bytes) -> None:
        nonlocal reader
        for known, found in _READERS.items():
            if start.startswith(known):
                reader = found
        if reader is None:
            raise WeightsError(
                "it is cut off, damaged or of another format; known are PyTorch's "
                ".pth, Caffe's .caffemodel (by its extension) and .caffemodel.h5, "
                "Toronto's .npy, and Keras' .weights.h5 and .keras"
            )

    data = read_file(path, LARGEST_FILE, sha256, recognize)
    assert reader is not None
    return reader(data)


def _read_zip(data: bytes) -> Source:
    archive = Archive(data)
    if keras.MEMBER in archive.names:
        return _read_hdf5(archive.read(keras.MEMBER))
    return torchvision.read_zip(archive)


def _read_hdf5(data: bytes) -> Source:
    file = Hdf5(data)
    members = file.members(file.root)
    if "data" in members:
        return caffe.read_hdf5(file, members["data"])
    if "layers" in members:
        return keras.read_hdf5(file, members["layers"])
    if "model_weights" in members:
        raise WeightsError(
            "it is a model of Keras 2 (or Keras 3's older .h5); load it there and save "
            "it as .keras"
        )
    raise WeightsError(
        "it has neither the group 'layers' of Keras 3 nor Caffe's 'data'; it has "
        f"{', '.join(map(shown, sorted(members)[:5])) or 'none'}"
    )


_READERS: dict[bytes, Callable[[bytes], Source]] = {
    b"PK": _read_zip,
    HDF5_START: _read_hdf5,
    torchvision.LEGACY_START: torchvision.read_legacy,
    toronto.START: toronto.read_npy,
}
