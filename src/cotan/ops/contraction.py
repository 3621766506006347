"""Contraction: sums of products over shared axes.

`DotGeneral` multiplies two arrays, pairs some axes as batch axes and sums over others:

    out[b, p, q] = sum_c x[b, p, c] y[b, c, q]        (b, p, q, c groups of axes, in any positions of the operands)

It is linear in each operand. The adjoint in x contracts the cotangent with y over y's free axes, which is again a `DotGeneral`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..core.emitting import Emitter, Reader, Routines, StridedView
from ..core.errors import DtypeError, ShapeError, teach
from ..core.formula import Formula, Symbol, array_of, called
from ..core.op import Op, op
from ..core.program import Var
from ..core.tracing import type_of
from ..core.types import ArrayType, array_type
from . import small
from .families import Multilinear, default_rng
from .lapack import named
from .movement import inverse_order, permute

FEWEST_PRODUCTS = 1 << 12
"""From this number of multiplications of two matrices on, a call of BLAS is faster than loops."""
MOST_WRITTEN_OUT = 1 << 9

__all__ = ["DotGeneral", "dot_general", "matmul"]

AxisPairs = tuple[tuple[int, ...], tuple[int, ...]]


class Plan(NamedTuple):
    """The axes of the operands by role: batch, free, contracted."""

    x_free: tuple[int, ...]
    y_free: tuple[int, ...]
    x_order: tuple[int, ...]
    y_order: tuple[int, ...]
    fits: bool
    """Whether the axes are axes of the operands, each named once, in pairs."""
    plain: str
    """``dot`` if numpy.dot of the (transposed) operands computes it; ``matmul`` for stacks of matrices; else empty."""


@lru_cache(maxsize=4096)
def plan_of(contract: AxisPairs, batch: AxisPairs, x_ndim: int, y_ndim: int) -> Plan:
    """The axes by role, for operands with these numbers of axes."""
    (xc, yc), (xb, yb) = contract, batch
    x_free = tuple(k for k in range(x_ndim) if k not in xc and k not in xb)
    y_free = tuple(k for k in range(y_ndim) if k not in yc and k not in yb)
    x_order, y_order = (*xb, *x_free, *xc), (*yb, *yc, *y_free)
    plain = ""
    if len(xc) == 1 and not xb and x_ndim <= 2 and y_ndim <= 2:
        plain = "dot"
    elif len(xc) == 1 and xb and len(x_free) == len(y_free) == 1:
        plain = "matmul"
    fits = len(xc) == len(yc) and len(xb) == len(yb) and sorted(x_order) == [*range(x_ndim)] and sorted(y_order) == [*range(y_ndim)]
    return Plan(x_free, y_free, x_order, y_order, fits, plain)


@lru_cache(maxsize=4096)
def transpose_of(contract: AxisPairs, batch: AxisPairs, x_ndim: int, y_ndim: int, first: bool) -> tuple[DotGeneral, bool, tuple[int, ...]]:
    """The adjoint in the first operand (or in the second) as a product of the cotangent and the other operand: the product, whether these
    are exchanged in it, and the order of axes of its result.

    x_bar[b, p, c] = sum_q out_bar[b, p, q] y[b, c, q] has the axes b, p, then c in the order of y's axes. With the operands exchanged it
    has the axes b, c, p. That is used if it is x's own order, since then no permutation is needed.
    """
    (xc, yc), (xb, yb) = contract, batch
    plan = plan_of(contract, batch, x_ndim, y_ndim)
    nb, nx, ny = len(xb), len(plan.x_free), len(plan.y_free)
    places = tuple(range(nb))
    if first:
        axes, other_free, other_batch = tuple(range(nb + nx, nb + nx + ny)), plan.y_free, yb
        lead, kept, summed = xb, plan.x_free, tuple(xc[k] for k in sorted(range(len(yc)), key=yc.__getitem__))
    else:
        axes, other_free, other_batch = tuple(range(nb, nb + nx)), plan.x_free, xb
        lead, kept, summed = yb, plan.y_free, tuple(yc[k] for k in sorted(range(len(xc)), key=xc.__getitem__))
    own = tuple(range(nb + len(kept) + len(summed)))
    if (*lead, *summed, *kept) == own and kept and summed:
        return DotGeneral((other_free, axes), (other_batch, places)), True, own
    return DotGeneral((axes, other_free), (places, other_batch)), False, inverse_order((*lead, *kept, *summed))


@op
class DotGeneral(Multilinear):
    """Sum of products over ``contract`` axes, elementwise in ``batch_axes``; output axes are batch, free of x, free of y."""

    contract: AxisPairs
    batch_axes: AxisPairs = ((), ())
    linear = ((0,), (1,))
    verb = "matmul"
    family = "contraction"
    takes = "biufc"

    def type_rule(self, x: ArrayType, y: ArrayType) -> ArrayType:
        (xc, yc), (xb, yb) = self.contract, self.batch_axes
        plan = plan_of(self.contract, self.batch_axes, len(x.shape), len(y.shape))
        for t, axes, order in ((x, xc + xb, plan.x_order), (y, yc + yb, plan.y_order)):
            if not plan.fits and sorted(order) != [*range(t.ndim)]:
                raise teach(
                    ShapeError, f"dot_general: axes {axes} of an array of shape {t.shape}.", do="give distinct axes from 0 to ndim - 1."
                )
        if not plan.fits or [x.shape[k] for k in xc + xb] != [y.shape[k] for k in yc + yb]:
            raise teach(
                ShapeError,
                f"dot_general: shapes {x.shape} and {y.shape} do not fit with contracted axes {xc} and {yc}, batch axes {xb} and {yb}.",
                do="the lengths of paired axes must be equal: for a @ b, the last axis of a and the last but one of b.",
            )
        if x.dtype != y.dtype:
            raise teach(
                DtypeError,
                f"dot_general: dtypes {x.dtype} and {y.dtype} differ.",
                do="use cotan.numpy.matmul, which promotes, or convert them first.",
            )
        shape = [x.shape[k] for k in (*xb, *plan.x_free)] + [y.shape[k] for k in plan.y_free]
        return array_type(tuple(shape), x.dtype)

    def impl(self, x: Any, y: Any) -> Any:
        x, y = np.asarray(x), np.asarray(y)
        plan = plan_of(self.contract, self.batch_axes, x.ndim, y.ndim)
        if plan.plain == "dot":
            return np.dot(x if plan.x_order[-1] == x.ndim - 1 else x.T, y if plan.y_order[0] == 0 else y.T)
        x, y = x.transpose(plan.x_order), y.transpose(plan.y_order)
        if plan.plain == "matmul":
            return np.matmul(x, y)
        nb, nx, ny = len(self.batch_axes[0]), len(plan.x_free), len(plan.y_free)
        batch, rows, columns = x.shape[:nb], x.shape[nb : nb + nx], y.shape[y.ndim - ny :]
        if not self.contract[0]:
            return np.multiply(x.reshape(batch + rows + (1,) * ny), y.reshape(batch + (1,) * nx + columns))
        inner = prod(x.shape[nb + nx :])
        z = np.matmul(x.reshape(*batch, prod(rows), inner), y.reshape(*batch, inner, prod(columns)))
        return z.reshape(batch + rows + columns)

    def element(self, e: Emitter, i: Sequence[Any], x: Reader, y: Reader) -> Any:
        plan = plan_of(self.contract, self.batch_axes, len(x.shape), len(y.shape))
        nb, nx = len(self.batch_axes[0]), len(plan.x_free)
        x_place, y_place = inverse_order(plan.x_order), inverse_order(plan.y_order)
        plus, times = ("or", "and") if x.dtype.kind == "b" else ("add", "mul")

        def at(r: Sequence[Any]) -> Any:
            x_index, y_index = (*i[: nb + nx], *r), (*i[:nb], *r, *i[nb + nx :])
            return e.math(times, x(tuple(x_index[k] for k in x_place)), y(tuple(y_index[k] for k in y_place)))

        return e.reduce(plus, [x.shape[k] for k in self.contract[0]], at, x.dtype)

    def swapped(self, x: ArrayType, y: ArrayType) -> tuple[Op, tuple[int, ...]]:
        plan = plan_of(self.contract, self.batch_axes, x.ndim, y.ndim)
        nb, nx, ny = len(self.batch_axes[0]), len(plan.x_free), len(plan.y_free)
        order = (*range(nb), *range(nb + ny, nb + ny + nx), *range(nb, nb + ny))
        (xc, yc), (xb, yb) = self.contract, self.batch_axes
        return DotGeneral((yc, xc), (yb, xb)), order

    def sizes(self, x: Any, y: Any) -> tuple[int, int, int]:
        """Rows, columns and inner length of the multiplied matrices."""
        plan = plan_of(self.contract, self.batch_axes, len(x.shape), len(y.shape))
        groups = ((x, plan.x_free), (y, plan.y_free), (x, self.contract[0]))
        rows, columns, inner = (prod(t.shape[k] for k in axes) for t, axes in groups)
        return rows, columns, inner

    def prefers_routine(self, x: ArrayType, y: ArrayType) -> bool:
        if x.dtype.char not in "fdFD":
            return False
        m, n, k = self.sizes(x, y)
        return m > 1 and n > 1 and (m * n * k >= FEWEST_PRODUCTS or self.many_small(x, y))

    def many_small(self, x: ArrayType, y: ArrayType) -> bool:
        """Whether the operands are stacks of many small matrices."""
        plan = plan_of(self.contract, self.batch_axes, x.ndim, y.ndim)
        if len(plan.x_free) != 1 or len(plan.y_free) != 1 or len(self.contract[0]) != 1 or x.dtype.kind != "f":
            return False
        m, n, k = self.sizes(x, y)
        lead = prod(x.shape[j] for j in self.batch_axes[0])
        return min(m, n, k) > 2 and max(m, n, k) <= small.LONGEST_ROW and lead * m * n * k >= FEWEST_PRODUCTS

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        (x, y), (z,) = operands, results
        (xc, yc), (xb, yb) = self.contract, self.batch_axes
        plan = plan_of(self.contract, self.batch_axes, len(x.shape), len(y.shape))
        m, n, k = self.sizes(x, y)
        lead = [x.shape[j] for j in xb]
        if m * n * k < FEWEST_PRODUCTS:
            small.multiply(w, w.strided(x).transposed(plan.x_order), w.strided(y).transposed(plan.y_order), z)
            return
        one, zero = x.dtype.type(1), x.dtype.type(0)
        # gemm is column-major, so it computes z^T = y^T x^T; a matrix with contiguous columns is passed with the other flag.
        right, left = as_matrices(w, y, yb, yc, plan.y_free), as_matrices(w, x, xb, plan.x_free, xc)

        gemm, letters = named(x.dtype, "gemm", library="blas"), (right.letter, left.letter)
        by_rows = m >= n

        def multiply(i: tuple[Any, ...]) -> None:
            a, b, out = right.block.part(*i), left.block.part(*i), z.part(*i)

            def part(first: Any, number: Any) -> None:
                if by_rows:
                    rows, columns = number, n
                    at = a, b.shifted(first * (left.step if left.letter == "N" else 1)), out.shifted(first * n)
                else:
                    rows, columns = m, number
                    at = a.shifted(first * (1 if right.letter == "N" else right.step)), b, out.shifted(first)
                w.call(gemm, *letters, columns, rows, k, one, at[0], right.step, at[1], left.step, zero, at[2], n, work=m * n * k)

            w.parallel_ranges(m if by_rows else n, part, m * n * k)

        w.parallel_for(lead, multiply, m * n * k)

    def transpose(self, y_bar: Any, x: Any, y: Any) -> Sequence[Any | None]:
        first = type(x) is Var
        product, exchanged, order = transpose_of(self.contract, self.batch_axes, type_of(x).ndim, type_of(y).ndim, first)
        other = y if first else x
        bar = permute(product(other, y_bar) if exchanged else product(y_bar, other), order)
        return [bar, None] if first else [None, bar]

    def batch(self, size: int, batched: Sequence[bool], x: Any, y: Any) -> tuple[Any, bool]:
        (xc, yc), (xb, yb) = self.contract, self.batch_axes
        if batched[0]:
            xc, xb = tuple(k + 1 for k in xc), tuple(k + 1 for k in xb)
        if batched[1]:
            yc, yb = tuple(k + 1 for k in yc), tuple(k + 1 for k in yb)
        if all(batched):
            return DotGeneral((xc, yc), ((0, *xb), (0, *yb)))(x, y), True
        # The new axis is the first free one of its operand: in the result it follows the batch axes, and x's free axes if it belongs to
        # y.
        out = DotGeneral((xc, yc), (xb, yb))(x, y)
        place = len(xb) + (0 if batched[0] else type_of(x).ndim - len(xc) - len(xb))
        ndim = type_of(out).ndim
        return permute(out, (place, *[k for k in range(ndim) if k != place])), True

    def subscripts(self, x: ArrayType, y: ArrayType) -> str:
        """The contraction as np.einsum names it."""
        (xc, yc), (xb, yb) = self.contract, self.batch_axes
        letters = iter("abcdefghijklmnopqrstuvwxyz")
        left, right = [next(letters) for _ in range(x.ndim)], [""] * y.ndim
        for j, k in zip(xc + xb, yc + yb, strict=True):
            right[k] = left[j]
        right = [name or next(letters) for name in right]
        plan = plan_of(self.contract, self.batch_axes, x.ndim, y.ndim)
        result = [*[left[k] for k in (*xb, *plan.x_free)], *[right[k] for k in plan.y_free]]
        return f"{''.join(left)},{''.join(right)}->{''.join(result)}"

    def formula(self, x: Formula, y: Formula) -> Formula:
        x, y = array_of(x), array_of(y)
        assert x.type is not None
        assert y.type is not None
        count, left, right = len(self.batch_axes[0]), x.type.ndim, y.type.ndim
        (i,), (j,) = self.contract if len(self.contract[0]) == 1 else ((-1,), (-1,))
        leading = self.batch_axes == (tuple(range(count)), tuple(range(count)))
        if not leading or i < 0 or (max(left, right) > 2 and not left == right == count + 2):
            return called("einsum", Symbol(repr(self.subscripts(x.type, y.type))), x, y)
        return (x.T if left == count + 2 and i == count else x) @ (y.T if right == count + 2 and j == count + 1 else y)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls(((0,), (0,))), (rng.normal(size=3), rng.normal(size=3))
        yield cls(((1,), (0,))), (rng.normal(size=(2, 3)), rng.normal(size=(3, 4)))
        yield cls(((0,), (1,))), (rng.normal(size=(3, 2)), rng.normal(size=(4, 3)))
        yield cls(((1,), (0,))), (rng.normal(size=(2, 3)), rng.normal(size=3))
        yield cls(((2,), (1,)), ((0,), (0,))), (rng.normal(size=(2, 2, 3)), rng.normal(size=(2, 3, 2)))
        yield cls(((1, 3), (2, 0)), ((2,), (1,))), (rng.normal(size=(2, 3, 2, 4)), rng.normal(size=(4, 2, 3, 2)))
        yield cls(((), ())), (rng.normal(size=2), rng.normal(size=(3, 1)))
        yield cls(((), ()), ((0,), (1,))), (rng.normal(size=2), rng.normal(size=(3, 2)))
        yield cls(((), ())), (rng.normal(size=()), rng.normal(size=()))
        yield cls(((1,), (0,))), (rng.normal(size=(2, 0)), rng.normal(size=(0, 3)))


# ---- BLAS --------------------------------------------------------------------------------------------------------------------
class Matrices(NamedTuple):
    """A stack of matrices in the form that gemm takes: leading axes first, the flag for rows or columns, the leading dimension."""

    block: StridedView
    letter: str
    step: int


def as_matrices(w: Routines, x: Reader, batch: Sequence[int], rows: Sequence[int], columns: Sequence[int]) -> Matrices:
    """An operand as matrices: in place if its strides allow it, else a copy in that order."""
    m, n = (prod(x.shape[j] for j in axes) for axes in (rows, columns))
    block = w.strided(x)
    order = (*batch, *rows, *columns)
    row, column = (step_along(block, axes) for axes in (rows, columns))
    row, column = (n if m == 1 else row), (column if n > 1 else m if row == 1 else 1)
    if column == 1 and row >= n:
        return Matrices(block.transposed(order), "N", row)
    if row == 1 and column >= m:
        return Matrices(block.transposed(order), "T", column)
    copy, places = w.scratch([x.shape[j] for j in order], x.dtype), inverse_order(order)
    w.fill(copy, lambda i: x(tuple(i[k] for k in places)))
    return Matrices(copy, "N", n)


def step_along(block: StridedView, axes: Sequence[int]) -> int:
    """The stride along several axes taken as one; 0 for no axes."""
    size, step = 1, 0
    for j in reversed(axes):
        if block.shape[j] != 1:
            step = step or block.strides[j]
            if block.strides[j] != step * size:
                return 0
            size *= block.shape[j]
    return step


def dot_general(x: Any, y: Any, contract: Sequence[Sequence[int]], batch: Sequence[Sequence[int]] = ((), ())) -> Any:
    """`DotGeneral`, with ``contract`` and ``batch`` as pairs of sequences of axes."""
    (xc, yc), (xb, yb) = contract, batch
    return DotGeneral((tuple(xc), tuple(yc)), (tuple(xb), tuple(yb)))(x, y)


def matmul(x: Any, y: Any) -> Any:
    """The product of (stacks of) matrices with the same leading axes."""
    n = type_of(x).ndim
    lead = tuple(range(n - 2))
    return DotGeneral(((n - 1,), (n - 2,)), (lead, lead))(x, y)
