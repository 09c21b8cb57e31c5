"""Which arguments of an AlexNet vary in a search, and in which ranges.

The ranges follow from the size of the images. Every convolution and pool of the
space has "same" padding (sizes are rounded up, as cuda-convnet and Caffe do), so
that no point of it can run out of pixels.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

Bounds = tuple[float, float]

# Stages in the orders that were published with local response normalization.
ORDERS = {
    "conv-activation-norm-pool": "the paper, Caffe's AlexNet",
    "conv-norm-activation-pool": "the notebook",
    "conv-activation-pool-norm": "CaffeNet",
    "conv-norm-pool-activation": "cuda-convnet's layers-145.cfg, conv1",
    "conv-pool-activation-norm": "cuda-convnet's CIFAR-10 nets",
}
FILTERS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384)
DENSE_UNITS = (64, 128, 256, 512, 1024, 2048, 4096)
# Every published network that normalizes does so behind these blocks only.
LRN_BLOCKS = 2
# The default point, beside what depends on the image size.
DEFAULTS = {
    "use_lrn": True,
    "order": "conv-activation-norm-pool",
    "lrn_depth_radius": 2,
    "lrn_bias": 2.0,
    "lrn_alpha": 1e-4,
    "lrn_beta": 0.75,
    "optimizer": "adamw",
    "sgd_learning_rate": 1e-2,
    "adamw_learning_rate": 1e-3,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "batch_size": 32,
    "augmentation": 0.0,
}


@dataclasses.dataclass(frozen=True)
class Ranges:
    """The ranges of the search space.

    Two numbers are bounds, both inclusive; a longer tuple lists the choices.
    Tuples with an entry per block have one for each possible block.

    Attributes:
        num_blocks: Bounds of the number of convolutional blocks.
        resize: Choices for the shorter side in pixels that images are resized to.
        filters: Per block, choices for the number of filters.
        kernel_size: Per block, choices for the side of the kernel.
        strides: Per block, choices for the convolution's strides.
        pool: Per block, choices among "max", "average" and "none".
        pool_size: Choices for the side of the pools, whose strides are 2.
        use_lrn: Choices of whether the first two blocks normalize.
        order: Choices for the order of the stages with LRN, as in `ORDERS`.
        lrn_depth_radius, lrn_bias, lrn_alpha, lrn_beta: Bounds of LRN's numbers;
            bias and alpha are sampled on a logarithmic scale.
        num_dense: Bounds of the number of dense layers before the logits.
        dense_units: Choices for the units of each.
        dropout: Bounds of the rate at each dense layer.
        optimizer: Choices among "sgd" and "adamw".
        sgd_learning_rate, adamw_learning_rate: Bounds, logarithmic.
        momentum: Bounds for SGD.
        weight_decay: Bounds, logarithmic; decoupled, times the learning rate.
        batch_size: Choices.
        augmentation: Bounds of the largest shift, as a share of the side.
        defaults: Values at the default point, by hyperparameter name.
    """

    num_blocks: tuple[int, int]
    resize: tuple[int, ...]
    filters: tuple[tuple[int, ...], ...]
    kernel_size: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    pool: tuple[tuple[str, ...], ...]
    dense_units: tuple[int, ...]
    defaults: dict[str, Any]
    pool_size: tuple[int, ...] = (2, 3)
    use_lrn: tuple[bool, ...] = (True, False)
    order: tuple[str, ...] = tuple(ORDERS)
    lrn_depth_radius: tuple[int, int] = (1, 5)
    lrn_bias: Bounds = (0.5, 8.0)
    lrn_alpha: Bounds = (1e-5, 1e-1)
    lrn_beta: Bounds = (0.25, 1.0)
    num_dense: tuple[int, int] = (0, 2)
    dropout: Bounds = (0.0, 0.7)
    optimizer: tuple[str, ...] = ("adamw", "sgd")
    sgd_learning_rate: Bounds = (1e-3, 1e-1)
    adamw_learning_rate: Bounds = (1e-4, 1e-2)
    momentum: Bounds = (0.8, 0.98)
    weight_decay: Bounds = (1e-6, 1e-1)
    batch_size: tuple[int, ...] = (16, 32, 64, 128)
    augmentation: Bounds = (0.0, 0.2)

    @classmethod
    def for_images(cls, image_shape: tuple[int, int, int]) -> Ranges:
        """Return the ranges for images of (height, width, channels)."""
        side = min(image_shape[:2])
        resize = {side}
        if side >= 64:
            resize.add(side // 2)
        if side <= 64:
            resize.add(2 * side)
        most_blocks = min(5, max(2, side.bit_length() - 1))
        filters, kernels, strides, pools = [], [], [], []
        defaults: dict[str, Any] = {
            **DEFAULTS,
            "num_blocks": most_blocks,
            "resize": side,
            "num_dense": 2 if side >= 64 else 1,
            "dropout": 0.5 if side >= 64 else 0.3,
        }
        size = side  # Of the feature map, along the default point.
        for number in range(1, most_blocks + 1):
            if number == 1:
                stride = 4 if side >= 128 else 2 if side >= 64 else 1
                strides.append(tuple(s for s in (1, 2, 4) if s <= side // 16) or (1,))
                kernel = 11 if side >= 128 else 5 if side >= 24 else 3
            else:
                stride, kernel = 1, 5 if number == 2 and size >= 8 else 3
                strides.append((1, 2) if size >= 8 else (1,))
            most = min(8 * side, (96, 256, 384, 384, 256)[number - 1])
            least = 16 if number == 1 else 32
            filters.append(tuple(f for f in FILTERS if least <= f <= most) or (least,))
            sides = (3, 5, 7, 11) if number == 1 else (3, 5)
            kernels.append(tuple(k for k in sides if k <= max(3, size * 2 // 3)))
            defaults[f"filters_{number}"] = filters[-1][len(filters[-1]) // 2]
            defaults[f"kernel_size_{number}"] = kernel
            defaults[f"strides_{number}"] = stride
            size = -(-size // stride)
            pool = "max" if number in (1, 2, 5) and size >= 2 else "none"
            pools.append(("max", "average", "none") if size >= 2 else ("none",))
            defaults[f"pool_{number}"] = pool
            defaults[f"pool_size_{number}"] = 3
            size = -(-size // 2) if pool == "max" else size
        most_units = 4096 if side >= 64 else 1024 if side >= 24 else 512
        units = tuple(u for u in DENSE_UNITS if u <= most_units)
        for number in (1, 2):
            defaults[f"dense_units_{number}"] = units[-3]
        return cls(
            num_blocks=(min(2, most_blocks), most_blocks),
            resize=tuple(sorted(resize)),
            filters=tuple(filters),
            kernel_size=tuple(kernels),
            strides=tuple(strides),
            pool=tuple(pools),
            dense_units=units,
            defaults=defaults,
        )


def search_space(
    hp: Any, image_shape: tuple[int, int, int], **ranges: Any
) -> dict[str, dict[str, Any]]:
    """Read one point of the search space from `hp`.

    Args:
        hp: Anything with the methods of `keras_tuner.HyperParameters`.
        image_shape: (height, width, channels) of the images.
        **ranges: Replace attributes of `Ranges.for_images(image_shape)`;
            `defaults` are merged into its own.

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

    A range that leaves one value is no hyperparameter. Values of inactive
    hyperparameters are None, as KerasTuner gives them.
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


def _model(space: _Space, image_shape: tuple[int, int, int]) -> dict[str, Any]:
    ranges = space.ranges
    shorter = min(image_shape[:2])
    side = space.choice("resize", ranges.resize)
    resize = None
    if side != shorter:
        resize = tuple(max(1, round(n * side / shorter)) for n in image_shape[:2])

    use_lrn = space.choice("use_lrn", ranges.use_lrn)
    order, norm = _normalization(space) if True in ranges.use_lrn else (None, None)

    least, most = ranges.num_blocks
    num_blocks = space.count("num_blocks", ranges.num_blocks)
    counts = tuple(range(least, most + 1))
    blocks = []
    for number in range(1, most + 1):
        with space.only_if("num_blocks", counts, counts[max(0, number - least) :]):
            block = _block(space, number)
        if use_lrn and number <= LRN_BLOCKS:
            block |= {"order": order, "norm": norm}
        blocks.append(block)

    least, most = ranges.num_dense
    num_dense = space.count("num_dense", ranges.num_dense)
    counts = tuple(range(least, most + 1))
    dense_units = []
    for number in range(1, most + 1):
        with space.only_if("num_dense", counts, counts[max(0, number - least) :]):
            dense_units.append(
                space.choice(f"dense_units_{number}", ranges.dense_units)
            )
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
