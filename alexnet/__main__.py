"""Command line: the presets, one in detail or against another, import of weights.

A command is a function that takes the parsed options and prints; `_parser` gives
it a name. Modules that need Keras are imported when a command runs, so that
`--help` and the list of presets answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path

from alexnet import checks
from alexnet.compare.tables import table
from alexnet.presets import PRESETS


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
    from alexnet.compare.summary import comparison, summary

    print(summary(options.preset))
    if options.against is not None:
        print(f"\nagainst {options.against}:\n")
        print(comparison(options.preset, options.against))


def _import(options: argparse.Namespace) -> None:
    _check_output(options.output)
    from alexnet.model.network import AlexNet
    from alexnet.weights import load_preset_weights

    overrides = {
        name: value
        for name in ("num_classes", "image_shape")
        if (value := getattr(options, name)) is not None
    }
    model = AlexNet.from_preset(
        options.preset,
        include_preprocessing=options.include_preprocessing,
        **overrides,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        loaded = load_preset_weights(
            model,
            options.preset,
            options.file,
            sha256=options.sha256,
            channel_order=options.channel_order,
            sum_channels=options.sum_channels,
        )
    for warning in caught:
        print(f"Warning: {warning.message}", file=sys.stderr)
    # Whole, or what was there before.
    with tempfile.TemporaryDirectory(dir=options.output.parent) as folder:
        part = Path(folder, options.output.name)
        (model.save if _is_whole(part) else model.save_weights)(part)
        part.replace(options.output)
    order = (
        f", trained on {loaded.channel_order.upper()}" if loaded.channel_order else ""
    )
    print(f"{options.output}: {options.preset} with the weights of {options.file}")
    print(f"  {loaded.kind}{order}; {model.count_params():,} parameters")


def _is_whole(output: Path) -> bool:
    return output.suffix == ".keras"


def _check_output(output: Path) -> None:
    """Refuse, before any work, what could not be written."""
    if not _is_whole(output) and not output.name.endswith(".weights.h5"):
        raise ValueError(
            f"The output must end in .keras or .weights.h5; received {output}."
        )
    if output.is_dir() or not output.parent.is_dir():
        problem = "is a directory" if output.is_dir() else "is in no directory"
        raise ValueError(
            f"The output must be a file in a directory that exists; received {output}, "
            f"which {problem}. Make {output.parent}, or choose another name."
        )
    if not os.access(output.parent, os.W_OK):
        raise ValueError(
            f"The output's directory must be writable; received {output}. Choose "
            "another."
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m alexnet",
        description="Every published AlexNet. Without a command: list the presets.",
    )
    parser.set_defaults(run=_list)
    commands = parser.add_subparsers(metavar="COMMAND")
    _add_summary(commands)
    _add_import(commands)
    return parser


def _add_summary(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "summary",
        help="show a preset's layers, source, figures and preprocessing",
        description="Show a preset's layers, source, figures and preprocessing.",
    )
    command.set_defaults(run=_summary)
    command.add_argument("preset", help="its name, as listed without a command")
    command.add_argument(
        "--against",
        metavar="PRESET",
        help="then show in which layers and arguments it differs from this one",
    )


def _add_import(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "import",
        help="turn a weight file into a Keras model",
        description="Read weights of torchvision (.pth), Caffe (.caffemodel, "
        ".caffemodel.h5), Toronto (.npy) or Keras (.weights.h5, .keras) into a "
        "preset's network, and save it. Nothing in the file is executed.",
    )
    command.add_argument(
        "file",
        help="the weight file, or imagenet: the preset's published weights, downloaded "
        "(presets torchvision, caffe and caffenet)",
    )
    command.add_argument(
        "--preset", required=True, metavar="NAME", help="network that the file fits"
    )
    command.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="FILE",
        help="what to write: .keras, or .weights.h5 for the weights alone",
    )
    command.add_argument(
        "--sha256", metavar="HEX", help="hash that the weight file must have"
    )
    command.add_argument(
        "--channel-order",
        choices=("rgb", "bgr"),
        help="of the images that the file's net was trained on; by default that of "
        "its family (BGR for Caffe's and Toronto's ImageNet nets, otherwise RGB)",
    )
    command.add_argument(
        "--num-classes",
        type=int,
        metavar="N",
        help="classes of the model; other than the file's, the classifier starts "
        "afresh",
    )
    command.add_argument(
        "--image-shape",
        type=int,
        nargs=3,
        metavar=("HEIGHT", "WIDTH", "CHANNELS"),
        help="of the model's images, if not the preset's",
    )
    command.add_argument(
        "--sum-channels",
        action="store_true",
        help="add up the first kernel's channels for images of one channel",
    )
    command.add_argument(
        "--include-preprocessing",
        action="store_true",
        help="write a model that takes RGB pixels of 0 to 255 and brings them into "
        "the range of the preset's network itself",
    )
    command.set_defaults(run=_import)


if __name__ == "__main__":
    sys.exit(main())
