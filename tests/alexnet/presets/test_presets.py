"""The published networks: tables of layers, first weights, outputs."""

from __future__ import annotations

import copy
import functools
import itertools
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from preset_tables import TABLES

from alexnet import AlexNet, LocalResponseNormalization
from alexnet.model.plan import plan

# 55 * 55 * 11 * 11 * 3 * 64 and so on; fc6 to logits have 58,621,952 of them.
MULTIPLY_ADDS = {
    "paper": 105_415_200
    + 223_948_800
    + 149_520_384
    + 112_140_288
    + 74_760_192
    + 58_621_952,
    "torchvision": 70_276_800
    + 223_948_800
    + 112_140_288
    + 149_520_384
    + 99_680_256
    + 58_621_952,
}


def drawn(preset, **overrides):
    """Draw a preset's graph without memory for its weights."""
    with keras.StatelessScope(initialize_variables=False):
        model = AlexNet.from_preset(preset, **overrides)
    keras.utils.clear_session(free_memory=False)
    return model


@functools.cache
def published(preset):
    """Draw a preset's graph once; tests only read it."""
    return drawn(preset)


def test_every_preset_has_its_table():
    """Each published network is pinned layer by layer."""
    assert sorted(TABLES) == sorted(AlexNet.presets)


@pytest.mark.parametrize("preset", TABLES)
def test_layers_shapes_and_parameters(preset):
    """Names, output shapes and parameter counts are those published, in order."""
    model = published(preset)
    table = [
        (layer.name, tuple(layer.output.shape[1:]), layer.count_params())
        for layer in model.layers
    ]
    assert table == TABLES[preset]
    parameters = AlexNet.presets[preset]["parameters"]
    assert model.count_params() == sum(row[2] for row in table) == parameters


@pytest.mark.parametrize("preset", MULTIPLY_ADDS)
def test_multiply_adds(preset):
    """Multiply-adds are those counted by hand; torchvision's are 714,188,480."""
    assert published(preset).multiply_adds == MULTIPLY_ADDS[preset]
    assert MULTIPLY_ADDS["torchvision"] == 714_188_480


@pytest.mark.parametrize("preset", TABLES)
def test_rows_say_what_they_are(preset):
    """Each row holds its definition, source, parameters, input and figures.

    Training and the addresses of weights are there if they were published.
    """
    row = AlexNet.presets[preset]
    assert [key for key in row if key not in ("training", "weights")] == [
        "description",
        "source",
        "parameters",
        "preprocessing",
        "value_range",
        "figures",
        "arguments",
    ]
    assert all(isinstance(row[key], str) for key in ("description", "source"))
    assert "  " not in row["description"] + row["source"]
    assert all(0 < value < 100 for value in row["figures"].values())
    json.dumps(row)  # Plain data.


@pytest.mark.parametrize("preset", TABLES)
def test_preprocessing_gives_the_model_its_input(preset):
    """The crop is the model's image, and bytes end up in the range of values."""
    row = AlexNet.presets[preset]
    how = row["preprocessing"]
    if how is None:
        assert row["value_range"] is None
        assert preset == "slim"
        return
    assert list(how) == [
        "resize",
        "crop",
        "channels",
        "scale",
        "mean",
        "mean_image",
        "std",
    ]
    height, width, channels = row["arguments"]["image_shape"]
    assert (height, width) == ((how["crop"] or 32,) * 2)
    assert channels == len(how["channels"]) == len(how["mean"]) == len(how["std"])
    values = [
        (byte * how["scale"] - mean) / std
        for byte in (0, 255)
        for mean, std in zip(how["mean"], how["std"], strict=True)
    ]
    # Given with three decimals.
    assert row["value_range"] == pytest.approx((min(values), max(values)), abs=1e-3)


@pytest.mark.parametrize("preset", sorted(set(TABLES) - {"notebook"}))
def test_taps_are_the_same_everywhere(preset):
    """Every network for ImageNet has relu1 to relu5, fc6 and fc7, each what it says."""
    model = published(preset)
    if preset.startswith("cifar10"):
        assert {"relu1", "relu2", "relu3", "logits"} <= set(model.taps)
        return
    names = [f"relu{number}" for number in range(1, 6)]
    assert [name for name in model.taps if name in names] == names
    assert [model.taps[name].shape[-1] for name in ("fc6", "fc7")] == [4096, 4096]
    assert model.taps["logits"].shape == (None, 1000)


# Side and stride of the pools of the networks whose sizes round up.
ROUND_UP = {
    name: (2 if name == "net147" else 3, 2)
    for name in TABLES
    if name not in ("torchvision", "slim", "notebook")
}


@pytest.mark.parametrize("preset", ROUND_UP)
@pytest.mark.parametrize("size", [(64, 67), (97, 100), (131, 150), (226, 238)])
def test_pools_round_up_at_every_size(preset, size):
    """Images of any size leave what they leave in cuda-convnet and Caffe."""
    arguments = AlexNet.presets[preset]["arguments"]
    layers = plan({**arguments, "image_shape": (*size, 3)}).layers
    side, stride = ROUND_UP[preset]
    pools = 0
    for before, layer in itertools.pairwise(layers):
        if layer.name.startswith("pool"):
            pools += 1
            for length, left in zip(before.output[:2], layer.output[:2], strict=True):
                assert left == math.ceil((length - side) / stride) + 1
    assert pools == 3


@pytest.mark.parametrize("preset", ["paper", "net145"])
def test_sizes_by_hand_for_images_of_220(preset):
    """Pools leave 27, 13, 6; "valid" would leave 26, 12, 5 and "same" 27, 14, 7."""
    model = drawn(preset, image_shape=(220, 220, 3), dense_units=())
    sides = {
        layer.name: layer.output.shape[1]
        for layer in model.layers
        if layer.name.startswith(("conv", "pool"))
    }
    assert list(sides.values()) == [54, 27, 27, 13, 13, 13, 13, 6]


# Standard deviation of the weights and value of the biases at the start, of
# conv1, 2, ..., fc6, fc7 and the logits; conv6 of net146 after conv5.
OF_2012 = [
    *[(0.01, 0), (0.01, 1), (0.03, 0), (0.03, 1), (0.03, 1)],
    *[(0.01, 1), (0.01, 1), (0.01, 0)],
]
STARTS = {
    "paper": [(0.01, bias) for bias in (0, 1, 0, 1, 1, 1, 1, 0)],
    "ungrouped": [(0.01, bias) for bias in (0, 1, 0, 1, 1, 1, 1, 0)],
    "net145": OF_2012,
    "net145_half": OF_2012,
    "net146": [*OF_2012[:5], (0.03, 1), *OF_2012[5:]],
    "net147": OF_2012,
    "net148": OF_2012,
    "one_weird_trick": [*OF_2012[:7], (0.01, -7)],
    "caffe": [
        *[(0.01, 0), (0.01, 0.1), (0.01, 0), (0.01, 0.1), (0.01, 0.1)],
        *[(0.005, 0.1), (0.005, 0.1), (0.01, 0)],
    ],
    "caffenet": [
        *[(0.01, 0), (0.01, 1), (0.01, 0), (0.01, 1), (0.01, 1)],
        *[(0.005, 1), (0.005, 1), (0.01, 0)],
    ],
    "cifar10_quick": [(1e-4, 0), (0.01, 0), (0.01, 0), (0.1, 0), (0.1, 0)],
    "cifar10_full": [(1e-4, 0), (0.01, 0), (0.01, 0), (0.01, 0)],
}


@pytest.mark.parametrize("preset", STARTS)
def test_first_weights(preset):
    """Each layer's weights are normal with the published deviation; so are biases."""
    starts = []
    for layer in published(preset).layers:
        if layer.count_params():
            kernel = layer.kernel_initializer
            assert type(kernel) is keras.initializers.RandomNormal
            assert kernel.mean == 0
            starts.append((kernel.stddev, getattr(layer.bias_initializer, "value", 0)))
    assert starts == STARTS[preset]


def test_slim_starts_as_tf_slim_does():
    """Convolutions are Xavier's, dense layers truncated normal; biases 0.1 but one."""
    for layer in published("slim").layers:
        if not layer.count_params():
            continue
        kernel, bias = layer.kernel_initializer, layer.bias_initializer
        if layer.name.startswith("conv"):
            assert type(kernel) is keras.initializers.GlorotUniform
        else:
            assert type(kernel) is keras.initializers.TruncatedNormal
            assert (kernel.mean, kernel.stddev) == (0, 0.005)
        assert getattr(bias, "value", 0) == (0 if layer.name == "logits" else 0.1)


# Layer: radius or size, k, factor of the sum, beta, groups.
ACROSS_2012 = (2, 2.0, 2e-5, 0.75, 2)
ACROSS_ONE = (2, 2.0, 2e-5, 0.75, 1)
ACROSS_CAFFE = (2, 1.0, 2e-5, 0.75, 1)
ACROSS_PAPER = (2, 2.0, 1e-4, 0.75, 1)
WITHIN_5 = (5, 1.0, 4e-5, 0.75)
WITHIN_3 = (3, 1.0, 5e-5 / 9, 0.75)
TOWERS = {"norm1": ACROSS_2012, "norm2": ACROSS_2012, "norm2_2": WITHIN_5}
NORMS = {
    "paper": {"norm1": ACROSS_PAPER, "norm2": ACROSS_PAPER},
    "ungrouped": {"norm1": ACROSS_PAPER, "norm2": ACROSS_PAPER},
    "net145": TOWERS,
    "net145_half": {"norm1": ACROSS_ONE, "norm2": ACROSS_ONE, "norm2_2": WITHIN_5},
    "net146": TOWERS,
    "net147": TOWERS,
    "net148": {},
    "one_weird_trick": {"norm1": ACROSS_ONE, "norm2": ACROSS_ONE},
    "caffe": {"norm1": ACROSS_CAFFE, "norm2": ACROSS_CAFFE},
    "caffenet": {"norm1": ACROSS_CAFFE, "norm2": ACROSS_CAFFE},
    "torchvision": {},
    "slim": {},
    "notebook": {"norm1": (5, 1.0, 1.0, 0.5, 1), "norm2": (5, 1.0, 1.0, 0.5, 1)},
    "cifar10_quick": {},
    "cifar10_full": {"norm1": WITHIN_3, "norm2": WITHIN_3},
}


@pytest.mark.parametrize("preset", TABLES)
def test_constants_of_normalization(preset):
    """Windows, constants and the edges of towers are those published.

    Tolerance: 1e-12 relative, for fractions.
    """
    layers = [layer for layer in published(preset).layers if "norm" in layer.name]
    found = {
        layer.name: (layer.depth_radius, *constants(layer), layer.groups)
        if isinstance(layer, LocalResponseNormalization)
        else (layer.pool_size, *constants(layer))
        for layer in layers
    }
    assert list(found) == list(NORMS[preset])
    for name, numbers in NORMS[preset].items():
        assert found[name] == pytest.approx(numbers, rel=1e-12)


def constants(layer):
    return layer.bias, layer.alpha, layer.beta


# Presets whose convolutions have two groups at 2, 4 and 5; the others have one.
GROUPED = {"paper", "net145", "net146", "net147", "net148", "caffe", "caffenet"}


@pytest.mark.parametrize("preset", TABLES)
def test_groups_are_those_published(preset):
    """Groups are the two GPUs; conv3 and net146's sixth convolution see both."""
    model = published(preset)
    groups = [layer.groups for layer in model.layers if layer.name.startswith("conv")]
    if preset in GROUPED:
        assert groups == [1, 2, 1, 2, 2, 1][: len(groups)]
    else:
        assert set(groups) == {1}


def test_slims_head_is_that_of_dense_layers():
    """A convolutional head computes what dense layers with the same weights do.

    Tolerance: 1e-5 relative, for another order of summing.
    """
    small = {"image_shape": (128, 128, 3), "num_classes": 5, "dense_units": (32, 16)}
    model = AlexNet.from_preset("slim", **small)
    flat = AlexNet.from_preset("slim", **small, use_convolutional_head=False)
    assert model.get_layer("fc6").kernel.shape == (2, 2, 256, 32)
    flat.set_weights(
        [
            np.reshape(ours, theirs.shape)
            for ours, theirs in zip(model.get_weights(), flat.weights, strict=True)
        ]
    )
    x = np.random.default_rng(0).normal(size=(2, 128, 128, 3)).astype("float32")
    outputs = model.tap("logits")(x)
    np.testing.assert_allclose(outputs, flat.tap("logits")(x), rtol=1e-5, atol=1e-7)
    assert published("slim").get_layer("fc6").kernel.shape == (5, 5, 256, 4096)


@pytest.mark.parametrize("preset", ["net145", "net146", "cifar10_full", "slim"])
def test_files_hold_all_of_a_network(preset, tmp_path):
    """Lists of norms, suffixes and convolutional heads load from .keras files."""
    size = 32 if preset == "cifar10_full" else 96
    model = AlexNet.from_preset(
        preset, image_shape=(size, size, 3), num_classes=3, dense_units=(8,)
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    x = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype("float32")
    assert np.array_equal(model(x), loaded(x))


def test_paper_starts_as_published():
    """Weights are N(0, 0.01); biases 1 on conv2, 4, 5, fc6 and fc7, else 0."""
    model = AlexNet.from_preset("paper")
    for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "logits"):
        layer = model.get_layer(name)
        bias = 1.0 if name in ("conv2", "conv4", "conv5", "fc6", "fc7") else 0.0
        assert np.all(layer.bias.numpy() == bias)
        kernel = layer.kernel.numpy()
        # Four standard errors of a mean and of a standard deviation.
        error = 0.04 / math.sqrt(kernel.size)
        assert abs(kernel.mean()) < error
        assert abs(kernel.std() - 0.01) < error
    lrn = model.get_layer("norm1")
    constants = (lrn.depth_radius, lrn.bias, lrn.alpha, lrn.beta, lrn.groups)
    assert constants == (2, 2.0, 1e-4, 0.75, 1)


def test_torchvision_starts_as_pytorch_does():
    """Weights are uniform between -1 and 1 over the root of the inputs; biases 0."""
    model = AlexNet.from_preset("torchvision")
    for layer in model.layers:
        if not layer.weights:
            continue
        kernel = layer.kernel.numpy()
        bound = 1 / math.sqrt(math.prod(kernel.shape[:-1]))
        assert bound * 0.99 < np.abs(kernel).max() <= bound
        assert kernel.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)
        assert not np.any(layer.bias)
    assert model.get_layer("drop6").rate == 0.5


@pytest.mark.parametrize("preset", ["cifar10_quick", "cifar10_full"])
def test_cifar10_nets_pool_by_maximum_and_then_average(preset):
    """Kinds of pools are those of the definitions."""
    model = published(preset)
    pools = [model.get_layer(f"pool{number}").pool for number in (1, 2, 3)]
    assert pools == ["max", "average", "average"]


def test_notebook_is_that_sequential():
    """With the same weights, outputs equal those of the notebook's own Sequential.

    Tolerance: 1e-5 relative, for another order of summing in LRN.
    """
    layers = keras.layers

    def normalize():
        return layers.Lambda(tf.nn.local_response_normalization)

    def conv(filters, kernel_size):
        return layers.Conv2D(filters, kernel_size, strides=4, padding="same")

    sequential = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Resizing(224, 224, interpolation="bilinear"),
            conv(96, 11),
            normalize(),
            layers.ReLU(),
            layers.MaxPooling2D(3, 2),
            conv(256, 5),
            normalize(),
            layers.ReLU(),
            layers.MaxPooling2D(3, 2),
            conv(384, 3),
            layers.ReLU(),
            conv(384, 3),
            layers.ReLU(),
            conv(256, 3),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(4096, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(4096, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model = AlexNet.from_preset("notebook")
    # The first weights give every image nearly the same probabilities.
    sequential.layers[-1].kernel.assign(sequential.layers[-1].kernel * 1000)
    model.set_weights(sequential.get_weights())
    x = np.random.default_rng(0).random((4, 32, 32, 3), "float32")
    outputs = sequential(x)
    np.testing.assert_allclose(model(x), outputs, rtol=1e-5)
    assert np.ptp(outputs, axis=0).max() > 0.01  # They depend on the image.
    assert initializers(model) == initializers(sequential)


def initializers(model):
    """Return the kinds of initializers of each layer that has weights."""
    return [
        (type(layer.kernel_initializer), type(layer.bias_initializer))
        for layer in model.layers
        if layer.weights
    ]


def test_overrides_replace_arguments():
    """Any argument of the class replaces the preset's."""
    model = drawn("paper", num_classes=7, image_shape=(96, 64, 1), dense_units=(8,))
    assert model.input.shape == (None, 96, 64, 1)
    assert model.output.shape == (None, 7)
    assert model.get_layer("fc6").units == 8
    assert model.get_layer("conv2").groups == 2


def test_presets_are_never_changed():
    """Models of one preset share no data with it, nor with each other."""
    before = copy.deepcopy(AlexNet.presets)
    one, other = (drawn("cifar10_quick", name="net") for _ in range(2))
    one.blocks[0]["filters"] = 1
    one.blocks[0]["kernel_initializer"]["config"]["stddev"] = 9
    one.get_config()["blocks"][1]["kernel_initializer"]["config"]["stddev"] = 9

    class Halved(AlexNet):
        def __init__(self, blocks, **kwargs):
            for block in blocks:
                block["filters"] //= 2
            super().__init__(blocks=blocks, **kwargs)

    with tf.Graph().as_default():
        assert Halved.from_preset("cifar10_quick").get_layer("conv1").filters == 16
    assert before == AlexNet.presets
    assert other.get_config() == drawn("cifar10_quick", name="net").get_config()
    assert one.get_config() != other.get_config()


@pytest.mark.parametrize("name", ["papers", "", 3, None])
def test_unknown_presets_are_refused(name):
    """A preset that does not exist raises an error that lists all others."""
    with pytest.raises(ValueError, match=f"no preset {name!r}.*There are: caffe, "):
        AlexNet.from_preset(name)


@pytest.mark.parametrize("preset", TABLES)
def test_dropout_rates(preset):
    """Dense layers drop half of their units; the nets for CIFAR-10 drop none."""
    rates = [layer.rate for layer in published(preset).layers if "drop" in layer.name]
    assert rates == ([] if preset.startswith("cifar10") else [0.5, 0.5])


# Percent, one crop or as said; from the sources that the rows name.
TOP_1_AND_5 = {
    "paper": [40.7, 18.2, 37.5, 17.0],
    "net145": [40.664, 18.210, 40.250, 17.994, 37.4727, 16.9987, 39.0247, 18.2953],
    "net145_half": [39.168, 18.2287],
    "net146": [38.990, 16.622],
    "net147": [41.058, 18.510],
    "net148": [42.034, 19.362],
    "one_weird_trick": [57.45, 80.19, 59.58, 81.85],
    "caffe": [57.1, 80.2],
    "caffenet": [57.4, 80.4],
    "torchvision": [56.522, 79.066],
    "cifar10_quick": [75.0],
    "cifar10_full": [18.0],
}


@pytest.mark.parametrize("preset", TABLES)
def test_published_figures(preset):
    """Figures are those of the sources, top-1 before top-5."""
    figures = AlexNet.presets[preset]["figures"]
    assert list(figures.values()) == TOP_1_AND_5.get(preset, [])


# Shorter side or size that images get, crop, order, and whether means are by pixel.
PREPARED = {
    **dict.fromkeys(
        ("paper", "ungrouped", "net145", "net145_half", "net146", "net147", "net148"),
        (256, 224, "RGB", True),
    ),
    "one_weird_trick": (256, 224, "RGB", True),
    "caffe": ((256, 256), 227, "BGR", True),
    "caffenet": ((256, 256), 227, "BGR", True),
    "torchvision": (256, 224, "RGB", False),
    "notebook": (None, None, "RGB", False),
    "cifar10_quick": (None, None, "RGB", True),
    "cifar10_full": (None, None, "RGB", True),
}


@pytest.mark.parametrize("preset", PREPARED)
def test_how_images_were_prepared(preset):
    """Sizes, channels and means are those of the sources."""
    how = AlexNet.presets[preset]["preprocessing"]
    found = tuple(how[name] for name in ("resize", "crop", "channels", "mean_image"))
    assert found == PREPARED[preset]


# First learning rate, weight decay, images per batch; from the sources of the rows.
TRAINED = {
    **dict.fromkeys(
        ("paper", "ungrouped", "net145", "net145_half", "net147", "net148"),
        (0.01, 5e-4, 128),
    ),
    "net146": (0.001, 5e-4, 128),
    "one_weird_trick": (0.01, 5e-4, 128),
    "caffe": (0.01, 5e-4, 256),
    "caffenet": (0.01, 5e-4, 256),
    "torchvision": (0.01, 1e-4, 256),
    "cifar10_full": (0.001, 0.004, 128),
    "cifar10_quick": (0.001, 0.004, 100),
}


@pytest.mark.parametrize("preset", TABLES)
def test_how_networks_were_trained(preset):
    """Training is SGD with momentum 0.9 and the sources' numbers, where published."""
    row = AlexNet.presets[preset].get("training")
    if preset not in TRAINED:
        assert row is None
        return
    names = ("learning_rate", "weight_decay", "batch_size")
    assert tuple(row[name] for name in names) == TRAINED[preset]
    assert (row["optimizer"], row["momentum"]) == ("sgd", 0.9)
    assert ("augmentation" in row) == (preset != "torchvision")
    for name in ("source", "also"):
        assert isinstance(row[name], str)
        assert "  " not in row[name]
