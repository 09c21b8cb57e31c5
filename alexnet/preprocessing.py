"""Prepare images for a preset's network, and name the classes that it predicts.

    batch = resize_and_crop(photos, "torchvision")       # bytes, RGB
    outputs = model.predict(preprocess_input(batch, "torchvision"))
    decode_predictions(outputs)

Every preset has its own setting, in `AlexNet.presets[name]["preprocessing"]`.
"""

from __future__ import annotations

import functools
import json
import os
import reprlib
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from PIL import Image

from alexnet import checks
from alexnet.data.crops import center_crop, ten_views
from alexnet.data.downloads import fetch
from alexnet.data.pixels import resize, to_rgb
from alexnet.presets import PRESETS

__all__ = [
    "center_crop",
    "decode_predictions",
    "pixel_arguments",
    "preprocess_input",
    "resize_and_crop",
    "setting",
    "ten_views",
]

# Keras' own list, and its folder; the hash is that of the file whose MD5 Keras
# demands (keras/src/applications/imagenet_utils.py).
CLASS_INDEX = {
    "url": "https://storage.googleapis.com/download.tensorflow.org/data/"
    "imagenet_class_index.json",
    "sha256": "a1e7a966a1f601d39e4b43e119b3e7dd4a2ad3ea08cf69847cbaf021013767bc",
}
CLASS_INDEX_FOLDER = "models"


def setting(preset: str, presets: dict[str, Any] = PRESETS) -> dict[str, Any]:
    """Return a preset's preprocessing for a model that takes RGB, as all models do.

    Args:
        preset: Its name.
        presets: The rows to look it up in, such as those of a subclass.

    Returns:
        The row's "preprocessing" (see `alexnet.presets`), with `mean` and `std` in
        RGB order even if the published network takes BGR.

    Raises:
        ValueError: There is no such preset, or nobody published its preprocessing.
    """
    checks.check_preset(preset, presets)
    row = presets[preset].get("preprocessing")
    if row is None:
        raise ValueError(
            f"No preprocessing was published for preset {preset!r}. Prepare the images "
            "as the network was trained, or use another preset's."
        )
    step = -1 if row["channels"] == "BGR" else 1
    return {**row, "mean": row["mean"][::step], "std": row["std"][::step]}


def pixel_arguments(preset: str, presets: dict[str, Any] = PRESETS) -> dict[str, Any]:
    """Return the arguments of a model that does `preprocess_input` itself.

    Args:
        preset, presets: As of `setting`.

    Raises:
        ValueError: As of `setting`.
    """
    how = setting(preset, presets)
    return {"rescale": how["scale"], "pixel_mean": how["mean"], "pixel_std": how["std"]}


def preprocess_input(
    images: Any, preset: str, *, mean: Any = None, presets: dict[str, Any] = PRESETS
) -> Any:
    """Convert RGB pixels of 0 to 255 to the range that a preset's network expects.

        (images * scale - mean) / std

    As in `keras.applications`, sizes stay as they are; see `resize_and_crop`. The
    result is RGB too: `load_weights` turns the kernels of BGR networks around.

    Args:
        images: (..., height, width, 3): an array or a tensor, integer or floating.
        preset: Name of the preset whose weights are used.
        mean: Replaces the preset's mean, in RGB order: 3 numbers, or a mean image,
            (height, width, 3), whose middle is used if it is larger than the
            images. `alexnet.weights.read_mean` reads Caffe's.
        presets: As of `setting`.

    Returns:
        float32 of the same shape; a NumPy array, or a tensor if `images` is one.

    Raises:
        TypeError, ValueError: There is no such preset or preprocessing, or a shape is
            wrong.
    """
    how = setting(preset, presets)
    is_array = isinstance(images, (np.ndarray, list, tuple, Image.Image))
    if not is_array and not hasattr(images, "shape"):
        raise TypeError(
            f"images must be an array or a tensor; received {images!r}. Open files "
            "with PIL.Image.open, and see resize_and_crop."
        )
    pixels = np.asarray(images) if is_array else images
    known = getattr(pixels.shape, "rank", 0) is not None  # Unknown in tf.data.
    shape = tuple(pixels.shape) if known else ()
    if len(shape) < 3 or shape[-1] != 3:
        raise ValueError(
            "images must be RGB, of shape (..., height, width, 3); received "
            f"{shape if known else 'an unknown shape'}. Convert others to RGB; gray "
            "images, for instance, by repeating the last axis three times."
        )
    if is_array and pixels.dtype.kind == "f" and pixels.size and 0 < pixels.max() <= 1:
        warnings.warn(
            "preprocess_input takes pixels of 0 to 255; received floats of at most "
            f"{pixels.max():.3g}. Multiply images in [0, 1] by 255.",
            UserWarning,
            stacklevel=2,
        )
    average = how["mean"] if mean is None else _middle_of_mean(mean, shape)
    scale, average, std = (
        np.asarray(value, "float32") for value in (how["scale"], average, how["std"])
    )
    if is_array:
        return (pixels.astype("float32") * scale - average) / std
    return (keras.ops.cast(pixels, "float32") * scale - average) / std


def _middle_of_mean(mean: Any, shape: tuple[Any, ...]) -> np.ndarray:
    rule = (
        "mean must be 3 numbers, or an image of 3 channels that is at least as "
        f"large as the images, {shape[-3:]}"
    )
    try:
        array = np.asarray(mean, "float32")
    except (TypeError, ValueError) as error:
        received = f"received {reprlib.repr(mean)}. Read files with read_mean."
        raise ValueError(f"{rule}; {received}") from error
    if array.shape == (3,):
        return array
    is_image = array.ndim == 3 and array.shape[2] == 3 and None not in shape[-3:-1]
    if is_image and array.shape[0] >= shape[-3] and array.shape[1] >= shape[-2]:
        return center_crop(array, (shape[-3], shape[-2]))
    raise ValueError(f"{rule}; received shape {array.shape}.")


def resize_and_crop(
    images: Iterable[Any],
    preset: str,
    *,
    use_margin: bool = False,
    presets: dict[str, Any] = PRESETS,
) -> np.ndarray:
    """Resize images and cut out their middle, as a preset's network was tested.

    Photos are turned upright as their EXIF orientation says, and become RGB as they
    do in `alexnet.data`. Bilinear and antialiased (Pillow's). Networks for CIFAR-10
    take the largest square in the middle, resized as `load_images` does.

    Args:
        images: Of any sizes, each a path, a `PIL.Image` or an array of
            (height, width, 3) bytes, RGB.
        preset: Name of the preset.
        use_margin: Keep the margin around the middle, for the corners of
            `AlexNet.predict_ten_views` (256 instead of 224).
        presets: As of `setting`.

    Returns:
        (number of images, height, width, 3) bytes.

    Raises:
        TypeError, ValueError: There is no such preset or preprocessing, or an image
            cannot be used.
    """
    how = setting(preset, presets)
    checks.check_bool("use_margin", use_margin)
    shape = presets[preset]["arguments"]["image_shape"]
    size = checks.check_pair("image_shape", tuple(shape[:2]))
    target = how["resize"] or size
    cut = checks.check_pair("resize", target) if use_margin else size
    if isinstance(images, str | os.PathLike | Image.Image) or (
        getattr(images, "ndim", 4) == 3
    ):
        raise TypeError(
            "images must be a list of images, or an array of them; received one. "
            "Pass [image]."
        )
    if (
        isinstance(images, bytes)
        or getattr(images, "ndim", 4) == 0
        or not isinstance(images, Iterable)
    ):
        raise TypeError(
            "images must be a list of images, or an array of them; received "
            f"images={reprlib.repr(images)} ({type(images).__name__}). Pass "
            "[PIL.Image.open(path)]."
        )
    batch = []
    for number, image in enumerate(images):
        try:
            pixels = to_rgb(image)
        except ValueError as error:
            text = str(error).removesuffix(".")
            raise ValueError(f"Image {number} cannot be used: {text}.") from error
        pixels = resize(pixels, target, cut=how["resize"] is None)
        batch.append(center_crop(np.asarray(pixels), cut))
    if not batch:
        raise ValueError("images must hold at least one image; received none.")
    return np.stack(batch)


def decode_predictions(
    predictions: Any, top: int = 5, class_names: Sequence[str] | None = None
) -> list[list[tuple[Any, str, float]]]:
    """Return the most likely classes of each image, as `keras.applications` does.

    Args:
        predictions: (batch, classes), such as the output of `model.predict`.
        top: Number of classes per image.
        class_names: One name per class. None means ILSVRC-2012's, in the order of
            torchvision, Caffe and Keras (sorted WordNet identifiers; the networks of
            2012 and cuda-convnet2 have another order). Keras' list is downloaded once.

    Returns:
        Per image, (identifier, name, score) with the highest score first; the
        identifier is WordNet's, or the index in `class_names`.

    Raises:
        TypeError: The names are no sequence.
        ValueError: The predictions' shape does not match the number of classes.
        DownloadError: The list of ImageNet's classes cannot be downloaded.
    """
    scores = np.asarray(keras.ops.convert_to_numpy(predictions), "float64")
    checks.check_int("top", top, 1)
    if class_names is not None and (
        isinstance(class_names, str | bytes) or not hasattr(class_names, "__len__")
    ):
        raise TypeError(
            "class_names must be a sequence of one name per class; received "
            f"class_names={class_names!r} ({type(class_names).__name__}). Pass a list."
        )
    count = 1000 if class_names is None else len(class_names)
    if scores.ndim != 2 or scores.shape[1] != count:
        raise ValueError(
            f"predictions must have shape (batch, {count}); received {scores.shape}. "
            "Pass class_names with one name per class."
        )
    names = list(enumerate(class_names)) if class_names is not None else _imagenet()
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return [
        [(*names[index], float(row[index])) for index in best]
        for row, best in zip(scores, order, strict=True)
    ]


@functools.cache
def _imagenet() -> list[tuple[str, str]]:
    index = json.loads(fetch(CLASS_INDEX, CLASS_INDEX_FOLDER).read_bytes())
    return [tuple(index[str(number)]) for number in range(1000)]
