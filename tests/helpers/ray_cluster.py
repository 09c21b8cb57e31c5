"""Ray clusters of several nodes on this machine, on the loopback address."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager

import psutil

from tuning.cluster.session import read_again, variables

LOOPBACK = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.1"}
# A node whose file systems are its own, with nothing at a path.
BLIND_NODE = """
import subprocess, sys, types
from ray.cluster_utils import Cluster

subprocess.run(["mount", "-t", "tmpfs", "tmpfs", sys.argv[2]], check=True)
cluster = Cluster()
cluster.head_node = types.SimpleNamespace(gcs_address=sys.argv[1])
cluster.redis_address = sys.argv[1]
node = cluster.add_node(wait=False, num_cpus=1, node_ip_address="127.0.0.1")
print("begun", flush=True)
sys.stdin.read()
cluster.head_node = None
node.kill_all_processes(check_alive=False, allow_graceful=False)
"""


@contextmanager
def cluster_of_one(surroundings=LOOPBACK, **resources):
    """Start a cluster of one node.

    Args:
        surroundings: Variables of its environment, while it lasts.
        resources: Of the node.
    """
    with variables(surroundings):
        read_again()
        from ray.cluster_utils import Cluster

        cluster = Cluster(
            initialize_head=True,
            head_node_args={**NODE, "include_dashboard": False, **resources},
        )
        try:
            yield cluster
        finally:
            cluster.shutdown()
    read_again()


@contextmanager
def blind_node(cluster, path):
    """Join a node to a cluster that sees nothing at a path."""
    program = [sys.executable, "-c", BLIND_NODE, cluster.address, str(path)]
    process = subprocess.Popen(
        [
            *("unshare", "--mount", *(["--map-root-user"] if os.getuid() else [])),
            *program,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "begun\n"
        yield
    finally:
        process.communicate(timeout=60)


def workers_of(node):
    """Return the processes that run trials on a node."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return [
        child
        for child in raylet.children(recursive=True)
        if "ray::run_trial" in " ".join(child.cmdline())
    ]


def is_alive(node):
    """Return whether a node's own process runs."""
    return node.all_processes["raylet"][0].process.poll() is None
