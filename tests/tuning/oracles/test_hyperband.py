"""Hyperband draws the same trials whatever the number of workers."""

from __future__ import annotations

import json
import random
import zlib

import pytest
from driven_oracle import FAILED, end, new_oracle

from tuning.oracles import search_oracle

pytestmark = pytest.mark.usefixtures("no_fsync")
TUNE = ("weight_decay", "augmentation")


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

    def new():
        settings = {"seed": seed, "trials": trials, "epochs": 9, "tune": TUNE}
        return new_oracle(directory, "hyperband", **settings)

    oracle, running, found, step = new(), {}, {}, 0
    while True:
        for worker in range(workers):
            name = f"worker-{worker}"
            if name not in running:
                record = oracle.suggest(name)
                if not isinstance(record, str):
                    running[name] = record
        if not running:
            assert len(found) == len(oracle.records)
            return sorted(found.values())
        name = choose(sorted(running))
        record = running.pop(name)
        drawn = json.dumps(record.values, sort_keys=True)
        # One of two scores, so that many are equal.
        number = zlib.crc32(f"{drawn} {record.epochs}".encode())
        fails = number % 100 < share_failed
        end(oracle, record.trial, FAILED if fails else None, score=number % 2)
        place = (record.first_epoch, record.epochs, record.bracket, record.round)
        found[record.trial] = (drawn, record.seed, *place, fails)
        step += 1
        if restart is None or step in restart:
            oracle = new()


@pytest.mark.parametrize("seed", range(40))
def test_any_number_of_workers_runs_the_same_trials(tmp_path, seed, monkeypatch):
    """Whoever ends first and whatever fails or dies, the trials are one worker's."""
    monkeypatch.setattr(search_oracle, "FAILURES_AT_START", 99)
    rng = random.Random(seed)
    trials, workers = rng.randint(9, 40), rng.randint(2, 5)
    share_failed = rng.choice((0, 0, 20, 70))
    # Anyone, or the first worker only when the others have nothing more to do.
    choose = rng.choice((rng.choice, max))
    # Every tenth search has a new oracle after each step.
    restarts = {rng.randint(1, 30) for _ in range(rng.randint(0, 2))}
    restarts = None if seed % 10 == 0 else restarts
    alone = drive(tmp_path / "1", seed, trials, 1, min, share_failed)
    together = drive(
        tmp_path / "2", seed, trials, workers, choose, share_failed, restarts
    )
    assert len(alone) == trials
    assert together == alone
