"""How long the oracle takes: suggestions, reports and a new start, among many trials.

From the repository's root:

    python -m tests.benchmarks.oracle [--tuner random] [--trials 1000]

A search directory is filled with trials that ended, each with ten epochs on record,
through the code that a search runs, weights and training apart; then calls are timed.
The images are 32 by 32 with 3 channels, the space and the limits the default ones.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

EPOCHS = 10
IMAGE_SHAPE = (32, 32, 3)


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tuner", default="random", help="default: random")
    parser.add_argument("--trials", type=int, default=1000, help="on record")
    parser.add_argument("--measured", type=int, default=100, help="trials more")
    parser.add_argument("--prune", choices=("median", "halving"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        print(table(*measure(options, directory)))


def measure(
    options: argparse.Namespace, directory: str
) -> tuple[str, list[tuple[str, ...]]]:
    """Return a heading, and a row per quantity: name, median, 95th percentile, unit."""
    from tuning import SearchSettings
    from tuning.cluster.resources import num_cores
    from tuning.oracles.search_oracle import SearchOracle
    from tuning.settings import DataFacts
    from tuning.space.search_space import SearchSpace
    from tuning.store.layout import Store

    settings = SearchSettings(
        tuner=options.tuner,
        trials=options.trials + options.measured,
        epochs=EPOCHS,
        prune=options.prune,
        directory=directory,
    )
    store = Store(directory)

    def new_oracle() -> Any:
        # A space of its own: it remembers the cost of networks.
        space = SearchSpace(settings, DataFacts(IMAGE_SHAPE, 10, None))
        return SearchOracle(space, store, [], "benchmark", print)

    oracle = new_oracle()
    for _ in range(options.trials):
        run_trial(oracle)
    recorded = len(oracle.records)
    files = list(store.root.rglob("*.json"))
    size_kib = sum(file.stat().st_size for file in files) / len(files) / 2**10

    start_ms, oracle = timed(new_oracle)
    runs = [run_trial(oracle) for _ in range(options.measured)]
    runs = [times for times in runs if times]
    progress_ms = [timed(oracle.progress)[0] for _ in runs]
    suggestions = [times["suggestion"] for times in runs]
    epochs = [time_ms for times in runs for time_ms in times["epochs"]]
    finals = [times["end"] for times in runs]
    together = [
        times["suggestion"] + times["epochs"][-1] + times["end"] for times in runs
    ]
    heading = (
        f"{options.tuner} search with {recorded:,} trials on record, then {len(runs)} "
        f"more; {num_cores()} core(s), load {os.getloadavg()[0]:.1f}"
    )
    return heading, [
        ("", "median", "95 %", ""),
        ("suggestion (suggest)", *spread(suggestions), "ms"),
        ("report of an epoch (report)", *spread(epochs), "ms"),
        ("report of the end (end)", *spread(finals), "ms"),
        ("suggestion + last epoch + end", *spread(together), "ms"),
        ("progress, polled by the driver", *spread(progress_ms), "ms"),
        ("new start from the directory", f"{start_ms / 1000:,.2f}", "", "s"),
        ("a trial.json, on average", f"{size_kib:,.1f}", "", "KiB"),
    ]


def run_trial(oracle: Any) -> dict[str, Any]:
    """Run a trial without training; return what its calls took, in ms.

    Empty if the oracle has no more trials.
    """
    from tuning.store.records import Result

    suggestion, trial = timed(lambda: oracle.suggest("worker-0"))
    if isinstance(trial, str):
        return {}
    stops, epochs, history = False, [], {}
    for metrics in reports_of(trial):
        for name, value in metrics.items():
            history.setdefault(name, []).append(value)
        time_ms, stops = timed(lambda: oracle.report(trial.trial, history))
        epochs.append(time_ms)
        if stops:
            break
    end, _ = timed(lambda: oracle.end(trial.trial, Result(is_pruned=stops)))
    return {"suggestion": suggestion, "epochs": epochs, "end": end}


def reports_of(trial: Any) -> Iterator[dict[str, float]]:
    """Yield metrics per epoch that depend on the trial's values alone."""
    reached = zlib.crc32(json.dumps(trial.values, sort_keys=True).encode()) / 2**32
    for epoch in range(trial.epochs - trial.first_epoch):
        accuracy = reached * (1 - 0.5 ** (epoch + 1))
        metrics = {"accuracy": accuracy, "loss": 2.3 - 2 * accuracy}
        yield {**metrics, **{f"val_{name}": 0.9 * metrics[name] for name in metrics}}


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the ms that a call takes, and its result."""
    begun = time.perf_counter()
    result = call()
    return 1000 * (time.perf_counter() - begun), result


def spread(times_ms: list[float]) -> tuple[str, str]:
    """Return the median and the 95th percentile, as text."""
    highest = sorted(times_ms)[int(0.95 * (len(times_ms) - 1))]
    return f"{statistics.median(times_ms):.1f}", f"{highest:.1f}"


def table(heading: str, rows: list[tuple[str, ...]]) -> str:
    """Return rows as a table of text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(
                    cell.rjust(width)
                    for cell, width in zip(row[1:3], widths[1:3], strict=True)
                ),
                row[3],
            ]
        ).rstrip()
        for row in rows
    ]
    return "\n".join([heading, "", *lines])


if __name__ == "__main__":
    main()
