"""Vector functions as polynomials, for libm functions of which the C library has no vector variant, or a slower one.

The formulas are of doubles and take no branch; single precision is computed in double. They are within 2.5 units of the last
place. The coefficients are Chebyshev fits, made with 60 digits and rounded; the docstring of each table names the function,
the interval and the error. `emitter.LlvmEmitter.variant` takes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from cotan.core.emitting import where

from .expression import LlvmExpression
from .vector_variants import Formula

__all__ = ["FASTER", "POLYNOMIALS"]

DOUBLE, BITS = np.dtype(np.float64), np.dtype(np.int64)
LOG2_HIGH, LOG2_LOW = float.fromhex("0x1.62e42fee00000p-1"), float.fromhex("0x1.a39ef35793c76p-33")
"""log(2) in two parts: the first, of 33 bits, times an exponent is exact."""
HALF_PI = [float.fromhex(x) for x in ("0x1.921fb54400000p+0", "0x1.0b4611a600000p-34", "0x1.3198a2e000000p-69", "0x1.b839a252049c1p-104")]
"""pi / 2 in parts of 33 bits, of which a multiple below 2^20 is exact, and a last of 53."""
MAGIC = 1.5 * 2.0**52
"""Added to a small number, it leaves the nearest integer in the lowest bits."""


def polynomial(x: LlvmExpression, coefficients: Sequence[float]) -> LlvmExpression:
    """The polynomial with these coefficients, the constant first, by Horner's rule."""
    y = x.like(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        y = y.fused(x, c)
    return y


def side_by_side(x: LlvmExpression, coefficients: Sequence[float]) -> LlvmExpression:
    """The polynomial by Estrin's rule: pairs of terms are the coefficients of a polynomial in x^2, and do not wait for each other."""
    terms = [x.like(c) for c in coefficients]
    while len(terms) > 1:
        terms = [x.fused(high[0], low) if high else low for low, *high in (terms[k : k + 2] for k in range(0, len(terms), 2))]
        x = x * x
    return terms[0]


def two_sum(a: LlvmExpression, b: LlvmExpression) -> tuple[LlvmExpression, LlvmExpression]:
    """The rounded sum of a larger and a smaller number, and its rounding error."""
    total = a + b
    return total, b - (total - a)


# ---- exponential ------------------------------------------------------------------------------------------------------------
EXP = (
    *(0.5000000000000001, 0.16666666666666669, 0.041666666666623824, 0.008333333333330039, 0.0013888888917367081),
    *(0.00019841269863171557, 2.4801521057868204e-05, 2.7557268276905696e-06, 2.7620201591031547e-07, 2.5100472505694996e-08),
)
"""(e^r - 1 - r) / r^2 for |r| <= log(2) / 2, to 1.1e-16 of 1/2."""


def reduced(x: LlvmExpression) -> tuple[LlvmExpression, LlvmExpression]:
    """r and the integer k with x = k log(2) + r, |r| <= log(2) / 2."""
    shifted = x.fused(1 / math.log(2.0), MAGIC)
    k = shifted - MAGIC
    return k.fused(-LOG2_LOW, k.fused(-LOG2_HIGH, x)), shifted.bits(BITS) - np.float64(MAGIC).view(np.int64).item()


def exp_of(x: LlvmExpression, beside: LlvmExpression | None = None) -> LlvmExpression:
    """e^(x + beside), for a small number beside: 2^k e^r with x = k log(2) + r.

    2^k is made of its bits. To keep these in range, 2^(k-1) is doubled, and for small x 2^(k+63) is brought down by one more product, which
    is where a denormal result is rounded.
    """
    clamped = where(x > 710.0, 710.0, where(x < -746.0, -746.0, x))
    r, k = reduced(clamped)
    r = r if beside is None else r + beside
    grown = 1.0 + r.fused(1.0, r * r * polynomial(r, EXP))
    small = x < -700.0
    power = (k + where(small, k.like(1022 + 64), 1022)).math("shl", 52).bits(DOUBLE)
    y = (grown + grown) * power * where(small, x.like(2.0**-64), 1.0)
    return where(x.is_nan, x, y)


# ---- logarithm ----------------------------------------------------------------------------------------------------------------
LOG = (
    *(0.666666666666667, 0.3999999999989322, 0.28571428628810996, 0.22222210674238516),
    *(0.18182922513515942, 0.15330617306743305, 0.1463003136412286),
)
"""(log((1 + s) / (1 - s)) - 2s) / s^3 as a function of s^2, for s up to (sqrt(2) - 1) / (sqrt(2) + 1), to 3e-16."""


def mantissa_and_exponent(x: LlvmExpression) -> tuple[LlvmExpression, LlvmExpression]:
    """f and k with x = (1 + f) 2^k, sqrt(1/2) <= 1 + f < sqrt(2), for positive finite x; f is exact."""
    denormal = x < 2.0**-1022
    bits = where(denormal, x * 2.0**54, x).bits(BITS)
    offset = np.float64(math.sqrt(0.5)).view(np.int64).item()
    above = bits - offset
    mantissa = ((above & ((1 << 52) - 1)) + offset).bits(DOUBLE)
    # The exponent as a double: made positive, it fills the lowest bits of 2^52.
    count = (above.math("shr", 52) + 2048) | np.float64(2.0**52).view(np.int64).item()
    k = count.bits(DOUBLE) - (2.0**52 + 2048.0)
    return mantissa - 1.0, k - where(denormal, x.like(54.0), 0.0)


def log_at_limits(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    """``y``, the logarithm, for positive finite x; the limits elsewhere."""
    y = where(x > 0.0, where(x.equals(math.inf), x, y), where(x.equals(0.0), x.like(-math.inf), math.nan))
    return where(x.is_nan, x, y)


def log(x: LlvmExpression) -> LlvmExpression:
    """k log(2) + log(1 + f), with s = f / (2 + f): log(1 + f) = f - f^2/2 + s (f^2/2 + s^2 LOG(s^2))."""
    f, k = mantissa_and_exponent(x)
    s = f / (2.0 + f)
    z = s * s
    half = 0.5 * f * f
    correction = s * (half + z * polynomial(z, LOG)) + k * LOG2_LOW
    return log_at_limits(x, k * LOG2_HIGH - ((half - correction) - f))


# ---- power --------------------------------------------------------------------------------------------------------------------
LOG_FIFTH = (
    *(0.4000000000000003, 0.28571428571332935, 0.22222222273617623, 0.18181807839015793),
    *(0.15385604411768514, 0.13284977969619904, 0.12925663575110274),
)
"""(LOG - 2/3) / s^2 as a function of s^2, on the interval of LOG, to 3e-16."""
TWO_THIRDS = 0.6666666666666666, 3.700743415417188e-17


def log_in_two_parts(x: LlvmExpression) -> tuple[LlvmExpression, LlvmExpression]:
    """The logarithm of a positive finite number as a sum of two doubles, to some 70 bits.

    As `log`, as k log(2) + s (2 + s^2 LOG(s^2)); but s, s^2, the first term of LOG and all products with these are in two parts.
    """
    f, k = mantissa_and_exponent(x)
    divisor = 2.0 + f
    s = f / divisor
    back, back_rest = s.product_and_error(divisor)
    s_rest = ((f - back) - back_rest - s * (f - (divisor - 2.0))) / divisor
    z, z_rest = s.product_and_error(s)
    z_rest = z_rest + 2.0 * (s * s_rest)
    above = z * polynomial(z, LOG_FIFTH)
    cubic = TWO_THIRDS[0] + above
    cubic_rest = (TWO_THIRDS[0] - cubic) + above + TWO_THIRDS[1]
    u, u_rest = z.product_and_error(cubic)
    v, v_rest = two_sum(u.like(2.0), u)
    v_rest = v_rest + (u_rest + z * cubic_rest + z_rest * cubic)
    w, w_rest = s.product_and_error(v)
    w_rest = w_rest + (s * v_rest + s_rest * v)
    high, rest = two_sum(k * LOG2_HIGH, w)
    return two_sum(high, rest + (w_rest + k * LOG2_LOW))


def power(x: LlvmExpression, y: LlvmExpression) -> tuple[LlvmExpression, LlvmExpression]:
    """|x|^y = e^(y log |x|), and whether the formula holds: for finite positive x and finite y, if the result is a normal number."""
    high, rest = log_in_two_parts(x)
    product, product_rest = y.product_and_error(high)
    fine = (x > 0.0) & (x < math.inf) & (abs(product) < 708.0)
    return exp_of(product, product_rest + y * rest), fine


# ---- sine and cosine ----------------------------------------------------------------------------------------------------------
SIN = (
    *(-0.16666666666666666, 0.008333333333330925, -0.00019841269836722437),
    *(2.755731608382574e-06, -2.505112794596564e-08, 1.591784866512194e-10),
)
COS = (
    *(0.041666666666666664, -0.0013888888888887382, 2.480158729874308e-05),
    *(-2.755731726001471e-07, 2.0876143829213935e-09, -1.1382456865840483e-11),
)
"""(sin(r) / r - 1) / r^2 and (cos(r) - 1 + r^2/2) / r^4 as functions of r^2, for |r| <= pi / 4, to 2e-17."""


def sine(quarter: int) -> Formula:
    """sin(x + quarter pi / 2), and whether x is small enough: then r = x - k pi / 2 is accurate also where it nearly vanishes."""

    def formula(x: LlvmExpression) -> tuple[LlvmExpression, LlvmExpression]:
        shifted = x.fused(2 / math.pi, MAGIC)
        k = shifted - MAGIC
        r = x
        for part in HALF_PI:
            r = r - k * part
        z = r * r
        sin = r.fused(1.0, r * z * polynomial(z, SIN))
        cos = 1.0 - (0.5 * z - z * z * polynomial(z, COS))
        quarters = shifted.bits(BITS) + quarter
        y = where((quarters & 1).differs(0), cos, sin)
        sign = (quarters & 2).math("shl", 62)
        y = (y.bits(BITS) ^ sign).bits(DOUBLE)
        return (where(x.equals(0.0), x, y) if not quarter else y), abs(x) < 2.0**20

    return formula


# ---- hyperbolic tangent, error function -------------------------------------------------------------------------------------------
ERF = (
    *(0.12837916709551256, -0.37612638903183543, 0.11283791670945006, -0.02686617064323777, 0.0052239776071164225),
    *(-0.0008548325975389692, 0.00012055294904839707, -1.492473690741966e-05, 1.6447424703317362e-06),
    *(-1.6208483801871705e-07, 1.3720064546777686e-08, -7.795898827002142e-10),
)
"""erf(x) / x - 1 as a function of x^2, for |x| <= 1, to 7e-18."""
ERFC = (
    *(0.5370034535441699, 0.09530622695922807, -0.1465830480329023, 0.13988054760175497, -0.09546975030523977, 0.0463502633331125),
    *(-0.014019825690408286, 0.0009108225892992976, 0.0012428775785409845, -0.00041254111662474317, -8.462417207131054e-05),
    *(6.894329946192818e-05, 6.548726570865801e-06, -1.0860048699617792e-05, -1.1200966567868343e-06, 1.1700036808372053e-06),
)
"""x e^(x^2) erfc(x) as a function of (x - 3) / (x + 3), for 1 <= x <= 6.1, to 2e-17."""


def tanh(x: LlvmExpression) -> LlvmExpression:
    """E / (E + 2) with E = e^2|x| - 1 = 2^k (e^r - 1) + (2^k - 1), accurate near 0, where k is 0; 1 from 20 on."""
    size = abs(x)
    r, k = reduced(2.0 * where(size > 20.0, 20.0, size))
    power = (k + 1023).math("shl", 52).bits(DOUBLE)
    grown = power.fused(r.fused(1.0, r * r * side_by_side(r, EXP)), power - 1.0)
    return (grown / (grown + 2.0)).math("copysign", x)  # nan, if x is


def erf(x: LlvmExpression) -> LlvmExpression:
    """An odd polynomial near 0; 1 - erfc(x) elsewhere, which is 1 from 6 on."""
    size = abs(x)
    near = x.fused(1.0, x * polynomial(x * x, ERF))
    inside = where(size < 6.0, size, 6.0)
    rest = exp_of(-(inside * inside)) * polynomial((inside - 3.0) / (inside + 3.0), ERFC) / inside
    far = where(size < 6.0, 1.0 - rest, 1.0).math("copysign", x)
    return where(size < 1.0, near, where(x.is_nan, x, far))


def always(function: Callable[[LlvmExpression], LlvmExpression]) -> Formula:
    """A formula that holds for every operand."""
    return lambda x: (function(x), None)


def in_double(function: Formula) -> Formula:
    """A formula of doubles for operands of either precision."""

    def formula(*operands: LlvmExpression) -> tuple[LlvmExpression, LlvmExpression | None]:
        y, fine = function(*[x.cast(DOUBLE) for x in operands])
        return y.cast(operands[0].dtype), fine

    return formula


POLYNOMIALS: dict[str, Formula] = {
    "exp": in_double(always(exp_of)),
    "log": in_double(always(log)),
    "sin": in_double(sine(0)),
    "cos": in_double(sine(1)),
    "tanh": in_double(always(tanh)),
    "erf": in_double(always(erf)),
    "pow": in_double(power),
}
"""The formulas, by libm's names."""
FASTER = {("tanh", 64)}
"""Formulas that are faster than the vector functions of glibc, with the bits of the numbers: tanh 1.1 ns for 2.0, with AVX-512."""
