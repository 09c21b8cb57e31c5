"""The search space of one search: what varies, and its limits of cost."""

from __future__ import annotations

import fnmatch
import random
from collections.abc import Callable
from typing import Any

import keras_tuner
from keras_tuner.src.engine.hyperparameters import Fixed

from tuning.settings import SearchSettings, derive_seed
from tuning.space.hypermodel import Cost, HyperAlexNet

# How many points are drawn before the search for one within the limits is given up.
MAX_DRAWS = 500

PointCost = Callable[[dict[str, Any]], Cost]


class Space(keras_tuner.HyperParameters):
    """Hyperparameters whose copies share the entries of the space.

    KerasTuner makes each entry anew, for every trial, though none ever changes.
    """

    def copy(self) -> Space:
        copied = Space()
        for hp in self.space:
            copied._hps[hp.name].append(hp)
            copied._space.append(hp)
        copied.values = dict(self.values)
        return copied


def make_space(hypermodel: HyperAlexNet, tune: tuple[str, ...] = ()) -> Any:
    """Return the search space, with what `tune` does not name fixed at its default.

    Args:
        hypermodel: Whose space it is.
        tune: Names or patterns, as of shells; empty for all.

    Raises:
        ValueError: A pattern names no hyperparameter.
    """
    full = Space()
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
    space = Space()
    for hp in full.space:
        if not any(fnmatch.fnmatchcase(hp.name, pattern) for pattern in tune):
            hp = Fixed(hp.name, hp.default, conditions=hp.conditions)
        space.merge([hp])
    return space


def draw(space: Any, sample: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a point of the space, as values by name.

    Args:
        space: The space.
        sample: Returns the value of a hyperparameter; asked for those alone that the
            values before make active.
    """
    values: dict[str, Any] = {}
    for hp in space.space:
        if all(condition.is_active(values) for condition in hp.conditions):
            values[hp.name] = sample(hp)
    return values


def default_point(space: Any) -> Any:
    """Return the space with the values of its default point."""
    return point(draw(space, lambda hp: hp.default), space)


def check_limits(hypermodel: HyperAlexNet, settings: SearchSettings) -> None:
    """Check that points within the limits can be found.

    Raises:
        ValueError: None of `MAX_DRAWS` points is within them; says how small the
            smallest was.
    """
    space = make_space(hypermodel, settings.tune)
    rng = random.Random(derive_seed(settings.seed, "limits"))
    cost = costs(space, hypermodel)
    values = default_point(space).values
    found = []
    for _ in range(MAX_DRAWS):
        if fits(values, cost, settings):
            return
        found.append(cost(values))
        values = draw(space, lambda hp: hp.random_sample(rng.randrange(2**31)))
    smallest = Cost(*map(min, zip(*found, strict=True)))
    raise ValueError(
        "The search space must hold networks within the limits; received "
        f"max_parameters={settings.max_parameters} and "
        f"max_multiply_adds={settings.max_multiply_adds}, but of {MAX_DRAWS} points "
        f"drawn none is within them; the fewest parameters were "
        f"{smallest.parameters:,}, the fewest multiply-adds "
        f"{smallest.multiply_adds:,}. Raise the limits, or make the images smaller "
        "with image_size."
    )


def costs(space: Any, hypermodel: HyperAlexNet) -> PointCost:
    """Return what gives the cost of a point, as values by name; it remembers all."""
    known: dict[str, Cost] = {}

    def cost(values: dict[str, Any]) -> Cost:
        key = repr(sorted(values.items()))
        if key not in known:
            known[key] = hypermodel.cost(point(values, space))
        return known[key]

    return cost


def fits(values: dict[str, Any], cost: PointCost, settings: SearchSettings) -> bool:
    """Tell whether a point, as values by name, is within the limits.

    Args:
        values: The point.
        cost: Of `costs`.
        settings: Of the search.
    """
    limits = (settings.max_parameters, settings.max_multiply_adds)
    if limits == (None, None):
        return True
    return all(
        limit is None or amount <= limit
        for amount, limit in zip(cost(values), limits, strict=True)
    )


def point(values: dict[str, Any], space: Any) -> Any:
    """Return the space with the values of a point."""
    hp = space.copy()
    hp.values = dict(values)
    return hp
