"""The plan of a network: that of the network once it is built."""

from __future__ import annotations

import dataclasses
import math

import keras
import numpy as np
import pytest
from hypothesis import given
from strategies import block_arguments, model_arguments

from alexnet import AlexNet, ConvBlock
from alexnet.layers.block import Block
from alexnet.model.plan import plan

SMALL = {
    "image_shape": (12, 12, 2),
    "num_classes": 3,
    "blocks": [{"filters": 4, "kernel_size": 3, "groups": 2, "norm": {}}],
    "dense_units": (5,),
}


@keras.saving.register_keras_serializable(package="tests")
def double(x):
    """Multiply by two."""
    return 2 * x


def built(arguments):
    """Build a network without its weights' values."""
    with keras.StatelessScope(initialize_variables=False):
        model = AlexNet(**arguments)
    keras.utils.clear_session(free_memory=False)
    return model


def facts(layer):
    """Return what a plan says of a layer, read off the built one."""
    output = tuple(layer.output.shape[1:])
    kernel = getattr(layer, "kernel", None)
    kernel = None if kernel is None else tuple(kernel.shape)
    multiply_adds = math.prod(kernel) * math.prod(output[:-1]) if kernel else 0
    return (layer.name, output, kernel, layer.count_params(), multiply_adds)


def check_plan(arguments):
    """Compare the plan of a network with the network, layer by layer."""
    planned, model = plan(arguments), built(arguments)
    assert [tuple(layer) for layer in planned.layers] == [*map(facts, model.layers)]
    assert planned.parameters == model.count_params()
    assert planned.multiply_adds == model.multiply_adds
    assert plan(model.get_config()) == planned


@given(model_arguments())
def test_plans_what_is_built(arguments):
    """Names, shapes, kernels, parameters and multiply-adds are the network's."""
    check_plan(arguments)


@given(block_arguments())
def test_plans_blocks_with_groups(block):
    """So they are where the channels are in groups."""
    first = {"filters": 6, "kernel_size": 1, "pool": None}
    second = {**block, "strides": 1, "pool_strides": 2, "groups": 3, "filters": 9}
    second["norm"] = None  # Its groups are the block's.
    check_plan({"image_shape": (99, 98, 4), "blocks": [first, second]})


@pytest.mark.parametrize("name", AlexNet.presets)
def test_plans_presets(name):
    """Each preset's plan is its network, with as many parameters as published."""
    preset = AlexNet.presets[name]
    check_plan(preset["arguments"])
    assert plan(preset["arguments"]).parameters == preset["parameters"]


def test_plans_defaults():
    """An argument that is left out has the class's default."""
    check_plan({})


@pytest.mark.parametrize(
    "activation",
    [
        *("swish", "hard_swish", "leaky_relu", keras.activations.gelu, double),
        keras.saving.serialize_keras_object(double),
    ],
)
def test_plans_the_names_of_activations(activation):
    """A function, its name, another name of it or its plain data name a layer."""
    arguments = {**SMALL, "dense_activation": activation}
    arguments["blocks"] = [{**SMALL["blocks"][0], "activation": activation}]
    check_plan(arguments)


@pytest.mark.parametrize("rescale", [None, 1.0, 0.5])
@pytest.mark.parametrize("mean", [None, (0.0, 1.0)])
def test_plans_what_happens_to_pixels(rescale, mean):
    """There is a layer for pixels only if it changes them."""
    check_plan({**SMALL, "rescale": rescale, "pixel_mean": mean})


def test_plans_blocks_given_as_layers():
    """A ConvBlock means what the dict of its arguments means."""
    (block,) = SMALL["blocks"]
    assert plan({**SMALL, "blocks": [ConvBlock(**block)]}) == plan(SMALL)
    assert ConvBlock(**block).block == Block(**block)


def test_the_parameters_of_keras_layers_are_unknown():
    """A Keras layer among the norms has its place, but no number of parameters."""
    block = {"filters": 4, "kernel_size": 3, "norm": keras.layers.BatchNormalization()}
    planned = plan({**SMALL, "blocks": [block]})
    (norm,) = (layer for layer in planned.layers if layer.parameters is None)
    assert (norm.name, norm.output) == ("norm1", (12, 12, 4))
    assert planned.parameters is None
    model = built({**SMALL, "blocks": [block]})
    assert planned.multiply_adds == model.multiply_adds


BLOCK = {"filters": 4, "kernel_size": 3}
REFUSED = [
    *[("image_shape", value) for value in (None, (8, 8), (0, 8, 3), (8, 8, 5))],
    *[("num_classes", value) for value in (0, 2.0, None, True)],
    *[("blocks", value) for value in ((), None, "paper", {"filters": 3})],
    *[("blocks", [{**BLOCK, name: 0}]) for name in ("filters", "strides", "radius")],
    *[("blocks", [{**BLOCK, "pool_padding": "full"}]), ("blocks", [{"filters": 3}])],
    *[
        ("blocks", [{**BLOCK, "norm": {"pool_size": 3, name: value}}])
        for name, value in (("alpha", -1), ("bias", 0), ("groups", 2), ("pool_size", 0))
    ],
    *[
        ("blocks", [{**BLOCK, "norm": ({}, {name: value})}])
        for name, value in (("depth_radius", -1), ("beta", "x"), ("radius", 3))
    ],
    *[("dense_units", value) for value in (None, 4096, (0,), ("64",))],
    *[("dropout", value) for value in (2.0, 1, -0.1, math.nan, True, "x", None)],
    *[("resize", value) for value in (0, (16,), "224", 1.5, 1)],
    *[("rescale", value) for value in (0, -1, True, "x", math.inf)],
    *[("pixel_mean", value) for value in (0.5, (1.0,), (1.0, "3"), (1, math.inf), ())],
    *[("pixel_mean", np.array([1.0, 2.0, 3.0])), ("pixel_mean", np.array(1.0))],
    *[("pixel_std", value) for value in (0.5, (1.0, 0), (1, None), np.zeros(2))],
    *[("trainable", value) for value in ("no", None, 1)],
    *[("dropout_position", value) for value in ("behind", None, 1)],
    *[("use_convolutional_head", value) for value in (None, 1, "yes")],
    *[("adaptive_pool", value) for value in (0, (6, 6, 6), "6")],
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_refuses_what_the_model_refuses(name, value):
    """A bad argument raises the model's own error: the same type and text."""
    arguments = {**SMALL, "blocks": [{**BLOCK, "pool_size": 2}], name: value}
    with pytest.raises((TypeError, ValueError)) as expected:
        AlexNet(**arguments)
    with pytest.raises(type(expected.value)) as raised:
        plan(arguments)
    assert str(raised.value) == str(expected.value)
    assert name in str(raised.value) or name == "blocks"


@pytest.mark.parametrize("kind", [tuple, list, np.array, lambda v: np.float32(v)])
def test_takes_numbers_per_channel_as_the_model_does(kind):
    """Means and deviations may be tuples, lists or NumPy arrays."""
    check_plan({**SMALL, "pixel_mean": kind([0.5, 1.0]), "pixel_std": kind([2, 0.5])})


def test_refuses_unknown_names_and_small_images():
    """Bad names are refused by name, images that are too small with a size."""
    with pytest.raises(TypeError, match=r"argument 'class'.*mean 'num_classes'"):
        plan({"class": 3})
    with pytest.raises(TypeError, match=r"argument 'filter'. Did you mean 'filters'"):
        plan({"blocks": [{"filter": 3, "kernel_size": 3}]})
    with pytest.raises(ValueError, match="at least 36 and a width of at least 36"):
        plan({"image_shape": (32, 32, 3)})
    block = {"filters": 6, "kernel_size": 3, "groups": 3}
    with pytest.raises(ValueError, match="groups=3 at conv1, which has 2"):
        plan({**SMALL, "blocks": [block]})


def test_blocks_are_frozen():
    """A block cannot change once it is made."""
    block = Block(8, [3, 5])
    assert block.kernel_size == (3, 5)
    with pytest.raises(dataclasses.FrozenInstanceError, match="filters"):
        block.filters = 9
