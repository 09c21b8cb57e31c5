"""Weight files that do not match: the message, and a model that stays as it was."""

from __future__ import annotations

import hashlib
import re

import keras
import numpy as np
import pytest
import weight_files as files

from alexnet import AlexNet
from alexnet.weights import (
    WeightsError,
    load_preset_weights,
    load_weights,
    read_mean,
)


@pytest.fixture(scope="module")
def models():
    """The two tiny nets; no test here may change their weights."""
    keras.utils.set_random_seed(2012)
    nets = {True: AlexNet(**files.TINY_TORCH), False: AlexNet(**files.TINY)}
    before = {kind: model.get_weights() for kind, model in nets.items()}
    yield nets
    for kind, model in nets.items():
        for a, b in zip(before[kind], model.get_weights(), strict=True):
            assert np.array_equal(a, b)


def refused(model, path, data, match, **options):
    """Assert that a file is refused with one message, and nothing is loaded."""
    path.write_bytes(data)
    before = model.get_weights()
    with pytest.raises(WeightsError, match=match) as caught:
        load_weights(model, path, **options)
    assert str(caught.value).startswith(f"Cannot load {path}: ")
    assert str(caught.value).endswith("The model is unchanged.")
    for a, b in zip(before, model.get_weights(), strict=True):
        assert np.array_equal(a, b)


def torch_layers():
    return files.weights(files.TORCH_SHAPES)


def test_wrong_shape_names_layer_shapes_and_preset(tmp_path, models):
    """A shape that differs is given as expected and found, with what would match."""
    shapes = list(files.TORCH_SHAPES)
    shapes[1] = ((9, 6, 3, 3), (9,))
    data = files.torch_zip(files.weights(shapes))
    message = (
        r"layer 'conv2' needs kernel \(3, 3, 6, 8\), bias \(8,\); the file has "
        r"kernel \(3, 3, 6, 9\), bias \(9,\)\. No preset has this file's kernels"
    )
    refused(models[True], tmp_path / "net.pth", data, message)


def test_the_matching_preset_is_named(tmp_path, models):
    """The message names the preset whose network the file is of."""
    shapes = [
        ((32, 3, 5, 5), (32,)),
        ((32, 32, 5, 5), (32,)),
        ((64, 32, 5, 5), (64,)),
        ((64, 1024), (64,)),
        ((10, 64), (10,)),
    ]
    names = ("conv1", "conv2", "conv3", "ip1", "ip2")
    data = files.caffe_new(files.weights(shapes), names)
    match = "layer 'conv1' needs .* By its layers and parameters, preset 'cifar10_qu"
    refused(models[False], tmp_path / "net.caffemodel", data, match)


def test_missing_and_surplus_layers(tmp_path, models):
    """A file with fewer or more layers than the model says which."""
    layers = torch_layers()
    pickled, storages = files.torch_items(layers[:-1], names=files.TORCH_NAMES[:-1])
    data = files.torch_archive(pickled, storages)
    match = "layer 'logits' needs .*; the file has no such layer"
    refused(models[True], tmp_path / "net.pth", data, match)
    more = [*layers, (np.zeros((4, 5), "f4"), np.zeros(4, "f4"))]
    pickled, storages = files.torch_items(more, names=(*files.TORCH_NAMES, "more.9"))
    data = files.torch_archive(pickled, storages)
    match = "the file has 6 layers with weights, the model 5; it lacks 'more.9'"
    refused(models[True], tmp_path / "net.pth", data, match)


def test_missing_bias(tmp_path, models):
    """A layer without the bias that the model has is refused."""
    layers = files.weights()
    data = files.caffe_new([layers[0][:1], *layers[1:]])
    match = r"layer 'conv1' needs kernel .*, bias \(6,\); the file has kernel .*\)\. No"
    refused(models[False], tmp_path / "net.caffemodel", data, match)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("write", ["torch_zip", "torch_legacy", "caffe_h5", "npy"])
def test_numbers_that_are_not_finite(tmp_path, models, value, write):
    """A single NaN or infinity is refused, and its layer named."""
    is_torch = write.startswith("torch")
    layers = files.weights(files.TORCH_SHAPES if is_torch else files.SHAPES)
    layers[3][1][2] = value
    data = getattr(files, write)(layers)
    match = "layer 'fc4' has numbers that are not finite in its bias"
    refused(models[is_torch], tmp_path / "net.any", data, match)


def test_numbers_too_large_for_the_model(tmp_path):
    """Numbers that become infinite in the model's precision are refused."""
    model = AlexNet(**files.TINY_TORCH, dtype="float16")
    layers = torch_layers()
    layers[0][0][0, 0, 0, 0] = 1e5
    match = "layer 'conv1' has numbers that are not finite in its kernel"
    refused(model, tmp_path / "net.pth", files.torch_zip(layers), match)


def test_hash(tmp_path, models):
    """A file of another SHA-256 is refused; its own, in either case, passes."""
    data = files.torch_zip(torch_layers())
    found = hashlib.sha256(data).hexdigest()
    match = f"its SHA-256 should be {'0' * 64}, but is {found}"
    path = tmp_path / "net.pth"
    refused(models[True], path, data, match, sha256="0" * 64)
    load_weights(AlexNet(**files.TINY_TORCH), path, sha256=found.upper())


def test_arguments(tmp_path, models):
    """Options outside their range are refused before the file is read."""
    with pytest.raises(ValueError, match="channel_order must be one of 'rgb', 'bgr'"):
        load_weights(models[True], tmp_path / "none", channel_order="gbr")
    with pytest.raises(TypeError, match="sum_channels must be True or False"):
        load_weights(models[True], tmp_path / "none", sum_channels=1)


def test_missing_files_and_unknown_formats(tmp_path, models):
    """Missing files, directories, empty files and other formats are each named so."""
    with pytest.raises(WeightsError, match=r"it cannot be read \(No such file"):
        load_weights(models[True], tmp_path / "none.pth")
    with pytest.raises(WeightsError, match="it is a directory, not a file"):
        load_weights(models[True], tmp_path)
    for data in (b"", b"GIF89a", b"PK"):
        refused(models[True], tmp_path / "net.pth", data, "cut off|zip directory")
    for data in (b"", b"\x08\x01"):
        refused(models[True], tmp_path / "n.caffemodel", data, "it holds no layers")


@pytest.mark.parametrize("value", [1.0, [1.0, 2.0]])
def test_hdf5_without_kernels(tmp_path, models, value):
    """A net that only normalizes does not match, like any other."""

    def write(file):
        file["layers/a/vars/0"] = value
        file["layers/a/vars"].attrs["name"] = "norm"

    path = tmp_path / "net.weights.h5"
    match = "layer 'conv1' needs .* no such layer. No preset has this file's kernels"
    refused(models[True], path, files.hdf5(write), match)


def test_bad_arguments(models):
    """Arguments of another kind are refused as such."""
    with pytest.raises(TypeError, match="sha256 must be a text; received sha256=5"):
        load_weights(models[True], "net.pth", sha256=5)
    with pytest.raises(TypeError, match="sha256 must be a text; received sha256=5"):
        read_mean("mean.binaryproto", sha256=5)
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(TypeError, match="model must be an AlexNet; received a Sequen"):
        load_weights(other, "net.pth")
    with pytest.raises(TypeError, match="model must be an AlexNet; received a Sequen"):
        load_preset_weights(other, "caffe", "net.pth")


@pytest.mark.parametrize("value", [5, None, b"x", ["net.pth"]])
def test_what_is_no_path_is_refused(models, value):
    """A path of another type is refused by name, with its value and what to pass."""
    received = re.escape(f"={value!r} ({type(value).__name__}). Pass a ")
    with pytest.raises(
        TypeError, match=f"path must be a path; received path{received}"
    ):
        load_weights(models[True], value)
    with pytest.raises(
        TypeError, match=f"path must be a path; received path{received}"
    ):
        read_mean(value)
    match = f'a path or a name such as "imagenet"; received weights{received}'
    with pytest.raises(TypeError, match=match):
        load_preset_weights(models[True], "caffe", value)


@pytest.mark.parametrize("preset", ["nope", 5, ["caffe"]])
def test_unknown_presets(models, preset):
    """A preset that does not exist is answered with all there are."""
    match = re.escape(f"There is no preset {preset!r}.") + ".*There are: caffe, "
    with pytest.raises(ValueError, match=match):
        load_preset_weights(models[True], preset, "net.pth")


def test_numbers_beyond_the_models_type(tmp_path):
    """What is finite in the file but not in the model is refused."""
    layers = files.weights(files.TORCH_SHAPES)
    layers[0][1][0] = 3.4028e38  # bfloat16 ends at 3.39e38.
    path = tmp_path / "net.pth"
    path.write_bytes(files.torch_zip(layers))
    load_weights(AlexNet(**files.TINY_TORCH), path)
    with pytest.raises(WeightsError, match="'conv1' has numbers that are not finite"):
        load_weights(AlexNet(**files.TINY_TORCH, dtype="bfloat16"), path)
