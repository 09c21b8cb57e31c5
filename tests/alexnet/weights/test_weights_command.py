"""`python -m alexnet import`, and the net of others that it must get right."""

from __future__ import annotations

import io
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import weight_files as files
from PIL import Image

from alexnet import AlexNet
from alexnet.__main__ import main
from alexnet.weights import read_mean

REPOSITORY = Path(__file__).resolve().parents[3]
QUICK = [
    ((32, 3, 5, 5), (32,)),
    ((32, 32, 5, 5), (32,)),
    ((64, 32, 5, 5), (64,)),
    ((64, 1024), (64,)),
    ((10, 64), (10,)),
]
QUICK_NAMES = ("conv1", "conv2", "conv3", "ip1", "ip2")


@pytest.fixture
def quick(tmp_path):
    """A `.caffemodel` of random weights for preset cifar10_quick."""
    path = tmp_path / "quick.caffemodel"
    path.write_bytes(files.caffe_v1(files.weights(QUICK), QUICK_NAMES, norms=()))
    return path


def test_import_writes_a_model(tmp_path, quick, capsys):
    """The command writes a model that computes what `from_preset` loads."""
    output = tmp_path / "quick.keras"
    options = ["import", str(quick), "--preset", "cifar10_quick", "-o", str(output)]
    assert main(options) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "Caffe's .caffemodel, trained on RGB; 145,578 parameters" in printed.out
    images = np.random.default_rng(0).uniform(size=(2, 32, 32, 3)).astype("f4")
    same = AlexNet.from_preset("cifar10_quick", weights=quick)
    assert np.array_equal(keras.saving.load_model(output)(images), same(images))


def test_import_options(tmp_path, quick, capsys):
    """Classes, image shape, channels and weights alone are options of the command."""
    output = tmp_path / "quick.weights.h5"
    options = ["import", str(quick), "--preset", "cifar10_quick", "-o", str(output)]
    options += ["--num-classes", "3", "--image-shape", "32", "32", "1"]
    assert main([*options, "--sum-channels", "--channel-order", "bgr"]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("Warning: The classifier of ")
    assert "has 10 classes, the model 3: layer 'logits' starts afresh" in printed.err
    assert "trained on BGR" in printed.out
    model = AlexNet.from_preset(
        "cifar10_quick", image_shape=(32, 32, 1), num_classes=3, weights=output
    )
    kernel = files.weights(QUICK)[0][0].sum(1).transpose(1, 2, 0)
    np.testing.assert_allclose(
        model.get_layer("conv1").get_weights()[0][:, :, 0], kernel, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--preset": "quick"}, "ValueError: There is no preset 'quick'"),
        ({"--output": "net.onnx"}, "must end in .keras or .weights.h5"),
        ({"--sha256": "00"}, "WeightsError: Cannot load .* its SHA-256 should be 00"),
        ({"--preset": "notebook"}, "preset 'cifar10_quick' matches this file"),
        ({"--num-classes": "0"}, "num_classes must be at least 1"),
        ({"--output": "none/net.keras"}, "received .*, which is in no directory. Make"),
        (
            {"file": "none.pth"},
            r"^WeightsError: Cannot load none.pth: it cannot be read .*unchanged\.$",
        ),
        ({"--output": ".keras/.."}, "must end in .keras or .weights.h5"),
        (
            {"file": "imagenet"},
            "no weights by the name .imagenet. for preset .cifar10_q",
        ),
    ],
)
def test_import_says_what_is_wrong(tmp_path, quick, capsys, changes, message):
    """What cannot be done is one message on stderr, status 1, and no file."""
    options = {"--preset": "cifar10_quick", "--output": "net.keras", **changes}
    file = options.pop("file", str(quick))
    options["--output"] = str(tmp_path / options["--output"])
    arguments = [text for option in options.items() for text in option]
    assert main(["import", file, *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert re.search(message, printed.err), printed.err
    assert list(tmp_path.iterdir()) == [quick]


def test_import_replaces_a_file_whole_or_not_at_all(tmp_path, quick, capfd):
    """A model that cannot be written leaves what was there, and nothing else."""
    output = tmp_path / "out" / "net.keras"
    output.parent.mkdir()
    output.write_bytes(b"before")
    command = [sys.executable, "-m", "alexnet", "import", str(quick)]
    command += ["--preset", "cifar10_quick", "-o", str(output)]
    # A file of at most 40 KiB: a quarter of the model.
    limited = ["bash", "-c", 'ulimit -f 40; exec "$@"', "bash", *command]
    done = subprocess.run(limited, cwd=REPOSITORY, timeout=120, check=False)
    assert done.returncode == 1
    assert "File too large" in capfd.readouterr().err.splitlines()[-1]
    assert output.read_bytes() == b"before"
    assert list(output.parent.iterdir()) == [output]
    assert main(command[3:]) == 0
    assert keras.saving.load_model(output).count_params() == 145_578


def data_folder():
    """Return the folder of a net trained by others and its images; None without it."""
    folder = os.environ.get("ALEXNET_TEST_DATA")
    if folder is None and os.environ.get("CI") == "true":
        beside = REPOSITORY.parent / "shared" / "data"
        folder = beside if (beside / "caffe_cifar10_quick").is_dir() else None
    return folder and Path(folder)


@pytest.mark.long
@pytest.mark.skipif(
    data_folder() is None,
    reason="needs ALEXNET_TEST_DATA, a folder with cifar10_jpeg.npz and "
    "caffe_cifar10_quick/ (a net trained by others and its mean image)",
)
def test_a_net_trained_by_others(tmp_path):
    """Caffe's own cifar10_quick keeps its accuracy, on RGB less the mean alone."""
    data = data_folder()
    net = data / "caffe_cifar10_quick"
    output = str(tmp_path / "quick.keras")
    file = str(net / "cifar10_quick_iter_5000.caffemodel")
    assert main(["import", file, "--preset", "cifar10_quick", "-o", output]) == 0
    model = keras.saving.load_model(output)
    with np.load(data / "cifar10_jpeg.npz") as arrays:
        raw, offsets, labels = (
            arrays[f"test_{name}"] for name in ("jpeg", "offsets", "labels")
        )
    images = np.stack(
        [
            np.asarray(Image.open(io.BytesIO(raw[a:b].tobytes())).convert("RGB"))
            for a, b in itertools.pairwise(offsets)
        ]
    ).astype("f4")
    mean = read_mean(net / "mean.binaryproto")

    def accuracy(inputs):
        outputs = model.predict(inputs, batch_size=500, verbose=0)
        return 100 * np.mean(outputs.argmax(1) == labels)

    assert len(images) == 10_000
    figures = {
        "RGB less the mean": accuracy(images - mean),
        "BGR less the mean": accuracy((images - mean)[..., ::-1]),
        "RGB": accuracy(images),
    }
    print(figures)
    # Decoders of JPEG differ in the last bit: a few images of 10,000.
    assert figures["RGB less the mean"] == pytest.approx(73.95, abs=0.3)
    assert figures["BGR less the mean"] == pytest.approx(58.9, abs=0.5)
    assert figures["RGB"] == pytest.approx(52.1, abs=0.5)
