"""Derivatives at points where formulas divide by zero, subtract infinities or meet a tie. Each row is a mathematical fact or a convention
of docs/conventions; pytest makes warnings errors, so none of them warns.
"""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.ops import (
    contraction,
    determinant,
    factorization,
    indexing,
    linalg,
    logic,
    ordering,
    reduction,
    sorting,
    special,
    transcendental,
)
from cotan.ops.arithmetic import IntegerPow, constant_like, div, mul, one_like
from cotan.ops.families import add, reduce_sum, scale

from .calculus import difference, pair, pull, push

INF = np.inf


def gradient(f, *xs):
    return pull(lambda *v: [f(*v)], xs, [1.0])[1]


def hessian(f, *xs):
    """Second derivatives of a scalar function of scalars, one way, checked against the other three."""
    n = len(xs)
    rows = []
    for k in range(n):
        e = [1.0 if j == k else 0.0 for j in range(n)]
        forward = lambda *v, e=e: push(lambda *w: [f(*w)], v, e)[1]  # noqa: E731
        backward = lambda *v: gradient(f, *v)  # noqa: E731
        row = [float(r) for r in pull(forward, xs, [1.0])[1]]
        np.testing.assert_allclose([float(r) for r in push(backward, xs, e)[1]], row)
        np.testing.assert_allclose([float(r) for r in pull(backward, xs, e)[1]], row)
        rows.append(row)
    return rows


FIRST = [
    ("x^0 at 0", IntegerPow(0), (0.0,), (0.0,)),
    ("x^1 at 0", IntegerPow(1), (0.0,), (1.0,)),
    ("x^2 at 0", IntegerPow(2), (0.0,), (0.0,)),
    ("power(0, 0)", transcendental.power, (0.0, 0.0), (0.0, 0.0)),
    ("power(0, 1)", transcendental.power, (0.0, 1.0), (1.0, 0.0)),
    ("power(0, 2.5)", transcendental.power, (0.0, 2.5), (0.0, 0.0)),
    ("power(2, 0)", transcendental.power, (2.0, 0.0), (0.0, np.log(2.0))),
    ("arctan2(0, 0)", transcendental.arctan2, (0.0, 0.0), (0.0, 0.0)),
    ("arctan2(0, 1)", transcendental.arctan2, (0.0, 1.0), (1.0, 0.0)),
    ("arctan2 of large numbers", transcendental.arctan2, (1e200, 1e200), (0.5e-200, -0.5e-200)),
    ("arctan2 of small numbers", transcendental.arctan2, (1e-200, 1e-200), (0.5e200, -0.5e200)),
    ("hypot(0, 0)", transcendental.hypot, (0.0, 0.0), (0.0, 0.0)),
    ("hypot(0, 2)", transcendental.hypot, (0.0, 2.0), (0.0, 1.0)),
    ("hypot of large numbers", transcendental.hypot, (3e200, 4e200), (0.6, 0.8)),
    ("logaddexp(-inf, -inf)", transcendental.logaddexp, (-INF, -INF), (0.5, 0.5)),
    ("logaddexp(inf, inf)", transcendental.logaddexp, (INF, INF), (0.5, 0.5)),
    ("logaddexp(-inf, 0)", transcendental.logaddexp, (-INF, 0.0), (0.0, 1.0)),
    ("logaddexp(0, inf)", transcendental.logaddexp, (0.0, INF), (0.0, 1.0)),
    ("logaddexp at a tie", transcendental.logaddexp, (1.5, 1.5), (0.5, 0.5)),
    ("logaddexp(1000, 0)", transcendental.logaddexp, (1000.0, 0.0), (1.0, 0.0)),
    ("maximum at a tie", ordering.maximum, (2.0, 2.0), (0.5, 0.5)),
    ("minimum at a tie", ordering.minimum, (2.0, 2.0), (0.5, 0.5)),
    ("maximum at infinite ties", ordering.maximum, (INF, INF), (0.5, 0.5)),
    ("maximum of zeros of both signs", ordering.maximum, (0.0, -0.0), (0.5, 0.5)),
    ("abs at 0", ordering.abs_, (0.0,), (0.0,)),
    ("copysign at 0", ordering.copysign, (0.0, -1.0), (0.0, 0.0)),
    ("copysign by -0.0", ordering.copysign, (2.0, -0.0), (-1.0, 0.0)),
    ("remainder where the quotient rounds up", ordering.rem, (1.0, 0.1), (1.0, -9.0)),
    ("sinc at 0", transcendental.sinc, (0.0,), (0.0,)),
    ("tanh of large x", transcendental.tanh, (800.0,), (0.0,)),
    ("logistic of large -x", transcendental.logistic, (-800.0,), (0.0,)),
    ("logistic of large x", transcendental.logistic, (800.0,), (0.0,)),
    ("xlogy(0, 2)", special.xlogy, (0.0, 2.0), (np.log(2.0), 0.0)),
    ("i1 at 0", special.i1, (0.0,), (0.5,)),
    ("i0e at 0", special.i0e, (0.0,), (0.0,)),
    ("i1e at 0", special.i1e, (0.0,), (0.5,)),
    ("erf of large x", special.erf, (40.0,), (0.0,)),
    ("gammaincc of shape 1 at 0", lambda x: special.gammaincc(1.0, x), (0.0,), (-1.0,)),
]

SECOND = [
    ("x^2 at 0", IntegerPow(2), (0.0,), [[2.0]]),
    ("x^3 at 0", IntegerPow(3), (0.0,), [[0.0]]),
    ("x^1 at 0", IntegerPow(1), (0.0,), [[0.0]]),
    ("power(0, 2) in x", lambda x: transcendental.power(x, 2.0), (0.0,), [[2.0]]),
    ("power(0, 1) in x", lambda x: transcendental.power(x, 1.0), (0.0,), [[0.0]]),
    ("power(0, 0) in x", lambda x: transcendental.power(x, 0.0), (0.0,), [[0.0]]),
    ("power(2, 0)", transcendental.power, (2.0, 0.0), [[0.0, 0.5], [0.5, np.log(2.0) ** 2]]),
    ("logaddexp at a tie", transcendental.logaddexp, (1.5, 1.5), [[0.25, -0.25], [-0.25, 0.25]]),
    ("logaddexp(-inf, 0)", transcendental.logaddexp, (-INF, 0.0), [[0.0, 0.0], [0.0, 0.0]]),
    ("maximum at a tie", ordering.maximum, (2.0, 2.0), [[0.0, 0.0], [0.0, 0.0]]),
    ("hypot(0, 0)", transcendental.hypot, (0.0, 0.0), [[0.0, 0.0], [0.0, 0.0]]),
    ("arctan2(0, 0)", transcendental.arctan2, (0.0, 0.0), [[0.0, 0.0], [0.0, 0.0]]),
    ("sinc at 0", transcendental.sinc, (0.0,), [[-(np.pi**2) / 3]]),
    ("xlogy(0, 2)", special.xlogy, (0.0, 2.0), [[0.0, 0.5], [0.5, 0.0]]),
    ("i0 at 0", special.i0, (0.0,), [[0.5]]),
    ("abs squared at 0", lambda x: mul(ordering.abs_(x), ordering.abs_(x)), (0.0,), [[0.0]]),
]


@pytest.mark.parametrize(("f", "xs", "expected"), [pytest.param(*row[1:], id=row[0]) for row in FIRST])
def test_first_derivative(f, xs, expected):
    np.testing.assert_allclose([float(g) for g in gradient(f, *xs)], expected, rtol=1e-12)
    for k, value in enumerate(expected):
        tangent = push(lambda *v: [f(*v)], xs, [1.0 if j == k else None for j in range(len(xs))])[1][0]
        np.testing.assert_allclose(float(tangent), value, rtol=1e-12)


@pytest.mark.parametrize(("f", "xs", "expected"), [pytest.param(*row[1:], id=row[0]) for row in SECOND])
def test_second_derivative(f, xs, expected):
    np.testing.assert_allclose(hessian(f, *xs), expected, rtol=1e-12, atol=1e-14)


INFINITE = [
    ("sqrt at 0", transcendental.sqrt, 0.0),
    ("cbrt at 0", transcendental.cbrt, 0.0),
    ("log at 0", transcendental.log, 0.0),
    ("arcsin at 1", transcendental.arcsin, 1.0),
    ("arctanh at 1", transcendental.arctanh, 1.0),
    ("power(0, 1/2)", lambda x: transcendental.power(x, 0.5), 0.0),
]


@pytest.mark.parametrize(("f", "x"), [pytest.param(*row[1:], id=row[0]) for row in INFINITE])
def test_an_infinite_derivative_is_masked_by_where(f, x):
    """d/dx where(x == x0, 0, f(x)) at x0 is 0, forward and reverse, though f'(x0) is infinite: the strong zero of `Scale`."""

    def masked(v):
        return logic.select(logic.equal(v, constant_like(x, v)), constant_like(0, v), f(v))

    with np.errstate(all="ignore"):  # NumPy itself says that log(0) and 1/0 are infinite
        assert np.isinf(gradient(f, x)[0])
        assert gradient(masked, x)[0] == 0
        assert float(push(lambda v: [masked(v)], [x], [1.0])[1][0]) == 0
        assert float(pull(lambda v: gradient(masked, v), [x], [1.0])[1][0]) == 0


def test_a_zero_tangent_meets_an_infinite_derivative():
    with np.errstate(all="ignore"):
        assert float(push(lambda v: [transcendental.sqrt(v)], [0.0], [0.0])[1][0]) == 0


def test_copysign_of_mixed_shapes():
    s = np.array([1.0, -2.0, 0.0, -0.0])
    np.testing.assert_array_equal(
        pull(lambda x: [ordering.copysign(x, s)], [np.float64(-3.0)], [np.array([1.0, 10, 100, 1000])])[1][0], -1 + 10 - 100 + 1000
    )
    x = np.array([1.0, -2.0, 0.0])
    np.testing.assert_array_equal(pull(lambda x: [ordering.copysign(x, np.float64(-1.0))], [x], [np.ones(3)])[1][0], [-1.0, 1.0, 0.0])


# ---- products with zeros -------------------------------------------------------------------------------------------------
ZEROS = [[2.0, 3.0, 4.0], [0.0, 3.0, 4.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0], [2.0, 0.0, -1.0]]
KEPT = [
    reduction.ReduceProd((0,)),
    lambda x: reduce_sum(reduction.cumprod(x, 0), (0,)),
    lambda x: reduce_sum(reduction.cumprod(x, 0, True), (0,)),
]


def polynomial_derivatives(f, x):
    """Gradient, Hessian and third derivatives of a polynomial of degree one in each variable: exact by differences of width one."""
    n = len(x)
    step = np.eye(n)

    def along(order, at):
        if not order:
            return float(f(at))
        k, *rest = order
        return (along(rest, at + step[k]) - along(rest, at - step[k])) / 2

    first = [along([j], x) for j in range(n)]
    second = [[along([j, k], x) if j != k else 0.0 for k in range(n)] for j in range(n)]
    third = [[[along([i, j, k], x) if len({i, j, k}) == 3 else 0.0 for k in range(n)] for j in range(n)] for i in range(n)]
    return first, second, third


@pytest.mark.parametrize("f", KEPT, ids=["prod", "cumprod", "reverse cumprod"])
@pytest.mark.parametrize("x", ZEROS, ids=str)
def test_products_are_differentiated_through_zeros_to_third_order(f, x):
    x = np.array(x)
    first, second, third = polynomial_derivatives(f, x)
    unit = np.eye(len(x))
    g = lambda v: gradient(f, v)[0]  # noqa: E731
    h = lambda v, k: pull(lambda w: [g(w)], [v], [unit[k]])[1][0]  # noqa: E731
    np.testing.assert_allclose(g(x), first, atol=1e-14)
    np.testing.assert_allclose([h(x, k) for k in range(len(x))], second, atol=1e-14)
    np.testing.assert_allclose([push(lambda v: [g(v)], [x], [unit[k]])[1][0] for k in range(len(x))], second, atol=1e-14)
    np.testing.assert_allclose(
        [[push(lambda v, k=k: [h(v, k)], [x], [unit[j]])[1][0] for j in range(3)] for k in range(3)], third, atol=1e-14
    )


# ---- ties of reductions ----------------------------------------------------------------------------------------------------
def test_ties_of_max_share_equally():
    x = np.array([1.0, 3.0, 3.0, 2.0, 3.0])
    np.testing.assert_allclose(gradient(reduction.ReduceMax((0,)), x)[0], [0, 1 / 3, 1 / 3, 0, 1 / 3])
    np.testing.assert_allclose(gradient(reduction.ReduceMin((0,)), -x)[0], [0, 1 / 3, 1 / 3, 0, 1 / 3])
    np.testing.assert_allclose(gradient(reduction.ReduceMax((0,)), np.full(4, -INF))[0], np.full(4, 0.25))
    np.testing.assert_allclose(gradient(reduction.ReduceMax((0,)), np.array([1.0, np.nan]))[0], [0, 0])


def test_ties_of_running_maxima_share_among_those_so_far():
    x = np.array([1.0, 3.0, 2.0, 3.0, 1.0, 5.0, 5.0])
    f = lambda v: [reduction.cummax(v, 0)]  # noqa: E731
    jacobian = np.stack([push(f, [x], [e])[1][0] for e in np.eye(7)], axis=1)
    expected = np.zeros((7, 7))
    expected[0, 0] = expected[1, 1] = expected[2, 1] = 1
    expected[3, [1, 3]] = expected[4, [1, 3]] = 0.5
    expected[5, 5] = 1
    expected[6, [5, 6]] = 0.5
    np.testing.assert_allclose(jacobian, expected)
    np.testing.assert_allclose(np.stack([pull(f, [x], [e])[1][0] for e in np.eye(7)]), expected)


def test_cumlogsumexp_of_infinities():
    f = lambda v: [reduction.cumlogsumexp(v, 0)]  # noqa: E731
    x = np.array([-INF, -INF, 0.0, np.log(3.0)])
    jacobian = np.stack([push(f, [x], [e])[1][0] for e in np.eye(4)], axis=1)
    np.testing.assert_allclose(jacobian[2:], [[0, 0, 1, 0], [0, 0, 0.25, 0.75]])
    assert np.all(np.isfinite(jacobian))


# ---- scatter with duplicates ---------------------------------------------------------------------------------------------------
X, WHERE = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2, 0, -1, 2, 2, -4])


UPDATES = [[0.5, -1.0, 2.0, 0.7, 9.0, 1.5], [0.0, 2.0, 0.5, 0.0, 3.0, 0.0], [0.0, 0.0, 1.0, 5.0, 2.0, 3.5]]


@pytest.mark.parametrize(
    ("kind", "updates"), [(k, u) for k in ("add", "set", "mul") for u in UPDATES] + [(k, UPDATES[0]) for k in ("min", "max")], ids=str
)
def test_scatter_with_duplicates_is_differentiated_right(kind, updates):
    f = lambda x, u: [indexing.Scatter(kind)(x, u, WHERE)]  # noqa: E731
    point = [X, np.array(updates)]
    rng = np.random.default_rng(0)
    vs, ws = [rng.normal(size=4), rng.normal(size=6)], [rng.normal(size=4)]
    tangents = push(f, point, vs)[1]
    np.testing.assert_allclose(tangents, difference(f, point, vs), rtol=1e-7, atol=1e-9)
    assert pair(pull(f, point, ws)[1], vs) == pytest.approx(pair(ws, tangents), rel=1e-12)
    us = [rng.normal(size=4), rng.normal(size=6)]
    first = lambda *xs: push(f, xs, vs)[1]  # noqa: E731
    second = push(first, point, us)[1]
    np.testing.assert_allclose(second, difference(first, point, us), rtol=1e-7, atol=1e-9)
    assert pair(pull(first, point, ws)[1], us) == pytest.approx(pair(ws, second), rel=1e-9, abs=1e-12)


def test_scatter_min_shares_among_all_that_tie():
    f = lambda x, u: [indexing.Scatter("min")(x, u, np.array([0, 0, 1, 1]))]  # noqa: E731
    bars = pull(f, [np.array([2.0, 5.0]), np.array([2.0, 2.0, 7.0, 6.0])], [np.array([1.0, 1.0])])[1]
    np.testing.assert_allclose(bars[0], [1 / 3, 1])
    np.testing.assert_allclose(bars[1], [1 / 3, 1 / 3, 0, 0])


def test_a_gather_that_fills_has_tangent_zero_there():
    tangent = push(lambda x: [indexing.Gather("fill")(x, np.array([0, 9]))], [X], [np.ones(4)])[1][0]
    np.testing.assert_array_equal(tangent, [1.0, 0.0])


# ---- linear algebra ------------------------------------------------------------------------------------------------------------
def test_functions_of_the_singular_values_are_differentiable_where_those_are_equal():
    nuclear = lambda a: reduce_sum(factorization.svd(a)[1], (0,))  # noqa: E731
    q = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    np.testing.assert_allclose(gradient(nuclear, q)[0], q, atol=1e-12)
    np.testing.assert_allclose(gradient(lambda a: reduce_sum(factorization.eigh(a)[0], (0,)), np.eye(3))[0], np.eye(3), atol=1e-12)


@pytest.mark.parametrize("dtype", [float, complex])
def test_extreme_singular_values_that_tie_share_the_derivative(dtype):
    q = np.diag([1.0, -1.0, 1.0])[[2, 0, 1]].astype(dtype)
    for p in (2, -2):
        np.testing.assert_allclose(cotan.grad(lambda a, p=p: cnp.linalg.norm(a, p))(q), q / 3, atol=1e-14)
        np.testing.assert_allclose(cotan.grad(lambda a, p=p: cnp.linalg.cond(a, p))(q), np.zeros((3, 3)), atol=1e-14)
    a = np.diag([2.0, 2.0, 1.0]).astype(dtype)
    np.testing.assert_allclose(cotan.grad(lambda a: cnp.linalg.norm(a, 2))(a), np.diag([0.5, 0.5, 0]), atol=1e-14)
    np.testing.assert_allclose(cotan.jit(cotan.grad(cnp.linalg.cond))(a), np.diag([0.5, 0.5, -2]), atol=1e-14)


def test_vectors_of_equal_values_have_no_derivative_rather_than_a_wrong_one():
    """d(U S V^H) = dA everywhere; where singular values are equal the rule cannot say so, and must say that it cannot."""

    def product(a):
        u, s, vh = factorization.svd(a)
        return [contraction.matmul(scale(u, linalg.columns(s, 3)), vh)]

    rng = np.random.default_rng(3)
    a, da = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    np.testing.assert_allclose(push(product, [a], [da])[1][0], da, atol=1e-11)
    with np.errstate(all="ignore"):
        assert np.all(np.isnan(push(product, [np.eye(3)], [da[:, :3]])[1][0]))


DETERMINANTS = {
    "zero": np.zeros((2, 2)),
    "rank one": np.outer([1.0, 2.0, -1.0], [0.5, 1.0, 3.0]),
    "rank two": np.diag([1.0, 2.0, 0.0]),
    "identity": np.eye(3),
    "regular": np.random.default_rng(5).normal(size=(3, 3)),
}


@pytest.mark.parametrize("a", DETERMINANTS.values(), ids=list(DETERMINANTS))
def test_the_determinant_is_differentiated_right_at_singular_matrices_to_third_order(a):
    """Against the polynomial's own differences, which are exact for each entry: it is of degree one in each."""
    f = lambda v: determinant.det(v)  # noqa: E731
    rng = np.random.default_rng(6)
    e1, e2, e3 = (rng.normal(size=a.shape) for _ in range(3))
    # det(a + x e1 + y e2 + z e3) is a polynomial of degree n; its mixed coefficients by exact central differences of small integers
    polynomial = lambda x, y, z: np.linalg.det(a + x * e1 + y * e2 + z * e3)  # noqa: E731
    g = lambda v: [pull(lambda w: [f(w)], [v], [1.0])[1][0]]  # noqa: E731
    first = push(lambda v: [f(v)], [a], [e1])[1][0]
    second = pair([e2], push(g, [a], [e1])[1])
    third = pair([e3], push(lambda v: push(g, [v], [e1])[1], [a], [e2])[1])
    backward = pair([e3], pull(lambda v: [pull(g, [v], [e1])[1][0]], [a], [e2])[1])
    h = 0.05  # the differences are exact up to degree 4 (5-point) and the polynomial has degree at most 3

    def along(function):
        return (8 * (function(h) - function(-h)) - (function(2 * h) - function(-2 * h))) / (12 * h)

    np.testing.assert_allclose(first, along(lambda x: polynomial(x, 0, 0)), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(second, along(lambda x: along(lambda y: polynomial(x, y, 0))), rtol=1e-8, atol=1e-9)
    exact = along(lambda x: along(lambda y: along(lambda z: polynomial(x, y, z))))
    np.testing.assert_allclose([third, backward], [exact, exact], rtol=1e-7, atol=1e-8)


# ---- sorting ---------------------------------------------------------------------------------------------------------------------------
def test_sort_moves_tangents_stably_and_puts_nan_last():
    x = np.array([2.0, np.nan, 1.0, 2.0])
    y, dy = push(lambda v: [sorting.sort(v, 0)], [x], [np.array([1.0, 2.0, 3.0, 4.0])])
    np.testing.assert_array_equal(y[0], [1.0, 2.0, 2.0, np.nan])
    np.testing.assert_array_equal(dy[0], [3.0, 1.0, 4.0, 2.0])


def test_the_norm_of_zero_by_a_safe_square_root():
    """sqrt(sum(x^2)) at 0, written with a select: no nan, no warning."""

    def norm(x):
        square = reduce_sum(mul(x, x), (0,))
        none = logic.equal(square, constant_like(0, square))
        root = transcendental.sqrt(logic.select(none, one_like(square), square))
        return logic.select(none, constant_like(0, square), root)

    np.testing.assert_array_equal(gradient(norm, np.zeros(3))[0], np.zeros(3))
    np.testing.assert_allclose(gradient(norm, np.array([3.0, 4.0]))[0], [0.6, 0.8])
    assert float(gradient(lambda x: div(add(x, x), one_like(x)), 1.0)[0]) == 2.0
