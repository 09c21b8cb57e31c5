"""Command line: search, status, best, space."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

from tuning.points import given_points
from tuning.settings import PRUNING_RULES, TUNERS, SearchSettings
from tuning.store.files import StoreError, read_json
from tuning.store.layout import Store
from tuning.store.recovery import stored_settings
from tuning.trial import interrupts

DEFAULTS = {field.name: field.default for field in dataclasses.fields(SearchSettings)}
INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit status.

    0: done. 1: it cannot be done, and the message says why. 2: the command line
    is wrong. 130: interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, TypeError, RuntimeError, OSError, ImportError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _search(options: argparse.Namespace) -> int:
    settings = _settings(options)
    store = Store(settings.directory or "")
    store.create()
    _redirect_native_messages(store.native_log_file)
    interrupts.install()
    from tuning.search import run_search

    try:
        result = run_search(settings)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        command = shlex.join(["python", "-m", "tuning", *sys.argv[1:]])
        print(
            f"\nStopped. What has ended is in {settings.directory}; the same command "
            f"resumes:\n  {command}",
            flush=True,
        )
        # TensorFlow's threads may be in the middle of a step; do not wait for them.
        os._exit(INTERRUPTED)
    print(f"\n{result.leaderboard}\n")
    print(
        f"Best: trial {result.trial} with {settings.objective} {result.score:.4f} "
        f"({result.reloaded_score:.4f} after saving and loading).\n"
        f"  model            {result.directory}/best/model.keras\n"
        f"  hyperparameters  {result.directory}/best/hyperparameters.json\n"
        f"  every trial      {result.directory}/results.csv"
    )
    if abs(result.score - result.reloaded_score) > 1e-6:
        print(
            "Warning: the saved model's score is not the one that its trial "
            "reported; the data or the device may have changed.",
            file=sys.stderr,
        )
    return 0


def _status(options: argparse.Namespace) -> int:
    from tuning.view.status import status

    print(status(*_stored(options.directory), options.top))
    return 0


def _best(options: argparse.Namespace) -> int:
    from tuning.store.results import ranked, read_results

    settings, store = _stored(options.directory)
    best = next(iter(ranked(read_results(store), settings.objective)), None)
    if best is None:
        raise ValueError(
            f"A search must have completed a trial; received {store.root}, where "
            "none has. Wait for one, or see `python -m tuning status`."
        )
    print(f"trial {best['trial']}: {settings.objective} {best['score']}")
    for name, value in best["hyperparameters"].items():
        print(f"  {name:24} {value}")
    if _has_model_of(store, best["hyperparameters"]):
        print(
            "\nUse it:\n  import alexnet, keras\n"
            f"  model = keras.saving.load_model({str(store.best_model_file)!r})"
        )
    else:
        print("\nIts model is written when the search ends.")
    return 0


def _has_model_of(store: Store, values: dict[str, Any]) -> bool:
    """Tell whether best/ holds the model of a point, not of an earlier best one."""
    file = store.best_hyperparameters_file
    if not store.best_model_file.exists() or not file.exists():
        return False
    return read_json(file) == values


def _space(options: argparse.Namespace) -> int:
    _redirect_native_messages(Path(os.devnull))
    from tuning.settings import DataFacts
    from tuning.space.search_space import SearchSpace

    settings = SearchSettings(model=options.model, tune=_patterns(options.tune))
    facts = DataFacts(tuple(options.image_shape), 10, None)
    space = SearchSpace(settings, facts).hp
    rows = [("hyperparameter", "values", "default", "only if")]
    for entry in space.space:
        conditions = " and ".join(
            f"{condition.name} is {' or '.join(map(str, condition.values))}"
            for condition in entry.conditions
        )
        rows.append((entry.name, _values(entry), f"{entry.default}", conditions))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    return 0


def _values(entry: Any) -> str:
    if hasattr(entry, "min_value"):
        scale = " (log)" if entry.sampling == "log" else ""
        return f"{entry.min_value:g} to {entry.max_value:g}{scale}"
    return ", ".join(map(str, entry.values))


def _stored(directory: str) -> tuple[SearchSettings, Store]:
    store = Store(directory)
    if not store.settings_file.exists():
        raise StoreError(
            f"The directory must hold a search; received {directory}, which has no "
            "search.json. Name the --directory that the search was started with."
        )
    try:
        return stored_settings(store), store
    except ValueError as error:
        raise StoreError(
            "search.json must hold a search's settings; received "
            f"{store.settings_file}: {error}. The search's own command rebuilds it."
        ) from error


def _settings(options: argparse.Namespace) -> SearchSettings:
    given = {name: getattr(options, name) for name in DEFAULTS}
    given["tune"] = _patterns(options.tune)
    for name in ("start_with", "add"):
        given[name] = given_points(given[name])
    if options.image_size and len(options.image_size) == 1:
        given["image_size"] = options.image_size[0]
    return SearchSettings(**given)


def _patterns(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _redirect_native_messages(file: Path) -> None:
    """Send what compiled libraries print to a file; Python's own errors stay here.

    TensorFlow reports its start in a dozen lines that no setting turns off.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    with file.open("ab") as stream:
        os.dup2(stream.fileno(), 2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tuning",
        description="Search the hyperparameters of an AlexNet on your images: "
        "KerasTuner decides what to try, Ray runs the trials.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    search = commands.add_parser(
        "search",
        help="run a search, or resume the one in --directory",
        description="Run a search, or resume the one in --directory. Without "
        "options: 12 random trials on scikit-learn's handwritten digits.",
    )
    search.set_defaults(run=_search)
    _add_search_options(search)

    status = commands.add_parser("status", help="show how far a search has come")
    status.set_defaults(run=_status)
    status.add_argument("directory", help="the search's --directory")
    status.add_argument("--top", type=int, default=10, help="trials to list")

    best = commands.add_parser("best", help="show the best trial of a search")
    best.set_defaults(run=_best)
    best.add_argument("directory", help="the search's --directory")

    space = commands.add_parser("space", help="list the hyperparameters")
    space.set_defaults(run=_space)
    space.add_argument(
        "--image-shape",
        nargs=3,
        type=int,
        default=(32, 32, 3),
        metavar=("HEIGHT", "WIDTH", "CHANNELS"),
        help="of the images: the ranges follow from it (default: 32 32 3)",
    )
    _add_model_options(space)
    return parser


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default=DEFAULTS["model"],
        metavar="MODULE:CLASS",
        help="AlexNet or a subclass of yours (default: %(default)s)",
    )
    parser.add_argument(
        "--tune",
        default="",
        metavar="NAMES",
        help="hyperparameters that vary, separated by commas, * allowed; the others "
        "stay at their defaults (all vary if not given)",
    )


def _add_search_options(search: argparse.ArgumentParser) -> None:
    def add(name: str, help_text: str, **options: Any) -> None:
        default = DEFAULTS[name]
        if default is not None:
            options = {"type": type(default), **options}
            help_text += " (default: %(default)s)"
        flag = "--" + name.replace("_", "-")
        search.add_argument(flag, default=default, help=help_text, **options)

    def switch(name: str, help_text: str) -> None:
        flag = "--" + name.replace("_", "-")
        search.add_argument(flag, action="store_true", help=help_text)

    add(
        "data",
        "digits, mnist, fashion_mnist, cifar10, cifar100, a folder of class folders, "
        "or an .npz file with x and y",
    )
    add("tuner", "how points are chosen", choices=TUNERS)
    add("trials", "points to try; may grow when a search is resumed")
    add("epochs", "epochs of a trial; with hyperband of the longest")
    add("directory", "where the search lives; runs/ and the data's name if not given")
    add("seed", "of the points, the weights and the batches")
    _add_model_options(search)
    add("objective", "metric to optimize", choices=("val_accuracy", "val_loss"))
    add(
        "image_size",
        "resize the images to this side, or height and width",
        type=int,
        nargs="+",
        metavar="PIXELS",
    )
    add("validation_fraction", "share of each class for validation")
    switch("horizontal_flip", "mirror half of the training images")
    add("max_parameters", "try no network with more parameters", type=int)
    add("max_multiply_adds", "try none with more multiply-adds per image", type=int)
    add(
        "address",
        "run on the Ray cluster there: auto for the one that this machine belongs to, "
        "or HOST:PORT; on this machine alone if not given",
    )
    add(
        "workers",
        "processes; one per GPU, or what cores and memory carry, if not given; 0 for "
        "this process, without Ray",
        type=int,
    )
    add(
        "cpus_per_trial",
        "CPUs, and threads, of each worker; its part of the machine if not given, on "
        "a cluster without GPUs 1",
        type=int,
    )
    add(
        "gpus_per_trial",
        "GPUs of each worker: 0.25 packs four on one, 2 has each trial train on both; "
        "1 where there are GPUs if not given",
        type=float,
    )
    add(
        "prune",
        "stop trials early that are worse than the median, or not in the best third "
        "after 1, 3, 9, ... epochs",
        choices=PRUNING_RULES,
    )
    add("keep", "trials, the best ones, whose weights stay on disk")
    switch(
        "retry_oom", "run a trial that is out of memory again with half the batch size"
    )
    add(
        "trial_timeout",
        "stop a trial that ends no batch for so long, its first included; it fails",
        type=float,
        metavar="SECONDS",
    )
    switch("isolate_trials", "run each trial in a process of its own")
    points = "presets and .json files of points, separated by commas"
    for name, help_text in (
        ("--start-with", f"points to try first, among --trials: {points}"),
        ("--add", f"points to try next, beyond --trials, at any time: {points}"),
    ):
        search.add_argument(name, default="", metavar="POINTS", help=help_text)


if __name__ == "__main__":
    sys.exit(main())
