"""Convolutions and correlations agree with NumPy's at all lengths, and their derivatives with sums written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.engines.native import engine
from cotan.engines.native.runtime.thread_pool import limited
from cotan.ops import convolution
from cotan.ops.convolution import Correlate

from .test_kernels import program_of

MODES = ("full", "same", "valid")
LENGTHS = (1, 2, 3, 7, 8, 17, 40, 130)
rng = np.random.default_rng(3)


def numbers(n, dtype):
    """Numbers of a dtype: small whole ones, so sums of them are exact in every dtype and order."""
    x = rng.integers(-3, 4, n) + (1j * rng.integers(-3, 4, n) if np.dtype(dtype).kind == "c" else 0)
    return np.abs(x).astype(dtype) if np.dtype(dtype).kind in "bu" else x.astype(dtype)


def sums(op, x, w):
    """The sums of one row, product by product."""
    y = np.zeros(op.length, np.result_type(x, w))
    for i, k in itertools.product(range(op.length), range(len(w))):
        if 0 <= i + k + op.start < len(x):
            y[i] += x[i + k + op.start] * w[k]
    return y


@pytest.mark.sampled(3)
@pytest.mark.parametrize("dtype", [np.float64, np.complex64, np.int16, np.bool_, np.float16])
def test_every_length_and_mode_gives_what_numpy_gives(dtype):
    for n, m in itertools.product(LENGTHS, LENGTHS):
        x, y = numbers(n, dtype), numbers(m, dtype)
        expected = [f(x, y, mode) for f in (np.convolve, np.correlate) for mode in MODES]
        for engine_name in ("numpy", "native") if (n + m) % 3 == 0 else ("numpy",):
            f = cotan.jit(lambda x, y: [f(x, y, mode) for f in (cnp.convolve, cnp.correlate) for mode in MODES], engine=engine_name)
            for found, right in zip(f(x, y), expected, strict=True):
                assert found.dtype == right.dtype
                np.testing.assert_array_equal(np.asarray(found), right, (n, m, engine_name))


@pytest.mark.parametrize("start", [-60, -33, -7, 0, 9])
@pytest.mark.parametrize("length", [1, 9, 130])
def test_any_start_and_length_gives_the_products_that_there_are(start, length):
    op = Correlate(start, length)
    for n, m in [(1, 40), (40, 1), (3, 33), (33, 17), (50, 300), (1100, 5)]:
        x, w = numbers(n, np.float64), numbers(m, np.float64)
        expected = sums(op, x, w)
        np.testing.assert_array_equal(op.impl(x, w), expected)
        np.testing.assert_array_equal(engine.compile_program(program_of(op, [x, w]))([x, w])[0], expected)


@pytest.mark.parametrize(("n", "m", "length"), [(3000, 20, 2990), (3000, 2500, 130), (3000, 2990, 11), (40, 2100, 12)])
def test_blocks_join_and_sums_of_many_numbers_are_accurate(n, m, length):
    op, x, w = Correlate(-5, length), rng.normal(size=n), rng.normal(size=m)
    exact = sums(op, x.astype(np.longdouble), w.astype(np.longdouble))
    found = engine.compile_program(program_of(op, [x, w]))([x, w])[0]
    assert np.abs(found - exact).max() < 20 * np.sqrt(min(n, m)) * np.finfo(np.float64).eps


def test_rows_and_blocks_are_computed_by_several_threads():
    x, w = rng.normal(size=(5, 40_000)), rng.normal(size=300)
    f = cotan.jit(lambda x, w: cotan.vmap(lambda x: cnp.convolve(x, w))(x))
    expected = [np.convolve(row, w) for row in x]
    with limited(1):
        alone = np.asarray(f(x, w))
    with limited(4):
        np.testing.assert_array_equal(np.asarray(f(x, w)), alone)
    np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-12)


def test_products_with_infinite_numbers_are_those_that_numpy_takes():
    x, w = np.array([np.inf, 1.0, 2.0, 3.0, -np.inf]), np.array([1.0, np.inf, 2.0])
    for mode in MODES:
        with np.errstate(invalid="ignore"):
            expected = np.convolve(x, w, mode), np.correlate(x, w, mode)
        for engine_name in ("numpy", "native"):
            found = cotan.jit(lambda x, w: (cnp.convolve(x, w, mode), cnp.correlate(x, w, mode)), engine=engine_name)(x, w)  # noqa: B023
            np.testing.assert_array_equal(np.asarray(found[0]), expected[0])
            np.testing.assert_array_equal(np.asarray(found[1]), expected[1])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("n", "m"), [(30, 4), (4, 30), (6, 6), (5, 1)])
def test_derivatives_are_right_to_second_order(mode, n, m):
    x, y = rng.normal(size=n), rng.normal(size=m)
    for f in (cnp.convolve, cnp.correlate):
        loss = lambda x, y, f=f: cnp.sum(cnp.sin(f(x, y, mode)))  # noqa: E731 - one line
        cotan.testing.check_grads(loss, (x, y), order=2)
        for found, expected in zip(cotan.jit(cotan.grad(loss, (0, 1)))(x, y), cotan.grad(loss, (0, 1))(x, y), strict=True):
            np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-12, atol=1e-12)


def test_complex_correlation_conjugates_its_second_vector_in_derivatives_too():
    x, y = rng.normal(size=(2, 6)) + 1j * rng.normal(size=(2, 6))
    cotan.testing.check_grads(lambda x, y: cnp.correlate(x, y[:3], "same"), (x, y), order=2)


@pytest.mark.parametrize("in_axes", [(0, None), (None, 0), (0, 0)])
def test_vmap_equals_a_python_loop_and_so_do_its_gradients(in_axes):
    x, y = rng.normal(size=(3, 20)), rng.normal(size=(3, 4))
    args = tuple(v if k == 0 else v[0] for v, k in zip((x, y), in_axes, strict=True))
    loss = lambda x, y: cnp.sum(cnp.convolve(x, y, "same") ** 3)  # noqa: E731 - one line
    for g in (cnp.convolve, cotan.grad(loss), cotan.grad(loss, 1)):
        expected = [g(*[v[k] if a == 0 else v for v, a in zip(args, in_axes, strict=True)]) for k in range(3)]
        np.testing.assert_allclose(np.asarray(cotan.vmap(g, in_axes)(*args)), expected, rtol=1e-12)
        np.testing.assert_allclose(np.asarray(cotan.jit(cotan.vmap(g, in_axes))(*args)), expected, rtol=1e-12)
    both = cotan.vmap(cotan.vmap(loss, (0, None)), (None, 0))
    expected = [[loss(a, b) for a in x] for b in y]
    np.testing.assert_allclose(np.asarray(both(x, y)), expected, rtol=1e-12)
    np.testing.assert_allclose(
        np.asarray(cotan.grad(lambda x: cnp.sum(both(x, y)))(x)),
        sum(np.asarray(cotan.vmap(cotan.grad(loss), (0, None))(x, b)) for b in y), rtol=1e-10, atol=1e-10,
    )  # fmt: skip


def test_gradients_in_a_loop():
    x, w = rng.normal(size=50), rng.normal(size=5) / 3

    def smooth(x, w):
        return cnp.sum(cotan.lax.fori_loop(0, 3, lambda k, x: cnp.tanh(cnp.convolve(x, w, "same")), x) ** 2)

    expected = cotan.grad(smooth, (0, 1))(x, w)
    for found, right in zip(cotan.jit(cotan.grad(smooth, (0, 1)))(x, w), expected, strict=True):
        np.testing.assert_allclose(np.asarray(found), np.asarray(right), rtol=1e-12, atol=1e-14)
    cotan.testing.check_grads(smooth, (x, w), order=1)


def test_eager_gradients_compute_no_more_products_than_they_need(monkeypatch):
    lengths = []
    convolve = np.convolve
    monkeypatch.setattr(convolution.np, "convolve", lambda x, w, *mode: lengths.append(len(x) * len(w)) or convolve(x, w, *mode))
    x, w = rng.normal(size=2000), rng.normal(size=8)
    cotan.grad(lambda x, w: cnp.sum(cnp.convolve(x, w) ** 2), (0, 1))(x, w)
    assert 0 < max(lengths) < 10 * x.size * w.size
