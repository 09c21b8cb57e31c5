"""Ray, started for one search on this machine, or joined where it runs already."""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

import psutil

from tuning.cluster.resources import num_cores
from tuning.store.files import write_bytes
from tuning.store.layout import Store

# Ray wants 75 MB at least.
SPARE_STORE_BYTES = 200_000_000
STOP_S = 2.0
CONNECT_S = 10.0
TOKEN_BYTES = 32
_ANY: dict[str, str | None] = {
    # Of what the terminal shows; Ray prints there what happens to its processes.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
}
_LOCAL: dict[str, str | None] = {
    **_ANY,
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": None,
    # Without this, Ray on Linux listens on all of the machine's addresses.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Keep Ray from hiding a GPU from tasks that hold none, and from saying so.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# Of any Ray that a search uses.
_QUIET = {"log_to_driver": False, "logging_level": "ERROR"}


class WorkerError(RuntimeError):
    """Ray, or a worker, cannot run, whatever the trial."""


@contextlib.contextmanager
def local_ray(data_bytes: int = 0, store: Store | None = None) -> Iterator[Any]:
    """Start Ray on the loopback address; stop it and remove its files at the end.

    It takes only those who have its token, made for this search.

    Args:
        data_bytes: What its store has to hold at least.
        store: The search directory, which notes where Ray's files are: the next run
            removes them if this one is killed.

    Raises:
        WorkerError: Ray cannot start, or raised an error in the meantime.
    """
    ray = imported_ray()
    if ray.is_initialized():
        raise WorkerError(
            "A search starts a Ray of its own; received a process that has joined one "
            "already. Call ray.shutdown() first, or set address or workers=0."
        )
    before = set(psutil.Process().children(recursive=True))
    # Ray's sockets need a short path.
    folder = tempfile.mkdtemp(prefix="alexnet-", dir="/tmp")
    if store is not None:
        write_bytes(store.ray_file, folder.encode())
    try:
        own = {**_LOCAL, "RAY_AUTH_TOKEN_PATH": _write_token(f"{folder}/token")}
        with _configured(own):
            try:
                _start_ray(ray, 2 * data_bytes + SPARE_STORE_BYTES, folder)
                yield ray
            finally:
                # A second Ctrl-C.
                with _own_handler(signal.SIGINT, signal.SIG_IGN):
                    _stop_ray(ray, before)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if store is not None:
            store.ray_file.unlink(missing_ok=True)


def imported_ray() -> Any:
    """Return Ray, imported under the variables that it reads then."""
    with variables(_LOCAL):
        import ray
    return ray


def _write_token(file: str) -> str:
    """Make a token, which no command line and no environment holds; return its file."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secrets.token_hex(TOKEN_BYTES))
    return file


@contextlib.contextmanager
def _configured(values: dict[str, str | None]) -> Iterator[Any]:
    """Return Ray, which uses environment variables that are set for a while.

    Raises:
        WorkerError: Ray raised an error meanwhile.
    """
    try:
        with variables(values):
            import ray  # It reads some of them when it is imported.

            read_again()
            try:
                yield ray
            except ray.exceptions.RayError as error:
                raise WorkerError(f"The search cannot continue: {error}") from error
    finally:
        read_again()


def read_again() -> None:
    """Have Ray's core read the variables again, which it does once per process."""
    from ray import _raylet as core  # Without type annotations.

    core.Config.initialize("")  # type: ignore[attr-defined]
    core.AuthenticationTokenLoader.instance().reset_cache()  # type: ignore[attr-defined]


@contextlib.contextmanager
def variables(values: dict[str, str | None]) -> Iterator[None]:
    """Set environment variables for a while, or remove those that are None."""
    before = {name: os.environ.get(name) for name in values}
    try:
        _put(values)
        yield
    finally:
        _put(before)


def _put(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def _start_ray(ray: Any, store_bytes: int, folder: str) -> None:
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
            num_cpus=num_cores(),
            object_store_memory=store_bytes,
            _node_ip_address="127.0.0.1",
            # Ray opens its folder to everybody; ours, with the token, stays closed.
            _temp_dir=f"{folder}/ray",
            **_QUIET,
        )


@contextlib.contextmanager
def joined_ray(address: str) -> Iterator[Any]:
    """Join a Ray cluster; leave it at the end, with all that was started on it.

    Its token and certificates are those of the environment, as Ray documents.

    Args:
        address: "auto" for the cluster that this machine belongs to, or host:port.

    Raises:
        WorkerError: There is no such cluster, it does not let this process in, or
            Ray raised an error in the meantime.
    """
    _check_listening(address)
    with _configured(_ANY) as ray:
        try:
            try:
                with _own_handler(signal.SIGTERM):
                    ray.init(address=address, **_QUIET)
            except Exception as error:  # Whatever Ray raises: of four kinds so far.
                raise WorkerError(_no_cluster(address, error)) from error
            yield ray
        finally:
            with _own_handler(signal.SIGINT, signal.SIG_IGN):
                ray.shutdown()


def _check_listening(address: str) -> None:
    """Raise WorkerError if nothing listens there, which Ray finds in minutes."""
    where = os.environ.get("RAY_ADDRESS", "") if address == "auto" else address
    host, _, port = where.rpartition(":")
    if not port.isdecimal():
        return  # Ray itself looks for one on this machine.
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise WorkerError(_no_cluster(address, error)) from error


def _no_cluster(address: str, error: Exception) -> str:
    found = os.environ.get("RAY_ADDRESS") if address == "auto" else None
    shown = f"{address!r} (RAY_ADDRESS is {found!r})" if found else repr(address)
    return (
        "address must be that of a running Ray cluster to which this machine belongs; "
        f"received address={shown}: {str(error).strip().rstrip('.')}. Start one with "
        "`ray start --head`, join it from other machines with `ray start "
        "--address=...`, or leave address out."
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


def _stop_ray(ray: Any, before: set[psutil.Process]) -> None:
    """Stop Ray and see to it that none of its processes is left.

    Args:
        ray: The module.
        before: The processes below this one that are not Ray's.
    """
    started = set(psutil.Process().children(recursive=True)) - before
    ray.shutdown()
    _, alive = psutil.wait_procs(started, timeout=STOP_S)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=STOP_S)
