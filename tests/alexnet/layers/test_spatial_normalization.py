"""SpatialResponseNormalization against NumPy."""

from __future__ import annotations

import itertools
import re

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from strategies import pairs, spatial_arguments

from alexnet import SpatialResponseNormalization

# float32 against float64.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def normal(*shape, scale=1.0, dtype="float32"):
    values = np.random.default_rng(0).normal(size=shape, scale=scale)
    return values.astype(dtype)


def value_and_gradient(function, x, upstream):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
        loss = tf.reduce_sum(tf.cast(y, upstream.dtype) * upstream)
    return y, tape.gradient(loss, x)


@given(
    spatial_arguments(),
    pairs(1, 6),
    st.sampled_from(["channels_last", "channels_first"]),
    st.sampled_from(["eager", "unknown size", "jit"]),
)
def test_equals_reference(arguments, size, data_format, mode):
    """Values and gradients are NumPy's, for windows smaller and larger than maps."""
    shape = (2, *reference.pair(size), 3)
    x, upstream = normal(*shape, scale=2), normal(*shape)
    layer = SpatialResponseNormalization(**arguments, data_format=data_format)

    def function(x):
        if data_format == "channels_last":
            return layer(x)
        return tf.transpose(layer(tf.transpose(x, (0, 3, 1, 2))), (0, 2, 3, 1))

    if mode != "eager":
        size = None if mode == "unknown size" else shape[1]
        function = tf.function(
            function,
            input_signature=[tf.TensorSpec((None, size, size and shape[2], 3))],
            jit_compile=mode == "jit",
        )
    y, gradient = value_and_gradient(function, x, upstream)
    np.testing.assert_allclose(y, reference.spatial_lrn(x, **arguments), **CLOSE)
    np.testing.assert_allclose(
        gradient, reference.spatial_lrn_gradient(x, upstream, **arguments), **CLOSE
    )


def test_reference_gradient_is_the_slope_of_the_reference():
    """The written-out gradient of the reference agrees with finite differences."""
    arguments = {"pool_size": (2, 3), "bias": 1.5, "alpha": 0.3, "beta": 0.75}
    x, upstream = (normal(1, 3, 4, 1, dtype="float64") + n for n in (0, 1))
    gradient = reference.spatial_lrn_gradient(x, upstream, **arguments)
    for place in itertools.product(range(3), range(4)):
        step = np.zeros_like(x)
        step[0, *place, 0] = 1e-6
        above, below = (
            reference.spatial_lrn(x + s, **arguments) for s in (step, -step)
        )
        slope = np.sum(upstream * (above - below)) / 2e-6
        np.testing.assert_allclose(gradient[0, *place, 0], slope, rtol=1e-7)


def test_the_border_cuts_the_window_and_leaves_alpha():
    """Of ones, a corner sums four of nine pixels, an edge six, the middle nine."""
    layer = SpatialResponseNormalization(3, bias=1.0, alpha=0.1, beta=1.0)
    y = layer(np.ones((1, 3, 3, 1), "float32"))
    corner, edge, middle = 1 / 1.4, 1 / 1.6, 1 / 1.9
    expected = [
        [corner, edge, corner],
        [edge, middle, edge],
        [corner, edge, corner],
    ]
    np.testing.assert_allclose(y[0, :, :, 0], expected, rtol=1e-6)


def test_the_middle_of_an_even_window_is_the_first_of_its_second_half():
    """Windows of 2 reach one pixel back and none ahead, as cuda-convnet's do."""
    x = np.arange(1, 4, dtype="float32").reshape(1, 1, 3, 1)
    y = SpatialResponseNormalization((1, 2), alpha=1.0, beta=1.0)(x)
    expected = [1 / (1 + 1), 2 / (1 + 1 + 4), 3 / (1 + 4 + 9)]
    np.testing.assert_allclose(np.ravel(y), expected, rtol=1e-6)


def test_maps_do_not_see_each_other():
    """A pixel of one map changes no other map."""
    layer = SpatialResponseNormalization(alpha=1.0)
    x = normal(1, 4, 4, 3)
    changed = x.copy()
    changed[0, 1, 1, 1] += 9
    before, after = layer(x).numpy(), layer(changed).numpy()
    assert np.array_equal(before[..., ::2], after[..., ::2])
    assert not np.any(before[..., 1] == after[..., 1])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16"])
def test_large_half_precision_values_stay_finite(dtype):
    """Squares that overflow float16 do no harm; values stay within its rounding."""
    layer = SpatialResponseNormalization(dtype=dtype)
    x = tf.cast(normal(1, 6, 6, 4, scale=3000), layer.compute_dtype)
    y, gradient = value_and_gradient(layer, x, tf.ones_like(x))
    assert y.dtype == x.dtype == gradient.dtype
    assert np.all(np.isfinite(tf.cast(gradient, "float32")))
    expected = reference.spatial_lrn(tf.cast(x, "float64"))
    # bfloat16 keeps 8 bits, float16 11.
    tolerance = 2**-8 if dtype == "bfloat16" else 2**-11
    np.testing.assert_allclose(tf.cast(y, "float64"), expected, rtol=tolerance)


def test_float64_stays_float64():
    """Under a float64 policy, nothing is rounded to float32."""
    x = normal(2, 4, 3, 2, dtype="float64")
    layer = SpatialResponseNormalization(alpha=0.5, dtype="float64")
    expected = reference.spatial_lrn(x, alpha=0.5)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-14)


def test_from_caffe_scales_the_mean():
    """Caffe's alpha is divided by the area of the window, and 1 is added."""
    layer = SpatialResponseNormalization.from_caffe(
        local_size=3, alpha=5e-5, beta=0.5, name="norm1"
    )
    config = layer.get_config()
    assert config["alpha"] == pytest.approx(5e-5 / 9, rel=1e-12)
    assert (config["pool_size"], config["bias"], config["beta"]) == (3, 1.0, 0.5)
    assert layer.name == "norm1"
    with pytest.raises(ValueError, match=r"at least 1; received local_size=0"):
        SpatialResponseNormalization.from_caffe(0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("pool_size", value) for value in (0, -1, 2.5, (3,), (3, 0), None, True)],
        *[("bias", value) for value in (0, -1.0, float("nan"), "1", True)],
        *[("alpha", value) for value in (-1e-9, float("inf"), None)],
        *[("beta", value) for value in (-0.5, "x")],
        *[("data_format", value) for value in ("NHWC", 1)],
    ],
)
def test_refuses_bad_arguments(name, value):
    """A bad argument's error says its name and the value received."""
    received = f"{name} .*{name}={re.escape(repr(value))}"
    with pytest.raises((TypeError, ValueError), match=received):
        SpatialResponseNormalization(**{name: value})


def test_refuses_inputs():
    """Inputs without height and width are refused."""
    message = r"a batch, a height, a width and channels.*\(None, 4, 5\)"
    with pytest.raises(ValueError, match=message):
        SpatialResponseNormalization().build((None, 4, 5))


@given(spatial_arguments(), st.sampled_from([None, "channels_first"]))
def test_config_repeats_every_argument(arguments, data_format):
    """A layer made of another's configuration is its equal."""
    layer = SpatialResponseNormalization(
        **arguments, data_format=data_format, name="a", trainable=False, dtype="float16"
    )
    config = layer.get_config()
    assert arguments.items() <= config.items()
    assert config["data_format"] == (data_format or "channels_last")
    assert (config["name"], config["trainable"]) == ("a", False)
    assert config["dtype"]["config"]["name"] == "float16"
    assert SpatialResponseNormalization.from_config(config).get_config() == config


def test_file_round_trip(tmp_path):
    """A model with the layer in it loads with no custom objects, outputs unchanged."""
    model = keras.Sequential(
        [keras.Input((None, None, 2)), SpatialResponseNormalization((3, 2), alpha=0.1)]
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = normal(1, 5, 4, 2)
    assert np.array_equal(model(x), loaded(x))
