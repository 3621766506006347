"""Functions of arrays of many lengths: what a new length costs, and what it costs to have compiled for any length."""

from __future__ import annotations

import importlib
import inspect
import time
import warnings
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


# ---- what a new length costs ------------------------------------------------------------------------------------------------------
def log_density(np: Any, x: Any, y: Any) -> Any:
    """The log density of normal numbers."""
    return np.sum(-0.5 * ((x - 0.3) / 2.0) ** 2 - 0.9189385332046727)


def network(np: Any, x: Any, y: Any) -> Any:
    """The error of a network of three layers on ragged batches."""
    h = y
    for w in WEIGHTS[:-1]:
        h = np.tanh(h @ w)
    return np.mean((h @ WEIGHTS[-1]) ** 2)


def filtered(np: Any, x: Any, y: Any) -> Any:
    """A recurrence over a series."""
    scan = cotan.lax.scan if np is cnp else importlib.import_module("jax").lax.scan
    return np.sum(scan(lambda c, v: (0.9 * c + np.sin(v), c), 0.0, x)[1] ** 2)


def scaled(np: Any, x: Any, y: Any) -> Any:
    """Sizes as numbers: a mean, a branch in Python, blocks of four."""
    blocks = np.mean(np.exp(x[: x.shape[0] // 4 * 4].reshape(-1, 4)), axis=1)
    return np.sum(blocks**2) / x.shape[0] + (np.var(x) if x.shape[0] > 50 else 0.0)


WEIGHTS = [np.random.default_rng(k).normal(size=shape) for k, shape in enumerate([(8, 16), (16, 16), (16, 1)])]
RAGGED = {"a log density": log_density, "a small network": network, "a scan": filtered, "a mean, a branch, blocks": scaled}
NEW_LENGTHS, BEFORE = 200, 10


def new_length(function: Callable[[Any, Any], Any]) -> float:
    """The median time that the first call at a length takes beyond the second, at new lengths, after the first few."""
    lengths = np.random.default_rng(0).permutation(NEW_LENGTHS) + 1000
    rng = np.random.default_rng(1)
    beyond: list[float] = []
    begun = time.perf_counter()
    for k, n in enumerate(lengths):
        x, y = rng.normal(size=n), rng.normal(size=(n, 8))
        started = time.perf_counter()
        function(x, y)
        between = time.perf_counter()
        function(x, y)
        if k >= BEFORE:
            beyond.append(2 * between - started - time.perf_counter())
        if len(beyond) > BEFORE and time.perf_counter() - begun > PATIENCE_SECONDS * Budget.share:
            break
    return float(np.median(beyond))


def gradients(f: Callable[..., Any]) -> dict[str, Callable[[Any, Any], Any]]:
    """For each column the compiled gradient of a function of two arrays."""
    jax = optional("jax")
    columns: dict[str, Callable[[Any, Any], Any]] = {
        name: cotan.jit(cotan.grad(partial(f, cnp)), **options)
        for name, options in {OURS: {}, ANY_SIZE: {"dynamic_sizes": True}, SPECIALISED: {"dynamic_sizes": False}}.items()
    }
    if jax:
        compiled = jax.jit(jax.grad(partial(f, jax.numpy)))
        columns[JAX] = lambda x, y: jax.block_until_ready(compiled(x, y))
    return columns


def table() -> Table:
    """All lengths, new lengths, then calls of what has been compiled."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cotan.RecompilationWarning)
        return rows_of_table()


def rows_of_table() -> Table:
    """The rows, each with its columns."""
    functions = {name: make() for name, make in compilers().items()}
    missing: dict[str, Cell] = {} if optional("jax") else {JAX: NOT_INSTALLED}
    rows = [Row(f"first calls at {LENGTHS:,} lengths", {**{name: first_calls(f) for name, f in functions.items()}, **missing})]
    for name, f in RAGGED.items():
        cells: dict[str, Cell] = {column: new_length(g) for column, g in gradients(f).items()}
        rows.append(Row(f"a new length of {name}", {**cells, **missing}, target="0.5 ms"))
    for length in (100, FIRST + 7, 1_000_000):
        x = np.linspace(0.0, 1.0, length)
        rows.append(Row(f"a call at {length:,}", {**compare({name: partial(f, x) for name, f in functions.items()}, 1.0), **missing}))
    rows[0].target, rows[len(RAGGED) + 1].target = "a few compilations", "1.1x of one size each"
    return Table("sizes", "one function, many lengths", "us", rows)
