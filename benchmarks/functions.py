"""Common functions of NumPy, one at a time: their values and gradients, eager and compiled, from a thousand numbers to a million.

The gradient is that of `sum(w * f(x))` with fixed numbers w (of `f(x)` itself if it is a number), so no cotangent is a constant that a
compiler folds. Everybody has one thread: a ratio is then one of the work that is done, not of the processors that are free.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np

import cotan
import cotan.numpy as cnp
from benchmarks.harness import AUTOGRAD, JAX, NOT_APPLICABLE, NUMPY, OURS, Contestant, Row, Table, checked, compare, contestant, optional

SIZES = (1_000, 100_000, 1_000_000)
EAGER, JAX_EAGER = "cotan", "JAX"
JAX_SIZES = (1_000, 1_000_000)
SMALL = 100_000
"""Up to so many numbers, an eager gradient aims to be no slower than autograd's."""
RATIO = 1.5
"""What cotan aims for beside JAX, and beside autograd at more numbers."""
SECONDS = 0.25

Function = Callable[..., Any]
Arguments = Callable[[np.random.Generator, int], list[np.ndarray]]


def vectors(count: int = 1, low: float = -2.0, high: float = 2.0) -> Arguments:
    """So many arrays of n numbers between two bounds."""
    return lambda rng, n: [rng.uniform(low, high, n) for _ in range(count)]


def ones_nearly(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """Numbers whose product stays near 1."""
    return [rng.lognormal(0.0, n**-0.5, size=n)]


def with_ties(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """Numbers of which many are equal."""
    return [rng.integers(0, 100, n).astype(float)]


def square(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """A matrix of n numbers, up to rounding."""
    side = round(n**0.5)
    return [rng.normal(size=(side, side))]


def squares(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """Two matrices."""
    return [*square(rng, n), *square(rng, n)]


def regular(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """A well-conditioned matrix of n numbers."""
    (a,) = square(rng, n)
    return [a / len(a) ** 0.5 + 3.0 * np.eye(len(a))]


def system(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """A well-conditioned matrix and a right-hand side."""
    (a,) = regular(rng, n)
    return [a, rng.normal(size=len(a))]


def definite(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """A symmetric positive definite matrix with distinct eigenvalues."""
    (a,) = square(rng, n)
    return [(a + a.T) / len(a) ** 0.5 + np.diag(np.linspace(4.0, 8.0, len(a)))]


def factors(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """Two vectors whose outer product has n numbers."""
    return [rng.normal(size=(round(n**0.5),)) for _ in range(2)]


def small_and_large(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """Two square matrices whose Kronecker product has n numbers."""
    side = round(n**0.25)
    return [rng.normal(size=(side, side)) for _ in range(2)]


def row_and_matrix(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """A vector and a matrix of n numbers with rows of its length."""
    (a,) = square(rng, n)
    return [a[0].copy(), a]


def indices(n: int) -> np.ndarray:
    """Where `take` takes n numbers from as many."""
    return np.random.default_rng(1).integers(n, size=n)


FUNCTIONS: dict[str, tuple[Function, Arguments]] = {
    # elementwise
    "exp": (lambda xp, x: xp.exp(x), vectors()),
    "log": (lambda xp, x: xp.log(x), vectors(1, 0.1)),
    "log1p": (lambda xp, x: xp.log1p(x), vectors(1, 0.1)),
    "expm1": (lambda xp, x: xp.expm1(x), vectors()),
    "sin": (lambda xp, x: xp.sin(x), vectors()),
    "cos": (lambda xp, x: xp.cos(x), vectors()),
    "tanh": (lambda xp, x: xp.tanh(x), vectors()),
    "sqrt": (lambda xp, x: xp.sqrt(x), vectors(1, 0.1)),
    "square": (lambda xp, x: xp.square(x), vectors()),
    "abs": (lambda xp, x: xp.abs(x), vectors()),
    "power": (lambda xp, x, y: xp.power(x, y), vectors(2, 0.1)),
    "x ** 3": (lambda xp, x: x**3, vectors()),
    "add": (lambda xp, x, y: xp.add(x, y), vectors(2)),
    "add, row to matrix": (lambda xp, x, y: xp.add(x, y), row_and_matrix),
    "multiply": (lambda xp, x, y: xp.multiply(x, y), vectors(2)),
    "divide": (lambda xp, x, y: xp.divide(x, y), vectors(2, 0.1)),
    "maximum": (lambda xp, x, y: xp.maximum(x, y), vectors(2)),
    "minimum, of a number": (lambda xp, x: xp.minimum(x, 0.5), vectors()),
    "where": (lambda xp, x, y: xp.where(x > 0.0, x, y), vectors(2)),
    "clip": (lambda xp, x: xp.clip(x, -1.0, 1.0), vectors()),
    "arctan2": (lambda xp, x, y: xp.arctan2(x, y), vectors(2, 0.1)),
    "logaddexp": (lambda xp, x, y: xp.logaddexp(x, y), vectors(2)),
    # reductions
    "sum": (lambda xp, x: xp.sum(x), vectors()),
    "sum, axis 0": (lambda xp, x: xp.sum(x, axis=0), square),
    "mean": (lambda xp, x: xp.mean(x), vectors()),
    "var": (lambda xp, x: xp.var(x), vectors()),
    "std": (lambda xp, x: xp.std(x), vectors()),
    "max": (lambda xp, x: xp.max(x), vectors()),
    "min, axis 1": (lambda xp, x: xp.min(x, axis=1), square),
    "max, axis 0": (lambda xp, x: xp.max(x, axis=0), square),
    "mean, axis 1": (lambda xp, x: xp.mean(x, axis=1), square),
    "prod": (lambda xp, x: xp.prod(x), ones_nearly),
    "norm": (lambda xp, x: xp.linalg.norm(x), vectors()),
    "norm, axis 1": (lambda xp, x: xp.linalg.norm(x, axis=1), square),
    "logsumexp": (lambda xp, x: xp.max(x) + xp.log(xp.sum(xp.exp(x - xp.max(x)))), vectors()),
    # along an axis
    "cumsum": (lambda xp, x: xp.cumsum(x), vectors()),
    "cumprod": (lambda xp, x: xp.cumprod(x), ones_nearly),
    "diff": (lambda xp, x: xp.diff(x), vectors()),
    "sort": (lambda xp, x: xp.sort(x), vectors()),
    "sort, with ties": (lambda xp, x: xp.sort(x), with_ties),
    "sort, axis 1": (lambda xp, x: xp.sort(x, axis=1), square),
    # movement
    "reshape": (lambda xp, x: xp.reshape(x, (10, -1)), vectors()),
    "transpose": (lambda xp, x: xp.transpose(x), square),
    "swapaxes": (lambda xp, x: xp.swapaxes(x, 0, 1), square),
    "expand_dims": (lambda xp, x: xp.expand_dims(x, 0), vectors()),
    "broadcast_to": (lambda xp, x: xp.broadcast_to(x, (3, len(x))), vectors()),
    "x[5]": (lambda xp, x: x[5], vectors()),
    "x[:, 5]": (lambda xp, x: x[:, 5], square),
    "x[1:-1]": (lambda xp, x: x[1:-1], vectors()),
    "x[::2]": (lambda xp, x: x[::2], vectors()),
    "x[indices]": (lambda xp, x: x[indices(len(x))], vectors()),
    "x[x > 0]": (lambda xp, x: x[x > 0.0], vectors()),
    "take": (lambda xp, x: xp.take(x, indices(len(x))), vectors()),
    "concatenate": (lambda xp, x, y: xp.concatenate([x, y]), vectors(2)),
    "stack": (lambda xp, x, y: xp.stack([x, y]), vectors(2)),
    "stack, axis 1": (lambda xp, x, y: xp.stack([x, y], axis=1), vectors(2)),
    "hstack": (lambda xp, x, y: xp.hstack([x, y]), squares),
    "roll": (lambda xp, x: xp.roll(x, 10), vectors()),
    "roll, axis 1": (lambda xp, x: xp.roll(x, 3, axis=1), square),
    "flip": (lambda xp, x: xp.flip(x), vectors()),
    "pad": (lambda xp, x: xp.pad(x, 10, "constant"), vectors()),
    "repeat": (lambda xp, x: xp.repeat(x, 3), vectors()),
    "tile": (lambda xp, x: xp.tile(x, 3), vectors()),
    "diag": (lambda xp, x: xp.diag(x), square),
    "trace": (lambda xp, x: xp.trace(x), square),
    "tril": (lambda xp, x: xp.tril(x), square),
    # products
    "dot": (lambda xp, x, y: xp.dot(x, y), vectors(2)),
    "matmul": (lambda xp, x, y: xp.matmul(x, y), squares),
    "matrix @ vector": (lambda xp, x, y: xp.matmul(y, x), row_and_matrix),
    "outer": (lambda xp, x, y: xp.outer(x, y), factors),
    "kron": (lambda xp, x, y: xp.kron(x, y), small_and_large),
    "einsum ij,ij->i": (lambda xp, x, y: xp.einsum("ij,ij->i", x, y), squares),
    "einsum ij,jk->ik": (lambda xp, x, y: xp.einsum("ij,jk->ik", x, y), squares),
    "tensordot": (lambda xp, x, y: xp.tensordot(x, y, 2), squares),
    # linear algebra
    "solve": (lambda xp, a, b: xp.linalg.solve(a, b), system),
    "inv": (lambda xp, a: xp.linalg.inv(a), regular),
    "det": (lambda xp, a: xp.linalg.det(a / 3.0), regular),
    "slogdet": (lambda xp, a: xp.linalg.slogdet(a)[1], regular),
    "cholesky": (lambda xp, a: xp.linalg.cholesky(a), definite),
    "eigh": (lambda xp, a: xp.linalg.eigh(a)[0], definite),
    "svd": (lambda xp, a: xp.linalg.svd(a, full_matrices=False)[1], regular),
    "pinv": (lambda xp, a: xp.linalg.pinv(a), regular),
    "qr": (lambda xp, a: xp.linalg.qr(a)[1], regular),
}
LARGEST: dict[str, int] = dict.fromkeys(("eigh", "svd", "pinv", "qr"), 100_000)
"""The most numbers, for functions of which one call at more takes seconds."""


def weighted(f: Function, xp: Any, w: np.ndarray) -> Function:
    """The sum of a function's results, with weights."""
    return (lambda *x: xp.sum(w * f(xp, *x))) if w.ndim else (lambda *x: f(xp, *x))


def eager(f: Function, x: list[np.ndarray], w: np.ndarray, gradient: bool) -> dict[str, Contestant]:
    """A function, or its gradient, with nothing compiled."""
    which, n = tuple(range(len(x))), x[-1].size

    def ours() -> Callable[[], Any]:
        function = cotan.grad(weighted(f, cnp, w), which) if gradient else lambda *x: f(cnp, *x)
        return lambda: function(*x)

    def in_autograd(autograd: Any, autograd_numpy: Any) -> Callable[[], Any]:
        together = autograd.grad(lambda given: weighted(f, autograd_numpy, w)(*given))
        alone = autograd.grad(weighted(f, autograd_numpy, w))
        return (lambda: alone(*x)) if len(x) == 1 else lambda: together(tuple(x))

    def in_jax(jax: Any) -> Callable[[], Any]:
        given = [jax.numpy.asarray(one) for one in x]
        function = jax.grad(weighted(f, jax.numpy, jax.numpy.asarray(w)), which) if gradient else lambda *x: f(jax.numpy, *x)
        return lambda: jax.block_until_ready(function(*given))

    in_question = any(0.5 * size <= n <= size for size in JAX_SIZES)
    return {
        EAGER: ours(),
        NUMPY: NOT_APPLICABLE if gradient else lambda: f(np, *x),
        AUTOGRAD: contestant(in_autograd, optional("autograd"), optional("autograd.numpy")) if gradient else NOT_APPLICABLE,
        JAX_EAGER: contestant(in_jax, optional("jax")) if in_question else NOT_APPLICABLE,
    }


def compiled(f: Function, x: list[np.ndarray], w: np.ndarray, gradient: bool) -> dict[str, Contestant]:
    """A function, or its gradient, compiled."""
    which = tuple(range(len(x)))
    ours = cotan.jit(
        cotan.grad(lambda w, *x: weighted(f, cnp, w)(*x), tuple(k + 1 for k in which)) if gradient else lambda w, *x: f(cnp, *x)
    )

    def in_jax(jax: Any) -> Callable[[], Any]:
        given = [jax.numpy.asarray(one) for one in (w, *x)]
        scalar = jax.grad(lambda w, *x: weighted(f, jax.numpy, w)(*x), tuple(k + 1 for k in which))
        function = jax.jit(scalar if gradient else lambda w, *x: f(jax.numpy, *x))
        return lambda: jax.block_until_ready(function(*given))

    return {OURS: lambda: ours(w, *x), JAX: contestant(in_jax, optional("jax"))}


def rows_of(name: str, n: int) -> list[Row]:
    """Value and gradient of one function at one size, eager and compiled."""
    f, make = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    x = make(rng, n)
    w = rng.uniform(0.5, 1.5, np.shape(f(np, *x)))
    rows: list[Row] = []
    for gradient in (False, True):
        label = f"{name}, {n:,}, {'gradient' if gradient else 'value'}"
        rows.append(row(label, EAGER, eager(f, x, w, gradient), {AUTOGRAD: 1.0 if n <= SMALL else RATIO, JAX_EAGER: RATIO}))
        if n in JAX_SIZES:
            rows.append(row(f"{label}, compiled", OURS, compiled(f, x, w, gradient), {JAX: RATIO}))
    return rows


def row(label: str, ours: str, contestants: dict[str, Contestant], targets: dict[str, float]) -> Row:
    """One comparison, with its ratio to each peer that has a target: the most that the ratio should be."""
    cells = compare(checked(contestants), SECONDS)
    own, words = cells[ours], []
    for name, most in targets.items():
        if isinstance(own, float) and isinstance(peer := cells.get(name), float):
            words.append(f"{most:g}x of {name}; here {own / peer:.2f}x{' (!)' * (own > most * peer)}")
    return Row(label, cells, "; ".join(words))


@contextmanager
def one_thread() -> Generator[None]:
    """One thread for compiled code, and for JAX if it has not been used yet."""
    from cotan.engines.native.runtime import thread_pool  # noqa: PLC0415 - the command line lists tables without it

    os.environ["NPROC"] = "1"
    with thread_pool.limited(1):
        yield


def table() -> Table:
    """All functions at all sizes."""
    with one_thread():
        rows = [row for name in FUNCTIONS for n in SIZES if n <= LARGEST.get(name, n) for row in rows_of(name, n)]
    return Table("functions", "functions of NumPy, by the size of the operand or result; one thread", "us", rows)
