"""Scatter in compiled code: many threads give the result of one, except for the order of sums."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.engines.native.codegen import lower
from cotan.engines.native.codegen.kernels import scatter
from cotan.engines.native.runtime.thread_pool import limited
from cotan.errors import DtypeError
from cotan.ops.indexing import SCATTER_KINDS, Scatter

rng = np.random.default_rng(31)
N, PLACES = 60_000, 500
KINDS = ("add", "mul", "min", "max", "set")
DTYPES = [np.float64, np.int32, *[pytest.param(d, marks=pytest.mark.exhaustive) for d in (np.float32, np.uint8, np.int64, np.bool_)]]
THREADS = [2, *[pytest.param(n, marks=pytest.mark.exhaustive) for n in (1, 3, 9)]]


def updates_of(shape, dtype, kind):
    x = rng.normal(size=shape)
    if kind == "mul":
        x = 1 + 0.01 * x if np.dtype(dtype).kind == "f" else np.sign(x)
    elif np.dtype(dtype).kind != "f":
        x = x * 50
    return (np.abs(x) if np.dtype(dtype).kind == "u" else x).astype(dtype)


def close(found, expected, kind):
    assert found.dtype == expected.dtype
    if expected.dtype.kind == "f" and kind in ("add", "mul"):
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
        tolerance = 300 * np.finfo(expected.dtype).eps
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=50 * tolerance)
    else:
        np.testing.assert_array_equal(found, expected)


def scattered(op, *operands):
    return np.asarray(cotan.jit(op, engine="native")(*operands))


@pytest.fixture
def divided(monkeypatch):
    """The number of updates that were divided among threads."""
    counted = []

    class Counting(scatter.Scatter):
        def apart(self, most):
            counted.append(most)
            super().apart(most)

    monkeypatch.setattr(scatter, "Scatter", Counting)
    assert lower.scatter is scatter.scatter
    return counted


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_many_updates_meet_as_in_numpy(kind, dtype, threads, divided):
    if np.dtype(dtype).kind not in SCATTER_KINDS[kind]:
        with pytest.raises(DtypeError):
            scattered(Scatter(kind), updates_of(PLACES, dtype, kind), updates_of(N, dtype, kind), np.zeros(N, np.int64))
        return
    with limited(threads):
        x = updates_of(PLACES, dtype, kind)
        index = rng.integers(-PLACES, PLACES, N)
        u = updates_of(N, dtype, kind)
        op = Scatter(kind)
        close(scattered(op, x, u, index), op.impl(x, u, index), kind)
        op = Scatter(kind, "drop")
        wild = rng.integers(-2 * PLACES, 2 * PLACES, N, np.int32)
        close(scattered(op, x, u, wild), op.impl(x, u, wild), kind)
    assert len(divided) == (0 if kind == "set" else 2)


@pytest.mark.parametrize("threads", THREADS)
def test_rows_and_tables_of_updates_meet_as_in_numpy(threads, divided):
    with limited(threads):
        for mode in ("raise", "clip", "wrap"):
            op, x, u = Scatter("add", mode), rng.normal(size=(40, 3)), rng.normal(size=(N, 3))
            index = rng.integers(0, 40 if mode == "raise" else 90, N)
            close(scattered(op, x, u, index), op.impl(x, u, index), "add")
        op, x, u = Scatter("max"), rng.normal(size=(30, 20)), rng.normal(size=(2, 3, N // 6))
        indices = [rng.integers(0, n, u.shape) for n in x.shape]
        close(scattered(op, x, u, *indices), op.impl(x, u, *indices), "max")
    assert len(divided) == 4


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_sums_of_updates_depend_on_the_number_of_threads_alone(threads):
    f = cotan.jit(lambda x, u, i: x.at[i].add(u), engine="native")
    x, u, index = np.zeros(PLACES), rng.normal(size=N), rng.integers(0, PLACES, N)
    with limited(threads):
        first, *others = [np.asarray(f(x, u, index)).tobytes() for _ in range(10)]
    assert set(others) == {first}
    if threads == 1:
        np.add.at(x, index, u)
        assert first == x.tobytes()


def test_a_target_that_is_not_reached_keeps_its_numbers():
    """What threads begin with changes nothing: not the sign of a zero, nor a nan."""
    x = np.array([-0.0, 0.0, np.nan, np.inf, -np.inf, 5e-324] * 50)
    index = np.zeros(N, np.int64)
    for kind in ("add", "mul", "min", "max"):
        u = np.ones(N) if kind != "add" else np.full(N, -0.0)
        with limited(2):
            found = scattered(Scatter(kind), x, u, index)
        np.testing.assert_array_equal(found[1:], x[1:])
        np.testing.assert_array_equal(np.signbit(found[1:]), np.signbit(x[1:]))


def test_a_nan_among_the_updates_reaches_its_place_alone():
    u, index = rng.normal(size=N), rng.integers(1, PLACES, N)
    u[N // 2], index[N // 2] = np.nan, 0
    for kind in ("add", "mul", "min", "max"):
        with limited(2):
            found = scattered(Scatter(kind), np.ones(PLACES), u, index)
        assert np.isnan(found[0])
        assert not np.isnan(found[1:]).any()


def test_a_large_target_is_left_to_one_thread_and_no_updates_change_nothing(divided):
    x, u, index = rng.normal(size=N), rng.normal(size=N), rng.integers(0, N, N)
    np.testing.assert_array_equal(scattered(Scatter("add"), x, u, index), Scatter("add").impl(x, u, index))
    np.testing.assert_array_equal(scattered(Scatter("add"), x, u[:0], index[:0]), x)
    assert divided == []


def test_the_gradient_of_a_gather_of_many_is_a_sum_over_those_who_read():
    index, w = rng.integers(0, PLACES, N), rng.normal(size=N)
    with limited(2):
        found = cotan.jit(cotan.grad(lambda x: cnp.sum(w * x[index])), engine="native")(np.zeros(PLACES))
    np.testing.assert_allclose(np.asarray(found), np.bincount(index, w, PLACES), rtol=1e-12, atol=1e-12)


# ---- updates of rows ---------------------------------------------------------------------------------------------------------------
def rotated(x):
    return cnp.sin(x) * cnp.roll(x, 1) + cnp.exp(-(cnp.roll(x, -1) ** 2))


@pytest.mark.parametrize("n", [3, 16, 17, 50, 64, 65, 200])
@pytest.mark.parametrize("jacobian", [cotan.jacrev, cotan.jacfwd, cotan.hessian], ids=lambda f: f.__name__)
def test_updates_of_rows_short_and_long(n, jacobian):
    """Rows of up to 512 bytes are written anew where half of them changes; longer ones are changed in place."""
    f = rotated if jacobian is not cotan.hessian else lambda x: cnp.sum(rotated(x) ** 2)
    x = rng.normal(size=n)
    np.testing.assert_allclose(cotan.jit(jacobian(f))(x), jacobian(f)(x), rtol=1e-12, atol=1e-12)


def test_few_passes_over_rows_of_which_most_is_changed():
    report = cotan.compile_report(cotan.jacrev(rotated))(rng.normal(size=50))
    (program,) = report.programs
    assert not any(line.strip().startswith("add_slice[") for line in program.splitlines())


@pytest.mark.parametrize("n", [8, 40])
def test_single_numbers_in_long_rows_are_changed_in_place(n):
    """Sixty of them would take sixty times as long if each wrote its row anew."""

    def f(x):
        for k in range(n):
            x = cnp.asarray(x).at[:, k].add(x[:, (3 * k) % n] * 0.5)
        return x

    x = rng.normal(size=(100, n))
    np.testing.assert_allclose(cotan.jit(f)(x), f(x), rtol=1e-13)
    gradient = cotan.grad(lambda x: cnp.sum(f(x) ** 2))
    np.testing.assert_allclose(cotan.jit(gradient)(x), gradient(x), rtol=1e-12)
