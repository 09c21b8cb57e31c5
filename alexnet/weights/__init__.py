"""Weights that others trained, in the formats they come in.

    torchvision   .pth, the zip format and the older one
    Caffe         .caffemodel in both of its layouts, .caffemodel.h5
    Toronto       bvlc_alexnet.npy
    Keras 3       .weights.h5, .keras

Nothing in a file is executed, and a model gets all of a file's weights or none.
Readers need no Keras; it is imported when a model is given weights.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

from alexnet import checks
from alexnet.weights import readers
from alexnet.weights.errors import WeightsError
from alexnet.weights.readers.caffe import read_mean

__all__ = ["Loaded", "WeightsError", "load_preset_weights", "load_weights", "read_mean"]


class Loaded(NamedTuple):
    """The result of `load_weights`.

    Attributes:
        kind: The file's format.
        channel_order: Of the images that the net was trained on, "rgb" or "bgr";
            the model takes RGB either way. None if that makes no difference.
        fresh: Layers that kept their weights: the classifier, if the file's has
            another number of classes.
    """

    kind: str
    channel_order: str | None
    fresh: tuple[str, ...]


def load_weights(
    model: Any,
    path: str | Path,
    *,
    sha256: str | None = None,
    channel_order: str | None = None,
    sum_channels: bool = False,
) -> Loaded:
    """Give a model the weights of a file.

    A file matches if its layers' weights have the model's shapes, in the same order.
    If only the number of classes differs, the classifier keeps its weights, with a
    warning. The model always takes RGB images: kernels of nets that were trained
    on BGR are turned around. Pixel values and means remain those of the file's
    net.

    Args:
        model: An `AlexNet` or a subclass.
        path: The file.
        sha256: Hash that the file must have, in hexadecimal; None for any.
        channel_order: "rgb" or "bgr": of the images that the file's net was
            trained on. None takes what its family had: BGR for Caffe's ImageNet
            nets and Toronto's, RGB for Caffe's CIFAR-10 nets and torchvision's.
            Keras files are RGB unless it says otherwise.
        sum_channels: Add up the channels of the first kernel for a model of
            one-channel images, which it then sees as gray RGB images.

    Raises:
        WeightsError: The file is missing, damaged, of another format or hash,
            does not match, or holds numbers that are not finite. The model is
            unchanged.
        TypeError, ValueError: An argument is outside its range.
    """
    from alexnet.weights.assign import assign

    _check_model(model)
    file = checks.check_path("path", path)
    if channel_order is not None:
        checks.check_choice("channel_order", channel_order, ("rgb", "bgr"))
    checks.check_bool("sum_channels", sum_channels)
    try:
        source = readers.read(file, sha256)
        fresh = assign(model, source, channel_order, sum_channels)
    except WeightsError as error:
        raise WeightsError(
            f"Cannot load {path}: {error}. The model is unchanged."
        ) from error
    for name, classes in fresh.items():
        warnings.warn(
            f"The classifier of {path} has {classes} classes, the model "
            f"{model.num_classes}: layer {name!r} starts afresh, all others have the "
            "file's weights.",
            UserWarning,
            stacklevel=2,
        )
    return Loaded(source.kind, channel_order or source.channel_order, tuple(fresh))


def load_preset_weights(
    model: Any, preset: str, weights: str | Path, **options: Any
) -> Loaded:
    """Give a preset's model the weights of a file, or published ones by name.

    Args:
        model: `type(model).from_preset(preset)`, perhaps with other arguments.
        preset: Its name.
        weights: A path, or a name of the preset's entry "weights", such as
            "imagenet"; that file is downloaded once.
        **options: As of `load_weights`.

    Raises:
        WeightsError: As `load_weights`; or the file cannot be downloaded.
        ValueError: There is no such preset; or there is a `sha256` or
            `channel_order` for published weights.
        TypeError: An argument is of another type.
    """
    from alexnet.data.downloads import DownloadError, fetch

    _check_model(model)
    presets = type(model).presets
    checks.check_preset(preset, presets)
    checks.check_path("weights", weights, 'a path or a name such as "imagenet"')
    known = presets[preset].get("weights", {})
    if weights == "imagenet" and weights not in known:
        having = [name for name, row in presets.items() if "weights" in row]
        raise WeightsError(
            f"There are no weights by the name {weights!r} for preset {preset!r}; "
            f"there are for {', '.join(map(repr, having)) or 'none'}. Pass the path "
            "of a file."
        )
    if str(weights) not in known:
        return load_weights(model, weights, **options)
    for option in ("sha256", "channel_order"):
        if options.get(option) is not None:
            raise ValueError(
                f"{option} is for files of your own; received weights={weights!r}, of "
                f"which it is known. Leave {option} out."
            )
    try:
        path = fetch(known[str(weights)], "alexnet")
    except DownloadError as error:
        raise WeightsError(str(error)) from error
    return load_weights(model, path, **options)


def _check_model(model: Any) -> None:
    if not hasattr(type(model), "presets"):
        raise TypeError(
            f"model must be an AlexNet; received a {type(model).__name__}. Keras' own "
            "load_weights is for others."
        )
