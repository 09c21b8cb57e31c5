"""Trials per minute with two single-core workers on two nodes, against one worker's.

From the repository's root, with nothing else running:

    python -m tests.benchmarks.throughput [--trials 8] [--epochs 20] [--repeats 3]

Both nodes are on this machine. What two processes that train without a search reach
against one is printed beside it: about the most that a search can reach here, well
below 2 if the cores slow each other. With that taken out, the throughput is what it
would be if two workers' trainings took as long as one worker's.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from tests.benchmarks.timed_model import LOG, MODEL, training_seconds
from tests.benchmarks.timed_search import Load, bare_seconds, search_seconds
from tests.helpers.ray_cluster import LOOPBACK, NODE, cluster_of_one
from tuning.cluster.resources import num_cores
from tuning.store.layout import Store
from tuning.store.results import read_results


def main() -> None:
    """Measure, and print a line per measurement and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=8, help="of a search; even")
    parser.add_argument("--epochs", type=int, default=20, help="of a trial")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    load = Load(options.trials, options.epochs)
    print(f"{num_cores()} core(s), load {os.getloadavg()[0]:.1f}; {load}", flush=True)
    searches, bare, alike = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        os.environ.update({**LOOPBACK, LOG: str(log)})
        with cluster_of_one() as cluster:
            cluster.add_node(**NODE)
            for repeat in range(options.repeats):
                seconds, training = {}, {}
                for workers in (1, 2):
                    directory = Path(folder, f"{workers}-{repeat}")
                    seconds[workers] = search_seconds(
                        directory, load, workers, cluster.address, MODEL
                    )
                    training[workers] = training_seconds(log, load.trials)
                searches.append(seconds[1] / seconds[2])
                slowed = (training[2] - training[1]) / 2  # Of each worker's time.
                alike.append(seconds[1] / (seconds[2] - slowed))
                points = points_of(Path(folder, f"1-{repeat}"), load.trials // 2)
                alone, beside = (bare_seconds(points, load.epochs, n) for n in (1, 2))
                bare.append(2 * alone / beside)
                print(
                    f"search: {seconds[1]:.1f} s with 1 worker, {seconds[2]:.1f} s "
                    f"with 2, {searches[-1]:.2f} times the throughput; without a "
                    f"search {bare[-1]:.2f}; training took {training[1]:.1f} s and "
                    f"{training[2]:.1f} s: with the difference taken out "
                    f"{alike[-1]:.2f}",
                    flush=True,
                )
    print(
        f"median: {statistics.median(searches):.2f} times the throughput of one "
        f"worker; without a search {statistics.median(bare):.2f}; with slower training "
        f"taken out {statistics.median(alike):.2f}"
    )


def points_of(directory: Path, count: int) -> list[dict]:
    """Return the values of a search's first trials."""
    rows = read_results(Store(directory))
    return [row["hyperparameters"] for row in rows[:count]]


if __name__ == "__main__":
    main()
