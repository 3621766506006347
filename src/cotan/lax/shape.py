"""Movement, contraction and creation under JAX's names and signatures."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..core.errors import IndexingError, ShapeError, teach
from ..core.tracing import type_of
from ..core.types import Shape
from ..numpy.creation import filled
from ..numpy.promotion import broadcast_shapes as common_shape
from ..numpy.promotion import convert_to, operand, strong
from ..ops import contraction, creation, movement
from ..ops.families import BroadcastInDim
from .strictness import agree, apply, finish

__all__ = [
    "batch_matmul", "broadcast", "broadcast_in_dim", "broadcast_shapes", "broadcast_to_rank", "broadcasted_iota", "collapse",
    "concatenate", "dot", "dot_general", "expand_dims", "full", "full_like", "index_in_dim", "iota", "pad", "reshape", "rev", "slice",
    "slice_in_dim", "squeeze", "transpose",
]  # fmt: skip

Dimensions = Sequence[int]


def axis_of(name: str, axis: int, ndim: int) -> int:
    """An axis from 0 on."""
    if not -ndim <= axis < ndim:
        raise teach(IndexingError, f"{name}: axis {axis} of an array with {ndim} axes.", do=f"give an axis from {-ndim} to {ndim - 1}.")
    return axis % ndim


# ---- creation --------------------------------------------------------------------------------------------------------------
def full(shape: Dimensions, fill_value: Any, dtype: Any = None) -> Any:
    """The scalar ``fill_value`` at every index of ``shape``."""
    value = operand(fill_value)
    value = strong(value) if dtype is None else convert_to(strong(value), np.dtype(dtype))
    if not hasattr(value, "trace"):
        return filled(tuple(shape), np.asarray(value)[()])
    return finish(creation.full(tuple(shape), value))


def full_like(x: Any, fill_value: Any, dtype: Any = None, shape: Dimensions | None = None) -> Any:
    """`full` of the shape and dtype of ``x``, unless they are given."""
    t = type_of(operand(x))
    return full(t.shape if shape is None else shape, fill_value, t.dtype if dtype is None else dtype)


def iota(dtype: Any, size: int) -> Any:
    """The numbers 0, 1, ... up to ``size``."""
    return broadcasted_iota(dtype, (size,), 0)


def broadcasted_iota(dtype: Any, shape: Dimensions, dimension: int) -> Any:
    """The index along ``dimension`` in an array of ``shape``."""
    return finish(creation.iota(tuple(shape), dimension, np.dtype(dtype)))


# ---- broadcasting and reshaping --------------------------------------------------------------------------------------------------
def broadcast(operand: Any, sizes: Dimensions) -> Any:
    """``operand`` copied along new leading axes of these lengths."""
    x = value(operand)
    shape = (*sizes, *type_of(x).shape)
    return apply(BroadcastInDim(shape, tuple(range(len(sizes), len(shape)))), x)


def value(x: Any) -> Any:
    """An operand, strong (under a name that a parameter called ``operand`` does not shadow)."""
    return strong(operand(x))


def broadcast_in_dim(operand: Any, shape: Dimensions, broadcast_dimensions: Dimensions) -> Any:
    """``operand`` copied to ``shape``, its axis k becoming axis ``broadcast_dimensions[k]``."""
    return apply(BroadcastInDim(tuple(shape), tuple(broadcast_dimensions)), value(operand))


def broadcast_shapes(*shapes: Dimensions) -> Shape:
    """The broadcast shape of these shapes. Raises ShapeError if they do not broadcast."""
    return common_shape("broadcast_shapes", [tuple(shape) for shape in shapes])


def broadcast_to_rank(x: Any, rank: int) -> Any:
    """``x`` with axes of length 1 in front, up to ``rank`` axes."""
    x = value(x)
    shape = type_of(x).shape
    return finish(movement.reshape(x, (1,) * (rank - len(shape)) + shape))


def reshape(operand: Any, new_sizes: Dimensions, dimensions: Dimensions | None = None) -> Any:
    """``operand`` (with its axes in the order ``dimensions`` first) in another shape; no length may be -1."""
    x = value(operand)
    if dimensions is not None:
        x = movement.permute(x, tuple(dimensions))
    return apply(movement.Reshape(tuple(new_sizes)), x)


def collapse(operand: Any, start_dimension: int, stop_dimension: int | None = None) -> Any:
    """``operand`` with the axes from ``start_dimension`` up to ``stop_dimension`` as one."""
    x = value(operand)
    shape = type_of(x).shape
    start, stop, _ = _slice(start_dimension, stop_dimension).indices(len(shape))
    return finish(movement.reshape(x, (*shape[:start], prod(shape[start:stop]), *shape[stop:])))


def squeeze(array: Any, dimensions: Dimensions) -> Any:
    """``array`` without these axes, of length 1."""
    x = value(array)
    shape = type_of(x).shape
    axes = [axis_of("squeeze", k, len(shape)) for k in dimensions]
    if any(shape[k] != 1 for k in axes):
        raise teach(ShapeError, f"squeeze: axes {tuple(dimensions)} of an array of shape {shape}.", do="name axes of length 1 only.")
    return finish(movement.reshape(x, [n for k, n in enumerate(shape) if k not in axes]))


def expand_dims(array: Any, dimensions: Dimensions) -> Any:
    """``array`` with new axes of length 1, at ``dimensions`` of the result."""
    x = value(array)
    count = len(type_of(x).shape) + len(dimensions)
    axes = {axis_of("expand_dims", k, count) for k in dimensions}
    rest = iter(type_of(x).shape)
    return finish(movement.reshape(x, [1 if k in axes else next(rest) for k in range(count)]))


def transpose(operand: Any, permutation: Dimensions) -> Any:
    """``operand`` with its axes in the order ``permutation``."""
    return apply(movement.Permute(tuple(permutation)), value(operand))


def rev(operand: Any, dimensions: Dimensions) -> Any:
    """``operand`` reversed along these axes."""
    return finish(movement.reverse(value(operand), tuple(dimensions)))


def concatenate(operands: Sequence[Any], dimension: int) -> Any:
    """Arrays of one dtype one after the other along ``dimension``."""
    return apply(movement.Concatenate(dimension), *[value(x) for x in operands])


def pad(operand: Any, padding_value: Any, padding_config: Sequence[tuple[int, int, int]]) -> Any:
    """``operand`` with ``padding_value`` around it: (low, high, interior) for each axis; negative low and high crop."""
    x, fill = agree("pad", (operand, padding_value))
    return apply(movement.Pad(tuple((a, b, c) for a, b, c in padding_config)), x, fill)


# ---- slicing -------------------------------------------------------------------------------------------------------------------
_slice = slice


def slice(operand: Any, start_indices: Dimensions, limit_indices: Dimensions, strides: Dimensions | None = None) -> Any:
    """Every ``strides``-th element from ``start_indices`` up to ``limit_indices``, all static."""
    x = value(operand)
    steps = (1,) * len(start_indices) if strides is None else tuple(strides)
    return apply(movement.Slice(tuple(start_indices), tuple(limit_indices), steps), x)


def slice_in_dim(operand: Any, start_index: int | None, limit_index: int | None, stride: int = 1, axis: int = 0) -> Any:
    """`slice` along one axis; negative bounds count from the end."""
    x = value(operand)
    shape = type_of(x).shape
    k = axis_of("slice_in_dim", axis, len(shape))
    start, stop, _ = _slice(start_index, limit_index).indices(shape[k])
    lower, upper, step = [0] * len(shape), list(shape), [1] * len(shape)
    lower[k], upper[k], step[k] = start, max(start, stop), stride
    return finish(movement.slice_(x, lower, upper, step))


def index_in_dim(operand: Any, index: int, axis: int = 0, keepdims: bool = True) -> Any:
    """The element at a static ``index`` along ``axis``."""
    shape = type_of(value(operand)).shape
    k = axis_of("index_in_dim", axis, len(shape))
    index = axis_of("index_in_dim", operator.index(index), shape[k])
    y = slice_in_dim(operand, index, index + 1, 1, k)
    return y if keepdims else squeeze(y, (k,))


# ---- contraction ---------------------------------------------------------------------------------------------------------------
def dot_general(lhs: Any, rhs: Any, dimension_numbers: Any, precision: Any = None, preferred_element_type: Any = None) -> Any:
    """The contraction over ((lhs axes, rhs axes), (lhs batch axes, rhs batch axes)); ``precision`` is accepted and has no effect."""
    contract, batch = dimension_numbers
    x, y = value(lhs), value(rhs)
    if preferred_element_type is not None:
        x, y = (convert_to(v, np.dtype(preferred_element_type)) for v in (x, y))
    (xc, yc), (xb, yb) = contract, batch
    return apply(contraction.DotGeneral((tuple(xc), tuple(yc)), (tuple(xb), tuple(yb))), x, y)


def dot(lhs: Any, rhs: Any, precision: Any = None, preferred_element_type: Any = None) -> Any:
    """The product of vectors and matrices: sums over the last axis of the first and the first of the second."""
    x = value(lhs)
    return dot_general(x, rhs, (((len(type_of(x).shape) - 1,), (0,)), ((), ())), precision, preferred_element_type)


def batch_matmul(lhs: Any, rhs: Any, precision: Any = None) -> Any:
    """The products of stacks of matrices with the same leading axes."""
    n = len(type_of(value(lhs)).shape)
    lead = tuple(range(n - 2))
    return dot_general(lhs, rhs, (((n - 1,), (n - 2,)), (lead, lead)), precision)
