"""Selection in compiled code finds the element that a stable sort would put at a rank; medians and quantiles, with derivatives, use it."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.core.op import REGISTRY
from cotan.engines.native.runtime.thread_pool import limited
from cotan.ops import selecting, sorting
from cotan.ops.searching import Argpartition, Argselect

rng = np.random.default_rng(23)
FURTHER = [pytest.param(d, marks=pytest.mark.exhaustive) for d in (np.float32, np.int32, np.uint64, np.int16, np.bool_, np.complex128)]


def hard(n, dtype):
    """Lines with ties, zeros of both signs, extreme numbers and nan."""
    kind = np.dtype(dtype).kind
    x = (rng.normal(size=n) * 20).round()
    x = (np.abs(x) if kind in "ub" else x).astype(dtype)
    yield x
    yield np.sort(x)[::-1].copy()
    yield np.full(n, 3, dtype)
    if kind in "iu":
        limits = np.iinfo(dtype)
        yield rng.integers(limits.min, limits.max, n, dtype, endpoint=True)
        yield np.resize(np.array([limits.min, limits.max, 0], dtype), n)
    if kind == "f":
        yield rng.normal(size=n).astype(dtype)
        x = x.copy()
        x[::3], x[1::5], x[2::7], x[3::11], x[4::13] = -0.0, np.nan, np.inf, -np.inf, np.finfo(dtype).smallest_subnormal
        yield x
        yield np.full(n, np.nan, dtype)
        yield np.resize(np.array([1.0, 1.0, np.nan, -np.nan], dtype), n)


def selects_as_a_stable_sort(x, ranks, axis):
    found = cotan.jit(Argselect(tuple(ranks), axis), engine="native")(x)
    np.testing.assert_array_equal(np.asarray(found), np.take(np.argsort(x, axis, kind="stable"), ranks, axis))


@pytest.mark.parametrize("dtype", [np.float64, np.int64, *FURTHER])
@pytest.mark.parametrize("n", [selecting.FEWEST, 131, selecting.FEWEST_FOR_WIDE + 1])
def test_a_selected_element_is_that_of_a_stable_sort(n, dtype):
    for x in hard(n, dtype):
        for ranks in ((0,), (n // 2 - 1, n // 2), (n - 1, n // 3, n // 3 + 1, 0, n - 2)):
            selects_as_a_stable_sort(x, ranks, 0)


def test_every_rank_of_a_line_is_found():
    x = np.resize(np.array([2.0, 1.0, 1.0, np.nan, -0.0, 0.0, 5.0]), selecting.FEWEST + 2)
    order = np.argsort(x, kind="stable")
    f = {k: cotan.jit(Argselect((k, k + 1), 0), engine="native") for k in range(0, len(x) - 1, 9)}
    for k, select in f.items():
        np.testing.assert_array_equal(np.asarray(select(x)), order[k : k + 2])


@pytest.mark.parametrize("threads", [2, *[pytest.param(n, marks=pytest.mark.exhaustive) for n in (1, 3, 40)]])
def test_lines_are_divided_among_threads(threads):
    with limited(threads):
        for shape, axis in (((70, 400), 1), ((400, 70), 0), ((5, 300, 30), 1), ((2, 3, 5000), 2), ((0, 200), 1)):
            x = (rng.normal(size=shape) * 10).round()
            selects_as_a_stable_sort(x, (7, 8, shape[axis] // 2), axis)


# ---- partitions ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [np.float64, np.int32, *[pytest.param(d, marks=pytest.mark.exhaustive) for d in (np.float32, np.uint64)]])
@pytest.mark.parametrize("n", [selecting.FEWEST, selecting.FEWEST_FOR_WIDE + 1])
def test_a_partition_has_what_is_less_before_and_what_is_greater_behind(n, dtype):
    for x in hard(n, dtype):
        for rank in (0, n // 3, n - 1):
            order = np.asarray(cotan.jit(Argpartition(rank, 0), engine="native")(x))
            np.testing.assert_array_equal(order, Argpartition(rank, 0).impl(x))
            np.testing.assert_array_equal(np.sort(order), np.arange(n))
            y, value = x[order], np.sort(x)[rank]
            np.testing.assert_array_equal(y[rank], value)
            np.testing.assert_array_equal(np.sort(y[:rank]), np.sort(x)[:rank])
            np.testing.assert_array_equal(np.sort(y[rank:]), np.sort(x)[rank:])


@pytest.mark.parametrize("axis", [0, 1, -1, None])
@pytest.mark.parametrize("kth", [3, -2, (1, 5)])
def test_partitions_along_an_axis_are_differentiated_as_what_they_move(axis, kth):
    x = (rng.normal(size=(150, 140)) * 30).round()
    y = np.asarray(cotan.jit(lambda x: cnp.partition(x, kth, axis), engine="native")(x))
    order = np.asarray(cotan.jit(lambda x: cnp.argpartition(x, kth, axis), engine="native")(x))
    flat, along = (x.ravel(), 0) if axis is None else (x, axis)
    np.testing.assert_array_equal(y, np.take_along_axis(flat, order, along))
    places = list(kth) if isinstance(kth, tuple) else [kth]
    np.testing.assert_array_equal(np.take(y, places, along), np.take(np.sort(x, axis), places, along))
    w = rng.normal(size=y.shape)
    found = cotan.jit(cotan.grad(lambda x: cnp.sum(w * cnp.partition(x, kth, axis))), engine="native")(x)
    expected = np.zeros_like(flat)
    np.put_along_axis(expected, order, w, along)
    np.testing.assert_array_equal(np.asarray(found), expected.reshape(x.shape))


# ---- medians and quantiles ----------------------------------------------------------------------------------------------------------
N = selecting.FEWEST + 3
FUNCTIONS = {
    "median": lambda xp, x: xp.median(x, -1),
    "median of all": lambda xp, x: xp.median(x),
    "median, axis 0": lambda xp, x: xp.median(x, 0, keepdims=True),
    "quantile": lambda xp, x: xp.quantile(x, 0.3, -1),
    "quantiles": lambda xp, x: xp.quantile(x, np.array([[0.0, 0.5], [0.25, 1.0]]), -1),
    "many quantiles": lambda xp, x: xp.quantile(x, np.linspace(0, 1, 9), -1),
    "percentile": lambda xp, x: xp.percentile(x, np.array([10.0, 90.0]), -1, method="hazen"),
    "quantile of no places": lambda xp, x: xp.quantile(x, np.zeros(0), -1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("n", [N, N + 1])
def test_order_statistics_are_numpys(name, n):
    f = FUNCTIONS[name]
    compiled = cotan.jit(lambda x: f(cnp, x), engine="native")
    x = rng.normal(size=(3, n))
    holes = x.copy()
    holes[1, n // 2] = np.nan
    ends = np.where(np.abs(x) > 1.0, np.copysign(np.inf, x), x)
    for y in (x, x.round(), holes, ends):
        with np.errstate(invalid="ignore"):
            expected = f(np, y)
        np.testing.assert_allclose(np.asarray(compiled(y)), expected, rtol=1e-14, atol=1e-15)
    y = (x * 10).astype(np.int32)
    np.testing.assert_allclose(np.asarray(cotan.jit(lambda x: f(cnp, x), engine="native")(y)), f(np, y), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("engine", ["native", "numpy"])
@pytest.mark.parametrize("n", [N, N + 1])
def test_the_derivative_of_a_median_is_that_of_the_sorted_elements_in_the_middle(n, engine):
    def by_sorting(x):
        y = sorting.sort(x, 0)
        return (y[(n - 1) // 2] + y[n // 2]) / 2.0

    x = rng.normal(size=n)
    for y in (x, x.round(), np.zeros(n)):  # at ties the stable order decides
        expected = np.asarray(cotan.grad(by_sorting)(y))
        assert np.count_nonzero(expected) == 2 - n % 2
        np.testing.assert_array_equal(np.asarray(cotan.jit(cotan.grad(cnp.median), engine=engine)(y)), expected)
        np.testing.assert_array_equal(np.asarray(cotan.grad(cnp.median)(y)), expected)


def test_medians_are_batched_and_differentiated_in_every_order():
    x = rng.normal(size=(4, N))
    rows = cotan.jit(cotan.vmap(cotan.grad(lambda x: cnp.median(x) ** 3)), engine="native")(x)
    for row, line in zip(np.asarray(rows), x, strict=True):
        middle = np.argsort(line)[N // 2]
        np.testing.assert_allclose(row[middle], 3 * line[middle] ** 2, rtol=1e-14)
        assert np.count_nonzero(row) == 1
    assert cotan.testing.check_rule(lambda x: cnp.quantile(x, 0.37), (x[0],)).ok


def test_the_derivative_in_the_place_of_a_quantile_is_the_slope_between_elements():
    x = np.sort(rng.normal(size=N))
    slope = cotan.jit(cotan.grad(lambda q: cnp.quantile(x, q)), engine="native")(40.5 / (N - 1))
    np.testing.assert_allclose(slope, (x[41] - x[40]) * (N - 1), rtol=1e-12)


def test_selection_is_refused_where_there_is_no_such_rank():
    with pytest.raises(cotan.errors.ShapeError, match="ranks"):
        cotan.jit(Argselect((5,), 0))(np.zeros(5))
    with pytest.raises(cotan.errors.ShapeError, match="rank"):
        cotan.jit(Argpartition(5, 0))(np.zeros(5))
    assert REGISTRY["argselect"] is Argselect
