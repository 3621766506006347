"""Words of complex numbers: arithmetic, comparisons, and what is made of other functions, by NumPy's algorithms."""

from __future__ import annotations

import math

from .expression import Term, where, word

__all__: list[str] = []

LOG2, LOG2E, LOG10E = math.log(2.0), math.log2(math.e), math.log10(math.e)


# ---- parts ------------------------------------------------------------------------------------------------------------------
@word("complex")
def add(x: Term, y: Term) -> Term:
    return (x.re + y.re).i(x.im + y.im)


@word("complex")
def sub(x: Term, y: Term) -> Term:
    return (x.re - y.re).i(x.im - y.im)


@word("complex")
def neg(x: Term) -> Term:
    return (-x.re).i(-x.im)


@word("complex")
def conj(x: Term) -> Term:
    return x.re.i(-x.im)


@word("complex")
def rint(x: Term) -> Term:
    return x.re.math("rint").i(x.im.math("rint"))


@word("complex")
def isnan(x: Term) -> Term:
    return x.re.math("isnan") | x.im.math("isnan")


@word("complex")
def isinf(x: Term) -> Term:
    return x.re.math("isinf") | x.im.math("isinf")


@word("complex")
def isfinite(x: Term) -> Term:
    return x.re.math("isfinite") & x.im.math("isfinite")


@word("complex", name="abs")
def magnitude(x: Term) -> Term:
    return x.re.math("hypot", x.im)


@word("complex")
def sign(x: Term) -> Term:
    """x / |x|; of an infinite number the direction, if there is one; 0 at 0."""
    size = abs(x)
    endless = size.math("isinf")
    both = x.re.math("isinf") & x.im.math("isinf")

    def part(a: Term) -> Term:
        far = where(both, math.nan, where(a.math("isinf"), a.like(1.0).math("copysign", a), 0.0))
        return where(size.equals(0.0), 0.0, where(endless, far, a / size))

    return where(size.is_nan, math.nan, part(x.re)).i(where(size.is_nan, math.nan, part(x.im)))


# ---- order ------------------------------------------------------------------------------------------------------------------
def ordered(name: str, strict: str) -> None:
    """A comparison by the real parts, then by the imaginary ones; false if a number that is looked at is nan."""

    @word("complex", name=name)
    def compare(x: Term, y: Term) -> Term:
        decided = x.re.math(strict, y.re) & ~x.im.is_nan & ~y.im.is_nan
        return decided | (x.re.equals(y.re) & x.im.math(name, y.im))


for _name, _strict in (("lt", "lt"), ("le", "lt"), ("gt", "gt"), ("ge", "gt")):
    ordered(_name, _strict)


# ---- products ---------------------------------------------------------------------------------------------------------------
@word("complex")
def mul(x: Term, y: Term) -> Term:
    return (x.re * y.re - x.im * y.im).i(x.re * y.im + x.im * y.re)


@word("complex")
def scale(d: Term, t: Term) -> Term:
    return where(d.equals(0) | t.equals(0), 0, d * t)


@word("complex")
def div(x: Term, y: Term) -> Term:
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


@word("complex", name="pow")
def power(x: Term, y: Term) -> Term:
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
def in_units(x: Term, unit: float) -> Term:
    """Both parts times a real number."""
    return (x.re * unit).i(x.im * unit)


@word("complex")
def rsqrt(x: Term) -> Term:
    return 1 / x.math("sqrt")


@word("complex")
def exp2(x: Term) -> Term:
    return in_units(x, LOG2).math("exp")


@word("complex")
def log2(x: Term) -> Term:
    return in_units(x.math("log"), LOG2E)


@word("complex")
def log10(x: Term) -> Term:
    return in_units(x.math("log"), LOG10E)


@word("complex")
def expm1(x: Term) -> Term:
    """e^a cos(b) - 1 = (e^a - 1) cos(b) - 2 sin(b/2)^2."""
    half = (x.im / 2.0).math("sin")
    re = x.re.math("expm1") * x.im.math("cos") - 2.0 * half * half
    return re.i(x.re.math("exp") * x.im.math("sin"))


@word("complex")
def log1p(x: Term) -> Term:
    above = x.re + 1.0
    return above.math("hypot", x.im).math("log").i(x.im.math("atan2", above))
