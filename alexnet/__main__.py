"""`python -m alexnet`: the presets, one in detail or against another, weights.

Modules that need Keras are imported when a command runs, so that `--help` and the
list of presets answer at once.
"""

from __future__ import annotations

import sys

import click

from alexnet.commands.import_weights import import_weights
from alexnet.commands.presets import list_presets, summary
from alexnet.commands.terminal import HELP, example, run


@click.group(
    invoke_without_command=True,
    context_settings=HELP,
    epilog=example("alexnet summary paper"),
)
@click.pass_context
def alexnet(context: click.Context) -> None:
    """Every published AlexNet. Without a command: list the presets.

    Your shell completes the options of the command `alexnet`, which is the same, after

        eval "$(_ALEXNET_COMPLETE=bash_source alexnet)"

    with zsh_source or fish_source for other shells.
    """
    if context.invoked_subcommand is None:
        context.invoke(list_presets)


for command in (list_presets, summary, import_weights):
    alexnet.add_command(command)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit status, as `alexnet.commands.terminal.run`."""
    return run(alexnet, arguments)


if __name__ == "__main__":
    sys.exit(main())
