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
    ]
    return Table("threads", f"one thread and {processors()}", "us", rows)
