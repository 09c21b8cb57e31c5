"""How a trial fails: a loss that is no number, too little memory, no progress."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from tuning.store.records import Failure


class OutOfMemory(RuntimeError):
    """A trial's network or batches do not fit into memory."""


class TrialTimeout(RuntimeError):
    """A trial made no progress for too long."""


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and all from which or while handling which it was raised."""
    waiting: list[BaseException | None] = [error]
    seen = set()
    while waiting:
        found = waiting.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting += [found.__context__, found.__cause__]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether Python, NumPy, TensorFlow, JAX or PyTorch ran out of memory."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(
        names & {"MemoryError", "ResourceExhaustedError", "OutOfMemoryError"}
    ) or "RESOURCE_EXHAUSTED" in str(error)


def failure_of(error: BaseException) -> Failure:
    """Return what the oracle is to know of an error: its kind and its traceback."""
    kind = None
    if isinstance(error, OutOfMemory):
        kind = "out of memory"
    elif isinstance(error, FloatingPointError):
        kind = "loss not finite"
    elif isinstance(error, TrialTimeout):
        kind = "no progress"
    return Failure(kind=kind, message="".join(traceback.format_exception(error)))
