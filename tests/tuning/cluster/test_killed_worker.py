"""A search on Ray whose worker and whose oracle are killed: the default run's one."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest
from search_process import (
    check_complete,
    descendants,
    finish,
    kill,
    rows_of,
    start,
    statuses,
    wait_for,
)

from tuning import SearchSettings, run_search
from tuning.store.layout import Store
from tuning.store.results import read_results
from tuning.trial import checkpoints

pytestmark = [
    # KerasTuner calls threading.currentThread().getName().
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]
TRIALS, EPOCHS, BATCHES = 4, 3, 12
OPTIONS = ["--directory", "s", "--model", "small_nets:Slow", "--workers", 2]
OPTIONS += ["--trials", TRIALS, "--epochs", EPOCHS]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Return a search whose worker and whose oracle are killed while trials run."""
    folder = tmp_path_factory.mktemp("killed")
    for name in ("steps", "pids"):
        (folder / name).touch()
    process = start(folder, *OPTIONS)
    store, seen = Store(folder / "s"), {}
    try:
        wait_for(store.checkpoint_file("0").exists, process)
        seen["addresses"] = {
            connection.laddr.ip
            for child in [psutil.Process(process.pid), *descendants(process)]
            for connection in child.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        seen["worker"] = kill(process, "ray::run_trial")
        wait_for(lambda: "COMPLETED" in statuses(folder).values(), process)
        seen["oracle"] = kill(process, "ray::OracleService")
    finally:
        seen["pid"], seen["done"] = process.pid, finish(process)
    return folder, seen


def test_killed_processes_cost_no_trial(killed):
    """With a worker and the oracle killed in mid-trial, all trials end, each once.

    Not a line more reaches the terminal.
    """
    folder, seen = killed
    status, output, errors = seen["done"]
    assert (status, errors) == (0, "")
    check_complete(folder, TRIALS)
    ended = re.findall(r"^trial (\d)  completed", output, re.MULTILINE)
    assert sorted(ended) == [str(number) for number in range(TRIALS)]
    first = output.split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in first] == ["random", "2", *["trial"] * TRIALS]


def test_a_killed_worker_resumes_within_its_trial(killed, tmp_path, monkeypatch):
    """All scores are an undisturbed search's; at most an epoch is trained again."""
    folder, _ = killed
    monkeypatch.chdir(tmp_path)
    Path("steps").touch()
    model = "small_nets:Slow"
    settings = SearchSettings(
        directory="s", model=model, trials=TRIALS, epochs=EPOCHS, workers=0
    )
    import small_nets

    monkeypatch.setattr(small_nets.Slow, "pause_s", 0.0)
    # Afterwards it is what it was; `Slow` changes it.
    monkeypatch.setattr(checkpoints, "MOST_TIME", checkpoints.MOST_TIME)
    run_search(settings)
    ours, theirs = (read_results(Store(of / "s")) for of in (tmp_path, folder))
    for here, there in zip(ours, theirs, strict=True):
        assert there["hyperparameters"] == here["hyperparameters"]
        # Tolerance: the promise; the processes may use other numbers of threads.
        assert there["score"] == pytest.approx(here["score"], abs=1e-5)
        for name, values in here["history"].items():
            assert there["history"][name] == pytest.approx(values, rel=1e-4)
    whole, killed_ = (
        len((of / "steps").read_text().splitlines()) for of in (tmp_path, folder)
    )
    assert whole == TRIALS * EPOCHS * BATCHES
    assert whole <= killed_ <= whole + BATCHES


def test_workers_keep_their_processes(killed):
    """Two workers run all trials in two processes, and one more for the killed one."""
    folder, seen = killed
    lines = [line.split() for line in (folder / "pids").read_text().splitlines()]
    workers = {pid for pid, _ in lines if int(pid) != seen["pid"]}
    assert len(workers) == 3
    assert str(seen["worker"]) in workers


def test_ray_listens_on_this_machine_alone(killed):
    """No process of a search listens on an address that others can reach."""
    _, seen = killed
    assert seen["addresses"]
    for address in seen["addresses"]:
        assert address.removeprefix("::ffff:") in ("127.0.0.1", "::1")


def test_workers_share_one_search(killed):
    """Two workers run trials of a model from a module of the user's at once."""
    folder, seen = killed
    output = seen["done"][1]
    assert "random search of Slow on digits" in output
    best = max(rows_of(folder), key=lambda row: float(row["score"]))
    assert f"Best: trial {best['trial']} with val_accuracy" in output
    assert (folder / "s" / "best" / "model.keras").exists()
