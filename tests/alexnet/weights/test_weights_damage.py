"""Damaged weight files: an error of one class, or numbers that are finite."""

from __future__ import annotations

import warnings
from functools import cache

import keras
import numpy as np
import pytest
import weight_files as files
from hypothesis import given
from hypothesis import strategies as st

from alexnet import AlexNet
from alexnet.weights import WeightsError, load_weights, read_mean

# Format: extension, writer, arguments of its net, whether checksums cover it.
FORMATS = {
    "torch zip": (".pth", files.torch_zip, files.TINY_TORCH, True),
    "torch legacy": (".pth", files.torch_legacy, files.TINY_TORCH, False),
    "caffe": (".caffemodel", files.caffe_new, files.TINY, False),
    "caffe V1": (".caffemodel", files.caffe_v1, files.TINY, False),
    "caffe h5": (".caffemodel.h5", files.caffe_h5, files.TINY, False),
    "toronto": (".npy", files.npy, files.TINY, False),
    "keras h5": (".weights.h5", None, files.TINY, False),
    "keras": (".keras", None, files.TINY, True),
}


@cache
def sample(name, folder):
    """A file's bytes, a model for it, its weights before and those of the file."""
    extension, write, arguments, _ = FORMATS[name]
    keras.utils.set_random_seed(7)
    path = folder / f"sample{extension}"
    if write is None:
        saved = AlexNet(**arguments)
        (saved.save if extension == ".keras" else saved.save_weights)(path)
    else:
        is_torch = arguments is files.TINY_TORCH
        layers = files.weights(files.TORCH_SHAPES if is_torch else files.SHAPES)
        path.write_bytes(write(layers))
    model = AlexNet(**arguments)
    before = model.get_weights()
    load_weights(model, path)
    after = model.get_weights()
    return path.read_bytes(), model, before, after


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


def load(name, folder, data):
    """Load damaged bytes; return whether they loaded, after the checks of both."""
    _, model, before, after = sample(name, folder)
    path = folder / f"damaged{FORMATS[name][0]}"
    path.write_bytes(data)
    model.set_weights(before)
    try:
        with warnings.catch_warnings():
            # Damage may change the classifier's size or a normalization's constant.
            warnings.simplefilter("ignore", UserWarning)
            load_weights(model, path)
    except WeightsError:
        for a, b in zip(before, model.get_weights(), strict=True):
            assert np.array_equal(a, b)
        return False
    for weight, true in zip(model.get_weights(), after, strict=True):
        assert np.isfinite(weight).all()
        if FORMATS[name][3]:
            assert np.array_equal(weight, true)
    return True


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_cut_off_files_are_refused(folder, name, data):
    """A file cut off anywhere is refused, or nothing of its weights was cut off."""
    content, model, _, after = sample(name, folder)
    length = data.draw(st.integers(0, len(content) - 1))
    if load(name, folder, content[:length]):
        # Caffe's files end in layers without weights, and have no checksum.
        assert name.startswith("caffe")
        for a, b in zip(after, model.get_weights(), strict=True):
            assert np.array_equal(a, b)


def damages(size):
    """Changes of a file: at a place, so many bytes become others, or go."""
    change = st.tuples(
        st.integers(0, size - 1),
        st.integers(0, 8),
        st.binary(max_size=8) | st.sampled_from([bytes(8), b"\xff" * 8, b"\x7f" * 4]),
    )
    return st.lists(change, min_size=1, max_size=4)


def structure(name, content, after):
    """Places of a file outside of the numbers of its weights."""
    covered = np.zeros(len(content), bool)
    for weight in after:
        turned = weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight.T
        for array in (weight, turned):
            raw = np.ascontiguousarray(array, "<f4").tobytes()
            at = content.find(raw)
            if at >= 0:
                covered[at : at + len(raw)] = True
    return np.flatnonzero(~covered)


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_damaged_structure_is_refused(folder, name, data):
    """Damage outside of the numbers is refused, or leaves them finite.

    In zip files, which have checksums, what loads is what was saved.
    """
    content, _, _, after = sample(name, folder)
    places = structure(name, content, after)
    damaged = bytearray(content)
    for at, length, new in data.draw(damages(len(places))):
        place = places[at]
        damaged[place : place + length] = new
    load(name, folder, bytes(damaged))


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_damaged_numbers_are_finite(folder, name, data):
    """Damage anywhere, numbers included, loads nothing that is not finite."""
    content = sample(name, folder)[0]
    damaged = bytearray(content)
    for at, length, new in data.draw(damages(len(content))):
        damaged[at : at + length] = new
    load(name, folder, bytes(damaged))


@pytest.mark.parametrize("extension", [".pth", ".caffemodel", ".h5", ".npy"])
@given(content=st.binary(max_size=200), data=st.data())
def test_noise_is_refused(folder, extension, content, data):
    """Random bytes behind any format's beginning are refused."""
    starts = [b"", b"PK\x03\x04", b"\x80\x02", b"\x93NUMPY\x01\x00v\x00"]
    starts += [b"\x89HDF\r\n\x1a\n", files.torch_legacy_file(b"", {})[:30]]
    path = folder / f"noise{extension}"
    path.write_bytes(data.draw(st.sampled_from(starts)) + content)
    with pytest.raises(WeightsError, match="The model is unchanged"):
        load_weights(sample("caffe", folder)[1], path)


@given(data=st.data())
def test_damaged_means_are_refused(folder, data):
    """A damaged mean image is refused, or finite and of three dimensions."""
    content = bytearray(files.blob(np.ones((1, 3, 2, 2), "f4"), True))
    for at, length, new in data.draw(damages(len(content))):
        content[at : at + length] = new
    path = folder / "mean.binaryproto"
    path.write_bytes(content)
    try:
        mean = read_mean(path)
    except WeightsError:
        return
    assert mean.ndim == 3
    assert np.isfinite(mean).all()
