"""Ray: the oracle's actor, and workers that ask it for trials."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import resource
import shutil
import signal
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tuning.progress import Progress
from tuning.ray_token import private_token
from tuning.settings import DataFacts, SearchSettings
from tuning.store import Store

if TYPE_CHECKING:
    from alexnet.data import ImageData

# What a process that trains a small network takes, with room to spare.
WORKER_MEMORY_BYTES = 1_500_000_000
# Ray wants 75 MB at least.
SPARE_STORE_BYTES = 200_000_000
WORKER_RESTARTS = 3
POLL_S = 0.5
STOP_S = 2.0


class WorkerError(RuntimeError):
    """A worker cannot run, whatever the trial."""


class OracleService:
    """The oracle of a search, as a Ray actor.

    Ray starts it again if it dies; it goes on from the directory's state.
    """

    def __init__(self, settings: SearchSettings, facts: DataFacts, run: str) -> None:
        from tuning.hypermodel import make_hypermodel
        from tuning.oracles import make_oracle

        hypermodel = make_hypermodel(settings, facts)
        store = Store(settings.directory or "")
        self.messages: list[str] = []
        self.membership = contextlib.ExitStack()  # Until this process ends.
        self.membership.enter_context(store.joined())
        self.oracle = make_oracle(settings, hypermodel, store, self.messages.append)
        self.oracle.begin(run)

    def call(self, method: str, *args: Any) -> Any:
        """Call a method of the oracle."""
        return getattr(self.oracle, method)(*args)

    def progress(self) -> dict[str, Any]:
        """Return the oracle's progress, and what it found damaged."""
        return {**self.oracle.progress(), "messages": self.messages}


def run_worker(
    settings: SearchSettings,
    facts: DataFacts,
    name: str,
    threads: int,
    service: Any,
    boxed_data: list[Any],
) -> bool:
    """Run trials in this process, a Ray task, until the oracle has no more.

    With `settings.isolate_trials`, run one.

    Args:
        settings: Of the search.
        facts: Of the images.
        name: Of the worker. A task that Ray runs again has its name again, and
            with it the trial that it was at.
        threads: Size of the thread pools.
        service: Handle of the `OracleService`.
        boxed_data: A list with the reference of the `ImageData`. In a list, Ray
            does not unpack it, which imports TensorFlow, before the thread
            pools are set.

    Returns:
        Whether there may be more trials.
    """
    set_threads(threads)
    import ray

    from tuning.hypermodel import make_hypermodel
    from tuning.remote import RemoteOracle
    from tuning.tuner import TrialTuner

    oracle = RemoteOracle(
        lambda method, *args: ray.get(service.call.remote(method, *args)),
        settings.objective,
        most_trials=1 if settings.isolate_trials else None,
    )
    store = Store(settings.directory or "")
    tuner = TrialTuner(
        oracle,
        make_hypermodel(settings, facts),
        store,
        settings,
        name,
        owns_process=True,
    )
    with store.joined():
        tuner.run(ray.get(boxed_data[0]))
    return oracle.has_more


def run_on_ray(
    settings: SearchSettings,
    facts: DataFacts,
    data: ImageData,
    progress: Progress,
) -> dict[str, Any]:
    """Run a search on a Ray of its own on this machine.

    Args:
        settings: Of the search.
        facts: Of the images.
        data: The images.
        progress: Shows how the search goes.

    Returns:
        What `DurableOracle.progress` says at the end.

    Raises:
        WorkerError: A worker ended before it had a trial, or the oracle cannot be
            started again.
    """
    settings = dataclasses.replace(
        settings, directory=str(Path(settings.directory or "").resolve())
    )
    with local_ray(data.x_train.nbytes + data.x_val.nbytes) as ray:
        resources = ray.cluster_resources()
        gpus = resources.get("GPU", 0)
        workers = settings.workers or default_workers(
            gpus, settings.gpus_per_trial, settings.total_trials
        )
        threads = max(1, num_cores() // workers)
        progress.line(
            f"{workers} worker(s), each with {threads} thread(s)"
            + (f" and {settings.gpus_per_trial:g} GPU" if gpus else "")
        )
        service = (
            ray.remote(OracleService)
            .options(num_cpus=0, max_restarts=-1, max_task_retries=-1)
            .remote(settings, facts, uuid.uuid4().hex)
        )
        # Ray ends a process after so many tasks; 0 is any number.
        task = ray.remote(max_calls=int(settings.isolate_trials))(run_worker).options(
            num_cpus=resources["CPU"] / workers,
            num_gpus=settings.gpus_per_trial if gpus else 0,
            max_retries=0,  # Below, a worker is started again per trial, not in all.
        )
        boxed_data = [ray.put(data)]

        running: dict[Any, str] = {}

        def start(name: str) -> None:
            reference = task.remote(settings, facts, name, threads, service, boxed_data)
            running[reference] = name

        for number in range(workers):
            start(f"worker-{number}")
        deaths: collections.Counter[tuple[str, str | None]] = collections.Counter()
        ended_before = len(ray.get(service.progress.remote())["ended"])
        report = service.progress.remote()
        while running:
            done, _ = ray.wait([*running, report], timeout=POLL_S)
            if report in done:
                progress.update(ray.get(report))
                ray.wait(list(running), timeout=POLL_S)
                report = service.progress.remote()
            for reference in set(done) & set(running):
                name = running.pop(reference)
                try:
                    if ray.get(reference):
                        start(name)
                except ray.exceptions.RayError as error:
                    at = name, ray.get(service.call.remote("trial_of", name))
                    deaths[at] += 1
                    died = not isinstance(error, ray.exceptions.RayTaskError)
                    if died and deaths[at] <= WORKER_RESTARTS:
                        start(name)
                        continue
                    had_one = ray.get(service.call.remote("abandon", name, str(error)))
                    ended = len(ray.get(service.progress.remote())["ended"])
                    # A worker that ends because its trial hangs has none any more.
                    if not had_one and ended == ended_before:
                        raise WorkerError(
                            f"A worker ended before it had a trial: {error}"
                        ) from error
                    ended_before = ended
                    start(name)
        last = ray.get(service.progress.remote())
        progress.update(last)
        return last


@contextlib.contextmanager
def local_ray(data_bytes: int = 0) -> Iterator[Any]:
    """Start Ray on the loopback address; stop it and remove its files at the end.

    It takes only those who have its token, made for this search.

    Args:
        data_bytes: What its store has to hold at least.

    Raises:
        WorkerError: Ray cannot start, or raised an error in the meantime.
    """
    # Without this, Ray on Linux listens on all of the machine's addresses.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Keep Ray from hiding a GPU from tasks that hold none, and from saying so.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    # Ray's sockets need a short path.
    folder = tempfile.mkdtemp(prefix="alexnet-", dir="/tmp")
    try:
        with private_token(Path(folder, "token")):
            try:
                _start_ray(ray, data_bytes, folder)
                yield ray
            except ray.exceptions.RayError as error:
                raise WorkerError(f"The search could not go on: {error}") from error
            finally:
                with _own_handler(signal.SIGINT, signal.SIG_IGN):  # A second Ctrl-C.
                    _stop_ray(ray)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start_ray(ray: Any, data_bytes: int, folder: str) -> None:
    store_bytes = 2 * data_bytes + SPARE_STORE_BYTES
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if resource.RLIM_INFINITY != limit < store_bytes:  # Ray would wait in vain.
        raise WorkerError(
            f"Ray must be able to write a file of {store_bytes:,} bytes; received a "
            f"limit of {limit:,} bytes (ulimit -f). Raise it, or go without Ray: "
            "workers=0."
        )
    with _own_handler(signal.SIGTERM):  # Ray puts its own in its place.
        ray.init(
            address="local",  # Whatever RAY_ADDRESS says.
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            num_cpus=num_cores(),
            object_store_memory=store_bytes,
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
        )


@contextlib.contextmanager
def _own_handler(number: signal.Signals, meanwhile: Any = None) -> Iterator[None]:
    """Restore a signal's handler at the end; until then use `meanwhile`, if any."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Only the main thread may have handlers.
        return
    handler = signal.getsignal(number)
    try:
        if meanwhile is not None:
            signal.signal(number, meanwhile)
        yield
    finally:
        signal.signal(number, handler)


def _stop_ray(ray: Any) -> None:
    """Stop Ray and see to it that none of its processes is left."""
    started = psutil.Process().children(recursive=True)
    ray.shutdown()
    _, alive = psutil.wait_procs(started, timeout=STOP_S)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=STOP_S)


def default_workers(gpus: float, gpus_per_trial: float, trials: int) -> int:
    """Return one worker per share of a GPU or, without, what cores and memory carry."""
    if gpus:
        workers = int(gpus / gpus_per_trial + 1e-9)
    else:
        workers = min(num_cores(), free_memory() // WORKER_MEMORY_BYTES)
    return max(1, min(workers, trials))


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory() -> int:
    """Return the memory in bytes that new processes can have."""
    return psutil.virtual_memory().available


def set_threads(threads: int) -> None:
    """Size the thread pools of this process; before TensorFlow is imported."""
    for variable in (
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
        "OMP_NUM_THREADS",
    ):
        os.environ[variable] = str(threads)
    # Several processes share a GPU only if none takes all of its memory.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
