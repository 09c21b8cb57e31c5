"""The search space of a search: what `tune` names varies, and limits hold."""

from __future__ import annotations

import pickle

import keras_tuner
import pytest
from tuning.space.limits import (
    check_limits,
    costs,
    default_point,
    draw,
    fits,
    make_space,
)

from tuning import HyperAlexNet, SearchSettings

DIGITS = (8, 8, 1)


@pytest.fixture(scope="module")
def hypermodel():
    """Return the hypermodel of 8 x 8 images in ten classes."""
    return HyperAlexNet(DIGITS, 10)


def names_that_vary(space):
    """Return the hyperparameters with more than one value."""
    fixed = keras_tuner.engine.hyperparameters.Fixed
    return {hp.name for hp in space.space if not isinstance(hp, fixed)}


def test_everything_varies_without_tune(hypermodel):
    """Without `tune` the space is the model's own."""
    full = keras_tuner.HyperParameters()
    hypermodel.declare_hyperparameters(full)
    assert make_space(hypermodel).get_config() == full.get_config()
    assert len(names_that_vary(full)) == len(full.space)


def test_tune_names_what_varies(hypermodel):
    """What matches a pattern varies in its own range; the rest is at its default."""
    full = make_space(hypermodel)
    space = make_space(hypermodel, ("filters_*", "optimizer"))
    assert names_that_vary(space) == {
        *("filters_1", "filters_2", "filters_3", "optimizer")
    }
    assert [hp.name for hp in space.space] == [hp.name for hp in full.space]
    assert default_point(space).values == default_point(full).values
    for name in ("filters_1", "filters_2", "optimizer"):
        ranges = [
            next(hp for hp in of.space if hp.name == name) for of in (space, full)
        ]
        assert ranges[0].get_config() == ranges[1].get_config()


def test_copies_share_what_never_changes(hypermodel):
    """A copy of a space holds the same entries; what is added to it stays its own."""
    space = make_space(hypermodel)
    copied = space.copy()
    assert copied.get_config() == space.get_config()
    assert all(a is b for a, b in zip(copied.space, space.space, strict=True))
    copied.Choice("another", [1, 2])
    copied.values["optimizer"] = "sgd"
    assert "another" not in [hp.name for hp in space.space]
    assert "sgd" not in space.values.values()
    # As Ray takes a trial's to a worker and back.
    again = pickle.loads(pickle.dumps(copied))
    assert again.get_config() == copied.get_config()
    assert again.Choice("another", [1, 2]) == 1


def test_points_are_drawn_as_kerastuner_merges_them(hypermodel):
    """A point has what is active, given what came before, in the space's order."""
    space = make_space(hypermodel)
    for seed in range(9):
        merged = keras_tuner.HyperParameters()
        for entry in space.space:
            merged.merge([entry])
            if merged.is_active(entry):
                merged.values[entry.name] = entry.random_sample(seed)
        drawn = draw(space, lambda hp, seed=seed: hp.random_sample(seed))
        assert list(drawn.items()) == list(merged.values.items())


def test_a_cost_is_asked_for_once(hypermodel, monkeypatch):
    """The cost of a point is remembered, whichever order its values are in."""
    space, asked = make_space(hypermodel), []
    monkeypatch.setattr(hypermodel, "cost", lambda hp: asked.append(hp.values))
    cost = costs(space, hypermodel)
    values = default_point(space).values
    for known in (values, dict(reversed(values.items())), values):
        cost(known)
    cost({**values, "batch_size": 128})
    assert asked == [values, {**values, "batch_size": 128}]


@pytest.mark.parametrize("pattern", ["filter_1", "Optimizer", "*_9"])
def test_refuses_patterns_that_name_nothing(hypermodel, pattern):
    """A pattern that matches no name is refused with the names that there are."""
    with pytest.raises(
        ValueError, match=r"(?s)pattern.*none of .*filters_1.*"
    ) as error:
        make_space(hypermodel, ("filters_1", pattern))
    assert repr(pattern) in str(error.value)


def test_default_point_is_what_the_model_gives_without_a_search(hypermodel):
    """The default point builds the network that fresh hyperparameters build."""
    fresh = keras_tuner.HyperParameters()
    hypermodel.declare_hyperparameters(fresh)
    assert default_point(make_space(hypermodel)).values == fresh.values


def test_limits_are_inclusive(hypermodel):
    """A point fits if it takes at most the limits, parameters and multiply-adds."""
    space = make_space(hypermodel)
    hp = default_point(space)
    parameters, multiply_adds = hypermodel.cost(hp)

    def fits_within(**limits):
        cost = costs(space, hypermodel)
        return fits(hp.values, cost, SearchSettings(**limits))

    assert fits_within()
    assert fits_within(max_parameters=parameters, max_multiply_adds=multiply_adds)
    assert not fits_within(max_parameters=parameters - 1)
    assert not fits_within(max_multiply_adds=multiply_adds - 1)
    assert not fits_within(
        max_parameters=10 * parameters, max_multiply_adds=multiply_adds - 1
    )


def test_limits_that_some_points_meet_are_taken(hypermodel):
    """Limits below the default point are fine if other points are within."""
    cost = hypermodel.cost(default_point(make_space(hypermodel)))
    check_limits(hypermodel, SearchSettings(max_parameters=cost.parameters // 2))


def test_impossible_limits_are_refused_with_the_smallest_seen(hypermodel):
    """If no point is within the limits, the message tells how small they get."""
    settings = SearchSettings(
        tune=("dense_units_1", "batch_size"), max_parameters=1000, max_multiply_adds=9
    )
    space = make_space(hypermodel, settings.tune)
    hp = default_point(space)
    hp.values["dense_units_1"] = 64
    smallest = hypermodel.cost(hp)
    with pytest.raises(
        ValueError,
        match=r"received max_parameters=1000 and max_multiply_adds=9, .* fewest "
        rf"parameters were {smallest.parameters:,}, the fewest multiply-adds "
        rf"{smallest.multiply_adds:,}\. Raise the limits",
    ):
        check_limits(hypermodel, settings)
