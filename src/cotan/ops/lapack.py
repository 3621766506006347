"""LAPACK in the routines of ops: names by dtype, column-major matrices, and shared checks.

LAPACK reads column-major matrices and overwrites its operands, so a matrix is copied into memory of its own. It is copied by columns, so
that the routine sees the same matrix as in NumPy's call, and gives the same signs, pivots and failures.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.emitting import Routines, StridedView

__all__ = ["by_columns", "factorized", "fail_if_not_done", "named", "not_zero"]

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


def fail_if_not_done(w: Routines, info: StridedView, message: str) -> None:
    """Raise NumPy's error if a routine reports a failure."""
    w.fail(not_zero(w, info), np.linalg.LinAlgError, message)


def factorized(w: Routines, a: StridedView, lu: StridedView, pivots: StridedView, info: StridedView) -> None:
    """P L U of one matrix, with row exchanges."""
    n = a.shape[-1]
    w.copy(a, lu)
    w.call(named(a.dtype, "getrf"), n, n, lu, max(n, 1), pivots, info, work=n**3)
