"""The ablations of 2012, and the tables of the README that show them."""

from __future__ import annotations

from pathlib import Path

import pytest

from alexnet.presets import PRESETS
from alexnet.presets.ablations import ABLATIONS, cost

README = (Path(__file__).resolve().parents[3] / "alexnet" / "README.md").read_text()


@pytest.mark.parametrize(
    ("variant", "top1", "top5"),
    [
        ("net148", 1.4, 1.2),
        ("net147", 0.4, 0.3),
        ("net145_half", 1.7, 1.2),
        ("net146", -1.7, -1.6),
    ],
)
def test_costs_are_those_of_the_paper(variant, top1, top5):
    """What each part is worth in the code's logs rounds to the paper's numbers."""
    (ablation,) = (row for row in ABLATIONS if row["variant"] == variant)
    assert [round(points, 1) for points in cost(ablation)] == [top1, top5]


def test_readme_shows_the_ablations():
    """The README's table has a line for each ablation, with its cost."""
    for row in ABLATIONS:
        top1, top5 = (f"{points:+.1f}".replace("-", "−") for points in cost(row))
        (line,) = (
            line
            for line in README.splitlines()
            if line.startswith(f"| {row['part']} | `{row['variant']}`")
        )
        assert line.endswith(f"| {top1} / {top5} |"), line


def test_readme_shows_every_preset():
    """The README's table has a line for each preset, with its parameters."""
    for name, row in PRESETS.items():
        (line,) = (
            line for line in README.splitlines() if line.startswith(f"| `{name}` |")
        )
        assert line.endswith(f"| {row['parameters']:,} |"), line
