"""What a model does with pixels before the first block."""

from __future__ import annotations

from typing import Any

import keras

from alexnet import checks


def check_channel_values(
    name: str, value: Any, channels: int, *, above: float | None = None
) -> tuple[float, ...] | None:
    """Return None, or one number per channel as a tuple."""
    if value is None:
        return None
    try:
        values = tuple(checks.check_float(name, item, above=above) for item in value)
    except (TypeError, ValueError):
        values = ()
    if len(values) != channels:
        raise ValueError(
            f"{name} must be a tuple of one number for each of the {channels} "
            "channel(s) of "
            f"image_shape{'' if above is None else f', greater than {above:g}'}; "
            f"received {name}={value!r}. Pass as many, or None; the presets' own "
            "preprocessing is for RGB."
        )
    return values


def draw_pixels(
    inputs: Any,
    rescale: float | None,
    pixel_mean: tuple[float, ...] | None,
    pixel_std: tuple[float, ...] | None,
    resize: Any,
) -> Any:
    """Draw what the arguments of the same names say; return the output.

    Args:
        inputs: Symbolic tensor, (batch, height, width, channels).
        rescale, pixel_mean, pixel_std, resize: As of the model.
    """
    outputs = inputs
    scale: Any = 1.0 if rescale is None else rescale
    offset: Any = 0.0
    if pixel_std is not None:
        scale = [scale / std for std in pixel_std]
    if pixel_mean is not None:
        stds = pixel_std or (1.0,) * len(pixel_mean)
        offset = [-mean / std for mean, std in zip(pixel_mean, stds, strict=True)]
    if (scale, offset) != (1.0, 0.0):
        outputs = keras.layers.Rescaling(
            scale, offset, name="rescale", dtype="float32"
        )(outputs)
    if resize is not None:
        outputs = keras.layers.Resizing(
            *checks.check_pair("resize", resize),
            data_format="channels_last",
            name="resize",
            dtype="float32",
        )(outputs)
    return outputs
