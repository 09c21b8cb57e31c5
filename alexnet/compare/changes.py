"""What a point of a search space has otherwise than a published network, in words."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Iterator
from typing import Any

from alexnet import checks
from alexnet.layers.conv_block import ConvBlock
from alexnet.layers.local_response import LocalResponseNormalization
from alexnet.layers.windows import Window
from alexnet.model.stack import block_numbers

# Of the pixels that a search gives its networks.
SEARCHED_RANGE = (0.0, 1.0)
_GIVEN_BY_MODEL = ("number", "name", "trainable", "dtype")
_LRN = ("depth_radius", "bias", "alpha", "beta", "groups")
_CONV = ("filters", "kernel_size", "strides", "groups", "use_bias", "activation")
_HEAD = {"dropout": 0.0, "dropout_position": "after", "dense_activation": "relu"}
_INITIAL = ("kernel", "bias")
_TRAINING = ("optimizer", "learning_rate", "momentum", "batch_size", "augmentation")
# A line, with {} in place of the layers that it holds for, and one of these layers.
_Found = Iterator[tuple[str, str]]


def changes(
    row: dict[str, Any], point: dict[str, Any], image_shape: tuple[int, int, int]
) -> list[str]:
    """Return what is not as published, a line each.

    What makes no difference is left out: ReLU before or behind a max pool, and
    paddings that come to the same at these sizes.

    Args:
        row: Of `AlexNet.presets`.
        point: What `search_space` returns.
        image_shape: (height, width, channels) of the images.
    """
    published, here = row["arguments"], point["model"]
    found = itertools.chain(
        _differs("input", "", *(f"{side(a)} pixels a side" for a in (published, here))),
        _of_pixels(row.get("value_range")),
        _of_blocks(blocks_of(published), blocks_of(here), side(here)),
        _of_head(published, here),
        _of_initial_values(published, here),
        _of_training(row.get("training"), point["training"]),
    )
    lines: dict[str, list[str]] = {}
    for line, layer in found:
        lines.setdefault(line, []).append(layer)
    return [line.replace("{}", ", ".join(layers)) for line, layers in lines.items()]


def side(arguments: dict[str, Any]) -> int:
    """Return the shorter side, in pixels, of what a network's blocks are given."""
    return min(
        checks.check_pair(
            "resize", arguments.get("resize") or arguments["image_shape"][:2]
        )
    )


def blocks_of(arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a network's blocks with all of `ConvBlock`'s arguments."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(ConvBlock).parameters.items()
        if name not in _GIVEN_BY_MODEL
    }
    return [{**defaults, **block} for block in arguments.get("blocks", ())]


def lrn_of(block: dict[str, Any]) -> dict[str, Any] | None:
    """Return the arguments of a block's first normalization across channels."""
    for norm in _norms(block):
        if _is_lrn(norm):
            parameters = inspect.signature(LocalResponseNormalization).parameters
            return {**{name: parameters[name].default for name in _LRN}, **norm}
    return None


def decoupled(training: dict[str, Any]) -> float:
    """Return Keras' `weight_decay` that shrinks weights as fast as a preset's."""
    decay = training["weight_decay"] / (1 - training.get("momentum", 0.0))
    return float(f"{decay:.12g}")  # 0.005 for 0.005000000000000001


def _differs(what: str, layer: str, one: Any, other: Any) -> _Found:
    if one != other:
        of = f"{what} of {{}}" if layer else what
        yield f"{of}: {_text(one)} published, {_text(other)} here", layer


def _of_pixels(published: tuple[float, float] | None) -> _Found:
    if published is not None:
        texts = (
            f"from {low:g} to {high:g}" for low, high in (published, SEARCHED_RANGE)
        )
        yield from _differs("pixels", "", *texts)


def _of_blocks(
    published: list[dict[str, Any]], here: list[dict[str, Any]], length: int
) -> _Found:
    numbers = block_numbers(max(published, here, key=len))
    pairs = itertools.zip_longest(published, here)
    for number, (one, other) in zip(numbers, pairs, strict=True):
        name = f"{number}{(one or other)['suffix']}"
        if one is None or other is None:
            yield f"{{}}: {'left out' if one else 'added'}", f"conv{name}"
            continue
        for argument in _CONV:
            yield from _differs(argument, f"conv{name}", one[argument], other[argument])
        yield from _differs("kind", f"pool{name}", one["pool"], other["pool"])
        if one["pool"] and other["pool"]:
            for argument in ("pool_size", "pool_strides"):
                values = one[argument], other[argument]
                yield from _differs(argument, f"pool{name}", *values)
        yield from _of_norms(one, other, name)
        yield from _of_order(one, other, name)
        for stage, argument in (("conv", "padding"), ("pool", "pool_padding")):
            was, window = _window(one, stage), _window(other, stage)
            if window is None:
                continue
            if (
                was
                and was[:2] == window[:2]
                and _cut(was, length) != _cut(window, length)
            ):
                values = one[argument], other[argument]
                yield from _differs(argument, f"{stage}{name}", *values)
            length = window.output_size((length, length))[0]


def _of_norms(one: dict[str, Any], other: dict[str, Any], name: str) -> _Found:
    lrn, lrn_here = lrn_of(one), lrn_of(other)
    if lrn and lrn_here:
        for argument in _LRN:
            values = lrn[argument], lrn_here[argument]
            yield from _differs(argument, f"norm{name}", *values)
    kinds = [" and ".join(map(_kind, _norms(block))) or None for block in (one, other)]
    yield from _differs("normalization", f"block {name}", *kinds)


def _of_head(published: dict[str, Any], here: dict[str, Any]) -> _Found:
    first = block_numbers(blocks_of(published))[-1] + 1
    units, units_here = (a.get("dense_units", ()) for a in (published, here))
    pairs = itertools.zip_longest(units, units_here)
    for number, (one, other) in enumerate(pairs, start=first):
        if one is None or other is None:
            yield f"{{}}: {'left out' if one else 'added'}", f"fc{number}"
        else:
            yield from _differs("units", f"fc{number}", one, other)
    for argument, default in _HEAD.items() if units and units_here else ():
        values = (a.get(argument, default) for a in (published, here))
        yield from _differs(argument, "", *values)
    pools = (a.get("adaptive_pool") for a in (published, here))
    yield from _differs("adaptive_pool", "", *pools)


def _of_initial_values(published: dict[str, Any], here: dict[str, Any]) -> _Found:
    def of(arguments: dict[str, Any]) -> list[Any]:
        heads = (arguments.get(f"dense_{what}_initializer") for what in _INITIAL)
        blocks = blocks_of(arguments)
        return [
            *heads,
            *(block[f"{what}_initializer"] for block in blocks for what in _INITIAL),
        ]

    if of(published) != of(here):
        yield "initial weights and biases: not those published", ""


def _of_training(published: dict[str, Any] | None, here: dict[str, Any]) -> _Found:
    if published is None:
        yield "training: nothing published, the space's defaults here", ""
        return
    for name in _TRAINING:
        if name in published:
            yield from _differs(name, "", published[name], here.get(name))
    if "weight_decay" in published and here["optimizer"] == published.get("optimizer"):
        decay, same = here.get("weight_decay", 0.0), decoupled(published)
        how = "is less" if decay < same else "is more"
        how = "comes to the same" if math.isclose(decay, same) else how
        line = (
            f"weight_decay: {published['weight_decay']:g} published, which momentum "
            f"accumulates; {decay:g} here, which bypasses it and {how}"
        )
        yield line, ""
    if "also" in published:
        yield f"published, but not in the space: {published['also']}", ""


def _norms(block: dict[str, Any]) -> list[Any]:
    norm = block["norm"]
    return (
        []
        if norm is None
        else list(norm)
        if isinstance(norm, (list, tuple))
        else [norm]
    )


def _is_lrn(norm: Any) -> bool:
    return isinstance(norm, dict) and not {"pool_size", "class_name"} & norm.keys()


def _kind(norm: Any) -> str:
    if _is_lrn(norm):
        return "across channels"
    if isinstance(norm, dict) and "pool_size" in norm:
        return "within maps"
    return norm["class_name"] if isinstance(norm, dict) else type(norm).__name__


def _of_order(one: dict[str, Any], other: dict[str, Any], name: str) -> _Found:
    """Compare the order of the stages that both blocks have."""
    optional = ("activation", "norm", "pool")
    shared = {"conv", *(n for n in optional if one[n] and other[n])}
    orders, effects = [], set()
    for block in (one, other):
        order = " ".join(stage for stage in block["order"] if stage in shared)
        orders.append(order)
        if block["pool"] == "max" and block["activation"] == "relu":
            order = order.replace("pool activation", "activation pool")  # The same.
        effects.add(order)
    if len(effects) > 1:
        yield from _differs("order", f"block {name}", *orders)


def _window(block: dict[str, Any], stage: str) -> Window | None:
    if stage == "conv":
        sizes, padding = ("kernel_size", "strides"), block["padding"]
        padding = checks.check_padding("padding", padding)
    elif block["pool"]:
        sizes, padding = ("pool_size", "pool_strides"), block["pool_padding"]
    else:
        return None
    size, strides = (checks.check_pair(name, block[name]) for name in sizes)
    return Window(size, strides, padding)


def _cut(window: Window, length: int) -> tuple[int, int]:
    """Return how many places a window has along an axis, and where the first is."""
    places = window.output_size((length, length))[0]
    if window.padding == "same":
        over = (places - 1) * window.strides[0] + window.size[0] - length
        return places, max(0, over) // 2
    return places, 0 if isinstance(window.padding, str) else window.padding[0][0]


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
