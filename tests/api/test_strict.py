"""strict=True raises where a derivative is a convention, with the op, the index and the user's line; elsewhere it has no effect."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax, special
from cotan.errors import ArgumentError, SingularPointError

Z, TIE = np.zeros(3), np.array([1.0, 2.0, 2.0])
SINGULAR = {
    "abs": (lambda x: cnp.sum(cnp.abs(x)), Z),
    "maximum": (lambda x: cnp.sum(cnp.maximum(x, 1.0)), TIE),
    "max": (lambda x: cnp.max(x), TIE),
    "min along an axis": (lambda x: cnp.sum(cnp.min(x, axis=1)), np.ones((2, 2))),
    "sort": (lambda x: cnp.sum(cnp.sort(x) * np.arange(3)), TIE),
    "median": (lambda x: cnp.median(x), TIE),
    "clip": (lambda x: cnp.sum(cnp.clip(x, 0.0, 2.0)), TIE),
    "norm": (lambda x: cnp.linalg.norm(x), Z),
    "norm of a row": (lambda x: cnp.sum(cnp.linalg.norm(x, axis=1)), np.array([[1.0, 1.0], [0.0, 0.0]])),
    "std": (lambda x: cnp.std(x), np.ones(3)),
    "p-norm": (lambda x: cnp.linalg.norm(x, 1), Z),
    "hypot": (lambda x: cnp.hypot(x[0], x[1]), Z),
    "arctan2": (lambda x: cnp.arctan2(x[0], x[1]), Z),
    "logaddexp": (lambda x: cnp.logaddexp(x[0], x[1]), np.full(2, -np.inf)),
    "sign": (lambda x: cnp.sum(cnp.sign(x) * x), Z),
    "floor": (lambda x: cnp.sum(cnp.floor(x) * x), TIE),
    "round": (lambda x: cnp.sum(cnp.round(x) * x), np.array([0.5])),
    "remainder": (lambda x: cnp.sum(x % 1.0), TIE),
    "sqrt": (lambda x: cnp.sum(cnp.sqrt(x)), Z),
    "log": (lambda x: cnp.sum(cnp.log(x)), Z),
    "power": (lambda x: cnp.sum(x**0.5), Z),
    "1 / x": (lambda x: cnp.sum(1 / x), Z),
    "x ** -2": (lambda x: cnp.sum(x**-2), Z),
    "arccos": (lambda x: cnp.sum(cnp.arccos(x)), np.ones(1)),
    "xlogy": (lambda x: special.xlogy(x[0], x[1]), Z),
    "cummax": (lambda x: cnp.sum(lax.cummax(x)), TIE),
    "norm, squared afterwards": (lambda x: cnp.linalg.norm(x) ** 2, Z),
    "floor division": (lambda x: cnp.sum(x * (x // 1.0)), TIE),
    "power in the exponent": (lambda x: cnp.sum(0.0**x), Z),
    "copysign in the sign": (lambda x: cnp.sum(cnp.copysign(2.0, x)), Z),
    "poles of gammaln": (lambda x: cnp.sum(special.gammaln(x)), np.array([0.5, -1.0])),
    "poles of digamma": (lambda x: cnp.sum(special.digamma(x)), np.zeros(1)),
    "logsumexp": (special.logsumexp, np.full(3, -np.inf)),
    "cumlogsumexp": (lambda x: cnp.sum(lax.cumlogsumexp(x)), np.full(3, -np.inf)),
    "segment_max": (lambda x: cnp.sum(lax.segment_max(x, np.zeros(3, int), 1)), TIE),
    "at[...].min": (lambda x: cnp.sum(cnp.zeros(3).at[1].min(x[1])), Z),
    "nuclear norm": (lambda x: cnp.linalg.norm(x, "nuc"), Z.reshape(1, 3)),
    "eigenvalues": (lambda x: cnp.linalg.eigvalsh(x)[0], np.eye(2)),
    "behind a mask": (lambda x: cnp.sum(cnp.where(x > 0, cnp.sqrt(x), 0.0)), Z),
    "in jit": (cotan.jit(lambda x: cnp.sum(cnp.abs(x))), Z),
    "in scan": (lambda x: lax.scan(lambda c, v: (c + cnp.abs(v), None), 0.0, x)[0], Z),
    "in fori_loop": (lambda x: lax.fori_loop(0, 3, lambda i, s: s + cnp.abs(x[i] * i), 0.0), np.ones(3)),
    "in while_loop": (lambda x: lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, cnp.maximum(s[1], 1.0)), (0, x[0]))[1], np.ones(1)),
    "in cond": (lambda x: cotan.jit(lambda x: lax.cond(x[0] < 1, cnp.sum, lambda x: cnp.sum(cnp.abs(x - 2)), x))(x), TIE),
    "in checkpoint": (cotan.checkpoint(lambda x: cnp.sum(cnp.abs(x))), Z),
    "in vmap": (lambda x: cnp.sum(cotan.vmap(lambda v: cnp.maximum(v, 2.0))(x)), TIE),
    "under vmap, of rows": (lambda x: cnp.sum(cotan.vmap(cnp.max)(x)), np.array([[1.0, 2.0], [3.0, 3.0]])),
}
SMOOTH = {
    "abs": (lambda x: cnp.sum(cnp.abs(x)), np.array([1.0, -2.0])),
    "max": (lambda x: cnp.max(x) ** 2, np.array([1.0, 2.0])),
    "norm": (lambda x: cnp.linalg.norm(x), TIE),
    "x ** 2": (lambda x: cnp.sum(x**2 + x**0), Z),
    "prod": (cnp.prod, Z),
    "sinc": (lambda x: cnp.sum(cnp.sinc(x)), Z),
    "scan": (lambda x: lax.scan(lambda c, v: (cnp.sin(c) + cnp.abs(v), None), 0.0, x)[0], TIE),
    "the other branch": (lambda x: cotan.jit(lambda x: lax.cond(x[0] > 0, cnp.sum, lambda x: cnp.sum(cnp.sqrt(x - x)), x))(x), TIE),
    "while": (lambda x: lax.while_loop(lambda v: v < 10.0, lambda v: v * v + 1.0, x[0]), TIE),
    "logsumexp at a tie": (special.logsumexp, np.zeros(3)),
    "softmax at a tie": (lambda x: special.softmax(x)[0], np.zeros(3)),
    "power at 0, of exponents 0 and 2": (lambda x: cnp.sum(cnp.power(x, np.array([0.0, 2.0, 3.0]))), Z),
    "zero to a power": (lambda x: cnp.sum(0.0**x), TIE),
    "copysign by a zero": (lambda x: cnp.sum(cnp.copysign(x, np.zeros(3))), TIE),
    "xlogy in y, x = 0": (lambda x: cnp.sum(special.xlogy(np.zeros(3), x)), TIE),
    "at[...].max": (lambda x: cnp.sum(cnp.zeros(3).at[1].max(x[1])), TIE),
    "stopped": (lambda x: cnp.sum(x * cnp.sign(cotan.stop_gradient(x))), Z),
}


def transformations(f, x):
    scalar = lambda x: cnp.sum(f(x))  # noqa: E731
    return {
        "grad": lambda: cotan.grad(scalar, strict=True)(x),
        "value_and_grad": lambda: cotan.value_and_grad(scalar, strict=True)(x)[1],
        "jvp": lambda: cotan.jvp(f, (x,), (np.ones_like(x),), strict=True)[1],
        "vjp": lambda: cotan.vjp(scalar, x, strict=True)[1](1.0)[0],
        "linearize": lambda: cotan.linearize(f, x, strict=True)[1](np.ones_like(x)),
        "jacfwd": lambda: cotan.jacfwd(f, strict=True)(x),
        "jacrev": lambda: cotan.jacrev(f, strict=True)(x),
        "jacobian": lambda: cotan.jacobian(f, strict=True)(x),
        "value_and_jacobian": lambda: cotan.value_and_jacobian(f, strict=True)(x)[1],
        "hessian": lambda: cotan.hessian(f, strict=True)(x),
        "hvp": lambda: cotan.hvp(scalar, x, np.ones_like(x), strict=True),
    }


@pytest.mark.parametrize("name", SINGULAR)
def test_it_raises(name):
    f, x = SINGULAR[name]
    for take in transformations(f, x).values():
        with pytest.raises(SingularPointError, match="has no derivative"):
            take()
    cotan.grad(lambda x: cnp.sum(f(x)))(x)  # without it, there is a convention


@pytest.mark.parametrize("name", SMOOTH)
def test_it_changes_nothing_where_there_is_a_derivative(name):
    f, x = SMOOTH[name]
    loose = {
        "grad": cotan.grad(f)(x),
        "jacfwd": cotan.jacfwd(f)(x),
        "hessian": cotan.hessian(f)(x),
        "vjp": cotan.vjp(f, x)[1](1.0)[0],
        "hvp": cotan.hvp(f, x, np.ones_like(x)),
    }
    strict = transformations(f, x)
    for key, expected in loose.items():
        np.testing.assert_allclose(strict[key](), expected, atol=1e-14)


def test_it_raises_at_second_order_where_only_the_second_derivative_is_missing():
    f = lambda x: cnp.sum(x * cnp.abs(x))  # noqa: E731
    with pytest.raises(SingularPointError, match="abs"):
        cotan.hessian(f, strict=True)(Z)
    relu_squared = lambda x: cnp.sum(x**1.5)  # noqa: E731
    np.testing.assert_array_equal(cotan.grad(relu_squared, strict=False)(Z), 0.0)


def test_it_looks_at_the_operands_that_vary():
    """xlogy(0, y) is 0 for every y; in x its derivative log(y) is infinite at y = 0."""
    assert cotan.grad(lambda y: special.xlogy(0.0, y), strict=True)(0.0) == 0.0
    with pytest.raises(SingularPointError, match="xlogy"):
        cotan.grad(lambda x: special.xlogy(x, 0.0), strict=True)(0.0)


def test_the_message_names_the_line_and_the_first_element():
    x = np.array([1.0, 0.0, 0.0])
    with pytest.raises(SingularPointError) as caught:
        cotan.grad(lambda x: cnp.sum(cnp.sqrt(x)), strict=True)(x)
    text = str(caught.value)
    assert "sqrt has no derivative at 2 of 3 elements, first at index 1" in text
    assert "test_strict.py:" in text
    assert isinstance(caught.value, ArithmeticError)


def test_values_that_are_not_known_are_refused():
    with pytest.raises(ArgumentError, match="outside jit"):
        cotan.jit(cotan.grad(lambda x: cnp.sum(cnp.abs(x)), strict=True))(Z)
    np.testing.assert_array_equal(cotan.vmap(cotan.grad(lambda x: cnp.abs(x), strict=True))(np.array([1.0, -1.0])), [1.0, -1.0])
    with pytest.raises(SingularPointError, match="1 of 2"):
        cotan.vmap(cotan.grad(lambda x: cnp.abs(x), strict=True))(np.array([1.0, 0.0]))


def test_a_rule_of_the_users_is_taken_as_it_stands():
    """It says what the derivative is, at a kink too: straight through a rounding, say."""

    @cotan.custom_jvp
    def straight(x):
        return cnp.round(x)

    straight.defjvp(lambda primals, tangents: (straight(*primals), tangents[0]))

    @cotan.custom_vjp
    def clipped(x):
        return cnp.abs(x)

    clipped.defvjp(lambda x: (cnp.abs(x), None), lambda _, y_bar: (3.0 * y_bar,))
    for f, expected in ((straight, 1.0), (clipped, 3.0)):
        for g in (f, cotan.jit(f)):
            assert cotan.grad(g, strict=True)(0.5) == expected
            assert cotan.jvp(g, (0.5,), (1.0,), strict=True)[1] == expected
    assert cotan.grad(clipped, strict=True)(0.0) == 3.0
    np.testing.assert_allclose(cotan.hessian(lambda x: straight(x) ** 2, strict=True)(0.3), 2.0)


def test_a_batched_while_loop_is_refused():
    f = lambda x: lax.while_loop(lambda v: v < 10.0, lambda v: v * v + 1.0, x)  # noqa: E731
    x = np.array([1.0, 2.0])
    with pytest.raises(ArgumentError, match="its own number"):
        cotan.vmap(cotan.grad(f, strict=True))(x)
    np.testing.assert_allclose(cotan.grad(lambda x: cnp.sum(cotan.vmap(f)(x)), strict=True)(x), [cotan.grad(f)(v) for v in x])
