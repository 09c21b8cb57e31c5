"""What a network costs, told from its arguments: no layer is made."""

from __future__ import annotations

import inspect
import math
from typing import Any

from alexnet import checks
from alexnet.model.network import AlexNet
from alexnet.model.stack import block_windows, check_blocks, completed

# What a subclass may replace and still draw the same from the same arguments.
_HARMLESS = ("search_space", "presets", "compile", "fit", "train_step", "test_step")
_PARAMETERS = inspect.signature(AlexNet).parameters


def predicted_cost(
    model: type[AlexNet], arguments: dict[str, Any]
) -> tuple[int, int] | None:
    """Return a network's parameters, and its multiply-adds per image.

    They are those of the network once it is built, in a hundredth of the time.

    Args:
        model: Its class.
        arguments: Of the class; they are not all checked.

    Returns:
        None if only building the network tells: the class draws in its own way, a
        Keras layer is among the norms, there is a dtype policy, which may add
        weights, or the arguments give no network.

    Raises:
        TypeError, ValueError: The blocks are none.
    """
    known = _PARAMETERS.keys() - {"dtype"}
    if not _draws_the_same(model) or not arguments.keys() <= known:
        return None
    given = {name: _PARAMETERS[name].default for name in known} | arguments
    size, channels = given["image_shape"][:2], given["image_shape"][2]
    if given["resize"] is not None:
        size = checks.check_pair("resize", given["resize"])
    parameters = multiply_adds = 0
    for block in map(completed, check_blocks(given["blocks"])):
        filters, groups = block["filters"], block["groups"]
        if channels % groups or filters % groups or not _is_ours(block["norm"]):
            return None
        for stage, window in block_windows(block).items():
            size = window.output_size(size)
            if min(size) < 1:
                return None
            if stage == "conv":
                kernel = math.prod(window.size) * (channels // groups) * filters
                parameters += kernel + filters * block["use_bias"]
                multiply_adds += kernel * math.prod(size)
                channels = filters
    if given["adaptive_pool"] is not None:
        size = checks.check_pair("adaptive_pool", given["adaptive_pool"])
    # A convolutional head has the same weights, each applied once.
    units = [math.prod(size) * channels, *given["dense_units"], given["num_classes"]]
    kernels = sum(math.prod(units[i : i + 2]) for i in range(len(units) - 1))
    return parameters + kernels + sum(units[1:]), multiply_adds + kernels


def _draws_the_same(model: type[AlexNet]) -> bool:
    """Tell whether a class replaces nothing of `AlexNet` that its network depends on.

    Beside what is harmless it may only have what `AlexNet` knows nothing of.
    """
    # Up to `AlexNet`, or beyond it if there are others among its own bases.
    before = model.__mro__[: -len(AlexNet.__mro__)]
    own = {
        name
        for base in before
        for name, value in vars(base).items()
        if callable(value) or not name.startswith("__")
    }
    return type(model) is type(AlexNet) and not any(
        hasattr(AlexNet, name) for name in own.difference(_HARMLESS)
    )


def _is_ours(norm: Any) -> bool:
    """Tell whether a block's norms are all of this package; these have no weights."""
    norms = norm if isinstance(norm, tuple) else () if norm is None else (norm,)
    return not any("class_name" in one for one in norms)
