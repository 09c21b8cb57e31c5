"""What runs on Ray: the oracle of a search as an actor, and a trial as a task."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from tuning.cluster.resources import Share, hide_gpus, set_threads, share_gpus
from tuning.cluster.session import WorkerError
from tuning.settings import DataFacts, SearchSettings
from tuning.store.layout import Store
from tuning.store.lock import joined

# Within which what one machine writes is seen on another.
VISIBLE_S = 10.0
POLL_S = 0.2


class NodeError(WorkerError):
    """A node cannot run a trial: it lacks the search directory, or a package.

    Attributes:
        node: Ray's id of it.
    """

    def __init__(self, message: str, node: str) -> None:
        super().__init__(message, node)
        self.node = node

    def __str__(self) -> str:
        return self.args[0]


class Run(NamedTuple):
    """A run of a search, from its start to its end or interruption.

    Attributes:
        name: Of this run alone; its directory holds it.
        settings: Of the search.
        facts: Of the images.
        given: Values that people named, complete.
        backend: Keras' backend in the process that runs it.
        path: Where that process looks for modules.
        dtype_policy: Keras' in that process, as `keras.dtype_policies.serialize`
            returns it: an object would import Keras before `enter`.
    """

    name: str
    settings: SearchSettings
    facts: DataFacts
    given: list[dict[str, Any]]
    backend: str
    path: tuple[str, ...]
    dtype_policy: dict[str, Any]

    @property
    def store(self) -> Store:
        """The search directory."""
        return Store(self.settings.directory or "")

    def enter(self) -> None:
        """Give this process what Ray does not; before Keras is imported."""
        os.environ["KERAS_BACKEND"] = self.backend
        sys.path += [folder for folder in self.path if folder not in sys.path]

    def space(self) -> Any:
        """Return the search space, once Keras has the dtype policy of the search."""
        import keras

        from tuning.space.search_space import SearchSpace

        space = SearchSpace(self.settings, self.facts)
        # After the model's module, which may define this policy or set another.
        keras.config.set_dtype_policy(keras.dtype_policies.get(self.dtype_policy))
        return space


class OracleService:
    """The oracle of a search, as a Ray actor.

    Ray starts it again if it dies; it continues from the directory's records.

    Args:
        run: This run of the search.
    """

    def __init__(self, run: Run) -> None:
        run.enter()
        hide_gpus()  # It only measures networks.
        set_threads(1)
        self.run = run
        self.messages: list[str] = []
        self.membership = contextlib.ExitStack()  # Until this process ends.
        self.membership.enter_context(joined(run.store))

    @functools.cached_property
    def oracle(self) -> Any:
        """The oracle; made by the first call, which raises what goes wrong."""
        from tuning.oracles.search_oracle import SearchOracle

        run = self.run
        return SearchOracle(run.space(), run.store, run.given, run.name, self.notify)

    def call(self, method: str, *args: Any) -> Any:
        """Call a method of the oracle."""
        return getattr(self.oracle, method)(*args)

    def notify(self, message: str) -> None:
        """Keep what people should know; each message is shown once."""
        self.messages.append(message)

    def progress(self) -> dict[str, Any]:
        """Return the oracle's progress, and what people should know."""
        return {**self.oracle.progress(), "messages": self.messages}


class RemoteOracle:
    """The oracle as a worker sees it: calls go to the actor.

    Args:
        service: Handle of the `OracleService`.
    """

    def __init__(self, service: Any) -> None:
        self._call = lambda *args: _wait_for(service.call.remote(*args))

    def suggest(self, worker: str) -> Any:
        return self._call("suggest", worker)

    def report(self, trial_id: str, history: dict[str, list[float]]) -> bool:
        return self._call("report", trial_id, history)

    def end(self, trial_id: str, result: Any) -> None:
        self._call("end", trial_id, result)

    def halt(self, reason: str) -> None:
        self._call("halt", reason)


def _wait_for(reference: Any) -> Any:
    """Return the value of Ray's reference.

    In `ray.get` a task would give back its CPUs meanwhile, and Ray would start others
    beside it, as many as there are.
    """
    return reference.future().result()


_runners: dict[str, Any] = {}  # Of this process, by the name of the run.


def run_trial(
    run: Run, worker: str, share: Share, service: Any, boxed_data: list[Any]
) -> str:
    """Run the next trial, as a Ray task.

    Args:
        run: This run of the search.
        worker: Name of the place that this task holds. A task that Ray runs again
            has its name again, and with it the trial that it was at.
        share: What the task holds of its machine.
        service: Handle of the `OracleService`.
        boxed_data: A list with the reference of the `ImageData`. In a list, Ray
            does not unpack it, which imports TensorFlow, before the thread
            pools are set.

    Returns:
        "ran", or the oracle's "wait" or "done".

    Raises:
        NodeError: This machine does not see the search directory, cannot import what
            a trial needs, or has not the GPUs that Ray takes it to have.
    """
    runner = _runners.get(run.name)
    if runner is None:
        runner = _runners[run.name] = _prepare(run, share, service, boxed_data)
    answer = runner.oracle.suggest(worker)
    if isinstance(answer, str):
        return answer
    with joined(run.store):
        runner.run(answer)
    return "ran"


def _prepare(run: Run, share: Share, service: Any, boxed_data: list[Any]) -> Any:
    """Return this process' runner of trials."""
    import ray

    run.enter()
    set_threads(share.threads)
    share_gpus()
    node = ray.get_runtime_context().get_node_id()
    check_directory(run.store, run.name, node)
    try:
        from tuning.cluster.replicas import missing_gpus, strategy_for
        from tuning.trial.run import TrialRunner

        space = run.space()
        strategy = strategy_for(share.gpus)
    except Exception as error:  # Whatever a package, or the user's module, raises.
        raise NodeError(
            "A node must have what a worker needs: the same packages as the others, "
            f"and the module of --model; on {os.uname().nodename} a worker received "
            f"{type(error).__name__}: {error}",
            node,
        ) from error
    if share.gpus and (message := missing_gpus()):
        _wait_for(service.notify.remote(message))
    # Garbage is collected before each trial; half a second among all that TensorFlow
    # has made. What an earlier run left is no part of that.
    gc.collect()
    gc.freeze()
    return TrialRunner(
        RemoteOracle(service),
        space,
        run.store,
        _wait_for(boxed_data[0]),
        owns_process=True,
        strategy=strategy,
    )


def check_directory(
    store: Store, run: str, node: str, timeout_s: float = VISIBLE_S
) -> None:
    """Check that this node sees the directory of the machine that runs the search.

    Args:
        store: The search directory.
        run: What its run file holds there.
        node: Ray's id of this node.
        timeout_s: Within which what is written there is seen here.

    Raises:
        NodeError: It does not; says which machine.
    """
    end = time.monotonic() + timeout_s
    while (found := _content(store.run_file)) != run:
        if time.monotonic() > end:
            host = os.uname().nodename
            seen = "does not see it" if found is None else "sees another one there"
            raise NodeError(
                "The search directory must be one that all nodes of the cluster see "
                f"under the same path; received {store.root}, and {host} {seen}. "
                "Choose a path on a shared file system with --directory.",
                node,
            )
        time.sleep(POLL_S)


def _content(file: Path) -> str | None:
    try:
        return file.read_text()
    except OSError:
        return None
