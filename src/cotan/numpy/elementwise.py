"""The ufuncs: one line each, with the op, or the rule in terms of ops, that traces the function.

The rules of functions without an op are defined here, for operands of one dtype and one shape (or scalars).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.errors import ArgumentError, teach
from ..core.tracing import FLOAT64, Tracer, type_of
from ..core.types import is_inexact
from ..ops import arithmetic, casting, families, logic, ordering, transcendental
from ..ops.arithmetic import constant_like, one_like, zero_like
from .promotion import convert_to, has_tracer, wrap
from .roots import after_unary, even_power, magnitude, product, square_root, two_norm
from .ufuncs import SIGNATURES, binary, refuse_unless_default, unary

__all__ = [
    "abs", "absolute", "acos", "acosh", "add", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "asin", "asinh",
    "atan", "atan2", "atanh", "bitwise_and", "bitwise_count", "bitwise_invert", "bitwise_left_shift", "bitwise_not", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "cbrt", "ceil", "conj", "conjugate", "copysign", "cos", "cosh", "deg2rad", "degrees", "divide",
    "divmod", "equal", "exp", "exp2", "expm1", "fabs", "float_power", "floor", "floor_divide", "fmax", "fmin", "fmod", "greater",
    "greater_equal", "heaviside", "hypot", "invert", "isfinite", "isinf", "isnan", "left_shift", "less", "less_equal", "log", "log1p",
    "log2", "log10", "logaddexp", "logaddexp2", "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "mod",
    "multiply", "negative", "nextafter", "not_equal", "positive", "pow", "power", "rad2deg", "radians", "reciprocal", "remainder",
    "right_shift", "rint", "sign", "signbit", "sin", "sinh", "sqrt", "square", "subtract", "tan", "tanh", "true_divide", "trunc",
]  # fmt: skip

BOOL = np.dtype(np.bool_)


# ---- rules of functions without an op ------------------------------------------------------------------------------------
def identity(x: Any) -> Any:
    return x


def not_zero(x: Any) -> Any:
    return convert_to(x, BOOL)


def constant_bool(value: bool) -> Callable[[Any], Any]:
    """The rule of isnan and similar functions on integers: a constant."""
    return lambda x: families.fill_shape(np.bool_(value), x)


def square_rule(x: Any) -> Any:
    known = even_power(x, 2)
    return arithmetic.integer_pow(x, 2) if known is None else known


def reciprocal_rule(x: Any) -> Any:
    return arithmetic.div(one_like(x), x)


square_rule.smooth = reciprocal_rule.smooth = square_root.smooth = True  # type: ignore[attr-defined]


def rounded_away(x: Any, r: Any) -> Any:
    """Where the quotient of ``x`` rounded down differs from the quotient rounded to zero: the remainder ``r`` and ``x`` have opposite
    signs.
    """
    return logic.bitwise_and(logic.not_equal(r, zero_like(r)), logic.less(logic.bitwise_xor(r, x), zero_like(r)))


def truncated_divide(x: Any, y: Any) -> Any:
    """The integer quotient rounded to zero, as in C and lax.div."""
    q = ordering.floor_divide(x, y)
    if type_of(x).dtype.kind == "u":
        return q
    r = arithmetic.sub(x, arithmetic.mul(q, y))
    return logic.select(rounded_away(x, r), arithmetic.add(q, one_like(q)), q)


def integer_fmod(x: Any, y: Any) -> Any:
    r = ordering.rem(x, y)
    return r if type_of(x).dtype.kind == "u" else logic.select(rounded_away(x, r), arithmetic.sub(r, y), r)


def real_fmod(x: Any, y: Any) -> Any:
    """By magnitudes, since a small negative x plus y would be rounded; -0.0 counts as negative."""
    negative = logic.signbit(x)
    r = ordering.rem(logic.select(negative, arithmetic.neg(x), x), ordering.abs_(y))
    return logic.select(negative, arithmetic.neg(r), r)


def fmod_rule(x: Any, y: Any) -> Any:
    """The remainder with the sign of the dividend."""
    return real_fmod(x, y) if type_of(x).dtype.kind == "f" else integer_fmod(x, y)


def extremum(op: Callable[..., Any], better: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """maximum or minimum; complex numbers are ordered by real, then imaginary part; nan is returned if there is one."""

    def of_complex(x: Any, y: Any) -> Any:
        return logic.select(logic.bitwise_or(logic.isnan(x), better(x, y)), x, y)

    return {"biuf": op, "c": of_complex}


def but_nan(rules: dict[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """fmax or fmin from maximum or minimum: the other operand where one is nan."""

    def rule(which: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x, y: logic.select(logic.isnan(x), y, logic.select(logic.isnan(y), x, which(x, y)))

    return {"biu": rules["biuf"], "f": rule(rules["biuf"]), "c": rule(rules["c"])}


def heaviside_rule(x: Any, h: Any) -> Any:
    step = logic.select(logic.equal(x, zero_like(x)), h, convert_to(logic.greater(x, zero_like(x)), type_of(x).dtype))
    return logic.select(logic.isnan(x), x, step)


def logaddexp2_rule(x: Any, y: Any) -> Any:
    ln2 = constant_like(math.log(2), x)
    z = transcendental.logaddexp(arithmetic.mul(x, ln2), arithmetic.mul(y, ln2))
    return arithmetic.div(z, constant_like(math.log(2), z))


def times(factor: float) -> Callable[[Any], Any]:
    def rule(x: Any) -> Any:
        return arithmetic.mul(x, constant_like(factor, x))

    rule.smooth = True  # type: ignore[attr-defined]
    return rule


def both(op: Callable[..., Any]) -> Callable[..., Any]:
    """A logical operation: the bitwise one on truth values."""
    return lambda x, y: op(not_zero(x), not_zero(y))


def compared(op: Callable[..., Any], negative_left: bool | None, negative_right: bool | None) -> Callable[..., Any]:
    """A comparison; exact for int64 with uint64 too, as in NumPy.

    ``negative_left`` is the result where the left operand is a negative integer and the right one is unsigned.
    """

    def rule(x: Any, y: Any) -> Any:
        s, t = type_of(x).dtype, type_of(y).dtype
        if s == t:
            return op(x, y)
        signed, unsigned = (x, y) if s.kind == "i" else (y, x)
        below = logic.less(signed, zero_like(signed))
        same = convert_to(signed, type_of(unsigned).dtype)
        result = op(same, unsigned) if s.kind == "i" else op(unsigned, same)
        return logic.select(below, np.bool_(negative_left if s.kind == "i" else negative_right), result)

    return rule


# ---- arithmetic --------------------------------------------------------------------------------------------------------
add = binary(np.add, {"iufc": arithmetic.add, "b": logic.bitwise_or})
subtract = binary(np.subtract, arithmetic.sub)
multiply = binary(np.multiply, {"iufc": product, "b": logic.bitwise_and})
divide = true_divide = binary(np.divide, arithmetic.div)
floor_divide = binary(np.floor_divide, ordering.floor_divide)
remainder = mod = binary(np.remainder, ordering.rem)
fmod = binary(np.fmod, {"iuf": fmod_rule}, "The remainder with the sign of the dividend.")
negative = unary(np.negative, arithmetic.neg)
positive = unary(np.positive, identity, "x as it is.")
reciprocal = unary(
    np.reciprocal,
    {"fc": reciprocal_rule, "iu": lambda x: truncated_divide(one_like(x), x)},
    "One over x; of integers, the integer part of that.",
)
square = unary(np.square, {"iufc": square_rule, "b": logic.bitwise_not}, "x times x.")
absolute = abs = unary(
    np.absolute,
    {"iu": ordering.abs_, "fc": magnitude, "b": identity},
    "Magnitude; for complex x the result is real. Its derivative at 0 is 0.",
)
fabs = unary(np.fabs, {"f": magnitude}, "Magnitude of real numbers, floating.")
sign = unary(np.sign, {"iufc": ordering.sign})
conjugate = conj = unary(np.conjugate, {"c": casting.conj, "iuf": identity}, "The complex conjugate.")
float_power = binary(np.float_power, {"fc": transcendental.power}, "x to the power y in float64 or complex128.")

# ---- exponentials and their inverses -------------------------------------------------------------------------------------
exp, exp2, expm1 = unary(np.exp, transcendental.exp), unary(np.exp2, transcendental.exp2), unary(np.expm1, transcendental.expm1)
log, log2 = unary(np.log, transcendental.log), unary(np.log2, transcendental.log2)
log10, log1p = unary(np.log10, transcendental.log10), unary(np.log1p, transcendental.log1p)
logaddexp = binary(np.logaddexp, transcendental.logaddexp)
logaddexp2 = binary(np.logaddexp2, {"f": logaddexp2_rule}, "log2(2^x + 2^y) without overflow.")
sqrt = unary(np.sqrt, {"fc": square_root}, "The square root; nan for a negative real x.")
cbrt = unary(np.cbrt, transcendental.cbrt)

# ---- trigonometry ------------------------------------------------------------------------------------------------------
sin, cos, tan = unary(np.sin, transcendental.sin), unary(np.cos, transcendental.cos), unary(np.tan, transcendental.tan)
arcsin = asin = unary(np.arcsin, transcendental.arcsin)
arccos = acos = unary(np.arccos, transcendental.arccos)
arctan = atan = unary(np.arctan, transcendental.arctan)
arctan2 = atan2 = binary(np.arctan2, transcendental.arctan2)
sinh, cosh, tanh = unary(np.sinh, transcendental.sinh), unary(np.cosh, transcendental.cosh), unary(np.tanh, transcendental.tanh)
arcsinh = asinh = unary(np.arcsinh, transcendental.arcsinh)
arccosh = acosh = unary(np.arccosh, transcendental.arccosh)
arctanh = atanh = unary(np.arctanh, transcendental.arctanh)
hypot = binary(np.hypot, {"f": two_norm}, "sqrt(x^2 + y^2) without overflow. Its derivative at 0 is 0.")
deg2rad = unary(np.deg2rad, {"f": times(math.pi / 180)}, "Degrees to radians.")
rad2deg = unary(np.rad2deg, {"f": times(180 / math.pi)}, "Radians to degrees.")
radians = unary(np.radians, {"f": times(math.pi / 180)}, "Degrees to radians.")
degrees = unary(np.degrees, {"f": times(180 / math.pi)}, "Radians to degrees.")

# ---- order and rounding --------------------------------------------------------------------------------------------------
larger, smaller = extremum(ordering.maximum, logic.greater_equal), extremum(ordering.minimum, logic.less_equal)
maximum = binary(np.maximum, larger, "The larger of two; nan if either is. At a tie each has half of the derivative.")
minimum = binary(np.minimum, smaller, "The smaller of two; nan if either is. At a tie each has half of the derivative.")
fmax = binary(np.fmax, but_nan(larger), "The larger of two; the other where one is nan.")
fmin = binary(np.fmin, but_nan(smaller), "The smaller of two; the other where one is nan.")
copysign, nextafter = binary(np.copysign, ordering.copysign), binary(np.nextafter, ordering.nextafter)
heaviside = binary(np.heaviside, {"f": heaviside_rule}, "0 for x < 0, h for x = 0, 1 for x > 0.")
floor, ceil = unary(np.floor, ordering.floor), unary(np.ceil, ordering.ceil)
trunc, rint = unary(np.trunc, ordering.trunc), unary(np.rint, ordering.rint)
signbit = unary(np.signbit, logic.signbit)
isnan = unary(np.isnan, {"fc": logic.isnan, "biu": constant_bool(False)}, "Whether x is nan.")
isinf = unary(np.isinf, {"fc": logic.isinf, "biu": constant_bool(False)}, "Whether x is infinite.")
isfinite = unary(np.isfinite, {"fc": logic.isfinite, "biu": constant_bool(True)}, "Whether x is neither infinite nor nan.")

# ---- comparisons, logic, bits ---------------------------------------------------------------------------------------------
equal = binary(np.equal, compared(logic.equal, False, False), "x == y.")
not_equal = binary(np.not_equal, compared(logic.not_equal, True, True), "x != y.")
less = binary(np.less, compared(logic.less, True, False), "x < y.")
less_equal = binary(np.less_equal, compared(logic.less_equal, True, False), "x <= y.")
greater = binary(np.greater, compared(logic.greater, False, True), "x > y.")
greater_equal = binary(np.greater_equal, compared(logic.greater_equal, False, True), "x >= y.")
logical_and = binary(np.logical_and, both(logic.bitwise_and), "Whether both are nonzero.")
logical_or = binary(np.logical_or, both(logic.bitwise_or), "Whether one is nonzero.")
logical_xor = binary(np.logical_xor, both(logic.bitwise_xor), "Whether just one is nonzero.")
logical_not = unary(np.logical_not, lambda x: logic.bitwise_not(not_zero(x)), "Whether x is zero.")
bitwise_and, bitwise_or = binary(np.bitwise_and, logic.bitwise_and), binary(np.bitwise_or, logic.bitwise_or)
bitwise_xor = binary(np.bitwise_xor, logic.bitwise_xor)
invert = bitwise_not = bitwise_invert = unary(np.invert, logic.bitwise_not)
left_shift = bitwise_left_shift = binary(np.left_shift, logic.left_shift)
right_shift = bitwise_right_shift = binary(np.right_shift, logic.right_shift)
bitwise_count = unary(np.bitwise_count, logic.bitwise_count)

# ---- powers ----------------------------------------------------------------------------------------------------------------
general_power = binary(np.power, transcendental.power)
LARGEST_INTEGRAL_POWER = 64
EVEN_POWERS = frozenset(range(2, LARGEST_INTEGRAL_POWER + 1, 2))


def power(x: Any, n: Any, /, **refused: Any) -> Any:
    """x to the power n, elementwise; shapes broadcast, dtypes are those of ``numpy.power``.

    A Python number n that is integral (up to 64 for a float) gives repeated multiplication, whose derivatives are exact at 0 too.

    Raises
    ------
    ArgumentError
        An integer x is raised to a negative Python integer.
    """
    kind = type(n)
    if type(x) is Tracer and not refused and (kind is int or kind is float):
        known = even_power(x, int(n)) if n in EVEN_POWERS else None
        if known is not None:
            return known
        t = x.owner.type_of(x.payload)
        if kind is int:
            if n < 0 and t.dtype.kind in "iu":
                if t.weak:
                    return arithmetic.integer_pow(convert_to(x, FLOAT64, True), n)
                raise teach(
                    ArgumentError,
                    "power: integers to negative integer powers are not allowed.",
                    do="write x ** -2.0, or x.astype(float) ** -2.",
                )
            if t.dtype.kind in "fc" or (n >= 0 and t.dtype.kind in "iu" and (t.weak or n <= np.iinfo(t.dtype).max)):
                return after_unary(arithmetic.to_the(n), x, arithmetic.integer_pow(x, n))
        elif is_inexact(t.dtype):
            if n.is_integer() and -LARGEST_INTEGRAL_POWER <= n <= LARGEST_INTEGRAL_POWER:
                return after_unary(arithmetic.to_the(int(n)), x, arithmetic.integer_pow(x, int(n)))
            if n == 0.5 and not t.weak:
                return square_root(x)
    return general_power(x, n, **refused)


pow = power


def divmod(x: Any, y: Any, /, out: Any = None, **refused: Any) -> tuple[Any, Any]:
    """(floor_divide(x, y), remainder(x, y))."""
    refuse_unless_default("divmod", None if out == (None, None) else out, refused)
    if not has_tracer(x) and not has_tracer(y):
        return wrap(np.divmod(x, y))
    return floor_divide(x, y), remainder(x, y)


divmod.__signature__ = SIGNATURES[2]  # type: ignore[attr-defined]
