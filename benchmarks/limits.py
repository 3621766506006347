"""What this machine can do at best: memory, products of matrices, vector functions, and the cost of calling out of Python at all."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from benchmarks import handwritten
from benchmarks.harness import NOT_APPLICABLE, Contestant, Row, Table, compare

ALONE, ALL = "1 thread", "all processors"
NUMBERS = 1_000_000
BIG = 10_000_000
SIDE = 1024


def processors() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def together(calls: list[Callable[[], object]]) -> Callable[[], None]:
    """Calls that run side by side, each in a thread of its own."""

    def run() -> None:
        threads = [threading.Thread(target=call) for call in calls[1:]]
        for thread in threads:
            thread.start()
        calls[0]()
        for thread in threads:
            thread.join()

    return run


def by_threads(place: str, n: int) -> dict[str, Contestant]:
    """A function of C from n numbers to n, whole in one thread and a part in each of as many threads as there are processors."""
    x = np.random.default_rng(0).uniform(0.1, 3.0, size=n)
    out, count = np.empty(n), processors()
    file, name = place.split(".")
    functions = handwritten.library(file)
    if functions is None:
        return dict.fromkeys((ALONE, ALL), handwritten.NO_COMPILER)

    def part(first: int, last: int) -> Callable[[], object]:
        function = functions[name]
        words = [ctypes.c_long(last - first), *(ctypes.c_void_p(array[first:last].ctypes.data) for array in (x, out))]
        return lambda kept=(x, out): function(*words)

    edges = [n * k // count for k in range(count + 1)]
    return {ALONE: part(0, n), ALL: together([part(a, b) for a, b in pairwise(edges)])}


def rate_row(label: str, contestants: dict[str, Contestant], amount: float, unit: str) -> Row:
    """A row whose target column says the rates that its times amount to."""
    cells = compare(contestants, seconds=1.0)
    rates = [f"{amount / cell:.3g}" for cell in cells.values() if isinstance(cell, float)]
    return Row(label, cells, f"{' / '.join(rates)} {unit}")


def products(dtype: type) -> dict[str, Contestant]:
    """A product of square matrices in NumPy, whose BLAS uses all processors."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(SIDE, SIDE)).astype(dtype) for _ in range(2))
    out = np.empty((SIDE, SIDE), dtype)
    return {ALONE: NOT_APPLICABLE, ALL: lambda: np.matmul(a, b, out=out)}


def table() -> Table:
    """Each limit, as a time for a fixed job and as a rate."""
    rows = [
        rate_row(f"copy of {BIG:,} doubles", by_threads("limits.copy", BIG), 16e-9 * BIG, "GB/s"),
        rate_row(f"copy of {NUMBERS // 10:,} doubles", by_threads("limits.copy", NUMBERS // 10), 1.6e-9 * NUMBERS, "GB/s"),
        *(
            rate_row(f"product of matrices, {SIDE}^3, {np.dtype(dtype).name}", products(dtype), 2e-9 * SIDE**3, "GFLOP/s")
            for dtype in (np.float32, np.float64)
        ),
        *(
            rate_row(f"{name} of {NUMBERS:,} doubles in C", by_threads(f"limits.all_{name}", NUMBERS), 1e-9 * NUMBERS, "numbers/ns")
            for name in ("exp", "log", "sin", "tanh")
        ),
        rate_row("a call from Python into C", {ALONE: by_threads("limits.copy", 1)[ALONE], ALL: NOT_APPLICABLE}, 1e-6, "calls/us"),
    ]
    return Table("limits", "what this machine can do", "us", rows)
