"""What a network costs, from its plan, if its class draws what the plan says."""

from __future__ import annotations

from typing import Any

from alexnet.model.network import AlexNet
from alexnet.model.plan import DEFAULTS, plan

# What a subclass may replace and still draw the same from the same arguments.
_HARMLESS = ("search_space", "presets", "compile", "fit", "train_step", "test_step")


def predicted_cost(
    model: type[AlexNet], arguments: dict[str, Any]
) -> tuple[int, int] | None:
    """Return a network's parameters, and its multiply-adds per image.

    They are those of the built network, in a hundredth of the time.

    Args:
        model: Its class.
        arguments: Of the class, checked as `check_arguments` does.

    Returns:
        None if the network must be built to know: the class draws in its own way, a
        Keras layer is among the norms, there is a dtype policy, which may add
        weights, or the arguments give no network.

    Raises:
        TypeError: An argument, or one of a block, is unknown or of the wrong kind.
    """
    known = {*DEFAULTS, "name", "trainable"}
    if not _draws_the_same(model) or not arguments.keys() <= known:
        return None
    try:
        planned = plan(arguments)
    except ValueError:
        return None
    if planned.parameters is None:
        return None
    return planned.parameters, planned.multiply_adds


def _draws_the_same(model: type[AlexNet]) -> bool:
    """Return whether a class replaces nothing that `AlexNet`'s network depends on.

    Apart from `_HARMLESS`, it may only have what `AlexNet` does not have.
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
