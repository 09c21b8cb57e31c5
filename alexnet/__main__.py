"""Command line: the presets, and one in detail or against another.

A command is a function that takes the parsed options and prints; `_parser` gives
it a name. Modules that need Keras are imported when a command runs, so that
`--help` and the list of presets answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys

from alexnet import checks
from alexnet.presets import PRESETS
from alexnet.tables import table


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit status.

    0: done. 1: it cannot be done, and the message says why. 2: the command line
    is wrong.
    """
    # TensorFlow reports its start in a dozen lines.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _list(options: argparse.Namespace) -> None:
    rows = [
        (name, f"{row['parameters']:,}", row["description"].split(":")[0])
        for name, row in PRESETS.items()
    ]
    print(table([("preset", "parameters", "what"), *rows], right=(1,)))
    print("\nOne in detail: python -m alexnet summary PRESET")


def _summary(options: argparse.Namespace) -> None:
    for name in (options.preset, options.against):
        if name is not None and name not in PRESETS:
            raise ValueError(checks.unknown("preset", name, PRESETS))
    from alexnet.summary import comparison, summary

    print(summary(options.preset))
    if options.against is not None:
        print(f"\nagainst {options.against}:\n")
        print(comparison(options.preset, options.against))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m alexnet",
        description="Every published AlexNet. Without a command: list the presets.",
    )
    parser.set_defaults(run=_list)
    commands = parser.add_subparsers(metavar="COMMAND")

    summary = commands.add_parser(
        "summary",
        help="show a preset's layers, source, figures and preprocessing",
        description="Show a preset's layers, source, figures and preprocessing.",
    )
    summary.set_defaults(run=_summary)
    summary.add_argument("preset", help="its name, as listed without a command")
    summary.add_argument(
        "--against",
        metavar="PRESET",
        help="then show in which layers and arguments it differs from this one",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
