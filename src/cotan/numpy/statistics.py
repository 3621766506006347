"""Sums, means and extrema that ignore nan, and correlations."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from ..core.errors import DtypeError, ShapeError, teach
from ..core.tracing import FLOAT64, type_of
from ..ops import logic
from ..ops.casting import convert
from .calling import eager
from .contraction import matmul
from .creation import diagonal, zeros
from .elementwise import conjugate, divide, isnan, less_equal, maximum, multiply, sqrt, subtract
from .promotion import ABSENT, Numbers, convert_to, operand, shape_of, strong
from .reduction import (
    Axis,
    Condition,
    all,
    argmax,
    argmin,
    as_condition,
    average,
    cumprod,
    cumsum,
    max,
    mean,
    min,
    prod,
    safe_sqrt,
    sum,
    var,
)
from .shape import atleast_2d, concatenate, expand_dims, matrix_transpose

__all__ = [
    "corrcoef", "cov", "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmin", "nanprod", "nanstd", "nansum",
    "nanvar",
]  # fmt: skip


# ---- ignoring nan --------------------------------------------------------------------------------------------------------------------
def without_nan(x: Any, value: Any) -> Any:
    """``x`` with the scalar ``value`` for nan."""
    t = type_of(x)
    return logic.select(logic.isnan(x), t.dtype.type(value), x) if t.inexact else x


def present(x: Any, where: Any) -> Any:
    """Where ``x`` is not nan, among the elements ``where``."""
    known = logic.bitwise_not(isnan(x))
    return known if where is True else known & as_condition("where", where)


def check_inexact(name: str, dtype: Any) -> None:
    """Refuse to accumulate floating-point numbers in integers."""
    if dtype is not None and np.dtype(dtype).kind not in "fc":
        raise teach(DtypeError, f"{name}: dtype={np.dtype(dtype)} for floating-point numbers.", do="give a floating-point dtype.")


@eager(np.nansum)
def nansum(
    x: Numbers, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False, initial: Numbers = ABSENT, where: Condition = True
) -> Any:
    """The sum over ``axis`` of the elements that are not nan."""
    return sum(without_nan(x, 0), axis, dtype, keepdims=keepdims, initial=initial, where=where)


@eager(np.nanprod)
def nanprod(
    x: Numbers, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False, initial: Numbers = ABSENT, where: Condition = True
) -> Any:
    """The product over ``axis`` of the elements that are not nan."""
    return prod(without_nan(x, 1), axis, dtype, keepdims=keepdims, initial=initial, where=where)


@eager(np.nancumsum)
def nancumsum(x: Numbers, axis: int | None = None, dtype: Any = None) -> Any:
    """Running sums of the elements that are not nan."""
    return cumsum(without_nan(x, 0), axis, dtype)


@eager(np.nancumprod)
def nancumprod(x: Numbers, axis: int | None = None, dtype: Any = None) -> Any:
    """Running products of the elements that are not nan."""
    return cumprod(without_nan(x, 1), axis, dtype)


@eager(np.nanmean)
def nanmean(x: Numbers, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False, where: Condition = True) -> Any:
    """The mean over ``axis`` of the elements that are not nan."""
    if not type_of(x).inexact:
        return mean(x, axis, dtype, keepdims=keepdims, where=where)
    check_inexact("nanmean", dtype)
    return mean(x, axis, dtype, keepdims=keepdims, where=present(x, where))


@eager(np.nanvar)
def nanvar(
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
    """The variance over ``axis`` of the elements that are not nan; nan if there are too few."""
    correction = None if correction is ABSENT else correction
    further: dict[str, Any] = {"ddof": ddof, "keepdims": keepdims, "mean": mean, "correction": correction}
    if not type_of(x).inexact:
        return var(x, axis, dtype, where=where, **further)
    check_inexact("nanvar", dtype)
    used = present(x, where)
    y = var(without_nan(x, 0), axis, dtype, where=used, **further)
    few = less_equal(sum(used, axis, keepdims=keepdims), ddof if correction is None else correction)
    return logic.select(few, type_of(y).dtype.type(np.nan), y)


@eager(np.nanstd)
def nanstd(
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
    """The square root of `nanvar`; its derivative at constant x is 0."""
    y = nanvar(x, axis, dtype, ddof=ddof, keepdims=keepdims, where=where, mean=mean, correction=correction)
    t = type_of(y)
    if not t.inexact and t.shape:
        raise teach(DtypeError, f"nanstd: dtype={t.dtype} of an array.", do="give a floating dtype.")
    return convert(safe_sqrt(y.real if t.inexact else convert(y, FLOAT64)), t.dtype)


def nan_extremum(numpy_function: Any, reduce: Any, worst: float) -> Any:
    """nanmax or nanmin."""
    name: str = numpy_function.__name__

    def definition(x: Numbers, axis: Axis = None, *, keepdims: bool = False, initial: Numbers = ABSENT, where: Condition = True) -> Any:
        if not type_of(x).inexact:
            return reduce(x, axis, keepdims=keepdims, initial=initial, where=where)
        y = reduce(without_nan(x, worst), axis, keepdims=keepdims, initial=initial, where=where)
        if initial is not ABSENT and initial is not None:
            return y
        return logic.select(all(isnan(x), axis, keepdims=keepdims), type_of(y).dtype.type(np.nan), y)

    definition.__name__ = definition.__qualname__ = name
    definition.__doc__ = f"The {'largest' if worst < 0 else 'smallest'} element over ``axis`` that is not nan; nan if all are."
    return eager(numpy_function)(definition)


nanmax, nanmin = nan_extremum(np.nanmax, max, -np.inf), nan_extremum(np.nanmin, min, np.inf)


@eager(np.nanargmax)
def nanargmax(x: Numbers, axis: int | None = None, *, keepdims: bool = False) -> Any:
    """The index of the largest element that is not nan; 0 if all are (NumPy raises)."""
    return argmax(without_nan(x, -np.inf), axis, keepdims=keepdims)


@eager(np.nanargmin)
def nanargmin(x: Numbers, axis: int | None = None, *, keepdims: bool = False) -> Any:
    """The index of the smallest element that is not nan; 0 if all are (NumPy raises)."""
    return argmin(without_nan(x, np.inf), axis, keepdims=keepdims)


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
    """The covariance matrix of the rows of ``m`` (columns, if not ``rowvar``) and of ``y``; observations may be weighted."""
    wide = np.result_type(FLOAT64, *[type_of(operand(v)).dtype for v in (m, y) if v is not None]) if dtype is None else np.dtype(dtype)
    x = observations(m, rowvar, wide)
    if shape_of(x)[0] == 0:
        return zeros((0, 0))
    if y is not None:
        x = concatenate([x, observations(y, rowvar or shape_of(y)[:1] == (1,), wide)], 0)
    ddof = (0 if bias else 1) if ddof is None else ddof
    frequencies, reliabilities = (None if w is None else convert_to(strong(operand(w)), FLOAT64) for w in (fweights, aweights))
    weights = reliabilities if frequencies is None else frequencies if reliabilities is None else multiply(frequencies, reliabilities)
    n = shape_of(x)[1]
    if weights is None:
        factor: Any = builtins.max(float(n - ddof), 0.0)
        centred = subtract(x, mean(x, 1, keepdims=True))
        weighted = centred
    else:
        total = sum(weights)
        factor = (
            total
            if ddof == 0
            else subtract(total, ddof if reliabilities is None else divide(multiply(ddof, sum(multiply(weights, reliabilities))), total))
        )
        factor = maximum(factor, 0.0)
        centred = convert_to(subtract(x, expand_dims(average(x, 1, weights=weights), 1)), wide)
        weighted = multiply(centred, weights)
    c = divide(matmul(centred, conjugate(matrix_transpose(weighted))), factor)
    return c.reshape(()) if shape_of(c) == (1, 1) else c


def observations(m: Any, rowvar: bool, dtype: np.dtype[Any]) -> Any:
    """The variables of ``cov`` as rows."""
    x = convert_to(strong(m), dtype)
    if len(shape_of(x)) > 2:
        raise teach(ShapeError, f"cov: an array of shape {shape_of(x)}.", do="give a matrix of variables and observations, or a vector.")
    flat = len(shape_of(x)) < 2
    x = atleast_2d(x)
    return x if rowvar or flat else matrix_transpose(x)


@eager(np.corrcoef)
def corrcoef(x: Numbers, y: Numbers | None = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    """The matrix of correlation coefficients of the rows of ``x`` (columns, if not ``rowvar``) and of ``y``."""
    c = cov(x, y, rowvar, dtype=dtype)
    if shape_of(c) == ():
        return divide(c, c)
    deviations = sqrt(diagonal(c).real if type_of(c).dtype.kind == "c" else diagonal(c))
    c = divide(divide(c, deviations[:, None]), deviations[None, :])
    return np.clip(c, -1.0, 1.0) if type_of(c).dtype.kind != "c" else c
