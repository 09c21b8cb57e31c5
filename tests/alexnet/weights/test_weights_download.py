"""Published weights by name: download, hash, messages."""

from __future__ import annotations

import hashlib
import socket

import keras
import numpy as np
import pytest
import weight_files as files

from alexnet import AlexNet
from alexnet.data import downloads
from alexnet.weights import WeightsError, load_preset_weights

LAYERS = files.weights(files.TORCH_SHAPES)
IMAGES = np.random.default_rng(3).normal(size=(2, 23, 19, 3)).astype("f4")
# float32 against float64; logits are of order 1.
CLOSE = {"atol": 1e-5}


class Tiny(AlexNet):
    """Counts the networks that are built; `presets` are set by the fixture."""

    built = 0

    def __init__(self, *args, **kwargs):
        type(self).built += 1
        super().__init__(*args, **kwargs)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A published file, preset "tiny" with its weights, and an empty cache."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    path = tmp_path / "published" / "alexnet.pth"
    path.parent.mkdir()
    path.write_bytes(files.torch_zip(LAYERS))
    publish(monkeypatch, path.as_uri(), sha256=digest(path))
    monkeypatch.setattr(Tiny, "built", 0)
    return path


@pytest.fixture
def kept(tmp_path):
    """Where the downloaded file is kept."""
    return tmp_path / "keras" / "alexnet" / "alexnet.pth"


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def publish(monkeypatch, url, **hashes):
    row = {"arguments": files.TINY_TORCH, "weights": {"imagenet": {"url": url}}}
    row["weights"]["imagenet"] |= hashes
    monkeypatch.setattr(Tiny, "presets", {"tiny": row})


def load(**overrides):
    return Tiny.from_preset("tiny", weights="imagenet", **overrides)


def expected():
    return files.logits(LAYERS, IMAGES.transpose(0, 3, 1, 2), groups=1, norm=False)


def test_downloaded_once(published, kept):
    """The file is downloaded and kept; later it is not needed, whatever is asked."""
    np.testing.assert_allclose(load()(IMAGES), expected(), **CLOSE)
    assert list(kept.parent.iterdir()) == [kept]
    published.unlink()
    np.testing.assert_allclose(load()(IMAGES), expected(), **CLOSE)
    with pytest.warns(UserWarning, match="has 5 classes, the model 3: layer 'logits'"):
        assert load(num_classes=3).output.shape[-1] == 3
    gray = load(image_shape=(23, 19, 1), sum_channels=True)
    # The three channels are added up before the convolution, or after it.
    np.testing.assert_allclose(
        gray(IMAGES[..., :1]), load()(IMAGES[..., :1].repeat(3, -1)), **CLOSE
    )
    with pytest.raises(WeightsError, match="layer 'fc3' needs kernel"):
        load(image_shape=(40, 40, 3))


@pytest.mark.usefixtures("published")
def test_the_network_is_built_once():
    """The first use of published weights builds one network, and so does the next."""
    for number in (1, 2):
        load()
        assert Tiny.built == number


@pytest.mark.usefixtures("published")
def test_the_files_format_is_reported():
    """What is loaded by name is described as a file of one's own is."""
    loaded = load_preset_weights(Tiny.from_preset("tiny"), "tiny", "imagenet")
    assert loaded == ("PyTorch", "rgb", ())


def test_without_network(published, kept, monkeypatch):
    """Without a network the message has the address and where to put the file."""
    url = "http://127.0.0.1:9/alexnet.pth"
    publish(monkeypatch, url, sha256=digest(published))
    with pytest.raises(WeightsError, match=f"Cannot download {url} ") as caught:
        load()
    assert f"put it at {kept}; the variable KERAS_HOME" in str(caught.value)
    kept.write_bytes(published.read_bytes())
    np.testing.assert_allclose(load()(IMAGES), expected(), **CLOSE)


@pytest.mark.parametrize("algorithm", ["sha256", "sha1"])
def test_hash_is_checked(published, kept, monkeypatch, algorithm):
    """A file of another hash than was published is refused, with what to do."""
    right = hashlib.new(algorithm, published.read_bytes()).hexdigest()
    publish(monkeypatch, published.as_uri(), **{algorithm: right})
    load()
    kept.write_bytes(published.read_bytes()[:-1])
    found = hashlib.new(algorithm, kept.read_bytes()).hexdigest()
    with pytest.raises(WeightsError, match="Delete it, to download") as caught:
        load()
    message = f"The {algorithm} of {kept} must be {right}, but is {found}: "
    assert str(caught.value).startswith(message)


@pytest.mark.usefixtures("published")
def test_a_subclass_names_its_layers(monkeypatch):
    """A subclass's layers get published weights in order, whatever their names."""

    class Renamed(Tiny):
        def draw_head(self, inputs):
            outputs = keras.layers.Flatten(name="flatten")(inputs)
            for number, units in enumerate((10, 7)):
                dense = keras.layers.Dense(units, "relu", name=f"hidden{number}")
                outputs = dense(outputs)
            return keras.layers.Dense(self.num_classes, name="last")(outputs)

    model = Renamed.from_preset("tiny", weights="imagenet")
    np.testing.assert_allclose(model(IMAGES), expected(), **CLOSE)


@pytest.mark.usefixtures("published")
def test_downloads_that_stall(monkeypatch, kept):
    """A server that says nothing is given up, and other sockets are left alone."""
    monkeypatch.setattr(downloads, "STALLED_S", 0.2)
    before = socket.getdefaulttimeout()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/alexnet.pth"
        publish(monkeypatch, url, sha256="00")
        with pytest.raises(WeightsError, match="timed out") as caught:
            load()
    assert f"put it at {kept}; the variable KERAS_HOME" in str(caught.value)
    assert socket.getdefaulttimeout() == before


@pytest.mark.usefixtures("published")
def test_downloads_that_cannot_be_kept(kept):
    """A directory where the file should be is named."""
    kept.mkdir(parents=True)
    with pytest.raises(WeightsError, match=f"Is a directory: '{kept}'"):
        load()


def test_where_downloads_are_kept(tmp_path, monkeypatch):
    """Downloads lie in Keras' directory, as `keras.utils.get_file` documents it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_HOME", raising=False)
    assert downloads.keras_folder() == tmp_path / ".keras"
    monkeypatch.setenv("KERAS_HOME", "~/elsewhere")
    assert downloads.keras_folder() == tmp_path / "elsewhere"


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
