"""Hyperband draws the same trials whatever the number of workers."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning import HyperAlexNet, SearchSettings
from tuning.oracles import make_oracle
from tuning.points import public
from tuning.store import Store

# KerasTuner calls threading.currentThread().getName().
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]
HYPERMODEL = HyperAlexNet((8, 8, 1), 10)


def drive(directory, trials, workers, choose, share_failed, restart=()):
    """Run Hyperband with simulated workers; return what each trial was.

    Args:
        directory: Of the search.
        trials: As of the settings.
        workers: Number of workers.
        choose: Returns which of some running workers ends next.
        share_failed: How many of a hundred trials fail.
        restart: Steps after which the oracle is made anew, as after its death.
    """
    settings = SearchSettings(
        tuner="hyperband",
        trials=trials,
        epochs=9,
        directory=directory,
        tune=("weight_decay", "augmentation"),
        max_parameters=None,
    )

    def new():
        oracle = make_oracle(settings, HYPERMODEL, Store(directory), lambda text: None)
        oracle.begin("run")
        return oracle

    oracle, running, found, step = new(), {}, {}, 0
    while True:
        for worker in range(workers):
            name = f"worker-{worker}"
            if name not in running:
                trial = oracle.create_trial(name)
                if trial.status == "RUNNING":
                    running[name] = trial
        if not running:
            return sorted(found.values(), key=repr), len(oracle.trials)
        name = choose(sorted(running))
        trial = running.pop(name)
        values = trial.hyperparameters.values
        point = json.dumps(public(values), sort_keys=True)
        epochs = values["tuner/epochs"]
        # Of ten scores, so that many are equal.
        number = zlib.crc32(f"{point} {epochs}".encode())
        fails = number % 100 < share_failed
        if not fails:
            score = number % 10 / 10
            oracle.update_trial(trial.trial_id, {"val_accuracy": score})
        trial.status = "FAILED" if fails else "COMPLETED"
        found[trial.trial_id] = (
            *(point, epochs, values["tuner/bracket"], values["tuner/round"]),
            fails,
        )
        oracle.end_trial(trial)
        step += 1
        if step in restart:
            oracle = new()


@given(st.data())
def test_any_number_of_workers_runs_the_same_trials(tmp_path_factory, data):
    """Whoever ends first and whatever fails or dies, the trials are one worker's."""
    trials = data.draw(st.integers(1, 40), "trials")
    workers = data.draw(st.integers(2, 5), "workers")
    share_failed = data.draw(st.sampled_from((0, 0, 20)), "failed of 100")
    restart = data.draw(st.sets(st.integers(1, 30), max_size=2), "restarts")
    alone, count = drive(
        tmp_path_factory.mktemp("alone"),
        trials,
        1,
        lambda names: names[0],
        share_failed,
    )
    together, together_count = drive(
        tmp_path_factory.mktemp("together"),
        trials,
        workers,
        lambda names: data.draw(st.sampled_from(names)),
        share_failed,
        restart,
    )
    assert count == together_count == len(alone)
    if {row[-1] for row in alone} != {True}:  # That stops any search.
        assert count == trials
    assert together == alone
