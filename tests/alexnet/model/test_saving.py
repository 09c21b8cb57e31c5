"""Files that another process loads with `import alexnet` alone, in safe mode."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from alexnet import AlexNet

REPOSITORY = Path(__file__).resolve().parents[3]
SMALL = {
    "image_shape": (16, 16, 3),
    "num_classes": 3,
    "blocks": (
        {"filters": 8, "kernel_size": 3, "norm": {"alpha": 0.1}},
        {
            "filters": 4,
            "kernel_size": (3, 2),
            "padding": ((0, 1), (2, 0)),
            "groups": 2,
            "order": ("conv", "norm", "activation", "pool"),
            "norm": {"groups": 2},
            "pool": "average",
            "pool_padding": "same",
        },
    ),
    "dense_units": (16, 8),
}
NORMALIZED = (
    {"filters": 4, "kernel_size": 3, "norm": keras.layers.BatchNormalization()},
    {"filters": 4, "kernel_size": 3, "norm": keras.layers.GroupNormalization(2)},
)
# Files of version 0.1, its inputs x and its outputs y.
BEFORE = Path(__file__).parent / "files"
# A module of somebody who extends the network.
USER_NETS = """
import keras
from alexnet import AlexNet


@keras.saving.register_keras_serializable(package="user")
class Shift(keras.layers.Layer):
    def call(self, inputs):
        return inputs + 1


@keras.saving.register_keras_serializable(package="user")
def double(x):
    return 2 * x


@keras.saving.register_keras_serializable(package="user")
class UserNet(AlexNet):
    def __init__(self, width=1, **kwargs):
        self.width = width
        super().__init__(**kwargs)

    def draw_head(self, inputs):
        outputs = keras.layers.GlobalAveragePooling2D(name="mean")(inputs)
        outputs = keras.layers.Dense(self.width, name="fc")(outputs)
        return keras.layers.Dense(self.num_classes, name="logits")(outputs)

    def get_config(self):
        return {**super().get_config(), "width": self.width}
"""
LOAD = """
import json, pathlib, sys
import alexnet
import keras
import numpy as np
folder = pathlib.Path(sys.argv[1])
images = np.load(folder / "images.npy")
before = pathlib.Path(sys.argv[2])
model = keras.saving.load_model(before / "written_before.keras")
layers = keras.saving.load_model(before / "written_before_layers.keras")
given = np.load(before / "written_before_outputs.npz")
np.save(folder / "before.npy", model.predict(given["x"], verbose=0))
facts = {
    "before": {
        "class": type(model).__name__,
        "frozen": [x.name for x in model.layers if x.weights and not x.trainable],
        "layers": [type(layer).__name__ for layer in layers.layers],
    }
}
for path in sorted(folder.glob("*.keras")):
    if path.stem.startswith("user"):
        import user_nets
    model = keras.saving.load_model(path)
    np.save(path.with_suffix(".npy"), model(images))
    facts[path.stem] = {
        "class": type(model).__name__,
        "trainable": [weight.path for weight in model.trainable_weights],
        "policy": model.dtype_policy.name,
        "compiled": model.compiled,
    }
(folder / "facts.json").write_text(json.dumps(facts))
"""


def trained(model):
    """Return the model after a step of training, so that no weight is its first."""
    # Without a graph, which takes longer to make than to run.
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    x = np.random.default_rng(1).normal(size=(8, 16, 16, 3))
    model.fit(x, np.arange(8) % 3, verbose=0)
    return model


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The models, and what another process that loaded their files found."""
    keras.utils.set_random_seed(2012)
    folder = tmp_path_factory.mktemp("models")
    (folder / "user_nets.py").write_text(USER_NETS)
    spec = importlib.util.spec_from_file_location("user_nets", folder / "user_nets.py")
    user_nets = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(user_nets)

    def small(**changes):
        return AlexNet(**{**SMALL, **changes})

    frozen = small()
    frozen.get_layer("conv1").trainable = False
    models = {
        "plain": small(),
        "trained": trained(small(resize=(20, 18), rescale=0.5, dropout=0.1)),
        "layers": trained(small(blocks=NORMALIZED)),
        "untrainable": small(trainable=False),
        "frozen": trained(frozen),
        "bfloat16": trained(small(dtype="mixed_bfloat16")),
        "objects": small(
            dense_activation=keras.activations.gelu,
            dense_kernel_initializer=keras.initializers.HeNormal(),
            adaptive_pool=2,
        ),
        "user": trained(user_nets.UserNet(width=5, **SMALL)),
        "user_objects": small(
            blocks=[{"filters": 4, "kernel_size": 3, "norm": user_nets.Shift()}],
            dense_activation=user_nets.double,
        ),
    }
    images = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype("float32")
    np.save(folder / "images.npy", images)
    for name, model in models.items():
        model.save(folder / f"{name}.keras")
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder), str(BEFORE)],
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{folder}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads((folder / "facts.json").read_text())
    models["before"] = None
    return {
        name: (model, images, np.load(folder / f"{name}.npy"), facts[name])
        for name, model in models.items()
    }


# Weights that training changes: two of each convolution, dense layer and norm.
TRAINABLE = {
    "plain": 10,
    "trained": 10,
    "layers": 14,
    "untrainable": 0,
    "frozen": 8,
    "bfloat16": 10,
    "objects": 10,
    "user": 8,
    "user_objects": 8,
}


@pytest.mark.parametrize("name", TRAINABLE)
def test_loads_in_another_process(models, name):
    """A file loads as the same class, with the same outputs, bit for bit."""
    model, images, outputs, facts = models[name]
    assert np.array_equal(model(images), outputs)
    assert facts["class"] == type(model).__name__
    assert facts["policy"] == model.dtype_policy.name
    assert facts["compiled"] == model.compiled


@pytest.mark.parametrize("name", TRAINABLE)
def test_trainable_weights_survive(models, name):
    """What was frozen, wholly or in part, is frozen in the model that was loaded."""
    model, _, _, facts = models[name]
    assert facts["trainable"] == [weight.path for weight in model.trainable_weights]
    assert len(facts["trainable"]) == TRAINABLE[name]


def test_loads_files_of_the_version_before(models):
    """Files of 0.1, whose modules had other names, load and give the same outputs."""
    _, _, outputs, facts = models["before"]
    # The same float32 operations, by whatever version of TensorFlow.
    expected = np.load(BEFORE / "written_before_outputs.npz")["y"]
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5)
    assert facts == {
        "class": "AlexNet",
        "frozen": ["conv1"],
        "layers": [
            "ConvBlock",
            "LocalResponseNormalization",
            "SpatialResponseNormalization",
        ],
    }


def test_weights_file_round_trip(tmp_path):
    """Weights alone are saved and loaded into a network of the same arguments."""
    one, other = AlexNet(**SMALL), AlexNet(**SMALL)
    one.save_weights(tmp_path / "net.weights.h5")
    other.load_weights(tmp_path / "net.weights.h5")
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_exports_to_saved_model(tmp_path):
    """The whole network, groups and LRN included, exports and serves its outputs."""
    import tensorflow as tf

    model = AlexNet(**SMALL, rescale=0.5)
    model.export(tmp_path / "saved", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "saved"))
    images = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype("float32")
    # The same float32 operations, fused differently.
    np.testing.assert_allclose(served.serve(images), model(images), rtol=1e-5)


def test_legacy_keras_is_refused():
    """With Keras 2 as tf.keras, the import stops, names the variable and its value."""
    done = subprocess.run(
        [sys.executable, "-c", "import alexnet"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_USE_LEGACY_KERAS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    message = "needs Keras 3; received TF_USE_LEGACY_KERAS='1', which makes tf.keras"
    assert message in done.stderr
    assert "Unset the variable." in done.stderr
