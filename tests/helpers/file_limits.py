"""Limits of this process that fail a write, as a full disk or a quota does."""

from __future__ import annotations

import resource
import signal
from contextlib import contextmanager


@contextmanager
def limited_files(size):
    """Let no file that this process writes grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
