"""`python -m tuning status` and `best`: what a search directory holds."""

from __future__ import annotations

from typing import Any

import click

from alexnet.commands.terminal import example
from tuning.settings import SearchSettings
from tuning.store.files import StoreError, read_json
from tuning.store.layout import Store

_directory = click.argument("directory", type=click.Path(readable=False))


@click.command(epilog=example("tuning status runs/digits"))
@_directory
@click.option(
    "--top",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Trials to list.",
)
def status(directory: str, top: int) -> None:
    """Show how far the search in DIRECTORY has come."""
    from tuning.view import status as view

    print(view.status(*_stored(directory), top))


@click.command(epilog=example("tuning best runs/digits"))
@_directory
def best(directory: str) -> None:
    """Show the best trial of the search in DIRECTORY."""
    from tuning.store.results import ranked, read_results

    settings, store = _stored(directory)
    row = next(iter(ranked(read_results(store), settings.objective)), None)
    if row is None:
        raise ValueError(
            f"A search must have completed a trial; received {store.root}, where "
            "none has. Wait for one, or see `python -m tuning status`."
        )
    print(f"trial {row['trial']}: {settings.objective} {row['score']}")
    for name, value in row["hyperparameters"].items():
        print(f"  {name:24} {value}")
    if _has_model_of(store, row["hyperparameters"]):
        print(
            "\nUse it:\n  import alexnet, keras\n"
            f"  model = keras.saving.load_model({str(store.best_model_file)!r})"
        )
    else:
        print("\nIts model is written when the search ends.")


def _has_model_of(store: Store, values: dict[str, Any]) -> bool:
    """Return whether best/ holds the model of these values, not of earlier ones."""
    file = store.best_hyperparameters_file
    if not store.best_model_file.exists() or not file.exists():
        return False
    try:
        return read_json(file) == values
    except ValueError:  # It is damaged; the search's own command writes it again.
        return False


def _stored(directory: str) -> tuple[SearchSettings, Store]:
    from tuning.store.recovery import stored_settings

    store = Store(directory)
    store.check_version()
    if not store.settings_file.exists():
        raise StoreError(
            f"The directory must hold a search; received {directory}, which has no "
            "search.json. Name the --directory that the search was started with."
        )
    try:
        return stored_settings(store), store
    except ValueError as error:
        raise StoreError(
            "search.json must hold a search's settings; received "
            f"{store.settings_file}: {error}. The search's own command rebuilds it."
        ) from error
