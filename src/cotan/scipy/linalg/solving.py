"""Factorizations that solve systems of equations, and the solutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import ArgumentError, ShapeError, teach
from ...core.tracing import type_of
from ...numpy import linalg as cnp_linalg
from ...numpy.elementwise import conjugate
from ...numpy.linalg import matrices
from ...numpy.promotion import Numbers, broadcast_shapes, convert_to, operand, shape_of, spread_to
from ...numpy.shape import matrix_transpose
from ...numpy.sorting import argsort
from ...ops import linalg as ops
from ...ops.creation import full
from ...ops.ldl import Ldl
from ...ops.linalg import mask, triangular_solve
from ...ops.logic import equal
from ...ops.lu import PivotsToPermutation, lower_unit, permuted_rows, upper
from ...ops.lu import lu as packed_factors
from ...ops.movement import reshape
from ..calling import scipys

__all__ = ["cho_factor", "cho_solve", "cholesky", "det", "inv", "ldl", "lu", "lu_factor", "lu_solve", "solve", "solve_triangular"]

of_scipy = scipys("scipy.linalg")
TRANSPOSITIONS = {0: 0, 1: 1, 2: 2, "N": 0, "T": 1, "C": 2}
"""The values of ``trans``: the system of A, of its transpose, of its conjugate transpose."""
KINDS = {
    None: None, "gen": None, "general": None, "diagonal": "diagonal", "tridiagonal": None, "banded": None,
    "upper triangular": "upper", "lower triangular": "lower", "sym": "symmetric", "symmetric": "symmetric",
    "her": "hermitian", "hermitian": "hermitian", "pos": "positive", "positive definite": "positive",
}  # fmt: skip
"""What is made of each ``assume_a`` of `solve` and `inv`; None: the matrix is read as it is."""


def with_sides(name: str, a: Any, b: Any) -> tuple[Any, Any, bool]:
    """A square matrix and right-hand sides as stacks of matrices with one leading shape, and whether b is a vector.

    Raises
    ------
    ShapeError
        They do not fit.
    """
    b = operand(b)
    given = shape_of(b)
    vector = len(given) == 1
    a, b = matrices(name, a, reshape(b, (*given, 1)) if vector else b)
    square, sides = shape_of(a), shape_of(b)
    if square[-1] != square[-2]:
        matrices(name, a, square=True)
    if square[-1] != sides[-2]:
        raise teach(ShapeError, f"{name}: a of shape {square}, b of shape {given}.", do="give a b with as many rows as a has.")
    lead = broadcast_shapes(name, [square[:-2], sides[:-2]])
    return spread_to(a, (*lead, *square[-2:]), square), spread_to(b, (*lead, *sides[-2:]), sides), vector


def as_given(x: Any, vector: bool) -> Any:
    """A solution, as a vector if the right-hand side was one."""
    return reshape(x, shape_of(x)[:-1]) if vector else x


def adjoint(a: Any) -> Any:
    """The conjugate transpose."""
    return conjugate(matrix_transpose(a))


def kind_of(name: str, assume_a: str | None) -> str | None:
    """What is made of ``assume_a``.

    Raises
    ------
    ArgumentError
        There is no such structure.
    """
    if assume_a not in KINDS:
        names = ", ".join(repr(name) for name in KINDS if name and len(name) > 3)
        raise teach(ArgumentError, f"{name}: assume_a={assume_a!r}.", do=f"give one of {names}.")
    return KINDS[assume_a]


def as_read(a: Any, kind: str | None, lower: bool) -> Any:
    """The matrix that is read of ``a``: of a symmetric or Hermitian one a triangle, of a diagonal one the diagonal."""
    if kind == "diagonal":
        return mask(a, equal)
    if kind == "hermitian":
        return ops.read_lower(a if lower else adjoint(a))
    if kind == "symmetric":
        half = ops.half_of_lower(a if lower else matrix_transpose(a))
        return half + matrix_transpose(half)
    return a


@of_scipy
def inv(a: Numbers, *, assume_a: str | None = None, lower: bool = False) -> Any:
    """The inverse of square matrices; ``assume_a`` and ``lower`` as in `solve`.

    Raises
    ------
    ArgumentError
        There is no such structure.
    """
    kind = kind_of("inv", assume_a)
    (a,) = matrices("inv", a, square=True)
    if kind in ("upper", "lower", "positive"):
        t = type_of(a)
        return solve(a, mask(full(t.shape, t.dtype.type(1)), equal), lower, assume_a=assume_a)
    return ops.Inverse()(as_read(a, kind, lower))


@of_scipy
def det(a: Numbers) -> Any:
    """The determinant of square matrices."""
    return cnp_linalg.det(a)


@of_scipy
def solve(a: Numbers, b: Numbers, lower: bool = False, *, assume_a: str | None = None, transposed: bool = False) -> Any:
    """x with a @ x = b, or a.T @ x = b if ``transposed``; b is a vector (n,) or (..., n, k).

    ``assume_a`` names the structure of a. Of a symmetric, Hermitian or positive definite one the triangle is read that ``lower`` names,
    so the gradient is in that triangle.

    Raises
    ------
    ArgumentError
        There is no such structure.
    ShapeError
        The shapes do not fit.
    """
    kind = kind_of("solve", assume_a)
    a, b, vector = with_sides("solve", a, b)
    if kind == "positive":
        a = a if lower else adjoint(a)
        return as_given(ops.positive_solve(conjugate(a) if transposed else a, b), vector)
    if kind in ("upper", "lower"):
        return as_given(triangular_solve(a, b, lower=kind == "lower", transpose_a=ops.TRANSPOSED if transposed else ops.NONE), vector)
    a = as_read(a, kind, lower)
    return as_given(ops.solve(matrix_transpose(a) if transposed else a, b), vector)


@of_scipy
def solve_triangular(a: Numbers, b: Numbers, trans: int | str = 0, lower: bool = False, unit_diagonal: bool = False) -> Any:
    """x with op(a) @ x = b for triangular a; ``trans`` 0 or "N", 1 or "T", 2 or "C": op(a) is a, a.T, or its conjugate.

    Raises
    ------
    ArgumentError
        There is no such ``trans``.
    """
    a, b, vector = with_sides("solve_triangular", a, b)
    x = triangular_solve(a, b, lower=lower, transpose_a=transposition("solve_triangular", trans), unit_diagonal=unit_diagonal)
    return as_given(x, vector)


def transposition(name: str, trans: int | str) -> int:
    """The number of a value of ``trans``."""
    if trans not in TRANSPOSITIONS:
        raise teach(ArgumentError, f"{name}: trans={trans!r}.", do='give 0 (or "N"), 1 ("T") or 2 ("C").')
    return TRANSPOSITIONS[trans]


@of_scipy
def cholesky(a: Numbers, lower: bool = False) -> Any:
    """The upper triangular U with a = U^H U of Hermitian positive definite matrices; if ``lower``, L with a = L L^H. One triangle is
    read.
    """
    return cnp_linalg.cholesky(a, upper=not lower)


@of_scipy
def cho_factor(a: Numbers, lower: bool = False) -> tuple[Any, bool]:
    """(c, lower) for `cho_solve`: c has the factor of `cholesky` in its triangle. What is in the other one has no meaning."""
    return cnp_linalg.cholesky(a, upper=not lower), lower


@of_scipy
def cho_solve(c_and_lower: tuple[Any, bool], b: Numbers) -> Any:
    """x with a @ x = b, for the factors of a by `cho_factor`."""
    c, lower = c_and_lower
    c, b, vector = with_sides("cho_solve", c, b)
    first, second = (ops.NONE, ops.ADJOINT) if lower else (ops.ADJOINT, ops.NONE)
    y = triangular_solve(c, b, lower=bool(lower), transpose_a=first)
    return as_given(triangular_solve(c, y, lower=bool(lower), transpose_a=second), vector)


@of_scipy
def ldl(A: Numbers, lower: bool = True, hermitian: bool = True) -> tuple[Any, Any, Any]:
    """(lu, d, perm) with A = lu @ d @ lu^H of Hermitian matrices, or lu @ d @ lu^T of complex symmetric ones if not ``hermitian``: lu[perm]
    is unit lower (or upper) triangular, d has blocks of one or two rows on its diagonal. One triangle is read, and of a Hermitian matrix
    the real part of the diagonal. See `cotan.ops.ldl.Ldl` for what has a derivative.
    """
    (a,) = matrices("ldl", A, square=True)
    factor, blocks, order = Ldl(not lower, bool(hermitian))(a)
    return permuted_rows(factor, argsort(order, axis=-1)), blocks, convert_to(order, np.dtype(np.intp))


@of_scipy
def lu_factor(a: Numbers) -> tuple[Any, Any]:
    """(lu, piv): U, and below its diagonal L, of P a = L U; row i was exchanged with row piv[i]."""
    (a,) = matrices("lu_factor", a)
    packed, pivots, _ = packed_factors(a)
    return packed, pivots


@of_scipy
def lu_solve(lu_and_piv: tuple[Any, Any], b: Numbers, trans: int = 0) -> Any:
    """x with op(a) @ x = b, for the factors of a by `lu_factor`; ``trans`` as in `solve_triangular`."""
    packed, pivots = lu_and_piv
    way = transposition("lu_solve", trans)
    packed, b, vector = with_sides("lu_solve", packed, b)
    lead, n = shape_of(packed)[:-2], shape_of(packed)[-1]
    pivots = operand(pivots)
    order = PivotsToPermutation(n)(spread_to(pivots, (*lead, shape_of(pivots)[-1]), shape_of(pivots)))
    if way == ops.NONE:
        y = triangular_solve(packed, permuted_rows(b, order), unit_diagonal=True)
        return as_given(triangular_solve(packed, y, lower=False), vector)
    y = triangular_solve(packed, b, lower=False, transpose_a=way)
    y = triangular_solve(packed, y, unit_diagonal=True, transpose_a=way)
    return as_given(permuted_rows(y, argsort(order, axis=-1)), vector)


@of_scipy
def lu(a: Numbers, permute_l: bool = False, *, p_indices: bool = False) -> Any:
    """(p, l, u) with a = p @ l @ u; (p @ l, u) if ``permute_l``; with ``p_indices``, p as indices, a = l[p] @ u."""
    (a,) = matrices("lu", a)
    packed, _, order = packed_factors(a)
    left, right = lower_unit(packed), upper(packed)
    back = convert_to(argsort(order, axis=-1), np.dtype(np.int32))
    if permute_l:
        return permuted_rows(left, back), right
    if p_indices:
        return back, left, right
    t, m = type_of(a), shape_of(a)[-2]
    identity = mask(full((*shape_of(a)[:-2], m, m), t.dtype.type(1)), equal)
    return permuted_rows(convert_to(identity.real, np.finfo(t.dtype).dtype), back), left, right
