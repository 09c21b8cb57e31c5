"""The weights of a file in the file's own layout, as readers return them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# A layer's name and its arrays: the kernel first, then the bias if there is one.
Layer = tuple[str, list[np.ndarray]]


class Normalization(NamedTuple):
    """`LocalResponseNormalization`'s arguments; `alpha` scales the sum."""

    depth_radius: int
    bias: float
    alpha: float
    beta: float


class Source(NamedTuple):
    """The weights of a file.

    Attributes:
        kind: The format, for messages.
        layers: In the order in which the net computes them.
        channels_first: Whether kernels are (out, in, height, width) or (out, in),
            and the first dense layer's inputs run over (channels, height, width),
            as in Caffe and PyTorch. Otherwise they are as in Keras: (height, width,
            in, out), (in, out), and (height, width, channels).
        by_name: Whether layers have the model's names; if not, they are paired
            with the model's convolutions and dense layers in order.
        channel_order: "rgb" or "bgr", of the images that the net was trained on;
            None if the file does not say.
        lrn: Normalizations across channels in order; None if unknown.
    """

    kind: str
    layers: list[Layer]
    channels_first: bool
    by_name: bool = False
    channel_order: str | None = None
    lrn: tuple[Normalization, ...] | None = None
