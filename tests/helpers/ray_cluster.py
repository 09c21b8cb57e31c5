"""Ray clusters of several nodes on this machine, on the loopback address."""

from __future__ import annotations

from contextlib import contextmanager

LOOPBACK = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.1"}


@contextmanager
def cluster_of_one(**resources):
    """Start a cluster of one node; the environment must hold `LOOPBACK`."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={**NODE, "include_dashboard": False, **resources},
    )
    try:
        yield cluster
    finally:
        cluster.shutdown()
