"""run_search: one search from its settings to its best model."""

from __future__ import annotations

import dataclasses
import functools
import uuid
from pathlib import Path
from typing import Any

from tuning.cluster.resources import set_threads, share_gpus
from tuning.points.extension import go_on_with, is_more, without_tried
from tuning.points.start_points import check_presets
from tuning.points.values import public
from tuning.settings import DataFacts, SearchSettings
from tuning.store.directory import Store, StoreError, disk_error, write_csv, write_json
from tuning.store.recovery import read_settings
from tuning.store.results import leaderboard, ranked, read_results, table
from tuning.view.progress import Progress


class SearchError(RuntimeError):
    """A search came to no result."""


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """What a search came to.

    Attributes:
        directory: The search directory.
        rows: One dict per trial, as `tuning.store.results.read_results` gives them.
        trial: Id of the best trial.
        score: Its objective.
        reloaded_score: The objective of `best/model.keras`, loaded again.
        hyperparameters: The best trial's, by name.
        leaderboard: The best trials as a table of text.
    """

    directory: Path
    rows: list[dict[str, Any]]
    trial: str
    score: float
    reloaded_score: float
    hyperparameters: dict[str, Any]
    leaderboard: str

    def load_model(self) -> Any:
        """Return the best trial's trained model."""
        import keras

        return keras.saving.load_model(Store(self.directory).best_model_file)


def run_search(settings: SearchSettings) -> SearchResult:
    """Run a search, or go on with one, until all of its trials have ended.

    Everything lies in `settings.directory`. To resume a search that was
    interrupted, call this again with the same settings; a finished one only
    writes its results again. With more `trials`, or points to `add`, it goes on.

    Args:
        settings: Of the search.

    Raises:
        StoreError: The directory cannot be used, is in use, holds a search with
            other settings, or takes no more.
        ValueError: The images, the model or the limits cannot be used.
        SearchError: Every trial failed.
    """
    store = Store(settings.directory or "")
    store.create()
    with store.locked():
        try:
            return _run(settings, store)
        except OSError as error:
            if reason := disk_error(str(error)):
                raise StoreError(_disk_message(store, reason)) from error
            raise
        finally:
            store.discard_if_unused()  # Under the lock: another search may begin.


def _run(settings: SearchSettings, store: Store) -> SearchResult:
    tell = functools.partial(print, flush=True)
    store.wait_until_left()
    stored = read_settings(store, settings, tell)
    settings = go_on_with(stored, settings, store)
    share_gpus()
    if settings.workers == 0 and settings.cpus_per_trial is not None:
        set_threads(settings.cpus_per_trial)
    model_class = settings.load_model_class()
    check_presets(settings, model_class.presets)
    from alexnet.data.images import load_images
    from tuning.cluster.replicas import check_backend
    from tuning.oracles.kinds import make_oracle
    from tuning.oracles.restore import mend_results
    from tuning.space.hypermodel import make_hypermodel
    from tuning.space.limits import check_limits

    check_backend(settings.gpus_per_trial)
    data = load_images(
        settings.data,
        image_size=settings.image_size,
        validation_fraction=settings.validation_fraction,
        seed=settings.seed,
    )
    is_bytes = data.x_train.dtype == "uint8"
    facts = DataFacts(data.image_shape, data.num_classes, 1 / 255 if is_bytes else None)
    hypermodel = make_hypermodel(settings, facts)
    check_limits(hypermodel, settings)
    settings = without_tried(settings, stored, hypermodel, store, tell)
    oracle = make_oracle(settings, hypermodel, store, tell)
    mend_results(oracle, tell)
    store.is_new = stored is None
    if not store.settings_file.exists() or is_more(settings, stored):
        write_json(store.settings_file, settings.to_json())
    print(
        f"{settings.tuner} search of {model_class.__name__} on {data.name}: "
        f"{len(data.x_train):,} training and {len(data.x_val):,} validation "
        f"images of shape {data.image_shape}, {data.num_classes} classes; "
        f"{settings.total_trials} trials in {settings.directory}",
        flush=True,
    )
    progress = Progress(settings.objective)
    try:
        if settings.workers == 0:
            last = _run_here(settings, hypermodel, store, data, oracle, progress)
        else:
            from tuning.cluster.driver import run_on_ray

            last = run_on_ray(settings, facts, data, progress)
    finally:
        progress.close()
        write_csv(store.results_file, table(read_results(store)))
    if last["halted"]:
        raise StoreError(_disk_message(store, last["halted"]))
    return _finish(settings, hypermodel, store, data)


def _disk_message(store: Store, reason: str) -> str:
    return (
        f"A search must be able to write; received {store.root}: {reason}. What had "
        "ended is kept. Make room, raise the limit or mend the disk; the same command "
        "goes on."
    )


def _run_here(
    settings: SearchSettings,
    hypermodel: Any,
    store: Store,
    data: Any,
    oracle: Any,
    progress: Progress,
) -> dict[str, Any]:
    from tuning.cluster.replicas import strategy_for
    from tuning.trial.tuner import TrialTuner

    strategy = strategy_for(settings.gpus_per_trial or 1)
    oracle.begin(uuid.uuid4().hex)
    progress.update(oracle.progress())
    tuner = TrialTuner(
        oracle,
        hypermodel,
        store,
        settings,
        "worker-0",
        on_progress=lambda: progress.update(oracle.progress()),
        distribution_strategy=strategy,
    )
    tuner.run(data)
    return oracle.progress()


def _finish(
    settings: SearchSettings, hypermodel: Any, store: Store, data: Any
) -> SearchResult:
    """Write the best model and its hyperparameters; check the model on disk."""
    import keras
    import keras_tuner

    from tuning.space.hypermodel import VALIDATION_BATCH_SIZE
    from tuning.trial.weights import load_weights, reserve

    rows = read_results(store)
    best = next(iter(ranked(rows, settings.objective)), None)
    if best is None:
        failed = [row["trial"] for row in rows if row["status"] == "FAILED"]
        errors = [store.error_file(trial) for trial in failed]
        shown = next((file.read_text() for file in errors if file.exists()), "")
        if not rows:
            raise SearchError(
                "The search must find a point within the limits; received "
                f"max_parameters={settings.max_parameters} and "
                f"max_multiply_adds={settings.max_multiply_adds}, and none was found "
                "among those that come first. Raise the limits, or name fewer "
                "hyperparameters in tune."
            )
        raise SearchError(
            f"Every trial failed ({len(failed)} of {settings.total_trials} were run); "
            f"the first with:\n{shown}\nMend that and run the same command again. Each "
            f"trial's traceback is in {store.root}/trial_*/error.txt."
        )
    unfinished = [row["trial"] for row in rows if row["status"] == "RUNNING"]
    if unfinished:
        raise SearchError(
            "A search ends when all of its trials have; received trials "
            f"{', '.join(unfinished)}, which have not. Run the same command again."
        )
    if len(rows) < settings.total_trials:
        print(
            f"The search ended after {len(rows)} of {settings.total_trials} trials: "
            "the space has no more points, or none within the limits was found."
        )
    if not store.weights_file(best["trial"]).exists():
        raise SearchError(
            f"The best trial must have its weights; received {store.root}, where those "
            f"of trial {best['trial']} are gone. Run the same command again: it trains "
            "that trial once more."
        )
    hp = keras_tuner.HyperParameters()
    hp.values = dict(best["hyperparameters"])
    model = hypermodel.build(hp)
    load_weights(model, store, best["trial"])
    # For evaluation; the trial's optimizer has no state on disk to go on from.
    model.compile("sgd", loss=model.loss, metrics=["accuracy"])
    file = store.best_model_file
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name("part.keras")
    reserve(part, model)
    model.save(part)
    part.replace(file)
    hyperparameters = public(best["hyperparameters"])
    write_json(store.best_hyperparameters_file, hyperparameters)
    # A subclass may compile in a way of its own, which Keras does not repeat.
    reloaded = keras.saving.load_model(file, compile=False)
    reloaded.compile(loss=model.loss, metrics=["accuracy"])
    metrics = reloaded.evaluate(
        data.x_val,
        data.y_val,
        batch_size=VALIDATION_BATCH_SIZE,
        verbose=0,
        return_dict=True,
    )
    return SearchResult(
        directory=Path(settings.directory or ""),
        rows=rows,
        trial=best["trial"],
        score=best["score"],
        reloaded_score=metrics[settings.objective.removeprefix("val_")],
        hyperparameters=hyperparameters,
        leaderboard=leaderboard(rows, settings.objective),
    )
