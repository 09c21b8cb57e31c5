"""The blocks of a model, one behind the other: their arguments and their sizes."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

from alexnet import checks
from alexnet.layers.arguments import tuples
from alexnet.layers.conv_block import ConvBlock
from alexnet.layers.norms import check_norm
from alexnet.layers.windows import Window, check_windows, first_empty, smallest_input

_PARAMETERS = inspect.signature(ConvBlock).parameters
_SIZE_ARGUMENTS = tuple(inspect.signature(check_windows).parameters)


def check_blocks(blocks: Any) -> list[dict[str, Any]]:
    """Return a model's blocks as dicts of `ConvBlock`'s arguments."""
    if not isinstance(blocks, (list, tuple)) or not blocks:
        raise ValueError(
            "blocks must be a sequence of at least one dict of ConvBlock's "
            f"arguments, or of ConvBlocks; received blocks={blocks!r}."
        )
    checked = [
        _check_block(block, number) for number, block in enumerate(blocks, start=1)
    ]
    names = []
    for number, block in zip(block_numbers(checked), checked, strict=True):
        suffix = checks.check_letters("suffix", block.get("suffix", ""))
        if number == 0 or (number, suffix) in names:
            raise ValueError(
                "suffix must name one more block behind the one whose number it "
                f"shares, and each another; received suffix={suffix!r} "
                f"{'first' if number == 0 else f'twice behind block {number}'}."
            )
        names.append((number, suffix))
    return checked


def block_numbers(blocks: list[dict[str, Any]]) -> list[int]:
    """Return the number that each block's layers bear.

    Blocks count from 1; one with a suffix bears the number of the one before.
    """
    unnamed = (not block.get("suffix") for block in blocks)
    return list(itertools.accumulate(unnamed, initial=0))[1:]


def _check_block(block: Any, number: int) -> dict[str, Any]:
    given = ("number", "name", "trainable", "dtype")
    known = list(_PARAMETERS)
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
    for name, parameter in _PARAMETERS.items():
        if parameter.default is parameter.empty and name not in block:
            raise TypeError(
                f"blocks must give each block its {name}; received {block!r} as block "
                f"{number}."
            )
    checked = {name: tuples(value) for name, value in block.items()}
    if "norm" in checked:
        checked["norm"] = check_norm(checked["norm"])
    return checked


def completed(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a block's arguments with the defaults of those that it leaves out."""
    defaults = {name: parameter.default for name, parameter in _PARAMETERS.items()}
    return {**defaults, **arguments}


def block_windows(arguments: dict[str, Any]) -> dict[str, Window]:
    """Return the sliding windows of a block's stages, in order, by stage.

    The block itself is not made: its layers would take a third of a model's time.

    Args:
        arguments: Of the block, `completed`.

    Raises:
        TypeError, ValueError: One that sizes depend on is outside its range.
    """
    return check_windows(**{name: arguments[name] for name in _SIZE_ARGUMENTS})


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
        (f"{stage}{number}{arguments.get('suffix', '')}", window)
        for number, arguments in zip(block_numbers(blocks), blocks, strict=True)
        for stage, window in block_windows(completed(arguments)).items()
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
