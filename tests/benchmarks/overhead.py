"""What a distributed search costs beyond the bare training of the same trials.

From the repository's root, with nothing else running:

    python -m tests.benchmarks.overhead [--trials 4] [--seconds 30] [--repeats 3]

One worker with one core runs trials of about so many seconds on a cluster of one
node; what they take beyond the training in them is what the search adds. Then the same
networks are trained for as many epochs by a process with one core that does nothing
else, twice: it shows whether training itself is slower in a search, and the two runs
how far the machine repeats itself.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from tests.benchmarks.throughput import points_of
from tests.benchmarks.timed_model import LOG, MODEL, training_seconds
from tests.benchmarks.timed_search import Load, bare_seconds, search_seconds
from tests.helpers.ray_cluster import LOOPBACK, cluster_of_one
from tuning.cluster.resources import num_cores


def main() -> None:
    """Measure, and print a line per measurement and the median."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=4, help="of a search")
    parser.add_argument("--seconds", type=float, default=30, help="of a trial")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    shares: dict[str, list[float]] = {"added": [], "inside": [], "again": []}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        os.environ.update({**LOOPBACK, LOG: str(log)})
        with cluster_of_one() as cluster:
            epochs = _epochs(Path(folder, "first"), options.seconds, cluster.address)
            load = Load(options.trials, epochs)
            cores, busy = num_cores(), os.getloadavg()[0]
            print(f"{cores} core(s), load {busy:.1f}; {load}", flush=True)
            for repeat in range(options.repeats):
                directory = Path(folder, str(repeat))
                search = search_seconds(directory, load, 1, cluster.address, MODEL)
                training = training_seconds(log, load.trials)
                points = points_of(directory, load.trials)
                bare, again = (bare_seconds(points, epochs, 1) for _ in range(2))
                shares["added"].append(search / training - 1)
                shares["inside"].append(2 * training / (bare + again) - 1)
                shares["again"].append(abs(again / bare - 1))
                print(
                    f"search {search:.1f} s, {training:.1f} s of it training: "
                    f"{100 * shares['added'][-1]:+.1f} %; bare training "
                    f"{bare:.1f} s, and again {again:.1f} s",
                    flush=True,
                )
    added, inside, again = (
        statistics.median(shares[key]) for key in ("added", "inside", "again")
    )
    print(
        f"median: a search adds {100 * added:+.1f} % to the training in it, which took "
        f"{100 * inside:+.1f} % against bare training; two bare trainings differ by "
        f"{100 * again:.1f} %"
    )


def _epochs(directory: Path, seconds: float, address: str) -> int:
    """Return the number of epochs after which a trial takes so long."""
    search_seconds(directory, Load(1, 1), 1, address)
    points = points_of(directory, 1)
    short, long = (bare_seconds(points, epochs, 1) for epochs in (1, 6))
    return max(1, round((seconds - short) / ((long - short) / 5)) + 1)


if __name__ == "__main__":
    main()
