"""Extrema and their indices in compiled code: at every size, with nan, infinities and ties, on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.engines.native.runtime.thread_pool import limited
from cotan.ops import searching

rng = np.random.default_rng(11)
FURTHER = [pytest.param(d, marks=pytest.mark.exhaustive) for d in (np.float32, np.int64, np.int8, np.uint64, np.bool_)]
LONG = searching.PIECES * searching.FEWEST_IN_PIECE
FUNCTIONS = ("max", "min", "argmax", "argmin")


def compiled(name, axis=None):
    return cotan.jit(lambda x: getattr(cnp, name)(x, axis=axis), engine="native")


def numbers(shape, dtype):
    """Numbers with ties."""
    kind = np.dtype(dtype).kind
    x = rng.normal(size=shape) * 30
    return (x > 0) if kind == "b" else (np.abs(x) if kind == "u" else x).round().astype(dtype)


def same(name, x, axis=None):
    found, expected = np.asarray(compiled(name, axis)(x)), getattr(np, name)(x, axis=axis)
    assert found.dtype == np.asarray(expected).dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.float64, np.uint16, *FURTHER])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_extreme_of_an_array_is_numpys(name, dtype):
    for n in (1, 33, 1100):
        same(name, numbers(n, dtype))
    for axis in (0, 1, 2):
        same(name, numbers((5, 34, 9), dtype), axis)
    if name in ("max", "min"):
        same(name, numbers((5, 34, 9), dtype), (0, 2))
        same(name, numbers((), dtype))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["max", "min"])
def test_a_nan_anywhere_makes_the_extreme_nan(name, dtype):
    n = 1500
    whole, rows, columns = compiled(name), compiled(name, 1), compiled(name, 0)
    x = rng.normal(size=n).astype(dtype)
    for place in (*range(0, 70, 3), *range(1000, 1050, 7), n - 1):
        y = x.copy()
        y[place] = np.nan
        assert np.isnan(whole(y))
        table = np.stack([x, y, x])
        np.testing.assert_array_equal(rows(table), getattr(np, name)(table, axis=1))
        np.testing.assert_array_equal(columns(table), getattr(np, name)(table, axis=0))
    np.testing.assert_array_equal(whole(np.full(n, np.nan, dtype)), np.nan)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_infinities_are_numbers_like_others(name):
    for values in ([-np.inf], [np.inf], [-np.inf, np.inf], [np.inf, 0.0, np.nan], [-np.inf, -1e308]):
        for n in (1, 50, 2000):
            same(name, np.resize(np.array(values), n))


@pytest.mark.parametrize("name", ["max", "min"])
def test_the_extreme_of_zeros_is_a_zero(name):
    for zeros in ([0.0, -0.0], [-0.0, 0.0], [-0.0]):
        assert compiled(name)(np.resize(np.array(zeros), 100)) == 0.0


def test_there_is_no_extreme_of_no_elements_and_none_of_no_rows():
    for name in FUNCTIONS:
        with pytest.raises(cotan.errors.CotanError, match="no elements"):
            compiled(name)(np.zeros(0))
        assert compiled(name, 1)(np.zeros((0, 3))).shape == (0,)


@pytest.mark.parametrize("threads", [2, *[pytest.param(n, marks=pytest.mark.exhaustive) for n in (1, 3)]])
@pytest.mark.parametrize("dtype", [np.float64, np.int32, pytest.param(np.bool_, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_threads_find_what_one_finds(name, dtype, threads):
    """In long lines the first of several equal elements, or the first nan, is the one, wherever the pieces of threads meet."""
    whole, rows = compiled(name), compiled(name, 1)
    piece = (20 * LONG + 5) // searching.PIECES
    with limited(threads):
        x = numbers(20 * LONG + 5, dtype)
        same(name, x)
        for place in (0, piece - 1, piece, piece + 4, piece + 5, 7 * piece, x.size - 1):
            for value in [np.nan] if dtype is np.float64 else [False, True] if dtype is np.bool_ else [-1000, 1000]:
                y = x.copy()
                y[[place, min(place + 3, x.size - 1), x.size - 1]] = value
                np.testing.assert_array_equal(whole(y), getattr(np, name)(y))
        table = numbers((100, 20_001), dtype)
        np.testing.assert_array_equal(rows(table), getattr(np, name)(table, axis=1))
