"""SearchSettings: all that one search needs."""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

Tuner = Literal["random", "bayesian", "hyperband", "grid"]
PruningRule = Literal["median", "halving"]
TUNERS: tuple[str, ...] = get_args(Tuner)
PRUNING_RULES: tuple[str, ...] = get_args(PruningRule)
DEFAULT_MODEL = "alexnet:AlexNet"

# A search may be resumed with another value of these.
RUNTIME_SETTINGS = frozenset(
    [
        "directory",
        "address",
        "workers",
        "cpus_per_trial",
        "gpus_per_trial",
        "keep",
        "retry_oom",
        "trial_timeout",
        "isolate_trials",
    ]
)
# And with more of these.
GROWING_SETTINGS = frozenset({"trials", "add"})

# What a setting must be, by its name or by pydantic's type of the error.
_ADDRESS = '"auto" or "host:port", as `ray start` prints it'
_GIVEN = "a sequence of dicts of values by name and of names of presets"
_KINDS = {
    "data": "a name or a path",
    "directory": "a name or a path",
    "tune": "a sequence of hyperparameter names or patterns",
    "image_size": "a whole number or (height, width)",
    "address": _ADDRESS,
    "start_with": _GIVEN,
    "add": _GIVEN,
    "extra_forbidden": "a setting of a search",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "True or False",
}


def _rule(text: str, holds: Callable[[Any], bool]) -> AfterValidator:
    """Return a validator that refuses the values for which `holds` is false."""

    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError(text)
        return value

    return AfterValidator(check)


def _path_text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _is_address(value: str) -> bool:
    host, _, port = value.rpartition(":")
    return value == "auto" or bool(host and port.isdecimal() and "//" not in host)


def _model_text(model: Any) -> str:
    """Return "package.module:Class" of a class, or of such a text."""
    if isinstance(model, type):
        if "<locals>" in model.__qualname__:
            raise ValueError(
                "a class that can be imported", "Move it out of the function."
            )
        return f"{model.__module__}:{model.__qualname__}"
    if not isinstance(model, str) or model.count(":") != 1 or model[:1] in ":.":
        raise ValueError('"package.module:Class" or a class')
    return model


def _plain(error: ValidationError, given: dict[str, Any]) -> Exception:
    """Return pydantic's first error as one that says rule, value and remedy."""
    first = error.errors()[0]
    # Of the errors of one setting, the one that is furthest inside it, and of those
    # one about the value: a value of a union has errors for each of its kinds.
    found = max(
        (e for e in error.errors() if e["loc"][:1] == first["loc"][:1]),
        key=lambda e: (len(e["loc"]), not e["type"].endswith("_type")),
    )
    kind, details = found["type"], found.get("ctx", {})
    if not found["loc"]:
        return details["error"]
    name = str(found["loc"][0])
    cause: type[Exception] = ValueError
    if kind == "value_error":
        rule, *remedy = details["error"].args
    elif kind == "greater_than_equal":
        rule, *remedy = [f"at least {details['ge']}"]
    elif kind == "literal_error":
        choices = details["expected"].replace("'", "").replace(" or ", ", ")
        rule, *remedy = [f"one of {choices}"]
    else:
        cause, rule, *remedy = TypeError, _KINDS.get(name) or _KINDS[kind]
    message = f"{name} must be {rule}; received {name}={given[name]!r}."
    return cause(" ".join([message, *remedy]))


Text = Annotated[str, Field(min_length=1)]
PathText = Annotated[Text, BeforeValidator(_path_text)]
Whole = Annotated[int, Field(strict=True, ge=0)]
Count = Annotated[int, Field(strict=True, ge=1)]
Number = Annotated[float, Field(strict=True)]
Switch = Annotated[bool, Field(strict=True)]
Given = dict[str, Any] | str  # Values by name, or the name of a preset.


class SearchSettings(BaseModel):
    """What to search, on which images, with which means.

    The text under each setting is also its help on the command line.

    Raises:
        TypeError, ValueError: A setting is of the wrong kind or outside its
            range.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    data: PathText = "digits"
    """Images: digits, mnist, fashion_mnist, cifar10, cifar100, a folder of class
    folders, or an .npz file with x and y."""
    tuner: Tuner = "random"
    """How values are chosen."""
    trials: Count = 12
    """Trials to run, at most; a search may be resumed with more."""
    epochs: Count = 10
    """Epochs of a trial; with hyperband of its longest trials."""
    directory: PathText | None = None
    """Where the search lives; runs/ and the data's name if not given."""
    seed: Whole = 0
    """Of the values drawn, the initial weights and the batches."""
    model: Annotated[Any, BeforeValidator(_model_text)] = DEFAULT_MODEL
    """AlexNet or a subclass of yours that other processes can import; in Python
    also the class itself."""
    tune: tuple[Text, ...] = ()
    """Hyperparameters that vary, * allowed; the others stay at their defaults. All
    vary if not given."""
    objective: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    """Metric to optimize."""
    image_size: tuple[Count, Count] | Count | None = None
    """Resize the images to this side, or height and width, before training."""
    validation_fraction: Annotated[
        Number, _rule("greater than 0 and less than 1", lambda share: 0 < share < 1)
    ] = 0.2
    """Share of each class used for validation."""
    horizontal_flip: Switch = False
    """Mirror half of the training images."""
    max_parameters: Count | None = 100_000_000
    """Try no network with more parameters; others are drawn instead. The paper's
    network has 61 million."""
    max_multiply_adds: Count | None = None
    """Try none with more multiply-adds per image; the paper's network has 720
    million."""
    address: Annotated[str, _rule(_ADDRESS, _is_address)] | None = None
    """Run on the Ray cluster there: auto for the one that this machine belongs to,
    or HOST:PORT; on this machine alone if not given."""
    workers: Whole | None = None
    """Processes that run trials. If not given: one per GPU or, without GPUs, as many
    as cores and memory carry; on a cluster as many as its nodes carry at any time. 0
    for this process, without Ray."""
    cpus_per_trial: Count | None = None
    """CPUs, and threads, of each worker; its part of the machine if not given, on a
    cluster without GPUs 1."""
    gpus_per_trial: (
        Annotated[
            Number,
            _rule(
                "greater than 0 and at most 1, or a whole number",
                lambda gpus: 0 < gpus <= 1 or (gpus > 1 and gpus.is_integer()),
            ),
        ]
        | None
    ) = None
    """GPUs of each worker: 0.25 packs four on one, with 2 each trial trains on both;
    1 where there are GPUs if not given."""
    keep: Count = 3
    """Trials, the best ones, whose weights stay on disk."""
    prune: PruningRule | None = None
    """Stop trials early that are worse than the median, or not in the best third
    after 1, 3, 9, ... epochs; not with hyperband, which stops trials itself."""
    retry_oom: Switch = False
    """Run a trial that is out of memory once more with half the batch size."""
    trial_timeout: (
        Annotated[
            Number,
            _rule("greater than 0 and finite", lambda time: 0 < time < float("inf")),
        ]
        | None
    ) = None
    """Stop a trial that ends no batch for so many seconds, its first included; it
    fails."""
    isolate_trials: Switch = False
    """Run each trial in a process of its own, so that what it leaves in memory goes
    with it; not with 0 workers."""
    start_with: tuple[Given, ...] = ()
    """Values to try first, among the trials: presets, and in Python dicts of
    hyperparameters by name, where what is left out has its default."""
    add: tuple[Given, ...] = ()
    """Values to try next, beyond the trials, at any time; a search remembers them."""

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise _plain(error, settings) from None

    @model_validator(mode="after")
    def _check_together(self) -> SearchSettings:
        if self.prune is not None and self.tuner == "hyperband":
            raise ValueError(
                "prune must be None with Hyperband, which stops trials itself "
                f"and counts on the others; received prune={self.prune!r}."
            )
        if self.address is not None and self.workers == 0:
            raise ValueError(
                "address must be None with a search in this process; received "
                f"address={self.address!r} and workers=0. Leave one of them out."
            )
        if self.isolate_trials and self.workers == 0:
            raise ValueError(
                "isolate_trials must be False without worker processes; received "
                "isolate_trials=True and workers=0. Use workers=1."
            )
        if self.model.startswith("__main__:") and self.workers != 0:
            raise ValueError(
                "model must be in a module that worker processes can import; received "
                f"model={self.model!r}, of a script or a notebook, and "
                f"workers={self.workers}. Move it to a module, or use workers=0."
            )
        if len(self.start_with) > self.trials:
            raise ValueError(
                "start_with must have at most as many items as there are trials; "
                f"received start_with={list(self.start_with)!r} and "
                f"trials={self.trials}. Raise trials."
            )
        if self.directory is None:
            name = Path(self.data).name.removesuffix(".npz") or "search"
            self.__dict__["directory"] = f"runs/{name}"  # It is frozen for others.
        return self

    def load_model_class(self) -> Any:
        """Import the class that `model` names.

        Raises:
            ValueError: It cannot be imported, is no `AlexNet`, or is not registered
                with Keras.
        """
        import keras

        from alexnet import AlexNet

        module, _, name = self.model.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        # Whatever the module raises, sys.exit() too.
        except (Exception, SystemExit) as error:
            raise ValueError(
                'model must be "package.module:Class" of a module that can be '
                f"imported; received model={self.model!r}: {type(error).__name__}: "
                f"{error}. Install the package, run from the folder that holds it, or "
                "fix it."
            ) from error
        if not (isinstance(found, type) and issubclass(found, AlexNet)):
            raise ValueError(
                "model must be alexnet.AlexNet or a subclass; received "
                f"model={self.model!r}, which is {found!r}."
            )
        if keras.saving.get_registered_name(found) == found.__name__:
            raise ValueError(
                "model must be registered with Keras, or the best model could not be "
                f"loaded again; received model={self.model!r}. Decorate the class with "
                "@keras.saving.register_keras_serializable()."
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain data, paths made absolute."""
        from alexnet.data.images import CLASS_NAMES

        settings = self.model_dump(mode="json")
        if Path(self.data).exists() and self.data not in CLASS_NAMES:
            settings["data"] = str(Path(self.data).resolve())
        return settings

    def replace(self, **changes: Any) -> SearchSettings:
        """Return the settings with some of them changed."""
        return SearchSettings(**{**dict(self), **changes})

    @classmethod
    def from_json(cls, value: Any) -> SearchSettings:
        """Return the settings that a search.json holds.

        Raises:
            TypeError, ValueError: It holds none.
        """
        if not isinstance(value, dict) or not {"data", "tuner", "trials"} <= set(value):
            raise ValueError("it lacks the settings of a search")
        return cls(**{name: value[name] for name in cls.model_fields.keys() & value})

    @property
    def total_trials(self) -> int:
        """`trials`, and the values added beyond them."""
        return self.trials + len(self.add)

    def differences(self, other: dict[str, Any]) -> list[str]:
        """Return the settings that differ from `other`'s and may not, as texts.

        How a search is run may differ, and there may be more trials.
        """
        different = [
            f"{name}: {other.get(name)!r} there, {value!r} here"
            for name, value in self.to_json().items()
            if name not in RUNTIME_SETTINGS | GROWING_SETTINGS
            and value != other.get(name)
        ]
        if self.trials < other["trials"]:
            different.append(
                f"trials: {other['trials']!r} there, {self.trials!r} here, and they "
                "may only grow"
            )
        return different


class DataFacts(NamedTuple):
    """What a network must know of the images.

    `image_shape` is (height, width, channels); `rescale` the factor that brings
    the pixel values to [0, 1], or None if they are there.
    """

    image_shape: tuple[int, int, int]
    num_classes: int
    rescale: float | None


def derive_seed(seed: int, purpose: str) -> int:
    """Return a seed in 1..2**31 - 1 that depends on `seed` and `purpose` alone.

    Never 0, which KerasTuner takes for "at random".
    """
    digest = hashlib.sha256(f"{seed} {purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % (2**31 - 1) + 1
