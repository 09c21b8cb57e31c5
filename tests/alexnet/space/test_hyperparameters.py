"""The search space: every configuration of it builds a network."""

from __future__ import annotations

import dataclasses
import re

import keras
import keras_tuner
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import image_shapes, random_hyperparameters

from alexnet import AlexNet
from alexnet.space.hyperparameters import search_space
from alexnet.space.ranges import ORDERS, Ranges


def drawn(cls, hp, *args, **kwargs):
    """Draw the network of a configuration without memory for its weights."""
    with keras.StatelessScope(initialize_variables=False):
        model = cls.from_hyperparameters(hp, *args, **kwargs)
    keras.utils.clear_session(free_memory=False)
    return model


def ask(values, image_shape=(32, 32, 3), **ranges):
    """Return the hyperparameters after asking with some values given."""
    hp = keras_tuner.HyperParameters()
    hp.values.update(values)
    return hp, search_space(hp, image_shape, **ranges)


def inactive(hp):
    return {p.name for p in hp.space if not hp.is_active(p)}


@given(random_hyperparameters(), image_shapes(), st.integers(2, 1000))
def test_every_point_builds(hp, image_shape, num_classes):
    """Every configuration of every space builds a network with an output per class."""
    model = drawn(AlexNet, hp, image_shape, num_classes)
    assert model.output.shape == (None, num_classes)
    assert model.input.shape == (None, *image_shape)
    assert model.count_params() > 0


@settings(max_examples=8)
@given(random_hyperparameters(), image_shapes(most=12))
def test_points_compute(hp, image_shape):
    """Networks of the space give probabilities that add up to 1 (float32)."""
    model = AlexNet.from_hyperparameters(hp, image_shape, 3)
    x = np.random.default_rng(0).random((2, *image_shape), "float32")
    outputs = model(x)
    np.testing.assert_allclose(np.sum(outputs, axis=-1), 1, rtol=1e-5)


@given(image_shapes())
def test_defaults_build_and_are_asked_for(image_shape):
    """The default configuration builds, and each of its values is the one declared."""
    hp = keras_tuner.HyperParameters()
    configuration = search_space(hp, image_shape)
    declared = Ranges.for_images(image_shape).defaults
    for name, value in hp.values.items():
        assert value == declared[name]
    model = drawn(AlexNet, keras_tuner.HyperParameters(), image_shape, 10)
    assert len(model.blocks) == declared["num_blocks"]
    assert len(configuration["model"]["blocks"]) == declared["num_blocks"]
    assert model.dense_units == configuration["model"]["dense_units"]


@given(random_hyperparameters(), image_shapes())
def test_values_lie_in_the_ranges(hp, image_shape):
    """Every value of a configuration lies within the ranges; none is missing."""
    ranges = Ranges.for_images(image_shape)
    configuration = search_space(hp, image_shape)
    model, training = configuration["model"], configuration["training"]
    side = min(model["resize"] or image_shape[:2])
    assert side in ranges.resize
    least, most = ranges.num_blocks
    assert least <= len(model["blocks"]) <= most
    for number, block in enumerate(model["blocks"]):
        assert block["filters"] in ranges.filters[number]
        assert block["kernel_size"] in ranges.kernel_size[number]
        assert block["strides"] in ranges.strides[number]
        assert (block["pool"] or "none") in ranges.pool[number]
        assert block.get("pool_size", 2) in ranges.pool_size
        if "norm" in block:
            assert number < 2
            assert "-".join(block["order"]) in ORDERS
            assert None not in block["norm"].values()
    assert ranges.num_dense[0] <= len(model["dense_units"]) <= ranges.num_dense[1]
    assert all(units in ranges.dense_units for units in model["dense_units"])
    assert ranges.dropout[0] <= model["dropout"] <= ranges.dropout[1]
    assert None not in training.values()
    assert ("momentum" in training) == (training["optimizer"] == "sgd")


@given(random_hyperparameters(), image_shapes())
def test_a_point_is_its_values(hp, image_shape):
    """The same values give the same network again, as a search that resumes does."""
    configuration = search_space(hp, image_shape)
    again = keras_tuner.HyperParameters.from_config(hp.get_config())
    assert search_space(again, image_shape) == configuration


def test_images_keep_their_proportions():
    """Images that are not square are resized by one factor for both sides."""
    _, configuration = ask({"resize": 64}, (128, 200, 3))
    assert configuration["model"]["resize"] == (64, 100)
    _, configuration = ask({"resize": 128}, (128, 200, 3))
    assert configuration["model"]["resize"] is None
    _, configuration = ask({"resize": 64}, (128, 203, 3))
    assert configuration["model"]["resize"] == (64, 102)  # 101.5, rounded to even.


# Values with which everything is active but what belongs to the other optimizer.
FULL = {"use_lrn": True, "num_blocks": 4, "num_dense": 2, "optimizer": "adamw"}
FULL |= {f"pool_{number}": "max" for number in range(1, 5)}


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({}, {"sgd_learning_rate", "momentum"}),
        ({"optimizer": "sgd"}, {"adamw_learning_rate"}),
        (
            {"use_lrn": False},
            {"order", "lrn_depth_radius", "lrn_bias", "lrn_alpha", "lrn_beta"},
        ),
        (
            {"num_blocks": 3},
            {"filters_4", "kernel_size_4", "strides_4", "pool_4", "pool_size_4"},
        ),
        ({"pool_3": "none"}, {"pool_size_3"}),
        ({"num_dense": 1}, {"dense_units_2"}),
        ({"num_dense": 0}, {"dense_units_1", "dense_units_2", "dropout"}),
    ],
)
def test_what_does_not_matter_is_inactive(values, names):
    """What has no effect on a configuration is inactive in it, and nothing else is."""
    ranges = {"num_blocks": (2, 4), "strides": ((1, 2),) * 4}
    hp, _ = ask({**FULL, **values}, (64, 64, 3), **ranges)
    if "optimizer" not in values:
        names = names | {"sgd_learning_rate", "momentum"}
    assert inactive(hp) == names


def test_without_lrn_blocks_have_no_norm():
    """use_lrn decides whether the first two blocks, and only they, normalize."""
    _, configuration = ask({"use_lrn": True})
    assert ["norm" in block for block in configuration["model"]["blocks"]] == [
        number < 2 for number in range(len(configuration["model"]["blocks"]))
    ]
    _, configuration = ask({"use_lrn": False})
    assert not any("norm" in block for block in configuration["model"]["blocks"])


@given(random_hyperparameters(), image_shapes())
def test_subclass_narrows_and_adds(hp, image_shape):
    """A subclass passes ranges on, asks for more, and gets it as an argument."""

    class Narrow(AlexNet):
        @classmethod
        def search_space(cls, hp, image_shape):
            configuration = super().search_space(
                hp, image_shape, num_blocks=(2, 3), use_lrn=(True,), num_dense=(1, 1)
            )
            configuration["model"]["dense_activation"] = hp.Choice(
                "dense_activation", ["gelu", "tanh"]
            )
            return configuration

    model = drawn(Narrow, hp, image_shape, 5)
    assert type(model) is Narrow
    assert 2 <= len(model.blocks) <= 3
    assert model.dense_activation == hp.get("dense_activation")
    assert len(model.dense_units) == 1
    assert "norm1" in model.taps
    assert {"use_lrn", "num_dense"}.isdisjoint(hp.values)


@pytest.mark.parametrize(
    ("ranges", "values"),
    [
        ({"num_dense": (0, 0)}, {"dense_units": (), "dropout": 0.0}),
        ({"dropout": (0.2, 0.2), "num_dense": (1, 2)}, {"dropout": 0.2}),
        ({"resize": (24,)}, {"resize": (24, 24)}),
        ({"defaults": {"dropout": 0.6}, "num_dense": (1, 2)}, {"dropout": 0.6}),
        ({"dense_units": (7,), "num_dense": (2, 2)}, {"dense_units": (7, 7)}),
    ],
)
def test_ranges_replace_those_of_the_image_size(ranges, values):
    """A range of one value is no hyperparameter; defaults are merged."""
    hp, configuration = ask({}, **ranges)
    assert values.items() <= configuration["model"].items()
    model = drawn(AlexNet, hp, (32, 32, 3), 2)
    assert model.output.shape == (None, 2)


def test_defaults_are_cut_to_the_ranges():
    """A default outside a range is replaced by the bound on its side."""
    hp, _ = ask({}, dropout=(0.0, 0.2), weight_decay=(1e-2, 1e-1), num_blocks=(2, 3))
    assert (hp.get("dropout"), hp.get("weight_decay")) == (0.2, 1e-2)
    assert hp.get("num_blocks") == 3


TO_96 = (16, 24, 32, 48, 64, 96)
TO_256 = (32, 48, 64, 96, 128, 192, 256)
TO_384 = (*TO_256, 384)
TO_1024 = (64, 128, 256, 512, 1024)
TO_4096 = (*TO_1024, 2048, 4096)
# By side of the images: resize, strides of conv1, filters of conv3 and conv4,
# units; and defaults of those that depend on it.
RANGES = {
    32: ((32, 64), (1, 2), TO_256, TO_1024),
    64: ((32, 64, 128), (1, 2, 4), TO_384, TO_4096),
    128: ((64, 128), (2, 4), TO_384, TO_4096),
}
NAMES = (
    *("strides_1", "kernel_size_1", "num_dense", "dropout"),
    *("filters_3", "filters_4", "dense_units_1", "dense_units_2"),
)
DEFAULTS = {
    32: (1, 5, 1, 0.3, 96, 96, 256, 256),
    64: (2, 5, 2, 0.5, 128, 128, 1024, 1024),
    128: (4, 11, 2, 0.5, 128, 128, 1024, 1024),
}
COMMON_DEFAULTS = {
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
    "num_blocks": 5,
    **{f"strides_{number}": 1 for number in range(2, 6)},
    **{f"kernel_size_{number}": 3 for number in range(3, 6)},
    **{f"pool_size_{number}": 3 for number in range(1, 6)},
    **{f"pool_{number}": "max" for number in (1, 2, 5)},
    **{f"pool_{number}": "none" for number in (3, 4)},
    "kernel_size_2": 5,
    "filters_1": 48,
    "filters_2": 96,
    "filters_5": 96,
}


@pytest.mark.parametrize("side", RANGES)
def test_ranges_by_size(side):
    """Ranges and defaults for images of 32, 64 and 128 pixels are those listed."""
    ranges = Ranges.for_images((side, side + 1, 3))
    resize, strides, filters, units = RANGES[side]
    assert ranges.num_blocks == (2, 5)
    assert ranges.resize == resize
    assert ranges.filters == (TO_96, TO_256, filters, filters, TO_256)
    assert ranges.kernel_size == ((3, 5, 7, 11), *((3, 5),) * 4)
    assert ranges.strides == (strides, *((1, 2),) * 4)
    early, late = ("max", "average"), ("max", "average", "none")
    assert ranges.pool == (early, early, late, late, late)
    assert ranges.pool_size == (2, 3)
    assert ranges.dense_units == units
    own = dict(zip(NAMES, DEFAULTS[side], strict=True))
    assert ranges.defaults == {**COMMON_DEFAULTS, **own, "resize": side}
    assert (ranges.lrn_bias, ranges.lrn_alpha) == ((0.5, 8.0), (1e-5, 1e-1))
    assert (ranges.lrn_depth_radius, ranges.lrn_beta) == ((1, 5), (0.25, 1.0))
    assert (ranges.num_dense, ranges.dropout) == ((0, 2), (0.0, 0.7))
    assert (ranges.momentum, ranges.weight_decay) == ((0.8, 0.98), (1e-6, 1e-1))
    assert ranges.sgd_learning_rate == (1e-3, 1e-1)
    assert ranges.adamw_learning_rate == (1e-4, 1e-2)
    assert (ranges.batch_size, ranges.augmentation) == ((16, 32, 64, 128), (0.0, 0.2))
    assert ranges.optimizer == ("adamw", "sgd")


def test_unknown_ranges_are_refused():
    """A range that does not exist is refused by name."""
    with pytest.raises(TypeError, match="filter_count"):
        search_space(keras_tuner.HyperParameters(), (32, 32, 3), filter_count=(1, 2))


@pytest.mark.parametrize(
    "ranges",
    [
        {"num_blocks": (2, 6)},
        {"num_blocks": (0, 2)},
        {"num_blocks": (3, 2)},
        {"num_blocks": (2, 3), "filters": ((16,), (32,))},
    ],
)
def test_more_blocks_than_ranges_are_refused(ranges):
    """The number of blocks is at least 1, and no more than what is described."""
    received = re.escape(f"received num_blocks={ranges['num_blocks']}")
    with pytest.raises(ValueError, match=f"num_blocks must.*{received}"):
        search_space(keras_tuner.HyperParameters(), (32, 32, 3), **ranges)


def test_ranges_say_what_they_are():
    """Each range is described in the docstring of Ranges."""
    for field in dataclasses.fields(Ranges):
        assert field.name in Ranges.__doc__


def test_overrides_replace_the_points_arguments():
    """Arguments given to from_hyperparameters replace those of the hyperparameters."""
    hp = keras_tuner.HyperParameters()
    model = drawn(AlexNet, hp, (32, 32, 3), 4, dense_units=(5,), rescale=1 / 255)
    assert model.dense_units == (5,)
    assert isinstance(model.get_layer("rescale"), keras.layers.Rescaling)


def test_image_shape_is_checked():
    """A bad image shape is refused before the space is read."""
    with pytest.raises(ValueError, match=r"image_shape .*image_shape=\(32, 32\)"):
        AlexNet.from_hyperparameters(keras_tuner.HyperParameters(), (32, 32))
