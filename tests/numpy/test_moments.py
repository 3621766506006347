"""Means, variances and norms over axes: derivatives by their formulas, in all modes, dtypes and sizes, eager and compiled."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.testing import check_grads

X = np.random.default_rng(0).normal(size=(3, 4, 2))
FORMS = {
    "mean": (cnp.mean, lambda x, axis: cnp.sum(x, axis) / len_of(x, axis)),
    "var": (cnp.var, lambda x, axis: cnp.sum(deviations(x, axis) ** 2, axis) / len_of(x, axis)),
    "var, ddof": (
        lambda x, axis: cnp.var(x, axis, ddof=1.5),
        lambda x, axis: cnp.sum(deviations(x, axis) ** 2, axis) / (len_of(x, axis) - 1.5),
    ),
    "var, keepdims": (
        lambda x, axis: cnp.var(x, axis, correction=1, keepdims=True),
        lambda x, axis: cnp.sum(deviations(x, axis) ** 2, axis, keepdims=True) / (len_of(x, axis) - 1),
    ),
    "std": (cnp.std, lambda x, axis: cnp.sqrt(cnp.sum(deviations(x, axis) ** 2, axis) / len_of(x, axis))),
    "norm": (lambda x, axis: cnp.linalg.vector_norm(x, axis=axis), lambda x, axis: cnp.sqrt(cnp.sum(x**2, axis))),
}
AXES = (None, 0, (0, 2), (-1, 1))


def len_of(x, axis):
    return np.prod([x.shape[k] for k in (range(x.ndim) if axis is None else np.atleast_1d(axis))])


def deviations(x, axis):
    return x - cnp.sum(x, axis, keepdims=True) / len_of(x, axis)


@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("name", FORMS)
def test_derivatives_are_those_of_the_formula_in_every_mode(name, axis):
    f, formula = FORMS[name]
    w = 1.0 + np.arange(np.size(f(X, axis))).reshape(np.shape(f(X, axis)))
    one, other = (lambda x, g=g: cnp.sum(w * g(x, axis) * g(x, axis)) for g in (f, formula))
    for mode in (
        cotan.grad,
        cotan.hessian,
        lambda g: cotan.jit(cotan.grad(g)),
        lambda g: cotan.jit(cotan.hessian(g)),
        lambda g: cotan.jacfwd(cotan.jacfwd(g)),
        lambda g: lambda x: cotan.vmap(cotan.grad(g))(cnp.stack([x, 2 * x])),
    ):
        np.testing.assert_allclose(mode(one)(X), mode(other)(X), rtol=1e-9, atol=1e-12)
    check_grads(lambda x: f(x, axis), (X,), order=2)


@pytest.mark.parametrize("f", [cnp.mean, cnp.var, cnp.std, cnp.linalg.norm])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_gradient_has_the_dtype_of_the_argument(f, dtype):
    x = np.array([1.0, 2.0, 4.0], dtype)
    for g in (cotan.grad(f), cotan.jit(cotan.grad(f))):
        assert g(x).dtype == dtype
        np.testing.assert_allclose(g(x), cotan.grad(f)(x.astype(float)), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("f", [cnp.mean, cnp.var, cnp.std, cnp.linalg.norm])
def test_compiled_code_is_right_for_every_size(f):
    g = cotan.jit(cotan.grad(f))
    for n in (2, 3, 7, 40, 41, 1000):
        np.testing.assert_allclose(g(np.arange(1.0, n)), cotan.grad(f)(np.arange(1.0, n)), rtol=1e-12, atol=1e-15)


def test_the_variance_of_too_few_numbers_is_that_of_numpy():
    for x, ddof in ((np.ones(1), 1), (np.ones(2), 3), (np.array([1.0, 2.0]), 2)):
        with np.errstate(all="ignore"), pytest.warns(RuntimeWarning, match="Degrees of freedom"):
            expected = np.var(x, ddof=ddof)
        for g in (cotan.vjp, lambda f, x: (cotan.jit(f)(x),)):
            np.testing.assert_equal(np.asarray(g(lambda x, d=ddof: cnp.var(x, ddof=d), x)[0]), expected)


@pytest.mark.parametrize("f", [cnp.linalg.norm, cnp.std])
def test_the_derivative_at_zero_is_zero_and_the_square_is_smooth_there(f):
    x = np.zeros(3)
    for way in (lambda g: g, cotan.jit):
        np.testing.assert_array_equal(way(cotan.grad(f))(x), 0.0)
        expected = cotan.hessian(lambda x: cnp.sum(x**2) if f is cnp.linalg.norm else cnp.var(x))(x)
        np.testing.assert_allclose(way(cotan.hessian(lambda x: f(x) ** 2))(x), expected, atol=1e-15)


def test_the_derivative_of_a_norm_that_overflows_or_is_nan():
    gradient = cotan.grad(cnp.linalg.norm)
    np.testing.assert_array_equal(gradient(np.array([1e200, 1.0])), 0.0)
    np.testing.assert_array_equal(gradient(np.array([np.inf, 1.0])), 0.0)
    assert np.isnan(gradient(np.array([np.nan, 1.0]))).all()
