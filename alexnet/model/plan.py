"""Each layer's name, shapes, parameters and multiply-adds, without building it.

No weight is made and no backend is imported. Summaries, limits and comparisons
read the plan; a test compares it with the built network, layer by layer.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from alexnet import checks
from alexnet.layers.block import (
    Block,
    Stage,
    activation_name,
    block_numbers,
    check_blocks,
)
from alexnet.layers.norms import KERAS
from alexnet.layers.windows import smallest_input
from alexnet.presets import PRESETS

_PAPER = ("image_shape", "num_classes", "blocks", "dense_units", "dropout")
# The arguments of `AlexNet` and their defaults: the layers of the 2012 paper.
DEFAULTS: dict[str, Any] = {
    **{name: PRESETS["paper"]["arguments"][name] for name in _PAPER},
    "resize": None,
    "rescale": None,
    "dropout_position": "after",
    "dense_activation": "relu",
    "adaptive_pool": None,
    "classifier_activation": "softmax",
    "dense_kernel_initializer": "glorot_uniform",
    "dense_bias_initializer": "zeros",
    "logits_kernel_initializer": "glorot_uniform",
    "logits_bias_initializer": "zeros",
    "use_convolutional_head": False,
    "pixel_mean": None,
    "pixel_std": None,
}


class Layer(NamedTuple):
    """What is known of a layer before it is built.

    Attributes:
        name: As in the network.
        output: Shape of its output, without the batch.
        kernel: Shape of its kernel; None if it has none.
        parameters: Number of them; None for a Keras layer among the norms.
        multiply_adds: Multiplications of kernel weights per image.
    """

    name: str
    output: tuple[int, ...]
    kernel: tuple[int, ...] | None = None
    parameters: int | None = 0
    multiply_adds: int = 0


@dataclasses.dataclass(frozen=True)
class Plan:
    """A network's layers in order."""

    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int | None:
        """All layers' parameters; None if one layer's are unknown."""
        counts = [layer.parameters for layer in self.layers]
        return None if None in counts else sum(counts)  # type: ignore[arg-type]

    @property
    def multiply_adds(self) -> int:
        """Multiplications of kernel weights per image, as `AlexNet.multiply_adds`."""
        return sum(layer.multiply_adds for layer in self.layers)


def plan(arguments: dict[str, Any]) -> Plan:
    """Return the layers that `AlexNet(**arguments)` has.

    Args:
        arguments: As of `check_arguments`.

    Raises:
        TypeError, ValueError: As of `check_arguments`, or a block's groups do not
            divide its input's channels.
    """
    given = check_arguments(arguments)
    shape, blocks = given["image_shape"], given["blocks"]
    layers = [Layer("images", shape)]
    changes_pixels = given["rescale"] not in (None, 1.0)
    if changes_pixels or given["pixel_mean"] or given["pixel_std"]:
        layers.append(Layer("rescale", shape))
    channels = shape[2]
    if given["resize"] is not None:
        layers.append(Layer("resize", (*image_size(given), channels)))
    for block, stage, size in _walk(blocks, image_size(given)):
        if stage.kind == "conv":
            if channels % block.groups:
                raise ValueError(
                    f"groups must divide the input's channels; received groups="
                    f"{block.groups} at {stage.name}, which has {channels}."
                )
            window = block.windows["conv"]
            kernel = (*window.size, channels // block.groups, block.filters)
            channels = block.filters
            outputs = (*size, channels)
            layers.append(_weighted(stage.name, outputs, kernel, block.use_bias))
        else:
            own = stage.norm is None or stage.norm.kind != KERAS
            count = 0 if own else None
            layers.append(Layer(stage.name, (*size, channels), parameters=count))
    if given["adaptive_pool"] is not None:
        size = checks.check_pair("adaptive_pool", given["adaptive_pool"])
        layers.append(Layer("adaptive_pool", (*size, channels)))
    first_dense = block_numbers(blocks)[-1] + 1
    return Plan((*layers, *_head(given, (*size, channels), first_dense)))


def check_arguments(
    arguments: dict[str, Any], model: str = "AlexNet"
) -> dict[str, Any]:
    """Return all arguments of `AlexNet` in their normal form, by name.

    Args:
        arguments: Of `AlexNet`; those left out have their defaults. `name` and
            `dtype`, activations and initializers, those of blocks too, are not
            checked, which takes Keras.
        model: Name of the model's class, for messages.

    Raises:
        TypeError, ValueError: An argument is unknown, of the wrong kind or outside
            its range, or the images are too small for the blocks.
    """
    for name in arguments:
        if name not in DEFAULTS and name not in ("name", "trainable", "dtype"):
            raise TypeError(checks.unknown("AlexNet argument", name, DEFAULTS))
    given = {**DEFAULTS, **arguments}
    checks.check_bool("trainable", given.pop("trainable", True))
    shape = checks.check_image_shape(given["image_shape"])
    rescale, position = given["rescale"], given["dropout_position"]
    head = given["use_convolutional_head"]
    checked = {
        "image_shape": shape,
        "num_classes": checks.check_int("num_classes", given["num_classes"], 1),
        "blocks": check_blocks(given["blocks"]),
        "dense_units": checks.check_ints("dense_units", given["dense_units"]),
        "dropout": checks.check_float("dropout", given["dropout"], 0, below=1),
        "resize": checks.check_size("resize", given["resize"]),
        "rescale": rescale,
        "dropout_position": checks.check_choice(
            "dropout_position", position, ("after", "before")
        ),
        "adaptive_pool": checks.check_size("adaptive_pool", given["adaptive_pool"]),
        "use_convolutional_head": checks.check_bool("use_convolutional_head", head),
        "pixel_mean": _check_channels("pixel_mean", given["pixel_mean"], shape[2]),
        "pixel_std": _check_channels("pixel_std", given["pixel_std"], shape[2], 0),
    }
    if rescale is not None:
        checked["rescale"] = checks.check_float("rescale", rescale, above=0)
    _check_image_size(checked, model)
    return {name: checked.get(name, given[name]) for name in DEFAULTS}


def image_size(arguments: dict[str, Any]) -> checks.Pair:
    """Return the (height, width) that reaches the first block."""
    if arguments.get("resize") is not None:
        return checks.check_pair("resize", arguments["resize"])
    return arguments["image_shape"][:2]


def _check_channels(
    name: str, value: Any, channels: int, above: float | None = None
) -> tuple[float, ...] | None:
    """Return None, or one number per channel as a tuple."""
    if value is None:
        return None
    try:
        values = tuple(checks.check_float(name, item, above=above) for item in value)
    except (TypeError, ValueError):
        values = ()
    if len(values) != channels:
        raise ValueError(
            f"{name} must be a tuple of one number for each of the {channels} "
            "channel(s) of "
            f"image_shape{'' if above is None else f', greater than {above:g}'}; "
            f"received {name}={value!r}. Pass as many, or None; the presets' own "
            "preprocessing is for RGB."
        )
    return values


def _check_image_size(arguments: dict[str, Any], model: str) -> None:
    """Refuse images that leave a convolution or pool no output."""
    found = list(_walk(arguments["blocks"], image_size(arguments)))
    empty = next((stage.name for _, stage, size in found if min(size) < 1), None)
    if empty is None:
        return
    windows = [stage.window for _, stage, _ in found if stage.window]
    height, width = smallest_input(windows)
    name = "image_shape" if arguments["resize"] is None else "resize"
    raise ValueError(
        f"{model} needs a height of at least {height} and a width of at least "
        f"{width} pixels, or {empty} has no output; received {name}="
        f"{arguments[name]}. Enlarge the images, pass resize={max(height, width)} or "
        "more, or use fewer or smaller pools and strides."
    )


def _walk(
    blocks: list[dict[str, Any]], size: checks.Pair
) -> Iterator[tuple[Block, Stage, checks.Pair]]:
    """Yield each layer of the blocks with the (height, width) of its output."""
    for number, arguments in zip(block_numbers(blocks), blocks, strict=True):
        block = Block(**arguments)
        for stage in block.stages(number):
            size = stage.window.output_size(size) if stage.window else size
            yield block, stage, size


def _head(
    given: dict[str, Any], shape: tuple[int, ...], number: int
) -> Iterator[Layer]:
    """Yield the layers after the blocks, the first dense one of this number."""
    if not given["use_convolutional_head"]:
        shape = (math.prod(shape),)
        yield Layer("flatten", shape)
    for units in given["dense_units"]:
        drops = given["dropout"] > 0
        if drops and given["dropout_position"] == "before":
            yield Layer(f"drop{number}", shape)
        kernel = (*shape, units)
        shape = (*[1] * (len(shape) - 1), units)
        yield _weighted(f"fc{number}", shape, kernel)
        if given["dense_activation"] is not None:
            yield Layer(f"{activation_name(given['dense_activation'])}{number}", shape)
        if drops and given["dropout_position"] == "after":
            yield Layer(f"drop{number}", shape)
        number += 1
    if given["use_convolutional_head"]:
        shape = (math.prod(shape),)
        yield Layer("flatten", shape)
    classes = (given["num_classes"],)
    yield _weighted("logits", classes, shape + classes)
    if given["classifier_activation"] is not None:
        yield Layer("predictions", classes)


def _weighted(
    name: str, output: tuple[int, ...], kernel: tuple[int, ...], use_bias: bool = True
) -> Layer:
    weights = math.prod(kernel)
    parameters = weights + use_bias * kernel[-1]
    return Layer(name, output, kernel, parameters, weights * math.prod(output[:-1]))
