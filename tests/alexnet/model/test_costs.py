"""Costs from arguments: those of the built network, or none at all."""

from __future__ import annotations

import keras
import pytest

from alexnet import AlexNet
from alexnet.model.costs import predicted_cost

SMALL = {
    "image_shape": (12, 12, 2),
    "num_classes": 3,
    "blocks": [{"filters": 4, "kernel_size": 3, "groups": 2, "norm": {}}],
    "dense_units": (5,),
}


def built_cost(model, arguments):
    """Return the cost of a network that is built, without its weights' values."""
    with keras.StatelessScope(initialize_variables=False):
        built = model(**arguments)
    keras.utils.clear_session(free_memory=False)
    return built.count_params(), built.multiply_adds


def test_predicts_presets_and_defaults():
    """The prediction is what the built network has; `plan` is tested with more."""
    preset = AlexNet.presets["net146"]["arguments"]
    for arguments in (preset, {}):
        assert predicted_cost(AlexNet, arguments) == built_cost(AlexNet, arguments)


class Searched(AlexNet):
    """Has its own search space and training, and draws the same."""

    widths = (4, 8)

    @classmethod
    def search_space(cls, hp, image_shape):
        """Read a configuration that is always the same."""
        return {"model": {**SMALL, "dense_units": cls.widths}, "training": {}}

    def train_step(self, data):
        """Train on nothing."""
        return {}

    def shout(self):
        """Be of no use here."""


class Mixed(AlexNet):
    """Inherits from a class that knows nothing of networks."""

    def another(self):
        """Be of no use either."""


@pytest.mark.parametrize("model", [Searched, Mixed, type("Below", (Searched,), {})])
def test_predicts_subclasses_that_draw_the_same(model):
    """A subclass that draws as `AlexNet` does costs the same."""
    assert predicted_cost(model, SMALL) == built_cost(model, SMALL) is not None


class Heavier:
    """Before `AlexNet`, gives it a head with more weights."""

    def draw_head(self, inputs):
        """Draw the head after one more convolution."""
        return super().draw_head(keras.layers.Conv2D(3, 1)(inputs))


def overriding(name):
    """Return a subclass that has one thing of its own, which does as before."""

    def own(self, *args, **kwargs):
        return getattr(super(model, self), name)(*args, **kwargs)

    model = type("Own", (AlexNet,), {name: own})
    return model


@pytest.mark.parametrize(
    "model",
    [
        *map(
            overriding,
            ("__init__", "draw_block", "draw_head", "build", "add_weight", "call"),
        ),
        type("Own", (AlexNet,), {"multiply_adds": property(lambda self: 1)}),
        type("Own", (AlexNet,), {"count_params": lambda self: 1}),
        type("Own", (AlexNet,), {"from_hyperparameters": classmethod(lambda *_: 1)}),
        type("Own", (AlexNet,), {"__new__": lambda cls, **_: AlexNet()}),
        type("Own", (Heavier, AlexNet), {}),
        type("Below", (type("Own", (Heavier, AlexNet), {}),), {}),
        type("Own", (AlexNet, type("Layer", (keras.layers.Layer,), {})), {}),
    ],
)
def test_predicts_no_subclass_that_may_draw_another_way(model):
    """What a subclass may draw in a way of its own is not guessed."""
    assert predicted_cost(model, SMALL) is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"dtype": "mixed_bfloat16"},
        {"radius": 3},
        {"image_shape": (1, 12, 2), "blocks": [{"filters": 4, "kernel_size": 3}]},
        {"blocks": [{"filters": 3, "kernel_size": 3, "groups": 2}]},
        {"blocks": [{"filters": 3, "kernel_size": 3, "groups": 3}]},
        {
            "blocks": [
                {
                    "filters": 4,
                    "kernel_size": 3,
                    "norm": ({}, keras.layers.BatchNormalization()),
                }
            ]
        },
    ],
)
def test_predicts_nothing_that_it_does_not_know(arguments):
    """A dtype policy, an unknown argument, Keras' own norms, no network: no guess."""
    assert predicted_cost(AlexNet, {**SMALL, **arguments}) is None


def test_refuses_blocks_as_the_model_does():
    """Blocks that are none are refused with the model's own message."""
    with pytest.raises(TypeError, match=r"argument 'filter'. Did you mean 'filters'"):
        predicted_cost(AlexNet, {"blocks": [{"filter": 3, "kernel_size": 3}]})
