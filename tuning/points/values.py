"""Points of the search space, as people see them."""

from __future__ import annotations

from typing import Any


def public(point: dict[str, Any]) -> dict[str, Any]:
    """Return hyperparameters without Hyperband's bookkeeping."""
    return {name: v for name, v in point.items() if not name.startswith("tuner/")}


def text_of(point: dict[str, Any]) -> str:
    """Return hyperparameters as text, without the oracle's own."""
    return ", ".join(f"{name}={value}" for name, value in public(point).items())
