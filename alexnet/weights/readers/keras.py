"""Keras 3's `.weights.h5`, alone or in a `.keras` archive."""

from __future__ import annotations

import numpy as np

from alexnet.weights.errors import WeightsError, shown
from alexnet.weights.formats.hdf5 import Hdf5
from alexnet.weights.source import Source

# In a `.keras` archive.
MEMBER = "model.weights.h5"


def read_hdf5(file: Hdf5, root: int) -> Source:
    """Read /layers/<any>/vars/0, 1, ...; an attribute of vars is the layer's name.

    Args:
        file: The file.
        root: Address of its group "layers".

    Raises:
        WeightsError: The file is damaged, older than Keras 3.12's, or has no weights.
    """
    layers: dict[str, list[np.ndarray]] = {}
    for key, layer in file.members(root).items():
        variables = file.members(layer).get("vars")
        if variables is None or not (members := file.members(variables)):
            continue
        name = file.text_attribute(variables, "name")
        if not name or name in layers:
            raise WeightsError(
                f"its group layers/{shown(key)} does not say its layer's name, as "
                "Keras 3.12 and later do, or shares it with another"
            )
        if set(members) != set(map(str, range(len(members)))):
            raise WeightsError(f"its layer {shown(name)} lacks a variable")
        layers[name] = [file.array(members[str(n)]) for n in range(len(members))]
    if not layers:
        raise WeightsError("it holds no layers with weights")
    return Source("Keras", list(layers.items()), channels_first=False, by_name=True)
