"""Choices, rounding, parts of complex numbers, comparisons of whole arrays, and polynomials."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from ..core.array import Array
from ..core.errors import ArgumentError, ArgumentTypeError, DtypeError, ShapeError, teach
from ..core.tracing import Tracer, type_of
from ..ops import casting, logic, ordering, transcendental
from ..ops.arithmetic import constant_of, div, mul, one_like, zero_like
from ..ops.special import BesselI
from .calling import eager, fitted
from .contraction import convolve
from .creation import zeros
from .differences import diff
from .elementwise import (
    abs,
    add,
    arctan2,
    divide,
    equal,
    isfinite,
    isnan,
    less_equal,
    maximum,
    minimum,
    multiply,
    positive,
    remainder,
    subtract,
)
from .promotion import (
    ABSENT,
    Numbers,
    as_bool,
    broadcast_all,
    canonical_axis,
    convert_to,
    has_tracer,
    operand,
    promote,
    result_dtype,
    shape_of,
    size_of,
    spread_to,
    strong,
    wrap,
)
from .reduction import all, cumsum
from .roots import after_unary, converted, germ_of
from .roots import strong as strong_root
from .shape import along, atleast_1d, concatenate, reshape
from .sorting import nonzero

__all__ = [
    "allclose", "angle", "around", "array_equal", "array_equiv", "clip", "fix", "i0", "imag", "isclose", "iscomplex", "iscomplexobj",
    "isneginf", "isposinf", "isreal", "isrealobj", "isscalar", "nan_to_num", "piecewise", "polyadd", "polyder", "polyint", "polymul",
    "polysub", "polyval", "real", "real_if_close", "round", "select", "sinc", "unwrap", "where",
]  # fmt: skip


# ---- choices -------------------------------------------------------------------------------------------------------------------
def where(condition: Numbers, x: Numbers = ABSENT, y: Numbers = ABSENT, /) -> Any:
    """``x`` where ``condition`` is nonzero, else ``y``; all three broadcast. With the condition alone, `nonzero` of it.

    The derivative of the case that is not chosen is zero, even where it would be infinite.
    """
    if x is ABSENT or y is ABSENT:
        if x is not y:
            raise teach(ArgumentError, "where: either both or neither of x and y should be given.", do="write where(condition, x, y).")
        return nonzero(condition)
    if type(condition) is not Tracer and not has_tracer(x) and not has_tracer(y) and not has_tracer(condition):
        return wrap(np.where(condition, x, y))
    dtype = result_dtype(x, y)
    a, b = promote(*[cut_to(v, dtype) if type(v) is int else v for v in (x, y)])
    condition, a, b = broadcast_all("where", [as_bool(condition), a, b])
    return logic.select(condition, a, b)


def cut_to(n: int, dtype: np.dtype[Any]) -> Any:
    """A Python int in this dtype; `where` wraps it to the range of an integer dtype, as NumPy's does."""
    return np.asarray(n).astype(dtype) if dtype.kind in "iu" and -(2**63) <= n < 2**63 else n


@eager(np.select)
def select(condlist: Sequence[Numbers], choicelist: Sequence[Numbers], default: Numbers = 0) -> Any:
    """The choice of the first condition that holds, elementwise; ``default`` if none does. All operands broadcast."""
    if len(condlist) != len(choicelist) or not condlist:
        raise teach(
            ArgumentError, f"select: {len(condlist)} conditions for {len(choicelist)} choices.", do="give one choice for each condition."
        )
    *choices, result = promote(*choicelist, default)
    parts = broadcast_all("select", [*map(as_bool, condlist), *choices, result])
    count = len(condlist)
    result = parts[-1]
    for condition, choice in zip(parts[count - 1 :: -1], parts[2 * count - 1 : count - 1 : -1], strict=True):
        result = logic.select(condition, choice, result)
    return result


@fitted(np.piecewise)
def piecewise(x: Numbers, condlist: Any, funclist: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
    """The value of the function (or the constant) whose condition holds; elsewhere the value of a last one without condition, else 0.

    Every function is called on all of ``x``, and the values are selected (NumPy calls each on its part). A function whose condition is
    known to hold nowhere is not called.
    """
    x = strong(x)
    shape = shape_of(x)
    one = not (isinstance(condlist, list | tuple) and (not shape or isinstance(condlist[0], list | np.ndarray | Tracer)))
    conditions = [as_bool(c) for c in ([condlist] if one and not (len(shape_of(condlist)) > len(shape)) else condlist)]
    if len(funclist) not in (len(conditions), len(conditions) + 1):
        what = f"piecewise: {len(funclist)} functions for {len(conditions)} conditions."
        raise teach(ArgumentError, what, do="give one for each, and one more for elsewhere, if you like.")
    for c in conditions:
        if shape_of(c) != shape[: len(shape_of(c))]:
            what = f"piecewise: a condition of shape {shape_of(c)} for an array of shape {shape}."
            raise teach(ShapeError, what, do="give conditions of the shape of x, or of its first axes.")
    conditions = [reshape(c, (*shape_of(c), *[1] * (len(shape) - len(shape_of(c))))) for c in conditions]
    elsewhere = [logic.bitwise_not(any_of(conditions))] if len(funclist) > len(conditions) else []
    called = [size_of(shape) > 0 and (type(c) is Tracer or builtins.bool(np.any(c))) for c in (*conditions, *elsewhere)]
    parts = [(f(x, *args, **kwargs) if used else 0) if callable(f) else f for f, used in zip(funclist, called, strict=True)]
    values = [convert_to(operand(part), type_of(x).dtype) for part in parts]
    default = values.pop() if len(values) > len(conditions) else 0
    # NumPy lets a later condition win where several hold.
    y = select(conditions[::-1], [spread_to(v, shape, shape_of(v)) for v in values[::-1]], convert_to(operand(default), type_of(x).dtype))
    return y if type(y) is Tracer else wrap(np.asarray(y))


def any_of(conditions: Sequence[Any]) -> Any:
    """Where one of the conditions holds."""
    return reduce(logic.bitwise_or, broadcast_all("piecewise", conditions, scalars=False))


@eager(np.clip)
def clip(
    x: Numbers,
    a_min: Numbers | None = ABSENT,
    a_max: Numbers | None = ABSENT,
    *,
    min: Numbers | None = ABSENT,
    max: Numbers | None = ABSENT,
) -> Any:
    """``x`` limited to at least ``a_min`` (or ``min``) and at most ``a_max`` (``max``); None is no limit; all broadcast.

    At a limit, half of the derivative is passed on.
    """
    if a_min is ABSENT and a_max is ABSENT:
        a_min, a_max = (None if limit is ABSENT else limit for limit in (min, max))
    elif a_min is ABSENT or a_max is ABSENT or min is not ABSENT or max is not ABSENT:
        raise teach(ArgumentTypeError, "clip: one limit, or the same one twice.", do="give both limits (None is none), or min= or max=.")
    x = strong(x)
    dtype = type_of(x).dtype
    if dtype.kind in "iu":
        a_min, a_max = within(a_min, dtype, "min"), within(a_max, dtype, "max")
    if a_min is None and a_max is None:
        return positive(x)
    if a_min is not None and a_max is not None:
        operands = promote(x, a_min, a_max)
        if type_of(operands[0]).dtype.kind in "iuf":
            return ordering.clip(*broadcast_all("clip", operands))
    x = convert_to(x, result_dtype(x, *[limit for limit in (a_min, a_max) if limit is not None]))  # one dtype for all three
    if a_min is not None:
        x = maximum(x, a_min)
    return x if a_max is None else minimum(x, a_max)


def within(limit: Any, dtype: np.dtype[Any], which: str) -> Any | None:
    """A limit; a Python integer beyond the range of the integer dtype gives None (no limit), a traced one the end of the range."""
    if limit is None or not type_of(limit).weak or type_of(limit).dtype.kind != "i":
        return limit
    info = np.iinfo(dtype)
    if type(limit) is not Tracer:
        return None if (limit <= info.min if which == "min" else limit >= info.max) else limit
    low, high = builtins.max(info.min, -(2**63)), builtins.min(info.max, 2**63 - 1)
    return convert_to(minimum(maximum(strong(limit), np.int64(low)), np.int64(high)), dtype)


# ---- rounding --------------------------------------------------------------------------------------------------------------------
@eager(np.round)
def round(x: Numbers, /, decimals: int = 0) -> Any:
    """``x`` rounded to ``decimals`` places, halves to even."""
    x = strong(operand(x))
    dtype = type_of(x).dtype
    if dtype.kind == "b" and decimals:
        raise teach(DtypeError, "round: bools have no decimals.", do="convert with x.astype(float).")
    if dtype.kind == "b":
        return convert_to(x, np.dtype(np.float16))
    if dtype.kind == "c":
        return casting.complex_(round(casting.real(x), decimals), round(casting.imag(x), decimals))
    if dtype.kind in "iu":
        if decimals >= 0:
            return x
        unit = 10.0**-decimals
        return convert_to(multiply(ordering.rint(div(convert_to(x, np.dtype(np.float64)), unit)), unit), dtype)
    if decimals == 0:
        return ordering.rint(x)
    unit = constant_of(10.0 ** np.abs(decimals), dtype)
    return div(ordering.rint(mul(x, unit)), unit) if decimals > 0 else mul(ordering.rint(div(x, unit)), unit)


around = round


@eager(np.fix)
def fix(x: Numbers, /) -> Any:
    """``x`` rounded towards zero."""
    return ordering.trunc(x)


# ---- complex numbers ---------------------------------------------------------------------------------------------------------------
@eager(np.real)
def real(x: Numbers) -> Any:
    """The real part; of real ``x``, x itself."""
    return casting.real(x) if type_of(x).dtype.kind == "c" else x


@eager(np.imag)
def imag(x: Numbers) -> Any:
    """The imaginary part; of real ``x``, zeros."""
    t = type_of(x)
    return casting.imag(x) if t.dtype.kind == "c" else zeros(t.shape, t.dtype)


@eager(np.angle)
def angle(x: Numbers, deg: bool = False) -> Any:
    """The argument of complex numbers, in radians (``deg``: degrees)."""
    y = arctan2(imag(x) if type_of(x).dtype.kind == "c" else 0, real(x))
    return multiply(y, 180 / math.pi) if deg else y


@eager(np.isreal)
def isreal(x: Numbers) -> Any:
    """Whether the imaginary part is zero."""
    return equal(imag(x), 0)


@eager(np.iscomplex)
def iscomplex(x: Numbers) -> Any:
    """Whether the imaginary part is not zero."""
    return logic.bitwise_not(isreal(x))


def iscomplexobj(x: Numbers) -> bool:
    """Whether ``x`` has a complex dtype."""
    return type_of(operand(x)).dtype.kind == "c"


def isrealobj(x: Numbers) -> bool:
    """Whether ``x`` has a real dtype."""
    return not iscomplexobj(x)


@fitted(np.isscalar)
def isscalar(x: Any) -> bool:
    """Whether ``x`` is a scalar: a number of Python or NumPy, a 0-d array of cotan, or a 0-d tracer."""
    return type_of(x).shape == () if isinstance(x, Array) else bool(np.isscalar(x))


@eager(np.real_if_close)
def real_if_close(x: Numbers, tol: float = 100) -> Any:
    """A tracer, unchanged: whether its imaginary part is small is not known."""
    return x


@eager(np.isposinf)
def isposinf(x: Numbers) -> Any:
    """Whether x is plus infinity."""
    return equal(ordered("isposinf", x), np.inf)


@eager(np.isneginf)
def isneginf(x: Numbers) -> Any:
    """Whether x is minus infinity."""
    return equal(ordered("isneginf", x), -np.inf)


def ordered(name: str, x: Any) -> Any:
    """``x``, if it is real: complex numbers have no sign."""
    if type_of(x).dtype.kind == "c":
        raise teach(DtypeError, f"{name}: complex numbers are not positive or negative.", do="take x.real.")
    return x


# ---- elementwise, composed ---------------------------------------------------------------------------------------------------------
@eager(np.sinc)
def sinc(x: Numbers, /) -> Any:
    """sin(pi x) / (pi x), and 1 at 0; all derivatives are exact there."""
    x = strong_root(x)
    dtype = type_of(x).dtype
    if dtype.kind == "c":
        at_zero = logic.equal(x, zero_like(x))
        angle = mul(logic.select(at_zero, one_like(x), x), constant_of(np.pi, dtype))
        return logic.select(at_zero, one_like(x), div(transcendental.sin(angle), angle))
    if dtype.kind != "f":
        return transcendental.sinc(convert_to(x, np.dtype(np.float64)))
    return after_unary(transcendental.sinc, x, transcendental.sinc(x))


@eager(np.i0)
def i0(x: Numbers) -> Any:
    """The modified Bessel function of the first kind and order 0."""
    dtype = result_dtype(x, 1.0)
    x = x if germ_of(x) is None else converted(x, dtype, convert_to(x, dtype))
    return after_unary(BesselI(0), x, BesselI(0)(convert_to(x, dtype)))


@eager(np.nan_to_num)
def nan_to_num(x: Numbers, copy: bool = True, nan: Numbers = 0.0, posinf: Numbers | None = None, neginf: Numbers | None = None) -> Any:
    """``x`` with finite numbers for nan and the infinities (the largest and least of the dtype by default)."""
    if copy is False:
        raise teach(ArgumentError, "nan_to_num: copy=False of a traced array, which does not change.", do="write x = nan_to_num(x).")
    x = strong(x)
    dtype = type_of(x).dtype
    if dtype.kind not in "fc":
        return x
    if dtype.kind == "c":
        parts = [nan_to_num(part, nan=nan, posinf=posinf, neginf=neginf) for part in (casting.real(x), casting.imag(x))]
        return casting.complex_(*parts)
    limits = np.finfo(dtype)
    values = [
        convert_to(operand(v), dtype) for v in (nan, limits.max if posinf is None else posinf, limits.min if neginf is None else neginf)
    ]
    for test, value in zip((logic.isnan(x), logic.equal(x, dtype.type(np.inf)), logic.equal(x, dtype.type(-np.inf))), values, strict=True):
        x = logic.select(test, value if shape_of(value) == () else spread_to(value, shape_of(x), shape_of(value)), x)
    return x


@eager(np.unwrap)
def unwrap(p: Numbers, discont: float | None = None, axis: int = -1, *, period: float = 2 * math.pi) -> Any:
    """``p`` with jumps of more than half a ``period`` along ``axis`` compensated by multiples of it."""
    x = strong(p)
    k = canonical_axis("unwrap", axis, len(shape_of(x)))
    steps = diff(x, 1, k)
    dtype = result_dtype(steps, period)
    half, odd = builtins.divmod(period, 2) if dtype.kind in "iu" else (period / 2, 0)
    wrapped = add(remainder(add(steps, half), period), -half)
    if not odd:  # half a period up or down is equivalent: the sign of the step decides
        wrapped = where(equal(wrapped, -half) & (steps > 0), half, wrapped)
    correction = where(abs(steps) < (period / 2 if discont is None else discont), 0, subtract(wrapped, steps))
    n = shape_of(x)[k]
    first, rest = along(x, k, 0, builtins.min(n, 1)), along(x, k, builtins.min(n, 1), n)
    return concatenate([convert_to(first, dtype), convert_to(add(rest, cumsum(correction, k)), dtype)], k)


# ---- whole arrays compared ---------------------------------------------------------------------------------------------------------
@eager(np.isclose)
def isclose(x: Numbers, y: Numbers, rtol: Numbers = 1e-05, atol: Numbers = 1e-08, equal_nan: bool = False) -> Any:
    """Whether |x - y| <= atol + rtol |y|, elementwise; infinities of one sign are close."""
    t = type_of(y)
    if not t.weak:
        y = convert_to(y, result_dtype(y, 1.0))
    elif t.dtype.kind == "i":
        y = y * 1.0
    # Python numbers stay Python numbers, by Python's own operators: the bound takes the dtype of x, as in NumPy.
    near = less_equal(abs(subtract(x, y)), atol + rtol * builtins.abs(y)) & isfinite(y)
    close = near | equal(x, y)
    return close | (isnan(x) & isnan(y)) if equal_nan else close


@eager(np.allclose)
def allclose(x: Numbers, y: Numbers, rtol: Numbers = 1e-05, atol: Numbers = 1e-08, equal_nan: bool = False) -> Any:
    """Whether all elements are close; a 0-d bool array when traced."""
    return all(isclose(x, y, rtol, atol, equal_nan))


@eager(np.array_equal)
def array_equal(x: Numbers, y: Numbers, equal_nan: bool = False) -> Any:
    """Whether shapes and elements are equal."""
    x, y = operand(x), operand(y)
    if shape_of(x) != shape_of(y):
        return False
    same = equal(x, y)
    return all(same | (isnan(x) & isnan(y)) if equal_nan else same)


@eager(np.array_equiv)
def array_equiv(x: Numbers, y: Numbers) -> Any:
    """Whether the arrays broadcast to equal ones."""
    try:
        np.broadcast_shapes(shape_of(x), shape_of(y))
    except ValueError:
        return False
    return all(equal(x, y))


# ---- polynomials: coefficients from the highest power, as NumPy's poly1d -------------------------------------------------------------
@eager(np.polyval)
def polyval(p: Numbers, x: Numbers) -> Any:
    """The polynomial with coefficients ``p``, highest power first, at ``x``, by Horner's rule."""
    p, x = strong(p), strong(x)
    if not shape_of(p):
        raise teach(ShapeError, "polyval: a 0-d array of coefficients.", do="give a vector of coefficients.")
    n = shape_of(p)[0]
    if n == 0:
        return zeros(shape_of(x), type_of(x).dtype)
    y: Any = add(multiply(x, type_of(x).dtype.type(0)), p[0])
    for k in range(1, n):
        y = add(multiply(y, x), p[k])
    return y


def polynomial_sum(numpy_function: Any, combine: Callable[..., Any], sentence: str) -> Any:
    """polyadd or polysub."""

    @eager(numpy_function)
    def call(a1: Numbers, a2: Numbers) -> Any:
        a, b = promote(*[atleast_1d(strong(v)) for v in (a1, a2)])
        n = max(shape_of(a)[0], shape_of(b)[0])
        a, b = (concatenate([np.zeros(n - shape_of(v)[0], v.dtype), v]) if shape_of(v)[0] < n else v for v in (a, b))
        return combine(a, b)

    call.__name__ = call.__qualname__ = numpy_function.__name__
    call.__doc__ = sentence
    return call


polyadd = polynomial_sum(np.polyadd, add, "The sum of two polynomials.")
polysub = polynomial_sum(np.polysub, subtract, "The difference of two polynomials.")


@eager(np.polymul)
def polymul(a1: Numbers, a2: Numbers) -> Any:
    """The product of two polynomials. Leading zeros of traced coefficients are kept: the length cannot depend on values."""
    return convolve(without_front(a1), without_front(a2))


def without_front(p: Any) -> Any:
    """The coefficients of a polynomial, at least one, without leading zeros where these are known."""
    p = atleast_1d(strong(p))
    if len(shape_of(p)) != 1:
        raise teach(ShapeError, f"polymul: coefficients of shape {shape_of(p)}.", do="give vectors of coefficients.")
    if type(p) is not Tracer:
        p = np.trim_zeros(p, "f")
    return p if shape_of(p)[0] else np.zeros(1, type_of(p).dtype)


def times(name: str, m: Any, p: Any) -> int:
    """The number of differentiations or integrations of a polynomial."""
    if int(m) < 0:
        raise teach(ArgumentError, f"{name}: m={m}.", do="give an order from 0: polyder differentiates, polyint integrates.")
    if not shape_of(p) and (int(m) > 0 or name == "polyder"):
        raise teach(ShapeError, f"{name}: a 0-d array.", do="give a vector of coefficients.")
    return int(m)


@eager(np.polyder)
def polyder(p: Numbers, m: int = 1) -> Any:
    """The ``m``-th derivative of a polynomial."""
    for _ in range(times("polyder", m, p)):
        n = shape_of(p)[0]
        p = multiply(p[:-1], np.arange(n - 1, 0, -1))
    return p


@eager(np.polyint)
def polyint(p: Numbers, m: int = 1, k: Numbers | None = None) -> Any:
    """The ``m``-th antiderivative of a polynomial, with constants ``k``: one for all, or one for each integration (zero if None)."""
    m = times("polyint", m, p)
    constants = np.zeros(m) if k is None else atleast_1d(strong(k))
    if shape_of(constants) == (1,) and m > 1:
        constants = multiply(constants[0], np.ones(m))
    if shape_of(constants)[0] < m:
        what = f"polyint: {shape_of(constants)[0]} constants for {m} integrations."
        raise teach(ShapeError, what, do="give one constant, or one for each integration.")
    for j in range(m):
        p = concatenate([divide(p, np.arange(shape_of(p)[0], 0, -1)), constants[j : j + 1]])
    return p
