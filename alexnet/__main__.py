"""Command line: import."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit status.

    0: done. 1: it cannot be done, and the message says why. 2: the command line
    is wrong.
    """
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m alexnet", description="AlexNet for Keras."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_import(commands)
    return parser


def _add_import(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "import",
        help="turn a weight file into a Keras model",
        description="Read weights of torchvision (.pth), Caffe (.caffemodel, "
        ".caffemodel.h5), Toronto (.npy) or Keras (.weights.h5, .keras) into a "
        "preset's network, and save it. Nothing in the file is executed.",
    )
    command.add_argument("file", type=Path, help="the weight file")
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
    command.set_defaults(run=_import)


def _import(options: argparse.Namespace) -> int:
    from alexnet.model import AlexNet
    from alexnet.weights import load_weights

    whole = options.output.suffix == ".keras"
    if not whole and not options.output.name.endswith(".weights.h5"):
        raise ValueError(
            f"The output must end in .keras or .weights.h5; received {options.output}."
        )
    overrides = {
        name: value
        for name in ("num_classes", "image_shape")
        if (value := getattr(options, name)) is not None
    }
    model = AlexNet.from_preset(options.preset, **overrides)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        loaded = load_weights(
            model,
            options.file,
            sha256=options.sha256,
            channel_order=options.channel_order,
            sum_channels=options.sum_channels,
        )
    for warning in caught:
        print(f"Warning: {warning.message}", file=sys.stderr)
    (model.save if whole else model.save_weights)(options.output)
    order = (
        f", trained on {loaded.channel_order.upper()}" if loaded.channel_order else ""
    )
    print(f"{options.output}: {options.preset} with the weights of {options.file}")
    print(f"  {loaded.kind}{order}; {model.count_params():,} parameters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
