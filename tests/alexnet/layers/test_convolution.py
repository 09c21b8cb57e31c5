"""GroupedConv2D against Keras' own convolution."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from alexnet.layers.grouped_conv import GroupedConv2D


def images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_equals_keras(padding):
    """Values and gradients are those of Keras' Conv2D with the same weights."""
    arguments = {"strides": 2, "padding": padding, "groups": 3}
    ours, theirs = (
        kind(6, (3, 2), **arguments) for kind in (GroupedConv2D, keras.layers.Conv2D)
    )
    x = images(2, 7, 8, 9)
    ours.build(x.shape)
    theirs.build(x.shape)
    assert ours.kernel.shape == theirs.kernel.shape == (3, 2, 3, 6)
    theirs.set_weights(ours.get_weights())
    results = []
    for layer in (ours, theirs):
        with tf.GradientTape() as tape:
            y = layer(x)
            loss = tf.reduce_sum(y**2)
        results.append((y, *tape.gradient(loss, layer.trainable_weights)))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_pads_each_side_by_its_own_amount():
    """((top, bottom), (left, right)) equals ZeroPadding2D and no further padding."""
    padding = ((0, 1), (2, 3))
    x = images(1, 5, 6, 2)
    ours = GroupedConv2D(4, 3, padding=padding)
    y = ours(x)
    theirs = keras.layers.Conv2D(4, 3)
    theirs.build(x.shape)
    theirs.set_weights(ours.get_weights())
    expected = theirs(keras.layers.ZeroPadding2D(padding)(x))
    # The same operations in the same order.
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


def test_unknown_sizes_stay_unknown():
    """Height and width that are None are None in the output, the others exact."""
    layer = GroupedConv2D(4, 3, strides=2, padding=1)
    assert layer.compute_output_shape((None, None, 9, 2)) == (None, None, 5, 4)
    assert layer(keras.Input((None, 9, 2))).shape == (None, None, 5, 4)


def test_config_round_trip():
    """A layer made of another's configuration is its equal."""
    layer = GroupedConv2D(4, 3, padding=((0, 1), (2, 3)), groups=2, name="a")
    config = layer.get_config()
    assert config["padding"] == ((0, 1), (2, 3))
    assert GroupedConv2D.from_config(config).get_config() == config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dilation_rate", 2),
        ("data_format", "channels_first"),
        ("padding", "causal"),
        ("padding", -1),
    ],
)
def test_refuses_what_it_does_not_do(name, value):
    """Dilation, channels first and unknown paddings are refused, not ignored."""
    with pytest.raises(ValueError, match=f"{name} must .*received {name}="):
        GroupedConv2D(4, 3, **{name: value})


def test_refuses_channels_that_groups_do_not_divide():
    """Input channels that the groups do not divide are refused when building."""
    with pytest.raises(ValueError, match=r"channels.*evenly divisible.*groups=2"):
        GroupedConv2D(4, 3, groups=2).build((None, 8, 8, 3))
