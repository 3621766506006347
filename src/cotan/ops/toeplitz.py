"""Toeplitz matrices, which are constant along each diagonal: T[i, j] = t[m - 1 - i + j] for m rows, from the vector t of the diagonals.

A product with a Toeplitz matrix is a sliding sum, y[m - 1 - i] = sum_j t[i + j] x[j] (`convolution.Correlate`), of n products for each
row. References: Levinson (1947), "The Wiener RMS error criterion in filter design and prediction"; Trench (1964), "An algorithm for the
inversion of finite Toeplitz matrices"; Golub & Van Loan (2013), "Matrix Computations", section 4.7.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Emitter, Reader, Routines, StridedView
from ..core.errors import DtypeError, ShapeError, teach
from ..core.op import Op, op
from ..core.program import Var
from ..core.tracing import type_of
from ..core.types import ArrayType
from .arithmetic import neg, sub
from .convolution import Correlate, in_rows
from .failing import failed, guarded, scaled_by, zero_where_zero
from .families import BroadcastInDim, Structural, default_rng, spread
from .lapack import every_matrix
from .linalg import MatrixOp, finish_solution, transposed
from .movement import permute, reshape, reverse
from .routines import Routines as Module

__all__ = ["DiagonalSums", "SolveToeplitz", "Toeplitz", "solve_toeplitz", "toeplitz_product"]

scipy_linalg = Module("scipy.linalg")
INT64 = np.dtype(np.int64)
FEWEST = 1 << 6
"""From this number of elements on, the sums are added up row by row."""
SINGULAR = "Singular principal minor"


def count_of(rows: int, columns: int) -> int:
    """The number of diagonals."""
    return max(rows + columns - 1, 0)


# ---- matrices --------------------------------------------------------------------------------------------------------------------------
@op
class Toeplitz(Structural):
    """Matrices that are constant along each diagonal: y[i, j] = t[rows - 1 - i + j]."""

    rows: int
    columns: int

    def type_rule(self, t: ArrayType) -> ArrayType:
        if not t.ndim or t.shape[-1] != count_of(self.rows, self.columns):
            what = f"toeplitz: an array of shape {t.shape} for {self.rows} rows and {self.columns} columns."
            raise teach(ShapeError, what, do=f"give {count_of(self.rows, self.columns)} numbers, one for each diagonal.")
        return t.with_shape((*t.shape[:-1], self.rows, self.columns))

    def impl(self, t: Any) -> Any:
        return t[..., (self.rows - 1) - np.arange(self.rows)[:, None] + np.arange(self.columns)]

    def element(self, e: Emitter, i: Sequence[Any], t: Reader) -> Any:
        *lead, row, column = i
        return t((*lead, column - row + (self.rows - 1)))

    # <y_bar, toeplitz(t')> = sum_ij y_bar[i, j] t'[m - 1 - i + j]
    def transpose(self, y_bar: Any, t: Var) -> Sequence[Any]:
        return [DiagonalSums()(y_bar)]

    def batch(self, size: int, batched: Sequence[bool], t: Any) -> tuple[Any, bool]:
        return self(t), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for rows, columns, lead in ((3, 3, ()), (2, 4, (2,)), (4, 1, ()), (1, 1, ()), (0, 3, ()), (3, 0, (2,)), (0, 0, ())):
            yield cls(rows, columns), (rng.normal(size=(*lead, count_of(rows, columns))),)


@op
class DiagonalSums(Structural):
    """The sums along the diagonals of matrices of m rows: t[k] is the sum of the x[i, j] with j - i = k - m + 1."""

    family = "reduction"
    takes: ClassVar[str] = "iufc"

    def type_rule(self, x: ArrayType) -> ArrayType:
        if x.ndim < 2:
            raise teach(ShapeError, f"diagonal_sums: an array of shape {x.shape}.", do="give a matrix, or a stack of them.")
        if x.dtype.kind == "b":
            raise teach(DtypeError, "diagonal_sums: bools have no sums.", do="convert them to integers first.")
        return x.with_shape((*x.shape[:-2], count_of(*x.shape[-2:])))

    def impl(self, x: Any) -> Any:
        *lead, rows, columns = x.shape
        t = np.zeros((*lead, count_of(rows, columns)), x.dtype)
        for i in range(rows):
            t[..., rows - 1 - i : rows - 1 - i + columns] += x[..., i, :]
        return t

    def element(self, e: Emitter, i: Sequence[Any], x: Reader) -> Any:
        *lead, k = i
        rows, columns = x.shape[-2:]
        zero = e.constant(0, x.dtype)

        def at(r: Sequence[Any]) -> Any:
            column = r[0] + k - (rows - 1)
            return e.choose((column >= 0) & (column < columns), lambda: x((*lead, r[0], column)), lambda: zero)

        return e.reduce("add", [rows], at, x.dtype)

    def prefers_routine(self, x: ArrayType) -> bool:
        return x.size >= FEWEST

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        given, (t,) = w.strided(operands[0]), results
        *lead, rows, columns = operands[0].shape
        e = w.emitter
        w.fill(t, lambda _: e.constant(0, t.dtype))

        def one(k: tuple[Any, ...]) -> None:
            x, sums = given.part(*k), t.part(*k)

            def add(i: tuple[Any, ...]) -> None:
                at = i[1] - i[0] + (rows - 1)
                sums[at] = e.math("add", sums[at], x[i])

            w.outlined(lambda: w.every((rows, columns), add))

        every_matrix(w, lead, one, rows * columns)

    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [Toeplitz(*x.type.shape[-2:])(y_bar)]

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return self(x), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for shape in ((3, 3), (2, 2, 4), (4, 1), (8, 9), (0, 3), (3, 0), (0, 0)):
            yield cls(), (rng.normal(size=shape),)


# ---- products and solves -----------------------------------------------------------------------------------------------------------
def toeplitz_product(t: Any, x: Any, rows: int) -> Any:
    """T x for the Toeplitz matrices of ``rows`` rows with the diagonals t (..., rows + n - 1), and x (..., n, m)."""
    shape = type_of(x).shape
    *lead, n, m = shape
    if not (rows and n and m):
        return BroadcastInDim((*lead, rows, m), ())(type_of(x).dtype.type(0))
    count = type_of(t).shape[-1]
    if m == 1:
        y = reverse(Correlate(0, rows)(t, reshape(x, (*lead, n))), (len(lead),))
        return reshape(y, (*lead, rows, 1))
    if lead:
        t = BroadcastInDim((*lead, m, count), (*range(len(lead)), len(lead) + 1))(t)
    return transposed(reverse(Correlate(0, rows)(t, transposed(x)), (len(lead) + 1,)))


@op
class SolveToeplitz(MatrixOp):
    """x with T x = b for the square Toeplitz matrices T with the diagonals t (2 n - 1 of them), T[i, j] = t[n - 1 - i + j], and b n x m.

    It is linear in b. dx solves the system with db - dT x on the right; the adjoint in b is the solution with T^T, which has t reversed.

    Let T_k be the leading k x k block, and f, g with T_k f = e_1 and T_k g = e_k. With r = the last element of T_k+1 (f, 0), and s = the
    first one of T_k+1 (0, g), the next f and g are ((f, 0) - r (0, g)) / (1 - r s) and ((0, g) - s (f, 0)) / (1 - r s), and the next x is
    (x, 0) plus a multiple of g (Levinson 1947; Trench 1964). All leading blocks must be regular.
    """

    strong_zero: bool = False
    """Whether the solution for a b of zero is zero, whatever T is."""

    linear = ((1,),)
    library: ClassVar[str] = "solve_toeplitz"

    def type_rule(self, t: ArrayType, b: ArrayType) -> ArrayType:
        fits = t.ndim >= 1 and b.ndim >= 2 and t.shape[:-1] == b.shape[:-2] and t.shape[-1] == count_of(b.shape[-2], b.shape[-2])
        if not fits:
            what = f"solve_toeplitz: diagonals of shape {t.shape} and a right-hand side of shape {b.shape}."
            raise teach(ShapeError, what, do="give 2 n - 1 diagonals for n rows, and equal leading axes.")
        self.check_matrices(b, b.with_shape(b.shape) if t.dtype == b.dtype else t.with_shape(b.shape), square=False)
        return b.with_shape(b.shape)

    def fails_on(self, *types: ArrayType) -> Sequence[int]:
        return (0,)

    def loop_axes(self, *types: ArrayType) -> Sequence[int]:
        return range(types[1].ndim - 2)

    def impl(self, t: Any, b: Any) -> Any:
        x, n = np.empty_like(b, order="C"), b.shape[-2]
        if b.size == 0:
            return x
        for k in np.ndindex(*b.shape[:-2]):
            try:
                x[k] = scipy_linalg.solve_toeplitz((t[k][n - 1 :: -1], t[k][n - 1 :]), b[k], check_finite=False)
            except np.linalg.LinAlgError as error:
                x[k] = failed(str(error))
        return zero_where_zero(x, b) if self.strong_zero else x

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        diagonals, sides, (x,) = in_rows(w, operands[0]), w.strided(operands[1]), results
        *lead, n, m = operands[1].shape
        if n == 0 or m == 0:
            return

        def one(k: tuple[Any, ...]) -> None:
            y = x.part(*k)
            info = levinson(w, diagonals.part(*k), sides.part(*k), y)
            finish_solution(w, self.strong_zero, sides.part(*k), y, y, info)

        every_matrix(w, lead, one, 2 * n * n * (m + 1))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (t, b), (dt, db) = primals, tangents
        x = self(t, b)
        if dt is None or not type_of(x).size:
            return x, None if db is None else strong_solve_toeplitz(t, db)
        known, unknown = guarded(x)
        moved = toeplitz_product(dt, known, type_of(x).shape[-2])
        return x, scaled_by(unknown, strong_solve_toeplitz(t, neg(moved) if db is None else sub(db, moved)))

    def transpose(self, y_bar: Any, t: Any, b: Var) -> Sequence[Any | None]:
        return [None, strong_solve_toeplitz(reverse(t, (type_of(t).ndim - 1,)), y_bar)]

    def batch(self, size: int, batched: Sequence[bool], t: Any, b: Any) -> tuple[Any, bool]:
        if not batched[0] and type_of(t).ndim == 1:  # one matrix: the batch becomes further columns
            _, n, m = type_of(b).shape
            wide = reshape(permute(b, (1, 0, 2)), (n, size * m))
            return permute(reshape(self(t, wide), (n, size, m)), (1, 0, 2)), True
        return self(*[x if flag else spread(x, size) for x, flag in zip((t, b), batched, strict=True)]), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()

        def example(n: int, m: int, lead: tuple[int, ...] = (), turn: complex = 0) -> tuple[Op, tuple[Any, ...]]:
            t, b = rng.normal(size=(*lead, count_of(n, n))), rng.normal(size=(*lead, n, m))
            t[..., n - 1 : n] += n + 2
            return cls(), (t + turn * rng.normal(size=t.shape), b + turn)

        yield example(4, 2)
        yield example(3, 1, (2,))
        yield example(3, 2, turn=1j)
        yield example(1, 1)
        yield example(0, 2)
        yield example(2, 0)


def levinson(w: Routines, t: StridedView, b: StridedView, x: StridedView) -> StridedView:
    """Solve one system; the status, not zero where a leading block is singular.

    ``backward`` holds g with its end at the end of the memory, so that (0, g) is the same memory from one place before. The sums run
    forward through the diagonals, f, g and x.
    """
    (n, m), e, dtype = b.shape, w.emitter, b.dtype
    zero, one = e.constant(0, dtype), e.constant(1, dtype)
    forward, backward = w.scratch((n,), dtype), w.scratch((n,), dtype)
    columns, status = (x.mT if m == 1 else w.scratch((m, n), dtype)), w.scratch((), w.integer)
    status[()] = e.constant(0, w.integer)

    def check(divisor: Any) -> None:
        bad = e.math("eq", divisor, zero)
        status[()] = e.math("select", bad, status[()], e.constant(1, w.integer))

    w.fill(backward, lambda _: zero)
    check(t[n - 1])
    forward[0] = e.math("div", one, t[n - 1])
    backward[n - 1] = forward[0]
    w.every((m,), lambda c: columns.__setitem__((c[0], 0), e.math("mul", b[0, c[0]], forward[0])))

    def step(at: tuple[Any, ...]) -> None:
        k = at[0] + 1  # the blocks of size k are solved
        size, first = e.as_scalar(k, INT64), n - 1 - k
        none = e.constant(0, INT64)

        def sums() -> None:
            def products(i: Any) -> Sequence[Any]:
                return e.math("mul", t[first + i], forward[i]), e.math("mul", t[n + i], backward[first + 1 + i])

            r[()], s[()] = w.totals("add", none, size, n, products)

        r, s = w.variable(zero), w.variable(zero)
        w.outlined(sums)
        divisor = e.math("sub", one, e.math("mul", r[()], s[()]))
        check(divisor)
        factor = w.variable(e.math("div", one, divisor))
        forward[k] = zero

        def turn(i: Any) -> None:
            f, g = forward[i], backward[first + i]
            forward[i] = e.math("mul", e.math("sub", f, e.math("mul", r[()], g)), factor[()])
            backward[first + i] = e.math("mul", e.math("sub", g, e.math("mul", s[()], f)), factor[()])

        w.outlined(lambda: w.up_to(e.as_scalar(k + 1, INT64), n, turn))

        def solve(c: tuple[Any, ...]) -> None:
            column = columns.part(c[0])
            rest = w.variable(zero)

            def missing() -> None:
                (total,) = w.totals("add", none, size, n, lambda i: [e.math("mul", t[first + i], column[i])])
                rest[()] = e.math("sub", b[k, c[0]], total)

            w.outlined(missing)
            column[k] = zero

            def extend(i: Any) -> None:
                column[i] = e.math("add", column[i], e.math("mul", rest[()], backward[first + i]))

            w.outlined(lambda: w.up_to(e.as_scalar(k + 1, INT64), n, extend))

        w.every((m,), solve)

    w.every((n - 1,), step)
    if m > 1:
        w.copy(columns.mT, x)
    return status


solve_toeplitz, strong_solve_toeplitz = SolveToeplitz(), SolveToeplitz(strong_zero=True)
