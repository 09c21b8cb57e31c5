"""`python -m tuning`: search, status, best, space."""

from __future__ import annotations

import sys

import click

from alexnet.commands.terminal import HELP, example, run
from tuning.commands.results import best, status
from tuning.commands.search import search
from tuning.commands.space import space


@click.group(context_settings=HELP, epilog=example("tuning search"))
def tuning() -> None:
    """Search the hyperparameters of an AlexNet on your images.

    KerasTuner decides what to try, Ray runs the trials. Your shell completes the
    options of the command `tuning`, which is the same, after

        eval "$(_TUNING_COMPLETE=bash_source tuning)"

    with zsh_source or fish_source for other shells.
    """


for command in (search, status, best, space):
    tuning.add_command(command)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit status, as `alexnet.commands.terminal.run`."""
    return run(tuning, arguments)


if __name__ == "__main__":
    sys.exit(main())
