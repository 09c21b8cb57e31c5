"""Parts of images: the middle, and the ten views of 2012."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from alexnet import checks


def center_crop(images: Any, size: Any) -> Any:
    """Return the middle of images.

    Args:
        images: (..., height, width, channels), array or tensor.
        size: Side, or (height, width), of at most the images' size.

    Raises:
        TypeError, ValueError: The images have no shape, or are smaller.
    """
    height, width = _checked_size(images, size)
    top, left = (
        # Rounds halves to even, as torchvision does.
        round((length - side) / 2)
        for length, side in zip(images.shape[-3:-1], (height, width), strict=True)
    )
    return images[..., top : top + height, left : left + width, :]


def ten_views(images: Any, size: Any) -> Iterator[Any]:
    """Yield the ten views of images on which the networks of 2012 were tested.

    The four corners and the middle, then the same mirrored left to right
    (Krizhevsky et al., NeurIPS 2012, section 4.1).

    Args:
        images: (batch, height, width, channels), array or tensor.
        size: Side, or (height, width), of a view; at most the images' size.

    Yields:
        Ten times (batch, *size, channels).

    Raises:
        TypeError, ValueError: The images have no shape, or are smaller than a view.
    """
    height, width = _checked_size(images, size)
    bottom, right = images.shape[-3] - height, images.shape[-2] - width
    corners = ((0, 0), (0, right), (bottom, 0), (bottom, right))
    views = [
        *(images[..., y : y + height, x : x + width, :] for y, x in corners),
        center_crop(images, (height, width)),
    ]
    yield from views
    for view in views:
        yield (
            np.flip(view, -2)
            if isinstance(view, np.ndarray)
            else keras.ops.flip(view, -2)
        )


def _checked_size(images: Any, size: Any) -> checks.Pair:
    height, width = checks.check_pair("size", size)
    if not hasattr(images, "shape"):
        raise TypeError(
            "images must be an array or a tensor; received "
            f"images={reprlib.repr(images)} ({type(images).__name__}). Convert a list "
            "with np.stack."
        )
    if getattr(images.shape, "rank", 0) is None or None in images.shape[-3:-1]:
        raise ValueError(
            "images must have a known height and width; received shape "
            f"{images.shape}. Set it, as with tf.ensure_shape or set_shape."
        )
    if len(images.shape) < 3 or images.shape[-3] < height or images.shape[-2] < width:
        raise ValueError(
            "images must have shape (..., height, width, channels) with at least "
            f"{height} by {width} pixels; received {tuple(images.shape)}. Enlarge "
            "them, or ask for smaller views."
        )
    return height, width
