"""Ctrl-C: an interruption that cannot get lost.

Python drops a KeyboardInterrupt that arises in the callback of a weak reference,
of which many run while the last trial's network is cleared away. It is therefore
remembered, and raised again after the next batch.
"""

from __future__ import annotations

import signal
from typing import Any

_is_wanted = False


def install() -> None:
    """Have Ctrl-C, and what stops services, interrupt this process."""
    # Shells have what they start in the background ignore SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def check() -> None:
    """Raise KeyboardInterrupt if the process was interrupted."""
    if _is_wanted:
        raise KeyboardInterrupt


def _interrupt(*_: Any) -> None:
    global _is_wanted
    _is_wanted = True
    raise KeyboardInterrupt
