"""A search on Ray: one task per trial, which Ray places and keeps warm.

A task asks the oracle's actor for a trial when it starts. Ray waits for resources and
uses nodes that join. If a task's process or node dies, the oracle hands its trial to
whichever task starts next; Ray itself would run the task after all in its queue, and
count the deaths of a task, not of a trial. What is left to do here is to keep as many
tasks in flight as there may be trials at once, and to distinguish a node that cannot
run a trial from a trial that fails.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from tuning.cluster.resources import Share, check_cpus, cluster_share, local_share
from tuning.cluster.session import WorkerError, imported_ray, joined_ray, local_ray
from tuning.cluster.worker import NodeError, OracleService, Run, run_trial
from tuning.oracles.search_oracle import RESTARTS
from tuning.settings import DataFacts, SearchSettings
from tuning.store.files import StoreError, write_bytes
from tuning.view.progress import Progress

if TYPE_CHECKING:
    from alexnet.data import ImageData

ORACLE_RESTARTS = 100  # A process that dies at its start must not do so for ever.
POLL_S = 0.5
NOTHING_YET: dict[str, Any] = {
    "ended": [],
    "waiting": [],
    "halted": None,
    "has_failed": False,
}


def run_on_ray(
    settings: SearchSettings,
    facts: DataFacts,
    given: list[dict[str, Any]],
    data: ImageData,
    progress: Progress,
) -> dict[str, Any]:
    """Run a search on the Ray at `settings.address`, or on one of its own.

    Args:
        settings: Of the search.
        facts: Of the images.
        given: Values that people named, complete.
        data: The images.
        progress: Shows how the search proceeds.

    Returns:
        What `SearchOracle.progress` returns at the end.

    Raises:
        ValueError: A trial asks for more than this machine has.
        WorkerError: There is no Ray at that address, a process ended before it had a
            trial, or the oracle cannot be started again.
        NodeError: A node of the cluster does not see the search directory, or lacks
            what a trial needs.
        StoreError: The search directory cannot be used.
    """
    # Of use elsewhere, too.
    settings = settings.replace(
        directory=str(Path(settings.directory or "").resolve()),
        data=settings.to_json()["data"],
    )
    if settings.address is None:
        imported_ray()
        check_cpus(settings)
    name, path = uuid.uuid4().hex, tuple(sys.path)
    policy = keras.dtype_policies.serialize(keras.config.dtype_policy())
    run = Run(name, settings, facts, given, keras.backend.backend(), path, policy)
    session: contextlib.AbstractContextManager[Any]
    if settings.address is None:
        data_bytes = data.x_train.nbytes + data.x_val.nbytes
        session = local_ray(data_bytes, run.store)
    else:
        session = joined_ray(settings.address)
    with session as ray:
        return _Driver(ray, run, data, progress).run()


class _Driver:
    """The tasks of a search, on a Ray that this process has joined.

    Args:
        ray: The module.
        run: This run of the search.
        data: The images.
        progress: Shows how the search proceeds.
    """

    def __init__(self, ray: Any, run: Run, data: ImageData, progress: Progress) -> None:
        self.ray = ray
        self.settings = run.settings
        self.progress = progress
        write_bytes(run.store.run_file, run.name.encode())
        self.first_nodes = {node["NodeID"] for node in ray.nodes()}
        self.left_out: list[str] = []  # Nodes that cannot run a trial.
        self.share, self.most = self._plan()
        # Beside this process, without which there is no search, and the directory.
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self.service = (
            ray.remote(OracleService)
            .options(
                num_cpus=0,
                max_restarts=ORACLE_RESTARTS,
                max_task_retries=-1,
                scheduling_strategy=here,
            )
            .remote(run)
        )
        # Ray ends a process after so many tasks; 0 is any number.
        self.task = ray.remote(max_calls=int(run.settings.isolate_trials))(run_trial)
        self.run_argument = ray.put(run)
        self.arguments = (self.share, self.service, [ray.put(data)])
        # Tasks in flight: their names, and how many trials had ended at their start.
        self.running: dict[Any, tuple[str, int]] = {}
        self.waits_at = -1  # How many had ended when there was no trial to hand out.
        self.is_done = False
        self.now: dict[str, Any] = {"total": run.settings.total_trials, **NOTHING_YET}
        if run.store.trial_ids():  # Otherwise the workers start beside the oracle.
            self.now = self._ask("progress")
        self.ended_at_death = len(self.now["ended"])
        self.idle_deaths = 0  # Of processes without a trial, one after another.

    def run(self) -> dict[str, Any]:
        """Run all trials; return what the oracle's progress is at the end."""
        self._fill()
        report = self.service.progress.remote()
        while self.running:
            done, _ = self.ray.wait([*self.running, report], timeout=POLL_S)
            if report in done:
                self.now = self._get(report)
                self.progress.update(self.now)
                self.ray.wait(list(self.running), timeout=POLL_S)
                report = self.service.progress.remote()
            for reference in set(done) & set(self.running):
                self._end(reference)
                self.now = self._ask("progress")
            self._fill()
        self.progress.update(self.now)
        return self.now

    def _plan(self) -> tuple[Share, int]:
        """Return a trial's share, and how many trials there may be at once."""
        settings = self.settings
        if settings.address is None:
            gpus = self.ray.cluster_resources().get("GPU", 0)
            share, workers = local_share(
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
            self.progress.line(f"{workers} worker(s), each with {share}")
            return share, workers
        machines = [n["Resources"] for n in self.ray.nodes() if n["Alive"]]
        share = cluster_share(
            settings.cpus_per_trial, settings.gpus_per_trial, machines
        )
        places = sum(map(share.fits, machines))
        self.progress.line(
            f"{len(machines)} node(s) at {settings.address}, room for {places} "
            f"worker(s), each with {share}"
            + ("" if places else "; waiting for a node that has it")
        )
        # Tasks that wait make a cluster grow, where it does so by itself.
        return share, settings.workers or settings.total_trials

    def _fill(self) -> None:
        """Keep as many tasks in flight as there may be trials at once."""
        left = self.now["total"] - len(self.now["ended"])
        while len(self.running) < min(self.most, left) and self._may_start():
            taken = {name for name, _ in self.running.values()}
            names = (f"worker-{number}" for number in itertools.count())
            self._start(next(name for name in names if name not in taken))

    def _may_start(self) -> bool:
        if self.now["halted"] or self.now["has_failed"]:
            return False
        # What a task was told may be old: by now another's trial may have ended.
        waits = len(self.now["ended"]) <= self.waits_at
        return bool(self.now["waiting"]) or not (waits or self.is_done)

    def _start(self, name: str) -> None:
        options = self.share.options()
        if self.left_out:
            others = f"!in({','.join(self.left_out)})"
            options["label_selector"] = {"ray.io/node-id": others}
        # Ray would run a task that died again after all that are in the queue.
        task = self.task.options(max_retries=0, **options)
        reference = task.remote(self.run_argument, name, *self.arguments)
        self.running[reference] = name, len(self.now["ended"])

    def _end(self, reference: Any) -> None:
        """Act on the end of a task; after it, its name has no trial."""
        name, ended_before = self.running.pop(reference)
        answer = None
        try:
            answer = self._get(reference)
        except NodeError as error:
            self._leave_out(error)
        except self.ray.exceptions.NodeDiedError:
            pass  # Not the trial's fault.
        except self.ray.exceptions.RayError as error:
            self._died(name, error)
            return
        self._ask("call", "lost", name, None)
        if answer is None:
            self.waits_at = -1
        elif answer == "wait":
            self.waits_at = max(self.waits_at, ended_before)
        elif answer == "done":
            self.is_done = True

    def _died(self, name: str, error: Exception) -> None:
        """Have a task's trial run again, or fail; fail the search, if it has none."""
        had_one = self._ask("call", "lost", name, str(error))
        ended = len(self._ask("progress")["ended"])
        # A process that ends because its trial hangs has none any more.
        if had_one or ended > self.ended_at_death:
            self.ended_at_death, self.idle_deaths = ended, 0
            return
        self.idle_deaths += 1
        if self.idle_deaths <= RESTARTS:
            return
        message = f"A worker ended before it had a trial: {error}"
        if not self.running:
            raise WorkerError(message) from error
        # Others run; this one's node may be at fault, or short of memory.
        self.progress.line(message)
        self.waits_at = ended

    def _leave_out(self, error: NodeError) -> None:
        """Continue without a node that came late and cannot run a trial."""
        if error.node in self.first_nodes:
            raise error
        if error.node not in self.left_out:
            self.left_out.append(error.node)
            self.progress.line(f"A node that joined is left out. {error}")

    def _ask(self, method: str, *args: Any) -> Any:
        return self._get(getattr(self.service, method).remote(*args))

    def _get(self, reference: Any) -> Any:
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, (NodeError, StoreError)):
                raise error.cause from None
            raise
