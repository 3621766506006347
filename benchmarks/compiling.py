"""First calls of compiled gradients: tracing, differentiating, compiling, one run; in a fresh process that has warmed up on another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import cotan
from benchmarks.adbench import determinant
from benchmarks.harness import JAX, NOT_INSTALLED, OURS, TOLERANCES, TOO_SLOW, Budget, Cell, Row, Table, leaves, optional
from benchmarks.learning import block, mlp, network, transformer
from benchmarks.loops import cotan_names, jax_names, lorenz

ROUNDS = 3
# A library that took this long in the first round is not asked again.
LONG_SECONDS = 5.0
FIRST_CALL = "from benchmarks.compiling import report; report({program!r}, {library!r})"


def rosenbrock(_: Any, x: Any) -> Any:
    """The Rosenbrock function."""
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def steps(length: int, xp: Any, x: Any) -> Any:
    """So many steps of three operations, unrolled."""
    for k in range(length):
        x = xp.sin(x) * x + (0.3 + 1e-5 * k)
    return xp.sum(x)


def updates(xp: Any, x: Any) -> Any:
    """Each of 600 numbers in turn replaced by a function of the one before."""
    for i in range(600):
        x = x.at[i].set(xp.sin(x[i - 1]) + x[i])
    return xp.sum(x**2)


def operations(xp: Any, x: Any) -> Any:
    """Two hundred operations."""
    for _ in range(100):
        x = xp.sin(x) * 1.01
    return xp.sum(x)


class Program(NamedTuple):
    """What is compiled: the gradient of ``f`` by its first arguments; how long it may take, in words; whether JAX is patient enough."""

    f: Callable[..., Any]
    arguments: Callable[[np.random.Generator], Sequence[np.ndarray]]
    active: int
    target: str
    jax: bool = True


def numbers(n: int) -> Callable[[np.random.Generator], list[np.ndarray]]:
    """One array of so many numbers."""
    return lambda rng: [rng.uniform(0.1, 0.9, size=n)]


A_THIRD = "a third of JAX's, then a tenth"
PROGRAMS = {
    "Rosenbrock(5)": Program(rosenbrock, numbers(5), 1, A_THIRD),
    "MLP": Program(mlp, network, 6, A_THIRD),
    "200 operations": Program(operations, numbers(10), 1, A_THIRD),
    "Lorenz RK4 in a scan": Program(lorenz, numbers(3), 1, A_THIRD),
    "transformer block": Program(transformer, block, 4, A_THIRD),
    "1,000 steps, unrolled": Program(partial(steps, 1_000), numbers(10), 1, "1 s"),
    "3,000 steps, unrolled": Program(partial(steps, 3_000), numbers(10), 1, "3 s", jax=False),
    "600 indexed updates": Program(updates, numbers(600), 1, "0.5 s", jax=False),
    "determinant by minors, 6 x 6": Program(determinant, lambda rng: [rng.normal(size=(6, 6))], 1, "1 s"),
}
KEPT = ("Rosenbrock(5)", "MLP", "Lorenz RK4 in a scan", "transformer block")


def gradient(library: str, f: Callable[..., Any], active: int) -> Callable[..., Any]:
    """The gradient as the library compiles it at its first call."""
    by = tuple(range(active))
    if library != JAX:
        return cotan.jit(cotan.grad(partial(f, cotan_names()), argnums=by))
    jax: Any = optional("jax")
    function = jax.jit(jax.grad(partial(f, jax_names(jax)), argnums=by))
    return lambda *arguments: jax.block_until_ready(function(*arguments))


def report(program: str, library: str) -> None:
    """Print the seconds of the first call, and of each leaf of the answer its norm and its product with a fixed vector."""
    f, arguments, active, *_ = PROGRAMS[program]
    gradient(library, lambda xp, x: xp.sum(xp.tanh(x @ x)), 1)(np.eye(2))
    function, given = gradient(library, f, active), arguments(np.random.default_rng(0))
    started = time.perf_counter()
    answer = function(*given)
    seconds = time.perf_counter() - started
    marks = [marked(leaf) for leaf in leaves(answer)]
    print(json.dumps({"seconds": seconds, "marks": marks, "tolerance": max(TOLERANCES[leaf.dtype] for leaf in leaves(answer))}))


def marked(leaf: np.ndarray) -> tuple[float, float]:
    """The norm of an array and its product with a fixed vector; the squares of small numbers must not vanish."""
    size = float(np.max(np.abs(leaf))) or 1.0
    numbers = leaf.ravel() / size
    return size * float(np.linalg.norm(numbers)), size * float(np.cos(np.arange(leaf.size)) @ numbers)


NO_CACHE = {"COTAN_CACHE": "0", "JAX_ENABLE_COMPILATION_CACHE": "false"}


def cache_in(folder: str) -> dict[str, str]:
    """The variables of a process whose compiled programs are kept in a folder, however small they are."""
    smallest = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
    return {"COTAN_CACHE": "1", "COTAN_CACHE_DIR": folder, "JAX_COMPILATION_CACHE_DIR": folder, **smallest}


def measured(program: str, library: str, variables: dict[str, str]) -> dict[str, Any]:
    """What `report` prints in a fresh process."""
    command = [sys.executable, "-c", FIRST_CALL.format(program=program, library=library)]
    here = Path(__file__).resolve().parents[1]
    process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=here, env={**os.environ, **variables})
    if process.returncode:
        raise RuntimeError(f"{program}, {library}: {process.stderr}")
    return json.loads(process.stdout.splitlines()[-1])


def row(program: str, label: str, variables: dict[str, str], target: str) -> Row:
    """Rounds in which every library is started in turn, once their answers agree."""
    libraries = [OURS, *([JAX] if PROGRAMS[program].jax and optional("jax") else [])]
    rounds = {library: [measured(program, library, variables)] for library in libraries}
    reference = rounds[libraries[-1]][0]
    for library in libraries:
        first = rounds[library][0]
        for (norm, product), mark in zip(reference["marks"], first["marks"], strict=True):
            if not max(abs(norm - mark[0]), abs(product - mark[1])) <= reference["tolerance"] * norm:
                raise RuntimeError(f"{program}: {library} and {libraries[-1]} disagree: {mark} and {(norm, product)}")
        if first["seconds"] < LONG_SECONDS:
            rounds[library] += [measured(program, library, variables) for _ in range(ROUNDS - 1)]
    cells: dict[str, Cell] = {library: Budget.counts([one["seconds"] for one in rounds[library]]) for library in libraries}
    missing = NOT_INSTALLED if PROGRAMS[program].jax else TOO_SLOW
    return Row(label, {**cells, JAX: missing} if JAX not in cells else cells, target)


def kept_row(program: str) -> Row:
    """The same when another process has compiled it already, and both libraries keep what they compiled on disk."""
    with tempfile.TemporaryDirectory() as folder:
        for library in (OURS, *([JAX] if optional("jax") else [])):
            measured(program, library, cache_in(folder))
        return row(program, f"{program}, again in a new process", cache_in(folder), "10 ms")


def table() -> Table:
    """The programs, with nothing on disk, then some of them again; PyTorch, which compiles with another compiler's help, is left out."""
    rows = [row(name, name, NO_CACHE, program.target) for name, program in PROGRAMS.items()]
    return Table("compiling", "first call of a compiled gradient", "ms", rows + [kept_row(name) for name in KEPT])
