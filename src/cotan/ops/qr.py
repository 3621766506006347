"""The QR factorization of (stacks of) matrices, with and without column pivoting.

Q and R have LAPACK's signs: Q is a product of Householder reflectors, so a real diagonal of R has negative numbers too, and a complex R has
a real diagonal. References: Walter & Lehmann (2010), "Algorithmic differentiation of linear algebra functions", section 4.2; Roberts &
Roberts (2020), "QR and LQ decomposition matrix backpropagation algorithms for square, wide, and deep matrices".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Reader, Routines, StridedView
from ..core.op import Op, op
from ..core.tracing import type_of
from ..core.types import ArrayType, array_type
from . import small_batch, small_qr
from .arithmetic import constant_of, mul, sub
from .casting import complex_, imag, real
from .contraction import matmul
from .factorization import BLOCK, column_range, with_complement
from .families import add, default_rng, reduce_sum, scale
from .gaps import plain_product
from .lapack import by_columns, every_matrix, named
from .linalg import MatrixOp, OnDiagonal, TriangularSolve, adjoint, columns, diagonal, mask, transposed
from .logic import equal, greater, less_equal, not_equal, select
from .lu import permuted_rows, resized
from .routines import lapack_function
from .running import Cummax
from .transcendental import inverse_or_infinity

__all__ = ["PivotedQr", "Qr", "qr"]

INT32 = np.dtype(np.int32)
ROUNDING = 8
"""A diagonal element of R that is smaller than so many rounding errors of its column is zero."""


@op
class Qr(MatrixOp):
    """A = Q R for an m x n matrix A, k = min(m, n): Q (m x k) has orthonormal columns, R (k x n) is upper triangular. If ``full``, Q is
    m x m and R m x n.

    In the tangents Q^H dQ = W is skew. For m <= n, dR = Q^H dA - W R has zeros below the diagonal: W has the strict lower triangle of
    Z = Q^H dA R1^-1, for the square R1 of the first columns. A real W does not need the last column of Z, so a square A may lack one rank;
    a complex W has the imaginary part of the diagonal too, by which R keeps its real diagonal. For m > n, dQ = dA R^-1 + Q (W - Z) and
    dR = (Z - W) R. Where columns that are needed depend on those before them, the quotient is infinite.

    The further columns of a full Q are a basis of the complement, with the tangent of `Svd`'s: that of one column is determined (up to its
    phase, if it is complex), that of several is infinite.
    """

    full: bool = False

    multiple = True
    total = True
    library: ClassVar[str] = "qr"

    def type_rule(self, a: ArrayType) -> tuple[ArrayType, ArrayType]:
        self.check_matrices(a, square=False)
        return factor_types(a, self.full)

    def impl(self, a: Any) -> tuple[Any, Any]:
        q, r = np.linalg.qr(a, "complete" if self.full else "reduced")
        return q, r

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        factorize(w, operands[0], *results)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        (a,), (da,) = primals, tangents
        q, r = self(a)
        return (q, r), factor_tangents(q, r, da)

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[tuple[Any, Any], tuple[bool, bool]]:
        return self(a), (True, True)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls(), (rng.normal(size=(3, 2)),)
        yield cls(), (rng.normal(size=(2, 2, 3)),)
        yield cls(), (rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3)),)
        yield cls(), (rng.normal(size=(2, 4)) + 1j * rng.normal(size=(2, 4)),)
        yield cls(), (np.zeros((2, 0)),)
        yield cls(), (np.array([[1.0, 2.0, -3.0], [4.0, -1.0, 2.0], [5.0, 1.0, -1.0]]),)
        yield cls(full=True), (rng.normal(size=(3, 2)),)
        yield cls(full=True), (rng.normal(size=(2, 3, 2)),)
        yield cls(full=True), (np.zeros((2, 0)),)


@op
class PivotedQr(MatrixOp):
    """A = Q R with its columns in another order, A[:, order]: each time the column follows whose rest is the longest, so the absolute
    values on the diagonal of R descend. (Q, R, order); the order has no derivative, the others have that of `Qr`.
    """

    full: bool = False

    multiple = True
    total = True
    library: ClassVar[str] = "pivoted_qr"

    def type_rule(self, a: ArrayType) -> tuple[ArrayType, ArrayType, ArrayType]:
        self.check_matrices(a, square=False)
        return *factor_types(a, self.full), array_type((*a.shape[:-2], a.shape[-1]), INT32)

    def impl(self, a: Any) -> tuple[Any, Any, Any]:
        q, r, order = (np.zeros(t.shape, t.dtype) for t in self.type_rule(type_of(a)))
        m, rows = q.shape[-2:]
        if a.size == 0:
            q[...], order[...] = np.eye(m, rows, dtype=q.dtype), np.arange(a.shape[-1])
            return q, r, order
        decompose, multiply_out = lapack_function("geqp3", a.dtype), lapack_function("ungqr" if a.dtype.kind == "c" else "orgqr", a.dtype)
        for i in np.ndindex(*a.shape[:-2]):
            packed, pivots, factors, _, _ = decompose(a[i])
            order[i], r[i] = pivots - 1, np.triu(packed[:rows])
            whole = np.zeros((m, rows), a.dtype)
            whole[:, : packed.shape[1]] = packed[:, :rows]
            q[i] = multiply_out(whole, factors)[0]
        return q, r, order

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        factorize(w, operands[0], *results)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        (a,), (da,) = primals, tangents
        q, r, order = self(a)
        return (q, r, order), (*factor_tangents(q, r, transposed(permuted_rows(transposed(da), order))), None)

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[tuple[Any, Any, Any], tuple[bool, bool, bool]]:
        return self(a), (True, True, True)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        for given, (a,) in Qr.examples():
            yield cls(given.full), (a,)  # type: ignore[attr-defined]
        yield cls(), (np.zeros((0, 2)),)


qr = Qr()


# ---- pieces --------------------------------------------------------------------------------------------------------------------------
def factor_types(a: ArrayType, full: bool) -> tuple[ArrayType, ArrayType]:
    """The types of Q and R."""
    *lead, m, n = a.shape
    k = m if full else min(m, n)
    return array_type((*lead, m, k), a.dtype), array_type((*lead, k, n), a.dtype)


def factorize(w: Routines, a: Reader, q: StridedView, r: StridedView, order: StridedView | None = None) -> None:
    """The factors of a stack of matrices; with column pivoting if an order is asked for."""
    *lead, m, n = a.shape
    k, rows, e, dtype = min(m, n), q.shape[-1], w.emitter, a.dtype
    zero, one_ = e.constant(0, dtype), e.constant(1, dtype)
    if k == 0:
        w.every(lead, lambda i: w.fill(q.part(*i), lambda j: e.choose((j[0] <= j[1]) & (j[1] <= j[0]), lambda: one_, lambda: zero)))
        if order is not None:
            w.every(lead, lambda i: w.fill(order.part(*i), lambda j: e.as_scalar(j[0], INT32)))
        return
    size, given = BLOCK * max(m, n) + (2 * n + BLOCK * (n + 1) if order is not None else 0), w.strided(a)

    def one(i: tuple[Any, ...]) -> StridedView:
        matrix, factors, work, info = (
            by_columns(w, m, n, dtype),
            w.scratch((k,), dtype),
            w.scratch((size,), dtype),
            w.scratch((), w.integer),
        )
        w.copy(given.part(*i), matrix)
        if order is None:
            w.call(named(dtype, "geqrf"), m, n, matrix, m, factors, work, size, info, work=m * n * k)
        else:
            free, first, pivots = e.constant(0, w.integer), e.constant(1, w.integer), w.scratch((n,), w.integer)
            w.fill(pivots, lambda _: free)
            reals = [w.scratch((2 * n,), np.finfo(dtype).dtype)] if dtype.kind == "c" else []
            w.call(named(dtype, "geqp3"), m, n, matrix, m, pivots, factors, work, size, *reals, info, work=m * n * k)
            w.fill(order.part(*i), lambda j: e.cast(e.math("sub", pivots[j], first), INT32))
        w.fill(r.part(*i), lambda j: e.choose(j[0] <= j[1], lambda: matrix[j], lambda: zero))
        if rows > n:
            whole = by_columns(w, m, rows, dtype)
            w.outlined(lambda: w.every((n, m), lambda j: whole.__setitem__((j[1], j[0]), matrix[j[1], j[0]])))
            w.outlined(lambda: w.every((rows - n, m), lambda j: whole.__setitem__((j[1], j[0] + n), zero)))
        else:
            whole = matrix
        w.call(named(dtype, "orgqr", "ungqr"), m, rows, k, whole, m, factors, work, size, info, work=m * rows * k)
        w.copy(whole, q.part(*i))

        return info

    if order is None and small_batch.pays(lead, m, n):
        small_qr.factorize(w, a, q, r, one)
    else:
        every_matrix(w, lead, one, 2 * m * max(n, rows) * k)


def factor_tangents(q: Any, r: Any, da: Any) -> tuple[Any | None, Any | None]:
    """The tangents of Q and R (see `Qr`) for a tangent of A."""
    (*_, m, rows), (*_, n) = type_of(q).shape, type_of(r).shape
    k, is_complex = min(m, n), type_of(q).dtype.kind == "c"
    if k == 0:
        return None, None
    if m <= n:
        p = matmul(adjoint(q), da)
        size = k if is_complex else k - 1
        turn = resized(skew(by_columns_of(column_range(p, 0, size), resized(r, size, size))), k, k)
        return matmul(q, turn), triangular_tangent(sub(p, matmul(turn, r)))
    first, square = column_range(q, 0, k), resized(r, k, k)
    quotient = by_columns_of(da, square)
    z = matmul(adjoint(first), quotient)
    rest = sub(z, skew(z))
    dq, dr = sub(quotient, matmul(first, rest)), triangular_tangent(matmul(rest, square))
    return with_complement(q, first, dq) if rows > k else dq, resized(dr, rows, n)


def triangular_tangent(dr: Any) -> Any:
    """A tangent of R without rounding errors below the diagonal, and in the imaginary part of it."""
    dr = mask(dr, less_equal)
    return sub(dr, imaginary(mask(dr, equal))) if type_of(dr).dtype.kind == "c" else dr


def skew(z: Any) -> Any:
    """The skew matrix with the strict lower triangle of z, and the imaginary part of its diagonal."""
    t = type_of(z)
    below = mask(z, greater)
    size = max(t.shape[-2:])
    below = resized(below, size, size)
    turn = sub(below, adjoint(below))
    return add(turn, imaginary(mask(resized(z, size, size), equal))) if t.dtype.kind == "c" else turn


def by_columns_of(x: Any, r: Any) -> Any:
    """x R^-1 for an upper triangular R. From the first column on that depends on those before it, to rounding, the quotient is infinite."""
    t = type_of(r)
    n = t.shape[-1]
    if n == 0:
        return x
    part = np.finfo(t.dtype).dtype
    one, limit = constant_of(1, part), constant_of((ROUNDING * np.finfo(part).eps) ** 2, part)
    square, d = squared(r), diagonal(r)
    lost = less_equal(diagonal(square), scale(limit, reduce_sum(square, (t.ndim - 2,))))
    factor = Cummax(t.ndim - 2)(inverse_or_infinity(select(lost, constant_of(0, part), one)))
    regular = add(mask(r, not_equal), OnDiagonal(n, n)(select(lost, constant_of(1, t.dtype), d)))
    quotient = TriangularSolve(left_side=False, lower=False, strong_zero=True)(regular, x)
    factor = complex_(factor, scale(constant_of(0, part), factor)) if t.dtype.kind == "c" else factor
    return plain_product(columns(factor, type_of(x).shape[-2]), quotient)


def squared(x: Any) -> Any:
    """The squares of absolute values."""
    if type_of(x).dtype.kind != "c":
        return mul(x, x)
    re, im = real(x), imag(x)
    return add(mul(re, re), mul(im, im))


def imaginary(z: Any) -> Any:
    """i Im(z)."""
    part = imag(z)
    return complex_(scale(constant_of(0, type_of(part).dtype), part), part)
