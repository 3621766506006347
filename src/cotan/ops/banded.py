"""Banded matrices in LAPACK's storage: products, transposes, and the solutions of systems, without full matrices.

A matrix A of n rows with l diagonals below the main one and u above it is stored by its diagonals, in an array of l + u + 1 rows:

    A[i, j] = ab[u + i - j, j]        for -u <= i - j <= l

The elements of ab that lie outside of A, in its corners, are not read, and are zero in results. A Hermitian matrix is stored by its lower
bands (u = 0), or by its upper ones (l = 0). Each product and each solve is linear in the right-hand side, with the transposed bands as its
adjoint; derivatives in the bands cost as many operations as a product. Reference: Anderson et al. (1999), "LAPACK Users' Guide", section
5.3.3; Golub & Van Loan (2013), "Matrix Computations", sections 1.2 and 4.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Emitter, Reader, Routines, StridedView
from ..core.errors import ShapeError, teach
from ..core.op import Op, op
from ..core.program import Var
from ..core.tracing import type_of
from ..core.types import ArrayType, array_type
from .arithmetic import neg, sub
from .casting import complex_, conj, real
from .failing import failed, guarded, scaled_by, zero_where_zero
from .families import Multilinear, Structural, default_rng, spread, zeros
from .lapack import by_columns, every_matrix, named
from .linalg import ADJOINT, NONE, TRANSPOSED, MatrixOp, SolveOp, finish_solution
from .movement import concatenate, slice_
from .routines import lapack_function

__all__ = [
    "BandedOuter", "BandedProduct", "BandedSolve", "BandedTriangularSolve", "TransposedBands",
    "hermitian_bands", "row_range",
]  # fmt: skip

INT64 = np.dtype(np.int64)
SINGULAR = "singular matrix"
ZERO_DIAGONAL = "singular matrix: the diagonal of a banded triangular matrix has a zero"


def check_bands(op: Op, lower: int, upper: int, *types: ArrayType) -> None:
    """Refuse bands that are not those of matrices with so many rows as the other operands have, and other leading axes or dtypes.

    Raises:
        ShapeError: they do not fit.
    """
    bands, *others = types
    fits = bands.ndim >= 2 and bands.shape[-2] == lower + upper + 1 and min(lower, upper) >= 0
    if not fits or any(t.ndim < 2 or t.shape[-2] != bands.shape[-1] for t in others):
        given = " and ".join(str(t.shape) for t in types)
        what = f"{op.name}: operands of shapes {given} for {lower} lower and {upper} upper diagonals."
        raise teach(ShapeError, what, do="give l + u + 1 rows of bands, and as many rows on the right as the matrix has.")


def rows_of(offset: int, n: int) -> tuple[slice, slice]:
    """The rows i and the columns j = i + offset of a diagonal."""
    return slice(max(-offset, 0), max(n - max(offset, 0), 0)), slice(max(offset, 0), max(n + min(offset, 0), 0))


# ---- storage -------------------------------------------------------------------------------------------------------------------------
@op
class TransposedBands(Structural):
    """The bands of the transposed matrix: y[k, j] = x[l + u - k, j + k - l], zero outside of it."""

    lower: int
    upper: int

    def type_rule(self, x: ArrayType) -> ArrayType:
        check_bands(self, self.lower, self.upper, x)
        return x.with_shape(x.shape)

    def impl(self, x: Any) -> Any:
        y, n = np.zeros_like(x, order="C"), x.shape[-1]
        for k in range(x.shape[-2]):
            there, here = rows_of(self.lower - k, n)
            y[..., k, here] = x[..., x.shape[-2] - 1 - k, there]
        return y

    def element(self, e: Emitter, i: Sequence[Any], x: Reader) -> Any:
        *lead, k, j = i
        column = j + k - self.lower
        inside = (column >= 0) & (column < x.shape[-1])
        return e.choose(inside, lambda: x((*lead, self.lower + self.upper - k, column)), lambda: e.constant(0, x.dtype))

    # <y_bar, x'^T> = <y_bar^T, x'>
    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [TransposedBands(self.upper, self.lower)(y_bar)]

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return self(x), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for lower, upper, lead, n in ((1, 1, (), 4), (2, 0, (2,), 3), (0, 1, (), 3), (2, 3, (), 2), (0, 0, (), 2), (1, 1, (), 0)):
            yield cls(lower, upper), (rng.normal(size=(*lead, lower + upper + 1, n)),)


def row_range(x: Any, start: int, stop: int) -> Any:
    """The rows from ``start`` to before ``stop``."""
    *lead, _, n = type_of(x).shape
    return slice_(x, (*[0] * len(lead), start, 0), (*lead, stop, n))


def hermitian_bands(x: Any, lower: bool) -> Any:
    """All bands of the Hermitian matrices with these lower (or upper) bands; of the diagonal the real part is read."""
    t = type_of(x)
    u, axis = t.shape[-2] - 1, t.ndim - 2
    diagonal = row_range(x, 0, 1) if lower else row_range(x, u, u + 1)
    sides = row_range(x, 1, u + 1) if lower else row_range(x, 0, u)
    if t.dtype.kind == "c":
        re = real(diagonal)
        diagonal = complex_(re, zeros(type_of(re)))
    if not u:
        return diagonal
    # The other side with its corner: u bands whose nearest one is next to the diagonal.
    below = (
        TransposedBands(u, 0)(concatenate([diagonal, sides], axis))
        if lower
        else TransposedBands(0, u)(concatenate([sides, diagonal], axis))
    )
    below = conj(below) if t.dtype.kind == "c" else below
    return concatenate([row_range(below, 0, u), diagonal, sides] if lower else [sides, diagonal, row_range(below, 1, u + 1)], axis)


# ---- products ------------------------------------------------------------------------------------------------------------------------
class ProductOfBands(Multilinear, MatrixOp):
    """A product of two operands with the same leading axes: a batch axis is a further one."""

    family = "contraction"
    linear = ((0,), (1,))
    takes: ClassVar[str] = "fc"

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, bool]:
        return self(*[x if flag else spread(x, size) for x, flag in zip(operands, batched, strict=True)]), True


@op
class BandedProduct(ProductOfBands):
    """A x for matrices A with these bands: y[i] = sum_j A[i, j] x[j], and x n x m. The adjoint in x is the product with A^T."""

    lower: int
    upper: int

    def type_rule(self, ab: ArrayType, x: ArrayType) -> ArrayType:
        self.check_matrices(ab, x, square=False)
        check_bands(self, self.lower, self.upper, ab, x)
        return x.with_shape(x.shape)

    def impl(self, ab: Any, x: Any) -> Any:
        y, n = np.zeros_like(x, order="C"), x.shape[-2]
        for k in range(ab.shape[-2]):
            i, j = rows_of(self.upper - k, n)
            y[..., i, :] += ab[..., k, j, None] * x[..., j, :]
        return y

    def element(self, e: Emitter, i: Sequence[Any], ab: Reader, x: Reader) -> Any:
        *lead, row, column = i
        n, zero = x.shape[-2], e.constant(0, x.dtype)

        def at(r: Sequence[Any]) -> Any:
            j = row - r[0] + self.upper
            return e.choose((j >= 0) & (j < n), lambda: e.math("mul", ab((*lead, r[0], j)), x((*lead, j, column))), lambda: zero)

        return e.reduce("add", [ab.shape[-2]], at, x.dtype)

    def transpose(self, y_bar: Any, ab: Any, x: Any) -> Sequence[Any | None]:
        if type(x) is Var:
            return [None, BandedProduct(self.upper, self.lower)(TransposedBands(self.lower, self.upper)(ab), y_bar)]
        return [BandedOuter(self.lower, self.upper)(y_bar, x), None]

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        sizes = (
            (1, 1, (), 4, 1),
            (2, 0, (2,), 3, 2),
            (0, 1, (), 3, 2),
            (2, 3, (), 2, 1),
            (1, 2, (), 5, 3),
            (1, 1, (), 0, 2),
            (0, 0, (), 2, 0),
        )
        for lower, upper, lead, n, m in sizes:
            yield cls(lower, upper), (rng.normal(size=(*lead, lower + upper + 1, n)), rng.normal(size=(*lead, n, m)))


@op
class BandedOuter(ProductOfBands):
    """The bands of y x^T for y and x n x m: ab[k, j] = sum_c y[j + k - u, c] x[j, c]; the adjoint of `BandedProduct` in the bands."""

    lower: int
    upper: int

    def type_rule(self, y: ArrayType, x: ArrayType) -> ArrayType:
        self.check_matrices(y, x, square=False)
        if y.shape != x.shape or min(self.lower, self.upper) < 0:
            raise teach(ShapeError, f"banded_outer: operands of shapes {y.shape} and {x.shape}.", do="give two of one shape.")
        return x.with_shape((*x.shape[:-2], self.lower + self.upper + 1, x.shape[-2]))

    def impl(self, y: Any, x: Any) -> Any:
        *lead, n, _ = x.shape
        ab = np.zeros((*lead, self.lower + self.upper + 1, n), x.dtype)
        for k in range(ab.shape[-2]):
            i, j = rows_of(self.upper - k, n)
            ab[..., k, j] = np.sum(y[..., i, :] * x[..., j, :], -1)
        return ab

    def element(self, e: Emitter, i: Sequence[Any], y: Reader, x: Reader) -> Any:
        *lead, k, j = i
        n, m = x.shape[-2:]
        row, zero = j + k - self.upper, e.constant(0, x.dtype)

        def at(r: Sequence[Any]) -> Any:
            inside = (row >= 0) & (row < n)
            return e.choose(inside, lambda: e.math("mul", y((*lead, row, r[0])), x((*lead, j, r[0]))), lambda: zero)

        return at([0]) if m == 1 else e.reduce("add", [m], at, x.dtype)

    # <ab_bar, bands(y x^T)> is a sum over the products ab_bar[k, j] y[i] x[j]: of A' y and x for the bands A' of ab_bar.
    def transpose(self, ab_bar: Any, y: Any, x: Any) -> Sequence[Any | None]:
        if type(y) is Var:
            return [BandedProduct(self.lower, self.upper)(ab_bar, x), None]
        return [None, BandedProduct(self.upper, self.lower)(TransposedBands(self.lower, self.upper)(ab_bar), y)]

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for given, (_, x) in BandedProduct.examples():
            yield cls(**given.parameters()), (rng.normal(size=x.shape), x)


# ---- systems -------------------------------------------------------------------------------------------------------------------------
class BandedSystem(SolveOp):
    """A system whose first operand is bands."""

    def of_tangents(self) -> Op:
        """The op that solves for tangents."""
        return type(self)(**self.parameters() | {"strong_zero": True})

    def loop_axes(self, *types: ArrayType) -> Sequence[int]:
        return range(types[1].ndim - 2)

    def moved(self, da: Any, x: Any) -> Any:
        """dA x."""
        raise NotImplementedError

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (ab, b), (da, db) = primals, tangents
        x, solve_for = self(ab, b), self.of_tangents()
        if da is None:
            return x, solve_for(ab, db)
        known, unknown = guarded(x)
        moved = self.moved(da, known)
        return x, scaled_by(unknown, solve_for(ab, neg(moved) if db is None else sub(db, moved)))


@op
class BandedSolve(BandedSystem):
    """x with A x = b, or A^T x = b if ``transposed``, for square A with these bands, and b n x m, by elimination with row exchanges.

    dx solves the system with db - dA x (or db - dA^T x) on the right, a product with the bands; the adjoint in b solves the transposed one.
    """

    lower: int
    upper: int
    transposed: bool = False
    strong_zero: bool = False
    library: ClassVar[str] = "banded_solve"

    def type_rule(self, ab: ArrayType, b: ArrayType) -> ArrayType:
        self.check_matrices(ab, b, square=False)
        check_bands(self, self.lower, self.upper, ab, b)
        return b.with_shape(b.shape)

    @property
    def tridiagonal(self) -> bool:
        return self.lower == self.upper == 1

    def impl(self, ab: Any, b: Any) -> Any:
        if self.transposed:
            flipped = BandedSolve(self.upper, self.lower, strong_zero=self.strong_zero)
            return flipped.impl(TransposedBands(self.lower, self.upper).impl(ab), b)
        x = np.empty_like(b, order="C")
        if b.size == 0:
            return x
        solve = lapack_function("gtsv" if self.tridiagonal and b.shape[-2] > 1 else "gbsv", b.dtype)
        for k in np.ndindex(*b.shape[:-2]):
            if self.tridiagonal and b.shape[-2] > 1:
                *_, x[k], info = solve(ab[k][2, :-1], ab[k][1], ab[k][0, 1:], b[k])
            else:
                *_, x[k], info = solve(self.lower, self.upper, widened(ab[k], self.lower), b[k])
            if info:
                x[k] = failed(SINGULAR)
        return zero_where_zero(x, b) if self.strong_zero else x

    def written_out(self, ab: Any, b: Any) -> Sequence[Any]:  # type: ignore[override]
        """By the factors, which the systems of a matrix and of its transpose share."""
        if self.tridiagonal:
            raise NotImplementedError
        factors = BandedLu(self.lower, self.upper)(ab)
        return [BandedLuSolve(self.lower, self.upper, self.transposed, self.strong_zero)(*factors, b)]

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> Any:
        if not self.tridiagonal:
            return NotImplemented
        bands, sides, (x,) = w.strided(operands[0]), w.strided(operands[1]), results
        *lead, n, m = operands[1].shape
        if n == 0 or m == 0:
            return None
        dtype = operands[1].dtype

        def one(k: tuple[Any, ...]) -> None:
            ab, info = bands.part(*k), w.scratch((), w.integer)
            y = x.part(*k) if m == 1 else by_columns(w, n, m, dtype)
            low, middle, high = (w.scratch((size,), dtype) for size in (n - 1, n, n - 1))
            w.copy(sides.part(*k), y)
            w.fill(middle, lambda i: ab[1, i[0]])
            if n > 1:
                below, above = (high, low) if self.transposed else (low, high)
                w.fill(below, lambda i: ab[2, i[0]])
                w.fill(above, lambda i: ab[0, i[0] + 1])
            w.call(named(dtype, "gtsv"), n, m, low, middle, high, y, n, info, work=8 * n * (1 + m))
            finish_solution(w, self.strong_zero, sides.part(*k), y, x.part(*k), info)

        every_matrix(w, lead, one, 8 * n * (1 + m))
        return None

    def moved(self, da: Any, x: Any) -> Any:
        if self.transposed:
            return BandedProduct(self.upper, self.lower)(TransposedBands(self.lower, self.upper)(da), x)
        return BandedProduct(self.lower, self.upper)(da, x)

    def transpose(self, y_bar: Any, ab: Any, b: Var) -> Sequence[Any | None]:
        return [None, BandedSolve(self.lower, self.upper, not self.transposed, strong_zero=True)(ab, y_bar)]

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        sizes = ((1, 1, (), 4, 1), (2, 1, (), 5, 2), (0, 1, (2,), 3, 2), (1, 1, (2,), 3, 1), (2, 3, (), 2, 1), (1, 1, (), 1, 1))
        for lower, upper, lead, n, m in (*sizes, (1, 1, (), 0, 2), (1, 0, (), 2, 0)):
            ab, b = rng.normal(size=(*lead, lower + upper + 1, n)), rng.normal(size=(*lead, n, m))
            ab[..., upper, :] += 3 + lower + upper
            yield cls(lower, upper), (ab, b)
            if (lower, n) in ((1, 4), (2, 5)):
                yield cls(lower, upper), (ab + 1j * rng.normal(size=ab.shape), b + 1j)
                yield cls(lower, upper, transposed=True), (ab, b)


def widened(ab: Any, lower: int) -> Any:
    """Concrete bands below as many rows of zeros as elimination needs."""
    return np.concatenate([np.zeros((lower, ab.shape[-1]), ab.dtype), ab])


@dataclass(repr=False, eq=False)
class BandedLu(Op):
    """The factors of banded matrices, as LAPACK's columns (n, 2 l + u + 1), and the row exchanges. Engines alone see it."""

    lower: int
    upper: int
    name = verb = "banded_lu"
    family = "linalg"
    multiple = True
    parameter_names = ("lower", "upper")

    def type_rule(self, ab: ArrayType) -> tuple[ArrayType, ArrayType]:
        *lead, rows, n = ab.shape
        return ab.with_shape((*lead, n, rows + self.lower)), array_type((*lead, n), INT64)

    def loop_axes(self, ab: ArrayType) -> Sequence[int]:
        return range(ab.ndim - 2)

    def impl(self, ab: Any) -> Any:
        *lead, rows, n = ab.shape
        factors, exchanges = np.empty((*lead, n, rows + self.lower), ab.dtype), np.empty((*lead, n), INT64)
        if not factors.size:
            return factors, exchanges
        decompose = lapack_function("gbtrf", ab.dtype)
        for k in np.ndindex(*lead):
            found, exchanges[k], info = decompose(widened(ab[k], self.lower), self.lower, self.upper)
            factors[k] = failed(SINGULAR) if info else found.T
        return factors, exchanges

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        bands, (factors, exchanges) = w.strided(operands[0]), results
        *lead, rows, n = operands[0].shape
        if n == 0:
            return
        lower, upper, work = self.lower, self.upper, n * self.lower * (rows + 1)

        def one(k: tuple[Any, ...]) -> StridedView:
            ab, target = bands.part(*k), factors.part(*k)
            pivots, info = w.scratch((n,), w.integer), w.scratch((), w.integer)
            w.outlined(lambda: w.every((n, rows), lambda i: target.__setitem__((i[0], i[1] + lower), ab[i[1], i[0]])))
            w.call(named(ab.dtype, "gbtrf"), n, n, lower, upper, target, rows + lower, pivots, info, work=work)
            w.fill(exchanges.part(*k), lambda i: w.emitter.cast(pivots[i], INT64))
            return info

        every_matrix(w, lead, one, work, [factors])


@dataclass(repr=False, eq=False)
class BandedLuSolve(Op):
    """x with A x = b, or with A^T x = b, from the factors of A."""

    lower: int
    upper: int
    transposed: bool
    strong_zero: bool
    name = verb = "banded_lu_solve"
    family = "linalg"
    parameter_names = ("lower", "upper", "transposed", "strong_zero")

    def type_rule(self, factors: ArrayType, exchanges: ArrayType, b: ArrayType) -> ArrayType:
        return b.with_shape(b.shape)

    def loop_axes(self, *types: ArrayType) -> Sequence[int]:
        return range(types[0].ndim - 2)

    def impl(self, factors: Any, exchanges: Any, b: Any) -> Any:
        x = np.empty_like(b, order="C")
        if b.size == 0:
            return x
        solve = lapack_function("gbtrs", b.dtype)
        for k in np.ndindex(*b.shape[:-2]):
            x[k], _ = solve(factors[k].T, self.lower, self.upper, b[k], exchanges[k], trans=int(self.transposed))
        return zero_where_zero(x, b) if self.strong_zero else x

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        factors, exchanges, sides, (x,) = w.dense(operands[0]), w.strided(operands[1]), w.strided(operands[2]), results
        (*lead, n, m), rows = operands[2].shape, operands[0].shape[-1]
        if n == 0 or m == 0:
            return
        dtype, letter = operands[2].dtype, "T" if self.transposed else "N"

        def one(k: tuple[Any, ...]) -> None:
            pivots, info = w.scratch((n,), w.integer), w.scratch((), w.integer)
            y = x.part(*k) if m == 1 else by_columns(w, n, m, dtype)
            w.fill(pivots, lambda i: w.emitter.cast(exchanges[(*k, *i)], w.integer))
            w.copy(sides.part(*k), y)
            given = (n, self.lower, self.upper, m, factors.part(*k), rows, pivots, y, n, info)
            w.call(named(dtype, "gbtrs"), letter, *given, work=n * m * rows)
            finish_solution(w, self.strong_zero, sides.part(*k), y, x.part(*k), info)

        every_matrix(w, lead, one, n * m * rows)


@op
class BandedTriangularSolve(BandedSystem):
    """x with op(A) x = b for triangular A with these bands, lower or upper ones; ``transpose_a`` 0, 1, 2: op(A) is A, A^T, A^H.

    dx solves the system with db - op(dA) x on the right.
    """

    lower: bool = True
    transpose_a: int = NONE
    strong_zero: bool = False
    library: ClassVar[str] = "banded_triangular_solve"

    def type_rule(self, ab: ArrayType, b: ArrayType) -> ArrayType:
        self.check_matrices(ab, b, square=False)
        check_bands(self, max(ab.shape[-2] - 1, 0), 0, ab, b)
        return b.with_shape(b.shape)

    def impl(self, ab: Any, b: Any) -> Any:
        x = np.empty_like(b, order="C")
        if b.size == 0:
            return x
        solve = lapack_function("tbtrs", b.dtype)
        for k in np.ndindex(*b.shape[:-2]):
            x[k], info = solve(ab[k], b[k], uplo="L" if self.lower else "U", trans="NTC"[self.transpose_a])
            if info:
                x[k] = failed(ZERO_DIAGONAL)
        return zero_where_zero(x, b) if self.strong_zero else x

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        bands, sides, (x,) = w.strided(operands[0]), w.strided(operands[1]), results
        (*lead, n, m), rows, dtype = operands[1].shape, operands[0].shape[-2], operands[1].dtype
        if n == 0 or m == 0:
            return

        def one(k: tuple[Any, ...]) -> None:
            given, info = by_columns(w, rows, n, dtype), w.scratch((), w.integer)
            y = x.part(*k) if m == 1 else by_columns(w, n, m, dtype)
            w.copy(bands.part(*k), given)
            w.copy(sides.part(*k), y)
            letters = "L" if self.lower else "U", "NTC"[self.transpose_a], "N"
            w.call(named(dtype, "tbtrs"), *letters, n, rows - 1, m, given, rows, y, n, info, work=n * rows * m)
            finish_solution(w, self.strong_zero, sides.part(*k), y, x.part(*k), info)

        every_matrix(w, lead, one, n * rows * m)

    def moved(self, da: Any, x: Any) -> Any:
        u = type_of(da).shape[-2] - 1
        sides = (u, 0) if self.lower else (0, u)
        if self.transpose_a != NONE:
            da, sides = TransposedBands(*sides)(da), sides[::-1]
        if self.transpose_a == ADJOINT and type_of(da).dtype.kind == "c":
            da = conj(da)
        return BandedProduct(*sides)(da, x)

    def transpose(self, y_bar: Any, ab: Any, b: Var) -> Sequence[Any | None]:
        # The adjoint of op(A)^-1 is op(A)^-T; without a conjugate, (A^H)^T is conj(A).
        if self.transpose_a == ADJOINT and type_of(ab).dtype.kind == "c":
            ab = conj(ab)
        return [None, BandedTriangularSolve(self.lower, TRANSPOSED if self.transpose_a == NONE else NONE, strong_zero=True)(ab, y_bar)]

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for lower in (True, False):
            for turn, u, lead, n, m in ((NONE, 1, (), 4, 1), (TRANSPOSED, 2, (), 5, 2), (NONE, 1, (2,), 3, 2), (ADJOINT, 2, (), 2, 1)):
                ab, b = rng.normal(size=(*lead, u + 1, n)), rng.normal(size=(*lead, n, m))
                ab[..., 0 if lower else u, :] += 4
                yield cls(lower, turn), (ab, b)
            yield cls(lower, ADJOINT), (ab + 1j * rng.normal(size=ab.shape), b + 1j)
            yield cls(lower), (np.zeros((2, 0)), np.zeros((0, 2)))
            yield cls(lower), (np.ones((1, 2)), np.zeros((2, 0)))
