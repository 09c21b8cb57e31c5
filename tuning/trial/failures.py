"""How a trial fails: a loss that is no number, too little memory, no progress."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras

from tuning.points.values import text_of


class OutOfMemory(RuntimeError):
    """A trial's network or batches do not fit into memory."""


class TrialTimeout(RuntimeError):
    """A trial made no progress for too long."""


class FiniteLoss(keras.callbacks.Callback):
    """Ends training at a loss that is no number, in the batch where it arises.

    Args:
        point: The hyperparameters, for the message.

    Raises:
        FloatingPointError: A loss is NaN or infinite (raised while training).
    """

    # Keras then looks at a batch's loss while the next batches are on their way.
    async_safe = True

    def __init__(self, point: dict[str, Any]) -> None:
        super().__init__()
        self.point = point
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        self._check({"loss": (logs or {}).get("loss", 0.0)}, f"batch {batch + 1} of ")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._check(logs or {}, "")

    def _check(self, losses: dict[str, float], place: str) -> None:
        for name, value in losses.items():
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"Training must stay finite; {name} was {value} in {place}epoch "
                    f"{self.epoch + 1} with {text_of(self.point)}. Lower the learning "
                    "rate."
                )


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether Python, NumPy, TensorFlow, JAX or PyTorch ran out of memory."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(
        names & {"MemoryError", "ResourceExhaustedError", "OutOfMemoryError"}
    ) or "RESOURCE_EXHAUSTED" in str(error)


def is_of_another_file(error: BaseException | None, root: Path) -> bool:
    """Tell whether an error is of a file that is not below a folder."""
    while error is not None:
        name = error.filename if isinstance(error, OSError) else None
        if isinstance(name, str) and not Path(name).absolute().is_relative_to(root):
            return True
        error = error.__cause__ or error.__context__
    return False


def note_of(error: BaseException) -> str | None:
    """Return what kind of failure it is in a word or two; None for any other."""
    if isinstance(error, OutOfMemory):
        return "out of memory"
    if isinstance(error, FloatingPointError):
        return "loss not finite"
    if isinstance(error, TrialTimeout):
        return "no progress"
    return None
