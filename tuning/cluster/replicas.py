"""One trial on several GPUs: each trains on a part of every batch."""

from __future__ import annotations

from typing import Any

import keras

from tuning.cluster.session import WorkerError

INSTALL = "Install TensorFlow with its CUDA libraries: alexnet-keras[gpu]."


def check_backend(gpus_per_trial: float | None) -> None:
    """Check that Keras runs on what can train a trial on so many GPUs.

    Raises:
        ValueError: It does not.
    """
    backend = keras.backend.backend()
    if (gpus_per_trial or 1) > 1 and backend != "tensorflow":
        raise ValueError(
            "gpus_per_trial must be at most 1 unless Keras runs on TensorFlow; "
            f"received gpus_per_trial={gpus_per_trial} with Keras on {backend}. Lower "
            "it, or set KERAS_BACKEND=tensorflow."
        )


def strategy_for(gpus_per_trial: float) -> Any:
    """Return the `tf.distribute.MirroredStrategy` of this process' trials, if any.

    It mirrors them on the GPUs that TensorFlow sees or, if there are none, on as many
    logical CPU devices, where somebody has set these up.

    Args:
        gpus_per_trial: GPUs of a trial; up to 1 needs no strategy.

    Raises:
        WorkerError: TensorFlow sees fewer.
    """
    if gpus_per_trial <= 1:
        return None
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    count = int(gpus_per_trial)
    if len(devices) < count:
        raise WorkerError(
            "TensorFlow must see the GPUs of a trial; received "
            f"gpus_per_trial={count}, and it sees {len(gpus)}. {INSTALL}"
        )
    return tf.distribute.MirroredStrategy([device.name for device in devices[:count]])


def missing_gpus() -> str | None:
    """Return a message if Keras runs on a TensorFlow that sees no GPU."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return None
    return (
        f"Trials run on CPUs: a machine has GPUs, but TensorFlow sees none. {INSTALL}"
    )
