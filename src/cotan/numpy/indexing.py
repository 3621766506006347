"""Indexing: ``x[index]`` in all of NumPy's forms, lowered to the fewest ops.

A basic index (ints, slices, None, Ellipsis) becomes a Slice, a Reverse for negative steps, and a Reshape, each only if needed; leading ints
become one Gather. An advanced index (integer arrays, masks, traced integers) moves the indexed axes to the front (Permute), gathers, and
puts the axes of the index where NumPy has them: at the position of the first advanced index if the advanced indices are adjacent, else in
front.

Concrete indices are checked when they are read, traced ones when the program runs (by an engine that checks: see `ops.indexing`).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..core.array import plain
from ..core.errors import ArgumentError, IndexingError, ShapeError, TracerConversionError, UnsupportedFunctionError, teach
from ..core.op import Op
from ..core.sizes import Size, as_index, integer, is_int
from ..core.tracing import BOOL, Tracer, type_of
from ..core.types import Shape, array_type
from ..ops.arithmetic import zero_like
from ..ops.creation import full as full_op
from ..ops.creation import iota
from ..ops.indexing import Gather, gather
from ..ops.logic import less, select
from ..ops.movement import Reshape, Reverse, Slice, permute, reverse, slice_
from ..ops.movement import reshape as reshape_op
from .calling import eager, fitted
from .promotion import (
    Numbers,
    as_line,
    broadcast_shapes,
    canonical_axis,
    convert_to,
    from_nested,
    has_tracer,
    operand,
    result_dtype,
    shape_of,
    spread_to,
    strong,
    wrap,
)
from .roots import moves
from .shape import stack

__all__ = ["choose", "compress", "extract", "getitem", "take", "take_along_axis"]

FULL = slice(None)
INTP = np.dtype(np.intp)
GATHER = Gather("promise_in_bounds")
"""The op that reads at ints that are known to be in bounds."""


class Parsed(NamedTuple):
    """A parsed index. ``axes[k]`` is the index of axis k of x: a slice, an int, or an integer array (concrete or traced)."""

    axes: list[Any]
    tokens: list[Any]
    """The axes of the result in order: an axis of x that is sliced, None for a new one, ``...`` for the axes of the advanced indices."""
    advanced: list[int]
    """The axes of x that are indexed by ints and arrays, if any of these is an array or traced."""
    index_shape: Shape
    """The broadcast shape of these indices."""


def is_integer(x: Any) -> bool:
    return isinstance(x, int | np.integer) and not isinstance(x, bool | np.bool_)


def parse(index: Any, shape: Shape, *, check: bool = True) -> Parsed:
    """Parse ``index`` for an array of this shape. With ``check``, concrete indices out of bounds are refused.

    Raises
    ------
    IndexingError
        There are more indices than axes, or an index is out of bounds or of a type that cannot be one.
    TracerConversionError
        A mask is traced: how many elements it takes is unknown.
    """
    given = index if type(index) is tuple else (index,)
    items = [read_item(item, shape) for item in given]
    for k, item in enumerate(items):
        if type(item) is tuple:
            check_mask(np.shape(given[k]), axis_of(given, k, len(shape)), shape)
    items = [part for item in items for part in (item if type(item) is tuple else (item,))]
    used = sum(1 for item in items if item is not None and item is not Ellipsis)
    ellipses = sum(1 for item in items if item is Ellipsis)
    if used > len(shape) or ellipses > 1:
        what = "an index can only have a single ellipsis ('...')" if ellipses > 1 else f"{used} indices for an array of shape {shape}"
        raise teach(IndexingError, f"index: {what}.", do="give at most one index for each axis, and at most one `...`.")
    if not ellipses:
        items.append(Ellipsis)
    fancy = any(not is_int(item) and type(item) is not slice and item is not None and item is not Ellipsis for item in items)
    axes: list[Any] = []
    tokens: list[Any] = []
    groups: list[int] = []
    for place, item in enumerate(items):
        if item is None:
            tokens.append(None)
        elif item is Ellipsis:
            for _ in range(len(shape) - used):
                tokens.append(len(axes))
                axes.append(FULL)
        elif type(item) is slice:
            tokens.append(len(axes))
            axes.append(item)
        else:
            if fancy:
                groups.append(place)
                tokens.append(...)
            axes.append(bounded(item, len(axes), shape) if check else item)
    if not fancy:
        return Parsed(axes, tokens, [], ())
    together = groups[-1] - groups[0] == len(groups) - 1
    first = tokens.index(...) if together else 0
    rest = [token for token in tokens if token is not ...]
    tokens = [*rest[:first], ..., *rest[first:]]
    advanced = [k for k, item in enumerate(axes) if type(item) is not slice]
    return Parsed(axes, tokens, advanced, broadcast_shapes("index", [shape_of(axes[k]) for k in advanced]))


def read_item(item: Any, shape: Shape) -> Any:
    """One index: an int, a slice, None, Ellipsis, an integer array; a mask becomes a tuple of integer arrays."""
    if is_integer(item):
        return integer(item)
    if type(item) is slice:
        return known_slice(item)
    if item is None or item is Ellipsis:
        return item
    array = (
        plain(np.asarray(item, np.intp))
        if type(item) is list and not item
        else from_nested(item)
        if isinstance(item, list | tuple)
        else plain(item)
    )
    known = shape_of(array) if hasattr(array, "dtype") else None
    if known is not None and array.dtype.kind in "iu":
        return int(array) if known == () and type(array) is not Tracer else array
    if known is not None and array.dtype.kind == "b" and known:
        if type(array) is Tracer:
            refuse_mask(array)
        return np.nonzero(array)
    raise teach(
        IndexingError,
        f"index: {item!r:.60} cannot index an array of shape {shape}.",
        do="give integers, slices, `...`, None, or arrays of integers or bools"
        + ("; for a float use i.astype(int)." if known is not None else "."),
    )


def axis_of(items: Sequence[Any], k: int, ndim: int) -> int:
    """The first axis that item ``k`` of an index takes."""
    taken = [0 if item is None or item is Ellipsis else axes_of(item) for item in items]
    return ndim - sum(taken[k:]) if any(item is Ellipsis for item in items[:k]) else sum(taken[:k])


def check_mask(mask: Shape, axis: int, shape: Shape) -> None:
    """Refuse a mask that has not the shape of the axes that it indexes, from ``axis`` on."""
    have = shape[axis : axis + len(mask)]
    if mask != have:
        what = f"index: a mask of shape {mask} for axes of shape {have} (of an array of shape {shape})."
        raise teach(IndexingError, what, do="give a mask of the shape of the axes that it indexes.")


def known_slice(item: slice) -> slice:
    """A slice whose traced but known bounds are Python integers."""
    bounds = (item.start, item.stop, item.step)
    if not any(type(bound) is Tracer for bound in bounds):
        return item
    return slice(*[operator.index(bound.owner.concrete(bound, "slice")) if type(bound) is Tracer else bound for bound in bounds])


def refuse_mask(mask: Tracer) -> Any:
    """Raise: the shape of ``x[mask]`` depends on values."""
    raise teach(
        TracerConversionError,
        f"index: a boolean mask of unknown size: how many elements x[mask] has depends on the values of {mask!r}.",
        do="write cotan.numpy.where(mask, x, 0) to keep the shape, cotan.numpy.sum(x, where=mask) to reduce, "
        "or x.at[mask].set(v) to replace.",
    )


def bounded(item: Any, axis: int, shape: Shape) -> Any:
    """A concrete index, checked, with an int counted from the front; a traced index unchanged."""
    n = shape[axis]
    if is_int(item):
        if -n <= item < n:
            return item if item >= 0 else item + n
    elif type(item) is Tracer or item.size == 0 or (item.min() >= -n and item.max() < n):
        return item
    else:
        item = item.flat[int(np.argmax((item < -n) | (item >= n)))]
    raise teach(
        IndexingError,
        f"index: {item} is out of bounds for axis {axis}, which has length {n} (shape {shape}).",
        do=f"indices go from {-n} to {n - 1}.",
    )


# ---- reading ---------------------------------------------------------------------------------------------------------------
@moves
def getitem(x: Numbers, index: Any) -> Any:
    """``x[index]``, with NumPy's indices; integers and integer arrays in it may be traced.

    Raises
    ------
    IndexingError
        A concrete index is out of bounds, or no index.
    TracerConversionError
        A boolean mask is traced.
    """
    x = strong(operand(x))
    shape = shape_of(x)
    if type(index) is int and shape and -shape[0] <= index < shape[0]:
        return GATHER(x, index)
    key = basic_key(index)
    if key is not None:
        return take_basic(x, *basic_steps(key, shape))
    if shape and (type(index) is list or (isinstance(index, np.ndarray) and index.ndim == 1)):  # entries of a table
        entries = read_item(index, shape)
        if type(entries) is tuple and len(entries) == 1:
            check_mask(np.shape(index), 0, shape)
            (entries,) = entries
        if type(entries) is np.ndarray:
            return GATHER(x, bounded(entries, 0, shape))
    x, index = with_axes_of_truths(x, index)
    shape = shape_of(x)
    return take_parsed(x, shape, parse(index, shape))


def is_truth(item: Any) -> bool:
    """Whether an item of an index is True or False, or a concrete 0-d array of it."""
    return type(item) is bool or (isinstance(item, np.bool_ | np.ndarray) and item.dtype == BOOL and item.shape == ())


def with_axes_of_truths(x: Any, index: Any) -> tuple[Any, Any]:
    """``x`` with a new axis of length one for each truth value in ``index``, and the index that takes it, or nothing."""
    if type(index) is list:
        return x, index
    items: tuple[Any, ...] = index if type(index) is tuple else (index,)
    if not any(map(is_truth, items)):
        return x, index
    shape, ndim = list(shape_of(x)), len(shape_of(x))
    taken = [0 if item is None or item is Ellipsis or is_truth(item) else axes_of(item) for item in items]
    places = list(items)
    behind = next((k for k, item in enumerate(items) if item is Ellipsis), len(items))
    for k in reversed(range(len(items))):
        if is_truth(items[k]):
            shape.insert(sum(taken[:k]) if k < behind else ndim - sum(taken[k:]), 1)
            places[k] = np.zeros(int(items[k]), np.intp)
    return reshape_op(x, shape), tuple(places)


def axes_of(item: Any) -> int:
    """The number of axes that an item of an index takes; a mask takes as many as it has."""
    mask = from_nested(item) if isinstance(item, list | tuple) and item else item
    return len(shape_of(mask)) if getattr(mask, "dtype", None) == BOOL else 1


def basic_key(index: Any) -> tuple[Any, ...] | None:
    """A basic index of plain integers as a hashable key (a slice as its three bounds); None for any other index."""
    key: list[Any] = []
    for item in index if type(index) is tuple else (index,):
        kind = type(item)
        if kind is slice:
            bounds = (item.start, item.stop, item.step)
            for bound in bounds:
                if bound is not None and type(bound) is not int:
                    return None
            key.append(bounds)
        elif kind is int or kind is Size or item is None or item is Ellipsis:
            key.append(item)
        else:
            return None
    return tuple(key)


@lru_cache(maxsize=4096)
def basic_steps(key: tuple[Any, ...], shape: Shape) -> tuple[tuple[int, ...], tuple[Op, ...]]:
    """A basic index lowered for this shape: the leading ints of a gather, then ops in order."""
    return steps_of(parse(tuple([slice(*item) if type(item) is tuple else item for item in key]), shape), shape)


def take_basic(x: Any, ints: tuple[int, ...], ops: Sequence[Op]) -> Any:
    """``x`` indexed by leading ints, then transformed by these ops."""
    if ints:
        x = GATHER(x, *ints)
    for op in ops:
        x = op(x)
    return x


def steps_of(parsed: Parsed, shape: Shape) -> tuple[tuple[int, ...], tuple[Op, ...]]:
    """`basic_steps` of an index without arrays: leading ints are gathered, others are slices of length one that a reshape removes."""
    axes, tokens, _, _ = parsed
    ints = tuple([item for item in axes if is_int(item)])
    ops: list[Op] = []
    if ints and all(is_int(item) for item in axes[: len(ints)]) and all(item == FULL for item in axes[len(ints) :]):
        have = lengths = shape[len(ints) :]
    else:
        cut, back = slice_ops(shape, axes)
        have = cut.type_rule(array_type(shape, BOOL)).shape
        lengths = tuple(n for n, item in zip(have, axes, strict=True) if type(item) is slice)
        ops = [cut] if have != shape else []
        ops += [Reverse(back)] if back else []
        ints = ()
    rest = iter(lengths)
    final = tuple([1 if token is None else next(rest) for token in tokens])
    return ints, (*ops, Reshape(final)) if final != have else tuple(ops)


def take_parsed(x: Any, shape: Shape, parsed: Parsed, mode: str | None = None) -> Any:
    """``x`` indexed by ``parsed``."""
    axes, tokens, advanced, index_shape = parsed
    if not advanced:
        return take_basic(x, *steps_of(parsed, shape))
    kept = [k for k in range(len(shape)) if k not in advanced]
    cut, back = slice_ops(shape, [FULL if k in advanced else item for k, item in enumerate(axes)])
    # Slices and arrays take different axes. Those that take fewer elements are first: so the cotangent of a part of a row is a row.
    arrays_first = prod(index_shape) * prod(shape[k] for k in kept) <= prod(cut.type_rule(array_type(shape, BOOL)).shape)
    if not arrays_first:
        x = reverse(slice_(x, cut.start, cut.stop, cut.step), back)
    indices = [index_array(axes[k], index_shape) for k in advanced]
    if mode is None:
        mode = "raise" if any(type(i) is Tracer for i in indices) else "promise_in_bounds"
    y = gather(x, indices, mode, advanced)
    # The axes of y: first the axes of the index, then the kept ones; then in the order of the tokens.
    count = len(index_shape)
    place = {k: count + j for j, k in enumerate(kept)}
    if arrays_first:
        start, stop, step = ([part[k] for k in kept] for part in (cut.start, cut.stop, cut.step))
        y = slice_(y, (*[0] * count, *start), (*index_shape, *stop), (*[1] * count, *step))
        y = reverse(y, [place[k] for k in back])
    order = [axis for token in tokens if token is not None for axis in (range(count) if token is ... else (place[token],))]
    y = permute(y, order)
    if None not in tokens:
        return y
    lengths = iter(shape_of(y))
    return reshape_op(y, [1 if token is None else next(lengths) for token in tokens for _ in range(count if token is ... else 1)])


def index_array(item: Any, shape: Shape) -> Any:
    """An int or integer array as an index array of this shape."""
    have = shape_of(item)
    if have == shape:
        return item
    return np.full(shape, item) if is_int(item) else spread_to(item, shape, have)


def slice_ops(shape: Shape, axes: Sequence[Any]) -> tuple[Slice, tuple[int, ...]]:
    """The op that slices an array by these slices (an int is a slice of length one), and the axes to reverse after it."""
    start: list[int] = []
    stop: list[int] = []
    step: list[int] = []
    back: list[int] = []
    for k, (item, n) in enumerate(zip(axes, shape, strict=True)):
        if is_int(item):
            a, b, s = item, item + 1, 1
        elif item == FULL:
            a, b, s = 0, n, 1
        else:
            a, count, s = slice_bounds(item, n)
            last = a + (count - 1) * s
            if s < 0:
                back.append(k)
                a, last, s = last, a, -s
            a, b, s = (a, last + 1, s) if count else (0, 0, 1)
        start.append(a)
        stop.append(b)
        step.append(s)
    return Slice(tuple(start), tuple(stop), tuple(step)), tuple(back)


def slice_bounds(item: slice, n: int) -> tuple[int, int, int]:
    """The first index, the number of elements and the step of a slice of ``n`` elements."""
    for bound in (item.start, item.stop, item.step):
        if bound is not None and not hasattr(bound, "__index__"):
            raise teach(IndexingError, f"index: the slice bound {bound!r} is not an integer.", do="slice with integers.")
    if item.step == 0:
        raise teach(IndexingError, "index: a slice step of zero.", do="give a step of at least 1, or a negative one.")
    if any(type(x) is Size for x in (item.start, item.stop, item.step, n)):
        return symbolic_bounds(item, n)
    a, b, s = item.indices(n)
    count = len(range(a, b, s))
    return (a, count, s) if count else (0, 0, 1)


def symbolic_bounds(item: slice, n: Any) -> tuple[Any, Any, int]:
    """`slice_bounds` where bounds are a `Size`."""
    s = 1 if item.step is None else operator.index(item.step)
    low, high = (0, n) if s > 0 else (-1, n - 1)

    def bound(x: Any, default: Any) -> Any:
        if x is None:
            return default
        x = as_index(x)
        x = x + n if x < 0 else x
        return low if x < low else min(x, high)

    a, b = bound(item.start, low if s > 0 else high), bound(item.stop, high if s > 0 else low)
    if not (a < b if s > 0 else b < a):
        return 0, 0, 1
    return a, (b - a + s - 1) // s if s > 0 else (a - b - s - 1) // -s, s


# ---- functions that read by index ----------------------------------------------------------------------------------------------
MODES = {
    None: None,
    "raise": "raise",
    "clip": "clip",
    "wrap": "wrap",
    "fill": "fill",
    "drop": "fill",
    "promise_in_bounds": "promise_in_bounds",
}


def gather_mode(mode: str | None) -> str | None:
    """The mode of `Gather` for a mode of NumPy or JAX."""
    if mode not in MODES:
        raise teach(
            UnsupportedFunctionError, f"index: there is no mode {mode!r}.", do=f"give one of {', '.join(str(m) for m in MODES if m)}."
        )
    return MODES[mode]


def taken(x: Any, index: Any, mode: str | None, fill_value: Any = None) -> Any:
    """``x[index]`` with the out-of-bounds behaviour of JAX's ``mode``; ``fill_value`` for mode fill."""
    x, index = with_axes_of_truths(strong(operand(x)), index)
    shape = shape_of(x)
    wanted = gather_mode(mode)
    parsed = parse(index, shape, check=wanted is None or wanted == "raise")
    if wanted == "raise":
        wanted = None
    if wanted is not None and not parsed.advanced:
        parsed = force_advanced(parsed)
    if wanted is None or not parsed.advanced:
        return take_parsed(x, shape, parsed)
    if wanted != "fill" or fill_value is None:
        return take_parsed(x, shape, parsed, wanted)
    inside = take_parsed(full_op(shape, np.True_), shape, parsed, "zero")
    return select(inside, take_parsed(x, shape, parsed, "zero"), convert_to(fill_value, type_of(x).dtype))


def force_advanced(parsed: Parsed) -> Parsed:
    """An equal index whose ints are advanced ones, so that a mode applies to them."""
    return Parsed(parsed.axes, [*parsed.tokens, ...], [k for k, item in enumerate(parsed.axes) if is_int(item)], ())


@fitted(np.take)
def take(x: Numbers, indices: Any, axis: int | None = None, mode: str | None = None, fill_value: Any = None) -> Any:
    """The elements (or, at ``axis``, slices) of ``x`` at integer ``indices``, of shape x.shape with that axis replaced by indices.shape.

    Out of bounds: ``mode`` None or "raise" refuses concrete indices; "clip", "wrap" and "fill" are as in JAX.

    Raises
    ------
    IndexingError
        A concrete index is out of bounds.
    """
    x, indices = as_line(operand(x), shape_of(x))[0], as_indices("take", indices)
    if axis is None:
        x, axis = reshape_op(x, (type_of(x).size,)), 0
    k = canonical_axis("take", axis, len(shape_of(x)))
    if type(x) is not Tracer and type(indices) is not Tracer and mode in (None, "raise"):
        return wrap(np.asarray(x).take(indices, k))
    if shape_of(indices) == () and type(indices) is not Tracer:
        indices = int(indices)
    return wrap(taken(x, (FULL,) * k + (indices,), mode, fill_value))


def as_indices(name: str, indices: Any) -> Any:
    """Integer indices; bools are the integers 0 and 1, not a mask. Lists and numbers, unlike arrays, are truncated to integers, as in
    NumPy.
    """
    if not isinstance(indices, np.ndarray | Tracer):
        indices = operand(indices) if has_tracer(indices) else np.asarray(indices, INTP)
    t = type_of(indices)
    if t.dtype.kind == "b":
        return convert_to(indices, INTP)
    if t.dtype.kind not in "iu" and not (t.shape and t.size == 0 and type(indices) is not Tracer):
        raise teach(IndexingError, f"{name}: indices of dtype {t.dtype}.", do="convert them with i.astype(int).")
    return indices if t.dtype.kind in "iu" else np.zeros(t.shape, INTP)


@eager(np.take_along_axis)
def take_along_axis(x: Numbers, indices: Numbers, axis: int | None = -1, mode: str | None = None, fill_value: Any = None) -> Any:
    """The elements of ``x`` at ``indices`` along ``axis``, matching on the other axes (which broadcast)."""
    x, indices = operand(x), operand(indices)
    if axis is None:
        x, axis = reshape_op(x, (type_of(x).size,)), 0
    have, want = shape_of(x), shape_of(indices)
    if len(have) != len(want):
        raise teach(
            IndexingError,
            f"take_along_axis: indices of shape {want} for an array of shape {have}.",
            do="give both the same number of axes.",
        )
    k = canonical_axis("take_along_axis", axis, len(have))
    common = broadcast_shapes("take_along_axis", [(*have[:k], 1, *have[k + 1 :]), (*want[:k], 1, *want[k + 1 :])])
    full = (*common[:k], want[k], *common[k + 1 :])
    chosen = gather_mode(mode) or "raise"
    if chosen == "raise":
        indices = bounded(indices, k, have)
        chosen = "raise" if type(indices) is Tracer else "promise_in_bounds"
    index = [
        spread_to(indices, full, want) if j == k else np.zeros(full, np.int64) if n == 1 else iota(full, j) for j, n in enumerate(have)
    ]
    return Gather(chosen)(x, *index)


@eager(np.compress)
def compress(condition: Numbers, x: Numbers, axis: int | None = None) -> Any:
    """The slices of ``x`` along ``axis`` (flattened if None) where the concrete ``condition`` is true."""
    x = operand(x)
    if axis is None:
        x, axis = reshape_op(x, (type_of(x).size,)), 0
    kept = operand(condition)
    if type(kept) is Tracer:
        refuse_mask(kept)
    if np.ndim(kept) != 1:
        what = f"compress: a condition of shape {np.shape(kept)}."
        raise teach(ShapeError, what, do="give a vector, or index with a mask: x[condition].")
    return take(x, np.flatnonzero(kept), axis=axis)


@eager(np.extract)
def extract(condition: Numbers, x: Numbers) -> Any:
    """The elements of ``x`` where the concrete ``condition`` is true."""
    return compress(operand(condition).reshape(-1), x)


@eager(np.choose)
def choose(which: Numbers, choices: Sequence[Numbers], mode: str = "raise") -> Any:
    """``choices[which]``, elementwise; the choices broadcast with ``which``, of integers from 0.

    Out of range: ``mode`` "raise" refuses a concrete ``which``, "wrap" and "clip" are as in `take`.

    Raises
    ------
    ArgumentError
        A concrete ``which`` is out of range.
    """
    parts = [operand(c) for c in choices]
    dtype = result_dtype(*parts)
    index = as_indices("choose", operand(which))
    if mode == "raise":
        index = chosen_from(index, len(parts))
    shape = broadcast_shapes("choose", [shape_of(index), *map(shape_of, parts)])
    stacked = [spread_to(convert_to(strong(c), dtype), shape, shape_of(c)) for c in parts]
    return take_along_axis(stack(stacked), spread_to(index, shape, shape_of(index))[None], 0, mode)[0]


def chosen_from(index: Any, count: int) -> Any:
    """The index of `choose`: negative values do not count from the end; traced, they become as invalid as ``count``."""
    if type(index) is Tracer:
        return index if type_of(index).dtype.kind == "u" else select(less(index, zero_like(index)), count, convert_to(index, INTP))
    wrong = np.asarray(index)[(np.asarray(index) < 0) | (np.asarray(index) >= count)]
    if wrong.size:
        raise teach(
            ArgumentError,
            f"choose: invalid entry in choice array: {wrong.flat[0]}, for {count} choices.",
            do=f'indices go from 0 to {count - 1}; or say mode="wrap" or "clip".',
        )
    return index


def as_mask(x: Any) -> Any:
    """``x`` if it is a bool array (not a scalar), concrete or traced; else None."""
    return x if getattr(x, "dtype", None) == BOOL and shape_of(x) else None
