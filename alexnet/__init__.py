"""AlexNet for Keras: every published variant, exact and easy to subclass."""

from __future__ import annotations

import os

if os.environ.get("TF_USE_LEGACY_KERAS", "0").lower() not in ("", "0", "false"):
    raise ImportError(
        "alexnet needs Keras 3; received TF_USE_LEGACY_KERAS="
        f"{os.environ['TF_USE_LEGACY_KERAS']!r}, which makes tf.keras Keras 2. "
        "Unset the variable."
    )

from alexnet.blocks import ConvBlock
from alexnet.model import AlexNet
from alexnet.normalization import LocalResponseNormalization
from alexnet.spatial_normalization import SpatialResponseNormalization

__all__ = [
    "AlexNet",
    "ConvBlock",
    "LocalResponseNormalization",
    "SpatialResponseNormalization",
]
