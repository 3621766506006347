"""A costly branch on a batch gives what a Python loop over the examples gives, and does the work of the examples that take it.

The branches cost so much that each of the ways of `cotan.control.lanes` is taken: strips of lanes, lanes one by one, and lanes by an index
that is known (without jit).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.control.lanes import Work, strip_width, work
from cotan.ops.transcendental import Sin

N = 6
W = np.random.default_rng(1).normal(size=(N, N)) / N


# ---- branches: p > 0 takes the costly one, which is nan or raises for p < 0 -----------------------------------------------------
def chain(x):
    for k in range(10):
        x = cnp.sin(cnp.exp(-x * x) + 0.1 * k)
    return x


def elementwise(w, p, x):
    return lax.cond(p > 0, lambda: chain(x * cnp.log(p)) + cnp.sqrt(p), lambda: 0.5 * x)


def loop(w, p, x):
    return lax.cond(p > 0, lambda: lax.fori_loop(0, 60, lambda k, v: cnp.sin(w @ v) + cnp.sqrt(p), x), lambda: x * p)


def while_loop(w, p, x):
    """As many steps as p says."""

    def run():
        return lax.while_loop(lambda s: s[0] > 0, lambda s: (s[0] - 0.25, chain(s[1])), (p, x))[1]

    return lax.cond(p > 0, run, lambda: x * p)


def factorization(w, p, x):
    """The matrix is singular for p <= 0."""

    def solve():
        a = cnp.sqrt(p) * (cnp.ones((20, 20)) * cnp.sum(x) * 0.01 + 3.0 * cnp.eye(20))
        return cnp.linalg.solve(a, cnp.concatenate([x, cnp.ones(20 - N)]))[:N]

    return lax.cond(p > 0, solve, lambda: w @ x)


def small_factorizations(w, p, x):
    """The matrices are singular for p <= 0."""

    def solve():
        a = cnp.maximum(p, 0.0) * (w + 3.0 * np.eye(N))
        return chain(cnp.linalg.solve(a, chain(x)))

    return lax.cond(p > 0, solve, lambda: 2.0 * x)


def switch(w, p, x):
    index = cnp.where(p > 1, 3, cnp.where(p > 0, 2, cnp.where(p > -1, 1, 0)))
    return lax.switch(index, [lambda: x, lambda: chain(x), lambda: chain(w @ x) * cnp.sqrt(p), lambda: cnp.log(p) * x], *())


def every_dtype(w, p, x):
    """Integers, bools and complex numbers go in and come out."""

    def costly(n, flag, z):
        z = cnp.sin(cnp.sin(cnp.sin(cnp.exp(0.1 * z)))) * cnp.sqrt(p)
        for _ in range(8):
            z = cnp.sin(0.5 * z) + 0.1
        return n * 2, ~flag, z, cnp.float32(1.5)

    n, flag, z, half = lax.cond(p > 0, costly, lambda n, flag, z: (n, flag, z, cnp.float32(0.5)), cnp.int32(3), x[0] > 0, x + 1j * x[::-1])
    return cnp.real(z) * n + cnp.imag(z) * flag + half


def in_scan(w, p, x):
    return lax.scan(lambda c, k: (elementwise(w, p - 0.5 * k, c), None), x, np.arange(3.0))[0]


def in_while(w, p, x):
    def step(state):
        k, v = state
        return k + 1, elementwise(w, p - k, v)

    return lax.while_loop(lambda s: s[0] < 2.0 + cnp.abs(p), step, (0.0, x))[1]


BRANCHES = [elementwise, loop, while_loop, factorization, small_factorizations, switch, every_dtype, in_scan, in_while]


# ---- transformations, each beside what it is for one example -----------------------------------------------------------------------
def total(f):
    return lambda w, p, x: cnp.sum(f(w, p, x) ** 2)


def tangent(f):
    return lambda w, p, x: cotan.jvp(f, (w, p, x), (0.1 * w, 0.3, x[::-1] + 1.0))[1]


BY = {
    "value": lambda f: f,
    "grad": lambda f: cotan.grad(total(f), argnums=(0, 1, 2)),
    "jvp": tangent,
    "hessian": lambda f: cotan.hessian(total(f), argnums=2),
}


def batch_of(size):
    rng = np.random.default_rng(size)
    return np.where(rng.random(size) < 0.3, 1.0, -1.0) * rng.uniform(0.2, 1.8, size), rng.uniform(0.5, 1.5, (size, N))


@cache
def expected(branch, by, size):
    """The results of a loop in Python."""
    one = cotan.jit(BY[by](branch))
    rows = [cotan.tree.leaves(one(W, p, x)) for p, x in zip(*batch_of(size), strict=True)]
    return [np.stack(column) for column in zip(*rows, strict=True)]


def close(found, wanted):
    found = cotan.tree.leaves(found)
    if not wanted:
        return
    for y, z in zip(found, wanted, strict=True):
        assert np.all(np.isfinite(z))
        np.testing.assert_allclose(y, z, rtol=1e-9, atol=1e-9 * (1 + np.max(np.abs(z))))


def cases():
    for branch in BRANCHES:
        for by in BY:
            for size in (0, 1, 7, 64, 200, 1000):
                often = (size in (7, 200) and by == "grad") or (size in (0, 1, 64, 1000) and by == "value" and branch in BRANCHES[:4])
                yield pytest.param(branch, by, size, id=f"{branch.__name__}-{by}-{size}", marks=[] if often else [pytest.mark.exhaustive])


@pytest.mark.parametrize(("branch", "by", "size"), list(cases()))
@pytest.mark.parametrize("way", [lambda f: f, cotan.jit], ids=["eager", "jit"])
def test_vmap_equals_a_python_loop(branch, by, size, way):
    found = way(cotan.vmap(BY[by](branch), (None, 0, 0)))(W, *batch_of(size))
    assert all(len(y) == size for y in cotan.tree.leaves(found))
    close(found, expected(branch, by, size))


@pytest.mark.parametrize("branch", BRANCHES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("size", [0, pytest.param(7, marks=pytest.mark.exhaustive), 200])
@pytest.mark.parametrize("way", [lambda f: f, cotan.jit], ids=["eager", "jit"])
def test_gradient_of_a_sum_over_a_batch(branch, size, way):
    """The unbatched operand has the sum of the gradients of all examples."""
    ps, xs = batch_of(size)

    def whole(w, ps, xs):
        return cnp.sum(cotan.vmap(branch, (None, 0, 0))(w, ps, xs) ** 2)

    dw, dp, dx = way(cotan.grad(whole, argnums=(0, 1, 2)))(W, ps, xs)
    if size:
        each, *rest = expected(branch, "grad", size)
        close([dw, dp, dx], [each.sum(0), *rest])
    else:
        assert not dw.any()


@pytest.mark.parametrize("branch", [elementwise, factorization, pytest.param(loop, marks=pytest.mark.exhaustive)], ids=lambda f: f.__name__)
@pytest.mark.parametrize("by", ["jvp of vmap", "hvp of vmap"])
@pytest.mark.parametrize("way", [lambda f: f, cotan.jit], ids=["eager", "jit"])
def test_forward_modes_of_a_batch(branch, by, way):
    ps, xs = batch_of(64)
    moved = 0.5 * xs + 1.0
    if by == "jvp of vmap":
        found = way(lambda w, ps, xs: cotan.jvp(lambda xs: cotan.vmap(branch, (None, 0, 0))(w, ps, xs), (xs,), (moved,))[1])(W, ps, xs)
        wanted = [cotan.jvp(lambda x, p=p: branch(W, p, x), (x,), (dx,))[1] for p, x, dx in zip(ps, xs, moved, strict=True)]
    else:
        whole = lambda xs: cnp.sum(cotan.vmap(branch, (None, 0, 0))(W, ps, xs) ** 2)  # noqa: E731
        found = way(lambda xs: cotan.hvp(whole, xs, moved))(xs)
        one = cotan.jit(lambda p, x, dx: cotan.hvp(lambda x: total(branch)(W, p, x), x, dx))
        wanted = [cotan.tree.leaves(one(p, x, dx))[-1] for p, x, dx in zip(ps, xs, moved, strict=True)]
        found = cotan.tree.leaves(found)[-1]
    close([found], [np.stack(wanted)])


@pytest.mark.parametrize("branch", [elementwise, factorization, switch], ids=lambda f: f.__name__)
@pytest.mark.parametrize("by", ["value", pytest.param("grad", marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)], ids=["both", "outer", "inner"])
@pytest.mark.parametrize("way", [lambda f: f, cotan.jit], ids=["eager", "jit"])
def test_batches_of_batches(branch, by, axes, way):
    """The index has an entry for each example of both batches, of the outer one, of the inner one."""
    (ps, xs), outer = batch_of(200), 25
    ps, xs = ps.reshape(outer, 8)[: outer if axes[0] == 0 else 1], xs.reshape(outer, 8, N)
    if axes == (0, None):
        ps = ps[:, 0]
    elif axes == (None, 0):
        ps = ps[0]
    f = BY[by](branch)
    both = cotan.vmap(cotan.vmap(f, (None, axes[1], 0)), (None, axes[0], 0))
    one = cotan.jit(f)
    of = np.broadcast_to(ps[:, None] if axes == (0, None) else ps, (outer, 8))
    rows = [cotan.tree.leaves(one(W, p, x)) for p, x in zip(of.ravel(), xs.reshape(-1, N), strict=True)]
    wanted = [np.stack(column).reshape(outer, 8, *column[0].shape) for column in zip(*rows, strict=True)]
    close(way(both)(W, ps, xs), wanted)


@pytest.mark.parametrize("scale", [0.01, 1.0], ids=["one by one", "in strips"])
@pytest.mark.parametrize("by", ["value", "grad"])
@pytest.mark.parametrize("way", [lambda f: f, cotan.jit], ids=["eager", "jit"])
def test_a_branch_fails_only_for_an_example_that_takes_it(scale, by, way):
    def f(w, p, x):
        """The matrix is singular for x[0] = 0."""
        a = x[0] * np.eye(20)
        return lax.cond(p > 0, lambda: cnp.linalg.solve(a, cnp.ones(20))[:N] + (chain(x) if scale == 1.0 else x), lambda: x)

    g = way(cotan.vmap(BY[by](f), (None, 0, 0)))
    ps, xs = batch_of(200)
    harmless, harmful = xs.copy(), xs.copy()
    harmless[np.argmin(ps), 0] = harmful[np.argmax(ps), 0] = 0.0
    assert all(np.all(np.isfinite(y)) for y in cotan.tree.leaves(g(W, ps, harmless)))
    found = np.isnan(np.asarray(cotan.tree.leaves(g(W, ps, harmful))[0])).any(-1) if by == "value" else None
    if by == "value":
        np.testing.assert_array_equal(found, np.arange(200) == np.argmax(ps))
    else:
        assert any(np.any(np.isnan(y)) for y in cotan.tree.leaves(g(W, ps, harmful)))


@pytest.mark.parametrize("way", [lambda f: f, cotan.jit], ids=["eager", "jit"])
def test_nan_of_another_example_is_in_no_sum_over_the_batch(way):
    """The gradient in w is a product of matrices, in which zero times nan would be nan."""
    ps, xs = batch_of(200)

    def whole(w):
        branch = lambda p, x: lax.cond(p > 0, lambda: chain(w @ (cnp.log(p) * x)), lambda: x)  # noqa: E731
        return cnp.sum(cotan.vmap(branch)(ps, xs))

    assert np.all(np.isfinite(way(cotan.grad(whole))(W)))


# ---- how much is done ---------------------------------------------------------------------------------------------------------------
@pytest.fixture
def sines(monkeypatch):
    """The numbers of elements of which sines were computed, in calls of NumPy."""
    counted: list[int] = []
    run = Sin.impl

    def count(self, x):
        counted.append(np.size(x))
        return run(self, x)

    monkeypatch.setattr(Sin, "impl", count)
    return counted


@pytest.mark.parametrize(("by", "times"), [("value", 1), ("grad", 2)])
@pytest.mark.parametrize("size", [64, 1000])
@pytest.mark.parametrize("way", ["eager", "staged"])
def test_examples_that_do_not_take_a_branch_are_not_computed(sines, by, times, size, way):
    """Of an index that is known, none is; of a traced one, fewer than fit in a strip. A gradient may compute a sine once more."""
    f = cotan.vmap(elementwise, (None, 0, 0))
    if by == "grad":
        f = cotan.grad(lambda w, ps, xs, f=f: cnp.sum(f(w, ps, xs)), argnums=2)
    f = f if way == "eager" else cotan.jit(f, engine="numpy")
    room = 0 if way == "eager" else strip_width_of(elementwise, size)
    assert room < size // 7
    _, xs = batch_of(size)
    for takers in (0, 1, size // 64, size // 2, size):
        ps = -np.ones(size)
        ps[np.random.default_rng(takers).permutation(size)[:takers]] = 1.3
        sines.clear()
        f(W, ps, xs)
        lanes = sum(sines) / (10 * N)
        assert takers <= lanes <= times * (takers + room * (takers > 0))


def strip_width_of(branch, size):
    """The lanes of a strip of the one branch."""
    program = cotan.stage(branch)(W, 1.0, np.ones(N))
    (equation,) = [e for e in program.equations if e.op.name == "cond"]
    flags = [v.type.shape != (N, N) for v in equation.inputs[1:]]
    return strip_width(equation.op.branches, flags, size)


@pytest.mark.parametrize("way", [lambda f: f, cotan.jit], ids=["eager", "jit"])
def test_outside_code_is_called_for_the_examples_that_take_its_branch(way):
    called: list[float] = []
    code = lambda p, x: called.append(float(p)) or np.sin(x)  # noqa: E731
    outside = lambda p, x: cotan.pure_callback(code, cotan.ShapeDtypeStruct((N,), np.float64), p, x)  # noqa: E731
    f = way(cotan.vmap(lambda p, x: lax.cond(p > 0, outside, lambda p, x: x, p, x)))
    ps, xs = batch_of(64)
    f(ps, xs)
    called.clear()
    np.testing.assert_array_equal(f(ps, xs), np.where(ps[:, None] > 0, np.sin(xs), xs))
    assert sorted(called) == sorted(ps[ps > 0])


@pytest.mark.parametrize("way", [lambda f: f, cotan.jit], ids=["eager", "jit"])
def test_a_loop_takes_the_steps_of_its_own_strip(way):
    """Examples that do not take a branch take no steps of its loop: the steps that compiled code reports are those of the takers."""
    steps: list[int] = []
    seen = lambda k: steps.append(np.size(k)) or k  # noqa: E731

    def costly(x):
        def step(state):
            k, v = state
            return cotan.pure_callback(seen, cotan.ShapeDtypeStruct((), np.int64), k, vmap_method="broadcast_all") + 1, chain(v)

        return lax.while_loop(lambda s: s[0] < 5, step, (0, x))[1]

    f = way(cotan.vmap(lambda p, x: lax.cond(p > 0, costly, lambda x: x, x)))
    _, xs = batch_of(64)
    ps = np.where(np.arange(64) == 40, 1.0, -1.0)
    f(ps, xs)
    steps.clear()
    f(ps, xs)
    assert len(steps) == 5
    assert max(steps) <= 8


# ---- where nothing changes -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "branch",
    [
        pytest.param(lambda i, s: s.at[i].set(1.0), id="an update of a large array"),
        pytest.param(lambda i, s: s * 2.0 + 1.0, id="little work"),
    ],
)
def test_branches_that_cost_less_than_moving_lanes_run_together(branch):
    f = cotan.vmap(lambda p, i, s: lax.cond(p, branch, lambda i, s: s, i, s))
    program = cotan.stage(f)(np.arange(100) % 2 == 0, np.arange(100), np.zeros((100, 1000)))
    assert not [e for e in program.equations if e.op.name in ("argsort", "scan")]


def test_masked_steps_of_a_loop_run_together():
    f = cotan.vmap(lambda p, x: lax.while_loop(lambda s: s[0] > 0, lambda s: (s[0] - 1.0, chain(s[1])), (p, x))[1])
    assert "argsort" not in str(cotan.stage(f)(*batch_of(200)))


def test_the_work_of_a_branch_counts_its_loops():
    def of(f, *arguments):
        return work(cotan.stage(f)(*arguments))

    x = np.ones(10)
    one = of(lambda x: cnp.sin(x) + x, x)
    assert one == Work(110, 110, 0)
    looped = of(lambda x: lax.fori_loop(0, 50, lambda k, v: cnp.sin(v) + v, x), x)
    assert 50 * one.total <= looped.total <= 52 * one.total
    assert looped.steps == 50
    assert of(lambda x: lax.cond(x[0] > 0, lambda: x, lambda: cnp.sin(x) + x), x).total >= one.total
    assert of(cnp.linalg.inv, np.eye(20)).alone
    assert not of(cnp.linalg.inv, np.eye(3)).alone
    assert of(lambda a: a @ a, np.eye(20)).total == 20**3
