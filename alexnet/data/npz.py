"""Images and labels in an `.npz` file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from alexnet.data.labelled import DataError, LabelledImages, check_classes, listed


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
                f"{key}, but with {listed(map(repr, keys)) or 'nothing'}. Save it "
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
