"""Whether arrays fit a model; if they all do, they become its weights."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from alexnet import checks
from alexnet.layers.conv_block import ConvBlock
from alexnet.weights.errors import WeightsError, shown
from alexnet.weights.layout import Arrays

_Shape = tuple[int, ...]


def assign(model: Any, arrays: Arrays, *, sum_channels: bool) -> list[str]:
    """Give a model the arrays of its layers; all of them, or none.

    A last layer of another number of classes stays as it is.

    Args:
        model: The network.
        arrays: Per layer name, in Keras' layout and in the order of the layers.
        sum_channels: Whether the three channels of the first kernel may be added
            up for a model of one channel.

    Returns:
        The names of the layers that were left as they are.

    Raises:
        WeightsError: A layer is missing or of another shape, or a number is not
            finite. The model is then untouched.
    """
    targets = [layer for layer in model.layers if layer.weights]
    names = [layer.name for layer in targets]
    arrays = dict(arrays)
    _sum_channels(arrays, targets, sum_channels)
    values: list[tuple[Any, np.ndarray]] = []
    fresh = []
    for layer in targets:
        needed = [tuple(weight.shape) for weight in layer.weights]
        given = arrays.get(layer.name)
        found = None if given is None else [tuple(array.shape) for array in given]
        if layer.name == names[-1] and found and _other_classes(needed, found):
            fresh.append(layer.name)
        elif found != needed:
            raise WeightsError(
                f"layer {layer.name!r} needs {_shapes(layer, needed)}; the file has "
                f"{'no such layer' if found is None else _shapes(layer, found)}. "
                + _hint(model, arrays)
            )
        for weight, array in zip(layer.weights, given or [], strict=True):
            if (
                not np.issubdtype(array.dtype, np.number)
                or not np.isfinite(array := _cast(array, weight)).all()
            ):
                raise WeightsError(
                    f"layer {layer.name!r} has numbers that are not finite in its "
                    f"{weight.name}"
                )
            if layer.name not in fresh:
                values.append((weight, array))
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


def _cast(array: np.ndarray, weight: Any) -> np.ndarray:
    """Return the array as the model will hold it; too large becomes infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        # NumPy has no bfloat16 of its own.
        return np.asarray(array, getattr(ml_dtypes, weight.dtype, weight.dtype))


def _other_classes(needed: list[_Shape], found: list[_Shape]) -> bool:
    """Tell whether two classifiers differ in the number of classes alone."""
    return (
        needed != found
        and len(needed) == len(found)
        and [len(shape) for shape in needed] == [len(shape) for shape in found]
        and all(a[:-1] == b[:-1] for a, b in zip(needed, found, strict=True))
        and len({shape[-1] for shape in found}) == 1
    )


def _sum_channels(arrays: Arrays, targets: list[Any], wanted: bool) -> None:
    """Add up the channels of the first kernel, if the model has but one."""
    first = targets[0] if targets else None
    given = arrays.get(first.name) if first is not None else None
    if first is None or not given or given[0].ndim != 4 or first.kernel.ndim != 4:
        return
    needed, found = tuple(first.kernel.shape), given[0].shape
    if (needed[2], found[2]) != (1, 3) or needed[3] != found[3]:
        return
    if not wanted:
        raise WeightsError(
            f"layer {first.name!r} needs {needed}, for images of one channel; the "
            f"file has {found}. Pass sum_channels=True to "
            "alexnet.weights.load_weights (on the command line --sum-channels) to "
            "add up the three channels"
        )
    arrays[first.name] = [
        given[0].astype(np.float64).sum(axis=2, keepdims=True),
        *given[1:],
    ]


def _shapes(layer: Any, shapes: list[_Shape]) -> str:
    names = [weight.name for weight in layer.weights]
    return ", ".join(
        f"{names[number] if number < len(names) else 'another'} {shape}"
        for number, shape in enumerate(shapes)
    )


def _hint(model: Any, arrays: Arrays) -> str:
    """Say which preset the file's kernels fit, whatever its number of classes."""
    found = [a[0].shape for a in arrays.values() if a and a[0].ndim in (2, 4)]
    fitting = [
        name
        for name, preset in type(model).presets.items()
        if found and _kernels(preset["arguments"]) == [*found[:-1], found[-1][:-1]]
    ]
    if fitting:
        return f"By its shapes, preset {' or '.join(map(repr, fitting))} fits this file"
    kernels = ", ".join(f"{name} {a[0].shape}" for name, a in arrays.items() if a)
    return f"No preset has this file's kernels: {kernels[:600]}"


def _kernels(arguments: dict[str, Any]) -> list[_Shape]:
    """List the kernels of a network, the last without its number of classes."""
    shape: tuple[Any, ...] = (None, *arguments["image_shape"])
    if arguments.get("resize") is not None:
        shape = (None, *checks.check_pair("resize", arguments["resize"]), shape[3])
    kernels: list[_Shape] = []
    for number, block in enumerate(arguments["blocks"], start=1):
        layer = ConvBlock(**block, number=number)
        size = checks.check_pair("kernel_size", layer.kernel_size)
        kernels.append((*size, shape[3] // layer.groups, layer.filters))
        shape = layer.compute_output_shape(shape)
    size = shape[1:3]
    if arguments.get("adaptive_pool") is not None:
        size = checks.check_pair("adaptive_pool", arguments["adaptive_pool"])
    inputs = size[0] * size[1] * shape[3]
    for units in arguments["dense_units"]:
        kernels.append((inputs, units))
        inputs = units
    return [*kernels, (inputs,)]
