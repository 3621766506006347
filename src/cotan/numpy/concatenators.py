"""``r_[...]`` and ``c_[...]``: arrays, numbers and ranges joined by indexing, with traced parts.

The index is interpreted as by NumPy. A slice is a range (a linspace, if its step is imaginary). A string of up to three integers gives the
axis along which the parts are joined, their least number of axes, and the position of the axes of parts with fewer of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import ArgumentError, teach
from .promotion import has_tracer, operand, result_dtype, shape_of, wrap
from .shape import concatenate, expand_dims

__all__ = ["c_", "r_"]


class Concatenator:
    """An object that joins the items of its index."""

    def __init__(self, name: str, numpy_object: Any, axis: int, ndmin: int, first: int, sentence: str):
        self.__name__, self.numpy_object, self.__doc__ = name, numpy_object, sentence
        self.axis, self.ndmin, self.first = axis, ndmin, first

    def __repr__(self) -> str:
        return f"cotan.numpy.{self.__name__}"

    def __getitem__(self, key: Any) -> Any:
        items = key if isinstance(key, tuple) else (key,)
        if not any(map(has_tracer, items)):
            return wrap(self.numpy_object[key])
        axis, ndmin, first = self.axis, self.ndmin, self.first
        if isinstance(items[0], str):
            axis, ndmin, first = self.directive(items[0])
            items = items[1:]
        parts = [part_of(item) for item in items]
        return concatenate([raised(x, ndmin, first) for x in parts], axis, dtype=result_dtype(*parts), casting="unsafe")

    def directive(self, text: str) -> tuple[int, int, int]:
        """The axis, the least number of axes, and the position of a part's own first axis, parsed from a string."""
        try:
            numbers = [int(word) for word in text.split(",")]
        except ValueError:
            what = f"{self.__name__}: {text!r} with traced parts."
            raise teach(ArgumentError, what, do="give up to three integers, as in '0,2', or use concatenate.") from None
        axis, ndmin, first, *_ = (*numbers, *(self.axis, self.ndmin, self.first)[len(numbers) :])
        return axis, ndmin, first


def part_of(item: Any) -> Any:
    """One part as an operand; a slice becomes its range."""
    return np.r_[item] if isinstance(item, slice) else operand(item)


def raised(x: Any, ndmin: int, first: int) -> Any:
    """``x`` with at least ``ndmin`` axes, of which its own begin at ``first`` (counted from the end of the new ones if negative)."""
    have = len(shape_of(x))
    if have >= ndmin:
        return x
    new = ndmin - have
    begin = first if first >= 0 else first + new + 1
    return expand_dims(x, tuple(k for k in range(ndmin) if not begin <= k < begin + have))


r_ = Concatenator("r_", np.r_, 0, 1, -1, "Join along the first axis what stands between the brackets: ``r_[x, 0, 1:5]``.")
c_ = Concatenator("c_", np.c_, -1, 2, 0, "Join as columns what stands between the brackets: ``c_[x, y]``.")
