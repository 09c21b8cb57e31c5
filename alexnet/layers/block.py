"""A convolutional block as data: its arguments, its layers' names, its windows."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any, NamedTuple

from alexnet import checks
from alexnet.layers.norms import Norm, check_norm, norms_of
from alexnet.layers.windows import Window

STAGES = ("conv", "activation", "norm", "pool")
POOLS = ("max", "average")
POOL_PADDINGS = ("valid", "same", "ceil")
# Keras' other names of activation functions.
_ALIASES = {"swish": "silu", "hard_swish": "hard_silu"}


class Stage(NamedTuple):
    """One layer of a block.

    Attributes:
        kind: One of `STAGES`.
        name: The layer's.
        window: Of a convolution or a pool, else None.
        norm: Of a normalization, else None.
    """

    kind: str
    name: str
    window: Window | None = None
    norm: Norm | None = None


@dataclasses.dataclass(frozen=True)
class Block:
    """The arguments of a `ConvBlock`, which describes them, and their defaults.

    Raises:
        TypeError, ValueError: An argument is of the wrong kind or outside its
            range. `ConvBlock` checks activations and initializers, which takes
            Keras.
    """

    filters: int
    kernel_size: Any
    strides: Any = 1
    padding: Any = "same"
    groups: int = 1
    order: Any = STAGES
    activation: Any = "relu"
    norm: Any = None
    pool: str | None = "max"
    pool_size: Any = 3
    pool_strides: Any = 2
    pool_padding: str = "valid"
    use_bias: bool = True
    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"
    suffix: str = ""

    def __post_init__(self) -> None:
        filters = checks.check_int("filters", self.filters, 1)
        groups = checks.check_int("groups", self.groups, 1)
        if filters % groups:
            raise ValueError(
                f"groups must divide filters; received groups={groups} and "
                f"filters={filters}. Use a multiple of {groups} filters."
            )
        normal = {
            "filters": filters,
            "groups": groups,
            "order": _check_order(self.order),
            "norm": check_norm(self.norm),
        }
        for name in ("kernel_size", "strides", "padding", "pool_size", "pool_strides"):
            normal[name] = checks.tuples(getattr(self, name))
        for name, value in normal.items():
            object.__setattr__(self, name, value)
        checks.check_bool("use_bias", self.use_bias)
        checks.check_letters("suffix", self.suffix)
        self.windows  # noqa: B018 (checks the sizes)

    @functools.cached_property
    def windows(self) -> dict[str, Window]:
        """The sliding windows of the convolution and the pool, in order, by stage."""
        windows = {
            "conv": Window(
                checks.check_pair("kernel_size", self.kernel_size),
                checks.check_pair("strides", self.strides),
                checks.check_padding("padding", self.padding),
            ),
            "pool": Window(
                checks.check_pair("pool_size", self.pool_size),
                checks.check_pair("pool_strides", self.pool_strides),
                checks.check_choice("pool_padding", self.pool_padding, POOL_PADDINGS),
            ),
        }
        if self.pool is None:
            del windows["pool"]
        else:
            checks.check_choice("pool", self.pool, POOLS)
        return {stage: windows[stage] for stage in self.order if stage in windows}

    @functools.cached_property
    def norms(self) -> tuple[Norm, ...]:
        """The normalizations, in order."""
        return norms_of(self.norm)

    def stages(self, number: int | None = None) -> list[Stage]:
        """Return the block's layers in order; a stage left out has none.

        Args:
            number: Appended to the names; None appends nothing.
        """
        end = f"{'' if number is None else number}{self.suffix}"
        stages = []
        for kind in self.order:
            if kind in self.windows:
                stages.append(Stage(kind, f"{kind}{end}", self.windows[kind]))
            elif kind == "activation" and self.activation is not None:
                stages.append(Stage(kind, f"{activation_name(self.activation)}{end}"))
            elif kind == "norm":
                for count, norm in enumerate(self.norms, start=1):
                    name = f"norm{end}" if count == 1 else f"norm{end}_{count}"
                    stages.append(Stage(kind, name, norm=norm))
        return stages


_FIELDS = {field.name: field for field in dataclasses.fields(Block)}


def activation_name(activation: Any) -> str:
    """Return the name of an activation given as a name, a function or plain data."""
    if isinstance(activation, dict):  # {"class_name": "function", "config": "a>b"}
        activation = activation["config"]
    if isinstance(activation, str):
        return _ALIASES.get(activation, activation.split(">")[-1])
    if not hasattr(activation, "__name__"):
        raise TypeError(
            "activation must be a name, a function that has a name, or None; received "
            f"activation={activation!r}. Draw a layer in `draw_block` instead."
        )
    return activation.__name__


def check_blocks(blocks: Any) -> list[dict[str, Any]]:
    """Return a model's blocks as dicts of the arguments of `Block` that are given.

    Raises:
        TypeError, ValueError: They are not a sequence of dicts or `ConvBlock`s, an
            argument is unknown or missing, or a suffix is used twice.
    """
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
                "suffix must name one more block after the one whose number it "
                f"shares, and each another; received suffix={suffix!r} "
                f"{'first' if number == 0 else f'twice after block {number}'}."
            )
        names.append((number, suffix))
    return checked


def block_numbers(blocks: list[dict[str, Any]]) -> list[int]:
    """Return the number in the names of each block's layers.

    Blocks count from 1; one with a suffix has the number of the one before.
    """
    unnamed = (not block.get("suffix") for block in blocks)
    return list(itertools.accumulate(unnamed, initial=0))[1:]


def _check_block(block: Any, number: int) -> dict[str, Any]:
    data = getattr(block, "block", block)  # Of a ConvBlock.
    if isinstance(data, Block):
        block = {name: getattr(data, name) for name in _FIELDS}
    given = ("number", "name", "trainable", "dtype")
    if not isinstance(block, dict) or any(name in block for name in given):
        raise ValueError(
            f"blocks must hold dicts of ConvBlock's arguments, other than "
            f"{', '.join(given)}, which the model gives, or ConvBlocks; received "
            f"{block!r} as block {number}."
        )
    for name in block:
        if name not in _FIELDS:
            raise TypeError(
                checks.unknown("ConvBlock argument", name, _FIELDS)
                + f" Received {block!r} as block {number}."
            )
    for name, field in _FIELDS.items():
        if field.default is dataclasses.MISSING and name not in block:
            raise TypeError(
                f"blocks must give each block its {name}; received {block!r} as block "
                f"{number}."
            )
    checked = {name: checks.tuples(value) for name, value in block.items()}
    if "norm" in checked:
        checked["norm"] = check_norm(checked["norm"])
    return checked


def _check_order(order: Any) -> tuple[str, ...]:
    if not isinstance(order, (list, tuple)) or sorted(map(str, order)) != sorted(
        STAGES
    ):
        raise ValueError(
            f"order must hold each of {', '.join(map(repr, STAGES))} once; received "
            f"order={order!r}. Name a stage that the block lacks (norm=None), too."
        )
    return tuple(order)
