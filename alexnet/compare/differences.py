"""The differences between two networks, as data and as lines of text."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from alexnet.layers.block import Block, block_numbers, check_blocks
from alexnet.layers.norms import KERAS, Norm
from alexnet.layers.windows import Window
from alexnet.model.plan import DEFAULTS, image_size

_CONV = ("filters", "groups", "use_bias", "activation")
_INITIALIZERS = ("kernel_initializer", "bias_initializer")
# Arguments that only matter with dense layers, and the others.
_DENSE = [
    "dropout",
    "dropout_position",
    "dense_activation",
    "use_convolutional_head",
    "dense_kernel_initializer",
    "dense_bias_initializer",
]
_HEAD = [
    "adaptive_pool",
    "logits_kernel_initializer",
    "logits_bias_initializer",
    "num_classes",
    "classifier_activation",
]
_TRAINING = [
    "optimizer",
    "learning_rate",
    "momentum",
    "weight_decay",
    "batch_size",
    "augmentation",
]
_PRESENCE = "presence"


class Difference(NamedTuple):
    """One thing in which two networks differ.

    Attributes:
        what: An argument or a property, such as "filters"; `_PRESENCE` if only one
            of the networks has the layer, whose value is then True.
        layer: The layer or block, such as "conv1"; "" for the whole network.
        one, other: The values as text; None if there is none.
    """

    what: str
    layer: str
    one: Any
    other: Any


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[Difference]:
    """Return the differences between two networks, from the input to the training.

    What does not change the outputs is left out: ReLU before or after a max pool, and
    paddings that give the same windows at the sizes of `other`.

    Args:
        one, other: Rows as in `alexnet.presets`; "arguments" is required, and what
            one of them lacks ("preprocessing", "parameters") is not compared.
    """
    arguments, others = ({**DEFAULTS, **row["arguments"]} for row in (one, other))
    blocks, other_blocks = (blocks_of(given) for given in (arguments, others))
    return [
        *_differ("input", "", _input(arguments), _input(others)),
        *_of_rows(one, other),
        *_of_blocks(blocks, other_blocks, min(image_size(others))),
        *_of_head(arguments, others, blocks[-1][0] + 1),
        *_of_training(one, other),
    ]


def described(
    found: Iterable[Difference], one: str = "published", other: str = "here"
) -> list[str]:
    """Return differences as lines; layers with the same one share a line.

    Args:
        found: From `differences`.
        one, other: What to call the networks: "groups of conv2, conv4: 2 published,
            1 here".
    """
    lines: dict[str, list[str]] = {}
    for what, layer, value, other_value in found:
        if what == _PRESENCE:
            line = f"{{}}: only {one if value else other}"
        else:
            of = f"{what} of {{}}" if layer else what
            line = f"{of}: {value or 'none'} {one}, {other_value or 'none'} {other}"
        lines.setdefault(line, []).append(layer)
    return [line.replace("{}", ", ".join(layers)) for line, layers in lines.items()]


def blocks_of(arguments: dict[str, Any]) -> list[tuple[int, Block]]:
    """Return a network's blocks, each with the number in its layers' names."""
    blocks = check_blocks({**DEFAULTS, **arguments}["blocks"])
    numbers = block_numbers(blocks)
    return [(n, Block(**given)) for n, given in zip(numbers, blocks, strict=True)]


def text(value: Any) -> str:
    """Return a value as people write it; Keras objects by class and arguments."""
    if isinstance(value, dict) and "class_name" in value:
        given = value["config"]
        if not isinstance(given, dict):
            return str(given)
        arguments = [f"{k}={text(v)}" for k, v in given.items() if v is not None]
        shown = f"({', '.join(arguments)})" if arguments else ""
        return f"{value['class_name']}{shown}"
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(text, value))})"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(getattr(value, "__name__", value))


def _differ(what: str, layer: str, one: Any, other: Any) -> Iterator[Difference]:
    if "initializer" in what:  # "he_normal" and {"class_name": "HeNormal"} are one.
        one, other = (
            v.title().replace("_", "") if isinstance(v, str) else v
            for v in (one, other)
        )
    texts = [None if value is None else text(value) for value in (one, other)]
    if texts[0] != texts[1]:
        yield Difference(what, layer, *texts)


def _input(arguments: dict[str, Any]) -> str:
    sides = [min(arguments["image_shape"][:2]), min(image_size(arguments))]
    resized = f" (resized from {sides[0]})" if arguments["resize"] else ""
    return f"{sides[1]} pixels a side{resized}"


def _of_rows(one: dict[str, Any], other: dict[str, Any]) -> Iterator[Difference]:
    """Compare what the rows have beside arguments and training, if both have it."""
    shared = one.keys() & other.keys()
    if "value_range" in shared:
        ranges = (row["value_range"] for row in (one, other))
        yield from _differ(
            "pixels", "", *(r and f"from {r[0]:g} to {r[1]:g}" for r in ranges)
        )
    if "preprocessing" in shared:
        how = one["preprocessing"], other["preprocessing"]
        if None in how:
            yield from _differ("preprocessing", "", *(h and "published" for h in how))
        else:
            for name in how[0]:
                yield from _differ(f"preprocessing {name}", "", *(h[name] for h in how))
    if "parameters" in shared:
        counts = (f"{row['parameters']:,}" for row in (one, other))
        yield from _differ("parameters", "", *counts)


def _of_blocks(
    ones: list[tuple[int, Block]], others: list[tuple[int, Block]], length: int
) -> Iterator[Difference]:
    for pair, other_pair in itertools.zip_longest(ones, others):
        number, known = pair or other_pair
        name = f"{number}{known.suffix}"
        if pair is None or other_pair is None:
            yield Difference(
                _PRESENCE, f"conv{name}", pair and True, other_pair and True
            )
            continue
        one, other = pair[1], other_pair[1]
        for argument in (*_CONV, *_INITIALIZERS):
            values = getattr(one, argument), getattr(other, argument)
            yield from _differ(argument, f"conv{name}", *values)
        yield from _differ("kind", f"pool{name}", one.pool, other.pool)
        yield from _of_norms(one.norms, other.norms, name)
        yield from _of_order(one, other, name)
        for stage, window in other.windows.items():
            if was := one.windows.get(stage):
                prefix, layer = "pool_" if stage == "pool" else "", f"{stage}{name}"
                size = "pool_size" if stage == "pool" else "kernel_size"
                yield from _differ(size, layer, *map(_side, (was.size, window.size)))
                strides = _side(was.strides), _side(window.strides)
                yield from _differ(f"{prefix}strides", layer, *strides)
                if was[:2] == window[:2] and _cut(was, length) != _cut(window, length):
                    what = f"{prefix}padding"
                    values = getattr(one, what), getattr(other, what)
                    yield from _differ(what, layer, *values)
            length = window.output_size((length, length))[0]


def _of_norms(
    ones: tuple[Norm, ...], others: tuple[Norm, ...], name: str
) -> Iterator[Difference]:
    for count, (one, other) in enumerate(zip(ones, others, strict=False), start=1):
        if one.kind == other.kind != KERAS:
            layer = f"norm{name}" if count == 1 else f"norm{name}_{count}"
            for argument, value in one.arguments.items():
                yield from _differ(
                    argument, layer, value, other.arguments.get(argument)
                )
    kinds = (" and ".join(map(_kind, norms)) or None for norms in (ones, others))
    yield from _differ("normalization", f"block {name}", *kinds)


def _kind(norm: Norm) -> str:
    return norm.arguments["class_name"] if norm.kind == KERAS else norm.kind


def _of_order(one: Block, other: Block, name: str) -> Iterator[Difference]:
    """Compare the order of the stages that both blocks have."""
    optional = ("activation", "norm", "pool")
    shared = {
        "conv",
        *(n for n in optional if getattr(one, n) and getattr(other, n)),
    }
    orders, effects = [], set()
    for block in (one, other):
        order = " ".join(stage for stage in block.order if stage in shared)
        orders.append(order)
        if block.pool == "max" and block.activation == "relu":
            order = order.replace("pool activation", "activation pool")  # The same.
        effects.add(order)
    if len(effects) > 1:
        yield from _differ("order", f"block {name}", *orders)


def _of_head(
    one: dict[str, Any], other: dict[str, Any], first: int
) -> Iterator[Difference]:
    units, other_units = one["dense_units"], other["dense_units"]
    pairs = itertools.zip_longest(units, other_units)
    for number, pair in enumerate(pairs, start=first):
        if None in pair:
            present = (value and True for value in pair)
            yield Difference(_PRESENCE, f"fc{number}", *present)
        else:
            yield from _differ("units", f"fc{number}", *pair)
    for name in (*(_DENSE if units and other_units else ()), *_HEAD):
        yield from _differ(name, "", one[name], other[name])


def _of_training(one: dict[str, Any], other: dict[str, Any]) -> Iterator[Difference]:
    training, other_training = one.get("training"), other.get("training")
    if training is None or other_training is None:
        shown = (how and "published" for how in (training, other_training))
        yield from _differ("training", "", *shown)
        return
    for name in _TRAINING:
        values = training.get(name), other_training.get(name)
        yield from _differ(name, "", *values)


def _side(pair: tuple[int, int]) -> int | tuple[int, int]:
    return pair[0] if pair[0] == pair[1] else pair


def _cut(window: Window, length: int) -> tuple[int, int]:
    """Return how many places a window has along an axis, and where the first is."""
    places = window.output_size((length, length))[0]
    if window.padding == "same":
        over = (places - 1) * window.strides[0] + window.size[0] - length
        return places, max(0, over) // 2
    return places, 0 if isinstance(window.padding, str) else window.padding[0][0]
