"""Images and labels as `keras.Model.fit` takes them: made arrays, and checked."""

from __future__ import annotations

from typing import Any

import keras
import keras_tuner
import numpy as np

# The white of 8-bit images whose brightest pixel is darker is probably not 255.
DARK = 128


def as_array(value: Any) -> np.ndarray | None:
    """Return what is an array at heart as one: a tensor, a list or dict that holds one.

    None for anything else, such as a `tf.data.Dataset`.
    """
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    if isinstance(value, (list, tuple)) and value:
        is_box = len(value) == 1 and len(np.shape(value[0])) != 3  # 3: one image.
        value = value[0] if is_box and np.ndim(value[0]) else np.asarray(value)
    if isinstance(value, np.ndarray):
        return value
    if keras.ops.is_tensor(value):
        return keras.ops.convert_to_numpy(value)
    return np.asarray(value) if hasattr(value, "__array__") else None


def check_images(
    name: str, x: np.ndarray, image_shape: tuple[int, int, int], rescale: float | None
) -> None:
    """Check the shape and the type of images.

    Raises:
        FatalValueError: They are not (n, *image_shape), no numbers, or integers that
            nothing rescales.
    """
    if x.shape[1:] != image_shape:
        raise keras_tuner.errors.FatalValueError(
            f"Images must have the shape image_shape={image_shape}; received {name} "
            f"of shape {x.shape}. Pass HyperAlexNet the images' own."
        )
    if x.dtype.kind in "iu" and rescale is None:
        raise keras_tuner.errors.FatalValueError(
            "Images must lie in [0, 1] unless the model rescales them; received "
            f"{name} of type {x.dtype}. Pass rescale=1/255 to HyperAlexNet, or divide "
            "the images by 255."
        )


def check_labels(name: str, y: Any, count: int, num_classes: int) -> np.ndarray:
    """Return labels as an array of integers.

    Args:
        name: Of the argument.
        y: The labels, in whatever form.
        count: Number of images.
        num_classes: Number of classes.

    Raises:
        FatalValueError: They are not one integer in 0..num_classes - 1 per image.
    """
    labels = as_array(y)
    rule = f"{name} must hold one integer from 0 to {num_classes - 1} per image"
    if labels is None:
        raise keras_tuner.errors.FatalValueError(
            f"{rule}, as an array; received {name} of type {type(y).__name__}."
        )
    if labels.shape not in ((count,), (count, 1)):
        remedy = ""
        if labels.shape == (count, num_classes):
            remedy = f" For one-hot labels pass np.argmax({name}, axis=1)."
        raise keras_tuner.errors.FatalValueError(
            f"{rule}; received {name} of shape {labels.shape} for {count} images."
            + remedy
        )
    if labels.dtype.kind not in "biuf" or (labels % 1 != 0).any():
        raise keras_tuner.errors.FatalValueError(
            f"{rule}; received {name} of type {labels.dtype} with "
            f"{labels.ravel()[0].item()!r}. Number the classes: pass "
            f"np.unique({name}, return_inverse=True)[1]."
        )
    low, high = (int(labels.min()), int(labels.max())) if count else (0, 0)
    if low < 0 or high >= num_classes:
        remedy = f" Pass {name} - {low}." if 0 < low <= num_classes > high - low else ""
        raise keras_tuner.errors.FatalValueError(
            f"{rule}, of num_classes={num_classes}; received {name} from {low} to "
            f"{high}.{remedy}"
        )
    return labels.astype("int32")


def check_weights(weights: Any, count: int) -> np.ndarray:
    """Return the weights of images as an array.

    Raises:
        FatalValueError: They are not one number per image.
    """
    array = as_array(weights)
    if array is None or array.shape != (count,) or array.dtype.kind not in "biuf":
        received = type(weights).__name__ if array is None else array.shape
        raise keras_tuner.errors.FatalValueError(
            f"sample_weight must hold one number per image; received {received} for "
            f"{count} images."
        )
    return array.astype("float32")


def unexpected_range(x: np.ndarray, rescale: float | None) -> str | None:
    """Return a warning if pixel values are not in the range that is expected of them.

    Args:
        x: The images.
        rescale: The model's factor of pixel values; None for images in [0, 1].
    """
    if not x.size or x.dtype.kind not in "biuf":
        return None
    low, high = float(x.min()), float(x.max())
    seen = f"received images from {low:g} to {high:g}"
    if low == high:
        return f"All pixels are equal: {seen}. Check how the images are read."
    if rescale is None and not 0 <= low <= high <= 1:
        return (
            f"Pixel values are expected from 0 to 1; {seen}. Scale them, or pass "
            "rescale to HyperAlexNet, such as 1/255 for 0 to 255."
        )
    if rescale is not None and (low < 0 or high < DARK or high * rescale > 1.01):
        return (
            f"Pixel values are expected from 0 to {1 / rescale:g}; {seen}, so that "
            f"white may be {high:g}. Scale them, or pass images in [0, 1]."
        )
    return None
