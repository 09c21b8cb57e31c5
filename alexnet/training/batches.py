"""Training batches: shuffled, shifted and mirrored at random, repeatably."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np


class TrainingBatches(keras.utils.PyDataset):
    """Batches of images with their labels, in a new order each epoch.

    Args:
        x: (n, height, width, channels) array.
        y: (n, ...) array.
        batch_size: Images per batch; the last batch may be smaller.
        augmentation: Largest shift as a share of the side; each image moves by a
            whole number of pixels on each axis, uniformly drawn. The outermost
            pixels are repeated where the image has moved away.
        horizontal_flip: Whether half of the images are mirrored.
        weights: (n,) array of the images' weights in the loss, if any.
        seed: The same seed gives the same batches in every epoch.
        first_epoch: Number of the first epoch. Training that resumes passes its
            epoch here, so that it sees the batches that it would have seen.

    Raises:
        ValueError: The numbers of images and labels differ.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        batch_size: int,
        *,
        augmentation: float = 0.0,
        horizontal_flip: bool = False,
        weights: np.ndarray | None = None,
        seed: int = 0,
        first_epoch: int = 0,
    ) -> None:
        super().__init__()
        if len(x) != len(y):
            raise ValueError(
                "Each image must have a label; received "
                f"{len(x)} images and {len(y)} labels."
            )
        self.x = x
        self.y = y
        self.weights = weights
        self.batch_size = batch_size
        self.max_shift = tuple(round(augmentation * side) for side in x.shape[1:3])
        self.horizontal_flip = horizontal_flip
        self.seed = seed
        self.epoch = first_epoch - 1
        self.on_epoch_end()

    def __len__(self) -> int:
        return math.ceil(len(self.x) / self.batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        start = index * self.batch_size
        chosen = self.order[start : start + self.batch_size]
        rng = np.random.default_rng([self.seed, self.epoch, index])
        batch = self._augment(self.x[chosen], rng), self.y[chosen]
        return batch if self.weights is None else (*batch, self.weights[chosen])

    def on_epoch_end(self) -> None:
        self.epoch += 1
        rng = np.random.default_rng([self.seed, self.epoch])
        self.order = rng.permutation(len(self.x))

    def _augment(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        count, height, width = images.shape[:3]
        if any(self.max_shift):
            down, right = (
                rng.integers(-most, most + 1, (count, 1)) for most in self.max_shift
            )
            rows = np.clip(np.arange(height) - down, 0, height - 1)
            columns = np.clip(np.arange(width) - right, 0, width - 1)
            batch = np.arange(count)[:, np.newaxis, np.newaxis]
            images = images[batch, rows[:, :, np.newaxis], columns[:, np.newaxis]]
        if self.horizontal_flip:
            mirrored = rng.random((count, 1, 1, 1)) < 0.5
            images = np.where(mirrored, images[:, :, ::-1], images)
        return images
