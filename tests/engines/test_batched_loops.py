"""Batched loops in strips: a scan over a batch equals itself on some examples at a time. Loops whose rows are not independent are whole."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.engines import numpy as numpy_engine
from cotan.engines.native import pipeline
from cotan.engines.native.options import codegen_options
from cotan.engines.native.passes.batched_loops import cut_batched_loops
from cotan.engines.native.passes.simplify import simplify
from cotan.engines.native.passes.strip_op import Strips
from cotan.engines.native.runtime.thread_pool import limited

rng = np.random.default_rng(5)
P, W, T = rng.normal(size=3), rng.normal(size=(3, 3)) / 3, np.arange(7.0) / 7
BATCH = {n: rng.normal(size=(n, 3)) for n in (3, 7, 24, 29)}
SMALL = {
    "chunk_cost": 1,
    "batched_loop_cost": 1,
    "threads": 3,
    "strip_axis": 16,
    "least_strip": 4,
    "most_strip": 8,
    "strip_overhead": 1 << 40,
}


@pytest.fixture(autouse=True)
def everything_in_strips():
    """Short loops on small batches are cut, too."""
    with codegen_options(**SMALL):
        yield


def field(p, y):
    return cnp.stack([p[0] * (y[1] - y[0]), cnp.sin(y[0]) * (p[1] - y[2]), y[0] * y[1] - p[2] * y[2]])


def lorenz(p, y):
    """A Runge-Kutta method that stores a number in each step."""

    def step(y, t):
        middle = y + 0.05 * field(p, y)
        y = y + 0.1 * field(p, middle) * cnp.cos(t)
        return y, y[0]

    return lax.scan(step, y, T)


def network(w, y):
    """A recurrent network that stores its states."""
    return lax.scan(lambda h, t: ((h := cnp.tanh(w @ h + y * t)), h), y, T)


def timed(p, y):
    """The time is a carry that no example changes; nobody asks for the last one."""
    return lax.fori_loop(0, 9, lambda i, c: (c[0] + 0.1, c[1] * cnp.exp(-c[0] * p[0]) + i), (0.0, y))[1]


def rows(p, y):
    """A row is set, one is added to and one is read in each step."""
    return lax.fori_loop(1, 7, lambda i, b: b.at[i].set(b[i - 1] * p[0] + y[1]).at[0].add(b[i]), cnp.zeros(7) + y[0])


def reverse(p, y):
    return lax.scan(lambda c, x: (c * p[1] + x, c - x), y[0], cnp.tile(y, 3), reverse=True)


def counted(p, y):
    return lax.scan(lambda c, x: (c + (y[0] > x), cnp.where(y[1] > x, c, 2 * c)), 0, T)


def chosen(p, y):
    return lax.scan(lambda c, t: (cnp.where(c > t, c * 0.5, cnp.flip(c)), cnp.max(c)), y * p, T)


def filtered(w, y):
    """A Kalman filter: a mean and a covariance, updated by a solve in each step."""

    def step(state, t):
        m, c = w @ state[0], w @ state[1] @ w.T + 0.1 * cnp.eye(3)
        gain = cnp.linalg.solve(c + cnp.eye(3), c).T
        return (m := m + gain @ (y * t - m), c - gain @ c), cnp.sum(m)

    (m, c), total = lax.scan(step, (y, cnp.eye(3) * y[0] ** 2), T)
    return m, c, total


def ranked(p, y):
    return lax.scan(lambda c, t: (cnp.sort(c * p + t) - cnp.cumsum(c) / 9, (cnp.argmax(c), cnp.linalg.norm(c))), y, T)


def substeps(p, y):
    """A loop in the loop, with a stack of its own and a sum of what the examples share."""

    def step(c, t):
        c, steps = lax.scan(lambda c, k: (c + 0.01 * field(p, c) * k, c[1]), c, T[:4])
        return c * t, cnp.sum(steps)

    return lax.scan(step, y, T)


def over_batch(f, shared):
    return lambda x, batch: cotan.vmap(f, in_axes=(None, 0))(x, batch) if shared else cotan.vmap(lambda y: f(y * 2.0, y))(batch)


def loss(f, shared=True):
    return lambda x, batch: sum(cnp.sum(cnp.sin(y)) for y in cotan.tree.leaves(over_batch(f, shared)(x, batch)))


def first(f):
    return lambda x, y: cnp.sum(f(x, y)[0] ** 2)


PARAMETERS = {
    lorenz: P, network: W, timed: P, rows: P, reverse: P, counted: P, chosen: P, filtered: W, ranked: P, substeps: P,
}  # fmt: skip
INDEPENDENT = {
    **{f.__name__: (over_batch(f, True), x) for f, x in PARAMETERS.items()},
    "own parameters": (over_batch(lorenz, False), P),
    **{f"grad of {f.__name__}": (cotan.grad(loss(f), (0, 1)), x) for f, x in PARAMETERS.items() if f not in (counted, ranked)},
    **{
        f"vmap of grad of {f.__name__}": (over_batch(cotan.grad(first(f), (0, 1)), True), PARAMETERS[f])
        for f in (lorenz, network, filtered, substeps)
    },
    "tangent": (lambda x, b: cotan.jvp(over_batch(lorenz, True), (x, b), (x, b)), P),
    "hvp": (lambda x, b: cotan.jvp(cotan.grad(loss(lorenz), (0, 1)), (x, b), (x, b))[1], P),
    "twice": (lambda x, b: cotan.vmap(over_batch(network, True), in_axes=(0, None))(cnp.stack([x, 2 * x]), b), W),
}


def cut(f, *args):
    """The number of loops in strips, and the Program in strips."""
    staged = cotan.stage(f)(*args)
    program, constants = simplify(staged)
    program = cut_batched_loops(program)
    return sum(isinstance(e.op, Strips) for e in program.equations), program, [*constants, *staged.constants]


def check(f, *args):
    """Both engines on the Program in strips, on some threads, beside NumPy on the whole."""
    _, program, constants = cut(f, *args)
    expected = cotan.tree.leaves(cotan.jit(f, engine="numpy")(*args))
    found = [numpy_engine.run(program, [*constants, *cotan.tree.leaves(args)])]
    native = cotan.jit(f, engine="native")
    for threads in (1, 2, 3):
        with limited(threads):
            found.append(cotan.tree.leaves(native(*args)))
    for results in found:
        for x, y in zip(results, expected, strict=True):
            assert x.dtype == y.dtype
            eps = 1e3 * np.finfo(x.dtype).eps if x.dtype.kind in "fc" else 0
            np.testing.assert_allclose(x, y, rtol=eps, atol=eps * np.abs(y).max(initial=0.0))


@pytest.mark.parametrize("size", [24, 29])
@pytest.mark.parametrize("name", INDEPENDENT)
def test_a_batched_loop_is_cut(name, size):
    f, x = INDEPENDENT[name]
    assert cut(f, x, BATCH[size])[0] >= 1
    check(f, x, BATCH[size])


@pytest.mark.parametrize("size", [3, 7])
@pytest.mark.parametrize("name", INDEPENDENT)
def test_axes_of_one_length_are_not_confused(name, size):
    """The batch is as long as a state, or as the loop."""
    f, x = INDEPENDENT[name]
    with codegen_options(strip_axis=2, least_strip=2, most_strip=2):
        check(f, x, BATCH[size])


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_any_dtype(dtype):
    x, batch = W.astype(dtype), BATCH[24].astype(dtype)
    for step in (lambda c, y: c * y[0] + y, lambda c, y: cnp.tanh(x @ c) + y):
        f = over_batch(lambda w, y, step=step: lax.scan(lambda c, _: (step(c, y), w @ c), y, None, length=5), True)
        assert cut(f, x, batch)[0] == 1
        check(f, x, batch)


DEPENDENT = {
    "the mean of the batch": lambda x, b: lax.scan(lambda c, t: (c - cnp.mean(c, axis=0), t), b, T),
    "a sum in a function": lambda x, b: lax.scan(lambda c, t: ((c[0] + t, c[1] * cnp.sin(cnp.sum(c[0]))), t), (b, 1.0), T),
    "a product": lambda x, b: lax.scan(lambda c, t: ((c[0] + t, c[1] * cnp.prod(c[0])), t), (b, 1.0), T),
    "the greatest": lambda x, b: lax.scan(lambda c, t: (c + t, cnp.max(c)), b, T),
    "a running sum": lambda x, b: lax.scan(lambda c, t: (cnp.cumsum(c, axis=0) * 0.1, t), b, T),
    "neighbours": lambda x, b: lax.scan(lambda c, t: (cnp.roll(c, 1, axis=0) * t, t), b, T),
    "a loop over the rows": lambda x, b: lax.scan(lambda c, t: (lax.scan(lambda s, r: (s + r, s * t), x, c)[1], t), b, T),
    "a sum into a loop": lambda x, b: lax.scan(lambda c, t: (c * t, lax.fori_loop(0, 3, lambda i, s: s * s, cnp.sum(c))), b, T),
    "the gradient of an order": cotan.grad(lambda x, b: cnp.sum(over_batch(ranked, True)(x, b)[0] ** 2)),
    "order": lambda x, b: lax.scan(lambda c, t: (cnp.sort(c * t, axis=0), t), b, T),
    "some rows": lambda x, b: lax.scan(lambda c, t: (c.at[2].set(c[1] * t), t), b, T),
    "a sum that is scaled": lambda x, b: lax.scan(lambda c, t: ((c[0] * t, c[1] * t + cnp.sum(c[0], axis=0)), t), (b, x), T),
    "sums exchanged": lambda x, b: lax.scan(lambda c, t: ((c[0] * t, c[2] + cnp.sum(c[0]), c[1] - cnp.sum(c[0])), t), (b, 1.0, 2.0), T),
    "a sum that is returned": lambda x, b: lax.scan(lambda c, t: ((c[0] * t, c[1] + cnp.sum(c[0])), c[1]), (b, 1.0), T),
    "a sum in another": lambda x, b: lax.scan(lambda c, t: ((c[0] * t, c[1] + cnp.sum(c[0]), c[2] + c[1]), t), (b, 1.0, 2.0), T),
    "a sum less itself": lambda x, b: lax.scan(lambda c, t: ((c[0] * t, cnp.sum(c[0]) - c[1]), t), (b, 1.0), T),
    "a sum and one": lambda x, b: lax.scan(lambda c, t: ((c[0] * t, c[1] + cnp.sum(c[0]) + 1.0), t), (b, 1.0), T),
}


@pytest.mark.parametrize("name", DEPENDENT)
def test_a_loop_whose_rows_depend_on_each_other_is_not_cut(name):
    f = DEPENDENT[name]
    assert cut(f, P, BATCH[24])[0] == 0
    check(f, P, BATCH[24])


SHARED = {
    "a number for each example": lambda x, b: lax.scan(lambda c, t: (c + np.arange(len(b))[:, None] * t, t), b, T),
    "the time": lambda x, b: lax.scan(lambda c, t: ((c[0] * t, c[1] + 1.0), c[1]), (b, 1.0), T),
    "a covariance": lambda x, b: lax.scan(
        lambda c, t: ((c[0] * c[1][0, 0], c[1] @ c[1] * c[2], c[2] * t, c[3] + cnp.sum(c[0])), (c[0], cnp.sum(c[1]), t)), (b, W, 1.0, x), T
    ),
}


@pytest.mark.parametrize("name", SHARED)
def test_results_that_the_examples_share(name):
    assert cut(SHARED[name], P, BATCH[24])[0] == 1
    check(SHARED[name], P, BATCH[24])


SUMMED = {
    "a sum": lambda x, b: lax.scan(lambda c, t: ((c[0] * t, c[1] + cnp.sum(c[0])), cnp.sum(c[0] ** 2, axis=0)), (b, 3.0), T),
    "sums of sums": lambda x, b: lax.scan(lambda c, t: ((c[0] * t, c[1] + cnp.outer(cnp.sum(c[0], axis=0), x) - W), t), (b, W), T),
    "a cell": lambda x, b: lax.scan(lambda c, t: ((c[0] * t, c[1].at[1].add(-2.0 * cnp.sum(c[0]))), t), (b, x), T),
    "scaled": lambda x, b: lax.scan(lambda c, t: ((c[0] * t, c[1] + cnp.sum(c[0], axis=0) * t * x), t), (b, x), T),
    "in a loop": lambda x, b: lax.scan(
        lambda c, t: ((c[0] * t, lax.fori_loop(0, 3, lambda i, s: s + 2.0 * cnp.sum(c[0], axis=0) * x, c[1])), t), (b, x), T
    ),
    "a product of matrices": lambda x, b: lax.scan(lambda c, t: ((c[0] * t, c[1] + (c[0].T @ c[0]).T), t), (b, W), T),
}


@pytest.mark.parametrize("name", SUMMED)
def test_sums_over_the_batch(name):
    """They are added up over the strips; something else that is added to one is added once."""
    check(SUMMED[name], P, BATCH[29])
    check(cotan.grad(lambda x, b: sum(cnp.sum(y) for y in cotan.tree.leaves(SUMMED[name](x, b))), (0, 1)), P, BATCH[29])


def test_code_for_many_sizes_is_not_cut(monkeypatch):
    """So that a new size costs what it costs for other functions: a batch is cut for the first sizes only, and for none of dynamic ones."""
    cuts = []
    monkeypatch.setattr(
        pipeline, "cut_batched_loops", lambda p, options: (cuts.append(options.batched_loops), cut_batched_loops(p, options))[1]
    )

    def gradient(w, b):
        return cotan.grad(lambda w: cnp.sum(over_batch(network, True)(w, b)[0]))(w)

    for dynamic_sizes, cut_at in ((None, 3), (True, 0), (False, 7)):
        cuts.clear()
        f = cotan.jit(lambda w, b: gradient(w, b), dynamic_sizes=dynamic_sizes)
        for n in range(40, 47):
            b = rng.normal(size=(n, 3))
            np.testing.assert_allclose(f(W, b), gradient(W, b), rtol=1e-10, atol=1e-12)
        assert sum(cuts) == cut_at


def test_entries_that_are_passed_on_and_entries_that_are_made():
    """Several stacks of one type are read and written, row by row."""
    stacks = rng.normal(size=(2, 7, 29, 3))

    def f(b, stacks):
        return lax.scan(lambda c, x: (c * 0.5 + x[1], (x[0], c, x[1] * x[0])), b, (stacks[0], stacks[1]), reverse=True)

    for g in (f, cotan.grad(lambda b, s: sum(cnp.sum(cnp.sin(y)) for y in cotan.tree.leaves(f(b, s))), (0, 1))):
        assert cut(g, BATCH[29], stacks)[0] >= 1
        check(g, BATCH[29], stacks)


def test_the_memory_of_strips_does_not_grow_with_what_the_loop_stores():
    """The states of all steps are written where they belong."""
    f = lambda w, b: lax.scan(lambda h, t: ((h := cnp.tanh(h @ w + b * t)), h), b, T)  # noqa: E731
    batch = rng.normal(size=(4096, 3))
    assert cut(f, W, batch)[0] == 1
    report = cotan.compile_report(cotan.jit(f))(W, batch)
    assert report.workspace < batch.nbytes * len(T) / 4
    check(f, W, batch)
