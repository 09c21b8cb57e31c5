"""From a file, a PIL image or an array to pixels, in training and in prediction.

One orientation (EXIF's), one conversion of modes, one resizer.
"""

from __future__ import annotations

import contextlib
import os
import reprlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

from alexnet import checks
from alexnet.data.labelled import DataError, check_memory

GRAY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})
_LARGEST_16_BIT = 65535
# By the value of EXIF's orientation tag; 1 is upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@contextlib.contextmanager
def opened(file: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """Open an image file; its pixels are decoded when they are asked for.

    Raises:
        DataError: The file cannot be opened, or the body fails with it.
    """
    try:
        with warnings.catch_warnings():
            # Pillow raises at twice this number of pixels, and warns before.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # Of damaged EXIF blocks, which this module parses in every format.
            warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")
            with Image.open(file) as image:
                yield image
    except Exception as error:  # Each of Pillow's decoders raises its own kinds.
        raise DataError(
            "Every image must be a file that can be decoded; "
            f"received {file}: {error or type(error).__name__}. Replace or remove "
            "the file."
        ) from error


def to_8_bit(image: Image.Image, mode: str) -> Image.Image:
    """Return an image upright, with 8 bits per channel.

    It is turned as its EXIF orientation says; a damaged EXIF tag is ignored.
    16-bit grays are scaled to 8 bits, transparency is laid on white, and of an
    animation the first frame is taken.

    Args:
        image: In any of Pillow's modes.
        mode: "L" or "RGB".

    Raises:
        ValueError: Its pixels are floats, or integers of more than 16 bits.
    """
    turn = _turn(image)
    if turn is not None:
        image = image.transpose(turn)
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > _LARGEST_16_BIT:
            raise ValueError(
                f"its values range from {values.min()} to {values.max()}, outside "
                f"the 16-bit range 0..{_LARGEST_16_BIT}"
            )
        values[values == image.info.get("transparency", -1)] = _LARGEST_16_BIT
        # Pillow's own conversion clips at 255.
        scaled = np.rint(values * (255 / _LARGEST_16_BIT)).astype(np.uint8)
        return Image.fromarray(scaled).convert(mode)
    if image.mode == "F":
        raise ValueError("its pixels are floats; save it with 8 or 16 bits")
    if image.has_transparency_data:
        # Pillow converts premultiplied grays only to grays.
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert(mode)


def _turn(image: Image.Image) -> Image.Transpose | None:
    image.load()  # A file that cannot be decoded fails here, not below.
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return None


def resize(image: Image.Image, size: int | checks.Pair, *, cut: bool) -> Image.Image:
    """Resize an image, bilinear and antialiased.

    Args:
        image: The image.
        size: (height, width), or the length of the shorter side in pixels; the
            longer is then rounded down, as torchvision does.
        cut: Whether the largest centered part with the proportions of `size` is
            cut out first; otherwise other proportions are squeezed.
    """
    if isinstance(size, tuple):
        height, width = size
    else:
        width, height = (int(size * side / min(image.size)) for side in image.size)
    if (width, height) == image.size:
        return image
    if cut:
        return ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def resize_arrays(x: np.ndarray, size: checks.Pair) -> np.ndarray:
    """Cut and resize (n, height, width, channels) images to (height, width).

    Type and range of the values, uint8 or floats in [0, 1], are kept.

    Raises:
        DataError: The result would take more than half of the memory.
    """
    if x.shape[1:3] == size:
        return x
    shape = (*size, x.shape[3])
    check_memory(len(x), shape, x.itemsize)
    resized = np.empty((len(x), *shape), x.dtype)
    # Channel by channel: Pillow has no float color and treats a fourth
    # channel as transparency.
    for index, channel in np.ndindex(len(x), x.shape[3]):
        plane = Image.fromarray(np.ascontiguousarray(x[index, ..., channel]))
        resized[index, ..., channel] = resize(plane, size, cut=True)
    return resized if x.dtype == np.uint8 else np.clip(resized, 0, 1, out=resized)


def to_rgb(image: Any) -> Image.Image:
    """Return a file's image, a `PIL.Image` or an array as an upright RGB image.

    Args:
        image: Path, `PIL.Image`, or (height, width, 3) array of uint8.

    Raises:
        ValueError: It is none of these, or its pixels cannot be used.
    """
    if isinstance(image, str | os.PathLike):
        with opened(image) as file:
            return to_8_bit(file, "RGB")
    if isinstance(image, Image.Image):
        return to_8_bit(image, "RGB")
    rule = "it must be a path, a PIL.Image or bytes of shape (height, width, 3)"
    array = np.asarray(image)
    if array.ndim == 0 or array.dtype.kind not in "biuf":
        raise ValueError(
            f"{rule}; received {reprlib.repr(image)} ({type(image).__name__}). Open "
            "files with PIL.Image.open"
        )
    if (
        array.ndim != 3
        or array.shape[2] != 3
        or array.dtype != np.uint8
        or not array.size
    ):
        raise ValueError(
            f"{rule}; received {array.dtype} of shape {array.shape}. Convert it with "
            'image.astype("uint8")'
        )
    return Image.fromarray(array)
