"""The search space of one search: what varies, and its limits of cost."""

from __future__ import annotations

import fnmatch
import random
from typing import Any

import keras_tuner
from keras_tuner.src.engine.hyperparameters import Fixed

from tuning.hypermodel import Cost, HyperAlexNet
from tuning.settings import SearchSettings, derive_seed

# How many points are drawn before the search for one within the limits is given up.
MAX_DRAWS = 500


def make_space(hypermodel: HyperAlexNet, tune: tuple[str, ...] = ()) -> Any:
    """Return the search space, with what `tune` does not name fixed at its default.

    Args:
        hypermodel: Whose space it is.
        tune: Names or patterns, as of shells; empty for all.

    Raises:
        ValueError: A pattern names no hyperparameter.
    """
    full = keras_tuner.HyperParameters()
    hypermodel.declare_hyperparameters(full)
    if not tune:
        return full
    names = [hp.name for hp in full.space]
    for pattern in tune:
        if not fnmatch.filter(names, pattern):
            raise ValueError(
                "tune must name hyperparameters of the space; received the pattern "
                f"{pattern!r}, which matches none of {', '.join(names)}."
            )
    space = keras_tuner.HyperParameters()
    for hp in full.space:
        if not any(fnmatch.fnmatchcase(hp.name, pattern) for pattern in tune):
            hp = Fixed(hp.name, hp.default, conditions=hp.conditions)
        space.merge([hp])
    return space


def default_point(space: Any) -> Any:
    """Return the space with the values of its default point."""
    hp = keras_tuner.HyperParameters()
    hp.merge(space)  # Gives what is active its default.
    return hp


def check_limits(hypermodel: HyperAlexNet, settings: SearchSettings) -> None:
    """Check that points within the limits can be found.

    Raises:
        ValueError: None of `MAX_DRAWS` points is within them; says how small the
            smallest was.
    """
    space = make_space(hypermodel, settings.tune)
    rng = random.Random(derive_seed(settings.seed, "limits"))
    hp = default_point(space)
    costs = []
    for _ in range(MAX_DRAWS):
        if fits(hp.values, space, hypermodel, settings):
            return
        costs.append(hypermodel.cost(hp))
        hp = keras_tuner.HyperParameters()
        for entry in space.space:
            hp.merge([entry])
            if hp.is_active(entry):
                hp.values[entry.name] = entry.random_sample(rng.randrange(2**31))
    smallest = Cost(*map(min, zip(*costs, strict=True)))
    raise ValueError(
        "The search space must hold networks within the limits; received "
        f"max_parameters={settings.max_parameters} and "
        f"max_multiply_adds={settings.max_multiply_adds}, but of {MAX_DRAWS} points "
        f"drawn none is within them; the fewest parameters were "
        f"{smallest.parameters:,}, the fewest multiply-adds "
        f"{smallest.multiply_adds:,}. Raise the limits, or make the images smaller "
        "with image_size."
    )


def fits(
    values: dict[str, Any],
    space: Any,
    hypermodel: HyperAlexNet,
    settings: SearchSettings,
) -> bool:
    """Tell whether a point, as values by name, is within the limits."""
    limits = (settings.max_parameters, settings.max_multiply_adds)
    if limits == (None, None):
        return True
    cost = hypermodel.cost(point(values, space))
    return all(
        limit is None or amount <= limit
        for amount, limit in zip(cost, limits, strict=True)
    )


def point(values: dict[str, Any], space: Any) -> Any:
    """Return the space with the values of a point."""
    hp = space.copy()
    hp.values = dict(values)
    return hp
