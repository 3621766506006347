"""Least squares and subspaces: pseudo-inverses, the spaces of the rows and columns of a matrix, norms, and predicates.

The number of kept singular values is a constant for derivatives. That of pseudo-inverses is right at equal singular values too
(`ops.spectral`). A basis of a subspace is determined up to a rotation: see `orth` and `null_space`.
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from ...core.errors import ArgumentError, ShapeError, teach
from ...core.tracing import type_of
from ...numpy import linalg as cnp_linalg
from ...numpy.contraction import matmul
from ...numpy.elementwise import abs, conjugate, square
from ...numpy.linalg import matrices
from ...numpy.promotion import Numbers, broadcast_shapes, convert_to, operand, shape_of, spread_to
from ...numpy.reduction import max as max_of
from ...numpy.reduction import sum as sum_of
from ...numpy.selection import where
from ...ops import factorization, spectral
from ...ops import linalg as ops
from ...ops.casting import stop_gradient
from ...ops.movement import reshape
from ...ops.qr import qr
from ..calling import concrete_only, known_value, scipys
from .solving import adjoint
from .spectra import last_axis

__all__ = ["bandwidth", "ishermitian", "issymmetric", "lstsq", "norm", "null_space", "orth", "pinv", "pinvh"]

of_scipy = scipys("scipy.linalg")


# ---- pseudo-inverses -----------------------------------------------------------------------------------------------------------------
def limits(name: str, atol: Any, rtol: Any, t: Any) -> tuple[Any, Any]:
    """The absolute and the relative limit of kept singular values, by SciPy's default values.

    Raises
    ------
    ArgumentError
        One is negative.
    """
    for value in (atol, rtol):
        if isinstance(value, int | float) and value < 0:
            raise teach(ArgumentError, f"{name}: atol={atol}, rtol={rtol}.", do="give limits that are not negative.")
    return 0.0 if atol is None else atol, builtins.max(t.shape[-2:]) * float(np.finfo(t.dtype).eps) if rtol is None else rtol


def inverse_of(a: Any, factors: tuple[Any, Any, Any], absolute: Any, relative: Any) -> tuple[Any, Any]:
    """The pseudo-inverse of matrices that have these factors, and the numbers of kept singular values."""
    u, s, vh = factors
    kept = s > absolute + relative * max_of(s, -1, keepdims=True, initial=0)
    return spectral.pseudo_inverse(a, u, convert_to(s, type_of(a).dtype), vh, kept), sum_of(kept, -1)


@of_scipy
def pinv(a: Numbers, *, atol: Numbers | None = None, rtol: Numbers | None = None, return_rank: bool = False) -> Any:
    """The Moore-Penrose inverse of matrices (..., m, n), of shape (..., n, m); with ``return_rank``, (inverse, rank).

    Singular values up to atol + rtol * (the largest) are dropped; ``rtol`` is max(m, n) eps by default. The derivative is for a constant
    number of kept singular values, which may be equal (Golub & Pereyra 1973).

    Raises
    ------
    ArgumentError
        A limit is negative.
    """
    (a,) = matrices("pinv", a)
    y, rank = inverse_of(a, factorization.svd(stop_gradient(a)), *limits("pinv", atol, rtol, type_of(a)))
    return (y, rank) if return_rank else y


@of_scipy
def pinvh(a: Numbers, atol: Numbers | None = None, rtol: Numbers | None = None, lower: bool = True, return_rank: bool = False) -> Any:
    """The Moore-Penrose inverse of Hermitian matrices, of which one triangle is read; the other arguments are those of `pinv`.

    Raises
    ------
    ArgumentError
        A limit is negative.
    """
    (a,) = matrices("pinvh", a, square=True)
    a = ops.read_lower(a if lower else adjoint(a))
    w, v = factorization.eigh(stop_gradient(a))
    signs = convert_to(where(w < 0, -1.0, 1.0), type_of(a).dtype)
    factors = v, abs(w), signs[..., None] * adjoint(v)
    y, rank = inverse_of(a, factors, *limits("pinvh", atol, rtol, type_of(a)))
    return (y, rank) if return_rank else y


@of_scipy
def lstsq(a: Numbers, b: Numbers, cond: float | None = None) -> Any:
    """(x, residues, rank, s): the x of least norm among those that minimize |a @ x - b|, for a (..., m, n), and b (m,) or (..., m, k).

    Singular values s up to ``cond`` (default eps) times the largest count as zero. For traced values, residues has the sums of squares if
    m > n, whatever the rank; the derivative is for a constant rank.

    Raises
    ------
    ShapeError
        The shapes do not fit.
    """
    b = operand(b)
    given = shape_of(b)
    vector = len(given) == 1
    a, b = matrices("lstsq", a, reshape(b, (*given, 1)) if vector else b)
    m, n = shape_of(a)[-2:]
    if shape_of(b)[-2] != m:
        what = f"lstsq: a of shape {shape_of(a)}, b of shape {given}."
        raise teach(ShapeError, what, do="give a b with as many rows as a has.")
    lead = broadcast_shapes("lstsq", [shape_of(a)[:-2], shape_of(b)[:-2]])
    a, b = (spread_to(x, (*lead, *shape_of(x)[-2:]), shape_of(x)) for x in (a, b))
    u, s, vh = factorization.svd(stop_gradient(a))
    relative = float(np.finfo(type_of(a).dtype).eps) if cond is None else cond
    inverse, rank = inverse_of(a, (u, s, vh), 0.0, relative)
    x = matmul(inverse, b)
    residues = sum_of(square(abs(matmul(a, x) - b)), -2) if m > n else np.zeros((*lead, 0), type_of(a).dtype)
    if vector:
        x, residues = reshape(x, shape_of(x)[:-1]), reshape(residues, lead) if m > n else residues
    return x, residues, convert_to(rank, np.dtype(np.int32)), cnp_linalg.svdvals(a)


# ---- subspaces -----------------------------------------------------------------------------------------------------------------------
def rank_of(name: str, a: Any, s: Any, rcond: float | None) -> tuple[int, Any]:
    """The number of singular values above rcond * (the largest), and which matrices have so many.

    Where the values are not known (under `jit` and `vmap`), the shape of the result cannot depend on them: it is the full rank.

    Raises
    ------
    ShapeError
        The matrices of a stack have different ranks.
    """
    s, t = stop_gradient(s), type_of(a)
    relative = builtins.max(t.shape[-2:]) * float(np.finfo(type_of(s).dtype).eps) if rcond is None else rcond
    counts = sum_of(s > relative * max_of(s, -1, keepdims=True, initial=0), -1)
    known = known_value(counts)
    if known is None:
        full = builtins.min(t.shape[-2:])
        return full, counts == full
    ranks = set(np.asarray(known).flat)
    if len(ranks) > 1:
        raise teach(ShapeError, f"{name}: matrices of the ranks {sorted(ranks)}.", do="give matrices of one rank, or one at a time.")
    return int(ranks.pop()) if ranks else builtins.min(t.shape[-2:]), np.asarray(known) >= 0


def kept_inverse(a: Any, factors: Any, rank: int) -> tuple[Any, Any, Any]:
    """The pseudo-inverse for so many kept singular values, by a reduced or full decomposition; its left and right singular vectors."""
    k = shape_of(factors[1])[-1]
    u, s, v = (stop_gradient(x) for x in (last_axis(factors[0], 0, k), factors[1], last_axis(adjoint(factors[2]), 0, k)))
    kept = np.broadcast_to(np.arange(k) < rank, shape_of(s))
    return spectral.pseudo_inverse(a, u, convert_to(s, type_of(a).dtype), adjoint(v), kept), u, v


def truncated(a: Any, factors: Any, rank: int) -> Any:
    """Bases of the spaces of the kept left and right singular vectors that turn with the matrix, as functions of it."""
    inverse, u, v = kept_inverse(a, factors, rank)
    left = matmul(a, matmul(inverse, last_axis(u, 0, rank)))
    right = matmul(inverse, matmul(a, last_axis(v, 0, rank)))
    return tuple(qr(x)[0] for x in (left, right))


def norm_of_columns(x: Any) -> Any:
    """The norms of the columns of matrices that are not zero, as a row."""
    return sum_of((x * conjugate(x)).real, -2, keepdims=True) ** 0.5


def or_nan(x: Any, good: Any) -> Any:
    """The matrices where this holds; elsewhere they and their derivatives are nan."""
    return x * convert_to(where(good[..., None, None], 1.0, np.nan), type_of(x).dtype)


@of_scipy
def orth(A: Numbers, rcond: float | None = None) -> Any:
    """An orthonormal basis of the range of matrices (..., m, n): the left singular vectors of the singular values above ``rcond`` (default
    max(m, n) eps) times the largest.

    Under `jit` and `vmap`, where the values are not known, the basis has min(m, n) columns, and is nan where the rank is less. Single
    vectors of equal singular values have no derivative; functions that do not depend on their choice have one.
    """
    (a,) = matrices("orth", A)
    factors = factorization.svd(a)
    rank, good = rank_of("orth", a, factors[1], rcond)
    if rank < builtins.min(shape_of(a)[-2:]):  # vectors of dropped values, which are equal, have no part in the derivative
        return factorization.svd(matmul(a, truncated(a, factors, rank)[1]))[0]
    return or_nan(factors[0], good)


@of_scipy
def null_space(A: Numbers, rcond: float | None = None) -> Any:
    """An orthonormal basis of the null space of matrices (..., m, n): the right singular vectors of the singular values up to ``rcond``
    (default max(m, n) eps) times the largest, and of those that m lacks.

    Under `jit` and `vmap`, where the values are not known, the basis has n - min(m, n) columns, and is nan where the rank is less. The
    derivative of a single vector x is right, dx = -A^+ dA x at first: x is the projection of x_0, normalized. Several vectors have no
    derivative one by one; functions that do not depend on their choice have one.
    """
    (a,) = matrices("null_space", A)
    m, n = shape_of(a)[-2:]
    decompose = factorization.full_svd if m < n else factorization.svd
    factors = decompose(stop_gradient(a) if n - m == 1 else a)
    rank, good = rank_of("null_space", a, factors[1], rcond)
    if n - rank == 1:
        start = stop_gradient(last_axis(adjoint(factors[2]), rank, n))
        x = start - matmul(kept_inverse(a, factors, rank)[0], matmul(a, start))
        return or_nan(x / norm_of_columns(x), good)
    if rank < builtins.min(m, n):  # a matrix of full rank with the same null space
        factors = factorization.full_svd(matmul(adjoint(truncated(a, factors, rank)[0]), a))
    return or_nan(last_axis(adjoint(factors[2]), rank, n), good)


# ---- norms and predicates ------------------------------------------------------------------------------------------------------------
@of_scipy
def norm(a: Numbers, ord: Any = None, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
    """The norm ``ord`` of vectors (one axis) or matrices (two). See `cotan.numpy.linalg.norm`."""
    return cnp_linalg.norm(a, ord, axis, keepdims)


PREDICATE = "compute it on concrete values outside: the answer is a Python value."
bandwidth = concrete_only(
    "scipy.linalg", "bandwidth", "The numbers of diagonals below and above the main one that are not zero.", PREDICATE
)
ishermitian = concrete_only("scipy.linalg", "ishermitian", "Whether a matrix is Hermitian, to a tolerance.", PREDICATE)
issymmetric = concrete_only("scipy.linalg", "issymmetric", "Whether a matrix is symmetric, to a tolerance.", PREDICATE)
