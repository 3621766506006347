"""Matrices for which an op has no result: systems that are singular, factorizations that do not exist, iterations that do not converge.

Where Python sees the result, NumPy's error is raised. Traced code cannot stop for one matrix, whose result a mask may leave out: that
matrix has the result nan there. So are the derivatives in it nan, but those of what is left out, which are zero:

    a solve with `strong_zero` gives 0 for a right-hand side that is zero, whatever the matrix is
    `guarded` splits a result that may be nan into finite numbers, and a factor that is nan in their places, for a product with strong zero
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..core.tracing import Tracer, type_of
from .arithmetic import constant_of
from .families import has_nan, scale
from .logic import not_equal, select

__all__ = ["failed", "guarded", "of_regular_matrices", "quiet", "scaled_by", "where_regular", "zero_where_zero"]

TRACED: ContextVar[bool] = ContextVar("traced_code", default=False)
"""Whether ops run for traced code: for a transformation, or a staged program."""


GUARDED: ContextVar[bool] = ContextVar("guarded", default=True)
"""Whether rules that do not see values provide for results that are nan."""


@contextmanager
def of_regular_matrices() -> Generator[None]:
    """A context for explanations: rules are written as they are where every matrix has a result."""
    token = GUARDED.set(False)
    try:
        yield
    finally:
        GUARDED.reset(token)


class quiet:  # noqa: N801 - a context manager reads as an adjective
    """A context for traced code, without floating-point warnings and without errors of matrices that have no result: a derivative's
    infinite factor is often masked, and tracing a branch is not running it.
    """

    __slots__ = ("state", "token")

    def __enter__(self) -> None:
        self.state = np.errstate(all="ignore")
        self.state.__enter__()
        self.token = TRACED.set(True)

    def __exit__(self, *_: object) -> None:
        TRACED.reset(self.token)
        self.state.__exit__(None, None, None)


def failed(message: str) -> float:
    """The result of a matrix that has none, nan; raises NumPy's error outside of traced code."""
    if not TRACED.get():
        raise np.linalg.LinAlgError(message)
    return np.nan


def where_regular(function: Callable[..., Any], *operands: Any) -> Any:
    """``function`` of stacks of matrices. In traced code it is nan for those for which it raises NumPy's error, found by halving."""
    try:
        return function(*operands)
    except np.linalg.LinAlgError:
        if not TRACED.get():
            raise
    lead = operands[0].shape[:-2]
    count = math.prod(lead)
    if count == 1:
        first, *others = operands
        like = function(np.broadcast_to(np.eye(*first.shape[-2:], dtype=first.dtype), first.shape), *others)
        return by_result(lambda y: np.full_like(y, np.nan), like)
    flat = [x.reshape(count, *x.shape[-2:]) for x in operands]
    halves = [where_regular(function, *[x[part] for x in flat]) for part in (slice(count // 2), slice(count // 2, None))]
    return by_result(lambda *y: np.concatenate(y).reshape(*lead, *y[0].shape[1:]), *halves)


def by_result(function: Callable[..., Any], *results: Any) -> Any:
    """``function`` of arrays, or of each of the arrays of several tuples."""
    return tuple(map(function, *results)) if isinstance(results[0], tuple) else function(*results)


def zero_where_zero(x: Any, b: Any, axis: int = -2) -> Any:
    """The solutions ``x``, zero for those right-hand sides ``b``, which lie along an axis, that are zero."""
    if not has_nan(x):
        return x
    return np.where(np.any(b, axis, keepdims=True), x, np.zeros((), x.dtype))


def guarded(y: Any) -> tuple[Any, Any]:
    """``y`` with 1 in place of nan, and a factor that is nan there and 1 elsewhere; None for a factor of 1."""
    if not GUARDED.get() or (type(y) is not Tracer and not has_nan(y)):
        return y, None
    dtype = type_of(y).dtype
    unknown = not_equal(y, y)
    one, none = constant_of(1, dtype), constant_of(np.nan, dtype)
    return select(unknown, one, y), select(unknown, none, one)


def scaled_by(factor: Any, tangent: Any) -> Any:
    """A tangent times the factor of `guarded`, with strong zero."""
    return tangent if factor is None else scale(factor, tangent)
