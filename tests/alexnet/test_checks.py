"""Argument checks, and the arguments that are Keras objects."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet import checks
from alexnet.layers import arguments

# Neither numbers nor sequences of any kind that a check takes.
ODDITIES = [None, "x", 1.5, True, float("nan"), [1, 2, 3], {}, object]


def named(name, value):
    """Match a message that holds the argument's name and the value received."""
    return f"{name}.*received.*{re.escape(f'{name}={value!r}')}"


class BytesPath:
    """What `os.scandir` yields if it was given bytes."""

    def __fspath__(self):
        return b"x"


REFUSED = [
    *[(checks.check_int, (0,), value) for value in [*ODDITIES, -1, (1, 2)]],
    (checks.check_int, (0, 5), 6),
    *[(checks.check_float, (), v) for v in [None, "x", True, [1.0], float("inf")]],
    (checks.check_float, (0.0,), -0.5),
    (checks.check_float, (0.0, 1.0), 1.5),
    *[(checks.check_bool, (), value) for value in [None, 0, 1, "yes"]],
    *[(checks.check_choice, (("a", 1),), value) for value in [None, "b", True, 1.0]],
    *[
        (checks.check_pair, (), v)
        for v in [None, "ab", 1.5, (), (1,), (3, 0), (1, 2.5)]
    ],
    *[(checks.check_letters, (), value) for value in [None, 1, "B", "a1", "a\n"]],
    *[(checks.check_path, (), value) for value in [None, 5, b"x", BytesPath()]],
    *[(checks.check_padding, (), v) for v in [None, "full", 1.5, True, (1, 2)]],
    *[
        (checks.check_padding, (), v)
        for v in [((1, 2),), ((0, -1), (0, 0)), ((1, 2), 3)]
    ],
    *[(checks.check_size, (), value) for value in ["x", 1.5, True, (1,), (1, 2, 3)]],
    *[
        (checks.check_ints, (), value)
        for value in [None, 4096, "x", {1}, (0,), (8, "x")]
    ],
    *[
        (lambda _, value: checks.check_image_shape(value), (), value)
        for value in [None, 32, (32, 32), (0, 32, 3), (9, 9, 0), (9, 9, 5), (9, 2.5, 3)]
    ],
    *[
        (arguments.check_activation, (), value)
        for value in ["rulu", keras.layers.ReLU, 3]
    ],
    *[(arguments.check_activation, (), v) for v in [keras.layers.ReLU(), lambda x: x]],
    *[(arguments.check_initializer, (), value) for value in ["he", None, 3]],
]


@pytest.mark.parametrize(("check", "rest", "value"), REFUSED)
def test_refusal_names_argument_and_value(check, rest, value):
    """A refused argument's error says its name and the value received."""
    name = "image_shape" if "lambda" in check.__name__ else "argument"
    with pytest.raises((TypeError, ValueError), match=named(name, value)):
        check(name, value, *rest)


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-50, 50))
def test_check_int_takes_exactly_its_range(value, one, other):
    """Whole numbers pass if and only if they lie between the bounds, both inclusive."""
    low, high = sorted((one, other))
    if low <= value <= high:
        assert checks.check_int("n", np.int64(value), low, high) == value
        assert type(checks.check_int("n", np.int64(value), low, high)) is int
    else:
        with pytest.raises(ValueError, match=f"from {low} to {high}; .*n={value}"):
            checks.check_int("n", value, low, high)


@given(st.floats(-2, 2), st.floats(-2, 2))
def test_check_float_has_inclusive_and_exclusive_bounds(value, bound):
    """`minimum` and `maximum` are allowed values; `above` and `below` are not."""

    def passes(*args, **kwargs):
        try:
            return checks.check_float("x", value, *args, **kwargs) == value
        except ValueError:
            return False

    assert passes(bound) == (value >= bound)
    assert passes(maximum=bound) == (value <= bound)
    assert passes(above=bound) == (value > bound)
    assert passes(below=bound) == (value < bound)


def test_values_come_back_in_their_normal_form():
    """Checks turn lists into tuples and single numbers into what they stand for."""
    assert checks.check_pair("a", 3) == (3, 3)
    assert checks.check_pair("a", [3, 4]) == (3, 4)
    assert checks.check_padding("a", 2) == ((2, 2), (2, 2))
    assert checks.check_padding("a", [[0, 1], [2, 3]]) == ((0, 1), (2, 3))
    assert checks.check_image_shape([8, 9, 3]) == (8, 9, 3)
    assert checks.check_ints("a", [1, 2]) == (1, 2)
    assert checks.check_size("a", 3) == 3
    assert checks.check_size("a", [3, 4]) == (3, 4)
    assert checks.check_size("a", None) is None
    assert checks.check_letters("a", "") == ""
    assert checks.check_path("a", "b/c") == Path("b/c")
    assert checks.check_path("a", Path("b")) == Path("b")


def test_unknown_names_suggest_the_nearest():
    """A misspelt name is answered with the nearest one and the whole list."""
    with pytest.raises(
        KeyError, match=r"no tap 'rellu3'\. Did you mean 'relu3'\?.*fc6, "
    ):
        raise KeyError(checks.unknown("tap", "rellu3", ["relu3", "fc6"]))


def test_initializers_of_different_layers_differ():
    """Layers that are given one initializer draw values of their own."""
    shared = keras.initializers.HeNormal()
    one, other = (arguments.own_initializer(shared) for _ in range(2))
    assert not np.array_equal(one((3, 3)), other((3, 3)))
    seeded = keras.initializers.HeNormal(seed=3)
    one, other = (arguments.own_initializer(seeded) for _ in range(2))
    assert np.array_equal(one((3, 3)), other((3, 3)))
