"""AlexNet: the functional graph, its taps, presets and hyperparameters."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from alexnet import checks
from alexnet.layers.arguments import check_activation, check_initializer, serialized
from alexnet.layers.block import block_numbers
from alexnet.layers.conv_block import ConvBlock
from alexnet.model import drawing, edits
from alexnet.model.plan import DEFAULTS, check_arguments
from alexnet.preprocessing import pixel_arguments, ten_views
from alexnet.presets import PRESETS
from alexnet.space import hyperparameters


@keras.saving.register_keras_serializable(package="alexnet")
class AlexNet(keras.Model):
    """An AlexNet: convolutional blocks, dense layers, a classifier.

    The graph is drawn in `__init__` from `keras.Input`, layer by layer: each
    stage of a block is a layer of its own (`conv1`, `relu1`, `norm1`, `pool1`,
    ...; dense layers count on: `fc6`, `relu6`, `drop6`, ..., `logits`,
    `predictions`). Without arguments it has the layers of the 2012 paper;
    `from_preset("paper")` also gives the dense layers their first weights.

    To change the network, subclass it and override `draw_block` (one block),
    `draw_head` (everything after the blocks) or `search_space` (what a search
    varies). Decorate the subclass with
    `keras.saving.register_keras_serializable`, and `.keras` files load too.

    Args:
        image_shape: (height, width, channels) of the input; 1 to 4 channels.
        num_classes: Number of classes; int >= 1.
        blocks: The convolutional blocks in order: each a dict of `ConvBlock`'s
            arguments, or a `ConvBlock`, which is read as such a dict.
        dense_units: Units of each dense layer after the blocks; may be empty.
        dropout: Rate at each dense layer; 0 <= rate < 1.
        resize: Side, or (height, width), that images are resized to inside the
            model (bilinear); None leaves them as they are.
        rescale: Factor of the pixel values inside the model, before anything
            else, such as 1/255 for a model that takes bytes; None for none.
        pixel_mean: One number per channel, subtracted inside the model from what
            `rescale` gives; None subtracts nothing.
        pixel_std: One number per channel that divides the difference; None for
            no division.
        dropout_position: "after" each dense layer's activation (the paper), or
            "before" the dense layer (torchvision).
        dense_activation: Name, or function that has a name; None for linear
            dense layers.
        adaptive_pool: None, or the side or (height, width) of an adaptive
            average pooling before the first dense layer.
        classifier_activation: "softmax", another name or function; None ends
            the model at the logits.
        dense_kernel_initializer, dense_bias_initializer: Of the dense layers;
            copied for each of them.
        logits_kernel_initializer, logits_bias_initializer: Of the last one.
        use_convolutional_head: Whether the dense layers before the last are
            convolutions: the first covers all of the last block's output, the
            others one pixel (tf-slim). Same weights in another shape.
        name, trainable, dtype: As of every Keras model; `dtype` may be a policy
            such as "mixed_bfloat16" and goes to every layer. Resizing, LRN and
            the classifier's activation are computed in float32 all the same.

    Input shape: `(batch, height, width, channels)`; the presets' value ranges
        differ.
    Output shape: `(batch, num_classes)`.

    Raises:
        TypeError, ValueError: An argument is unknown, of the wrong kind or
            outside its range, or the images are too small for the blocks.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = PRESETS

    def __init__(
        self,
        image_shape: Any = DEFAULTS["image_shape"],
        num_classes: int = DEFAULTS["num_classes"],
        blocks: Any = DEFAULTS["blocks"],
        dense_units: Any = DEFAULTS["dense_units"],
        dropout: float = DEFAULTS["dropout"],
        resize: Any = DEFAULTS["resize"],
        rescale: float | None = DEFAULTS["rescale"],
        dropout_position: str = DEFAULTS["dropout_position"],
        dense_activation: Any = DEFAULTS["dense_activation"],
        adaptive_pool: Any = DEFAULTS["adaptive_pool"],
        classifier_activation: Any = DEFAULTS["classifier_activation"],
        dense_kernel_initializer: Any = DEFAULTS["dense_kernel_initializer"],
        dense_bias_initializer: Any = DEFAULTS["dense_bias_initializer"],
        logits_kernel_initializer: Any = DEFAULTS["logits_kernel_initializer"],
        logits_bias_initializer: Any = DEFAULTS["logits_bias_initializer"],
        use_convolutional_head: bool = DEFAULTS["use_convolutional_head"],
        pixel_mean: Any = DEFAULTS["pixel_mean"],
        pixel_std: Any = DEFAULTS["pixel_std"],
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
    ) -> None:
        values = locals()
        given = {key: values[key] for key in (*DEFAULTS, "trainable")}
        for key, value in check_arguments(given, type(self).__name__).items():
            if key.endswith("_activation"):
                value = check_activation(key, value)
            elif key.endswith("_initializer"):
                value = check_initializer(key, value)
            setattr(self, key, value)
        self._policy = keras.dtype_policies.get(dtype)
        # What `dtype_policy` returns: the constructor of Keras, which sets it, has to
        # wait until the graph is drawn, and subclasses draw with it.
        self._dtype_policy = self._policy

        inputs = keras.Input(self.image_shape, name="images", dtype="float32")
        outputs = drawing.draw_pixels(self, inputs)
        numbers = block_numbers(self.blocks)
        for number, arguments in zip(numbers, self.blocks, strict=True):
            outputs = self.draw_block(outputs, number, arguments)
        outputs = self.draw_head(outputs)
        super().__init__(inputs=inputs, outputs=outputs, name=name, trainable=trainable)
        self.dtype_policy = self._policy
        self._drawing = edits.Drawing(self)

    def draw_block(self, inputs: Any, number: int, arguments: dict[str, Any]) -> Any:
        """Draw one convolutional block and return its output.

        Args:
            inputs: Symbolic tensor, (batch, height, width, channels).
            number: 1 for the first block; see `ConvBlock`'s `suffix`.
            arguments: The block's entry of `blocks`.
        """
        block = ConvBlock(**arguments, number=number, dtype=self.dtype_policy)
        outputs = inputs
        for layer in block.stages:
            outputs = layer(outputs)
        return outputs

    def draw_head(self, inputs: Any) -> Any:
        """Draw the dense layers and the classifier; return the model's output.

        Args:
            inputs: Symbolic tensor, (batch, height, width, channels).

        Layers of a subclass follow the model's `dtype` with
        `dtype=self.dtype_policy`.
        """
        return drawing.draw_head(self, inputs, self.dtype_policy)

    @classmethod
    def search_space(
        cls, hp: Any, image_shape: tuple[int, int, int], **ranges: Any
    ) -> dict[str, dict[str, Any]]:
        """Read a configuration from `hp`; see `alexnet.space.hyperparameters`.

        A subclass narrows the space by passing ranges, and extends it by asking
        `hp` for more values and adding them to the result:

            @classmethod
            def search_space(cls, hp, image_shape):
                found = super().search_space(hp, image_shape, num_blocks=(2, 3))
                found["model"]["dense_activation"] = hp.Choice(
                    "dense_activation", ["relu", "gelu"]
                )
                return found

        Args:
            hp: Anything with the methods of `keras_tuner.HyperParameters`.
            image_shape: (height, width, channels) of the images.
            **ranges: Ranges other than those that follow from the image size.

        Returns:
            {"model": arguments of the class, "training": settings of training}.

        Raises:
            TypeError: A range has an unknown name.
        """
        return hyperparameters.search_space(hp, image_shape, **ranges)

    @classmethod
    def from_preset(
        cls,
        preset: str,
        *,
        weights: Any = None,
        sha256: str | None = None,
        channel_order: str | None = None,
        sum_channels: bool = False,
        include_preprocessing: bool = False,
        **overrides: Any,
    ) -> AlexNet:
        """Build a published network; see `AlexNet.presets`.

        Args:
            preset: Its name.
            weights: Path of a weight file (see `alexnet.weights`), "imagenet" for
                the preset's published weights, or None.
            sha256, channel_order: For a weight file of your own; see
                `alexnet.weights.load_weights`.
            sum_channels: For any weights; see there.
            include_preprocessing: Whether the model itself brings RGB pixels of 0
                to 255 into the range that the network expects, as
                `alexnet.preprocessing.preprocess_input` does.
            **overrides: Arguments of the class that replace the preset's.

        Raises:
            ValueError: There is no such preset, the weights are another network's,
                or no preprocessing was published.
            TypeError: There is no such argument.
        """
        checks.check_preset(preset, cls.presets)
        checks.check_bool("include_preprocessing", include_preprocessing)
        options = {
            "sha256": sha256,
            "channel_order": channel_order,
            "sum_channels": sum_channels,
        }
        for name, value in options.items():
            if weights is None and value:
                raise ValueError(
                    f"{name} belongs to a weight file; received {name}={value!r} "
                    "without weights. Pass its path as weights."
                )
        arguments = copy.deepcopy(cls.presets[preset]["arguments"])
        if include_preprocessing:
            arguments |= pixel_arguments(preset, cls.presets)
        model = cls(**{**arguments, **overrides})
        if weights is not None:
            from alexnet.weights import load_preset_weights

            load_preset_weights(model, preset, weights, **options)
        return model

    @classmethod
    def from_hyperparameters(
        cls,
        hp: Any,
        image_shape: tuple[int, int, int] = (32, 32, 3),
        num_classes: int = 10,
        **overrides: Any,
    ) -> AlexNet:
        """Build the network that `hp` describes.

        Args:
            hp: Anything with the methods of `keras_tuner.HyperParameters`.
            image_shape: (height, width, channels) of the images.
            num_classes: Number of classes.
            **overrides: Arguments of the class that replace those from `hp`.
        """
        found = cls.search_space(hp, checks.check_image_shape(image_shape))
        return cls(
            **{
                **found["model"],
                "image_shape": image_shape,
                "num_classes": num_classes,
                **overrides,
            }
        )

    @property
    def taps(self) -> dict[str, Any]:
        """Every layer's output by name, as symbolic tensors, in graph order."""
        return {
            layer.name: layer.output
            for layer in self.layers
            if not isinstance(layer, keras.layers.InputLayer)
        }

    def tap(self, names: str | Sequence[str]) -> keras.Model:
        """Return a model from the same input to the output of one or more layers.

        It shares its layers and weights with this one.

        "fc6" and "fc7" are the outputs of the dense layers before their activations,
        "relu6" and "relu7"; Caffe's blobs named fc6 and fc7 are after them. Where a
        network pools before it activates (`net145`), "relu1" has the pool's size.

        Args:
            names: One of `taps`, such as "relu3"; or several, which are computed in
                one pass.

        Returns:
            A model whose output is that of the layer, or a dict of outputs by name.

        Raises:
            TypeError, ValueError: There is no such tap.
        """
        taps = self.taps
        if not isinstance(names, str | list | tuple):
            raise TypeError(
                "names must be the name of a tap or a list of them; received "
                f"names={names!r}."
            )
        wanted = [names] if isinstance(names, str) else list(names)
        for name in wanted:
            if name not in taps:
                raise ValueError(checks.unknown("tap", name, taps))
        if not wanted:
            raise ValueError("names must hold at least one tap; received none.")
        outputs = {name: taps[name] for name in wanted}
        return keras.Model(
            self.input,
            outputs[names] if isinstance(names, str) else outputs,
            name="_".join([self.name, *outputs]),
        )

    def predict_ten_views(self, images: Any, batch_size: int = 32) -> np.ndarray:
        """Average the predictions for ten views of each image, as in 2012.

        The views are the four corners and the middle, and their mirror images. The
        softmax outputs are averaged, also if the model ends at the logits.

        Args:
            images: (number of images, height, width, channels), at least as large
                as `image_shape`, with the values that the model takes, such as
                `preprocess_input(resize_and_crop(photos, preset, use_margin=True),
                preset)` of `alexnet.preprocessing`.
            batch_size: Views per step.

        Returns:
            (number of images, num_classes) float32.

        Raises:
            ValueError: The images are of another shape or too small.
        """
        checks.check_int("batch_size", batch_size, 1)
        images = np.asarray(images)
        channels = self.image_shape[2]
        if images.ndim != 4 or images.shape[3] != channels or not len(images):
            raise ValueError(
                "images must have shape (number of images, height, width, "
                f"{channels}); received {images.shape}."
            )
        total = np.zeros((len(images), self.num_classes))
        for view in ten_views(images, self.image_shape[:2]):
            outputs = self.predict(view, batch_size=batch_size, verbose=0)
            if self.classifier_activation is None:
                logits = outputs.astype("float32")
                outputs = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
            total += outputs
        return (total / 10).astype("float32")

    @property
    def multiply_adds(self) -> int:
        """Multiplications of weights in one image's forward pass.

        Each kernel counts once per position where it is applied: convolutions and
        dense layers, not biases, activations, normalization or pooling. Layers
        inside other layers, which a subclass may draw, do not count.
        """
        total = 0
        for layer in self.layers:
            kernel = getattr(layer, "kernel", None)
            if kernel is not None:
                positions = math.prod(layer.output.shape[1:-1])
                total += positions * math.prod(kernel.shape)
        return total

    def save(self, filepath: Any, *arguments: Any, **options: Any) -> None:
        """Save the model; see `keras.Model.save`.

        Raises:
            ValueError: The path ends in .h5 or .hdf5, files that Keras writes and
                does not load as a model of this class, or a layer was changed in a
                way that cannot be repeated.
        """
        if str(filepath).lower().endswith((".h5", ".hdf5")):
            raise ValueError(
                f"{type(self).__name__} is saved in files that load again, which HDF5 "
                f"files of whole models do not; received filepath={str(filepath)!r}. "
                "End the path in .keras, or save the weights alone with save_weights "
                "(.weights.h5)."
            )
        super().save(filepath, *arguments, **options)

    def get_config(self) -> dict[str, Any]:
        """Return every argument, and what was changed in the layers since.

        "frozen_layers" names the layers that alone are frozen, "edited_layers" has
        the other changes by layer; both are missing if there are none.

        Raises:
            ValueError: A layer was changed in a way that cannot be repeated.
        """
        frozen = edits.frozen_layers(self)
        edited = self._drawing.edits(self)
        return {
            **({"frozen_layers": frozen} if frozen else {}),
            **({"edited_layers": edited} if edited else {}),
            **{name: serialized(getattr(self, name)) for name in DEFAULTS},
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self._policy),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> AlexNet:
        config = dict(config)
        frozen = config.pop("frozen_layers", ())
        edited = config.pop("edited_layers", {})
        model = cls(**config)
        for name in frozen:
            model.get_layer(name).trainable = False
        edits.repeat_edits(model, edited)
        return model
