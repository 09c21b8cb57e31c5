"""The point of a search space that comes nearest to a published network."""

from __future__ import annotations

import inspect
import math
from typing import Any, NamedTuple

from alexnet import checks
from alexnet.compare.changes import blocks_of, changes, decoupled, lrn_of, side
from alexnet.model.stack import check_blocks

# Of a training, what is another thing with another optimizer.
_OF_OPTIMIZER = ("learning_rate", "momentum", "weight_decay")


class NearestPoint(NamedTuple):
    """A point of a search space, and what it has otherwise than a preset.

    Attributes:
        values: Of the active hyperparameters, by name.
        changes: What is not as published, a line each; empty if all is.
    """

    values: dict[str, Any]
    changes: list[str]


def nearest_point(
    preset: str, hp: Any, image_shape: tuple[int, int, int], model: Any = None
) -> NearestPoint:
    """Return the point nearest to a preset, trained as it was published.

    Each hyperparameter gets the published value or, if its range lacks it, the
    bound or the choice that is nearest (by ratio); one that is of something else
    keeps its default.

        hp = keras_tuner.HyperParameters()
        AlexNet.search_space(hp, (32, 32, 3))
        point = nearest_point("cifar10_quick", hp, (32, 32, 3))

    Args:
        preset: Its name.
        hp: `keras_tuner.HyperParameters` that hold the search space; unchanged.
        image_shape: (height, width, channels) of the images, in [0, 1].
        model: `AlexNet`, the default, or a subclass, whose `presets` and
            `search_space` these are.

    Raises:
        ValueError: There is no such preset.
    """
    if model is None:
        from alexnet.model.network import AlexNet as model
    if preset not in model.presets:
        raise ValueError(checks.unknown("preset", preset, model.presets))
    row = dict(model.presets[preset])
    row["arguments"] = _completed(model, row["arguments"])
    training = row.get("training", {})
    wanted = {**_of_network(row["arguments"]), **_of_training(training)}
    values = _choose(hp, wanted)
    point = _point(model, _at(hp, values), image_shape)
    if training.get("optimizer") not in (None, point["training"]["optimizer"]):
        training = {k: v for k, v in training.items() if k not in _OF_OPTIMIZER}
        wanted = {**_of_network(row["arguments"]), **_of_training(training)}
        values = _choose(hp, wanted)
        point = _point(model, _at(hp, values), image_shape)
    return NearestPoint(values, changes(row, point, image_shape))


def _completed(model: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a network's arguments with the defaults of those that are left out."""
    parameters = inspect.signature(model).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    completed = {**defaults, **arguments}
    return {**completed, "blocks": check_blocks(completed["blocks"])}


def _point(model: Any, hp: Any, image_shape: tuple[int, int, int]) -> dict[str, Any]:
    """Return what `search_space` does at a point, the network's arguments complete."""
    point = model.search_space(hp, image_shape)
    arguments = {**point["model"], "image_shape": image_shape}
    return {**point, "model": _completed(model, arguments)}


def _of_network(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a network's hyperparameters, by the names of `search_space`."""
    blocks = blocks_of(arguments)
    units = arguments.get("dense_units", ())
    wanted = {
        "resize": side(arguments),
        "num_blocks": len(blocks),
        "num_dense": len(units),
        "dropout": arguments.get("dropout", 0.0),
        "use_lrn": any(map(lrn_of, blocks)),
    }
    for block in reversed(blocks):  # The first one counts.
        if lrn := lrn_of(block):
            wanted["order"] = "-".join(block["order"])
            wanted |= {f"lrn_{name}": value for name, value in lrn.items()}
    for number, block in enumerate(blocks, start=1):
        wanted[f"filters_{number}"] = block["filters"]
        for name in ("kernel_size", "strides", "pool_size"):
            wanted[f"{name}_{number}"] = max(checks.check_pair(name, block[name]))
        wanted[f"pool_{number}"] = block["pool"] or "none"
    for number, value in enumerate(units, start=1):
        wanted[f"dense_units_{number}"] = value
    return wanted


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
    """Return a copy of hyperparameters at a point."""
    at = hp.copy()
    at.values = dict(values)
    return at


def _nearest(entry: Any, wanted: Any) -> Any:
    """Return what a hyperparameter can be that is nearest to a value."""
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
