"""From the layout of a file to the weights of a model: all of them, or none.

With groups, `in` of a kernel is one group's share, and `out` runs through the
groups, in files and in Keras.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import keras
import ml_dtypes
import numpy as np

from alexnet.layers.local_response import LocalResponseNormalization
from alexnet.weights.errors import WeightsError, shown
from alexnet.weights.source import Normalization, Source

# A layer's arrays in Keras' layout, by the layer's name, in the order of the layers.
_Arrays = dict[str, list[np.ndarray]]
_Shape = tuple[int, ...]


def assign(
    model: Any, source: Source, channel_order: str | None, sum_channels: bool
) -> dict[str, int]:
    """Give a model the weights of a file.

    A last layer of another number of classes keeps its weights.

    Args:
        model: The network.
        source: What a reader returned.
        channel_order: "rgb", "bgr", or None for the source's.
        sum_channels: Whether the three channels of the first kernel may be added
            up for a model of one channel.

    Returns:
        The file's number of classes, by the name of the layer that kept its
        weights; usually empty.

    Raises:
        WeightsError: A layer is missing, of another kind or shape; a number is not
            finite; or the channel order is unknown. The model is unchanged.
    """
    targets = [layer for layer in model.layers if layer.weights]
    if source.by_name:
        arrays = {name: list(given) for name, given in source.layers}
    else:
        arrays = _paired(source, targets, model)
    if targets and targets[0].name in arrays:
        first = arrays[targets[0].name]
        _turn_around(first, source, channel_order)
        _sum_channels(first, targets[0], sum_channels)
    _compare_normalizations(source, model)
    fresh = {}
    values: list[tuple[Any, np.ndarray]] = []
    for layer in targets:
        needed = [tuple(weight.shape) for weight in layer.weights]
        given = arrays.get(layer.name, [])
        found = [tuple(array.shape) for array in given]
        if layer is targets[-1] and _other_classes(needed, found):
            fresh[layer.name] = found[0][-1]
        elif found != needed:
            raise WeightsError(
                f"layer {layer.name!r} needs {_shapes(layer, needed)}; the file has "
                f"{_shapes(layer, found) or 'no such layer'}. " + _hint(model, arrays)
            )
        for weight, array in zip(layer.weights, given, strict=True):
            cast = _cast(array, weight)
            if cast is None or not np.isfinite(cast).all():
                raise WeightsError(
                    f"layer {layer.name!r} has numbers that are not finite in its "
                    f"{weight.name}"
                )
            if layer.name not in fresh:
                values.append((weight, cast))
    names = {layer.name for layer in targets}
    unknown = [name for name in arrays if name not in names]
    if unknown:
        raise WeightsError(
            f"the file has {len(arrays)} layers with weights, the model "
            f"{len(names)}; it lacks {', '.join(map(shown, unknown[:5]))}. "
            + _hint(model, arrays)
        )
    for weight, array in values:
        weight.assign(array)
    return fresh


def _paired(source: Source, targets: list[Any], model: Any) -> _Arrays:
    """Return a file's arrays in Keras' layout, named as the model's layers."""
    for layer in targets:
        if not isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            raise WeightsError(
                f"the model's layer {layer.name!r} ({type(layer).__name__}) has "
                "weights, which such a file does not hold"
            )
    arrays: _Arrays = {}
    is_first = True
    for number, (name, (kernel, *bias)) in enumerate(source.layers):
        target = targets[number] if number < len(targets) else None
        if kernel.ndim not in (2, 4):
            raise WeightsError(
                f"its layer {shown(name)} has a kernel of shape {kernel.shape}; "
                "convolutions have 4 dimensions, dense layers 2"
            )
        if source.channels_first:
            kernel = kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel.T
            if is_first and isinstance(target, keras.layers.Dense):
                kernel = _channels_last(kernel, model)
        is_first = is_first and kernel.ndim == 4
        name = name if target is None else target.name
        while name in arrays:
            name += "'"
        arrays[name] = [kernel, *bias]
    return arrays


def _channels_last(kernel: np.ndarray, model: Any) -> np.ndarray:
    """Turn rows over (channels, height, width) to (height, width, channels)."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Flatten):
            height, width, channels = layer.input.shape[1:]
            # Of another size, it does not match; the message compares shapes.
            if kernel.ndim == 2 and len(kernel) == height * width * channels:
                # In the file's layout, where rows are contiguous: several times faster.
                rows = kernel.T.reshape(-1, channels, height, width)
                return rows.transpose(0, 2, 3, 1).reshape(kernel.T.shape).T
            break
    return kernel


def _turn_around(
    first: list[np.ndarray], source: Source, channel_order: str | None
) -> None:
    """Exchange red and blue in the first kernel of a net that was trained on BGR."""
    if not first or first[0].ndim != 4 or first[0].shape[2] != 3:
        return
    order = channel_order or source.channel_order
    if order is None and not source.by_name:
        raise WeightsError(
            "the file does not say whether its net was trained on RGB or BGR "
            'images; pass channel_order="rgb" or "bgr" (on the command line '
            "--channel-order)"
        )
    if order == "bgr":
        first[0] = first[0][:, :, ::-1, :]


def _sum_channels(first: list[np.ndarray], layer: Any, wanted: bool) -> None:
    """Add up the channels of the first kernel if the model has one channel."""
    if not first or first[0].ndim != 4 or layer.kernel.ndim != 4:
        return
    needed, found = tuple(layer.kernel.shape), first[0].shape
    if (needed[2], found[2]) != (1, 3) or needed[3] != found[3]:
        return
    if not wanted:
        raise WeightsError(
            f"layer {layer.name!r} needs {needed}, for images of one channel; the "
            f"file has {found}. Pass sum_channels=True to "
            "alexnet.weights.load_weights (on the command line --sum-channels) to "
            "add up the three channels"
        )
    first[0] = first[0].astype(np.float64).sum(axis=2, keepdims=True)


def _cast(array: np.ndarray, weight: Any) -> np.ndarray | None:
    """Return numbers as the model will hold them; too large ones become infinite."""
    if not np.issubdtype(array.dtype, np.number):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        # NumPy has no bfloat16 of its own.
        return np.asarray(array, getattr(ml_dtypes, weight.dtype, weight.dtype))


def _other_classes(needed: list[_Shape], found: list[_Shape]) -> bool:
    """Return whether two classifiers differ only in the number of classes."""
    return (
        needed != found
        and [len(shape) for shape in needed] == [len(shape) for shape in found]
        and all(a[:-1] == b[:-1] for a, b in zip(needed, found, strict=True))
        and len({shape[-1] for shape in found}) == 1
    )


def _shapes(layer: Any, shapes: list[_Shape]) -> str:
    names = [weight.name for weight in layer.weights]
    return ", ".join(
        f"{names[number] if number < len(names) else 'another'} {shape}"
        for number, shape in enumerate(shapes)
    )


def _hint(model: Any, arrays: _Arrays) -> str:
    """Name the presets with as many layers and parameters, up to the classifier."""
    *features, last = (given for given in arrays.values() if given)
    size = sum(array.size for given in features for array in given)
    matching = []
    for name, row in type(model).presets.items():
        arguments = row["arguments"]
        count = len(arguments["blocks"]) + len(arguments["dense_units"])
        classifier = (math.prod(last[0].shape[:-1]) + 1) * arguments["num_classes"]
        if (len(features), size + classifier) == (count, row.get("parameters")):
            matching.append(repr(name))
    if matching:
        names = " or ".join(matching)
        return f"By its layers and parameters, preset {names} matches this file"
    kernels = ", ".join(f"{name} {a[0].shape}" for name, a in arrays.items() if a)
    return f"No preset has this file's kernels: {kernels[:600]}"


def _compare_normalizations(source: Source, model: Any) -> None:
    """Warn if normalization across channels differs between the file and the model."""
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
        "The normalization across channels of the file's net differs from this "
        f"model's, which costs accuracy: the file has {_listed(source.lrn)}, the model "
        f"{_listed(found)} (alpha scales the sum; Caffe's is divided by the size).",
        UserWarning,
        stacklevel=4,
    )


def _listed(normalizations: Any) -> str:
    texts = [
        f"(depth_radius={n.depth_radius}, bias={n.bias:.4g}, alpha={n.alpha:.4g}, "
        f"beta={n.beta:.4g})"
        for n in normalizations
    ]
    return ", ".join(texts) or "none"
