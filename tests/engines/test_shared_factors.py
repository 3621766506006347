"""Compiled solves with one matrix, and with its transpose, share one factorization."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax

rng = np.random.default_rng(0)


def system(n, m=1, lead=(), dtype=float):
    a = rng.normal(size=(*lead, n, n)) / n**0.5 + 3 * np.eye(n)
    b = rng.normal(size=(*lead, n, m))
    return [(x + 0.1j * rng.normal(size=x.shape) if np.dtype(dtype).kind == "c" else x).astype(dtype) for x in (a, b)]


def size(a, b):
    return cnp.sum(cnp.abs(cnp.linalg.solve(a, b)) ** 2)


def schedule(f, *xs):
    return str(cotan.compile_report(f)(*xs))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize(("n", "m", "lead"), [(20, 1, ()), (20, 3, ()), (12, 2, (3,)), (150, 1, ())])
def test_a_gradient_factorizes_once_and_is_that_of_numpys_solves(n, m, lead, dtype):
    a, b = system(n, m, lead, dtype)
    gradient = cotan.grad(size, (0, 1))
    text = schedule(gradient, a, b)
    assert text.count("lu_factors") == 1
    assert text.count("factored_solve") == 2
    for x, y in zip(cotan.jit(gradient)(a, b), gradient(a, b), strict=True):
        np.testing.assert_allclose(x, y, atol=100 * np.finfo(dtype).eps * np.abs(y).max())


def test_solves_with_other_matrices_are_not_shared():
    (a, b), (c, _) = system(20), system(20)
    f = lambda a, b, c: cnp.linalg.solve(a, b) + cnp.linalg.solve(c, b)  # noqa: E731
    assert "lu_factors" not in schedule(f, a, b, c)
    np.testing.assert_allclose(cotan.jit(f)(a, b, c), np.linalg.solve(a, b) + np.linalg.solve(c, b))


def test_solves_with_the_transpose_alone_are_shared():
    a, b = system(20, 2)
    f = lambda a, b: cnp.linalg.solve(a.T, b) - 2.0 * cnp.linalg.solve(a.T, b + 1.0)  # noqa: E731
    assert schedule(f, a, b).count("lu_factors") == 1
    np.testing.assert_allclose(cotan.jit(f)(a, b), np.linalg.solve(a.T, b) - 2.0 * np.linalg.solve(a.T, b + 1.0))


def test_second_derivatives_in_loops_and_on_batches():
    a, b = system(12)
    step = lambda c, x: (c + 0.1 * size(a + c, b * x), x)  # noqa: E731
    f = lambda x: lax.scan(step, 0.0, x * cnp.ones(3))[0]  # noqa: E731
    np.testing.assert_allclose(cotan.jit(cotan.grad(f))(1.5), cotan.grad(f)(1.5))
    np.testing.assert_allclose(cotan.jit(cotan.grad(cotan.grad(f)))(1.5), cotan.grad(cotan.grad(f))(1.5))
    several = np.stack([b, 2 * b, b - 1])
    for axes in ((None, 0), (0, 0)):
        gradient = cotan.vmap(cotan.grad(size, (0, 1)), axes)
        matrices = a if axes[0] is None else np.stack([a, a + 1, a.T])
        for x, y in zip(cotan.jit(gradient)(matrices, several), gradient(matrices, several), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("lead", [(), (3,)])
def test_a_singular_matrix_has_the_solution_nan(lead):
    a, b = system(20, 1, lead)
    a[..., 4, :] = 0.0
    for x in cotan.jit(cotan.grad(size, (0, 1)))(a, b):
        assert np.isnan(x).all()


def test_what_is_left_out_of_a_stack_has_the_derivative_zero():
    a, b = system(20, 2, (3,))
    a[1, 4, :] = 0.0
    kept = np.array([True, False, True])[:, None, None]
    f = lambda a, b: cnp.sum(cnp.where(kept, cnp.linalg.solve(a, b), 0.0) ** 2)  # noqa: E731
    expected = cotan.grad(lambda a, b: cnp.sum(cnp.linalg.solve(a, b) ** 2), (0, 1))(a[::2], b[::2])
    for way in (cotan.jit, lambda g: g):
        for x, y in zip(way(cotan.grad(f, (0, 1)))(a, b), expected, strict=True):
            assert not x[1].any()
            np.testing.assert_allclose(x[::2], y, rtol=1e-9)
