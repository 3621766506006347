"""Choices between two values by a mask, in NumPy without a branch for each element.

``np.where`` and ``np.copyto`` branch at each element, and an irregular mask makes them wait for most of these branches: that takes ten
times as long as a product. A product of bits and truth values needs no branch. It is exact: an element that is not chosen is +0.0
whatever it was, nan and infinity too, and one that is chosen keeps all its bits. So

    where(m, x, 0) = m bits(x)      where(m, x, y) = bits(y) ^ m (bits(x) ^ bits(y))
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["chosen"]

FEWEST = 4096
"""From this number of elements on, the branches cost more than the further passes over the numbers."""
RUN = 10
"""A mask whose runs of equal values are longer than this on average is regular: its branches are predicted."""
BITS = {"d": np.dtype(np.int64), "f": np.dtype(np.int32), "D": np.dtype(np.int64), "F": np.dtype(np.int32)}
"""By the letter of a dtype: the integers that have the bits of its real numbers."""


def chosen(mask: Any, yes: Any, no: Any) -> Any:
    """``np.where(mask, yes, no)`` for values of one dtype, arrays of one shape or scalars; a Python scalar takes the dtype of the other."""
    if isinstance(mask, np.ndarray) and mask.size >= FEWEST and mask.dtype == np.bool_:
        for x, y, inverted in ((yes, no, False), (no, yes, True)):
            if isinstance(x, np.ndarray) and x.shape == mask.shape and x.dtype.char in BITS:
                if is_zero(y):
                    return times_truth(x, np.logical_not(mask) if inverted else mask)
                return np.where(mask, yes, no) if is_regular(mask) else by_bits(np.logical_not(mask) if inverted else mask, x, y)
    return np.where(mask, yes, no)


def is_zero(x: Any) -> bool:
    """Whether ``x`` is the scalar +0."""
    return not isinstance(x, np.ndarray) and not x and not np.signbit(x.real) and not np.signbit(x.imag)


def is_regular(mask: np.ndarray[Any, Any]) -> bool:
    """Whether equal values of a mask are next to each other mostly."""
    line = mask.ravel("K")
    return bool(np.count_nonzero(line[1:] != line[:-1]) * RUN < line.size)


def times_truth(x: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """``x`` where ``mask``, else 0."""
    found = np.empty(x.shape, x.dtype)
    np.multiply(bits(x), truth(mask, x), out=bits(found))
    return found


def by_bits(mask: np.ndarray[Any, Any], x: np.ndarray[Any, Any], y: Any) -> np.ndarray[Any, Any]:
    """``x`` where ``mask``, else ``y``, an array or a scalar."""
    found, other = np.empty(x.shape, x.dtype), bits(np.asarray(y, x.dtype))
    here = bits(found)
    np.bitwise_xor(bits(x), other, out=here)
    np.multiply(here, truth(mask, x), out=here)
    np.bitwise_xor(here, other, out=here)
    return found


def bits(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A view of real numbers as integers; of complex ones with a last axis for the real and the imaginary part (a copy if they are not
    contiguous).
    """
    kind = BITS[x.dtype.char]
    return x.view(kind) if x.dtype.kind == "f" else np.ascontiguousarray(x).reshape(*x.shape, 1).view(kind)


def truth(mask: np.ndarray[Any, Any], x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A mask as integers 0 and 1, in the shape of the bits of ``x`` or one that broadcasts to it."""
    ones = mask.view(np.int8)
    return ones if x.dtype.kind == "f" else ones[..., None]
