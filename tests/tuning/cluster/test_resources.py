"""What a worker holds, on this machine and on a cluster, and how many there are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tuning import SearchSettings
from tuning.cluster import resources
from tuning.cluster.resources import Share, check_cpus, cluster_share, local_share


@pytest.fixture
def machine(monkeypatch):
    """Stand in for a machine with 8 cores and 100 GB."""
    monkeypatch.setattr(resources, "num_cores", lambda: 8)
    monkeypatch.setattr(resources, "free_memory", lambda: 100_000_000_000)


@pytest.mark.parametrize(
    ("gpus", "share", "trials", "workers"),
    [
        (1, None, 9, 1),
        (4, 1.0, 9, 4),
        (1, 0.25, 9, 4),
        (2, 0.1, 99, 20),
        (2, 0.6, 99, 2),
        (4, 0.4, 99, 8),
        (8, 1.0, 3, 3),
        (4, 2, 9, 2),
        (3, 2.0, 9, 1),
    ],
)
def test_one_worker_per_share_of_a_gpu(machine, gpus, share, trials, workers):
    """With GPUs there is a worker per share, and none without a trial."""
    found, count = local_share(None, None, share, trials, gpus)
    assert count == workers
    assert found == Share(8 / workers, share or 1.0)


@pytest.mark.parametrize(
    ("workers", "cpus", "trials", "expected"),
    [
        (None, None, 99, (Share(1), 8)),
        (None, None, 2, (Share(4), 2)),
        (3, None, 99, (Share(8 / 3), 3)),
        (None, 3, 99, (Share(3), 2)),
        (1, 3, 99, (Share(3), 1)),
        (20, None, 99, (Share(0.4), 20)),
    ],
)
def test_workers_share_the_cores(machine, workers, cpus, trials, expected):
    """Without GPUs, cores are shared out, or each worker has as many as it needs."""
    assert local_share(workers, cpus, None, trials, 0) == expected


def test_memory_bounds_the_workers(machine, monkeypatch):
    """There are no more workers than memory carries, and at least one."""
    monkeypatch.setattr(resources, "free_memory", lambda: 3_100_000_000)
    assert local_share(None, None, None, 99, 0) == (Share(4), 2)
    monkeypatch.setattr(resources, "free_memory", lambda: 0)
    assert local_share(None, None, None, 99, 0) == (Share(8), 1)


# What a container of one CPU and 2 GB shows its programs, by version of cgroups.
CONTAINERS = {
    "v1": {
        "cpu/cpu.cfs_quota_us": 100_000,
        "cpu/cpu.cfs_period_us": 100_000,
        "memory/memory.limit_in_bytes": 2_000_000_000,
        "memory/memory.usage_in_bytes": 100_000_000,
        "memory/memory.stat": "total_inactive_file 0\ntotal_active_file 0",
    },
    "v2": {
        "cpu.max": "100000 100000",
        "memory.max": 2_000_000_000,
        "memory.current": 100_000_000,
        "memory.stat": "inactive_file 0\nactive_file 0",
        "cgroup.controllers": "cpu memory",
    },
}
SEEN = """
from tuning.cluster.resources import free_memory, local_share, num_cores
print(num_cores(), free_memory(), local_share(None, None, None, 12, 0)[1])
"""


@pytest.mark.parametrize("version", CONTAINERS)
def test_a_container_bounds_cores_and_memory(tmp_path, version):
    """In a container of one CPU and 2 GB there is one worker of 1.5 GB."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("mounting needs root")
    for name, content in CONTAINERS[version].items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{content}\n")
    # In a mount namespace of its own.
    script = f'mount --bind {tmp_path} /sys/fs/cgroup && exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, sys.executable, SEEN],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    cores, memory, workers = map(int, done.stdout.split())
    assert (cores, workers) == (1, 1)
    assert 1_000_000_000 < memory <= 1_900_000_000


def test_slurm_bounds_the_cores(monkeypatch):
    """A job that Slurm gave one CPU of many uses one."""
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "1")
    assert resources.num_cores() == 1


@pytest.mark.parametrize(("cpus", "workers"), [(9, None), (3, 3)])
def test_refuses_more_cores_than_the_machine_has(machine, cpus, workers):
    """Workers that ask for more cores than this machine has would never all run."""
    settings = SearchSettings(cpus_per_trial=cpus, workers=workers)
    message = f"at most the 8 cores .* cpus_per_trial={cpus} and workers={workers}"
    with pytest.raises(ValueError, match=message):
        check_cpus(settings)
    check_cpus(SearchSettings(cpus_per_trial=9, address="auto"))
    check_cpus(SearchSettings(cpus_per_trial=4, workers=2))


@pytest.mark.parametrize(
    ("cpus", "share", "gpus", "message"),
    [
        (None, 4, 2, "at most the 2 GPUs .* received gpus_per_trial=4"),
        (None, 2, 0, "at most the 0 GPUs .* received gpus_per_trial=2"),
    ],
)
def test_refuses_more_than_the_machine_has(machine, cpus, share, gpus, message):
    """A trial that asks for more than this machine has would never run."""
    with pytest.raises(ValueError, match=message):
        local_share(None, cpus, share, 9, gpus)


NODES = [
    {"CPU": 4.0, "memory": 8e9},
    {"CPU": 16.0, "GPU": 4.0, "memory": 64e9},
    {"CPU": 6.0, "GPU": 2.0, "memory": 2e9},
]


@pytest.mark.parametrize(
    ("cpus", "gpus", "nodes", "share", "places"),
    [
        (None, None, NODES, (3, 1.0), [0, 4, 1]),
        (None, 0.5, NODES, (1, 0.5), [0, 8, 1]),
        (None, 2, NODES, (6, 2), [0, 2, 1]),
        (8, 1, NODES, (8, 1), [0, 2, 0]),
        (None, None, NODES[:1], (1, 0.0), [4]),
        (None, 1, NODES[:1], (1, 1), [0]),
        (3, None, NODES[:1], (3, 0.0), [1]),
        (None, None, [], (1, 0.0), []),
    ],
)
def test_a_cluster_holds_as_many_workers_as_fit(cpus, gpus, nodes, share, places):
    """Each node carries workers by its CPUs, its GPUs and its memory."""
    found = cluster_share(cpus, gpus, nodes)
    assert (found.cpus, found.gpus) == share
    assert [found.fits(node) for node in nodes] == places


def test_a_part_of_no_gpu_is_none(machine):
    """On a machine without GPUs, trials run on its cores."""
    assert local_share(None, None, 0.25, 99, 0) == (Share(1), 8)


def test_ten_tenths_fit():
    """Fractions fill a GPU, whatever their last digit."""
    assert Share(0.1, 0.1).fits({"CPU": 1.0, "GPU": 1.0}) == 10


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux has affinity")
def test_cores_are_those_that_this_process_may_use():
    """Cores that `taskset` or a batch system keeps from a process do not count."""
    before = os.sched_getaffinity(0)
    assert resources.num_cores() == len(before)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert resources.num_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_cores_are_counted_without_affinity(monkeypatch):
    """Where a system has no affinity, all cores count."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert resources.num_cores() == os.cpu_count()


def test_free_memory_is_what_new_processes_can_have():
    """Free memory is in bytes, and counts what the system's caches would give back."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    amounts = {line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines}
    # Tolerance: other processes take and give memory meanwhile.
    slack = 0.05 * amounts["MemTotal"]
    assert resources.free_memory() == pytest.approx(amounts["MemAvailable"], abs=slack)
