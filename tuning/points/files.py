"""What the command line names as points: presets, and files of points."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def given_points(text: str) -> tuple[dict[str, Any] | str, ...]:
    """Return points as `SearchSettings` takes them.

    What ends in .json or names its folder is a file, whatever else is there; any
    other name is a preset's, also beside a file of that name (./name is the file).
    So the same command means the same search wherever it is resumed.

    Args:
        text: Names of presets and files, separated by commas; empty for none.

    Raises:
        ValueError: A file cannot be read, or holds something else.
    """
    points: list[dict[str, Any] | str] = []
    for part in filter(None, map(str.strip, text.split(","))):
        is_file = part.endswith(".json") or "/" in part
        points += read_points(part) if is_file else [part]
    return tuple(points)


def read_points(path: str) -> tuple[dict[str, Any], ...]:
    """Read a JSON file that holds a point, or a list of points.

    Raises:
        ValueError: It cannot be read, or holds something else.
    """
    try:
        points = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"The file of points must be readable JSON; received {path}: {error}."
        ) from error
    points = [points] if isinstance(points, dict) else points
    if not isinstance(points, list) or not all(isinstance(p, dict) for p in points):
        raise ValueError(
            "The file of points must hold a point, as best/hyperparameters.json does, "
            f"or a list of points; received {path}, which holds something else."
        )
    return tuple(points)
