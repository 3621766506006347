"""The LU factorization of (stacks of) matrices, by partial pivoting.

References: Giles (2008), "Collected matrix derivative results for forward and reverse mode AD"; Golub & Van Loan (2013), "Matrix
Computations", section 3.4, for the algorithm.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Reader, Routines, StridedView
from ..core.errors import DtypeError, ShapeError, teach
from ..core.op import Op, op
from ..core.tracing import type_of
from ..core.types import ArrayType, array_type
from .arithmetic import constant_of
from .contraction import matmul
from .creation import iota
from .families import BroadcastInDim, add, default_rng
from .indexing import Gather
from .lapack import by_columns, every_matrix, named
from .linalg import MatrixOp, TriangularSolve, mask
from .logic import equal, greater, less_equal
from .movement import concatenate, pad, slice_
from .routines import lapack_function

__all__ = ["Lu", "PivotsToPermutation", "lower_unit", "lu", "permuted_rows", "upper"]

INT32, INT64 = np.dtype(np.int32), np.dtype(np.int64)


@op
class Lu(MatrixOp):
    """P A = L U for an m x n matrix A: (L U, pivots, permutation), k = min(m, n).

    L is unit lower triangular (m x k), U upper triangular (k x n); the first result holds both: U, and below its diagonal L. Row i was
    exchanged with row pivots[i], for i from 0 to k - 1; in total, P A = A[permutation].

    Let L' and U' be L and U made square by the last unit vectors, as columns of L' and rows of U', and X = L'^-1 P dA U'^-1. From
    P dA = dL U + L dU follow dL, the first k columns of L' (X below the diagonal), and dU, the first k rows of (the rest of X) U'.
    """

    multiple = True
    total = True
    library: ClassVar[str] = "lu"

    def type_rule(self, a: ArrayType) -> tuple[ArrayType, ArrayType, ArrayType]:
        self.check_matrices(a, square=False)
        *lead, m, n = a.shape
        return a.with_shape(a.shape), array_type((*lead, min(m, n)), INT32), array_type((*lead, m), INT32)

    def impl(self, a: Any) -> tuple[Any, Any, Any]:
        *lead, m, n = a.shape
        k = min(m, n)
        packed, pivots, order = np.empty_like(a, order="C"), np.empty((*lead, k), INT32), np.empty((*lead, m), INT32)
        order[...] = np.arange(m)
        if a.size == 0:
            return packed, pivots, order
        getrf = lapack_function("getrf", a.dtype, max(m, n))
        for i in np.ndindex(*lead):
            packed[i], pivots[i], _ = getrf(a[i])
            exchange_rows(order[i], pivots[i])
        return packed, pivots, order

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        (a,), (packed, pivots, order) = operands, results
        *lead, m, n = a.shape
        k, e = min(m, n), w.emitter
        if k == 0:
            w.every(lead, lambda i: w.fill(order.part(*i), lambda j: e.as_scalar(j[0], INT32)))
            return
        given = w.strided(a)

        def one(i: tuple[Any, ...]) -> None:
            factors, exchanges, info = by_columns(w, m, n, a.dtype), w.scratch((k,), w.integer), w.scratch((), w.integer)
            w.copy(given.part(*i), factors)
            w.call(named(a.dtype, "getrf"), m, n, factors, m, exchanges, info, work=m * n * k)
            w.copy(factors, packed.part(*i))
            others, at = pivots.part(*i), order.part(*i)
            w.fill(others, lambda j: e.cast(e.math("sub", exchanges[j], e.constant(1, w.integer)), INT32))
            w.fill(at, lambda j: e.as_scalar(j[0], INT32))
            w.every((k,), lambda j: exchange(at, j[0], e.as_index(e.math("sub", exchanges[j], e.constant(1, w.integer)))))

        every_matrix(w, lead, one, m * n * k)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        (a,), (da,) = primals, tangents
        packed, pivots, order = self(a)
        left, right = lower_unit(packed, square=True), upper(packed, square=True)
        x = TriangularSolve(unit_diagonal=True, strong_zero=True)(left, permuted_rows(da, order))
        x = TriangularSolve(left_side=False, lower=False, strong_zero=True)(right, x)
        return (packed, pivots, order), (add(matmul(left, mask(x, greater)), matmul(mask(x, less_equal), right)), None, None)

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[tuple[Any, Any, Any], tuple[bool, bool, bool]]:
        return self(a), (True, True, True)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls(), (rng.normal(size=(3, 3)),)
        yield cls(), (rng.normal(size=(4, 2)),)
        yield cls(), (rng.normal(size=(2, 2, 3)),)
        yield cls(), (rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3)),)
        yield cls(), (rng.normal(size=(6, 2, 2)),)
        yield cls(), (np.zeros((2, 0)),)
        yield cls(), (np.zeros((0, 2)),)


@op
class PivotsToPermutation(Op):
    """The permutation of ``size`` rows that exchanges row i with row pivots[i], for each i in order; int32."""

    size: int
    family = "indexing"
    takes: ClassVar[str] = "iu"
    library: ClassVar[str] = "pivots_to_permutation"

    def type_rule(self, pivots: ArrayType) -> ArrayType:
        if not pivots.ndim or pivots.shape[-1] > self.size:
            what = f"pivots_to_permutation: pivots of shape {pivots.shape} for {self.size} rows."
            raise teach(ShapeError, what, do="give no more pivots than rows.")
        if pivots.dtype.kind not in "iu":
            raise teach(DtypeError, f"pivots_to_permutation: pivots of dtype {pivots.dtype}.", do="give integers.")
        return array_type((*pivots.shape[:-1], self.size), INT32)

    def impl(self, pivots: Any) -> Any:
        order = np.empty((*pivots.shape[:-1], self.size), INT32)
        order[...] = np.arange(self.size)
        for k in np.ndindex(*pivots.shape[:-1]):
            exchange_rows(order[k], pivots[k])
        return order

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        given, (order,) = w.dense(operands[0]), results
        *lead, k = operands[0].shape
        e = w.emitter

        def one(i: tuple[Any, ...]) -> None:
            at, pivots = order.part(*i), given.part(*i)
            w.fill(at, lambda j: e.as_scalar(j[0], INT32))
            w.every((k,), lambda j: exchange(at, j[0], e.as_index(e.cast(pivots[j], INT64))))

        w.every(lead, one)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, None]:
        return self(*primals), None

    def batch(self, size: int, batched: Sequence[bool], pivots: Any) -> tuple[Any, bool]:
        return self(pivots), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        yield cls(4), (np.array([2, 1, 3], INT32),)
        yield cls(3), (np.array([[2, 1, 2], [0, 2, 2]], INT32),)
        yield cls(2), (np.zeros((0,), INT32),)


def exchange_rows(order: Any, pivots: Any) -> None:
    """Apply the exchanges to a concrete permutation, in place."""
    for row, other in enumerate(pivots):
        order[row], order[other] = order[other], order[row]


def exchange(order: StridedView, row: Any, other: Any) -> None:
    """Exchange two elements in memory."""
    x, y = order[row], order[other]
    order[row], order[other] = y, x


def lower_unit(packed: Any, *, square: bool = False) -> Any:
    """L of the packed factors: its k columns, or as many as rows, the further ones of the identity."""
    t = type_of(packed)
    m, n = t.shape[-2:]
    size = m if square else min(m, n)
    return add(resized(mask(packed, greater), m, size), ones_on_diagonal(t, m, size))


def upper(packed: Any, *, square: bool = False) -> Any:
    """U of the packed factors: its k rows, or as many as columns, the further ones of the identity."""
    t = type_of(packed)
    *lead, m, n = t.shape
    above = resized(mask(packed, less_equal), n if square else min(m, n), n)
    if not square or n <= m:
        return above
    rest = mask(ones_on_diagonal(t, n, n), equal)
    bottom = slice_(rest, (*[0] * len(lead), m, 0), (*lead, n, n))
    return concatenate([slice_(above, (0,) * t.ndim, (*lead, m, n)), bottom], t.ndim - 2)


def ones_on_diagonal(t: ArrayType, rows: int, columns: int) -> Any:
    """Matrices with ones on the diagonal, as many as ``t`` has."""
    ones = BroadcastInDim((*t.shape[:-2], rows, columns), ())(constant_of(1, t.dtype))
    return mask(ones, equal)


def resized(x: Any, rows: int, columns: int) -> Any:
    """The upper left part of matrices of this size, with zeros where they end before."""
    t = type_of(x)
    *lead, m, n = t.shape
    if m > rows or n > columns:
        x = slice_(x, (0,) * t.ndim, (*lead, min(m, rows), min(n, columns)))
    if m < rows or n < columns:
        x = pad(x, constant_of(0, t.dtype), [*[(0, 0, 0)] * len(lead), (0, max(rows - m, 0), 0), (0, max(columns - n, 0), 0)])
    return x


def permuted_rows(x: Any, order: Any) -> Any:
    """The rows of matrices in this order: row i of the result is row order[i]."""
    shape = type_of(order).shape
    return Gather("promise_in_bounds")(x, *[iota(shape, k) for k in range(len(shape) - 1)], order)


lu = Lu()
