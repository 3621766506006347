"""Structured matrices and least squares of `scipy.linalg`: values and gradients, compiled, beside SciPy and JAX, with one thread.

The gradient is that of `sum(sin(f(x)))` in all operands. JAX has some of the functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

import cotan
import cotan.numpy as cnp
import cotan.scipy.linalg
from benchmarks.functions import one_thread
from benchmarks.harness import JAX, NOT_APPLICABLE, OURS, Contestant, Row, Table, checked, compare, contestant, optional

SCIPY = "SciPy"
SHORT, LONG = (4, 32, 100), (10, 100, 10_000)
WITHOUT_GRADIENT = {"eigvalsh_tridiagonal"}
"""Functions of which JAX has values alone."""
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


FUNCTIONS: dict[str, tuple[Function, Arguments, tuple[int, ...], Function | None]] = {
    "solve_banded, tridiagonal": (lambda m, ab, b: m.solve_banded((1, 1), ab, b), bands(1, 1), LONG, None),
    "solve_banded, 2 + 2": (lambda m, ab, b: m.solve_banded((2, 2), ab, b), bands(2, 2), LONG, None),
    "solveh_banded, tridiagonal": (lambda m, ab, b: m.solveh_banded(ab, b), bands(0, 1), LONG, None),
    "solveh_banded, 4": (lambda m, ab, b: m.solveh_banded(ab, b), bands(0, 4), LONG, None),
    "cholesky_banded, 4": (lambda m, ab: m.cholesky_banded(ab), bands_alone(0, 4), LONG, None),
    "cho_solve_banded, 4": (lambda m, ab, b: m.cho_solve_banded((ab, False), b), bands(0, 4), LONG, None),
    "solve_toeplitz": (lambda m, c, r, b: m.solve_toeplitz((c, r), b), toeplitz, SHORT, None),
    "matmul_toeplitz": (lambda m, c, r, b: m.matmul_toeplitz((c, r), b), toeplitz, SHORT, None),
    "solve_circulant": (lambda m, c, r, b: m.solve_circulant(c, b) + 0 * r, toeplitz, SHORT, None),
    "toeplitz": (lambda m, c, r, b: m.toeplitz(c, r) + b, toeplitz, SHORT, lambda j, c, r, b: j.scipy.linalg.toeplitz(c, r) + b),
    "block_diag": (lambda m, *x: m.block_diag(*x), blocks, SHORT, lambda j, *x: j.scipy.linalg.block_diag(*x)),
    "eigvalsh_tridiagonal": (
        lambda m, d, e: m.eigvalsh_tridiagonal(d, e),
        diagonals,
        SHORT,
        lambda j, d, e: j.scipy.linalg.eigh_tridiagonal(d, e, eigvals_only=True),
    ),
    "eigvals_banded, 2": (lambda m, a: m.eigvals_banded(a), bands_alone(0, 2), SHORT, None),
    "pinv": (lambda m, a: m.pinv(a), square, SHORT, lambda j, a: j.numpy.linalg.pinv(a)),
    "pinvh": (lambda m, a: m.pinvh(a), square, SHORT, None),
    "lstsq": (lambda m, a, b: m.lstsq(a, b)[0], tall, SHORT, lambda j, a, b: j.numpy.linalg.lstsq(a, b)[0]),
}


def contestants(name: str, x: list[np.ndarray], gradient: bool) -> dict[str, Contestant]:
    """One function, or its gradient, in cotan, SciPy and JAX."""
    f, _, _, theirs = FUNCTIONS[name]
    which = tuple(range(len(x)))
    loss = cotan.grad(lambda *x: cnp.sum(cnp.sin(f(cotan.scipy.linalg, *x))), which)
    ours = cotan.jit(loss if gradient else lambda *x: f(cotan.scipy.linalg, *x))

    def in_jax(jax: Any) -> Callable[[], Any]:
        assert theirs is not None
        given = [jax.numpy.asarray(one) for one in x]
        scalar = jax.grad(lambda *x: jax.numpy.sum(jax.numpy.sin(theirs(jax, *x))), which)
        function = jax.jit(scalar if gradient else lambda *x: theirs(jax, *x))
        return lambda: jax.block_until_ready(function(*given))

    return {
        OURS: lambda: ours(*x),
        SCIPY: NOT_APPLICABLE if gradient else lambda: f(scipy.linalg, *x),
        JAX: NOT_APPLICABLE if theirs is None or (gradient and name in WITHOUT_GRADIENT) else contestant(in_jax, optional("jax")),
    }


def rows_of(name: str, n: int) -> list[Row]:
    """Value and gradient of one function at one size."""
    x = FUNCTIONS[name][1](np.random.default_rng(0), n)
    return [
        Row(f"{name}, {n:,}, {'gradient' if gradient else 'value'}", compare(checked(contestants(name, x, gradient)), SECONDS), TARGET)
        for gradient in (False, True)
    ]


def table() -> Table:
    """All functions at their sizes."""
    with one_thread():
        rows = [row for name, (_, _, sizes, _) in FUNCTIONS.items() for n in sizes for row in rows_of(name, n)]
    return Table("structured", "structured matrices and least squares of scipy.linalg, by the number of rows; one thread", "us", rows)
