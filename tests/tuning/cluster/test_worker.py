"""A task of Ray, in a process of its own but without Ray."""

from __future__ import annotations

import sys

import keras
import pytest
from fake_ray import run_task
from search_process import forked
from small_trials import SmallSearch

from tuning.cluster.worker import Run
from tuning.settings import DataFacts
from tuning.store.arrays import read_arrays
from tuning.store.recovery import read_record


@pytest.fixture
def policy():
    """Set a policy of Keras that is not its default, and return it."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield keras.config.dtype_policy()
    keras.config.set_dtype_policy(before)


def test_a_worker_has_the_dtype_policy_of_the_search(tmp_path, policy):
    """A trial on Ray ends with the same bits as one in the search's own process."""
    here = SmallSearch(tmp_path / "here", trials=1, epochs=1).run()
    assert here.build().dtype_policy == policy
    run = Run(
        "run",
        here.space.settings.replace(directory=str(tmp_path / "there")),
        DataFacts(here.data.image_shape, here.data.num_classes, 1 / 255),
        [here.records["0"].values],
        keras.backend.backend(),
        tuple(sys.path),
        keras.dtype_policies.serialize(policy),
    )
    run.store.create()
    process = forked(run_task, run, here.data)
    process.join(120)
    assert process.exitcode == 0
    record = read_record(run.store, "0", [])
    assert record.history == here.records["0"].history
    expected, found = (
        read_arrays(store.weights_file("0"))[1] for store in (here.store, run.store)
    )
    assert [a.tobytes() for a in found.values()] == [
        a.tobytes() for a in expected.values()
    ]
