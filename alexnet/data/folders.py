"""Images in a directory with one folder of images per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from alexnet.checks import Pair
from alexnet.data.labelled import DataError, LabelledImages, check_classes, check_memory
from alexnet.data.pixels import GRAY_MODES, opened, resize, to_8_bit

# Files of file managers; names that start with "." are ignored too.
IGNORED_NAMES = frozenset({"thumbs.db", "desktop.ini"})


def read_folder(root: Path, image_size: Pair | None) -> LabelledImages:
    """Decode a directory that holds one folder of images per class.

    Classes and files are taken in alphabetical order; each file becomes pixels
    as `to_8_bit` describes. The images get one channel if every file is
    grayscale, otherwise three; a palette counts as color.

    Args:
        root: The directory. Hidden files, `Thumbs.db`, `desktop.ini` and files
            beside the class folders that are not images are ignored.
        image_size: (height, width) to which the largest centered part with these
            proportions is resized; None if all images have the same size.

    Raises:
        DataError: A class, a file, the image sizes or the memory needed break
            a rule; the message names which.
    """
    files, labels, class_names = _list_classes(root)
    y = np.array(labels, np.int32)
    check_classes(f"the directory {root}", y, class_names)
    modes = set()
    for file in files:
        with opened(file) as image:  # Reads the header only.
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


def _decode(file: Path, mode: str, image_size: Pair | None) -> np.ndarray:
    """Return (height, width, channels) uint8 with the channels of `mode`."""
    with opened(file) as image:
        pixels = to_8_bit(image, mode)
    if image_size is not None:
        pixels = resize(pixels, image_size, cut=True)
    return np.asarray(pixels).reshape(pixels.height, pixels.width, len(mode))
