"""The networks for CIFAR-10 of cuda-convnet and of Caffe's examples.

cuda-convnet's layer.py divides LRN scales by the window's area on reading them.
"""

from __future__ import annotations

from typing import Any

from alexnet.presets import shared

_WITHIN = {"pool_size": 3, "bias": 1.0, "alpha": 5e-5 / 9, "beta": 0.75}
_NORMAL = {"kernel_initializer": shared.normal(0.01)}
_BLOCK = shared.block(32, 5, padding=2, pool="average", pool_padding="ceil", **_NORMAL)
_FIRST = {
    **_BLOCK,
    "order": ("conv", "pool", "activation", "norm"),
    "pool": "max",
    "kernel_initializer": shared.normal(0.0001),
}
_LAST = _BLOCK | {"filters": 64}
# The mean image of CIFAR-10's training images, averaged over its pixels.
_INPUT = {
    "preprocessing": shared.preprocessing(None, None, (125.3, 123.0, 113.9)),
    "value_range": (-125.3, 141.1),
}
_IMAGES = {"image_shape": (32, 32, 3), "num_classes": 10}

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
        **_INPUT,
        "figures": {"CIFAR-10 test: error, about": 18.0},
        "training": shared.sgd(
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
            **_IMAGES,
            "blocks": (
                {**_FIRST, "norm": _WITHIN},
                {**_BLOCK, "order": shared.POOL_THEN_NORM, "norm": _WITHIN},
                _LAST,
            ),
            "dense_units": (),
            "logits_kernel_initializer": shared.normal(0.01),
        },
    },
    "cifar10_quick": {
        "description": "Caffe's small net for CIFAR-10: three convolutions, pools "
        "that round up",
        "source": "BVLC/caffe, examples/cifar10/cifar10_quick_train_test.prototxt, "
        "lines 36 to 205; figure: examples/cifar10/readme.md, line 81",
        "parameters": 145_578,
        **_INPUT,
        "figures": {"CIFAR-10 test: accuracy, about": 75.0},
        "training": shared.sgd(
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
            **_IMAGES,
            "blocks": (_FIRST, _BLOCK, _LAST),
            "dense_units": (64,),
            "dense_activation": None,
            "dropout": 0.0,
            "dense_kernel_initializer": shared.normal(0.1),
            "logits_kernel_initializer": shared.normal(0.1),
        },
    },
}
