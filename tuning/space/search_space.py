"""The space of one search: what varies, what it costs, and which limits hold."""

from __future__ import annotations

import fnmatch
import random
from collections.abc import Callable
from typing import Any

from tuning.settings import DataFacts, SearchSettings, derive_seed
from tuning.space.engine import SharedHyperParameters
from tuning.space.hypermodel import Cost, HyperAlexNet

# How many times values are drawn before the search for some within the limits ends.
MAX_DRAWS = 500


class SearchSpace:
    """What one search varies, built once per process.

    Args:
        settings: Of the search.
        facts: Of the images.

    Attributes:
        hypermodel: Declares the space, builds and trains networks.
        hp: KerasTuner's hyperparameters, those that `settings.tune` does not name
            fixed at their defaults.
        entries: These hyperparameters, in order.
        default: The values of the default network.

    Raises:
        ValueError: The model cannot be imported, or a pattern of `settings.tune`
            names no hyperparameter.
    """

    def __init__(self, settings: SearchSettings, facts: DataFacts) -> None:
        self.settings = settings
        self.hypermodel = HyperAlexNet(
            facts.image_shape,
            facts.num_classes,
            settings.load_model_class(),
            rescale=facts.rescale,
            horizontal_flip=settings.horizontal_flip,
        )
        self.hypermodel.warns_of_range = False  # The search's start does, once.
        self.hp = _declared(self.hypermodel, settings.tune)
        self.entries: list[Any] = self.hp.space
        self.default = self.draw(lambda entry: entry.default)

    def at(self, values: dict[str, Any]) -> Any:
        """Return the hyperparameters with the given values."""
        return self.hp.at(values)

    def draw(self, sample: Callable[[Any], Any]) -> dict[str, Any]:
        """Return the values of all active hyperparameters.

        Args:
            sample: Returns the value of a hyperparameter; called only for those that
                the values before make active.
        """
        values: dict[str, Any] = {}
        for entry in self.entries:
            if all(condition.is_active(values) for condition in entry.conditions):
                values[entry.name] = sample(entry)
        return values

    def cost(self, values: dict[str, Any]) -> Cost:
        """Return the cost of the network with the given values."""
        return self.hypermodel.cost(self.at(values))

    def is_within_limits(self, values: dict[str, Any]) -> bool:
        """Return whether the network with the given values is within the limits."""
        limits = (self.settings.max_parameters, self.settings.max_multiply_adds)
        if limits == (None, None):
            return True
        return all(
            limit is None or amount <= limit
            for amount, limit in zip(self.cost(values), limits, strict=True)
        )

    def check_limits(self) -> None:
        """Check that networks within the limits can be found.

        Raises:
            ValueError: None of `MAX_DRAWS` is within them; says how small the
                smallest was.
        """
        rng = random.Random(derive_seed(self.settings.seed, "limits"))
        values, found = self.default, []
        for _ in range(MAX_DRAWS):
            if self.is_within_limits(values):
                return
            found.append(self.cost(values))
            values = self.draw(lambda entry: entry.random_sample(rng.randrange(2**31)))
        smallest = Cost(*map(min, zip(*found, strict=True)))
        raise ValueError(
            "The search space must hold networks within the limits; received "
            f"max_parameters={self.settings.max_parameters} and "
            f"max_multiply_adds={self.settings.max_multiply_adds}, but of {MAX_DRAWS} "
            f"networks drawn none is within them; the fewest parameters were "
            f"{smallest.parameters:,}, the fewest multiply-adds "
            f"{smallest.multiply_adds:,}. Raise the limits, or make the images smaller "
            "with image_size."
        )


def _declared(hypermodel: HyperAlexNet, tune: tuple[str, ...]) -> SharedHyperParameters:
    """Return the hyperparameters of a model; what `tune` does not name is fixed."""
    full = SharedHyperParameters()
    hypermodel.declare_hyperparameters(full)
    if not tune:
        return full
    names = [entry.name for entry in full.space]
    varied: set[str] = set()
    for pattern in tune:
        matches = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        varied.update(matches)
        if not matches:
            raise ValueError(
                "tune must name hyperparameters of the space; received the pattern "
                f"{pattern!r}, which matches none of {', '.join(names)}."
            )
    return full.vary_only(varied)
