"""Caffe's networks for ImageNet, from its model definitions."""

from __future__ import annotations

from typing import Any

from alexnet.presets import shared


def _row(
    model: str,
    description: str,
    source: str,
    figures: tuple[float, float],
    sha1: str,
    bias: float,
    **others: Any,
) -> dict[str, Any]:
    """Return the row of a model of Caffe's.

    Args:
        model: Its folder in BVLC/caffe, models.
        description, source: Of the row.
        figures: Accuracies, top-1 and top-5.
        sha1: Of the published weights.
        bias: At the start, in the blocks with two groups and in the dense layers.
        **others: Arguments of the blocks that normalize.
    """
    # Caffe's alpha scales the mean of the window: 1e-4 / 5.
    lrn = {"depth_radius": 2, "bias": 1.0, "alpha": 1e-4 / 5, "beta": 0.75}
    plain = {"kernel_initializer": shared.normal(0.01)}
    normalized = {"norm": lrn, **others}
    with_bias = plain | shared.biased(bias)
    return {
        "description": description,
        "source": source,
        "parameters": 60_965_224,
        # Images are stored at 256 by 256, whatever their proportions.
        "preprocessing": shared.preprocessing(
            (256, 256), 227, (104.007, 116.669, 122.679), channels="BGR"
        ),
        "value_range": (-122.679, 150.993),
        "figures": shared.accuracies(shared.ONE_CROP, *figures),
        "training": shared.sgd(
            0.01,
            5e-4,
            256,
            f"BVLC/caffe, models/{model}/solver.prototxt, lines 4 to 11; "
            "train_val.prototxt there, from line 8",
            augmentation=14.5 / 227,
            also="images mirrored at random; biases learn twice as fast and do not "
            "decay; the rate divided by 10 every 100,000 of 450,000 batches",
        ),
        "weights": {
            "imagenet": {
                "url": f"http://dl.caffe.berkeleyvision.org/{model}.caffemodel",
                "sha1": sha1,
            },
        },
        "arguments": {
            "blocks": (
                shared.CONV1 | {"padding": 0} | normalized | plain,
                shared.CONV2 | normalized | with_bias,
                shared.CONV3 | plain,
                shared.CONV4 | with_bias,
                shared.CONV5 | with_bias,
            ),
            **shared.IMAGENET,
            "image_shape": (227, 227, 3),
            "dense_kernel_initializer": shared.normal(0.005),
            "dense_bias_initializer": shared.constant(bias),
            "logits_kernel_initializer": shared.normal(0.01),
        },
    }


CAFFE: dict[str, dict[str, Any]] = {
    "caffe": _row(
        "bvlc_alexnet",
        "Caffe's AlexNet (bvlc_alexnet): the paper's order, images of 227, LRN with k "
        "1 and a mean, biases of 0.1",
        "BVLC/caffe, models/bvlc_alexnet/train_val.prototxt, lines 40 to 367; figures: "
        "models/bvlc_alexnet/readme.md; sizes of images: examples/imagenet/readme.md, "
        "lines 33 to 39; mean: examples/00-classification.ipynb, line 148",
        figures=(57.1, 80.2),
        sha1="9116a64c0fbe4459d18f4bb6b56d647b63920377",
        bias=0.1,
    ),
    "caffenet": _row(
        "bvlc_reference_caffenet",
        "Caffe's CaffeNet (bvlc_reference_caffenet): as 'caffe' with pooling before "
        "LRN and biases of 1",
        "BVLC/caffe, models/bvlc_reference_caffenet/train_val.prototxt, lines 56 to "
        "383; figures: models/bvlc_reference_caffenet/readme.md",
        figures=(57.4, 80.4),
        sha1="4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46",
        bias=1.0,
        order=shared.POOL_THEN_NORM,
    ),
}
