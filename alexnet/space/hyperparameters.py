"""Which arguments of an AlexNet vary in a search, and in which ranges.

The ranges follow from the size of the images. Every convolution and pool of the
space has Keras' "same" padding (sizes are divided by the stride and rounded up),
so that every configuration leaves at least one pixel.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from alexnet.space.ranges import Bounds, Ranges

# Every published network that normalizes does so in these blocks only.
LRN_BLOCKS = 2


def search_space(
    hp: Any, image_shape: tuple[int, int, int], **ranges: Any
) -> dict[str, dict[str, Any]]:
    """Read a configuration from `hp`, which registers the search space there.

    Args:
        hp: Anything with the methods of `keras_tuner.HyperParameters`.
        image_shape: (height, width, channels) of the images.
        **ranges: Replace attributes of `Ranges.for_images(image_shape)`;
            `defaults` are merged with its own.

    Returns:
        {"model": arguments of `AlexNet`, "training": the values of
        `_training`}.

    Raises:
        TypeError: A range has an unknown name.
        ValueError: `num_blocks` is more than the ranges per block have entries for.
    """
    given = Ranges.for_images(image_shape)
    defaults = {**given.defaults, **ranges.pop("defaults", {})}
    space = _Space(hp, dataclasses.replace(given, defaults=defaults, **ranges))
    _check_num_blocks(space.ranges)
    return {"model": _model(space, image_shape), "training": _training(space)}


def _check_num_blocks(ranges: Ranges) -> None:
    per_block = ("filters", "kernel_size", "strides", "pool")
    entries = min(len(getattr(ranges, name)) for name in per_block)
    least, most = ranges.num_blocks
    if not 1 <= least <= most <= entries:
        raise ValueError(
            "num_blocks must be two bounds, the lower first, from 1 to the number of "
            f"entries of {', '.join(per_block)}, which is {entries}; received "
            f"num_blocks={ranges.num_blocks!r}. Pass longer tuples for more blocks."
        )


class _Space:
    """Asks `hp` for values within `Ranges`, with their defaults.

    A range of one value is not a hyperparameter. Inactive hyperparameters are
    None, as KerasTuner returns them.
    """

    def __init__(self, hp: Any, ranges: Ranges) -> None:
        self.hp = hp
        self.ranges = ranges

    def choice(self, name: str, values: tuple[Any, ...]) -> Any:
        if len(values) == 1:
            return values[0]
        default = self.ranges.defaults.get(name, values[0])
        if default not in values:
            default = values[0]
        if isinstance(default, bool):
            return self.hp.Boolean(name, default=default)
        ordered = not isinstance(default, str)
        return self.hp.Choice(name, list(values), ordered=ordered, default=default)

    def count(self, name: str, bounds: tuple[int, int]) -> int:
        low, high = bounds
        if low == high:
            return low
        default = min(max(self.ranges.defaults.get(name, low), low), high)
        return self.hp.Int(name, low, high, default=default)

    def number(self, name: str, bounds: Bounds, sampling: str = "linear") -> float:
        low, high = bounds
        if low == high:
            return low
        default = min(max(self.ranges.defaults.get(name, low), low), high)
        return self.hp.Float(name, low, high, sampling=sampling, default=default)

    def only_if(
        self, parent: str, values: tuple[Any, ...], wanted: tuple[Any, ...]
    ) -> contextlib.AbstractContextManager[Any]:
        """Open a scope that is active if `parent`, one of `values`, is wanted."""
        if set(values) <= set(wanted):
            return contextlib.nullcontext()
        return self.hp.conditional_scope(parent, list(wanted))

    def numbered(self, parent: str, bounds: tuple[int, int]) -> Iterator[int]:
        """Yield 1, 2, ..., each in a scope that is active if `parent` is as large."""
        least, most = bounds
        counts = tuple(range(least, most + 1))
        for number in range(1, most + 1):
            with self.only_if(parent, counts, counts[max(0, number - least) :]):
                yield number


def _model(space: _Space, image_shape: tuple[int, int, int]) -> dict[str, Any]:
    ranges = space.ranges
    shorter = min(image_shape[:2])
    side = space.choice("resize", ranges.resize)
    resize = None
    if side != shorter:
        resize = tuple(max(1, round(n * side / shorter)) for n in image_shape[:2])

    use_lrn = space.choice("use_lrn", ranges.use_lrn)
    order, norm = _normalization(space) if True in ranges.use_lrn else (None, None)

    num_blocks = space.count("num_blocks", ranges.num_blocks)
    blocks = []
    for number in space.numbered("num_blocks", ranges.num_blocks):
        block = _block(space, number)
        if use_lrn and number <= LRN_BLOCKS:
            block |= {"order": order, "norm": norm}
        blocks.append(block)

    num_dense = space.count("num_dense", ranges.num_dense)
    dense_units = []
    for number in space.numbered("num_dense", ranges.num_dense):
        dense_units.append(space.choice(f"dense_units_{number}", ranges.dense_units))
        if number == 1:
            dropout = space.number("dropout", ranges.dropout)
    return {
        "resize": resize,
        "blocks": blocks[:num_blocks],
        "dense_units": tuple(dense_units[:num_dense]),
        "dropout": dropout if num_dense else 0.0,
        "dense_kernel_initializer": "he_normal",
    }


def _normalization(space: _Space) -> tuple[tuple[str, ...] | None, dict[str, Any]]:
    ranges = space.ranges
    with space.only_if("use_lrn", ranges.use_lrn, (True,)):
        order = space.choice("order", ranges.order)
        return order and tuple(order.split("-")), {
            "depth_radius": space.count("lrn_depth_radius", ranges.lrn_depth_radius),
            "bias": space.number("lrn_bias", ranges.lrn_bias, "log"),
            "alpha": space.number("lrn_alpha", ranges.lrn_alpha, "log"),
            "beta": space.number("lrn_beta", ranges.lrn_beta),
        }


def _block(space: _Space, number: int) -> dict[str, Any]:
    ranges = space.ranges
    pools = ranges.pool[number - 1]
    block = {
        "filters": space.choice(f"filters_{number}", ranges.filters[number - 1]),
        "kernel_size": space.choice(
            f"kernel_size_{number}", ranges.kernel_size[number - 1]
        ),
        "strides": space.choice(f"strides_{number}", ranges.strides[number - 1]),
        "padding": "same",
        "pool_padding": "same",
        "kernel_initializer": "he_normal",
    }
    pool = space.choice(f"pool_{number}", pools)
    block["pool"] = None if pool == "none" else pool
    if pools != ("none",):
        kinds = tuple(kind for kind in pools if kind != "none")
        with space.only_if(f"pool_{number}", pools, kinds):
            size = space.choice(f"pool_size_{number}", ranges.pool_size)
        if block["pool"]:
            block["pool_size"] = size
    return block


def _training(space: _Space) -> dict[str, Any]:
    """Read how to train: the names that `tuning.HyperAlexNet` understands."""
    ranges = space.ranges
    optimizer = space.choice("optimizer", ranges.optimizer)
    training: dict[str, Any] = {"optimizer": optimizer}
    if "sgd" in ranges.optimizer:
        with space.only_if("optimizer", ranges.optimizer, ("sgd",)):
            rate = space.number("sgd_learning_rate", ranges.sgd_learning_rate, "log")
            momentum = space.number("momentum", ranges.momentum)
        if optimizer == "sgd":
            training |= {"learning_rate": rate, "momentum": momentum}
    if "adamw" in ranges.optimizer:
        with space.only_if("optimizer", ranges.optimizer, ("adamw",)):
            rate = space.number(
                "adamw_learning_rate", ranges.adamw_learning_rate, "log"
            )
        if optimizer == "adamw":
            training["learning_rate"] = rate
    training["weight_decay"] = space.number("weight_decay", ranges.weight_decay, "log")
    training["batch_size"] = space.choice("batch_size", ranges.batch_size)
    training["augmentation"] = space.number("augmentation", ranges.augmentation)
    return training
