"""AlexNet: the graph, its arguments, taps, subclasses and training."""

from __future__ import annotations

import copy
import inspect
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from strategies import block_arguments, model_arguments

from alexnet import AlexNet, ConvBlock

ARGUMENTS = list(inspect.signature(AlexNet).parameters)
SMALL = {
    "image_shape": (16, 16, 3),
    "num_classes": 3,
    "blocks": (
        {"filters": 8, "kernel_size": 3, "norm": {"alpha": 0.1}},
        {"filters": 8, "kernel_size": 3, "groups": 2, "pool": None},
    ),
    "dense_units": (16, 8),
}


def images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def small(**changes):
    return AlexNet(**{**SMALL, **changes})


class Residual(AlexNet):
    """A subclass that changes the blocks and the head."""

    def draw_block(self, inputs, number, arguments):
        outputs = super().draw_block(inputs, number, arguments)
        if inputs.shape != outputs.shape:
            return outputs
        return keras.layers.Add(name=f"add{number}")([inputs, outputs])

    def draw_head(self, inputs):
        outputs = keras.layers.GlobalAveragePooling2D(name="mean")(inputs)
        return keras.layers.Dense(self.num_classes, name="logits")(outputs)


@given(model_arguments())
def test_shapes_follow_from_the_arguments(arguments):
    """The output is (batch, num_classes), and each block's is as predicted."""
    model = AlexNet(**arguments)
    shape = (2, *(arguments["resize"] or arguments["image_shape"][:2]))
    shape = (*shape, arguments["image_shape"][2])
    number = 0
    for block in arguments["blocks"]:
        number += block["suffix"] == ""
        shape = ConvBlock(**block).compute_output_shape(shape)
        last = ConvBlock(**block, number=number).stages[-1].name
        assert model.taps[last].shape[1:] == shape[1:]
    outputs = model(images(2, *arguments["image_shape"]))
    for dense, units in enumerate(arguments["dense_units"], start=number + 1):
        assert model.get_layer(f"fc{dense}").output.shape[-1] == units
    assert model.output.shape == (None, arguments["num_classes"])
    assert outputs.shape == (2, arguments["num_classes"])
    assert model.count_params() == sum(np.prod(w.shape) for w in model.weights)


@given(model_arguments(), st.sampled_from(["float32", "mixed_bfloat16"]))
def test_config_repeats_every_argument(arguments, dtype):
    """Arguments are attributes and configuration; that makes an equal model."""
    given = {**arguments, "name": "net", "trainable": False, "dtype": dtype}
    assert sorted(given) == sorted(ARGUMENTS)
    model = AlexNet(**given)
    config = model.get_config()
    assert sorted(config) == sorted(ARGUMENTS)
    assert config["dtype"]["config"]["name"] == model.dtype_policy.name == dtype
    for name in set(ARGUMENTS) - {"dtype"}:
        assert config[name] == given[name]
        assert getattr(model, name) == given[name]
    again = AlexNet.from_config(config)
    assert again.get_config() == config
    assert [(w.path, w.shape) for w in again.weights] == [
        (w.path, w.shape) for w in model.weights
    ]


@given(model_arguments())
def test_config_survives_json(arguments):
    """A configuration that went through JSON makes the same configuration again."""
    model = AlexNet(**arguments)
    again = keras.models.model_from_json(model.to_json())
    assert type(again) is AlexNet
    assert again.get_config() == model.get_config()


def test_is_a_functional_keras_model():
    """It is tf.keras' Model and functional, with its arguments' defaults the paper."""
    model = small()
    assert isinstance(model, tf.keras.Model)
    assert isinstance(model, keras.src.models.functional.Functional)
    with tf.Graph().as_default():  # Without memory for the weights.
        assert AlexNet().count_params() == 60_965_224


def test_layers_are_named():
    """Each stage is a layer with the block's number; dense layers count on."""
    model = small(resize=12, rescale=0.5, adaptive_pool=2)
    assert [layer.name for layer in model.layers] == [
        "images",
        "rescale",
        "resize",
        "conv1",
        "relu1",
        "norm1",
        "pool1",
        "conv2",
        "relu2",
        "adaptive_pool",
        "flatten",
        "fc3",
        "relu3",
        "drop3",
        "fc4",
        "relu4",
        "drop4",
        "logits",
        "predictions",
    ]
    model = small(dropout_position="before", dense_activation=None)
    assert [layer.name for layer in model.layers][-7:] == [
        "flatten",
        "drop3",
        "fc3",
        "drop4",
        "fc4",
        "logits",
        "predictions",
    ]
    model = small(dropout=0, dense_units=(), classifier_activation=None)
    assert [layer.name for layer in model.layers][-3:] == ["relu2", "flatten", "logits"]


def test_taps_are_the_outputs_of_the_layers():
    """`tap` gives a model from the same images that shares this one's weights."""
    model = small()
    x = images(2, 16, 16, 3)
    assert list(model.taps) == [layer.name for layer in model.layers[1:]]
    assert model.taps["predictions"] is model.output
    assert model.tap("pool1")(x).shape == (2, 7, 7, 8)
    relu = model.tap("relu2")
    assert np.array_equal(relu(x), np.maximum(model.tap("conv2")(x), 0))
    model.get_layer("conv1").kernel.assign_add(images(3, 3, 3, 8))
    assert np.array_equal(relu(x), np.maximum(model.tap("conv2")(x), 0))
    assert len(relu.weights) == 4
    softmax = keras.ops.softmax(model.tap("logits")(x))
    # The same operation, once inside the model.
    np.testing.assert_allclose(model(x), softmax, rtol=1e-6)


def test_taps_after_the_model_was_called_inside_another():
    """A model that is part of another model has its taps as before."""
    model = small()
    inputs = keras.Input((16, 16, 3))
    keras.Model(inputs, model(inputs))
    assert model.tap("relu2").input is model.input


def test_several_taps_in_one_pass():
    """`tap` of several names gives their outputs by name, each as it is alone."""
    model = small()
    x = images(2, 16, 16, 3)
    names = ["fc3", "relu1", "logits"]
    several = model.tap(names)
    outputs = several(x)
    assert list(outputs) == names
    for name in names:
        assert np.array_equal(outputs[name], model.tap(name)(x))
    assert len([layer for layer in several.layers if layer.name == "conv1"]) == 1
    assert model.tap(("relu1",))(x).keys() == {"relu1"}


@pytest.mark.parametrize("preset", ["paper", "caffe", "torchvision", "net145"])
def test_taps_have_the_names_that_users_expect(preset):
    """relu1 to relu5, fc6 and fc7 are taps of the networks for ImageNet."""
    model = AlexNet.from_preset(preset, dense_units=(8, 8), num_classes=2)
    expected = ["relu1", "relu2", "relu3", "relu4", "relu5", "fc6", "fc7"]
    assert [name for name in model.taps if name in expected] == expected


def test_unknown_tap_is_refused():
    """A tap that does not exist is refused with the nearest and all others."""
    with pytest.raises(ValueError, match=r"no tap 'relu9'\. Did you mean 'relu"):
        small().tap("relu9")
    with pytest.raises(ValueError, match=r"no tap 'images'.*There are: conv1, "):
        small().tap("images")
    with pytest.raises(ValueError, match="no tap 'relu9'"):
        small().tap(["relu1", "relu9"])
    with pytest.raises(ValueError, match="at least one tap; received none"):
        small().tap([])
    with pytest.raises(TypeError, match="received names=None"):
        small().tap(None)


def test_resizes_and_rescales_inside():
    """Bytes of any size give what prepared images give to a model without both."""
    whole = small(image_shape=(9, 20, 3), resize=(16, 16), rescale=1 / 255)
    core = small()
    core.set_weights(whole.get_weights())
    pixels = np.random.default_rng(0).integers(0, 256, (2, 9, 20, 3), "uint8")
    prepared = tf.image.resize(pixels / np.float32(255), (16, 16))
    # float32; rescaling multiplies where this divides.
    np.testing.assert_allclose(whole(pixels), core(prepared), rtol=1e-5)
    np.testing.assert_allclose(
        whole.predict(pixels, verbose=0), core(prepared), rtol=1e-5
    )


@pytest.mark.parametrize("rescale", [None, 1 / 255])
@pytest.mark.parametrize("mean", [None, (1.0, -2.0, 0.5)])
@pytest.mark.parametrize("std", [None, (0.5, 2.0, 3.0)])
def test_subtracts_and_divides_inside(rescale, mean, std):
    """Pixels become (pixels * rescale - pixel_mean) / pixel_std, per channel."""
    whole = small(rescale=rescale, pixel_mean=mean, pixel_std=std)
    core = small()
    core.set_weights(whole.get_weights())
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), "uint8")
    prepared = pixels * (rescale or 1) - np.array(mean or (0, 0, 0))
    prepared = (prepared / np.array(std or (1, 1, 1))).astype("float32")
    assert ("rescale" in whole.taps) == ((rescale, mean, std) != (None, None, None))
    # Two roundings in float32; pixels are up to 255.
    np.testing.assert_allclose(
        whole.tap("conv1")(pixels), core.tap("conv1")(prepared), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("activation", ["softmax", None])
def test_ten_views_are_averaged_over_softmax(activation):
    """Ten views: corners and middle, mirrored too; their softmax outputs averaged."""
    model = small(classifier_activation=activation)
    photos = 10 * images(3, 21, 18, 3)
    logits = model.tap("logits")
    total = np.zeros((3, 3))
    for flip in (1, -1):
        for top, left in ((0, 0), (0, 2), (5, 0), (5, 2), (2, 1)):
            view = photos[:, top : top + 16, left : left + 16][:, :, ::flip]
            exponentials = np.exp(np.float64(logits(np.ascontiguousarray(view))))
            total += exponentials / exponentials.sum(1, keepdims=True)
    found = model.predict_ten_views(photos, batch_size=2)
    assert (found.dtype, found.shape) == (np.float32, (3, 3))
    # float32 against float64.
    np.testing.assert_allclose(found, total / 10, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(16, 16, 3), (2, 16, 16, 1), (0, 16, 16, 3)])
def test_ten_views_need_a_batch_of_images(shape):
    """What is no batch of the model's channels is refused with its shape."""
    match = f"must have shape .number of images.*received {re.escape(str(shape))}"
    with pytest.raises(ValueError, match=match):
        small().predict_ten_views(np.zeros(shape, "float32"))


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_ten_views_sum_to_one_at_half_precision(dtype):
    """The softmax of logits is computed in float32 whatever the policy."""
    model = small(classifier_activation=None, dtype=dtype)
    found = model.predict_ten_views(100 * images(4, 18, 18, 3))
    # Ten roundings to float32.
    np.testing.assert_allclose(found.sum(1), 1, atol=2e-6)


def test_ten_views_come_in_batches():
    """No more views than `batch_size` go through the network at once."""
    model = small()
    seen = []
    model.make_predict_function()
    step = model.predict_step
    model.predict_step = lambda data: (seen.append(len(data)), step(data))[1]
    model.compile(run_eagerly=True)
    model.predict_ten_views(images(5, 16, 16, 3), batch_size=2)
    assert seen == [2, 2, 1] * 10
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        model.predict_ten_views(images(5, 16, 16, 3), batch_size=0)


def test_ten_views_of_too_small_images_are_refused():
    """Images smaller than the model's have no views."""
    with pytest.raises(ValueError, match=r"at least 16 by 16 pixels; received \(1, 16"):
        small().predict_ten_views(np.zeros((1, 16, 15, 3), "float32"))


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_does_not_round_the_images(dtype):
    """Rescaling and resizing see the images as float32 under every policy."""
    model = small(rescale=1 / 255, resize=17, dtype=dtype)
    x = images(1, 16, 16, 3) + 1000
    exact = small(rescale=1 / 255, resize=17)
    assert np.array_equal(model.tap("resize")(x), exact.tap("resize")(x))
    assert model.output.dtype == "float32"
    assert model.taps["norm1"].dtype == dtype.removeprefix("mixed_")


@pytest.mark.parametrize("position", ["after", "before"])
def test_drops_in_training_alone(position):
    """`dropout` is the share of units at each dense layer that training drops."""
    model = small(dropout=0.75, dropout_position=position, dense_units=(4000,))
    assert model.get_layer("drop3").rate == 0.75
    before = {"after": "relu3", "before": "flatten"}[position]
    x = images(8, 16, 16, 3)
    whole, dropped = model.tap(before)(x), model.tap("drop3")(x, training=True)
    share = np.count_nonzero(dropped) / np.count_nonzero(whole)
    # 1,500 and more values: four standard errors.
    assert share == pytest.approx(0.25, abs=0.045)
    assert np.array_equal(model.tap("drop3")(x), whole)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_takes_one_to_four_channels(channels):
    """Gray, gray with alpha, color, and color with alpha are all taken."""
    model = small(image_shape=(16, 18, channels))
    assert model(images(1, 16, 18, channels)).shape == (1, 3)
    assert model.get_layer("conv1").kernel.shape == (3, 3, channels, 8)


def test_channels_last_whatever_the_global_setting():
    """A global image_data_format of "channels_first" changes nothing."""
    arguments = {"resize": (12, 16), "rescale": 0.5, "adaptive_pool": (1, 2)}
    x = images(2, 16, 16, 3)
    expected = small(**arguments)
    keras.config.set_image_data_format("channels_first")
    try:
        model = small(**arguments)
    finally:
        keras.config.set_image_data_format("channels_last")
    model.set_weights(expected.get_weights())
    assert np.array_equal(model(x), expected(x))


def test_takes_blocks_as_layers_and_lists():
    """ConvBlocks, lists and JSON's lists of lists mean what dicts and tuples mean."""
    dicts = small(name="net")
    blocks = [ConvBlock(**block) for block in SMALL["blocks"]]
    config = small(blocks=blocks, dense_units=[16, 8], name="net").get_config()
    for block, full in zip(dicts.get_config()["blocks"], config["blocks"], strict=True):
        assert block.items() <= full.items()
    padded = small(
        blocks=[{"filters": 2, "kernel_size": 3, "padding": [[0, 1], [2, 3]]}]
    )
    assert padded.get_config()["blocks"][0]["padding"] == ((0, 1), (2, 3))


def test_shared_objects_are_copied_for_each_layer():
    """One initializer or norm layer for all blocks gives each layer its own."""
    initializer = keras.initializers.HeNormal()
    block = {
        "filters": 3,
        "kernel_size": 3,
        "pool": None,
        "norm": keras.layers.BatchNormalization(),
        "kernel_initializer": initializer,
    }
    model = small(
        blocks=[block] * 2,
        dense_units=(4, 4, 4),
        dense_kernel_initializer=initializer,
        logits_kernel_initializer=initializer,
    )
    for one, other in (("conv1", "conv2"), ("fc4", "fc5")):
        one, other = (model.get_layer(name).kernel for name in (one, other))
        assert one.shape == other.shape
        assert not np.array_equal(one, other)
    assert model.get_layer("norm1") is not model.get_layer("norm2")
    assert len({id(w) for w in model.weights}) == len(model.weights) == 20
    assert block["norm"].built is False
    assert isinstance(model.blocks[0]["norm"], dict)  # Else the model tracks it.


def test_arguments_and_config_are_copies():
    """Changing what was passed, or a configuration, does not change the model."""
    blocks = copy.deepcopy(list(SMALL["blocks"]))
    model = small(blocks=blocks)
    expected = copy.deepcopy(model.get_config())
    blocks[0]["norm"]["alpha"] = 9
    blocks.append("?")
    config = model.get_config()
    config["blocks"][0]["norm"]["alpha"] = 9
    assert model.get_config() == expected
    AlexNet().blocks[0]["norm"]["alpha"] = 9
    assert AlexNet.presets["paper"]["arguments"]["blocks"][0]["norm"]["alpha"] == 1e-4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (32, 32, 3)}, "unexpected keyword argument 'input_shape'"),
        ({"include_top": False}, "unexpected keyword argument 'include_top'"),
        ({"num_class": 3}, "unexpected keyword argument 'num_class'"),
        ({"inputs": 1, "outputs": 2}, "unexpected keyword argument 'inputs'"),
    ],
)
def test_refuses_unknown_arguments(arguments, message):
    """Keywords that are no argument are refused, those of Keras' Model included."""
    with pytest.raises(TypeError, match=message):
        AlexNet(**arguments)
    with pytest.raises(TypeError, match=message):
        AlexNet.from_preset("notebook", **arguments)


def test_refuses_unknown_arguments_of_blocks():
    """A misspelt key of a block is refused, with the nearest and the block."""
    with pytest.raises(
        TypeError, match=r"argument 'filter'. Did you mean 'filters'.* as block 2\."
    ):
        small(blocks=[SMALL["blocks"][0], {"filter": 3, "kernel_size": 3}])
    with pytest.raises(ValueError, match=r"other than number, name.*'number': 3"):
        small(blocks=[{"filters": 3, "kernel_size": 3, "number": 3}])
    for blocks, message in (
        ([{"suffix": "b"}], r"suffix must .*received suffix='b' first"),
        ([{}, {"suffix": "b"}] * 2, None),
        ([{}, {"suffix": "b"}, {"suffix": "b"}], r"suffix='b' twice after block 1"),
        ([{}, {"suffix": 1}], r"suffix must be lowercase letters.*suffix=1"),
    ):
        blocks = [{"filters": 3, "kernel_size": 3, "pool": None, **b} for b in blocks]
        if message is None:
            assert "conv2b" in small(blocks=blocks).taps
            continue
        with pytest.raises(ValueError, match=message):
            small(blocks=blocks)
    with pytest.raises(TypeError, match="keyword argument 'radius'"):
        small(blocks=[{"filters": 3, "kernel_size": 3, "norm": {"radius": 3}}])
    with pytest.raises(TypeError, match=r"its kernel_size; received .* as block 1\."):
        small(blocks=[{"filters": 3}])


BAD = [
    *[
        ("image_shape", v)
        for v in (None, 32, (8, 8), (1, 8, 8, 3), (0, 8, 3), (8, 8, 5))
    ],
    *[("num_classes", value) for value in (0, -1, 2.0, None, True)],
    *[("blocks", value) for value in ((), None, "paper", {"filters": 3})],
    *[("dense_units", value) for value in (None, 4096, (0,), ("64",))],
    *[("dropout", value) for value in (-0.1, 1, 1.0, None, True, "0.5")],
    *[("resize", value) for value in (0, (16,), (16, 0), "224", 1.5)],
    *[("rescale", value) for value in (0, -1, True, "1/255", float("nan"))],
    *[("pixel_mean", v) for v in (0.5, (1.0, 2.0), (1.0, 2.0, "3"), (1, 2, np.inf))],
    *[("pixel_std", v) for v in (0.5, (1.0, 2.0), (1.0, 2.0, 0), (1, 2, None))],
    *[("trainable", value) for value in ("no", None, 1)],
    *[("dropout_position", value) for value in ("behind", None, 1)],
    *[("dense_activation", value) for value in ("rulu", 3, keras.layers.ReLU())],
    *[("use_convolutional_head", value) for value in (None, 1, "yes")],
    *[("adaptive_pool", value) for value in (0, (6, 6, 6), "6")],
    *[("classifier_activation", value) for value in ("softmix", lambda x: x)],
    *[
        (f"{layer}_{kind}_initializer", value)
        for layer in ("dense", "logits")
        for kind in ("kernel", "bias")
        for value in ("he", None)
    ],
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_refuses_bad_arguments(name, value):
    """A bad argument's error says its name and the value received."""
    received = f"(?s){name} .*received.*{name}={re.escape(repr(value))}"
    with pytest.raises((TypeError, ValueError), match=received):
        small(**{name: value})


@given(st.lists(block_arguments(), min_size=1, max_size=3), st.booleans())
def test_refuses_images_that_are_too_small(blocks, resized):
    """The error names the size that is needed, which then works, and the layer."""
    blocks = [
        {**block, "groups": 1, "norm": None, "pool_size": 4, "pool_padding": "valid"}
        for block in blocks
    ]

    def build(height, width):
        size = (height, width)
        if resized:
            return small(blocks=blocks, image_shape=(5, 5, 2), resize=size)
        return small(blocks=blocks, image_shape=(*size, 2))

    try:
        build(1, 1)
    except ValueError as error:
        pattern = r"height of at least (\d+) and a width of at least (\d+) pixels, or "
        height, width = map(int, re.search(pattern, str(error)).groups())
    else:
        height = width = 1
    build(height, width)
    given = "resize" if resized else "image_shape"
    for size in ((height - 1, width), (height, width - 1)):
        if min(size) >= 1:
            received = re.escape(f"received {given}=({size[0]}, {size[1]}")
            message = rf"{height} .*{width} pixels, or (conv|pool)\d has.*{received}"
            with pytest.raises(ValueError, match=message):
                build(*size)


def test_message_for_images_that_are_too_small():
    """The paper's network on CIFAR-10 says what it needs and how to get there."""
    message = (
        "AlexNet needs a height of at least 36 and a width of at least 36 pixels, or "
        "pool5 has no output; received image_shape=(32, 32, 3). Enlarge the images, "
        "pass resize=36 or more, or use fewer or smaller pools and strides."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        AlexNet.from_preset("paper", image_shape=(32, 32, 3))


def test_message_names_the_longer_side():
    """The size to resize to is enough for the longer of two sides that are needed."""
    tall = {"filters": 2, "kernel_size": (9, 3), "padding": "valid", "pool": None}
    wide = {**tall, "kernel_size": (3, 12)}
    message = "height of at least 11 and a width of at least 14 .* pass resize=14 or"
    with pytest.raises(ValueError, match=message):
        small(blocks=[tall, wide], image_shape=(8, 8, 3))


def test_subclass_draws_its_own_blocks_and_head():
    """Presets, taps, configuration and search reach a subclass' blocks and head."""
    model = Residual.from_preset("cifar10_quick", num_classes=7, name="net")
    assert type(model) is Residual
    assert model.output.shape == (None, 7)
    assert list(model.taps)[-2:] == ["mean", "logits"]
    model = Residual(
        (16, 16, 3), 2, [{"filters": 3, "kernel_size": 3, "pool": None}] * 2, name="net"
    )
    x = images(2, 16, 16, 3)
    assert model.tap("add2")(x).shape == (2, 16, 16, 3)
    again = Residual.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    assert model.tap("mean").count_params() < model.count_params()


def test_subclass_with_an_argument_of_its_own():
    """A subclass that adds an argument repeats it in its configuration alone."""

    class Wide(AlexNet):
        def __init__(self, width=2, blocks=SMALL["blocks"], **kwargs):
            self.width = width
            super().__init__(blocks=blocks, **kwargs)

        def draw_block(self, inputs, number, arguments):
            filters = arguments["filters"] * self.width
            return super().draw_block(inputs, number, {**arguments, "filters": filters})

        def get_config(self):
            return {**super().get_config(), "width": self.width}

    model = Wide(width=3, image_shape=(16, 16, 3), num_classes=2, dense_units=())
    assert model.get_layer("conv1").filters == 24
    again = Wide.from_config(model.get_config())
    assert again.get_layer("conv1").filters == 24
    assert again.get_config() == model.get_config()


def test_clone_model_clones():
    """Keras' clone has the same layers, and the same outputs with the same weights."""
    model = small()
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    x = images(2, 16, 16, 3)
    assert np.array_equal(model(x), clone(x))
    assert [layer.name for layer in clone.layers] == [x.name for x in model.layers]


def test_untrainable_model_does_not_learn():
    """With trainable=False no weight changes, and True makes all of them trainable."""
    model = small(trainable=False)
    assert model.trainable_weights == []
    assert AlexNet.from_config(model.get_config()).trainable_weights == []
    model.trainable = True
    assert len(model.trainable_weights) == len(model.weights)


def test_frozen_layers_stay_frozen():
    """Layers frozen by hand are frozen in a model made of the configuration."""
    model = small()
    for name in ("conv1", "fc3"):
        model.get_layer(name).trainable = False
    again = AlexNet.from_config(model.get_config())
    assert [w.path for w in again.trainable_weights] == [
        w.path for w in model.trainable_weights
    ]
    assert len(again.trainable_weights) == len(again.weights) - 4


@pytest.mark.parametrize(
    ("dtype", "jit_compile"),
    [
        ("float32", False),
        ("float32", True),
        ("mixed_bfloat16", False),
        ("mixed_float16", False),
    ],
)
def test_trains(dtype, jit_compile):
    """The network learns 16 images by heart: its loss falls below half."""
    blocks = SMALL["blocks"][:1] if jit_compile else SMALL["blocks"]
    dense_units = (16,) if jit_compile else (16, 8)  # XLA compiles each layer.
    model = small(
        dtype=dtype, dropout=0, resize=(15, 17), blocks=blocks, dense_units=dense_units
    )
    model.compile(
        keras.optimizers.Adam(0.01),
        "sparse_categorical_crossentropy",
        jit_compile=jit_compile,
    )
    x, y = images(16, 16, 16, 3), np.arange(16) % 3
    losses = model.fit(x, y, epochs=20, batch_size=16, verbose=0).history["loss"]
    assert np.all(np.isfinite(losses))
    assert losses[-1] < losses[0] / 2
    scaled = hasattr(model.optimizer, "inner_optimizer")
    assert scaled == (dtype == "mixed_float16")


def test_multiply_adds():
    """Kernels count once per position; grouped ones with their own inputs only."""
    model = small()
    conv1 = 16 * 16 * 3 * 3 * 3 * 8
    conv2 = 7 * 7 * 3 * 3 * 4 * 8
    dense = 7 * 7 * 8 * 16 + 16 * 8 + 8 * 3
    assert model.multiply_adds == conv1 + conv2 + dense
