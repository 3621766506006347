"""Reductions: sums, products, extrema, running reductions, means. Static axes; dtypes as in NumPy's reductions."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.errors import ArgumentError, DtypeError, ShapeError, teach
from ..core.sizes import is_int, real
from ..core.tracing import BOOL, FLOAT64, Tracer, type_of
from ..core.types import ArrayType, Shape
from ..ops import logic, moments, searching
from ..ops import reduction as ops
from ..ops.casting import convert
from ..ops.families import ReduceSum
from ..ops.movement import permute
from ..ops.movement import reshape as reshape_op
from ..ops.transcendental import norm_sqrt
from .calling import eager
from .creation import zeros
from .elementwise import add, conjugate, divide, equal, maximum, minimum, multiply, square, subtract
from .indexing import take_along_axis
from .promotion import (
    ABSENT,
    Numbers,
    as_bool,
    as_line,
    broadcast_all,
    broadcast_shapes,
    canonical_axes,
    canonical_axis,
    convert_to,
    inexact_dtype,
    operand,
    reduced_axes,
    result_dtype,
    shape_of,
    size_of,
    spread_to,
    strong,
)
from .roots import rooted
from .shape import concatenate, squeeze

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "average", "count_nonzero", "cummax", "cummin", "cumprod", "cumsum",
    "cumulative_prod", "cumulative_sum", "max", "mean", "min", "prod", "ptp", "safe_sqrt", "std", "sum", "var",
]  # fmt: skip

Axis = int | tuple[int, ...] | None
Condition = Any
"""Bools, or a number or a list to convert to bools. NumPy refuses an array of numbers, so it must not become one on the way."""


def keep(y: Any, shape: Shape, axes: tuple[int, ...], keepdims: bool) -> Any:
    """A reduced array; ``keepdims`` restores the reduced axes with length 1."""
    return reshape_op(y, [1 if k in axes else n for k, n in enumerate(shape)]) if keepdims is True else y


def sum_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of NumPy's sums and products: small integers and bools become 64-bit integers."""
    if dtype.kind in "bi":
        return np.dtype(np.int64)
    return np.dtype(np.uint64) if dtype.kind == "u" else dtype


def selected(name: str, x: Any, where: Any, value: Any) -> Any:
    """``x`` where ``where``, else the scalar ``value``."""
    condition = as_condition(name, where)
    if broadcast_shapes(name, [shape_of(condition), shape_of(x)]) != shape_of(x):
        what = f"{name}: where= of shape {shape_of(condition)} for an array of shape {shape_of(x)}."
        raise teach(ShapeError, what, do="give a mask that broadcasts to the array.")
    condition, y = broadcast_all(name, [condition, x])
    return logic.select(condition, y, value if type(value) is Tracer else type_of(y).dtype.type(value))


def as_condition(name: str, where: Any) -> Any:
    """``where=`` of a reduction as bools."""
    condition = operand(where)
    t = type_of(condition)
    if isinstance(where, np.ndarray | Tracer) and not t.weak and t.dtype != BOOL:
        raise teach(DtypeError, f"{name}: where= has dtype {t.dtype}.", do="give bools: where=(w != 0).")
    return as_bool(condition)


def started(name: str, y: Any, initial: Any, combine: Callable[..., Any]) -> Any:
    """``y`` combined with the initial value, which takes the dtype of ``y``."""
    if initial is ABSENT or initial is None:
        return y
    t, first = type_of(y), type_of(initial)
    if first.shape or (first.dtype.kind == "c" and t.dtype.kind not in "bc"):
        raise teach(DtypeError, f"{name}: initial= is {first.long_name()} for a result of {t.dtype}.", do="give a number that fits it.")
    return combine(y, first_value(initial, t.dtype))


def first_value(initial: Any, dtype: np.dtype[Any]) -> Any:
    """``initial`` in this dtype; a Python number out of its range is refused, as in NumPy."""
    if dtype.kind in "iu" and type(initial) in (int, float):
        return dtype.type(int(initial))
    value = convert_to(initial, dtype)
    return value if type(value) is Tracer else dtype.type(value)


# ---- sums, products, truth -----------------------------------------------------------------------------------------------------
@eager(np.sum)
def sum(
    x: Numbers, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False, initial: Numbers = ABSENT, where: Condition = True
) -> Any:
    """The sum over ``axis`` (all axes if None), of the elements ``where``, plus ``initial``. Small integers sum in 64 bits."""
    t = type_of(x)
    axes = tuple(range(len(t.shape))) if axis is None else reduced_axes("sum", axis, t.ndim)
    if t.dtype.kind in "fc" and axes and dtype is None and where is True:  # most often
        return started("sum", keep(ReduceSum(axes)(x), t.shape, axes, keepdims), initial, add)
    x = convert(x, sum_dtype(t.dtype) if dtype is None else np.dtype(dtype))
    if where is not True:
        x = selected("sum", x, where, 0)
    if type_of(x).dtype == BOOL:
        return started("sum", keep(ops.reduce_or(x, axes), t.shape, axes, keepdims), initial, logic.bitwise_or)
    return started("sum", keep(ReduceSum(axes)(x) if axes else x, t.shape, axes, keepdims), initial, add)


@eager(np.prod)
def prod(
    x: Numbers, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False, initial: Numbers = ABSENT, where: Condition = True
) -> Any:
    """The product over ``axis`` (all axes if None), of the elements ``where``, times ``initial``. Its derivative is exact at zeros."""
    t = type_of(x)
    axes = reduced_axes("prod", axis, t.ndim)
    x = convert(x, sum_dtype(t.dtype) if dtype is None else np.dtype(dtype))
    if where is not True:
        x = selected("prod", x, where, 1)
    if type_of(x).dtype == BOOL:
        return started("prod", keep(ops.reduce_and(x, axes), t.shape, axes, keepdims), initial, logic.bitwise_and)
    return started("prod", keep(ops.reduce_prod(x, axes), t.shape, axes, keepdims), initial, multiply)


def extremum(numpy_function: Any, reduce: Callable[..., Any], pair: Callable[..., Any], sentence: str) -> Any:
    """max or min."""
    name = numpy_function.__name__.removeprefix("a")

    @eager(numpy_function)
    def call(x: Numbers, axis: Axis = None, *, keepdims: bool = False, initial: Numbers = ABSENT, where: Condition = True) -> Any:
        x = strong(x)
        t = type_of(x)
        axes = reduced_axes(name, axis, t.ndim)
        absent = initial is ABSENT or initial is None
        if where is not True:
            if absent:
                raise teach(ShapeError, f"{name}: where= without initial=.", do="give the result for no elements, initial=.")
            x = selected(name, x, where, first_value(initial, t.dtype))
        if any_empty(t.shape, axes):
            kept = tuple(n for k, n in enumerate(t.shape) if k not in axes)
            if absent and size_of(kept):
                raise teach(ShapeError, f"{name}: of no elements (shape {t.shape}).", do="test the size first, or give initial=.")
            return keep(spread_to(first_value(0 if absent else initial, t.dtype), kept, ()), t.shape, axes, keepdims)
        y = keep(complex_extremum(reduce, x, axes) if t.dtype.kind == "c" else reduce(x, axes), t.shape, axes, keepdims)
        return started(name, y, initial, pair)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = sentence
    return call


def any_empty(shape: Shape, axes: tuple[int, ...]) -> bool:
    """Whether a reduction over these axes has no elements."""
    return size_of([shape[k] for k in axes]) == 0


def complex_extremum(reduce: Callable[..., Any], x: Any, axes: tuple[int, ...]) -> Any:
    """The extremum of complex numbers: by real part, then by imaginary part."""
    if not axes:
        return x
    flat = flattened(x, axes)
    order, bad = flat.argsort(-1), logic.isnan(flat)
    extreme = order[..., -1] if reduce is ops.reduce_max else order[..., 0]
    last = len(shape_of(flat)) - 1
    place = logic.select(ops.reduce_or(bad, (last,)), searching.argmax(bad, last), extreme)  # the first nan, if there is one
    return take_along_axis(flat, place[..., None], -1)[..., 0]


def flattened(x: Any, axes: tuple[int, ...]) -> Any:
    """``x`` with these axes as one, the last."""
    shape = shape_of(x)
    kept = [k for k in range(len(shape)) if k not in axes]
    return reshape_op(permute(x, (*kept, *axes)), (*[shape[k] for k in kept], size_of([shape[k] for k in axes])))


max = amax = extremum(
    np.max, ops.reduce_max, maximum, "The largest element over ``axis``; nan if one is nan. Ties share the derivative equally."
)
min = amin = extremum(
    np.min, ops.reduce_min, minimum, "The smallest element over ``axis``; nan if one is nan. Ties share the derivative equally."
)


@eager(np.all)
def all(x: Numbers, axis: Axis = None, *, keepdims: bool = False, where: Condition = True) -> Any:
    """Whether all elements over ``axis`` are nonzero."""
    shape = shape_of(x)
    axes = reduced_axes("all", axis, len(shape))
    truth = as_bool(x) if where is True else selected("all", as_bool(x), where, True)
    return keep(ops.reduce_and(truth, axes), shape, axes, keepdims)


@eager(np.any)
def any(x: Numbers, axis: Axis = None, *, keepdims: bool = False, where: Condition = True) -> Any:
    """Whether any element over ``axis`` is nonzero."""
    shape = shape_of(x)
    axes = reduced_axes("any", axis, len(shape))
    truth = as_bool(x) if where is True else selected("any", as_bool(x), where, False)
    return keep(ops.reduce_or(truth, axes), shape, axes, keepdims)


@eager(np.count_nonzero)
def count_nonzero(x: Numbers, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """The number of nonzero elements over ``axis``."""
    return sum(as_bool(x), axis, keepdims=keepdims)


def position(numpy_function: Any, op: Callable[..., Any], sentence: str) -> Any:
    """argmax or argmin."""

    @eager(numpy_function)
    def call(x: Numbers, axis: int | None = None, *, keepdims: bool = False) -> Any:
        t = type_of(x)
        flat = reshape_op(x, (t.size,)) if axis is None or not t.ndim else x
        k = 0 if axis is None else canonical_axis(numpy_function.__name__, axis, t.ndim or 1)
        if shape_of(flat)[k] == 0:
            what = f"{numpy_function.__name__}: of no elements (shape {t.shape})."
            raise teach(ShapeError, what, do="test the size first.")
        y = complex_position(op, flat, k) if t.dtype.kind == "c" else op(flat, k)
        return keep(y, t.shape, tuple(range(t.ndim)) if axis is None else (k,), keepdims)

    call.__name__ = call.__qualname__ = numpy_function.__name__
    call.__doc__ = sentence
    return call


def complex_position(op: Callable[..., Any], x: Any, axis: int) -> Any:
    """The index of the first extremum of complex numbers, or of the first nan."""
    best = (max if op is searching.argmax else min)(x, axis, keepdims=True)
    bad = logic.isnan(x)
    found = searching.argmax(equal(x, best), axis)
    return logic.select(ops.reduce_or(bad, (axis,)), searching.argmax(bad, axis), found)


argmax = position(np.argmax, searching.argmax, "The index of the first largest element along ``axis`` (of the flat array if None), int64.")
argmin = position(np.argmin, searching.argmin, "The index of the first smallest element along ``axis`` (of the flat array if None), int64.")


# ---- means ---------------------------------------------------------------------------------------------------------------------
def mean_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which NumPy computes a mean: float32 for float16, float64 for integers."""
    return np.dtype(np.float32) if dtype == np.float16 else dtype if dtype.kind in "fc" else np.dtype(np.float64)


def is_plain(t: ArrayType, dtype: Any, where: Any) -> bool:
    """Whether a mean is one of all elements, in their dtype."""
    return dtype is None and where is True and t.dtype.kind in "fc" and t.dtype != np.float16


def count_of(shape: Shape, axes: tuple[int, ...], where: Any) -> Any:
    """The number of reduced elements: an int, or an array if ``where`` selects some."""
    if where is True:
        return size_of([shape[k] for k in axes])
    condition = as_condition("where", where)
    return sum(spread_to(condition, shape, shape_of(condition)), axes, keepdims=True)


@eager(np.mean)
def mean(x: Numbers, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False, where: Condition = True) -> Any:
    """The mean over ``axis`` (all axes if None), of the elements ``where``. Integers give float64."""
    t = type_of(x)
    axes = (canonical_axes if where is True else reduced_axes)("mean", axis, t.ndim)
    if is_plain(t, dtype, where) and axes:
        return keep(moments.mean(x, axes), t.shape, axes, keepdims)
    result = inexact_dtype(x) if dtype is None else np.dtype(dtype)
    known = where is True
    total = sum(x, axes, mean_dtype(t.dtype) if dtype is None else result, keepdims=keepdims if known else True, where=where)
    count = count_of(t.shape, axes, where)
    y = convert(divide(total, real(count) if known else count), result)
    return y if keepdims or known else squeeze(y, axes)


@eager(np.var)
def var(
    x: Numbers,
    axis: Axis = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    keepdims: bool = False,
    where: Condition = True,
    mean: Numbers | None = None,
    correction: float | None = None,
) -> Any:
    """The mean of |x - mean|^2 over ``axis``, with n - ddof (or ``correction``) in the denominator. Complex x give a real result."""
    t = type_of(x)
    axes = (canonical_axes if where is True else reduced_axes)("var", axis, t.ndim)
    wanted = np.dtype(dtype) if dtype is not None else None if t.inexact else FLOAT64
    mean, correction = (None if given is ABSENT else given for given in (mean, correction))
    if correction is not None and ddof != 0:
        raise teach(ArgumentError, "var: ddof= and correction= are one thing.", do="give one of them.")
    less = ddof if correction is None else correction
    if mean is None and is_plain(t, dtype, where) and t.dtype.kind == "f" and axes and type(less) in (int, float):
        return keep(moments.variance(x, axes, float(less)), t.shape, axes, keepdims)
    count = count_of(t.shape, axes, where)
    known = is_int(count)
    if mean is None:
        x = convert(x, mean_dtype(t.dtype) if wanted is None else t.dtype)
        accumulated = sum(x, axes, wanted, keepdims=not known or len(axes) < t.ndim, where=where)
        mean = convert(divide(accumulated, real(count) if known else count), type_of(accumulated).dtype)
    deviation = subtract(x, mean)
    squares = multiply(deviation, conjugate(deviation)).real if type_of(deviation).dtype.kind == "c" else square(deviation)
    total = sum(squares, axis, wanted, keepdims=keepdims, where=where)
    # At least zero: as in NumPy, the result is nan or inf if there are too few elements.
    degrees = builtins.max(real(count - less), 0.0) if known else maximum(subtract(count if keepdims else squeeze(count, axes), less), 0)
    return convert(divide(total, degrees), t.dtype if wanted is None and t.dtype == np.float16 else type_of(total).dtype)


def safe_sqrt(x: Any) -> Any:
    """The square root of x >= 0 with derivative 0 at 0, for a sum of squares: a norm or a deviation."""
    return rooted(norm_sqrt(x), lambda: x)


@eager(np.std)
def std(
    x: Numbers,
    axis: Axis = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    keepdims: bool = False,
    where: Condition = True,
    mean: Numbers | None = None,
    correction: float | None = None,
) -> Any:
    """The square root of `var`. Its derivative at constant x is 0."""
    y = var(x, axis, dtype, ddof=ddof, keepdims=keepdims, where=where, mean=mean, correction=correction)
    t = type_of(y)
    if t.dtype.kind in "biu" and t.shape:
        raise teach(DtypeError, f"std: dtype={t.dtype} of an array.", do="give a floating dtype.")
    return convert(safe_sqrt(y.real if t.inexact else convert(y, np.dtype(np.float64))), t.dtype)


@eager(np.average)
def average(x: Numbers, axis: Axis = None, weights: Numbers | None = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    """The mean over ``axis``, weighted by ``weights`` (with the shape of x, or of the axes); with ``returned``, also the sum of weights."""
    x = strong(operand(x))
    shape = shape_of(x)
    axes = canonical_axes("average", axis, len(shape))
    if weights is None:
        y = mean(x, axes, keepdims=keepdims)
        return (y, zeros(shape_of(y), type_of(y).dtype) + size_of([shape[k] for k in axes])) if returned else y
    weights = operand(weights)
    if shape_of(weights) != shape:
        if shape_of(weights) != tuple(shape[k] for k in axes):
            raise teach(
                ShapeError,
                f"average: weights of shape {shape_of(weights)} for an array of shape {shape} over axes {axes}.",
                do="give weights of the shape of x.",
            )
        weights = reshape_op(strong(weights), [n if k in axes else 1 for k, n in enumerate(shape)])
        weights = spread_to(weights, shape, shape_of(weights))
    wide = result_dtype(x, weights) if type_of(x).dtype.kind not in "biu" else result_dtype(x, weights, np.float64(1))
    total = sum(weights, axes, wide, keepdims=keepdims)
    y = divide(sum(multiply(x, weights), axes, wide, keepdims=keepdims), total)
    return (y, total) if returned else y


@eager(np.ptp)
def ptp(x: Numbers, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """The largest minus the smallest element over ``axis``."""
    return subtract(max(x, axis, keepdims=keepdims), min(x, axis, keepdims=keepdims))


# ---- running reductions ------------------------------------------------------------------------------------------------------
def running(numpy_function: Any, op: Callable[..., Any], sentence: str) -> Any:
    """cumsum or cumprod."""

    @eager(numpy_function)
    def call(x: Numbers, axis: int | None = None, dtype: Any = None) -> Any:
        t = type_of(x)
        x = convert(x, sum_dtype(t.dtype) if dtype is None else np.dtype(dtype))
        x, shape = (reshape_op(x, (t.size,)), (t.size,)) if axis is None else as_line(x, t.shape)
        k = 0 if axis is None else canonical_axis(numpy_function.__name__, axis, len(shape))
        if type_of(x).dtype != BOOL:
            return op(x, k)
        bits = convert_to(x, np.dtype(np.uint8))  # a sum of bools is whether one is true, a product whether all are
        return convert_to(ops.cummax(bits, k) if op is ops.cumsum else ops.cummin(bits, k), BOOL)

    call.__name__ = call.__qualname__ = numpy_function.__name__
    call.__doc__ = sentence
    return call


cumsum = running(np.cumsum, ops.cumsum, "Running sums along ``axis`` (of the flat array if None).")
cumprod = running(np.cumprod, ops.cumprod, "Running products along ``axis`` (of the flat array if None). The derivative is exact at zeros.")


def running_extremum(name: str, ufunc: Any, op: Callable[..., Any]) -> Any:
    """cummax or cummin."""

    @eager(lambda x, axis=0: ufunc.accumulate(np.asarray(x), axis))
    def call(x: Numbers, axis: int = 0) -> Any:
        return op(x, canonical_axis(name, axis, len(shape_of(x))))

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"Running {'maxima' if name == 'cummax' else 'minima'} along ``axis``: ``numpy.{ufunc.__name__}.accumulate``."
    return call


cummax, cummin = running_extremum("cummax", np.maximum, ops.cummax), running_extremum("cummin", np.minimum, ops.cummin)


def cumulative(numpy_function: Any, function: Any, start: int) -> Any:
    """The Array API's cumulative_sum and cumulative_prod."""

    @eager(numpy_function)
    def call(x: Numbers, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
        x, shape = as_line(x, shape_of(x))
        if axis is None and len(shape) > 1:
            what = f"{numpy_function.__name__}: which axis of an array of shape {shape}?"
            raise teach(ArgumentError, what, do="give axis=.")
        k = canonical_axis(numpy_function.__name__, 0 if axis is None else axis, len(shape))
        y = function(x, k, dtype)
        if not include_initial:
            return y
        first = np.full([1 if j == k else n for j, n in enumerate(shape_of(y))], start, type_of(y).dtype)
        return concatenate([first, y], k)

    call.__name__ = call.__qualname__ = numpy_function.__name__
    call.__doc__ = f"Running reductions along ``axis`` (which a 1-d array need not name), with {start} in front if ``include_initial``."
    return call


cumulative_sum, cumulative_prod = cumulative(np.cumulative_sum, cumsum, 0), cumulative(np.cumulative_prod, cumprod, 1)
