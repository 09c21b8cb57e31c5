"""Watch: ends a trial that makes no progress."""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import keras

from tuning.trial import interrupts
from tuning.trial.failures import TrialTimeout


class Watch:
    """Calls a function if nothing has happened for a while.

    A context manager: it watches from its beginning to its end, in a thread of its
    own.

    Args:
        timeout_s: Seconds without `beat` after which a trial counts as hung; None
            for a watch that does nothing.
        on_hang: Called once with a message that ends as a traceback does; in it is
            where the thread that began the watch is.
    """

    def __init__(self, timeout_s: float | None, on_hang: Callable[[str], None]) -> None:
        self.timeout_s = timeout_s
        self._on_hang = on_hang
        self._ended = threading.Event()
        self._deciding = threading.Lock()  # A trial ends, or hangs; not both.
        self._last = time.monotonic()

    def beat(self) -> None:
        """Note progress."""
        self._last = time.monotonic()

    def __enter__(self) -> Watch:
        if self.timeout_s is not None:
            watched = threading.get_ident()
            threading.Thread(
                target=self._watch, args=(self.timeout_s, watched), daemon=True
            ).start()
        return self

    def __exit__(self, *_: Any) -> None:
        with self._deciding:
            self._ended.set()

    def _watch(self, timeout_s: float, watched: int) -> None:
        self.beat()
        while (left := self._last + timeout_s - time.monotonic()) > 0:
            if self._ended.wait(left):
                return
        frame = sys._current_frames().get(watched)
        place = "".join(traceback.format_stack(frame)) if frame else ""
        message = (
            f"The trial was here:\n{place}TrialTimeout: A trial must end a batch "
            f"every {timeout_s:g} s; none has ended. Raise --trial-timeout, or fix "
            "what hangs."
        )
        with self._deciding:
            if not self._ended.is_set():
                self._on_hang(message)


class Beats(keras.callbacks.Callback):
    """Reports batches to a watch; ends training if the process was interrupted."""

    async_safe = True

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.watch.beat()
        interrupts.check()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.watch.beat()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.watch.beat()


class MainThreadInterrupt:
    """Raises `TrialTimeout` in the main thread, for as long as it is entered.

    It reaches Python code, sleeping or computing, and not a compiled library that
    hangs by itself.

    Raises:
        ValueError: This is not the main thread.
    """

    def __init__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise ValueError(
                "With trial_timeout and workers=0, the search must run in the main "
                "thread; it received another. Use workers=1."
            )
        self._message = ""
        self._is_entered = False

    def __enter__(self) -> MainThreadInterrupt:
        self._before = signal.signal(signal.SIGALRM, self._raise)
        self._is_entered = True
        return self

    def __exit__(self, *_: Any) -> None:
        self._is_entered = False
        signal.signal(signal.SIGALRM, self._before)

    def __call__(self, message: str) -> None:
        """Interrupt; for another thread to call."""
        self._message = message
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    def _raise(self, *_: Any) -> None:
        if self._is_entered:
            raise TrialTimeout(self._message)
