"""Reimplementations in other frameworks."""

from __future__ import annotations

from typing import Any

from alexnet.presets import shared

# U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default for weights. It draws
# biases likewise; Keras' initializers do not know a bias' fan-in: 0 here.
_UNIFORM_FAN_IN = shared.initializer(
    "VarianceScaling", scale=1 / 3, mode="fan_in", distribution="uniform", seed=None
)
_TORCH = {"kernel_initializer": _UNIFORM_FAN_IN}

_SLIM = {
    "kernel_initializer": shared.initializer("GlorotUniform", seed=None),
    **shared.biased(0.1),
}
_SLIM_DENSE = shared.initializer("TruncatedNormal", mean=0.0, stddev=0.005, seed=None)

_NOTEBOOK = {
    "order": ("conv", "norm", "activation", "pool"),
    "norm": {"depth_radius": 5, "bias": 1.0, "alpha": 1.0, "beta": 0.5},
}

OTHERS: dict[str, dict[str, Any]] = {
    "torchvision": {
        "description": "torchvision's alexnet: one group, no LRN, dropout before "
        "the dense layers",
        "source": "pytorch/vision, torchvision/models/alexnet.py, lines 13 to 46 at "
        "00658a2; figures, sizes, mean and std: AlexNet_Weights there; after "
        "Krizhevsky: One weird trick for parallelizing convolutional neural networks, "
        "arXiv:1404.5997",
        "parameters": 61_100_840,
        "preprocessing": shared.preprocessing(
            256,
            224,
            (0.485, 0.456, 0.406),
            scale=1 / 255,
            mean_image=False,
            std=(0.229, 0.224, 0.225),
        ),
        "value_range": (-2.118, 2.640),
        "figures": shared.accuracies(shared.ONE_CROP, 56.522, 79.066),
        "training": shared.sgd(
            0.01,
            1e-4,
            256,
            "pytorch/vision, references/classification/README.md, 'AlexNet and VGG' "
            "(the rate; 8 processes); the rest: defaults of train.py there",
            also="crops of random size and proportions, mirrored at random; 90 "
            "epochs, the rate divided by 10 every 30",
        ),
        "weights": {
            "imagenet": {
                "url": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
                "sha256": "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116"
                "cdee02",
            },
        },
        "arguments": {
            **shared.IMAGENET,
            "blocks": (
                shared.block(64, 11, strides=4, padding=2, **_TORCH),
                shared.block(192, 5, padding=2, **_TORCH),
                shared.block(384, 3, padding=1, pool=None, **_TORCH),
                shared.block(256, 3, padding=1, pool=None, **_TORCH),
                shared.block(256, 3, padding=1, **_TORCH),
            ),
            "adaptive_pool": 6,
            "dropout_position": "before",
            "dense_kernel_initializer": _UNIFORM_FAN_IN,
            "logits_kernel_initializer": _UNIFORM_FAN_IN,
        },
    },
    # Of its training a weight decay alone is published (line 46), and no optimizer.
    "slim": {
        "description": "tf-slim's alexnet_v2: no padding at conv1, 384 filters at "
        "conv4, no LRN, fc6 a 5x5 convolution",
        "source": "tensorflow/models, research/slim/nets/alexnet.py, lines 45 to "
        "118 at 1585f2d",
        "parameters": 50_303_912,
        "preprocessing": None,
        "value_range": None,
        "figures": {},
        "arguments": {
            **shared.IMAGENET,
            "blocks": (
                shared.block(64, 11, strides=4, padding="valid", **_SLIM),
                shared.block(192, 5, padding=2, **_SLIM),
                shared.block(384, 3, padding=1, pool=None, **_SLIM),
                shared.block(384, 3, padding=1, pool=None, **_SLIM),
                shared.block(256, 3, padding=1, **_SLIM),
            ),
            "dense_kernel_initializer": _SLIM_DENSE,
            "dense_bias_initializer": shared.constant(0.1),
            "logits_kernel_initializer": _SLIM_DENSE,
            "use_convolutional_head": True,
        },
    },
    "notebook": {
        "description": "A widespread notebook's AlexNet for CIFAR-10: images "
        "resized to 224, LRN with TensorFlow's defaults before ReLU",
        "source": "the Keras Sequential of the notebook 'AlexNet in Keras', which many "
        "copies have without its origin; "
        "LRN: tf.nn.local_response_normalization, defaults",
        "parameters": 21_622_154,
        "preprocessing": shared.preprocessing(
            None, None, (0.0, 0.0, 0.0), scale=1 / 255, mean_image=False
        ),
        "value_range": (0.0, 1.0),
        "figures": {},
        "arguments": {
            "image_shape": (32, 32, 3),
            "num_classes": 10,
            "resize": 224,
            "blocks": (
                shared.block(96, 11, strides=4, **_NOTEBOOK),
                shared.block(256, 5, strides=4, **_NOTEBOOK),
                shared.block(384, 3, strides=4, pool=None),
                shared.block(384, 3, strides=4, pool=None),
                shared.block(256, 3, strides=4, pool=None),
            ),
            "dense_units": (4096, 4096),
            "dropout": 0.5,
        },
    },
}
