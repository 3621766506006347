"""Scalar formulas of floats: classes and order, remainders, and functions made of others.

A function of NumPy is computed by NumPy's algorithm, so that both give equal numbers. `emitter` looks the formulas up in
`expression.FORMULAS`; `float_to_integer` is its conversion of floats.
"""

from __future__ import annotations

import math

import numpy as np

from cotan.core.emitting import where
from cotan.engines.native.llvm.jit import machine
from cotan.ops.transcendental import largest_square

from .expression import BOOL, COMPLEX, HALF, LlvmExpression, Scalar, formula, instruction
from .vector_variants import guarded

__all__ = ["float_to_integer"]

LOG2 = math.log(2.0)


# ---- signs and classes ------------------------------------------------------------------------------------------------------
@formula("float")
def neg(x: LlvmExpression) -> LlvmExpression:
    return instruction("fneg", x)


@formula("float")
def isnan(x: LlvmExpression) -> LlvmExpression:
    return instruction("fcmp uno", x, x, dtype=BOOL)


@formula("float")
def isinf(x: LlvmExpression) -> LlvmExpression:
    return abs(x).equals(math.inf)


@formula("float")
def isfinite(x: LlvmExpression) -> LlvmExpression:
    return abs(x) < math.inf


@formula("float")
def signbit(x: LlvmExpression) -> LlvmExpression:
    return x.bits(f"i{x.dtype.itemsize}") < 0


@formula("float")
def sign(x: LlvmExpression) -> LlvmExpression:
    one = x.like(1.0).math("copysign", x)
    other = where(x.is_nan, x, 0.0)
    return where(instruction("fcmp ueq", x, x.like(0.0), dtype=BOOL), other, one)


# ---- order ------------------------------------------------------------------------------------------------------------------
def extremum(predicate: str, x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    """The larger or smaller number, nan if either is, as in NumPy. The predicate holds if one of them is nan."""
    better = where(instruction(f"fcmp {predicate}", x, y, dtype=BOOL), x, y)
    return where(y.is_nan, y, better)


@formula("float")
def maximum(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    return extremum("uge", x, y)


@formula("float")
def minimum(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    return extremum("ule", x, y)


# ---- as complex numbers -----------------------------------------------------------------------------------------------------
@formula("float", name="real")
def itself(x: LlvmExpression) -> LlvmExpression:
    return x


formula("float", name="conj")(itself)


@formula("float", name="imag")
def imaginary_part(x: LlvmExpression) -> LlvmExpression:
    return x.like(0.0)


@formula("float", name="complex")
def complex_of(re: LlvmExpression, im: LlvmExpression) -> LlvmExpression:
    dtype = next(c for c, part in COMPLEX.items() if part == re.dtype)
    return re.of(Scalar((re.scalar.register, im.scalar.register), dtype))


# ---- conversion to integers -------------------------------------------------------------------------------------------------
def float_to_integer(x: LlvmExpression, dtype: np.dtype) -> LlvmExpression:
    """The integer part. A number that has none, or whose integer does not fit, gives the result of an x86 processor, as in NumPy.

    Such a processor converts to signed integers of 32 or 64 bits, and gives the least of them for numbers that do not fit.
    Smaller integers are the lowest of these 32 bits, uint32 the lowest of 64. (NumPy's arrays of uint32 saturate at 2^31 in some of its
    loops; its scalars do not.)
    """
    if dtype == np.uint64:
        high = x >= 2.0**63
        low = float_to_integer(where(high, x - 2.0**63, x), np.dtype(np.int64)).cast(dtype)
        return where(high, low ^ (1 << 63), low)
    if dtype.name not in ("int32", "int64"):
        return float_to_integer(x, np.dtype(np.int64 if dtype == np.uint32 else np.int32)).cast(dtype)
    limit = 2.0 ** (8 * dtype.itemsize - 1)
    fine = x.dtype == np.float64 and dtype == np.int32
    fits = ((x > -limit - 1) if fine else (x >= -limit)) & (x < limit)
    kinds = {4: ("float", "i32"), 8: ("double", "i64")}
    have, want = kinds[x.dtype.itemsize][0], kinds[dtype.itemsize][1]
    safe = where(fits, x, 0.0)
    whole = x.e.value(dtype, f"fptosi {have} {safe.scalar.value} to {want}")
    return where(fits, LlvmExpression(x.e, whole), -(2 ** (8 * dtype.itemsize - 1)))


# ---- division with a remainder ----------------------------------------------------------------------------------------------
def remainder_of(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    """The exact remainder of the quotient rounded to zero, as C's fmod.

    If the quotient of the absolute values has no more bits than the mantissa, it is computed to within one. One fused step
    then gives the remainder r, or r less the divisor. Either is exact: a multiple of the divisor's last place, and smaller.
    """
    if not machine().fuses:
        return division(x, y)
    return guarded("remainder", remainder_by_quotient, division, x, y)


def division(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    """By long division."""
    return LlvmExpression(x.e, x.e.remainder(x.scalar, y.scalar))


def remainder_by_quotient(x: LlvmExpression, y: LlvmExpression) -> tuple[LlvmExpression, LlvmExpression]:
    size, divisor = abs(x), abs(y)
    quotient = (size / divisor).math("trunc")
    rest = (-quotient).fused(divisor, size)
    rest = where(rest < 0.0, rest + divisor, rest)
    rest = where(size < divisor, size, rest)  # also if the divisor is infinite
    return rest.math("copysign", x), quotient < 2.0 ** (np.finfo(x.dtype).nmant + 1)


def signs_differ(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    """Whether just one of them is below zero."""
    return (x < 0.0) ^ (y < 0.0)


@formula("float")
def rem(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    """The remainder with the sign of the divisor: nan for a divisor of 0."""
    r = remainder_of(x, y)
    moved = where(signs_differ(r, y), r + y, r)
    return where(y.equals(0.0), r, where(r.equals(0.0), r.like(0.0).math("copysign", y), moved))


@formula("float")
def floor_divide(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    """The floor of the quotient, by the remainder; x / 0 for a divisor of 0."""
    r = remainder_of(x, y)
    quotient = (x - r) / y
    down = r.differs(0.0) & signs_differ(r, y)
    quotient = where(down, quotient - 1.0, quotient)
    below = quotient.math("floor")
    nearest = where(quotient - below > 0.5, below + 1.0, below)
    direct = x / y
    return where(y.equals(0.0), direct, where(quotient.equals(0.0), quotient.like(0.0).math("copysign", direct), nearest))


# ---- roots ------------------------------------------------------------------------------------------------------------------
@formula("float")
def cbrt(x: LlvmExpression) -> LlvmExpression:
    """Of a single in double precision: the C library's functions of singles are off by up to two units, the second derivative by nine."""
    if x.dtype == np.float32:
        return x.cast(np.float64).math("cbrt").cast(np.float32)
    return x.of(Scalar(x.e.float_function("cbrt", x.dtype, x.scalar.register), x.dtype))


# ---- bits of floats ---------------------------------------------------------------------------------------------------------
@formula("float")
def nextafter(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    """The bits of a positive float, as an integer, count the floats."""
    integers = np.dtype(f"i{x.dtype.itemsize}")
    bits = x.bits(integers)
    step = where((x < y) ^ (x < 0.0), bits.like(1), -1)
    least = (y.bits(integers) & np.iinfo(integers).min) | 1
    after = where(x.equals(0.0), least, bits + step).bits(x.dtype)
    same = x if x.dtype == HALF else y  # of zeros, as NumPy
    return where(x.is_nan | y.is_nan, x + y, where(x.equals(y), same, after))


# ---- exponentials and logarithms --------------------------------------------------------------------------------------------
@formula("float")
def rsqrt(x: LlvmExpression) -> LlvmExpression:
    return 1.0 / x.math("sqrt")


@formula("float")
def arctan_derivative(x: LlvmExpression) -> LlvmExpression:
    size = abs(x)
    far, inverse = size > float(largest_square(x.dtype)), 1.0 / size
    return where(far, inverse * inverse, 1.0 / (1.0 + size * size))


@formula("float")
def arcsinh_derivative(x: LlvmExpression) -> LlvmExpression:
    size = abs(x)
    return 1.0 / where(size > float(largest_square(x.dtype)), size, (1.0 + size * size).math("sqrt"))


@formula("complex", name="arctan_derivative")
def complex_arctan_derivative(x: LlvmExpression) -> LlvmExpression:
    return 1.0 / (1.0 + x * x)


@formula("complex", name="arcsinh_derivative")
def complex_arcsinh_derivative(x: LlvmExpression) -> LlvmExpression:
    return 1.0 / (1.0 + x * x).math("sqrt")


@formula("float")
def logistic(x: LlvmExpression) -> LlvmExpression:
    """By e^-|x|, which does not overflow: far below 0 the result is e^x, denormal in the end."""
    below = (-abs(x)).math("exp")
    return where(x < 0.0, below, 1.0) / (1.0 + below)


@formula("float")
def logistic_derivative(x: LlvmExpression) -> LlvmExpression:
    e = (-abs(x)).math("exp")
    w = 1.0 + e
    return e / (w * w)


@formula("float")
def logit(x: LlvmExpression) -> LlvmExpression:
    """log(x) - log1p(-x); between 1/4 and 3/4, where that cancels, 2 arctanh(2x - 1), whose operand is exact."""
    gap = x - 0.5
    near = abs(gap) <= 0.25
    middle = 2.0 * (2.0 * where(near, gap, 0.0)).math("atanh")
    away = where(near, 0.5, x)
    return where(near, middle, away.math("log") - (-away).math("log1p"))


@formula("float")
def logaddexp(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    gap = x - y
    larger = where(gap > 0.0, x, y)
    apart = larger + (-abs(gap)).math("exp").math("log1p")
    return where(x.equals(y), x + LOG2, where(gap.is_nan, gap, apart))


@formula("float")
def xlogy(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    return where(x.equals(0) & ~y.is_nan, 0, x * y.math("log"))


@formula("float")
def xlog1py(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    return where(x.equals(0) & ~y.is_nan, 0, x * y.math("log1p"))


@formula("float")
def entr(x: LlvmExpression) -> LlvmExpression:
    inside = where(x > 0.0, -x * x.math("log"), 0.0)
    return where(x.is_nan, x, where(x < 0.0, -math.inf, inside))


# ---- sinc -------------------------------------------------------------------------------------------------------------------
@formula("float")
def sinc(x: LlvmExpression) -> LlvmExpression:
    u = math.pi * where(x.equals(0.0), 1e-20, x)
    return u.math("sin") / u


@formula("float")
def sinc_derivative(x: LlvmExpression, n: int) -> LlvmExpression:
    """The recursion and the series of `ops.transcendental.sinc_derivative`."""
    dtype = x.dtype
    u = (math.pi * x).cast(np.float64)
    s = (u / math.pi).math("sinc")
    for k in range(1, n + 1):
        s = ((u + k * math.pi / 2).math("sin") - k * s) / u
    small = abs(u) < 2.0 + n
    v = where(small, u, 0.0)
    series, square, first = v.like(0.0), v * v, (n + 1) // 2
    for k in reversed(range(first, first + 24)):
        series = series * square + (-1) ** k / ((2 * k + 1) * math.factorial(2 * k - n))
    if n % 2:
        series = series * v
    return (where(small, series, s) * math.pi**n).cast(dtype)
