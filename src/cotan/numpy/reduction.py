"""Reductions: sums, products, extrema, running ones, means. Static axes; dtypes as NumPy's reductions have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.errors import ShapeError, teach
from ..core.tracing import BOOL, Tracer, type_of
from ..core.types import Shape
from ..ops import logic, searching
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
    Numbers,
    as_bool,
    broadcast_all,
    canonical_axes,
    canonical_axis,
    convert_to,
    inexact_dtype,
    operand,
    result_dtype,
    shape_of,
    size_of,
    spread_to,
    strong,
)
from .roots import rooted
from .shape import along, concatenate, squeeze

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "average", "count_nonzero", "cummax", "cummin", "cumprod", "cumsum",
    "cumulative_prod", "cumulative_sum", "diff", "ediff1d", "gradient", "max", "mean", "min", "prod", "ptp", "safe_sqrt", "std", "sum",
    "trapezoid", "var",
]  # fmt: skip

Axis = int | tuple[int, ...] | None
ABSENT: Any = object()


def keep(y: Any, shape: Shape, axes: tuple[int, ...], keepdims: bool) -> Any:
    """A reduced array, with the axes put back at length 1 if ``keepdims``."""
    return reshape_op(y, [1 if k in axes else n for k, n in enumerate(shape)]) if keepdims is True else y


def sum_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of NumPy's sums and products: small integers and bools grow to 64 bits."""
    if dtype.kind in "bi":
        return np.dtype(np.int64)
    return np.dtype(np.uint64) if dtype.kind == "u" else dtype


def selected(x: Any, where: Any, value: Any) -> Any:
    """``x`` where ``where``, else the scalar ``value``."""
    condition, y = broadcast_all("where", [as_bool(where), x])
    return logic.select(condition, y, type_of(y).dtype.type(value))


# ---- sums, products, truth -----------------------------------------------------------------------------------------------------
@eager(np.sum)
def sum(
    x: Numbers, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False, initial: Numbers = ABSENT, where: Numbers = True
) -> Any:
    """The sum over ``axis`` (all axes if None), of the elements ``where``, plus ``initial``. Small integers sum in 64 bits."""
    t = type_of(x)
    axes = tuple(range(len(t.shape))) if axis is None else canonical_axes("sum", axis, t.ndim)
    x = convert(x, sum_dtype(t.dtype) if dtype is None else np.dtype(dtype))
    if where is not True:
        x = selected(x, where, 0)
    y = keep(ReduceSum(axes)(x) if axes else x, t.shape, axes, keepdims)
    return y if initial is ABSENT else add(y, initial)


@eager(np.prod)
def prod(
    x: Numbers, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False, initial: Numbers = ABSENT, where: Numbers = True
) -> Any:
    """The product over ``axis`` (all axes if None), of the elements ``where``, times ``initial``. Its derivative is exact at zeros."""
    t = type_of(x)
    axes = canonical_axes("prod", axis, t.ndim)
    x = convert(x, sum_dtype(t.dtype) if dtype is None else np.dtype(dtype))
    if where is not True:
        x = selected(x, where, 1)
    y = keep(ops.reduce_prod(x, axes), t.shape, axes, keepdims)
    return y if initial is ABSENT else multiply(y, initial)


def extremum(numpy_function: Any, reduce: Callable[..., Any], pair: Callable[..., Any], sentence: str) -> Any:
    """max or min."""
    name = numpy_function.__name__.removeprefix("a")

    @eager(numpy_function)
    def call(x: Numbers, axis: Axis = None, *, keepdims: bool = False, initial: Numbers = ABSENT, where: Numbers = True) -> Any:
        x = strong(x)
        t = type_of(x)
        axes = canonical_axes(name, axis, t.ndim)
        if where is not True:
            if initial is ABSENT:
                raise teach(ShapeError, f"{name}: where= without initial=.", do="give the result for no elements, initial=.")
            condition, x = broadcast_all(name, [as_bool(where), x])
            x = logic.select(condition, x, convert_to(operand(initial), t.dtype))
        if initial is ABSENT and any_empty(t.shape, axes):
            raise teach(ShapeError, f"{name}: of no elements (shape {t.shape}).", do="test the size first, or give initial=.")
        if initial is not ABSENT and any_empty(t.shape, axes):
            kept = tuple(n for k, n in enumerate(t.shape) if k not in axes)
            return keep(spread_to(convert_to(operand(initial), t.dtype), kept, ()), t.shape, axes, keepdims)
        y = keep(complex_extremum(reduce, x, axes) if t.dtype.kind == "c" else reduce(x, axes), t.shape, axes, keepdims)
        return y if initial is ABSENT else pair(y, initial)

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
    order = flat.argsort(-1)
    place = order[..., -1:] if reduce is ops.reduce_max else order[..., :1]
    return take_along_axis(flat, place, -1)[..., 0]


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
def all(x: Numbers, axis: Axis = None, *, keepdims: bool = False, where: Numbers = True) -> Any:
    """Whether all elements over ``axis`` are nonzero."""
    shape = shape_of(x)
    axes = canonical_axes("all", axis, len(shape))
    truth = as_bool(x) if where is True else selected(as_bool(x), where, True)
    return keep(ops.reduce_and(truth, axes), shape, axes, keepdims)


@eager(np.any)
def any(x: Numbers, axis: Axis = None, *, keepdims: bool = False, where: Numbers = True) -> Any:
    """Whether any element over ``axis`` is nonzero."""
    shape = shape_of(x)
    axes = canonical_axes("any", axis, len(shape))
    truth = as_bool(x) if where is True else selected(as_bool(x), where, False)
    return keep(ops.reduce_or(truth, axes), shape, axes, keepdims)


@eager(np.count_nonzero)
def count_nonzero(x: Numbers, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """How many elements over ``axis`` are nonzero."""
    return sum(as_bool(x), axis, keepdims=keepdims)


def position(numpy_function: Any, op: Callable[..., Any], sentence: str) -> Any:
    """argmax or argmin."""

    @eager(numpy_function)
    def call(x: Numbers, axis: int | None = None, *, keepdims: bool = False) -> Any:
        t = type_of(x)
        flat = reshape_op(x, (t.size,)) if axis is None else x
        k = 0 if axis is None else canonical_axis(numpy_function.__name__, axis, t.ndim)
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
    """The dtype in which NumPy takes a mean of these: float16 in float32, integers in float64."""
    return np.dtype(np.float32) if dtype == np.float16 else dtype if dtype.kind in "fc" else np.dtype(np.float64)


def count_of(shape: Shape, axes: tuple[int, ...], where: Any) -> Any:
    """How many elements are reduced: an int, or an array if ``where`` selects some."""
    if where is True:
        return size_of([shape[k] for k in axes])
    return sum(spread_to(as_bool(where), shape, shape_of(where)), axes, keepdims=True)


@eager(np.mean)
def mean(x: Numbers, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False, where: Numbers = True) -> Any:
    """The mean over ``axis`` (all axes if None), of the elements ``where``. Integers give float64."""
    t = type_of(x)
    axes = canonical_axes("mean", axis, t.ndim)
    result = inexact_dtype(x) if dtype is None else np.dtype(dtype)
    total = sum(x, axes, mean_dtype(t.dtype) if dtype is None else result, keepdims=True, where=where)
    count = count_of(t.shape, axes, where)
    y = convert(divide(total, float(count) if type(count) is int else count), result)
    return y if keepdims else squeeze(y, axes)


@eager(np.var)
def var(
    x: Numbers,
    axis: Axis = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    keepdims: bool = False,
    where: Numbers = True,
    mean: Numbers | None = None,
    correction: float | None = None,
) -> Any:
    """The mean of |x - mean|^2 over ``axis``, with n - ddof (or ``correction``) in the denominator. Complex x give a real result."""
    t = type_of(x)
    axes = canonical_axes("var", axis, t.ndim)
    result = inexact_dtype(x) if dtype is None else np.dtype(dtype)
    x = convert(x, mean_dtype(t.dtype) if dtype is None else result)
    count = count_of(t.shape, axes, where)
    if mean is None:
        mean = divide(sum(x, axes, keepdims=True, where=where), float(count) if type(count) is int else count)
    deviation = subtract(x, mean)
    squares = multiply(deviation, conjugate(deviation)).real if type_of(x).dtype.kind == "c" else square(deviation)
    degrees = (
        subtract(count, ddof if correction is None else correction)
        if type(count) is not int
        else count - (ddof if correction is None else correction)
    )
    total = sum(squares, axes, keepdims=True, where=where)
    # Not fewer than none: as NumPy, nan or inf where there are too few.
    y = divide(total, float(degrees) if degrees > 0 else 0.0) if type(count) is int else divide(total, maximum(degrees, 0))
    y = convert(y, np.finfo(result).dtype)
    return y if keepdims else squeeze(y, axes)


def safe_sqrt(x: Any) -> Any:
    """The square root of x >= 0 with derivative 0 at 0: of a sum of squares, so a norm or a deviation."""
    return rooted(norm_sqrt(x), lambda: x)


@eager(np.std)
def std(
    x: Numbers,
    axis: Axis = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    keepdims: bool = False,
    where: Numbers = True,
    mean: Numbers | None = None,
    correction: float | None = None,
) -> Any:
    """The square root of `var`. Its derivative at constant x is 0."""
    return safe_sqrt(var(x, axis, dtype, ddof=ddof, keepdims=keepdims, where=where, mean=mean, correction=correction))


@eager(np.average)
def average(x: Numbers, axis: Axis = None, weights: Numbers | None = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    """The mean over ``axis``, weighted by ``weights`` (of the shape of x, or of the axes); with ``returned``, also their sum."""
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


# ---- running reductions and differences --------------------------------------------------------------------------------------
def running(numpy_function: Any, op: Callable[..., Any], sentence: str) -> Any:
    """cumsum or cumprod."""

    @eager(numpy_function)
    def call(x: Numbers, axis: int | None = None, dtype: Any = None) -> Any:
        t = type_of(x)
        x = convert(x, sum_dtype(t.dtype) if dtype is None else np.dtype(dtype))
        if axis is None:
            return op(reshape_op(x, (t.size,)), 0)
        return op(x, canonical_axis(numpy_function.__name__, axis, t.ndim))

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
        ndim = len(shape_of(x))
        k = canonical_axis(numpy_function.__name__, 0 if axis is None and ndim == 1 else axis, ndim)
        y = function(x, k, dtype)
        if not include_initial:
            return y
        first = np.full([1 if j == k else n for j, n in enumerate(shape_of(y))], start, type_of(y).dtype)
        return concatenate([first, y], k)

    call.__name__ = call.__qualname__ = numpy_function.__name__
    call.__doc__ = f"Running reductions along ``axis`` (which a 1-d array need not name), with {start} in front if ``include_initial``."
    return call


cumulative_sum, cumulative_prod = cumulative(np.cumulative_sum, cumsum, 0), cumulative(np.cumulative_prod, cumprod, 1)


@eager(np.diff)
def diff(x: Numbers, n: int = 1, axis: int = -1, prepend: Numbers = ABSENT, append: Numbers = ABSENT) -> Any:
    """The ``n``-th differences along ``axis``; of bools, whether neighbours differ."""
    x = operand(x)
    k = canonical_axis("diff", axis, len(shape_of(x)))
    ends = [operand(end) if end is not ABSENT else None for end in (prepend, append)]
    one = [1 if j == k else m for j, m in enumerate(shape_of(x))]
    parts = [None if end is None else end if shape_of(end) else spread_to(end, tuple(one), ()) for end in ends]
    if n and (parts[0] is not None or parts[1] is not None):
        x = concatenate([part for part in (parts[0], x, parts[1]) if part is not None], k)
    for _ in range(n):
        m = shape_of(x)[k]
        if m == 0:
            break
        later, earlier = along(x, k, 1, m), along(x, k, 0, m - 1)
        x = logic.not_equal(later, earlier) if type_of(x).dtype == BOOL else subtract(later, earlier)
    return x


@eager(np.ediff1d)
def ediff1d(x: Numbers, to_end: Numbers | None = None, to_begin: Numbers | None = None) -> Any:
    """The differences of the flat array, with these numbers before and behind."""
    y = diff(operand(x).reshape(-1))
    parts = [to_begin, y, to_end]
    return concatenate([operand(p).reshape(-1) if type(p) is Tracer else np.ravel(p) for p in parts if p is not None])


@eager(np.gradient)
def gradient(f: Numbers, *varargs: Numbers, axis: Axis = None, edge_order: int = 1) -> Any:
    """Central differences inside, first-order ones at the edges, along each axis; spacings are scalars or coordinates."""
    f = strong(operand(f))
    shape = shape_of(f)
    axes = canonical_axes("gradient", axis, len(shape))
    spacings = list(varargs) * (len(axes) if len(varargs) == 1 else 1) or [1.0] * len(axes)
    if len(spacings) != len(axes) or edge_order != 1:
        raise teach(
            ShapeError,
            f"gradient: {len(varargs)} spacings for {len(axes)} axes, edge_order {edge_order}.",
            do="give one for all or one for each; edge_order is 1.",
        )
    results = [differences(f, k, operand(h)) for k, h in zip(axes, spacings, strict=True)]
    return results[0] if len(results) == 1 else tuple(results)


def differences(f: Any, axis: int, h: Any) -> Any:
    """The derivative of sampled ``f`` along ``axis`` by differences of second order inside."""
    n = shape_of(f)[axis]
    if n < 2:
        raise teach(ShapeError, f"gradient: axis {axis} has length {n}.", do="give at least two samples.")
    steps = diff(f, 1, axis)
    if shape_of(h) == ():
        slopes = divide(steps, h)
        inside = divide(add(along(slopes, axis, 0, n - 2), along(slopes, axis, 1, n - 1)), 2.0)
    else:
        d = reshape_op(diff(h), [n - 1 if k == axis else 1 for k in range(len(shape_of(f)))])
        slopes = divide(steps, d)
        left, right = along(d, axis, 0, n - 2), along(d, axis, 1, n - 1)
        inside = divide(
            add(multiply(along(slopes, axis, 0, n - 2), right), multiply(along(slopes, axis, 1, n - 1), left)), add(left, right)
        )
    return concatenate([along(slopes, axis, 0, 1), inside, along(slopes, axis, n - 2, n - 1)], axis)


@eager(np.trapezoid)
def trapezoid(y: Numbers, x: Numbers | None = None, dx: Numbers = 1.0, axis: int = -1) -> Any:
    """The integral of samples ``y`` at ``x`` (or ``dx`` apart) along ``axis`` by the trapezoidal rule."""
    y = operand(y)
    k = canonical_axis("trapezoid", axis, len(shape_of(y)))
    n = shape_of(y)[k]
    width: Any = dx
    if x is not None:
        x = operand(x)
        width = diff(x, 1, 0) if len(shape_of(x)) == 1 else diff(x, 1, k)
        if len(shape_of(width)) == 1:
            width = reshape_op(width, [n - 1 if j == k else 1 for j in range(len(shape_of(y)))])
    return sum(multiply(width, divide(add(along(y, k, 1, n), along(y, k, 0, n - 1)), 2.0)), k)
