"""Images: by name, from folders and files, as arrays."""

from __future__ import annotations

from alexnet.data.images import CLASS_NAMES, ImageData, load_images

__all__ = ["CLASS_NAMES", "ImageData", "load_images"]
