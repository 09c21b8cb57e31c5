"""The error of all readers, and the form of a file's values in its message."""

from __future__ import annotations

from typing import Any


class WeightsError(ValueError):
    """A weight file cannot be read, or does not match the model."""


def shown(value: Any) -> str:
    """Return a short, printable form of something a file contains."""
    if isinstance(value, str | bytes):
        return repr(value[:60]) + ("..." if len(value) > 60 else "")
    if isinstance(value, int | float | bool) or value is None:
        return repr(value)
    return f"a {type(value).__name__.strip('_').lower()}"
