"""Hypothesis strategies, shared by all tests; every value is valid as drawn."""

from __future__ import annotations

import random
from typing import Any

import keras_tuner
from hypothesis import strategies as st

from alexnet.layers.block import STAGES, Block
from alexnet.layers.windows import smallest_input


def pairs(least, most):
    """One whole number, or two."""
    whole = st.integers(least, most)
    return whole | st.tuples(whole, whole)


def paddings():
    sides = st.tuples(st.integers(0, 3), st.integers(0, 3))
    return (
        st.sampled_from(["same", "valid"]) | st.integers(0, 3) | st.tuples(sides, sides)
    )


@st.composite
def lrn_arguments(draw, groups=(1,)):
    """Arguments of `LocalResponseNormalization` that change values visibly."""
    return {
        "depth_radius": draw(st.integers(0, 6)),
        "bias": draw(st.floats(0.5, 4)),
        "alpha": draw(st.floats(0, 2)),
        "beta": draw(st.sampled_from([0.0, 0.5, 0.75, 1.0, 1.3])),
        "groups": draw(st.sampled_from(groups)),
    }


@st.composite
def spatial_arguments(draw):
    """Arguments of `SpatialResponseNormalization` that change values visibly."""
    return {
        "pool_size": draw(pairs(1, 7)),
        "bias": draw(st.floats(0.5, 4)),
        "alpha": draw(st.floats(0, 2)),
        "beta": draw(st.sampled_from([0.0, 0.5, 0.75, 1.0, 1.3])),
    }


def norms(groups):
    """A block's `norm`: none, one, or several in sequence."""
    one = lrn_arguments(groups) | spatial_arguments()
    return st.none() | one | st.lists(one, max_size=3).map(tuple)


@st.composite
def block_arguments(draw, most_groups=3):
    """Every argument of `ConvBlock` that a model's `blocks` may hold."""
    groups = draw(st.integers(1, most_groups))
    return {
        "filters": groups * draw(st.integers(1, 3)),
        "kernel_size": draw(pairs(1, 5)),
        "strides": draw(pairs(1, 4)),
        "padding": draw(paddings()),
        "groups": groups,
        "order": tuple(draw(st.permutations(STAGES))),
        "activation": draw(st.sampled_from([None, "relu", "tanh", "sigmoid"])),
        "norm": draw(norms((1, groups))),
        "pool": draw(st.sampled_from([None, "max", "average"])),
        "pool_size": draw(pairs(1, 4)),
        "pool_strides": draw(pairs(1, 4)),
        "pool_padding": draw(st.sampled_from(["valid", "same", "ceil"])),
        "use_bias": draw(st.booleans()),
        "kernel_initializer": "glorot_normal",
        "bias_initializer": draw(st.sampled_from(["zeros", "ones"])),
        "suffix": "",
    }


@st.composite
def model_arguments(draw):
    """Arguments of a small `AlexNet`; images are as large as its blocks need."""
    ungrouped = block_arguments(most_groups=1)
    blocks = draw(st.lists(ungrouped, min_size=1, max_size=3))
    for letter, block in zip("ab", blocks[1:], strict=False):
        block["suffix"] = draw(st.sampled_from(["", letter]))
    height, width = smallest_input(
        [window for block in blocks for window in Block(**block).windows.values()]
    )
    size = (height + draw(st.integers(0, 5)), width + draw(st.integers(0, 5)))
    resize = draw(st.none() | st.just(size))
    channels = draw(st.integers(1, 4))
    return {
        "image_shape": (
            *((draw(st.integers(1, 9)), draw(st.integers(1, 9))) if resize else size),
            channels,
        ),
        "num_classes": draw(st.integers(2, 5)),
        "blocks": blocks,
        "dense_units": tuple(draw(st.lists(st.integers(1, 5), max_size=3))),
        "dropout": draw(st.sampled_from([0.0, 0.5])),
        "resize": resize,
        "rescale": draw(st.sampled_from([None, 1.0, 1 / 255])),
        "dropout_position": draw(st.sampled_from(["after", "before"])),
        "dense_activation": draw(st.sampled_from([None, "relu", "gelu"])),
        "adaptive_pool": draw(st.none() | pairs(1, 3)),
        "classifier_activation": draw(st.sampled_from([None, "softmax", "sigmoid"])),
        "dense_kernel_initializer": "he_normal",
        "dense_bias_initializer": "ones",
        "logits_kernel_initializer": "he_uniform",
        "logits_bias_initializer": "ones",
        "use_convolutional_head": draw(st.booleans()),
        "pixel_mean": draw(st.none() | channel_values(channels, -300, 300)),
        "pixel_std": draw(st.none() | channel_values(channels, 0.25, 300)),
    }


def channel_values(channels, least, most):
    """One number per channel."""
    return st.tuples(*[st.floats(least, most)] * channels)


def image_shapes(most=256):
    """Shapes of the images that a search takes."""
    side = st.integers(8, most)
    return st.tuples(side, side, st.integers(1, 4))


class RandomHyperParameters(keras_tuner.HyperParameters):
    """Hyperparameters that take a random value when they are first asked for.

    Inactive ones stay inactive: KerasTuner then gives None.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.random = random.Random(seed)

    def _retrieve(self, hp: Any) -> Any:
        is_new = not self._exists(hp.name, hp.conditions)
        value = super()._retrieve(hp)
        if is_new and self.is_active(hp):
            value = self.values[hp.name] = hp.random_sample(self.random.random())
        return value


def random_hyperparameters():
    """Random values for any search space."""
    return st.integers(0, 2**32 - 1).map(RandomHyperParameters)
