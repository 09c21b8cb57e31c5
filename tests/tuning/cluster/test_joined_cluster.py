"""A search on a Ray cluster that runs already, whose nodes leave and join."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
from ray_cluster import LOOPBACK, NODE, cluster_of_one
from search_process import NETS, ROOT, finish, rows_of, start, statuses, wait_for
from tuning.store.directory import Store

from tuning.cluster.token import read_again

OPTIONS = ["--directory", "s", "--model", "nets:Slow", "--epochs", 2]
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


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    """Keep Ray on the loopback address, and have a model to search."""
    for name, value in LOOPBACK.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "nets.py").write_text(NETS)


@pytest.fixture
def token(monkeypatch):
    """Return variables with which Ray demands a token; a cluster that starts has it."""
    variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    with monkeypatch.context() as context:
        for name, value in variables.items():
            context.setenv(name, value)
        read_again()
        yield variables
    read_again()


@pytest.fixture
def cluster():
    """Return a running cluster of one node with one core."""
    with cluster_of_one() as cluster:
        yield cluster


def workers_of(node):
    """Return the processes that run trials on a node."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return [
        child
        for child in raylet.children(recursive=True)
        if "ray::run_worker" in " ".join(child.cmdline())
    ]


def wait_until_left(node):
    """Wait until no process runs trials on a node any more."""
    gone = time.monotonic() + 10
    while workers_of(node):
        assert time.monotonic() < gone
        time.sleep(0.1)


def begun(folder):
    """Return the trials that have ended an epoch and not their last."""
    store = Store(folder / "s")
    return [
        trial
        for trial in store.trial_ids()
        if (store.checkpoint_folder(trial) / "state.json").exists()
    ]


def test_nodes_leave_and_join(token, cluster, tmp_path):
    """A node that is lost costs no trial, one that joins gets a worker.

    The cluster demands a token, which the search takes from its surroundings, and
    runs on after it.
    """
    node = cluster.add_node(**NODE)
    process = start(
        tmp_path,
        *(*OPTIONS, "--trials", 8, "--address", cluster.address),
        **token,
        **LOOPBACK,
    )
    try:
        wait_for(lambda: workers_of(node) and len(begun(tmp_path)) == 2, process)
        at_work = set(begun(tmp_path))
        cluster.remove_node(node, allow_graceful=False)
        ended = [s for s in statuses(tmp_path).values() if s == "COMPLETED"]
        wait_for(
            lambda: list(statuses(tmp_path).values()).count("COMPLETED") > len(ended),
            process,
        )
        late = cluster.add_node(**NODE)
        wait_for(lambda: workers_of(late), process)
    finally:
        status, output, errors = finish(process)
    assert (status, errors) == (0, "")
    assert f"2 node(s) at {cluster.address}, room for 2 worker(s), each" in output
    rows = rows_of(tmp_path)
    assert [row["trial"] for row in rows] == [str(number) for number in range(8)]
    assert {row["status"] for row in rows} == {"COMPLETED"}
    assert {row["notes"] for row in rows} == {""}
    shown = re.findall(r"^trial (\d)  completed", output, re.MULTILINE)
    assert sorted(shown) == [row["trial"] for row in rows]
    # The lost node's trial was not left to the end: another worker took it up.
    assert at_work <= set(shown[:6])
    assert cluster.head_node.all_processes["raylet"][0].process.poll() is None
    wait_until_left(cluster.head_node)


def test_a_node_lost_at_the_end_costs_no_trial(cluster, tmp_path):
    """A trial whose node is lost when all others have ended is run elsewhere."""
    node = cluster.add_node(**NODE)
    process = start(
        *(tmp_path, *OPTIONS, "--trials", 2, "--address", cluster.address), **LOOPBACK
    )
    try:
        wait_for(lambda: workers_of(node) and len(begun(tmp_path)) == 2, process)
        # The search hears of both at once: that a node is gone, and that all began.
        process.send_signal(signal.SIGSTOP)
        cluster.remove_node(node, allow_graceful=False)
        wait_for(lambda: "COMPLETED" in statuses(tmp_path).values(), process)
        time.sleep(2)
        process.send_signal(signal.SIGCONT)
    finally:
        status, _, errors = finish(process)
    assert (status, errors) == (0, "")
    assert statuses(tmp_path) == {"0": "COMPLETED", "1": "COMPLETED"}


def test_ctrl_c_leaves_a_cluster_as_it_was(cluster, tmp_path):
    """Ctrl-C ends a search's processes on the cluster, and nothing else there."""
    process = start(tmp_path, *OPTIONS, "--address", cluster.address, **LOOPBACK)
    try:
        wait_for(lambda: "RUNNING" in statuses(tmp_path).values(), process)
        os.killpg(process.pid, signal.SIGINT)
    finally:
        status, output, errors = finish(process, timeout=60)
    assert (status, errors) == (130, "")
    assert "the same command resumes" in output
    wait_until_left(cluster.head_node)
    assert cluster.head_node.all_processes["raylet"][0].process.poll() is None


@pytest.mark.parametrize("address", ["127.0.0.1:1", "auto"])
def test_says_that_there_is_no_cluster(tmp_path, address):
    """An address where no Ray listens is told within seconds; nothing is left."""
    begin = time.monotonic()
    process = start(tmp_path, "--address", address, "--directory", "s")
    status, _, errors = finish(process)
    assert status == 1
    assert "address must be that of a running Ray cluster" in errors
    assert f"received address='{address}'" in errors
    assert len(errors.splitlines()) == 1
    assert not (tmp_path / "s").exists()
    assert time.monotonic() - begin < 60  # Ray itself would try for minutes.


@pytest.mark.parametrize(
    ("hidden", "reason"),
    [
        ("s", "The search directory must be one that all nodes .* does not see it."),
        ("models", "A node must have what a worker needs.* No module named 'hidden'"),
    ],
)
def test_says_which_node_cannot_run_a_worker(cluster, tmp_path, hidden, reason):
    """A search needs nodes that see its directory and have its model's module.

    It leaves out those that join without.
    """
    for name in ("s", "models"):
        (tmp_path / name).mkdir()
    (tmp_path / "models" / "hidden.py").write_text(NETS)
    options = ["--directory", "s", "--model", "hidden:Slow", "--epochs", 2]
    options += ["--address", cluster.address]
    path = f"{ROOT}:{tmp_path / 'models'}"
    variables = {**LOOPBACK, "PYTHONPATH": path}
    process = start(tmp_path, *options, "--trials", 4, **variables)
    wait_for(lambda: "RUNNING" in statuses(tmp_path).values(), process)
    blind = subprocess.Popen(
        [
            *("unshare", "--mount", *(["--map-root-user"] if os.getuid() else [])),
            *(
                sys.executable,
                "-c",
                BLIND_NODE,
                cluster.address,
                str(tmp_path / hidden),
            ),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert blind.stdout.readline() == "begun\n"
        status, output, errors = finish(process)
        assert (status, errors) == (0, "")
        left_out = re.findall(
            f"^A node that joined is left out. {reason}", output, re.MULTILINE
        )
        assert len(left_out) == 1
        assert {row["status"] for row in rows_of(tmp_path)} == {"COMPLETED"}
        before = (tmp_path / "s" / "results.csv").read_bytes()
        process = start(tmp_path, *options, "--trials", 6, **variables)
        status, output, errors = finish(process)
        assert status == 1
        assert re.match(f"NodeError: {reason}", errors)
        assert len(errors.splitlines()) == 1
        assert (tmp_path / "s" / "results.csv").read_bytes()[:99] == before[:99]
    finally:
        finish(process)
        blind.communicate(timeout=60)
