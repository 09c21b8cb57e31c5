"""Images in a directory with one folder of images per class."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alexnet.checks import Pair
from alexnet.data.labelled import DataError, LabelledImages, check_classes, check_memory
from alexnet.data.pixels import GRAY_MODES, opened, resize, to_8_bit

# What file managers, archives, network disks and synchronizers leave behind; names
# that start with "." or "~$", and those that end in "~", are ignored too.
IGNORED_NAMES = frozenset(
    [
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
        "__macosx",
        "@eadir",
        "#recycle",
        "@recycle",
        "$recycle.bin",
        "#snapshot",
        "system volume information",
        "lost+found",
        "__pycache__",
    ]
)
IGNORED_ENDS = ("~", "@synoeastream", "@synoresource", ".part", ".crdownload", ".tmp")


def read_folder(root: Path, image_size: Pair | None) -> LabelledImages:
    """Decode a directory that holds one folder of images per class.

    Files are taken in alphabetical order; so are classes, but numbers in their
    names count as numbers: 2 comes before 10. Each file becomes pixels as `to_8_bit`
    describes. The images get one channel if every file is
    grayscale, otherwise three; a palette counts as color.

    Args:
        root: The directory. Ignored and counted are hidden files, what file
            managers, archives and synchronizers leave behind (`Thumbs.db`,
            `__MACOSX`, `@eaDir`), and files beside the class folders that are not
            images.
        image_size: (height, width) to which the largest centered part with these
            proportions is resized; None if all images have the same size.

    Raises:
        DataError: A class, a file, the image sizes or the memory needed break
            a rule; the message names which.
    """
    files, labels, class_names, ignored = _list_classes(root)
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
    return LabelledImages(x, y, class_names, ignored)


def _list_classes(root: Path) -> tuple[list[Path], list[int], tuple[str, ...], int]:
    """Return the files, their class indices, the class names, and what is ignored."""
    entries, ignored = _entries(root)
    folders = [entry for entry in entries if entry.is_dir()]
    folders.sort(key=_natural)
    ignored += len(entries) - len(folders)
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
        found, ignored_here = _entries(folder)
        ignored += ignored_here
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
    return files, labels, tuple(folder.name for folder in folders), ignored


def _natural(folder: Path) -> tuple[list[Any], str]:
    """Return a key that sorts the numbers in names as numbers."""
    parts: list[Any] = re.split(r"(\d+)", folder.name)
    parts[1::2] = map(int, parts[1::2])
    return parts, folder.name


def _entries(folder: Path) -> tuple[list[Path], int]:
    """Return what a folder holds, sorted, and the number of entries left out."""
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"The directory must be readable; received {folder}: {error}."
        ) from error
    kept = [entry for entry in entries if not _is_left_behind(entry.name.lower())]
    return kept, len(entries) - len(kept)


def _is_left_behind(name: str) -> bool:
    return (
        name in IGNORED_NAMES
        or name.startswith((".", "~$"))
        or name.endswith(IGNORED_ENDS)
    )


def _decode(file: Path, mode: str, image_size: Pair | None) -> np.ndarray:
    """Return (height, width, channels) uint8 with the channels of `mode`."""
    with opened(file) as image:
        pixels = to_8_bit(image, mode)
    if image_size is not None:
        pixels = resize(pixels, image_size, cut=True)
    return np.asarray(pixels).reshape(pixels.height, pixels.width, len(mode))
