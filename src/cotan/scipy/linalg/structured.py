"""Banded, tridiagonal, Toeplitz and circulant matrices: systems, products, factors and eigenvalues, without full matrices.

Bands are stored as LAPACK does: ab[u + i - j, j] is the element (i, j) of a matrix with u diagonals above the main one; of a Hermitian one
the upper (or lower) bands alone. What lies in the corners of ab, outside of the matrix, is not read, and has the derivative zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import ArgumentError, DtypeError, ShapeError, UnsupportedFunctionError, teach
from ...core.tracing import type_of
from ...numpy.contraction import matmul
from ...numpy.elementwise import abs, conjugate, divide
from ...numpy.linalg import matrices
from ...numpy.promotion import Numbers, broadcast_shapes, canonical_axis, convert_to, operand, promote, shape_of, spread_to, strong
from ...numpy.reduction import any as any_of
from ...numpy.reduction import max as max_of
from ...numpy.selection import where
from ...numpy.shape import atleast_1d, broadcast_arrays, moveaxis
from ...ops import banded_spectra
from ...ops.banded import BandedSolve, BandedTriangularSolve, TransposedBands
from ...ops.banded_cholesky import HermitianBandedSolve, banded_cholesky
from ...ops.casting import stop_gradient
from ...ops.linalg import ADJOINT, NONE
from ...ops.movement import reshape
from ...ops.toeplitz import solve_toeplitz as solve_toeplitz_op
from ...ops.toeplitz import toeplitz_product
from ..calling import scipys
from .solving import as_given
from .special_matrices import diagonals, vectors
from .spectra import last_axis

__all__ = [
    "cho_solve_banded", "cholesky_banded", "eig_banded", "eigh_tridiagonal", "eigvals_banded", "eigvalsh_tridiagonal", "matmul_toeplitz",
    "solve_banded", "solve_circulant", "solve_toeplitz", "solveh_banded",
]  # fmt: skip

of_scipy = scipys("scipy.linalg")
ALL = ("a", "all", 0)
BY_INDEX = ("i", "index", 2)


# ---- bands ---------------------------------------------------------------------------------------------------------------------------
def with_sides(name: str, ab: Any, b: Any) -> tuple[Any, Any, bool]:
    """Bands and right-hand sides as stacks of matrices of one leading shape, and whether b is a vector.

    Raises
    ------
    ShapeError
        They do not fit.
    """
    b = operand(b)
    given = shape_of(b)
    vector = len(given) == 1
    ab, b = matrices(name, ab, reshape(b, (*given, 1)) if vector else b)
    bands, sides = shape_of(ab), shape_of(b)
    if bands[-1] != sides[-2]:
        raise teach(ShapeError, f"{name}: bands of shape {bands}, b of shape {given}.", do="give as many rows of b as columns of bands.")
    lead = broadcast_shapes(name, [bands[:-2], sides[:-2]])
    return spread_to(ab, (*lead, *bands[-2:]), bands), spread_to(b, (*lead, *sides[-2:]), sides), vector


@of_scipy
def solve_banded(l_and_u: tuple[int, int], ab: Numbers, b: Numbers) -> Any:
    """x with A @ x = b for the matrices A with the bands ab (..., l + u + 1, n); b is a vector (n,) or (..., n, k).

    Raises
    ------
    ShapeError
        The shapes do not fit.
    """
    lower, upper = (int(k) for k in l_and_u)
    ab, b, vector = with_sides("solve_banded", ab, b)
    return as_given(BandedSolve(lower, upper)(ab, b), vector)


@of_scipy
def solveh_banded(ab: Numbers, b: Numbers, *, lower: bool = False) -> Any:
    """x with A @ x = b for the Hermitian positive definite matrices A with the upper (or ``lower``) bands ab (..., u + 1, n).

    Raises
    ------
    ShapeError
        The shapes do not fit.
    """
    ab, b, vector = with_sides("solveh_banded", ab, b)
    return as_given(HermitianBandedSolve(bool(lower))(ab, b), vector)


@of_scipy
def cholesky_banded(ab: Numbers, *, lower: bool = False) -> Any:
    """The bands of the upper triangular U with A = U^H U (or the ``lower`` L with A = L L^H) of Hermitian positive definite matrices A with
    the upper (or lower) bands ab (..., u + 1, n). The corners of a traced result are zero.
    """
    (ab,) = matrices("cholesky_banded", ab)
    if lower or not shape_of(ab)[-2]:
        return banded_cholesky(ab)
    u = shape_of(ab)[-2] - 1
    return conjugate(TransposedBands(u, 0)(banded_cholesky(conjugate(TransposedBands(0, u)(ab)))))


@of_scipy
def cho_solve_banded(cb_and_lower: tuple[Any, bool], b: Numbers) -> Any:
    """x with A @ x = b, for the factor of A by `cholesky_banded`.

    Raises
    ------
    ShapeError
        The shapes do not fit.
    """
    c, lower = cb_and_lower
    c, b, vector = with_sides("cho_solve_banded", c, b)
    first, second = (NONE, ADJOINT) if lower else (ADJOINT, NONE)
    return as_given(BandedTriangularSolve(bool(lower), second)(c, BandedTriangularSolve(bool(lower), first)(c, b)), vector)


# ---- eigenvalues ---------------------------------------------------------------------------------------------------------------------
def chosen(name: str, select: Any, select_range: Any, w: Any, v: Any = None) -> Any:
    """The eigenvalues (and vectors) of a range of indices.

    Raises
    ------
    ArgumentError
        There are no such indices, or no such way to select.
    UnsupportedFunctionError
        They are selected by value, and traced: how many there are depends on values.
    """
    kind = select.lower() if isinstance(select, str) else select
    if kind in ALL:
        return w if v is None else (w, v)
    if kind in ("v", "value", 1):
        what = f"{name}: a range of values of traced eigenvalues, whose number depends on values."
        raise teach(UnsupportedFunctionError, what, do='select by index, select="i".')
    n = shape_of(w)[-1]
    if kind not in BY_INDEX or np.shape(select_range) != (2,) or not 0 <= int(select_range[0]) <= int(select_range[1]) < n:
        what = f"{name}: select={select!r}, select_range={select_range!r} of {n} eigenvalues."
        raise teach(ArgumentError, what, do='give "a", or "i" and the first and the last index, 0 <= first <= last < n.')
    first, last = map(int, select_range)
    w, v = (None if x is None else last_axis(x, first, last + 1) for x in (w, v))
    return w if v is None else (w, v)


@of_scipy
def eigh_tridiagonal(
    d: Numbers, e: Numbers, eigvals_only: bool = False, select: str = "a", select_range: Any = None, *, tol: float = 0.0
) -> Any:
    """(w, v): eigenvalues, ascending, and eigenvectors of real symmetric tridiagonal matrices with the diagonals d (..., n), and beside
    them e (..., n - 1); w alone if ``eigvals_only``. ``select`` "i" keeps those of the indices ``select_range`` (first, last), both
    included. ``tol`` has no effect on traced values.

    Raises
    ------
    DtypeError
        d or e is complex.
    """
    d, e = vectors("eigh_tridiagonal", d, e)
    dtype = type_of(d).dtype
    if dtype.kind == "c":
        raise teach(DtypeError, "eigh_tridiagonal: complex diagonals.", do="give real ones, or use cotan.scipy.linalg.eig_banded.")
    d, e = (convert_to(x, dtype if dtype.kind == "f" else np.dtype(np.float64)) for x in (d, e))
    if eigvals_only:
        return chosen("eigh_tridiagonal", select, select_range, banded_spectra.eigvalsh_tridiagonal(d, e))
    return chosen("eigh_tridiagonal", select, select_range, *banded_spectra.eigh_tridiagonal(d, e))


@of_scipy
def eigvalsh_tridiagonal(d: Numbers, e: Numbers, select: str = "a", select_range: Any = None, *, tol: float = 0.0) -> Any:
    """The eigenvalues alone; the arguments are those of `eigh_tridiagonal`."""
    return eigh_tridiagonal(d, e, True, select, select_range, tol=tol)


@of_scipy
def eig_banded(
    a_band: Numbers,
    lower: bool = False,
    eigvals_only: bool = False,
    *,
    select: str = "a",
    select_range: Any = None,
    max_ev: int = 0,
) -> Any:
    """(w, v): eigenvalues, ascending, and eigenvectors of Hermitian matrices with the upper (or ``lower``) bands a_band (..., u + 1, n);
    w alone if ``eigvals_only``. ``select`` as in `eigh_tridiagonal`; ``max_ev`` has no effect on traced values.
    """
    (a,) = matrices("eig_banded", a_band)
    if eigvals_only:
        return chosen("eig_banded", select, select_range, banded_spectra.EigvalsBanded(bool(lower))(a))
    return chosen("eig_banded", select, select_range, *banded_spectra.EighBanded(bool(lower))(a))


@of_scipy
def eigvals_banded(a_band: Numbers, lower: bool = False, *, select: str = "a", select_range: Any = None) -> Any:
    """The eigenvalues alone; the arguments are those of `eig_banded`."""
    return eig_banded(a_band, lower, True, select=select, select_range=select_range)


# ---- Toeplitz and circulant matrices -------------------------------------------------------------------------------------------------
def toeplitz_operands(name: str, c_or_cr: Any, x: Any, square: bool) -> tuple[Any, Any, int, bool]:
    """The diagonals of Toeplitz matrices and what they are applied to, in double precision as SciPy's; the number of rows; whether x is a
    vector.

    Raises
    ------
    ShapeError
        The shapes do not fit.
    """
    c, r = c_or_cr if isinstance(c_or_cr, tuple) else (c_or_cr, conjugate(operand(c_or_cr)))
    c, r = vectors(name, c, r)
    x = operand(x)
    given = shape_of(x)
    vector = len(given) == 1
    rows, columns = shape_of(c)[-1], shape_of(r)[-1]
    if not given or given[0 if vector else -2] != columns or (square and rows != columns):
        what = f"{name}: a first column of shape {shape_of(c)}, a first row of shape {shape_of(r)}, and an array of shape {given}."
        raise teach(
            ShapeError, what, do="give as many rows on the right as the matrix has columns, and a square matrix to `solve_toeplitz`."
        )
    t, x = promote(diagonals(c, r), reshape(x, (*given, 1)) if vector else x)
    dtype = np.dtype(np.complex128 if type_of(t).dtype.kind == "c" else np.float64)
    lead = broadcast_shapes(name, [shape_of(t)[:-1], shape_of(x)[:-2]])
    t, x = (convert_to(strong(v), dtype) for v in (t, x))
    return spread_to(t, (*lead, shape_of(t)[-1]), shape_of(t)), spread_to(x, (*lead, *shape_of(x)[-2:]), shape_of(x)), rows, vector


@of_scipy
def solve_toeplitz(c_or_cr: Any, b: Numbers) -> Any:
    """x with T @ x = b for the square Toeplitz matrices T with first columns and rows (c, r), or c and its conjugate; b is a vector (n,) or
    (..., n, k). By Levinson's recursion, which needs regular leading blocks. The result is in double precision.

    Raises
    ------
    ShapeError
        The shapes do not fit.
    """
    t, b, _, vector = toeplitz_operands("solve_toeplitz", c_or_cr, b, square=True)
    return as_given(solve_toeplitz_op(t, b), vector)


@of_scipy
def matmul_toeplitz(c_or_cr: Any, x: Numbers) -> Any:
    """T @ x for the Toeplitz matrices T with first columns and rows (c, r), or c and its conjugate; x is a vector (n,) or (..., n, k). The
    result is in double precision. Of traced values it is computed by sums of products.

    Raises
    ------
    ShapeError
        The shapes do not fit.
    """
    t, x, rows, vector = toeplitz_operands("matmul_toeplitz", c_or_cr, x, square=False)
    return as_given(toeplitz_product(t, x, rows), vector)


@of_scipy
def solve_circulant(
    c: Numbers,
    b: Numbers,
    singular: str = "raise",
    tol: Numbers | None = None,
    caxis: int = -1,
    baxis: int = 0,
    outaxis: int = 0,
) -> Any:
    """x with C @ x = b for the circulant matrices C with first columns along ``caxis`` of c, for b along ``baxis``; x is along ``outaxis``.
    Other axes broadcast.

    C is diagonal in the basis of the discrete Fourier transform. An eigenvalue up to ``tol`` (default n eps times the largest) counts as
    zero. The solution then is the one of least squares, if ``singular`` is "lstsq"; else SciPy raises, and a traced result is nan.

    Raises
    ------
    ShapeError
        The shapes do not fit.
    """
    c, b = (atleast_1d(strong(operand(x))) for x in (c, b))
    at = canonical_axis("solve_circulant", caxis, len(shape_of(c))), canonical_axis("solve_circulant", baxis, len(shape_of(b)))
    n = shape_of(c)[at[0]]
    if shape_of(b)[at[1]] != n:
        what = f"solve_circulant: c of shape {shape_of(c)} and b of shape {shape_of(b)}."
        raise teach(ShapeError, what, do=f"give as many elements along axis {caxis} of c as along axis {baxis} of b.")
    kinds = [type_of(x).dtype if type_of(x).inexact else np.dtype(np.float64) for x in (c, b)]
    dtype = np.result_type(*kinds)
    wide = np.result_type(dtype, np.complex64)
    c, b = (convert_to(moveaxis(x, axis, -1), wide) for x, axis in zip((c, b), at, strict=True))
    turns = np.exp(-2j * np.pi / max(n, 1) * (np.outer(np.arange(n), np.arange(n)) % max(n, 1))).astype(wide)
    values, sides = matmul(c, turns), matmul(b, turns)
    if not n:
        return moveaxis(broadcast_arrays(values, sides)[1].real if dtype.kind != "c" else broadcast_arrays(values, sides)[1], -1, outaxis)
    size = abs(stop_gradient(values))
    limit = max_of(size, -1, keepdims=True) * (n * float(np.finfo(np.float64).eps)) if tol is None else tol
    zero = size <= limit
    quotients = divide(sides, where(zero, 1, values))
    if singular == "raise":
        quotients = quotients * where(any_of(zero), np.nan, 1.0).astype(wide)  # so its derivatives are nan, too
    else:
        quotients = where(zero, 0, quotients)
    x = matmul(quotients, turns.conj() / n)
    return moveaxis(x if dtype.kind == "c" else x.real, -1, outaxis)
