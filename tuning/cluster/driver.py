"""A search on Ray: workers that come, go, die and are started again."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from tuning.cluster.resources import Share, check_cpus, cluster_share, local_share
from tuning.cluster.session import WorkerError, joined_ray, local_ray
from tuning.cluster.worker import NodeError, OracleService, Run, run_worker
from tuning.settings import DataFacts, SearchSettings
from tuning.store.directory import Store, write_bytes
from tuning.view.progress import Progress

if TYPE_CHECKING:
    from alexnet.data.images import ImageData

WORKER_RESTARTS = 3
POLL_S = 0.5
# How often a cluster is asked for its nodes.
NODES_S = 2.0
# How long no worker is started once one could not begin.
PAUSE_S = 60.0


def run_on_ray(
    settings: SearchSettings,
    facts: DataFacts,
    data: ImageData,
    progress: Progress,
) -> dict[str, Any]:
    """Run a search on the Ray at `settings.address`, or on one of its own.

    Args:
        settings: Of the search.
        facts: Of the images.
        data: The images.
        progress: Shows how the search goes.

    Returns:
        What `DurableOracle.progress` says at the end.

    Raises:
        ValueError: A trial asks for more than this machine has.
        WorkerError: There is no Ray at that address, a worker ended before it had a
            trial, or the oracle cannot be started again.
        NodeError: A node of the cluster does not see the search directory, or lacks
            what a worker needs.
    """
    # Of use elsewhere, too.
    settings = dataclasses.replace(
        settings,
        directory=str(Path(settings.directory or "").resolve()),
        data=settings.to_json()["data"],
    )
    check_cpus(settings)
    session: contextlib.AbstractContextManager[Any]
    if settings.address is None:
        data_bytes = data.x_train.nbytes + data.x_val.nbytes
        session = local_ray(data_bytes, Store(settings.directory or ""))
    else:
        session = joined_ray(settings.address)
    with session as ray:
        return _Workers(ray, settings, facts, data, progress).run()


class _Workers:
    """The oracle and the workers of a search, on a Ray that this process has joined.

    Args:
        ray: The module.
        settings, facts, data, progress: As of `run_on_ray`.
    """

    def __init__(
        self,
        ray: Any,
        settings: SearchSettings,
        facts: DataFacts,
        data: ImageData,
        progress: Progress,
    ) -> None:
        self.ray = ray
        self.settings = settings
        self.progress = progress
        self.first_nodes = set(self._nodes())
        self.left_out: list[str] = []  # Nodes that cannot run a worker.
        self.share, self.wanted = self._plan()
        run = Run(uuid.uuid4().hex, keras.backend.backend(), tuple(sys.path))
        write_bytes(Store(settings.directory or "").run_file, run.name.encode())
        # Beside this process, without which there is no search, and the directory.
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self.service = (
            ray.remote(OracleService)
            .options(
                num_cpus=0,
                max_restarts=-1,
                max_task_retries=-1,
                scheduling_strategy=here,
            )
            .remote(settings, facts, run)
        )
        # Ray ends a process after so many tasks; 0 is any number.
        self.task = ray.remote(max_calls=int(settings.isolate_trials))(run_worker)
        boxed_data = [ray.put(data)]
        self.arguments = (self.share, self.service, boxed_data)
        self.first_arguments = (settings, facts, run)
        self.running: dict[Any, str] = {}
        self.deaths: collections.Counter[tuple[str, str | None]] = collections.Counter()
        self.ended_before = len(self._now()["ended"])
        self.has_more = True
        self.asked = time.monotonic()
        self.pause_until = 0.0

    def run(self) -> dict[str, Any]:
        """Run all trials; return what the oracle's progress is at the end."""
        report = self.service.progress.remote()
        while self.has_more or not self._is_over():
            if self.has_more:
                self._fill()
            done, _ = self.ray.wait([*self.running, report], timeout=POLL_S)
            if report in done:
                self.progress.update(self.ray.get(report))
                self.ray.wait(list(self.running), timeout=POLL_S)
                report = self.service.progress.remote()
            for reference in set(done) & set(self.running):
                self._end(reference, self.running.pop(reference))
        last = self._now()
        self.progress.update(last)
        return last

    def _is_over(self) -> bool:
        """Tell whether all trials have ended, once a worker was told that all began.

        Another may have lost its trial since then.
        """
        now = self._now()
        self.has_more = bool(now["waiting"])
        return not (now["waiting"] or now["running"])

    def _plan(self) -> tuple[Share, int]:
        """Return a worker's share, and how many workers there are to be now."""
        settings = self.settings
        if settings.address is None:
            gpus = self.ray.cluster_resources().get("GPU", 0)
            share, wanted = local_share(
                settings.workers,
                settings.cpus_per_trial,
                settings.gpus_per_trial,
                settings.total_trials,
                gpus,
            )
            if settings.gpus_per_trial is not None and not gpus:
                self.progress.line(
                    f"No GPU is visible; gpus_per_trial={settings.gpus_per_trial:g} "
                    "has no effect."
                )
            self.progress.line(f"{wanted} worker(s), each with {share}")
            return share, wanted
        machines = list(self._nodes().values())
        share = cluster_share(
            settings.cpus_per_trial, settings.gpus_per_trial, machines
        )
        places = self._places(share)
        self.progress.line(
            f"{len(machines)} node(s) at {settings.address}, room for {places} "
            f"worker(s), each with {share}"
            + ("" if places else "; waiting for a node that has it")
        )
        return share, self._wanted(places)

    def _wanted(self, places: int) -> int:
        if self.settings.workers is not None:
            return self.settings.workers
        # One that waits tells a cluster that grows by itself that it is too small.
        return max(1, min(places, self.settings.total_trials))

    def _nodes(self) -> dict[str, dict[str, float]]:
        """Return what each node has, by id."""
        alive = (node for node in self.ray.nodes() if node["Alive"])
        return {node["NodeID"]: node["Resources"] for node in alive}

    def _places(self, share: Share) -> int:
        """Return how many workers the nodes that can run one have room for."""
        return sum(
            share.fits(resources)
            for node, resources in self._nodes().items()
            if node not in self.left_out
        )

    def _fill(self) -> None:
        """Start as many workers as there are to be; more if nodes have joined."""
        if self.settings.address and time.monotonic() > self.asked + NODES_S:
            self.asked = time.monotonic()
            self.wanted = self._wanted(self._places(self.share))
        if self.running and time.monotonic() < self.pause_until:
            return
        names = (f"worker-{number}" for number in itertools.count())
        while len(self.running) < self.wanted:
            self._start(next(n for n in names if n not in self.running.values()))

    def _start(self, name: str) -> None:
        options = self.share.options()
        if self.left_out:
            others = f"!in({','.join(self.left_out)})"
            options["label_selector"] = {"ray.io/node-id": others}
        # Not again by Ray: a worker is started again per trial, not in all.
        task = self.task.options(max_retries=0, **options)
        reference = task.remote(*self.first_arguments, name, *self.arguments)
        self.running[reference] = name

    def _end(self, reference: Any, name: str) -> None:
        """Act on the end of a worker."""
        errors = self.ray.exceptions
        try:
            self.has_more = self.ray.get(reference)
        except errors.NodeDiedError:
            # Not the trial's fault; any worker may go on with it.
            self._call("release", name)
            self.has_more = True
        except errors.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, NodeError):
                self._leave_out(cause)
                return
            at = name, self._call("trial_of", name)
            self.deaths[at] += 1
            self.has_more = True
            died = not isinstance(error, errors.RayTaskError)
            if died and self.deaths[at] <= WORKER_RESTARTS:
                self._start(name)
                return
            had_one = self._call("abandon", name, str(error))
            now = self._now()
            # A worker that ends because its trial hangs has none any more.
            if had_one or len(now["ended"]) > self.ended_before:
                self.ended_before = len(now["ended"])
                self._start(name)
                return
            message = f"A worker ended before it had a trial: {error}"
            if not now["running"]:
                raise WorkerError(message) from error
            # The others go on; this one's node may be at fault, or short of memory.
            self.progress.line(message)
            self.pause_until = time.monotonic() + PAUSE_S

    def _leave_out(self, error: NodeError) -> None:
        """Go on without a node that came late and cannot run a worker."""
        if error.node in self.first_nodes:
            raise error
        if error.node not in self.left_out:
            self.left_out.append(error.node)
            self.progress.line(f"A node that joined is left out. {error}")
        self.has_more = True

    def _call(self, method: str, *args: Any) -> Any:
        return self.ray.get(self.service.call.remote(method, *args))

    def _now(self) -> dict[str, Any]:
        return self.ray.get(self.service.progress.remote())
