"""The published networks: tables of layers, first weights, outputs."""

from __future__ import annotations

import copy
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from alexnet import AlexNet

# Layer, output shape without the batch, parameters: worked out by hand from the
# sources, as height * width * channels per group * filters + filters.
TABLES = {
    "notebook": [
        ("images", (32, 32, 3), 0),
        ("resize", (224, 224, 3), 0),
        ("conv1", (56, 56, 96), 34_944),
        ("norm1", (56, 56, 96), 0),
        ("relu1", (56, 56, 96), 0),
        ("pool1", (27, 27, 96), 0),
        ("conv2", (7, 7, 256), 614_656),
        ("norm2", (7, 7, 256), 0),
        ("relu2", (7, 7, 256), 0),
        ("pool2", (3, 3, 256), 0),
        ("conv3", (1, 1, 384), 885_120),
        ("relu3", (1, 1, 384), 0),
        ("conv4", (1, 1, 384), 1_327_488),
        ("relu4", (1, 1, 384), 0),
        ("conv5", (1, 1, 256), 884_992),
        ("relu5", (1, 1, 256), 0),
        ("flatten", (256,), 0),
        ("fc6", (4096,), 1_052_672),
        ("relu6", (4096,), 0),
        ("drop6", (4096,), 0),
        ("fc7", (4096,), 16_781_312),
        ("relu7", (4096,), 0),
        ("drop7", (4096,), 0),
        ("logits", (10,), 40_970),
        ("predictions", (10,), 0),
    ],
    "paper": [
        ("images", (224, 224, 3), 0),
        ("conv1", (55, 55, 96), 34_944),
        ("relu1", (55, 55, 96), 0),
        ("norm1", (55, 55, 96), 0),
        ("pool1", (27, 27, 96), 0),
        ("conv2", (27, 27, 256), 307_456),
        ("relu2", (27, 27, 256), 0),
        ("norm2", (27, 27, 256), 0),
        ("pool2", (13, 13, 256), 0),
        ("conv3", (13, 13, 384), 885_120),
        ("relu3", (13, 13, 384), 0),
        ("conv4", (13, 13, 384), 663_936),
        ("relu4", (13, 13, 384), 0),
        ("conv5", (13, 13, 256), 442_624),
        ("relu5", (13, 13, 256), 0),
        ("pool5", (6, 6, 256), 0),
        ("flatten", (9216,), 0),
        ("fc6", (4096,), 37_752_832),
        ("relu6", (4096,), 0),
        ("drop6", (4096,), 0),
        ("fc7", (4096,), 16_781_312),
        ("relu7", (4096,), 0),
        ("drop7", (4096,), 0),
        ("logits", (1000,), 4_097_000),
        ("predictions", (1000,), 0),
    ],
    "torchvision": [
        ("images", (224, 224, 3), 0),
        ("conv1", (55, 55, 64), 23_296),
        ("relu1", (55, 55, 64), 0),
        ("pool1", (27, 27, 64), 0),
        ("conv2", (27, 27, 192), 307_392),
        ("relu2", (27, 27, 192), 0),
        ("pool2", (13, 13, 192), 0),
        ("conv3", (13, 13, 384), 663_936),
        ("relu3", (13, 13, 384), 0),
        ("conv4", (13, 13, 256), 884_992),
        ("relu4", (13, 13, 256), 0),
        ("conv5", (13, 13, 256), 590_080),
        ("relu5", (13, 13, 256), 0),
        ("pool5", (6, 6, 256), 0),
        ("adaptive_pool", (6, 6, 256), 0),
        ("flatten", (9216,), 0),
        ("drop6", (9216,), 0),
        ("fc6", (4096,), 37_752_832),
        ("relu6", (4096,), 0),
        ("drop7", (4096,), 0),
        ("fc7", (4096,), 16_781_312),
        ("relu7", (4096,), 0),
        ("logits", (1000,), 4_097_000),
        ("predictions", (1000,), 0),
    ],
    "cifar10_quick": [
        ("images", (32, 32, 3), 0),
        ("conv1", (32, 32, 32), 2_432),
        ("pool1", (16, 16, 32), 0),
        ("relu1", (16, 16, 32), 0),
        ("conv2", (16, 16, 32), 25_632),
        ("relu2", (16, 16, 32), 0),
        ("pool2", (8, 8, 32), 0),
        ("conv3", (8, 8, 64), 51_264),
        ("relu3", (8, 8, 64), 0),
        ("pool3", (4, 4, 64), 0),
        ("flatten", (1024,), 0),
        ("fc4", (64,), 65_600),
        ("logits", (10,), 650),
        ("predictions", (10,), 0),
    ],
}
# 55 * 55 * 11 * 11 * 3 * 64 and so on; fc6 to logits make 58,621,952 of them.
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
    with tf.Graph().as_default():
        return AlexNet.from_preset(preset, **overrides)


def test_every_preset_has_its_table():
    """Each published network is pinned layer by layer."""
    assert sorted(TABLES) == sorted(AlexNet.presets)


@pytest.mark.parametrize("preset", TABLES)
def test_layers_shapes_and_parameters(preset):
    """Names, output shapes and parameter counts are those published, in order."""
    model = drawn(preset)
    table = [
        (layer.name, tuple(layer.output.shape[1:]), layer.count_params())
        for layer in model.layers
    ]
    assert table == TABLES[preset]
    published = AlexNet.presets[preset]["parameters"]
    assert model.count_params() == sum(row[2] for row in table) == published


@pytest.mark.parametrize("preset", MULTIPLY_ADDS)
def test_multiply_adds(preset):
    """Multiply-adds are those counted by hand; torchvision's are 714,188,480."""
    assert drawn(preset).multiply_adds == MULTIPLY_ADDS[preset]
    assert MULTIPLY_ADDS["torchvision"] == 714_188_480


@pytest.mark.parametrize("preset", TABLES)
def test_rows_say_what_they_are(preset):
    """Each row holds a description, a source, parameters, figures and arguments.

    The addresses of published weights are there if there are any.
    """
    row = AlexNet.presets[preset]
    assert [key for key in row if key != "weights"] == [
        "description",
        "source",
        "parameters",
        "figures",
        "arguments",
    ]
    assert all(isinstance(row[key], str) for key in ("description", "source"))
    assert "  " not in row["description"] + row["source"]
    assert all(0 < value < 100 for value in row["figures"].values())


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


def test_cifar10_quick_is_caffes():
    """First weights and kinds of pools are those of Caffe's definition."""
    model = AlexNet.from_preset("cifar10_quick")
    stddevs = {
        "conv1": 1e-4,
        "conv2": 0.01,
        "conv3": 0.01,
        "fc4": 0.1,
        "logits": 0.1,
    }
    for name, stddev in stddevs.items():
        layer = model.get_layer(name)
        # 640 weights and more: five standard errors are 14 %.
        assert layer.kernel.numpy().std() == pytest.approx(stddev, rel=0.14)
        assert not np.any(layer.bias)
    pools = [type(model.get_layer(f"pool{number}")) for number in (1, 2, 3)]
    average = keras.layers.AveragePooling2D
    assert pools == [keras.layers.MaxPooling2D, average, average]


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
    """A preset that does not exist is answered with all there are."""
    with pytest.raises(ValueError, match=f"no preset {name!r}.*There are: cifar10_"):
        AlexNet.from_preset(name)
