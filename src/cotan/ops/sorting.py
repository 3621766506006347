"""Sorting along an axis: stable, nan last, as NumPy's. (`Argsort` and `Searchsorted` are in `searching`.)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..core.op import op
from ..core.tracing import type_of
from .creation import iota
from .indexing import Gather
from .searching import Argsort, Ordering, argsort, searchsorted

__all__ = ["Sort", "argsort", "searchsorted", "sort", "take_along"]


@op
class Sort(Ordering):
    """The elements in ascending order along ``axis``. Its tangent is that of x in the same order."""

    axis: int
    library: ClassVar[str] = "sort"

    def impl(self, x: Any) -> Any:
        return np.sort(x, self.axis, kind="stable")

    def singular(self, x: Any) -> Any:
        return np.diff(self.impl(x), axis=self.axis) == 0

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (x,), (dx,) = primals, tangents
        order = Argsort(self.axis)(x)
        return take_along(x, order, self.axis), take_along(dx, order, self.axis)


def take_along(x: Any, order: Any, axis: int) -> Any:
    """The elements of x at the indices ``order`` (of the shape of x) along ``axis``."""
    shape = type_of(order).shape
    return Gather("promise_in_bounds")(x, *[order if k == axis else iota(shape, k) for k in range(len(shape))])


def sort(x: Any, axis: int) -> Any:
    """`Sort`."""
    return Sort(axis)(x)
