"""The networks of the 2012 code and of cuda-convnet2, from their layer files.

The two GPUs of 2012 are towers: groups of channels. LRN scales are divided by the
window's size or area, as layer.py does on reading them, and its windows stop at a
tower's edge.
"""

from __future__ import annotations

from typing import Any

from alexnet.presets import shared

_LRN = {"depth_radius": 2, "bias": 2.0, "alpha": 1e-4 / 5, "beta": 0.75, "groups": 2}
_LRN_ONE = {**_LRN, "groups": 1}
_WITHIN = {"pool_size": 5, "bias": 1.0, "alpha": 1e-3 / 25, "beta": 0.75}
_NORMAL_01 = {"kernel_initializer": shared.normal(0.01)}
_NORMAL_03 = {"kernel_initializer": shared.normal(0.03)}
_BIASED = _NORMAL_03 | shared.biased(1.0)
_POOL_2 = {"pool_size": 2}
_NO_NORM = {"norm": None}

_ORDER = {"order": ("conv", "norm", "pool", "activation")}
_CONV1 = {**shared.CONV1, **_ORDER, "norm": _LRN, **_NORMAL_01}
_CONV2 = {**shared.CONV2, "norm": (_LRN, _WITHIN), **_NORMAL_01, **shared.biased(1.0)}
_CONV3 = shared.CONV3 | _NORMAL_03
_CONV4 = shared.CONV4 | _BIASED
_CONV5 = {**shared.CONV5, "order": ("conv", "pool", "activation", "norm"), **_BIASED}
# conv6 in the layer file. It shares a number so that fc6 and fc7 are dense layers
# in every network.
_CONV6 = {**shared.CONV3, "filters": 256, "suffix": "b", **_BIASED}
_CHM = "computerhistory/AlexNet-Source-Code, layers/"


def _trained(lines: str, schedule: str, learning_rate: float = 0.01) -> dict[str, Any]:
    """Return the 2012 training settings; only the schedule and the rate vary."""
    return shared.sgd(
        learning_rate,
        5e-4,
        128,
        f"{_CHM}layer-params-{lines}; batches: convnet.py, line 177",
        augmentation=16 / 224,
        also="images mirrored at random, their colors shifted along principal "
        f"components; biases learn twice as fast and do not decay; {schedule}",
    )


TORONTO: dict[str, dict[str, Any]] = {
    "net145": {
        "description": "The paper's network as its code has it: "
        "conv1 normalized and pooled before ReLU, LRN within towers, conv2 "
        "normalized within maps too",
        "source": f"{_CHM}layers-145.cfg, lines 9 to 303; layer-params-145.cfg, lines "
        "137 to 203; figures for 2010: layer-params-145-2010.cfg, lines 168 to 180",
        "parameters": 60_965_224,
        **shared.INPUT_2012,
        "figures": {
            **shared.errors(shared.VALIDATION, 40.664, 18.210),
            **shared.errors(
                "ILSVRC-2012 validation, ten views, to epoch 135", 40.250, 17.994
            ),
            **shared.errors(shared.TEST_2010, 37.4727, 16.9987),
            **shared.errors("ILSVRC-2010 test, one crop", 39.0247, 18.2953),
        },
        "training": _trained(
            "145.cfg, lines 1 to 119 and 165 to 182",
            "the rate divided by 10 at epochs 25, 51 and 79 of 91",
        ),
        "arguments": {
            "blocks": (_CONV1, _CONV2, _CONV3, _CONV4, _CONV5),
            **shared.ARGUMENTS_2012,
        },
    },
    "net145_half": {
        "description": "net145 on one GPU: one tower with half of the filters, but "
        "all of conv5's and of the dense layers'",
        "source": f"{_CHM}layers-145-half.cfg, lines 9 to 160; "
        "layer-params-145-half.cfg, lines 76 to 100",
        "parameters": 59_798_312,
        **shared.INPUT_2012,
        "figures": shared.errors(shared.TEST_2010, 39.1680, 18.2287),
        "training": _trained(
            "145-half.cfg, lines 1 to 70 and 90 to 100",
            "the rate divided by 10 at epochs 20 and 48 of 96",
        ),
        "arguments": {
            "blocks": (
                {**_CONV1, "filters": 48, "norm": _LRN_ONE},
                {
                    **_CONV2,
                    "filters": 128,
                    "norm": (_LRN_ONE, _WITHIN),
                    **shared.ONE_GROUP,
                },
                {**_CONV3, "filters": 192},
                {**_CONV4, "filters": 192, **shared.ONE_GROUP},
                _CONV5 | shared.ONE_GROUP,
            ),
            **shared.ARGUMENTS_2012,
        },
    },
    "net146": {
        "description": "The paper's 1 CNN*: net145 with a sixth convolution, across "
        "the towers, after the last pool; figures after pre-training on ImageNet "
        "2011",
        "source": f"{_CHM}layers-146-2012-2011.cfg, lines 9 to 361 (conv6, here "
        "conv5b: lines 258 to 286); layer-params-146-2012-2011.cfg, lines 153 to 203",
        "parameters": 61_555_304,
        **shared.INPUT_2012,
        "figures": shared.errors(shared.VALIDATION, 38.990, 16.622),
        "training": _trained(
            "146-2012-2011.cfg, lines 1 to 135 and 181 to 195",
            "begun with weights pre-trained on ImageNet 2011; the rate divided by 10 "
            "at epochs 22 and 42 of 54",
            0.001,
        ),
        "arguments": {
            "blocks": (_CONV1, _CONV2, _CONV3, _CONV4, _CONV5, _CONV6),
            **shared.ARGUMENTS_2012,
        },
    },
    "net147": {
        "description": "net145 with pools that do not overlap: less padding at conv2 "
        "and conv5, so that fc6 sees as much",
        "source": f"{_CHM}layers-147.cfg, lines 9 to 302; layer-params-147.cfg, lines "
        "137 to 174",
        "parameters": 60_965_224,
        **shared.INPUT_2012,
        "figures": shared.errors(shared.VALIDATION, 41.058, 18.510),
        "training": _trained(
            "147.cfg, lines 1 to 119 and 165 to 174",
            "the rate divided by 10 at epochs 23, 51 and 79 of 90",
        ),
        "arguments": {
            "blocks": (
                _CONV1 | _POOL_2,
                {**_CONV2, "padding": 1, **_POOL_2},
                _CONV3,
                _CONV4,
                {**_CONV5, "padding": 0, **_POOL_2},
            ),
            **shared.ARGUMENTS_2012,
        },
    },
    "net148": {
        "description": "net145 without any normalization",
        "source": f"{_CHM}layers-148.cfg, lines 9 to 267; layer-params-148.cfg, lines "
        "137 to 148",
        "parameters": 60_965_224,
        **shared.INPUT_2012,
        "figures": shared.errors(shared.VALIDATION, 42.034, 19.362),
        "training": _trained(
            "148.cfg, lines 1 to 119 and 137 to 148",
            "the rate divided by 10 at epochs 22, 44 and 86 of 97",
        ),
        "arguments": {
            "blocks": (
                _CONV1 | _NO_NORM,
                _CONV2 | _NO_NORM,
                _CONV3,
                _CONV4,
                _CONV5,
            ),
            **shared.ARGUMENTS_2012,
        },
    },
    "one_weird_trick": {
        "description": "cuda-convnet2's network for one GPU: one group, fewer "
        "filters, logits that start at -7",
        "source": "akrizhevsky/cuda-convnet2, layers/layers-imagenet-1gpu.cfg, lines 9 "
        "to 149; layers/layer-params-imagenet-1gpu.cfg, lines 83 to 91; figures: the "
        "repository's wiki, TrainingExample; after "
        "Krizhevsky: One weird trick for parallelizing convolutional neural "
        "networks, arXiv:1404.5997",
        "parameters": 61_100_840,
        **shared.INPUT_2012,
        "figures": {
            **shared.accuracies(shared.ONE_CROP, 57.45, 80.19),
            **shared.accuracies(shared.VALIDATION, 59.58, 81.85),
        },
        "training": shared.sgd(
            0.01,
            5e-4,
            128,
            "akrizhevsky/cuda-convnet2, layers/layer-params-imagenet-1gpu.cfg, lines 1 "
            "to 71; batches: convnet.py, line 253",
            augmentation=16 / 224,
            also="images mirrored at random; biases learn twice as fast and do not "
            "decay; the rate falls to a 250th in four steps",
        ),
        "arguments": {
            "blocks": (
                {**_CONV1, "filters": 64, "norm": _LRN_ONE},
                {**_CONV2, "filters": 192, "norm": _LRN_ONE, **shared.ONE_GROUP},
                _CONV3,
                {**_CONV4, "filters": 256, **shared.ONE_GROUP},
                _CONV5 | shared.ONE_GROUP,
            ),
            **shared.ARGUMENTS_2012,
            "logits_bias_initializer": shared.constant(-7.0),
        },
    },
}
