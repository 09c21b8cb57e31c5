"""Published weights by name: download, hash, conversion, cache."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import weight_files as files

from alexnet import AlexNet
from alexnet.weights import WeightsError

REPOSITORY = Path(__file__).resolve().parents[3]
# A process whose Keras keeps its files in a directory of the test.
SCENARIO = """
import hashlib, json, pathlib, socket, sys, warnings
import keras
import numpy as np
import weight_files as files
from alexnet import AlexNet
from alexnet.data.images import downloads
from alexnet.weights import WeightsError

warnings.simplefilter("ignore")
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
cache = folder / "keras" / "alexnet"
published = folder / "published" / name
entry = {
    "url": published.as_uri(),
    "sha256": hashlib.sha256(published.read_bytes()).hexdigest(),
}
far = {"url": "http://127.0.0.1:9/far.pth", "sha1": "00"}


class Tiny(AlexNet):
    presets = {
        "tiny": {"arguments": files.TINY_TORCH, "weights": {"imagenet": entry}},
        "far": {"arguments": files.TINY_TORCH, "weights": {"imagenet": far}},
    }


def attempt(preset, **overrides):
    try:
        return Tiny.from_preset(preset, weights="imagenet", **overrides)
    except WeightsError as error:
        return str(error)


images = np.load(folder / "images.npy")
facts = {"far": attempt("far")}
np.save(folder / "first.npy", attempt("tiny")(images))
facts["cached"] = sorted(path.name for path in cache.iterdir())
(kept,) = cache.glob("*.weights.h5")
facts["kept at"] = kept.stat().st_mtime_ns
(folder / "published" / name).rename(folder / "hidden")
(cache / name).unlink()
np.save(folder / "again.npy", attempt("tiny")(images))
facts["kept at again"] = kept.stat().st_mtime_ns
facts["other classes"] = attempt("tiny", num_classes=3).output.shape[-1]
facts["misfit"] = attempt("tiny", image_shape=(40, 40, 3))
damaged = bytearray(kept.read_bytes())
damaged[-1] ^= 1
kept.write_bytes(damaged)
facts["offline"] = attempt("tiny")
(cache / name).write_bytes((folder / "hidden").read_bytes())
np.save(folder / "put.npy", attempt("tiny")(images))
entry["sha256"] = "00"
facts["published anew"] = "kept" if "The sha256" not in attempt("tiny") else "converted"
entry["sha256"] = hashlib.sha256((folder / "hidden").read_bytes()).hexdigest()
kept.with_suffix(".sha256").write_bytes(bytes([255, 254]))
(cache / name).write_bytes((folder / "hidden").read_bytes())
np.save(folder / "record.npy", attempt("tiny")(images))
first = Tiny


class Tiny(AlexNet):
    # Another class of this name, with other names of the layers.
    presets = first.presets

    def draw_head(self, inputs):
        outputs = keras.layers.Flatten(name="flatten")(inputs)
        for number, units in enumerate((10, 7)):
            outputs = keras.layers.Dense(units, "relu", name=f"hidden{number}")(outputs)
        return keras.layers.Dense(self.num_classes, name="logits")(outputs)


np.save(folder / "renamed.npy", attempt("tiny")(images))
kept.unlink()
(cache / name).write_bytes((folder / "hidden").read_bytes()[:-1])
facts["hash"] = attempt("tiny")
facts["after"] = sorted(path.name for path in cache.iterdir())

# A server that accepts and says nothing.
server = socket.create_server(("127.0.0.1", 0))
far["url"] = f"http://127.0.0.1:{server.getsockname()[1]}/far.pth"
downloads.STALLED_S = 0.5
facts["stalled"] = attempt("far")
server.close()
cache.joinpath("far.pth").unlink(missing_ok=True)
# A directory where the file should be.
cache.joinpath("far.pth").mkdir()
facts["directory"] = attempt("far")
print(json.dumps(facts))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What a process found that asked for weights by name, again and again."""
    folder = tmp_path_factory.mktemp("published")
    layers = files.weights(files.TORCH_SHAPES)
    data = files.torch_zip(layers)
    name = "alexnet.pth"
    (folder / "published").mkdir()
    (folder / "published" / name).write_bytes(data)
    images = np.random.default_rng(3).normal(size=(2, 23, 19, 3)).astype("f4")
    np.save(folder / "images.npy", images)
    done = subprocess.run(
        [sys.executable, "-c", SCENARIO, str(folder), name],
        env={
            **os.environ,
            "KERAS_HOME": str(folder / "keras"),
            "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'tests/helpers'}",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outputs = {
        path.stem: np.load(path)
        for path in folder.glob("*.npy")
        if path.stem != "images"
    }
    expected = files.logits(layers, images.transpose(0, 3, 1, 2), groups=1, norm=False)
    facts = json.loads(done.stdout.splitlines()[-1])
    return folder, name, facts, outputs, expected


def test_downloaded_converted_and_kept(run):
    """The file is downloaded, its net computes what it should, both are kept."""
    _, name, facts, outputs, expected = run
    # float32 against float64; logits are of order 1.
    assert abs(outputs["first"] - expected).max() < 1e-5
    stem = name.removesuffix(".pth")
    assert facts["cached"] == sorted(
        [name, f"{stem}-Tiny-tiny.weights.h5", f"{stem}-Tiny-tiny.weights.sha256"]
    )


def test_converted_once(run):
    """The second time needs neither the network nor the published file."""
    _, _, facts, outputs, _ = run
    assert (outputs["again"] == outputs["first"]).all()
    assert facts["kept at"] == facts["kept at again"]
    assert facts["other classes"] == 3


def test_without_network(run):
    """Without a network the message has the address and where to put the file."""
    folder, name, facts, outputs, _ = run
    cache = folder / "keras" / "alexnet"
    assert "Cannot download http://127.0.0.1:9/far.pth" in facts["far"]
    assert f"put it at {cache / 'far.pth'}." in facts["far"]
    # What was kept is damaged, so the published file is needed again.
    assert f"put it at {cache / name}." in facts["offline"]
    assert (outputs["put"] == outputs["first"]).all()


def test_hash_is_checked(run):
    """A file of another hash than was published is refused, and not converted."""
    folder, name, facts, _, _ = run
    digest = hashlib.sha256((folder / "hidden").read_bytes()).hexdigest()
    path = folder / "keras" / "alexnet" / name
    assert f"The sha256 of {path} must be {digest}, but is" in facts["hash"]
    assert not [kept for kept in facts["after"] if kept.endswith(".h5")]


def test_new_file_is_converted_anew(run):
    """What was kept does not stand for a file that was published since."""
    assert run[2]["published anew"] == "converted"


def test_what_does_not_fit_is_said_without_the_published_file(run):
    """Another image size is the caller's mistake, and needs no second conversion."""
    assert "layer 'fc3' needs kernel" in run[2]["misfit"]


def test_a_damaged_record_is_no_obstacle(run):
    """What was kept with a record that cannot be read is converted anew."""
    assert (run[3]["record"] == run[3]["first"]).all()


def test_a_class_of_the_same_name_has_its_own_conversion(run):
    """What another class of this name kept does not stand in the way."""
    # float32 against float64; logits are of order 1.
    assert abs(run[3]["renamed"] - run[4]).max() < 1e-5


def test_downloads_that_stall_or_cannot_be_kept(run):
    """A silent server is given up, a directory in the way is named."""
    folder, _, facts, _, _ = run
    path = folder / "keras" / "alexnet" / "far.pth"
    assert "timed out" in facts["stalled"]
    assert f"put it at {path}." in facts["stalled"]
    assert f"Is a directory: '{path}'" in facts["directory"]


def test_presets_without_published_weights():
    """Asking a preset for weights that it lacks says which presets have some."""
    match = "no weights by the name 'imagenet' for preset .*; there are for 'caffe', "
    with pytest.raises(WeightsError, match=match):
        AlexNet.from_preset("cifar10_quick", weights="imagenet")


def test_published_files():
    """Published weights are those of torchvision's and Caffe's own documentation.

    Figures: pytorch/vision, torchvision/models/alexnet.py; BVLC/caffe, readme.md of
    the two models.
    """
    published = {
        name: row["weights"]
        for name, row in AlexNet.presets.items()
        if "weights" in row
    }
    assert published == {
        "torchvision": {
            "imagenet": {
                "url": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
                "sha256": "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116"
                "cdee02",
            }
        },
        "caffe": {
            "imagenet": {
                "url": "http://dl.caffe.berkeleyvision.org/bvlc_alexnet.caffemodel",
                "sha1": "9116a64c0fbe4459d18f4bb6b56d647b63920377",
            }
        },
        "caffenet": {
            "imagenet": {
                "url": "http://dl.caffe.berkeleyvision.org/"
                "bvlc_reference_caffenet.caffemodel",
                "sha1": "4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46",
            }
        },
    }


@pytest.mark.parametrize("option", [{"sha256": "00"}, {"channel_order": "bgr"}])
def test_what_published_weights_are_is_known(option):
    """A hash and an order of channels are for files of one's own."""
    with pytest.raises(ValueError, match="received weights='imagenet', of which it is"):
        AlexNet.from_preset("torchvision", weights="imagenet", **option)
