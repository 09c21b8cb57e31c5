"""A search on a Ray cluster that runs already, whose nodes leave and join."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time

import pytest
from ray_cluster import (
    LOOPBACK,
    NODE,
    TOKEN,
    blind_node,
    cluster_of_one,
    is_alive,
    workers_of,
)
from search_process import ROOT, finish, rows_of, start, statuses, wait_for

from tuning import SearchSettings, run_search
from tuning.cluster.session import WorkerError
from tuning.store.layout import Store

OPTIONS = ["--directory", "s", "--model", "small_nets:Slow", "--epochs", 2]
SURROUNDINGS = {**LOOPBACK, **TOKEN}
REASONS = (
    r"The search directory must be one that all nodes .* does not see it\.",
    "A node must have what a worker needs.* No module named 'hidden'",
)


@pytest.fixture(scope="module")
def cluster():
    """Return a running cluster of one node with one core, which demands a token."""
    with cluster_of_one(SURROUNDINGS) as cluster:
        yield cluster


def search(cluster, folder, *options, **others):
    """Start a search on a cluster, whose token it takes from its surroundings."""
    arguments = [*OPTIONS, "--address", cluster.address, *options]
    return start(folder, *arguments, **{**SURROUNDINGS, **others})


def wait_until_left(node):
    """Wait until no process runs trials on a node any more."""
    end = time.monotonic() + 120
    while workers_of(node):
        assert time.monotonic() < end
        time.sleep(0.1)


def begun(folder):
    """Return the trials that have ended an epoch and not their last."""
    store = Store(folder / "s")
    return [t for t in store.trial_ids() if store.checkpoint_file(t).exists()]


@pytest.mark.cluster
def test_nodes_leave_and_join(cluster, tmp_path):
    """A node that is lost costs no trial, one that joins gets a worker.

    The cluster runs on after the search. Of the lost node, not a line is printed.
    """
    node = cluster.add_node(**NODE)
    options = ("--model", "small_nets:Gated", "--trials", 5)
    process = search(cluster, tmp_path, *options)
    try:
        wait_for(lambda: workers_of(node) and len(begun(tmp_path)) == 2, process)
        at_work = set(begun(tmp_path))
        cluster.remove_node(node, allow_graceful=False)
        late = cluster.add_node(**NODE)
        wait_for(lambda: workers_of(late) and at_work == set(begun(tmp_path)), process)
        # No more than there are cores: a task keeps its own while it waits.
        assert len(statuses(tmp_path)) == 2
        (tmp_path / "go").touch()
    finally:
        status, output, errors = finish(process)
    cluster.remove_node(late)
    assert (status, errors) == (0, "")
    assert f"2 node(s) at {cluster.address}, room for 2 worker(s), each" in output
    rows = rows_of(tmp_path)
    assert [row["trial"] for row in rows] == [str(number) for number in range(5)]
    assert {row["status"] for row in rows} == {"COMPLETED"}
    assert {row["notes"] for row in rows} == {""}
    first = output.split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in first] == ["random", "2", *["trial"] * 5]
    shown = re.findall(r"^trial (\d)  completed", output, re.MULTILINE)
    assert sorted(shown) == [row["trial"] for row in rows]
    # Ray runs the lost node's task again after those that wait already.
    assert is_alive(cluster.head_node)
    wait_until_left(cluster.head_node)


@pytest.mark.cluster
def test_a_node_lost_at_the_end_costs_no_trial(cluster, tmp_path):
    """A trial whose node is lost when all others have ended is run elsewhere.

    The search, which was stopped, hears of both at once.
    """
    node = cluster.add_node(**NODE)
    process = search(cluster, tmp_path, "--model", "small_nets:Gated", "--trials", 2)
    try:
        wait_for(lambda: workers_of(node) and len(begun(tmp_path)) == 2, process)
        process.send_signal(signal.SIGSTOP)
        cluster.remove_node(node, allow_graceful=False)
        (tmp_path / "go").touch()
        wait_for(lambda: "COMPLETED" in statuses(tmp_path).values(), process)
        process.send_signal(signal.SIGCONT)
    finally:
        status, _, errors = finish(process)
    assert (status, errors) == (0, "")
    assert statuses(tmp_path) == {"0": "COMPLETED", "1": "COMPLETED"}


@pytest.mark.cluster
def test_ctrl_c_leaves_a_cluster_as_it_was(cluster, tmp_path):
    """Ctrl-C ends a search's processes on the cluster, and nothing else there."""
    process = search(cluster, tmp_path)
    try:
        wait_for(lambda: "RUNNING" in statuses(tmp_path).values(), process)
        os.killpg(process.pid, signal.SIGINT)
    finally:
        status, output, errors = finish(process)
    assert (status, errors) == (130, "")
    assert "the same command resumes" in output
    wait_until_left(cluster.head_node)
    assert is_alive(cluster.head_node)


@pytest.mark.cluster
def test_says_which_node_cannot_run_a_trial(cluster, tmp_path):
    """A search needs nodes that see its directory and have its model's module.

    It leaves out those that join without; with them from the beginning it is refused.
    """
    for name in ("s", "models"):
        (tmp_path / name).mkdir()
    model = (
        "import keras\nfrom small_nets import Gated\n\n"
        '@keras.saving.register_keras_serializable("hidden")\n'
        "class Hidden(Gated): pass\n"
    )
    (tmp_path / "models" / "hidden.py").write_text(model)
    path = f"{ROOT}:{ROOT / 'tests' / 'helpers'}:{tmp_path / 'models'}"
    options = {"PYTHONPATH": path}
    log = tmp_path / "log"
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(log.open("w"))
        arguments = ("--model", "hidden:Hidden", "--trials")
        process = search(cluster, tmp_path, *arguments, 4, stdout=stream, **options)
        stack.callback(finish, process)
        wait_for(lambda: begun(tmp_path), process)
        for name in ("s", "models"):
            stack.enter_context(blind_node(cluster, tmp_path / name))
        wait_for(lambda: log.read_text().count(" is left out. ") == 2, process)
        (tmp_path / "go").touch()
        status, _, errors = finish(process)
        assert (status, errors) == (0, "")
        for reason in REASONS:
            found = f"^A node that joined is left out. {reason}"
            assert len(re.findall(found, log.read_text(), re.MULTILINE)) == 1
        assert {row["status"] for row in rows_of(tmp_path)} == {"COMPLETED"}
        before = (tmp_path / "s" / "results.csv").read_bytes()
        process = search(cluster, tmp_path, *arguments, 8, **options)
        status, _, errors = finish(process)
        assert status == 1
        assert re.match(f"NodeError: ({'|'.join(REASONS)})", errors)
        assert len(errors.splitlines()) == 1
        rows = rows_of(tmp_path)
        assert [row["trial"] for row in rows[:4]] == ["0", "1", "2", "3"]
        assert (tmp_path / "s" / "results.csv").read_bytes().startswith(before)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "auto"])
def test_says_that_there_is_no_cluster(monkeypatch, tmp_path, address):
    """An address where no Ray listens is an error; Ray itself would try for minutes."""
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    shown = re.escape(repr(address))
    message = f"must be that of a running Ray cluster .* received address={shown}"
    with pytest.raises(WorkerError, match=message):
        run_search(SearchSettings(directory=tmp_path / "s", address=address))
    assert not (tmp_path / "s").exists()
