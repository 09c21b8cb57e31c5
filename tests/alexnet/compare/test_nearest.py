"""The values of a search space that are nearest to a published network."""

from __future__ import annotations

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from preset_tables import TABLES

from alexnet import AlexNet, ConvBlock
from alexnet.compare.nearest import decoupled, nearest_point
from tuning.store.records import allows

SHAPES = ((8, 8, 1), (32, 32, 3), (64, 48, 3), (224, 224, 3))
SGD = {"optimizer": "sgd", "momentum": 0.9, "batch_size": 128}
PAPER = {
    "resize": 224,
    "num_blocks": 5,
    "num_dense": 2,
    "dropout": 0.5,
    "use_lrn": True,
    "order": "conv-activation-norm-pool",
    "lrn_depth_radius": 2,
    "lrn_bias": 2.0,
    "lrn_alpha": 1e-4,
    "lrn_beta": 0.75,
    "filters_1": 96,
    "kernel_size_1": 11,
    "strides_1": 4,
    "filters_2": 256,
    "kernel_size_2": 5,
    "strides_2": 1,
    "filters_3": 384,
    "kernel_size_3": 3,
    "strides_3": 1,
    "filters_4": 384,
    "kernel_size_4": 3,
    "strides_4": 1,
    "filters_5": 256,
    "kernel_size_5": 3,
    "strides_5": 1,
    "pool_1": "max",
    "pool_size_1": 3,
    "pool_2": "max",
    "pool_size_2": 3,
    "pool_3": "none",
    "pool_4": "none",
    "pool_5": "max",
    "pool_size_5": 3,
    "dense_units_1": 4096,
    "dense_units_2": 4096,
    "sgd_learning_rate": 0.01,
    "weight_decay": 0.005,
    "augmentation": 16 / 224,
    **SGD,
}
TORONTO = {
    **PAPER,
    "order": "conv-norm-pool-activation",
    "lrn_alpha": 2e-5,
}
ONE_GROUP = {"filters_1": 64, "filters_2": 192, "filters_4": 256}
NO_LRN = ("order", "lrn_depth_radius", "lrn_bias", "lrn_alpha", "lrn_beta")


def without(names, values):
    """Return values but for those without effect."""
    return {name: value for name, value in values.items() if name not in names}


# At 224 pixels, the size at which they were published, Caffe's but for 227.
POINTS = {
    "paper": PAPER,
    "ungrouped": PAPER,
    "net145": TORONTO,
    "net145_half": {
        **TORONTO,
        "filters_1": 48,
        "filters_2": 128,
        "filters_3": 192,
        "filters_4": 192,
    },
    "net146": {**TORONTO, "sgd_learning_rate": 0.001},
    "net147": {**TORONTO, "pool_size_1": 2, "pool_size_2": 2, "pool_size_5": 2},
    "net148": {**without(NO_LRN, PAPER), "use_lrn": False},
    "one_weird_trick": {**TORONTO, **ONE_GROUP},
    "caffe": {
        **PAPER,
        "lrn_bias": 1.0,
        "lrn_alpha": 2e-5,
        "augmentation": 14.5 / 227,
    },
    "caffenet": {
        **PAPER,
        "lrn_bias": 1.0,
        "lrn_alpha": 2e-5,
        "augmentation": 14.5 / 227,
        "order": "conv-activation-pool-norm",
    },
    "torchvision": {
        **without(NO_LRN, PAPER),
        **ONE_GROUP,
        "use_lrn": False,
        "weight_decay": 0.001,
        "augmentation": 0.0,
    },
}
CIFAR10 = {
    "resize": 32,
    "num_blocks": 3,
    "use_lrn": False,
    "filters_1": 32,
    "kernel_size_1": 5,
    "strides_1": 1,
    "pool_1": "max",
    "filters_2": 32,
    "kernel_size_2": 5,
    "strides_2": 1,
    "pool_2": "average",
    "filters_3": 64,
    "kernel_size_3": 5,
    "strides_3": 1,
    "pool_3": "average",
    "pool_size_1": 3,
    "pool_size_2": 3,
    "pool_size_3": 3,
    "sgd_learning_rate": 0.001,
    "weight_decay": 0.04,
    "augmentation": 0.0,
    **SGD,
}
CIFAR10_POINTS = {
    "cifar10_full": {**CIFAR10, "num_dense": 0},
    "cifar10_quick": {**CIFAR10, "num_dense": 1, "dense_units_1": 64, "dropout": 0.0},
}


def space_of(image_shape, model=AlexNet):
    """Return hyperparameters that hold a model's space."""
    hp = keras_tuner.HyperParameters()
    model.search_space(hp, image_shape)
    return hp


def nearest(preset, image_shape, model=AlexNet):
    """Return the nearest values with their changes, and `hp` that holds the values."""
    hp = space_of(image_shape, model)
    point = nearest_point(preset, hp, image_shape, model)
    assert hp.values == space_of(image_shape, model).values  # Unchanged.
    hp.values = dict(point.values)
    return point, hp


@pytest.mark.parametrize("image_shape", SHAPES)
@pytest.mark.parametrize("preset", TABLES)
def test_every_preset_is_a_point_of_every_space(preset, image_shape):
    """All active hyperparameters, and no others, have an allowed value, and build."""
    point, hp = nearest(preset, image_shape)
    active = {entry.name: entry for entry in hp.space if hp.is_active(entry)}
    assert list(point.values) == list(active)
    for name, value in point.values.items():
        assert allows(active[name], value), (name, value)
    with keras.StatelessScope(initialize_variables=False):
        model = AlexNet.from_hyperparameters(hp, image_shape, 10)
    keras.utils.clear_session(free_memory=False)
    assert model.output.shape == (None, 10)
    assert {type(line) for line in point.changes} == {str}


@pytest.mark.parametrize("preset", POINTS)
def test_points_are_the_published_networks(preset):
    """At the published size the values are all that the space has of the network."""
    assert nearest(preset, (224, 224, 3))[0].values == POINTS[preset]


@pytest.mark.parametrize("preset", CIFAR10_POINTS)
def test_points_are_the_published_networks_for_cifar10(preset):
    """At 32 pixels the nets for CIFAR-10 come out with each of their parameters."""
    point, hp = nearest(preset, (32, 32, 3))
    assert point.values == CIFAR10_POINTS[preset]
    with tf.Graph().as_default():
        model = AlexNet.from_hyperparameters(hp, (32, 32, 3), 10)
    assert model.count_params() == AlexNet.presets[preset]["parameters"]


def test_the_network_at_a_point_computes_what_the_published_one_does():
    """Apart from the changes, outputs are those of the preset (float32)."""
    _, hp = nearest("cifar10_quick", (32, 32, 3))
    model = AlexNet.from_hyperparameters(hp, (32, 32, 3), 10)
    published = AlexNet.from_preset("cifar10_quick", dense_activation="relu")
    model.set_weights(published.get_weights())
    x = np.random.default_rng(0).uniform(-100, 100, (4, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(model(x), published(x), rtol=1e-5, atol=1e-6)


def test_changes_are_what_is_not_as_published():
    """Each difference has one line; what does not change the outputs has none."""
    decay = (
        "weight_decay: 0.0005 published, which momentum accumulates; 0.005 here, "
        "which bypasses it and comes to the same"
    )
    also = AlexNet.presets["paper"]["training"]["also"]
    convs = "conv1, conv2, conv3, conv4, conv5"
    normal, ones = "RandomNormal(mean=0, stddev=0.01)", "Constant(value=1)"
    small, large = (normal.replace("0.01", stddev) for stddev in ("0.0001", "0.1"))
    assert nearest("paper", (224, 224, 3))[0].changes == [
        "pixels: from -127.3 to 150.09 published, from 0 to 1 here",
        f"kernel_initializer of {convs}: {normal} published, HeNormal here",
        "padding of conv1: ((0, 3), (0, 3)) published, same here",
        "groups of conv2, conv4, conv5: 2 published, 1 here",
        f"bias_initializer of conv2, conv4, conv5: {ones} published, Zeros here",
        f"dense_kernel_initializer: {normal} published, HeNormal here",
        f"dense_bias_initializer: {ones} published, Zeros here",
        f"logits_kernel_initializer: {normal} published, GlorotUniform here",
        decay,
        f"published, but not in the space: {also}",
    ]
    quick = AlexNet.presets["cifar10_quick"]["training"]
    assert nearest("cifar10_quick", (32, 32, 3))[0].changes == [
        "pixels: from -125.3 to 141.1 published, from 0 to 1 here",
        f"kernel_initializer of conv1: {small} published, HeNormal here",
        f"kernel_initializer of conv2, conv3: {normal} published, HeNormal here",
        "dense_activation: none published, relu here",
        f"dense_kernel_initializer: {large} published, HeNormal here",
        f"logits_kernel_initializer: {large} published, GlorotUniform here",
        "batch_size: 100 published, 128 here",
        decay.replace("0.0005", "0.004").replace("0.005", "0.04"),
        f"published, but not in the space: {quick['also']}",
    ]
    side = "{} pixels a side (resized from {})"
    glorot = "GlorotUniform published, HeNormal here"
    assert nearest("notebook", (8, 8, 1))[0].changes == [
        f"input: {side.format(224, 32)} published, {side.format(16, 8)} here",
        "filters of conv1: 96 published, 64 here",
        f"kernel_initializer of conv1, conv2, conv3: {glorot}",
        "alpha of norm1, norm2: 1 published, 0.1 here",
        "kernel_size of conv1: 11 published, 5 here",
        "strides of conv1, conv2, conv3: 4 published, 1 here",
        "pool_padding of pool1, pool2: valid published, same here",
        "filters of conv2: 256 published, 64 here",
        "kernel_size of conv2: 5 published, 3 here",
        "filters of conv3: 384 published, 64 here",
        "conv4, conv5: only published",
        "units of fc6, fc7: 4096 published, 512 here",
        f"dense_kernel_initializer: {glorot}",
        "training: nothing published, the space's defaults here",
    ]


@pytest.mark.parametrize(
    ("preset", "image_shape", "line"),
    [
        ("net145", (64, 64, 3), "groups of norm1, conv2, norm2, conv4, conv5: 2 pub"),
        ("net145", (64, 64, 3), "normalization of block 2: across channels and within"),
        ("net145", (64, 64, 3), "order of block 2: conv activation norm pool publ"),
        ("net146", (224, 224, 3), "conv5b: only published"),
        ("caffe", (224, 224, 3), "input: 227 pixels a side published, 224 pixels"),
        ("caffe", (224, 224, 3), "batch_size: 256 published, 128 here"),
        ("cifar10_full", (32, 32, 3), "normalization of block 1, block 2: within maps"),
        ("cifar10_quick", (32, 32, 3), "dense_activation: none published, relu here"),
        ("torchvision", (224, 224, 3), "adaptive_pool: 6 published, none here"),
        ("torchvision", (224, 224, 3), "dropout_position: before published, after"),
        ("torchvision", (224, 224, 3), "pool_padding of pool1, pool2, pool5: valid"),
    ],
)
def test_changes_include_what_the_space_lacks(preset, image_shape, line):
    """What no hyperparameter stands for is a change, too."""
    changes = nearest(preset, image_shape)[0].changes
    assert any(text.startswith(line) for text in changes), changes


def test_weight_decay_shrinks_weights_as_fast():
    """Keras' decay beside momentum does what decay within the gradient did in 2012.

    Relative tolerance 1e-3: the rate is small, and the first steps differ.
    """
    row = AlexNet.presets["cifar10_quick"]["training"]
    rate, momentum, decay = row["learning_rate"], row["momentum"], row["weight_decay"]
    weight, velocity, steps = 1.0, 0.0, 50_000
    for _ in range(steps):
        velocity = momentum * velocity - rate * decay * weight
        weight += velocity
    assert weight < 0.2
    here = decoupled(row)
    assert (1 - rate * here) ** steps == pytest.approx(weight, rel=1e-3)
    optimizer = keras.optimizers.SGD(rate, momentum=momentum, weight_decay=here)
    variable = keras.Variable(np.ones(1, "float32"))
    optimizer.apply([np.zeros(1, "float32")], [variable])
    np.testing.assert_allclose(variable, 1 - rate * here, rtol=1e-6)


class OwnSpace(AlexNet):
    """Other ranges, one hyperparameter more, and presets of its own."""

    presets = {
        "wide": {"arguments": {**AlexNet.presets["caffe"]["arguments"]}},
        "paper": AlexNet.presets["paper"],
        "adam": {
            "training": {"optimizer": "adamw", "weight_decay": 0.01},
            "arguments": AlexNet.presets["cifar10_quick"]["arguments"],
        },
    }

    @classmethod
    def search_space(cls, hp, image_shape):
        configuration = super().search_space(
            hp,
            image_shape,
            num_blocks=(2, 3),
            filters=((50, 170), (100, 300), (500,)),
            lrn_depth_radius=(3, 5),
            use_lrn=(True,),
            optimizer=("adamw",),
            batch_size=(8, 24),
        )
        activation = hp.Choice("dense_activation", ["gelu", "relu"])
        configuration["model"]["dense_activation"] = activation
        return configuration


def test_ranges_of_a_subclass():
    """The values are of the space that the subclass declares, not of AlexNet's."""
    point, _ = nearest("paper", (32, 32, 3), OwnSpace)
    assert point.values["num_blocks"] == 3
    # By ratio: 50 differs less from 96 than 170 does.
    assert [point.values[f"filters_{n}"] for n in (1, 2)] == [170, 300]
    assert point.values["lrn_depth_radius"] == 3
    assert point.values["dense_activation"] == "gelu"  # Its default.
    assert not {"optimizer", "use_lrn", "filters_3"} & point.values.keys()
    assert "filters of conv3: 384 published, 500 here" in point.changes
    assert "dense_activation: relu published, gelu here" in point.changes
    # SGD's rate and decay mean something else to AdamW.
    assert "optimizer: sgd published, adamw here" in point.changes
    default = space_of((32, 32, 3), OwnSpace).values
    for name in ("adamw_learning_rate", "weight_decay"):
        assert point.values[name] == default[name]
    assert point.values["batch_size"] == 24


def test_presets_of_a_subclass():
    """A subclass' own rows are known, with as much as they say."""
    point, _ = nearest("wide", (32, 32, 3), OwnSpace)
    assert "training: nothing published, the space's defaults here" in point.changes
    point, _ = nearest("adam", (32, 32, 3), OwnSpace)
    assert point.values["weight_decay"] == 0.01
    with pytest.raises(
        ValueError, match=r"no preset 'caffe'.*There are: adam, paper, w"
    ):
        nearest("caffe", (32, 32, 3), OwnSpace)


class OwnPresets(AlexNet):
    """Rows that leave out what the class has defaults for, or hold layers."""

    presets = {
        "sparse": {"arguments": {}},
        "layers": {
            "arguments": {"blocks": [ConvBlock(32, 5, pool="max"), ConvBlock(64, 3)]},
            "training": {"learning_rate": 0.03, "batch_size": 128},
        },
    }


def test_presets_of_a_subclass_may_leave_out_what_has_a_default():
    """A row that `from_preset` builds has nearest values."""
    point, _ = nearest("sparse", (224, 224, 3), OwnPresets)
    paper, _ = nearest("paper", (224, 224, 3))
    network = {"num_blocks", "filters_1", "kernel_size_1", "dense_units_1", "order"}
    for name in network:
        assert point.values[name] == paper.values[name]
    point, _ = nearest("layers", (32, 32, 3), OwnPresets)
    assert [point.values[f"filters_{n}"] for n in (1, 2)] == [32, 64]
    assert point.values["batch_size"] == 128


def test_unknown_presets_are_refused():
    """A preset that does not exist is answered with all there are."""
    with pytest.raises(ValueError, match=r"no preset 'papers'\. Did you mean 'paper'"):
        nearest("papers", (32, 32, 3))
    with pytest.raises(ValueError, match=r"no preset \['paper'\]\..*There are: caffe"):
        nearest(["paper"], (32, 32, 3))


@pytest.mark.parametrize("image_shape", [None, 32, "x", ["a", 2, 3], (32, 32)])
def test_image_shapes_are_checked(image_shape):
    """The image shape is refused as `AlexNet` refuses it."""
    with pytest.raises(ValueError, match="image_shape must "):
        nearest_point("paper", space_of((32, 32, 3)), image_shape)
