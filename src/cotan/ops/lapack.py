"""LAPACK in the routines of ops: names by dtype, column-major matrices, and shared checks.

LAPACK reads column-major matrices and overwrites its operands, so a matrix is copied into memory of its own. It is copied by columns, so
that the routine sees the same matrix as in NumPy's call, and gives the same signs, pivots and failures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.emitting import Emitter, Routines, StridedView

__all__ = ["any_failed", "by_columns", "every_matrix", "factorized", "is_finite", "magnitude", "named", "not_zero"]

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
    """Whether all elements of a matrix in memory are finite: then the sum of their products with zero is zero."""
    e = w.emitter
    none = e.constant(0, x.dtype)
    total = w.variable(none)
    w.every(x.shape, lambda i: total.__setitem__((), e.math("add", total[()], e.math("mul", x[i], none))))
    return e.math("eq", total[()], none)


def every_matrix(
    w: Routines, lead: Sequence[int], one: Callable[[tuple[Any, ...]], StridedView | None], work: int, message: str = ""
) -> None:
    """``one(k)`` for each matrix of a stack, with about ``work`` operations, on several threads if that pays: memory for one matrix is
    allocated within ``one``. If it gives the status of a routine, NumPy's error with this message is raised where one is not zero.
    """
    failed = w.scratch(lead, w.integer) if message else None

    def body(k: tuple[Any, ...]) -> None:
        status = one(k)
        if failed is not None and status is not None:
            failed[k] = status[()]

    w.parallel_for(lead, body, work)
    if failed is not None:
        w.fail(any_failed(w, lead, failed), np.linalg.LinAlgError, message)


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
