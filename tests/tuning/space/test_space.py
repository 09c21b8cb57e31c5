"""The search space of a search: what `tune` names varies, and limits hold."""

from __future__ import annotations

import pickle

import keras_tuner
import pytest
from driven_oracle import new_space


def names_that_vary(space):
    """Return the hyperparameters with more than one value."""
    fixed = keras_tuner.engine.hyperparameters.Fixed
    return {entry.name for entry in space.entries if not isinstance(entry, fixed)}


def entry_of(space, name):
    """Return the hyperparameter of a name."""
    return next(entry for entry in space.entries if entry.name == name)


def test_everything_varies_without_tune():
    """Without `tune` the space is the model's own."""
    space = new_space(tune=())
    full = keras_tuner.HyperParameters()
    space.hypermodel.declare_hyperparameters(full)
    assert space.hp.get_config() == full.get_config()
    assert len(names_that_vary(space)) == len(full.space)


def test_tune_names_what_varies():
    """What matches a pattern varies in its own range; the rest is at its default."""
    full = new_space(tune=())
    space = new_space(tune=("filters_*", "optimizer"))
    assert names_that_vary(space) == {
        *("filters_1", "filters_2", "filters_3", "optimizer")
    }
    assert [e.name for e in space.entries] == [e.name for e in full.entries]
    assert space.default == full.default
    for name in ("filters_1", "filters_2", "optimizer"):
        ranges = [entry_of(of, name).get_config() for of in (space, full)]
        assert ranges[0] == ranges[1]


def test_only_what_is_named_varies():
    """Of a copy, the other hyperparameters have their defaults and conditions."""
    hp = new_space(tune=()).hp
    names = {"optimizer", "filters_2"}
    copied = hp.vary_only(names)
    for entry, original in zip(copied.space, hp.space, strict=True):
        assert (entry.name, entry.default) == (original.name, original.default)
        assert entry.conditions == original.conditions
        varies = entry.name in names
        assert list(entry.values) == (
            list(original.values) if varies else [original.default]
        )
    assert copied.values == hp.values


def test_copies_share_what_never_changes():
    """A copy of a space holds the same entries; what is added to it stays its own."""
    hp = new_space(tune=()).hp
    copied = hp.copy()
    assert copied.get_config() == hp.get_config()
    assert all(a is b for a, b in zip(copied.space, hp.space, strict=True))
    copied.Choice("another", [1, 2])
    copied.values["optimizer"] = "sgd"
    assert "another" not in [entry.name for entry in hp.space]
    assert "sgd" not in hp.values.values()
    # As Ray takes them to a worker.
    again = pickle.loads(pickle.dumps(copied))
    assert again.get_config() == copied.get_config()
    assert again.Choice("another", [1, 2]) == 1


def test_values_are_read_where_they_are_set():
    """`at` gives the values to whoever declares the space, and not the defaults."""
    space = new_space(tune=())
    values = {**space.default, "filters_1": 16}
    hp = space.at(values)
    assert hp.values == values
    assert space.hypermodel.model.search_space(hp, (8, 8, 1))["model"]["blocks"]
    assert hp.get("filters_1") == 16
    hp.values["filters_1"] = 32
    assert values["filters_1"] == 16
    assert space.default["filters_1"] != 16


def test_values_are_drawn_as_kerastuner_merges_them():
    """Drawn values are of what is active, given those before, in the space's order."""
    space = new_space(tune=())
    for seed in range(9):
        merged = keras_tuner.HyperParameters()
        for entry in space.entries:
            merged.merge([entry])
            if merged.is_active(entry):
                merged.values[entry.name] = entry.random_sample(seed)
        drawn = space.draw(lambda entry, seed=seed: entry.random_sample(seed))
        assert list(drawn.items()) == list(merged.values.items())


def test_networks_are_measured_once(monkeypatch):
    """The cost of a network is remembered, however it is to be trained."""
    space, built = new_space(tune=()), []
    network = space.hypermodel._network
    monkeypatch.setattr(
        space.hypermodel, "_network", lambda hp: built.append(hp) or network(hp)
    )
    values = space.default
    cost = space.cost(values)
    for known in (dict(reversed(values.items())), {**values, "batch_size": 128}):
        assert space.cost(known) == cost
    assert len(built) == 1


@pytest.mark.parametrize("pattern", ["filter_1", "Optimizer", "*_9"])
def test_refuses_patterns_that_name_nothing(pattern):
    """A pattern that matches no name is refused with the names that there are."""
    with pytest.raises(
        ValueError, match=r"(?s)pattern.*none of .*filters_1.*"
    ) as error:
        new_space(tune=("filters_1", pattern))
    assert repr(pattern) in str(error.value)


def test_the_default_is_what_the_model_gives_without_a_search():
    """The default values are those that fresh hyperparameters have."""
    space = new_space(tune=())
    fresh = keras_tuner.HyperParameters()
    space.hypermodel.declare_hyperparameters(fresh)
    assert space.default == fresh.values


def test_limits_are_inclusive():
    """Values fit if they take at most the limits, parameters and multiply-adds."""
    space = new_space(tune=())
    parameters, multiply_adds = space.cost(space.default)

    def fits_within(**limits):
        return new_space(tune=(), **limits).is_within_limits(space.default)

    assert fits_within()
    assert fits_within(max_parameters=parameters, max_multiply_adds=multiply_adds)
    assert not fits_within(max_parameters=parameters - 1)
    assert not fits_within(max_multiply_adds=multiply_adds - 1)
    assert not fits_within(
        max_parameters=10 * parameters, max_multiply_adds=multiply_adds - 1
    )


def test_limits_that_some_values_meet_are_taken():
    """Limits below the default network are taken if others are drawn within."""
    cost = new_space(tune=()).cost(new_space(tune=()).default)
    space = new_space(tune=(), max_parameters=cost.parameters // 2)
    assert not space.is_within_limits(space.default)
    drawn, draw = [], space.draw
    space.draw = lambda sample: drawn.append(draw(sample)) or drawn[-1]
    assert space.check_limits() is None
    assert [space.is_within_limits(values) for values in drawn] == [False] * (
        len(drawn) - 1
    ) + [True]


def test_impossible_limits_are_refused_with_the_smallest_seen():
    """If no network is within the limits, the message says how small they get."""
    tune = ("dense_units_1", "batch_size")
    space = new_space(tune=tune, max_parameters=1000, max_multiply_adds=9)
    smallest = space.cost({**space.default, "dense_units_1": 64})
    with pytest.raises(
        ValueError,
        match=r"received max_parameters=1000 and max_multiply_adds=9, .* fewest "
        rf"parameters were {smallest.parameters:,}, the fewest multiply-adds "
        rf"{smallest.multiply_adds:,}\. Raise the limits",
    ):
        space.check_limits()
