"""Labelled images, and the rules that hold for them wherever they come from."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np


class DataError(ValueError):
    """The images, their labels or the files that hold them cannot be used."""


class LabelledImages(NamedTuple):
    """Images with their classes.

    `x` is (n, height, width, channels): uint8 in 0..255, or float32 in [0, 1].
    `y` is (n,) int32: indices into `class_names`. `ignored` is the number of files
    and folders beside the images that were ignored.
    """

    x: np.ndarray
    y: np.ndarray
    class_names: tuple[str, ...]
    ignored: int = 0


def check_classes(source: str, y: np.ndarray, class_names: tuple[str, ...]) -> None:
    """Check that there are at least two classes, each with at least two images."""
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
            f"validation; received {source} with class {listed(few)}. Add images "
            "or leave the class out."
        )


def check_memory(count: int, shape: tuple[int, int, int], itemsize: int = 1) -> None:
    """Check that the images take at most half of the physical memory.

    The other half is for the training and validation parts, which are copies.
    """
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return
    needed = count * math.prod(shape) * itemsize
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > memory // 2:
        height, width, channels = shape
        raise DataError(
            "The images must take at most half of the machine's memory; received "
            f"{count:,} images of height {height}, width {width} and {channels} "
            f"channel(s), which need {needed / 2**30:,.1f} GiB, and the machine "
            f"has {memory / 2**30:,.1f} GiB. Pass a smaller image_size (on the "
            "command line --image-size) or use fewer images."
        )


def listed(items: Iterable[Any], limit: int = 6) -> str:
    """Return the first items as a text, and the number of the others."""
    items = list(items)
    rest = len(items) - limit
    return ", ".join(items[:limit]) + (f" and {rest} more" if rest > 0 else "")
