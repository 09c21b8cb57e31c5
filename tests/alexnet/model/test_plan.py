"""The plan of a network: that of the network once it is built."""

from __future__ import annotations

import dataclasses
import math

import keras
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


def test_refuses_what_the_model_refuses():
    """Bad arguments are refused by name, images that are too small with a size."""
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
