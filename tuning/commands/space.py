"""`python -m tuning space`: the hyperparameters and their ranges."""

from __future__ import annotations

from typing import Any

import click

from alexnet.commands.terminal import example, silence_libraries
from alexnet.compare.tables import table
from tuning.commands.options import setting
from tuning.settings import DataFacts, SearchSettings


@click.command(epilog=example("tuning space --image-shape 64 64 3"))
@click.option(
    "--image-shape",
    nargs=3,
    type=int,
    default=(32, 32, 3),
    show_default=True,
    metavar="HEIGHT WIDTH CHANNELS",
    help="Of the images: the ranges follow from it.",
)
@setting("model")
@setting("tune")
def space(image_shape: tuple[int, int, int], **given: Any) -> None:
    """List the hyperparameters and their ranges."""
    settings = SearchSettings(**given)
    silence_libraries()
    from tuning.space.search_space import SearchSpace

    rows = [("hyperparameter", "values", "default", "only if")]
    for entry in SearchSpace(settings, DataFacts(image_shape, 10, None)).hp.space:
        conditions = " and ".join(
            f"{condition.name} is {' or '.join(map(str, condition.values))}"
            for condition in entry.conditions
        )
        rows.append((entry.name, _values(entry), str(entry.default), conditions))
    print(table(rows, rule=False))


def _values(entry: Any) -> str:
    if hasattr(entry, "min_value"):
        scale = " (log)" if entry.sampling == "log" else ""
        return f"{entry.min_value:g} to {entry.max_value:g}{scale}"
    return ", ".join(map(str, entry.values))
