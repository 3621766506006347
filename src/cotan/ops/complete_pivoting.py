"""P A Q = L D U with complete pivoting: factors that reveal the rank of a matrix, whatever the scales of its rows and columns.

The largest element of what is left is the next pivot, so L and U have elements of at most 1 in magnitude, and all scales are in D. A
matrix D1 B D2 with a well-conditioned B and any diagonal D1, D2 has each number of D to rounding (Demmel, Gu, Eisenstat, Slapnicar, Veselic
& Drmac 1999, "Computing the singular value decomposition with high relative accuracy"). Singular values have the large ones alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.emitting import Reader, Routines, StridedView
from ..core.op import Op
from ..core.types import ArrayType, array_type
from .lapack import every_matrix, magnitude
from .routines import lapack_function

__all__ = ["CompleteLu", "complete_lu"]

INT64 = np.dtype(np.int64)


@dataclass(repr=False, eq=False)
class CompleteLu(Op):
    """(packed, det P det Q, rows, columns, place of each row, place of each column) of square matrices: A[rows][:, columns] = L D U.

    The first result has D on its diagonal, and the unit triangular L and U below and above it. Rules of other ops alone use it, for values
    of which they know the derivatives.
    """

    name = verb = "complete_lu"
    family = "linalg"
    multiple = True

    def type_rule(self, a: ArrayType) -> tuple[ArrayType, ...]:
        order = array_type(a.shape[:-1], INT64)
        return a.with_shape(a.shape), a.with_shape(a.shape[:-2]), order, order, order, order

    def loop_axes(self, a: ArrayType) -> Sequence[int]:
        return range(a.ndim - 2)

    def impl(self, a: Any) -> tuple[Any, ...]:
        n, lead = a.shape[-1], a.shape[:-2]
        packed = np.array(a, order="C").reshape(-1, n, n)
        with np.errstate(all="ignore"):
            sign, rows, columns = (factorized_stack if len(packed) > FEW else factorized_few)(packed)
        places = [np.argsort(order, axis=-1) for order in (rows, columns)]
        return packed.reshape(a.shape), sign.reshape(lead), *[x.reshape(a.shape[:-1]) for x in (rows, columns, *places)]

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        *lead, n, _ = operands[0].shape
        a = w.strided(operands[0])

        def one(k: tuple[Any, ...]) -> None:
            packed, sign, *orders = [y.part(*k) for y in results]
            w.copy(a.part(*k), packed)
            write(w, packed, sign, *orders)

        every_matrix(w, lead, one, n**3)


FEW = 4
"""Up to so many concrete matrices are factorized one after the other."""


def factorized_few(a: Any) -> tuple[Any, Any, Any]:
    """Factorize concrete matrices in place; the signs of the exchanges, and the orders of the rows and of the columns."""
    count, n, _ = a.shape
    sign, (rows, columns) = np.ones(count, a.dtype), np.tile(np.arange(n), (2, count, 1))
    factorize = lapack_function("getc2", a.dtype)
    for m, x in enumerate(a):
        factors, row_exchanges, column_exchanges, status = factorize(x)
        if status == 0 and np.isfinite(factors).all():  # else LAPACK has replaced pivots that are small next to the largest
            x[...] = factors
            d = x.diagonal()[:, None]
            np.copyto(x, x / d, where=np.triu(np.ones((n, n), bool), 1))
            for order, exchanges in ((rows[m], row_exchanges), (columns[m], column_exchanges)):
                for k, other in enumerate(exchanges.tolist()):
                    if other != k:
                        order[k], order[other] = order[other], order[k]
                        sign[m] *= -1
            continue
        for k in range(n):
            i, j = divmod(int(np.abs(x[k:, k:]).argmax()), n - k)
            for y, order, other in ((x, rows[m], k + i), (x.T, columns[m], k + j)):
                if other != k:
                    y[[k, other]], order[[k, other]] = y[[other, k]], order[[other, k]]
                    sign[m] *= -1
            d = x[k, k]
            if d == 0:  # so is the rest
                break
            column = x[k + 1 :, k]
            column /= d
            x[k + 1 :, k + 1 :] -= column[:, None] * x[k, k + 1 :]
            x[k, k + 1 :] /= d
    return sign, rows, columns


def factorized_stack(a: Any) -> tuple[Any, Any, Any]:
    """`factorized_few` of many matrices, a step at a time."""
    count, n, _ = a.shape
    each, sign = np.arange(count), np.ones(count, a.dtype)
    rows, columns = (np.tile(np.arange(n), (count, 1)) for _ in range(2))
    for k in range(n):
        i, j = np.divmod(np.abs(a[:, k:, k:]).reshape(count, -1).argmax(-1), n - k)
        for x, order, other in ((a, rows, k + i), (np.swapaxes(a, -1, -2), columns, k + j)):
            for y in (x, order):
                kept = y[:, k].copy()
                y[:, k] = y[each, other]
                y[each, other] = kept
            sign[other != k] *= -1
        d = np.where(a[:, k, k] == 0, 1, a[:, k, k])[:, None]  # where it is zero, so is the rest
        a[:, k + 1 :, k] /= d
        a[:, k + 1 :, k + 1 :] -= a[:, k + 1 :, k, None] * a[:, k, None, k + 1 :]
        a[:, k, k + 1 :] /= d
    return sign, rows, columns


def write(
    w: Routines,
    a: StridedView,
    sign: StridedView,
    rows: StridedView,
    columns: StridedView,
    row_places: StridedView,
    column_places: StridedView,
) -> None:
    """Factorize one matrix in memory."""
    n, e, part = a.shape[-1], w.emitter, np.finfo(a.dtype).dtype
    end, zero, one = e.constant(n, INT64), e.constant(0, a.dtype), e.constant(1, INT64)
    best, pivot_row, pivot_column = w.variable(e.constant(0, part)), w.variable(e.constant(0, INT64)), w.variable(e.constant(0, INT64))

    def step(at: tuple[Any, ...]) -> None:
        k = at[0]
        here, after = e.as_scalar(k, INT64), e.math("add", e.as_scalar(k, INT64), one)

        def search() -> None:
            w.up_to(end, n, lambda i: w.up_to(end, n, lambda j: look(i, j), first=here), first=here)

        def look(i: Any, j: Any) -> None:
            size = magnitude(e, a[i, j])
            known = e.math("or", e.math("le", size, best[()]), e.math("ne", best[()], best[()]))  # the first nan is the largest
            best[()] = e.math("select", known, size, best[()])
            pivot_row[()] = e.math("select", known, e.as_scalar(i, INT64), pivot_row[()])
            pivot_column[()] = e.math("select", known, e.as_scalar(j, INT64), pivot_column[()])

        def exchange(x: StridedView, y: StridedView, other: StridedView) -> None:
            """Exchange row k of the matrix ``x`` and number k of its order ``y`` with the other ones."""
            j = e.as_index(other[()])

            def swap(i: tuple[Any, ...]) -> None:
                x[k, i[0]], x[j, i[0]] = x[j, i[0]], x[k, i[0]]

            w.outlined(lambda: w.every((n,), swap))
            y[k], y[j] = y[j], y[k]
            same = e.math("eq", other[()], here)
            sign[()] = e.math("select", same, e.math("neg", sign[()]), sign[()])

        def eliminate() -> None:
            d = w.variable(a[k, k])

            def row(i: Any) -> None:
                a[i, k] = e.math("div", a[i, k], d[()])
                factor = w.variable(a[i, k])
                w.up_to(end, n, lambda j: a.__setitem__((i, j), e.math("sub", a[i, j], e.math("mul", factor[()], a[k, j]))), first=after)

            def rest() -> None:
                w.up_to(end, n, row, first=after)
                w.up_to(end, n, lambda j: a.__setitem__((k, j), e.math("div", a[k, j], d[()])), first=after)

            w.outlined(rest)

        best[()], pivot_row[()], pivot_column[()] = e.constant(-1, part), here, here
        w.outlined(search)
        exchange(a, rows, pivot_row)
        exchange(a.mT, columns, pivot_column)
        w.when(e.math("ne", a[k, k], zero), eliminate)

    for order in (rows, columns):
        w.fill(order, lambda i: e.as_scalar(i[0], INT64))
    sign[()] = e.constant(1, a.dtype)
    w.every((n,), step)
    for order, places in ((rows, row_places), (columns, column_places)):
        w.every((n,), lambda i, order=order, places=places: places.__setitem__(e.as_index(order[i[0]]), e.as_scalar(i[0], INT64)))


complete_lu = CompleteLu()
