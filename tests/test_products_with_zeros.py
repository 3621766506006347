"""Products of numbers, some of which are zero: polynomials, so their derivatives are known exactly, to third order in all eight modes.

A product of parts of x is a sum of monomials w prod_{i in S} x_i with each variable at most once, so

    d^k f / dx_a dx_b ... = sum over the S that hold a, b, ..., all different, of w prod of the rest.
"""

from __future__ import annotations

from itertools import accumulate, permutations, product

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax

MODES = {"fwd": cotan.jacfwd, "rev": cotan.jacrev}


def runs(indices):
    """The index sets of running products."""
    return [tuple(s) for s in accumulate([[k] for k in indices])]


def weighted(y):
    """The elements of ``y`` with weights that tell them apart."""
    y = cnp.ravel(y)
    return cnp.sum(y * cnp.asarray(np.arange(1.0, y.size + 1)).astype(y.dtype))


PRODUCTS = {
    "prod": (cnp.prod, [(0, 1, 2, 3)]),
    "prod of rows": (lambda x: weighted(cnp.prod(x.reshape(2, 2), axis=1)), [(0, 1), (2, 3)]),
    "prod of columns, kept": (lambda x: weighted(cnp.prod(x.reshape(2, 2), axis=0, keepdims=True)), [(0, 2), (1, 3)]),
    "prod over two axes": (lambda x: cnp.prod(x.reshape(2, 2, 1), axis=(0, 1))[0], [(0, 1, 2, 3)]),
    "multiply.reduce": (lambda x: np.multiply.reduce(x), [(0, 1, 2, 3)]),
    "cumprod": (lambda x: weighted(cnp.cumprod(x)), runs(range(4))),
    "cumprod of rows": (lambda x: weighted(cnp.cumprod(x.reshape(2, 2), axis=1)), [(0,), (0, 1), (2,), (2, 3)]),
    "cumprod of columns": (lambda x: weighted(cnp.cumprod(x.reshape(2, 2), axis=0)), [(0,), (1,), (0, 2), (1, 3)]),
    "cumprod from behind": (lambda x: weighted(lax.cumprod(x, reverse=True)), runs(range(3, -1, -1))[::-1]),
    "by a scan": (lambda x: lax.scan(lambda c, v: (c * v, None), cnp.ones((), x.dtype), x)[0], [(0, 1, 2, 3)]),
    "associative scan": (lambda x: weighted(lax.associative_scan(cnp.multiply, x)), runs(range(4))),
    "segment_prod": (lambda x: weighted(lax.segment_prod(x, np.array([0, 1, 0, 0]), 2)), [(0, 2, 3), (1,)]),
    "at[...].multiply": (lambda x: weighted(cnp.ones(2, x.dtype).at[np.array([0, 0, 1, 0])].multiply(x)), [(0, 1, 3), (2,)]),
    "determinant of a triangle": (lambda x: cnp.linalg.det(cnp.diag(x)), [(0, 1, 2, 3)]),
}
REAL_ONLY = {"segment_prod", "at[...].multiply"}
POINTS = {
    "no zero": [2.0, 3.0, -1.0, 4.0],
    "one zero": [2.0, 0.0, -1.0, 4.0],
    "a zero in front": [0.0, 3.0, -1.0, 4.0],
    "two zeros": [0.0, 3.0, 0.0, 4.0],
    "three zeros": [0.0, 0.0, -1.0, 0.0],
    "zeros only": [0.0, 0.0, 0.0, 0.0],
}


def exact(sets, x, order):
    """The tensor of derivatives of this order of sum_m (m + 1) prod_{i in S_m} x_i."""
    tensor = np.zeros((len(x),) * order, x.dtype)
    for m, members in enumerate(sets):
        for taken in permutations(members, order):
            tensor[taken] += (m + 1) * np.prod([x[i] for i in members if i not in taken], dtype=x.dtype)
    return tensor


def check(name, x, orders, jit, holomorphic=False):
    f, sets = PRODUCTS[name]
    for order in orders:
        expected = exact(sets, x, order)
        for modes in product(MODES, repeat=order):
            g = f
            for mode in modes:
                g = MODES[mode](g, holomorphic=holomorphic)
            found = jit(g)(x)
            assert found.dtype == x.dtype
            np.testing.assert_allclose(found, expected, rtol=1e-12 if x.dtype.itemsize > 4 else 1e-6, atol=1e-13, err_msg=str(modes))


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", PRODUCTS)
def test_derivatives_to_third_order_are_those_of_the_polynomial(name, point):
    check(name, np.array(POINTS[point]), (1, 2, 3), lambda g: g)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", PRODUCTS)
def test_jitted_too(name):
    check(name, np.array(POINTS["two zeros"]), (1, 2, 3), cotan.jit)


@pytest.mark.parametrize("point", ["one zero", "two zeros", "three zeros"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_in_float32(name, point):
    check(name, np.array(POINTS[point], np.float32), (1, 2, 3), lambda g: g)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", sorted(set(PRODUCTS) - REAL_ONLY))
def test_of_complex_numbers(name, point):
    check(name, np.array(POINTS[point]) * (1.0 - 0.5j), (1, 2, 3), lambda g: g, holomorphic=True)


@pytest.mark.parametrize("point", POINTS)
def test_batched(point):
    """vmap of the third derivative, with a row of each kind beside it."""
    x = np.array([POINTS[point], POINTS["no zero"], POINTS["two zeros"]])
    for name in ("prod", "cumprod"):
        f, sets = PRODUCTS[name]
        for modes in product(MODES.values(), repeat=3):
            g = modes[0](modes[1](modes[2](f)))
            np.testing.assert_allclose(cotan.vmap(g)(x), [exact(sets, row, 3) for row in x], rtol=1e-12, atol=1e-13)
