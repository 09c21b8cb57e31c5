"""Pickles read as plain data: nothing in the file is ever called.

Python's `pickle.Unpickler` with a restricted `find_class` executes no foreign
code, but a hostile file still crashes or stalls it: a key of a dict that is a
tuple of tuples, nested a million deep or doubled sixty times, and a memo index
of 2**31. Here `pickletools`, the standard library's own disassembler, splits the
file into operations; of these the few dozen that weight files need are carried
out on lists and dicts, and a global means a Python function only if the format's
reader lists it.
"""

from __future__ import annotations

import dataclasses
import io
import pickletools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from alexnet.weights.errors import WeightsError, shown

# AlexNet's files have some 400; one with an optimizer's state, thousands.
MOST_OPERATIONS = 200_000
# The most that functions may be given in all, in bytes per byte of the file; an
# item counts as _ITEM bytes. A file could otherwise give the same again and again.
MOST_GIVEN = 4
_ITEM = 16
_SLACK = 1 << 20
# torch begins its files with a number of 80 bits.
LARGEST_INT = 1 << 127

# None for what may be referred to, but not called.
Functions = Mapping[str, Callable[..., Any] | None]

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = frozenset(
    [
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
    ]
)
# How many items an operation takes off the stack; the others take all since a mark.
_COUNTS = {
    **dict.fromkeys(("EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT"), 0),
    "TUPLE1": 1,
    "TUPLE2": 2,
    "TUPLE3": 3,
    "APPEND": 1,
    "SETITEM": 2,
}
_DAMAGE = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)


class ForeignPickleError(WeightsError):
    """The pickle may be sound, but holds more than tensors and plain containers."""


@dataclasses.dataclass(frozen=True, eq=False)
class Global:
    """A name that the file refers to, with the function that stands in for it."""

    name: str
    function: Any


class Stateful:
    """What a function of a reader returns if the file then sets its state."""

    def set_state(self, state: Any) -> None:
        raise NotImplementedError


def read_pickle(
    stream: io.BytesIO,
    functions: Functions,
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """Read one pickle from the position of `stream`, which is then after its end.

    Args:
        stream: The file.
        functions: By "module name", what stands in for the file's globals other
            than OrderedDict. They are called with what the file gives, which they
            have to check.
        persistent: Called for the file's references to data outside the pickle.

    Returns:
        dict (keys are str or int), list, tuple, str, bytes, int, float, bool or
        None, and what `functions` and `persistent` return. Python 2's strings
        are decoded as Latin-1.

    Raises:
        WeightsError: The pickle is cut off or damaged.
        ForeignPickleError: It holds anything else.
    """
    size = stream.getbuffer().nbytes
    functions = {"collections OrderedDict": _ordered_dict, **functions}
    machine = _Machine(functions, persistent, MOST_GIVEN * size + _SLACK)
    try:
        with warnings.catch_warnings():
            # pickletools', about escapes in texts.
            warnings.simplefilter("ignore", DeprecationWarning)
            for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
                if count >= MOST_OPERATIONS:
                    raise WeightsError(
                        f"its pickle has more than {MOST_OPERATIONS} operations, far "
                        "more than weights need"
                    )
                machine.step(opcode.name, argument)
        return machine.result()
    except WeightsError:
        raise
    except (*_DAMAGE, MemoryError) as error:
        raise WeightsError(f"its pickle is cut off or damaged ({error})") from error


class _Machine:
    """The stack, the marks in it and the memo."""

    def __init__(
        self,
        functions: Functions,
        persistent: Callable[[Any], Any] | None,
        allowance: int,
    ) -> None:
        self._allowance = allowance
        self._functions = functions
        self._persistent = persistent
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def result(self) -> Any:
        (value,) = self._stack
        if self._below:
            raise ValueError("a mark is left over")
        return value

    def step(self, name: str, argument: Any) -> None:
        match name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                self._push(_CONSTANTS[name])
            case _ if name in _LITERALS:
                if isinstance(argument, int) and abs(argument) > LARGEST_INT:
                    raise ValueError("a number is too large")
                self._push(argument)
            case "MARK":
                self._below.append(self._stack)
                self._stack = []
            case "EMPTY_TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3" | "TUPLE":
                self._push(tuple(self._items(name)))
            case "EMPTY_LIST" | "LIST":
                self._push(self._items(name))
            case "EMPTY_DICT" | "DICT":
                self._push(_dict(self._items(name)))
            case "APPEND" | "APPENDS":
                items = self._items(name)
                _expect(self._stack[-1], list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = self._items(name)
                _expect(self._stack[-1], dict).update(_dict(items))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self._stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = self._stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                self._push(self._memo[argument])
            case "GLOBAL":
                self._push(self._find(argument))
            case "STACK_GLOBAL":
                attribute, module = (_expect(self._pop(), str) for _ in range(2))
                self._push(self._find(f"{module} {attribute}"))
            case "REDUCE":
                arguments = _expect(self._pop(), tuple)
                self._charge(arguments)
                self._push(_expect(self._pop(), Global).function(*arguments))
            case "BUILD":
                state = self._pop()
                # An OrderedDict's attributes, torch's versions, are ignored.
                if not isinstance(self._stack[-1], dict):
                    self._charge(state)
                    _expect(self._stack[-1], Stateful).set_state(state)
            case "BINPERSID" if self._persistent is not None:
                self._push(self._persistent(self._pop()))
            case _:
                raise ForeignPickleError(
                    "its pickle does more than hold tensors and plain containers "
                    f"({name}); it was not executed"
                )

    def _charge(self, given: Any) -> None:
        """Count what a function is given: texts, and items down to the second level."""
        items = given if isinstance(given, tuple | list) else (given,)
        self._allowance -= _ITEM * len(items)
        for item in items:
            if isinstance(item, str | bytes):
                self._allowance -= len(item)
            elif isinstance(item, tuple | list | dict):
                self._allowance -= _ITEM * len(item)
        if self._allowance < 0:
            raise WeightsError(
                "its pickle uses its parts again and again, far more than weights need"
            )

    def _pop(self) -> Any:
        return self._stack.pop()

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _items(self, name: str) -> list[Any]:
        """Take an operation's items off the stack."""
        if name in _COUNTS:
            return [self._pop() for _ in range(_COUNTS[name])][::-1]
        items, self._stack = self._stack, self._below.pop()
        return items

    def _find(self, name: str) -> Global:
        if name not in self._functions:
            raise ForeignPickleError(
                f"its pickle refers to {shown(name.replace(' ', '.', 1))}, which is "
                "neither a tensor nor a plain container; it was not executed"
            )
        return Global(name, self._functions[name])


def _ordered_dict(items: Any = ()) -> dict[Any, Any]:
    pairs = [_expect(item, (list, tuple)) for item in _expect(items, (list, tuple))]
    return _dict([value for key, item in pairs for value in (key, item)])


def _dict(items: list[Any]) -> dict[Any, Any]:
    keys = items[::2]
    for key in keys:
        # Only these have a hash that is quick and never recursive.
        _expect(key, (str, int))
    return dict(zip(keys, items[1::2], strict=True))


def _expect(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise ForeignPickleError(
            f"its pickle is damaged, or holds more than tensors and plain containers "
            f"({shown(value)} is out of place)"
        )
    return value
