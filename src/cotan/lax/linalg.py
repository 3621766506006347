"""``cotan.lax.linalg``: linear algebra under JAX's names and signatures. No promotion; stacks of matrices everywhere.

Errors are NumPy's, where JAX gives nan: of matrices that are singular, or not positive definite. Householder vectors are those of LAPACK.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import DtypeError, ShapeError, UnsupportedFunctionError, teach
from ..core.listing import listing
from ..core.tracing import type_of
from ..numpy.promotion import convert_to, operand
from ..ops import eigen, factorization, spectral
from ..ops import linalg as ops
from ..ops import lu as lu_ops
from ..ops.arithmetic import constant_of, mul, sub
from ..ops.banded import BandedSolve
from ..ops.casting import complex_, conj, real, stop_gradient
from ..ops.contraction import matmul
from ..ops.creation import full
from ..ops.families import BroadcastInDim, add, scale
from ..ops.hessenberg import Hessenberg
from ..ops.linalg import Diagonal, adjoint, columns, diagonal, hermitian, mask, transposed
from ..ops.logic import equal, greater, greater_equal, less, less_equal, select
from ..ops.movement import concatenate, pad, reshape, reverse, slice_
from ..ops.qr import PivotedQr, Qr
from ..ops.schur import schur as schur_op
from ..ops.transcendental import inverse_or_infinity, sqrt
from .strictness import agree, finish

__all__ = [
    "cholesky", "cholesky_update", "eig", "eigh", "hessenberg", "householder_product", "lu", "lu_pivots_to_permutation", "qdwh", "qr",
    "schur", "svd", "symmetric_product", "triangular_solve", "tridiagonal", "tridiagonal_solve",
]  # fmt: skip
__dir__ = listing(__all__)


def matrices(name: str, *xs: Any, square: bool = False) -> list[Any]:
    """Operands as stacks of matrices.

    Raises
    ------
    ShapeError
        One is no matrix, or not square where it must be.
    DtypeError
        One is not floating or complex, of single or double precision.
    """
    operands = agree(name, xs)
    for x in operands:
        t = type_of(x)
        if t.ndim < 2 or (square and t.shape[-1] != t.shape[-2]):
            what = f"{name}: an array of shape {t.shape}."
            raise teach(ShapeError, what, do=f"give a {'square ' if square else ''}matrix, or a stack of them.")
        if t.dtype.kind not in "fc" or t.dtype.itemsize < 4:
            raise teach(DtypeError, f"{name}: an array of dtype {t.dtype}.", do="convert it to float32, float64, complex64 or complex128.")
    return operands


def all_finished(*ys: Any) -> tuple[Any, ...]:
    """Several results."""
    return tuple(map(finish, ys))


def half_of(x: Any) -> Any:
    """x / 2."""
    return scale(constant_of(0.5, type_of(x).dtype), x)


def cholesky(x: Any, *, symmetrize_input: bool = True) -> Any:
    """The lower triangular L with x = L L^H. ``symmetrize_input`` takes the Hermitian part first; else the lower triangle is read."""
    (a,) = matrices("cholesky", x, square=True)
    return finish(ops.cholesky(half_of(hermitian(a)) if symmetrize_input else a))


def cholesky_update(r_matrix: Any, w_vector: Any) -> Any:
    """The upper triangular factor of R^T R + w w^T, for real R: its diagonal is positive. By the QR factorization of R over w^T.

    Raises
    ------
    ShapeError
        They do not fit.
    DtypeError
        They are complex.
    """
    r, w = agree("cholesky_update", (r_matrix, w_vector))
    (r,) = matrices("cholesky_update", r, square=True)
    t, given = type_of(r), type_of(w).shape
    if given != t.shape[:-1]:
        raise teach(ShapeError, f"cholesky_update: a matrix of shape {t.shape}, a vector of shape {given}.", do="give one number a row.")
    if t.dtype.kind == "c":
        raise teach(DtypeError, "cholesky_update: complex operands.", do="use cholesky of the sum.")
    rows = concatenate([mask(r, less_equal), reshape(w, (*given[:-1], 1, given[-1]))], t.ndim - 2)
    factor = Qr()(rows)[1]
    one = constant_of(1, t.dtype)
    signs = select(less(diagonal(stop_gradient(factor)), constant_of(0, t.dtype)), constant_of(-1, t.dtype), one)
    return finish(mul(transposed(columns(signs, t.shape[-1])), factor))


def eig(x: Any, *, compute_left_eigenvectors: bool = True, compute_right_eigenvectors: bool = True) -> list[Any]:
    """[w, vl, vr]: the eigenvalues, complex, and the left and right eigenvectors as columns, of the norm 1, as far as they are asked for:
    vl^H x = w vl^H, x vr = vr w.
    """
    (a,) = matrices("eig", x, square=True)
    if not compute_left_eigenvectors and not compute_right_eigenvectors:
        return [finish(eigen.eigvals(a))]
    w, vr = eigen.eig(a)
    found = [w]
    if compute_left_eigenvectors:
        vl = adjoint(ops.Inverse()(vr))
        t = type_of(vl)
        part = np.finfo(t.dtype).dtype
        norm = sqrt(diagonal(real(matmul(adjoint(vl), vl))))
        inverse = columns(inverse_or_infinity(norm), t.shape[-1])
        found.append(mul(vl, complex_(inverse, scale(constant_of(0, part), inverse))))
    return [*map(finish, found), *([finish(vr)] if compute_right_eigenvectors else [])]


def eigh(
    x: Any,
    *,
    lower: bool = True,
    symmetrize_input: bool = True,
    sort_eigenvalues: bool = True,
    subset_by_index: tuple[int, int] | None = None,
) -> tuple[Any, Any]:
    """(v, w): eigenvectors as columns and eigenvalues, ascending, of Hermitian matrices. ``symmetrize_input`` takes the Hermitian part
    first; else the triangle is read that ``lower`` names. ``subset_by_index`` (start, end) keeps those from start to before end.
    """
    del sort_eigenvalues  # they are sorted in any case
    (a,) = matrices("eigh", x, square=True)
    if symmetrize_input:
        w, v = factorization.eigh(half_of(hermitian(a)))
    else:
        w, v = (factorization.eigh if lower else factorization.eigh_of_upper)(a)
    if subset_by_index is not None:
        start, end = subset_by_index
        w, v = last_axis(w, start, end), last_axis(v, start, end)
    return finish(v), finish(w)


def last_axis(x: Any, start: int, stop: int) -> Any:
    """The elements from ``start`` to ``stop`` of the last axis."""
    shape = type_of(x).shape
    return slice_(x, (*[0] * (len(shape) - 1), start), (*shape[:-1], stop))


def hessenberg(a: Any) -> tuple[Any, Any]:
    """(packed, taus) of the Hessenberg form a = q h q^H: h, and below its subdiagonal the Householder vectors of q, with their factors."""
    (a,) = matrices("hessenberg", a, square=True)
    h, q = Hessenberg(least=2)(a)
    vectors, taus = reflectors(q)
    return all_finished(add(mask_below(h), vectors), taus)


def mask_below(h: Any) -> Any:
    """The upper triangle and the first subdiagonal."""
    return ops.Band(-1, None)(h)


def reflectors(q: Any) -> tuple[Any, Any]:
    """The Householder vectors of the unitary q of a Hessenberg form, below its subdiagonal, and their factors.

    The product of reflectors is 1 - V T V^H with a unit lower triangular V and an upper triangular T. So V and T V1^H are the LU factors of
    1 - q, without exchanges of rows, since the elements of V are at most one (Ballard et al. 2014, "Reconstructing Householder vectors
    from tall-skinny QR"). T has the factors on its diagonal. The last one of a real q is zero.
    """
    t = type_of(q)
    *lead, n, _ = t.shape
    count = n - 1 if t.dtype.kind == "c" else n - 2
    if count < 1:
        return scale(constant_of(0, t.dtype), q), full((*lead, max(n - 1, 0)), t.dtype.type(0))
    identity = mask(BroadcastInDim(t.shape, ())(constant_of(1, t.dtype)), equal)
    inner = slice_(sub(identity, q), (*[0] * len(lead), 1, 1), (*lead, n, count + 1))
    packed, _, _ = lu_ops.lu(inner)
    zero, front = constant_of(0, t.dtype), [(0, 0, 0)] * len(lead)
    vectors = pad(mask(packed, greater), zero, [*front, (1, 0, 0), (0, n - count, 0)])
    return vectors, pad(diagonal(packed), zero, [*front, (0, n - 1 - count, 0)])


def householder_product(a: Any, taus: Any) -> Any:
    """The first columns, as many as a has, of the product of the reflectors 1 - tau v v^H. The vectors are below the diagonal of a, each
    with a one on the diagonal; ``taus`` has a factor for each of its first columns.

    The product is 1 - V T V^H for T = (1 + D S)^-1 D, with the factors in the diagonal D, and the strict upper triangle S of V^H V.

    Raises
    ------
    ShapeError
        The shapes do not fit.
    """
    a, taus = agree("householder_product", (a, taus))
    (a,) = matrices("householder_product", a)
    t, given = type_of(a), type_of(taus).shape
    (*lead, m, n), k = t.shape, given[-1] if given else 0
    if given != (*lead, k) or k > min(m, n) or n > m:
        what = f"householder_product: a of shape {t.shape}, taus of shape {given}."
        raise teach(ShapeError, what, do="give a matrix that is not wide, and at most one factor for each column.")
    v = lu_ops.lower_unit(factorization.column_range(a, 0, k))
    vh = adjoint(v)
    rows = transposed(columns(taus, k))
    inner = add(mul(rows, mask(matmul(vh, v), less)), mask(BroadcastInDim((*lead, k, k), ())(constant_of(1, t.dtype)), equal))
    across = mul(transposed(columns(taus, n)), factorization.column_range(vh, 0, n))
    solved = ops.triangular_solve(inner, across, lower=False, unit_diagonal=True)
    identity = mask(BroadcastInDim(t.shape, ())(constant_of(1, t.dtype)), equal)
    return finish(sub(identity, matmul(v, solved)))


def lu(x: Any) -> tuple[Any, Any, Any]:
    """(lu, pivots, permutation) with x[permutation] = l @ u: u, and below its diagonal l; row i was exchanged with row pivots[i]."""
    return all_finished(*lu_ops.lu(*matrices("lu", x)))


def lu_pivots_to_permutation(pivots: Any, permutation_size: int) -> Any:
    """The permutation of so many rows that exchanges row i with row pivots[i], for each i in order."""
    return finish(lu_ops.PivotsToPermutation(permutation_size)(operand(pivots)))


def qdwh(
    x: Any,
    *,
    is_hermitian: bool = False,
    max_iterations: int | None = None,
    eps: float | None = None,
    dynamic_shape: tuple[int, int] | None = None,
) -> tuple[Any, Any, Any, Any]:
    """(u, h, iterations, converged): the polar decomposition x = u h, u with orthonormal columns, h Hermitian and not negative.

    It comes from the singular value decomposition: there are no iterations, and ``max_iterations`` and ``eps`` have no effect.

    Raises
    ------
    ShapeError
        There are fewer rows than columns.
    UnsupportedFunctionError
        A dynamic shape is given.
    """
    del is_hermitian, max_iterations, eps
    (a,) = matrices("qdwh", x)
    t = type_of(a)
    if t.shape[-2] < t.shape[-1]:
        raise teach(ShapeError, f"qdwh: a matrix of shape {t.shape}.", do="give a matrix with at least as many rows as columns.")
    if dynamic_shape is not None:
        raise teach(UnsupportedFunctionError, "qdwh: dynamic_shape.", do="give the matrix without padding.")
    left, s, right = factorization.svd(stop_gradient(a))
    kept = full(type_of(s).shape, np.bool_(True))
    u = spectral.polar_factor(a, left, convert_to(s, t.dtype), right, kept)
    return *all_finished(u, half_of(hermitian(matmul(adjoint(u), a)))), finish(np.int32(0)), finish(np.bool_(True))


def qr(x: Any, *, pivoting: bool = False, full_matrices: bool = True) -> tuple[Any, ...]:
    """(q, r) with x = q @ r; with ``pivoting`` (q, r, p), x[:, p] = q @ r. Reduced if not ``full_matrices``."""
    return all_finished(*(PivotedQr if pivoting else Qr)(full=full_matrices)(*matrices("qr", x)))


def schur(x: Any, *, compute_schur_vectors: bool = True, sort_eig_vals: bool = False, select_callable: Any = None) -> Any:
    """(t, q) with x = q t q^H: t upper triangular, of a real x with 2 x 2 blocks; [t] if not ``compute_schur_vectors``. As in JAX, the last
    two arguments have no effect.
    """
    del sort_eig_vals, select_callable
    t, q = all_finished(*schur_op(*matrices("schur", x, square=True)))
    return (t, q) if compute_schur_vectors else (t,)


def svd(x: Any, *, full_matrices: bool = True, compute_uv: bool = True, subset_by_index: tuple[int, int] | None = None) -> Any:
    """(u, s, vh) with x = u diag(s) vh, s descending; s alone if not ``compute_uv``. ``subset_by_index`` (start, end) keeps those from
    start to before end, of a reduced decomposition.

    Raises
    ------
    UnsupportedFunctionError
        A part of a full decomposition is asked for.
    """
    (a,) = matrices("svd", x)
    whole = subset_by_index is None or subset_by_index == (0, min(type_of(a).shape[-2:]))
    if not compute_uv:
        s = factorization.Svdvals()(a)
        return finish(s if whole or subset_by_index is None else last_axis(s, *subset_by_index))
    if not whole and full_matrices:
        raise teach(UnsupportedFunctionError, "svd: a part of full matrices.", do="give full_matrices=False.")
    u, s, vh = (factorization.full_svd if full_matrices else factorization.svd)(a)
    if not whole and subset_by_index is not None:
        u, s, vh = (last_axis(y, *subset_by_index) for y in (u, s, transposed(vh)))
        vh = transposed(vh)
    return all_finished(u, s, vh)


def symmetric_product(a_matrix: Any, c_matrix: Any, *, alpha: float = 1.0, beta: float = 0.0, symmetrize_output: bool = False) -> Any:
    """alpha a a^T + beta c; with ``symmetrize_output``, the lower triangle of that is mirrored."""
    a, c = matrices("symmetric_product", a_matrix, c_matrix)
    dtype = type_of(a).dtype
    y = add(scale(constant_of(alpha, dtype), matmul(a, transposed(a))), scale(constant_of(beta, dtype), c))
    return finish(add(mask(y, greater_equal), transposed(mask(y, greater))) if symmetrize_output else y)


def triangular_solve(
    a: Any,
    b: Any,
    *,
    left_side: bool = False,
    lower: bool = False,
    transpose_a: bool = False,
    conjugate_a: bool = False,
    unit_diagonal: bool = False,
) -> Any:
    """x with op(a) x = b if ``left_side``, else x op(a) = b, for triangular a. op transposes and conjugates as the arguments say."""
    a, b = agree("triangular_solve", (a, b))
    *lead, n = type_of(b).shape
    vector = len(lead) == type_of(a).ndim - 2
    if vector:
        b = reshape(b, (*lead, n, 1) if left_side else (*lead, 1, n))
    a, b = matrices("triangular_solve", a, b)
    turn = ops.NONE
    if transpose_a:
        turn = ops.ADJOINT if conjugate_a else ops.TRANSPOSED
    elif conjugate_a and type_of(a).dtype.kind == "c":
        a = conj(a)
    x = ops.triangular_solve(a, b, left_side=left_side, lower=lower, transpose_a=turn, unit_diagonal=unit_diagonal)
    return finish(reshape(x, (*lead, n)) if vector else x)


def tridiagonal(a: Any, *, lower: bool = True) -> tuple[Any, Any, Any, Any]:
    """(packed, d, e, taus) of the tridiagonal form of Hermitian matrices, of which one triangle is read: the diagonal d, the diagonal e
    below (above) it, and in the rest of that triangle the Householder vectors, with their factors. The other triangle has no meaning.

    It is the Hessenberg form; that of the upper triangle has rows and columns in the opposite order.
    """
    (a,) = matrices("tridiagonal", a, square=True)
    h, q = Hessenberg(least=2)(ops.read_lower(a if lower else turned(a)))
    vectors, taus = reflectors(q)
    is_complex = type_of(a).dtype.kind == "c"
    d, e = (real(x) if is_complex else x for x in (diagonal(h), Diagonal(-1)(h)))
    packed = add(ops.Band(-1, 0)(h), vectors)
    if not lower:
        packed, d, e, taus = turned(packed), *(reverse(x, (type_of(x).ndim - 1,)) for x in (d, e, taus))
    return all_finished(packed, d, e, taus)


def turned(a: Any) -> Any:
    """Matrices with rows and columns in the opposite order."""
    n = type_of(a).ndim
    return reverse(a, (n - 2, n - 1))


def tridiagonal_solve(dl: Any, d: Any, du: Any, b: Any) -> Any:
    """x (..., n, m) with A @ x = b for the tridiagonal matrices A with the diagonals dl, d and du (..., n): below, on and above the main
    one. dl[0] and du[-1] are not read.

    Raises
    ------
    ShapeError
        The shapes differ.
    DtypeError
        They are not floating or complex, of single or double precision.
    """
    dl, d, du, b = agree("tridiagonal_solve", (dl, d, du, b))
    (b,) = matrices("tridiagonal_solve", b)
    shape = type_of(d).shape
    if not shape or type_of(dl).shape != shape or type_of(du).shape != shape or type_of(b).shape[:-1] != shape:
        given = ", ".join(str(type_of(x).shape) for x in (dl, d, du, b))
        what = f"tridiagonal_solve: arrays of shapes {given}."
        raise teach(ShapeError, what, do="give three diagonals (..., n) of one shape, and a right-hand side (..., n, m).")
    lead, zero = [(0, 0, 0)] * (len(shape) - 1), constant_of(0, type_of(d).dtype)
    rows = pad(du, zero, [*lead, (1, -1, 0)]), d, pad(dl, zero, [*lead, (-1, 1, 0)])
    return finish(BandedSolve(1, 1)(concatenate([reshape(row, (*shape[:-1], 1, shape[-1])) for row in rows], len(shape) - 1), b))
