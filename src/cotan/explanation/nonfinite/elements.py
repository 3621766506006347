"""Elements of values that are nan or infinite. A value is an array, a number or a `Stack`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core.op import Op
from ...core.stack import Stack
from ...ops.families import Elementwise

__all__ = ["Index", "is_bad", "is_elementwise", "kind_of", "mask_of", "pick"]

Index = tuple[int, ...]


def is_bad(x: Any) -> bool:
    """Whether some element of a value is nan or infinite."""
    kind = type(x)
    if kind is Stack:
        return any(map(is_bad, x.entries))
    if kind is float or kind is np.float64:
        return x - x != 0
    dtype = getattr(x, "dtype", None)
    if dtype is None:
        return isinstance(x, complex) and x - x != 0
    return dtype.kind in "fc" and not np.isfinite(x).all()


def mask_of(x: Any) -> np.ndarray[Any, Any]:
    """Which elements of an array or a number are nan or infinite."""
    x = np.asarray(x)
    return ~np.isfinite(x) if x.dtype.kind in "fc" else np.zeros(x.shape, bool)


def pick(x: Any, index: Index) -> Any:
    """The element of a value at an index, of which an entry of a stack takes the first number."""
    if type(x) is Stack:
        return pick(x.entries[index[0]], index[1:])
    x = np.asarray(x)
    return x[index] if x.ndim else x[()]


def is_elementwise(op: Op, operands: Sequence[Any], shape: tuple[int, ...]) -> bool:
    """Whether each element of a result of this shape comes from the elements of the operands at its index, or from scalars."""
    return isinstance(op, Elementwise) and all(np.shape(x) in ((), shape) for x in operands)


def kind_of(x: Any) -> np.ndarray[Any, Any]:
    """0 for a finite element, 1 for nan, 2 for an infinity, 3 for a negative one."""
    x = np.asarray(x)
    real = x.real if x.dtype.kind == "c" else x
    return np.where(np.isfinite(x), 0, np.where(np.isnan(x), 1, np.where(real < 0, 3, 2))).astype(np.int8)
