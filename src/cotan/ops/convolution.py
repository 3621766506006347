"""Convolution in one dimension: sliding sums of products along the last axis.

`Correlate` slides a kernel w along x and takes nothing from beyond the ends of x:

    y[i] = sum_k x[i + k + start] w[k]        for 0 <= i < length, over all k with 0 <= i + k + start < n

It is linear in x and in w, and closed under its adjoints: with m the length of w,

    x_bar[j] = sum_i y_bar[i] w[j - i - start]            slides the reversed w along y_bar, from -(start + m - 1),
    w_bar[k] = sum_i y_bar[i] x[i + k + start]            slides y_bar along x, from the same start.

A convolution is the sliding sum with the reversed kernel. Axes in front are of both operands, or of one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..core.emitting import Emitter, Index, Reader, Routines, Scalar, StridedView
from ..core.errors import DtypeError, ShapeError, teach
from ..core.op import Op, op
from ..core.program import Var
from ..core.tracing import type_of
from ..core.types import ArrayType, array_type
from .families import BroadcastInDim, Multilinear, ReduceSum, default_rng, spread
from .movement import Reverse

__all__ = ["Correlate"]

FEWEST_PRODUCTS = 1 << 6
"""From this number of products on, the kernel is faster than loops with a condition on each product."""
BLOCK = 1024
"""The outputs, or the products of an output, that are taken at a time: they stay in the first-level cache."""
TAPS, MOST_TAPS = 8, 16
"""The products of each output that are added up in registers; a kernel of at most `MOST_TAPS` elements is taken at once."""
LONG = 128
"""From this number of outputs on they are in the lanes of vectors; of fewer, the products are, if there are more of them."""
MOST_DOTS = 4
"""The impl computes outputs one by one if NumPy's function would compute so many times as many."""
INT64 = np.dtype(np.int64)


@op
class Correlate(Multilinear):
    """Sliding sums of products: y[i] = sum_k x[i + k + start] w[k] for i < ``length``, over the k for which x has this element."""

    start: int
    length: int
    linear = ((0,), (1,))
    family = "contraction"
    takes = "biufc"

    def type_rule(self, x: ArrayType, w: ArrayType) -> ArrayType:
        if x.ndim == 0 or w.ndim == 0 or (x.ndim > 1 and w.ndim > 1 and x.shape[:-1] != w.shape[:-1]) or self.length < 0:
            raise teach(
                ShapeError,
                f"correlate: arrays of shapes {x.shape} and {w.shape}.",
                do="give two vectors, or stacks of them whose axes in front are equal.",
            )
        if x.dtype != w.dtype:
            raise teach(DtypeError, f"correlate: dtypes {x.dtype} and {w.dtype} differ.", do="convert one of them first.")
        return array_type((*(x if x.ndim > 1 else w).shape[:-1], self.length), x.dtype)

    def impl(self, x: Any, w: Any) -> Any:
        x, w = np.asarray(x), np.asarray(w)
        if x.ndim == w.ndim == 1:
            return self.of_vectors(x, w)
        lead = (x if x.ndim > 1 else w).shape[:-1]
        y = np.empty((*lead, self.length), x.dtype)
        for k in np.ndindex(lead):
            y[k] = self.of_vectors(x[k] if x.ndim > 1 else x, w[k] if w.ndim > 1 else w)
        return y

    def of_vectors(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The result of vectors, by NumPy's convolution of the part of x that is read."""
        n, m, start = len(x), len(w), self.start
        first, end = max(0, 1 - m - start), min(self.length, n - start)  # outputs of at least one product
        if not n or not m or first >= end:
            return np.zeros(self.length, x.dtype)
        low, high = max(first + start, 0), min(end - 1 + start + m, n)
        if high - low == end - first + m - 1:
            y = np.convolve(x[low:high], w[::-1], "valid")
        elif high - low + m - 1 <= MOST_DOTS * (end - first):
            y = np.convolve(x[low:high], w[::-1])[first + start + m - 1 - low :][: end - first]
        else:
            y = np.array([self.one(x, w, i) for i in range(first, end)], x.dtype)
        if end - first == self.length:
            return y
        padded = np.zeros(self.length, x.dtype)
        padded[first:end] = y
        return padded

    def one(self, x: np.ndarray, w: np.ndarray, i: int) -> Any:
        """One output."""
        at = i + self.start
        low, high = max(at, 0), min(at + len(w), len(x))
        return np.dot(x[low:high], w[low - at : high - at])

    def element(self, e: Emitter, i: Sequence[Any], x: Reader, w: Reader) -> Any:
        *lead, j = i
        n, m = x.shape[-1], w.shape[-1]
        zero = e.constant(0, x.dtype)
        if not n or not m:
            return zero
        plus, times = ("or", "and") if x.dtype.kind == "b" else ("add", "mul")
        before_x, before_w = (lead if len(v.shape) > 1 else () for v in (x, w))

        def at(r: Sequence[Any]) -> Any:
            (k,) = r
            p = j + k + self.start
            return e.choose((p >= 0) & (p < n), lambda: e.math(times, x((*before_x, p)), w((*before_w, k))), lambda: zero)

        return e.reduce(plus, [m], at, x.dtype)

    def prefers_routine(self, x: ArrayType, w: ArrayType) -> bool:
        return x.size > 0 and self.length * w.shape[-1] >= FEWEST_PRODUCTS

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> Any:
        m = operands[1].shape[-1]
        if not m or not operands[0].shape[-1]:
            return NotImplemented
        x, kernel = (in_rows(w, v) for v in operands)
        (y,) = results

        def blocks(begin: int, size: int, count: int, compute: Callable[[Sums, Index], None]) -> None:
            def one(index: tuple[Index, ...]) -> None:
                *k, block = index
                a, b, out = (v.part(*k) if len(v.shape) > 1 else v for v in (x, kernel, y))
                w.outlined(lambda: compute(Sums(w, a, b, out, self.start), block * size + begin))

            w.parallel_for((*y.shape[:-1], count), one, m * min(size, self.length))

        if self.length >= min(m, LONG):
            blocks(0, BLOCK, -(-self.length // BLOCK), Sums.by_outputs)
        else:
            groups, rest = divmod(self.length, TAPS)
            blocks(0, TAPS, groups, lambda sums, first: sums.by_products(first, TAPS))
            blocks(groups * TAPS, rest, min(rest, 1), lambda sums, first: sums.by_products(first, rest))
        return None

    def transpose(self, y_bar: Any, x: Any, w: Any) -> Sequence[Any | None]:
        if type(x) is Var:
            t = type_of(w)
            back = Correlate(1 - t.shape[-1] - self.start, x.type.shape[-1])
            return [summed_to(back(y_bar, Reverse((t.ndim - 1,))(w)), x.type.ndim), None]
        return [None, summed_to(Correlate(self.start, w.type.shape[-1])(x, y_bar), w.type.ndim)]

    def batch(self, size: int, batched: Sequence[bool], x: Any, w: Any) -> tuple[Any, bool]:
        ndims = [type_of(v).ndim - b for v, b in zip((x, w), batched, strict=True)]
        lead = max([type_of(v).shape[int(b) : -1] for v, b in zip((x, w), batched, strict=True)], key=len)

        def in_front(v: Any, batched: bool, ndim: int) -> Any:
            """The operand with the new axis: a vector that is not batched stays one."""
            if batched and ndim == 1 and lead:
                return BroadcastInDim((size, *lead, type_of(v).shape[-1]), (0, len(lead) + 1))(v)
            return spread(v, size) if not batched and ndim > 1 else v

        return self(*map(in_front, (x, w), batched, ndims)), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls(-2, 7), (rng.normal(size=5), rng.normal(size=3))
        yield cls(0, 3), (rng.normal(size=5), rng.normal(size=3))
        yield cls(1, 6), (rng.normal(size=4), rng.normal(size=2))
        yield cls(-6, 9), (rng.normal(size=2), rng.normal(size=4))
        yield cls(-1, 5), (rng.normal(size=(2, 5)), rng.normal(size=3))
        yield cls(-1, 4), (rng.normal(size=4), rng.normal(size=(2, 1, 2)))
        yield cls(-3, 24), (rng.normal(size=(2, 21)), rng.normal(size=(2, 19)))
        yield cls(-2, 3), (rng.normal(size=40), rng.normal(size=38))
        yield cls(0, 0), (rng.normal(size=3), rng.normal(size=2))
        yield cls(0, 2), (rng.normal(size=3), rng.normal(size=0))
        yield cls(0, 2), (rng.normal(size=(0, 3)), rng.normal(size=2))


def summed_to(y_bar: Any, ndim: int) -> Any:
    """The sum over the axes in front that an operand of ``ndim`` axes lacks."""
    extra = type_of(y_bar).ndim - ndim
    return ReduceSum(tuple(range(extra)))(y_bar) if extra else y_bar


# ---- the kernel --------------------------------------------------------------------------------------------------------------
def in_rows(w: Routines, v: Reader) -> StridedView:
    """An operand in memory, with the elements of a row side by side."""
    view = w.strided(v)
    return view if view.strides[-1] == 1 else w.dense(v)


class Sums:
    """The products of one row: all pairs (i, k) for which x has element i + k + start.

    One of the axes i and k is in the lanes of vectors (p), some elements of the other one (u) at a time are unrolled. In a block of p and a
    group of u, the p for which x has the element at each of these u are a range. Before and after it there are less than a group of p for
    each u, which are taken one by one.
    """

    def __init__(self, w: Routines, x: StridedView, kernel: StridedView, y: StridedView, start: int):
        self.w, self.e, self.x, self.kernel, self.y, self.start = w, w.emitter, x, kernel, y, start
        self.n, self.m, self.length = x.shape[0], kernel.shape[0], y.shape[0]
        self.plus, self.times = ("or", "and") if x.dtype.kind == "b" else ("add", "mul")

    def number(self, index: Index) -> Scalar:
        return self.e.as_scalar(index, INT64) if not isinstance(index, int) else self.e.constant(index, INT64)

    def within(self, low: Scalar, index: Index, high: Scalar) -> Scalar:
        """An index clipped to a range."""
        return self.e.math("minimum", self.e.math("maximum", low, self.number(index)), high)

    def at_most(self, index: Index, most: int) -> Scalar:
        return self.e.math("minimum", self.number(index), self.number(most))

    def product(self, i: Index, k: Index) -> Scalar:
        return self.e.math(self.times, self.x[i + k + self.start], self.kernel[k])

    def add(self, i: Index, k: Index) -> None:
        """Add one product to an output."""
        self.y[i] = self.e.math(self.plus, self.y[i], self.product(i, k))

    def by_outputs(self, first: Index) -> None:
        """A block of outputs in lanes, for groups of elements of the kernel."""
        zero, begin, end = self.e.constant(0, self.y.dtype), self.number(first), self.at_most(first + BLOCK, self.length)
        self.w.up_to(end, self.length, lambda i: self.y.__setitem__(i, zero), first=begin)

        def several(k: Index, many: int) -> None:
            taps = [self.kernel[k + j] for j in range(many)]

            def inner(i: Index) -> None:
                total: Scalar = None
                for j, tap in enumerate(taps):
                    x = self.x[i + k + j + self.start]
                    total = self.e.math(self.times, x, tap) if total is None else self.fused(x, tap, total)
                self.y[i] = self.e.math(self.plus, self.y[i], total)

            self.pairs(begin, end, k, many, lambda low, high: self.w.up_to(high, self.length, inner, first=low), self.add)

        self.groups(self.m, TAPS if self.m > MOST_TAPS else self.m, several)

    def fused(self, x: Scalar, tap: Scalar, total: Scalar) -> Scalar:
        if x.dtype.kind == "f":
            return self.e.math("fmuladd", x, tap, total)
        return self.e.math(self.plus, self.e.math(self.times, x, tap), total)

    def by_products(self, first: Index, many: int) -> None:
        """A group of outputs, each a sum with its products in lanes."""
        zero = self.e.constant(0, self.y.dtype)
        for j in range(many):
            self.y[first + j] = zero

        def block(b: tuple[Index, ...]) -> None:
            begin = b[0] * BLOCK

            def inner(low: Scalar, high: Scalar) -> None:
                sums = self.w.totals(self.plus, low, high, self.m, lambda k: [self.product(first + j, k) for j in range(many)])
                for j, total in enumerate(sums):
                    self.y[first + j] = self.e.math(self.plus, self.y[first + j], total)

            self.pairs(self.number(begin), self.at_most(begin + BLOCK, self.m), first, many, inner, lambda k, i: self.add(i, k))

        self.w.every((-(-self.m // BLOCK),), block)

    def groups(self, size: int, most: int, do: Callable[[Index, int], None]) -> None:
        """``do(first, count)`` for groups of ``most`` of the numbers below ``size``, and the rest."""
        self.w.every((size // most,), lambda g: do(g[0] * most, most))
        if size % most:
            do(size // most * most, size % most)

    def pairs(
        self, begin: Scalar, end: Scalar, u: Index, many: int, inner: Callable[[Scalar, Scalar], None], one: Callable[[Index, Index], None]
    ) -> None:
        """The pairs of each p from ``begin`` to before ``end`` with ``many`` of the other axis from ``u`` on: ``inner(low, high)`` for a
        range of p, ``one(p, u)`` for each pair outside of it.
        """
        low, most = self.within(begin, -self.start - u, end), max(self.m, self.length)
        high = self.within(low, self.n - self.start - (u + (many - 1)), end)
        inner(low, high)

        def edges(j: tuple[Index, ...]) -> None:
            v = u + j[0]
            first, past = self.within(begin, -self.start - v, low), self.n - self.start - v
            self.w.up_to(self.within(first, past, low), most, lambda p: one(p, v), first=first)
            self.w.up_to(self.within(high, past, end), most, lambda p: one(p, v), first=high)

        if many > 1 and not (self.start >= 0 and self.start + self.length + self.m - 1 <= self.n):
            some = self.e.math("or", self.e.math("gt", low, begin), self.e.math("lt", high, end))
            self.w.when(some, lambda: self.w.every((many,), edges))
