"""A Ray of this process: what happens to tasks, in whichever order a test chooses."""

from __future__ import annotations

import os
import sys
import types
from contextlib import contextmanager

from tuning.cluster import driver, worker
from tuning.cluster.resources import Share, num_cores
from tuning.cluster.worker import NodeError, OracleService
from tuning.oracles.search_oracle import Result
from tuning.store.records import Failure

MOST_STEPS = 3000  # A search that takes more never ends.


class RayError(Exception):
    """Ray's, of which all of its errors are."""


class RayTaskError(RayError):
    """What a task raised."""

    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause


class WorkerCrashedError(RayError):
    """A task's process died."""


class OutOfMemoryError(RayError):
    """A task's process was ended for its memory."""


class NodeDiedError(RayError):
    """A task's node is gone."""


class Reference:
    """A value, or an error, that is there at once or later."""

    def __init__(self, value=None, error=None, is_ready=True):
        self.value, self.error, self.is_ready = value, error, is_ready

    def end(self, value=None, error=None):
        """Have the value or the error."""
        self.value, self.error, self.is_ready = value, error, True


class Task(Reference):
    """A call of `run_trial`: it waits for a place, runs, and may run again."""

    def __init__(self, name, options):
        super().__init__(is_ready=False)
        self.name, self.options = name, options
        self.retries = options["max_retries"]
        self.record = None  # Of its trial, while it runs one.

    def start(self, service):
        """Ask for a trial."""
        record = service.call("suggest", self.name)
        if isinstance(record, str):
            self.end(record)
        else:
            self.record = record

    def lose(self, error):
        """Lose the process: the task runs again, or has failed."""
        self.record = None
        self.retries -= 1
        if self.retries < 0:
            self.end(error=error)


class FakeRay:
    """The parts of the module `ray` that the driver uses.

    Args:
        places: How many tasks run at once; others wait.
        step: Called with this object whenever the driver waits; makes things happen.
    """

    def __init__(self, places, step):
        self.places, self.step = places, step
        self.tasks, self.steps = [], 0
        errors = (RayError, RayTaskError, WorkerCrashedError, NodeDiedError)
        errors += (OutOfMemoryError,)
        self.exceptions = types.SimpleNamespace(**{e.__name__: e for e in errors})
        strategies = types.SimpleNamespace(NodeAffinitySchedulingStrategy=self._nothing)
        self.util = types.SimpleNamespace(scheduling_strategies=strategies)

    def _nothing(self, *_, **__):
        return None

    def nodes(self):
        """Return the node that is there from the beginning."""
        resources = {"CPU": float(self.places), "memory": 64e9}
        return [{"NodeID": "first", "Alive": True, "Resources": resources}]

    def get_runtime_context(self):
        """Return where this process runs."""
        return types.SimpleNamespace(get_node_id=lambda: "first")

    def put(self, value):
        """Return a reference to a value."""
        return Reference(value)

    def remote(self, *classes, **_):
        """Return what makes the actor, or what submits tasks."""
        if classes:
            return types.SimpleNamespace(options=lambda **_: self._actor())
        return lambda function: types.SimpleNamespace(options=self._submitting)

    def _actor(self):
        def make(run):
            self.run = run
            self.restart()
            return types.SimpleNamespace(
                **{name: self._method(name) for name in ("call", "notify", "progress")}
            )

        return types.SimpleNamespace(remote=make)

    def restart(self):
        """Start the oracle's process (again)."""
        self.service = OracleService(self.run)

    def _method(self, name):
        def call(*arguments):
            try:
                return Reference(getattr(self.service, name)(*arguments))
            except Exception as error:
                return Reference(error=RayTaskError(error))

        return types.SimpleNamespace(remote=call)

    def _submitting(self, **options):
        def submit(run, name, *_):
            assert name not in {task.name for task in self.in_flight()}
            self.tasks.append(Task(name, options))
            return self.tasks[-1]

        return types.SimpleNamespace(remote=submit)

    def in_flight(self):
        """Return the tasks that have not ended."""
        return [task for task in self.tasks if not task.is_ready]

    def at_work(self):
        """Return the tasks that run a trial."""
        return [task for task in self.in_flight() if task.record is not None]

    def waiting(self):
        """Return the tasks for which there is a place."""
        free = self.places - len(self.at_work())
        return [task for task in self.in_flight() if task.record is None][:free]

    def get(self, reference):
        """Return a value, or raise an error, that is there."""
        assert reference.is_ready
        if reference.error is not None:
            raise reference.error
        return reference.value

    def wait(self, references, timeout):
        """Let something happen; return a reference that is ready, if any."""
        self.steps += 1
        assert self.steps < MOST_STEPS, "the search never ends"
        first = self.step(self)
        order = sorted(references, key=lambda reference: reference is not first)
        ready = [reference for reference in order if reference.is_ready][:1]
        return ready, [r for r in references if r not in ready]

    # What may happen to a task.

    def finish(self, task, score, failure=None):
        """End a task's trial and with it the task."""
        self._end_trial(task, score, failure)
        task.end("ran")

    def hang(self, task):
        """End a trial that hangs and with it its process; the task runs again."""
        self._end_trial(task, 0.0, Failure(kind="no progress", message="It hangs."))
        task.lose(WorkerCrashedError("died"))

    def _end_trial(self, task, score, failure):
        trial = task.record.trial
        history = {self.service.oracle.objective.name: [score] * task.record.epochs}
        self.service.call("report", trial, history)
        self.service.call("end", trial, Result(failure=failure, best_epoch=0))
        file = self.run.store.weights_file(trial)
        file.touch()
        task.record = None

    def refuse(self, task, node):
        """Find that a node cannot run a trial."""
        task.record = None
        task.end(error=RayTaskError(NodeError("It cannot.", node)))


@contextmanager
def environment_kept():
    """Undo what an oracle's service does to the environment."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def drive(ray, run, progress):
    """Run a search's driver on a `FakeRay`; return the oracle's last progress."""
    with environment_kept():
        return driver._Driver(ray, run, None, progress).run()


def run_task(run, data):
    """Run a search's next trial as a task does; for a process of its own."""
    share = Share(num_cores())  # Of which the true Ray knows.
    ray = sys.modules["ray"] = FakeRay(1, None)
    worker._wait_for = ray.get
    run.store.run_file.write_text(run.name)
    service = ray.remote(OracleService).options().remote(run)
    assert worker.run_trial(run, "worker-0", share, service, [ray.put(data)]) == "ran"
