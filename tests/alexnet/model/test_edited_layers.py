"""Layers that were changed after drawing: the change survives, or saving refuses."""

from __future__ import annotations

import copy
import json
import pickle

import keras
import numpy as np
import pytest

from alexnet import AlexNet

SMALL = {
    "image_shape": (12, 12, 3),
    "num_classes": 4,
    "blocks": ({"filters": 4, "kernel_size": 3, "norm": {"alpha": 0.1}},),
    "dense_units": (6, 5),
    "dropout": 0.5,
}


def linear(net):
    net.get_layer("predictions").activation = keras.activations.linear


def regularizer(net):
    for name in ("conv1", "fc2", "logits"):
        net.get_layer(name).kernel_regularizer = keras.regularizers.L2(0.01)


def rate(net):
    net.get_layer("drop3").rate = 0.1


def policy(net):
    net.get_layer("fc2").dtype_policy = "mixed_bfloat16"


def activation(net):
    net.get_layer("relu1").activation = keras.activations.tanh
    net.get_layer("fc3").activation = keras.activations.gelu


def constraint(net):
    net.get_layer("fc2").kernel_constraint = keras.constraints.MaxNorm(2.0)


def initializer(net):
    net.get_layer("fc2").kernel_initializer = keras.initializers.HeNormal(seed=3)


def norm(net):
    net.get_layer("norm1").alpha = 0.7


def frozen(net):
    net.get_layer("conv1").trainable = False


def thawed(net):
    net.trainable = False
    net.get_layer("logits").trainable = True


def activity(net):
    net.get_layer("fc2").activity_regularizer = keras.regularizers.L1(0.1)


def lora(net):
    net.get_layer("fc2").enable_lora(2)
    net.get_layer("conv1").enable_lora(2)
    net.get_layer("fc2").lora_kernel_b.assign(np.full((2, 6), 0.5))


def scaled_lora(net):
    net.get_layer("fc2").enable_lora(2, lora_alpha=3)
    net.get_layer("fc2").lora_kernel_b.assign(np.full((2, 6), 0.5))


def int8(net):
    net.get_layer("fc2").quantize("int8")


def int4(net):
    net.get_layer("fc3").quantize("int4")


def float8(net):
    net.get_layer("fc3").quantize("float8")


def all_int8(net):
    with pytest.warns(UserWarning, match="quantize"):
        net.quantize("int8")


def int8_and_lora(net):
    net.get_layer("fc2").quantize("int8")
    net.get_layer("fc2").enable_lora(2)


def renamed(net):
    net.get_layer("fc2").name = "hidden"


def all_at_once(net):
    for edit in (linear, regularizer, rate, activation, norm, frozen):
        edit(net)


EDITS = [
    linear,
    regularizer,
    rate,
    policy,
    activation,
    constraint,
    initializer,
    norm,
    frozen,
    thawed,
    activity,
    lora,
    scaled_lora,
    int8,
    int4,
    float8,
    all_int8,
    int8_and_lora,
    renamed,
    all_at_once,
]


def by_file(net, folder):
    net.save(folder / "net.keras")
    return keras.saving.load_model(folder / "net.keras")


def by_json(net, folder):
    return keras.models.model_from_json(net.to_json())


WAYS = {
    "file": by_file,
    "deepcopy": lambda net, folder: copy.deepcopy(net),
    "pickle": lambda net, folder: pickle.loads(pickle.dumps(net)),
    "json": by_json,
    "clone": lambda net, folder: keras.models.clone_model(net),
}
# All take half a minute.
OWN_WAYS = [
    pytest.param(way, marks=[] if way in ("file", "deepcopy") else pytest.mark.long)
    for way in WAYS
    if way != "clone"
]
ALL_WAYS = [*OWN_WAYS, pytest.param("clone", marks=pytest.mark.long)]


@keras.saving.register_keras_serializable(package="edited")
class Pooled(AlexNet):
    """Layers that Keras names, nested models, and layers of the model's policy."""

    def draw_head(self, inputs):
        policy = self.dtype_policy
        outputs = keras.layers.GlobalAveragePooling2D(dtype=policy)(inputs)
        tower = [keras.layers.Dense(5, "relu", dtype=policy) for _ in range(2)]
        outputs = keras.Sequential(tower, name="tower")(outputs)
        outputs = keras.layers.Dense(6, dtype=policy)(outputs)
        outputs = keras.layers.Dense(6, dtype=policy, trainable=False)(outputs)
        outputs = keras.layers.TimeDistributed(
            keras.layers.Dense(1, name="each", dtype=policy), dtype=policy, name="steps"
        )(keras.layers.Reshape((6, 1))(outputs))
        outputs = keras.layers.Flatten()(outputs)
        return keras.layers.Dense(self.num_classes, name="logits")(outputs)


def images():
    return np.random.default_rng(0).normal(size=(3, 12, 12, 3)).astype("float32")


def told(net):
    """What the layers say of themselves, as JSON has it."""
    configs = [layer.get_config() for layer in net.layers]
    return json.loads(json.dumps(configs))


def trained(net):
    return [weight.path.split("/", 1)[1] for weight in net.trainable_weights]


@pytest.mark.parametrize("way", ALL_WAYS)
@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_edit_survives(edit, way, tmp_path):
    """A copy of an edited network has its layers, its penalties and its outputs."""
    net = AlexNet(**SMALL)
    edit(net)
    found = WAYS[way](net, tmp_path)
    if way in ("json", "clone"):
        net.save_weights(tmp_path / "net.weights.h5")
        found.load_weights(tmp_path / "net.weights.h5")
    if way == "clone":
        # A plain model, which Keras makes of the layers; Keras forgets lora_alpha.
        for layer in found.layers:
            if edit is scaled_lora and layer.name == "fc2":
                layer.lora_alpha = 3
    else:
        assert type(found) is AlexNet
        assert trained(found) == trained(net)
        assert told(found) == told(net)
        assert found.to_json() == net.to_json()
    assert told(found) == told(net)
    # LoRA's product is part of the kernel in files: the same sum, rounded before.
    np.testing.assert_allclose(found(images()), net(images()), rtol=1e-4, atol=1e-6)


def test_nothing_is_told_without_edits():
    """A network as it was drawn has a configuration of arguments alone."""
    for arguments in ({}, {"trainable": False}, {"dtype": "mixed_bfloat16"}):
        config = AlexNet(**SMALL, **arguments).get_config()
        assert not {"edited_layers", "frozen_layers"} & set(config)


def unregistered(values):
    return values * 2


class OwnDense(keras.layers.Dense):
    pass


def lambda_activation(net):
    net.get_layer("fc2").activation = lambda values: values * 2


def function_activation(net):
    net.get_layer("fc2").activation = unregistered


def another_class(net):
    net.get_layer("fc2").__class__ = OwnDense


def argument_without_attribute(net):
    layer = net.get_layer("fc2")
    config = {**layer.get_config(), "strange": 3}
    layer.get_config = lambda: config


@pytest.mark.filterwarnings("ignore:.*lambda")
@pytest.mark.parametrize("way", OWN_WAYS)
@pytest.mark.parametrize(
    "edit",
    [lambda_activation, function_activation, another_class, argument_without_attribute],
    ids=lambda edit: edit.__name__,
)
def test_saving_refuses_what_cannot_be_repeated(edit, way, tmp_path):
    """What another drawing cannot be given is refused, and the layer is named."""
    net = AlexNet(**SMALL)
    edit(net)
    with pytest.raises(ValueError, match=r"(?s)received a layer 'fc2'.*save_weights"):
        WAYS[way](net, tmp_path)


def keras_named(net):
    net.layers[-5].activation = keras.activations.tanh
    net.layers[-6].trainable = False


def nested(net):
    net.get_layer("tower").layers[-1].activation = keras.activations.tanh
    net.get_layer("tower").layers[0].trainable = False


def nested_frozen(net):
    net.get_layer("tower").trainable = False
    net.get_layer("tower").layers[0].trainable = True


def wrapper_frozen(net):
    net.get_layer("steps").trainable = False


def nothing(net):
    pass


def thaw_drawn(net):
    for layer in net.layers:
        layer.trainable = True


@pytest.mark.parametrize("way", OWN_WAYS)
@pytest.mark.parametrize(
    "edit",
    [keras_named, nested, nested_frozen, wrapper_frozen, frozen, thaw_drawn, nothing],
    ids=lambda edit: edit.__name__,
)
def test_edit_of_a_subclass_survives(edit, way, tmp_path):
    """Also in layers that Keras named, and in models inside the network."""
    net = Pooled(**SMALL)
    edit(net)
    found = WAYS[way](net, tmp_path)
    found.set_weights(net.get_weights())

    def flags(model):
        return [layer.trainable for layer in model._flatten_layers()]

    assert flags(found) == flags(net)
    assert len(found.trainable_weights) == len(net.trainable_weights)
    # The same float32 operations.
    np.testing.assert_allclose(found(images()), net(images()), rtol=1e-6, atol=1e-7)


def test_saving_refuses_an_edit_inside_a_wrapper():
    """A layer inside a layer that is no model is not changed silently either."""
    net = Pooled(**SMALL)
    net.get_layer("steps").layer.activation = keras.activations.tanh
    with pytest.raises(ValueError, match="received a layer 'steps'"):
        net.to_json()


def test_subclass_follows_dtype():
    """A subclass draws its layers with the model's policy, by the public name."""
    net = Pooled(**SMALL, dtype="mixed_bfloat16")
    assert net.get_layer("steps").dtype_policy.name == "mixed_bfloat16"
    assert net.dtype_policy.name == "mixed_bfloat16"


@pytest.mark.parametrize("name", ["net.h5", "net.hdf5", "net.weights.h5"])
def test_hdf5_is_refused(name, tmp_path):
    """A whole model is not saved in a format that does not load."""
    with pytest.raises(ValueError, match=rf"received filepath='.*{name}'.*\.keras"):
        AlexNet(**SMALL).save(tmp_path / name)
    assert not list(tmp_path.iterdir())
