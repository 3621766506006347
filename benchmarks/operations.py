"""Single operations under NumPy's names, compiled, beside NumPy itself: what cannot be faster should at least not be slower."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import cotan
import cotan.numpy as cnp
from benchmarks.harness import JAX, NUMPY, OURS, OURS_ALONE, Alone, Contestant, Row, Table, checked, compare, contestant, optional

SIZES = (100, 10_000, 1_000_000)
LARGE = 10_000_000
TARGET = "1.1x of NumPy"
SLOW_IN_JAX = ("sort", "argsort", "median")

Operation = Callable[..., Any]
Arguments = Callable[[np.random.Generator, int], list[np.ndarray]]


def vectors(count: int) -> Arguments:
    """So many arrays of n numbers."""
    return lambda rng, n: [rng.normal(size=n) for _ in range(count)]


def square(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """A matrix of n numbers."""
    side = int(n**0.5)
    return [rng.normal(size=(side, side))]


def matrices(side: int, columns: int) -> Arguments:
    """Stacks of well-conditioned small matrices, and of matrices to multiply or solve for, with n numbers in the first stack."""

    def made(rng: np.random.Generator, n: int) -> list[np.ndarray]:
        stack = max(1, n // side**2)
        return [rng.normal(size=(stack, side, side)) + 3.0 * np.eye(side), rng.normal(size=(stack, side, columns))]

    return made


def table_and_places(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """A sorted table of 1000 numbers, and n numbers to look for."""
    return [np.sort(rng.normal(size=1000)), rng.normal(size=n)]


def taken(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """Numbers, and where to take them."""
    return [rng.normal(size=n), rng.integers(n, size=n)]


def signal_and_kernel(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """n numbers, and a kernel of 50."""
    return [rng.normal(size=n), rng.normal(size=50)]


def integers(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """Bases and exponents below ten."""
    return [rng.integers(10, size=n), rng.integers(10, size=n)]


OPERATIONS: dict[str, tuple[Operation, Arguments]] = {
    "exp": (lambda xp, x: xp.exp(x), vectors(1)),
    "sin": (lambda xp, x: xp.sin(x), vectors(1)),
    "tanh": (lambda xp, x: xp.tanh(x), vectors(1)),
    "add": (lambda xp, x, y: xp.add(x, y), vectors(2)),
    "power": (lambda xp, x, y: xp.power(xp.abs(x), y), vectors(2)),
    "power of integers": (lambda xp, x, y: xp.power(x, y), integers),
    "where": (lambda xp, x, y: xp.where(x > 0.0, x, y), vectors(2)),
    "sum": (lambda xp, x: xp.sum(x), vectors(1)),
    "sum, axis 0": (lambda xp, x: xp.sum(x, axis=0), square),
    "sum, axis 1": (lambda xp, x: xp.sum(x, axis=1), square),
    "max": (lambda xp, x: xp.max(x), vectors(1)),
    "argmax": (lambda xp, x: xp.argmax(x), vectors(1)),
    "var": (lambda xp, x: xp.var(x), vectors(1)),
    "cumsum": (lambda xp, x: xp.cumsum(x), vectors(1)),
    "sort": (lambda xp, x: xp.sort(x), vectors(1)),
    "argsort": (lambda xp, x: xp.argsort(x), vectors(1)),
    "median": (lambda xp, x: xp.median(x), vectors(1)),
    "searchsorted": (lambda xp, table, x: xp.searchsorted(table, x), table_and_places),
    "take": (lambda xp, x, i: xp.take(x, i), taken),
    "transpose, copied": (lambda xp, x: xp.transpose(x).copy(), square),  # NumPy adds zero in the order in which it lies
    "concatenate": (lambda xp, x, y: xp.concatenate([x, y]), vectors(2)),
    "convolve": (lambda xp, x, k: xp.convolve(x, k, "same"), signal_and_kernel),
    "dot": (lambda xp, x, y: xp.dot(x, y), vectors(2)),
    "matmul": (lambda xp, x: xp.matmul(x, x), square),
    "matmul 4 x 4": (lambda xp, a, b: xp.matmul(a, b), matrices(4, 4)),
    "solve 3 x 3": (lambda xp, a, b: xp.linalg.solve(a, b), matrices(3, 1)),
    "eigh 3 x 3": (lambda xp, a, _: xp.linalg.eigh(a)[1], matrices(3, 1)),
    "eigvalsh 8 x 8": (lambda xp, a, _: xp.linalg.eigvalsh(a), matrices(8, 1)),
    "singular values 3 x 3": (lambda xp, a, _: xp.linalg.svd(a, compute_uv=False), matrices(3, 1)),
    "qr 3 x 3": (lambda xp, a, _: xp.linalg.qr(a)[1], matrices(3, 1)),
    "eigvalsh": (lambda xp, x: xp.linalg.eigvalsh(x + x.T), square),
    "einsum bij,bjk->ik": (lambda xp, a, b: xp.einsum("bij,bjk->ik", a, b), matrices(8, 1)),
}
ON_LARGE = ("exp", "add", "sum", "cumsum", "where")


def contestants(f: Operation, arguments: list[np.ndarray], in_jax: bool) -> dict[str, Contestant]:
    """One operation in cotan, NumPy and JAX."""
    compiled = cotan.jit(lambda *given: f(cnp, *given))

    def jitted(jax: Any) -> Callable[[], Any]:
        function = jax.jit(lambda *given: f(jax.numpy, *given))
        given = [jax.numpy.asarray(argument) for argument in arguments]
        return lambda: jax.block_until_ready(function(*given))

    def ours() -> Any:
        return compiled(*arguments)

    return {
        OURS: ours,
        OURS_ALONE: Alone(ours),
        NUMPY: lambda: f(np, *arguments),
        JAX: contestant(jitted, optional("jax")) if in_jax else "too slow",
    }


def row(name: str, n: int) -> Row:
    """One operation at one size."""
    f, make = OPERATIONS[name]
    in_jax = n < SIZES[-1] or name not in SLOW_IN_JAX
    given = contestants(f, make(np.random.default_rng(0), n), in_jax)
    return Row(f"{name}, {n:,}", compare(checked(given), seconds=0.4), TARGET)


def table() -> Table:
    """Every operation at every size, and some at the largest."""
    rows = [row(name, n) for name in OPERATIONS for n in SIZES]
    rows += [row(name, LARGE) for name in ON_LARGE]
    return Table("operations", "single operations, by the size of the first operand", "us", rows)
