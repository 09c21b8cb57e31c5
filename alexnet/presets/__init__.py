"""Published AlexNets as plain data: one row each, with its source and figures.

A row holds
    description: What the network is and, after a colon, what distinguishes it.
    source: Where its definition is: sections, or repository, file, lines.
    parameters: Parameter count of the published network (with its own
        `num_classes`), as the sources give or imply it.
    preprocessing: How an image becomes the model's input at test time, as
        below; None if it was not published.
    value_range: Smallest and largest value that the model then receives.
    figures: Published results, by measure; accuracies and errors in percent.
    training: How it was trained, as below; left out if it was not published.
    weights: Published weights by name, each with its "url" and its "sha256" or
        "sha1"; left out if there are none.
    arguments: What `AlexNet` is called with; `image_shape` is the expected size.

Preprocessing holds
    resize: The shorter side in pixels that images are resized to, or (height,
        width) whatever their proportions; None for images that come in this size.
    crop: Side of the square in the middle that is kept; None for all of it.
    channels: "RGB" or "BGR".
    scale: Factor of bytes, 0 to 255.
    mean: Subtracted after scaling, in the order of `channels`.
    mean_image: Whether each pixel had its own mean; `mean` is then the average
        of that image.
    std: Divisor after subtracting.

Training holds
    source: Where it was published.
    optimizer, learning_rate, momentum, batch_size: The rate is the first one.
    weight_decay: Part of the gradient: it is multiplied by the weight and added,
        and momentum accumulates both. Keras' `weight_decay` bypasses momentum, so that
        `weight_decay / (1 - momentum)` shrinks weights as fast there.
    augmentation: Largest shift off the middle, as a share of the image's side; left
        out if images were cropped in another way.
    also: Other settings, in words.

To add a network, add a row to one of the modules; nothing else knows its name.
"""

from __future__ import annotations

from typing import Any

from alexnet.presets.caffe import CAFFE
from alexnet.presets.cifar10 import CIFAR10
from alexnet.presets.others import OTHERS
from alexnet.presets.paper import PAPER
from alexnet.presets.toronto import TORONTO

PRESETS: dict[str, dict[str, Any]] = {
    **PAPER,
    **TORONTO,
    **CAFFE,
    **OTHERS,
    **CIFAR10,
}
