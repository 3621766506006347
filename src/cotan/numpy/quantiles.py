"""Order statistics: medians, quantiles and percentiles, of all elements or of those that are not nan.

A quantile is an element of the sorted line, or an interpolation between two neighbours. Its position is given by a method of Hyndman and
Fan (1996, "Sample quantiles in statistical packages"), under NumPy's names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import ArgumentError, DtypeError, IndexingError, UnsupportedFunctionError, teach
from ..core.tracing import FLOAT64, Tracer, type_of
from ..core.types import Shape
from ..ops import logic, selecting
from ..ops import sorting as ops
from ..ops.arithmetic import constant_of
from .calling import eager
from .creation import full
from .elementwise import add, ceil, divide, equal, floor, greater_equal, isnan, less_equal, maximum, minimum, multiply, rint, subtract
from .indexing import take, take_along_axis
from .promotion import Numbers, canonical_axes, convert_to, inexact_dtype, result_dtype, shape_of, size_of, strong
from .reduction import Axis, any, flattened, keep, sum
from .shape import expand_dims, moveaxis

__all__ = ["median", "nanmedian", "nanpercentile", "nanquantile", "percentile", "quantile"]

INDEX = np.dtype(np.int64)


# ---- medians -------------------------------------------------------------------------------------------------------------------
@eager(np.median)
def median(x: Numbers, axis: Axis = None, *, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    """The middle element over ``axis`` (all axes if None), or the mean of the two middle ones; nan if an element is nan, or there is none.

    The derivative is the derivative of the middle elements.
    """
    x = strong(x)
    shape, dtype = shape_of(x), inexact_dtype(x)
    axes = canonical_axes("median", axis, len(shape))
    lines = flattened(x, axes)
    n = shape_of(lines)[-1]
    if n == 0:
        return keep(of_nothing(shape, axes, dtype), shape, axes, keepdims)
    middle, bad = of_ranks(lines, sorted({(n - 1) // 2, n // 2}))
    low, high = middle[..., 0], middle[..., -1]
    y = mean_of_two(low, high, dtype) if n % 2 == 0 else convert_to(low, dtype)
    return keep(nan_where(y, bad), shape, axes, keepdims)


@eager(np.nanmedian)
def nanmedian(x: Numbers, axis: Axis = None, *, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    """The median over ``axis`` of the elements that are not nan; nan if there is none."""
    x = strong(x)
    if not type_of(x).inexact:
        return median(x, axis, keepdims=keepdims)
    shape, dtype = shape_of(x), type_of(x).dtype
    axes = canonical_axes("nanmedian", axis, len(shape))
    if size_of([shape[k] for k in axes]) == 0:
        return keep(of_nothing(shape, axes, dtype), shape, axes, keepdims)
    ordered, count = in_order(x, axes)
    low, high = (element(ordered, k // 2) for k in (maximum(subtract(count, 1), 0), minimum(count, shape_of(ordered)[-1] * 2 - 1)))
    y = logic.select(equal(count % 2, 0), mean_of_two(low, high, dtype), low)
    return keep(logic.select(equal(count, 0), dtype.type(np.nan), y), shape, axes, keepdims)


def of_nothing(shape: Shape, axes: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """nan for each line that has no elements."""
    return full([n for k, n in enumerate(shape) if k not in axes], np.nan, dtype)


def in_order(x: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    """The lines of ``x`` sorted along the last axis, nan last, and the number of elements of each that are not nan."""
    ordered = ops.sort(flattened(x, axes), len(shape_of(x)) - len(axes))
    return ordered, sum(logic.bitwise_not(isnan(ordered)), -1)


def element(lines: Any, index: Any) -> Any:
    """The element of each line at the index given for that line."""
    return take_along_axis(lines, expand_dims(index, -1), -1)[..., 0]


def of_ranks(lines: Any, ranks: Sequence[int] | None) -> tuple[Any, Any]:
    """The elements along the last axis with these ranks (all if None), in order; and which lines have a nan (None: none can)."""
    t = type_of(lines)
    axis, may = t.ndim - 1, t.dtype.kind in "fc"
    if ranks is not None and selecting.is_way(t.dtype, t.shape[-1], ranks):
        return ops.select(lines, ranks, axis), any(isnan(lines), -1) if may else None
    ordered = ops.sort(lines, axis)
    bad = logic.isnan(ordered[..., -1]) if may else None  # nan is last
    return ordered if ranks is None else take(ordered, np.array(ranks, np.int64), axis=-1), bad


def mean_of_two(low: Any, high: Any, dtype: np.dtype[Any]) -> Any:
    """The mean of two elements, computed as in NumPy: their sum divided by two."""
    wide = np.dtype(np.float32) if dtype == np.float16 else dtype
    return convert_to(divide(add(convert_to(low, wide), convert_to(high, wide)), constant_of(2.0, wide)), dtype)


def nan_where(y: Any, bad: Any | None) -> Any:
    """``y``, with nan where ``bad``, whose axes are the last axes of ``y``."""
    if bad is None:
        return y
    extra = len(shape_of(y)) - len(shape_of(bad))
    if extra:
        bad = np.broadcast_to(bad, shape_of(y)) if type(bad) is not Tracer else bad[(None,) * extra] * np.ones(shape_of(y), bool)
    return logic.select(bad, type_of(y).dtype.type(np.nan), y)


# ---- the position of a quantile ---------------------------------------------------------------------------------------------------------
PLACES = {
    "linear": (1.0, 1.0),
    "hazen": (0.5, 0.5),
    "weibull": (0.0, 0.0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
    "interpolated_inverted_cdf": (0.0, 1.0),
}
"""The continuous methods of Hyndman and Fan (1996) by their plotting positions (alpha, beta)."""
DISCRETE = frozenset({"lower", "higher", "nearest", "inverted_cdf", "closest_observation"})
"""The methods whose quantiles are always elements."""

WHOLE_AT_ENDS = frozenset({"weibull", "interpolated_inverted_cdf", "averaged_inverted_cdf"})
"""Further methods whose indices are integers, in NumPy, for integer quantiles (0 and 1), so that quantiles of integers are integers."""


def virtual_index(method: str, q: Any, n: Any) -> Any:
    """The real index, counted from 0, of the quantile ``q`` among ``n`` sorted elements; a whole number for a `DISCRETE` method."""
    if method == "linear":
        return multiply(subtract(n, 1), q)
    if method in PLACES:
        alpha, beta = PLACES[method]
        return add(multiply(n, q), subtract(add(alpha, multiply(q, 1 - alpha - beta)), 1))
    place = multiply(subtract(n, 1), q)
    if method == "lower":
        return floor(place)
    if method == "higher":
        return ceil(place)
    if method == "nearest":
        return rint(place)
    if method == "midpoint":
        return multiply(add(floor(place), ceil(place)), 0.5)
    index = subtract(multiply(n, q), 1.5 if method == "closest_observation" else 1)
    if method == "averaged_inverted_cdf":
        return index
    below = floor(index)
    exact = equal(index, below)
    if method == "closest_observation":
        exact = exact & equal(below % 2, 1)
    elif method != "inverted_cdf":
        what = f"quantile: there is no method {method!r}."
        raise teach(UnsupportedFunctionError, what, do=f"use one of {', '.join(sorted({*PLACES, *DISCRETE, 'midpoint'}))}.")
    return maximum(subtract(add(below, 1), exact), 0.0)


def is_whole(method: str, q: Any) -> bool:
    """Whether quantiles are elements: interpolation would give nan beside infinite ones."""
    return method in DISCRETE or (method == "linear" and type_of(q).dtype.kind in "biu")


def neighbours(method: str, place: Any, last: Any) -> tuple[Any, Any, Any]:
    """The indices of the elements at or below a real index and after it, and the weight of the latter.

    Before the first element and from the last one on, both are the same element, so the weight has no effect.
    """
    below = floor(place)
    weight = subtract(place, below)
    if method == "averaged_inverted_cdf":
        weight = add(multiply(equal(weight, 0), -0.5), 1.0)
    index = convert_to(below, INDEX)
    within = [minimum(maximum(k, 0), last) for k in (index, add(index, 1))]
    return within[0], within[1], weight


def check_quantiles(q: Any) -> None:
    """Refuse concrete quantiles outside of [0, 1]."""
    if type(q) is not Tracer and np.size(q) and not (np.min(q) >= 0 and np.max(q) <= 1):
        raise teach(
            ArgumentError, "quantile: quantiles must be in the range [0, 1] (percentiles in [0, 100]).", do="give numbers from 0 to 1."
        )


def quantile_dtype(x: Any, q: Any, method: str) -> np.dtype[Any]:
    """The dtype of quantiles; a floating-point one for a method that interpolates."""
    t, have = type_of(x), type_of(q)
    if t.dtype.kind == "c":
        raise teach(DtypeError, "quantile: complex numbers have no quantiles.", do="take the quantiles of x.real and x.imag.")
    if is_whole(method, q):
        return t.dtype
    if t.dtype.kind == "b":
        raise teach(DtypeError, "quantile: there is nothing between True and False.", do="convert with x.astype(float).")
    if t.dtype.kind in "iu" and have.dtype.kind in "iu" and not have.weak and method in WHOLE_AT_ENDS:
        return result_dtype(x, q)
    return t.dtype if have.weak and t.dtype.kind == "f" else result_dtype(x, strong(q), *([] if have.dtype.kind == "f" else [1.0]))


def index_dtype(q: Any) -> np.dtype[Any]:
    """The dtype in which indices of the quantiles ``q`` are computed: the dtype of ``q``, for elements of any dtype."""
    dtype = type_of(q).dtype
    return dtype if dtype.kind == "f" else FLOAT64


# ---- quantiles -------------------------------------------------------------------------------------------------------------------
@eager(np.quantile)
def quantile(
    x: Numbers, q: Numbers, axis: Axis = None, *, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False
) -> Any:
    """The ``q``-th quantile (q from 0 to 1, of any shape, in front in the result) over ``axis``; nan if one element is nan.

    Differentiable in x; and in q, for the methods that interpolate. Where a traced q is not in its range, the result is nan.
    """
    x = strong(x)
    check_quantiles(q)
    shape, dtype = shape_of(x), quantile_dtype(x, q, method)
    axes = canonical_axes("quantile", axis, len(shape))
    lines = flattened(x, axes)
    n = shape_of(lines)[-1]
    if n == 0:
        raise teach(IndexingError, f"quantile: of no elements (shape {shape}).", do="test the size first.")
    whole = is_whole(method, q)
    index, following, weight = neighbours(method, virtual_index(method, convert_to(q, index_dtype(q)), float(n)), n - 1)
    index, following = index.reshape(-1), following.reshape(-1)
    ranks = None if type(index) is Tracer else np.unique(index if whole else [index, following])
    ordered, bad = of_ranks(lines, None if ranks is None else ranks.tolist())
    if ranks is not None:
        index, following = np.searchsorted(ranks, index), np.searchsorted(ranks, following)
    left = moveaxis(take(ordered, index, axis=-1), -1, 0)
    if whole or dtype.kind != "f":
        y = convert_to(left, dtype)
    else:
        right = convert_to(moveaxis(take(ordered, following, axis=-1), -1, 0), dtype)
        weight = weight.reshape((-1,) + (1,) * (len(shape_of(left)) - 1))
        y = lerp(convert_to(left, dtype), right, weight)
    y = nan_where(y, bad).reshape((*shape_of(q), *shape_of(left)[1:]))
    return in_range(y.reshape((*shape_of(q), *[1 if k in axes else m for k, m in enumerate(shape)])) if keepdims else y, q)


def in_range(y: Any, q: Any) -> Any:
    """``y``, with nan where a traced ``q`` is outside of [0, 1], since no error can be raised then."""
    if type(q) is not Tracer or not type_of(y).inexact:
        return y
    inside = greater_equal(q, 0) & less_equal(q, 1)
    inside = inside.reshape((*shape_of(q), *[1] * (len(shape_of(y)) - len(shape_of(q))))) & np.ones(shape_of(y), bool)
    return logic.select(inside, y, type_of(y).dtype.type(np.nan))


def lerp(a: Any, b: Any, t: Any) -> Any:
    """a + t (b - a), from the nearer end, as in NumPy: the rest of t is rounded to the dtype of a and b last."""
    gap, dtype = subtract(b, a), type_of(a).dtype
    forward = add(a, multiply(gap, convert_to(t, dtype)))
    backward = subtract(b, multiply(gap, convert_to(subtract(1.0, t), dtype)))
    near = np.broadcast_to(t >= 0.5, shape_of(forward)) if type(t) is not Tracer else (t >= 0.5) & np.ones(shape_of(forward), bool)
    return logic.select(near, backward, forward)


def hundredth(x: Any, q: Any) -> Any:
    """Percentiles as quantiles, in NumPy's dtype for them."""
    if type_of(q).weak:
        return q / 100.0
    t = type_of(x)
    return divide(q, t.dtype.type(100) if t.dtype.kind == "f" else 100.0)


@eager(np.percentile)
def percentile(
    x: Numbers, q: Numbers, axis: Axis = None, *, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False
) -> Any:
    """The ``q``-th percentile (q from 0 to 100) over ``axis``: `quantile` of q / 100."""
    return quantile(x, hundredth(x, q), axis, method=method, keepdims=keepdims)


@eager(np.nanquantile)
def nanquantile(
    x: Numbers, q: Numbers, axis: Axis = None, *, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False
) -> Any:
    """The ``q``-th quantile over ``axis`` of the elements that are not nan; nan if there is none."""
    x = strong(x)
    shape = shape_of(x)
    axes = canonical_axes("nanquantile", axis, len(shape))
    check_quantiles(q)
    if size_of(shape) == 0 and type_of(x).dtype.kind != "c":
        return keep(of_nothing(shape, axes, inexact_dtype(x)), shape, axes, keepdims)  # one nan for all quantiles, as in NumPy
    dtype = quantile_dtype(x, q, method)
    if not type_of(x).inexact:
        return quantile(x, q, axis, method=method, keepdims=keepdims)
    ordered, count = in_order(x, axes)
    last = maximum(subtract(count, 1), 0)
    real = index_dtype(q)
    spread_q = convert_to(q, real)
    spread_q = spread_q.reshape((*shape_of(q), *[1] * len(shape_of(count)))) if shape_of(q) else spread_q
    index, following, weight = neighbours(method, virtual_index(method, spread_q, convert_to(count, real)), last)
    stacked = ordered if not shape_of(q) else ordered[(None,) * len(shape_of(q))]
    left, right = (convert_to(element(stacked, k), dtype) for k in (index, following))
    y = left if is_whole(method, q) else lerp(left, right, weight)
    return in_range(y.reshape((*shape_of(q), *[1 if k in axes else m for k, m in enumerate(shape)])) if keepdims else y, q)


@eager(np.nanpercentile)
def nanpercentile(
    x: Numbers, q: Numbers, axis: Axis = None, *, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False
) -> Any:
    """The ``q``-th percentile over ``axis`` of the elements that are not nan."""
    return nanquantile(x, hundredth(x, q), axis, method=method, keepdims=keepdims)
