"""Colors of images: 8 bits of gray or RGB, whatever they come with."""

from __future__ import annotations

import numpy as np
from PIL import Image

LARGEST_16_BIT = 65535


def to_8_bit(image: Image.Image, mode: str) -> Image.Image:
    """Return an image with 8 bits per channel.

    Grays of 16 bits are scaled, not cut off; transparency is laid on white.

    Args:
        image: In any of Pillow's modes.
        mode: "L" or "RGB".

    Raises:
        ValueError: Its pixels are floats, or integers of more than 16 bits.
    """
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > LARGEST_16_BIT:
            raise ValueError(
                f"its values range from {values.min()} to {values.max()}, outside "
                f"the 16-bit range 0..{LARGEST_16_BIT}"
            )
        values[values == image.info.get("transparency", -1)] = LARGEST_16_BIT
        # Pillow's own conversion clips at 255.
        scaled = np.rint(values * (255 / LARGEST_16_BIT)).astype(np.uint8)
        return Image.fromarray(scaled).convert(mode)
    if image.mode == "F":
        raise ValueError("its pixels are floats; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert(mode)
