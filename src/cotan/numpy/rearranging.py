"""Copies of parts of arrays: pad, repeat, tile, insert, delete, and functions applied along axes."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from ..core.errors import ArgumentError, IndexingError, ShapeError, UnsupportedFunctionError, teach
from ..core.tracing import Tracer, type_of
from ..ops.families import BroadcastInDim, broadcast_in_dim
from ..ops.movement import pad as pad_op
from ..ops.movement import reshape as reshape_op
from .calling import eager, fitted
from .creation import linspace, zeros
from .indexing import take
from .promotion import Numbers, as_line, canonical_axis, convert_to, operand, shape_of, spread_to, strong, wrap
from .quantiles import median
from .reduction import max, mean, min
from .shape import along, broadcast_arrays, check_broadcast, concatenate, expand_dims, flip, moveaxis, stack

__all__ = ["apply_along_axis", "apply_over_axes", "delete", "insert", "pad", "repeat", "resize", "tile", "vectorize"]


def concrete(x: Any) -> Any:
    """``x``, which determines the shape of the result; an error if it is traced and has no value."""
    if type(x) is Tracer:
        x = x.owner.concrete(x, "index")
    return np.asarray(x)


# ---- pad -----------------------------------------------------------------------------------------------------------------------
COPYING = ("edge", "reflect", "symmetric", "wrap")
STATISTICS: dict[str, Callable[..., Any]] = {"maximum": max, "minimum": min, "mean": mean, "median": median}


def widths(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    """(before, after) for each axis, from any form that NumPy takes."""
    if type(pad_width) is int and pad_width >= 0:  # most often
        return [(pad_width, pad_width)] * ndim
    if isinstance(pad_width, dict):
        given = {canonical_axis("pad", k, ndim): v for k, v in pad_width.items()}
        pairs = [given.get(k, (0, 0)) for k in range(ndim)]
        pad_width = [(p, p) if np.ndim(p) == 0 else p for p in pairs]
    array = np.broadcast_to(np.asarray(pad_width), (ndim, 2))
    if array.size and (array.dtype.kind not in "iu" or array.min() < 0):
        raise teach(
            ArgumentError,
            f"pad: widths {pad_width}.",
            do="give nonnegative integers: one for all, (before, behind), or a pair for each axis.",
        )
    return [(int(a), int(b)) for a, b in array]


@eager(np.pad)
def pad(
    x: Numbers,
    pad_width: Any,
    mode: str = "constant",
    *,
    constant_values: Numbers = 0,
    end_values: Numbers = 0,
    reflect_type: str = "even",
    stat_length: Any = None,
) -> Any:
    """``x`` with elements before and after it along each axis: constants; copies (edge, reflect, symmetric, wrap); a ramp down to
    ``end_values`` (linear_ramp); a statistic (maximum, minimum, mean, median) of the ``stat_length`` elements next to the end; or zeros
    (empty).
    """
    x = strong(x)
    pairs = widths(pad_width, len(shape_of(x)))
    if mode == "constant" or mode == "empty":
        return pad_constant(x, pairs, constant_values if mode == "constant" else 0)
    empty = [k for k, pair in enumerate(pairs) if shape_of(x)[k] == 0 and pair != (0, 0)]
    if empty:
        raise teach(ShapeError, f"pad: mode {mode!r} of axis {empty[0]}, which is empty.", do='use "constant".')
    if mode in COPYING and (reflect_type == "even" or mode in ("edge", "wrap")):
        for k, pair in enumerate(pairs):
            if pair != (0, 0):
                x = take(x, np.pad(np.arange(shape_of(x)[k]), pair, mode=mode), axis=k)  # type: ignore[call-overload]
        return x
    if mode == "linear_ramp":
        return pad_ramp(x, pairs, end_values)
    if mode in STATISTICS:
        return pad_statistic(x, pairs, mode, stat_length)
    raise teach(
        UnsupportedFunctionError,
        f"pad: mode {mode!r}, reflect_type {reflect_type!r} of a traced array.",
        do=f"use constant, linear_ramp, {', '.join(COPYING)} (even) or {', '.join(STATISTICS)}.",
    )


def pad_statistic(x: Any, pairs: Sequence[tuple[int, int]], mode: str, stat_length: Any) -> Any:
    """``x`` padded by a statistic of the elements next to each end (all, if ``stat_length`` is None)."""
    dtype, shape = type_of(x).dtype, shape_of(x)
    lengths = [(None, None)] * len(pairs) if stat_length is None else widths(stat_length, len(pairs))
    for k, (widths_k, lengths_k) in enumerate(zip(pairs, lengths, strict=True)):
        n, ends = shape[k], []
        for behind, (width, length) in enumerate(zip(widths_k, lengths_k, strict=True)):
            count = n if length is None else builtins.min(length, n)
            if count == 0 and mode in ("maximum", "minimum"):
                raise teach(ArgumentError, f"pad: stat_length=0 with mode {mode!r}.", do="give at least 1.")
            value = STATISTICS[mode](along(x, k, n - count if behind else 0, n if behind else count), axis=k, keepdims=True)
            value = convert_to(np.rint(value) if dtype.kind in "iu" and mode in ("mean", "median") else value, dtype)
            have = shape_of(value)
            ends.append(spread_to(value, (*have[:k], width, *have[k + 1 :]), have))
        x = concatenate([ends[0], x, ends[1]], k)
    return x


def pad_ramp(x: Any, pairs: Sequence[tuple[int, int]], end_values: Any) -> Any:
    """``x`` padded by numbers that change linearly from its edges to ``end_values``, in its dtype."""
    dtype = type_of(x).dtype
    table = pairs_of(end_values, len(pairs))
    for k, (before, behind) in enumerate(pairs):
        n = shape_of(x)[k]
        if (before, behind) == (0, 0):
            continue
        first = linspace(table[k][0], along(x, k, 0, 1).squeeze(k), before, endpoint=False, dtype=dtype, axis=k)
        last = linspace(table[k][1], along(x, k, n - 1, n).squeeze(k), behind, endpoint=False, dtype=dtype, axis=k)
        x = concatenate([first, x, flip(last, k)], k)
    return x


def pairs_of(values: Any, ndim: int) -> list[tuple[Any, Any]]:
    """(before, after) for each axis, from one number for all, one pair, or a pair for each axis."""
    if shape_of(values) == ():
        return [(values, values)] * ndim
    table = spread_to(strong(values), (ndim, 2), shape_of(values))
    return [(table[k, 0], table[k, 1]) for k in range(ndim)]


def pad_constant(x: Any, pairs: Sequence[tuple[int, int]], values: Any) -> Any:
    """``x`` padded by constants: one for all, or (before, after), or a pair for each axis."""
    dtype, ndim = type_of(x).dtype, len(pairs)
    if shape_of(values) == ():
        return pad_op(x, convert_to(values, dtype), [(a, b, 0) for a, b in pairs])
    table = spread_to(convert_to(values, dtype), (ndim, 2), shape_of(values))
    for k, (before, behind) in enumerate(pairs):
        x = pad_op(x, table[k, 0], [(before if j == k else 0, 0, 0) for j in range(ndim)])
        x = pad_op(x, table[k, 1], [(0, behind if j == k else 0, 0) for j in range(ndim)])
    return x


# ---- copies --------------------------------------------------------------------------------------------------------------------
@eager(np.repeat)
def repeat(x: Numbers, repeats: Any, axis: int | None = None, *, total_repeat_length: int | None = None) -> Any:
    """Each element of ``x`` along ``axis`` (flattened if None) that many times in a row; ``repeats`` is concrete."""
    x = strong(x)
    if axis is None:
        x, axis = reshape_op(x, (prod(shape_of(x)),)), 0
    x, shape = as_line(x, shape_of(x))
    k = canonical_axis("repeat", axis, len(shape))
    counts = concrete(operand(repeats))
    if counts.size == 1:
        times = int(counts.reshape(-1)[0])
        dims = tuple(j for j in range(len(shape) + 1) if j != k + 1)
        longer = BroadcastInDim((*shape[: k + 1], times, *shape[k + 1 :]), dims)(x)
        return reshape_op(longer, (*shape[:k], shape[k] * times, *shape[k + 1 :]))
    return take(x, np.repeat(np.arange(shape[k]), counts), axis=k)


@eager(np.tile)
def tile(x: Numbers, reps: int | Sequence[int]) -> Any:
    """Copies of ``x`` side by side: ``reps`` of them along each axis."""
    counts = tuple(map(operator.index, reps)) if isinstance(reps, Sequence | np.ndarray) else (operator.index(reps),)
    x = strong(operand(x))
    shape = shape_of(x)
    n = builtins.max(len(shape), len(counts))
    shape, counts = (1,) * (n - len(shape)) + shape, (1,) * (n - len(counts)) + counts
    wide = tuple(m for pair in zip(counts, shape, strict=True) for m in pair)
    longer = broadcast_in_dim(reshape_op(x, shape), wide, range(1, 2 * n, 2))
    return reshape_op(longer, [c * m for c, m in zip(counts, shape, strict=True)])


@eager(np.resize)
def resize(x: Numbers, new_shape: int | Sequence[int]) -> Any:
    """The elements of ``x``, repeated cyclically, in an array of ``new_shape``."""
    shape = tuple(new_shape) if isinstance(new_shape, Sequence) else (new_shape,)
    if type_of(x).size == 0:
        return zeros(shape, type_of(x).dtype)
    return take(strong(x), np.resize(np.arange(type_of(x).size), shape))


@eager(np.delete)
def delete(x: Numbers, obj: Any, axis: int | None = None) -> Any:
    """``x`` without the elements (along ``axis``, the slices) at the concrete indices ``obj``."""
    x = strong(x)
    if axis is None:
        x, axis = reshape_op(x, (prod(shape_of(x)),)), 0
    k = canonical_axis("delete", axis, len(shape_of(x)))
    index = obj if isinstance(obj, slice) else concrete(operand(obj))
    if not isinstance(index, slice) and not index.size:
        index = index.astype(np.intp)
    return take(x, np.delete(np.arange(shape_of(x)[k]), index), axis=k)


@eager(np.insert)
def insert(x: Numbers, obj: Any, values: Numbers, axis: int | None = None) -> Any:
    """``x`` with ``values`` inserted before the concrete indices ``obj`` along ``axis`` (flattened if None)."""
    x = strong(x)
    if axis is None:
        x, axis = reshape_op(x, (prod(shape_of(x)),)), 0
    shape = shape_of(x)
    k = canonical_axis("insert", axis, len(shape))
    n = shape[k]
    index = np.arange(*obj.indices(n)) if isinstance(obj, slice) else concrete(operand(obj))
    if index.ndim > 1:
        raise teach(ShapeError, f"insert: obj of shape {index.shape}.", do="give an index, a vector of indices, or a slice.")
    if index.dtype.kind == "b":
        index = np.flatnonzero(index)
    if index.size and not -n <= index.min() <= index.max() <= n:
        raise teach(IndexingError, f"insert: obj {obj} for {n} elements along axis {k}.", do=f"give indices from {-n} to {n}.")
    values = convert_to(values, type_of(x).dtype)
    if index.size == 1:  # all values are inserted at this index
        values = reshape_op(strong(values), (1,) * (len(shape) - len(shape_of(values))) + shape_of(values))
        values = moveaxis(values, 0, k) if index.ndim == 0 else values
        index = np.repeat(index.reshape(-1), shape_of(values)[k])
    want = (*shape[:k], index.size, *shape[k + 1 :])
    check_broadcast(values, want)
    order = np.insert(np.arange(n), index.astype(np.intp), n + np.arange(index.size))
    return take(concatenate([x, spread_to(values, want, shape_of(values))], k), order, axis=k)


# ---- functions along axes ------------------------------------------------------------------------------------------------------
@fitted(np.apply_along_axis)
def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Numbers, *args: Any, **kwargs: Any) -> Any:
    """``func1d`` of each 1-d slice of ``arr`` along ``axis``; the axes of its result replace that axis. One call for each slice."""
    x = strong(arr)
    shape = shape_of(x)
    k = canonical_axis("apply_along_axis", axis, len(shape))
    rest = (*shape[:k], *shape[k + 1 :])
    rows = reshape_op(moveaxis(x, k, -1), (prod(rest), shape[k]))
    results = stack([func1d(rows[i], *args, **kwargs) for i in range(prod(rest))])
    inner = shape_of(results)[1:]
    y = results.reshape((*rest, *inner))
    return moveaxis(y, tuple(range(len(rest), len(rest) + len(inner))), tuple(range(k, k + len(inner))))


@fitted(np.apply_over_axes)
def apply_over_axes(func: Callable[..., Any], a: Numbers, axes: int | Sequence[int]) -> Any:
    """``func(a, axis)`` for one axis after the other; axes that it removes are restored with length 1."""
    x, count = strong(a), len(shape_of(a))
    for axis in axes if isinstance(axes, Sequence) else (axes,):
        axis = axis + count if axis < 0 else axis
        y = func(x, axis)
        x = y if len(shape_of(y)) == count else expand_dims(y, axis)
    return wrap(x)


def vectorize(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of scalars as an elementwise function of arrays: a Python loop. For speed, write it with arrays, or use cotan.vmap."""

    def call(*xs: Any) -> Any:
        operands = [operand(x) for x in xs]
        spread = broadcast_arrays(*operands)
        shape = shape_of(spread[0])
        flat = [v.reshape(-1) for v in spread]
        return stack([function(*[v[i] for v in flat]) for i in range(prod(shape))]).reshape(shape)

    return call
