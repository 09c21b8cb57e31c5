"""`python -m alexnet import`: a weight file as a Keras model."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import click

from alexnet.commands.presets import complete_preset
from alexnet.commands.terminal import example, silence_libraries


@click.command(
    "import",
    epilog=example("alexnet import alexnet.pth --preset torchvision -o alexnet.keras"),
)
@click.argument("file", type=click.Path(readable=False))
@click.option(
    "--preset",
    required=True,
    metavar="NAME",
    shell_complete=complete_preset,
    help="Network whose weights the file holds.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(readable=False, path_type=Path),
    help="What to write: .keras, or .weights.h5 for the weights alone.",
)
@click.option("--sha256", metavar="HEX", help="Hash that the weight file must have.")
@click.option(
    "--channel-order",
    type=click.Choice(["rgb", "bgr"]),
    help="Of the images that the file's net was trained on; by default that of its "
    "family (BGR for Caffe's and Toronto's ImageNet nets, otherwise RGB).",
)
@click.option(
    "--num-classes",
    type=int,
    metavar="N",
    help="Classes of the model; if the file has another number, the classifier starts "
    "afresh.",
)
@click.option(
    "--image-shape",
    type=int,
    nargs=3,
    metavar="HEIGHT WIDTH CHANNELS",
    help="Of the model's images, if not the preset's.",
)
@click.option(
    "--sum-channels",
    is_flag=True,
    help="Add up the first kernel's channels for images of one channel.",
)
@click.option(
    "--include-preprocessing",
    is_flag=True,
    help="Write a model that takes RGB pixels of 0 to 255 and brings them into the "
    "range of the preset's network itself.",
)
def import_weights(
    file: str,
    preset: str,
    output: Path,
    include_preprocessing: bool,
    num_classes: int | None,
    image_shape: tuple[int, ...] | None,
    **options: Any,
) -> None:
    """Turn a weight file into a Keras model.

    Read weights of torchvision (.pth), Caffe (.caffemodel, .caffemodel.h5), Toronto
    (.npy) or Keras (.weights.h5, .keras) into a preset's network, and save it.
    Nothing in FILE is executed. FILE may also be the word imagenet: the preset's
    published weights, downloaded (presets torchvision, caffe and caffenet).
    """
    _check_output(output)
    silence_libraries()
    from alexnet.model.network import AlexNet
    from alexnet.weights import load_preset_weights

    shape: dict[str, Any] = {"num_classes": num_classes, "image_shape": image_shape}
    model = AlexNet.from_preset(
        preset,
        include_preprocessing=include_preprocessing,
        **{name: value for name, value in shape.items() if value is not None},
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        loaded = load_preset_weights(model, preset, file, **options)
    for warning in caught:
        print(f"Warning: {warning.message}", file=sys.stderr)
    # Whole, or what was there before.
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        part = Path(folder, output.name)
        (model.save if _is_whole(part) else model.save_weights)(part)
        part.replace(output)
    order = (
        f", trained on {loaded.channel_order.upper()}" if loaded.channel_order else ""
    )
    print(f"{output}: {preset} with the weights of {file}")
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
