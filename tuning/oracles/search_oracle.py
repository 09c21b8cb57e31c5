"""SearchOracle: which trial comes next, what has ended; safe to stop and start again.

Its state is the trials' records, which it alone writes. One that is started on a
directory continues from them: who runs what is in them, too.
"""

from __future__ import annotations

import collections
import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any, Literal

from tuning.oracles.hyperband import Hyperband
from tuning.oracles.proposals import (
    BayesianSearch,
    GridSearch,
    Kind,
    Proposal,
    RandomSearch,
)
from tuning.oracles.pruning import stops
from tuning.oracles.trials import Trials
from tuning.settings import derive_seed
from tuning.space.search_space import SearchSpace
from tuning.store.files import write_bytes
from tuning.store.layout import Store
from tuning.store.objective import Objective
from tuning.store.records import Failure, Result, TrialRecord
from tuning.store.recovery import Notify, has_weights, sound_records
from tuning.store.retention import Retention

FAILURES_AT_START = 3
RESTARTS = 3  # Of a trial whose process dies.

WAIT: Literal["wait"] = "wait"
DONE: Literal["done"] = "done"


class SearchOracle:
    """Hands out the trials of a search and takes their results.

    The interface is `suggest`, `report` and `end`; each call may be repeated, and a
    repeated one changes nothing.

    Args:
        space: Of the search.
        store: The search directory, whose records are read.
        given: Values that people named, complete, to be tried before all others.
        run: Name of the run, which lasts from one start of the search to its end or
            interruption. What an earlier run left unfinished is handed out again;
            an oracle that is started again within a run keeps its workers' trials.
        notify: Is called with what was damaged.

    Attributes:
        halted: Why no more trials are handed out; None if they are.
    """

    def __init__(
        self,
        space: SearchSpace,
        store: Store,
        given: list[dict[str, Any]],
        run: str,
        notify: Notify,
    ) -> None:
        settings = space.settings
        self.space = space
        self.store = store
        self.run = run
        self.objective = Objective(settings.objective)
        self.kind: Kind = _kind(space)
        self.total = settings.total_trials
        self.halted: str | None = None
        self._deaths: collections.Counter[str] = collections.Counter()
        self.trials = Trials(space, given)
        self._settings = settings.to_json()
        self._retention = Retention(store, self.objective, settings.keep)
        self._lost: list[str] = []  # Ids of trials whose records were lost.
        with self._halting():
            self._read(notify)
            if not any(record.run == run for record in self.records.values()):
                self._begin_run(notify)
            self._tidy()

    @property
    def records(self) -> dict[str, TrialRecord]:
        """The trials' records by id, in the order of their numbers."""
        return self.trials.records

    # What a worker calls.

    def suggest(self, worker: str) -> TrialRecord | Literal["wait", "done"]:
        """Return the trial that a worker is to run.

        A worker that has not ended its trial gets it again: one that is started
        again under its name resumes it.

        Returns:
            The trial's record; "wait" if there is none before another trial ends;
            "done" if there are no more.
        """
        if self.halted is not None:
            return DONE
        running = self.trials.running()
        if worker in running:
            return running[worker]
        if self.has_failed():
            return WAIT if running else DONE  # One that runs may yet succeed.
        record = next(iter(self.trials.waiting()), None) or self._new()
        if record is None:
            return WAIT if running else DONE
        began = record.began or time.time()
        with self._halting():
            return self._save(record.replace(run=self.run, worker=worker, began=began))
        return DONE

    def report(self, trial_id: str, history: dict[str, list[float]]) -> bool:
        """Take a trial's metrics of all epochs so far; return whether to stop it."""
        record = self.records[trial_id]
        if not record.has_ended and record.history != history:
            # A copy: in this process, its trial adds to its own. It is held even if
            # it cannot be written: the trial's end may be.
            copied = {name: list(values) for name, values in history.items()}
            self.trials.put(record.replace(history=copied))
            with self._halting():
                self._save(self.records[trial_id])
        rule = self.space.settings.prune
        own = history.get(self.objective.name, [])
        if rule is None or not own:
            return False
        others = [
            (other.status == "COMPLETED", other.history.get(self.objective.name, []))
            for other in self.records.values()
            if other.trial != trial_id
        ]
        return stops(rule, own, others, self.objective.maximize)

    def end(self, trial_id: str, result: Result) -> None:
        """Take a trial's end."""
        record = self.records[trial_id]
        if record.has_ended:
            return
        changes = {**result._asdict(), "notes": list(result.notes)}
        is_pruned = changes.pop("is_pruned")
        if result.failure is not None:
            status, score = "FAILED", None
        else:
            status = "PRUNED" if is_pruned else "COMPLETED"
            score = self.objective.best(record.history[self.objective.name])
        ended = record.replace(
            **changes, status=status, score=score, worker=None, ended=time.time()
        )
        with self._halting():
            if result.failure is not None:
                file = self.store.error_file(trial_id)
                write_bytes(file, result.failure.message.encode())
            self._save(ended)
            self._tidy()

    def halt(self, reason: str) -> None:
        """Hand out no more trials: the directory takes no more.

        It fails no trial: those that run resume when the search does.
        """
        self.halted = self.halted or reason

    # What the driver calls.

    def lost(self, worker: str, message: str | None) -> bool:
        """Let any worker resume the trial of one that is gone, and has one.

        Args:
            worker: Its name.
            message: How its process died; a trial whose process dies once more than
                `RESTARTS` times fails with it. None if that is not the trial's fault.

        Returns:
            Whether it had one.
        """
        record = self.trials.running().get(worker)
        if record is None:
            return False
        if message is not None:
            self._deaths[record.trial] += 1
        if message is not None and self._deaths[record.trial] > RESTARTS:
            self.end(record.trial, Result(failure=Failure(message=message)))
        else:
            with self._halting():
                self._save(record.replace(worker=None))
        return True

    def progress(self) -> dict[str, Any]:
        """Return what has become of the trials, as plain data."""
        ended = sorted(self.trials.ended(), key=lambda record: record.ended or 0.0)
        running = (record.trial for record in self.trials.running().values())
        return {
            "total": self.total,
            "running": sorted(running, key=int),
            "waiting": [record.trial for record in self.trials.waiting()],
            "ended": [(record.trial, record.status, record.score) for record in ended],
            "has_failed": self.has_failed(),
            "halted": self.halted,
        }

    def has_failed(self) -> bool:
        """Return whether every trial so far has failed, as the user's code would."""
        ended = self.trials.ended()
        return len(ended) >= min(FAILURES_AT_START, self.total) and all(
            record.status == "FAILED" for record in ended
        )

    # How it keeps its records.

    def _new(self) -> TrialRecord | None:
        lost = (key for key in self._lost if key not in self.records)
        trial_id = next(lost, None)
        if trial_id is None:
            if len(self.records) >= self.total:
                return None
            trial_id = self._id(len(self.records))
        proposal = self.kind.propose(self.trials, trial_id)
        return None if proposal is None else self._record(trial_id, proposal)

    def _id(self, number: int) -> str:
        return f"{number:0{len(str(self.total))}d}"

    def _record(self, trial_id: str, proposal: Proposal) -> TrialRecord:
        values = proposal.values
        # Of the values alone: with another number of workers they may be another
        # trial's.
        purpose = f"trial {json.dumps(values, sort_keys=True)}"
        return TrialRecord(
            trial=trial_id,
            seed=derive_seed(self.space.settings.seed, purpose),
            draws=self.trials.draws,
            is_given=self.trials.is_given(values),
            settings=self._settings,
            **proposal._asdict(),
        )

    def _save(self, record: TrialRecord) -> TrialRecord:
        """Write a record, hold it as the trial's if that succeeds, and return it."""
        content = record.model_dump_json(exclude_none=True) + "\n"
        write_bytes(self.store.trial_file(record.trial), content.encode())
        self.trials.put(record)
        return record

    def _tidy(self) -> None:
        needed = self.kind.to_continue(self.trials)
        self._retention.tidy(self.records.values(), needed)

    @contextlib.contextmanager
    def _halting(self) -> Iterator[None]:
        """Halt if a file cannot be written; it stays as it was."""
        try:
            yield
        except OSError as error:
            self.halt(error.strerror or str(error))

    def _read(self, notify: Notify) -> None:
        """Take up the trials on record; note those whose records are lost.

        These are drawn again when their turn comes: in the order of their numbers,
        when the trials before have a score again.
        """
        found = sound_records(self.store, self.space.entries, notify)
        for trial_id in self._without_gaps(found):
            if (record := found.get(trial_id)) is not None:
                self.trials.put(record)
                if not self._lost:  # As it was when the next trial was drawn.
                    self.trials.draws = max(self.trials.draws, record.draws)
            else:
                self._lost.append(trial_id)
                notify(f"Trial {trial_id} has no record; its values are drawn again.")

    def _without_gaps(self, found: dict[str, TrialRecord | None]) -> list[str]:
        """Return the ids of trials and of those that are missing; none is foreign."""
        known = [record.continues for record in found.values() if record is not None]
        by_number = {int(key): key for key in (*found, *known) if key is not None}
        most = max(self.total, len(found))
        numbers = [number for number in by_number if number < most]
        return [
            by_number.get(number, self._id(number))
            for number in range(max(numbers, default=-1) + 1)
        ]

    def _begin_run(self, notify: Notify) -> None:
        """Begin a run: hand out again what an earlier one left, or has lost.

        A score and its weights belong together: a trial whose weights are damaged
        runs again, as does the best one without any. If all trials failed, they run
        again, too: whoever starts the search again has fixed what broke them.
        """
        again = set(self._without_weights(notify))
        if self.has_failed():
            again |= {record.trial for record in self.trials.ended()}
        for record in list(self.records.values()):
            if record.trial in again:
                self.store.error_file(record.trial).unlink(missing_ok=True)
                self._save(record.again())
            elif not record.has_ended and record.worker is not None:
                self._save(record.replace(worker=None))

    def _without_weights(self, notify: Notify) -> Iterator[str]:
        completed = self.objective.ranked(self.records.values())
        for record in completed:
            existed = self.store.weights_file(record.trial).exists()
            if has_weights(self.store, record.trial, notify):
                continue
            if existed or record is completed[0]:
                notify(f"Trial {record.trial} runs again: its score needs its weights.")
                yield record.trial


def _kind(space: SearchSpace) -> Kind:
    tuner = space.settings.tuner
    if tuner == "hyperband":
        return Hyperband(space)
    if tuner == "bayesian":
        return BayesianSearch(space)
    return GridSearch(space) if tuner == "grid" else RandomSearch(space.settings.epochs)
