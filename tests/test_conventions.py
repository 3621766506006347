"""Derivatives at kinks and singular points: the table of docs/conventions.md, row by row, in every mode and at second order.

A row is (function, where, the derivative of the table) and its cases: (f, x, gradient, Hessian).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax, special

INF = np.inf
Z = np.zeros


def both(f):
    """A function of two numbers as one of a vector."""
    return lambda v: f(v[0], v[1])


def outer(*xs):
    return np.outer(xs, xs)


def second_of_inverse(p, a, b):
    """The second derivative of entry (a, b) of an inverse P: P E P F P + P F P E P."""
    one = np.einsum("i,jk,l->ijkl", p[a], p, p[:, b])
    return one + one.transpose(2, 3, 0, 1)


TIED, ALL_TIED = np.array([2.0, 1.0, 2.0]), np.full(3, 2.0)
VARIANCE = 2 / 3 * (np.eye(3) - 1 / 3)
PI = np.pi
HALF = [[0.0, 0.5], [-0.5, 0.0]]
TURN = np.array([[0.0, 1.0], [-1.0, 0.0]])

ROWS = {
    ("`abs(x)`", "0", "0"): [(cnp.abs, 0.0, 0, 0), (lambda x: cnp.abs(cnp.abs(x)), 0.0, 0, 0)],
    ("`abs(z)`, complex", "0", "0"): [(both(lambda a, b: cnp.abs(a + 1j * b)), Z(2), [0, 0], Z((2, 2)))],
    ("`sign`, `floor`, `ceil`, `round`, `trunc`, comparisons", "everywhere", "0"): [
        (cnp.sign, 0.0, 0, 0),
        (cnp.floor, 1.0, 0, 0),
        (cnp.ceil, 1.0, 0, 0),
        (cnp.round, 0.5, 0, 0),
        (cnp.trunc, 0.0, 0, 0),
        (lambda x: cnp.where(x > 0, 1.0, 0.0), 0.0, 0, 0),
        (lambda x: cnp.heaviside(x, 0.5), 0.0, 0, 0),
    ],
    ("`maximum(x, y)`, `minimum(x, y)`", "x = y", "1/2 to each"): [
        (both(cnp.maximum), np.ones(2), [0.5, 0.5], Z((2, 2))),
        (both(cnp.minimum), np.ones(2), [0.5, 0.5], Z((2, 2))),
        (lambda x: cnp.maximum(x, 0.0), 0.0, 0.5, 0),
        (both(lambda x, y: cnp.maximum(x, y) ** 2), np.ones(2), [1, 1], np.full((2, 2), 0.5)),
    ],
    ("`clip(x, a, b)`", "x = a, x = b", "1/2"): [
        (lambda x: cnp.clip(x, 0.0, 1.0), 0.0, 0.5, 0),
        (lambda x: cnp.clip(x, 0.0, 1.0), 1.0, 0.5, 0),
    ],
    ("`max(x)`, `min(x)`", "ties", "shared equally"): [
        (cnp.max, TIED, [0.5, 0, 0.5], Z((3, 3))),
        (cnp.min, ALL_TIED, np.full(3, 1 / 3), Z((3, 3))),
        (lambda x: cnp.max(x) ** 2, TIED, [2, 0, 2], 0.5 * outer(1, 0, 1)),
        (cnp.ptp, ALL_TIED, Z(3), Z((3, 3))),
        (cnp.nanmax, np.array([1.0, np.nan, 1.0]), [0.5, 0, 0.5], Z((3, 3))),
    ],
    ("`sort(x)`, `median(x)`, `quantile(x)`", "ties", "as if those that tie stood in the order of a stable sort"): [
        (lambda x: cnp.sum(cnp.sort(x) * np.arange(3.0)), ALL_TIED, [0, 1, 2], Z((3, 3))),
        (cnp.median, ALL_TIED, [0, 1, 0], Z((3, 3))),
    ],
    ("`x[argmax(x)]`, `take_along_axis(x, argsort(x))`", "ties", "to the element that is taken"): [
        (lambda x: x[cnp.argmax(x)] ** 2, TIED, [4, 0, 0], np.diag([2.0, 0, 0])),
        (lambda x: cnp.take_along_axis(x, cnp.argsort(x), 0)[1] ** 2, TIED, [4, 0, 0], np.diag([2.0, 0, 0])),
    ],
    ("`x ** 0`", "every x, also 0", "0"): [
        (lambda x: x**0, 0.0, 0, 0),
        (lambda x: x**0.0, 0.0, 0, 0),
        (lambda x: cnp.power(x, cnp.zeros_like(x)), 0.0, 0, 0),
    ],
    ("`x ** n`, integer n >= 1", "0", "`n * 0 ** (n - 1)`"): [
        (lambda x: x**1, 0.0, 1, 0),
        (lambda x: x**2, 0.0, 0, 2),
        (lambda x: x**3, 0.0, 0, 0),
        (lambda x: x**1.0, 0.0, 1, 0),
        (lambda x: cnp.power(x, 2.0), 0.0, 0, 2),
        (lambda x: cnp.float_power(x, 2.0), 0.0, 0, 2),
        (both(cnp.power), np.array([0.0, 2.0]), [0, 0], np.diag([2.0, 0])),
    ],
    ("`x ** p`, p not integer", "0", "0 for p > 1, inf for p < 1"): [
        (lambda x: x**2.5, 0.0, 0, 0),
        (lambda x: x**1.5, 0.0, 0, INF),
        (lambda x: x**0.5, 0.0, INF, -INF),
    ],
    ("`x ** y` in y", "x = 0", "0"): [
        (lambda y: 0.0**y, 2.0, 0, 0),
        (lambda y: 0.0**y, 0.0, 0, 0),
        (both(cnp.power), Z(2), [0, 0], Z((2, 2))),
    ],
    ("`hypot(x, y)`, `norm(x)`, also of a matrix and along axes", "0", "0"): [
        (both(cnp.hypot), Z(2), [0, 0], Z((2, 2))),
        (cnp.linalg.norm, Z(3), Z(3), Z((3, 3))),
        (cnp.linalg.norm, Z((2, 2)), Z((2, 2)), Z((2, 2, 2, 2))),
        (lambda x: cnp.sum(cnp.linalg.norm(x, axis=1, keepdims=True)), Z((2, 2)), Z((2, 2)), Z((2, 2, 2, 2))),
        (lambda x: cnp.linalg.norm(x - x), np.ones(2), Z(2), Z((2, 2))),
    ],
    ("`norm(x) ** 2`, `hypot(x, y) ** 2`, `abs(x) ** 2`, `std(x) ** 2`", "0", "0, and the second derivative is exact"): [
        (lambda x: cnp.linalg.norm(x) ** 2, Z(3), Z(3), 2 * np.eye(3)),
        (lambda x: cnp.square(cnp.linalg.norm(x)), Z(3), Z(3), 2 * np.eye(3)),
        (lambda x: cnp.sum(cnp.linalg.norm(x, axis=0) ** 2.0), Z((2, 2)), Z((2, 2)), 2 * np.eye(4).reshape(2, 2, 2, 2)),
        (both(lambda x, y: cnp.hypot(x, y) ** 2), Z(2), Z(2), 2 * np.eye(2)),
        (lambda x: cnp.abs(x) ** 2, 0.0, 0, 2),
        (both(lambda a, b: cnp.abs(a + 1j * b) ** 2), Z(2), Z(2), 2 * np.eye(2)),
        (lambda x: cnp.std(x) ** 2, ALL_TIED, Z(3), VARIANCE),
        (lambda x: cnp.abs(x) ** 4, 0.0, 0, 0),
    ],
    (
        "even functions of them: `cos(norm(x))`, `r * tanh(r)`, a Matern kernel of a distance",
        "0",
        "0, and the second derivative is exact",
    ): [
        (lambda x: cnp.cos(cnp.linalg.norm(x)), Z(3), Z(3), -np.eye(3)),
        (lambda x: cnp.linalg.norm(x) * cnp.tanh(cnp.linalg.norm(x)), Z(2), Z(2), 2 * np.eye(2)),
        (lambda x: (1 + cnp.linalg.norm(x)) * cnp.exp(-cnp.linalg.norm(x)), Z(2), Z(2), -np.eye(2)),
    ],
    ("functions of them that are not even: `exp(-norm(x))`", "0", "0, and the second derivative is 0"): [
        (lambda x: cnp.exp(-cnp.linalg.norm(x)), Z(2), Z(2), Z((2, 2))),
    ],
    ("`sqrt(x) ** 2`", "0", "1"): [
        (lambda x: cnp.sqrt(x) ** 2, 0.0, 1, 0),
        (lambda x: (lambda r: r * r)(cnp.sqrt(x)), 0.0, 1, 0),
        (lambda x: (x**0.5) ** 4, 0.0, 0, 2),
    ],
    ("`norm(x, p)`, p = 1, 3, inf, -inf", "0", "0"): [
        (lambda x, p=p: cnp.linalg.norm(x, p), Z(3), Z(3), Z((3, 3))) for p in (1, 1.5, 2, 3, INF, -INF, 0)
    ],
    ("`norm(x, p)` of a matrix, p = 1, 2, -2, inf, -inf, fro, nuc", "0", "0"): [
        (lambda x, p=p: cnp.linalg.norm(x, p), Z((2, 3)), Z((2, 3)), Z((2, 3, 2, 3))) for p in (1, -1, 2, -2, INF, -INF, "fro", "nuc")
    ],
    ("`norm(x, 'nuc')`", "singular values that are 0", "0 in their directions"): [
        (lambda x: cnp.linalg.norm(x, "nuc"), np.diag([2.0, 0.0]), np.diag([1.0, 0.0]), np.diag([0.0, 0.5, 0.5, 0.0])),
    ],
    ("`pinv(x)`, `norm(x, 'nuc')`", "singular values that tie", "exact, to every order"): [
        (lambda x: cnp.linalg.norm(x, "nuc"), np.eye(2), np.eye(2), [[[[0, 0], [0, 0]], HALF], [-np.array(HALF), [[0, 0], [0, 0]]]]),
        (lambda x: cnp.trace(cnp.linalg.pinv(x)), np.eye(2), -np.eye(2), 2 * np.einsum("il,jk->ijkl", np.eye(2), np.eye(2))),
        (lambda x: cnp.linalg.pinv(x)[0, 1], TURN, -np.outer(TURN.T[0], TURN.T[:, 1]), second_of_inverse(TURN.T, 0, 1)),
    ],
    ("`std(x)`", "x constant", "0"): [
        (cnp.std, ALL_TIED, Z(3), Z((3, 3))),
        (lambda x: cnp.std(x, ddof=1), ALL_TIED, Z(3), Z((3, 3))),
        (cnp.var, ALL_TIED, Z(3), VARIANCE),
    ],
    ("`arctan2(y, x)`, `angle(z)`", "the origin", "0"): [
        (both(cnp.arctan2), Z(2), [0, 0], Z((2, 2))),
        (both(lambda a, b: cnp.angle(a + 1j * b)), Z(2), [0, 0], Z((2, 2))),
    ],
    ("`arctan2(y, x)`", "infinite x or y", "0"): [
        (both(cnp.arctan2), np.array([INF, 1.0]), [0, 0], Z((2, 2))),
        (both(cnp.arctan2), np.array([1.0, -INF]), [0, 0], Z((2, 2))),
        (both(cnp.arctan2), np.array([INF, INF]), [0, 0], Z((2, 2))),
    ],
    ("`sinc(x)`", "0", "0, and all higher derivatives exact"): [(cnp.sinc, 0.0, 0, -(PI**2) / 3)],
    ("`logaddexp(x, y)`", "both the same infinity", "1/2 to each"): [
        (both(cnp.logaddexp), np.full(2, -INF), [0.5, 0.5], Z((2, 2))),
        (both(cnp.logaddexp), np.full(2, INF), [0.5, 0.5], Z((2, 2))),
        (both(cnp.logaddexp2), np.full(2, -INF), [0.5, 0.5], Z((2, 2))),
    ],
    ("`logsumexp(x)`", "all -inf", "0"): [(special.logsumexp, np.full(3, -INF), Z(3), Z((3, 3)))],
    ("`xlogy(x, y)`, `xlog1py(x, y)`", "x = 0, y = 0 (or -1)", "-inf in x (it is infinite), 0 in y"): [
        (both(special.xlogy), Z(2), [-INF, 0], [[0, INF], [INF, 0]]),
        (both(special.xlog1py), np.array([0.0, -1.0]), [-INF, 0], [[0, INF], [INF, 0]]),
        (lambda y: special.xlogy(0.0, y), 0.0, 0, 0),
        (lambda y: special.xlog1py(0.0, y), -1.0, 0, 0),
    ],
    ("`copysign(x, y)` in x", "x = 0", "0"): [(lambda x: cnp.copysign(x, 2.0), 0.0, 0, 0)],
    ("`mod(x, y)` in x", "jumps", "1"): [(lambda x: cnp.mod(x, 1.0), 1.0, 1, 0)],
    ("`prod(x)`, `cumprod(x)`", "zeros", "exact, to every order"): [
        (cnp.prod, np.array([0.0, 0.0, 2.0]), Z(3), [[0, 2, 0], [2, 0, 0], [0, 0, 0]]),
        (lambda x: cnp.sum(cnp.cumprod(x)), np.array([0.0, 0.0, 2.0]), [1, 0, 0], [[0, 3, 0], [3, 0, 0], [0, 0, 0]]),
    ],
    ("`cummax(x)`, `cummin(x)`", "ties", "as `maximum`, one element after the other"): [
        (lambda x: cnp.sum(lax.cummax(x)), np.array([1.0, 1.0, 2.0]), [1.5, 0.5, 1], Z((3, 3))),
    ],
    ("`sqrt(x)`, `log(x)`, `1 / x`, `arccos(x)`", "the end of the domain", "inf or -inf (it is infinite)"): [
        (cnp.sqrt, 0.0, INF, -INF),
        (cnp.log, 0.0, INF, -INF),
        (lambda x: 1 / x, 0.0, -INF, INF),
        (cnp.arccos, 1.0, -INF, -INF),
        (both(cnp.divide), np.array([1.0, 0.0]), [INF, -INF], [[0, -INF], [-INF, INF]]),
    ],
    ("`x / abs(x)`", "0", "inf (the value is nan)"): [(lambda x: x / cnp.abs(x), 0.0, INF, 0)],
}
CASES = [pytest.param(*case, id=f"{row[0]} at {row[1]} {k}") for row, cases in ROWS.items() for k, case in enumerate(cases)]
MODES = [cotan.jacfwd, cotan.jacrev]


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("f", "x", "gradient", "hessian"), CASES)
@pytest.mark.parametrize("jit", [lambda f: f, cotan.jit], ids=["eager", "jit"])
def test_every_mode_agrees_with_the_table(f, x, gradient, hessian, jit):
    x = np.asarray(x)
    for mode in MODES:
        np.testing.assert_allclose(jit(mode(f))(x), np.reshape(gradient, x.shape), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(mode(jit(f))(x), np.reshape(gradient, x.shape), rtol=1e-12, atol=1e-14)
    for outer_mode in MODES:
        for inner in MODES:
            np.testing.assert_allclose(jit(outer_mode(inner(f)))(x), np.reshape(hessian, 2 * x.shape), rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(outer_mode(inner(jit(f)))(x), np.reshape(hessian, 2 * x.shape), rtol=1e-12, atol=1e-14)


def test_the_table_in_the_docs_is_this_one():
    text = (Path(__file__).parent.parent / "docs" / "conventions.md").read_text()
    table = text.split("| function | where | derivative |\n|---|---|---|\n")[1].split("\n\n")[0]
    rows = [tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]) for line in table.splitlines()]
    assert rows == list(ROWS)


SMOOTH = {
    "softplus at 0": (lambda x: cnp.logaddexp(x, 0.0), 0.0, 0.25, 0.0),
    "sinc at 0": (cnp.sinc, 0.0, -(PI**2) / 3, 0.0),
    "x ** 3 at 0": (lambda x: x**3, 0.0, 0.0, 6.0),
    "x ** 3.0 at 0": (lambda x: cnp.power(x, 3.0), 0.0, 0.0, 6.0),
    "abs(x) ** 4 at 0": (lambda x: cnp.abs(x) ** 4, 0.0, 0.0, 0.0),
    "norm ** 4 along an axis, of one number": (lambda x: cnp.linalg.norm(x[None, None], axis=1)[0] ** 4, 0.0, 0.0, 0.0),
    "hypot(x, 1) at 0": (lambda x: cnp.hypot(x, 1.0), 0.0, 1.0, 0.0),
    "logaddexp(-inf, x)": (lambda x: cnp.logaddexp(-INF, x), 1.0, 0.0, 0.0),
    "logaddexp of three": (lambda x: cnp.logaddexp(cnp.logaddexp(x, x), x), 0.5, 0.0, 0.0),
    "x ** 0 at 0": (lambda x: cnp.power(x, np.zeros(2))[0], 0.0, 0.0, 0.0),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_what_is_smooth_is_right_to_third_order(name):
    f, x, second, third = SMOOTH[name]
    for a in MODES:
        for b in MODES:
            np.testing.assert_allclose(a(b(f))(x), second, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(cotan.jit(a(b(f)))(x), second, rtol=1e-12, atol=1e-14)
            for c in MODES:
                np.testing.assert_allclose(a(b(c(f)))(x), third, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.complex128])
def test_squares_of_roots_keep_values_and_dtypes(dtype):
    x = np.array([3.0, -4.0], dtype)
    for f in (lambda x: cnp.linalg.norm(x) ** 2, lambda x: cnp.abs(x) ** 2, lambda x: cnp.sqrt(x) ** 2, lambda x: cnp.std(x) ** 2):
        with np.errstate(invalid="ignore"):
            expected = np.asarray(f(x))
        found = cotan.jit(f)(x)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-6)
