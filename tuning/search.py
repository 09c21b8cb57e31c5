"""run_search: one search from its settings to its best model."""

from __future__ import annotations

import dataclasses
import functools
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuning.cluster.resources import set_threads, share_gpus
from tuning.points import check_presets, given_values
from tuning.settings import DataFacts, SearchSettings
from tuning.store.files import StoreError, WriteError, write_csv, write_json
from tuning.store.layout import Store
from tuning.store.lock import locked, wait_until_left
from tuning.store.objective import Objective
from tuning.store.records import FORMAT
from tuning.store.recovery import Notify, read_settings
from tuning.store.results import read_results, table
from tuning.view.progress import Progress
from tuning.view.status import leaderboard


class SearchError(RuntimeError):
    """A search has no result."""


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """The result of a search.

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
    """Run a search, or resume one, until all of its trials have ended.

    Everything lies in `settings.directory`. To resume a search that was
    interrupted, call this again with the same settings; a finished one only
    writes its results again. With more `trials`, or values to `add`, it continues.

    Args:
        settings: Of the search.

    Raises:
        StoreError: The directory cannot be used, is in use, holds a search with
            other settings or of version 0.1, or takes no more.
        ValueError: The images, the model or the limits cannot be used.
        SearchError: No trial completed.
    """
    store = Store(settings.directory or "")
    store.create()
    notify = functools.partial(print, flush=True)
    with locked(store):
        try:
            return Search.open(settings, store, notify).run()
        except WriteError as error:
            raise StoreError(_disk_message(store, error.strerror)) from error
        finally:
            store.discard_if_unused()  # Under the lock: another search may begin.


class Search:
    """A search that is ready to run: its settings, images, space and given values.

    Args:
        settings: With what the directory's search adds to the command's.
        store: The search directory.
        data: The images.
        facts: What a network must know of them.
        space: What varies, and the limits.
        given: Values that people named, complete.
    """

    def __init__(
        self,
        settings: SearchSettings,
        store: Store,
        data: Any,
        facts: DataFacts,
        space: Any,
        given: list[dict[str, Any]],
    ) -> None:
        self.settings = settings
        self.store = store
        self.data = data
        self.facts = facts
        self.space = space
        self.given = given

    @classmethod
    def open(cls, settings: SearchSettings, store: Store, notify: Notify) -> Search:
        """Check all that can be checked before a trial begins; write search.json.

        Args:
            settings: Of the command.
            store: The search directory, which this process has locked.
            notify: Is called with what people should know.
        """
        wait_until_left(store)
        stored = read_settings(store, notify)
        settings = resumed(stored, settings, store)
        # What imports TensorFlow is imported after its variables are set.
        share_gpus()
        if settings.workers == 0 and settings.cpus_per_trial is not None:
            set_threads(settings.cpus_per_trial)
        model_class = settings.load_model_class()
        check_presets(settings, model_class.presets)
        from alexnet.data import CLASS_NAMES, load_images
        from tuning.cluster.replicas import check_backend
        from tuning.space.search_space import SearchSpace

        check_backend(settings.gpus_per_trial)
        data = load_images(
            settings.data,
            image_size=settings.image_size,
            validation_fraction=settings.validation_fraction,
            seed=settings.seed,
        )
        rescale = 1 / 255 if data.x_train.dtype == "uint8" else None
        facts = DataFacts(data.image_shape, data.num_classes, rescale)
        if settings.data not in CLASS_NAMES:
            for note in _about(data, rescale):
                notify(note)
        space = SearchSpace(settings, facts)
        space.check_limits()
        tried = {
            row["trial"]: row["hyperparameters"]
            for row in (read_results(store) if settings.add else ())
            if row["status"] != "DAMAGED"  # The oracle draws those again.
        }
        settings, given = given_values(settings, stored, space, tried, notify)
        space.settings = settings
        store.is_new = stored is None
        if stored is None or settings.total_trials > stored.total_trials:
            write_settings(settings, store)
        elif not store.settings_file.exists():
            write_settings(stored, store)
        notify(
            f"{settings.tuner} search of {model_class.__name__} on {data.name}: "
            f"{len(data.x_train):,} training and {len(data.x_val):,} validation "
            f"images of shape {data.image_shape}, {data.num_classes} classes; "
            f"{settings.total_trials} trials in {settings.directory}"
        )
        return cls(settings, store, data, facts, space, given)

    def run(self) -> SearchResult:
        """Run the trials that have not ended; write the results and the best model."""
        settings, store = self.settings, self.store
        progress = Progress(settings.objective)
        try:
            if settings.workers == 0:
                last = self._run_here(progress)
            else:
                from tuning.cluster.driver import run_on_ray

                last = run_on_ray(settings, self.facts, self.given, self.data, progress)
        finally:
            progress.close()
            write_csv(store.results_file, table(read_results(store)))
        if last["halted"]:
            raise StoreError(_disk_message(store, last["halted"]))
        return self._finish()

    def _run_here(self, progress: Progress) -> dict[str, Any]:
        """Run the trials in this process, one after another."""
        from tuning.cluster.replicas import strategy_for
        from tuning.oracles.search_oracle import SearchOracle
        from tuning.trial.run import TrialRunner

        strategy = strategy_for(self.settings.gpus_per_trial or 1)
        space, store, run = self.space, self.store, uuid.uuid4().hex
        oracle = SearchOracle(space, store, self.given, run, progress.line)
        runner = TrialRunner(oracle, space, store, self.data, strategy=strategy)
        progress.update(oracle.progress())
        while not isinstance(record := oracle.suggest("worker-0"), str):
            progress.update(oracle.progress())
            runner.run(record)
            progress.update(oracle.progress())
        return oracle.progress()

    def _finish(self) -> SearchResult:
        """Write the best model and its hyperparameters; check the model on disk."""
        from tuning.trial.best import write_best

        space, store, objective = self.space, self.store, self.settings.objective
        rows = read_results(store)
        best = self._best_of(rows)
        values = best["hyperparameters"]
        metrics = write_best(space, store, self.data, best["trial"], values)
        return SearchResult(
            directory=Path(self.settings.directory or ""),
            rows=rows,
            trial=best["trial"],
            score=best["score"],
            reloaded_score=metrics[objective.removeprefix("val_")],
            hyperparameters=values,
            leaderboard=leaderboard(rows, objective),
        )

    def _best_of(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the best trial's row.

        Raises:
            SearchError: There is none, or trials have not ended.
        """
        settings, store = self.settings, self.store
        best = next(iter(Objective(settings.objective).ranked_rows(rows)), None)
        if not rows:
            raise SearchError(
                "The search must find values within the limits; received "
                f"max_parameters={settings.max_parameters} and "
                f"max_multiply_adds={settings.max_multiply_adds}, and none was found "
                "among those that come first. Raise the limits, or name fewer "
                "hyperparameters in tune."
            )
        if best is None:
            failures = [row["failure"] for row in rows if row["failure"]]
            if len(failures) < len(rows):
                raise SearchError(
                    f"A search needs a trial that completes; received {len(rows)} of "
                    f"{settings.total_trials} trials, of which {len(failures)} failed "
                    f"and none completed; the first failure:\n"
                    f"{next(iter(failures), 'none')}\nRaise trials, or use another "
                    "directory, without prune."
                )
            raise SearchError(
                f"Every trial failed ({len(failures)} of {settings.total_trials} were "
                f"run); the first with:\n{next(iter(failures), '')}\nFix that and run "
                "the same command again. Each trial's traceback is in "
                f"{store.root}/trial_*/error.txt."
            )
        unfinished = [row["trial"] for row in rows if row["status"] == "RUNNING"]
        if unfinished:
            raise SearchError(
                "A search ends when all of its trials have; received trials "
                f"{', '.join(unfinished)}, which have not. Run the same command again."
            )
        if len(rows) < settings.total_trials:
            print(
                f"The search ended after {len(rows)} of {settings.total_trials} "
                "trials: the space has no more values to try, or none within the "
                "limits was found."
            )
        if not store.weights_file(best["trial"]).exists():
            raise SearchError(
                f"The best trial must have its weights; received {store.root}, where "
                f"those of trial {best['trial']} are gone. Run the same command again: "
                "it trains that trial once more."
            )
        return best


def resumed(
    stored: SearchSettings | None, given: SearchSettings, store: Store
) -> SearchSettings:
    """Return the settings with which a search begins, or resumes.

    Args:
        stored: Of the search in the directory; None if there is none.
        given: Of the command.
        store: The search directory.

    Raises:
        StoreError: They differ in more than what may grow.
    """
    if stored is None:
        return given
    if differences := given.differences(stored.to_json()):
        raise StoreError(
            f"A search is resumed with its own settings; received {store.root}, "
            f"whose search differs in {'; '.join(differences)}. Use the same "
            "settings, or another directory."
        )
    added = [values for values in given.add if values not in stored.add]
    return given.replace(add=(*stored.add, *added))


def _about(data: Any, rescale: float | None) -> Iterator[str]:
    """Yield what people should know of images of their own before they are used."""
    from alexnet.data.labelled import listed
    from tuning.space.inputs import unexpected_range

    if data.ignored:
        yield f"Ignored beside the images: {data.ignored:,} file(s) or folder(s)"
    yield f"Classes in order: {listed(data.class_names, 20)}"
    if message := unexpected_range(data.x_train, rescale):
        yield f"Warning: {message}"


def write_settings(settings: SearchSettings, store: Store) -> None:
    """Write search.json."""
    write_json(store.settings_file, {"format": FORMAT, **settings.to_json()})


def _disk_message(store: Store, reason: str | None) -> str:
    return (
        f"A search must be able to write; received {store.root}: {reason}. What had "
        "ended is kept. Make room, raise the limit or fix the disk; the same command "
        "resumes."
    )
