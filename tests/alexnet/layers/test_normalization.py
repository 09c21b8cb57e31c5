"""LocalResponseNormalization against TensorFlow's and against NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from strategies import lrn_arguments

from alexnet import LocalResponseNormalization

# float32 against float64 or another order of summing.
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


@given(lrn_arguments(), st.integers(1, 12))
def test_equals_tensorflow(arguments, channels):
    """Values and gradients are TensorFlow's, whose alpha scales the sum too."""
    x, upstream = normal(2, 3, 2, channels, scale=2), normal(2, 3, 2, channels)
    native = {key: arguments[key] for key in ("depth_radius", "bias", "alpha", "beta")}

    def tensorflows(x):
        return tf.nn.local_response_normalization(x, **native)

    layer = LocalResponseNormalization(**arguments)
    for ours, theirs in zip(
        value_and_gradient(layer, x, upstream),
        value_and_gradient(tensorflows, x, upstream),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, **CLOSE)


@given(
    lrn_arguments(groups=(1, 2, 3)),
    st.integers(1, 4),
    st.lists(st.integers(1, 3), max_size=3),
    st.sampled_from(["channels_last", "channels_first"]),
    st.booleans(),
)
def test_equals_reference(arguments, width, spatial, data_format, jit):
    """Values and gradients are NumPy's, for any rank, grouping and channel axis."""
    shape = (2, *spatial, width * arguments["groups"])
    x, upstream = normal(*shape, scale=2), normal(*shape)
    layer = LocalResponseNormalization(**arguments, data_format=data_format)

    def function(x):
        if data_format == "channels_last":
            return layer(x)
        y = layer(tf.experimental.numpy.moveaxis(x, -1, 1))
        return tf.experimental.numpy.moveaxis(y, 1, -1)

    if jit:
        function = tf.function(function, jit_compile=True)
    y, gradient = value_and_gradient(function, x, upstream)
    np.testing.assert_allclose(y, reference.lrn(x, **arguments), **CLOSE)
    np.testing.assert_allclose(
        gradient, reference.lrn_gradient(x, upstream, **arguments), **CLOSE
    )


def test_window_stops_at_the_edge_of_its_group():
    """A channel in one group does not change the channels of another."""
    layer = LocalResponseNormalization(depth_radius=5, alpha=1.0, groups=2)
    x = normal(1, 6)
    changed = x.copy()
    changed[:, 2] += 9  # The last channel of the first group.
    before, after = layer(x).numpy(), layer(changed).numpy()
    assert np.array_equal(before[:, 3:], after[:, 3:])
    assert not np.any(before[:, :3] == after[:, :3])


def test_reference_gradient_is_the_slope_of_the_reference():
    """The written-out gradient of the reference agrees with finite differences."""
    arguments = {"bias": 1.5, "alpha": 0.3, "beta": 0.75, "groups": 2}
    x, upstream = normal(1, 6, dtype="float64"), normal(1, 6, dtype="float64")
    gradient = reference.lrn_gradient(x, upstream, **arguments)
    for c in range(6):
        step = np.eye(6)[c] * 1e-6
        above, below = (reference.lrn(x + s, **arguments) for s in (step, -step))
        slope = np.sum(upstream * (above - below)) / 2e-6
        np.testing.assert_allclose(gradient[0, c], slope, rtol=1e-7)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16"])
def test_large_half_precision_values_stay_finite(dtype):
    """Squares that overflow float16 do no harm; values stay within its rounding."""
    layer = LocalResponseNormalization(alpha=1e-4, dtype=dtype)
    x = tf.cast(normal(1, 4, 4, 8, scale=3000), layer.compute_dtype)
    y, gradient = value_and_gradient(layer, x, tf.ones_like(x))
    assert y.dtype == x.dtype == gradient.dtype
    assert np.all(np.isfinite(tf.cast(gradient, "float32")))
    expected = reference.lrn(tf.cast(x, "float64"))
    # bfloat16 keeps 8 bits, float16 11.
    tolerance = 2**-8 if dtype == "bfloat16" else 2**-11
    np.testing.assert_allclose(tf.cast(y, "float64"), expected, rtol=tolerance)


def test_float64_stays_float64():
    """Under a float64 policy, nothing is rounded to float32."""
    x = normal(2, 3, 3, 7, dtype="float64")
    layer = LocalResponseNormalization(alpha=0.5, dtype="float64")
    expected = reference.lrn(x, alpha=0.5)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-14)


def test_from_caffe_scales_the_mean():
    """Caffe's alpha is divided by the size of the window, and k is the bias."""
    layer = LocalResponseNormalization.from_caffe(
        local_size=3, alpha=0.6, beta=0.5, k=1.5, groups=2, name="norm1"
    )
    config = layer.get_config()
    assert config["depth_radius"] == 1
    assert config["alpha"] == pytest.approx(0.2, rel=1e-12)
    assert (config["beta"], config["bias"], config["groups"]) == (0.5, 1.5, 2)
    assert layer.name == "norm1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"local_size": 4}, "local_size must be odd.*local_size=4. Use 3 or 5"),
        ({"local_size": 0}, "local_size must be at least 1.*local_size=0"),
        ({"alpha": -1}, "alpha must be .*at least 0.*alpha=-1"),
        ({"k": 0}, "bias must be .*greater than 0.*bias=0"),
    ],
)
def test_from_caffe_refuses(arguments, message):
    """Even and empty windows, and constants out of range, are refused."""
    with pytest.raises(ValueError, match=message):
        LocalResponseNormalization.from_caffe(**arguments)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("depth_radius", value) for value in (-1, 1.5, None, True)],
        *[("bias", value) for value in (0, -1.0, float("nan"), "1", True)],
        *[("alpha", value) for value in (-1e-9, float("inf"), None)],
        *[("beta", value) for value in (-0.5, "x")],
        *[("groups", value) for value in (0, 2.0)],
        *[("data_format", value) for value in ("NHWC", 1)],
    ],
)
def test_refuses_bad_arguments(name, value):
    """A bad argument's error says its name and the value received."""
    with pytest.raises((TypeError, ValueError), match=f"{name} .*{name}={value!r}"):
        LocalResponseNormalization(**{name: value})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((None, 4, 4, 5), r"groups must divide.*groups=2.*\(None, 4, 4, 5\)"),
        ((None, 4, 4, None), r"must be known.*\(None, 4, 4, None\)"),
        ((None,), r"a batch and a channel dimension.*\(None,\)"),
    ],
)
def test_refuses_inputs(shape, message):
    """Channels that are unknown or that groups do not divide are refused."""
    with pytest.raises(ValueError, match=message):
        LocalResponseNormalization(groups=2).build(shape)


@given(lrn_arguments(groups=(1, 2)), st.sampled_from([None, "channels_first"]))
def test_config_repeats_every_argument(arguments, data_format):
    """A layer made of another's configuration is its equal."""
    layer = LocalResponseNormalization(
        **arguments, data_format=data_format, name="a", trainable=False, dtype="float16"
    )
    config = layer.get_config()
    assert arguments.items() <= config.items()
    assert config["data_format"] == (data_format or "channels_last")
    assert (config["name"], config["trainable"]) == ("a", False)
    assert config["dtype"]["config"]["name"] == "float16"
    assert LocalResponseNormalization.from_config(config).get_config() == config


@pytest.mark.parametrize("jit_compile", [False, True])
def test_trains_on_images_of_any_size(jit_compile):
    """Height and width may be unknown until a batch comes."""
    model = keras.Sequential(
        [
            keras.Input((None, None, 4)),
            LocalResponseNormalization(groups=2),
            keras.layers.Conv2D(2, 1),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    model.compile("sgd", "mse", jit_compile=jit_compile)
    for side in (3, 5):
        loss = model.train_on_batch(normal(2, side, side + 1, 4), np.ones((2, 2)))
        assert np.isfinite(loss)
    assert model.layers[0].output.shape == (None, None, None, 4)


def test_integers_are_normalized_as_floats():
    """Whole numbers come out as floating point."""
    x = np.arange(8).reshape(2, 4)
    y = LocalResponseNormalization()(x)
    assert y.dtype == "float32"
    np.testing.assert_allclose(y, reference.lrn(x), **CLOSE)


def test_second_gradient_is_the_slope_of_the_first():
    """The gradient can be differentiated, as gradient penalties do."""
    arguments = {"bias": 1.0, "alpha": 0.3, "beta": 0.75}
    layer = LocalResponseNormalization(**arguments, dtype="float64")
    x = tf.constant(normal(1, 5, dtype="float64"))
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            loss = tf.reduce_sum(layer(x) ** 2)
        penalty = tf.reduce_sum(inner.gradient(loss, x) ** 2)
    second = outer.gradient(penalty, x)

    def expected(x):
        upstream = 2 * reference.lrn(x, **arguments)
        return np.sum(reference.lrn_gradient(x, upstream, **arguments) ** 2)

    for c in range(5):
        step = np.eye(5)[c] * 1e-5
        slope = (expected(x + step) - expected(x - step)) / 2e-5
        np.testing.assert_allclose(second[0, c], slope, rtol=1e-6)
