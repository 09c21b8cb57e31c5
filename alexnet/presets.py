"""Published AlexNets as plain data: one row each, with its source and figures.

A row holds
    description: What distinguishes the network, in a line.
    source: Where its definition was read.
    parameters: Parameter count of the published network (with its own
        `num_classes`), as the sources give or imply it.
    figures: Published results, by measure; accuracies and errors in percent.
    arguments: What `AlexNet` is called with.
    weights: Addresses of published weights, by name; left out if there are none.
        Such a file's name ends in the first digits of its SHA-256.

To add a network, add a row; nothing else knows its name.
"""

from __future__ import annotations

from typing import Any


def _normal(stddev: float) -> dict[str, Any]:
    return {
        "class_name": "RandomNormal",
        "config": {"mean": 0.0, "stddev": stddev, "seed": None},
    }


def _constant(value: float) -> dict[str, Any]:
    return {"class_name": "Constant", "config": {"value": value}}


def _uniform_fan_in() -> dict[str, Any]:
    # U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default for weights. It draws
    # biases likewise; Keras' initializers do not know a bias' fan-in: 0 here.
    return {
        "class_name": "VarianceScaling",
        "config": {
            "scale": 1 / 3,
            "mode": "fan_in",
            "distribution": "uniform",
            "seed": None,
        },
    }


# 224 gives 55 by rounding up: 3 pixels at the bottom and right, then unpadded.
_ROUND_UP = ((0, 3), (0, 3))

_PAPER_LRN = {"depth_radius": 2, "bias": 2.0, "alpha": 1e-4, "beta": 0.75}
_PAPER = {"kernel_initializer": _normal(0.01)}
_PAPER_BIASED = {**_PAPER, "bias_initializer": _constant(1.0)}

_NOTEBOOK_ORDER = ("conv", "norm", "activation", "pool")
_NOTEBOOK_LRN = {"depth_radius": 5, "bias": 1.0, "alpha": 1.0, "beta": 0.5}
_NOTEBOOK = {"order": _NOTEBOOK_ORDER, "norm": _NOTEBOOK_LRN}

_TORCH = {"kernel_initializer": _uniform_fan_in()}

_CAFFE_POOL = {"pool_padding": "same"}
_CAFFE_CONV = {"kernel_initializer": _normal(0.01), **_CAFFE_POOL}


PRESETS: dict[str, dict[str, Any]] = {
    "notebook": {
        "description": "A widespread notebook's AlexNet for CIFAR-10: images "
        "resized to 224, LRN with TensorFlow's defaults before ReLU",
        "source": "the Keras Sequential of the notebook 'AlexNet in Keras'; "
        "LRN: tf.nn.local_response_normalization, defaults",
        "parameters": 21_622_154,
        "figures": {},
        "arguments": {
            "image_shape": (32, 32, 3),
            "num_classes": 10,
            "resize": 224,
            "blocks": (
                {"filters": 96, "kernel_size": 11, "strides": 4, **_NOTEBOOK},
                {"filters": 256, "kernel_size": 5, "strides": 4, **_NOTEBOOK},
                {"filters": 384, "kernel_size": 3, "strides": 4, "pool": None},
                {"filters": 384, "kernel_size": 3, "strides": 4, "pool": None},
                {"filters": 256, "kernel_size": 3, "strides": 4, "pool": None},
            ),
            "dense_units": (4096, 4096),
            "dropout": 0.5,
        },
    },
    "paper": {
        "description": "The network of the 2012 paper, as written: two groups, "
        "LRN after ReLU, overlapping pooling",
        "source": "Krizhevsky, Sutskever, Hinton: ImageNet Classification with "
        "Deep Convolutional Neural Networks, NeurIPS 2012, sections 3 and 5; "
        "paddings: cuda-convnet's layers-145.cfg",
        "parameters": 60_965_224,
        "figures": {
            "ILSVRC-2012 validation, 1 CNN, ten views: top-1 error": 40.7,
            "ILSVRC-2012 validation, 1 CNN, ten views: top-5 error": 18.2,
            "ILSVRC-2010 test, ten views: top-1 error": 37.5,
            "ILSVRC-2010 test, ten views: top-5 error": 17.0,
        },
        "arguments": {
            "image_shape": (224, 224, 3),
            "num_classes": 1000,
            "blocks": (
                {
                    "filters": 96,
                    "kernel_size": 11,
                    "strides": 4,
                    "padding": _ROUND_UP,
                    "norm": _PAPER_LRN,
                    **_PAPER,
                },
                {
                    "filters": 256,
                    "kernel_size": 5,
                    "padding": 2,
                    "groups": 2,
                    "norm": _PAPER_LRN,
                    **_PAPER_BIASED,
                },
                {
                    "filters": 384,
                    "kernel_size": 3,
                    "padding": 1,
                    "pool": None,
                    **_PAPER,
                },
                {
                    "filters": 384,
                    "kernel_size": 3,
                    "padding": 1,
                    "groups": 2,
                    "pool": None,
                    **_PAPER_BIASED,
                },
                {
                    "filters": 256,
                    "kernel_size": 3,
                    "padding": 1,
                    "groups": 2,
                    **_PAPER_BIASED,
                },
            ),
            "dense_units": (4096, 4096),
            "dropout": 0.5,
            "dense_kernel_initializer": _normal(0.01),
            "dense_bias_initializer": _constant(1.0),
            "logits_kernel_initializer": _normal(0.01),
        },
    },
    "torchvision": {
        "description": "torchvision's alexnet: one group, no LRN, dropout before "
        "the dense layers",
        "source": "pytorch/vision, torchvision/models/alexnet.py, after "
        "Krizhevsky: One weird trick for parallelizing convolutional neural "
        "networks, arXiv:1404.5997",
        "parameters": 61_100_840,
        "figures": {
            "ILSVRC-2012 validation, one crop: top-1 accuracy": 56.522,
            "ILSVRC-2012 validation, one crop: top-5 accuracy": 79.066,
        },
        "weights": {
            "imagenet": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        },
        "arguments": {
            "image_shape": (224, 224, 3),
            "num_classes": 1000,
            "blocks": (
                {
                    "filters": 64,
                    "kernel_size": 11,
                    "strides": 4,
                    "padding": 2,
                    **_TORCH,
                },
                {"filters": 192, "kernel_size": 5, "padding": 2, **_TORCH},
                {
                    "filters": 384,
                    "kernel_size": 3,
                    "padding": 1,
                    "pool": None,
                    **_TORCH,
                },
                {
                    "filters": 256,
                    "kernel_size": 3,
                    "padding": 1,
                    "pool": None,
                    **_TORCH,
                },
                {"filters": 256, "kernel_size": 3, "padding": 1, **_TORCH},
            ),
            "adaptive_pool": 6,
            "dense_units": (4096, 4096),
            "dropout": 0.5,
            "dropout_position": "before",
            "dense_kernel_initializer": _uniform_fan_in(),
            "logits_kernel_initializer": _uniform_fan_in(),
        },
    },
    "cifar10_quick": {
        "description": "Caffe's small net for CIFAR-10: three convolutions, pools "
        "that round up",
        "source": "BVLC/caffe, examples/cifar10/cifar10_quick_train_test.prototxt",
        "parameters": 145_578,
        "figures": {"CIFAR-10 test: accuracy, about": 75.0},
        "arguments": {
            "image_shape": (32, 32, 3),
            "num_classes": 10,
            "blocks": (
                {
                    "filters": 32,
                    "kernel_size": 5,
                    "padding": 2,
                    "order": ("conv", "pool", "activation", "norm"),
                    "kernel_initializer": _normal(0.0001),
                    **_CAFFE_POOL,
                },
                {
                    "filters": 32,
                    "kernel_size": 5,
                    "padding": 2,
                    "pool": "average",
                    **_CAFFE_CONV,
                },
                {
                    "filters": 64,
                    "kernel_size": 5,
                    "padding": 2,
                    "pool": "average",
                    **_CAFFE_CONV,
                },
            ),
            "dense_units": (64,),
            "dense_activation": None,
            "dropout": 0.0,
            "dense_kernel_initializer": _normal(0.1),
            "logits_kernel_initializer": _normal(0.1),
        },
    },
}
