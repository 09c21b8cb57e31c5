"""ConvBlock: shapes, values, configuration, refusals, training, files."""

from __future__ import annotations

import inspect
import json
import re

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from strategies import STAGES, block_arguments

from alexnet import ConvBlock, LocalResponseNormalization, SpatialResponseNormalization
from alexnet.layers.norms import ACROSS, DEFAULTS, WITHIN, norms_of

ARGUMENTS = list(inspect.signature(ConvBlock).parameters)


def images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def input_for(block, arguments, extra=(0, 0), batch=2):
    """Images a little larger than the smallest that the block takes."""
    height, width = block.smallest_input
    return images(batch, height + extra[0], width + extra[1], 2 * arguments["groups"])


extras = st.tuples(st.integers(0, 7), st.integers(0, 7))


@given(block_arguments(), extras)
def test_output_is_the_references(arguments, extra):
    """Shape and values are predicted: by the layer, and by float64 NumPy.

    Tolerance: 1e-5 of the largest value, for float32 sums in another order.
    """
    block = ConvBlock(**arguments)
    x = input_for(block, arguments, extra)
    y = block(x)
    conv = next(layer for layer in block.stages if layer.name == "conv")
    bias = conv.bias if arguments["use_bias"] else np.zeros(arguments["filters"])
    expected = reference.conv_block(x, arguments, conv.kernel, bias)
    assert block.compute_output_shape(x.shape) == y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@given(block_arguments(), extras)
def test_symbolic_shapes_are_exact(arguments, extra):
    """A functional model knows the output shape; unknown sizes stay unknown."""
    block = ConvBlock(**arguments)
    shape = input_for(block, arguments, extra).shape[1:]
    known = block(keras.Input(shape)).shape
    assert known == block.compute_output_shape((None, *shape))
    unknown = ConvBlock(**arguments)(keras.Input((None, None, shape[-1]))).shape
    assert unknown == (None, None, None, arguments["filters"])


@given(block_arguments(), st.sampled_from([0, 1]))
def test_smallest_input_works_and_one_pixel_less_is_refused(arguments, axis):
    """A block that would leave no pixels says which size would do, and it does."""
    block = ConvBlock(**arguments)
    shape = input_for(block, arguments).shape
    height, width = block.smallest_input
    assert min(block.compute_output_shape(shape)[1:3]) >= 1
    assert min(block(images(*shape)).shape[1:3]) >= 1
    less = [*shape]
    less[1 + axis] -= 1
    received = re.escape(str(tuple(less)))
    message = f"at least {height} by {width} pixels.*received shape {received}"
    with pytest.raises(ValueError, match=message):
        block.compute_output_shape(less)
    with pytest.raises(ValueError, match=message):
        ConvBlock(**arguments)(images(*less))


@given(block_arguments())
def test_config_repeats_every_argument(arguments):
    """A configuration holds every argument as given, and makes an equal block."""
    given = {**arguments, "number": 3, "suffix": "b", "name": "a", "trainable": False}
    block = ConvBlock(**given, dtype="mixed_bfloat16")
    config = block.get_config()
    assert sorted(config) == sorted(ARGUMENTS)
    assert {key: config[key] for key in given} == given
    assert config["dtype"]["config"]["name"] == "mixed_bfloat16"
    for name in set(ARGUMENTS) - {"dtype"}:
        assert getattr(block, name) == given[name]
    again = ConvBlock.from_config(config)
    assert again.get_config() == config
    assert [type(layer) for layer in again.stages] == [
        type(layer) for layer in block.stages
    ]


def test_config_is_a_copy():
    """Changing a configuration does not change the block, nor the argument."""
    norm = {"alpha": 0.5}
    block = ConvBlock(4, 3, norm=norm)
    block.get_config()["norm"]["alpha"] = 7
    assert block.get_config()["norm"] == norm == {"alpha": 0.5}
    norm["alpha"] = 8
    assert block.get_config()["norm"] == {"alpha": 0.5}


def test_stages_are_named_and_in_order():
    """Stages follow the declared order and have the block's number."""
    order = ("pool", "norm", "conv", "activation")
    block = ConvBlock(4, 3, order=order, norm={}, activation="tanh", number=2)
    assert [layer.name for layer in block.stages] == [
        "pool2",
        "norm2",
        "conv2",
        "tanh2",
    ]
    assert [name for name, _ in block.windows] == ["pool2", "conv2"]
    names = [layer.name for layer in ConvBlock(4, 3, number=5, suffix="b").stages]
    assert names == ["conv5b", "relu5b", "pool5b"]
    bare = ConvBlock(4, 3, activation=None, pool=None)
    assert [layer.name for layer in bare.stages] == ["conv"]


def test_norm_is_a_dict_or_a_layer():
    """A dict gives LRN; a Keras layer gives each block one like it, of its own."""
    block = ConvBlock(4, 3, norm={"depth_radius": 1, "groups": 2})
    lrn = block.stages[2]
    assert isinstance(lrn, LocalResponseNormalization)
    assert (lrn.depth_radius, lrn.groups, lrn.bias) == (1, 2, 2.0)

    given = keras.layers.BatchNormalization(momentum=0.5)
    one, other = (ConvBlock(4, 3, norm=given) for _ in range(2))
    assert one.stages[2].momentum == 0.5
    assert one.stages[2] is not other.stages[2]
    x = images(2, 8, 8, 3)
    one(x, training=False)
    assert not np.any(one.stages[2].moving_mean)
    one(x, training=True)
    assert np.all(one.stages[2].moving_mean)


def test_norms_follow_one_another():
    """A sequence gives one layer each, in order; `pool_size` marks those in maps."""
    batch_norm = keras.layers.BatchNormalization()
    norm = [{"groups": 2}, {"pool_size": (3, 2)}, batch_norm]
    block = ConvBlock(4, 3, norm=norm, number=2, dtype="mixed_bfloat16")
    assert [(layer.name, type(layer)) for layer in block.stages[2:5]] == [
        ("norm2", LocalResponseNormalization),
        ("norm2_2", SpatialResponseNormalization),
        ("norm2_3", keras.layers.BatchNormalization),
    ]
    assert [layer.compute_dtype for layer in block.stages[2:5]] == [
        "bfloat16",
        "bfloat16",
        "float32",
    ]
    again = ConvBlock.from_config(json.loads(json.dumps(block.get_config())))
    assert again.get_config() == block.get_config()
    assert [layer.name for layer in ConvBlock(4, 3, norm=()).stages] == [
        "conv",
        "relu",
        "pool",
    ]


@pytest.mark.parametrize(
    ("kind", "layer"),
    [(ACROSS, LocalResponseNormalization), (WITHIN, SpatialResponseNormalization)],
)
def test_norms_have_the_defaults_of_their_layers(kind, layer):
    """What a norm's dict leaves out is filled in with the layer's own default."""
    parameters = inspect.signature(layer).parameters
    own = {name: parameter.default for name, parameter in parameters.items()}
    for name in ("data_format", "name", "trainable", "dtype"):
        del own[name]
    assert own == DEFAULTS[kind]
    (norm,) = norms_of({"pool_size": 5} if kind == WITHIN else {})
    assert norm == (kind, own)


def test_channels_last_whatever_the_global_setting():
    """A global image_data_format of "channels_first" changes nothing."""
    keras.config.set_image_data_format("channels_first")
    try:
        block = ConvBlock(4, 3, norm=({}, {"pool_size": 3}), pool="average")
        assert block(images(1, 9, 8, 3)).shape == (1, 4, 3, 4)
    finally:
        keras.config.set_image_data_format("channels_last")


BAD = [
    *[("filters", value) for value in (0, -3, 2.5, "8", None, True)],
    *[("kernel_size", value) for value in (0, (3, 0), (3,), 2.5, None)],
    *[("strides", value) for value in (0, (1, 2, 3), "1")],
    *[("padding", value) for value in (-1, "full", 1.5, (1, 2), None)],
    *[("groups", value) for value in (0, 3, 1.0)],
    *[("order", v) for v in (("conv",), STAGES[1:], (*STAGES, "conv"), "conv", None)],
    *[("activation", value) for value in ("rulu", 7, keras.layers.ReLU())],
    *[("norm", value) for value in ("lrn", 3, {"dtype": "float16"}, {"name": "a"})],
    *[("norm", (value,)) for value in ("lrn", None, ({},), {"name": "a"})],
    *[("pool", value) for value in ("min", "", True, 2)],
    *[("pool_size", value) for value in (0, "3", (2, -2))],
    *[("pool_strides", value) for value in (0, None)],
    *[("pool_padding", value) for value in (1, "full", None)],
    *[("use_bias", value) for value in (0, None, "no")],
    *[("kernel_initializer", value) for value in ("he", None)],
    *[("bias_initializer", value) for value in ("onez", 0.1)],
    *[("number", value) for value in (0, "1", 1.0)],
    *[("suffix", value) for value in ("B", "1", "a b", None, 1)],
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_refuses_bad_arguments(name, value):
    """A bad argument's error says its name and the value received."""
    received = f"{name} .*received.*{name}={re.escape(repr(value))}"
    with pytest.raises((TypeError, ValueError), match=received):
        ConvBlock(**{"filters": 4, "kernel_size": 3, name: value})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"norm": {"radius": 2}}, "Normalization keyword argument 'radius'"),
        ({"norm": {"alpha": -1}}, "alpha .*alpha=-1"),
        ({"kernel": 3}, "unexpected keyword argument 'kernel'"),
    ],
)
def test_refuses_unknown_arguments(arguments, message):
    """Arguments that the block or its normalization do not have are refused."""
    with pytest.raises((TypeError, ValueError), match=message):
        ConvBlock(**{"filters": 4, "kernel_size": 3, **arguments})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((None, 8, 8, 3), r"groups must divide.*groups=2.*\(None, 8, 8, 3\)"),
        ((None, 8, 8, None), r"must be known.*\(None, 8, 8, None\)"),
        ((None, 8, 8), r"\(batch, height, width, channels\).*3 dimensions"),
    ],
)
def test_refuses_inputs(shape, message):
    """Inputs of another rank, or with channels that groups do not divide, fail."""
    with pytest.raises(ValueError, match=message):
        ConvBlock(4, 3, groups=2).compute_output_shape(shape)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_groups_and_lrn_train(dtype):
    """A block with groups and LRN learns under every policy: its loss halves."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            ConvBlock(8, 3, groups=2, norm={"groups": 2, "alpha": 0.1}, dtype=dtype),
            keras.layers.Flatten(dtype=dtype),
            keras.layers.Dense(2, activation="softmax", dtype="float32"),
        ]
    )
    x, y = images(32, 8, 8, 4), np.arange(32) % 2
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    losses = model.fit(x, y, epochs=20, batch_size=32, verbose=0).history["loss"]
    assert np.all(np.isfinite(losses))
    assert losses[-1] < losses[0] / 2
    assert model.layers[0].compute_dtype == dtype.removeprefix("mixed_")


def test_file_round_trip(tmp_path):
    """A model with a block in it loads from its .keras file, outputs unchanged."""
    model = keras.Sequential(
        [
            keras.Input((9, 9, 4)),
            ConvBlock(
                4,
                (3, 2),
                padding=((0, 1), (2, 0)),
                groups=2,
                order=("conv", "norm", "activation", "pool"),
                norm=keras.layers.GroupNormalization(2),
            ),
        ]
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = images(2, 9, 9, 4)
    assert np.array_equal(model(x), loaded(x))
    assert loaded.layers[0].get_config() == model.layers[0].get_config()


def test_exports_to_saved_model(tmp_path):
    """A trained-with-groups block exports and serves the same outputs."""
    model = keras.Sequential(
        [keras.Input((9, 9, 4)), ConvBlock(4, 3, groups=2, norm={"alpha": 0.5})]
    )
    model.export(tmp_path / "saved", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "saved"))
    x = images(2, 9, 9, 4)
    # The same float32 operations, fused differently.
    np.testing.assert_allclose(served.serve(x), model(x), rtol=1e-5, atol=1e-6)
