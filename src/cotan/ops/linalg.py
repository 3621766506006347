"""Linear algebra: solves and the Cholesky factorization, on stacks of matrices (any equal leading axes).

Derivatives are composed of products and solves, so they are differentiable again. A superscript H is the conjugate transpose, T the
plain one. References: Giles (2008), "Collected matrix derivative results for forward and reverse mode AD"; Murray (2016),
"Differentiation of the Cholesky decomposition". The other factorizations are in `factorization`, determinants in `determinant`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache, reduce
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Emitter, Reader, Routines, StridedView
from ..core.errors import DtypeError, ShapeError, teach
from ..core.formula import Formula, Transposed, called
from ..core.op import Op, op
from ..core.program import Var
from ..core.tracing import type_of
from ..core.types import ArrayType
from . import small
from .arithmetic import constant_of, neg, sub
from .casting import conj
from .choosing import chosen
from .contraction import matmul
from .creation import iota
from .failing import failed, guarded, scaled_by, where_regular, zero_where_zero
from .families import BroadcastInDim, Structural, add, default_rng, has_nan, scale, spread, sum_tangents
from .lapack import by_columns, every_matrix, factorized, fill_nan, is_finite, named, not_zero
from .lapack import zero_where_zero as write_zeros
from .logic import bitwise_and, equal, greater, greater_equal, less, less_equal, not_equal, select
from .movement import pad, permute, reshape
from .routines import lapack_function

__all__ = [
    "Band", "Cholesky", "Diagonal", "Inverse", "OnDiagonal", "PositiveSolve", "Solve", "TriangularSolve", "adjoint", "cholesky",
    "finish_solution", "positive_solve", "solve", "strong_solve", "transposed", "triangular_solve",
]  # fmt: skip

NONE, TRANSPOSED, ADJOINT = 0, 1, 2
INT64 = np.dtype(np.int64)
SINGULAR = "triangular_solve: the matrix is singular (its diagonal is zero at {})"


class MatrixOp(Op):
    """An op on stacks of matrices: it checks them, and a batch axis is a further leading axis."""

    family = "linalg"
    takes: ClassVar[str] = "fc"

    def loop_axes(self, *types: ArrayType) -> Sequence[int]:
        return range(types[0].ndim - 2)

    def check_matrices(self, *types: ArrayType, square: bool = True) -> None:
        first, lead = types[0], types[0].shape[:-2]
        fits = True
        for t in types:
            fits &= len(t.shape) >= 2 and t.shape[:-2] == lead and t.dtype == first.dtype
        if fits and (not square or first.shape[-1] == first.shape[-2]) and first.dtype.kind in "fc" and first.dtype.itemsize >= 4:
            return
        if any(t.ndim < 2 for t in types) or (square and first.shape[-1] != first.shape[-2]):
            shapes = " and ".join(str(t.shape) for t in types)
            raise teach(
                ShapeError,
                f"{self.name}: operands of shapes {shapes}.",
                do=f"give {'a square matrix first' if square else 'matrices'}, or stacks of them.",
            )
        if any(t.shape[:-2] != first.shape[:-2] for t in types):
            shapes = " and ".join(str(t.shape) for t in types)
            raise teach(
                ShapeError, f"{self.name}: the leading axes of {shapes} differ.", do="broadcast them first (cotan.numpy.linalg does)."
            )
        dtypes = " and ".join(str(t.dtype) for t in types)
        raise teach(
            DtypeError, f"{self.name}: operands of dtype {dtypes}.", do="convert them to one of float32, float64, complex64, complex128."
        )


# ---- pieces of rules ---------------------------------------------------------------------------------------------------
def transposed(x: Any) -> Any:
    """The matrices of ``x`` transposed."""
    n = type_of(x).ndim
    return permute(x, (*range(n - 2), n - 1, n - 2))


def adjoint(x: Any) -> Any:
    """The matrices of ``x`` conjugated and transposed."""
    return transposed(conj(x) if type_of(x).dtype.kind == "c" else x)


@op
class Band(Structural):
    """The elements of matrices from the ``low``-th to the ``high``-th diagonal (None: to the corner), or those outside; else 0."""

    low: int | None
    high: int | None
    inside: bool = True
    library: ClassVar[str] = "band"

    def type_rule(self, x: ArrayType) -> ArrayType:
        if x.ndim < 2:
            raise teach(ShapeError, f"band: an array of shape {x.shape}.", do="give a matrix, or a stack of them.")
        return x.with_shape(x.shape)

    def impl(self, x: Any) -> Any:
        n, m = x.shape[-2:]
        kept = (remembered if n * m <= MOST_REMEMBERED else in_band)(n, m, self.low, self.high, self.inside)
        return chosen(kept, x, x.dtype.type(0))

    def written_out(self, x: Any) -> Sequence[Any]:  # type: ignore[override]
        t = type_of(x)
        rows, across = (iota(t.shape[-2:], axis) for axis in (0, 1))
        offset = sub(across, rows)
        if self.low == self.high:
            kept = equal(offset, np.int64(self.low or 0))
        else:
            limits = [] if self.low is None else [greater_equal(offset, np.int64(self.low))]
            limits += [] if self.high is None else [less_equal(offset, np.int64(self.high))]
            kept = reduce(bitwise_and, limits)
        kept = BroadcastInDim(t.shape, (t.ndim - 2, t.ndim - 1))(kept)
        zero = constant_of(0, t.dtype)
        return [select(kept, x, zero) if self.inside else select(kept, zero, x)]

    # <y_bar, band(x')> = the sum of y_bar x' over the elements that are kept
    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [self(y_bar)]

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return self(x), True

    def formula(self, x: Formula) -> Formula:
        if self.inside and None in (self.low, self.high):
            k = self.high if self.low is None else self.low
            return called("tril" if self.low is None else "triu", x, **({"_k": k} if k else {}))
        return called("band", x, _low=self.low, _high=self.high) if self.inside else x - called("band", x, _low=self.low, _high=self.high)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for low, high, inside in ((None, 0, True), (1, None, True), (0, 0, True), (0, 0, False), (-1, 1, True)):
            yield cls(low, high, inside), (rng.normal(size=(3, 4)),)
        yield cls(-1, None), (rng.normal(size=(2, 4, 3)),)
        yield cls(5, None), (rng.normal(size=(2, 3)),)
        yield cls(None, 0), (rng.normal(size=(2, 0)),)


@op
class HalfOfLower(Structural):
    """The lower triangles of matrices, with half of their diagonals: what, added to its adjoint, is Hermitian with these triangles."""

    library: ClassVar[str] = "half_of_lower"
    takes: ClassVar[str] = "fc"

    def type_rule(self, x: ArrayType) -> ArrayType:
        if not x.inexact:
            raise teach(DtypeError, f"half_of_lower does not take {x.dtype} operands.", do="convert them to a floating-point dtype first.")
        return LOWER.type_rule(x)

    def impl(self, x: Any) -> Any:
        y = LOWER.impl(x)
        np.einsum("...ii->...i", y[..., : min(y.shape[-2:]), : min(y.shape[-2:])])[...] *= y.dtype.type(0.5)
        return y

    def written_out(self, x: Any) -> Sequence[Any]:  # type: ignore[override]
        return [add(mask(x, greater), scale(constant_of(0.5, type_of(x).dtype), mask(x, equal)))]

    # Each element is multiplied by a number, so the op is its own adjoint.
    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [self(y_bar)]

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return self(x), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for shape in ((3, 3), (2, 3, 4), (4, 2), (2, 0)):
            yield cls(), (rng.normal(size=shape),)


def in_band(n: int, m: int, low: int | None, high: int | None, inside: bool) -> Any:
    """Which elements of a matrix `Band` keeps."""
    rows, columns = np.arange(n)[:, None], np.arange(m)
    kept = np.ones((n, m), bool) if low is None else columns >= rows + low
    kept = kept if high is None else kept & (columns <= rows + high)
    return kept if inside else ~kept


remembered = lru_cache(maxsize=64)(in_band)
MOST_REMEMBERED = 1 << 16
"""Up to this number of elements, what a band keeps is remembered."""
BANDS: dict[Op, Op] = {
    greater: Band(None, -1),
    greater_equal: Band(None, 0),
    less: Band(1, None),
    less_equal: Band(0, None),
    equal: Band(0, 0),
    not_equal: Band(0, 0, False),
}


LOWER, half_of_lower = BANDS[greater_equal], HalfOfLower()


def mask(x: Any, keep: Op) -> Any:
    """``x`` where ``keep(row, column)``, a comparison, zero elsewhere."""
    return BANDS[keep](x)


@op
class Diagonal(Structural):
    """The ``offset``-th diagonals of matrices: y[i] = x[i - min(offset, 0), i + max(offset, 0)]."""

    offset: int = 0

    def type_rule(self, x: ArrayType) -> ArrayType:
        if x.ndim < 2:
            raise teach(ShapeError, f"diagonal: an array of shape {x.shape}.", do="give a matrix, or a stack of them.")
        *lead, rows, columns = x.shape
        return x.with_shape((*lead, diagonal_length(rows, columns, self.offset)))

    def impl(self, x: Any) -> Any:
        return x.diagonal(self.offset, -2, -1).copy()

    def element(self, e: Emitter, i: Sequence[Any], x: Reader) -> Any:
        *lead, k = i
        return x((*lead, k - min(self.offset, 0), k + max(self.offset, 0)))

    # <y_bar, diagonal(x')> = sum_i y_bar[i] x'[i - min(k, 0), i + max(k, 0)]
    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        rows, columns = x.shape[-2:]
        return [OnDiagonal(rows, columns, self.offset)(y_bar)]

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return self(x), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for offset, shape in ((0, (3, 3)), (1, (2, 3, 4)), (-2, (4, 2)), (5, (2, 3)), (0, (0, 2))):
            yield cls(offset), (rng.normal(size=shape),)


@op
class OnDiagonal(Structural):
    """Matrices with these ``offset``-th diagonals and zeros elsewhere."""

    rows: int
    columns: int
    offset: int = 0
    library: ClassVar[str] = "on_diagonal"

    def type_rule(self, x: ArrayType) -> ArrayType:
        length = diagonal_length(self.rows, self.columns, self.offset)
        if x.ndim < 1 or x.shape[-1] != length:
            raise teach(ShapeError, f"on_diagonal: an array of shape {x.shape}.", do=f"give {length} numbers for each matrix.")
        return x.with_shape((*x.shape[:-1], self.rows, self.columns))

    def impl(self, x: Any) -> Any:
        y = np.zeros((*x.shape[:-1], self.rows * self.columns), x.dtype)
        if x.shape[-1]:
            first = max(self.offset, 0) - min(self.offset, 0) * self.columns
            y[..., first :: self.columns + 1][..., : x.shape[-1]] = x
        return y.reshape((*x.shape[:-1], self.rows, self.columns))

    def written_out(self, x: Any) -> Sequence[Any]:  # type: ignore[override]
        t = type_of(x)
        before = -min(self.offset, 0)
        around = (before, self.rows - before - t.shape[-1], 0)
        in_rows = pad(x, constant_of(0, t.dtype), [*[(0, 0, 0)] * (t.ndim - 1), around])
        return [Band(self.offset, self.offset)(BroadcastInDim((*t.shape[:-1], self.rows, self.columns), tuple(range(t.ndim)))(in_rows))]

    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [Diagonal(self.offset)(y_bar)]

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return self(x), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for rows, columns, offset, lead in ((3, 3, 0, ()), (3, 4, 1, (2,)), (4, 2, -2, ()), (2, 3, 5, ()), (0, 2, 0, ())):
            yield cls(rows, columns, offset), (rng.normal(size=(*lead, diagonal_length(rows, columns, offset))),)


def diagonal_length(rows: int, columns: int, offset: int) -> int:
    """The number of elements on a diagonal."""
    return max(0, min(rows + min(offset, 0), columns - max(offset, 0)))


def diagonal(x: Any) -> Any:
    """The diagonals of square matrices."""
    return Diagonal()(x)


def columns(d: Any, rows: int) -> Any:
    """``d[..., j]`` in each of ``rows`` rows: the scaling of columns."""
    shape = type_of(d).shape
    return BroadcastInDim((*shape[:-1], rows, shape[-1]), (*range(len(shape) - 1), len(shape)))(d)


def hermitian(x: Any) -> Any:
    """The Hermitian x + x^H."""
    return add(x, adjoint(x))


def read_lower(da: Any) -> Any:
    """The tangent of the Hermitian matrix defined by the lower triangle of ``da`` and the real part of its diagonal."""
    return hermitian(half_of_lower(da))


def symmetric_examples(n: int, lead: tuple[int, ...] = (), seed: int = 0) -> Any:
    """Positive definite matrices, as examples."""
    a = default_rng(seed).normal(size=(*lead, n, n))
    return a @ np.swapaxes(a, -1, -2) + n * np.eye(n)


# ---- Cholesky ------------------------------------------------------------------------------------------------------------
@op
class Cholesky(MatrixOp):
    """The lower triangular L with L L^H = A, for positive definite A. Reads the lower triangle of A, and the real part of its diagonal.

    From dL L^H + L dL^H = dA follows L^-1 dL + (L^-1 dL)^H = L^-1 dA L^-H, and since L^-1 dL is lower triangular,
    dL = L Phi(L^-1 dA L^-H), where Phi takes the lower triangle and half of the diagonal (Murray 2016, section 3.1).

    The lower triangle of the factor of a matrix that is not positive definite is nan.
    """

    library: ClassVar[str] = "cholesky"

    def type_rule(self, a: ArrayType) -> ArrayType:
        self.check_matrices(a)
        return a.with_shape(a.shape)

    def impl(self, a: Any) -> Any:
        factor = where_regular(np.linalg.cholesky, a)
        return np.tril(factor) if has_nan(factor) else factor

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        (a,), (factor,) = operands, results
        *lead, n, _ = a.shape
        if small.is_small(lead, a.dtype, n):
            small.cholesky(w, a, factor)
            return
        zero = w.emitter.constant(0, a.dtype)

        def one(k: tuple[Any, ...]) -> None:
            # Row-major, the lower triangle of A is the upper triangle of A^T = conj(A), and U^H U = conj(A) is L L^H = A for L = U^T.
            target, info = factor.part(*k), w.scratch((), w.integer)
            w.fill(target, lambda i: w.emitter.choose(i[0] >= i[1], lambda: a((*k, *i)), lambda: zero))
            w.call(named(a.dtype, "potrf"), "U", n, target, max(n, 1), info, work=n**3)
            w.when(not_zero(w, info), lambda: small.nan_factor(w, target))

        every_matrix(w, lead, one, n**3)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (a,), (da,) = primals, tangents
        result = self(a)
        factor, unknown = guarded(result)
        inner = TriangularSolve(strong_zero=True)(factor, read_lower(da))
        inner = TriangularSolve(left_side=False, transpose_a=ADJOINT, strong_zero=True)(factor, inner)
        return result, scaled_by(unknown, matmul(factor, half_of_lower(inner)))

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[Any, bool]:
        return self(a), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        yield cls(), (symmetric_examples(3),)
        yield cls(), (symmetric_examples(2, (2,)),)
        yield cls(), (symmetric_examples(1),)
        yield cls(), (np.zeros((0, 0)),)
        yield cls(), (symmetric_examples(2) + np.array([[0, -0.5j], [0.5j, 0]]),)


# ---- solves ----------------------------------------------------------------------------------------------------------------
class SolveOp(MatrixOp):
    """A x = b, solved for b, in which it is linear. The solution for a singular matrix is nan.

    With ``strong_zero``, as tangents and cotangents are solved for, that for a b of zero is zero, whatever the matrix is.
    """

    linear = ((1,),)
    strong_zero: bool

    def fails_on(self, *types: ArrayType) -> Sequence[int]:
        return (0,)  # the matrix may be singular, exactly or by rounding

    def columns_in_batch(self, size: int, batched: Sequence[bool], a: Any, b: Any) -> Any | None:
        """One matrix, many right-hand sides: the batch becomes further columns, so the matrix is factorized once. None in other cases."""
        if batched[0] or type_of(a).ndim != 2:
            return None
        _, n, m = type_of(b).shape
        wide = reshape(permute(b, (1, 0, 2)), (n, size * m))
        return permute(reshape(self(a, wide), (n, size, m)), (1, 0, 2))

    def batch(self, size: int, batched: Sequence[bool], a: Any, b: Any) -> tuple[Any, bool]:
        y = self.columns_in_batch(size, batched, a, b)
        if y is None:
            a, b = (x if flag else spread(x, size) for x, flag in zip((a, b), batched, strict=True))
            y = self(a, b)
        return y, True


@op
class Solve(SolveOp):
    """x with A x = b, for square A and matrices b: dx = A^-1 (db - dA x); the adjoint in b is A^-T."""

    strong_zero: bool = False
    library: ClassVar[str] = "solve"

    def type_rule(self, a: ArrayType, b: ArrayType) -> ArrayType:
        self.check_matrices(a, b)
        if a.shape[-1] != b.shape[-2]:
            raise teach(
                ShapeError,
                f"solve: a matrix of shape {a.shape} and a right-hand side of shape {b.shape}.",
                do="give as many rows on the right as the matrix has.",
            )
        return b.with_shape(b.shape)

    def impl(self, a: Any, b: Any) -> Any:
        x = where_regular(np.linalg.solve, a, b)
        return zero_where_zero(x, b) if self.strong_zero else x

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        (a, b), (x,) = operands, results
        *lead, n, m = b.shape
        if small.is_small(lead, a.dtype, n, m, "fc"):
            small.solve(w, a, b, x, strong_zero=self.strong_zero)
            return
        matrices, sides = w.strided(a), w.strided(b)

        def one(k: tuple[Any, ...]) -> None:
            lu, pivots, info = by_columns(w, n, n, a.dtype), w.scratch((n,), w.integer), w.scratch((), w.integer)
            y = x.part(*k) if m == 1 else by_columns(w, n, m, a.dtype)
            factorized(w, matrices.part(*k), lu, pivots, info)
            if m > 0:
                w.copy(sides.part(*k), y)
                ignored = w.scratch((), w.integer)
                w.call(named(a.dtype, "getrs"), "N", n, m, lu, max(n, 1), pivots, y, max(n, 1), ignored, work=n * n * m)
            finish_solution(w, self.strong_zero, sides.part(*k), y, x.part(*k), info)

        every_matrix(w, lead, one, n * n * (n + m))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (a, b), (da, db) = primals, tangents
        x = self(a, b)
        if da is None:
            return x, strong_solve(a, db)
        known, unknown = guarded(x)
        moved = matmul(da, neg(known))
        return x, scaled_by(unknown, strong_solve(a, sum_tangents([t for t in (db, moved) if t is not None])))

    def transpose(self, y_bar: Any, a: Any, b: Var) -> Sequence[Any | None]:
        return [None, strong_solve(transposed(a), y_bar)]

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls(), (rng.normal(size=(3, 3)) + 3 * np.eye(3), rng.normal(size=(3, 2)))
        yield cls(), (rng.normal(size=(2, 2, 2)) + 3 * np.eye(2), rng.normal(size=(2, 2, 1)))
        yield cls(), (rng.normal(size=(2, 2)) + 3j * np.eye(2), rng.normal(size=(2, 2)) + 0j)
        yield cls(), (np.zeros((0, 0)), np.zeros((0, 2)))
        yield cls(), (np.eye(2), np.zeros((2, 0)))


@op
class PositiveSolve(SolveOp):
    """x with A x = b for Hermitian positive definite A, by Cholesky's factorization; b is n x m. The solution for another matrix is nan.

    Reads the lower triangle of A, and the real part of its diagonal. dx = A^-1 (db - dA x) for the Hermitian dA with the triangle of the
    tangent: the derivative solves with the same factor, and does not differentiate it.
    """

    strong_zero: bool = False
    library: ClassVar[str] = "positive_solve"

    def type_rule(self, a: ArrayType, b: ArrayType) -> ArrayType:
        self.check_matrices(a, b)
        if a.shape[-1] != b.shape[-2]:
            raise teach(
                ShapeError,
                f"positive_solve: a matrix of shape {a.shape} and a right-hand side of shape {b.shape}.",
                do="give as many rows on the right as the matrix has.",
            )
        return b.with_shape(b.shape)

    def impl(self, a: Any, b: Any) -> Any:
        x = np.empty_like(b, order="C")
        if b.size == 0:
            return x
        solve_for = lapack_function("posv", b.dtype, a.shape[-1])
        for k in np.ndindex(*b.shape[:-2]):
            _, x[k], info = solve_for(a[k], b[k], lower=True)
            if info:
                x[k] = failed("positive_solve: the matrix is not positive definite")
        return zero_where_zero(x, b) if self.strong_zero else x

    def written_out(self, a: Any, b: Any) -> Sequence[Any]:  # type: ignore[override]
        """By the factor, which all solves with a matrix share."""
        factor = cholesky(a)
        first, second = (TriangularSolve(transpose_a=turn, strong_zero=self.strong_zero) for turn in (NONE, ADJOINT))
        return [second(factor, first(factor, b))]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (a, b), (da, db) = primals, tangents
        x, solve_for = self(a, b), PositiveSolve(strong_zero=True)
        if da is None:
            return x, solve_for(a, db)
        known, unknown = guarded(x)
        moved = matmul(read_lower(da), neg(known))
        return x, scaled_by(unknown, solve_for(a, sum_tangents([t for t in (db, moved) if t is not None])))

    # The conjugate of A x = b is A^T conj(x) = conj(b): a solution for A^T has the factor of A.
    def transpose(self, y_bar: Any, a: Any, b: Var) -> Sequence[Any | None]:
        solve_for = PositiveSolve(strong_zero=True)
        return [None, conj(solve_for(a, conj(y_bar))) if type_of(a).dtype.kind == "c" else solve_for(a, y_bar)]

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for n, lead, m in ((3, (), 2), (2, (2,), 1), (1, (), 1), (0, (), 2), (2, (), 0)):
            a, b = symmetric_examples(n, lead), rng.normal(size=(*lead, n, m))
            yield cls(), (a, b)
            if n == 3:
                yield cls(), (a + 1j * rng.normal(size=a.shape), b + 1j)


@op
class Inverse(MatrixOp):
    """The inverse Y of square matrices: A Y = 1, so dA Y + A dY = 0 and dY = -Y dA Y. That of a singular matrix is nan."""

    library: ClassVar[str] = "inverse"

    def fails_on(self, *types: ArrayType) -> Sequence[int]:
        return (0,)  # it may be singular, exactly or by rounding

    def type_rule(self, a: ArrayType) -> ArrayType:
        self.check_matrices(a)
        return a.with_shape(a.shape)

    def impl(self, a: Any) -> Any:
        return where_regular(np.linalg.inv, a)

    def written_out(self, a: Any) -> Sequence[Any]:  # type: ignore[override]
        t = type_of(a)
        return [Solve()(a, mask(BroadcastInDim(t.shape, ())(constant_of(1, t.dtype)), equal))]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        result = self(*primals)
        y, unknown = guarded(result)
        return result, scaled_by(unknown, matmul(matmul(y, tangents[0]), neg(y)))

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[Any, bool]:
        return self(a), True

    def formula(self, a: Formula) -> Formula:
        return called("inv", a)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls(), (rng.normal(size=(3, 3)) + 3 * np.eye(3),)
        yield cls(), (rng.normal(size=(2, 2, 2)) + 3 * np.eye(2),)
        yield cls(), (rng.normal(size=(2, 2)) + 3j * np.eye(2),)
        yield cls(), (np.zeros((0, 0)),)


@op
class TriangularSolve(SolveOp):
    """x with op(A) x = b (``left_side``) or x op(A) = b, for triangular A; ``transpose_a`` 0, 1, 2: op(A) is A, A^T, A^H.

    Only the triangle that ``lower`` names is read; its diagonal is not read if ``unit_diagonal``. dx solves the same system with the
    right-hand side db - op(dA) x (db - x op(dA) on the right), with the same triangle of dA.
    """

    left_side: bool = True
    lower: bool = True
    transpose_a: int = NONE
    unit_diagonal: bool = False
    strong_zero: bool = False
    library: ClassVar[str] = "triangular_solve"

    def type_rule(self, a: ArrayType, b: ArrayType) -> ArrayType:
        self.check_matrices(a, b)
        if a.shape[-1] != b.shape[-2 if self.left_side else -1]:
            raise teach(
                ShapeError,
                f"triangular_solve: a matrix of shape {a.shape} and a right-hand side of shape {b.shape}.",
                do=f"give as many {'rows' if self.left_side else 'columns'} on the right-hand side as the matrix has.",
            )
        return b.with_shape(b.shape)

    def impl(self, a: Any, b: Any) -> Any:
        if not self.left_side:  # x op(A) = b is op(A)^T x^T = b^T
            a = np.conj(a) if self.transpose_a == ADJOINT else a
            turned = TRANSPOSED if self.transpose_a == NONE else NONE
            flipped = TriangularSolve(True, self.lower, turned, self.unit_diagonal, self.strong_zero)
            return np.swapaxes(flipped.impl(a, np.swapaxes(b, -1, -2)), -1, -2)
        if 0 in b.shape:
            return np.zeros_like(b)
        x = self.solutions(a, b)
        return zero_where_zero(x, b) if self.strong_zero else x

    def solutions(self, a: Any, b: Any) -> Any:
        """The solutions on the left, but for strong zeros."""
        if a.ndim == 2:
            return self.solve_one(a, b)
        stack = int(np.prod(a.shape[:-2]))
        if stack > 4 and a.shape[-1] < 48:  # one call for many small ones costs less than a call for each
            zeros = [] if self.unit_diagonal else np.argwhere(np.diagonal(a, axis1=-2, axis2=-1) == 0)
            if len(zeros):
                failed(SINGULAR.format(zeros[0][-1]))
            return where_regular(np.linalg.solve, self.full(a), b)
        flat_a, flat_b = a.reshape(stack, *a.shape[-2:]), b.reshape(stack, *b.shape[-2:])
        return np.stack([self.solve_one(m, r) for m, r in zip(flat_a, flat_b, strict=True)]).reshape(b.shape)

    def solve_one(self, a: Any, b: Any) -> Any:
        routine = lapack_function("trtrs", a.dtype, len(a))
        x, info = routine(a, b, lower=self.lower, trans=self.transpose_a, unitdiag=self.unit_diagonal)
        return x if info == 0 else np.full_like(x, failed(SINGULAR.format(info - 1)))

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        (a, b), (x,) = operands, results
        *lead, rows, columns = b.shape
        n, m = a.shape[-1], columns if self.left_side else rows
        if 0 in b.shape:
            return
        if small.is_small(lead, a.dtype, n, m):
            triangle = small.Triangle(self.left_side, self.lower, self.transpose_a != NONE, self.unit_diagonal)
            small.triangular_solve(w, a, b, x, triangle, strong_zero=self.strong_zero)
            return
        factor, sides, e = w.dense(a), w.strided(b), w.emitter
        zero, regular, singular = e.constant(0, a.dtype), e.constant(0, w.integer), e.constant(1, w.integer)
        # Row-major, A and x are A^T and x^T: op(A) x = b becomes x^T op(A)^T = b^T, on the other side and with the same transposition.
        triangle, unit = "U" if self.lower else "L", "U" if self.unit_diagonal else "N"

        def one(k: tuple[Any, ...]) -> None:
            info, matrix, y = w.variable(regular), factor.part(*k), x.part(*k)

            def look(i: tuple[Any, ...]) -> None:
                info[()] = e.math("select", e.math("eq", matrix[i[0], i[0]], zero), info[()], singular)

            if not self.unit_diagonal:
                w.every((n,), look)
            w.copy(sides.part(*k), y)
            w.call(
                named(a.dtype, "trsm", library="blas"), "R" if self.left_side else "L", triangle, "NTC"[self.transpose_a], unit,
                columns, rows, a.dtype.type(1), matrix, n, y, columns, work=n * n * m,
            )  # fmt: skip
            finish_solution(w, self.strong_zero, sides.part(*k), y, y, info, rows=not self.left_side)

        every_matrix(w, lead, one, n * n * m)

    def full(self, a: Any) -> Any:
        """op(A), with zeros and a unit diagonal in place of the elements that are not read."""
        a = np.tril(a) if self.lower else np.triu(a)
        if self.unit_diagonal:
            a = a - a * np.eye(a.shape[-1], dtype=a.dtype) + np.eye(a.shape[-1], dtype=a.dtype)
        a = a if self.transpose_a == NONE else np.swapaxes(a, -1, -2)
        return np.conj(a) if self.transpose_a == ADJOINT else a

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (a, b), (da, db) = primals, tangents
        x, solve_for = self(a, b), self.of_tangents(self.transpose_a)
        if da is None:
            return x, solve_for(a, db)
        known, unknown = guarded(x)
        keep = {(True, False): greater_equal, (True, True): greater, (False, False): less_equal, (False, True): less}[
            self.lower, self.unit_diagonal
        ]
        da = mask(da, keep)
        da = da if self.transpose_a == NONE else transposed(da) if self.transpose_a == TRANSPOSED else adjoint(da)
        moved = matmul(da, known) if self.left_side else matmul(known, da)
        return x, scaled_by(unknown, solve_for(a, neg(moved) if db is None else sub(db, moved)))

    def of_tangents(self, transpose_a: int) -> Op:
        """The op that solves for tangents, with this form of the matrix."""
        return TriangularSolve(self.left_side, self.lower, transpose_a, self.unit_diagonal, strong_zero=True)

    def transpose(self, y_bar: Any, a: Any, b: Var) -> Sequence[Any | None]:
        # The adjoint of op(A)^-1 is op(A)^-T; without a conjugate, (A^H)^T is conj(A).
        if self.transpose_a == ADJOINT and type_of(a).dtype.kind == "c":
            a = conj(a)
        turned = TRANSPOSED if self.transpose_a == NONE else NONE
        return [None, self.of_tangents(turned)(a, y_bar)]

    def columns_in_batch(self, size: int, batched: Sequence[bool], a: Any, b: Any) -> Any | None:
        if self.left_side or batched[0] or type_of(a).ndim != 2:
            return super().columns_in_batch(size, batched, a, b) if self.left_side else None
        _, m, n = type_of(b).shape
        return reshape(self(a, reshape(b, (size * m, n))), (size, m, n))

    def formula(self, a: Formula, b: Formula) -> Formula:
        """With the inverse of the triangle, which is not computed."""
        inverse = called("inv", a)
        turned = Transposed(
            called("conj", inverse) if self.transpose_a == 2 and a.type and a.type.dtype.kind == "c" else inverse, type=a.type
        )
        side = turned if self.transpose_a else inverse
        return side @ b if self.left_side else b @ side

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        a = rng.normal(size=(3, 3)) + 3 * np.eye(3)
        for left in (True, False):
            b = rng.normal(size=(3, 2) if left else (2, 3))
            for lower in (True, False):
                for turn in (NONE, TRANSPOSED):
                    yield cls(left, lower, turn, False), (a, b)
            yield cls(left, True, ADJOINT, True), (a + 1j * rng.normal(size=(3, 3)), b + 0j)
            yield cls(left, False, TRANSPOSED, False), (np.tile(a, (2, 1, 1)), np.stack([b, -b]))
            yield cls(left, True, ADJOINT, True), (np.tile(a, (6, 1, 1)), np.tile(b, (6, 1, 1)))
        yield cls(), (np.zeros((0, 0)), np.zeros((0, 2)))


def finish_solution(
    w: Routines, strong_zero: bool, b: StridedView, y: StridedView, x: StridedView, info: StridedView, *, rows: bool = False
) -> None:
    """Copy the solutions ``y`` for the right-hand sides ``b`` to ``x``, if they are not there: nan where the status is not zero."""
    w.when(not_zero(w, info), lambda: fill_nan(w, y))
    if strong_zero:
        w.when(w.emitter.math("not", is_finite(w, y)), lambda: write_zeros(w, b.__getitem__, y, rows=rows))
    if y is not x and x.shape[-1] > 1:
        w.copy(y, x)


cholesky, solve, strong_solve, positive_solve = Cholesky(), Solve(), Solve(strong_zero=True), PositiveSolve()


def triangular_solve(
    a: Any, b: Any, *, left_side: bool = True, lower: bool = True, transpose_a: int = NONE, unit_diagonal: bool = False
) -> Any:
    """`TriangularSolve`."""
    return TriangularSolve(left_side, lower, transpose_a, unit_diagonal)(a, b)
