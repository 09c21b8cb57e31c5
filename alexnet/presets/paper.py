"""The network of the 2012 paper as written, and the same without its groups."""

from __future__ import annotations

from typing import Any

from alexnet.presets.shared import (
    ROUND_UP,
    TORONTO_PREPROCESSING,
    TORONTO_RANGE,
    constant,
    normal,
    sgd,
)

_LRN = {"depth_radius": 2, "bias": 2.0, "alpha": 1e-4, "beta": 0.75}
_PLAIN = {"kernel_initializer": normal(0.01)}
_BIASED = {**_PLAIN, "bias_initializer": constant(1.0)}

_CONV1 = {
    "filters": 96,
    "kernel_size": 11,
    "strides": 4,
    "padding": ROUND_UP,
    "pool_padding": "ceil",
    "norm": _LRN,
    **_PLAIN,
}
_CONV2 = {
    "filters": 256,
    "kernel_size": 5,
    "padding": 2,
    "groups": 2,
    "pool_padding": "ceil",
    "norm": _LRN,
    **_BIASED,
}
_CONV3 = {"filters": 384, "kernel_size": 3, "padding": 1, "pool": None, **_PLAIN}
_CONV4 = {**_CONV3, "groups": 2, **_BIASED}
_CONV5 = {
    "filters": 256,
    "kernel_size": 3,
    "padding": 1,
    "groups": 2,
    "pool_padding": "ceil",
    **_BIASED,
}
_REST = {
    "image_shape": (224, 224, 3),
    "num_classes": 1000,
    "dense_units": (4096, 4096),
    "dropout": 0.5,
    "dense_kernel_initializer": normal(0.01),
    "dense_bias_initializer": constant(1.0),
    "logits_kernel_initializer": normal(0.01),
}

_TRAINING = sgd(
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
        "preprocessing": TORONTO_PREPROCESSING,
        "value_range": TORONTO_RANGE,
        "figures": {
            "ILSVRC-2012 validation, 1 CNN, ten views: top-1 error": 40.7,
            "ILSVRC-2012 validation, 1 CNN, ten views: top-5 error": 18.2,
            "ILSVRC-2010 test, ten views: top-1 error": 37.5,
            "ILSVRC-2010 test, ten views: top-5 error": 17.0,
        },
        "training": _TRAINING,
        "arguments": {"blocks": (_CONV1, _CONV2, _CONV3, _CONV4, _CONV5), **_REST},
    },
    "ungrouped": {
        "description": "The paper's network without groups: as reimplementations for "
        "one device have it",
        "source": "as preset 'paper'; for example dansuh17/alexnet-pytorch, model.py, "
        "lines 49 to 75 at 0145b80, whose LRN divides alpha by 5, and which drops "
        "before the dense layers",
        "parameters": 62_378_344,
        "preprocessing": TORONTO_PREPROCESSING,
        "value_range": TORONTO_RANGE,
        "figures": {},
        "training": _TRAINING,
        "arguments": {
            "blocks": (
                _CONV1,
                {**_CONV2, "groups": 1},
                _CONV3,
                {**_CONV4, "groups": 1},
                {**_CONV5, "groups": 1},
            ),
            **_REST,
        },
    },
}
