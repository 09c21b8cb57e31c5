"""Images in files: a directory with one folder per class, or an `.npz` file."""

from __future__ import annotations

import contextlib
import math
import os
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from alexnet.checks import Pair
from alexnet.data.colors import to_8_bit

# What file managers leave behind; names that start with "." are ignored too.
IGNORED_NAMES = frozenset({"thumbs.db", "desktop.ini"})
GRAY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})


class DataError(ValueError):
    """The images, their labels or the files that hold them cannot be used."""


class LabelledImages(NamedTuple):
    """Images with their classes.

    `x` is (n, height, width, channels): uint8 in 0..255, or float32 in [0, 1].
    `y` is (n,) int32: indices into `class_names`.
    """

    x: np.ndarray
    y: np.ndarray
    class_names: tuple[str, ...]


def read_folder(root: Path, image_size: Pair | None) -> LabelledImages:
    """Decode a directory that holds one folder of images per class.

    Classes and files are taken in alphabetical order. EXIF orientation is
    applied, transparency is laid on white, 16-bit grays are scaled to 8 bits,
    and of an animation the first frame counts. The images get one channel if
    every file is grayscale, otherwise three; a palette counts as color.

    Args:
        root: The directory. Hidden files, `Thumbs.db`, `desktop.ini` and files
            beside the class folders that are no images are ignored.
        image_size: (height, width) to resize to, as in `fit`; None
            if all images have the same size.

    Raises:
        DataError: A class, a file, the image sizes or the memory needed break
            a rule; the message names which.
    """
    files, labels, class_names = _list_classes(root)
    y = np.array(labels, np.int32)
    check_classes(f"the directory {root}", y, class_names)
    modes = set()
    for file in files:
        with _opened(file) as image:  # Reads the header only.
            modes.add(image.mode)
            if file == files[0]:
                first_size = image.height, image.width
    mode = "L" if modes <= GRAY_MODES else "RGB"
    check_memory(len(files), (*(image_size or first_size), len(mode)))
    first = _decode(files[0], mode, image_size)
    x = np.empty((len(files), *first.shape), np.uint8)
    for index, file in enumerate(files):
        pixels = _decode(file, mode, image_size) if index else first
        if pixels.shape != first.shape:
            raise DataError(
                "All images must have the same size unless image_size is given; "
                f"received {files[0]} with height {first.shape[0]} and width "
                f"{first.shape[1]}, but {file} with height {pixels.shape[0]} and "
                f"width {pixels.shape[1]}. Pass image_size (on the command line "
                "--image-size) to resize them all."
            )
        x[index] = pixels
    return LabelledImages(x, y, class_names)


def read_npz(file: Path) -> LabelledImages:
    """Read the arrays `x` and `y` of an `.npz` file.

    `x` is (n, height, width) or (n, height, width, channels) with 1 to 4
    channels: integers in 0..255 or floats in [0, 1]. `y` is (n,) or (n, 1):
    integers or strings, whose sorted unique values become the classes.

    Raises:
        DataError: The file is damaged or an array breaks one of these rules.
    """
    arrays = _load_arrays(file)
    x, y = _check_x(file, arrays["x"]), _check_y(file, arrays["y"])
    if len(x) != len(y):
        raise DataError(
            f"x and y must have the same length; received {file} with {len(x)} "
            f"images in x but {len(y)} labels in y. Give one label per image."
        )
    values, indices = np.unique(y, return_inverse=True)
    class_names = tuple(str(value) for value in values)
    check_classes(f"the file {file}", indices, class_names)
    return LabelledImages(x, indices.astype(np.int32), class_names)


def fit(image: Image.Image, image_size: Pair) -> Image.Image:
    """Cut out the largest centered part of these proportions and resize it.

    Bilinear and antialiased; `image_size` is (height, width).
    """
    height, width = image_size
    return ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)


def check_classes(source: str, y: np.ndarray, class_names: tuple[str, ...]) -> None:
    """Check that there are two classes or more, each with two images or more."""
    if len(class_names) < 2:
        raise DataError(
            f"There must be at least two classes; received {source} with only "
            f"the class {class_names[0]!r}. Add images of another class."
        )
    counts = np.bincount(y, minlength=len(class_names))
    few = [
        f"{name!r} with {count}"
        for name, count in zip(class_names, counts, strict=True)
        if count < 2
    ]
    if few:
        raise DataError(
            "Each class needs at least two images, one for training and one for "
            f"validation; received {source} with class {_listed(few)}. Add images "
            "or leave the class out."
        )


def check_memory(count: int, shape: tuple[int, int, int], itemsize: int = 1) -> None:
    """Check that the images take at most half of the physical memory.

    The other half is for the copies that the training and validation parts are.
    """
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return
    needed = count * math.prod(shape) * itemsize
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > memory // 2:
        height, width, channels = shape
        raise DataError(
            "The images must fit in half of the machine's memory; received "
            f"{count:,} images of height {height}, width {width} and {channels} "
            f"channel(s), which need {needed / 2**30:,.1f} GiB, and the machine "
            f"has {memory / 2**30:,.1f} GiB. Pass a smaller image_size (on the "
            "command line --image-size) or use fewer images."
        )


def _list_classes(root: Path) -> tuple[list[Path], list[int], tuple[str, ...]]:
    """Return the files, their class indices and the class names, sorted."""
    entries = _entries(root)
    folders = [entry for entry in entries if entry.is_dir()]
    if not folders:
        raise DataError(
            "The directory must hold one folder of images per class; received "
            f"{root} without any folder in it. Move the images of each class into "
            f"a folder of their own, such as {root / 'cat'}."
        )
    extensions = Image.registered_extensions()
    for entry in entries:
        if entry not in folders and entry.suffix.lower() in extensions:
            raise DataError(
                "Every image must lie in the folder of its class; received "
                f"{entry} beside the class folders. Move or remove it."
            )
    files: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        found = _entries(folder)
        if not found:
            raise DataError(
                "Each class folder must hold images; received the empty folder "
                f"{folder}. Add images or remove the folder."
            )
        for entry in found:
            if entry.is_dir():
                raise DataError(
                    "Images must lie directly in the folder of their class; "
                    f"received the folder {entry} inside a class folder. Pass the "
                    "directory that holds the class folders."
                )
        files += found
        labels += [label] * len(found)
    return files, labels, tuple(folder.name for folder in folders)


def _entries(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"The directory must be readable; received {folder}: {error}."
        ) from error
    return [
        entry
        for entry in entries
        if not entry.name.startswith(".") and entry.name.lower() not in IGNORED_NAMES
    ]


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """Open an image; blame the file for whatever goes wrong with it."""
    try:
        with warnings.catch_warnings():
            # Pillow refuses twice this many pixels, and so many it only warns of.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                yield image
    except Exception as error:  # Each of Pillow's decoders raises its own kinds.
        raise DataError(
            "Every file in a class folder must be an image that can be decoded; "
            f"received {file}: {error or type(error).__name__}. Replace or remove "
            "the file."
        ) from error


def _decode(file: Path, mode: str, image_size: Pair | None) -> np.ndarray:
    """Return (height, width, channels) uint8 with the channels of `mode`."""
    with _opened(file) as opened:
        opened.load()
        image = to_8_bit(ImageOps.exif_transpose(opened), mode)
    pixels = np.asarray(image if image_size is None else fit(image, image_size))
    return pixels.reshape(*pixels.shape[:2], len(mode))


def _load_arrays(file: Path) -> dict[str, np.ndarray]:
    try:
        with file.open("rb") as stream:
            if not zipfile.is_zipfile(stream):
                raise ValueError("it is no complete zip archive")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as archive:
                keys = list(archive)
                wanted = [key for key in ("x", "y") if key in keys]
                arrays = {key: np.asarray(archive[key]) for key in wanted}
    except Exception as error:  # zipfile, zlib and NumPy each raise their own kinds.
        raise DataError(
            "The file must be an .npz archive with arrays of numbers or strings; "
            f"received {file}: {error or type(error).__name__}. Save it again with "
            "numpy.savez(path, x=images, y=labels), without Python objects."
        ) from error
    for key in ("x", "y"):
        if key not in arrays:
            raise DataError(
                f"The file must hold the arrays x and y; received {file} without "
                f"{key}, but with {_listed(map(repr, keys)) or 'nothing'}. Save it "
                "with numpy.savez(path, x=images, y=labels)."
            )
    return arrays


def _check_x(file: Path, x: np.ndarray) -> np.ndarray:
    """Return (n, height, width, channels): uint8, or float32 in [0, 1]."""
    if x.ndim not in (3, 4) or 0 in x.shape or (x.ndim == 4 and x.shape[3] > 4):
        raise DataError(
            "x must be (n, height, width) or (n, height, width, channels) with 1 "
            f"to 4 channels and at least one image; received {file} with x of "
            f"shape {x.shape}. Put the channels last."
        )
    is_float = x.dtype.kind == "f" and x.itemsize <= 8
    if x.dtype.kind not in "iu" and not is_float:
        raise DataError(
            "x must hold integers in 0..255 or floats (16, 32 or 64 bits) in "
            f"[0, 1]; received {file} with x of type {x.dtype}. Save it as uint8."
        )
    low, high, largest = x.min(), x.max(), 1 if is_float else 255
    if not (low >= 0 and high <= largest):  # False for NaN, too.
        rule = "[0, 1] if it holds floats" if is_float else "0..255"
        raise DataError(
            f"x must lie in {rule}; received {file} with x of type {x.dtype} from "
            f"{low:g} to {high:g}. Divide it by the value of white (by 255, if that "
            "is white), save it as float32 and leave no NaN in it."
        )
    x = x.astype(np.float32 if is_float else np.uint8, copy=False)
    return x[..., np.newaxis] if x.ndim == 3 else x


def _check_y(file: Path, y: np.ndarray) -> np.ndarray:
    """Return (n,) integers or strings."""
    if y.ndim != 1 and not (y.ndim == 2 and y.shape[1] == 1):
        raise DataError(
            f"y must be (n,) or (n, 1), one label per image; received {file} with "
            f"y of shape {y.shape}. Turn one-hot labels into y.argmax(axis=1)."
        )
    if y.dtype.kind not in "iuU":
        raise DataError(
            f"y must hold integers or strings; received {file} with y of type "
            f"{y.dtype}. Convert it: y.astype('int64') or, from bytes, y.astype(str)."
        )
    return y.reshape(-1)


def _listed(items: Iterable[Any], limit: int = 6) -> str:
    items = list(items)
    rest = len(items) - limit
    return ", ".join(items[:limit]) + (f" and {rest} more" if rest > 0 else "")
