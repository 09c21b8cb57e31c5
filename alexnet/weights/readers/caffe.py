"""Caffe's `.caffemodel` in both of its layouts, `.caffemodel.h5`, and mean images.

A net is a message whose layers are fields "layer" (LayerParameter, since 2014)
or "layers" (V1LayerParameter); each holds its name, its type and its blobs. The
field numbers are those of BVLC/caffe, src/caffe/proto/caffe.proto.
"""

from __future__ import annotations

import itertools
import math
import re
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from alexnet.weights.errors import WeightsError, shown
from alexnet.weights.files import read_file
from alexnet.weights.formats import protobuf
from alexnet.weights.formats.hdf5 import Hdf5
from alexnet.weights.source import Layer, Normalization, Source


class _Layout(NamedTuple):
    """Where a layer's message holds what is read of it."""

    name: int
    kind: int
    blobs: int
    lrn: int


_LAYOUTS = {
    100: _Layout(name=1, kind=2, blobs=7, lrn=118),  # NetParameter.layer
    2: _Layout(name=4, kind=5, blobs=6, lrn=18),  # NetParameter.layers
}
# V1LayerParameter.LayerType, for the kinds that matter here.
_V1_KINDS = {4: "Convolution", 14: "InnerProduct", 15: "LRN"}
_WITHIN_CHANNEL = 1
LARGEST_MEAN = 64 << 20


def read_caffemodel(data: bytes) -> Source:
    """Read a trained net.

    Raises:
        WeightsError: The file is damaged or holds no layers with weights.
    """
    reader = protobuf.Reader()
    layers: list[Layer] = []
    lrn = []
    for field in reader.fields(memoryview(data)):
        if field.number not in _LAYOUTS:
            continue
        layout = _LAYOUTS[field.number]
        name, kind, blobs, norm = _layer(reader, protobuf.message(field), layout)
        if kind == "LRN" and norm is not None:
            lrn.append(norm)
        if not blobs:
            continue
        if kind not in ("Convolution", "InnerProduct"):
            raise WeightsError(
                f"its layer {shown(name)} of type {shown(kind)} has weights; "
                "AlexNets have them only in Convolution and InnerProduct layers"
            )
        layers.append((name, _kernel_and_bias(name, blobs)))
    if not layers:
        raise WeightsError(
            "it holds no layers with weights in either layout of .caffemodel; bring "
            "older nets up to date with Caffe's upgrade_net_proto_binary"
        )
    return _source("Caffe's .caffemodel", layers, tuple(lrn))


def read_hdf5(file: Hdf5, root: int) -> Source:
    """Read /data/<layer>/0, a kernel, and 1, its bias.

    The file keeps no order: convolutions come first, then by number.

    Args:
        file: The file.
        root: Address of its group "data".

    Raises:
        WeightsError: The file is damaged or holds no layers with weights.
    """
    layers: list[Layer] = []
    for name, layer in file.members(root).items():
        if not file.is_group(layer):
            raise WeightsError(f"its member {shown(name)} should be a group")
        members = file.members(layer)
        if sorted(members) != ["0", "1"][: len(members)]:
            raise WeightsError(f"its layer {shown(name)} has no kernel and bias")
        if members:
            blobs = [file.array(members[index]) for index in sorted(members)]
            layers.append((name, _kernel_and_bias(name, blobs)))
    if not layers:
        raise WeightsError("it holds no layers with weights")
    layers.sort(key=lambda layer: (-layer[1][0].ndim, _by_number(layer[0])))
    return _source("Caffe's .caffemodel.h5", layers, None)


def _source(
    kind: str, layers: list[Layer], lrn: tuple[Normalization, ...] | None
) -> Source:
    """Describe the weights of one of Caffe's nets.

    Its images were BGR if its dense layers are called fc6, fc7, ... as in
    AlexNet and CaffeNet (OpenCV read them), and RGB if they are called ip1,
    ip2, ... as in the CIFAR-10 examples (whose files hold RGB); of another net
    the caller has to say it.
    """
    dense = next((name for name, arrays in layers if arrays[0].ndim == 2), "")
    family = re.match(r"(fc|ip)\d", dense)
    order = {"fc": "bgr", "ip": "rgb"}[family[1]] if family else None
    return Source(kind, layers, channels_first=True, channel_order=order, lrn=lrn)


def _kernel_and_bias(name: str, blobs: list[np.ndarray]) -> list[np.ndarray]:
    """Return a layer's blobs in their shapes; older files pad these with ones."""
    if len(blobs) > 2:
        raise WeightsError(
            f"its layer {shown(name)} has {len(blobs)} blobs; convolutions and "
            "InnerProduct layers have a kernel and a bias"
        )
    kernel, *bias = blobs
    if kernel.ndim == 4 and kernel.shape[:2] == (1, 1):
        kernel = kernel.reshape(kernel.shape[2:])
    if bias and math.prod(bias[0].shape) == max(bias[0].shape, default=0):
        bias = [bias[0].reshape(-1)]
    return [kernel, *bias]


def _by_number(name: str) -> list[Any]:
    return [
        (1, int(part), "") if part.isdecimal() else (0, 0, part)
        for part in re.split(r"(\d{1,9})", name)
    ]


def read_mean(path: str | Path, *, sha256: str | None = None) -> np.ndarray:
    """Read a mean image, `.binaryproto`, as Caffe's compute_image_mean writes it.

    Args:
        path: The file.
        sha256: Hash that it must have, in hexadecimal; None for any.

    Returns:
        (height, width, channels) float32, to be subtracted from images in 0..255;
        channels in the file's order, BGR for ImageNet's and RGB for CIFAR-10's.

    Raises:
        WeightsError: The file is missing, damaged or no image.
    """
    try:
        data = read_file(Path(path), LARGEST_MEAN, sha256)
        image = _blob(protobuf.Reader(), memoryview(data))
    except WeightsError as error:
        raise WeightsError(f"Cannot read the mean image {path}: {error}.") from error
    if image.ndim == 4 and image.shape[0] == 1:
        image = image[0]
    if image.ndim != 3 or not np.isfinite(image).all():
        raise WeightsError(
            f"Cannot read the mean image {path}: it has shape {image.shape} instead "
            "of (1, channels, height, width), or numbers that are not finite."
        )
    return np.ascontiguousarray(image.transpose(1, 2, 0), np.float32)


def _layer(
    reader: protobuf.Reader, content: memoryview, layout: _Layout
) -> tuple[str, str, list[np.ndarray], Normalization | None]:
    """Return a layer's name, its type, its blobs and its normalization."""
    name, kind, lrn = "", "", None
    blobs = []
    for field in reader.fields(content):
        if field.number == layout.name:
            name = protobuf.text(field)
        elif field.number == layout.kind:
            kind = (
                _V1_KINDS.get(field.value, str(field.value))
                if field.kind == protobuf.VARINT
                else protobuf.text(field)
            )
        elif field.number == layout.blobs:
            blobs.append(_blob(reader, protobuf.message(field)))
        elif field.number == layout.lrn:
            lrn = _normalization(reader, protobuf.message(field))
    return name, kind, blobs, lrn


def _normalization(
    reader: protobuf.Reader, content: memoryview
) -> Normalization | None:
    """Read an LRNParameter; Caffe divides alpha by the size of the window."""
    size, region = 5, 0
    numbers = {2: 1.0, 3: 0.75, 5: 1.0}  # alpha, beta, k
    for field in reader.fields(content):
        if field.number == 1:
            size = field.value
        elif field.number == 4:
            region = field.value
        elif field.number in numbers and field.kind == protobuf.FIXED32:
            (numbers[field.number],) = struct.unpack("<f", field.content)
    if region == _WITHIN_CHANNEL:
        return None
    return Normalization(
        depth_radius=(size - 1) // 2,
        bias=numbers[5],
        alpha=numbers[2] / max(size, 1),
        beta=numbers[3],
    )


def _blob(reader: protobuf.Reader, content: memoryview) -> np.ndarray:
    """Read a BlobProto: its numbers, in its shape."""
    legacy = {}  # num, channels, height, width
    shape: list[int] | None = None
    numbers: dict[str, list[memoryview]] = {"<f4": [], "<f8": []}
    for field in reader.fields(content):
        if field.number in (1, 2, 3, 4) and field.kind == protobuf.VARINT:
            legacy[field.number] = field.value
        elif field.number == 5 and field.kind in (protobuf.BYTES, protobuf.FIXED32):
            numbers["<f4"].append(field.content)
        elif field.number == 8 and field.kind in (protobuf.BYTES, protobuf.FIXED64):
            numbers["<f8"].append(field.content)
        elif field.number == 7:
            shape = _shape(reader, protobuf.message(field))
    (dtype, parts), *more = [item for item in numbers.items() if item[1]] or [
        ("<f4", [])
    ]
    if shape is None:
        shape = [legacy.get(number, 0) for number in (1, 2, 3, 4)]
    raw = b"".join(parts) if len(parts) > 1 else parts[0] if parts else b""
    if more or len(raw) != math.prod(shape) * np.dtype(dtype).itemsize or not raw:
        raise WeightsError(
            f"its blob of shape {tuple(shape[:8])} should have {math.prod(shape)} "
            f"numbers, but has {len(raw)} bytes of them"
        )
    return np.frombuffer(raw, dtype).reshape(shape)


def _shape(reader: protobuf.Reader, content: memoryview) -> list[int]:
    shape: list[int] = []
    for field in reader.fields(content):
        if field.number != 1:
            continue
        if field.kind == protobuf.VARINT:
            shape.append(field.value)
        else:
            sizes = protobuf.varints(protobuf.message(field))
            shape.extend(itertools.islice(sizes, 9))
        if len(shape) > 8:
            raise WeightsError("its blobs have more than 8 dimensions")
    return shape
