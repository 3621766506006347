"""Copies of parts of arrays: pad, repeat, tile, insert, delete, and functions applied along axes."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from ..core.errors import ArgumentError, TracerConversionError, UnsupportedFunctionError, teach
from ..core.tracing import Tracer, type_of
from ..ops.families import BroadcastInDim
from ..ops.movement import pad as pad_op
from ..ops.movement import reshape as reshape_op
from .calling import eager
from .indexing import take
from .promotion import Numbers, canonical_axis, convert_to, operand, shape_of, spread_to, strong
from .reduction import max, mean, min
from .shape import broadcast_arrays, concatenate, expand_dims, moveaxis, stack
from .statistics import median

__all__ = ["apply_along_axis", "apply_over_axes", "delete", "insert", "pad", "repeat", "resize", "tile", "vectorize"]


def concrete(name: str, what: str, x: Any) -> Any:
    """``x``, on which the shape of the result depends, or the error that it is traced."""
    if type(x) is Tracer:
        raise teach(
            TracerConversionError,
            f"{name}: {what} is traced, but the shape of the result depends on it.",
            do=f"make {what} a plain number or array.",
        )
    return np.asarray(x)


# ---- pad -----------------------------------------------------------------------------------------------------------------------
COPYING = ("edge", "reflect", "symmetric", "wrap")
STATISTICS: dict[str, Callable[..., Any]] = {"maximum": max, "minimum": min, "mean": mean, "median": median}


def widths(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    """(before, behind) for each axis, from any of the forms that NumPy takes."""
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
    reflect_type: str = "even",
    stat_length: None = None,
) -> Any:
    """``x`` with elements before and behind along each axis: constants, or copies (edge, reflect, symmetric, wrap), or a statistic of the
    axis (maximum, minimum, mean, median).
    """
    x = strong(operand(x))
    pairs = widths(pad_width, len(shape_of(x)))
    if mode == "constant":
        return pad_constant(x, pairs, operand(constant_values))
    if mode in COPYING and reflect_type == "even":
        for k, pair in enumerate(pairs):
            if pair != (0, 0):
                x = take(x, np.pad(np.arange(shape_of(x)[k]), pair, mode=mode), axis=k)  # type: ignore[call-overload]
        return x
    if mode in STATISTICS and stat_length is None:
        for k, (before, behind) in enumerate(pairs):
            value = STATISTICS[mode](x, axis=k, keepdims=True)
            value = convert_to(np.rint(value) if type_of(x).dtype.kind in "iu" and mode in ("mean", "median") else value, type_of(x).dtype)
            have = shape_of(value)
            ends = [spread_to(value, (*have[:k], n, *have[k + 1 :]), have) for n in (before, behind)]
            x = concatenate([ends[0], x, ends[1]], k)
        return x
    raise teach(
        UnsupportedFunctionError,
        f"pad: mode {mode!r} of a traced array.",
        do=f"use constant, {', '.join(COPYING)} or {', '.join(STATISTICS)}.",
    )


def pad_constant(x: Any, pairs: Sequence[tuple[int, int]], values: Any) -> Any:
    """``x`` padded by constants: one for all, or (before, behind), or a pair for each axis."""
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
def repeat(x: Numbers, repeats: Any, /, axis: int | None = None, *, total_repeat_length: int | None = None) -> Any:
    """Each element of ``x`` along ``axis`` (flattened if None) that many times in a row; ``repeats`` is concrete."""
    x = strong(operand(x))
    if axis is None:
        x, axis = reshape_op(x, (prod(shape_of(x)),)), 0
    shape = shape_of(x)
    k = canonical_axis("repeat", axis, len(shape))
    counts = concrete("repeat", "repeats", operand(repeats))
    if counts.size == 1:
        times = int(counts.reshape(-1)[0])
        dims = tuple(j for j in range(len(shape) + 1) if j != k + 1)
        longer = BroadcastInDim((*shape[: k + 1], times, *shape[k + 1 :]), dims)(x)
        return reshape_op(longer, (*shape[:k], shape[k] * times, *shape[k + 1 :]))
    return take(x, np.repeat(np.arange(shape[k]), counts), axis=k)


@eager(np.tile)
def tile(x: Numbers, repetitions: int | Sequence[int], /) -> Any:
    """Copies of ``x`` side by side: as many along each axis as ``repetitions`` says."""
    counts = tuple(map(operator.index, repetitions)) if isinstance(repetitions, Sequence) else (operator.index(repetitions),)
    x = strong(operand(x))
    shape = shape_of(x)
    n = builtins.max(len(shape), len(counts))
    shape, counts = (1,) * (n - len(shape)) + shape, (1,) * (n - len(counts)) + counts
    wide = [m for pair in zip(counts, shape, strict=True) for m in pair]
    first = [m for length in shape for m in (1, length)]
    longer = spread_to(reshape_op(x, first), tuple(wide), tuple(first))
    return reshape_op(longer, [c * m for c, m in zip(counts, shape, strict=True)])


@eager(np.resize)
def resize(x: Numbers, new_shape: int | Sequence[int]) -> Any:
    """The elements of ``x``, over and over, in an array of ``new_shape``."""
    shape = tuple(new_shape) if isinstance(new_shape, Sequence) else (new_shape,)
    return take(operand(x), np.resize(np.arange(type_of(x).size), shape))


@eager(np.delete)
def delete(x: Numbers, obj: Any, axis: int | None = None) -> Any:
    """``x`` without the elements (along ``axis``, the slices) at the concrete indices ``obj``."""
    x = operand(x)
    if axis is None:
        x, axis = reshape_op(x, (prod(shape_of(x)),)), 0
    index = obj if isinstance(obj, slice) else concrete("delete", "obj", operand(obj))
    return take(x, np.delete(np.arange(shape_of(x)[axis]), index), axis=axis)


@eager(np.insert)
def insert(x: Numbers, obj: Any, values: Numbers, axis: int | None = None) -> Any:
    """``x`` with ``values`` put in before the concrete indices ``obj`` along ``axis`` (flattened if None)."""
    x, values = strong(operand(x)), operand(values)
    if axis is None:
        x, axis = reshape_op(x, (prod(shape_of(x)),)), 0
    shape = shape_of(x)
    k = canonical_axis("insert", axis, len(shape))
    index = obj if isinstance(obj, slice) else concrete("insert", "obj", operand(obj))
    n = shape[k]
    count = len(range(*index.indices(n))) if isinstance(index, slice) else index.size
    values = convert_to(values, type_of(x).dtype)
    have = shape_of(values)
    if not isinstance(index, slice) and index.ndim == 0:
        values = moveaxis(values, 0, k) if have and len(have) == len(shape) else values
        count = 1 if len(have) < len(shape) else have[0]
        have = shape_of(values)
        values = expand_dims(values, k) if have and len(have) < len(shape) else values
    want = (*shape[:k], count, *shape[k + 1 :])
    values = spread_to(values, want, shape_of(values))
    place = np.repeat(index, count) if not isinstance(index, slice) and index.size == 1 else index
    order = np.insert(np.arange(n), place, n + np.arange(count))
    return take(concatenate([x, values], k), order, axis=k)


# ---- functions along axes ------------------------------------------------------------------------------------------------------
def apply_along_axis(function: Callable[..., Any], axis: int, x: Numbers, *args: Any, **kwargs: Any) -> Any:
    """``function`` of each 1-d slice of ``x`` along ``axis``; its result's axes take the place of that axis. One call for each slice."""
    x = operand(x)
    shape = shape_of(x)
    k = canonical_axis("apply_along_axis", axis, len(shape))
    rest = (*shape[:k], *shape[k + 1 :])
    rows = reshape_op(moveaxis(x, k, -1), (prod(rest), shape[k]))
    results = stack([function(rows[i], *args, **kwargs) for i in range(prod(rest))])
    inner = shape_of(results)[1:]
    y = results.reshape((*rest, *inner))
    return moveaxis(y, tuple(range(len(rest), len(rest) + len(inner))), tuple(range(k, k + len(inner))))


def apply_over_axes(function: Callable[..., Any], x: Numbers, axes: int | Sequence[int]) -> Any:
    """``function(x, axis)`` for one axis after the other; axes that it removes are put back."""
    count = len(shape_of(operand(x)))
    for axis in axes if isinstance(axes, Sequence) else (axes,):
        y = function(x, axis)
        x = y if len(shape_of(y)) == count else expand_dims(y, axis)
    return x


def vectorize(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of scalars made one of arrays, elementwise: a Python loop. For speed write it with arrays, or use cotan.vmap."""

    def call(*xs: Any) -> Any:
        operands = [operand(x) for x in xs]
        spread = broadcast_arrays(*operands)
        shape = shape_of(spread[0])
        flat = [v.reshape(-1) for v in spread]
        return stack([function(*[v[i] for v in flat]) for i in range(prod(shape))]).reshape(shape)

    return call
