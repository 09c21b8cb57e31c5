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
import warnings
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
    # KerasTuner calls threading.currentThread().getName().
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    with tempfile.TemporaryDirectory() as directory:
        print(table(*measure(options, directory)))


def measure(
    options: argparse.Namespace, directory: str
) -> tuple[str, list[tuple[str, ...]]]:
    """Return a heading, and a row per quantity: name, median, 95th percentile, unit."""
    from tuning.oracles.kinds import make_oracle
    from tuning.store.directory import Store

    from tuning import HyperAlexNet, SearchSettings
    from tuning.cluster.resources import num_cores

    settings = SearchSettings(
        tuner=options.tuner,
        trials=options.trials + options.measured,
        epochs=EPOCHS,
        prune=options.prune,
        directory=directory,
    )
    store = Store(directory)

    def new_oracle() -> Any:
        # A hypermodel of its own: it remembers the cost of networks.
        return make_oracle(settings, HyperAlexNet(IMAGE_SHAPE, 10), store)

    oracle = new_oracle()
    oracle.begin("benchmark")
    for _ in range(options.trials):
        run_trial(oracle)
    recorded = len(oracle.trials)
    size_kib = store.oracle_file.stat().st_size / 2**10

    start_ms, oracle = timed(new_oracle)
    oracle.begin("benchmark")
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
        ("suggestion (create_trial)", *spread(suggestions), "ms"),
        ("report of an epoch (update_trial)", *spread(epochs), "ms"),
        ("report of the end (end_trial)", *spread(finals), "ms"),
        ("suggestion + last epoch + end", *spread(together), "ms"),
        ("progress, polled by the driver", *spread(progress_ms), "ms"),
        ("new start from the directory", f"{start_ms / 1000:,.2f}", "", "s"),
        ("oracle.json", f"{size_kib:,.1f}", "", "KiB"),
    ]


def run_trial(oracle: Any) -> dict[str, Any]:
    """Run a trial without training; return what its calls took, in ms.

    Empty if the oracle has no more trials.
    """
    suggestion, trial = timed(lambda: oracle.create_trial("worker-0"))
    if trial.status != "RUNNING":
        return {}
    status, epochs = "COMPLETED", []
    for epoch, metrics in enumerate(reports_of(trial)):
        time_ms, answer = timed(
            lambda metrics=metrics, epoch=epoch: oracle.update_trial(
                trial.trial_id, metrics, epoch
            )
        )
        epochs.append(time_ms)
        if answer.status == "STOPPED":
            status = "PRUNED"
            break
    trial.status = status
    end, _ = timed(lambda: oracle.end_trial(trial))
    return {"suggestion": suggestion, "epochs": epochs, "end": end}


def reports_of(trial: Any) -> Iterator[dict[str, float]]:
    """Yield metrics per epoch that depend on the trial's point alone."""
    values = trial.hyperparameters.values
    reached = zlib.crc32(json.dumps(values, sort_keys=True).encode()) / 2**32
    begun = values.get("tuner/initial_epoch", 0)
    for epoch in range(values.get("tuner/epochs", EPOCHS) - begun):
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
