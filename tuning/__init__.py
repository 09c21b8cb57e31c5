"""Hyperparameter search over AlexNets: KerasTuner decides, Ray runs.

Names are imported when first used, so that `python -m tuning --help` answers
without loading TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuning.search import SearchError, SearchResult, run_search
    from tuning.settings import SearchSettings
    from tuning.space.hypermodel import HyperAlexNet

__all__ = [
    "HyperAlexNet",
    "SearchError",
    "SearchResult",
    "SearchSettings",
    "run_search",
]

_MODULES = {
    "HyperAlexNet": "space.hypermodel",
    "SearchError": "search",
    "SearchResult": "search",
    "SearchSettings": "settings",
    "run_search": "search",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'tuning' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tuning.{_MODULES[name]}"), name)
