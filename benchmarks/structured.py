"""Structured matrices and least squares of `scipy.linalg`: values and gradients, compiled, beside SciPy and JAX, with one thread.

The gradient is that of `sum(sin(f(x)))` in all operands. JAX has some of the functions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

import cotan
import cotan.numpy as cnp
import cotan.scipy.linalg
from benchmarks.functions import one_thread
from benchmarks.harness import JAX, NOT_APPLICABLE, NUMPY, OURS, TORCH, Contestant, Row, Table, checked, compare, contestant, optional

SCIPY = "SciPy"
SHORT, LONG = (4, 32, 100), (10, 100, 10_000)
TARGET = "1.1x of the best"
SECONDS = 0.25

Function = Callable[..., Any]
Arguments = Callable[[np.random.Generator, int], list[np.ndarray]]


def bands(lower: int, upper: int) -> Arguments:
    """Dominant bands and a right-hand side."""

    def make(rng: np.random.Generator, n: int) -> list[np.ndarray]:
        ab = rng.normal(size=(lower + upper + 1, n))
        ab[upper] += 4 + 2 * (lower + upper)
        return [ab, rng.normal(size=n)]

    return make


def toeplitz(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """The first column of a dominant matrix, its first row, and a right-hand side."""
    return [np.r_[n + 1.0, rng.normal(size=n - 1)], rng.normal(size=n), rng.normal(size=n)]


def diagonals(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """The diagonals of a symmetric tridiagonal matrix."""
    return [rng.normal(size=n), rng.normal(size=n - 1)]


def blocks(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """Four matrices."""
    return [rng.normal(size=(n // 4, n // 4)) for _ in range(4)]


def square(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """A symmetric matrix."""
    a = rng.normal(size=(n, n))
    return [a + a.T]


def tall(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """A matrix of twice as many rows, and a right-hand side."""
    return [rng.normal(size=(2 * n, n)), rng.normal(size=2 * n)]


def bands_alone(lower: int, upper: int) -> Arguments:
    """Bands without a right-hand side."""
    make = bands(lower, upper)
    return lambda rng, n: make(rng, n)[:1]


class Case(NamedTuple):
    """A function of ``scipy.linalg``, or of `cotan.scipy.linalg` in its place; its arguments; and the same in other libraries."""

    function: Function
    arguments: Arguments
    sizes: tuple[int, ...]
    jax: Function | None = None
    torch: Function | None = None
    numpy: Function | None = None
    values_alone: bool = False
    """Whether JAX has values alone."""


FUNCTIONS: dict[str, Case] = {
    "solve_banded, tridiagonal": Case(lambda m, ab, b: m.solve_banded((1, 1), ab, b), bands(1, 1), LONG),
    "solve_banded, 2 + 2": Case(lambda m, ab, b: m.solve_banded((2, 2), ab, b), bands(2, 2), LONG),
    "solveh_banded, tridiagonal": Case(lambda m, ab, b: m.solveh_banded(ab, b), bands(0, 1), LONG),
    "solveh_banded, 4": Case(lambda m, ab, b: m.solveh_banded(ab, b), bands(0, 4), LONG),
    "cholesky_banded, 4": Case(lambda m, ab: m.cholesky_banded(ab)[:, 4:], bands_alone(0, 4), LONG),  # the rest has no meaning
    "cho_solve_banded, 4": Case(lambda m, ab, b: m.cho_solve_banded((ab, False), b), bands(0, 4), LONG),
    "solve_toeplitz": Case(lambda m, c, r, b: m.solve_toeplitz((c, r), b), toeplitz, SHORT),
    "matmul_toeplitz": Case(lambda m, c, r, b: m.matmul_toeplitz((c, r), b), toeplitz, SHORT),
    "solve_circulant": Case(lambda m, c, r, b: m.solve_circulant(c, b) + 0 * r, toeplitz, SHORT),
    "toeplitz": Case(lambda m, c, r, b: m.toeplitz(c, r) + b, toeplitz, SHORT, lambda j, c, r, b: j.scipy.linalg.toeplitz(c, r) + b),
    "block_diag": Case(lambda m, *x: m.block_diag(*x), blocks, SHORT, lambda j, *x: j.scipy.linalg.block_diag(*x)),
    "eigvalsh_tridiagonal": Case(
        lambda m, d, e: m.eigvalsh_tridiagonal(d, e),
        diagonals,
        SHORT,
        lambda j, d, e: j.scipy.linalg.eigh_tridiagonal(d, e, eigvals_only=True),
        values_alone=True,
    ),
    "eigvals_banded, 2": Case(lambda m, a: m.eigvals_banded(a), bands_alone(0, 2), SHORT),
    "pinv": Case(lambda m, a: m.pinv(a), square, SHORT, lambda j, a: j.numpy.linalg.pinv(a)),
    "pinvh": Case(lambda m, a: m.pinvh(a), square, SHORT),
    "lstsq": Case(lambda m, a, b: m.lstsq(a, b)[0], tall, SHORT, lambda j, a, b: j.numpy.linalg.lstsq(a, b)[0]),
}


def contestants(case: Case, x: list[np.ndarray], gradient: bool) -> dict[str, Contestant]:
    """One function, or its gradient, in cotan and what it is compared with."""
    which = tuple(range(len(x)))
    mine = partial(case.function, cotan.scipy.linalg)
    ours = cotan.jit(cotan.grad(lambda *x: cnp.sum(cnp.sin(mine(*x))), which) if gradient else mine)

    def in_jax(jax: Any) -> Callable[[], Any]:
        assert case.jax is not None
        given, theirs = [jax.numpy.asarray(one) for one in x], partial(case.jax, jax)
        function = jax.jit(jax.grad(lambda *x: jax.numpy.sum(jax.numpy.sin(theirs(*x))), which) if gradient else theirs)
        return lambda: jax.block_until_ready(function(*given))

    def in_torch(torch: Any) -> Callable[[], Any]:
        assert case.torch is not None
        given, theirs = [torch.from_numpy(one) for one in x], partial(case.torch, torch)
        slope = torch.func.grad(lambda *x: torch.sum(torch.sin(theirs(*x))), which)
        return (lambda: slope(*given)) if gradient else (lambda: theirs(*given))

    found: dict[str, Contestant] = {OURS: lambda: ours(*x), SCIPY: NOT_APPLICABLE if gradient else lambda: case.function(scipy.linalg, *x)}
    if case.numpy is not None:
        of_numpy = case.numpy
        found[NUMPY] = NOT_APPLICABLE if gradient else lambda: of_numpy(np, *x)
    found[JAX] = NOT_APPLICABLE if case.jax is None or (gradient and case.values_alone) else contestant(in_jax, optional("jax"))
    if case.torch is not None:
        found[TORCH] = contestant(in_torch, optional("torch"))
    return found


def rows_of(name: str, case: Case, n: int) -> list[Row]:
    """Value and gradient of one function at one size."""
    x = case.arguments(np.random.default_rng(0), n)
    return [
        Row(f"{name}, {n:,}, {'gradient' if gradient else 'value'}", compare(checked(contestants(case, x, gradient)), SECONDS), TARGET)
        for gradient in (False, True)
    ]


def table() -> Table:
    """All functions at their sizes."""
    with one_thread():
        rows = [row for name, case in FUNCTIONS.items() for n in case.sizes for row in rows_of(name, case, n)]
    return Table("structured", "structured matrices and least squares of scipy.linalg, by the number of rows; one thread", "us", rows)
