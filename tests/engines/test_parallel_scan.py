"""Scans whose iterations do not wait for each other are shared by threads; others are not."""

from __future__ import annotations

import os
from functools import partial

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.engines.native.codegen.lower import lower_module
from cotan.engines.native.options import codegen_options
from cotan.engines.native.passes.simplify import simplify
from cotan.engines.native.runtime.thread_pool import limited
from tests.engines.test_caller import INTERRUPT, run_python

rng = np.random.default_rng(3)
W, XS, N = rng.normal(size=(6, 6)) / 3, rng.normal(size=(37, 6)), np.arange(37)


@pytest.fixture(autouse=True)
def threads_pay():
    """Small loops are shared, too."""
    with codegen_options(chunk_cost=1, threads=3):
        yield


def network(w, x):
    return cnp.sum(cnp.tanh(w @ cnp.tanh(w @ x)) ** 2)


def filled(w, x):
    return lax.fori_loop(0, 6, lambda i, b: b.at[i].set(x[i] * cnp.sum(w[i]) + b[(i + 5) % 6]), cnp.zeros(6))


def solved(w, x):
    return cnp.linalg.solve(w + 3.0 * cnp.eye(6) + cnp.outer(x, x), x)


def newton(w, x):
    return lax.while_loop(lambda c: c[1] < 3.0 + c[0] ** 2, lambda c: (c[0] * 0.5, c[1] + 1.0), (cnp.sum(x), x[0] + w[0, 0]))[1]


def branched(w, x):
    return lax.cond(x[0] > 0, lambda x: cnp.sort(w @ x), lambda x: cnp.cumsum(x), x)


def mapped(f, w, xs):
    return lax.map(partial(f, w), xs)


def total(f, w, xs):
    return cnp.sum(cnp.sin(mapped(f, w, xs)))


def gathered(w, xs):
    """The gradient adds a row and a cell to a total in each iteration."""
    return cnp.sum(lax.map(lambda k: cnp.sum(w[k % 6] ** 2) * w[k % 5, 2], N[: len(xs)]))


def backwards(w, xs):
    return lax.scan(lambda c, x: (c, w @ x + c), 2.0 * w[0], xs, reverse=True)


def counted(w, xs):
    """A sum of integers, one of numbers in registers, and one that begins at an argument."""
    step = lambda c, x: ((c[0] + (x[0] > 0), c[1] + x[1], c[2] + cnp.outer(x, x)), x[0] * 2.0)  # noqa: E731
    return lax.scan(step, (0, 1.0, w), xs)


INDEPENDENT = {
    **{f.__name__: partial(mapped, f) for f in (network, filled, solved, newton, branched)},
    **{f"grad of {f.__name__}": cotan.grad(partial(total, f), (0, 1)) for f in (network, filled, solved, branched)},
    "hvp": lambda w, xs: cotan.jvp(cotan.grad(partial(total, network)), (w, xs), (w, xs))[1],
    "gathered": cotan.grad(gathered),
    "backwards": backwards,
    "counted": counted,
    "nested": lambda w, xs: lax.map(lambda x: lax.map(lambda y: cnp.sum(w @ (x - y)), xs), xs),
    "grad of nested": cotan.grad(lambda w, xs: cnp.sum(lax.map(lambda x: cnp.sum(lax.map(lambda y: cnp.sum((w @ (x - y)) ** 2), xs)), xs))),
    "vmap of map": lambda w, xs: cotan.vmap(lambda s: lax.map(lambda x: network(w * s, x), xs))(cnp.arange(3.0)),
}


def in_chunks(f, *args):
    """How many loops of a function are shared."""
    with codegen_options(chunk_cost=1, threads=3):
        return lower_module(simplify(cotan.stage(f)(*args))[0]).ir.count("define internal void @iterations")


@pytest.mark.parametrize("name", INDEPENDENT)
def test_independent_iterations_are_shared(name):
    f = INDEPENDENT[name]
    assert in_chunks(f, W, XS) >= 1
    expected = cotan.tree.leaves(cotan.jit(f, engine="numpy")(W, XS))
    native = cotan.jit(f, engine="native")
    for threads in (1, 2, 3):
        with limited(threads):
            for x, y in zip(cotan.tree.leaves(native(W, XS)), expected, strict=True):
                assert x.dtype == y.dtype
                np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12 * np.abs(y).max(initial=0.0))


@pytest.mark.parametrize("dtype", ["float32", "complex128", "float16", "int64"])
def test_sums_of_any_dtype_are_shared(dtype):
    xs = (np.arange(40).reshape(20, 2) % 7).astype(dtype)
    f = lambda xs: lax.scan(lambda c, x: (c + x, x * 2), xs[0], xs)  # noqa: E731
    if dtype != "float16":  # half precision is widened: each step rounds
        assert in_chunks(f, xs) == 1
    for x, y in zip(cotan.jit(f, engine="native")(xs), cotan.jit(f, engine="numpy")(xs), strict=True):
        np.testing.assert_array_equal(x, y)


DEPENDENT = {
    "a product": lambda w, xs: lax.scan(lambda c, x: (c * x, c), xs[0], xs),
    "a sum that is returned": lambda w, xs: lax.scan(lambda c, x: (c + x, c), xs[0], xs),
    "a sum that its terms depend on": lambda w, xs: lax.scan(lambda c, x: (c + x * c, x), xs[0], xs),
    "a sum twice": lambda w, xs: lax.scan(lambda c, x: (c + c, x), xs[0], xs),
    "two sums exchanged": lambda w, xs: lax.scan(lambda c, x: ((c[1] + x, c[0] + x), x), (xs[0], xs[1]), xs),
    "the last value": lambda w, xs: lax.scan(lambda c, x: (x, x), xs[0], xs),
    "a row that is set": lambda w, xs: lax.scan(lambda c, x: (c.at[0].set(x), x), w, xs),
    "a row that is read": lambda w, xs: lax.scan(lambda c, x: (c.at[0].add(c[1] * x), x), w, xs),
}


@pytest.mark.parametrize("name", DEPENDENT)
def test_dependent_iterations_are_not_shared(name):
    f = DEPENDENT[name]
    assert in_chunks(f, W, XS) == 0
    for g in (f, cotan.grad(lambda w, xs: sum(cnp.sum(y) for y in cotan.tree.leaves(f(w, xs))), (0, 1))):
        for x, y in zip(cotan.tree.leaves(cotan.jit(g, engine="native")(W, XS)), cotan.tree.leaves(g(W, XS)), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-13)


def test_iterations_that_call_python_are_not_shared():
    """A function of Python's, in the iteration or in a branch of it, and a loop whose residuals are on the heap."""
    cube = cotan.external(lambda x: x**3, jvp=lambda p, t: (cube(*p), 3.0 * p[0] ** 2 * t[0]))
    for f in (cube, lambda x: lax.cond(x[0] > 0, cube, cnp.sin, x)):
        g = lambda xs, f=f: lax.map(f, xs)  # noqa: E731
        assert in_chunks(g, XS) == 0
        np.testing.assert_allclose(cotan.jit(g)(XS), g(XS))
    unknown = cotan.grad(lambda xs: cnp.sum(lax.map(lambda x: newton(W, x * 3.0), xs)))
    np.testing.assert_allclose(cotan.jit(unknown)(XS), unknown(XS))


@pytest.mark.parametrize("bad", [0, 20, 36])
def test_a_failure_in_one_iteration_is_an_error(bad):
    stack = np.tile(np.eye(6), (37, 1, 1))
    stack[bad, 2, 2] = 0.0
    power = lambda a: cnp.linalg.inv(a + cnp.eye(6)) * 2 ** cnp.where(a[2, 2] == 0, -1, 1)  # noqa: E731
    for f in (power, lambda a: power(power(a)), lambda a: lax.cond(a[2, 2] == 0, power, lambda a: a, a)):
        shared = cotan.jit(lambda stack, f=f: lax.map(f, stack), engine="native")
        for threads in (1, 2, 3):
            with limited(threads), pytest.raises(ValueError, match="negative integer powers"):
                shared(stack)
        np.testing.assert_allclose(shared(stack + np.eye(6)), [f(a + np.eye(6)) for a in stack])


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("endless", ["x == i", "x > -1.0"])
def test_shared_iterations_are_interrupted(endless):
    """Every iteration is endless, or one of them, which the main thread runs."""
    one = f"lax.while_loop(lambda c: (c < 1e300) & ({endless}), lambda c: c * 0.5 + 1.0, x)"
    loop = f"cnp.sum(lax.map(lambda i: {one}, cnp.arange(40.0) + 1.0))"
    done = run_python(INTERRUPT.replace("LOOP", loop))
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
