"""SearchSettings: all that one search needs."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from tuning.checks import (
    address_text,
    check_choice,
    check_gpus,
    check_positive,
    check_share,
    check_switch,
    check_whole,
    model_text,
    path_text,
    points_of,
)

TUNERS = ("random", "bayesian", "hyperband", "grid")
PRUNING_RULES = ("median", "halving")
DEFAULT_MODEL = "alexnet:AlexNet"

# A search may be resumed with another value of these.
RUNTIME_SETTINGS = frozenset(
    {
        *("directory", "address", "workers", "cpus_per_trial", "gpus_per_trial"),
        *("keep", "retry_oom", "trial_timeout", "isolate_trials"),
    }
)
# It may go on with more of these.
GROWING_SETTINGS = frozenset({"trials", "add"})


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """What to search, on which images, with which means.

    Attributes:
        data: Name or path of the images, as in `alexnet.data.images.load_images`.
        tuner: "random", "bayesian", "hyperband" or "grid".
        trials: Number of points to try, at most; int >= 1. A search may be
            resumed with more.
        epochs: Epochs of a trial; with Hyperband of its longest trials.
        directory: Where the search lives; None for "runs/" and the data's name.
        seed: Of the points drawn, the initial weights and the batches; int >= 0.
        model: Class to search over, "package.module:Class" or the class itself:
            `alexnet.AlexNet` or a subclass that other processes can import.
        tune: Patterns (as of shells) of the hyperparameters that vary; the others
            stay at their defaults. Empty for all.
        objective: Metric to optimize: "val_accuracy" or "val_loss".
        image_size: Pixels that the images are resized to before training, one
            int or (height, width); None leaves them as they are.
        validation_fraction: Share of each class used for validation.
        horizontal_flip: Whether training images may be mirrored.
        max_parameters, max_multiply_adds: Limits on a network's parameters and
            on its multiplications of weights per image; None for none. Points
            beyond are not tried: others are drawn. The paper's network has
            61 million parameters and 720 million multiply-adds.
        address: Of a running Ray cluster to run on: "auto" for the one that this
            machine belongs to, or "host:port"; None for this machine alone.
        workers: Processes that run trials; None for one per GPU or, without
            GPUs, as many as cores and memory carry, and on a cluster as many as
            its nodes carry at any time; 0 for this process.
        cpus_per_trial: CPUs that a worker holds, which is also the size of its
            thread pools; int >= 1. None shares a machine's out among its workers;
            on a cluster without GPUs it is 1.
        gpus_per_trial: GPUs that a worker holds: 0.25 packs four trials on one;
            with 2 each trial trains on both. None for 1 where there are GPUs.
        keep: Number of trials, the best ones, whose weights stay on disk; int >= 1.
        prune: Rule by which trials are stopped early, as in `tuning.oracles.pruning`:
            "median" or "halving"; None lets each have all of its epochs.
        retry_oom: Whether a trial that runs out of memory is run once more with
            half the batch size.
        trial_timeout: Seconds within which a trial must end a batch, its first
            included, or it is stopped and fails; None for any time.
        isolate_trials: Whether each trial has a process of its own, so that what it
            leaves in memory goes with it; not with `workers` 0.
        start_with: Points to try first, each a dict of hyperparameters by name,
            where what is left out has its default, or the name of a preset of the
            model, as in `alexnet.compare.nearest`. They count among `trials`.
        add: Points to try next, beyond `trials`; a search may be resumed with
            them, and remembers them.

    Raises:
        TypeError, ValueError: A setting is of the wrong kind or outside its
            range.
    """

    data: str = "digits"
    tuner: str = "random"
    trials: int = 12
    epochs: int = 10
    directory: str | None = None
    seed: int = 0
    model: Any = DEFAULT_MODEL
    tune: tuple[str, ...] = ()
    objective: str = "val_accuracy"
    image_size: int | tuple[int, int] | None = None
    validation_fraction: float = 0.2
    horizontal_flip: bool = False
    max_parameters: int | None = 100_000_000
    max_multiply_adds: int | None = None
    address: str | None = None
    workers: int | None = None
    cpus_per_trial: int | None = None
    gpus_per_trial: float | None = None
    keep: int = 3
    prune: str | None = None
    retry_oom: bool = False
    trial_timeout: float | None = None
    isolate_trials: bool = False
    start_with: tuple[dict[str, Any] | str, ...] = ()
    add: tuple[dict[str, Any] | str, ...] = ()

    def __post_init__(self) -> None:
        put = object.__setattr__  # The dataclass is frozen from here on.
        put(self, "data", path_text("data", self.data))
        check_choice("tuner", self.tuner, TUNERS)
        check_choice("objective", self.objective, ("val_accuracy", "val_loss"))
        if self.prune is not None:
            check_choice("prune", self.prune, PRUNING_RULES)
            if self.tuner == "hyperband":
                raise ValueError(
                    "prune must be None with Hyperband, which stops trials itself "
                    f"and counts on the others; received prune={self.prune!r}."
                )
        for name in ("trials", "epochs", "keep"):
            check_whole(name, getattr(self, name), 1)
        check_whole("seed", self.seed, 0)
        for name in ("max_parameters", "max_multiply_adds", "cpus_per_trial"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 1)
        if self.workers is not None:
            check_whole("workers", self.workers, 0)
        check_share("validation_fraction", self.validation_fraction)
        if self.gpus_per_trial is not None:
            check_gpus("gpus_per_trial", self.gpus_per_trial)
        if self.address is not None:
            put(self, "address", address_text("address", self.address))
            if self.workers == 0:
                raise ValueError(
                    "address must be None with a search in this process; received "
                    f"address={self.address!r} and workers=0. Leave one of them out."
                )
        for name in ("horizontal_flip", "retry_oom", "isolate_trials"):
            check_switch(name, getattr(self, name))
        if self.isolate_trials and self.workers == 0:
            raise ValueError(
                "isolate_trials must be False without worker processes; received "
                "isolate_trials=True and workers=0. Use workers=1."
            )
        if self.trial_timeout is not None:
            check_positive("trial_timeout", self.trial_timeout)
        if isinstance(self.image_size, list):
            put(self, "image_size", tuple(self.image_size))
        size = self.image_size
        if size is not None:
            if isinstance(size, tuple) and len(size) != 2:
                raise TypeError(
                    "image_size must be a whole number or (height, width); received "
                    f"image_size={size!r}."
                )
            for side in size if isinstance(size, tuple) else (size,):
                check_whole("image_size", side, 1)
        if not isinstance(self.tune, (tuple, list)) or not all(
            isinstance(pattern, str) and pattern for pattern in self.tune
        ):
            raise TypeError(
                "tune must be a sequence of hyperparameter names or patterns; "
                f"received tune={self.tune!r}."
            )
        put(self, "tune", tuple(self.tune))
        for name in ("start_with", "add"):
            put(self, name, points_of(name, getattr(self, name)))
        if len(self.start_with) > self.trials:
            raise ValueError(
                "start_with must hold at most as many points as there are trials; "
                f"received start_with={list(self.start_with)!r} and "
                f"trials={self.trials}. Raise trials."
            )
        put(self, "model", model_text(self.model))
        directory = self.directory
        if directory is None:
            name = Path(self.data).name or "search"
            directory = f"runs/{name.removesuffix('.npz')}"
        put(self, "directory", path_text("directory", directory))

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
        except Exception as error:  # Whatever the module raises.
            raise ValueError(
                'model must be "package.module:Class" of a module that can be '
                f"imported; received model={self.model!r}: {type(error).__name__}: "
                f"{error}. Install the package, run from the folder that holds it, or "
                "mend it."
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

        settings = dataclasses.asdict(self)
        for name in ("tune", "start_with", "add"):
            settings[name] = list(settings[name])
        if isinstance(self.image_size, tuple):
            settings["image_size"] = list(self.image_size)
        if Path(self.data).exists() and self.data not in CLASS_NAMES:
            settings["data"] = str(Path(self.data).resolve())
        return settings

    def replace(self, **changes: Any) -> SearchSettings:
        """Return the settings with some of them changed."""
        return dataclasses.replace(self, **changes)

    @classmethod
    def from_json(cls, value: Any) -> SearchSettings:
        """Return the settings that a search.json holds.

        Raises:
            TypeError, ValueError: It holds none.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(value, dict) or not {"data", "tuner", "trials"} <= set(value):
            raise ValueError("it lacks the settings of a search")
        return cls(**{name: value[name] for name in known & value.keys()})

    @property
    def total_trials(self) -> int:
        """`trials` and the points beyond them."""
        return self.trials + len(self.add)

    def differences(self, other: dict[str, Any]) -> list[str]:
        """Tell which settings differ from `other`'s so that a search cannot go on.

        How a search is run may differ, and there may be more trials.
        """
        different = [
            f"{name}: {other.get(name)!r} there, {value!r} here"
            for name, value in self._fixed().items()
            if value != other.get(name)
        ]
        if self.trials < other["trials"]:
            different.append(
                f"trials: {other['trials']!r} there, {self.trials!r} here, and they "
                "may only grow"
            )
        return different

    def identity(self) -> str:
        """Return a hash of what makes a search the same search."""
        fixed = json.dumps(self._fixed(), sort_keys=True)
        return hashlib.sha256(fixed.encode()).hexdigest()

    def _fixed(self) -> dict[str, Any]:
        """Return the settings that stay as they are for as long as a search lives."""
        return {
            name: value
            for name, value in self.to_json().items()
            if name not in RUNTIME_SETTINGS | GROWING_SETTINGS
        }


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
