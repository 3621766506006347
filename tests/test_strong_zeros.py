"""Masked singularities: `where`, `cond` and `select` hide them, and the other derivatives are right, without a double where.

Each idiom is (f, x, g, kept): f hides singularities at some elements of x; g equals it on the elements ``kept`` alone, where it is smooth.
So the gradient of f is the gradient of g there, and zero (or ``elsewhere``) at the others, to first and second order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax, special
from cotan.ops.families import has_nan, scale

INF = np.inf


@dataclass
class Idiom:
    f: Any
    x: Any
    g: Any
    elsewhere: float = 0.0
    """The gradient at the elements that are hidden (of the other branch)."""
    kept: Any = field(default=None)


X = np.array([0.0, 0.5, 2.0, 0.0])
S = np.array([-1.0, 0.25, 0.5, 1.0, -0.5])
positive = lambda x: x > 0  # noqa: E731


def where(f, mask=positive, other=0.0):
    return lambda x: cnp.sum(cnp.where(mask(x), f(x), other))


def total(f):
    return lambda x: cnp.sum(f(x))


def idiom(f, x=X, mask=positive, other=0.0, elsewhere=0.0):
    """f where the mask holds, else a constant."""
    return Idiom(where(f, mask, other), x, total(f), elsewhere, mask(x))


def entropy(x):
    return -x * cnp.log(x)


def rows(f):
    """A mask of rows: f of those that are not all zero."""
    return lambda x: cnp.sum(cnp.where(cnp.any(x != 0, axis=1), f(x), 0.0))


ROWS = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])
ROW_MASK = np.array([[False], [True], [False], [True]]) & np.ones((4, 2), bool)


def by_select(f):
    return lambda x: cnp.sum(lax.select(x > 0, f(x), cnp.zeros_like(x)))


def by_select_n(f):
    return lambda x: cnp.sum(lax.select_n(x > 0, cnp.zeros_like(x), f(x)))


def by_cond(f):
    return lambda x: cnp.sum(cotan.vmap(lambda v: lax.cond(v > 0, f, lambda v: 0.0 * v, v))(x))


def by_cond_in_a_loop(f):
    def loop(x):
        return lax.fori_loop(0, x.shape[0], lambda i, s: s + lax.cond(x[i] > 0, f, lambda v: 0.0 * v, x[i]), 0.0)

    return lambda x: loop(cnp.asarray(x))


def by_scan(f):
    return lambda x: lax.scan(lambda c, v: (c + cnp.where(v > 0, f(v), 0.0), None), 0.0, cnp.asarray(x))[0]


def by_switch(f):
    pick = lambda v: lax.switch(cnp.where(v > 0, 1, 0), [lambda v: 0.0 * v, f], v)  # noqa: E731
    return lambda x: cnp.sum(cotan.vmap(pick)(x))


def by_piecewise(f):
    return lambda x: cnp.sum(cnp.select([x > 0], [f(x)], 0.0))


def by_update(f):
    return lambda x: cnp.sum(cnp.asarray(f(x)).at[x <= 0].set(0.0))


def by_segment(f):
    return lambda x: cnp.sum(lax.segment_sum(cnp.where(x > 0, f(x), 0.0), np.arange(x.shape[0]) % 2, 2))


def by_cumsum(f):
    return lambda x: cnp.cumsum(cnp.where(x > 0, f(x), 0.0))[-1]


def by_max(f):
    return lambda x: cnp.sum(cnp.where(x > 0, cnp.maximum(f(x), -50.0), 0.0))


IDIOMS = {
    "log": idiom(cnp.log),
    "log2": idiom(cnp.log2),
    "log10": idiom(cnp.log10),
    "log1p": idiom(cnp.log1p, S, lambda x: x > -1),
    "log of an affine function": idiom(lambda x: cnp.log(2 * x), X),
    "sqrt": idiom(cnp.sqrt),
    "sqrt of a product": idiom(lambda x: cnp.sqrt(x * x * x)),
    "cbrt": idiom(cnp.cbrt),
    "1 / x": idiom(lambda x: 1 / x, mask=lambda x: x != 0),
    "x / x": idiom(lambda x: cnp.sin(x) / x, mask=lambda x: x != 0, other=1.0),
    "(1 - cos x) / x**2": idiom(lambda x: (1 - cnp.cos(x)) / x**2, mask=lambda x: x != 0, other=0.5),
    "expm1(x) / x": idiom(lambda x: cnp.expm1(x) / x, mask=lambda x: x != 0, other=1.0),
    "log1p(x) / x": idiom(lambda x: cnp.log1p(x) / x, mask=lambda x: x != 0, other=1.0),
    "x ** -0.5": idiom(lambda x: x**-0.5),
    "x ** 0.3": idiom(lambda x: x**0.3),
    "x ** x": idiom(lambda x: x**x),
    "x ** -2": idiom(lambda x: x**-2, mask=lambda x: x != 0),
    "reciprocal": idiom(cnp.reciprocal, mask=lambda x: x != 0),
    "x log x": idiom(lambda x: x * cnp.log(x)),
    "entropy": idiom(entropy),
    "arccos": idiom(cnp.arccos, S, lambda x: cnp.abs(x) < 1),
    "arcsin": idiom(cnp.arcsin, S, lambda x: cnp.abs(x) < 1),
    "arctanh": idiom(cnp.arctanh, S, lambda x: cnp.abs(x) < 1),
    "arccosh": idiom(cnp.arccosh, np.array([1.0, 2.0, 0.5]), lambda x: x > 1),
    "sqrt(1 - x**2)": idiom(lambda x: cnp.sqrt(1 - x * x), S, lambda x: cnp.abs(x) < 1),
    "gammaln": idiom(special.gammaln, np.array([0.0, 0.5, 2.5])),
    "digamma": idiom(special.digamma, np.array([0.0, 0.5, 2.5])),
    "erfinv": idiom(special.erfinv, S, lambda x: cnp.abs(x) < 1),
    "logit": idiom(special.logit, np.array([0.0, 0.3, 1.0]), lambda x: (x > 0) & (x < 1)),
    "erfcinv by erfinv": idiom(lambda x: special.erfinv(1 - x), np.array([0.0, 0.3, 2.0]), lambda x: (x > 0) & (x < 2)),
    "exp of large numbers": idiom(cnp.exp, np.array([800.0, 1.0]), lambda x: x < 700),
    "tan": idiom(lambda x: cnp.sin(x) / cnp.cos(x), np.array([0.3, 1.2]), lambda x: x < 2),
    "arctan2": idiom(lambda x: cnp.arctan2(x, x * x)),
    "hypot over x": idiom(lambda x: cnp.hypot(x, 2 * x) / x),
    "division by a masked denominator": Idiom(
        lambda x: cnp.sum(cnp.where(x > 0, 1.0 / cnp.where(x > 0, x, 1.0), 0.0)), X, total(lambda x: 1 / x)
    ),
    "nan in the branch not taken": idiom(lambda x: cnp.log(x - 0.25) + 0 * cnp.sqrt(x), mask=lambda x: x > 0.25),
    "infinity times zero": idiom(lambda x: cnp.log(x) * cnp.sqrt(x)),
    "rows, norm": Idiom(
        rows(lambda x: cnp.linalg.norm(x, axis=1)), ROWS, lambda x: cnp.linalg.norm(x.reshape(-1, 2), axis=1).sum(), 0.0, ROW_MASK
    ),
    "rows, sqrt of a sum of squares": Idiom(
        rows(lambda x: cnp.sqrt(cnp.sum(x * x, axis=1))),
        ROWS,
        lambda x: cnp.sqrt(cnp.sum(x.reshape(-1, 2) ** 2, axis=1)).sum(),
        0.0,
        ROW_MASK,
    ),
    "rows, normalized": Idiom(
        rows(lambda x: cnp.sum(x / cnp.linalg.norm(x, axis=1, keepdims=True), axis=1)),
        ROWS,
        lambda x: cnp.sum(x.reshape(-1, 2) / cnp.linalg.norm(x.reshape(-1, 2), axis=1, keepdims=True)),
        0.0,
        ROW_MASK,
    ),
    "rows, std": Idiom(rows(lambda x: cnp.std(x, axis=1)), ROWS, lambda x: cnp.std(x.reshape(-1, 2), axis=1).sum(), 0.0, ROW_MASK),
    "nested where": idiom(lambda x: cnp.where(x > 1, cnp.sqrt(x - 1), cnp.log(x))),
    "select": Idiom(by_select(cnp.log), X, total(cnp.log)),
    "select_n": Idiom(by_select_n(cnp.sqrt), X, total(cnp.sqrt)),
    "cond under vmap": Idiom(by_cond(cnp.log), X, total(cnp.log)),
    "cond in a loop": Idiom(by_cond_in_a_loop(cnp.sqrt), X, total(cnp.sqrt)),
    "scan": Idiom(by_scan(cnp.log), X, total(cnp.log)),
    "switch under vmap": Idiom(by_switch(lambda x: 1 / x), X, total(lambda x: 1 / x)),
    "numpy.select": Idiom(by_piecewise(cnp.log), X, total(cnp.log)),
    "at[mask].set": Idiom(by_update(cnp.log), X, total(cnp.log)),
    "segment_sum": Idiom(by_segment(cnp.log), X, total(cnp.log)),
    "cumsum": Idiom(by_cumsum(cnp.sqrt), X, total(cnp.sqrt)),
    "maximum with a floor": Idiom(by_max(cnp.log), X, total(cnp.log)),
    "xlogy": Idiom(lambda x: cnp.sum(cnp.where(x > 0, special.xlogy(x, x), 0.0)), X, total(lambda x: x * cnp.log(x))),
    "relu of log": Idiom(lambda x: cnp.sum(cnp.where(x > 1, cnp.maximum(cnp.log(x), 0.0), 0.0)), X, total(cnp.log), 0.0, X > 1),
    "where on both sides": Idiom(lambda x: cnp.sum(cnp.where(x > 0, cnp.sqrt(cnp.abs(x)), -cnp.sqrt(cnp.abs(x)) * 0)), X, total(cnp.sqrt)),
    "logsumexp with a mask": Idiom(lambda x: special.logsumexp(cnp.where(x > 0, x, -INF)), X, special.logsumexp),
    "softmax with a mask": Idiom(
        lambda x: cnp.sum(special.softmax(cnp.where(x > 0, x, -INF)) ** 2), X, lambda x: cnp.sum(special.softmax(x) ** 2)
    ),
    "log of a masked softmax": Idiom(
        lambda x: cnp.sum(cnp.where(x > 0, special.log_softmax(cnp.where(x > 0, x, -INF)), 0.0)), X, total(special.log_softmax)
    ),
    "mean of masked logs": Idiom(lambda x: cnp.sum(cnp.where(x > 0, cnp.log(x), 0.0)) / cnp.sum(x > 0), X, lambda x: cnp.mean(cnp.log(x))),
    "nansum": Idiom(lambda x: cnp.nansum(cnp.where(x > 0, cnp.log(x), np.nan)), X, total(cnp.log)),
    "inverse of a matrix in a branch": Idiom(
        lambda x: cnp.sum(lax.map(lambda v: lax.cond(v > 0, lambda v: cnp.linalg.inv(v * np.eye(2))[0, 0], lambda v: 0.0 * v, v), x)),
        X,
        total(lambda x: 1 / x),
    ),
    "one over a determinant": Idiom(
        lambda x: cnp.sum(cotan.vmap(lambda v: cnp.where(v > 0, 1 / cnp.linalg.det(v * np.eye(2)), 0.0))(x)), X, total(lambda x: x**-2)
    ),
    "boolean times": Idiom(lambda x: cnp.sum((x > 0) * cnp.sqrt(x)), X, total(cnp.sqrt)),
    "boolean times, an infinite value": Idiom(lambda x: cnp.sum(cnp.nan_to_num((x > 0) * cnp.log(x))), X, total(cnp.log)),
    "mask in a matrix product": Idiom(lambda x: cnp.where(x > 0, 1.0, 0.0) @ cnp.sqrt(x), X, total(cnp.sqrt)),
    "mask in einsum": Idiom(lambda x: cnp.einsum("i,i->", cnp.where(x > 0, 1.0, 0.0), cnp.sqrt(x)), X, total(cnp.sqrt)),
    "log of clip": Idiom(lambda x: cnp.sum(cnp.log(cnp.clip(x, 0.1, 10.0))), X, total(cnp.log)),
    "log of maximum": Idiom(lambda x: cnp.sum(cnp.log(cnp.maximum(x, 1e-3))), X, total(cnp.log)),
    "sum, where=": Idiom(lambda x: cnp.sum(cnp.log(x), where=x > 0), X, total(cnp.log)),
    "mean, where=": Idiom(lambda x: cnp.mean(cnp.sqrt(x), where=x > 0), X, lambda x: cnp.mean(cnp.sqrt(x))),
    "nanmean": Idiom(lambda x: cnp.nanmean(cnp.where(x > 0, cnp.log(x), np.nan)), X, lambda x: cnp.mean(cnp.log(x))),
    "prod": Idiom(lambda x: cnp.prod(cnp.where(x > 0, cnp.sqrt(x), 1.0)), X, lambda x: cnp.prod(cnp.sqrt(x))),
    "cumprod": Idiom(lambda x: cnp.cumprod(cnp.where(x > 0, cnp.sqrt(x), 1.0))[-1], X, lambda x: cnp.prod(cnp.sqrt(x))),
    "dot of two masked": Idiom(
        lambda x: cnp.dot(cnp.where(x > 0, cnp.sqrt(x), 0.0), cnp.where(x > 0, cnp.log(x), 0.0)),
        X,
        total(lambda x: cnp.sqrt(x) * cnp.log(x)),
    ),
    "std of masked": Idiom(
        lambda x: cnp.std(cnp.where(x > 0, cnp.sqrt(x), 0.0)), X, lambda x: cnp.std(cnp.concatenate([cnp.sqrt(x), np.zeros(2)]))
    ),
    "sort": Idiom(
        lambda x: cnp.sum(cnp.sort(cnp.where(x > 0, cnp.sqrt(x), 0.0)) * np.arange(4.0)),
        X,
        lambda x: cnp.sum(cnp.sqrt(x) * np.array([2.0, 3.0])),
    ),
    "max": Idiom(lambda x: cnp.max(cnp.where(x > 0, cnp.log(x), -INF)), X, lambda x: cnp.max(cnp.log(x))),
    "segment_max": Idiom(
        lambda x: cnp.sum(lax.segment_max(cnp.where(x > 0, cnp.log(x), -INF), np.array([0, 0, 1, 1]), 2)), X, total(cnp.log)
    ),
    "segment_prod": Idiom(
        lambda x: cnp.sum(lax.segment_prod(cnp.where(x > 0, cnp.sqrt(x), 1.0), np.array([0, 0, 1, 1]), 2)), X, total(cnp.sqrt)
    ),
    "a slice of the singular": Idiom(lambda x: cnp.sum(cnp.log(x)[1:3]), X, total(cnp.log)),
    "a row of logsumexp that is all masked": Idiom(
        lambda x: cnp.sum(cnp.where(x > 0, special.logsumexp(cnp.where(x > 0, cnp.log(x), -INF)[:, None] * np.ones(2), axis=1), 0.0)),
        X,
        total(cnp.log),
    ),
}


def modes(f):
    return {
        "grad": cotan.grad(f),
        "jit of grad": cotan.jit(cotan.grad(f)),
        "grad of jit": cotan.grad(cotan.jit(f)),
    }


def second_modes(f):
    return {
        "reverse over reverse": cotan.jacrev(cotan.grad(f)),
        "forward over reverse": cotan.jacfwd(cotan.grad(f)),
        "jit of reverse over reverse": cotan.jit(cotan.jacrev(cotan.grad(f))),
        "jit of forward over reverse": cotan.jit(cotan.jacfwd(cotan.grad(f))),
    }


@pytest.mark.parametrize("name", IDIOMS)
def test_gradient_and_hessian_are_those_of_what_is_kept(name):
    case = IDIOMS[name]
    kept = np.asarray(case.x > 0 if case.kept is None else case.kept).ravel()
    with np.errstate(all="ignore"):
        inner = np.ravel(case.x)[kept]
        gradient, hessian = np.full(case.x.size, case.elsewhere), np.zeros((case.x.size, case.x.size))
        gradient[kept] = cotan.grad(case.g)(inner)
        hessian[np.ix_(kept, kept)] = cotan.hessian(case.g)(inner)
        assert np.isfinite(gradient).all()
        assert np.isfinite(hessian).all()
        for mode, g in modes(case.f).items():
            np.testing.assert_allclose(np.ravel(g(case.x)), gradient, rtol=1e-9, atol=1e-12, err_msg=mode)
        for mode, h in second_modes(case.f).items():
            np.testing.assert_allclose(np.reshape(h(case.x), hessian.shape), hessian, rtol=1e-8, atol=1e-10, err_msg=mode)


def test_there_are_enough():
    assert len(IDIOMS) >= 36


def test_a_sum_of_products_has_no_strong_zero_forward():
    """A limit of docs/limits.md: 0 times an infinite tangent inside a product of matrices is nan, forward; backward it is right."""
    f = lambda x: cnp.where(x > 0, 1.0, 0.0) @ cnp.sqrt(x)  # noqa: E731
    expected = [0.0, 0.5 / np.sqrt(0.5), 0.5 / np.sqrt(2.0), 0.0]
    np.testing.assert_allclose(cotan.grad(f)(X), expected)
    np.testing.assert_allclose(cotan.jacfwd(f)(X), np.where(X > 0, expected, np.nan))
    elementwise = lambda x: cnp.sum((x > 0) * cnp.sqrt(x))  # noqa: E731
    np.testing.assert_allclose(cotan.jacfwd(elementwise)(X), expected)


@pytest.mark.parametrize("shape", [(2, 3), (30, 40)])
@pytest.mark.parametrize("small", [(), (1,), (1, 1), "rows", "columns"], ids=str)
def test_a_masked_product_with_what_is_broadcast(small, shape):
    x = np.random.default_rng(0).uniform(0.5, 2.0, shape)
    x[0, 1] = 0.0
    t = np.ones({"rows": shape[:1] + (1,), "columns": shape[1:]}.get(small, small))
    f = lambda t: cnp.sum(cnp.where(x > 0, (1.0 / x) * t, 0.0))  # noqa: E731
    with np.errstate(divide="ignore"):
        terms = np.where(x > 0, 1.0 / x, 0.0)
    axes = {"rows": (1,), "columns": (0,)}.get(small, (0, 1))
    want = terms.sum(axes).reshape(t.shape)
    for gradient in (cotan.grad(f), cotan.jit(cotan.grad(f)), lambda t: cotan.linear_transpose(cotan.linearize(f, t)[1], t)(1.0)[0]):
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(gradient(t), want, rtol=1e-13)


def test_zero_times_infinity_is_zero_also_where_a_limit_is_not():
    """log(exp(log(x)) + exp(log(y))) at x = 0: the derivative in x is 1 / y as a limit, and 0 by the chain rule with strong zeros."""
    g = cotan.grad(lambda x: special.logsumexp(cnp.log(x)))(np.array([0.0, 2.0]))
    np.testing.assert_allclose(g, [0.0, 0.5])


@pytest.mark.parametrize("factor", [0.0, 2.5, -1e-300, 1e308, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("bar", [0.0, 1.0, -3.0, np.inf, np.nan])
def test_numbers_are_factors_as_strong_as_values(factor, bar):
    """Compiled, a finite number that is not zero is multiplied with and no more: the result is that of the engine that asks each time."""
    x, y_bar = np.full(5, 0.5), np.full(5, bar)
    for given in (lambda x: cnp.multiply(x, factor), lambda x: cnp.multiply(x, np.full(5, factor))):
        pull = lambda x, b: cotan.vjp(given, x)[1](b)[0]  # noqa: E731, B023
        found, expected = (cotan.jit(pull, engine=engine)(x, y_bar) for engine in ("native", "numpy"))
        np.testing.assert_array_equal(found, expected)
        if bar == 0.0 or factor == 0.0:
            assert (found == 0).all()


# ---- the test for nan ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (7,), (30, 40), (5, 6, 70)])
def test_a_nan_is_found_at_every_place_in_every_layout(dtype, shape):
    x = np.linspace(-2.0, 1.0, np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    layouts = [x, np.asfortranarray(x), np.moveaxis(x, 0, -1).copy() if shape else x, x.view(cotan.Array)]
    parts = [np.nan] if x.dtype.kind == "f" else [complex(np.nan, 0.0), complex(0.0, np.nan)]
    for y in layouts:
        assert not has_nan(y)
        for place in np.linspace(0, y.size - 1, min(y.size, 5)).astype(int):
            for inf in (np.inf, -np.inf):
                z = np.array(y)
                z.flat[-1] = inf
                assert not has_nan(z)
                for nan in parts:
                    z.flat[place] = nan
                    assert has_nan(z)


def test_a_product_with_a_derivative_calls_no_blas(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("BLAS")

    for name in ("dot", "vdot", "inner", "matmul", "tensordot", "einsum"):
        monkeypatch.setattr(np, name, refuse)
    x = np.linspace(0.1, 1.0, 20_000)
    for shape in ((20_000,), (100, 200)):
        d, t = x.reshape(shape), np.where(x < 0.5, 0.0, x).reshape(shape)
        np.testing.assert_array_equal(scale(d, t), d * t)
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(scale(d * np.inf, t), np.where(t == 0, 0.0, np.inf))
        f = lambda x: cnp.sin(cnp.where(x > 0.3, x, 0.0)) * 1.01  # noqa: E731
        _, y_dot = cotan.jvp(f, (d,), (t,))
        np.testing.assert_allclose(y_dot, np.where(d > 0.3, np.cos(d) * 1.01 * t, 0.0), rtol=1e-14)
        np.testing.assert_allclose(cotan.vjp(f, d)[1](t)[0], y_dot, rtol=1e-14)


@pytest.mark.parametrize("number", [2.0, 0.0, -0.0, INF, np.nan, 5e-324, np.float32(3.0), 1j, complex(2, INF)])
def test_a_product_with_one_number_is_the_product_with_copies_of_it(number):
    x = np.array([0.0, -0.0, 1.0, INF, -INF, np.nan, 1e30], np.asarray(number).dtype)
    copies = np.full(x.shape, number, x.dtype)
    with np.errstate(all="ignore"):
        expected = np.where((copies == 0) | (x == 0), 0.0, copies * x)
        for factor in (x.dtype.type(number), np.broadcast_to(x.dtype.type(number), x.shape), copies):
            np.testing.assert_array_equal(scale(factor, x), expected)
            np.testing.assert_array_equal(scale(x, factor), expected)
