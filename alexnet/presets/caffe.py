"""Caffe's networks for ImageNet, from its model definitions."""

from __future__ import annotations

from typing import Any

from alexnet.presets.shared import constant, normal, sgd

# Caffe's alpha scales the mean of the window: 1e-4 / 5.
_LRN = {"depth_radius": 2, "bias": 1.0, "alpha": 1e-4 / 5, "beta": 0.75}
_NORMAL = {"kernel_initializer": normal(0.01)}
_BIAS_01 = {"bias_initializer": constant(0.1)}
_BIAS_1 = {"bias_initializer": constant(1.0)}
_POOL_NORM = {"order": ("conv", "activation", "pool", "norm")}

_CONV1 = {
    "filters": 96,
    "kernel_size": 11,
    "strides": 4,
    "padding": 0,
    "pool_padding": "ceil",
    "norm": _LRN,
    **_NORMAL,
}
_CONV2 = {
    "filters": 256,
    "kernel_size": 5,
    "padding": 2,
    "groups": 2,
    "pool_padding": "ceil",
    "norm": _LRN,
    **_NORMAL,
}
_CONV3 = {"filters": 384, "kernel_size": 3, "padding": 1, "pool": None, **_NORMAL}
_CONV4 = {**_CONV3, "groups": 2}
_CONV5 = {
    "filters": 256,
    "kernel_size": 3,
    "padding": 1,
    "groups": 2,
    "pool_padding": "ceil",
    **_NORMAL,
}
_REST = {
    "image_shape": (227, 227, 3),
    "num_classes": 1000,
    "dense_units": (4096, 4096),
    "dropout": 0.5,
    "dense_kernel_initializer": normal(0.005),
    "logits_kernel_initializer": normal(0.01),
}
# Images are stored at 256 by 256, whatever their proportions.
_INPUT = {
    "preprocessing": {
        "resize": (256, 256),
        "crop": 227,
        "channels": "BGR",
        "scale": 1.0,
        "mean": (104.007, 116.669, 122.679),
        "mean_image": True,
        "std": (1.0, 1.0, 1.0),
    },
    "value_range": (-122.679, 150.993),
}
_ALSO = (
    "images mirrored at random; biases learn twice as fast and do not decay; the rate "
    "divided by 10 every 100,000 of 450,000 batches"
)
_SITE = "http://dl.caffe.berkeleyvision.org/"

CAFFE: dict[str, dict[str, Any]] = {
    "caffe": {
        "description": "Caffe's AlexNet (bvlc_alexnet): the paper's order, images of "
        "227, LRN with k 1 and a mean, biases of 0.1",
        "source": "BVLC/caffe, models/bvlc_alexnet/train_val.prototxt, lines 40 to "
        "367; figures: models/bvlc_alexnet/readme.md; sizes of images: "
        "examples/imagenet/readme.md, lines 33 to 39; mean: "
        "examples/00-classification.ipynb, line 148",
        "parameters": 60_965_224,
        **_INPUT,
        "figures": {
            "ILSVRC-2012 validation, one crop: top-1 accuracy": 57.1,
            "ILSVRC-2012 validation, one crop: top-5 accuracy": 80.2,
        },
        "training": sgd(
            0.01,
            5e-4,
            256,
            "BVLC/caffe, models/bvlc_alexnet/solver.prototxt, lines 4 to 11; "
            "train_val.prototxt there, from line 8",
            augmentation=14.5 / 227,
            also=_ALSO,
        ),
        "weights": {
            "imagenet": {
                "url": f"{_SITE}bvlc_alexnet.caffemodel",
                "sha1": "9116a64c0fbe4459d18f4bb6b56d647b63920377",
            },
        },
        "arguments": {
            "blocks": (
                _CONV1,
                {**_CONV2, **_BIAS_01},
                _CONV3,
                {**_CONV4, **_BIAS_01},
                {**_CONV5, **_BIAS_01},
            ),
            **_REST,
            "dense_bias_initializer": constant(0.1),
        },
    },
    "caffenet": {
        "description": "Caffe's CaffeNet (bvlc_reference_caffenet): as "
        "'caffe' with pooling before LRN and biases of 1",
        "source": "BVLC/caffe, models/bvlc_reference_caffenet/train_val.prototxt, "
        "lines 56 to 383; figures: models/bvlc_reference_caffenet/readme.md",
        "parameters": 60_965_224,
        **_INPUT,
        "figures": {
            "ILSVRC-2012 validation, one crop: top-1 accuracy": 57.4,
            "ILSVRC-2012 validation, one crop: top-5 accuracy": 80.4,
        },
        "training": sgd(
            0.01,
            5e-4,
            256,
            "BVLC/caffe, models/bvlc_reference_caffenet/solver.prototxt, lines 4 to "
            "11; train_val.prototxt there, from line 8",
            augmentation=14.5 / 227,
            also=_ALSO,
        ),
        "weights": {
            "imagenet": {
                "url": f"{_SITE}bvlc_reference_caffenet.caffemodel",
                "sha1": "4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46",
            },
        },
        "arguments": {
            "blocks": (
                {**_CONV1, **_POOL_NORM},
                {**_CONV2, **_POOL_NORM, **_BIAS_1},
                _CONV3,
                {**_CONV4, **_BIAS_1},
                {**_CONV5, **_BIAS_1},
            ),
            **_REST,
            "dense_bias_initializer": constant(1.0),
        },
    },
}
