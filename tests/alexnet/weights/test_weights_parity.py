"""Imported nets compute what their files' own nets compute, worked out in NumPy."""

from __future__ import annotations

import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest
import weight_files as files

from alexnet import AlexNet
from alexnet.weights import Loaded, load_weights

# Format: extension, writer, whether it is torchvision's net, what is reported.
FORMATS = {
    "torch zip": (".pth", files.torch_zip, True, ("PyTorch", "rgb")),
    "torch legacy": (".pth", files.torch_legacy, True, ("PyTorch", "rgb")),
    "caffe": (".caffemodel", files.caffe_new, False, ("Caffe's .caffemodel", "bgr")),
    "caffe V1": (".caffemodel", files.caffe_v1, False, ("Caffe's .caffemodel", "bgr")),
    "caffe h5": (
        ".caffemodel.h5",
        files.caffe_h5,
        False,
        ("Caffe's .caffemodel.h5", "bgr"),
    ),
    "toronto": (".npy", files.npy, False, ("Toronto's .npy", "bgr")),
}


def rgb_images():
    return np.random.default_rng(3).normal(size=(3, 23, 19, 3)).astype("f4")


def expected(layers, images, is_torch, bgr):
    """Logits of the file's net for RGB images, which it may need as BGR."""
    given = images[..., ::-1] if bgr else images
    return files.logits(
        layers,
        given.transpose(0, 3, 1, 2),
        groups=1 if is_torch else 2,
        norm=not is_torch,
    )


def new_model(is_torch, **changes):
    return AlexNet(**{**(files.TINY_TORCH if is_torch else files.TINY), **changes})


@pytest.mark.parametrize("name", FORMATS)
def test_logits_are_those_of_the_files_net(tmp_path, name):
    """Groups, flattening, channel order and normalization are the file's."""
    extension, write, is_torch, (kind, order) = FORMATS[name]
    layers = files.weights(files.TORCH_SHAPES if is_torch else files.SHAPES)
    path = tmp_path / f"net{extension}"
    path.write_bytes(write(layers))
    model = new_model(is_torch)
    assert load_weights(model, path) == Loaded(kind, order, ())
    images = rgb_images()
    # float32 against float64; logits are of order 1.
    np.testing.assert_allclose(
        model(images),
        expected(layers, images, is_torch, order == "bgr"),
        atol=1e-5,
    )


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_channel_order_can_be_said(tmp_path, order):
    """`channel_order` overrules what the family of the file had."""
    path = tmp_path / "net.caffemodel"
    layers = files.weights()
    path.write_bytes(files.caffe_new(layers))
    model = new_model(False)
    assert load_weights(model, path, channel_order=order).channel_order == order
    images = rgb_images()
    np.testing.assert_allclose(
        model(images), expected(layers, images, False, order == "bgr"), atol=1e-5
    )


def test_cifar_nets_are_rgb_and_unknown_ones_ask(tmp_path):
    """Caffe's nets with ip1 are RGB; of a net of other names, the caller must say."""
    path = tmp_path / "net.caffemodel"
    layers = files.weights()
    names = ("conv1", "conv2", "ip1", "ip2", "ip3")
    path.write_bytes(files.caffe_new(layers, names))
    assert load_weights(new_model(False), path).channel_order == "rgb"
    path.write_bytes(files.caffe_new(layers, ("a", "b", "c", "d", "e")))
    with pytest.raises(ValueError, match='pass channel_order="rgb" or "bgr"'):
        load_weights(new_model(False), path)
    assert load_weights(new_model(False), path, channel_order="rgb").fresh == ()


@pytest.mark.parametrize("extension", [".weights.h5", ".keras"])
def test_keras_files_give_the_same_outputs(tmp_path, extension):
    """What Keras saved, optimizer included, comes back bit for bit, by layer name."""
    norm = keras.layers.BatchNormalization()
    blocks = [{**files.TINY["blocks"][0], "norm": norm}, files.TINY["blocks"][1]]
    model = new_model(False, blocks=blocks)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 1, w.shape) for w in model.get_weights()])
    images = rgb_images()
    path = tmp_path / f"net{extension}"
    (model.save if extension == ".keras" else model.save_weights)(path)
    other = new_model(False, blocks=blocks)
    assert load_weights(other, path) == Loaded("Keras", None, ())
    assert np.array_equal(other(images), model(images))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_keras_files_of_other_precision(tmp_path, dtype):
    """Weights saved in another precision than float32 come back unchanged."""
    model = new_model(False, dtype=dtype)
    model.save_weights(tmp_path / "net.weights.h5")
    other = new_model(False, dtype=dtype)
    load_weights(other, tmp_path / "net.weights.h5")
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_compressed_keras_archives_load(tmp_path):
    """A `.keras` file that somebody packed anew, with compression, loads too."""
    model = new_model(False)
    model.save(tmp_path / "a.keras")
    with (
        zipfile.ZipFile(tmp_path / "a.keras") as old,
        zipfile.ZipFile(tmp_path / "b.keras", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    other = new_model(False)
    load_weights(other, tmp_path / "b.keras")
    assert np.array_equal(other(rgb_images()), model(rgb_images()))


@pytest.mark.parametrize("name", FORMATS)
def test_other_classes_keep_the_features(tmp_path, name):
    """Another number of classes leaves the classifier as it is, and says so."""
    extension, write, is_torch, _ = FORMATS[name]
    layers = files.weights(files.TORCH_SHAPES if is_torch else files.SHAPES)
    path = tmp_path / f"net{extension}"
    path.write_bytes(write(layers))
    model, whole = new_model(is_torch, num_classes=3), new_model(is_torch)
    load_weights(whole, path)
    before = model.get_layer("logits").get_weights()
    with pytest.warns(UserWarning, match=r"has 5 classes, the model 3: .*'logits'"):
        loaded = load_weights(model, path)
    assert loaded.fresh == ("logits",)
    for a, b in zip(before, model.get_layer("logits").get_weights(), strict=True):
        assert np.array_equal(a, b)
    images = rgb_images()
    assert np.array_equal(model.tap("fc4")(images), whole.tap("fc4")(images))


@pytest.mark.parametrize("name", [*FORMATS, "keras"])
def test_gray_images_on_request(tmp_path, name):
    """`sum_channels` gives gray images the outputs of gray RGB images."""
    extension, write, is_torch, _ = FORMATS.get(name, (".keras", None, False, None))
    layers = files.weights(files.TORCH_SHAPES if is_torch else files.SHAPES)
    path = tmp_path / f"net{extension}"
    color = new_model(is_torch)
    if write is None:
        color.save(path)
    else:
        path.write_bytes(write(layers))
        load_weights(color, path)
    gray = new_model(is_torch, image_shape=(23, 19, 1))
    with pytest.raises(ValueError, match="Pass sum_channels=True"):
        load_weights(gray, path)
    load_weights(gray, path, sum_channels=True)
    images = rgb_images()[..., :1]
    # The three channels are added up before the convolution, or after it.
    np.testing.assert_allclose(gray(images), color(images.repeat(3, -1)), atol=1e-5)


def test_half_precision_and_checkpoints(tmp_path):
    """float16 and bfloat16 tensors, and a state_dict inside a checkpoint, load."""
    layers = files.weights(files.TORCH_SHAPES)
    _, storages = files.torch_items(layers)
    for kind in ("HalfStorage", "BFloat16Storage", "DoubleStorage"):
        items, raw, rounded = [], {}, []
        arrays = [array for pair in layers for array in pair]
        for number, array in enumerate(arrays):
            if kind == "BFloat16Storage":
                cut = (array.view("u4") >> 16).astype("u2")
                rounded.append((cut.astype("u4") << 16).view("f4"))
            else:
                cut = array.astype("f2" if kind == "HalfStorage" else "f8")
                rounded.append(cut.astype("f4"))
            raw[str(number)] = cut.tobytes()
            name = f"{files.TORCH_NAMES[number // 2]}.{('weight', 'bias')[number % 2]}"
            items.append(
                (name, files.torch_tensor(str(number), array.shape, kind=kind))
            )
        inner = files.torch_dict(items)[2:-1]
        outer = files.torch_dict([("epoch", b"K\x07"), ("state_dict", inner)])
        path = tmp_path / f"{kind}.pth"
        path.write_bytes(files.torch_archive(outer, raw))
        model = new_model(True)
        load_weights(model, path)
        pairs = list(zip(rounded[::2], rounded[1::2], strict=True))
        images = rgb_images()
        np.testing.assert_allclose(
            model(images), expected(pairs, images, True, False), atol=1e-5
        )
    assert len(storages) == 10


def test_views_of_a_storage(tmp_path):
    """Tensors that are parts of one storage are read from where they begin."""
    layers = files.weights(files.TORCH_SHAPES)
    arrays = [array for pair in layers for array in pair]
    flat = np.concatenate([array.ravel() for array in arrays])
    starts = np.cumsum([0, *(array.size for array in arrays)])
    items = [
        (
            f"{files.TORCH_NAMES[number // 2]}.{('weight', 'bias')[number % 2]}",
            files.torch_tensor(
                "0", array.shape, offset=int(starts[number]), length=len(flat)
            ),
        )
        for number, array in enumerate(arrays)
    ]
    path = tmp_path / "net.pth"
    path.write_bytes(
        files.torch_archive(files.torch_dict(items), {"0": flat.tobytes()})
    )
    model = new_model(True)
    load_weights(model, path)
    images = rgb_images()
    np.testing.assert_allclose(
        model(images), expected(layers, images, True, False), atol=1e-5
    )


@pytest.mark.parametrize("extension", [".keras", ".weights.h5"])
def test_keras_files_trained_on_bgr(tmp_path, extension):
    """A net that somebody trained on BGR in Keras is turned around on request."""
    net, path = new_model(False), tmp_path / f"net{extension}"
    (net.save if extension == ".keras" else net.save_weights)(path)
    model = new_model(False)
    assert load_weights(model, path, channel_order="bgr").channel_order == "bgr"
    images = rgb_images()
    # float32 sums in another order.
    np.testing.assert_allclose(model(images), net(images[..., ::-1]), atol=1e-5)


def test_torchvisions_net_normalizes_nowhere(tmp_path):
    """torchvision's weights in the net of their shapes that has LRN are reported."""
    block = {"filters": 4, "kernel_size": 3, "pool": None}
    shapes = [((4, 3, 3, 3), (4,)), *[((4, 4, 3, 3), (4,))] * 4]
    shapes += [((6, 4 * 8 * 8), (6,)), ((6, 6), (6,)), ((5, 6), (5,))]
    names = [f"features.{number}" for number in (0, 3, 6, 8, 10)]
    names += [f"classifier.{number}" for number in (1, 4, 6)]
    path = tmp_path / "net.pth"
    layers = files.weights(shapes)
    path.write_bytes(files.torch_archive(*files.torch_items(layers, names=names)))

    def net(norm):
        blocks = [{**block, "norm": norm}, *[block] * 4]
        return AlexNet((8, 8, 3), 5, blocks=blocks, dense_units=(6, 6))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_weights(net(None), path)
    with pytest.warns(UserWarning, match="the file has none, the model .depth_radius"):
        load_weights(net({}), path)


def test_other_normalization_is_reported(tmp_path):
    """A file whose net normalizes otherwise (alpha over size, k) warns of it."""
    path = tmp_path / "net.caffemodel"
    path.write_bytes(
        files.caffe_new(files.weights(), norms=(files.lrn(), files.lrn(k=2.0)))
    )
    with pytest.warns(UserWarning, match=r"bias=2, alpha=2e-05.*the model"):
        load_weights(new_model(False), path)
    blocks = [
        {**block, "norm": {**block["norm"], "alpha": 1e-4}}
        for block in files.TINY["blocks"]
    ]
    path.write_bytes(files.caffe_v1(files.weights()))
    with pytest.warns(UserWarning, match=r"alpha=2e-05.*the model.*alpha=0\.0001"):
        load_weights(new_model(False, blocks=blocks), path)


def test_mixed_precision_keeps_float32_weights(tmp_path):
    """A model that computes in bfloat16 holds the file's numbers unrounded."""
    path = tmp_path / "net.pth"
    layers = files.weights(files.TORCH_SHAPES)
    path.write_bytes(files.torch_zip(layers))
    model = new_model(True, dtype="mixed_bfloat16")
    load_weights(model, path)
    kernel = model.get_layer("conv1").get_weights()[0]
    assert np.array_equal(kernel, layers[0][0].transpose(2, 3, 1, 0))


def test_layers_that_files_cannot_hold_are_named(tmp_path):
    """The error names a subclass's layer of a kind that the file cannot hold."""

    class Normed(AlexNet):
        def draw_head(self, inputs):
            return super().draw_head(
                keras.layers.BatchNormalization(name="extra")(inputs)
            )

    path = tmp_path / "net.pth"
    path.write_bytes(files.torch_zip(files.weights(files.TORCH_SHAPES)))
    with pytest.raises(ValueError, match=r"layer 'extra' \(BatchNormalization\)"):
        load_weights(Normed(**files.TINY_TORCH), path)


def test_matching_files_load_in_silence(tmp_path):
    """A file that matches loads without a warning."""
    path = tmp_path / "net.h5"
    path.write_bytes(files.caffe_h5(files.weights()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_weights(new_model(False), path)
    with h5py.File(path) as file:
        assert set(file["data"]) == {*files.CAFFE_NAMES, "relu1"}
