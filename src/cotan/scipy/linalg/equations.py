"""Matrix equations: Sylvester's, Lyapunov's and Riccati's."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import ArgumentError, ShapeError, teach
from ...core.tracing import type_of
from ...numpy.contraction import kron, matmul
from ...numpy.elementwise import conjugate, negative
from ...numpy.linalg import matrices
from ...numpy.promotion import Numbers, broadcast_shapes, operand, shape_of, spread_to
from ...numpy.shape import concatenate
from ...ops.linalg import solve as solve_op
from ...ops.movement import reshape
from ...ops.riccati import ContinuousRiccati, DiscreteRiccati
from ...ops.sylvester import Lyapunov, sylvester
from ..calling import scipys
from .solving import adjoint

__all__ = [
    "solve_continuous_are", "solve_continuous_lyapunov", "solve_discrete_are", "solve_discrete_lyapunov", "solve_sylvester",
]  # fmt: skip

of_scipy = scipys("scipy.linalg")
of_scipy_without_e = scipys("scipy.linalg", own_with=("e",))  # SciPy 1.17 balances a real e wrongly: many results solve no equation
FEW = 10
"""A discrete Lyapunov equation of fewer rows is solved as one system of equations."""


def stacks(name: str, *xs: Any) -> list[Any]:
    """Operands as stacks of matrices of one dtype and one leading shape."""
    operands = matrices(name, *xs)
    lead = broadcast_shapes(name, [shape_of(x)[:-2] for x in operands])
    return [spread_to(x, (*lead, *shape_of(x)[-2:]), shape_of(x)) for x in operands]


@scipys("scipy.linalg", own=True)  # SciPy 1.17 is wrong where a is complex and b is real
def solve_sylvester(a: Numbers, b: Numbers, q: Numbers) -> Any:
    """x with a @ x + x @ b = q, for a (..., m, m), b (..., n, n), q (..., m, n) (Bartels & Stewart 1972)."""
    return sylvester(*stacks("solve_sylvester", a, b, q))


@of_scipy
def solve_continuous_lyapunov(a: Numbers, q: Numbers) -> Any:
    """x with a @ x + x @ a^H = q."""
    a, q = stacks("solve_continuous_lyapunov", a, q)
    return Lyapunov(of_adjoint=True)(a, q)


@of_scipy
def solve_discrete_lyapunov(a: Numbers, q: Numbers, method: str | None = None) -> Any:
    """x with a @ x @ a^H - x + q = 0. ``method`` "direct": as one system of n^2 equations; "bilinear": by a continuous Lyapunov equation
    (which fails where a has the eigenvalue -1); by default "direct" below 10 rows.

    Raises
    ------
    ArgumentError
        There is no such method.
    """
    a, q = stacks("solve_discrete_lyapunov", a, q)
    n = shape_of(a)[-1]
    chosen = method or ("direct" if n < FEW else "bilinear")
    if shape_of(a)[-2:] != shape_of(q)[-2:] or shape_of(a)[-2] != n:
        what = f"solve_discrete_lyapunov: matrices of shapes {shape_of(a)} and {shape_of(q)}."
        raise teach(ShapeError, what, do="give two square matrices of one size.")
    dtype, lead = type_of(a).dtype, shape_of(a)[:-2]
    if chosen == "direct":
        whole = np.eye(n * n, dtype=dtype) - kronecker(a, conjugate(a))
        return reshape(solve_op(whole, reshape(q, (*lead, n * n, 1))), (*lead, n, n))
    if chosen != "bilinear":
        raise teach(ArgumentError, f"solve_discrete_lyapunov: method={method!r}.", do='give "direct" or "bilinear".')
    ah, one = adjoint(a), np.broadcast_to(np.eye(n, dtype=dtype), (*lead, n, n))
    inverse = solve_op(ah + one, one)
    b = matmul(ah - one, inverse)
    c = 2 * matmul(matmul(solve_op(a + one, one), q), inverse)
    return Lyapunov(of_adjoint=True)(adjoint(b), negative(c))


def kronecker(a: Any, b: Any) -> Any:
    """The Kronecker products of two stacks of square matrices."""
    *lead, n, _ = shape_of(a)
    if not lead:
        return kron(a, b)
    return reshape(a[..., :, None, :, None] * b[..., None, :, None, :], (*lead, n * n, n * n))


@of_scipy_without_e
def solve_continuous_are(a: Numbers, b: Numbers, q: Numbers, r: Numbers, e: Numbers | None = None, s: Numbers | None = None) -> Any:
    """The stabilizing x with a^H x e + e^H x a - (e^H x b + s) r^-1 (b^H x e + s^H) + q = 0, for regular r and e (the identity, if it is
    left out). Of q and r the Hermitian parts are read.
    """
    return riccati("solve_continuous_are", ContinuousRiccati(), a, b, q, r, e, s)


@of_scipy_without_e
def solve_discrete_are(a: Numbers, b: Numbers, q: Numbers, r: Numbers, e: Numbers | None = None, s: Numbers | None = None) -> Any:
    """The stabilizing x with a^H x a - e^H x e - (a^H x b + s) (r + b^H x b)^-1 (b^H x a + s^H) + q = 0, for regular r and e (the identity,
    if it is left out). Of q and r the Hermitian parts are read.
    """
    return riccati("solve_discrete_are", DiscreteRiccati(), a, b, q, r, e, s)


def riccati(name: str, solution: Any, a: Any, b: Any, q: Any, r: Any, e: Any, s: Any) -> Any:
    """The solution of a Riccati equation with all its terms, by that of the equation in a, g = b r^-1 b^H and q.

    With k = r^-1 s^H, a - b k takes the place of a and q - s k that of q; for y = e^H x e, e^-1 a and e^-1 b take the places of a and b.

    Raises
    ------
    ShapeError
        The shapes do not fit.
    """
    rest = [x for x in (e, s) if x is not None]
    a, b, q, r, *rest = stacks(name, *(operand(x) for x in (a, b, q, r, *rest)))
    n, m = shape_of(b)[-2:]
    wanted = [(n, n), (n, m), (n, n), (m, m), *([(n, n)] if e is not None else []), *([(n, m)] if s is not None else [])]
    if [shape_of(x)[-2:] for x in (a, b, q, r, *rest)] != wanted:
        shapes = ", ".join(str(shape_of(x)) for x in (a, b, q, r, *rest))
        what = f"{name}: matrices of shapes {shapes}."
        raise teach(ShapeError, what, do="give a, q and e of n rows and columns, r of m, and b and s of n rows and m columns.")
    r = (r + adjoint(r)) / 2
    if e is not None:
        e, *rest = rest
        both = solve_op(e, concatenate([a, b], axis=-1))
        a, b = both[..., :n], both[..., n:]
    if s is not None:
        k = solve_op(r, adjoint(rest[0]))
        a, q = a - matmul(b, k), q - matmul(rest[0], k)
    x = solution(a, matmul(b, solve_op(r, adjoint(b))), q)
    if e is None:
        return x
    y = solve_op(adjoint(e), x)
    return adjoint(solve_op(adjoint(e), adjoint(y)))
