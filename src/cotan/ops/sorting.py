"""Sorting along an axis: stable, nan last, as in NumPy. (`Argsort` and `Searchsorted` are in `searching`.)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Reader, Routines, StridedView
from ..core.op import op
from ..core.tracing import type_of
from . import radix
from .creation import iota
from .indexing import Gather
from .searching import Argselect, Argsort, Ordering, argsort, each_line, searchsorted

__all__ = ["Sort", "argsort", "searchsorted", "select", "sort", "take_along"]

INT64 = np.dtype(np.int64)


@op
class Sort(Ordering):
    """The elements in ascending order along ``axis``. Its tangent is the tangent of x in the same order."""

    axis: int
    library: ClassVar[str] = "sort"

    def impl(self, x: Any) -> Any:
        return np.sort(x, self.axis, kind="stable")

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> Any:
        (x,), (y,) = operands, results
        # Equal numbers are identical, except for the signs of zeros; complex numbers have two of them.
        name = f"numpy {'stable_sort' if x.dtype.kind == 'c' else 'sort'} {x.dtype.name}"
        n = x.shape[self.axis]
        digits = radix.has_digits(x.dtype, n) and not w.in_vectors(name)
        if not digits and not w.has(name):
            return NotImplemented

        def one(line: StridedView, into: StridedView) -> None:
            if digits:
                radix.sorted_(w, line, into)
            else:
                w.fill(into, lambda i: line[i])
                w.call(name, into, n, None)
            if x.dtype.kind == "f":
                zeros_in_order(w, line, n, into)

        each_line(w, x, y, self.axis, one, radix.work(n), alone=digits and n >= radix.FEWEST_IN_PARTS)
        return None

    def singular(self, x: Any) -> Any:
        return np.diff(self.impl(x), axis=self.axis) == 0

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (x,), (dx,) = primals, tangents
        order = Argsort(self.axis)(x)
        return take_along(x, order, self.axis), take_along(dx, order, self.axis)


def zeros_in_order(w: Routines, line: StridedView, n: int, y: StridedView) -> None:
    """Put the zeros of a sorted line in their original order: a sort that is not stable may have exchanged their signs."""
    e = w.emitter
    zero, none, one = e.constant(0, y.dtype), e.constant(0, INT64), e.constant(1, INT64)
    below, negative = w.variable(none), w.variable(none)

    def count() -> None:
        def step(i: tuple[Any, ...]) -> None:
            x = line[i]
            below[()] = e.math("add", below[()], e.cast(e.math("lt", x, zero), INT64))
            signed = e.math("and", e.math("eq", x, zero), e.math("signbit", x))
            negative[()] = e.math("add", negative[()], e.cast(signed, INT64))

        w.every((n,), step)

    def again() -> None:
        def step(i: tuple[Any, ...]) -> None:
            x = line[i]

            def put() -> None:
                y[e.as_index(below[()])] = x
                below[()] = e.math("add", below[()], one)

            w.when(e.math("eq", x, zero), put)

        w.every((n,), step)

    w.outlined(count)
    w.when(e.math("gt", negative[()], none), lambda: w.outlined(again))


def take_along(x: Any, order: Any, axis: int) -> Any:
    """The elements of x at the indices ``order`` (of the shape of x) along ``axis``."""
    shape = type_of(order).shape
    return Gather("promise_in_bounds")(x, *[order if k == axis else iota(shape, k) for k in range(len(shape))])


def select(x: Any, ranks: Sequence[int], axis: int) -> Any:
    """The elements of the ``ranks`` along ``axis``: the entries of `Sort` at these positions."""
    return take_along(x, Argselect(tuple(ranks), axis)(x), axis)


def sort(x: Any, axis: int) -> Any:
    """`Sort`."""
    return Sort(axis)(x)
