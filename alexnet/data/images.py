"""Images by name or by path, as NumPy arrays, split for training and validation."""

from __future__ import annotations

import dataclasses
import difflib
import os

import numpy as np

from alexnet.checks import check_float, check_int, check_pair, check_path
from alexnet.data.folders import read_folder
from alexnet.data.labelled import DataError, LabelledImages
from alexnet.data.named import CLASS_NAMES, read_named
from alexnet.data.npz import read_npz
from alexnet.data.pixels import resize_arrays

__all__ = ["CLASS_NAMES", "DataError", "ImageData", "load_images", "split"]


@dataclasses.dataclass(frozen=True, eq=False)
class ImageData:
    """Images to train on and to validate with.

    Attributes:
        x_train: (n, height, width, channels), uint8 in 0..255 or float32 in
            [0, 1].
        y_train: (n,) int32, indices into `class_names`.
        x_val, y_val: Likewise.
        class_names: One name per class.
        name: Name of the data, for titles and file names.
        ignored: Number of files and folders in a directory that were ignored.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    class_names: tuple[str, ...]
    name: str
    ignored: int = 0

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
                scikit-learn;
            "mnist", "fashion_mnist", "cifar10", "cifar100": downloaded by
                Keras; only the training part, so that the test part stays
                unseen;
            a directory with one folder of images per class (`read_folder`);
            an `.npz` file with arrays x and y (`read_npz`).
            A name has precedence over a path: write "./digits" for a directory.
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
    name, (x, y, class_names, ignored) = _read(data, size)
    if size is not None:
        x = resize_arrays(x, size)
    train, val = split(y, validation_fraction=fraction, seed=seed)
    return ImageData(x[train], y[train], x[val], y[val], class_names, name, ignored)


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


def _read(
    data: str | os.PathLike[str], size: tuple[int, int] | None
) -> tuple[str, LabelledImages]:
    """Return the name of `data` and its images."""
    path = check_path("data", data, "a name or a path", "Pass a str such as 'digits'.")
    if isinstance(data, str) and data in CLASS_NAMES:
        return data, read_named(data)
    # Shells do not expand the ~ of --data=~/images.
    path = path.expanduser() if str(data).startswith("~/") else path
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
