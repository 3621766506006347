"""Scalar formulas of complex numbers: parts, arithmetic, comparisons, and functions made of others, by NumPy's algorithms.

`emitter` looks the formulas up in `expression.FORMULAS`.
"""

from __future__ import annotations

import math

from cotan.core.emitting import where

from .expression import COMPLEX, LlvmExpression, Scalar, formula

__all__: list[str] = []

LOG2, LOG2E, LOG10E = math.log(2.0), math.log2(math.e), math.log10(math.e)


# ---- parts ------------------------------------------------------------------------------------------------------------------
@formula("complex")
def real(x: LlvmExpression) -> LlvmExpression:
    return x.of(Scalar(x.scalar.value[0], COMPLEX[x.dtype]))


@formula("complex")
def imag(x: LlvmExpression) -> LlvmExpression:
    return x.of(Scalar(x.scalar.value[1], COMPLEX[x.dtype]))


@formula("complex")
def add(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    return (x.re + y.re).i(x.im + y.im)


@formula("complex")
def sub(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    return (x.re - y.re).i(x.im - y.im)


@formula("complex")
def neg(x: LlvmExpression) -> LlvmExpression:
    return (-x.re).i(-x.im)


@formula("complex")
def conj(x: LlvmExpression) -> LlvmExpression:
    return x.re.i(-x.im)


@formula("complex")
def rint(x: LlvmExpression) -> LlvmExpression:
    return x.re.math("rint").i(x.im.math("rint"))


@formula("complex")
def isnan(x: LlvmExpression) -> LlvmExpression:
    return x.re.math("isnan") | x.im.math("isnan")


@formula("complex")
def isinf(x: LlvmExpression) -> LlvmExpression:
    return x.re.math("isinf") | x.im.math("isinf")


@formula("complex")
def isfinite(x: LlvmExpression) -> LlvmExpression:
    return x.re.math("isfinite") & x.im.math("isfinite")


@formula("complex", name="abs")
def magnitude(x: LlvmExpression) -> LlvmExpression:
    return x.re.math("hypot", x.im)


@formula("complex")
def sign(x: LlvmExpression) -> LlvmExpression:
    """x / |x|: 0 at 0, and the direction of an infinite number, if it has one."""
    size = abs(x)
    endless = size.math("isinf")
    both = x.re.math("isinf") & x.im.math("isinf")

    def part(a: LlvmExpression) -> LlvmExpression:
        far = where(both, math.nan, where(a.math("isinf"), a.like(1.0).math("copysign", a), 0.0))
        return where(size.equals(0.0), 0.0, where(endless, far, a / size))

    return where(size.is_nan, math.nan, part(x.re)).i(where(size.is_nan, math.nan, part(x.im)))


# ---- order ------------------------------------------------------------------------------------------------------------------
def ordered(name: str, strict: str) -> None:
    """A comparison by the real parts, then by the imaginary parts; false if a part that decides is nan."""

    @formula("complex", name=name)
    def compare(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
        decided = x.re.math(strict, y.re) & ~x.im.is_nan & ~y.im.is_nan
        return decided | (x.re.equals(y.re) & x.im.math(name, y.im))


for _name, _strict in (("lt", "lt"), ("le", "lt"), ("gt", "gt"), ("ge", "gt")):
    ordered(_name, _strict)


# ---- products ---------------------------------------------------------------------------------------------------------------
@formula("complex")
def mul(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    return (x.re * y.re - x.im * y.im).i(x.re * y.im + x.im * y.re)


@formula("complex")
def scale(d: LlvmExpression, t: LlvmExpression) -> LlvmExpression:
    return where(d.equals(0) | t.equals(0), 0, d * t)


@formula("complex")
def div(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    """Smith's algorithm: the smaller part of the divisor in units of the larger."""
    by_real = abs(y.re) >= abs(y.im)
    large, small = where(by_real, y.re, y.im), where(by_real, y.im, y.re)
    zero = y.equals(0)
    ratio = small / large
    factor = 1.0 / (large + small * ratio)
    a, b = where(by_real, x.re, x.im), where(by_real, x.im, x.re)
    re = (a + b * ratio) * factor
    im = where(by_real, b - a * ratio, a * ratio - b) * factor
    return where(zero, x.re / abs(y.re), re).i(where(zero, x.im / abs(y.re), im))


@formula("complex", name="pow")
def power(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    """By squaring for integers between -100 and 100, as NumPy; else e^(y log x), as C."""
    n = where(abs(y.re) < 100.0, y.re, 0.0).math("trunc")
    whole = y.im.equals(0.0) & y.re.equals(n)
    count = abs(n).cast("int32")
    result, square = x.like(1), x
    for k in range(7):
        result = where((count & (1 << k)).differs(0), result * square, result)
        square = square * square
    result = where(n < 0.0, 1 / result, result)
    for few, found in ((1.0, x), (2.0, x * x), (3.0, x * (x * x))):  # not multiplied by 1 first, where infinity times 0 is nan
        result = where(n.equals(few), found, result)
    general = (y * x.math("log")).math("exp")
    at_zero = where(y.re > 0.0, 0, x.like(complex(math.nan, math.nan)))
    found = where(x.equals(0), at_zero, where(whole, result, general))
    return where(y.equals(0), 1, found)


# ---- by other functions ----------------------------------------------------------------------------------------
def in_units(x: LlvmExpression, unit: float) -> LlvmExpression:
    """Both parts times a real number."""
    return (x.re * unit).i(x.im * unit)


@formula("complex")
def rsqrt(x: LlvmExpression) -> LlvmExpression:
    return 1 / x.math("sqrt")


@formula("complex")
def exp2(x: LlvmExpression) -> LlvmExpression:
    return in_units(x, LOG2).math("exp")


@formula("complex")
def log2(x: LlvmExpression) -> LlvmExpression:
    return in_units(x.math("log"), LOG2E)


@formula("complex")
def log10(x: LlvmExpression) -> LlvmExpression:
    return in_units(x.math("log"), LOG10E)


@formula("complex")
def expm1(x: LlvmExpression) -> LlvmExpression:
    """e^a cos(b) - 1 = (e^a - 1) cos(b) - 2 sin(b/2)^2."""
    half = (x.im / 2.0).math("sin")
    re = x.re.math("expm1") * x.im.math("cos") - 2.0 * half * half
    return re.i(x.re.math("exp") * x.im.math("sin"))


@formula("complex")
def log1p(x: LlvmExpression) -> LlvmExpression:
    above = x.re + 1.0
    return above.math("hypot", x.im).math("log").i(x.im.math("atan2", above))
