"""Progress of a search, for people: trials done, best so far, time left."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text


class Progress:
    """Prints a line per ended trial and, on a terminal, a line that is kept current.

    Args:
        objective: Name of the metric; lower is better if it ends in "loss".
        stream: Where to print.
    """

    def __init__(self, objective: str, stream: TextIO | None = None) -> None:
        self.objective = objective
        self.stream = stream or sys.stdout
        self.live: Live | None = None
        self.started: float | None = None
        self.done_before: int | None = None
        self.printed = 0
        self.notified: set[str] = set()

    def update(self, progress: dict[str, Any]) -> None:
        """Show what has changed.

        Args:
            progress: Of `SearchOracle.progress`.
        """
        ended, total = progress["ended"], progress["total"]
        for message in progress.get("messages", ()):
            if message not in self.notified:
                self.notified.add(message)
                self.line(message)
        if self.started is None and progress["running"]:
            self.started = time.monotonic()
        if self.done_before is None:
            self.done_before = self.printed = len(ended)
            if ended:
                self.line(f"Resuming: {len(ended)} of {total} trials are done.")
        for index in range(self.printed, len(ended)):
            trial_id, status, score = ended[index]
            shown = "" if score is None else f"  {self.objective} {score:.4f}"
            self.line(
                f"trial {trial_id}  {status.lower()}{shown}  "
                f"[{self._summary(ended[: index + 1], total)}]"
            )
        self.printed = len(ended)
        if self.stream.isatty():
            running = ", ".join(progress["running"]) or "none"
            self._show(f"{self._summary(ended, total)}; running: {running}")

    def line(self, text: str) -> None:
        """Print a line above the current one."""
        if self.live is None:
            print(text, file=self.stream, flush=True)
        else:
            self.live.console.print(Text(text), soft_wrap=True)

    def close(self) -> None:
        """Remove the current line."""
        if self.live is not None:
            self.live.stop()
            self.live = None

    def _show(self, text: str) -> None:
        """Replace the current line, cut off at the terminal's width."""
        if self.live is None:
            self.live = Live(
                console=Console(file=self.stream, highlight=False),
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self.live.start()
            # A search that is killed would leave the terminal without one.
            self.live.console.show_cursor()
        self.live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)

    def _summary(self, ended: list[Any], total: int) -> str:
        parts = [f"{len(ended)} of {total} done"]
        scores = [score for _, status, score in ended if status == "COMPLETED"]
        if scores:
            best = min(scores) if self.objective.endswith("loss") else max(scores)
            parts.append(f"best {best:.4f}")
        done_here = len(ended) - (self.done_before or 0)
        if done_here and len(ended) < total and self.started is not None:
            pace = (time.monotonic() - self.started) / done_here
            parts.append(f"about {duration(pace * (total - len(ended)))} left")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return seconds as people say them: "45 s", "3 min", "2 h 10 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
