"""The record of a trial: all that a search knows of it, as trial.json holds it.

The oracle alone writes records. Whatever is read is checked against the schema
first; nothing here imports Keras or KerasTuner, and nothing that is read names code.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

ENDED = ("COMPLETED", "PRUNED", "FAILED")
Format = Literal[2]  # Of search.json and trial.json.
FORMAT: Format = get_args(Format)[0]
MAX_TEXT = 500
TOLERANCE = 1e-9  # Of floats that are drawn on a logarithmic scale.

_TRIAL_ID = re.compile(r"[0-9]{1,9}")


def is_trial_id(value: Any) -> bool:
    """Return whether a value is a trial's id: a number as text."""
    return isinstance(value, str) and _TRIAL_ID.fullmatch(value) is not None


def _check_finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not finite")
    return value


def _writable(text: Any) -> Any:
    """Return a text with what UTF-8 does not have, as of file names, escaped."""
    if isinstance(text, str):
        return text.encode("utf-8", "backslashreplace").decode()
    return text


Count = Annotated[int, Field(ge=0, le=2**62)]
Number = Annotated[float, AfterValidator(_check_finite)]
TrialId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}$")]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
Value = bool | Annotated[int, Field(ge=-(2**62), le=2**62)] | Number | Text
Values = dict[Text, Value]
History = dict[Text, list[Number]]


class Strict(BaseModel):
    """A schema without conversions, unknown fields and numbers that are not finite."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False
    )


class Failure(Strict):
    """Why a trial failed.

    Attributes:
        kind: "out of memory", "loss not finite" or "no progress", or None.
        message: The traceback, or what ends as one does.
    """

    kind: str | None = None
    message: Annotated[str, BeforeValidator(_writable)]


class Result(NamedTuple):
    """How a trial ended.

    Attributes:
        failure: Why it failed; None if it did not.
        is_pruned: Whether the oracle stopped it early.
        best_epoch: The epoch whose weights are on disk, from 0.
        parameters, multiply_adds: Cost of its network.
        seconds: What its training took.
        notes: What happened to it, for people.
    """

    failure: Failure | None = None
    is_pruned: bool = False
    best_epoch: int | None = None
    parameters: int | None = None
    multiply_adds: int | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()


class TrialRecord(Strict):
    """What a search knows of a trial.

    Attributes:
        trial: Its id, a number as text.
        values: Its hyperparameters, by name.
        seed: Of its initial weights and its batches.
        draws: The oracle's random state after it drew the values.
        is_given: Whether people named the values.
        settings: Of the search, when the values were drawn.
        continues: Hyperband's: the trial whose training this one continues.
        first_epoch, epochs: Where its training begins, and how far it goes.
        bracket, round: Hyperband's: both from 0.
        status: RUNNING, COMPLETED, PRUNED or FAILED.
        run, worker: Who runs it: the run of the search, and the worker's name.
        began, ended: In seconds since 1970; None if it has not.
        history: The metrics of each epoch from `first_epoch` on, by name.
        score: The best value of the objective, if it completed or was pruned.
        best_epoch: The epoch of that value, from 0.
        parameters, multiply_adds: Cost of its network; None if it has none.
        seconds: What its training took.
        notes: What happened to it, for people.
        failure: Why it failed, if it did.
    """

    format: Format = FORMAT
    trial: TrialId
    values: Values
    seed: Count
    draws: Count
    is_given: bool = False
    settings: dict[str, Any]
    continues: TrialId | None = None
    first_epoch: Count = 0
    epochs: Count
    bracket: Count | None = None
    round: Count | None = None
    status: Literal["RUNNING", "COMPLETED", "PRUNED", "FAILED"] = "RUNNING"
    run: Text | None = None
    worker: Text | None = None
    began: Number | None = None
    ended: Number | None = None
    history: History = {}
    score: Number | None = None
    best_epoch: Count | None = None
    parameters: Count | None = None
    multiply_adds: Count | None = None
    seconds: Number | None = None
    notes: list[str] = []
    failure: Failure | None = None

    @model_validator(mode="after")
    def _check_whole(self) -> TrialRecord:
        if len({len(values) for values in self.history.values()}) > 1:
            raise ValueError("its metrics are not of the same epochs")
        number = int(self.trial)
        if self.continues is not None and int(self.continues) >= number:
            raise ValueError("it continues a trial that is not before it")
        if self.bracket is not None and self.bracket > number:
            raise ValueError("its bracket has a number beyond its own")
        if self.status in ("COMPLETED", "PRUNED") and self.score is None:
            raise ValueError("it has no score")
        if self.status == "FAILED" and self.failure is None:
            raise ValueError("it has no failure")
        return self

    @property
    def has_ended(self) -> bool:
        """Whether the trial has ended, in whichever way."""
        return self.status in ENDED

    def replace(self, **changes: Any) -> TrialRecord:
        """Return the record with some fields changed."""
        return self.model_copy(update=changes)

    def again(self) -> TrialRecord:
        """Return the record of a trial that is to run again."""
        drawn = ("trial", "values", "seed", "draws", "is_given", "settings")
        planned = ("continues", "first_epoch", "epochs", "bracket", "round")
        return TrialRecord(**{name: getattr(self, name) for name in drawn + planned})


def parse(content: bytes, trial_id: str, space: list[Any]) -> TrialRecord:
    """Return the record that a trial.json holds.

    Args:
        content: Of the file.
        trial_id: Of the folder that it is in.
        space: KerasTuner's hyperparameters, whose ranges values must be within.

    Raises:
        ValueError: It is damaged; says what is wrong, in one line.
    """
    try:
        record = TrialRecord.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        message = f"{where}: {first['msg']}" if where else first["msg"]
        raise ValueError(message) from error
    if record.trial != trial_id:
        raise ValueError("it is of another trial")
    check_values(record.values, space)
    return record


def check_values(values: dict[str, Any], space: list[Any]) -> None:
    """Check that the values of known hyperparameters are within their ranges.

    Raises:
        ValueError: One is not.
    """
    entries: dict[str, list[Any]] = {}
    for entry in space:
        entries.setdefault(entry.name, []).append(entry)
    for name, value in values.items():
        if name in entries and not any(allows(e, value) for e in entries[name]):
            raise ValueError(f"{name}={value!r}, which is out of range")


def key_of(values: dict[str, Any]) -> str:
    """Return a text that is the same for the same values, whatever their order."""
    return repr(sorted(values.items()))


def allows(entry: Any, value: Any) -> bool:
    """Return whether a hyperparameter of the space may have a value."""
    if not hasattr(entry, "min_value"):
        same = [item for item in entry.values if item == value]  # True == 1 == 1.0
        return any(isinstance(item, bool) == isinstance(value, bool) for item in same)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if type(entry).__name__ == "Int" and not isinstance(value, int):
        return False
    if entry.step is not None:
        return any(math.isclose(value, item) for item in entry.values)
    slack = TOLERANCE * max(abs(entry.min_value), abs(entry.max_value))
    return bool(entry.min_value - slack <= value <= entry.max_value + slack)
