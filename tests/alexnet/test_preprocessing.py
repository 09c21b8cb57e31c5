"""What images go through before a network sees them, and what it says of them."""

from __future__ import annotations

import hashlib
import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
import weight_files as files
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from alexnet import AlexNet, preprocessing
from alexnet.data import load_images
from alexnet.preprocessing import (
    center_crop,
    decode_predictions,
    pixel_arguments,
    preprocess_input,
    resize_and_crop,
    ten_views,
)

PREPARED = [
    name for name, row in AlexNet.presets.items() if row["preprocessing"] is not None
]
# One preset of each kind of preprocessing.
DISTINCT = {str(pixel_arguments(name)): name for name in PREPARED}.values()
# What becomes of the RGB pixel (200, 100, 50), worked out by hand from the sources:
# torchvision's transforms, the mean of 2012, and Caffe's mean, which is BGR there.
PIXEL = (200, 100, 50)
BY_HAND = {
    "torchvision": (1.307047, -0.285014, -0.932986),
    "paper": (72.70, -19.72, -54.91),
    "caffe": (77.321, -16.669, -54.007),
    "notebook": (0.784314, 0.392157, 0.196078),
    "cifar10_quick": (74.7, -23.0, -63.9),
}


def photos(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, "uint8")


@pytest.mark.parametrize("preset", BY_HAND)
@pytest.mark.parametrize("kind", ["uint8", "float64", "tensor", "list"])
def test_pixels_become_what_the_network_expects(preset, kind):
    """A pixel is scaled, less the mean, over the deviation; RGB goes in and out."""
    pixels = np.full((1, 2, 2, 3), PIXEL, "uint8")
    given_pixels = {
        "uint8": pixels,
        "float64": pixels.astype("float64"),
        "tensor": tf.constant(pixels),
        "list": pixels.tolist(),
    }[kind]
    found = preprocess_input(given_pixels, preset)
    assert isinstance(found, np.ndarray) == (kind != "tensor")
    assert (np.asarray(found).dtype, found.shape) == (np.float32, (1, 2, 2, 3))
    # float32 of up to 128.
    np.testing.assert_allclose(found[0, 1, 1], BY_HAND[preset], rtol=1e-5, atol=1e-5)
    assert (pixels == PIXEL).all()


def test_preprocesses_in_a_graph():
    """Symbolic tensors are preprocessed too: inside of tf.data, and of a model."""
    pixels = photos(2, 4, 4, 3)
    expected = preprocess_input(pixels, "torchvision")
    data = tf.data.Dataset.from_tensor_slices(pixels)
    (mapped,) = data.map(lambda x: preprocess_input(x, "torchvision")).batch(2)
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, preprocess_input(inputs, "torchvision"))
    # The order of float32 operations may differ.
    np.testing.assert_allclose(mapped, expected, atol=1e-5)
    np.testing.assert_allclose(model(pixels), expected, atol=1e-5)


def test_another_mean():
    """A mean of three numbers, or a mean image cut to the images, takes its place."""
    pixels = photos(2, 6, 5, 3)
    image = photos(8, 8, 3).astype("float32")
    found = preprocess_input(pixels, "caffe", mean=image)
    # (8 - 5) / 2 rounds half to even.
    assert np.array_equal(found, pixels - image[1:7, 2:7])
    found = preprocess_input(pixels, "caffe", mean=(1, 2, 3))
    assert np.array_equal(found, pixels - np.float32([1, 2, 3]))


@pytest.mark.parametrize("shape", [(), (2,), (5, 8, 3), (8, 8, 1), (1, 8, 8, 3)])
def test_a_mean_of_another_shape_is_refused(shape):
    """A mean must be three numbers, or an image that covers the images."""
    match = rf"mean must be 3 numbers, or .*received shape {re.escape(str(shape))}"
    with pytest.raises(ValueError, match=match):
        preprocess_input(photos(2, 6, 6, 3), "caffe", mean=np.zeros(shape))


def test_images_in_unit_range_are_suspect():
    """Floats in [0, 1], 1 included, are warned of; a black image is not."""
    for value in ("0.5", "1"):
        match = rf"at most {re.escape(value)}\. Multiply images in \[0, 1\]"
        with pytest.warns(UserWarning, match=match):
            preprocess_input(np.full((1, 2, 2, 3), float(value)), "torchvision")
    for value in (0.0, 1.01):
        preprocess_input(np.full((1, 2, 2, 3), value), "torchvision")


@pytest.mark.parametrize("shape", [(2, 4, 4, 1), (4, 3), (3, 4, 4)])
def test_other_images_are_refused(shape):
    """Images without three channels at the end are refused with their shape."""
    with pytest.raises(
        ValueError, match=re.escape(f"height, width, 3); received {shape}")
    ):
        preprocess_input(np.zeros(shape, "uint8"), "caffe")


def test_what_is_no_array_is_refused():
    """Names of files, one image for many, and unknown shapes each have an error."""
    with pytest.raises(TypeError, match=r"received 'cat.jpg'. Open files with PIL"):
        preprocess_input("cat.jpg", "caffe")
    one_image = photos(40, 40, 3)
    for one in (one_image, Image.fromarray(one_image), "cat.jpg"):
        with pytest.raises(TypeError, match=r"received one. Pass \[image\]"):
            resize_and_crop(one, "caffe")
    for none in (5, None, b"x", np.uint8(5)):
        match = re.escape(f"received images={none!r} ({type(none).__name__}). Pass [")
        with pytest.raises(TypeError, match=match):
            resize_and_crop(none, "caffe")

    for none in (None, 5, b"x", [1]):
        match = re.escape(f"an array or a tensor; received images={none!r} (")
        for cut in (center_crop, lambda *given: next(ten_views(*given))):
            with pytest.raises(TypeError, match=match):
                cut(none, 4)

    def unknown(shape, function):
        specification = tf.TensorSpec(shape, "float32")
        tf.function(function).get_concrete_function(specification)

    with pytest.raises(ValueError, match="received an unknown shape"):
        unknown(None, lambda x: preprocess_input(x, "caffe"))
    with pytest.raises(ValueError, match="must have a known height and width"):
        unknown((None, None, None, 3), lambda x: center_crop(x, 4))


@pytest.mark.parametrize("mean", ["x", b"x", [1, None, "a"], {}])
def test_what_is_no_mean_is_refused(mean):
    """A mean that holds no numbers is named with its value."""
    match = re.escape("mean must be 3 numbers, or an image of 3 channels")
    with pytest.raises(ValueError, match=f"{match}.*{re.escape(f'received {mean!r}')}"):
        preprocess_input(photos(1, 6, 6, 3), "caffe", mean=mean)


@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_use_margin_is_a_bool(value):
    """Other values than True and False are refused."""
    with pytest.raises(TypeError, match=f"use_margin must be True or .*={value!r}"):
        resize_and_crop([photos(9, 9, 3)], "caffe", use_margin=value)


@pytest.mark.parametrize("names", [2, "ab", b"ab"])
def test_class_names_are_a_sequence(names):
    """Names that are no sequence of texts are refused."""
    match = re.escape(f"received class_names={names!r} (")
    with pytest.raises(TypeError, match=f"one name per class; {match}"):
        decode_predictions(np.zeros((1, 2)), class_names=names)


def test_presets_without_preprocessing_are_refused():
    """An unknown preset, and one whose preprocessing nobody published, say so."""
    with pytest.raises(ValueError, match=r"no preset 'cafe'\. Did you mean 'caffe"):
        preprocess_input(photos(1, 4, 4, 3), "cafe")
    with pytest.raises(ValueError, match=r"no preset \['caffe'\]\. .*There are: caffe"):
        preprocess_input(photos(1, 4, 4, 3), ["caffe"])
    with pytest.raises(ValueError, match="published for preset 'slim'"):
        preprocess_input(photos(1, 4, 4, 3), "slim")
    with pytest.raises(ValueError, match="published for preset 'slim'"):
        AlexNet.from_preset("slim", include_preprocessing=True)


@pytest.mark.parametrize("preset", DISTINCT)
def test_a_model_carries_its_preprocessing(preset, tmp_path):
    """A saved model that includes its preprocessing takes bytes as they are."""
    shape = AlexNet.presets[preset]["arguments"]["image_shape"]
    small = {"dense_units": (4,), "num_classes": 3}
    whole = AlexNet.from_preset(preset, include_preprocessing=True, **small)
    core = AlexNet.from_preset(preset, **small)
    core.set_weights(whole.get_weights())
    path = tmp_path / "whole.keras"
    whole.save(path)
    pixels = photos(2, *shape)
    expected = core.tap("logits")(preprocess_input(pixels, preset))
    found = keras.saving.load_model(path).tap("logits")(pixels)
    # float32, with the scale and the mean in another order.
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_model_of_gray_images_cannot_carry_rgb_preprocessing():
    """Preprocessing is for RGB; images of one channel are refused."""
    with pytest.raises(ValueError, match="own preprocessing is for RGB"):
        AlexNet.from_preset(
            "cifar10_quick", image_shape=(32, 32, 1), include_preprocessing=True
        )


def test_weights_keep_their_preprocessing(tmp_path):
    """Loading a BGR net's weights and including preprocessing gives what it computed.

    Computed without the package: BGR bytes less Caffe's BGR mean, in NumPy.
    """
    layers = files.weights(files.SHAPES)
    path = tmp_path / "tiny.caffemodel"
    path.write_bytes(files.caffe_new(layers))

    class Tiny(AlexNet):
        presets = {
            "tiny": {
                "arguments": files.TINY,
                "preprocessing": AlexNet.presets["caffe"]["preprocessing"],
            }
        }

    model = Tiny.from_preset("tiny", weights=path, include_preprocessing=True)
    pixels = photos(2, 23, 19, 3)
    bgr = pixels[..., ::-1] - np.array([104.007, 116.669, 122.679])
    expected = files.logits(layers, bgr.transpose(0, 3, 1, 2))
    # float32 against float64; pixels of order 100.
    np.testing.assert_allclose(model(pixels), expected, rtol=1e-3, atol=1e-3)


def test_resizes_as_torchvision_does():
    """The shorter side becomes 256, the longer is rounded down, the middle is cut."""
    photo = photos(100, 333, 3)  # 852.48 pixels wide; the next has 256.89.
    assert resize_and_crop([photos(277, 276, 3)], "torchvision").shape[1] == 224
    tall = photos(276, 277, 3)
    whole = Image.fromarray(tall).resize((256, 256), Image.Resampling.BILINEAR)
    (found,) = resize_and_crop([tall], "torchvision")
    assert np.array_equal(found, np.asarray(whole)[16:240, 16:240])
    whole = Image.fromarray(photo).resize((852, 256), Image.Resampling.BILINEAR)
    middle = np.asarray(whole)[16:240, 314:538]
    found = resize_and_crop([photo, Image.fromarray(photo)], "torchvision")
    assert (found.dtype, found.shape) == (np.uint8, (2, 224, 224, 3))
    assert np.array_equal(found, [middle, middle])
    (margin,) = resize_and_crop([photo], "torchvision", use_margin=True)
    assert np.array_equal(margin, np.asarray(whole)[:, 298:554])
    assert np.array_equal(center_crop(margin, 224), middle)


def test_resizes_as_caffe_does():
    """Caffe squeezes images to 256 by 256, whatever their proportions."""
    photo = photos(100, 333, 3)
    whole = Image.fromarray(photo).resize((256, 256), Image.Resampling.BILINEAR)
    (found,) = resize_and_crop([photo], "caffe")
    assert np.array_equal(found, np.asarray(whole)[14:241, 14:241])


@pytest.mark.parametrize("preset", PREPARED)
@pytest.mark.parametrize("shape", [(40, 32, 3), (300, 260, 3), (256, 256, 3)])
def test_photos_of_any_size_get_the_networks_size(preset, shape):
    """Photos of any size become images of the preset's, or with its margin."""
    row = AlexNet.presets[preset]
    size = row["arguments"]["image_shape"]
    assert resize_and_crop([photos(*shape)], preset).shape == (1, *size)
    side = 256 if row["preprocessing"]["resize"] else 32
    margin = resize_and_crop([photos(*shape)], preset, use_margin=True)
    assert margin.shape == (1, side, side, 3)


def test_photos_of_other_modes_become_rgb():
    """Gray is repeated, 16 bits are scaled, transparency is laid on white."""
    gray = Image.fromarray(photos(40, 40, 3)).convert("L")
    (found,) = resize_and_crop([gray], "cifar10_quick")
    assert (found == found[..., :1]).all()
    deep = Image.fromarray(np.full((32, 32), 257 * 77, "uint16"))
    assert deep.mode == "I;16"
    assert (resize_and_crop([deep], "cifar10_quick") == 77).all()
    clear = Image.new("RGBA", (32, 32), (9, 9, 9, 0))
    assert (resize_and_crop([clear], "cifar10_quick") == 255).all()
    assert resize_and_crop([Image.new("La", (32, 32), 0)], "cifar10_quick").all()
    ink = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    palette = Image.new("RGB", (32, 32), (9, 8, 7)).quantize(4)
    for image, color in ((ink, (255, 0, 0)), (palette, (9, 8, 7))):
        assert (resize_and_crop([image], "cifar10_quick") == color).all()
    with pytest.raises(ValueError, match=r"Image 1 cannot be used: its pixels are fl"):
        resize_and_crop([gray, Image.new("F", (32, 32))], "cifar10_quick")


def write_photo(path, orientation, **options):
    """Save a photo whose top is white, turned as a camera would, with its EXIF tag."""
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    pixels = np.zeros((32, 32, 3), "uint8")
    pixels[:16] = 255
    pixels[:, :4] = 128  # So that no turn leaves it as it is.
    photo = Image.fromarray(pixels)
    if orientation in turns:
        photo = photo.transpose(turns[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(exist_ok=True, parents=True)
    photo.save(path, exif=exif, **options)
    return pixels


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
@pytest.mark.parametrize("orientation", range(10))
def test_photos_are_upright_in_training_and_prediction(tmp_path, suffix, orientation):
    """EXIF's orientation turns a photo in `load_images` and `resize_and_crop` alike."""
    options = {"lossless": True} if suffix == "webp" else {}
    paths = [tmp_path / "data" / name / f"0.{suffix}" for name in "ab"]
    for path in [*paths, *(path.with_stem("1") for path in paths)]:
        pixels = write_photo(path, orientation, **options)
    trained_on = load_images(tmp_path / "data").x_train[0]
    with Image.open(paths[0]) as opened:
        served = resize_and_crop([opened, paths[0], str(paths[0])], "cifar10_quick")
    for image in served:
        assert np.array_equal(image, trained_on)
    tolerance = 60 if suffix == "jpg" else 0
    assert np.abs(trained_on.astype(int) - pixels).max() <= tolerance


def test_a_damaged_orientation_is_ignored(tmp_path):
    """An image with a damaged EXIF block, or an unknown orientation, stays as it is."""
    path = tmp_path / "0.png"
    for exif in (b"", b"Exif\0\0", b"Exif\0\0II*\0", b"Exif\0\0MM\0*\0\0\0\x08\0\x09"):
        pixels = photos(32, 32, 3)
        Image.fromarray(pixels).save(path, exif=exif or b"\xff" * 20)
        assert np.array_equal(resize_and_crop([path], "cifar10_quick")[0], pixels)


@pytest.mark.parametrize("shape", [(50, 41, 3), (32, 90, 3), (20, 20, 3)])
def test_cifar_networks_see_what_they_were_trained_on(tmp_path, shape):
    """`load_images` of that size and `resize_and_crop` give the same pixels."""
    for name in ("a/0", "a/1", "b/0", "b/1"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(photos(*shape)).save(path)
    trained_on = load_images(tmp_path, image_size=32).x_train[0]
    assert np.array_equal(resize_and_crop([path], "cifar10_quick")[0], trained_on)


def test_presets_of_a_subclass():
    """Rows of one's own prepare images as the package's do."""
    row = {**AlexNet.presets["caffe"], "arguments": {"image_shape": (20, 30, 3)}}
    mine = {"mine": row}
    (found,) = resize_and_crop([photos(300, 260, 3)], "mine", presets=mine)
    assert found.shape == (20, 30, 3)
    prepared = preprocess_input(found, "mine", presets=mine)
    assert np.array_equal(prepared, preprocess_input(found, "caffe"))


@pytest.mark.parametrize(
    ("images", "match"),
    [
        ([np.zeros((8, 8, 3))], "received float64 of shape (8, 8, 3). Convert it"),
        ([np.zeros((8, 8), "uint8")], "received uint8 of shape (8, 8)."),
        ([5], "Image 0 cannot be used: it must be a path, a PIL.Image or bytes of"),
        ([5], "received 5 (int). Open files with PIL.Image.open."),
        ([None], "received None (NoneType). Open files with PIL.Image.open."),
        ([b"x"], "received b'x' (bytes). Open files with PIL.Image.open."),
        ([["a.jpg"]], "received ['a.jpg'] (list). Open files with PIL.Image.open."),
        ([b"x" * 999], "xxx' (bytes). Open files with PIL.Image.open."),
        (["no/photo.jpg"], "Image 0 cannot be used: Every image must be a file that"),
        ([], "at least one image; received none"),
        ([photos(9, 9, 3), np.zeros((0, 8, 3), "uint8")], "Image 1 cannot be used"),
    ],
)
def test_what_is_no_photo_is_refused(images, match):
    """Images must be paths of images, bytes of three channels or PIL images."""
    with pytest.raises(ValueError, match=re.escape(match)):
        resize_and_crop(images, "caffe")


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 9), st.integers(0, 9))
def test_views_are_corners_and_middle(height, width, more, wider):
    """Each view lies where it should; the last five mirror the first five."""
    images = photos(2, height + more, width + wider, 1)
    views = list(ten_views(images, (height, width)))
    assert len(views) == 10
    assert all(view.shape == (2, height, width, 1) for view in views)
    assert np.array_equal(views[0][:, 0, 0], images[:, 0, 0])
    assert np.array_equal(views[1][:, 0, -1], images[:, 0, -1])
    assert np.array_equal(views[2][:, -1, 0], images[:, -1, 0])
    assert np.array_equal(views[3][:, -1, -1], images[:, -1, -1])
    assert np.array_equal(views[4], center_crop(images, (height, width)))
    for view, mirrored in zip(views[:5], views[5:], strict=True):
        assert np.array_equal(mirrored, view[:, :, ::-1])
    for view, tensor in zip(
        views, ten_views(tf.constant(images), (height, width)), strict=True
    ):
        assert np.array_equal(view, tensor)


def test_decodes_with_names_of_ones_own():
    """The likeliest classes come first, with index, name and score."""
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.0, 0.5]], "float32")
    found = decode_predictions(scores, top=2, class_names=("cat", "dog", "owl"))
    names = [[(index, name) for index, name, _ in row] for row in found]
    assert names == [[(1, "dog"), (2, "owl")], [(0, "cat"), (2, "owl")]]
    assert found[0][0][2] == pytest.approx(0.7)
    assert isinstance(found[0][0][2], float)
    (best,) = decode_predictions(np.uint8([[0, 255, 7]]), 1, ("cat", "dog", "owl"))
    assert best == [(1, "dog", 255.0)]
    assert len(decode_predictions(scores, class_names=("cat", "dog", "owl"))[0]) == 3


def test_decoding_needs_the_right_number_of_classes():
    """Another number of classes than names is refused."""
    with pytest.raises(
        ValueError, match=r"\(batch, 1000\); received \(2, 10\)\. Pass class"
    ):
        decode_predictions(np.zeros((2, 10)))
    with pytest.raises(
        ValueError, match=r"\(batch, 2\); received \(1, 3\)\. Pass class_names"
    ):
        decode_predictions(np.zeros((1, 3)), class_names=("cat", "dog"))
    with pytest.raises(ValueError, match="top must be at least 1"):
        decode_predictions(np.zeros((1, 2)), 0, class_names=("cat", "dog"))


@pytest.fixture
def class_index(tmp_path, monkeypatch):
    """Keras' list of classes, made here and published in a folder of the test."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    path = tmp_path / "classes.json"
    path.write_text(json.dumps({n: [f"n{n:08}", f"name_{n}"] for n in range(1000)}))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(preprocessing.CLASS_INDEX, "url", path.as_uri())
    monkeypatch.setitem(preprocessing.CLASS_INDEX, "sha256", digest)
    preprocessing._imagenet.cache_clear()
    yield path
    preprocessing._imagenet.cache_clear()


def test_decodes_imagenet(class_index):
    """Without names, those of Keras' list are taken; it is downloaded once."""
    for _ in range(2):
        assert decode_predictions(np.eye(1000)[[3, 999]], top=1) == [
            [("n00000003", "name_3", 1.0)],
            [("n00000999", "name_999", 1.0)],
        ]
        assert (class_index.parent / "keras/models/classes.json").exists()
        class_index.unlink(missing_ok=True)
        preprocessing._imagenet.cache_clear()


def test_names_of_imagenet_without_network(class_index, monkeypatch):
    """Without network, the message says where the list belongs."""
    url = "http://127.0.0.1:9/classes.json"
    monkeypatch.setitem(preprocessing.CLASS_INDEX, "url", url)
    with pytest.raises(OSError, match=f"Cannot download {url}") as caught:
        decode_predictions(np.eye(1000)[:1])
    path = class_index.parent / "keras/models/classes.json"
    assert f"put it at {path}; the variable KERAS_HOME" in str(caught.value)
