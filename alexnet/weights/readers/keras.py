"""Keras 3's `.weights.h5`, alone or in a `.keras` archive."""

from __future__ import annotations

from alexnet.weights.errors import WeightsError, shown
from alexnet.weights.formats.hdf5 import Hdf5
from alexnet.weights.source import Layer, Source

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
    layers: dict[str, Layer] = {}
    for key, layer in file.members(root).items():
        variables = file.members(layer).get("vars")
        members = {} if variables is None else file.members(variables)
        if variables is None or not members:
            continue
        name = file.text_attribute(variables, "name")
        if not name or name in layers:
            raise WeightsError(
                f"its group layers/{shown(key)} does not say its layer's name, as "
                "Keras 3.12 and later do, or shares it with another"
            )
        if set(members) != set(map(str, range(len(members)))):
            raise WeightsError(f"its layer {shown(name)} lacks a variable")
        arrays = [file.array(members[str(index)]) for index in range(len(members))]
        layers[name] = name, arrays
    if not layers:
        raise WeightsError("it holds no layers with weights")
    return Source("Keras", list(layers.values()), channels_first=False, by_name=True)
