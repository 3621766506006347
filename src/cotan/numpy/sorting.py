"""Sorting, searching and sets. Functions whose result shape depends on values are computed for concrete arrays only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.errors import ArgumentError, DtypeError, ShapeError, TracerConversionError, teach
from ..core.tracing import Tracer, type_of
from ..ops import logic, searching, selecting
from ..ops import sorting as ops
from ..ops.movement import reshape as reshape_op
from ..ops.movement import reverse
from .calling import eager
from .creation import zeros
from .elementwise import add, divide, equal, subtract
from .indexing import take, take_along_axis
from .promotion import Numbers, as_line, canonical_axis, convert_to, has_tracer, operand, promote, shape_of, spread_to, strong, wrap
from .reduction import any, argmax, sum
from .shape import concatenate, reshape

__all__ = [
    "argpartition", "argsort", "argwhere", "bincount", "digitize", "flatnonzero", "histogram", "histogram_bin_edges", "interp",
    "intersect1d", "isin", "lexsort", "nonzero", "partition", "searchsorted", "setdiff1d", "setxor1d", "sort", "sort_complex",
    "trim_zeros", "union1d", "unique", "unique_all", "unique_counts", "unique_inverse", "unique_values",
]  # fmt: skip


# ---- sorting -------------------------------------------------------------------------------------------------------------------
def flat_or_axis(name: str, x: Any, axis: int | None) -> tuple[Any, int]:
    """``x`` flattened and axis 0 if ``axis`` is None, else ``x`` and the axis from 0 on."""
    if axis is None:
        return reshape_op(x, (type_of(x).size,)), 0
    return x, canonical_axis(name, axis, len(shape_of(x)))


def stable_sort(a: Any, axis: Any = -1, kind: str | None = None, order: None = None, *, stable: bool | None = None) -> Any:
    """NumPy's sort, always stable."""
    check_kind("sort", kind, stable)
    return np.sort(a, axis, "stable", order)


def stable_argsort(a: Any, axis: Any = -1, kind: str | None = None, order: None = None, *, stable: bool | None = None) -> Any:
    """NumPy's argsort, always stable."""
    check_kind("argsort", kind, stable)
    return np.argsort(a, axis, "stable", order)


def check_select_kind(name: str, kind: str) -> None:
    """Refuse a kind of partition that NumPy does not have."""
    if kind != "introselect":
        raise teach(ArgumentError, f"{name}: kind={kind!r}.", do="leave it out.")


def check_kind(name: str, kind: str | None, stable: bool | None) -> None:
    """Refuse the arguments that NumPy refuses: an unknown kind, or both ``kind`` and ``stable``."""
    if (kind is not None and stable is not None) or str(kind)[:1].lower() not in "nqhms":
        raise teach(ArgumentError, f"{name}: kind={kind!r}, stable={stable!r}.", do="leave them out: every sort is stable here.")


@eager(stable_sort)
def sort(x: Numbers, axis: int | None = -1, kind: str | None = None, *, stable: bool | None = None, descending: bool = False) -> Any:
    """``x`` in ascending order (``descending``: the reverse) along ``axis``, flattened if None; nan last. Any ``kind`` is stable."""
    check_kind("sort", kind, stable)
    y, k = flat_or_axis("sort", x, axis)
    y = ops.sort(y, k)
    return reverse(y, (k,)) if descending else y


@eager(stable_argsort)
def argsort(x: Numbers, axis: int | None = -1, kind: str | None = None, *, stable: bool | None = None, descending: bool = False) -> Any:
    """The indices that sort ``x`` along ``axis`` (flattened if None); equal elements stay in order, with ``descending`` too."""
    check_kind("argsort", kind, stable)
    y, k = flat_or_axis("argsort", as_line(x, shape_of(x))[0], axis)
    if not descending:
        return searching.argsort(y, k)
    n = shape_of(y)[k]
    order = reverse(searching.argsort(reverse(y, (k,)), k), (k,))  # reversed twice, so that equal elements stay in order
    return subtract(n - 1, order) if type(order) is Tracer else n - 1 - np.asarray(order)


@eager(np.partition)
def partition(x: Numbers, kth: int | Sequence[int], axis: int | None = -1, kind: str = "introselect") -> Any:
    """``x`` with its ``kth`` element in its sorted position, smaller elements before it and greater ones after it."""
    check_select_kind("partition", kind)
    y, k = flat_or_axis("partition", x, axis)
    order = parted("partition", y, kth, k)
    return ops.sort(y, k) if order is None else ops.take_along(y, order, k)


@eager(np.argpartition)
def argpartition(x: Numbers, kth: int | Sequence[int], axis: int | None = -1, kind: str = "introselect") -> Any:
    """The indices that partition ``x``."""
    check_select_kind("argpartition", kind)
    y, k = flat_or_axis("argpartition", as_line(x, shape_of(x))[0], axis)
    order = parted("argpartition", y, kth, k)
    return searching.argsort(y, k) if order is None else order


def parted(name: str, x: Any, kth: Any, axis: int) -> Any | None:
    """The indices that partition ``x``; None if it is to be sorted: for short lines, or several positions."""
    t = type_of(x)
    n = t.shape[axis]
    for place in np.ravel(kth) if t.size else ():
        if not -n <= place < n:
            raise teach(ArgumentError, f"{name}: kth={place} of {n} elements.", do=f"give a place from {-n} to {n - 1}.")
    if np.ndim(kth) or not n:
        return None
    rank = int(kth) % n
    return searching.Argpartition(rank, axis)(x) if selecting.is_way(t.dtype, t.shape[axis], (rank,)) else None


@eager(np.sort_complex)
def sort_complex(x: Numbers) -> Any:
    """``x`` as complex numbers in ascending order along the last axis; complex64 for small integers, else complex128."""
    dtype = type_of(x).dtype
    wide = np.complex64 if dtype.char in "bhBH" else np.complex128
    return sort(strong(x) if dtype.kind == "c" else convert_to(strong(x), np.dtype(wide)))


@eager(np.lexsort)
def lexsort(keys: Any, axis: int = -1) -> Any:
    """The indices that sort by the last of ``keys``, then by the one before it, and so on."""
    order: Any = None
    for key in map(operand, keys):
        if not shape_of(key):  # NumPy sorts one element, and returns its index
            order = np.zeros((), np.int64)
            continue
        step = argsort(key if order is None else take_along_axis(key, order, axis), axis)
        order = step if order is None else take_along_axis(order, step, axis)
    return order


# ---- searching -----------------------------------------------------------------------------------------------------------------
@eager(np.searchsorted)
def searchsorted(x: Numbers, v: Numbers, /, side: str = "left", sorter: Numbers | None = None) -> Any:
    """The positions at which to insert ``v`` in the ascending 1-d ``x``, before (left) or after (right) equal elements; int64."""
    x, v = promote(x, v)
    if side not in ("left", "right"):
        raise teach(ArgumentError, f"searchsorted: side {side!r}.", do="give 'left' or 'right'.")
    if sorter is not None:
        x = take(x, operand(sorter))
    if type_of(x).dtype.kind == "b":
        x, v = convert_to(x, np.dtype(np.uint8)), convert_to(v, np.dtype(np.uint8))
    if type_of(x).dtype.kind == "c":
        return place_of_complex(x, v, side)
    return searching.searchsorted(x, v, side)


def place_of_complex(x: Any, v: Any, side: str) -> Any:
    """`searchsorted` for complex numbers, ordered by real, then imaginary part, nan last: the number of elements that come before."""
    shape = (*shape_of(v), shape_of(x)[0])
    x, v = spread_to(x, shape, shape_of(x)), spread_to(reshape(v, (*shape_of(v), 1)), shape, (*shape_of(v), 1))
    a, b = (x, v) if side == "left" else (v, x)
    before = logic.bitwise_or(logic.less(a, b), logic.bitwise_and(logic.bitwise_not(logic.isnan(a)), logic.isnan(b)))
    return sum(before if side == "left" else logic.bitwise_not(before), -1)


@eager(np.digitize)
def digitize(x: Numbers, bins: Numbers, right: bool = False) -> Any:
    """The index of the bin of each element, for monotonic ``bins``: ascending or descending. Traced bins are assumed to be monotonic."""
    if len(shape_of(bins)) != 1:
        raise teach(ShapeError, f"digitize: bins of shape {shape_of(bins)}.", do="give a vector of edges, ascending or descending.")
    if "c" in (type_of(x).dtype.kind, type_of(bins).dtype.kind):
        raise teach(DtypeError, "digitize: complex numbers have no order.", do="give real numbers.")
    x, bins = strong(x), strong(bins)
    side, n = "left" if right else "right", shape_of(bins)[0]
    if type(bins) is not Tracer:
        try:
            np.digitize(np.zeros(0), bins)
        except ValueError:
            what = "digitize: bins are neither ascending nor descending."
            raise teach(ArgumentError, what, do="sort them first: bins = cotan.numpy.sort(bins).") from None
    up = searchsorted(bins, x, side)
    if n < 2:
        return up
    other = bins[1:] != bins[0]
    falls = any(other) & logic.bitwise_not(bins[0] < take(bins[1:], argmax(other)))  # by the first edge that differs
    if type(falls) is not Tracer:
        return subtract(n, searchsorted(bins[::-1], x, side)) if falls else up
    return logic.select(falls, subtract(n, searchsorted(bins[::-1], x, side)), up)


@eager(np.interp)
def interp(
    x: Numbers, xp: Numbers, fp: Numbers, left: Numbers | None = None, right: Numbers | None = None, period: Numbers | None = None
) -> Any:
    """Linear interpolation at ``x`` of the points (xp, fp), xp ascending; ``left`` and ``right`` beyond the ends (default fp's ends).

    Differentiable in x, xp and fp; the derivative in x is the slope of the piece that starts at or before it, and 0 beyond the ends.
    """
    wide = np.result_type(np.float64, type_of(operand(fp)).dtype)
    if "c" in (type_of(operand(x)).dtype.kind, type_of(operand(xp)).dtype.kind):
        raise teach(DtypeError, "interp: x or xp is complex.", do="give real numbers.")
    x, xp = (convert_to(operand(v), np.dtype(np.float64)) for v in (x, xp))
    fp = convert_to(operand(fp), wide)
    if len(shape_of(xp)) != 1 or shape_of(xp) != shape_of(fp) or not shape_of(xp)[0]:
        what = f"interp: xp of shape {shape_of(xp)} and fp of shape {shape_of(fp)}."
        raise teach(ShapeError, what, do="give two vectors of one length, which is not 0.")
    if period is not None:
        x, xp, fp = wrapped(x, xp, fp, period)
        left = right = None
    n = shape_of(xp)[0]
    first, last = fp[0], fp[n - 1]
    low, high = xp[0], xp[n - 1]
    if n == 1:
        inside = spread_to(first, shape_of(x), ())
    else:
        piece = np.clip(subtract(searchsorted(xp, x, "right"), 1), 0, n - 2)
        x0, f0 = take(xp, piece), take(fp, piece)
        slope = divide(subtract(take(fp, add(piece, 1)), f0), subtract(take(xp, add(piece, 1)), x0))
        inside = add(slope * subtract(x, x0), f0)
    below, above = (end if given is None else convert_to(operand(given), wide) for end, given in ((first, left), (last, right)))
    shape = shape_of(x)
    y = logic.select(logic.greater(x, filled_like(high, shape)), filled_like(above, shape), inside)
    y = logic.select(logic.equal(x, filled_like(high, shape)), filled_like(last, shape), y)
    y = logic.select(logic.less(x, filled_like(low, shape)), filled_like(below, shape), y)
    if n == 1:  # NumPy returns its value for nan too
        return y
    return logic.select(logic.isnan(x), convert_to(x, wide), y)


def filled_like(value: Any, shape: tuple[int, ...]) -> Any:
    """A scalar at every index of ``shape``."""
    return spread_to(value, shape, ()) if shape else value


def wrapped(x: Any, xp: Any, fp: Any, period: Any) -> tuple[Any, Any, Any]:
    """x, xp and fp of one period, sorted, with the last point copied in front and the first one at the end."""
    x, xp = x % period, xp % period
    order = argsort(xp)
    xp, fp = take(xp, order), take(fp, order)
    return x, concatenate([xp[-1:] - period, xp, xp[:1] + period]), concatenate([fp[-1:], fp, fp[:1]])


@eager(np.isin)
def isin(x: Numbers, test_elements: Numbers, assume_unique: bool = False, invert: bool = False, *, kind: str | None = None) -> Any:
    """Whether each element of ``x`` is among ``test_elements`` (``invert``: is not)."""
    x, test = strong(operand(x)), reshape(operand(test_elements), -1)
    found = any(equal(reshape_op(x, (*shape_of(x), 1)), test), -1)
    return logic.bitwise_not(found) if invert else found


@eager(np.bincount)
def bincount(x: Numbers, weights: Numbers | None = None, minlength: int = 0, *, length: int | None = None) -> Any:
    """The number of occurrences of each integer from 0 on in ``x`` (or the sum of its ``weights``). A traced x needs ``length``, the length
    of the result.
    """
    x = strong(x)
    if len(shape_of(x)) != 1 or type_of(x).dtype.kind not in "iub" or (weights is not None and shape_of(weights) != shape_of(x)):
        what = f"bincount: x of {type_of(x).long_name()}" + ("." if weights is None else f", weights of {type_of(weights).long_name()}.")
        raise teach(ShapeError, what, do="give a vector of integers, and weights of its shape.")
    x = convert_to(x, np.dtype(np.int64))
    if length is None:
        if type(x) is Tracer:
            refuse_unknown("bincount", x, "give length=, the length of the result.")
        length = max(int(np.max(x, initial=-1)) + 1, minlength)
    values = np.int64(1) if weights is None or not type_of(x).size else convert_to(operand(weights), np.dtype(np.float64))
    return zeros(length, type_of(values).dtype).at[x].add(values, mode="drop" if type(x) is Tracer else None)


# ---- results whose shape depends on values -----------------------------------------------------------------------------------------
def refuse_unknown(name: str, x: Any, do: str) -> Any:
    """Raise an error: the shape of the result depends on values that are not known yet."""
    raise teach(TracerConversionError, f"{name}: the shape of the result depends on the values of {x!r}.", do=do)


DYNAMIC = "keep the shape: use cotan.numpy.where(condition, x, y), or sum(x, where=condition); or compute it on concrete values outside."


def concrete_only(numpy_function: Callable[..., Any], sentence: str) -> Callable[..., Any]:
    """A function whose result shape depends on values: NumPy's function, refused for tracers."""
    name: str = numpy_function.__name__

    def call(*args: Any, **kwargs: Any) -> Any:
        for x in (*args, *kwargs.values()):
            if has_tracer(x):
                refuse_unknown(name, x, DYNAMIC)
        return wrap(numpy_function(*args, **kwargs))

    call.__wrapped__ = numpy_function  # type: ignore[attr-defined] - its signature
    call.__name__ = call.__qualname__ = name
    call.__module__ = "cotan.numpy"
    call.__doc__ = f"{sentence}\n\nThe shape depends on values, so the arguments (those of ``numpy.{name}``) must not be traced.\n"
    return call


nonzero = concrete_only(np.nonzero, "The indices of the nonzero elements, an array for each axis.")
flatnonzero = concrete_only(np.flatnonzero, "The indices of the nonzero elements of the flat array.")
argwhere = concrete_only(np.argwhere, "The indices of the nonzero elements, a row for each.")
unique_all = concrete_only(np.unique_all, "The distinct elements, where each is first, the inverse, and the counts.")
unique_counts = concrete_only(np.unique_counts, "The distinct elements and their counts.")
unique_inverse = concrete_only(np.unique_inverse, "The distinct elements, and the index of each element among them.")
union1d = concrete_only(np.union1d, "The sorted distinct elements of either array.")
intersect1d = concrete_only(np.intersect1d, "The sorted distinct elements of both arrays.")
setdiff1d = concrete_only(np.setdiff1d, "The distinct elements of the first array that are not in the second.")
setxor1d = concrete_only(np.setxor1d, "The distinct elements of just one of the arrays.")
trim_zeros = concrete_only(np.trim_zeros, "The array without zeros at its ends.")
histogram_bin_edges = concrete_only(np.histogram_bin_edges, "The edges of the bins of a histogram.")
unique = concrete_only(np.unique, "The sorted distinct elements; with flags also indices, inverse and counts.")


def sorted_values(x: Any, /) -> Any:
    """NumPy's unique_values, in order."""
    return np.sort(np.unique_values(x))


unique_values = concrete_only(sorted_values, "The sorted distinct elements.")
unique_values.__name__ = unique_values.__qualname__ = "unique_values"


@eager(np.histogram)
def histogram(x: Numbers, bins: Any = 10, range: Any = None, density: bool | None = None, weights: Numbers | None = None) -> Any:
    """Counts (or sums of ``weights``) in bins, and the edges. For traced x the bins must be concrete: an array of edges, or ``range``."""
    x = strong(x).reshape(-1)
    dtype = type_of(x).dtype
    if dtype.kind in "bc":
        if dtype.kind == "c":
            raise teach(DtypeError, "histogram: x is complex.", do="give real numbers.")
        x, dtype = convert_to(x, np.dtype(np.uint8)), np.dtype(np.uint8)
    if np.ndim(bins) == 0 and range is None and type(x) is Tracer:
        refuse_unknown("histogram", x, "give the edges of the bins, or range=(low, high).")
    known = np.zeros(0, dtype) if type(x) is Tracer else np.asarray(x)
    edges = operand(bins) if has_tracer(bins) else np.histogram_bin_edges(known, bins, range)
    n = shape_of(edges)[0] - 1
    place = searchsorted(edges, x, "right")
    place = subtract(logic.select(equal(x, edges[n]), np.int64(n), place), 1)
    place = logic.select(logic.less(place, np.int64(0)), np.int64(n), place)  # outside: a bin of its own
    values: Any = np.int64(1)
    if weights is not None:
        if shape_of(weights) not in (shape_of(x), (1,) * 0) and type_of(weights).size != type_of(x).size:
            raise teach(ShapeError, f"histogram: weights of shape {shape_of(weights)}.", do="give a weight for each number.")
        values = strong(weights).reshape(-1)
    counts = zeros(n + 1, type_of(values).dtype).at[place].add(values, mode="drop")[:n]
    if density:
        counts = divide(divide(counts, convert_to(edges[1:] - edges[:-1], np.dtype(np.float64))), sum(counts))
    return counts, wrap(edges)
