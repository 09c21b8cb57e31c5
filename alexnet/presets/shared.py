"""Values that rows of several families share."""

from __future__ import annotations

from typing import Any

VALIDATION = "ILSVRC-2012 validation, ten views"
TEST_2010 = "ILSVRC-2010 test, ten views"
ONE_CROP = "ILSVRC-2012 validation, one crop"
POOL_THEN_NORM = ("conv", "activation", "pool", "norm")


def block(filters: int, kernel_size: int, **others: Any) -> dict[str, Any]:
    """Return a block: a dict of `ConvBlock`'s arguments."""
    return {"filters": filters, "kernel_size": kernel_size, **others}


def initializer(class_name: str, **config: Any) -> dict[str, Any]:
    """Return an initializer as Keras serializes it."""
    return {"class_name": class_name, "config": config}


def normal(stddev: float) -> dict[str, Any]:
    return initializer("RandomNormal", mean=0.0, stddev=stddev, seed=None)


def constant(value: float) -> dict[str, Any]:
    return initializer("Constant", value=value)


def biased(value: float) -> dict[str, Any]:
    return {"bias_initializer": constant(value)}


def errors(images: str, top1: float, top5: float) -> dict[str, float]:
    return {f"{images}: top-1 error": top1, f"{images}: top-5 error": top5}


def accuracies(images: str, top1: float, top5: float) -> dict[str, float]:
    return {f"{images}: top-1 accuracy": top1, f"{images}: top-5 accuracy": top5}


def preprocessing(
    resize: int | tuple[int, int] | None,
    crop: int | None,
    mean: tuple[float, float, float],
    *,
    channels: str = "RGB",
    scale: float = 1.0,
    mean_image: bool = True,
    std: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> dict[str, Any]:
    """Return a row's "preprocessing"."""
    return {
        "resize": resize,
        "crop": crop,
        "channels": channels,
        "scale": scale,
        "mean": mean,
        "mean_image": mean_image,
        "std": std,
    }


def sgd(
    learning_rate: float,
    weight_decay: float,
    batch_size: int,
    source: str,
    *,
    also: str,
    augmentation: float | None = None,
) -> dict[str, Any]:
    """Return a row's "training"; the momentum is 0.9 in all of them."""
    training = {
        "source": source,
        "optimizer": "sgd",
        "learning_rate": learning_rate,
        "momentum": 0.9,
        "weight_decay": weight_decay,
        "batch_size": batch_size,
        "also": also,
    }
    return training | ({} if augmentation is None else {"augmentation": augmentation})


# The convolutions of 2012, without first weights and normalization. cuda-convnet's
# sizes round up: 224 gives 1 + ceil((224 - 11) / 4) = 55. The same with 3 pixels at
# the bottom and right, then unpadded.
CONV1 = block(96, 11, strides=4, padding=((0, 3), (0, 3)), pool_padding="ceil")
CONV2 = block(256, 5, padding=2, groups=2, pool_padding="ceil")
CONV3 = block(384, 3, padding=1, pool=None)
CONV4 = block(384, 3, padding=1, pool=None, groups=2)
CONV5 = block(256, 3, padding=1, groups=2, pool_padding="ceil")
ONE_GROUP = {"groups": 1}

IMAGENET = {
    "image_shape": (224, 224, 3),
    "num_classes": 1000,
    "dense_units": (4096, 4096),
    "dropout": 0.5,
}
# The paper's and its code's, which start with the same dense layers.
ARGUMENTS_2012 = {
    **IMAGENET,
    "dense_kernel_initializer": normal(0.01),
    "dense_bias_initializer": constant(1.0),
    "logits_kernel_initializer": normal(0.01),
}
# The average of the mean image of the 2012 training images.
INPUT_2012 = {
    "preprocessing": preprocessing(256, 224, (127.30, 119.72, 104.91)),
    "value_range": (-127.30, 150.09),
}
