"""HyperAlexNet: the search space of an AlexNet as a KerasTuner hypermodel."""

from __future__ import annotations

import json
import random
import warnings
from typing import Any, NamedTuple

import keras
import keras_tuner
import numpy as np

from alexnet import AlexNet
from alexnet.checks import check_image_shape, check_int
from alexnet.model.costs import predicted_cost
from alexnet.training.batches import TrainingBatches
from tuning.space.inputs import (
    as_array,
    check_images,
    check_labels,
    check_weights,
    unexpected_range,
)

VALIDATION_BATCH_SIZE = 256
LOSS = "sparse_categorical_crossentropy"


class Cost(NamedTuple):
    """What a network takes: its parameters, and multiply-adds per image."""

    parameters: int
    multiply_adds: int


class HyperAlexNet(keras_tuner.HyperModel):
    """Builds, compiles and trains the AlexNet that hyperparameters describe.

    For use in `tuning.run_search` and in KerasTuner itself:

        tuner = keras_tuner.RandomSearch(
            HyperAlexNet(image_shape=(32, 32, 3), num_classes=10),
            objective="val_accuracy",
        )
        tuner.search(x, y, validation_data=(x_val, y_val), epochs=5)

    Args:
        image_shape: (height, width, channels) of the images.
        num_classes: Number of classes; labels are integers from 0.
        model: `AlexNet` or a subclass; its `search_space` is what is searched.
        rescale: Factor of the pixel values inside the model: 1/255 for images
            of bytes. None takes images as they are, in [0, 1].
        horizontal_flip: Whether training images may be mirrored.
        name, tunable: As of `keras_tuner.HyperModel`.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        model: type[AlexNet] = AlexNet,
        *,
        rescale: float | None = None,
        horizontal_flip: bool = False,
        name: str | None = None,
        tunable: bool = True,
    ) -> None:
        super().__init__(name=name, tunable=tunable)
        self.image_shape = check_image_shape(image_shape)
        self.num_classes = check_int("num_classes", num_classes, 1)
        self.model = model
        self.rescale = rescale
        self.horizontal_flip = horizontal_flip
        self.warns_of_range = True
        self._costs: dict[str, Cost] = {}

    def declare_hyperparameters(self, hp: Any) -> None:
        """Register the whole space, without building a network."""
        self.model.search_space(hp, self.image_shape)

    def build(self, hp: Any) -> AlexNet:
        """Return the compiled network."""
        model = self._network(hp)
        model.compile(
            optimizer=self._optimizer(self._training(hp)),
            loss=LOSS,
            metrics=["accuracy"],
        )
        return model

    def fit(self, hp: Any, model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        """Train on arrays with the batch size and augmentation of the values.

        Args:
            hp: The hyperparameters, with their values.
            model: What `build` returned for them.
            *args, **kwargs: As of `keras.Model.fit`; x and y may be arrays, tensors,
                or lists that hold one. Anything else that `fit` takes as x, such as a
                `tf.data.Dataset`, is used as it is, without the batch size and the
                augmentation of the values.

        Returns:
            The `keras.callbacks.History`.

        Raises:
            FatalValueError: Images, labels or weights are of a wrong shape, type or
                range. KerasTuner then ends its search.
        """
        if len(args) > 2:
            raise keras_tuner.errors.FatalTypeError(
                "fit takes x and y by position and the rest by name; received "
                f"{len(args)} arguments without a name."
            )
        arguments: dict[str, Any] = dict(zip(("x", "y"), args, strict=False)) | kwargs
        x, y = arguments.pop("x"), arguments.pop("y", None)
        images = as_array(x)
        if images is None:
            return model.fit(x, y, **arguments)
        parts = self._checked(
            model, "", images, y, arguments.pop("sample_weight", None)
        )
        if share := arguments.pop("validation_split", 0):
            first = int(len(images) * (1 - share))  # The last ones, as Keras does.
            arguments["validation_data"] = tuple(part[first:] for part in parts)
            parts = tuple(part[:first] for part in parts)
        elif isinstance(validation := arguments.get("validation_data"), (list, tuple)):
            known = as_array(validation[0])
            if known is not None:
                arguments["validation_data"] = self._checked(
                    model, "validation_data's ", known, *validation[1:]
                )
        training = self._training(hp)
        batches = TrainingBatches(
            parts[0],
            parts[1],
            arguments.pop("batch_size", None) or self.batch_size(hp),
            augmentation=training["augmentation"],
            horizontal_flip=self.horizontal_flip,
            weights=parts[2] if len(parts) > 2 else None,
            seed=random.randrange(2**31),
            first_epoch=arguments.get("initial_epoch", 0),
        )
        # They are shuffled; Keras would draw their order once more, in a thread.
        arguments.setdefault("shuffle", False)
        arguments.setdefault("validation_batch_size", VALIDATION_BATCH_SIZE)
        return model.fit(batches, **arguments)

    def batch_size(self, hp: Any) -> int:
        """Return the number of images per batch."""
        return self._training(hp)["batch_size"]

    def cost(self, hp: Any) -> Cost:
        """Return the cost of the network, without making its weights.

        The first network is built all the same: a class that cannot be fails at once.
        """
        arguments = self.model.search_space(hp, self.image_shape)["model"]
        try:
            key = json.dumps(arguments)
        except TypeError:  # Of objects, two of which may look the same.
            return self._measured(hp)
        if key in self._costs:  # Other values, the same network.
            return self._costs[key]
        predicted = self._predicted(arguments) if self._costs else None
        cost = self._measured(hp) if predicted is None else Cost(*predicted)
        self._costs[key] = cost
        return cost

    def _predicted(self, arguments: dict[str, Any]) -> tuple[int, int] | None:
        given = {"image_shape": self.image_shape, "num_classes": self.num_classes}
        return predicted_cost(self.model, {**arguments, **given})

    def _measured(self, hp: Any) -> Cost:
        with keras.StatelessScope(initialize_variables=False):
            cost = cost_of(self._network(hp))
        # Keras lists the variables as still to be made; forget them.
        clear_session(free_memory=False)
        return cost

    def _network(self, hp: Any) -> AlexNet:
        overrides = {} if self.rescale is None else {"rescale": self.rescale}
        return self.model.from_hyperparameters(
            hp, self.image_shape, self.num_classes, **overrides
        )

    def _training(self, hp: Any) -> dict[str, Any]:
        return self.model.search_space(hp, self.image_shape)["training"]

    def _optimizer(self, training: dict[str, Any]) -> keras.optimizers.Optimizer:
        shared = {
            "learning_rate": training["learning_rate"],
            "weight_decay": training["weight_decay"],
        }
        if training["optimizer"] == "sgd":
            return keras.optimizers.SGD(momentum=training["momentum"], **shared)
        return keras.optimizers.AdamW(**shared)

    def _checked(
        self, model: keras.Model, of: str, x: np.ndarray, y: Any = None, w: Any = None
    ) -> tuple[Any, ...]:
        """Return images, labels and weights, if there are any, as checked arrays."""
        check_images(f"{of}x", x, self.image_shape, self.rescale)
        if self.warns_of_range and (message := unexpected_range(x, self.rescale)):
            warnings.warn(message, UserWarning, stacklevel=4)
            self.warns_of_range = False  # Once is enough.
        if model.loss == LOSS:
            labels: Any = check_labels(f"{of}y", y, len(x), self.num_classes)
        else:  # A subclass compiles with a loss of its own.
            labels = y if (array := as_array(y)) is None else array
        return (x, labels) if w is None else (x, labels, check_weights(w, len(x)))


def cost_of(model: AlexNet) -> Cost:
    """Return the cost of a network."""
    return Cost(int(model.count_params()), int(model.multiply_adds))


def clear_session(free_memory: bool = True) -> None:
    """Have Keras forget the networks made before, but not its dtype policy."""
    policy = keras.config.dtype_policy()
    keras.utils.clear_session(free_memory)
    keras.config.set_dtype_policy(policy)
