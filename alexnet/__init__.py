"""AlexNet for Keras: every published variant, exact and easy to subclass."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
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


def _runs_command() -> bool:
    """Return whether this process runs a command of ours, as module or as script."""
    if sys.argv[:1] == ["-m"]:  # Until Python has found the module to run.
        return sys.orig_argv[-len(sys.argv)] == "alexnet"
    script = Path(sys.argv[0] if sys.argv else "")
    if script == Path(__file__).parents[1] / "tuning" / "__main__.py":
        return True
    # Any script may have these names; those that pip installs import the command.
    is_named = script.name in ("alexnet", "tuning") and script.is_file()
    imports = f"from {script.name}.__main__ import main"
    return is_named and imports.encode() in script.read_bytes()


# Keras loads a .keras file in safe mode only if its classes are registered, and it
# has no hook that would import them on demand; so importing alexnet imports them,
# with Keras. The exception are the commands, which answer at once and import Keras
# when they need it. Any other way to get here imports everything.
if not _runs_command():
    from alexnet.layers.conv_block import ConvBlock
    from alexnet.layers.local_response import LocalResponseNormalization
    from alexnet.layers.spatial_response import SpatialResponseNormalization
    from alexnet.model.network import AlexNet
