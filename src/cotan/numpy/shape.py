"""Shapes: reshaping, reordering axes, joining and splitting. Static shapes; every function is a few movement ops when traced."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from ..core.errors import DtypeError, ShapeError, teach
from ..core.sizes import as_index
from ..core.tracing import Tracer, type_of
from ..core.types import Shape
from ..ops import movement
from ..ops.families import BroadcastInDim
from ..ops.movement import concatenate as join
from ..ops.movement import roll as roll_op
from ..ops.movement import slice_
from .calling import eager, fitted
from .promotion import (
    Numbers,
    broadcast_shapes,
    canonical_axes,
    canonical_axis,
    convert_to,
    operand,
    reduced_axes,
    result_dtype,
    shape_of,
    wrap,
)
from .roots import moves, spread_to, strong

__all__ = [
    "append", "array_split", "atleast_1d", "atleast_2d", "atleast_3d", "block", "broadcast_arrays", "broadcast_shapes_of", "broadcast_to",
    "column_stack", "concat", "concatenate", "dsplit", "dstack", "expand_dims", "flip", "fliplr", "flipud", "hsplit", "hstack",
    "matrix_transpose", "moveaxis", "ndim", "permute_dims", "ravel", "reshape", "roll", "rollaxis", "rot90", "row_stack", "shape", "size",
    "split", "squeeze", "stack", "swapaxes", "transpose", "unstack", "vsplit", "vstack",
]  # fmt: skip

permute, reverse, reshape_op = moves(movement.permute), moves(movement.reverse), moves(movement.reshape)


# ---- about an array ------------------------------------------------------------------------------------------------------
@fitted(np.shape)
def shape(x: Numbers) -> Shape:
    """The shape of ``x``."""
    return shape_of(x)


@fitted(np.ndim)
def ndim(x: Numbers) -> int:
    """The number of axes of ``x``."""
    return len(shape_of(x))


@fitted(np.size)
def size(x: Numbers, axis: int | tuple[int, ...] | None = None) -> int:
    """The number of elements of ``x``, along ``axis`` if given."""
    lengths = shape_of(x)
    return prod(lengths[k] for k in canonical_axes("size", axis, len(lengths)))


def broadcast_shapes_of(*shapes: int | Sequence[int]) -> Shape:
    """The shape that these shapes broadcast to. Raises ShapeError if they do not."""
    return broadcast_shapes("broadcast_shapes", [(s,) if isinstance(s, int) else tuple(s) for s in shapes])


# ---- new shape, same elements ----------------------------------------------------------------------------------------------
def check_reshape(x: Numbers, shape: Any = None, **_: Any) -> None:
    """Raise ShapeError if ``x`` does not have the elements for ``shape``."""
    have = shape_of(operand(x))
    wanted = tuple(map(as_index, shape)) if isinstance(shape, Sequence) else (as_index(shape),)
    known = prod(n for n in wanted if n != -1)
    fits = prod(have) % known == 0 if known and wanted.count(-1) == 1 else prod(have) == known and -1 not in wanted
    if not fits:
        raise teach(
            ShapeError,
            f"reshape: an array of shape {have} ({prod(have)} elements) to {wanted}.",
            do="give a shape with the same number of elements; one length may be -1, and is found from the others.",
        )


@eager(np.reshape, check_reshape)
def reshape(x: Numbers, /, shape: int | Sequence[int], order: str = "C", *, copy: bool | None = None) -> Any:
    """The elements of ``x`` in the order of ``order`` ("C" or "F") in another shape, in which one length may be -1.

    Raises
    ------
    ShapeError
        The number of elements differs.
    """
    x = strong(operand(x))
    if order == "F":
        wanted = tuple(shape) if isinstance(shape, Sequence) else (shape,)
        return transpose(reshape(transpose(x), wanted[::-1]))
    check_reshape(x, shape)
    have = shape_of(x)
    wanted = tuple(map(as_index, shape)) if isinstance(shape, Sequence) else (as_index(shape),)
    if -1 in wanted:
        known = prod(n for n in wanted if n != -1)
        wanted = tuple(prod(have) // known if n == -1 else n for n in wanted)
    return reshape_op(x, wanted)


@eager(np.ravel)
def ravel(x: Numbers, order: str = "C") -> Any:
    """All elements of ``x`` along one axis."""
    return reshape(operand(x), -1, order=order)


def check_squeeze(x: Numbers, axis: Any = None) -> None:
    """Raise ShapeError if ``axis`` has another length than 1."""
    have = shape_of(operand(x))
    for k in () if axis is None else reduced_axes("squeeze", axis, len(have)):
        if have[k] != 1:
            raise teach(
                ShapeError, f"squeeze: axis {k} of an array of shape {have} has length {have[k]}, not 1.", do="name axes of length 1 only."
            )


@eager(np.squeeze, check_squeeze)
def squeeze(x: Numbers, axis: int | tuple[int, ...] | None = None) -> Any:
    """``x`` without its axes of length 1, or without those in ``axis``. Raises ShapeError if one of these is longer."""
    check_squeeze(x, axis)
    have = shape_of(x)
    axes = [k for k, n in enumerate(have) if n == 1] if axis is None else reduced_axes("squeeze", axis, len(have))
    return reshape_op(x, [n for k, n in enumerate(have) if k not in axes])


@eager(np.expand_dims)
def expand_dims(x: Numbers, axis: int | tuple[int, ...]) -> Any:
    """``x`` with new axes of length 1, which are at ``axis`` in the result."""
    have = shape_of(x)
    places = axis if isinstance(axis, tuple | list) else (axis,)
    axes = canonical_axes("expand_dims", tuple(places), len(have) + len(places))
    rest = iter(have)
    return reshape_op(strong(x), [1 if k in axes else next(rest) for k in range(len(have) + len(axes))])


def at_least(count: int) -> Any:
    """The function that gives arrays at least ``count`` axes, with NumPy's positions of new axes."""
    numpy_function = getattr(np, f"atleast_{count}d")

    @eager(numpy_function)
    def call(*arrays: Numbers) -> Any:
        results: list[Any] = []
        for x in arrays:
            x = strong(operand(x))
            have = shape_of(x)
            if len(have) < count:
                have = (
                    (1,) * (count - len(have)) + have
                    if count < 3
                    else (1, *have, 1)
                    if len(have) == 1
                    else (*have, 1)
                    if have
                    else (1, 1, 1)
                )
            results.append(wrap(np.asarray(x).reshape(have)) if type(x) is not Tracer else reshape_op(x, have))
        return results[0] if len(results) == 1 else tuple(results)

    call.__name__ = call.__qualname__ = f"atleast_{count}d"
    call.__doc__ = f"Each array with at least {count} axes, new ones of length 1; a tuple for several arrays."
    return call


atleast_1d, atleast_2d, atleast_3d = at_least(1), at_least(2), at_least(3)


# ---- order of axes and elements --------------------------------------------------------------------------------------------
@eager(np.transpose)
def transpose(x: Numbers, axes: Sequence[int] | None = None) -> Any:
    """``x`` with its axes in the order ``axes``, or reversed."""
    count = len(shape_of(x))
    if axes is None:
        return permute(x, tuple(range(count))[::-1])
    order = [canonical_axis("transpose", k, count) for k in axes]
    if sorted(order) != list(range(count)):
        raise teach(
            ShapeError, f"transpose: {tuple(axes)} does not order the axes of an array of shape {shape_of(x)}.", do="name every axis once."
        )
    return permute(x, order)


@eager(np.permute_dims)
def permute_dims(x: Numbers, /, axes: Sequence[int] | None = None) -> Any:
    """``x`` with its axes in the order ``axes``."""
    return transpose(x, axes)


@eager(np.matrix_transpose)
def matrix_transpose(x: Numbers, /) -> Any:
    """``x`` with its last two axes exchanged."""
    if len(shape_of(x)) < 2:
        raise teach(
            ShapeError, f"matrix_transpose: an array of shape {shape_of(x)} has no matrices.", do="give an array with at least two axes."
        )
    return swapaxes(x, -1, -2)


@eager(np.swapaxes)
def swapaxes(x: Numbers, axis1: int, axis2: int) -> Any:
    """``x`` with two axes exchanged."""
    order = list(range(len(shape_of(x))))
    a, b = canonical_axis("swapaxes", axis1, len(order)), canonical_axis("swapaxes", axis2, len(order))
    order[a], order[b] = order[b], order[a]
    return permute(x, order)


@eager(np.moveaxis)
def moveaxis(x: Numbers, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """``x`` with the axes ``source`` at the positions ``destination``, the others in their order."""
    count = len(shape_of(x))
    old = [canonical_axis("moveaxis", k, count) for k in (source if isinstance(source, Sequence) else (source,))]
    new = [canonical_axis("moveaxis", k, count) for k in (destination if isinstance(destination, Sequence) else (destination,))]
    if len(old) != len(new) or len(set(old)) < len(old) or len(set(new)) < len(new):
        raise teach(
            ShapeError,
            f"moveaxis: source {source} and destination {destination} do not pair.",
            do="give as many distinct destinations as sources.",
        )
    order = [k for k in range(count) if k not in old]
    for place, k in sorted(zip(new, old, strict=True)):
        order.insert(place, k)
    return permute(x, order)


@eager(np.rollaxis)
def rollaxis(x: Numbers, axis: int, start: int = 0) -> Any:
    """``x`` with ``axis`` moved before the axis ``start``."""
    count = len(shape_of(x))
    axis, start = canonical_axis("rollaxis", axis, count), start + count if start < 0 else start
    return moveaxis(x, axis, start - (start > axis))


@eager(np.flip)
def flip(x: Numbers, axis: int | tuple[int, ...] | None = None) -> Any:
    """``x`` with its elements in reverse order along ``axis`` (all axes if None)."""
    return reverse(x, canonical_axes("flip", axis, len(shape_of(x))))


@eager(np.fliplr)
def fliplr(x: Numbers) -> Any:
    """``x`` reversed along axis 1."""
    return flip(x, 1)


@eager(np.flipud)
def flipud(x: Numbers) -> Any:
    """``x`` reversed along axis 0."""
    return flip(x, 0)


@eager(np.rot90)
def rot90(x: Numbers, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    """``x`` rotated ``k`` quarter turns from the first of ``axes`` towards the second."""
    turns, (a, b) = k % 4, (canonical_axis("rot90", axis, len(shape_of(x))) for axis in axes)
    if a == b:
        raise teach(ShapeError, f"rot90: axes {tuple(axes)} are one axis.", do="name two axes, the plane to rotate in.")
    if turns == 0:
        return x
    if turns == 2:
        return flip(x, tuple(axes))
    return swapaxes(flip(x, axes[1]), *axes) if turns == 1 else flip(swapaxes(x, *axes), axes[1])


@eager(np.roll)
def roll(x: Numbers, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Any:
    """``x`` with its elements shifted by ``shift`` along ``axis``, cyclically; flattened if axis is None."""
    have = shape_of(x)
    if axis is None:
        return reshape_op(roll(reshape_op(x, (prod(have),)), shift, 0), have)
    if type(shift) is int and type(axis) is int:  # most often
        return roll_op(x, shift, canonical_axis("roll", axis, len(have)))
    shifts, axes = np.broadcast_arrays(shift, axis)
    for by, k in zip(shifts.ravel().tolist(), axes.ravel().tolist(), strict=True):
        x = roll_op(x, by, canonical_axis("roll", k, len(have)))
    return x


def along(x: Any, axis: int, start: int, stop: int) -> Any:
    """``x[..., start:stop, ...]`` at ``axis``."""
    have = shape_of(x)
    return slice_(x, [start if k == axis else 0 for k in range(len(have))], [stop if k == axis else n for k, n in enumerate(have)])


# ---- broadcasting ------------------------------------------------------------------------------------------------------------
def check_broadcast(x: Numbers, shape: Any, *_: Any, **__: Any) -> None:
    """Raise ShapeError if ``x`` does not broadcast to ``shape``."""
    have, want = shape_of(operand(x)), tuple(shape) if isinstance(shape, Sequence) else (shape,)
    if len(have) > len(want) or any(n not in (1, m) for n, m in zip(have[::-1], want[::-1], strict=False)):
        raise teach(
            ShapeError,
            f"broadcast_to: an array of shape {have} does not broadcast to {want}.",
            do="axes are compared from the last; each must be equal or 1. Insert axes with x[:, None].",
        )


@eager(np.broadcast_to, check_broadcast)
def broadcast_to(x: Numbers, shape: int | Sequence[int]) -> Any:
    """``x`` copied along new axes in front and axes of length 1 to ``shape``. Raises ShapeError if it does not fit."""
    check_broadcast(x, shape)
    want = tuple(map(as_index, shape)) if isinstance(shape, Sequence) else (as_index(shape),)
    return spread_to(strong(x), want, shape_of(x))


@eager(np.broadcast_arrays)
def broadcast_arrays(*arrays: Numbers) -> tuple[Any, ...]:
    """The arrays broadcast to their common shape."""
    operands = [operand(x) for x in arrays]
    common = broadcast_shapes("broadcast_arrays", [shape_of(x) for x in operands])
    return tuple(spread_to(strong(x), common, shape_of(x)) for x in operands)


# ---- joining -----------------------------------------------------------------------------------------------------------------
def joined(name: str, arrays: Sequence[Any], axis: int, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Operands in one dtype, concatenated. Shapes and casts are checked here; errors use ``name``."""
    if not arrays:
        raise teach(ShapeError, f"{name}: no arrays.", do="give at least one.")
    check_joined(name, arrays, axis)
    wide = result_dtype(*arrays) if dtype is None else np.dtype(dtype)
    for have in (type_of(x).dtype for x in arrays if not type_of(x).weak):
        if not np.can_cast(have, wide, casting):  # type: ignore[arg-type]
            raise teach(DtypeError, f"{name}: {have} to {wide} with casting={casting!r}.", do='convert before, or casting="unsafe".')
    return join([convert_to(x, wide) for x in arrays], axis)


def check_joined(name: str, arrays: Sequence[Any], axis: int) -> None:
    """Raise ShapeError unless the arrays differ in ``axis`` only."""
    shapes = [shape_of(x) for x in arrays]
    rest = {(s[:axis], s[axis + 1 :], len(s)) for s in shapes}
    if len(rest) > 1 or not shapes[0]:
        raise teach(
            ShapeError,
            f"{name}: arrays of shapes {', '.join(map(str, shapes))} cannot be joined along axis {axis}.",
            do="they must have the same axes, of equal lengths but for the one joined; for 0-d arrays use cotan.numpy.stack.",
        )


def as_list(arrays: Any) -> list[Any]:
    """The operands in a sequence of arrays, or along the first axis of one array."""
    return [operand(x) for x in arrays]


def check_concatenate(arrays: Any, axis: Any = 0, **_: Any) -> None:
    """Raise ShapeError if the arrays do not fit."""
    operands = as_list(arrays)
    if axis is not None and operands:
        count = len(shape_of(operands[0]))
        check_joined("concatenate", operands, canonical_axis("concatenate", axis, count) if count else 0)


@eager(np.concatenate, check_concatenate)
def concatenate(arrays: Any, /, axis: int | None = 0, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """The arrays one after the other along ``axis`` (flattened first if None), in their common dtype.

    Raises
    ------
    ShapeError
        The shapes differ in another axis.
    """
    operands = as_list(arrays)
    if axis is None:  # weak numbers among the arrays are allowed only here
        if dtype is None and operands:
            operands = [convert_to(x, common) for common in (result_dtype(*operands),) for x in operands]
        operands, axis = [reshape_op(x, (prod(shape_of(x)),)) for x in operands], 0
    count = len(shape_of(operands[0])) if operands else 0
    return joined("concatenate", operands, canonical_axis("concatenate", axis, count) if count else 0, dtype, casting)


concat = concatenate


def check_stack(arrays: Any, axis: int = 0, **_: Any) -> None:
    """Raise ShapeError if the shapes differ."""
    shapes = [shape_of(operand(x)) for x in arrays]
    if len(set(shapes)) > 1:
        raise teach(
            ShapeError,
            f"stack: arrays of shapes {', '.join(map(str, shapes))}.",
            do="all must have one shape; to join along an axis that they have, use concatenate.",
        )


@eager(np.stack, check_stack)
def stack(arrays: Any, axis: int = 0, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """The arrays, of one shape, along a new axis. Raises ShapeError if their shapes differ."""
    operands = as_list(arrays)
    check_stack(operands)
    have = shape_of(operands[0]) if operands else ()
    k = canonical_axis("stack", axis, len(have) + 1)
    return joined("stack", [expanded(strong(x), k, have) for x in operands], k, dtype, casting)


def expanded(x: Any, axis: int, have: Shape) -> Any:
    """``x`` with a new axis of length 1."""
    return BroadcastInDim((*have[:axis], 1, *have[axis:]), tuple(k + (k >= axis) for k in range(len(have))))(x)


@eager(np.unstack)
def unstack(x: Numbers, /, *, axis: int = 0) -> tuple[Any, ...]:
    """The arrays along ``axis``, as a tuple."""
    have = shape_of(x)
    k = canonical_axis("unstack", axis, len(have))
    return tuple(reshape_op(along(x, k, i, i + 1), (*have[:k], *have[k + 1 :])) for i in range(have[k]))


@eager(np.vstack)
def vstack(arrays: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """The arrays (at least 2-d) along axis 0."""
    return joined("vstack", [atleast_2d(x) for x in as_list(arrays)], 0, dtype, casting)


row_stack = vstack


@eager(np.hstack)
def hstack(arrays: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """The arrays along axis 1, or axis 0 if they are 1-d."""
    operands = [atleast_1d(x) for x in as_list(arrays)]
    return joined("hstack", operands, 0 if operands and len(shape_of(operands[0])) == 1 else 1, dtype, casting)


@eager(np.dstack)
def dstack(arrays: Any) -> Any:
    """The arrays (at least 3-d) along axis 2."""
    return joined("dstack", [atleast_3d(x) for x in as_list(arrays)], 2)


@eager(np.column_stack)
def column_stack(arrays: Any) -> Any:
    """1-d arrays as the columns of a matrix; 2-d arrays side by side."""
    columns = [x if len(shape_of(x)) > 1 else reshape_op(x, (prod(shape_of(x)), 1)) for x in as_list(arrays)]
    return joined("column_stack", columns, 1)


@eager(np.append)
def append(x: Numbers, values: Numbers, axis: int | None = None) -> Any:
    """``x`` followed by ``values`` along ``axis`` (both flattened if None)."""
    return concatenate([strong(operand(x)), strong(operand(values))], axis)


@eager(np.block)
def block(arrays: Any) -> Any:
    """An array of nested lists of blocks: the innermost lists go along the last axis, the next along the last but one."""

    def depth_of(part: Any) -> int:
        return 1 + max(map(depth_of, part)) if isinstance(part, list) and part else 0

    def at_depth(part: Any, depth: int) -> Any:
        if not isinstance(part, list):
            x = operand(part)
            have = shape_of(x)
            return reshape_op(x, (1,) * max(0, total - len(have)) + have)
        return concatenate([at_depth(piece, depth - 1) for piece in part], -depth)

    total = max(depth_of(arrays), max_ndim(arrays))
    return at_depth(arrays, depth_of(arrays))


def max_ndim(part: Any) -> int:
    """The largest number of axes of the arrays in nested lists."""
    return max(map(max_ndim, part), default=0) if isinstance(part, list) else len(shape_of(operand(part)))


# ---- splitting -----------------------------------------------------------------------------------------------------------------
def pieces(x: Any, bounds: Sequence[int], axis: int) -> list[Any]:
    """The pieces of ``x`` between these positions along ``axis``."""
    n = shape_of(x)[axis]
    edges = [0, *[slice(None, b).indices(n)[1] for b in bounds], n]
    return [along(x, axis, a, max(a, b)) for a, b in pairwise(edges)]


@eager(np.array_split)
def array_split(x: Numbers, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Any]:
    """``x`` split along ``axis`` into that many pieces (the first ones longer by one if necessary), or before these positions."""
    k = canonical_axis("array_split", axis, len(shape_of(x)))
    if isinstance(indices_or_sections, Sequence) or np.ndim(indices_or_sections):
        return pieces(x, [operator.index(b) for b in indices_or_sections], k)  # type: ignore[union-attr]
    sections = operator.index(indices_or_sections)
    each, extra = np.divmod(shape_of(x)[k], sections)
    return pieces(x, np.cumsum([each + 1] * extra + [each] * (sections - extra))[:-1].tolist(), k)


def check_split(x: Numbers, indices_or_sections: Any, axis: int = 0) -> None:
    """Raise ShapeError if the axis does not divide into that many equal pieces."""
    have = shape_of(operand(x))
    n = have[canonical_axis("split", axis, len(have))]
    if np.ndim(indices_or_sections) == 0 and n % operator.index(indices_or_sections):
        raise teach(
            ShapeError,
            f"split: {n} elements do not divide into {indices_or_sections} equal pieces.",
            do="use array_split, or give the positions of the cuts.",
        )


@eager(np.split, check_split)
def split(x: Numbers, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Any]:
    """``x`` split along ``axis`` into that many equal pieces, or before these positions. Raises ShapeError if they cannot be equal."""
    check_split(x, indices_or_sections, axis)
    return array_split(x, indices_or_sections, axis)


def check_axes(name: str, x: Numbers, count: int) -> None:
    """Raise ShapeError if ``x`` has fewer axes."""
    if len(shape_of(x)) < count:
        what = f"{name}: an array of shape {shape_of(x)}."
        raise teach(ShapeError, what, do=f"give an array of {count} axes at least, or use split with an axis.")


@eager(np.hsplit)
def hsplit(x: Numbers, indices_or_sections: int | Sequence[int]) -> list[Any]:
    """``split`` along axis 1, or axis 0 of a 1-d array."""
    check_axes("hsplit", x, 1)
    return split(x, indices_or_sections, 1 if len(shape_of(x)) > 1 else 0)


@eager(np.vsplit)
def vsplit(x: Numbers, indices_or_sections: int | Sequence[int]) -> list[Any]:
    """``split`` along axis 0."""
    check_axes("vsplit", x, 2)
    return split(x, indices_or_sections, 0)


@eager(np.dsplit)
def dsplit(x: Numbers, indices_or_sections: int | Sequence[int]) -> list[Any]:
    """``split`` along axis 2."""
    check_axes("dsplit", x, 3)
    return split(x, indices_or_sections, 2)
