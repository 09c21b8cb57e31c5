"""Tables as text, for terminals and pipes alike."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence

from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_RULE = Box("    \n    \n -  \n    \n    \n    \n    \n    \n")


def table(
    rows: Sequence[Sequence[str]], right: Collection[int] = (), rule: bool = True
) -> str:
    """Return rows as aligned columns, neither wrapped nor cut.

    Args:
        rows: The cells of each row, the headings first.
        right: Indices of the columns that are aligned to the right.
        rule: Whether there is a line under the headings.
    """
    grid = Table(
        box=_RULE if rule else None,
        padding=(0, 1, 0, 0) if rule else (0, 1),
        pad_edge=False,
        show_edge=False,
    )
    for index, heading in enumerate(rows[0]):
        grid.add_column(Text(heading), justify="right" if index in right else "left")
    for row in rows[1:]:
        grid.add_row(*map(Text, row))
    console = Console(width=sys.maxsize, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(grid)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
