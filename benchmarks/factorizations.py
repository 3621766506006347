"""Systems, factorizations and functions of matrices: values and gradients, compiled, beside SciPy, NumPy, JAX and PyTorch, with one thread.

The gradient is that of `sum(sin(f(x)))` in all operands.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.functions import one_thread
from benchmarks.harness import Table
from benchmarks.structured import Arguments, Case, rows_of

SIZES, FEW = (4, 32, 128), (4, 16, 48)


def matrix(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """A well-conditioned matrix."""
    return [rng.normal(size=(n, n)) / n**0.5 + 3.0 * np.eye(n)]


def definite(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """A symmetric positive definite matrix with distinct eigenvalues."""
    a = rng.normal(size=(n, n)) / n**0.5
    return [(a + a.T) / 2 + np.diag(np.linspace(4.0, 8.0, n))]


def tall(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """A matrix of twice as many rows."""
    return [rng.normal(size=(2 * n, n))]


def with_side(arguments: Arguments, columns: Callable[[int], tuple[int, ...]] = lambda n: (n,)) -> Arguments:
    """The matrix and right-hand sides."""
    return lambda rng, n: [*arguments(rng, n), rng.normal(size=columns(n))]


def several(count: int, arguments: Arguments) -> Arguments:
    """So many matrices."""
    return lambda rng, n: [x for _ in range(count) for x in arguments(rng, n)]


FUNCTIONS: dict[str, Case] = {
    "solve": Case(
        lambda m, a, b: m.solve(a, b), with_side(matrix), SIZES, lambda j, a, b: j.numpy.linalg.solve(a, b),
        lambda t, a, b: t.linalg.solve(a, b), lambda m, a, b: m.linalg.solve(a, b),
    ),
    "solve, n columns": Case(
        lambda m, a, b: m.solve(a, b), several(2, matrix), SIZES, lambda j, a, b: j.numpy.linalg.solve(a, b),
        lambda t, a, b: t.linalg.solve(a, b), lambda m, a, b: m.linalg.solve(a, b),
    ),
    "solve, positive definite": Case(
        lambda m, a, b: m.solve(a + a.T, b, assume_a="pos"), with_side(definite), SIZES,
        lambda j, a, b: j.scipy.linalg.solve(a + a.T, b, assume_a="pos"),
    ),
    "solve_triangular": Case(
        lambda m, a, b: m.solve_triangular(a, b), with_side(matrix), SIZES, lambda j, a, b: j.scipy.linalg.solve_triangular(a, b),
        lambda t, a, b: t.linalg.solve_triangular(a.triu(), b[:, None], upper=True)[:, 0],
    ),
    "inv": Case(
        lambda m, a: m.inv(a), matrix, SIZES, lambda j, a: j.numpy.linalg.inv(a), lambda t, a: t.linalg.inv(a),
        lambda m, a: m.linalg.inv(a),
    ),
    "det": Case(
        lambda m, a: m.det(a / 3.0), matrix, SIZES, lambda j, a: j.numpy.linalg.det(a / 3.0), lambda t, a: t.linalg.det(a / 3.0),
        lambda m, a: m.linalg.det(a / 3.0),
    ),
    "cholesky": Case(
        lambda m, a: m.cholesky(a + a.T, lower=True), definite, SIZES, lambda j, a: j.scipy.linalg.cholesky(a + a.T, lower=True),
        lambda t, a: t.linalg.cholesky(a + a.T), lambda m, a: m.linalg.cholesky(a + a.T),
    ),
    "cho_solve": Case(
        lambda m, a, b: m.cho_solve((a, True), b), with_side(definite), SIZES, lambda j, a, b: j.scipy.linalg.cho_solve((a, True), b)
    ),
    "lu": Case(lambda m, a: m.lu(a)[2], matrix, SIZES, lambda j, a: j.scipy.linalg.lu(a)[2], lambda t, a: t.linalg.lu(a)[2]),
    "lu_solve": Case(
        lambda m, a, b: m.lu_solve(m.lu_factor(a), b), with_side(matrix), SIZES,
        lambda j, a, b: j.scipy.linalg.lu_solve(j.scipy.linalg.lu_factor(a), b),
        lambda t, a, b: t.linalg.lu_solve(*t.linalg.lu_factor(a), b[:, None])[:, 0],
    ),
    "ldl": Case(lambda m, a: m.ldl(a)[0], definite, SIZES),
    "qr": Case(
        lambda m, a: m.qr(a, mode="economic")[1], tall, SIZES, lambda j, a: j.scipy.linalg.qr(a, mode="economic")[1],
        lambda t, a: t.linalg.qr(a)[1], lambda m, a: m.linalg.qr(a)[1],
    ),
    "rq": Case(lambda m, a: m.rq(a)[0], matrix, SIZES),
    "svd": Case(
        lambda m, a: abs(m.svd(a, full_matrices=False)[0]), tall, SIZES, lambda j, a: abs(j.numpy.linalg.svd(a, full_matrices=False)[0]),
        lambda t, a: abs(t.linalg.svd(a, full_matrices=False)[0]), lambda m, a: abs(m.linalg.svd(a, full_matrices=False)[0]),
    ),
    "svdvals": Case(
        lambda m, a: m.svdvals(a), tall, SIZES, lambda j, a: j.numpy.linalg.svd(a, compute_uv=False), lambda t, a: t.linalg.svdvals(a),
        lambda m, a: m.linalg.svd(a, compute_uv=False),
    ),
    "polar": Case(lambda m, a: m.polar(a)[0], matrix, SIZES, lambda j, a: j.scipy.linalg.polar(a)[0], values_alone=True),
    "eigh": Case(
        lambda m, a: abs(m.eigh(a + a.T)[1]), definite, SIZES, lambda j, a: abs(j.numpy.linalg.eigh(a + a.T)[1]),
        lambda t, a: abs(t.linalg.eigh(a + a.T)[1]), lambda m, a: abs(m.linalg.eigh(a + a.T)[1]),
    ),
    "eigvalsh": Case(
        lambda m, a: m.eigvalsh(a + a.T), definite, SIZES, lambda j, a: j.numpy.linalg.eigvalsh(a + a.T),
        lambda t, a: t.linalg.eigvalsh(a + a.T),
        lambda m, a: m.linalg.eigvalsh(a + a.T),
    ),
    "eigh, generalized": Case(lambda m, a, b: m.eigh(a, b, eigvals_only=True), several(2, definite), SIZES),
    "eigvals": Case(
        lambda m, a: abs(m.eigvals(a)).sum(), matrix, SIZES, lambda j, a: abs(j.numpy.linalg.eigvals(a)).sum(),
        lambda t, a: abs(t.linalg.eigvals(a)).sum(), lambda m, a: abs(m.linalg.eigvals(a)).sum(),
    ),
    "schur": Case(lambda m, a: m.schur(a)[0], definite, SIZES, lambda j, a: j.scipy.linalg.schur(a)[0], values_alone=True),
    "hessenberg": Case(lambda m, a: m.hessenberg(a), matrix, SIZES, lambda j, a: j.scipy.linalg.hessenberg(a), values_alone=True),
    "expm": Case(
        lambda m, a: m.expm(a), matrix, SIZES, lambda j, a: j.scipy.linalg.expm(a), lambda t, a: t.linalg.matrix_exp(a)
    ),
    "sqrtm": Case(lambda m, a: m.sqrtm(a), definite, FEW),
    "logm": Case(lambda m, a: m.logm(a), definite, FEW),
    "solve_sylvester": Case(lambda m, a, b, q: m.solve_sylvester(a, b, q), several(3, matrix), FEW),
    "solve_continuous_lyapunov": Case(lambda m, a, q: m.solve_continuous_lyapunov(a, q), several(2, matrix), FEW),
    "solve_discrete_lyapunov": Case(lambda m, a, q: m.solve_discrete_lyapunov(a, q), several(2, matrix), FEW),
    "solve_continuous_are": Case(lambda m, a, b, q, r: m.solve_continuous_are(a, b, q, r), several(4, definite), FEW),
    "solve_discrete_are": Case(lambda m, a, b, q, r: m.solve_discrete_are(a, b, q, r), several(4, definite), FEW),
    "nuclear norm": Case(
        lambda m, a: m.norm(a, "nuc"), tall, SIZES, lambda j, a: j.numpy.linalg.norm(a, "nuc"), lambda t, a: t.linalg.norm(a, "nuc"),
        lambda m, a: m.linalg.norm(a, "nuc"),
    ),
}  # fmt: skip


def table() -> Table:
    """All functions at their sizes."""
    with one_thread():
        rows = [row for name, case in FUNCTIONS.items() for n in case.sizes for row in rows_of(name, case, n)]
    return Table("factorizations", "systems, factorizations and functions of matrices, by the number of rows; one thread", "us", rows)
