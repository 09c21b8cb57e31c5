"""What a trial takes of a machine, and how many trials machines can run at once."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import psutil

from tuning.settings import SearchSettings

# What a process that trains a small network takes, with room to spare.
WORKER_MEMORY_BYTES = 1_500_000_000
EPSILON = 1e-9  # Ten times a tenth is a little less than one.


@dataclasses.dataclass(frozen=True)
class Share:
    """What Ray reserves for a worker.

    Attributes:
        cpus: Number of CPUs; a fraction if workers outnumber them.
        gpus: Number of GPUs; 0.25 packs four workers on one.
        memory: Bytes; 0 for no reservation.
    """

    cpus: float
    gpus: float = 0.0
    memory: int = 0

    @property
    def threads(self) -> int:
        """The size of a worker's thread pools."""
        return max(1, int(self.cpus))

    def options(self) -> dict[str, Any]:
        """Return the options of a Ray task that holds this share."""
        memory = {"memory": self.memory} if self.memory else {}
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, **memory}

    def fits(self, machine: dict[str, float]) -> int:
        """Return how many workers a machine can hold.

        Args:
            machine: Amounts by Ray's names: "CPU", "GPU", "memory".
        """
        needs = (("CPU", self.cpus), ("memory", self.memory))
        places = [
            int(machine.get(name, 0) / amount + EPSILON)
            for name, amount in needs
            if amount
        ]
        if self.gpus:
            places.append(shares_of(machine.get("GPU", 0), self.gpus))
        return min(places)

    def __str__(self) -> str:
        gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.threads} thread(s){gpus}"


def shares_of(gpus: float, share: float) -> int:
    """Return how many workers GPUs can hold; a part of one is of one GPU."""
    if share <= 1:
        return int(gpus) * int(1 / share + EPSILON)
    return int(gpus / share + EPSILON)


def check_cpus(settings: SearchSettings) -> None:
    """Check that this machine, if it is to run the trials, has the cores for them.

    Raises:
        ValueError: It has not.
    """
    cpus, cores = settings.cpus_per_trial, num_cores()
    if settings.address is not None or cpus is None:
        return
    needed = cpus * (settings.workers or 1)
    if needed > cores:
        raise ValueError(
            f"cpus_per_trial, times workers, must be at most the {cores} cores that "
            f"this process may use; received cpus_per_trial={cpus} and "
            f"workers={settings.workers}. Lower one of them."
        )


def local_share(
    workers: int | None,
    cpus_per_trial: int | None,
    gpus_per_trial: float | None,
    trials: int,
    gpus: float,
) -> tuple[Share, int]:
    """Return a worker's share of this machine, and the number of workers.

    Args:
        workers: As of `SearchSettings`.
        cpus_per_trial: As of `SearchSettings`; None shares the cores out.
        gpus_per_trial: As of `SearchSettings`.
        trials: Of the search; more workers than trials are of no use.
        gpus: GPUs of this machine.

    Raises:
        ValueError: A trial asks for more than the machine has.
    """
    cores = num_cores()
    if (gpus_per_trial or 0) > max(gpus, 1):  # Without any, trials run on CPUs.
        raise ValueError(
            f"gpus_per_trial must be at most the {gpus:g} GPUs of this machine; "
            f"received gpus_per_trial={gpus_per_trial}. Lower it."
        )
    share_of_gpu = (gpus_per_trial or 1.0) if gpus else 0.0
    if workers is None:
        if gpus:
            workers = shares_of(gpus, share_of_gpu)
        else:
            workers = min(cores, free_memory() // WORKER_MEMORY_BYTES)
        if cpus_per_trial is not None:
            workers = min(workers, cores // cpus_per_trial)
        workers = max(1, min(workers, trials))
    cpus = float(cpus_per_trial or cores / workers)
    return Share(cpus, share_of_gpu), workers


def cluster_share(
    cpus_per_trial: int | None,
    gpus_per_trial: float | None,
    machines: list[dict[str, float]],
) -> Share:
    """Return a worker's share of the machines of a cluster.

    Without `gpus_per_trial` it is one GPU if any machine has one; without
    `cpus_per_trial` as large a part of a machine's CPUs as of its GPUs, or one CPU.

    Args:
        cpus_per_trial, gpus_per_trial: As of `SearchSettings`.
        machines: Amounts by Ray's names, of each machine.
    """
    with_gpus = [machine for machine in machines if machine.get("GPU")]
    gpus = gpus_per_trial if gpus_per_trial is not None else float(bool(with_gpus))
    if cpus_per_trial is None:
        per_gpu = [machine.get("CPU", 0) / machine["GPU"] for machine in with_gpus]
        cpus_per_trial = max(1, int(gpus * min(per_gpu, default=1)))
    return Share(float(cpus_per_trial), gpus, WORKER_MEMORY_BYTES)


def num_cores() -> int:
    """Return the number of cores that this process may use.

    The least of what a container (cgroups, of which Ray knows), the affinity and Slurm
    allow.
    """
    from ray._private.utils import get_num_cpus

    bounds = [int(get_num_cpus(override_docker_cpu_warning=True))]
    if hasattr(os, "sched_getaffinity"):
        bounds.append(len(os.sched_getaffinity(0)))
    if (allotted := os.environ.get("SLURM_CPUS_ON_NODE", "")).isdecimal():
        bounds.append(int(allotted))
    return max(1, min(bounds))


def free_memory() -> int:
    """Return the memory in bytes that new processes can have, also in a container."""
    from ray._private.utils import estimate_available_memory

    return min(estimate_available_memory(), psutil.virtual_memory().available)


def set_threads(threads: int) -> None:
    """Size the thread pools of this process; before TensorFlow is imported."""
    for variable in (
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
        "OMP_NUM_THREADS",
    ):
        os.environ[variable] = str(threads)


def share_gpus() -> None:
    """Let other processes use this one's GPUs; before TensorFlow is imported.

    Several processes share a GPU only if none takes all of its memory.
    """
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def hide_gpus() -> None:
    """Keep this process from using any GPU; before TensorFlow is imported."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["JAX_PLATFORMS"] = "cpu"
