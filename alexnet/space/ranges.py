"""The ranges of the search space, which follow from the size of the images."""

from __future__ import annotations

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
# The default values that do not depend on the image size.
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
        use_lrn: Choices for whether the first two blocks normalize.
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
        defaults: Default values, by hyperparameter name.
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
        size = side  # Of the feature map, with the default values.
        for number in range(1, most_blocks + 1):
            if number == 1:
                stride = 4 if side >= 128 else 2 if side >= 64 else 1
                choices = (2, 4) if side >= 128 else (1, 2, 4)
                strides.append(tuple(s for s in choices if s <= side // 16) or (1,))
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
            # Without early pools, large images give dense layers billions of weights.
            kinds: tuple[str, ...] = ("max", "average", "none")
            if number <= 2 and side >= 32:
                kinds = ("max", "average")
            pools.append(kinds if size >= 2 else ("none",))
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
