"""What runs on Ray: the oracle of a search, and the workers that ask it for trials."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from tuning.cluster.resources import Share, hide_gpus, set_threads, share_gpus
from tuning.cluster.session import WorkerError
from tuning.settings import DataFacts, SearchSettings
from tuning.store.directory import Store

# Within which what one machine writes is seen on another.
VISIBLE_S = 10.0
POLL_S = 0.2


class NodeError(WorkerError):
    """A node cannot run a worker: it lacks the search directory, or a package.

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
        backend: Keras' backend in the process that runs it.
        path: Where that process looks for modules.
    """

    name: str
    backend: str
    path: tuple[str, ...]

    def enter(self) -> None:
        """Give this process what Ray does not; before Keras is imported."""
        os.environ["KERAS_BACKEND"] = self.backend
        sys.path += [folder for folder in self.path if folder not in sys.path]


class OracleService:
    """The oracle of a search, as a Ray actor.

    Ray starts it again if it dies; it goes on from the directory's state.
    """

    def __init__(self, settings: SearchSettings, facts: DataFacts, run: Run) -> None:
        run.enter()
        hide_gpus()  # It only measures networks.
        set_threads(1)
        from tuning.oracles.kinds import make_oracle
        from tuning.space.hypermodel import make_hypermodel

        hypermodel = make_hypermodel(settings, facts)
        store = Store(settings.directory or "")
        self.messages: list[str] = []
        self.membership = contextlib.ExitStack()  # Until this process ends.
        self.membership.enter_context(store.joined())
        self.oracle = make_oracle(settings, hypermodel, store, self.messages.append)
        self.oracle.begin(run.name)

    def call(self, method: str, *args: Any) -> Any:
        """Call a method of the oracle."""
        return getattr(self.oracle, method)(*args)

    def tell(self, message: str) -> None:
        """Keep what people should know; each message is shown once."""
        self.messages.append(message)

    def progress(self) -> dict[str, Any]:
        """Return the oracle's progress, and what people should know."""
        return {**self.oracle.progress(), "messages": self.messages}


def run_worker(
    settings: SearchSettings,
    facts: DataFacts,
    run: Run,
    name: str,
    share: Share,
    service: Any,
    boxed_data: list[Any],
) -> bool:
    """Run trials in this process, a Ray task, until the oracle has no more.

    With `settings.isolate_trials`, run one.

    Args:
        settings: Of the search.
        facts: Of the images.
        run: This run of the search.
        name: Of the worker. A task that Ray runs again has its name again, and
            with it the trial that it was at.
        share: What the worker holds of its machine.
        service: Handle of the `OracleService`.
        boxed_data: A list with the reference of the `ImageData`. In a list, Ray
            does not unpack it, which imports TensorFlow, before the thread
            pools are set.

    Returns:
        Whether there may be more trials.

    Raises:
        NodeError: This machine does not see the search directory, cannot import what
            a worker needs, or has not the GPUs that Ray takes it to have.
    """
    run.enter()
    set_threads(share.threads)
    share_gpus()
    store = Store(settings.directory or "")
    import ray

    node = ray.get_runtime_context().get_node_id()
    check_directory(store, run.name, node)
    try:
        from tuning.cluster.remote import RemoteOracle
        from tuning.cluster.replicas import missing_gpus, strategy_for
        from tuning.space.hypermodel import make_hypermodel
        from tuning.trial.tuner import TrialTuner

        hypermodel = make_hypermodel(settings, facts)
        strategy = strategy_for(share.gpus)
    except Exception as error:  # Whatever a package, or the user's module, raises.
        raise NodeError(
            "A node must have what a worker needs: the same packages as the others, "
            f"and the module of --model; on {os.uname().nodename} a worker received "
            f"{type(error).__name__}: {error}",
            node,
        ) from error
    if share.gpus and (message := missing_gpus()):
        ray.get(service.tell.remote(message))

    oracle = RemoteOracle(
        lambda method, *args: ray.get(service.call.remote(method, *args)),
        settings.objective,
        most_trials=1 if settings.isolate_trials else None,
    )
    tuner = TrialTuner(
        oracle,
        hypermodel,
        store,
        settings,
        name,
        owns_process=True,
        distribution_strategy=strategy,
    )
    # KerasTuner and Keras collect garbage before each trial; half a second among all
    # that TensorFlow has made. What an earlier run left is no part of that.
    gc.collect()
    gc.freeze()
    with store.joined():
        tuner.run(ray.get(boxed_data[0]))
    return oracle.has_more


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
