"""Order statistics, correlations, and the functions that pass over nan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import ArgumentError, ShapeError, UnsupportedFunctionError, teach
from ..core.tracing import FLOAT64, Tracer, type_of
from ..core.types import Shape
from ..ops import logic, selecting
from ..ops import sorting as ops
from ..ops.arithmetic import constant_of
from .calling import eager
from .contraction import matmul
from .creation import diagonal
from .elementwise import add, conjugate, divide, floor, isnan, maximum, minimum, multiply, sqrt, subtract
from .indexing import take, take_along_axis
from .promotion import Numbers, canonical_axes, convert_to, inexact_dtype, operand, result_dtype, shape_of, strong
from .reduction import all, any, argmax, argmin, average, cumprod, cumsum, flattened, keep, max, mean, min, prod, safe_sqrt, sum, var
from .shape import atleast_2d, concatenate, expand_dims, matrix_transpose, moveaxis

__all__ = [
    "corrcoef", "cov", "median", "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmedian", "nanmin",
    "nanpercentile", "nanprod", "nanquantile", "nanstd", "nansum", "nanvar", "percentile", "quantile",
]  # fmt: skip

Axis = int | tuple[int, ...] | None


# ---- order statistics ------------------------------------------------------------------------------------------------------------
@eager(np.median)
def median(x: Numbers, axis: Axis = None, *, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    """The middle element over ``axis`` (all axes if None), or the mean of the two in the middle; nan if one is nan.

    Its derivative is that of the elements in the middle.
    """
    x = strong(operand(x))
    shape = shape_of(x)
    axes = canonical_axes("median", axis, len(shape))
    lines = flattened(x, axes)
    n = shape_of(lines)[-1]
    if n == 0:
        raise teach(ShapeError, f"median: of no elements (shape {shape}).", do="test the size first.")
    dtype = inexact_dtype(x)
    middle, bad = of_ranks(lines, sorted({(n - 1) // 2, n // 2}))
    low, high = middle[..., 0], middle[..., -1]
    y = mean_of_two(low, high, dtype) if n % 2 == 0 else convert_to(low, dtype)
    return keep(nan_where(y, bad), shape, axes, keepdims)


def of_ranks(lines: Any, ranks: Sequence[int] | None) -> tuple[Any, Any]:
    """The elements along the last axis that have these ranks, or all if None, in order; and which lines have a nan (None: none can)."""
    t = type_of(lines)
    axis, may = t.ndim - 1, t.dtype.kind in "fc"
    if ranks is not None and selecting.is_way(t.dtype, t.shape[-1], ranks):
        return ops.select(lines, ranks, axis), any(isnan(lines), -1) if may else None
    ordered = ops.sort(lines, axis)
    bad = logic.isnan(ordered[..., -1]) if may else None  # nan is last
    return ordered if ranks is None else take(ordered, np.array(ranks, np.int64), axis=-1), bad


def mean_of_two(low: Any, high: Any, dtype: np.dtype[Any]) -> Any:
    """The mean of two elements, as NumPy computes it: the sum of both over two."""
    wide = np.dtype(np.float32) if dtype == np.float16 else dtype
    return convert_to(divide(add(convert_to(low, wide), convert_to(high, wide)), constant_of(2.0, wide)), dtype)


def nan_where(y: Any, bad: Any | None) -> Any:
    """``y``, but nan where ``bad``, which has its last axes."""
    if bad is None:
        return y
    extra = len(shape_of(y)) - len(shape_of(bad))
    if extra:
        bad = np.broadcast_to(bad, shape_of(y)) if type(bad) is not Tracer else bad[(None,) * extra] * np.ones(shape_of(y), bool)
    return logic.select(bad, type_of(y).dtype.type(np.nan), y)


PLACES = {
    "linear": (1.0, 1.0),
    "hazen": (0.5, 0.5),
    "weibull": (0.0, 0.0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
}
"""The continuous methods of Hyndman and Fan (1996) by their plotting positions (alpha, beta)."""


def virtual_index(method: str, q: Any, n: Any) -> Any:
    """The real index, counted from 0, of the quantile ``q`` among ``n`` sorted elements."""
    if method in PLACES:
        alpha, beta = PLACES[method]
        if method == "linear":
            return multiply(subtract(n, 1), q)
        return add(multiply(n, q), subtract(add(alpha, multiply(q, 1 - alpha - beta)), 1))
    if method == "interpolated_inverted_cdf":
        return subtract(multiply(n, q), 1)
    place = multiply(subtract(n, 1), q)
    if method == "lower":
        return floor(place)
    if method == "higher":
        return multiply(floor(multiply(place, -1.0)), -1.0)
    if method == "nearest":
        return np.rint(place)
    if method == "midpoint":
        return multiply(add(floor(place), multiply(floor(multiply(place, -1.0)), -1.0)), 0.5)
    raise teach(
        UnsupportedFunctionError,
        f"quantile: method {method!r} of a traced array.",
        do="use linear, lower, higher, nearest, midpoint, hazen or weibull.",
    )


def check_quantiles(q: Any) -> None:
    """Refuse concrete quantiles outside of [0, 1]."""
    if type(q) is not Tracer and np.size(q) and not (np.min(q) >= 0 and np.max(q) <= 1):
        raise teach(
            ArgumentError, "quantile: quantiles must be in the range [0, 1] (percentiles in [0, 100]).", do="give numbers from 0 to 1."
        )


@eager(np.quantile)
def quantile(
    x: Numbers, q: Numbers, axis: Axis = None, *, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False
) -> Any:
    """The ``q``-th quantile (q from 0 to 1, of any shape, in front in the result) over ``axis``; nan if one element is nan.

    Differentiable in x; and in q, for the methods that interpolate.
    """
    x, q = strong(operand(x)), operand(q)
    check_quantiles(q)
    shape = shape_of(x)
    axes = canonical_axes("quantile", axis, len(shape))
    lines = flattened(x, axes)
    n = shape_of(lines)[-1]
    if n == 0:
        raise teach(ShapeError, f"quantile: of no elements (shape {shape}).", do="test the size first.")
    dtype = result_dtype(x, 1.0) if type_of(q).weak or type_of(x).dtype.kind in "biu" else result_dtype(x, q)
    place = virtual_index(method, convert_to(q, np.dtype(np.finfo(dtype).dtype)), float(n))
    place = minimum(maximum(place, 0.0), float(n - 1))
    below = np.asarray(np.floor(place)) if type(place) is not Tracer else floor(place)
    index = convert_to(below, np.dtype(np.int64))
    index = index.reshape(-1)
    following = minimum(add(index, 1), n - 1)
    weight = subtract(place, below).reshape(-1)
    ranks = None if type(index) is Tracer else np.unique([index, following])
    ordered, bad = of_ranks(lines, None if ranks is None else ranks.tolist())
    if ranks is not None:
        index, following = np.searchsorted(ranks, index), np.searchsorted(ranks, following)
    ordered = convert_to(ordered, dtype)
    left, right = (moveaxis(take(ordered, k, axis=-1), -1, 0) for k in (index, following))
    weight = weight.reshape((-1,) + (1,) * (len(shape_of(left)) - 1))
    y = lerp(left, right, convert_to(operand(weight), np.dtype(np.finfo(dtype).dtype)))
    y = nan_where(y, bad).reshape((*shape_of(q), *shape_of(left)[1:]))
    return y.reshape((*shape_of(q), *[1 if k in axes else m for k, m in enumerate(shape)])) if keepdims else y


def lerp(a: Any, b: Any, t: Any) -> Any:
    """a + t (b - a), from the nearer end, as NumPy computes it."""
    gap = subtract(b, a)
    forward, backward = add(a, multiply(gap, t)), subtract(b, multiply(gap, subtract(1.0, t)))
    near = np.broadcast_to(t >= 0.5, shape_of(forward)) if type(t) is not Tracer else (t >= 0.5) & np.ones(shape_of(forward), bool)
    return logic.select(near, backward, forward)


@eager(np.percentile)
def percentile(
    x: Numbers, q: Numbers, axis: Axis = None, *, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False
) -> Any:
    """The ``q``-th percentile (q from 0 to 100) over ``axis``: `quantile` of q / 100."""
    return quantile(
        x, divide(q, 100.0 if type_of(operand(q)).weak else type_of(operand(q)).dtype.type(100)), axis, method=method, keepdims=keepdims
    )


# ---- over nan --------------------------------------------------------------------------------------------------------------------
def without_nan(x: Any, value: Any) -> Any:
    """``x`` with the scalar ``value`` for nan."""
    t = type_of(x)
    return logic.select(logic.isnan(x), t.dtype.type(value), x) if t.dtype.kind in "fc" else x


def present(x: Any) -> Any:
    """Where ``x`` is not nan."""
    return logic.bitwise_not(isnan(x))


@eager(np.nansum)
def nansum(x: Numbers, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    """The sum over ``axis`` of what is not nan."""
    return sum(without_nan(x, 0), axis, dtype, keepdims=keepdims)


@eager(np.nanprod)
def nanprod(x: Numbers, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    """The product over ``axis`` of what is not nan."""
    return prod(without_nan(x, 1), axis, dtype, keepdims=keepdims)


@eager(np.nancumsum)
def nancumsum(x: Numbers, axis: int | None = None, dtype: Any = None) -> Any:
    """Running sums of what is not nan."""
    return cumsum(without_nan(x, 0), axis, dtype)


@eager(np.nancumprod)
def nancumprod(x: Numbers, axis: int | None = None, dtype: Any = None) -> Any:
    """Running products of what is not nan."""
    return cumprod(without_nan(x, 1), axis, dtype)


@eager(np.nanmean)
def nanmean(x: Numbers, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    """The mean over ``axis`` of what is not nan."""
    return (
        mean(x, axis, dtype, keepdims=keepdims, where=present(x))
        if type_of(x).dtype.kind in "fc"
        else mean(x, axis, dtype, keepdims=keepdims)
    )


@eager(np.nanvar)
def nanvar(x: Numbers, axis: Axis = None, dtype: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Any:
    """The variance over ``axis`` of what is not nan."""
    if type_of(x).dtype.kind not in "fc":
        return var(x, axis, dtype, ddof=ddof, keepdims=keepdims)
    return var(without_nan(x, 0), axis, dtype, ddof=ddof, keepdims=keepdims, where=present(x))


@eager(np.nanstd)
def nanstd(x: Numbers, axis: Axis = None, dtype: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Any:
    """The square root of `nanvar`; its derivative at constant x is 0."""
    return safe_sqrt(nanvar(x, axis, dtype, ddof=ddof, keepdims=keepdims))


def nan_extremum(numpy_function: Any, reduce: Any, worst: float) -> Any:
    """nanmax or nanmin."""
    name: str = numpy_function.__name__

    @eager(numpy_function)
    def call(x: Numbers, axis: Axis = None, *, keepdims: bool = False) -> Any:
        t = type_of(x)
        if t.dtype.kind not in "fc":
            return reduce(x, axis, keepdims=keepdims)
        y = reduce(without_nan(x, worst), axis, keepdims=keepdims)
        return logic.select(all(isnan(x), axis, keepdims=keepdims), type_of(y).dtype.type(np.nan), y)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"The {'largest' if worst < 0 else 'smallest'} element over ``axis`` that is not nan; nan if all are."
    return call


nanmax, nanmin = nan_extremum(np.nanmax, max, -np.inf), nan_extremum(np.nanmin, min, np.inf)


@eager(np.nanargmax)
def nanargmax(x: Numbers, axis: int | None = None, *, keepdims: bool = False) -> Any:
    """The index of the largest element that is not nan; 0 where all are (NumPy raises)."""
    return argmax(without_nan(x, -np.inf), axis, keepdims=keepdims)


@eager(np.nanargmin)
def nanargmin(x: Numbers, axis: int | None = None, *, keepdims: bool = False) -> Any:
    """The index of the smallest element that is not nan; 0 where all are (NumPy raises)."""
    return argmin(without_nan(x, np.inf), axis, keepdims=keepdims)


@eager(np.nanmedian)
def nanmedian(x: Numbers, axis: Axis = None, *, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    """The median over ``axis`` of what is not nan; nan where all are."""
    return nanquantile(x, 0.5, axis, keepdims=keepdims)


@eager(np.nanquantile)
def nanquantile(
    x: Numbers, q: Numbers, axis: Axis = None, *, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False
) -> Any:
    """The ``q``-th quantile over ``axis`` of what is not nan; nan where all are."""
    x, q = strong(operand(x)), operand(q)
    if type_of(x).dtype.kind not in "fc":
        return quantile(x, q, axis, method=method, keepdims=keepdims)
    check_quantiles(q)
    shape: Shape = shape_of(x)
    axes = canonical_axes("nanquantile", axis, len(shape))
    dtype = result_dtype(x, 1.0) if type_of(q).weak else result_dtype(x, q)
    ordered = convert_to(ops.sort(flattened(x, axes), len(shape) - len(axes)), dtype)  # nan last
    count = convert_to(sum(present(ordered), -1), np.dtype(np.finfo(dtype).dtype))
    spread_q = convert_to(q, np.dtype(np.finfo(dtype).dtype))
    spread_q = spread_q.reshape((*shape_of(q), *[1] * len(shape_of(count)))) if shape_of(q) else spread_q
    place = minimum(maximum(virtual_index(method, spread_q, count), 0.0), maximum(subtract(count, 1), 0.0))
    below = floor(place)
    index = convert_to(below, np.dtype(np.int64))
    upper = minimum(add(index, 1), convert_to(maximum(subtract(count, 1), 0.0), np.dtype(np.int64)))
    stacked = ordered if not shape_of(q) else ordered[(None,) * len(shape_of(q))]
    left, right = (take_along_axis(stacked, expand_dims(k, -1), -1)[..., 0] for k in (index, upper))
    y = lerp(left, right, subtract(place, below))
    return y.reshape((*shape_of(q), *[1 if k in axes else m for k, m in enumerate(shape)])) if keepdims else y


@eager(np.nanpercentile)
def nanpercentile(
    x: Numbers, q: Numbers, axis: Axis = None, *, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False
) -> Any:
    """The ``q``-th percentile over ``axis`` of what is not nan."""
    return nanquantile(x, divide(q, 100.0), axis, method=method, keepdims=keepdims)


# ---- covariance ------------------------------------------------------------------------------------------------------------------
@eager(np.cov)
def cov(
    m: Numbers,
    y: Numbers | None = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Numbers | None = None,
    aweights: Numbers | None = None,
    *,
    dtype: Any = None,
) -> Any:
    """The covariance matrix of the rows of ``m`` (columns, if not ``rowvar``), joined by those of ``y``; observations may be weighted."""
    wide = np.result_type(FLOAT64, *[type_of(operand(v)).dtype for v in (m, y) if v is not None]) if dtype is None else np.dtype(dtype)
    x = observations(m, rowvar, wide)
    if y is not None:
        x = concatenate([x, observations(y, rowvar, wide)], 0)
    ddof = (0 if bias else 1) if ddof is None else ddof
    weights: Any = None
    for given in (fweights, aweights):
        if given is not None:
            weights = operand(given) if weights is None else multiply(weights, given)
    n = shape_of(x)[1]
    if weights is None:
        factor: Any = float(n - ddof)
        centred = subtract(x, mean(x, 1, keepdims=True))
        weighted = centred
    else:
        total = sum(weights)
        factor = (
            total
            if ddof == 0
            else subtract(total, ddof if aweights is None else divide(multiply(ddof, sum(multiply(weights, operand(aweights)))), total))
        )
        centred = subtract(x, expand_dims(average(x, 1, weights=weights), 1))
        weighted = multiply(centred, weights)
    c = divide(matmul(centred, conjugate(matrix_transpose(weighted))), factor)
    return c.reshape(()) if shape_of(c) == (1, 1) else c


def observations(m: Any, rowvar: bool, dtype: np.dtype[Any]) -> Any:
    """The variables of ``cov`` as rows."""
    x = convert_to(strong(operand(m)), dtype)
    flat = len(shape_of(x)) < 2
    x = atleast_2d(x)
    return x if rowvar or flat else matrix_transpose(x)


@eager(np.corrcoef)
def corrcoef(x: Numbers, y: Numbers | None = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    """The matrix of correlation coefficients of the rows of ``x`` (columns, if not ``rowvar``), joined by those of ``y``."""
    c = cov(x, y, rowvar, dtype=dtype)
    if shape_of(c) == ():
        return divide(c, c)
    deviations = sqrt(diagonal(c).real if type_of(c).dtype.kind == "c" else diagonal(c))
    c = divide(divide(c, deviations[:, None]), deviations[None, :])
    return np.clip(c, -1.0, 1.0) if type_of(c).dtype.kind != "c" else c
