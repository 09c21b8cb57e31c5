"""Caffe's `.caffemodel` in both of its layouts, `.caffemodel.h5`, and mean images.

A net is a message whose layers are fields "layer" (LayerParameter, since 2014)
or "layers" (V1LayerParameter); each holds its name, its type and its blobs. The
field numbers are those of BVLC/caffe, src/caffe/proto/caffe.proto.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from alexnet.checks import check_path
from alexnet.weights.errors import WeightsError, shown
from alexnet.weights.files import read_file
from alexnet.weights.formats.hdf5 import Hdf5
from alexnet.weights.formats.protobuf import Message, varints
from alexnet.weights.source import Layer, Normalization, Source


class _Layout(NamedTuple):
    """The number of a net's field with layers, and those of a layer's own fields."""

    field: int
    name: int
    kind: int
    blobs: int
    lrn: int


_LAYOUTS = (
    _Layout(field=100, name=1, kind=2, blobs=7, lrn=118),  # NetParameter.layer
    _Layout(field=2, name=4, kind=5, blobs=6, lrn=18),  # NetParameter.layers
)
# V1LayerParameter.LayerType, for the kinds that matter here.
_V1_KINDS = {4: "Convolution", 14: "InnerProduct", 15: "LRN"}
_WITHIN_CHANNEL = 1
LARGEST_MEAN = 64 << 20


def read_caffemodel(data: bytes) -> Source:
    """Read a trained net.

    Raises:
        WeightsError: The file is damaged or holds no layers with weights.
    """
    net = Message(memoryview(data))
    layers: list[Layer] = []
    lrn: list[Normalization] = []
    found = ((layer, at) for at in _LAYOUTS for layer in net.messages(at.field))
    for layer, at in found:
        name = layer.text(at.name)
        number = layer.integer(at.kind, 0)
        kind = _V1_KINDS.get(number, str(number)) if number else layer.text(at.kind)
        if kind == "LRN":
            lrn += _normalizations(layer.messages(at.lrn))
        blobs = [_blob(message) for message in layer.messages(at.blobs)]
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
        TypeError: An argument is of another type.
    """
    file = check_path("path", path)
    try:
        data = read_file(file, LARGEST_MEAN, sha256)
        image = _blob(Message(memoryview(data)))
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


def _normalizations(messages: Iterator[Message]) -> Iterator[Normalization]:
    """Read LRNParameters across channels; Caffe divides alpha by the window's size."""
    for lrn in messages:
        if lrn.integer(4, 0) != _WITHIN_CHANNEL:
            size, alpha = lrn.integer(1, 5), lrn.real(2, 1.0)
            beta, k = lrn.real(3, 0.75), lrn.real(5, 1.0)
            yield Normalization((size - 1) // 2, k, alpha / max(size, 1), beta)


def _blob(message: Message) -> np.ndarray:
    """Read a BlobProto: its numbers, in its shape."""
    shape = [message.integer(number, 0) for number in (1, 2, 3, 4)]
    for dimensions in message.messages(7):
        packed = map(varints, dimensions.contents[1])
        sizes = itertools.chain(dimensions.integers[1], *packed)
        shape = list(itertools.islice(sizes, 9))
        if len(shape) > 8:
            raise WeightsError("its blobs have more than 8 dimensions")
    floats = message.contents[5] + message.reals[5]
    doubles = message.contents[8] + message.reals[8]
    dtype, parts = ("<f4", floats) if floats else ("<f8", doubles)
    raw = parts[0] if len(parts) == 1 else b"".join(parts)
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if not raw or len(raw) != size or (floats and doubles):
        raise WeightsError(
            f"its blob of shape {tuple(shape)} should have {math.prod(shape)} "
            f"numbers, but has {len(raw)} bytes of them"
        )
    return np.frombuffer(raw, dtype).reshape(shape)
