"""What every command shares: exit statuses, help, and a terminal without noise."""

from __future__ import annotations

import faulthandler
import os
import sys
from pathlib import Path

import click

INTERRUPTED = 130
HELP = {"help_option_names": ["-h", "--help"]}


def run(command: click.Command, arguments: list[str] | None = None) -> int:
    """Run a command; return the exit status.

    0: done. 1: it cannot be done, and the message says why. 2: the command line
    is wrong. 130: interrupted.

    Args:
        command: With its subcommands.
        arguments: Words of the command line; None for this process's.
    """
    try:
        return command.main(arguments, standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except (ValueError, TypeError, RuntimeError, OSError, ImportError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def example(command: str) -> str:
    """Return the end of a command's help: one example."""
    return f"\b\nExample:\n  python -m {command}"


def silence_libraries(log: Path = Path(os.devnull)) -> None:
    """Send to a file what compiled libraries print; Python's own messages stay.

    TensorFlow reports its start in a dozen lines that no setting turns off. Call
    this before it is imported. A crash still shows where Python was. Nothing happens
    where standard error is not the process's own, as in tests.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if sys.stderr is None or sys.stderr is not sys.__stderr__:
        return
    print(end="", file=sys.stderr, flush=True)
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    faulthandler.enable(sys.stderr)
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 2)
