"""Weights that others trained, in the formats they come in.

    torchvision   .pth, the zip format and the older one
    Caffe         .caffemodel in both of its layouts, .caffemodel.h5
    Toronto       bvlc_alexnet.npy
    Keras 3       .weights.h5, .keras

Nothing in a file is executed, and a model gets all of a file's weights or none.
Of the extensions only `.caffemodel` matters: that format alone cannot be told
by its first bytes.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from alexnet import checks
from alexnet.weights import fit, layout, published
from alexnet.weights.errors import WeightsError
from alexnet.weights.files import read_file
from alexnet.weights.formats import hdf5
from alexnet.weights.formats.archives import Archive
from alexnet.weights.readers import caffe, hdf5_files, torchvision, toronto
from alexnet.weights.readers.caffe import read_mean

__all__ = ["Loaded", "WeightsError", "load_weights", "read_mean"]

# The largest AlexNet with Adam's state in float64 has 1.5 GB.
LARGEST_FILE = 2 << 30
_KERAS_MEMBER = "model.weights.h5"
_ZIP_START = b"PK"
_STARTS = (hdf5.START, _ZIP_START, torchvision.LEGACY_START, toronto.START)


class Loaded(NamedTuple):
    """What `load_weights` did.

    Attributes:
        kind: The file's format.
        channel_order: Of the images that the net was trained on, "rgb" or "bgr";
            the model takes RGB either way. None if that makes no difference.
        fresh: Layers that were left as they are: the classifier, if the file's
            has another number of classes.
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

    The layers' weights fit if they are of the same shapes in the same order. If
    only the number of classes differs, the classifier is left as it is, with a
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
            does not fit, or holds numbers that are not finite. The model is then
            as it was.
        TypeError, ValueError: An argument is outside its range.
    """
    if not hasattr(type(model), "presets"):
        raise TypeError(
            f"model must be an AlexNet; received a {type(model).__name__}. Keras' own "
            "load_weights is for others."
        )
    if channel_order is not None:
        checks.check_choice("channel_order", channel_order, ("rgb", "bgr"))
    checks.check_bool("sum_channels", sum_channels)
    if sha256 is not None and not isinstance(sha256, str):
        raise TypeError(f"sha256 must be a text; received sha256={sha256!r}.")
    try:
        source = _read(Path(path), sha256)
        order = None
        if isinstance(source, layout.Source):
            order = channel_order or source.channel_order
            kind = source.kind
            arrays = layout.to_keras(source, model, channel_order)
        else:
            order, kind, arrays = channel_order, "Keras", source
            if channel_order == "bgr":
                first = next(layer.name for layer in model.layers if layer.weights)
                layout.turn_around(arrays.get(first, []))
        fresh = fit.assign(model, arrays, sum_channels=sum_channels)
    except WeightsError as error:
        raise WeightsError(
            f"Cannot load {path}: {error}. The model is unchanged."
        ) from error
    for name in fresh:
        classes = arrays[name][0].shape[-1]
        warnings.warn(
            f"The classifier of {path} has {classes} classes, the model "
            f"{model.num_classes}: layer {name!r} starts afresh, all others have the "
            "file's weights.",
            UserWarning,
            stacklevel=2,
        )
    return Loaded(kind, order, tuple(fresh))


def load_preset_weights(
    model: Any, preset: str, weights: str | Path, **options: Any
) -> Loaded:
    """Give a preset's model the weights of a file, or published ones by name.

    Args:
        model: `type(model).from_preset(preset)`, perhaps with other arguments.
        preset: Its name.
        weights: A path, or a name of the preset's entry "weights", such as
            "imagenet".
        **options: As of `load_weights`.

    Raises:
        WeightsError: As `load_weights`; or the file cannot be downloaded.
        ValueError: There is a `sha256` or `channel_order` for published weights.
    """
    if not isinstance(weights, str | os.PathLike):
        raise TypeError(
            'weights must be a path or a name such as "imagenet"; received '
            f"weights={weights!r}."
        )
    known = type(model).presets[preset].get("weights", {})
    if weights == "imagenet" and weights not in known:
        having = [n for n, row in type(model).presets.items() if "weights" in row]
        raise WeightsError(
            f"There are no weights by the name {weights!r} for preset {preset!r}; "
            f"there are for {', '.join(map(repr, having)) or 'none'}. Pass the path "
            "of a file."
        )
    if str(weights) not in known:
        return load_weights(model, weights, **options)

    for option in ("sha256", "channel_order"):
        if options.pop(option, None) is not None:
            raise ValueError(
                f"{option} is for files of your own; received weights={weights!r}, of "
                f"which it is known. Leave {option} out."
            )

    def convert(path: Path) -> Any:
        # As published, so that what is kept serves whatever else was asked for.
        original = type(model).from_preset(preset)
        load_weights(original, path)
        return original

    kept = published.Kept(known[str(weights)], f"{type(model).__name__}-{preset}")
    if kept.is_sound():
        try:
            return load_weights(model, kept.path, sha256=kept.sha256, **options)
        except WeightsError:
            # It is the model's fault, or another class of this name left it.
            if _fits(kept, type(model).from_preset(preset)):
                raise
    kept.make(convert)
    return load_weights(model, kept.path, sha256=kept.sha256, **options)


def _fits(kept: published.Kept, original: Any) -> bool:
    try:
        load_weights(original, kept.path, sha256=kept.sha256)
    except WeightsError:
        return False
    return True


def _read(path: Path, sha256: str | None) -> layout.Source | layout.Arrays:
    is_caffemodel = path.suffix.lower() == ".caffemodel"

    def check_start(start: bytes) -> None:
        if not is_caffemodel and not start.startswith(_STARTS):
            raise WeightsError(
                "it is cut off, damaged or of another format; known are PyTorch's "
                ".pth, Caffe's .caffemodel (by its extension) and .caffemodel.h5, "
                "Toronto's .npy, and Keras' .weights.h5 and .keras"
            )

    data = read_file(path, LARGEST_FILE, sha256, check_start)
    if data.startswith(hdf5.START):
        return hdf5_files.read(data)
    if data.startswith(_ZIP_START):
        archive = Archive(data)
        if _KERAS_MEMBER in archive.names:
            return hdf5_files.read(archive.read(_KERAS_MEMBER))
        return torchvision.read_zip(archive)
    if data.startswith(torchvision.LEGACY_START):
        return torchvision.read_legacy(data)
    if data.startswith(toronto.START):
        return toronto.read_npy(data)
    return caffe.read_caffemodel(data)
