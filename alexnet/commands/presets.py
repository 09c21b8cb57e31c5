"""`python -m alexnet list` and `summary`: the presets, or one of them in detail."""

from __future__ import annotations

import click

from alexnet import checks
from alexnet.commands.terminal import example
from alexnet.compare.tables import table
from alexnet.presets import PRESETS


def complete_preset(
    context: click.Context, parameter: click.Parameter, begun: str
) -> list[str]:
    """Return the presets whose names begin as typed, for shells to complete."""
    return [name for name in PRESETS if name.startswith(begun)]


@click.command("list", epilog=example("alexnet list"))
def list_presets() -> None:
    """List the presets: published networks and their parameters."""
    rows = [
        (name, f"{row['parameters']:,}", row["description"].split(":")[0])
        for name, row in PRESETS.items()
    ]
    print(table([("preset", "parameters", "what"), *rows], right=(1,), rule=True))
    print("\nOne in detail: python -m alexnet summary PRESET")


@click.command(epilog=example("alexnet summary net145 --against paper"))
@click.argument("preset", shell_complete=complete_preset)
@click.option(
    "--against",
    metavar="PRESET",
    shell_complete=complete_preset,
    help="Then show in which layers and arguments it differs from this one.",
)
def summary(preset: str, against: str | None) -> None:
    """Show the layers, source, figures and preprocessing of PRESET."""
    for name in (preset, against):
        if name is not None:
            checks.check_preset(name, PRESETS)
    from alexnet.compare import summary as texts

    print(texts.summary(preset))
    if against is not None:
        print(f"\nagainst {against}:\n")
        print(texts.comparison(preset, against))
