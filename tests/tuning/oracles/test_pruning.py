"""Pruning: the two rules, and what becomes of trials that are stopped by them."""

from __future__ import annotations

import numpy as np
import pytest
from driven_oracle import new_oracle
from hypothesis import given
from hypothesis import strategies as st

from alexnet import AlexNet
from alexnet.data.images import ImageData, load_images
from tuning import SearchSettings
from tuning.oracles.pruning import halving_stops, is_rung, median_stops
from tuning.oracles.search_oracle import SearchOracle
from tuning.settings import DataFacts
from tuning.space.search_space import SearchSpace
from tuning.store.layout import Store
from tuning.store.records import Result
from tuning.store.results import ranked, read_results
from tuning.trial.run import TrialRunner
from tuning.view.status import status

VALUES = st.lists(st.integers(-9, 9).map(float), min_size=1, max_size=12)
OTHERS = st.lists(VALUES, max_size=9)


def negative(values):
    """Return the values with the other sign."""
    return [-value for value in values]


@given(VALUES, OTHERS)
def test_the_median_rule_is_that_of_vizier(own, others):
    """Worse than the median of running averages, of five that completed: stop."""
    others = [(values * 12)[:12] for values in others]
    averages = np.array([np.mean(values[: len(own)]) for values in others])
    expected = len(others) >= 5 and max(own) < np.median(averages) - 1e-12
    assert median_stops(own, others, maximize=True) == expected


@given(VALUES, OTHERS)
def test_halving_keeps_the_best_third_of_a_rung(own, others):
    """At 1, 3 and 9 epochs the best third and its equals continue; elsewhere all do."""
    epochs = len(own)
    there = [values[epochs - 1] for values in others if len(values) >= epochs]
    order = sorted([*there, own[-1]], reverse=True)
    least = order[max(1, len(order) // 3) - 1]
    expected = epochs in (1, 3, 9) and own[-1] < least
    assert halving_stops(own, others, maximize=True) == expected


@pytest.mark.parametrize(
    ("num_others", "kept"), [(0, 1), (1, 1), (4, 1), (5, 2), (8, 3), (9, 3)]
)
def test_a_third_of_those_at_a_rung_includes_the_trial(num_others, kept):
    """Of n trials at a rung, its own included, n // 3 continue, and at least one."""
    others = [[float(n)] for n in range(num_others)]
    for better in range(num_others + 1):
        own = num_others - better - 0.5
        assert halving_stops([own], others, True) == (better >= kept)


@pytest.mark.parametrize("rule", [median_stops, halving_stops])
@given(own=VALUES, others=OTHERS)
def test_less_is_better_where_it_is(rule, own, others):
    """Minimizing the negative values is maximizing the values."""
    lower = [negative(values) for values in others]
    assert rule(own, others, True) == rule(negative(own), lower, False)


@pytest.mark.parametrize("rule", [median_stops, halving_stops])
@given(own=VALUES, others=OTHERS)
def test_the_best_is_never_stopped(rule, own, others):
    """A trial that no other was ever better than continues."""
    best = max(value for values in [own, *others] for value in values)
    assert not rule([*own[:-1], best], others, True)


@given(st.permutations(range(27)))
def test_halving_bounds_what_reaches_the_next_rung(scores):
    """However trials come, the best of all continues; of the last third not all do."""
    alive, seen = [], []
    for score in scores:
        if not halving_stops([float(score)], [[float(s)] for s in seen], True):
            alive.append(score)
        seen.append(score)
    assert 26 in alive
    assert scores[0] in alive
    assert len(alive) < 27 or scores == sorted(scores)


def test_rungs_are_powers_of_three():
    """Rungs are after 1, 3, 9, 27 and 81 epochs."""
    assert [n for n in range(1, 100) if is_rung(n)] == [1, 3, 9, 27, 81]


def pruning_oracle(directory, tuner="random", prune="halving"):
    """Return the oracle on a directory."""
    tune = ("optimizer", "batch_size", "weight_decay")
    return new_oracle(directory, tuner, prune=prune, tune=tune, epochs=10)


def drive(oracle, scores, epochs=4):
    """Run trials whose values are constant; return how many epochs each had."""
    trained = []
    for score in scores:
        trial_id = oracle.suggest("worker-0").trial
        for epoch in range(epochs):
            stops = oracle.report(trial_id, {"val_accuracy": [score] * (epoch + 1)})
            if stops:
                break
        is_pruned = stops and epoch + 1 < epochs
        if not is_pruned:
            oracle.store.weights_file(trial_id).write_text("weights")
        oracle.end(trial_id, Result(is_pruned=is_pruned))
        trained.append(epoch + 1)
    return trained


SCORES = (0.5, 0.6, 0.1, 0.7, 0.65, 0.2, 0.9, 0.3, 0.8)


@pytest.mark.parametrize("tuner", ["random", "bayesian", "grid"])
def test_every_oracle_prunes(tmp_path, tuner):
    """On top of any oracle, what is stopped counts as ended, with its score."""
    oracle = pruning_oracle(tmp_path, tuner)
    assert drive(oracle, SCORES) == [4, 4, 1, 4, 1, 1, 4, 1, 3]
    again = pruning_oracle(tmp_path, tuner)
    for one in (oracle, again):
        ended = one.progress()["ended"]
        assert [score for _, _, score in ended] == list(SCORES)
        pruned = [trial for trial, status, _ in ended if status == "PRUNED"]
        assert pruned == ["2", "4", "5", "7", "8"]
        assert not one.progress()["has_failed"]
    assert again.suggest("worker-0") == "done"
    rows = read_results(Store(tmp_path))
    assert [row["epochs"] for row in rows] == [4, 4, 1, 4, 1, 1, 4, 1, 3]
    assert [row["trial"] for row in ranked(rows, "val_accuracy")] == [*"6310"]


def test_bayesian_search_learns_from_what_was_pruned(tmp_path):
    """A pruned trial counts with its score where the next values are chosen."""
    oracle = pruning_oracle(tmp_path, "bayesian")
    drive(oracle, SCORES[:6])
    oracle.suggest("worker-0")
    gpr = oracle.kind.process._oracle.gpr
    seen = -(gpr.y_train_ * gpr._y_train_std + gpr._y_train_mean)
    # Tolerance: they were normalized.
    assert sorted(seen) == pytest.approx(sorted(SCORES[:6]), abs=1e-9)
    assert oracle.progress()["ended"][2][1] == "PRUNED"


def test_the_median_rule_waits_for_five(tmp_path):
    """With the median rule the first five trials have all of their epochs."""
    oracle = pruning_oracle(tmp_path, prune="median")
    assert drive(oracle, SCORES) == [4, 4, 4, 4, 4, 1, 4, 1, 4]


def test_no_rule_no_pruning(tmp_path):
    """Without a rule no trial is stopped, however bad."""
    assert drive(pruning_oracle(tmp_path, prune=None), SCORES) == [4] * 9


def test_status_shows_a_trial_that_runs_and_those_pruned(tmp_path):
    """While a trial runs, its epochs and its last score are on record."""
    oracle = pruning_oracle(tmp_path)
    drive(oracle, SCORES[:3])
    oracle.suggest("worker-0")
    oracle.suggest("worker-1")
    for values in ([0.75], [0.75, 0.875]):
        oracle.report("3", {"val_accuracy": values})
    settings = SearchSettings(directory=tmp_path, trials=9)
    text = status(settings, Store(tmp_path))
    assert "2 completed, 1 pruned, 0 failed, 2 running; 0." in text.splitlines()[0]
    assert text.splitlines()[0].endswith(" MiB on disk")
    assert "trial 3 runs: 2 of 10 epochs, val_accuracy 0.8750" in text
    assert "trial 4 runs: 0 of 10 epochs\n" in text + "\n"


class Eager(AlexNet):
    """Two small blocks, without a graph, which takes longer to make than to run."""

    @classmethod
    def search_space(cls, hp, image_shape):
        """Read the configuration of a space of small networks."""
        small = {"num_blocks": (2, 2), "filters": ((16,), (32,)), "use_lrn": (False,)}
        small |= {"num_dense": (1, 1), "dense_units": (32,), "batch_size": (64, 128)}
        return super().search_space(hp, image_shape, **small)

    def compile(self, *args, **kwargs):
        """Compile for eager execution."""
        super().compile(*args, **kwargs, run_eagerly=True)


@pytest.mark.long
def test_a_pruned_trial_stops_training(tmp_path, monkeypatch):
    """Training ends where the oracle says so, and leaves history and no weights."""
    monkeypatch.setattr(SearchSettings, "load_model_class", lambda settings: Eager)
    digits = load_images("digits")
    data = ImageData(
        digits.x_train[:300],
        digits.y_train[:300],
        digits.x_val[:100],
        digits.y_val[:100],
        digits.class_names,
        "digits",
    )
    settings = SearchSettings(
        directory=tmp_path,
        trials=4,
        epochs=4,
        prune="halving",
        tune=("sgd_learning_rate", "adamw_learning_rate", "optimizer"),
    )
    store = Store(tmp_path)
    space = SearchSpace(settings, DataFacts((8, 8, 1), 10, 1 / 255))
    oracle = SearchOracle(space, store, [], "run", print)
    runner = TrialRunner(oracle, space, store, data)
    while not isinstance(record := oracle.suggest("worker-0"), str):
        runner.run(record)
    rows = read_results(store)
    pruned = [row for row in rows if row["status"] == "PRUNED"]
    assert pruned
    assert rows[0]["status"] == "COMPLETED"
    for row in rows:
        assert row["epochs"] == len(row["history"]["val_accuracy"])
        assert (row["epochs"] < 4) == (row in pruned)
        assert row["score"] == max(row["history"]["val_accuracy"])
        assert store.weights_file(row["trial"]).exists() == (row not in pruned)
        assert not store.checkpoint_file(row["trial"]).exists()
