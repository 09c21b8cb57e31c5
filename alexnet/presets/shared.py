"""Values that rows of several families share."""

from __future__ import annotations

from typing import Any


def normal(stddev: float) -> dict[str, Any]:
    return {
        "class_name": "RandomNormal",
        "config": {"mean": 0.0, "stddev": stddev, "seed": None},
    }


def constant(value: float) -> dict[str, Any]:
    return {"class_name": "Constant", "config": {"value": value}}


def sgd(
    learning_rate: float,
    weight_decay: float,
    batch_size: int,
    source: str,
    *,
    also: str,
    augmentation: float | None = None,
) -> dict[str, Any]:
    """Return a row's "training"; the momentum is 0.9 in all of them."""
    training = {
        "source": source,
        "optimizer": "sgd",
        "learning_rate": learning_rate,
        "momentum": 0.9,
        "weight_decay": weight_decay,
        "batch_size": batch_size,
        "also": also,
    }
    return training | ({} if augmentation is None else {"augmentation": augmentation})


# cuda-convnet's sizes round up: 224 gives 1 + ceil((224 - 11) / 4) = 55. The same
# with 3 pixels at the bottom and right, then unpadded.
ROUND_UP = ((0, 3), (0, 3))

# The average of the mean image of the 2012 training images.
TORONTO_PREPROCESSING = {
    "resize": 256,
    "crop": 224,
    "channels": "RGB",
    "scale": 1.0,
    "mean": (127.30, 119.72, 104.91),
    "mean_image": True,
    "std": (1.0, 1.0, 1.0),
}
TORONTO_RANGE = (-127.30, 150.09)
