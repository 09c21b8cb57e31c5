"""The record of a trial: its schema, and what of it a file may hold."""

from __future__ import annotations

import json

import pytest
from driven_oracle import FAILED, end, new_oracle
from hypothesis import given
from hypothesis import strategies as st

from tuning.store.records import (
    Failure,
    TrialRecord,
    allows,
    check_values,
    is_trial_id,
    parse,
)

KEYS = set(TrialRecord.model_fields)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    """Return an oracle of Hyperband with one trial that ended, and one that runs."""
    oracle = new_oracle(tmp_path_factory.mktemp("search"), "hyperband")
    end(oracle, oracle.suggest("worker-0").trial)
    oracle.suggest("worker-0")
    return oracle


@pytest.fixture
def stored(oracle):
    """Return what the record of a trial that ended holds, as plain data."""
    return json.loads(oracle.store.trial_file("0").read_bytes())


def read(oracle, content, trial_id="0"):
    """Return the record that plain data is."""
    return parse(json.dumps(content).encode(), trial_id, oracle.space.entries)


def test_records_are_read_as_they_were_written(oracle, tmp_path):
    """A record of any status is on disk what the oracle holds, one line of JSON."""
    failing = new_oracle(tmp_path)
    for worker in range(4):
        failing.suggest(f"worker-{worker}")
    end(failing, "0")
    end(failing, "1", FAILED)
    end(failing, "2", FAILED._replace(failure=Failure(kind="no progress", message="é")))
    for one in (oracle, failing):
        for trial_id, record in one.records.items():
            content = one.store.trial_file(trial_id).read_bytes()
            assert content.endswith(b"}\n")
            assert content.count(b"\n") == 1
            assert parse(content, trial_id, one.space.entries) == record


CHANGES = {
    "another-trial": {"trial": "1"},
    "a-path": {"trial": "../../etc"},
    "a-newline": {"trial": "0\n"},
    "a-number-as-id": {"trial": 0},
    "another-format": {"format": 3},
    "unknown-field": {"code": "import os"},
    "unknown-status": {"status": "DONE"},
    "no-score": {"score": None},
    "score-as-text": {"score": "0.5"},
    "infinite-score": {"score": float("inf")},
    "no-number-as-score": {"score": float("nan")},
    "failed-for-nothing": {"status": "FAILED"},
    "failure-of-a-number": {"status": "FAILED", "failure": {"message": 3}},
    "failure-with-more": {"status": "FAILED", "failure": {"message": "", "a": 1}},
    "negative-seed": {"seed": -1},
    "huge-seed": {"seed": 2**63},
    "true-seed": {"seed": True},
    "fraction-of-epochs": {"epochs": 1.5},
    "text-of-epochs": {"epochs": "3"},
    "negative-first-epoch": {"first_epoch": -1},
    "huge-bracket": {"bracket": 2**61},
    "continues-itself": {"continues": "0"},
    "continues-a-later-one": {"continues": "7"},
    "continues-nothing": {"continues": ""},
    "history-of-numbers": {"history": {"val_accuracy": 3}},
    "history-of-texts": {"history": {"val_accuracy": ["3"]}},
    "uneven-history": {"history": {"val_accuracy": [0.5], "loss": [1.0, 0.5]}},
    "infinite-history": {"history": {"val_accuracy": [float("-inf")]}},
    "history-as-list": {"history": [0.5]},
    "notes-as-text": {"notes": "a note"},
    "notes-of-numbers": {"notes": [3]},
    "ended-never": {"ended": float("inf")},
    "settings-as-text": {"settings": "all"},
    "values-as-list": {"values": [1]},
    "nested-values": {"values": {"batch_size": [16]}},
    "long-text": {"values": {"optimizer": "a" * 501}},
    "long-name": {"values": {"a" * 501: 1}},
    "huge-value": {"values": {"filters_1": 10**30}},
    "value-out-of-range": {"values": {"batch_size": 17}},
    "true-for-a-number": {"values": {"weight_decay": True}},
    "text-for-a-number": {"values": {"weight_decay": "1"}},
    "number-out-of-range": {"values": {"weight_decay": 1e9}},
    "another-optimizer": {"values": {"optimizer": "lion"}},
    "none-as-value": {"values": {"optimizer": None}},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_what_no_record_can_hold_is_refused(oracle, stored, changes):
    """A wrong type, name, number, size or relation is damage, reported in one line."""
    assert read(oracle, stored) == oracle.records["0"]
    for name, value in changes.items():
        old = stored.get(name)
        both = isinstance(old, dict) and isinstance(value, dict) and name == "values"
        stored[name] = {**old, **value} if both else value
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        read(oracle, stored)


@pytest.mark.parametrize("name", ["trial", "values", "seed", "draws", "settings"])
def test_what_every_record_has_is_needed(oracle, stored, name):
    """A record that lacks what it begins with is damaged; the message says what."""
    del stored[name]
    with pytest.raises(ValueError, match=f"{name}: Field required"):
        read(oracle, stored)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"null", b'{"a": 1}', b"\0" * 99, b"\xff\xfe", b"[" * 10**5],
)
def test_what_is_no_record_is_refused(oracle, content):
    """A file that is cut off, empty or of something else is damage, in one line."""
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        parse(content, "0", oracle.space.entries)


@given(st.dictionaries(st.sampled_from(sorted(KEYS)) | st.text(), PLAIN))
def test_any_content_is_a_record_or_refused(content):
    """Whatever a field holds, reading gives a record that is itself, or ValueError."""
    whole = {"trial": "3", "values": {}, "seed": 1, "draws": 1, "epochs": 1}
    text = json.dumps({**whole, "settings": {}, **content}).encode()
    try:
        record = parse(text, "3", [])
    except ValueError:
        return
    assert parse(record.model_dump_json().encode(), "3", []) == record


def test_a_record_is_not_changed_but_replaced(oracle):
    """Records are frozen: only the oracle replaces them."""
    with pytest.raises(ValueError, match="frozen"):
        oracle.records["0"].score = 1.0


def test_a_trial_to_run_again_keeps_what_was_drawn(oracle):
    """What a trial is stays; what became of it is gone."""
    record = oracle.records["0"]
    again = record.again()
    first = oracle.records["1"]
    for name in ("trial", "values", "seed", "draws", "epochs", "bracket", "round"):
        assert getattr(again, name) == getattr(record, name)
    for name in ("status", "score", "history", "ended", "seconds", "notes", "failure"):
        assert getattr(again, name) == getattr(first, name)
    assert (again.run, again.worker, again.began) == (None, None, None)


@pytest.mark.parametrize("value", ["", "a", "-1", "1.0", "1\n", "1234567890", 1, None])
def test_ids_are_short_numbers_as_text(value):
    """An id has one to nine digits and nothing else; it becomes a folder's name."""
    assert is_trial_id("0")
    assert is_trial_id("012345678")
    assert not is_trial_id(value)


def test_values_are_of_their_hyperparameters(oracle):
    """Each value in its range passes; unknown names are another version's."""
    entries = oracle.space.entries
    default = oracle.space.default
    check_values({**default, "unknown": 3}, entries)
    by_name = {entry.name: entry for entry in entries}
    decay = by_name["weight_decay"]
    for value in (decay.min_value, decay.max_value, decay.max_value * (1 + 1e-12)):
        assert allows(decay, value)
    assert not allows(decay, decay.max_value * 1.001)
    assert allows(by_name["batch_size"], 16.0)
    assert not allows(by_name["batch_size"], True)
    with pytest.raises(ValueError, match="batch_size=3, which is out of range"):
        check_values({**default, "batch_size": 3}, entries)
