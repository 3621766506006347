"""A Size computes as a number does, for all sizes that meet the conditions of its log; whatever looks at its value says so in the log."""

from __future__ import annotations

import copy
import functools
import json
import math
import operator
import pickle
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cotan.core.sizes import Size, SizeLog, as_index, integer, is_int, real

INTEGER = (operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod, max, min)
FLOAT = (operator.truediv, lambda a, b: a * 0.5 + b, lambda a, b: math.ceil(a / 3) - b, lambda a, b: math.floor(b * 1.5) + a)
OTHER = (lambda a, b: a << (b % 3), lambda a, b: a >> (b % 2), lambda a, b: (a + b) ** 2, lambda a, b: abs(a - b), lambda a, b: -a + b)


@st.composite
def programs(draw):
    """A function of two sizes: steps on the values so far, and a choice by a comparison."""
    steps = draw(
        st.lists(st.tuples(st.sampled_from([*INTEGER, *FLOAT, *OTHER]), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8)
    )
    constants = draw(st.lists(st.integers(-3, 70), min_size=2, max_size=2))
    turn = draw(st.integers(-5, 60))

    def function(n, m):
        values = [n, m, *constants]
        for step, i, j in steps:
            a, b = values[i % len(values)], values[j % len(values)]
            if (step in OTHER or step in (operator.floordiv, operator.mod)) and not (is_int(a) and is_int(b)):
                continue
            values.append(step(a, b))
        return (values[-1], values[-1] > turn, n * 1.0 if values[-2] == turn else m - n)

    return function


def plain(x):
    return x.value if type(x) is Size else x


@settings(max_examples=400, deadline=None)
@given(programs(), st.integers(1, 80), st.integers(1, 80), st.lists(st.tuples(st.integers(0, 80), st.integers(0, 80)), max_size=20))
def test_a_run_on_sizes_is_right_for_all_sizes_that_meet_its_conditions(function, n, m, others):
    log = SizeLog()
    try:
        expected = function(n, m)
    except ArithmeticError:
        with pytest.raises(ArithmeticError):
            function(log.variable(n), log.variable(m))
        return
    found = function(log.variable(n), log.variable(m))
    assert tuple(map(plain, found)) == expected
    assert [type(plain(x)) for x in found] == [type(x) for x in expected]
    at = log.function(found)
    assert at(n, m) == expected
    for other in others:
        try:
            served = at(*other)
        except ArithmeticError:
            continue
        if served is not None:
            assert served == function(*other)


def test_integers_have_one_expression():
    n, m = (log := SizeLog()).variable(10), log.variable(4)
    assert (n - 1 + 1).text == n.text
    assert (n * m + n - m * n) is not n
    assert (n * m + n - m * n).text == n.text
    assert ((4 * n + 3) // 4).text == n.text
    assert type(n - n) is int
    assert type(0 * n) is int
    assert (n * m // m).text == n.text
    assert hash((n + m).text) == hash((m + n).text)
    assert log.steps == ["if not (n1 != 0): return None"], "division by m; nothing else depends on a value"


def test_to_isinstance_it_is_a_number():
    n = SizeLog().variable(10)
    assert isinstance(n, int)
    assert not isinstance(n, float | bool | np.integer)
    assert isinstance(n / 3, float)
    assert isinstance(math.ceil(n / 3), int)


LOOKED_AT = {
    "range": range,
    "float": float,
    "int": int,
    "index": operator.index,
    "complex": complex,
    "repr": repr,
    "str": str,
    "format": "{}".format,
    "hash": hash,
    "key": {10: 1}.get,
    "set": lambda n: n in {1, 10},
    "tuple": lambda n: {(n, 2): 0},
    "zeros": np.zeros,
    "arange": np.arange,
    "asarray": np.asarray,
    "list": lambda n: [0] * n,
    "item": lambda n: list(range(50))[n],
    "slice": lambda n: list(range(50))[:n],
    "math": math.sqrt,
    "gcd": lambda n: math.gcd(n, 4),
    "counter": lambda n: Counter([n]),
    "cache": functools.lru_cache(lambda n: [1]),
    "text": lambda n: "a" * n,
    "percent": lambda n: operator.mod("%d", n),
    "fraction": Fraction,
    "to_bytes": lambda n: n.to_bytes(4, "little"),
    "numpy array": lambda n: np.arange(3) * n,
    "nested": lambda n: np.asarray([n, 2]),
    "pickle": pickle.dumps,
    "round": lambda n: round(n / 3, 2),
    "numpy index": lambda n: np.arange(50)[n],
    "broadcast": lambda n: np.broadcast_to(1.0, (n, 2)),
    "bytes": bytes,
    "pow": lambda n: pow(n, -1, 7),
}


@pytest.mark.parametrize("what", LOOKED_AT)
def test_what_looks_at_the_value_is_noted(what):
    log = SizeLog()
    n = log.variable(10)
    try:
        found = LOOKED_AT[what](n)
    except TypeError:
        return  # refused, which is as good
    expected = LOOKED_AT[what](10)
    assert type(found) is type(expected)
    if what != "pickle":
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
    assert log.fixed, "the run is for this size alone"
    at = log.function([])
    assert at(10) == ()
    assert at(11) is None


def test_a_size_is_no_int_for_code_that_asks_for_the_class():
    with pytest.raises(TypeError, match="JSON"):
        json.dumps(SizeLog().variable(10))


def test_functions_of_numpy_on_numbers_are_expressions():
    log = SizeLog()
    n = log.variable(16)
    root, scaled = np.sqrt(n), np.float64(0.5) * n
    at = log.function([root, scaled, n.converted(np.dtype(np.float32)), real(n)])
    found = at(25)
    assert found == (5.0, 12.5, np.float32(25), 25.0)
    assert [type(x) for x in found] == [np.float64, np.float64, np.float32, float]
    assert not log.fixed


def test_what_is_one_value_for_many_sizes_may_be_looked_at():
    log = SizeLog()
    n = log.variable(1000)
    assert list(range(n // 300)) == [0, 1, 2]
    assert not log.fixed
    at = log.function([n])
    assert at(1199) == (1199,)
    assert at(1200) is None


def test_a_comparison_with_a_number_that_it_has_fixes_it():
    log = SizeLog()
    n, m = log.variable(7), log.variable(7)
    assert n == m
    assert not log.fixed
    assert n == 7
    assert log.fixed


def test_when_its_log_is_closed_it_is_a_plain_number():
    log = SizeLog()
    n = log.variable(10)
    log.close()
    assert type(n + 1) is int
    assert type(n * 0.5) is float
    assert {10: "ten"}[n] == "ten"
    assert f"{n}" == "10"
    assert (n, 3) == (10, 3)
    assert not log.steps


def test_sizes_of_two_logs_are_compared_by_their_values():
    one, other = SizeLog(), SizeLog()
    assert one.variable(5) == other.variable(5)
    assert one.variable(5) != other.variable(6)
    assert one.fixed
    assert other.fixed


def test_it_is_its_own_copy():
    n = SizeLog().variable(3)
    assert copy.copy(n) is n
    assert copy.deepcopy([n])[0] is n
    assert as_index(n) is n
    assert integer(n) is n
    assert as_index(np.int64(3)) == 3
