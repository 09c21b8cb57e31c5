"""Weight files that are refused, for little work: a clock would measure the machine."""

from __future__ import annotations

import contextlib
import sys
import tracemalloc

import pytest

from alexnet.weights import WeightsError, readers

MIB = 1 << 20


class TooMuchWork(BaseException):
    """Not an `Exception`, so that nothing that is tested takes it for its own."""


@contextlib.contextmanager
def at_most_bytes(size):
    """Fail if the body takes more bytes of memory than this."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


@contextlib.contextmanager
def at_most_calls(calls):
    """Stop the body, and fail, when it has called more functions than this."""
    left = calls

    def count(frame, event, argument):
        nonlocal left
        left -= event in ("call", "c_call")
        if left < 0:
            sys.setprofile(None)
            raise TooMuchWork(f"more than {calls} calls")

    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(None)


def refused(path, data, match, size=None, calls=None):
    """Assert that a reader refuses a file with this message, and for little work.

    Args:
        path: Where to write the file.
        data: Its bytes.
        match: Pattern of the message.
        size: The most bytes of memory, beside twice the file's own.
        calls: The most function calls.
    """
    path.write_bytes(data)
    with contextlib.ExitStack() as bounds:
        if size is not None:
            bounds.enter_context(at_most_bytes(size + 2 * len(data)))
        if calls is not None:
            bounds.enter_context(at_most_calls(calls))
        with pytest.raises(WeightsError, match=match):
            readers.read(path)
