"""LAPACK in the routines of ops: names by dtype, column-major matrices, and shared checks.

LAPACK reads column-major matrices and overwrites its operands, so a matrix is copied into memory of its own. It is copied by columns, so
that the routine sees the same matrix as in NumPy's call, and gives the same signs, pivots and failures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.emitting import Emitter, Routines, StridedView

__all__ = [
    "any_failed", "by_columns", "every_matrix", "factorized", "fill_nan", "is_finite", "magnitude", "named", "not_zero", "zero_where_zero",
]  # fmt: skip

INT64 = np.dtype(np.int64)
LETTERS = {"f": "s", "d": "d", "F": "c", "D": "z"}


def named(dtype: np.dtype[Any], real: str, unitary: str = "", library: str = "lapack") -> str:
    """The routine for a dtype: ``real``, or ``unitary`` for complex matrices if the name differs."""
    return f"{library} {LETTERS[dtype.char]}{unitary if unitary and dtype.kind == 'c' else real}"


def by_columns(w: Routines, rows: int, columns: int, dtype: np.dtype[Any]) -> StridedView:
    """Memory for a column-major matrix."""
    return w.scratch((columns, rows), dtype).mT


def not_zero(w: Routines, x: StridedView, index: Any = ()) -> Any:
    """Whether a number is not zero."""
    e = w.emitter
    return e.math("ne", x[index], e.constant(0, x.dtype))


def magnitude(e: Emitter, x: Any) -> Any:
    """The absolute value of a real or complex number."""
    return e.math("hypot", e.math("real", x), e.math("imag", x)) if x.dtype.kind == "c" else e.math("abs", x)


def is_finite(w: Routines, x: StridedView) -> Any:
    """Whether all elements of a row or a matrix in memory are finite: then the sum of their products with zero is zero."""
    e = w.emitter
    x = x.mT if len(x.shape) > 1 and x.strides[-1] != 1 else x
    *rows, count = x.shape
    none, first, end = e.constant(0, x.dtype), e.constant(0, INT64), e.constant(count, INT64)
    total = w.variable(none)

    def row(i: tuple[Any, ...]) -> None:
        (found,) = w.totals("add", first, end, count, lambda j: [e.math("mul", x[(*i, j)], none)])
        total[()] = e.math("add", total[()], found)

    w.outlined(lambda: w.every(rows, row))
    return e.math("eq", total[()], none)


def every_matrix(
    w: Routines, lead: Sequence[int], one: Callable[[tuple[Any, ...]], StridedView | None], work: int, results: Sequence[StridedView] = ()
) -> None:
    """``one(k)`` for each matrix of a stack, with about ``work`` operations, on several threads if that pays: memory for one matrix is
    allocated within ``one``. If it gives the status of a routine, the results of a matrix for which that is not zero are nan.
    """

    def set_all(k: tuple[Any, ...]) -> None:
        for y in results:
            fill_nan(w, y.part(*k))

    def body(k: tuple[Any, ...]) -> None:
        status = one(k)
        if status is not None and results:
            w.when(not_zero(w, status), lambda: set_all(k))

    w.parallel_for(lead, body, work)


def fill_nan(w: Routines, y: StridedView) -> None:
    """Set all elements to nan."""
    nan = w.emitter.constant(np.nan, y.dtype)
    w.fill(y, lambda _: nan)


def zero_where_zero(w: Routines, b: Callable[[tuple[Any, ...]], Any], x: StridedView, *, rows: bool = False) -> None:
    """Set those solutions, the columns of one matrix ``x`` (or its ``rows``), to zero whose right-hand sides, by elements ``b(index)``, are
    zero.
    """
    e = w.emitter
    n, m = x.shape if not rows else x.shape[::-1]
    none, yes = e.constant(0, x.dtype), e.constant(1, w.integer)
    some = w.variable(e.constant(0, w.integer))

    def side(j: tuple[Any, ...]) -> None:
        def at(i: Any) -> tuple[Any, ...]:
            return (j[0], i) if rows else (i, j[0])

        def look(i: tuple[Any, ...]) -> None:
            some[()] = e.math("select", e.math("ne", b(at(i[0])), none), some[()], yes)

        some[()] = e.constant(0, w.integer)
        w.every((n,), look)
        w.when(e.math("eq", some[()], e.constant(0, w.integer)), lambda: w.every((n,), lambda i: x.__setitem__(at(i[0]), none)))

    w.outlined(lambda: w.every((m,), side))


def any_failed(w: Routines, lead: Sequence[int], failed: StridedView) -> Any:
    """Whether a number of a stack is not zero; none is negative."""
    e = w.emitter
    none = e.constant(0, failed.dtype)
    if not lead:
        return e.math("ne", failed[()], none)
    total, step = w.variable(none), "add" if failed.dtype.kind == "f" else "maximum"
    w.outlined(lambda: w.every(lead, lambda k: total.__setitem__((), e.math(step, total[()], failed[k]))))
    return e.math("ne", total[()], none)


def factorized(w: Routines, a: StridedView, lu: StridedView, pivots: StridedView, info: StridedView) -> None:
    """P L U of one matrix, with row exchanges."""
    n = a.shape[-1]
    w.copy(a, lu)
    w.call(named(a.dtype, "getrf"), n, n, lu, max(n, 1), pivots, info, work=n**3)
