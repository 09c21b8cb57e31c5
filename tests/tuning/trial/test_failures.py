"""Failing trials: NaN, out of memory, hung; each ends alone, soon, and is recorded."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from small_trials import Quick, SmallSearch, some_digits

from tuning.store.files import WriteError
from tuning.trial import checkpoints
from tuning.trial import run as run_module
from tuning.trial.failures import TrialTimeout, chain_of, is_out_of_memory
from tuning.trial.watch import Beats, MainThreadInterrupt, Watch

TOO_MUCH = 2**50  # Bytes; no machine has them.


class Small(Quick):
    """Of batches of 16: twenty steps in an epoch of 320 images."""

    ranges = {**Quick.ranges, "num_dense": (0, 0), "batch_size": (16,)}


def run(directory, model, train=64, **settings):
    """Run a search of one trial unless told otherwise."""
    data = some_digits(train, 50)
    return SmallSearch(directory, model, data, tune=("weight_decay",), **settings).run()


class NotANumber(Small):
    """Has a weight that is no number from the fourth step of the second epoch on."""

    def before_step(self, data):
        """Spoil a weight, and give the loss time to be looked at."""
        if self.steps == 24:
            self.weights[0].assign(np.full(self.weights[0].shape, np.nan))
        if self.steps >= 24:
            time.sleep(0.1)


def test_a_loss_that_is_no_number_ends_the_trial_within_the_epoch(tmp_path):
    """Of an epoch whose loss is NaN the rest is not trained."""
    search = run(tmp_path, NotANumber, 320)
    assert 24 <= NotANumber.steps < 40
    record = search.records["0"]
    assert (record.status, record.notes) == ("FAILED", ["loss not finite"])
    assert record.failure.kind == "loss not finite"
    last = search.store.error_file("0").read_text().strip().splitlines()[-1]
    assert "loss was nan in batch " in last
    assert " of epoch 2 with " in last
    assert "weight_decay=0.0005" in last
    assert len(record.history["loss"]) == 1


class Exiting(Small):
    """Calls sys.exit, as a script would."""

    def before_step(self, data):
        """Exit."""
        raise SystemExit(3)


def test_an_exit_fails_the_trial_alone(tmp_path):
    """SystemExit of the user's code fails its trial and does not end the search."""
    search = run(tmp_path, Exiting)
    assert search.records["0"].status == "FAILED"
    assert search.store.error_file("0").read_text().endswith("SystemExit: 3\n")


class Idle(Small):
    """Trains nothing."""

    def fit(self, *args, **kwargs):
        """Return at once."""


def test_a_trial_without_an_epoch_fails_alone(tmp_path):
    """If fit ends before an epoch of the trial does, there is no score: it fails."""
    record = run(tmp_path, Idle).records["0"]
    assert record.status == "FAILED"
    assert "ended before epoch 1 of 2 did" in record.failure.message


class Huge(Small):
    """Asks TensorFlow for more memory than there is, which takes it ten seconds."""

    def before_step(self, data):
        """Allocate."""
        tf.zeros((TOO_MUCH // 4,))


class Greedy(Small):
    """Asks NumPy for more memory than there is, for batches of more than eight."""

    def before_step(self, data):
        """Allocate."""
        if len(data[0]) > 8:
            np.ones(TOO_MUCH)


class Insatiable(Small):
    """Asks for more memory than there is for any batch."""

    def before_step(self, data):
        """Allocate."""
        np.ones(TOO_MUCH)


class Single(Insatiable):
    """Has batches of one image, which cannot be halved."""

    ranges = {**Small.ranges, "batch_size": (1,)}


class TooLarge(Small):
    """Is too large itself."""

    built = 0

    def compile(self, *args, **kwargs):
        """Allocate."""
        type(self).built += 1
        np.ones(TOO_MUCH)


def test_out_of_memory_fails_the_trial(tmp_path):
    """Without retry_oom a trial that is out of memory fails with what it asked for."""
    search = run(tmp_path, Huge)
    assert Huge.steps == 1
    record = search.records["0"]
    assert (record.status, record.notes) == ("FAILED", ["out of memory"])
    text = search.store.error_file("0").read_text()
    assert "ResourceExhaustedError" in text
    assert "OutOfMemory: A trial must fit into memory; epoch 1 did not" in text
    assert "with batches of 16 and resize=8, " in text.splitlines()[-1]


def test_out_of_memory_is_tried_again_with_half_the_batch(tmp_path):
    """With retry_oom the trial runs with half the batch size and says so."""
    search = run(tmp_path, Greedy, retry_oom=True)
    assert Greedy.steps == 1 + 2 * 8
    record = search.records["0"]
    assert record.status == "COMPLETED"
    assert record.notes == ["out of memory with its own batch_size; run with 8"]
    assert not search.store.error_file("0").exists()


@pytest.mark.parametrize(
    ("model", "steps", "size"), [(Insatiable, 2, 8), (Single, 1, 1), (TooLarge, 0, 16)]
)
def test_out_of_memory_is_tried_again_once(tmp_path, model, steps, size):
    """If half the batch size is too much, too, or no remedy, the trial fails."""
    TooLarge.built = 0
    record = run(tmp_path, model, retry_oom=True).records["0"]
    assert model.steps == steps
    assert TooLarge.built == (model is TooLarge)
    assert record.status == "FAILED"
    assert record.notes[-1] == "out of memory"
    assert record.notes[:-1] == (
        ["out of memory with its own batch_size; run with 8"] if steps == 2 else []
    )
    last = record.failure.message.splitlines()[-1]
    assert f"did not with batches of {size} and" in last


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (np._core._exceptions._ArrayMemoryError((9,), np.dtype(float)), True),
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating"), True),
        (RuntimeError("out of luck"), False),
        (ValueError(), False),
    ],
)
def test_recognizes_what_is_out_of_memory(error, expected):
    """Python's, NumPy's, TensorFlow's and XLA's errors count, and no others."""
    assert is_out_of_memory(error) == expected


class Logging(Small):
    """Writes to a disk of its own, which is full; another error follows from that."""

    def before_step(self, data):
        """Fail as a logger does that handles its own error, or does not."""
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/theirs/debug.log")
        except OSError:
            if self.steps == 2:
                raise RuntimeError("the log is lost")  # noqa: B904 (its context counts)
            raise


def test_a_full_disk_of_others_fails_the_trial_alone(tmp_path):
    """What the user's code cannot write elsewhere is an error of the trial."""
    search = run(tmp_path, Logging, trials=2, epochs=1)
    records = search.records.values()
    assert [record.status for record in records] == ["FAILED"] * 2
    assert search.oracle.halted is None
    assert "/theirs/debug.log" in search.records["0"].failure.message
    assert "RuntimeError: the log is lost" in search.records["1"].failure.message


@pytest.mark.parametrize("place", ["checkpoint", "weights"])
def test_a_full_disk_of_the_search_fails_no_trial(tmp_path, monkeypatch, place):
    """What the search itself cannot write halts it; the trial resumes another time."""

    def refuse(*_):
        raise WriteError(errno.EDQUOT, os.strerror(errno.EDQUOT), "file")

    with monkeypatch.context() as patch:
        if place == "checkpoint":
            patch.setattr(checkpoints, "write_arrays", refuse)
        else:
            patch.setattr(run_module, "save_weights", refuse)
        search = run(tmp_path, Small, trials=2)
    assert search.oracle.halted == "Disk quota exceeded"
    assert [record.status for record in search.records.values()] == ["RUNNING"]
    again = run(tmp_path, Small, trials=2)
    assert [record.status for record in again.records.values()] == ["COMPLETED"] * 2


class Wrapping(Small):
    """Has a fit of its own, which raises its own error for whatever it meets."""

    way = ""

    def fit(self, *args, **kwargs):
        """Train; raise from an error, or while handling one, or both."""
        try:
            return super().fit(*args, **kwargs)
        except OSError as error:
            if self.way == "from":
                raise RuntimeError("training stopped") from error
            try:
                raise RuntimeError("training stopped") from None
            except RuntimeError as ours:
                raise SystemExit(3) from ours


@pytest.mark.parametrize("way", ["from", "while handling"])
def test_a_full_disk_within_another_error_fails_no_trial(tmp_path, monkeypatch, way):
    """The search halts whatever the user's code makes of what it could not write."""

    def refuse(*_):
        raise WriteError(errno.ENOSPC, os.strerror(errno.ENOSPC), "file")

    monkeypatch.setattr(checkpoints, "write_arrays", refuse)
    monkeypatch.setattr(Wrapping, "way", way)
    search = run(tmp_path, Wrapping, trials=2)
    assert search.oracle.halted == "No space left on device"
    assert [record.status for record in search.records.values()] == ["RUNNING"]


def test_a_chain_of_errors_ends():
    """Each error is there once, though two are each other's reason."""
    first, second = ValueError(), TypeError()
    first.__context__, second.__cause__, second.__context__ = second, first, first
    assert set(chain_of(first)) == {first, second}
    assert len(list(chain_of(first))) == 2


def test_an_end_brings_the_epochs_that_could_not_be_written(tmp_path, monkeypatch):
    """If the oracle could write no epoch but has room at the end, none is missing."""
    search = SmallSearch(tmp_path, Small, epochs=1)
    record = search.oracle.suggest("worker-0")
    save = search.oracle._save

    def refuse(_):
        raise WriteError(errno.ENOSPC, os.strerror(errno.ENOSPC), "file")

    monkeypatch.setattr(search.oracle, "_save", refuse)
    report = search.oracle.report

    def report_once(*arguments):
        stops = report(*arguments)
        monkeypatch.setattr(search.oracle, "_save", save)
        return stops

    monkeypatch.setattr(search.oracle, "report", report_once)
    search.runner.run(record)
    assert search.oracle.halted == "No space left on device"
    again = SmallSearch(tmp_path, Small, epochs=1).run()
    assert again.records["0"].status == "COMPLETED"
    assert len(again.records["0"].history["val_accuracy"]) == 1
    assert again.records["0"].score == search.records["0"].score


class Hanging(Small):
    """Hangs in its second epoch, once."""

    hung = 0

    def before_step(self, data):
        """Hang, as a worker process of a data loader that died would make it."""
        if self.steps == 6:
            type(self).hung += 1
            time.sleep(600)


@pytest.mark.long
def test_a_trial_that_hangs_is_stopped_and_the_next_one_runs(tmp_path):
    """Without progress for trial_timeout a trial fails, with where it hung."""
    handler = signal.getsignal(signal.SIGALRM)
    search = run(tmp_path, Hanging, trials=2, trial_timeout=15)
    assert Hanging.hung == 1
    failed, completed = search.records.values()
    assert (failed.status, failed.notes) == ("FAILED", ["no progress"])
    assert completed.status == "COMPLETED"
    text = search.store.error_file("0").read_text()
    assert "time.sleep(600)" in text
    expected = "TrialTimeout: A trial must end a batch every 15 s; none has ended."
    assert text.strip().splitlines()[-1].startswith(expected)
    assert signal.getsignal(signal.SIGALRM) == handler


class Clock:
    """A clock that tests set, and an event whose waiting moves it.

    Attributes:
        now: The seconds that it shows.
    """

    def __init__(self, during_wait):
        self.now = 100.0
        self.during_wait = during_wait

    def wait(self, seconds):
        """Wait for so long; return whether the watch has ended."""
        self.now += seconds
        return self.during_wait()


@pytest.mark.parametrize("beats", [0, 1, 7])
def test_a_watch_calls_once_and_only_without_progress(monkeypatch, beats):
    """Beats keep a watch quiet; `timeout_s` after the last one it calls, once."""
    calls, times = [], []

    def on_wait():
        times.append(clock.now)
        if len(times) <= beats:
            watch.beat()
        return False

    clock = Clock(on_wait)
    monkeypatch.setattr("tuning.trial.watch.time.monotonic", lambda: clock.now)
    watch = Watch(10.0, calls.append)
    watch._ended = SimpleNamespace(wait=clock.wait, is_set=lambda: False)
    watch._watch(10.0, threading.get_ident())
    assert times == [100.0 + 10 * (number + 1) for number in range(beats + 1)]
    assert len(calls) == 1
    assert "test_a_watch_calls_once_and_only_without_progress" in calls[0]


def test_a_watch_that_has_ended_does_not_call(monkeypatch):
    """At the end of the trial its watch ends, and one without a time does nothing."""
    calls, threads = [], []
    start = threading.Thread.start
    monkeypatch.setattr(
        threading.Thread, "start", lambda self: (threads.append(self), start(self))
    )
    with Watch(600, calls.append):
        pass
    (thread,) = threads
    thread.join()  # Long before its time.
    with Watch(None, calls.append):
        pass
    assert (calls, len(threads)) == ([], 1)


@pytest.mark.parametrize(
    "method", ["on_train_batch_end", "on_test_batch_end", "on_epoch_end"]
)
def test_batches_are_progress(method):
    """A batch of training, a batch of validation and an epoch each count."""
    beats = []
    getattr(Beats(SimpleNamespace(beat=lambda: beats.append(1))), method)(0)
    assert beats == [1]


def test_the_alarm_is_handed_back():
    """SIGALRM's handler is what it was, also after a trial was interrupted."""

    def theirs(*_):
        raise AssertionError

    before = signal.signal(signal.SIGALRM, theirs)
    try:
        with (
            pytest.raises(TrialTimeout, match="too slow"),
            MainThreadInterrupt() as call,
        ):
            time.sleep(call("too slow") or 60)
        assert signal.getsignal(signal.SIGALRM) is theirs
    finally:
        signal.signal(signal.SIGALRM, before)


def test_another_thread_cannot_be_interrupted():
    """Outside the main thread a time limit is refused, with the remedy."""
    errors = []

    def enter():
        try:
            MainThreadInterrupt()
        except ValueError as error:
            errors.append(str(error))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert "the search must run in the main thread" in errors[0]


class Latin(Small):
    """Fails with a file's name that is not UTF-8."""

    def before_step(self, data):
        """Raise an error whose text no file can hold as it is."""
        raise ValueError("caf\udce9.jpg")


def test_any_text_of_an_error_fails_the_trial_alone(tmp_path):
    """What UTF-8 does not have is escaped in the record and in error.txt."""
    search = run(tmp_path, Latin, trials=2, epochs=1)
    records = search.records.values()
    assert [record.status for record in records] == ["FAILED"] * 2
    assert "caf\\udce9.jpg" in search.rows[0]["failure"]
    assert "caf\\udce9.jpg" in search.store.error_file("0").read_text()


def test_a_trial_that_ends_as_its_time_does_is_not_interrupted(monkeypatch):
    """Whichever is decided first, the end or the hang, the other does not follow."""
    calls, slow = [], threading.Event()

    def format_stack(frame):
        slow.wait(10)
        return []

    monkeypatch.setattr("tuning.trial.watch.traceback.format_stack", format_stack)
    before = set(threading.enumerate())
    with Watch(0.01, calls.append):
        time.sleep(0.2)
    slow.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert calls == []


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    """A trial that resumes removes what was cut off; the oracle's own is left alone."""
    search = SmallSearch(tmp_path, Small, epochs=1)
    record = search.oracle.suggest("worker-0")
    folder = search.store.trial_folder(record.trial)
    for name in (".checkpoint.npz.part-1", ".weights.npz.part-2", ".trial.json.part-3"):
        (folder / name).touch()
    search.runner.run(record)
    assert [file.name for file in folder.glob("*.part-*")] == [".trial.json.part-3"]
