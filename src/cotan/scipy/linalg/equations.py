"""Matrix equations: Sylvester's and Lyapunov's."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import ArgumentError, ShapeError, teach
from ...core.tracing import type_of
from ...numpy.contraction import kron, matmul
from ...numpy.elementwise import conjugate, negative
from ...numpy.linalg import matrices
from ...numpy.promotion import Numbers, broadcast_shapes, shape_of, spread_to
from ...ops.linalg import solve as solve_op
from ...ops.movement import reshape
from ...ops.sylvester import sylvester
from ..calling import scipys
from .solving import adjoint

__all__ = ["solve_continuous_lyapunov", "solve_discrete_lyapunov", "solve_sylvester"]

of_scipy = scipys("scipy.linalg")
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
    return sylvester(a, adjoint(a), q)


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
    return sylvester(adjoint(b), b, negative(c))


def kronecker(a: Any, b: Any) -> Any:
    """The Kronecker products of two stacks of square matrices."""
    *lead, n, _ = shape_of(a)
    if not lead:
        return kron(a, b)
    return reshape(a[..., :, None, :, None] * b[..., None, :, None, :], (*lead, n * n, n * n))
