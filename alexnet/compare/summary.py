"""Presets as text: their layers, and the differences between two of them.

No network is built and no backend imported.
"""

from __future__ import annotations

import textwrap
from typing import Any

from alexnet.compare.differences import described, differences, text
from alexnet.compare.tables import table
from alexnet.model.plan import plan
from alexnet.presets import PRESETS


def summary(preset: str) -> str:
    """Return a preset's layers, source, preprocessing, training and figures."""
    row = PRESETS[preset]
    layers = [
        (layer.name, text(layer.output), f"{layer.parameters:,}")
        for layer in plan(row["arguments"]).layers
    ]
    head = ("layer", "output", "parameters")
    total = ("total", "", f"{row['parameters']:,}")
    lines = [_paragraph(preset, row["description"]), ""]
    lines += [table([head, *layers, total], right=(2,)), ""]
    lines += [_paragraph(name, value) for name, value in about(preset).items()]
    lines += ["figures, in percent:"] if row["figures"] else ["figures: none published"]
    lines += [f"  {measure} {value}" for measure, value in row["figures"].items()]
    return "\n".join(lines)


def comparison(preset: str, other: str) -> str:
    """Return the differences between two presets, one line for each."""
    found = differences(PRESETS[preset], PRESETS[other])
    if not found:
        return f"{preset} and {other} do not differ."
    lines = described(found, f"in {preset}", f"in {other}")
    return "\n".join(_wrapped(line) for line in lines)


def about(preset: str) -> dict[str, str]:
    """Return a preset's source, input and training as text, by heading."""
    row = PRESETS[preset]
    how, training = row["preprocessing"], row.get("training")
    pixels = {"preprocessing": "none published"}
    if how is not None:
        pixels = {"value range": text(row["value_range"])}
        pixels |= {f"preprocessing, {name}": text(v) for name, v in how.items()}
    return {
        "source": row["source"],
        "image shape": text(row["arguments"]["image_shape"]),
        **pixels,
        "training": "none published" if training is None else _training(training),
    }


def _training(training: dict[str, Any]) -> str:
    names = [name for name in training if name not in ("source", "also")]
    numbers = ", ".join(f"{name} {text(training[name])}" for name in names)
    return f"{numbers}; {training['also']} ({training['source']})"


def _paragraph(name: str, value: str) -> str:
    return _wrapped(f"{name}: {value}")


def _wrapped(line: str) -> str:
    return textwrap.fill(line, 79, subsequent_indent="  ")
