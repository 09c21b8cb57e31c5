"""Weights in HDF5: Keras' `.weights.h5` and Caffe's `.caffemodel.h5`."""

from __future__ import annotations

import re
from typing import Any

from alexnet.weights.errors import WeightsError, shown
from alexnet.weights.formats.hdf5 import Hdf5
from alexnet.weights.layout import Arrays, Source
from alexnet.weights.readers import caffe


def read(data: bytes) -> Source | Arrays:
    """Read either kind.

    Raises:
        WeightsError: The file is damaged, or of another kind.
    """
    file = Hdf5(data)
    members = file.members(file.root)
    if "data" in members:
        return _caffe(file, members["data"])
    if "layers" in members:
        return _keras(file, members["layers"])
    if "model_weights" in members:
        raise WeightsError(
            "it is a model of Keras 2 (or Keras 3's older .h5); load it there and save "
            "it as .keras"
        )
    raise WeightsError(
        "it has neither the group 'layers' of Keras 3 nor Caffe's 'data'; it has "
        f"{', '.join(map(shown, sorted(members)[:5])) or 'none'}"
    )


def _keras(file: Hdf5, layers: int) -> Arrays:
    """Read each layer's arrays by the layer's name."""
    arrays: Arrays = {}
    for key, layer in file.members(layers).items():
        variables = file.members(layer).get("vars")
        if variables is None:
            continue
        members = file.members(variables)
        if not members:
            continue
        name = file.text_attribute(variables, "name")
        if not name or name in arrays:
            raise WeightsError(
                f"its group layers/{shown(key)} does not say its layer's name, as "
                "Keras 3.12 and later do, or shares it with another"
            )
        if set(members) != set(map(str, range(len(members)))):
            raise WeightsError(f"its layer {shown(name)} lacks a variable")
        arrays[name] = [
            file.array(members[str(index)]) for index in range(len(members))
        ]
    if not arrays:
        raise WeightsError("it holds no layers with weights")
    return arrays


def _caffe(file: Hdf5, root: int) -> Source:
    """Read /data/<layer>/0, a kernel, and 1, its bias.

    The file keeps no order: convolutions come first, then by number.
    """
    layers = []
    for name, layer in file.members(root).items():
        if not file.is_group(layer):
            raise WeightsError(f"its member {shown(name)} should be a group")
        members = file.members(layer)
        if sorted(members) != ["0", "1"][: len(members)]:
            raise WeightsError(f"its layer {shown(name)} has no kernel and bias")
        if members:
            blobs = [file.array(members[index]) for index in sorted(members)]
            layers.append(caffe.pair(name, blobs))
    if not layers:
        raise WeightsError("it holds no layers with weights")
    layers.sort(key=lambda layer: (-layer.kernel.ndim, _natural(layer.name)))
    return caffe.source("Caffe's .caffemodel.h5", layers, None)


def _natural(name: str) -> list[Any]:
    return [
        (1, int(part), "") if part.isdecimal() else (0, 0, part)
        for part in re.split(r"(\d{1,9})", name)
    ]
