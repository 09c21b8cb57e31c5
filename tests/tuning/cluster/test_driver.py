"""The driver's decisions, whatever happens to its tasks and in whichever order."""

from __future__ import annotations

import io
import itertools
import shutil
import sys

import keras
import pytest
from fake_ray import (
    FakeRay,
    NodeDiedError,
    OutOfMemoryError,
    RayTaskError,
    WorkerCrashedError,
    drive,
)
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tuning import SearchSettings
from tuning.cluster.session import WorkerError
from tuning.cluster.worker import NodeError, Run
from tuning.settings import DataFacts
from tuning.store.files import StoreError
from tuning.store.records import Failure
from tuning.store.results import read_results
from tuning.view.progress import Progress

FAILED = Failure(kind=None, message="a bug in the model")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder, in which `new_run` begins a search anew.

    Of its many files, none is waited for until it is on the disk.
    """
    with pytest.MonkeyPatch.context() as context:
        context.setattr("os.fsync", lambda descriptor: None)
        yield tmp_path_factory.mktemp("driver")


def new_run(folder, tuner="random", trials=6, epochs=1, workers=2):
    """Return a run of a search on a cluster in an empty directory."""
    shutil.rmtree(folder / "s", ignore_errors=True)
    settings = SearchSettings(
        directory=str(folder / "s"),
        tuner=tuner,
        trials=trials,
        epochs=epochs,
        workers=workers,
        address="auto",
        tune=("dropout", "batch_size"),
    )
    (folder / "s").mkdir()
    facts = DataFacts((8, 8, 1), 10, None)
    policy = keras.dtype_policies.serialize(keras.config.dtype_policy())
    return Run("run", settings, facts, [], "tensorflow", tuple(sys.path), policy)


def drive_quietly(ray, run):
    """Run a search's driver; return the oracle's progress and what was printed."""
    stream = io.StringIO()
    return drive(ray, run, Progress("val_accuracy", stream)), stream.getvalue()


def status_of(run):
    """Return the trials' statuses by id."""
    return {row["trial"]: row["status"] for row in read_results(run.store)}


def fair(ray):
    """Let each task have its place and end, one after another."""
    if waiting := ray.waiting():
        waiting[0].start(ray.service)
    elif at_work := ray.at_work():
        ray.finish(at_work[0], 0.5)


@settings(phases=[Phase.explicit, Phase.generate])  # To shrink one takes minutes.
@given(data=st.data())
@pytest.mark.parametrize("tuner", ["random", "hyperband"])
def test_a_search_ends_whatever_happens(folder, tuner, data):
    """Each trial ends once, whichever processes and nodes are lost, in any order.

    It fails only if its model does, if it hangs or if its process dies four times.
    """
    workers = data.draw(st.integers(1, 4), "workers")
    run = new_run(folder, tuner, trials=6, epochs=4, workers=workers)
    events = st.sampled_from(
        [
            *["start", "finish"] * 3,
            *("fail", "hang", "die", "oom", "node", "refuse", "oracle", "nothing"),
        ]
    )
    scores = (number / 1000 for number in itertools.count())
    may_fail = set()

    def step(ray):
        assert len(ray.in_flight()) <= workers
        event = data.draw(events)
        tasks = ray.waiting() if event == "start" else ray.at_work()
        if event == "oracle":
            ray.restart()
        if event in ("oracle", "nothing") or not tasks:
            fair(ray)
        else:
            task = data.draw(st.sampled_from(tasks))
            trial = task.record and task.record.trial
            if event == "start":
                task.start(ray.service)
            elif event == "finish":
                ray.finish(task, next(scores))
            elif event == "fail":
                ray.finish(task, 0.0, FAILED)
            elif event == "hang":
                ray.hang(task)
            elif event == "node":
                task.record = None
                task.end(error=NodeDiedError("gone"))
            elif event == "refuse":
                ray.refuse(task, "late")
            else:
                kind = OutOfMemoryError if event == "oom" else WorkerCrashedError
                task.lose(kind("died"))
                event = event if task.is_ready else ""
            may_fail.update([trial] if event in ("fail", "hang", "die", "oom") else [])
        return data.draw(st.sampled_from(ray.tasks))

    ray = FakeRay(data.draw(st.integers(1, 3), "places"), step)
    now, _ = drive_quietly(ray, run)
    found = status_of(run)
    failed = {trial for trial, status in found.items() if status == "FAILED"}
    assert failed <= may_fail
    if now["has_failed"]:  # The same command runs them again.
        return
    assert len(found) == now["total"]
    assert set(found.values()) <= {"COMPLETED", "FAILED"}
    assert sorted(trial for trial, *_ in now["ended"]) == sorted(found)


def test_an_old_answer_keeps_no_place_empty(folder):
    """A task is told to wait; a trial that ended since has ended the waiting."""
    run = new_run(folder, trials=4, workers=2)

    def step(ray):
        first, second, *_ = ray.tasks
        if ray.steps == 1:
            first.start(ray.service)
            second.end("wait")
            ray.finish(first, 0.5)
            return first
        if ray.steps == 2:
            return second
        assert ray.steps > 3 or len(ray.in_flight()) == 2
        return fair(ray)

    drive_quietly(FakeRay(2, step), run)
    assert status_of(run) == dict.fromkeys("0123", "COMPLETED")


def test_nothing_is_started_while_there_is_nothing_to_try(folder):
    """Tasks that are told to wait are started again after the next trial's end."""
    run = new_run(folder, trials=4, workers=2)

    def step(ray):
        first, second, *_ = ray.tasks
        if ray.steps == 1:
            first.start(ray.service)
            second.end("wait")
        elif ray.steps < 9:
            assert ray.in_flight() == [first]
        else:
            fair(ray)

    drive_quietly(FakeRay(2, step), run)
    assert status_of(run) == dict.fromkeys("0123", "COMPLETED")


def test_a_trial_whose_retry_meets_a_bad_node_runs_elsewhere(folder):
    """The last trial is not left with the name of a task that is gone."""
    run = new_run(folder, trials=3, workers=3)

    def step(ray):
        for task in ray.waiting():
            task.start(ray.service)
        if len(ray.at_work()) == 1 and len(ray.tasks) == 3:
            ray.refuse(ray.at_work()[0], "late")
        else:
            fair(ray)

    ray = FakeRay(3, step)
    _, output = drive_quietly(ray, run)
    assert status_of(run) == dict.fromkeys("012", "COMPLETED")
    assert output.count("A node that joined is left out. It cannot.") == 1
    selector = {"ray.io/node-id": "!in(late)"}
    assert ray.tasks[-1].options["label_selector"] == selector


def test_a_process_that_dies_again_and_again_fails_its_trial_alone(folder):
    """A trial fails when its process has died four times; the search continues."""
    run = new_run(folder, trials=4, workers=1)
    deaths = []

    def step(ray):
        (task, *_) = ray.at_work() or [None]
        if task is not None and task.record.trial == "1":
            deaths.append(task.record.trial)
            task.lose(OutOfMemoryError("too much memory"))
        else:
            fair(ray)

    _, _ = drive_quietly(FakeRay(1, step), run)
    assert len(deaths) == 4
    failed = {trial for trial, status in status_of(run).items() if status == "FAILED"}
    assert failed == {"1"}
    assert "too much memory" in run.store.error_file("1").read_text()


def test_a_node_that_was_there_and_cannot_run_a_trial_is_an_error(folder):
    """A node of the beginning that lacks what a trial needs ends the search."""
    run = new_run(folder)
    with pytest.raises(NodeError, match=r"It cannot\."):
        drive_quietly(
            FakeRay(1, lambda ray: ray.refuse(ray.waiting()[0], "first")), run
        )


def test_processes_that_end_before_they_have_a_trial_end_the_search(folder):
    """A search does not start processes for ever that die before they have a trial."""
    run = new_run(folder, workers=2)

    def step(ray):
        ray.waiting()[0].lose(WorkerCrashedError("no memory"))

    with pytest.raises(WorkerError, match="before it had a trial: no memory"):
        drive_quietly(FakeRay(2, step), run)


def test_an_oracle_that_cannot_read_its_records_ends_the_search(folder):
    """What the oracle raises reaches whoever runs the search, as it is."""
    run = new_run(folder)

    def step(ray):
        error = RayTaskError(StoreError("The records are gone."))
        ray.waiting()[0].end(error=error)

    with pytest.raises(StoreError, match=r"The records are gone\."):
        drive_quietly(FakeRay(1, step), run)
