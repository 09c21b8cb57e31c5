"""The blocks of a model, one behind the other: their arguments and their sizes."""

from __future__ import annotations

import inspect
from typing import Any

from alexnet import checks
from alexnet.arguments import tuples
from alexnet.blocks import ConvBlock, norm_template
from alexnet.windows import first_empty, smallest_input


def check_blocks(blocks: Any) -> list[dict[str, Any]]:
    """Return a model's blocks as dicts of `ConvBlock`'s arguments."""
    if not isinstance(blocks, (list, tuple)) or not blocks:
        raise ValueError(
            "blocks must be a sequence of at least one dict of ConvBlock's "
            f"arguments, or of ConvBlocks; received blocks={blocks!r}."
        )
    return [_check_block(block, number) for number, block in enumerate(blocks, start=1)]


def _check_block(block: Any, number: int) -> dict[str, Any]:
    given = ("number", "name", "trainable", "dtype")
    known = list(inspect.signature(ConvBlock).parameters)
    if isinstance(block, ConvBlock):
        config = block.get_config()
        block = {name: config[name] for name in known if name not in given}
    if not isinstance(block, dict) or any(name in block for name in given):
        raise ValueError(
            f"blocks must hold dicts of ConvBlock's arguments, other than "
            f"{', '.join(given)}, which the model gives, or ConvBlocks; received "
            f"{block!r} as block {number}."
        )
    for name in block:
        if name not in known:
            raise TypeError(
                checks.unknown("ConvBlock argument", name, known)
                + f" Received {block!r} as block {number}."
            )
    checked = {name: tuples(value) for name, value in block.items()}
    if "norm" in checked:
        checked["norm"] = norm_template(checked["norm"])
    return checked


def check_image_size(
    model: str, blocks: list[dict[str, Any]], size: checks.Pair, given: str
) -> None:
    """Refuse images of (height, width) `size` of which the blocks leave nothing.

    Args:
        model: Name of the model's class.
        blocks: The arguments of each block.
        size: Height and width in pixels.
        given: The argument that set the size, as in "resize=224".
    """
    windows = [
        window
        for number, arguments in enumerate(blocks, start=1)
        for window in ConvBlock(**arguments, number=number).windows
    ]
    empty = first_empty(windows, size)
    if empty is None:
        return
    height, width = smallest_input([window for _, window in windows])
    raise ValueError(
        f"{model} needs a height of at least {height} and a width of at least "
        f"{width} pixels, or {empty} has no output; received {given}. Enlarge the "
        f"images, pass resize={max(height, width)} or more, or use fewer or smaller "
        "pools and strides."
    )
