"""Code that runs for examples of a batch that do not need it never raises, and its results have no effect on them.

Each function takes a branch, or iterates a loop, for some examples only; for the others the same code would meet a singular matrix, an
index out of bounds, a callback that refuses its argument.
"""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax

A = np.array([[2.0, 0.3], [0.1, 1.0]])
EYE = np.eye(2)
LARGE = np.random.default_rng(0).normal(size=(6, 6)) + 3 * np.eye(6)
P, YS = 2.0, np.array([1.0, -1.0, 0.0, 2.0])
"""A parameter, and what says which way an example goes: those with y > 0 are meant to run the body."""


def spd(p, y):
    """A matrix that is zero for p = 0, and for y = 0."""
    return y * p * (A + A.T)


def refuses(x):
    if not np.all(x > 0):
        raise ValueError("no such argument")
    return np.sqrt(x)


square_root = cotan.external(refuses, jvp=lambda xs, dxs: (square_root(*xs), dxs[0] / (2.0 * square_root(*xs))))


@cotan.custom_jvp
def by_rule(a):
    return cnp.sum(cnp.linalg.inv(a))


@by_rule.defjvp
def _(primals, tangents):
    (a,), (da,) = primals, tangents
    inverse = cnp.linalg.inv(a)
    return cnp.sum(inverse), -cnp.sum(inverse @ da @ inverse)


@cotan.custom_vjp
def by_reverse_rule(a):
    return cnp.sum(cnp.linalg.cholesky(a))


by_reverse_rule.defvjp(
    lambda a: (by_reverse_rule(a), a),
    lambda a, bar: (bar * cotan.grad(lambda a: cnp.sum(cnp.linalg.cholesky(a)))(a),),
)


def conjugate_gradients(matvec, b):
    """Steps until the residual is small: of a singular matrix, not a number of them."""

    def step(state):
        x, r, d = state
        ad = matvec(d)
        alpha = cnp.dot(r, r) / cnp.dot(d, ad)
        x, new = x + alpha * d, r - alpha * ad
        return x, new, new + cnp.dot(new, new) / cnp.dot(r, r) * d

    return lax.while_loop(lambda s: ~(cnp.dot(s[1], s[1]) < 1e-24), step, (0 * b, b, b))[0]


BODIES = {
    "solve": lambda p, y: cnp.sum(cnp.linalg.solve(p * A + y * y * EYE, np.ones(2))),
    "inv": lambda p, y: cnp.sum(cnp.linalg.inv(spd(p, y))),
    "slogdet": lambda p, y: cnp.linalg.slogdet(spd(p, y))[1],
    "cholesky": lambda p, y: cnp.sum(cnp.linalg.cholesky(spd(p, y))),
    "eigvalsh": lambda p, y: cnp.sum(cnp.linalg.eigvalsh(spd(cnp.log(p * y), 1.0)) ** 3),
    "svd": lambda p, y: cnp.sum(cnp.linalg.svdvals(spd(cnp.log(p * y), 1.0) + A) ** 3),
    "pinv": lambda p, y: cnp.sum(cnp.linalg.pinv(spd(cnp.log(p * y), 1.0) + A)),
    "qr": lambda p, y: cnp.sum(cnp.linalg.qr(spd(p, y))[1] ** 2),
    "det of a large matrix": lambda p, y: cnp.linalg.det(cnp.log(p * y) * LARGE) * 1e-3,
    "lax.linalg": lambda p, y: cnp.sum(lax.custom_linear_solve(lambda x: spd(p, y) @ x, np.ones(2), conjugate_gradients, symmetric=True)),
    "a callback": lambda p, y: cnp.sum(square_root(p * y * np.ones(2))),
    "custom_jvp": lambda p, y: by_rule(spd(p, y)),
    "custom_vjp": lambda p, y: by_reverse_rule(spd(p, y)),
    "checkpoint": lambda p, y: cotan.checkpoint(lambda p: cnp.sum(cnp.linalg.inv(spd(p, y))))(p),
    "jit": lambda p, y: cotan.jit(lambda p, y: cnp.sum(cnp.linalg.inv(spd(p, y))))(p, y),
    "a loop": lambda p, y: lax.scan(lambda x, _: (cnp.linalg.solve(spd(p, y), x), None), np.ones(2), None, length=3)[0].sum(),
}
REVERSE_ONLY = {"custom_vjp"}


def cond(body):
    return lambda p, y: lax.cond(y > 0, lambda: body(p, y), lambda: p * 0.5)


def switch(body):
    return lambda p, y: lax.switch(
        cnp.where(y > 1, 2, cnp.where(y > 0, 1, 0)), [lambda: p, lambda: body(p, y), lambda: 2.0 * body(p, y + 1.0)]
    )


def nested(body):
    return lambda p, y: lax.cond(y != 0, lambda: lax.cond(y > 0, lambda: body(p, y), lambda: p**2), lambda: 0.0 * p)


def in_scan(body):
    def step(total, k):
        return total + lax.cond(y_of(total, k) > 0, lambda: body(k[0], k[1]), lambda: 0.0 * k[0]), None

    def y_of(total, k):
        return k[1]

    return lambda p, y: lax.scan(step, 0.0 * p, (p * np.array([1.0, 0.5]), cnp.stack([y, y - 1.5])))[0]


def in_while(body, **options):
    """Steps as long as a number is positive: an example that is done has a singular matrix."""

    def run(p, y):
        def step(state):
            total, left = state
            return total + body(p, left), cnp.maximum(left - 1.0, 0.0) * (left > 1.0)

        return lax.while_loop(lambda s: s[1] > 0, step, (0.0 * p, y), **options)[0]

    return run


def in_bounded_memory(body):
    return in_while(body, checkpoint=2)


def in_while_of_cond(body):
    def run(p, y):
        def step(state):
            total, k = state
            return total + lax.cond(y > 0, lambda: body(p, y), lambda: p), k + 1

        return lax.while_loop(lambda s: s[1] < 2, step, (0.0 * p, 0))[0]

    return run


AROUND = {
    "cond": cond,
    "switch": switch,
    "nested": nested,
    "scan": in_scan,
    "while": in_while,
    "bounded memory": in_bounded_memory,
    "while of cond": in_while_of_cond,
}
BY = {
    "value": lambda f: f,
    "grad": cotan.grad,
    "jvp": lambda f: lambda p, y: cotan.jvp(lambda p: f(p, y), (p,), (1.0,))[1],
    "jacrev": cotan.jacrev,
    "hessian": cotan.hessian,
}


def cases():
    for body in BODIES:
        for around in AROUND:
            for by in BY:
                if body in REVERSE_ONLY and by in ("jvp", "hessian"):
                    continue
                often = around == "cond" or (body in ("solve", "cholesky", "a callback") and by in ("grad", "hessian"))
                yield pytest.param(body, around, by, id=f"{body}-{around}-{by}", marks=[] if often else [pytest.mark.exhaustive])


@pytest.mark.parametrize(("body", "around", "by"), list(cases()))
def test_a_batch_gives_what_each_example_gives(body, around, by):
    f = BY[by](AROUND[around](BODIES[body]))
    expected = [np.asarray(f(P, y)) for y in YS]
    assert np.all(np.isfinite(expected))
    for way in (cotan.vmap(f, (None, 0)), cotan.jit(cotan.vmap(f, (None, 0)))):
        np.testing.assert_allclose(way(P, YS), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("body", "around"),
    [pytest.param(b, a, marks=[] if a in ("cond", "while") else [pytest.mark.exhaustive]) for b in BODIES for a in AROUND],
)
def test_the_gradient_of_a_sum_over_a_batch(body, around):
    f = AROUND[around](BODIES[body])
    expected = sum(float(cotan.grad(f)(P, y)) for y in YS)
    total = lambda p: cnp.sum(cotan.vmap(f, (None, 0))(p, YS))  # noqa: E731
    assert float(cotan.grad(total)(P)) == pytest.approx(expected, rel=1e-9)
    assert float(cotan.jit(cotan.grad(total))(P)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("by", ["grad", "hessian"])
@pytest.mark.parametrize("around", list(AROUND))
def test_batches_of_batches(around, by):
    f = BY[by](AROUND[around](BODIES["inv"]))
    ps = np.array([2.0, 1.0, 3.0])
    ys = np.array([[1.0, -1.0, 0.0], [0.0, -1.0, -2.0], [-1.0, 2.0, 0.0]])
    expected = [[float(f(p, y)) for y in row] for p, row in zip(ps, ys, strict=True)]
    both = cotan.vmap(cotan.vmap(f, (None, 0)))
    np.testing.assert_allclose(both(ps, ys), expected, rtol=1e-10)
    np.testing.assert_allclose(cotan.jit(both)(ps, ys), expected, rtol=1e-10)
    crossed = cotan.vmap(cotan.vmap(f, (None, 0)), (0, None))
    np.testing.assert_allclose(crossed(ps, ys[2]), [[float(f(p, y)) for y in ys[2]] for p in ps], rtol=1e-10)


def test_an_index_that_a_branch_guards_may_be_out_of_bounds():
    x, at = np.arange(4.0), np.array([1, 9, -7, 3])
    f = lambda x, i: lax.cond((i >= 0) & (i < 4), lambda: 2.0 * cnp.asarray(x)[i], lambda: 0.0)  # noqa: E731
    for g in (cotan.vmap(f, (None, 0)), cotan.jit(cotan.vmap(f, (None, 0)))):
        np.testing.assert_array_equal(g(x, at), [2.0, 0.0, 0.0, 6.0])
    np.testing.assert_array_equal(cotan.vmap(cotan.grad(f), (None, 0))(x, at), 2.0 * (at[:, None] == np.arange(4)))


@pytest.mark.parametrize("by", ["value", "grad"])
@pytest.mark.parametrize("jit", [lambda f: f, cotan.jit], ids=["eager", "jit"])
def test_an_example_that_takes_the_branch_still_fails(by, jit):
    f = BY[by](cond(lambda p, y: cnp.sum(cnp.linalg.inv(p * A))))
    found = jit(cotan.vmap(f))(np.array([1.0, 0.0, 0.0]), np.array([1.0, -1.0, 1.0]))
    np.testing.assert_array_equal(np.isnan(found), [False, False, True])
    powers = BY[by](cond(lambda p, y: p * 2.0 ** cnp.power(2, p.astype(int) - 1)))
    with pytest.raises(ValueError, match="negative integer powers") as raised:
        jit(cotan.vmap(powers))(np.array([1.0, 0.0, 0.0]), np.array([1.0, -1.0, 1.0]))
    assert any("cnp.power(2, p.astype(int) - 1)" in note for note in raised.value.__notes__)


def test_strict_differentiation_of_branches_that_may_fail_is_refused_on_a_batch():
    f = cond(BODIES["inv"])
    with pytest.raises(cotan.errors.ArgumentError, match="strict=True runs all branches"):
        cotan.vmap(cotan.grad(f, strict=True), (None, 0))(P, YS)
    assert float(cotan.grad(f, strict=True)(P, 1.0)) == float(cotan.grad(f)(P, 1.0))
