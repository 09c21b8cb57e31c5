"""Tables as text: aligned, whole, and the same in a pipe as in a terminal."""

from __future__ import annotations

from alexnet.compare.tables import table

ROWS = [("preset", "count", "what"), ("[b]one", "1,234", "x" * 200), ("2", "5", ":x:")]


def test_columns_are_aligned_and_whole(monkeypatch):
    """Nothing is wrapped, cut, colored or read as markup, however narrow it is."""
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert table(ROWS, right=(1,), rule=False).splitlines() == [
        "preset  count  what",
        "[b]one  1,234  " + "x" * 200,
        "2           5  :x:",
    ]
    lines = table(ROWS, right=(1,)).splitlines()
    assert set(lines.pop(1)) == {"-", " "}
    assert lines == table(ROWS, right=(1,), rule=False).splitlines()
