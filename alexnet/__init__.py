"""AlexNet for Keras: every published variant, exact and easy to subclass."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

if os.environ.get("TF_USE_LEGACY_KERAS", "0").lower() not in ("", "0", "false"):
    raise ImportError(
        "alexnet needs Keras 3; received TF_USE_LEGACY_KERAS="
        f"{os.environ['TF_USE_LEGACY_KERAS']!r}, which makes tf.keras Keras 2. "
        "Unset the variable."
    )

__all__ = [
    "AlexNet",
    "ConvBlock",
    "LocalResponseNormalization",
    "SpatialResponseNormalization",
]

_MODULES = {
    "AlexNet": "model.network",
    "ConvBlock": "layers.conv_block",
    "LocalResponseNormalization": "layers.local_response",
    "SpatialResponseNormalization": "layers.spatial_response",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'alexnet' has no attribute {name!r}")
    return getattr(importlib.import_module(f"alexnet.{_MODULES[name]}"), name)


# Keras loads a .keras file in safe mode only if its classes are registered, and it
# has no hook that would import them on demand; so importing alexnet imports them,
# with Keras. The exception is `python -m alexnet`, whose commands answer at once and
# import Keras when they need it. Python imports this file before it knows what to
# run: sys.argv is then ["-m", arguments...], and sys.orig_argv ends with the module
# and the same arguments. Any other way to get here imports everything.
if sys.argv[:1] != ["-m"] or sys.orig_argv[-len(sys.argv)] != "alexnet":
    from alexnet.layers.conv_block import ConvBlock
    from alexnet.layers.local_response import LocalResponseNormalization
    from alexnet.layers.spatial_response import SpatialResponseNormalization
    from alexnet.model.network import AlexNet
