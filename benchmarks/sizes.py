"""A function of arrays of many lengths: what all those compilations cost, and what it costs to have compiled for any length."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import cotan
import cotan.numpy as cnp
from benchmarks.fusion import waves
from benchmarks.harness import JAX, NOT_INSTALLED, OURS, Budget, Cell, Row, Table, compare, optional

LENGTHS = 1000
FIRST = 5_000
# A library whose first lengths took this long is not asked for all of them: its time is scaled up.
PATIENCE_SECONDS = 10.0
SPECIALISED, ANY_SIZE = "cotan.jit, one size each", "cotan.jit, any size"


def compilers() -> dict[str, Callable[[], Callable[[Any], Any]]]:
    """For each column what makes a freshly compiled gradient."""
    jax = optional("jax")

    def ours(**options: Any) -> Callable[[Any], Any]:
        return cotan.jit(cotan.grad(partial(waves, cnp)), **options)

    def in_jax() -> Callable[[Any], Any]:
        function = jax.jit(jax.grad(partial(waves, jax.numpy)))  # type: ignore[union-attr]
        return lambda x: jax.block_until_ready(function(x))  # type: ignore[union-attr]

    columns: dict[str, Callable[[], Callable[[Any], Any]]] = {OURS: ours}
    if "dynamic_sizes" in inspect.signature(cotan.jit).parameters:
        columns |= {ANY_SIZE: partial(ours, dynamic_sizes=True), SPECIALISED: partial(ours, dynamic_sizes=False)}
    return {**columns, JAX: in_jax} if jax else columns


def first_calls(function: Callable[[Any], Any]) -> float:
    """The time of the first calls at all lengths, by those for which there was patience."""
    lengths = np.random.default_rng(0).permutation(LENGTHS) + FIRST
    started = time.perf_counter()
    for done, length in enumerate(lengths, 1):
        function(np.linspace(0.0, 1.0, length))
        if (seconds := time.perf_counter() - started) > PATIENCE_SECONDS * Budget.share:
            return seconds * LENGTHS / done
    return seconds


def table() -> Table:
    """First calls, then calls of what has been compiled."""
    functions = {name: make() for name, make in compilers().items()}
    missing: dict[str, Cell] = {} if optional("jax") else {JAX: NOT_INSTALLED}
    rows = [Row(f"first calls at {LENGTHS:,} lengths", {**{name: first_calls(f) for name, f in functions.items()}, **missing})]
    for length in (100, FIRST + 7, 1_000_000):
        x = np.linspace(0.0, 1.0, length)
        rows.append(Row(f"a call at {length:,}", {**compare({name: partial(f, x) for name, f in functions.items()}, 1.0), **missing}))
    rows[0].target, rows[1].target = "a few compilations", "1.1x of one size each"
    return Table("sizes", "one function, many lengths", "us", rows)
