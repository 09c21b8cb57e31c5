"""Images by name or by path, as NumPy arrays, split for training and validation."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import os
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet.checks import check_float, check_int, check_pair
from alexnet.data.image_files import (
    DataError,
    LabelledImages,
    check_classes,
    check_memory,
    fit,
    read_folder,
    read_npz,
)

_GOOGLE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
_TORONTO = "https://www.cs.toronto.edu/~kriz/"

# In the order of the class indices.
_CLASS_NAMES = {
    "digits": "0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
    "mnist": "0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
    "fashion_mnist": """
        T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag,
        Ankle boot
    """,
    "cifar10": """
        airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck
    """,
    "cifar100": """
        apple, aquarium_fish, baby, bear, beaver, bed, bee, beetle, bicycle, bottle,
        bowl, boy, bridge, bus, butterfly, camel, can, castle, caterpillar, cattle,
        chair, chimpanzee, clock, cloud, cockroach, couch, crab, crocodile, cup,
        dinosaur, dolphin, elephant, flatfish, forest, fox, girl, hamster, house,
        kangaroo, keyboard, lamp, lawn_mower, leopard, lion, lizard, lobster, man,
        maple_tree, motorcycle, mountain, mouse, mushroom, oak_tree, orange, orchid,
        otter, palm_tree, pear, pickup_truck, pine_tree, plain, plate, poppy, porcupine,
        possum, rabbit, raccoon, ray, road, rocket, rose, sea, seal, shark, shrew,
        skunk, skyscraper, snail, snake, spider, squirrel, streetcar, sunflower,
        sweet_pepper, table, tank, telephone, television, tiger, tractor, train, trout,
        tulip, turtle, wardrobe, whale, willow_tree, wolf, woman, worm
    """,
}
CLASS_NAMES = {
    name: tuple(part.strip() for part in text.split(","))
    for name, text in _CLASS_NAMES.items()
}

# Where each file is published, and where below its cache Keras looks for it
# (keras/src/datasets; the same in Keras 3.12 and 3.15).
_DOWNLOADS = {
    "mnist": {f"{_GOOGLE}mnist.npz": "datasets/mnist.npz"},
    "fashion_mnist": {
        f"{_GOOGLE}{part}-ubyte.gz": f"datasets/fashion-mnist/{part}-ubyte.gz"
        for part in (
            *("train-labels-idx1", "train-images-idx3"),
            *("t10k-labels-idx1", "t10k-images-idx3"),
        )
    },
    "cifar10": {
        f"{_TORONTO}cifar-10-python.tar.gz": (
            "datasets/cifar-10-batches-py-target_archive"
        )
    },
    "cifar100": {
        f"{_TORONTO}cifar-100-python.tar.gz": "datasets/cifar-100-python-target_archive"
    },
}


@dataclasses.dataclass(frozen=True, eq=False)
class ImageData:
    """Images to train on and to validate with.

    Attributes:
        x_train: (n, height, width, channels), uint8 in 0..255 or float32 in
            [0, 1].
        y_train: (n,) int32, indices into `class_names`.
        x_val, y_val: Likewise.
        class_names: One name per class.
        name: What the data is called, for titles and file names.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    class_names: tuple[str, ...]
    name: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Return (height, width, channels)."""
        height, width, channels = self.x_train.shape[1:]
        return height, width, channels

    @property
    def num_classes(self) -> int:
        """Return the number of classes."""
        return len(self.class_names)


def load_images(
    data: str | os.PathLike[str],
    *,
    image_size: int | tuple[int, int] | None = None,
    validation_fraction: float = 0.2,
    seed: int = 0,
) -> ImageData:
    """Load images and split them, class by class, for training and validation.

    Args:
        data: One of
            "digits": 1,797 handwritten digits of 8 x 8 pixels that come with
                scikit-learn, nothing to download;
            "mnist", "fashion_mnist", "cifar10", "cifar100": downloaded by
                Keras; the training part only, so that the test part stays
                unseen;
            a directory with one folder of images per class (`read_folder`);
            an `.npz` file with arrays x and y (`read_npz`).
            A name goes before a path: write "./digits" for a directory.
        image_size: Pixels, one number or (height, width): the largest centered
            part with these proportions is cut out and resized. None keeps the
            size; the files of a directory must then all have the same.
        validation_fraction: Share of each class for validation, in (0, 1);
            rounded, but each class keeps at least one image in either part.
        seed: int >= 0. The same data and seed give the same split. Both parts
            keep the original order.

    Returns:
        The images, uint8 or (from an `.npz` file of floats) float32.

    Raises:
        DataError: The data cannot be found, read or used (a `ValueError`).
        TypeError, ValueError: Another argument is outside its range.
    """
    size = None if image_size is None else check_pair("image_size", image_size)
    fraction = check_float("validation_fraction", validation_fraction, above=0, below=1)
    seed = check_int("seed", seed, 0)
    name, (x, y, class_names) = _read(data, size)
    if size is not None:
        x = resize_images(x, size)
    train, val = split(y, validation_fraction=fraction, seed=seed)
    return ImageData(x[train], y[train], x[val], y[val], class_names, name)


def split(
    y: np.ndarray, *, validation_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices for training and for validation, both ascending.

    Of the n >= 2 images of a class, `round(n * validation_fraction)` go to
    validation, at least 1 and at most n - 1: the first of a permutation drawn
    from `np.random.default_rng([seed, class_index])`.

    Args:
        y: (n,) integers, class indices.
        validation_fraction: In (0, 1).
        seed: int >= 0.
    """
    chosen = np.zeros(len(y), bool)
    for class_index in np.unique(y):
        members = np.flatnonzero(y == class_index)
        wanted = max(1, round(len(members) * validation_fraction))
        order = np.random.default_rng([seed, int(class_index)]).permutation(members)
        chosen[order[: min(wanted, len(members) - 1)]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def resize_images(x: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Resize (n, height, width, channels) images to (height, width), as `fit` does.

    Type and range of the values are kept.

    Raises:
        DataError: The result would not fit in half of the memory.
    """
    if x.shape[1:3] == image_size:
        return x
    shape = (*image_size, x.shape[3])
    check_memory(len(x), shape, x.itemsize)
    resized = np.empty((len(x), *shape), x.dtype)
    # Channel by channel: Pillow has no float color and treats a fourth
    # channel as transparency.
    for index, channel in np.ndindex(len(x), x.shape[3]):
        plane = Image.fromarray(np.ascontiguousarray(x[index, ..., channel]))
        resized[index, ..., channel] = fit(plane, image_size)
    return resized if x.dtype == np.uint8 else np.clip(resized, 0, 1, out=resized)


def _read(
    data: str | os.PathLike[str], size: tuple[int, int] | None
) -> tuple[str, LabelledImages]:
    """Return what `data` is called and the images it stands for."""
    if not isinstance(data, (str, os.PathLike)):
        raise TypeError(
            f"data must be a name or a path; received data={data!r} "
            f"({type(data).__name__}). Pass a str such as 'digits'."
        )
    if data == "digits":
        return "digits", _load_digits()
    if isinstance(data, str) and data in CLASS_NAMES:
        return data, _load_from_keras(data)
    # Shells leave the ~ of --data=~/images alone.
    path = Path(data).expanduser() if str(data).startswith("~/") else Path(data)
    if data != "" and path.is_dir():
        return path.resolve().name, read_folder(path, size)
    if path.is_file() and path.suffix.lower() == ".npz":
        return path.stem, read_npz(path)
    near = difflib.get_close_matches(str(data).lower(), CLASS_NAMES, n=1)
    raise DataError(
        f"data must be one of {', '.join(CLASS_NAMES)}, a directory with one folder of "
        f"images per class, or an .npz file; received data={str(data)!r}, "
        + (
            "a file of another kind."
            if path.is_file()
            else "which is no such name and does not exist as a path."
        )
        + (f" Did you mean {near[0]!r}?" if near else " Check the spelling.")
    )


def _load_digits() -> LabelledImages:
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # Values are 0..16.
    return LabelledImages(
        x[..., np.newaxis], digits.target.astype(np.int32), CLASS_NAMES["digits"]
    )


def _load_from_keras(name: str) -> LabelledImages:
    import keras

    try:
        dataset = importlib.import_module(f"keras.datasets.{name}")
        (x, y), _ = dataset.load_data()
        if y.max() >= len(CLASS_NAMES[name]):
            raise ValueError(f"the files hold a label {y.max()}")
    except Exception as error:  # Keras raises a bare Exception for a failed download.
        folder = _keras_cache()
        files = "\n".join(
            f"  {address}\n    as {folder / file}"
            for address, file in _DOWNLOADS[name].items()
        )
        raise DataError(
            f"The files of data={name!r} must be downloaded or in the cache of Keras; "
            f"received: {str(error).rstrip('.') or type(error).__name__}. Where "
            "there is a network, download what follows, and save it unchanged under "
            "exactly these names, in place of what may be there:\n"
            f"{files}\nOr pass data='digits', which needs no download."
        ) from error
    if x.ndim == 3:
        x = x[..., np.newaxis]
    elif keras.config.image_data_format() == "channels_first":
        x = np.moveaxis(x, 1, -1)
    y = y.reshape(-1).astype(np.int32)
    check_classes(f"data={name!r}", y, CLASS_NAMES[name])
    return LabelledImages(x, y, CLASS_NAMES[name])


def _keras_cache() -> Path:
    """Return the folder that `keras.utils.get_file` looks in.

    Keras has no public function for it; this repeats keras/src/backend/config.py
    and keras/src/utils/file_utils.py.
    """
    home = Path.home() if os.access(Path.home(), os.W_OK) else Path("/tmp")
    cache = os.environ.get("KERAS_HOME", f"{home}/.keras")
    if not cache or not os.access(Path(cache).expanduser(), os.W_OK):
        return Path("/tmp/.keras")
    return Path(cache).expanduser().absolute()
