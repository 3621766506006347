"""Functional updates: ``x.at[index].set(v)`` is a copy of ``x`` with the elements at ``index`` replaced, added to, and so on.

Eager, it is a NumPy copy and one assignment or ``ufunc.at``. Traced, it is one Scatter at the indexed axes. If indices
repeat, add, subtract, multiply, divide, min and max apply every update; set and power apply the last one only.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ..core.array import Array
from ..core.errors import DtypeError, ShapeError, UnsupportedFunctionError, teach
from ..core.sizes import is_int
from ..core.tracing import Tracer, type_of
from ..core.types import Shape
from ..ops.arithmetic import neg
from ..ops.creation import full as full_op
from ..ops.indexing import scatter
from ..ops.logic import select
from ..ops.movement import permute
from ..ops.movement import reshape as reshape_op
from .elementwise import add, divide, maximum, minimum, multiply, power, subtract
from .indexing import Parsed, as_mask, parse, slice_bounds, taken, with_axes_of_truths
from .promotion import EXAMPLES, convert_to, has_tracer, operand, python_kind, shape_of, spread_to, strong

__all__ = ["At", "AtIndex", "at"]


def at(x: Any) -> At:
    """``at(x)[index].set(v)``: functional updates of ``x``, as ``x.at``."""
    return At(x)


class At:
    """``x.at``; indexing it selects the elements to update."""

    __slots__ = ("x",)

    def __init__(self, x: Any):
        self.x = x

    def __getitem__(self, index: Any) -> AtIndex:
        return AtIndex(self.x, index)


def index_has_tracer(index: Any) -> bool:
    return has_tracer(index) or (type(index) is slice and (has_tracer(index.start) or has_tracer(index.stop)))


class AtIndex:
    """``x.at[index]``: updates of the elements at an index. Each returns a new array of the shape and dtype of ``x``.

    ``mode`` determines the effect of an index out of bounds: None refuses concrete ones; "clip", "drop", "wrap", "promise_in_bounds" are as
    in JAX. ``indices_are_sorted`` and ``unique_indices`` are JAX's hints, of no effect here.
    """

    __slots__ = ("index", "x")

    def __init__(self, x: Any, index: Any):
        self.x, self.index = x, index

    def __repr__(self) -> str:
        return f"{self.x!r:.60}.at[{self.index!r:.60}]"

    def set(self, values: Any, /, *, mode: str | None = None, **hints: bool) -> Any:
        """``x`` with ``values`` (broadcast) at the index."""
        x, index = self.x, self.index
        if type(x) is not Tracer and type(values) is not Tracer and type(index) is int and mode is None:  # fast path for loops
            y = np.array(x)
            y[index] = values if type(values) is float and y.dtype.kind in "fc" else storable(values, y.dtype)
            return y.view(Array)
        return self.update("set", values, mode)

    def add(self, values: Any, /, *, mode: str | None = None, **hints: bool) -> Any:
        """``x`` with ``values`` added at the index; repeated indices add up."""
        return self.update("add", values, mode)

    def subtract(self, values: Any, /, *, mode: str | None = None, **hints: bool) -> Any:
        """``x`` with ``values`` subtracted at the index; repeated indices add up."""
        return self.update("subtract", values, mode)

    def multiply(self, values: Any, /, *, mode: str | None = None, **hints: bool) -> Any:
        """``x`` multiplied by ``values`` at the index, as often as an index is repeated."""
        return self.update("multiply", values, mode)

    mul = multiply

    def divide(self, values: Any, /, *, mode: str | None = None, **hints: bool) -> Any:
        """``x`` (floating) divided by ``values`` at the index, as often as an index is repeated."""
        return self.update("divide", values, mode)

    def min(self, values: Any, /, *, mode: str | None = None, **hints: bool) -> Any:
        """``x`` with the smaller of itself and ``values`` at the index."""
        return self.update("min", values, mode)

    def max(self, values: Any, /, *, mode: str | None = None, **hints: bool) -> Any:
        """``x`` with the larger of itself and ``values`` at the index."""
        return self.update("max", values, mode)

    def power(self, values: Any, /, *, mode: str | None = None, **hints: bool) -> Any:
        """``x`` raised to ``values`` at the index; for repeated indices the last one is used."""
        return self.apply(lambda part: power(part, values), mode=mode)

    def apply(self, function: Callable[[Any], Any], /, *, mode: str | None = None, **hints: bool) -> Any:
        """``x`` with ``function`` applied to the elements at the index."""
        mask = as_mask(self.index)
        if type(mask) is Tracer:
            return self.update("set", function(self.x), mode, whole=True)
        return self.update("set", function(self.get(mode=mode)), mode)

    def get(self, *, mode: str | None = None, fill_value: Any = None, **hints: bool) -> Any:
        """``x[index]``; ``mode`` "fill" gives ``fill_value`` (nan, or the least integer, if None) out of bounds."""
        y = taken(self.x, self.index, mode, fill_value)
        return y if type(y) is Tracer else np.asarray(y).view(Array)

    # ---- implementation ---------------------------------------------------------------------------------------------------------------
    def update(self, kind: str, values: Any, mode: str | None, whole: bool = False) -> Any:
        """The update ``kind`` by ``values``; ``whole``: they have the shape of x, for a traced mask."""
        x, index = self.x, self.index
        traced = type(x) is Tracer or has_tracer(values)
        indices = index if type(index) is tuple else (index,)
        if not traced and mode is None and not any(map(index_has_tracer, indices)):
            return eager_update(kind, x, index, values)
        x = strong(operand(x))
        t = type_of(x)
        if kind == "divide" and t.dtype.kind not in "fc":
            raise teach(DtypeError, f"at: divide in an array of dtype {t.dtype}.", do="convert x with x.astype(float) first.")
        values = storable(values, t.dtype)
        mask = (
            as_mask(operand(index))
            if type(index) is not tuple and type(index) is not slice and index is not None and index is not Ellipsis
            else None
        )
        if mask is not None and (type(mask) is Tracer or shape_of(values) == ()):
            result = masked(kind, x, mask, values, t.shape, whole)
        else:
            y, index = with_axes_of_truths(x, index)
            shape = shape_of(y)
            result = scattered(kind, y, parse(index, shape, check=mode is None), values, shape, scatter_mode(mode))
            result = result if shape == t.shape else reshape_op(result, t.shape)
        return result if type(result) is Tracer else np.asarray(result).view(Array)


def storable(values: Any, dtype: np.dtype[Any]) -> Any:
    """``values`` in the dtype of the array that they are stored in.

    Raises
    ------
    DtypeError
        The conversion would lose a fraction or an imaginary part.
    """
    values = operand(values)
    t = type_of(values)
    if t.dtype == dtype and not t.weak:
        return values
    kind = python_kind(t)
    if not np.can_cast(np.result_type(EXAMPLES.get(kind, kind)), dtype, "same_kind"):
        raise teach(
            DtypeError,
            f"at: {t.dtype} values cannot go into an array of dtype {dtype}.",
            do=f"start from an array of a dtype that holds them: x.astype({t.dtype}), or zeros(shape, {t.dtype}).",
        )
    return convert_to(values, dtype)


UFUNCS = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "min": np.minimum, "max": np.maximum}


def eager_update(kind: str, x: Any, index: Any, values: Any) -> Any:
    """The update by NumPy, on a copy."""
    y = np.array(x)
    values = storable(values, y.dtype)
    if kind == "set":
        y[index] = values
    elif type(index) is int or type(index) is slice:
        y[index] = UFUNCS[kind](y[index], values)
    else:
        UFUNCS[kind].at(y, index, values)
    return y.view(Array)


def scatter_mode(mode: str | None) -> str | None:
    """The mode of `Scatter` for a mode of JAX."""
    if mode not in (None, "clip", "drop", "fill", "wrap", "promise_in_bounds", "raise"):
        raise teach(UnsupportedFunctionError, f"at: there is no mode {mode!r}.", do="give clip, drop, wrap, promise_in_bounds, or nothing.")
    return "drop" if mode == "fill" else mode


COMBINE: dict[str, Callable[..., Any]] = {
    "set": lambda x, v: v,
    "add": add,
    "subtract": subtract,
    "multiply": multiply,
    "divide": divide,
    "min": minimum,
    "max": maximum,
}


def masked(kind: str, x: Any, mask: Any, values: Any, shape: Shape, whole: bool) -> Any:
    """The update where ``mask`` is true, as a select; the values are equal for every element that the mask takes."""
    have, rest = shape_of(values), shape[len(shape_of(mask)) :]
    if shape_of(mask) != shape[: len(shape_of(mask))]:
        raise teach(
            ShapeError,
            f"at: a mask of shape {shape_of(mask)} for an array of shape {shape}.",
            do="give a mask of the shape of the first axes of x.",
        )
    if not whole and have != rest[len(rest) - len(have) :]:
        raise teach(
            ShapeError,
            f"at: values of shape {have} for a mask of unknown size, in an array of shape {shape}.",
            do="give one value for all (of shape () or that of the axes behind the mask), or write cotan.numpy.where(mask, values, x).",
        )
    filled = spread_to(values, shape, have) if have else values
    full_mask = mask if shape_of(mask) == shape else reshaped_mask(mask, shape)
    return select(full_mask, COMBINE[kind](x, filled), x)


def reshaped_mask(mask: Any, shape: Shape) -> Any:
    """A mask of the first axes, broadcast along the others."""
    have = shape_of(mask)
    longer = (*have, *[1] * (len(shape) - len(have)))
    return spread_to(reshape_op(mask, longer), shape, longer)


def scattered(kind: str, x: Any, parsed: Parsed, values: Any, shape: Shape, mode: str | None) -> Any:
    """The update by one `Scatter` at the axes indexed by ints, arrays and partial slices."""
    axes, tokens, advanced, index_shape = parsed
    bounds = {k: slice_bounds(item, shape[k]) for k, item in enumerate(axes) if type(item) is slice}
    whole = [k for k, (first, count, step) in bounds.items() if (first, count, step) == (0, shape[k], 1) or (shape[k] == 1 == count)]
    cut = [k for k in bounds if k not in whole]
    advanced = advanced or [k for k, item in enumerate(axes) if is_int(item)]
    # values: in the order of the result of x[index]; then without new axes; then with the axes of the index, the sliced and the whole
    # ones.
    result = [n for token in tokens for n in ((1,) if token is None else index_shape if token is ... else (bounds[token][1],))]
    check_values(shape_of(values), tuple(result), shape)
    values = spread_to(values, tuple(result), shape_of(values)) if type(values) is Tracer or np.ndim(values) or result else values
    values = reshape_op(
        values, [n for token in tokens if token is not None for n in (index_shape if token is ... else (bounds[token][1],))]
    )
    labels = [
        label
        for token in tokens
        if token is not None
        for label in ([(..., j) for j in range(len(index_shape))] if token is ... else [token])
    ]
    wanted = [*[(..., j) for j in range(len(index_shape))], *cut, *whole]
    values = permute(values, [labels.index(label) for label in wanted])
    if not advanced and not cut:
        return COMBINE[kind](x, values) if kind != "set" else values
    counts = [bounds[k][1] for k in cut]
    common = (*index_shape, *counts)
    indices = [spread_index(axes[k], len(index_shape), common) for k in advanced]
    for j, k in enumerate(cut):
        first, count, step = bounds[k]
        line = first + step * np.arange(count)
        indices.append(np.broadcast_to(line.reshape((count,) + (1,) * (len(cut) - 1 - j)), common))
    chosen = mode or ("raise" if any(type(i) is Tracer for i in indices) else "promise_in_bounds")
    return scatter_kind(kind, x, values, indices, chosen, (*advanced, *cut), prod(index_shape) <= 1)


def check_values(have: Shape, want: Shape, shape: Shape) -> None:
    """Refuse values that do not broadcast to the shape of the replaced elements."""
    if len(have) > len(want) or any(n not in (1, m) for n, m in zip(have[::-1], want[::-1], strict=False)):
        raise teach(
            ShapeError,
            f"at: values of shape {have} for x[index] of shape {want} (x has shape {shape}).",
            do="give values that broadcast to it.",
        )


def spread_index(item: Any, count: int, common: Shape) -> Any:
    """An advanced index, whose axes are the first ``count`` of ``common``, as an index array of that shape."""
    if common == ():
        return item
    have = shape_of(item)
    if is_int(item):
        return np.full(common, item)
    longer = (*[1] * (count - len(have)), *have, *[1] * (len(common) - count))
    return spread_to(reshape_op(item, longer), common, longer)


def scatter_kind(kind: str, x: Any, values: Any, indices: list[Any], mode: str, axes: tuple[int, ...], unique: bool) -> Any:
    """The scatter of ``kind`` at ``indices`` of these axes: subtraction adds the negative, division divides by the product."""
    if kind == "subtract":
        return scatter("add", x, neg(values), indices, mode, axes, unique=unique)
    if kind == "divide":
        t = type_of(x)
        return divide(x, scatter("mul", full_op(t.shape, t.dtype.type(1)), values, indices, mode, axes, unique=unique))
    return scatter({"multiply": "mul"}.get(kind, kind), x, values, indices, mode, axes, unique=unique)
