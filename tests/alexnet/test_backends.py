"""The network on Keras' other backends computes what it does on TensorFlow."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from search_process import finish, start

REPOSITORY = Path(__file__).resolve().parents[2]
# Networks for small images: grouped convolutions, every kind of norm and pool.
SCENARIO = """
import pathlib, sys
import numpy as np
from alexnet import AlexNet

folder = pathlib.Path(sys.argv[1])
for preset in ("cifar10_quick", "cifar10_full", "net145", "caffenet", "torchvision"):
    shape = (224, 224, 3) if preset == "torchvision" else (70, 67, 3)
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), "uint8")
    net = AlexNet.from_preset(
        preset,
        image_shape=shape,
        num_classes=5,
        include_preprocessing=True,
        classifier_activation=None,
        **({} if preset == "cifar10_full" else {"dense_units": (16,)}),
    )
    weights = folder / f"{preset}.weights.h5"
    if weights.exists():
        net.load_weights(weights)
    else:
        generator = np.random.default_rng(1)
        net.set_weights(
            [
                generator.normal(0, 1 / np.prod(w.shape[:-1]) ** 0.5, w.shape)
                for w in net.get_weights()
            ]
        )
        net.save_weights(weights)
    np.save(folder / f"{preset}-{sys.argv[2]}.npy", net.predict(images, verbose=0))
    net.compile("sgd", "mse")
    loss = net.train_on_batch(images, np.zeros((3, 5), "float32"))
    assert np.isfinite(float(loss))
"""


def run(backend, folder):
    done = subprocess.run(
        [sys.executable, "-c", SCENARIO, str(folder), backend],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {
        path.name.split("-")[0]: np.load(path)
        for path in folder.glob(f"*-{backend}.npy")
    }


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return folder, run("tensorflow", folder)


@pytest.mark.backends
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_outputs_are_tensorflows(backend, expected):
    """Logits of the same weights agree, and a step of training is finite."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    folder, outputs = expected
    found = run(backend, folder)
    assert len(found) == len(outputs) == 5
    for preset, logits in outputs.items():
        assert logits.std() > 1e-3
        # float32 sums in another order.
        error = abs(found[preset] - logits).max() / abs(logits).max()
        assert error < 1e-4, preset


@pytest.mark.backends
def test_a_trial_trains_on_one_gpu(tmp_path):
    """More than one GPU per trial needs TensorFlow; the error comes first."""
    options = ["--directory", "s", "--gpus-per-trial", 2, "--workers", 0]
    process = start(tmp_path, *options, KERAS_BACKEND="jax")
    status, output, errors = finish(process)
    assert (status, output) == (1, "")
    assert "received gpus_per_trial=2.0 with Keras on jax. Lower it, or set" in errors
    assert not (tmp_path / "s").exists()
