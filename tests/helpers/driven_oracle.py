"""Oracles driven without training: a trial's score follows from its values."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import tempfile
from pathlib import Path

import numpy as np

from tuning import SearchSettings
from tuning.oracles.search_oracle import SearchOracle
from tuning.points import complete
from tuning.settings import DataFacts
from tuning.space.search_space import SearchSpace
from tuning.store.arrays import write_arrays
from tuning.store.layout import Store
from tuning.store.records import Failure, Result

TUNE = ("filters_1", "dense_units_1", "optimizer", "batch_size", "weight_decay")
FACTS = DataFacts((8, 8, 1), 10, None)
FAILED = Result(failure=Failure(kind=None, message="it failed\n"))


def settings_of(directory, tuner="random", **settings):
    """Return the settings with which `new_oracle` makes an oracle."""
    settings = {"trials": 9, "epochs": 3, "tune": TUNE, **settings}
    # Without a limit no network is built.
    settings = {"max_parameters": None, **settings}
    return SearchSettings(tuner=tuner, directory=directory, **settings)


def new_space(tune=TUNE, **settings):
    """Return the space of a search."""
    return SearchSpace(settings_of("s", tune=tune, **settings), FACTS)


def new_oracle(directory, tuner="random", run="run", notify=print, **settings):
    """Return the oracle on a directory, with the trials that this holds."""
    settings = settings_of(directory, tuner, **settings)
    space = SearchSpace(settings, FACTS)
    given = [
        item.values
        for name in ("start_with", "add")
        for item in complete(name, getattr(settings, name), space)
    ]
    return SearchOracle(space, Store(directory), given, run, notify)


def score_of(values):
    """Return a score in [0, 1) that depends on a trial's values alone."""
    text = json.dumps(values, sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


def end(oracle, trial_id, result=None, score=None):
    """Report a trial's score, of one epoch, and its end; leave what trials leave."""
    result = result or Result(best_epoch=0, seconds=1.5)
    if result.failure is None:
        score = score_of(oracle.records[trial_id].values) if score is None else score
        oracle.report(trial_id, {oracle.objective.name: [score]})
        if not result.is_pruned:
            oracle.store.weights_file(trial_id).write_bytes(weights())
    oracle.end(trial_id, result)


@functools.cache
def weights():
    """Return the content of a file of weights."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.npz"
        write_arrays(file, {}, {"weights/0": np.arange(50, dtype="float32")})
        return file.read_bytes()


def drive(oracle, workers=1, steps=None, result=None, reopen=lambda oracle: oracle):
    """Run a search of `workers`, first in first out; return trials as they began.

    Args:
        oracle: Of the search.
        workers: Number of trials that run at once.
        steps: Calls after which to leave the search; None for its end.
        result: With which trials end.
        reopen: Called with the oracle before each call; returns the one to use.

    Returns:
        Id and values of each trial.
    """
    begun, running = [], []
    for _ in itertools.count() if steps is None else range(steps):
        oracle = reopen(oracle)
        worker = next(n for n in range(workers + 1) if n not in dict(running))
        if worker < workers:
            record = oracle.suggest(f"worker-{worker}")
            if not isinstance(record, str):
                running.append((worker, record.trial))
                begun.append((record.trial, record.values))
                continue
            if not running:
                assert record == "done"
                break
        _, trial_id = running.pop(0)
        end(oracle, trial_id, result)
    return begun


def values_by_id(oracle):
    """Return each trial's values by its id."""
    return {trial_id: record.values for trial_id, record in oracle.records.items()}


def planned(oracle):
    """Return all that says what each trial trains."""
    return [
        (r.trial, r.values, r.seed, r.continues, r.first_epoch, r.epochs)
        for r in oracle.records.values()
    ]


def results_of(oracle):
    """Return what became of each trial."""
    return [(r.trial, r.status, r.score, r.history) for r in oracle.records.values()]


def files_of(directory):
    """Return every stored JSON file's content by name."""
    return {
        str(file.relative_to(directory)): file.read_bytes()
        for file in directory.rglob("*.json")
    }


def aside(directory):
    """Return the names of the files that were set aside."""
    return sorted(
        str(file.relative_to(directory)) for file in directory.rglob("*.damaged-*")
    )
