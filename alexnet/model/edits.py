"""Changes to layers after the graph was drawn, as data beside the arguments."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

import keras

# Keras' quantizations that need no images; the others calibrate on data.
MODES = ("int8", "int4", "float8")


class Drawing:
    """The layers as they were drawn: their classes and configurations.

    Not a dict, because Keras tracks the dicts among a model's attributes.
    """

    def __init__(self, model: Any) -> None:
        self.layers = {
            label: (type(layer), _found(layer)) for label, layer in _labelled(model)
        }

    def edits(self, model: Any) -> dict[str, dict[str, Any]]:
        """Return what the layers' configurations say now and did not when drawn.

        Args:
            model: The model that was drawn.

        Returns:
            {layer: {name of an argument: its value as plain data}}.

        Raises:
            ValueError: A layer is not of its class any more, or an edit cannot be
                repeated on another drawing of the network.
        """
        found = {}
        # `trainable` where it is set again, which sets it in the layers inside, too.
        given: dict[str, bool] = {}
        frozen = frozen_layers(model)
        layers = [layer for _, layer in _labelled(model)]
        for (label, drawn), layer in zip(self.layers.items(), layers, strict=True):
            kind, before = drawn
            if type(layer) is not kind:
                raise _refused(
                    label,
                    f"the class was {kind.__name__} and is {type(layer).__name__}",
                )
            if before is None:
                continue
            config = _read(before)
            edits = _edits(label, layer, config)
            trainable = config.get("trainable", True)
            outer = label.rpartition("/")[0]
            if label in frozen:
                given[label] = trainable = False
            elif outer in given:
                given[label] = trainable = given[outer]
            if layer.trainable != trainable:
                given[label] = edits["trainable"] = layer.trainable
            if edits:
                found[label] = edits
        return found


def frozen_layers(model: Any) -> list[str]:
    """Return the names of the frozen layers, but for names that Keras counts up."""
    return [
        layer.name
        for layer in model.layers
        if not layer.trainable and not _is_counted(layer)
    ]


def _is_counted(layer: Any) -> bool:
    """Return whether Keras may have named a layer, as in dense_3 or dense."""
    base = re.sub(r"_\d+$", "", layer.name)
    # "flatten" is drawn under this name.
    if layer.name == base and not layer.weights:
        return False
    return base.replace("_", "") == type(layer).__name__.lower()


def repeat_edits(model: Any, edits: dict[str, dict[str, Any]]) -> None:
    """Change a network that was just drawn as another one was changed.

    Args:
        model: The network, before its weights are loaded.
        edits: As `Drawing.edits` returns them.
    """
    layers = dict(_labelled(model))
    for label, edited in edits.items():
        if label not in layers:
            raise ValueError(
                f"The configuration changes a layer {label!r}, which this network "
                f"does not have; it has {', '.join(layers)}. Load it with the code "
                "that saved it."
            )
        layer, values = layers[label], dict(edited)
        if "trainable" in values:
            layer.trainable = values.pop("trainable")
        if values:
            _repeat(model, layer, values)


def _repeat(model: Any, layer: Any, values: dict[str, Any]) -> None:
    twin = type(layer).from_config({**layer.get_config(), **values})
    rank, alpha = values.pop("lora_rank", None), values.pop("lora_alpha", None)
    policy = twin.dtype_policy if "dtype" in values else layer.dtype_policy
    quantized = "dtype" in values and policy.quantization_mode is not None
    if quantized:
        values.pop("quantization_config", None)
        source = policy.name.split("_from_")[1]
        if layer.dtype_policy.name != source:
            layer.dtype_policy = source
        values.pop("dtype")
    for key in values:
        _set(layer, key, twin)
        _set_in_variable(layer, key)
    if quantized:
        layer.quantize(
            policy.quantization_mode,
            type_check=False,
            config=getattr(twin, "quantization_config", None),
        )
        model._post_quantize(policy.quantization_mode)
    if rank is not None:
        layer.enable_lora(rank, lora_alpha=alpha)


def _set(layer: Any, key: str, twin: Any) -> None:
    """Set the attribute of an argument to that of a layer that was made with it."""
    setattr(layer, _attribute(key), getattr(twin, _attribute(key)))


def _attribute(key: str) -> str:
    return "dtype_policy" if key == "dtype" else key


def _set_in_variable(layer: Any, key: str) -> None:
    """Hand a regularizer, constraint or initializer on to its variable."""
    owner, _, kind = key.rpartition("_")
    variable = getattr(layer, owner, None) if owner else None
    if not isinstance(variable, keras.Variable):
        return
    if kind in ("regularizer", "constraint"):
        setattr(variable, kind, getattr(layer, key))
    elif kind == "initializer":
        variable.assign(getattr(layer, key)(variable.shape, dtype=variable.dtype))


def _edits(label: str, layer: Any, before: dict[str, Any]) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            now = _read(_text(layer.get_config()))
    except Exception as error:
        raise _refused(label, f"get_config raises: {_short(error)}") from error
    changed = [
        key
        for key in sorted({*before, *now})
        if key != "trainable"
        and _without_trainable(before.get(key)) != _without_trainable(now.get(key))
    ]
    if isinstance(layer.dtype_policy, keras.dtype_policies.DTypePolicyMap):
        # All layers share the map, which is the model's argument.
        changed = [key for key in changed if key != "dtype"]
    if _inner(layer):
        # Its layers have entries of their own.
        own = ("layers", "edited_layers", "frozen_layers")
        changed = [key for key in changed if key not in own]
    if not changed:
        return {}
    values = {key: now.get(key) for key in changed}
    mode = layer.dtype_policy.quantization_mode
    if "dtype" in changed and mode not in (None, *MODES):
        raise _refused(label, f"{mode} quantization needs images to be repeated")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            twin = type(layer).from_config({**before, **values})
            again = type(layer).from_config(dict(before))
            for key in changed:
                if isinstance(getattr(twin, _attribute(key)), keras.layers.Layer):
                    raise TypeError(f"{key} is a layer")
                _set(again, key, twin)
            repeated = _read(_text(again.get_config()))
    except Exception as error:
        raise _refused(
            label, f"{_told(layer, changed)} cannot be read back: {_short(error)}"
        ) from error
    if _without_trainable(repeated) != _without_trainable(now):
        raise _refused(
            label, f"{_told(layer, changed)} is not what a new layer would have"
        )
    return values


def _labelled(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield a label and the layer, for the layers of a model and theirs, in order.

    A label is the layer's name, in nested models after the model's. Names that
    Keras counts up, such as dense_3, differ from one drawing to the next: their
    labels have the place instead of the count.
    """
    for place, layer in enumerate(_inner(model)):
        label = layer.name
        if _is_counted(layer):
            label = f"{place}:{type(layer).__name__}"
        yield prefix + label, layer
        yield from _labelled(layer, f"{prefix}{label}/")


def _inner(layer: Any) -> list[Any]:
    """Return the layers of a model, or of a `ConvBlock`."""
    found = getattr(layer, "layers", None) or getattr(layer, "stages", None)
    if not isinstance(found, (list, tuple)):
        return []
    return [inner for inner in found if isinstance(inner, keras.layers.Layer)]


def _found(layer: Any) -> str | None:
    """Return a layer's configuration, or None where its class gives none."""
    try:
        with warnings.catch_warnings():
            # Of functions without a name, when the network is only built.
            warnings.simplefilter("ignore")
            return _text(layer.get_config())
    except Exception:
        # Any error of a class of somebody else, which need not be saved.
        return None


def _text(config: dict[str, Any]) -> str:
    # Most of it is plain already, and a network is drawn more often than saved.
    return json.dumps(config, default=keras.saving.serialize_keras_object)


def _read(text: str) -> dict[str, Any]:
    """Return a configuration as a file gives it back."""
    plain: dict[str, Any] = json.loads(text)
    # Numbers of objects while Keras saves a file, which differ each time.
    return _without("shared_object_id", plain)


def _without_trainable(value: Any) -> Any:
    """Return a configuration without `trainable`, which models set in all layers."""
    return _without("trainable", value)


def _without(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(name, value[key]) for key in value if key != name}
    if isinstance(value, list):
        return [_without(name, item) for item in value]
    return value


def _told(layer: Any, keys: list[str]) -> str:
    return ", ".join(f"{key}={getattr(layer, key, None)!r}" for key in keys)


def _short(error: Exception) -> str:
    """Return the last line of an error; Keras puts whole configurations before it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _refused(label: str, reason: str) -> ValueError:
    return ValueError(
        "A network is saved and copied with the changes that were made to its layers "
        "after it was drawn, if a new drawing can repeat them; received a layer "
        f"{label!r} of which {reason}. Register functions and classes of your own "
        "with keras.saving.register_keras_serializable, draw the layer as it is to "
        "be in draw_block or draw_head of a subclass, or save the weights alone "
        "(save_weights)."
    )
