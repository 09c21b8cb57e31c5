"""An AlexNet that notes how long its training takes, without what a search adds."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import keras

from alexnet import AlexNet

MODEL = "tests.benchmarks.timed_model:TimedAlexNet"  # For --model.
LOG = "ALEXNET_BENCHMARK_LOG"  # The variable that holds the path of the log.


@keras.saving.register_keras_serializable("tests.benchmarks")
class TimedAlexNet(AlexNet):
    """Writes the seconds from its construction to the end of `fit` to the log.

    What the callbacks given to `fit` do as training and epochs begin and end is not
    counted.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        begun = time.perf_counter()
        super().__init__(*args, **kwargs)
        self._begun = begun

    def fit(self, *args: Any, callbacks: Any = (), **kwargs: Any) -> Any:
        """Train, and write a line to the log."""
        clock = _Clock()
        around = [_calling(clock.start), *callbacks, _calling(clock.stop)]
        history = super().fit(*args, callbacks=around, **kwargs)
        seconds = time.perf_counter() - self._begun - clock.seconds
        with Path(os.environ[LOG]).open("a") as log:
            log.write(json.dumps(seconds) + "\n")
        return history


def training_seconds(log: Path, trials: int) -> float:
    """Return what so many trials wrote to the log, in all, and remove it.

    Raises:
        ValueError: Others wrote to it, or some did not.
    """
    lines = log.read_text().splitlines()
    log.unlink()
    if len(lines) != trials:
        raise ValueError(f"{trials} trials must have trained; {len(lines)} have.")
    return sum(map(json.loads, lines))


class _Clock:
    def __init__(self) -> None:
        self.seconds = self._started = 0.0

    def start(self, *_: Any) -> None:
        self._started = time.perf_counter()

    def stop(self, *_: Any) -> None:
        self.seconds += time.perf_counter() - self._started


def _calling(note: Any) -> keras.callbacks.Callback:
    # Not for batches: Keras calls such hooks beside the training.
    return keras.callbacks.LambdaCallback(
        on_train_begin=note,
        on_epoch_begin=note,
        on_epoch_end=note,
        on_train_end=note,
    )
