"""Progress: lines that say how many are done, the best score and the time left."""

from __future__ import annotations

import io
import re

import pytest

from tuning.view.progress import Progress, duration


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def state(ended=(), running=(), total=4):
    """Return what `SearchOracle.progress` returns."""
    return {"total": total, "running": list(running), "ended": list(ended)}


@pytest.mark.parametrize(
    ("objective", "best"), [("val_accuracy", "0.5000"), ("val_loss", "0.2500")]
)
def test_prints_a_line_per_ended_trial(objective, best):
    """Each ended trial is one line with its score, done of total, best, time left."""
    stream = io.StringIO()
    progress = Progress(objective, stream)
    progress.update(state(running=["0", "1"]))
    progress.update(state([("0", "COMPLETED", 0.25)], ["1", "2"]))
    progress.update(state([("0", "COMPLETED", 0.25)], ["1", "2"]))
    progress.update(
        state(
            [("0", "COMPLETED", 0.25), ("1", "FAILED", None), ("2", "COMPLETED", 0.5)]
        )
    )
    progress.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert re.fullmatch(
        rf"trial 0  completed  {objective} 0\.2500  "
        r"\[1 of 4 done, best 0\.2500, about \d+ s left\]",
        lines[0],
    )
    assert lines[1].startswith("trial 1  failed  [2 of 4 done, best 0.2500, about ")
    assert f"3 of 4 done, best {best}, about" in lines[2]


def test_the_last_line_has_no_time_left():
    """When all are done, no time left is shown."""
    stream = io.StringIO()
    progress = Progress("val_loss", stream)
    progress.update(state(running=["0"], total=1))
    progress.update(state([("0", "COMPLETED", 1.0)], total=1))
    assert stream.getvalue().endswith("[1 of 1 done, best 1.0000]\n")


def test_a_resumed_search_says_what_is_done():
    """What was done before is one line, and does not count for the pace."""
    stream = io.StringIO()
    progress = Progress("val_accuracy", stream)
    before = [("0", "COMPLETED", 0.5), ("1", "COMPLETED", 0.75)]
    progress.update(state(before))
    progress.update(state(before, ["2"]))
    progress.update(state([*before, ("2", "COMPLETED", 0.25)]))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Resuming: 2 of 4 trials are done."
    assert lines[1].startswith("trial 2  completed  val_accuracy 0.2500  [3 of 4 done,")
    assert "best 0.7500, about" in lines[1]
    assert len(lines) == 2


def test_a_terminal_has_a_line_that_is_kept_current(monkeypatch):
    """On a terminal the running trials are shown in a line that is overwritten."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    progress = Progress("val_accuracy", stream)
    progress.update(state(running=["0", "1"]))
    progress.update(state([("0", "COMPLETED", 0.5)], ["1", "2", *"3456789"]))
    progress.close()
    shown = re.split(r"\r?\x1b\[2K", stream.getvalue())
    plain = [re.sub(r"\x1b\[[?0-9]*[A-Za-z]|\r", "", part) for part in shown]
    line, *after = plain[1].splitlines()
    assert plain[0] == "0 of 4 done; running: 0, 1"
    assert line.startswith("trial 0  completed  val_accuracy 0.5000  [1 of 4 done, ")
    assert line.endswith(" left]")  # Longer than the terminal is wide, and whole.
    assert after == ["0 of 4 done; running: 0, 1"]
    assert plain[2].startswith("1 of 4 done, best 0.5000, about ")
    assert plain[2].endswith("…")
    assert len(plain[2]) == 60
    # Nothing stays but the lines; the cursor is seen all the time.
    assert plain[-1] == ""
    assert stream.getvalue().count("\x1b[?25l") == 1
    assert "\x1b[?25l\x1b[?25h" in stream.getvalue()


def test_a_message_is_printed_once():
    """What the oracle reports with every state is one line."""
    stream = io.StringIO()
    progress = Progress("val_loss", stream)
    for _ in range(2):
        progress.update({**state(), "messages": ["[red] is set aside."]})
    assert stream.getvalue() == "[red] is set aside.\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (45, "45 s"),
        (89.4, "89 s"),
        (89.9, "90 s"),
        (90, "2 min"),
        (3600, "60 min"),
        (5399, "1 h 30 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations_as_people_say_them(seconds, text):
    """A duration is given in seconds, minutes, or hours and minutes."""
    assert duration(seconds) == text
