"""The networks for CIFAR-10 of cuda-convnet and of Caffe's examples.

cuda-convnet's layer.py divides LRN scales by the window's area on reading them.
"""

from __future__ import annotations

from typing import Any

from alexnet.presets.shared import normal, sgd

_WITHIN = {"pool_size": 3, "bias": 1.0, "alpha": 5e-5 / 9, "beta": 0.75}
_BLOCK = {
    "filters": 32,
    "kernel_size": 5,
    "padding": 2,
    "pool": "average",
    "pool_padding": "ceil",
    "kernel_initializer": normal(0.01),
}
_FIRST = {
    **_BLOCK,
    "order": ("conv", "pool", "activation", "norm"),
    "pool": "max",
    "kernel_initializer": normal(0.0001),
}
# The mean image of CIFAR-10's training images, averaged over its pixels.
_PREPROCESSING = {
    "resize": None,
    "crop": None,
    "channels": "RGB",
    "scale": 1.0,
    "mean": (125.3, 123.0, 113.9),
    "mean_image": True,
    "std": (1.0, 1.0, 1.0),
}
_RANGE = (-125.3, 141.1)

CIFAR10: dict[str, dict[str, Any]] = {
    "cifar10_full": {
        "description": "cuda-convnet's and Caffe's full net for CIFAR-10: LRN within "
        "maps, pools that round up, no dense layer",
        "source": "computerhistory/AlexNet-Source-Code, layers-cifar/layers-18pct.cfg, "
        "lines 1 (its error) and 11 to 101; "
        "layers-cifar/layer-params-18pct-noisylr.cfg, lines 41 to 47; the same in "
        "BVLC/caffe, examples/cifar10/cifar10_full_train_test.prototxt, lines 36 to "
        "203",
        "parameters": 89_578,
        "preprocessing": _PREPROCESSING,
        "value_range": _RANGE,
        "figures": {"CIFAR-10 test: error, about": 18.0},
        "training": sgd(
            0.001,
            0.004,
            128,
            "computerhistory/AlexNet-Source-Code, "
            "layers-cifar/layer-params-18pct-noisylr.cfg, lines 3 to 36; batches: "
            "convnet.py, line 177; the same in BVLC/caffe, "
            "examples/cifar10/cifar10_full_solver.prototxt, with batches of 100",
            augmentation=0.0,
            also="logits decay 250 times as fast; biases learn twice as fast and do "
            "not decay; the rate divided by 10 after 120 epochs, and 10 more",
        ),
        "arguments": {
            "image_shape": (32, 32, 3),
            "num_classes": 10,
            "blocks": (
                {**_FIRST, "norm": _WITHIN},
                {
                    **_BLOCK,
                    "order": ("conv", "activation", "pool", "norm"),
                    "norm": _WITHIN,
                },
                {**_BLOCK, "filters": 64},
            ),
            "dense_units": (),
            "logits_kernel_initializer": normal(0.01),
        },
    },
    "cifar10_quick": {
        "description": "Caffe's small net for CIFAR-10: three convolutions, pools "
        "that round up",
        "source": "BVLC/caffe, examples/cifar10/cifar10_quick_train_test.prototxt, "
        "lines 36 to 205; figure: examples/cifar10/readme.md, line 81",
        "parameters": 145_578,
        "preprocessing": _PREPROCESSING,
        "value_range": _RANGE,
        "figures": {"CIFAR-10 test: accuracy, about": 75.0},
        "training": sgd(
            0.001,
            0.004,
            100,
            "BVLC/caffe, examples/cifar10/cifar10_quick_solver.prototxt, lines 12 to "
            "20; cifar10_quick_solver_lr1.prototxt, lines 12 to 20; "
            "cifar10_quick_train_test.prototxt, lines 15 to 193",
            augmentation=0.0,
            also="biases learn twice as fast; 8 epochs, and 2 more at a tenth of the "
            "rate",
        ),
        "arguments": {
            "image_shape": (32, 32, 3),
            "num_classes": 10,
            "blocks": (
                _FIRST,
                _BLOCK,
                {**_BLOCK, "filters": 64},
            ),
            "dense_units": (64,),
            "dense_activation": None,
            "dropout": 0.0,
            "dense_kernel_initializer": normal(0.1),
            "logits_kernel_initializer": normal(0.1),
        },
    },
}
