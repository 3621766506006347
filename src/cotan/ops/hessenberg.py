"""The Hessenberg form of (stacks of) matrices, and the triangular equation of its derivative.

References: Golub & Van Loan (2013), "Matrix Computations", section 7.4.5, for the implicit Q theorem: the first column of Q determines the
others, column by column.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Reader, Routines, StridedView
from ..core.errors import ShapeError, teach
from ..core.op import Op, op
from ..core.program import Var
from ..core.tracing import type_of
from ..core.types import ArrayType
from .arithmetic import constant_of, mul, sub
from .casting import complex_, imag, real
from .contraction import matmul
from .factorization import BLOCK
from .families import BroadcastInDim, add, default_rng, reduce_sum, scale, spread
from .gaps import plain_product
from .lapack import by_columns, every_matrix, named
from .linalg import Band, Diagonal, MatrixOp, OnDiagonal, adjoint, columns, transposed
from .logic import less_equal, select
from .movement import pad
from .qr import imaginary, squared
from .routines import lapack_function
from .running import Cumsum
from .schur import limit_of, square_norm, turned, written_quotient
from .transcendental import inverse_or_infinity

__all__ = ["Hessenberg", "HessenbergEquation", "hessenberg"]

INT64 = np.dtype(np.int64)
NEAR, BELOW = Band(-1, None), Band(None, -2)
"""A Hessenberg matrix, and what is below."""


@op
class Hessenberg(MatrixOp):
    """The Hessenberg form A = Q H Q^H with unitary Q whose first row and column are those of the identity: (H, Q). H has zeros below its
    first subdiagonal, which is real. Matrices of fewer rows than ``least`` are their own form. Q is a product of LAPACK's Householder
    reflectors.

    With P = Q^H dA Q and dQ = Q X, X skew with a first column of zeros:  dH = P + H X - X H. What the diagonal and the upper triangle of X
    add below the subdiagonal is zero, so the strict lower triangle L of X solves L H - H L = P there (`HessenbergEquation`), and
    X = L - L^H + D. The imaginary diagonal D keeps the subdiagonal real: for G = P + H (L - L^H) - (L - L^H) H, the difference of its
    elements j + 1 and j is i Im(g_(j+1,j)) / h_(j+1,j). Where a subdiagonal element is zero and there are rows below it, Q is not
    determined, and the derivative is infinite.
    """

    least: int = 3

    multiple = True
    total = True
    library: ClassVar[str] = "hessenberg"

    def type_rule(self, a: ArrayType) -> tuple[ArrayType, ArrayType]:
        self.check_matrices(a)
        return a.with_shape(a.shape), a.with_shape(a.shape)

    def impl(self, a: Any) -> tuple[Any, Any]:
        n = a.shape[-1]
        form, vectors = np.array(a, order="C"), np.empty_like(a, order="C")
        vectors[...] = np.eye(n, dtype=a.dtype)
        if n >= self.least:
            reduce_, multiply_out = lapack_function("gehrd", a.dtype), lapack_function("unghr" if a.dtype.kind == "c" else "orghr", a.dtype)
            for k in np.ndindex(*a.shape[:-2]):
                packed, factors, _ = reduce_(a[k], lwork=BLOCK * n)
                form[k], vectors[k] = np.triu(packed, -1), multiply_out(packed, factors, lwork=BLOCK * n)[0]
        return form, vectors

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        (form, vectors), a, e = results, w.strided(operands[0]), w.emitter
        *lead, n, _ = a.shape
        dtype, size = a.dtype, (BLOCK + 2) * n
        zero, unit = e.constant(0, dtype), e.constant(1, dtype)

        def one(k: tuple[Any, ...]) -> None:
            matrix, given = by_columns(w, n, n, dtype), a.part(*k)
            if n < self.least:
                w.fill(form.part(*k), lambda i: given[i])
                w.fill(vectors.part(*k), lambda i: e.choose((i[0] <= i[1]) & (i[1] <= i[0]), lambda: unit, lambda: zero))
                return
            factors, work, info = w.scratch((n,), dtype), w.scratch((size,), dtype), w.scratch((), w.integer)
            w.copy(given, matrix)
            w.call(named(dtype, "gehrd"), n, 1, n, matrix, n, factors, work, size, info, work=3 * n**3)
            w.fill(form.part(*k), lambda i: e.choose(i[0] <= i[1] + 1, lambda: matrix[i], lambda: zero))
            w.call(named(dtype, "orghr", "unghr"), n, 1, n, matrix, n, factors, work, size, info, work=n**3)
            w.copy(matrix, vectors.part(*k))

        if n:
            every_matrix(w, lead, one, 5 * n**3)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        (a,), (da,) = primals, tangents
        h, q = self(a)
        t, n = type_of(a), type_of(a).shape[-1]
        if n < self.least:
            return (h, q), (da, None)
        p = matmul(matmul(adjoint(q), da), q)
        below = HessenbergEquation()(h, p)
        x = sub(below, adjoint(below))
        dh = NEAR(turned(p, h, x))
        if t.dtype.kind == "c":
            d = turns(h, Diagonal(-1)(dh))
            differences = sub(columns(d, n), transposed(columns(d, n)))
            x, dh = add(x, OnDiagonal(n, n)(d)), add(dh, mul(h, differences))
            dh = sub(dh, imaginary(Band(-1, -1)(dh)))
        return (h, q), (dh, matmul(q, x))

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[tuple[Any, Any], tuple[bool, bool]]:
        return self(a), (True, True)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls(), (rng.normal(size=(4, 4)),)
        yield cls(), (rng.normal(size=(2, 3, 3)),)
        yield cls(), (rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4)),)
        yield cls(), (rng.normal(size=(2, 2)) + 1j * rng.normal(size=(2, 2)),)
        yield cls(least=2), (rng.normal(size=(2, 2)) + 1j * rng.normal(size=(2, 2)),)
        yield cls(), (np.zeros((0, 0)),)


@op
class HessenbergEquation(MatrixOp):
    """The strictly lower triangular L with a first column of zeros for which L H - H L equals C below the first subdiagonal, for a
    Hessenberg matrix H. Other elements of H and C are not read.

    Column by column,  l_(i,j+1) h_(j+1,j) = c_ij + sum_(k >= i - 1) h_ik l_kj - sum_(k <= j) l_ik h_kj.  L is linear in C; dL solves the
    equation with dC - L dH + dH L. The transposed equation (``transposes``) is adjoint in C: for C strictly lower triangular, the L below
    the first subdiagonal for which L H^T - H^T L equals C in the strict lower triangle without the first column. Where h_(j+1,j) is zero,
    to rounding, the quotient is infinite, or nan if its numerator is zero.
    """

    transposes: bool = False

    linear = ((1,),)
    total = True
    library: ClassVar[str] = "hessenberg_equation"

    def type_rule(self, h: ArrayType, c: ArrayType) -> ArrayType:
        self.check_matrices(h, c)
        if h.shape != c.shape:
            raise teach(ShapeError, f"hessenberg_equation: matrices of shapes {h.shape} and {c.shape}.", do="give matrices of one shape.")
        return c.with_shape(c.shape)

    def impl(self, h: Any, c: Any) -> Any:
        y = np.zeros_like(c, order="C")
        with np.errstate(all="ignore"):
            for k in np.ndindex(*c.shape[:-2]):
                (transposed_by_columns if self.transposes else solve_by_columns)(np.triu(h[k], -1), c[k], y[k])
        return y

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        h, c = (w.strided(x) for x in operands)
        (y,) = results
        *lead, n, _ = c.shape
        write = write_transposed if self.transposes else write_solution
        if n:
            every_matrix(w, lead, lambda k: write(w, h.part(*k), c.part(*k), y.part(*k)), n**3)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (h, c), (dh, dc) = primals, tangents
        y = self(h, c)
        if dh is None:
            return y, None if dc is None else self(h, dc)
        dh = transposed(NEAR(dh)) if self.transposes else NEAR(dh)
        moved = sub(matmul(dh, y), matmul(y, dh))
        return y, self(h, moved if dc is None else add(dc, moved))

    def transpose(self, y_bar: Any, h: Any, c: Var) -> Sequence[Any | None]:
        return [None, HessenbergEquation(not self.transposes)(h, y_bar)]

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, bool]:
        return self(*[x if flag else spread(x, size) for x, flag in zip(operands, batched, strict=True)]), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for transposes in (False, True):
            for n, lead, turn in ((5, (), 0), (4, (2,), 0), (4, (), 1j), (2, (), 0), (0, (), 0)):
                h, c = (rng.normal(size=(*lead, n, n)) for _ in range(2))
                yield cls(transposes), (h + 3 * np.eye(n, k=-1) + turn * h, c + turn)


hessenberg = Hessenberg()


def turns(h: Any, below: Any) -> Any:
    """The imaginary diagonal of Q^H dQ by which the subdiagonal stays real, for the subdiagonal of a tangent that does not."""
    t = type_of(h)
    part, n = np.finfo(t.dtype).dtype, t.shape[-1]
    d = real(Diagonal(-1)(h))
    norm = reduce_sum(squared(h), (t.ndim - 2, t.ndim - 1))
    limit = scale(constant_of((n * np.finfo(part).eps) ** 2, part), norm)
    lost = less_equal(mul(d, d), BroadcastInDim((*t.shape[:-2], n - 1), tuple(range(t.ndim - 2)))(limit))
    inverse = inverse_or_infinity(select(lost, constant_of(0, part), d))
    steps = plain_product(inverse, imag(below))
    total = pad(Cumsum(t.ndim - 2)(steps), constant_of(0, part), [*[(0, 0, 0)] * (t.ndim - 2), (1, 0, 0)])
    return complex_(scale(constant_of(0, part), total), total)


# ---- one matrix, by NumPy -------------------------------------------------------------------------------------------------------------
def solve_by_columns(h: Any, c: Any, y: Any) -> None:
    """`HessenbergEquation` for one concrete matrix."""
    limit = limit_of(h)
    for j in range(h.shape[-1] - 2):
        rest = c[j + 2 :, j] + h[j + 2 :, j + 1 :] @ y[j + 1 :, j] - y[j + 2 :, 1 : j + 1] @ h[1 : j + 1, j]
        y[j + 2 :, j + 1] = quotients(rest, h[j + 1, j], limit)


def transposed_by_columns(h: Any, c: Any, y: Any) -> None:
    """The transposed equation: the steps of `solve_by_columns` transposed, from the last to the first."""
    limit, rest = limit_of(h), np.tril(c, -1)
    for j in range(h.shape[-1] - 3, -1, -1):
        y[j + 2 :, j] = found = quotients(rest[j + 2 :, j + 1], h[j + 1, j], limit)
        rest[j + 1 :, j] += h[j + 2 :, j + 1 :].T @ found
        rest[j + 2 :, 1 : j + 1] -= np.outer(found, h[1 : j + 1, j])


def quotients(x: Any, d: Any, limit: Any) -> Any:
    """x / d, infinite where d is zero to rounding (nan if x is zero: what depends on it is not known)."""
    return x / d if abs(d) > limit else x * x.dtype.type(np.inf)


# ---- one matrix, compiled --------------------------------------------------------------------------------------------------------------
def write_solution(w: Routines, h: StridedView, c: StridedView, target: StridedView) -> None:
    """`HessenbergEquation` for one matrix, into memory, as in `solve_by_columns`."""
    n, e, dtype = h.shape[-1], w.emitter, c.dtype
    zero, end = e.constant(0, dtype), e.constant(n, INT64)
    factor, y = by_columns(w, n, n, dtype), by_columns(w, n, n, dtype)
    w.copy(h, factor)
    w.fill(y.mT, lambda _: zero)
    square = square_norm(w, factor, lambda i: i[0] <= i[1] + 1)

    def column(at: tuple[Any, ...]) -> None:
        (j,) = at
        here, below = e.as_scalar(j, INT64), e.as_scalar(j + 2, INT64)

        def add_column(k: Any) -> None:
            weight, most = y[k, j], e.math("minimum", e.as_scalar(k + 2, INT64), end)
            w.up_to(
                most, n, lambda i: y.__setitem__((i, j + 1), e.math("add", y[i, j + 1], e.math("mul", factor[i, k], weight))), first=below
            )

        def subtract_column(k: Any) -> None:
            weight = factor[k, j]
            w.up_to(end, n, lambda i: y.__setitem__((i, j + 1), e.math("sub", y[i, j + 1], e.math("mul", y[i, k], weight))), first=below)

        w.up_to(end, n, lambda i: y.__setitem__((i, j + 1), c[i, j]), first=below)
        w.up_to(end, n, add_column, first=e.as_scalar(j + 1, INT64))
        w.up_to(e.math("add", here, e.constant(1, INT64)), n, subtract_column, first=e.constant(1, INT64))
        w.up_to(end, n, lambda i: y.__setitem__((i, j + 1), written_quotient(e, y[i, j + 1], factor[j + 1, j], square, n)), first=below)

    if n > 2:
        w.outlined(lambda: w.every((n - 2,), column))
    w.copy(y, target)


def write_transposed(w: Routines, h: StridedView, c: StridedView, target: StridedView) -> None:
    """The transposed equation, as in `transposed_by_columns`."""
    n, e, dtype = h.shape[-1], w.emitter, c.dtype
    zero, end = e.constant(0, dtype), e.constant(n, INT64)
    factor, y, rest = (by_columns(w, n, n, dtype) for _ in range(3))
    w.copy(h, factor)
    w.copy(c, rest)
    w.fill(y.mT, lambda _: zero)
    square = square_norm(w, factor, lambda i: i[0] <= i[1] + 1)

    def column(at: tuple[Any, ...]) -> None:
        j = n - 3 - at[0]
        here, below = e.as_scalar(j, INT64), e.as_scalar(j + 2, INT64)

        def add_row(k: Any) -> None:
            most = e.math("minimum", e.as_scalar(k + 2, INT64), end)
            (total,) = w.totals("add", below, most, n, lambda i: [e.math("mul", factor[i, k], y[i, j])])
            rest[k, j] = e.math("add", rest[k, j], total)

        def subtract_column(k: Any) -> None:
            weight = factor[k, j]
            w.up_to(end, n, lambda i: rest.__setitem__((i, k), e.math("sub", rest[i, k], e.math("mul", y[i, j], weight))), first=below)

        w.up_to(end, n, lambda i: y.__setitem__((i, j), written_quotient(e, rest[i, j + 1], factor[j + 1, j], square, n)), first=below)
        w.up_to(end, n, add_row, first=e.as_scalar(j + 1, INT64))
        w.up_to(e.math("add", here, e.constant(1, INT64)), n, subtract_column, first=e.constant(1, INT64))

    if n > 2:
        w.outlined(lambda: w.every((n - 2,), column))
    w.copy(y, target)
