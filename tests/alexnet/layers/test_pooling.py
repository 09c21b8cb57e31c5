"""CeilPooling2D against NumPy, and where ConvBlock uses it."""

from __future__ import annotations

import inspect
import json
import math
import re

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from strategies import pairs

from alexnet import ConvBlock
from alexnet.layers.ceil_pooling import CeilPooling2D

KINDS = ["max", "average"]
kinds = st.sampled_from(KINDS)


@st.composite
def cases(draw, most=1):
    """Size of the window, strides, and sizes of images that leave a pixel."""
    pool_size, strides = draw(pairs(1, 5)), draw(pairs(1, 5))
    least = [
        max(1, side - stride + 1)
        for side, stride in zip(
            reference.pair(pool_size), reference.pair(strides), strict=True
        )
    ]
    size = st.tuples(*[st.integers(side, side + 11) for side in least])
    return pool_size, strides, draw(st.lists(size, min_size=1, max_size=most))


def images(*shape):
    """Values of which nearly all are below 0."""
    return np.random.default_rng(0).normal(-3, size=shape).astype("float32")


def expected_pool(x, kind, pool_size, strides):
    return reference.pool(
        np.asarray(x, np.float64),
        kind,
        reference.pair(pool_size),
        reference.pair(strides),
        "ceil",
    )


@given(kinds, cases())
def test_output_is_the_references(kind, case):
    """Shape and values are predicted: by the layer, and by float64 NumPy.

    Tolerance: 1e-6 relative, for float32 sums in another order; maxima are exact.
    """
    pool_size, strides, (size,) = case
    layer = CeilPooling2D(kind, pool_size, strides)
    x = images(2, *size, 3)
    y = layer(x)
    expected = expected_pool(x, kind, pool_size, strides)
    assert layer.compute_output_shape(x.shape) == y.shape == expected.shape
    assert layer(keras.Input(x.shape[1:])).shape == (None, *y.shape[1:])
    tolerance = 0 if kind == "max" else 1e-6
    np.testing.assert_allclose(y, expected, rtol=tolerance)


@given(kinds, cases(most=4))
def test_unknown_sizes_give_the_same(kind, case):
    """One graph pools images of every size as graphs of their own do.

    Tolerance: 1e-6 relative, for averages by another way.
    """
    pool_size, strides, many = case
    layer = CeilPooling2D(kind, pool_size, strides)
    assert layer(keras.Input((None, None, 2))).shape == (None, None, None, 2)
    assert layer.compute_output_shape((None, None, many[0][1], 2))[:2] == (None, None)
    unknown = tf.TensorSpec((None, None, None, 2), "float32")
    graph = tf.function(layer.call, input_signature=[unknown])
    for size in many:
        x = images(2, *size, 2)
        np.testing.assert_allclose(graph(x), layer(x), rtol=1e-6)


# Starts of the windows of 3 pixels, 2 apart, and how many pixels each has inside.
@pytest.mark.parametrize(
    ("length", "inside"),
    [(2, [2]), (3, [3]), (4, [3, 2]), (5, [3, 3]), (6, [3, 3, 2])],
)
def test_averages_are_of_the_pixels_inside(length, inside):
    """Windows start at the top left; the mean is of what is inside, as in Caffe.

    Tolerance: 1e-6 relative, for float32 sums.
    """
    row = np.arange(1.0, length + 1)
    means = [row[2 * i : 2 * i + n].mean() for i, n in enumerate(inside)]
    for x, size in (
        (row.reshape(1, 1, -1, 1), (1, 3)),
        (row.reshape(1, -1, 1, 1), (3, 1)),
    ):
        y = CeilPooling2D("average", size)(x)
        np.testing.assert_allclose(np.ravel(y), means, rtol=1e-6)


@pytest.mark.parametrize(
    ("length", "pool_size", "stride", "expected"),
    [(55, 3, 2, 27), (54, 3, 2, 27), (56, 3, 2, 28), (55, 2, 2, 28), (2, 3, 2, 1)],
)
def test_sizes_by_hand(length, pool_size, stride, expected):
    """Sizes are ceil((length - pool_size) / stride) + 1."""
    layer = CeilPooling2D("max", pool_size, stride)
    assert layer.compute_output_shape((1, length, length, 1))[1] == expected


@pytest.mark.parametrize(("length", "expected"), [(3, 1), (4, 2), (6, 2), (7, 3)])
def test_windows_that_would_start_outside_are_dropped(length, expected):
    """With pixels left out between windows, each window still holds a pixel."""
    x = np.arange(-length, 0.0).reshape(1, length, 1, 1)
    for kind in KINDS:
        y = CeilPooling2D(kind, (1, 1), (3, 1))(x)
        assert np.array_equal(np.ravel(y), np.arange(-length, 0, 3)[:expected])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(7, 7), (8, 8), (7, 8)])
def test_gradients_stay_inside(kind, size):
    """Each window hands its whole gradient to pixels of the image.

    Tolerance: 1e-5 relative, for float32 sums.
    """
    x = tf.constant(images(2, *size, 3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = CeilPooling2D(kind)(x)
        loss = tf.reduce_sum(y)
    gradient = tape.gradient(loss, x)
    assert np.all(np.isfinite(gradient))
    assert np.sum(gradient) == pytest.approx(math.prod(y.shape), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(6, 7), (9, 9)])
@pytest.mark.parametrize(
    ("dtype", "bits"), [("float16", 11), ("mixed_bfloat16", 8), ("float64", 48)]
)
def test_values_of_every_policy(kind, size, dtype, bits):
    """Values are of the policy's type, and maxima exact.

    Tolerance: a rounding for each of nine pixels, as TensorFlow sums them in
    float16, and two for the pixels that are not there.
    """
    layer = CeilPooling2D(kind, dtype=dtype)
    x = tf.cast(images(2, *size, 3), layer.compute_dtype)
    y = layer(x)
    assert y.dtype == layer.compute_dtype
    expected = expected_pool(tf.cast(x, "float64"), kind, 3, 2)
    tolerance = 0 if kind == "max" else 11 * 2.0**-bits
    np.testing.assert_allclose(tf.cast(y, "float64"), expected, rtol=tolerance)


def test_bytes_are_pooled_as_numbers():
    """Whole numbers become floating-point ones."""
    x = np.arange(12, dtype="uint8").reshape(1, 3, 4, 1)
    y = CeilPooling2D()(x)
    assert y.dtype == "float32"
    assert np.array_equal(np.ravel(y), [10, 11])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("size", "pads"), [((55, 55), False), ((54, 54), False), ((54, 55), True)]
)
def test_no_copy_where_the_pool_itself_can_pad(kind, size, pads):
    """Pools of 3, 2 apart, only copy images that stick out on one side alone."""
    spec = tf.TensorSpec((None, *size, 4), "float32")
    graph = tf.function(CeilPooling2D(kind).call).get_concrete_function(spec).graph
    types = {operation.type for operation in graph.get_operations()}
    assert bool(types & {"Pad", "PadV2"}) == pads
    assert pads or not types & {"Mul", "RealDiv"}


@given(kinds, pairs(1, 5), pairs(1, 5))
def test_config_repeats_every_argument(kind, pool_size, strides):
    """A configuration holds every argument as given, and makes an equal layer."""
    given = {"pool": kind, "pool_size": pool_size, "strides": strides}
    given |= {"name": "a", "trainable": False}
    layer = CeilPooling2D(**given, dtype="mixed_bfloat16")
    config = layer.get_config()
    assert sorted(config) == sorted(inspect.signature(CeilPooling2D).parameters)
    assert {key: config[key] for key in given} == given
    assert config["dtype"]["config"]["name"] == "mixed_bfloat16"
    assert {key: getattr(layer, key) for key in given} == given
    again = CeilPooling2D.from_config(json.loads(json.dumps(config)))
    assert again.get_config() == config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("pool", value) for value in ("min", None, 2)],
        *[("pool_size", value) for value in (0, "3", (2, -2), None)],
        *[("strides", value) for value in (0, (1, 2, 3), None)],
    ],
)
def test_refuses_bad_arguments(name, value):
    """A bad argument's error says its name and the value received."""
    received = f"{name} .*received.*{name}={re.escape(repr(value))}"
    with pytest.raises((TypeError, ValueError), match=received):
        CeilPooling2D(**{name: value})


def test_refuses_images_that_leave_nothing():
    """An image smaller than what gives a pixel is refused with what is needed."""
    match = re.escape(
        "at least 2 by 4 pixels, or it has no output; received shape (1, 1,"
    )
    with pytest.raises(ValueError, match=match):
        CeilPooling2D("max", (3, 5), 2)(images(1, 1, 9, 3))


def test_refuses_inputs_of_another_rank():
    """An input without height and width is refused with its shape."""
    with pytest.raises(ValueError, match=r"channels\); received .*\(2, 3, 4\)"):
        CeilPooling2D()(images(2, 3, 4))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padding", ["valid", "same", "ceil"])
def test_blocks_have_keras_pools_but_for_ceil(kind, padding):
    """A block's pool is one layer, of Keras' own kind wherever there is one."""
    block = ConvBlock(4, 3, pool=kind, pool_padding=padding, number=1)
    pool = block.stages[-1]
    stock = {"max": "MaxPooling2D", "average": "AveragePooling2D"}[kind]
    assert pool.name == "pool1"
    assert type(pool).__name__ == ("CeilPooling2D" if padding == "ceil" else stock)


def test_blocks_name_the_paddings_there_are():
    """Another padding is answered with the three."""
    message = "pool_padding must be one of 'valid', 'same', 'ceil'; received .*'Ceil'"
    with pytest.raises(ValueError, match=message):
        ConvBlock(4, 3, pool_padding="Ceil")


@pytest.mark.parametrize("kind", KINDS)
def test_file_round_trip(kind, tmp_path):
    """A block that rounds up loads from a .keras file in safe mode, and alone."""
    model = keras.Sequential(
        [
            keras.Input((9, 10, 3)),
            ConvBlock(4, 3, pool=kind, pool_padding="ceil"),
            CeilPooling2D(kind, (3, 2), (2, 1)),
        ]
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    x = images(2, 9, 10, 3)
    assert np.array_equal(model(x), loaded(x))
    for ours, theirs in zip(model.layers, loaded.layers, strict=True):
        assert ours.get_config() == theirs.get_config()
