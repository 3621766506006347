"""The factorization L D L^H of (stacks of) symmetric or Hermitian matrices, by LAPACK's diagonal pivoting.

References: Bunch & Kaufman (1977), "Some stable methods for calculating inertia and solving symmetric linear systems", for the choice of
pivots; Golub & Van Loan (2013), "Matrix Computations", section 4.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Reader, Routines, StridedView
from ..core.op import Op, op
from ..core.tracing import type_of
from ..core.types import ArrayType, array_type
from .arithmetic import constant_of, div, mul, neg, sub
from .casting import complex_, conj, real, stop_gradient
from .contraction import matmul
from .families import add, default_rng, reduce_sum, scale
from .gaps import plain_product
from .lapack import by_columns, every_matrix, named
from .linalg import (
    ADJOINT,
    TRANSPOSED,
    Diagonal,
    MatrixOp,
    OnDiagonal,
    TriangularSolve,
    adjoint,
    columns,
    diagonal,
    half_of_lower,
    mask,
    transposed,
)
from .logic import bitwise_and, bitwise_not, bitwise_or, greater, less_equal, not_equal, select
from .lu import permuted_rows
from .movement import pad, reverse
from .ordering import abs_, maximum
from .routines import lapack_function
from .running import Cummax
from .schur import along, beside, times_rotations
from .transcendental import inverse_or_infinity

__all__ = ["Ldl", "ldl"]

INT32 = np.dtype(np.int32)
ROUNDING = 8
"""A pivot that is smaller than so many rounding errors of the terms whose sum it is, or than one for each row, is zero."""


@op
class Ldl(MatrixOp):
    """P A P^T = L D L^H for a Hermitian A: (L, D, order), P A P^T = A[order][:, order]. L is unit lower triangular, D has blocks of one or
    two rows on its diagonal, and L is the identity within them. One triangle of A is read, and of a Hermitian one the real part of the
    diagonal. If ``upper``, that is the upper one, and so is L. A complex A is symmetric if not ``hermitian``: L^T takes the place of L^H.

    With the pivots held fixed, S = L^-1 P dA P^T L^-H and M = L^-1 dL give S = M D + dD + D M^H, where M is zero within the blocks and
    above. So dD has the blocks of S, and M D what is below them. The rule of an upper L is this one for rows and columns in the opposite
    order.

    From the first block on that is zero, to rounding, and has rows below it, nothing is determined: M is infinite there, and so are the
    blocks of dD after it. In a block of two rows the element off the diagonal is the largest, and |a c| < |b|^2 / 2.
    """

    upper: bool = False
    hermitian: bool = True

    multiple = True
    total = True
    library: ClassVar[str] = "ldl"

    def type_rule(self, a: ArrayType) -> tuple[ArrayType, ArrayType, ArrayType]:
        self.check_matrices(a)
        return a.with_shape(a.shape), a.with_shape(a.shape), array_type(a.shape[:-1], INT32)

    def impl(self, a: Any) -> tuple[Any, Any, Any]:
        factor, blocks, order = (np.zeros(t.shape, t.dtype) for t in self.type_rule(type_of(a)))
        if a.size == 0:
            return factor, blocks, order
        decompose, size = lapack_function(self.routine_name(a.dtype), a.dtype), self.workspace(a.shape[-1], a.dtype)
        for i in np.ndindex(*a.shape[:-2]):
            packed, pivots, _ = decompose(a[i], lwork=size, lower=not self.upper)
            self.unpack(packed, pivots, factor[i], blocks[i], order[i])
        return factor, blocks, order

    def unpack(self, packed: Any, pivots: Any, factor: Any, blocks: Any, order: Any) -> None:
        """Write the factors that LAPACK packs into one matrix, of which rows are yet to be exchanged."""
        n = len(pivots)
        order[...] = np.arange(n)
        factor[...] = np.triu(packed, 1) if self.upper else np.tril(packed, -1)
        np.fill_diagonal(factor, 1)
        np.fill_diagonal(blocks, packed.diagonal().real if self.is_hermitian(packed.dtype) else packed.diagonal())
        k, step = (n - 1, -1) if self.upper else (0, 1)
        while 0 <= k < n:
            pair = pivots[k] < 0
            row, other, before = k + step * pair, abs(pivots[k]) - 1, slice(k + 1, None) if self.upper else slice(0, k)
            if row != other:
                both, turned = [row, other], [other, row]
                factor[both, before] = factor[turned, before]
                order[both] = order[turned]
            if pair:
                blocks[row, k], factor[row, k] = packed[row, k], 0
                blocks[k, row] = np.conj(packed[row, k]) if self.hermitian else packed[row, k]
            k += 2 * step if pair else step

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        (a,), (factor, blocks, order) = operands, results
        *lead, n, _ = a.shape
        if n == 0:
            return
        given, dtype, e = w.strided(a), a.dtype, w.emitter
        size, routine = self.workspace(n, dtype), named(dtype, self.routine_name(dtype))

        def one(i: tuple[Any, ...]) -> None:
            packed, pivots, info = by_columns(w, n, n, dtype), w.scratch((n,), w.integer), w.scratch((), w.integer)
            pairs, target = w.scratch((n,), w.integer), order.part(*i)
            w.copy(given.part(*i), packed)
            w.call(routine, "U" if self.upper else "L", n, packed, n, pivots, w.scratch((size,), dtype), size, info, work=n**3 // 3)
            w.fill(target, lambda j: e.as_scalar(j[0], INT32))
            exchange_packed(w, packed, pivots, pairs, target, self.upper)
            self.write(w, packed, pairs, factor.part(*i), blocks.part(*i))

        every_matrix(w, lead, one, n**3 // 3)

    def write(self, w: Routines, packed: StridedView, pairs: StridedView, factor: StridedView, blocks: StridedView) -> None:
        """The two factors of a matrix, which are packed into one; ``pairs`` are the rows at which a block of two begins."""
        e, dtype, hermitian = w.emitter, packed.dtype, self.is_hermitian(packed.dtype)
        zero, one, free = e.constant(0, dtype), e.constant(1, dtype), e.constant(0, w.integer)

        def parts(i: tuple[Any, ...]) -> tuple[Any, Any, Any]:
            """Row and column in a lower triangle, and the first of two indices beside each other."""
            row, column = (i[1], i[0]) if self.upper else i
            return row, column, i[0] if self.upper else i[1]

        def element(i: tuple[Any, ...]) -> Any:
            row, column, first = parts(i)
            beside = lambda: e.math("select", e.math("ne", pairs[first], free), packed[i], zero)  # noqa: E731
            below = lambda: e.choose(row <= column + 1, beside, lambda: packed[i])  # noqa: E731
            return e.choose(row > column, below, lambda: e.choose(row < column, lambda: zero, lambda: one))

        def block(i: tuple[Any, ...]) -> Any:
            row, column, first = parts(i)

            def off(first: Any, x: Any) -> Any:
                return e.math("select", e.math("ne", pairs[first], free), zero, x)

            def above() -> Any:
                x = packed[i[1], i[0]]
                return off(i[1] if self.upper else i[0], e.math("conj", x) if hermitian else x)

            def main() -> Any:
                return e.cast(e.math("real", packed[i]), dtype) if hermitian else packed[i]

            near = (row <= column + 1) & (column <= row + 1)
            within = lambda: e.choose(row > column, lambda: off(first, packed[i]), lambda: e.choose(row < column, above, main))  # noqa: E731
            return e.choose(near, within, lambda: zero)

        w.fill(factor, element)
        w.fill(blocks, block)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        (a,), (da,) = primals, tangents
        factor, blocks, order = self(a)
        if type_of(a).shape[-1] == 0:
            return (factor, blocks, order), (None, None, None)
        turn = adjoint if self.is_hermitian(type_of(a).dtype) else transposed
        half = half_of_lower(turn(da) if self.upper else da)
        moved = permuted_rows(transposed(permuted_rows(transposed(add(half, turn(half))), order)), order)
        lower_factor, lower_blocks, moved = map(self.along_lower, (factor, blocks, moved))
        found = factor_tangents(lower_factor, lower_blocks, moved, turn)
        return (factor, blocks, order), (*map(self.along_lower, found), None)

    def along_lower(self, x: Any) -> Any:
        """Matrices in the order of rows and columns in which the factor is lower triangular, or back in theirs."""
        n = type_of(x).ndim
        return reverse(x, (n - 2, n - 1)) if self.upper else x

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[tuple[Any, Any, Any], tuple[bool, bool, bool]]:
        return self(a), (True, True, True)

    def is_hermitian(self, dtype: np.dtype[Any]) -> bool:
        """Whether conjugates are taken."""
        return self.hermitian and dtype.kind == "c"

    def routine_name(self, dtype: np.dtype[Any]) -> str:
        return "hetrf" if self.is_hermitian(dtype) else "sytrf"

    def workspace(self, n: int, dtype: np.dtype[Any]) -> int:
        """The best size of the workspace, which is SciPy's: the rounding errors depend on it."""
        return max(int(lapack_function(f"{self.routine_name(dtype)}_lwork", dtype)(int(n), lower=not self.upper)[0].real), 1)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        x, y = rng.normal(size=(2, 5, 5))
        yield cls(), (x,)
        yield cls(upper=True), (x,)
        yield cls(), (x + 1j * y,)
        yield cls(upper=True), (x + 1j * y,)
        yield cls(hermitian=False), (x + 1j * y,)
        yield cls(upper=True), (rng.normal(size=(2, 3, 3)),)
        yield cls(), (np.array([[0.1, 0.0, 0.0], [2.0, 0.3, 0.0], [1.0, -0.5, 0.2]]),)
        yield cls(), (np.zeros((2, 0, 0)),)


ldl = Ldl()


# ---- one matrix, compiled ------------------------------------------------------------------------------------------------------------
def exchange_packed(w: Routines, packed: StridedView, pivots: StridedView, pairs: StridedView, order: StridedView, upper: bool) -> None:
    """Exchange the rows of the packed factors as the pivots say, and the order with them; find at which rows a block of two begins.

    The k-th pivot is a row m > 0, which is exchanged with row k in the columns before the k-th; or it is -m, at both rows of a block of
    two, whose second row is exchanged with m. Of an upper factor everything goes from the last row to the first.
    """
    n, e = packed.shape[-1], w.emitter
    no, yes, last = e.constant(0, w.integer), e.constant(1, w.integer), n - 1
    second = w.variable(no)
    w.fill(pairs, lambda _: no)

    def step(i: tuple[Any, ...]) -> None:
        k = last - i[0] if upper else i[0]
        pivot, is_second = pivots[k,], second[()]
        pair = e.math("and", e.math("lt", pivot, no), e.math("eq", is_second, no))
        shift = e.math("select", pair, no, yes)
        here = e.as_scalar(k, w.integer)
        row = e.as_index(e.math("sub" if upper else "add", here, shift))
        other = e.as_index(e.math("sub", e.math("maximum", pivot, e.math("neg", pivot)), yes))

        def exchange(j: Any) -> None:
            column = last - j if upper else j
            x, y = packed[row, column], packed[other, column]
            packed[row, column], packed[other, column] = y, x

        def whole() -> None:
            w.up_to(e.as_scalar(i[0], w.integer), n, exchange)
            x, y = order[row,], order[other,]
            order[row,], order[other,] = y, x

        w.when(e.math("eq", is_second, no), whole)
        w.when(pair, lambda: pairs.__setitem__((row,) if upper else (k,), yes))
        second[()] = shift

    w.every((n,), step)


# ---- pieces of the rule --------------------------------------------------------------------------------------------------------------
def factor_tangents(factor: Any, blocks: Any, moved: Any, turn: Any) -> tuple[Any, Any]:
    """The tangents of L and D, for the tangent of P A P^T; ``turn`` makes L^H of L."""
    dtype, n = type_of(factor).dtype, type_of(factor).shape[-1]
    zero, transposition = constant_of(0, dtype), ADJOINT if turn is adjoint else TRANSPOSED
    left = TriangularSolve(unit_diagonal=True)(factor, moved)
    s = TriangularSolve(left_side=False, transpose_a=transposition, unit_diagonal=True)(factor, left)
    is_pair = not_equal(Diagonal(-1)(blocks), zero)
    off = select(is_pair, Diagonal(-1)(s), zero)
    before, own = lost_from(factor, blocks, is_pair)
    below = sub(mask(s, greater), OnDiagonal(n, n, -1)(off))
    quotient = times_rotations(below, inverse_blocks(blocks, is_pair, turn))
    inner = mask(plain_product(columns(own, n), quotient), greater)
    lower = OnDiagonal(n, n, -1)(select(is_pair, plain_product(along(before, 0, n - 1), off), zero))
    main = diagonal(s)
    main = complex_(real(main), scale(constant_of(0, np.finfo(dtype).dtype), real(main))) if turn is adjoint and dtype.kind == "c" else main
    return mask(matmul(factor, inner), greater), add(OnDiagonal(n, n)(plain_product(before, main)), add(lower, turn(lower)))


def lost_from(factor: Any, blocks: Any, is_pair: Any) -> tuple[Any, Any]:
    """For each row, infinity if a block before its own is zero to rounding, else 1; and the same of its own block and those before it. The
    last block has no rows below it, and is none of these.

    A block is the difference of an element of P A P^T and of those of (the factors before it). The sum of the absolute values of these
    terms is |L| |D| |L^H|, of which the diagonal says how large the rounding error is.
    """
    t = type_of(factor)
    n, part = t.shape[-1], np.finfo(t.dtype).dtype
    sizes, values = abs_(stop_gradient(factor)), abs_(stop_gradient(blocks))
    off, main = Diagonal(-1)(values), diagonal(values)
    terms = reduce_sum(mul(times_rotations(sizes, (main, off, off)), sizes), (t.ndim - 1,))
    limit = scale(constant_of(max(ROUNDING, n) * np.finfo(part).eps, part), terms)
    no = constant_of(False, np.dtype(bool))
    single = bitwise_and(less_equal(main, limit), bitwise_not(in_pairs(is_pair)))
    pair = bitwise_and(is_pair, less_equal(off, maximum(along(limit, 0, n - 1), along(limit, 1, n))))
    single = shifted(along(single, 0, n - 1), no, 0, 1)
    pair = shifted(along(pair, 0, n - 2), no, 0, min(n - 1, 1))
    ends = bitwise_or(single, shifted(pair, no, 1, 0))
    one, none = constant_of(1, part), constant_of(0, part)
    from_ends, from_starts = (
        Cummax(t.ndim - 2)(inverse_or_infinity(select(lost, none, one))) for lost in (ends, bitwise_or(ends, shifted(pair, no, 0, 1)))
    )
    factors = beside(along(from_ends, 0, n - 1), 1, 0), from_starts
    if t.dtype.kind != "c":
        return factors
    first, second = (complex_(x, scale(none, x)) for x in factors)
    return first, second


def in_pairs(is_pair: Any) -> Any:
    """Which rows are in a block of two."""
    no = constant_of(False, np.dtype(bool))
    return bitwise_or(shifted(is_pair, no, 0, 1), shifted(is_pair, no, 1, 0))


def shifted(x: Any, value: Any, before: int, after: int) -> Any:
    """The last axis with so many more elements at its ends."""
    return pad(x, value, [*[(0, 0, 0)] * (type_of(x).ndim - 1), (before, after, 0)])


def inverse_blocks(blocks: Any, is_pair: Any, turn: Any) -> tuple[Any, Any, Any]:
    """The inverse of D as its diagonal, and the diagonals below and above it. Of a block of one row that is zero it is 1.

    With p = a / b, q = c / b' and r = 1 / (p q - 1), the inverse of the block [[a, b'], [b, c]] is r [[q / b, -1 / b], [-1 / b', p / b']]:
    no product is out of range.
    """
    dtype, n = type_of(blocks).dtype, type_of(blocks).shape[-1]
    zero, one = constant_of(0, dtype), constant_of(1, dtype)
    d, b = diagonal(blocks), Diagonal(-1)(blocks)
    is_regular, in_pair = not_equal(d, zero), in_pairs(is_pair)
    single = div(one, select(bitwise_and(is_regular, bitwise_not(in_pair)), d, one))
    over = div(one, select(is_pair, b, one))
    over_turned = conj(over) if turn is adjoint and dtype.kind == "c" else over
    p, q = (select(is_pair, mul(x, y), zero) for x, y in ((along(d, 0, n - 1), over), (along(d, 1, n), over_turned)))
    r = div(one, sub(mul(p, q), one))
    first, second = (select(is_pair, mul(mul(r, x), y), zero) for x, y in ((q, over), (p, over_turned)))
    main = select(in_pair, add(shifted(first, zero, 0, 1), shifted(second, zero, 1, 0)), single)
    below, above = (select(is_pair, neg(mul(r, x)), zero) for x in (over_turned, over))
    return main, below, above
