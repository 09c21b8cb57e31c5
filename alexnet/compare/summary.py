"""Presets as text: their layers, and the differences between two of them."""

from __future__ import annotations

import contextlib
import functools
import re
import textwrap
from typing import Any

import keras

from alexnet.compare.tables import table
from alexnet.model.network import AlexNet
from alexnet.presets import PRESETS

# Of a layer's configuration: what its name, output or kernel say already.
_LEFT_OUT = {"name", "dtype", "batch_shape", "filters", "kernel_size", "units"}
# Of what distinguishes a kind of layer: what its name says, and what all have.
_NO_ARGUMENTS = {
    *("output", "parameters", "kind", "kernel", "data_format", "trainable"),
    *("activation", "use_bias", "kernel_initializer", "bias_initializer"),
    "dilation_rate",
}
_ABSENT = "-"


def summary(preset: str) -> str:
    """Return a preset's layers, source, preprocessing, training and figures."""
    row = PRESETS[preset]
    layers = [
        (layer.name, _text(shape), f"{layer.count_params():,}")
        for layer, shape in _layers(preset)
    ]
    head = ("layer", "output", "parameters")
    total = ("total", "", f"{row['parameters']:,}")
    lines = [_paragraph(preset, row["description"]), ""]
    lines += [table([head, *layers, total], right=(2,)), ""]
    training = row.get("training")
    about = {
        "source": row["source"],
        **_input(preset),
        "training": "none published" if training is None else _training(training),
    }
    lines += [_paragraph(name, value) for name, value in about.items()]
    lines += ["figures, in percent:"] if row["figures"] else ["figures: none published"]
    lines += [f"  {measure} {value}" for measure, value in row["figures"].items()]
    return "\n".join(lines)


def comparison(preset: str, other: str) -> str:
    """Return the layers, their arguments and the input in which presets differ."""
    rows = [
        (layer, what, *(_count(v) if what == "parameters" else _text(v) for v in pair))
        for layer, what, *pair in differences(preset, other)
    ]
    if not rows:
        return f"{preset} and {other} do not differ."
    return table([("layer", "what", preset, other), *rows])


def differences(preset: str, other: str) -> list[tuple[str, str, Any, Any]]:
    """Return (layer, what, value in `preset`, value in `other`) where they differ.

    A layer that one of them lacks has the "output", "parameters" and "kind" of the
    other and "-"; kinds that differ are given with the arguments that only one of
    them has. The order of the layers that bear one number is given as "order".
    """
    ours, theirs = _layer_facts(preset), _layer_facts(other)
    rows: list[tuple[str, str, Any, Any]] = []
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        here, there = ours.get(name, {}), theirs.get(name, {})
        names = [what for what in here if what in there]
        if not here or not there:
            names = ["output", "parameters", "kind"]
        if here.get("kind") != there.get("kind"):
            here, there = _with_arguments(here, there), _with_arguments(there, here)
        rows += [
            (name, what, here.get(what, _ABSENT), there.get(what, _ABSENT))
            for what in names
            if here.get(what, _ABSENT) != there.get(what, _ABSENT)
        ]
    order, other_order = _order(list(ours)), _order(list(theirs))
    rows += [
        (f"block {number}", "order", " ".join(names), " ".join(other_order[number]))
        for number, names in order.items()
        if number in other_order and names != other_order[number]
    ]
    inputs, other_inputs = _input(preset), _input(other)
    rows += [
        ("input", what, value, other_inputs.get(what, _ABSENT))
        for what, value in inputs.items()
        if value != other_inputs.get(what, _ABSENT)
    ]
    rows += [
        ("input", what, _ABSENT, value)
        for what, value in other_inputs.items()
        if what not in inputs
    ]
    total, other_total = (PRESETS[name]["parameters"] for name in (preset, other))
    if total != other_total:
        rows.append(("total", "parameters", total, other_total))
    return rows


@functools.cache
def _layers(preset: str) -> list[tuple[keras.layers.Layer, tuple[int, ...]]]:
    """Return each layer and its output's shape, without memory for the weights."""
    scope: Any = contextlib.nullcontext()
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        scope = tensorflow.Graph().as_default()
    with scope:
        model = AlexNet.from_preset(preset)
    return [(layer, tuple(layer.output.shape[1:])) for layer in model.layers]


def _layer_facts(preset: str) -> dict[str, dict[str, Any]]:
    return {
        layer.name: {
            "output": shape,
            "parameters": layer.count_params(),
            "kind": type(layer).__name__,
            "kernel": tuple(layer.kernel.shape) if hasattr(layer, "kernel") else None,
            **{
                key: value
                for key, value in layer.get_config().items()
                if key not in _LEFT_OUT
            },
        }
        for layer, shape in _layers(preset)
    }


def _with_arguments(facts: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Put the arguments that another layer does not have into a layer's kind."""
    if not facts:
        return facts
    arguments = [
        f"{name}={_text(value)}"
        for name, value in facts.items()
        if name not in _NO_ARGUMENTS | other.keys() and value is not None
    ]
    shown = f"({', '.join(arguments)})" if arguments else ""
    return {**facts, "kind": facts["kind"] + shown}


def _order(layers: list[str]) -> dict[str, list[str]]:
    """Return the names of the layers, in order, by the number that they bear."""
    groups: dict[str, list[str]] = {}
    for name in layers:
        number = re.fullmatch(r"[a-z_]+?(\d+[a-z]*)(_\d+)?", name)
        if number:
            groups.setdefault(number[1], []).append(name)
    return groups


def _input(preset: str) -> dict[str, Any]:
    """Return what the network expects of its images."""
    row = PRESETS[preset]
    size = {"image shape": row["arguments"]["image_shape"]}
    if row["preprocessing"] is None:
        return {**size, "preprocessing": "none published"}
    return {
        **size,
        "value range": row["value_range"],
        **{f"preprocessing, {k}": v for k, v in row["preprocessing"].items()},
    }


def _training(training: dict[str, Any]) -> str:
    names = [name for name in training if name not in ("source", "also")]
    numbers = ", ".join(f"{name} {_text(training[name])}" for name in names)
    return f"{numbers}; {training['also']} ({training['source']})"


def _paragraph(name: str, value: Any) -> str:
    return textwrap.fill(f"{name}: {_text(value)}", 79, subsequent_indent="  ")


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else _text(value)


def _text(value: Any) -> str:
    """Return a value as people write it; Keras objects by class and arguments."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and "class_name" in value:
        given = value["config"]
        if isinstance(given, dict):
            arguments = (f"{k}={_text(v)}" for k, v in given.items() if v is not None)
            return f"{value['class_name']}({', '.join(arguments)})"
        return str(given)
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(_text, value))})"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
