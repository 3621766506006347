"""Derivatives are linear in each tangent and cotangent up to rounding, at any scale of each.

The derivative of order k is linear in each of its directions, and in the cotangent that it is paired with. Directions are multiplied by
powers of two up to 2^-498 and 2^498 (about 1e-150 and 1e150), different ones at once. The result is then the original result times the
product of these powers, since such a multiplication is exact.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import combinations, permutations, product
from math import prod

import numpy as np
import pytest

from cotan.ops.determinant import Cofactors, Det

from .calculus import pull, push, zeros_like
from .cases import REAL_AND_COMPLEX, Case, differentiable, direction, label, seeded
from .test_derivatives import restricted

PATTERNS = {
    1: [(1,), (-1,)],
    2: [(1, -1), (-1, 1), (0, -1), (1, 0)],
    3: [(1, -1, 0), (0, 1, -1), (-1, 0, 1), (0, -1, 0), (1, -1, 1)],
}
"""Which of one, two and three directions are large and small; no product of some of them leaves the range of numbers."""
EXPONENTS = {np.dtype(np.float64): 498, np.dtype(np.float32): 58}


def forward(f, point, vs):
    """The derivative of order k along k directions, each a list of tangents or None."""
    if not vs:
        return f(*point)
    return push(lambda *xs: forward(f, xs, vs[:-1]), point, vs[-1])[1]


def reverse(f, point, arguments):
    """The pullback, at a cotangent, of the derivative along the other directions: linear in the cotangent, too."""
    *vs, ws = arguments
    return pull(lambda *xs: forward(f, xs, vs), point, ws)[1]


def twice_reverse(f, point, arguments):
    """The pullback of the pullback."""
    ws, vs = arguments
    return pull(lambda *xs: pull(f, xs, ws)[1], point, [zeros_like(x) if v is None else v for x, v in zip(point, vs, strict=True)])[1]


def times(scale, values):
    return [None if v is None else np.asarray(v * np.asarray(v).dtype.type(scale)) for v in values]


def assert_scaled(derivative, arguments, exponent):
    with np.errstate(all="ignore"):
        plain = [np.asarray(y) for y in derivative(arguments)]
        for pattern in PATTERNS[len(arguments)]:
            scales = [2.0 ** (exponent * k) for k in pattern]
            found = derivative([times(s, v) for s, v in zip(scales, arguments, strict=True)])
            for y, expected in zip(found, times(np.prod(scales), plain), strict=True):
                finite = np.isfinite(expected)
                size = np.max(np.abs(expected[finite]), initial=0.0)
                np.testing.assert_allclose(np.asarray(y)[finite], expected[finite], rtol=1e-14, atol=1e-14 * size, err_msg=f"{scales}")


def tangents(rng, point, at):
    """A direction in one operand."""
    return [direction(rng, x) if k == at else None for k, x in enumerate(point)]


def of_each_order(cases):
    """Third derivatives, which take half of the time, of one example in three of each op."""
    number = Counter()
    for case in cases:
        for order in (1, 2, 3):
            rare = order == 3 and number[case.op.name] % 3 > 0
            yield pytest.param(case, order, id=f"{label(case)}-{order}", marks=[pytest.mark.exhaustive] if rare else [])
        number[case.op.name] += 1


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("case", "order"), list(of_each_order(differentiable(REAL_AND_COMPLEX))))
def test_derivatives_are_linear_at_any_scale(case: Case, order):
    (f, point), rng = restricted(case), seeded(case)
    ws = [direction(rng, y) for y in f(*point)]
    exponent = min(EXPONENTS[np.finfo(np.asarray(z).dtype).dtype] for z in (*point, *ws))
    places = list(product(range(len(point)), repeat=order))
    for chosen in places[:: max(1, len(places) // 4)]:
        vs = [tangents(rng, point, at) for at in chosen]
        assert_scaled(lambda arguments: forward(f, point, arguments), vs, exponent)
        assert_scaled(lambda arguments: reverse(f, point, arguments), [*vs[1:], ws], exponent)
        if order == 2:
            assert_scaled(lambda arguments: twice_reverse(f, point, arguments), [ws, vs[0]], exponent)


# ---- determinants ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("shape", [(3, 3), (5, 5), (2, 6, 6), (8, 8)], ids=str)
def test_determinants_of_any_size_are_differentiated_at_any_scale(shape, order):
    rng = np.random.default_rng(order)
    a = rng.normal(size=shape)
    a[..., 1, :] = a[..., 0, :]
    es = [rng.normal(size=shape) for _ in range(order - 1)]
    expected = Cofactors()(a, *es)
    for pattern in ([0] * len(es), [1, *[0] * (len(es) - 1)], [-1, 1, *[0] * (len(es) - 2)][: len(es)]):
        scales = [2.0 ** (498 * k) for k in pattern]
        found = Cofactors()(a, *times_each(scales, es))
        np.testing.assert_allclose(found, expected * np.prod(scales), rtol=1e-15)
        through = reverse(lambda x: [Det()(x)], [a], [*[[e] for e in times_each(scales, es)], [np.ones(shape[:-2])]])[0]
        np.testing.assert_allclose(through, found, rtol=1e-11, atol=1e-11 * np.max(np.abs(found)))


def times_each(scales, values):
    return [s * v for s, v in zip(scales, values, strict=True)]


def mixed(matrices, signed):
    """The form that is linear in each of n matrices and symmetric, and n! det (or the permanent) where all are equal; in exact numbers."""
    n = len(matrices)
    exact = [[[Fraction(x) for x in row] for row in m.tolist()] for m in matrices]
    parity = {p: (-1) ** sum(p[i] > p[j] for i, j in combinations(range(n), 2)) if signed else 1 for p in permutations(range(n))}
    return sum(sign * prod(exact[q[i]][i][p[i]] for i in range(n)) for p, sign in parity.items() for q in permutations(range(n)))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("n", [2, 3, 4])
def test_entries_of_a_direction_may_be_of_any_scales(n, order):
    """The error of D^k det(A)[E1, ..., Ek] is some roundings of each of its terms, which are products of entries."""
    if order > n:
        pytest.skip("zero")
    rng = np.random.default_rng(10 * n + order)
    for _ in range(5):
        a, *es = [rng.normal(size=(n, n)) * 2.0 ** rng.integers(-60, 60, size=(n, n)) for _ in range(order + 1)]
        found = forward(lambda x: [Det()(x)], [a], [[e] for e in es])[0]
        count = n - order
        divisor = prod(range(1, count + 1))
        exact = mixed([*[a] * count, *es], True) / divisor
        terms = mixed([*[abs(a)] * count, *map(abs, es)], False) / divisor
        assert abs(Fraction(float(found)) - exact) <= Fraction(1, 2**48) * terms
