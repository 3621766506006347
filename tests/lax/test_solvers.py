"""custom_linear_solve and custom_root have the derivatives of the solution, for any solver."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax, tree
from cotan.core.errors import ArgumentTypeError, MissingRuleError, NonlinearTangentError

RNG = np.random.default_rng(3)
S = RNG.normal(size=(4, 4))
S = S @ S.T + 4 * np.eye(4)
G = RNG.normal(size=(4, 4)) + 3 * np.eye(4)
B = RNG.normal(size=4)


def conjugate_gradients(matvec, b):
    def step(s):
        x, r, p = s
        q = matvec(p)
        a = cnp.sum(r * r) / cnp.sum(p * q)
        new = r - a * q
        return x + a * p, new, new + cnp.sum(new * new) / cnp.sum(r * r) * p

    return lax.while_loop(lambda s: cnp.sum(s[1] ** 2) > 1e-26, step, (cnp.zeros_like(b), b, b))[0]


def symmetric(a, b):
    a = 0.5 * (a + a.T)
    return lax.custom_linear_solve(lambda x: a @ x, b, conjugate_gradients, symmetric=True)


def general(a, b):
    return lax.custom_linear_solve(lambda x: a @ x, b, lambda matvec, b: cnp.linalg.solve(a, b), lambda vecmat, b: cnp.linalg.solve(a.T, b))


def with_tree(a, b):
    def matvec(x):
        y = a @ cnp.concatenate([x["u"], x["v"]])
        return {"u": y[:1], "v": y[1:]}

    def dense(matvec, b):
        flat = lambda x: cnp.concatenate([x["u"], x["v"]])  # noqa: E731
        matrix = cotan.jacfwd(lambda v: flat(matvec({"u": v[:1], "v": v[1:]})))(cnp.zeros(4))
        x = cnp.linalg.solve(matrix, flat(b))
        return {"u": x[:1], "v": x[1:]}, {"matrix": matrix}

    x, aux = lax.custom_linear_solve(matvec, {"u": b[:1], "v": b[1:]}, dense, dense, has_aux=True)
    return cnp.concatenate([x["u"], x["v"]]) + 0.0 * aux["matrix"][0, 0]


CASES = {
    "symmetric": (symmetric, lambda a, b: cnp.linalg.solve(0.5 * (a + a.T), b), S),
    "general": (general, cnp.linalg.solve, G),
    "tree": (with_tree, cnp.linalg.solve, G),
}
BOTH = (0, 1)
WAYS = {
    "value": lambda f: f,
    "jit": cotan.jit,
    "jacfwd": lambda f: cotan.jacfwd(f, BOTH),
    "jacrev": lambda f: cotan.jacrev(f, BOTH),
    "jit of jacrev": lambda f: cotan.jit(cotan.jacrev(f, BOTH)),
    "jacrev of jit": lambda f: cotan.jacrev(cotan.jit(f), BOTH),
    "forward over forward": lambda f: cotan.jacfwd(cotan.jacfwd(f, BOTH), BOTH),
    "forward over reverse": lambda f: cotan.jacfwd(cotan.jacrev(f, BOTH), BOTH),
    "reverse over forward": lambda f: cotan.jacrev(cotan.jacfwd(f, BOTH), BOTH),
    "reverse over reverse": lambda f: cotan.jacrev(cotan.jacrev(f, BOTH), BOTH),
    "vmap": lambda f: lambda a, b: cotan.vmap(f)(cnp.stack([a, 2 * a]), cnp.stack([b, b * b])),
    "vmap of b": lambda f: lambda a, b: cotan.vmap(cotan.jacrev(f, BOTH), (None, 0))(a, cnp.stack([b, b * b])),
    "vmap of a": lambda f: lambda a, b: cotan.jit(cotan.vmap(cotan.jacrev(f, BOTH), (0, None)))(cnp.stack([a, 2 * a]), b),
    "jacrev of vmap": lambda f: lambda a, b: cotan.jacrev(lambda a: cotan.vmap(f, (0, None))(cnp.stack([a, 2 * a]), b))(a),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", WAYS)
def test_linear_solve_equals_a_dense_one(case, way):
    f, dense, a = CASES[case]
    for found, expected in zip(tree.leaves(WAYS[way](f)(a, B)), tree.leaves(WAYS[way](dense)(a, B)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


def test_the_solver_is_not_differentiated():
    @cotan.custom_jvp
    def opaque(x):
        return x

    opaque.defjvp(lambda primals, tangents: 1 / 0)
    f = lambda a, b: lax.custom_linear_solve(lambda x: a * x, b, lambda mv, b: opaque(b) / a, symmetric=True)  # noqa: E731
    np.testing.assert_allclose(cotan.grad(f, BOTH)(2.0, 3.0), (-0.75, 0.5))


def test_what_is_refused():
    one = np.ones(2)
    with pytest.raises(NonlinearTangentError):
        lax.custom_linear_solve(lambda x: x + 1.0, one, lambda mv, b: b)
    with pytest.raises(ArgumentTypeError, match="not like b"):
        lax.custom_linear_solve(lambda x: x[:1], one, lambda mv, b: b)
    with pytest.raises(ArgumentTypeError, match="pair"):
        lax.custom_linear_solve(lambda x: x, one, lambda mv, b: b, has_aux=True)
    f = lambda b: cnp.sum(lax.custom_linear_solve(lambda x: 2 * x, b, lambda mv, b: b / 2))  # noqa: E731
    np.testing.assert_allclose(cotan.jacfwd(f)(one), [0.5, 0.5])
    with pytest.raises(MissingRuleError, match="transpose_solve"):
        cotan.grad(f)(one)


# ---- custom_root ---------------------------------------------------------------------------------------------------------
def newton(f, x):
    return lax.while_loop(lambda x: cnp.abs(f(x)) > 1e-13, lambda x: x - f(x) / cotan.grad(f)(x), x)


def cube_root(a):
    return lax.custom_root(lambda x: x**3 - a, 1.0, newton, lambda g, y: y / g(1.0))


def test_root_of_a_scalar_equation():
    np.testing.assert_allclose(cube_root(8.0), 2.0)
    first, second, third = 1 / 12, -2 / 9 * 8 ** (-5 / 3), 10 / 27 * 8 ** (-8 / 3)
    for d in (cotan.grad, cotan.jacfwd, lambda f: cotan.jit(cotan.grad(f)), lambda f: cotan.grad(cotan.jit(f))):
        np.testing.assert_allclose(d(cube_root)(8.0), first)
        np.testing.assert_allclose(d(cotan.grad(cube_root))(8.0), second)
        np.testing.assert_allclose(d(cotan.jacfwd(cube_root))(8.0), second)
    np.testing.assert_allclose(cotan.grad(cotan.grad(cotan.grad(cube_root)))(8.0), third)
    np.testing.assert_allclose(cotan.vmap(cotan.grad(cube_root))(np.array([1.0, 8.0])), [1 / 3, 1 / 12])


def test_root_of_a_system_with_aux():
    def f(a, guess):
        def residual(x):
            return {"p": x["p"] ** 2 - a * x["q"], "q": x["q"] + x["p"] - 3.0}

        def solve(g, x):
            flat = lambda v: cnp.stack(tree.leaves(g({"p": v[0], "q": v[1]})))  # noqa: E731
            v = cnp.stack([x["p"], x["q"]])
            for _ in range(12):
                v = v - cnp.linalg.solve(cotan.jacfwd(flat)(v), flat(v))
            return {"p": v[0], "q": v[1]}, {"steps": 12}

        def tangent_solve(g, y):
            flat = lambda v: cnp.stack(tree.leaves(g({"p": v[0], "q": v[1]})))  # noqa: E731
            v = cnp.linalg.solve(cotan.jacfwd(flat)(cnp.zeros(2)), cnp.stack([y["p"], y["q"]]))
            return {"p": v[0], "q": v[1]}

        x, aux = lax.custom_root(residual, guess, solve, tangent_solve, has_aux=True)
        assert int(aux["steps"]) == 12
        return x["p"] * x["q"] ** 2

    guess = {"p": 1.0, "q": 2.0}
    p = lambda a: (-a + cnp.sqrt(a * a + 12 * a)) / 2  # noqa: E731
    exact = lambda a: p(a) * (3 - p(a)) ** 2  # noqa: E731
    for d in (lambda f: f, cotan.grad, cotan.jacfwd, lambda f: cotan.grad(cotan.grad(f)), lambda f: cotan.jacfwd(cotan.grad(f))):
        np.testing.assert_allclose(d(lambda a: f(a, guess))(2.0), d(exact)(2.0), rtol=1e-9)
    np.testing.assert_allclose(cotan.grad(lambda g: f(2.0, g))(guess)["p"], 0.0)


@pytest.mark.peers
def test_the_same_as_jax():
    jax = pytest.importorskip("jax")
    theirs = lambda a: jax.lax.custom_root(  # noqa: E731
        lambda x: x**3 - a, 1.0, lambda f, x: jax.lax.fori_loop(0, 60, lambda i, x: x - f(x) / jax.grad(f)(x), x), lambda g, y: y / g(1.0)
    )
    np.testing.assert_allclose(cotan.grad(cotan.grad(cube_root))(5.0), jax.grad(jax.grad(theirs))(5.0), rtol=1e-6)
