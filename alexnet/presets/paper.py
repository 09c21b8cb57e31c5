"""The network of the 2012 paper as written, and the same without its groups."""

from __future__ import annotations

from typing import Any

from alexnet.presets import shared

_LRN = {"norm": {"depth_radius": 2, "bias": 2.0, "alpha": 1e-4, "beta": 0.75}}
_NORMAL = {"kernel_initializer": shared.normal(0.01)}
_BIASED = _NORMAL | shared.biased(1.0)

_CONV1 = shared.CONV1 | _LRN | _NORMAL
_CONV2 = shared.CONV2 | _LRN | _BIASED
_CONV3 = shared.CONV3 | _NORMAL
_CONV4 = shared.CONV4 | _BIASED
_CONV5 = shared.CONV5 | _BIASED

_TRAINING = shared.sgd(
    0.01,
    5e-4,
    128,
    "the paper, sections 4.1 (crops) and 5",
    augmentation=16 / 224,
    also="images mirrored at random, their colors shifted along principal "
    "components; the rate divided by 10 three times, when the error stood still",
)

PAPER: dict[str, dict[str, Any]] = {
    "paper": {
        "description": "The network of the 2012 paper, as written: two groups, "
        "LRN after ReLU, overlapping pooling",
        "source": "Krizhevsky, Sutskever, Hinton: ImageNet Classification with "
        "Deep Convolutional Neural Networks, NeurIPS 2012, sections 3.1 to 3.5, 4 "
        "and 5; paddings: computerhistory/AlexNet-Source-Code, "
        "layers/layers-145.cfg; figures: tables 1 and 2",
        "parameters": 60_965_224,
        **shared.INPUT_2012,
        "figures": {
            **shared.errors("ILSVRC-2012 validation, 1 CNN, ten views", 40.7, 18.2),
            **shared.errors(shared.TEST_2010, 37.5, 17.0),
        },
        "training": _TRAINING,
        "arguments": {
            "blocks": (_CONV1, _CONV2, _CONV3, _CONV4, _CONV5),
            **shared.ARGUMENTS_2012,
        },
    },
    "ungrouped": {
        "description": "The paper's network without groups: as reimplementations for "
        "one device have it",
        "source": "as preset 'paper'; for example dansuh17/alexnet-pytorch, model.py, "
        "lines 49 to 75 at 0145b80, whose LRN divides alpha by 5, and which drops "
        "before the dense layers",
        "parameters": 62_378_344,
        **shared.INPUT_2012,
        "figures": {},
        "training": _TRAINING,
        "arguments": {
            "blocks": (
                _CONV1,
                _CONV2 | shared.ONE_GROUP,
                _CONV3,
                _CONV4 | shared.ONE_GROUP,
                _CONV5 | shared.ONE_GROUP,
            ),
            **shared.ARGUMENTS_2012,
        },
    },
}
