"""The elementwise ops under JAX's names."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import ArgumentError, teach
from ..core.tracing import FLOAT64, type_of
from ..numpy import elementwise as surface
from ..numpy.promotion import convert_to, operand
from ..ops import arithmetic, casting, logic, ordering, special, transcendental
from .strictness import agree, apply, elementwise, finish

__all__ = [
    "abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0e", "bessel_i1e", "bitwise_and", "bitwise_not",
    "bitwise_or", "bitwise_xor", "cbrt", "ceil", "clamp", "complex", "conj", "convert_element_type", "cos", "cosh", "digamma", "div",
    "eq", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt", "igamma", "igammac", "imag", "integer_pow", "is_finite",
    "le", "lgamma", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne", "neg", "nextafter", "polygamma", "population_count",
    "pow", "real", "reciprocal", "rem", "round", "rsqrt", "select", "select_n", "shift_left", "shift_right_arithmetic",
    "shift_right_logical", "sign", "sin", "sinh", "sqrt", "square", "stop_gradient", "sub", "tan", "tanh",
]  # fmt: skip

# ---- arithmetic ------------------------------------------------------------------------------------------------------------
add, sub, mul = elementwise("add", arithmetic.add, 2), elementwise("sub", arithmetic.sub, 2), elementwise("mul", arithmetic.mul, 2)
neg, abs, sign = elementwise("neg", arithmetic.neg, 1), elementwise("abs", ordering.abs_, 1), elementwise("sign", ordering.sign, 1)
max, min = elementwise("max", ordering.maximum, 2), elementwise("min", ordering.minimum, 2)
square = elementwise("square", surface.square_rule, 1, "x times x.")
reciprocal = elementwise("reciprocal", surface.reciprocal_rule, 1, "One over x.")


def integers(x: Any) -> bool:
    return type_of(x).dtype.kind in "iu"


def divided(x: Any, y: Any) -> Any:
    return surface.truncated_divide(x, y) if integers(x) else apply(arithmetic.div, x, y)


div = elementwise("div", divided, 2, "Quotient; of integers, rounded to zero.")
rem = elementwise("rem", surface.fmod_rule, 2, "Remainder with the sign of the dividend.")


def pow(x: Any, y: Any) -> Any:
    """x to the power y: floats (or complex numbers) of one dtype, or floats with an integer y; a Python integer y is `integer_pow`."""
    if type(y) is int:
        return integer_pow(x, y)
    x, y = operand(x), operand(y)
    if integers(y) and type_of(x).inexact:
        y = convert_to(y, type_of(x).dtype)
    return apply(transcendental.power, *agree("pow", (x, y)))


def integer_pow(x: Any, y: int) -> Any:
    """x to a fixed integer power. Raises ArgumentError for integer x and negative y."""
    x = operand(x)
    if integers(x) and y < 0:
        if not type_of(x).weak:
            raise teach(ArgumentError, f"integer_pow: integers to the power {y}.", do="convert x to a floating dtype first.")
        x = convert_to(x, FLOAT64, True)
    return finish(arithmetic.integer_pow(x, y))


# ---- transcendental --------------------------------------------------------------------------------------------------------
exp, exp2, expm1 = (elementwise(op.name, op, 1) for op in (transcendental.exp, transcendental.exp2, transcendental.expm1))
log, log1p = elementwise("log", transcendental.log, 1), elementwise("log1p", transcendental.log1p, 1)
sqrt, rsqrt, cbrt = (elementwise(op.name, op, 1) for op in (transcendental.sqrt, transcendental.rsqrt, transcendental.cbrt))
logistic = elementwise("logistic", transcendental.logistic, 1)
sin, cos, tan = (elementwise(op.name, op, 1) for op in (transcendental.sin, transcendental.cos, transcendental.tan))
sinh, cosh, tanh = (elementwise(op.name, op, 1) for op in (transcendental.sinh, transcendental.cosh, transcendental.tanh))
asin, acos = elementwise("asin", transcendental.arcsin, 1), elementwise("acos", transcendental.arccos, 1)
atan, atan2 = elementwise("atan", transcendental.arctan, 1), elementwise("atan2", transcendental.arctan2, 2)
asinh, acosh = elementwise("asinh", transcendental.arcsinh, 1), elementwise("acosh", transcendental.arccosh, 1)
atanh = elementwise("atanh", transcendental.arctanh, 1)

# ---- special functions -------------------------------------------------------------------------------------------------------
erf, erfc, erf_inv = elementwise("erf", special.erf, 1), elementwise("erfc", special.erfc, 1), elementwise("erf_inv", special.erfinv, 1)
lgamma, digamma = elementwise("lgamma", special.lgamma, 1), elementwise("digamma", special.digamma, 1)
igamma, igammac = elementwise("igamma", special.gammainc, 2), elementwise("igammac", special.gammaincc, 2)
bessel_i0e, bessel_i1e = elementwise("bessel_i0e", special.i0e, 1), elementwise("bessel_i1e", special.i1e, 1)


def polygamma(m: int, x: Any) -> Any:
    """The ``m``-th derivative of the digamma function; m is a Python integer (in JAX an array)."""
    return finish(special.polygamma(int(m), operand(x)))


# ---- rounding, order, bits ---------------------------------------------------------------------------------------------------
floor, ceil = elementwise("floor", ordering.floor, 1), elementwise("ceil", ordering.ceil, 1)
is_finite, nextafter = elementwise("is_finite", logic.isfinite, 1), elementwise("nextafter", ordering.nextafter, 2)


def round(x: Any, rounding_method: int = 0) -> Any:
    """The nearest integer; halves away from zero (method 0), or to even (method 1)."""
    x = operand(x)
    if rounding_method:
        return finish(ordering.rint(x))
    half = convert_to(0.5, type_of(x).dtype)
    return finish(arithmetic.mul(ordering.sign(x), ordering.floor(arithmetic.add(ordering.abs_(x), half))))


eq, ne = elementwise("eq", logic.equal, 2), elementwise("ne", logic.not_equal, 2)
lt, le = elementwise("lt", logic.less, 2), elementwise("le", logic.less_equal, 2)
gt, ge = elementwise("gt", logic.greater, 2), elementwise("ge", logic.greater_equal, 2)
bitwise_and, bitwise_or = elementwise("bitwise_and", logic.bitwise_and, 2), elementwise("bitwise_or", logic.bitwise_or, 2)
bitwise_xor, bitwise_not = elementwise("bitwise_xor", logic.bitwise_xor, 2), elementwise("bitwise_not", logic.bitwise_not, 1)
shift_left = elementwise("shift_left", logic.left_shift, 2)
shift_right_arithmetic = elementwise("shift_right_arithmetic", logic.right_shift, 2)


def population_count(x: Any) -> Any:
    """The number of one bits of x, in its dtype."""
    x = operand(x)
    dtype = type_of(x).dtype
    unsigned = convert_to(x, np.dtype(f"u{dtype.itemsize}"))
    return finish(convert_to(logic.bitwise_count(unsigned), dtype))


def shift_right_logical(x: Any, y: Any) -> Any:
    """x >> y with zeros shifted in from the left, for any sign."""
    x, y = agree("shift_right_logical", (x, y))
    dtype = type_of(x).dtype
    unsigned = np.dtype(f"u{dtype.itemsize}")
    return finish(convert_to(logic.right_shift(convert_to(x, unsigned), convert_to(y, unsigned)), dtype))


# ---- choices -------------------------------------------------------------------------------------------------------------------
def select(pred: Any, on_true: Any, on_false: Any) -> Any:
    """``on_true`` where the bool ``pred``, else ``on_false``; of one dtype, and one shape or scalars."""
    yes, no = agree("select", (on_true, on_false))
    return apply(logic.select_n, operand(pred), no, yes)


def select_n(which: Any, *cases: Any) -> Any:
    """``cases[which]``: which is bool (two cases) or an integer; the cases have one dtype, and one shape or are scalars."""
    return apply(logic.select_n, operand(which), *agree("select_n", cases))


def clamp(min: Any, x: Any, max: Any) -> Any:
    """``x`` limited to [min, max], of one dtype; outside and at the limits its derivative is zero."""
    low, x, high = agree("clamp", (min, x, max))
    return finish(logic.select(logic.less_equal(x, low), low, logic.select(logic.greater_equal(x, high), high, x)))


# ---- dtypes --------------------------------------------------------------------------------------------------------------------
def convert_element_type(operand: Any, new_dtype: Any) -> Any:
    """``operand`` in another dtype; complex to real takes the real part, float to integer truncates."""
    return finish(converted(operand, np.dtype(new_dtype)))


def converted(x: Any, dtype: np.dtype[Any]) -> Any:
    """``x`` in another dtype, strong."""
    return casting.convert(operand(x), dtype)


real, imag, conj = elementwise("real", casting.real, 1), elementwise("imag", casting.imag, 1), elementwise("conj", casting.conj, 1)
complex = elementwise("complex", casting.complex_, 2)


def stop_gradient(x: Any) -> Any:
    """``x`` (an array), with derivative zero."""
    return apply(casting.stop_gradient, operand(x))
