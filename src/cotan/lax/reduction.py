"""Reductions, running reductions and sorting under JAX's names and signatures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.tracing import type_of
from ..numpy.elementwise import subtract
from ..numpy.promotion import convert_to
from ..ops import families, movement, reduction, searching, sorting
from .shape import axis_of, slice_in_dim, value
from .strictness import apply, finish

__all__ = [
    "argmax", "argmin", "cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum", "reduce_and", "reduce_max", "reduce_min", "reduce_or",
    "reduce_prod", "reduce_sum", "sort", "sort_key_val", "top_k",
]  # fmt: skip


def reducing(name: str, op: Callable[..., Any], sentence: str) -> Callable[..., Any]:
    """The function ``name`` of an op over axes."""

    def call(operand: Any, axes: Sequence[int]) -> Any:
        x = value(operand)
        ndim = len(type_of(x).shape)
        return apply(op(tuple(sorted(axis_of(name, k, ndim) for k in axes))), x)

    call.__name__ = call.__qualname__ = name
    call.__module__ = "cotan.lax"
    call.__doc__ = f"{sentence} over ``axes``, a sequence of axes; the dtype is kept."
    return call


reduce_sum = reducing("reduce_sum", families.ReduceSum, "The sum")
reduce_prod = reducing("reduce_prod", reduction.ReduceProd, "The product")
reduce_max = reducing("reduce_max", reduction.ReduceMax, "The largest element")
reduce_min = reducing("reduce_min", reduction.ReduceMin, "The smallest element")
reduce_and = reducing("reduce_and", reduction.ReduceAnd, "Whether all are true (of integers the bitwise and)")
reduce_or = reducing("reduce_or", reduction.ReduceOr, "Whether any is true (of integers the bitwise or)")


def running(name: str, op: Callable[..., Any], sentence: str) -> Callable[..., Any]:
    """The function ``name`` of an op along one axis."""

    def call(operand: Any, axis: int = 0, reverse: bool = False) -> Any:
        x = value(operand)
        return apply(op(axis_of(name, axis, len(type_of(x).shape)), reverse), x)

    call.__name__ = call.__qualname__ = name
    call.__module__ = "cotan.lax"
    call.__doc__ = f"{sentence} along ``axis``, from the end if ``reverse``."
    return call


cumsum = running("cumsum", reduction.Cumsum, "Running sums")
cumprod = running("cumprod", reduction.Cumprod, "Running products")
cummax = running("cummax", reduction.Cummax, "Running maxima")
cummin = running("cummin", reduction.Cummin, "Running minima")
cumlogsumexp = running("cumlogsumexp", reduction.Cumlogsumexp, "Logarithms of running sums of exponentials")


def argmax(operand: Any, axis: int, index_dtype: Any = np.int64) -> Any:
    """The index of the first largest element along ``axis``."""
    x = value(operand)
    return finish(convert_to(searching.argmax(x, axis_of("argmax", axis, len(type_of(x).shape))), np.dtype(index_dtype)))


def argmin(operand: Any, axis: int, index_dtype: Any = np.int64) -> Any:
    """The index of the first smallest element along ``axis``."""
    x = value(operand)
    return finish(convert_to(searching.argmin(x, axis_of("argmin", axis, len(type_of(x).shape))), np.dtype(index_dtype)))


def sort(operand: Any, dimension: int = -1, is_stable: bool = True) -> Any:
    """``operand`` in ascending order along ``dimension``; always stable."""
    x = value(operand)
    return finish(sorting.sort(x, axis_of("sort", dimension, len(type_of(x).shape))))


def sort_key_val(keys: Any, values: Any, dimension: int = -1, is_stable: bool = True) -> tuple[Any, Any]:
    """(keys, values), both in the order that sorts ``keys`` along ``dimension``."""
    x, y = value(keys), value(values)
    k = axis_of("sort_key_val", dimension, len(type_of(x).shape))
    order = searching.argsort(x, k)
    return finish(sorting.take_along(x, order, k)), finish(sorting.take_along(y, order, k))


def top_k(operand: Any, k: int) -> tuple[Any, Any]:
    """The ``k`` largest elements along the last axis, descending, and their indices (int64; in JAX int32)."""
    x = value(operand)
    shape = type_of(x).shape
    last = len(shape) - 1
    # Reversed before and after, so that equal elements stay in order.
    order = movement.reverse(searching.argsort(movement.reverse(x, (last,)), last), (last,))
    index = value(subtract(np.int64(shape[last] - 1), slice_in_dim(order, 0, k, axis=last)))
    return finish(sorting.take_along(x, index, last)), finish(index)
