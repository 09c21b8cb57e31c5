"""Hyperband draws the same trials whatever the number of workers."""

from __future__ import annotations

import json
import random
import zlib

import pytest
from tuning.oracles.kinds import durable, make_oracle
from tuning.points.values import public
from tuning.store.directory import Store

from tuning import HyperAlexNet, SearchSettings

# KerasTuner calls threading.currentThread().getName().
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]
HYPERMODEL = HyperAlexNet((8, 8, 1), 10)


def drive(directory, seed, trials, workers, choose, share_failed, restart=()):
    """Run Hyperband with simulated workers; return what each trial was.

    Args:
        directory: Of the search.
        seed, trials: As of the settings.
        workers: Number of workers.
        choose: Returns which of some running workers ends next.
        share_failed: How many of a hundred trials fail.
        restart: Steps after which the oracle is made anew, as after its death.
    """
    settings = SearchSettings(
        tuner="hyperband",
        seed=seed,
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
            assert len(found) == len(oracle.trials)
            return sorted(found.values(), key=repr)
        name = choose(sorted(running))
        trial = running.pop(name)
        values = trial.hyperparameters.values
        point = json.dumps(public(values), sort_keys=True)
        epochs = values["tuner/epochs"]
        # One of two scores, so that many are equal.
        number = zlib.crc32(f"{point} {epochs}".encode())
        fails = number % 100 < share_failed
        if not fails:
            score = number % 2
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


@pytest.mark.parametrize("seed", range(40))
def test_any_number_of_workers_runs_the_same_trials(tmp_path, seed, monkeypatch):
    """Whoever ends first and whatever fails or dies, the trials are one worker's."""
    monkeypatch.setattr(durable, "FAILURES_AT_START", 99)
    rng = random.Random(seed)
    trials, workers = rng.randint(9, 40), rng.randint(2, 5)
    share_failed = rng.choice((0, 0, 20, 70))
    # Anyone, or the first worker only when the others have nothing more to do.
    choose = rng.choice((rng.choice, max))
    restarts = {rng.randint(1, 30) for _ in range(rng.randint(0, 2))}
    alone = drive(tmp_path / "1", seed, trials, 1, min, share_failed)
    together = drive(
        tmp_path / "2", seed, trials, workers, choose, share_failed, restarts
    )
    assert len(alone) == trials
    assert together == alone
