"""The values of a search space that are nearest to a published network."""

from __future__ import annotations

import inspect
import math
from typing import Any, NamedTuple

from alexnet import checks
from alexnet.compare.differences import blocks_of, described, differences
from alexnet.layers.block import Block
from alexnet.layers.norms import ACROSS
from alexnet.model.plan import DEFAULTS, image_size

# Of a training, what means something else to another optimizer.
_OF_OPTIMIZER = ("learning_rate", "momentum", "weight_decay")
# Range of the pixels that a search gives its networks.
_SEARCHED_RANGE = (0.0, 1.0)


class NearestPoint(NamedTuple):
    """Hyperparameters, and how their network differs from a preset.

    Attributes:
        values: Of the active hyperparameters, by name.
        changes: One line for each difference; empty if there is none.
    """

    values: dict[str, Any]
    changes: list[str]


def nearest_point(
    preset: str, hp: Any, image_shape: tuple[int, int, int], model: Any = None
) -> NearestPoint:
    """Return the hyperparameters nearest to a preset and its published training.

    Each hyperparameter gets the published value or, if its range does not include
    it, the nearest bound or choice (by ratio). One without a published value keeps
    its default.

        hp = keras_tuner.HyperParameters()
        AlexNet.search_space(hp, (32, 32, 3))
        nearest = nearest_point("cifar10_quick", hp, (32, 32, 3))

    Args:
        preset: Its name.
        hp: `keras_tuner.HyperParameters` that hold the search space; unchanged.
        image_shape: (height, width, channels) of the images, in [0, 1].
        model: `AlexNet`, the default, or a subclass, whose `presets` and
            `search_space` are used.

    Raises:
        ValueError: There is no such preset, or `image_shape` is none.
    """
    if model is None:
        from alexnet.model.network import AlexNet as model
    checks.check_preset(preset, model.presets)
    image_shape = checks.check_image_shape(image_shape)
    row = dict(model.presets[preset])
    arguments = row["arguments"] = _completed(model, row["arguments"])
    training = row.get("training", {})
    values = _choose(hp, {**_of_network(arguments), **_of_training(training)})
    found = model.search_space(_at(hp, values), image_shape)
    if training.get("optimizer") not in (None, found["training"]["optimizer"]):
        training = {k: v for k, v in training.items() if k not in _OF_OPTIMIZER}
        values = _choose(hp, {**_of_network(arguments), **_of_training(training)})
        found = model.search_space(_at(hp, values), image_shape)
    shared = {"image_shape": image_shape, "num_classes": arguments["num_classes"]}
    here = {
        "arguments": _completed(model, {**found["model"], **shared}),
        "value_range": _SEARCHED_RANGE,
    }
    return NearestPoint(values, _changes(row, here, found["training"]))


def decoupled(training: dict[str, Any]) -> float:
    """Return Keras' `weight_decay` that shrinks weights as fast as a preset's."""
    decay = training["weight_decay"] / (1 - training.get("momentum", 0.0))
    return float(f"{decay:.12g}")  # 0.005 for 0.005000000000000001


def _changes(
    row: dict[str, Any], here: dict[str, Any], training: dict[str, Any]
) -> list[str]:
    """Describe how a searched network and its training differ from a preset's."""
    published = row.pop("training", None)
    if published is None:
        note = "training: nothing published, the space's defaults here"
        return [*described(differences(row, here)), note]
    given = {name: v for name, v in published.items() if name != "weight_decay"}
    row = {**row, "training": given}
    here = {**here, "training": {name: training.get(name) for name in given}}
    lines = described(differences(row, here))
    same_optimizer = training["optimizer"] == published.get("optimizer")
    if "weight_decay" in published and same_optimizer:
        decay, same = training.get("weight_decay", 0.0), decoupled(published)
        how = "is less" if decay < same else "is more"
        how = "comes to the same" if math.isclose(decay, same) else how
        lines.append(
            f"weight_decay: {published['weight_decay']:g} published, which momentum "
            f"accumulates; {decay:g} here, which bypasses it and {how}"
        )
    if "also" in published:
        lines.append(f"published, but not in the space: {published['also']}")
    return lines


def _completed(model: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a network's arguments with the class's defaults of those left out."""
    parameters = inspect.signature(model).parameters.values()
    own = {p.name: p.default for p in parameters if p.default is not p.empty}
    return {**DEFAULTS, **own, **arguments}


def _of_network(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a network's hyperparameters, by the names of `search_space`."""
    blocks = [block for _, block in blocks_of(arguments)]
    units = arguments["dense_units"]
    wanted = {
        "resize": min(image_size(arguments)),
        "num_blocks": len(blocks),
        "num_dense": len(units),
        "dropout": arguments["dropout"],
        "use_lrn": any(_lrn_of(block) for block in blocks),
    }
    for block in reversed(blocks):  # The first one counts.
        if lrn := _lrn_of(block):
            wanted["order"] = "-".join(block.order)
            wanted |= {f"lrn_{name}": value for name, value in lrn.items()}
    for number, block in enumerate(blocks, start=1):
        wanted[f"filters_{number}"] = block.filters
        for name in ("kernel_size", "strides", "pool_size"):
            pair = checks.check_pair(name, getattr(block, name))
            wanted[f"{name}_{number}"] = max(pair)
        wanted[f"pool_{number}"] = block.pool or "none"
    for number, value in enumerate(units, start=1):
        wanted[f"dense_units_{number}"] = value
    return wanted


def _lrn_of(block: Block) -> dict[str, Any] | None:
    """Return the arguments of a block's first normalization across channels."""
    return next((n.arguments for n in block.norms if n.kind == ACROSS), None)


def _of_training(training: dict[str, Any]) -> dict[str, Any]:
    """Return a training's hyperparameters, by the names of `search_space`."""
    names = ("optimizer", "momentum", "batch_size", "augmentation")
    wanted = {name: training[name] for name in names if name in training}
    if "learning_rate" in training:
        for name in ("learning_rate", f"{training.get('optimizer')}_learning_rate"):
            wanted[name] = training["learning_rate"]
    if "weight_decay" in training:
        wanted["weight_decay"] = decoupled(training)
    return wanted


def _choose(hp: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the active hyperparameters' values, parents before children."""
    at = _at(hp, {})
    for entry in hp.space:
        if at.is_active(entry):
            value = wanted.get(entry.name, entry.default)
            at.values[entry.name] = _nearest(entry, value)
    return at.values


def _at(hp: Any, values: dict[str, Any]) -> Any:
    """Return a copy of the hyperparameters with these values."""
    at = hp.copy()
    at.values = dict(values)
    return at


def _nearest(entry: Any, wanted: Any) -> Any:
    """Return the allowed value of a hyperparameter that is nearest to `wanted`."""
    is_range = hasattr(entry, "min_value")
    if is_range and entry.step is None:
        if not _is_number(wanted):
            return entry.default
        value = min(max(wanted, entry.min_value), entry.max_value)
        return type(entry.default)(value)
    choices = list(entry.values)
    for choice in choices:
        if choice == wanted and isinstance(choice, bool) == isinstance(wanted, bool):
            return choice
    if not all(map(_is_number, [wanted, *choices])):
        return entry.default
    if min(wanted, *choices) > 0:
        return min(choices, key=lambda choice: abs(math.log(choice / wanted)))
    return min(choices, key=lambda choice: abs(choice - wanted))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
