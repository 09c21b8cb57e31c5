"""From the layout of a file to that of Keras.

Keras keeps kernels as (height, width, in, out) and dense rows as the flattened
image, (height, width, channels). Caffe and PyTorch keep (out, in, height,
width), (out, in), and rows over (channels, height, width). With groups `in` is
one group's share, and `out` runs through the groups in both.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import keras
import numpy as np

from alexnet.layers.local_response import LocalResponseNormalization
from alexnet.weights.errors import WeightsError, shown

# A layer's arrays, kernel first, by the layer's name; in the order of the layers.
Arrays = dict[str, list[np.ndarray]]


class LayerWeights(NamedTuple):
    """One layer's kernel and bias as in the file."""

    name: str
    kernel: np.ndarray
    bias: np.ndarray | None = None


class Normalization(NamedTuple):
    """`LocalResponseNormalization`'s arguments; `alpha` scales the sum."""

    depth_radius: int
    bias: float
    alpha: float
    beta: float


class Source(NamedTuple):
    """What a reader found in a file.

    Attributes:
        kind: The format, for messages.
        layers: In the order in which the net computes them.
        kernels: "OIHW" (dense: out, in) or "HWIO" (dense: in, out).
        channels_first: Whether the first dense layer's inputs run over
            (channels, height, width).
        channel_order: "rgb" or "bgr", of the images that the net was trained on;
            None if the format does not tell.
        lrn: Normalizations across channels in order; None if unknown.
    """

    kind: str
    layers: list[LayerWeights]
    kernels: str
    channels_first: bool
    channel_order: str | None = "rgb"
    lrn: tuple[Normalization, ...] | None = None


def to_keras(source: Source, model: Any, channel_order: str | None) -> Arrays:
    """Return a file's arrays in Keras' layout, named as the model's layers.

    Layers are paired in order: convolutions and dense layers.

    Args:
        source: What a reader found.
        model: The network.
        channel_order: "rgb", "bgr", or None for the source's.

    Raises:
        WeightsError: The numbers of layers differ; the model has other layers
            with weights; an array has the wrong number of dimensions; or the
            channel order is unknown.
    """
    targets = [layer for layer in model.layers if layer.weights]
    for layer in targets:
        if not isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            raise WeightsError(
                f"the model's layer {layer.name!r} ({type(layer).__name__}) has "
                "weights, which such a file does not hold"
            )
    arrays: Arrays = {}
    for number, given in enumerate(source.layers):
        target = targets[number] if number < len(targets) else None
        name = target.name if target is not None else given.name
        kernel = _kernel(given, source.kernels)
        if isinstance(target, keras.layers.Dense) and not any(
            array[0].ndim == 2 for array in arrays.values()
        ):
            kernel = _first_dense(kernel, source, model)
        while name in arrays:
            name += "'"
        bias = [] if given.bias is None else [given.bias]
        arrays[name] = [kernel, *bias]
    first = next(iter(arrays.values()))
    if first[0].ndim == 4 and first[0].shape[2] == 3:
        order = channel_order or source.channel_order
        if order is None:
            raise WeightsError(
                "the file does not tell whether its net was trained on RGB or BGR "
                'images; pass channel_order="rgb" or "bgr" (on the command line '
                "--channel-order)"
            )
        if order == "bgr":
            turn_around(first)
    _compare_normalizations(source, model)
    return arrays


def turn_around(first: list[np.ndarray]) -> None:
    """Exchange red and blue in the kernel of the first layer's arrays."""
    if first and first[0].ndim == 4 and first[0].shape[2] == 3:
        first[0] = first[0][:, :, ::-1, :]


def _kernel(given: LayerWeights, layout: str) -> np.ndarray:
    kernel = given.kernel
    if kernel.ndim not in (2, 4):
        raise WeightsError(
            f"its layer {shown(given.name)} has a kernel of shape {kernel.shape}; "
            "convolutions have 4 dimensions, dense layers 2"
        )
    if layout == "OIHW":
        return kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel.T
    return kernel


def _first_dense(kernel: np.ndarray, source: Source, model: Any) -> np.ndarray:
    """Turn rows over (channels, height, width) to (height, width, channels)."""
    flatten = [
        layer for layer in model.layers if isinstance(layer, keras.layers.Flatten)
    ]
    if not source.channels_first or not flatten:
        return kernel
    height, width, channels = flatten[0].input.shape[1:]
    # Of another size, it does not fit, and is compared with what the model needs.
    if kernel.ndim != 2 or kernel.shape[0] != math.prod((height, width, channels)):
        return kernel
    rows = kernel.reshape(channels, height, width, -1).transpose(1, 2, 0, 3)
    return rows.reshape(kernel.shape)


def _compare_normalizations(source: Source, model: Any) -> None:
    """Warn if the file's net normalizes across channels otherwise than the model."""
    found = [
        Normalization(layer.depth_radius, layer.bias, layer.alpha, layer.beta)
        for layer in model.layers
        if isinstance(layer, LocalResponseNormalization)
    ]
    if source.lrn is None or (
        len(found) == len(source.lrn)
        and np.allclose(found, list(source.lrn), rtol=1e-4, atol=0)
    ):
        return
    warnings.warn(
        "The file's net normalizes across channels otherwise than this model, which "
        f"costs accuracy: the file has {_listed(source.lrn)}, the model "
        f"{_listed(found)} (alpha scales the sum; Caffe's is divided by the size).",
        UserWarning,
        stacklevel=5,
    )


def _listed(normalizations: Any) -> str:
    texts = [
        f"(depth_radius={n.depth_radius}, bias={n.bias:.4g}, alpha={n.alpha:.4g}, "
        f"beta={n.beta:.4g})"
        for n in normalizations
    ]
    return ", ".join(texts) or "none"
