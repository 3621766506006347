"""Two threads beside one, on large arrays; and whether one thread really is one."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import cotan
import cotan.numpy as cnp
from benchmarks.adbench import gmm, mixture
from benchmarks.fusion import axpy_chain, softmax, waves
from benchmarks.harness import Alone, Row, Table, compare
from benchmarks.limits import processors
from benchmarks.loops import cotan_names, nbody
from cotan import lax

ALONE, ALL = "cotan.jit, 1 thread", "cotan.jit"
BUSY_SECONDS = 0.2


def threads_at_work(alone: Alone) -> float:
    """The processors' time of all threads over that of the one that calls, while one thread is asked for."""
    with alone.around():
        alone()
        deadline, every, own = time.perf_counter() + BUSY_SECONDS, time.process_time(), time.thread_time()
        while time.perf_counter() < deadline:
            alone()
        return (time.process_time() - every) / (time.thread_time() - own)


def row(label: str, function: Callable[..., Any], *arguments: np.ndarray) -> Row:
    """A compiled function with one thread and with all, and what that gains."""
    compiled = cotan.jit(function)

    def call() -> Any:
        return compiled(*arguments)

    call()
    alone = Alone(call)
    cells = compare({ALONE: alone, ALL: call}, seconds=1.5)
    one, every = cells[ALONE], cells[ALL]
    gain = one / every if isinstance(one, float) and isinstance(every, float) else 0.0
    return Row(label, cells, f"at least 1.4x; here {gain:.2f}x; asked for one thread, {threads_at_work(alone):.2f} work")


def batches(rng: np.random.Generator) -> list[Row]:
    """Stacks of matrices, `lax.map`, and scans over a batch."""
    stack = rng.normal(size=(2000, 20, 20)) + 10.0 * np.eye(20)
    symmetric = stack @ stack.mT
    weights, points = rng.normal(size=(30, 30)) / 6, rng.normal(size=(5000, 30))
    parameters, starts = np.array([10.0, 28.0, 8 / 3]), rng.normal(size=(2000, 3))

    def mapped(w: Any, xs: Any) -> Any:
        return cnp.sum(lax.map(lambda x: cnp.sum(cnp.tanh(w @ cnp.tanh(w @ cnp.tanh(w @ x))) ** 2), xs))

    def lorenz(p: Any, y: Any) -> Any:
        def field(y: Any) -> Any:
            return cnp.stack([p[0] * (y[1] - y[0]), y[0] * (p[1] - y[2]) - y[1], y[0] * y[1] - p[2] * y[2]])

        def step(y: Any, _: Any) -> Any:
            middle = y + 0.005 * field(y)
            return y + 0.01 * field(middle), None

        return lax.scan(step, y, None, length=500)[0]

    def ensemble(p: Any, ys: Any) -> Any:
        return cotan.vmap(lorenz, in_axes=(None, 0))(p, ys)

    return [
        row("solve, 2000 of 20 x 20", lambda a: cnp.linalg.solve(a, a[..., 0][..., None]), stack),
        row("inv, 2000 of 20 x 20", cnp.linalg.inv, stack),
        row("svd, 2000 of 20 x 20", cnp.linalg.svd, stack),
        row("eigh, 2000 of 20 x 20", cnp.linalg.eigh, symmetric),
        row("map of a network over 5000 points", mapped, weights, points),
        row("map of a network, gradient", cotan.grad(mapped, (0, 1)), weights, points),
        row("500 steps of 2000 Lorenz systems", ensemble, parameters, starts),
        row("500 steps of 2000 Lorenz systems, gradient", cotan.grad(lambda p, ys: cnp.sum(ensemble(p, ys)), (0, 1)), parameters, starts),
    ]


def table() -> Table:
    """Gradients and single operations."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=10_000_000)
    image = rng.normal(size=(4096, 1024)).astype(np.float32)
    stars = [rng.normal(size=(512, 3)), 0.1 * rng.normal(size=(512, 3)), rng.uniform(0.5, 1.5, size=512) / 512]
    names = cotan_names()
    square = rng.normal(size=(1024, 1024))
    where, many = rng.integers(100_000, size=1_000_000), numbers[:1_000_000]
    rows = [
        row("waves of 10,000,000, gradient", cotan.grad(partial(waves, cnp)), numbers),
        row("axpy chain of 10,000,000, gradient", cotan.grad(partial(axpy_chain, cnp)), numbers),
        row("softmax 4096 x 1024, gradient", cotan.grad(partial(softmax, cnp)), image),
        row("N-body, 512 stars, gradient", cotan.grad(partial(nbody, names), argnums=(0, 1)), *stars),
        row("GMM, 20 dimensions, 10,000 points, gradient", cotan.grad(partial(gmm, names), (0, 1, 2, 3)), *mixture(rng, 20, 50, 10_000)),
        row("product of matrices, 1024^3", cnp.matmul, square, square),
        row("1,000,000 numbers added to 100,000", lambda i, x: cnp.zeros(100_000).at[i].add(x), where, many),
        row("sort of 1,000,000", cnp.sort, many),
        row("sum of 10,000,000", cnp.sum, numbers),
        row("running sum of 10,000,000", cnp.cumsum, numbers),
        *batches(rng),
    ]
    return Table("threads", f"one thread and {processors()}", "us", rows)
