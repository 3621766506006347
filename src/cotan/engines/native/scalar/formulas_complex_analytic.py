"""The exponential, logarithm, square root, and trigonometric and hyperbolic functions of complex numbers, as formulas of real ones.

LLVM does not vectorize calls of the C library's functions. These formulas take no branch, so that LLVM vectorizes them:
selects replace wrong results where a part is not finite. They agree with the C library to a few units of the last place,
and with Annex G of the C standard at infinities, nans and zeros. `emitter` looks them up in `expression.FORMULAS`.
"""

from __future__ import annotations

import math

import numpy as np

from cotan.core.emitting import where

from .expression import LlvmExpression, formula, swapped

__all__: list[str] = []


def limits(x: LlvmExpression) -> tuple[float, float]:
    """An edge below which e^x does not overflow, and e^edge: e^(x - edge) cos(y) e^edge may be finite where e^x is not."""
    edge = 709.0 if x.dtype == np.float64 else 88.0
    return edge, math.exp(edge)


def finite(x: LlvmExpression) -> LlvmExpression:
    return x.math("isfinite")


def infinite(x: LlvmExpression) -> LlvmExpression:
    return x.math("isinf")


def zero_of(x: LlvmExpression) -> LlvmExpression:
    """Zero with the sign of x."""
    return x.like(0.0).math("copysign", x)


@formula("complex")
def exp(z: LlvmExpression) -> LlvmExpression:
    """e^x (cos y + i sin y)."""
    x, y = z.re, z.im
    edge, rest = limits(x)
    beyond = x > edge
    size, rest = where(beyond, x - edge, x).math("exp"), where(beyond, x.like(rest), 1.0)
    re, im = size * y.math("cos") * rest, where(y.equals(0.0), y, size * y.math("sin") * rest)
    vague = infinite(x) & ~finite(y)  # an infinite number without a direction; or zero
    return where(vague, where(x > 0.0, x, 0.0), re).i(where(vague, where(x > 0.0, math.nan, zero_of(y)), im))


# ---- the logarithm and the square root -----------------------------------------------------------------------------------------
def scaled(z: LlvmExpression) -> tuple[LlvmExpression, LlvmExpression, LlvmExpression]:
    """The absolute values of the parts, scaled against overflow and denormal numbers in later steps; the exponent of the factor.

    The factor is 1, 2^-4 or 2^60.
    """
    x, y = abs(z.re), abs(z.im)
    large = where(x >= y, x, y)
    fact = np.finfo(x.dtype)
    high, low = large > float(fact.max) / 8, large < float(fact.tiny) * 2.0 ** (fact.nmant + 1)
    exponent = where(high, large.like(-4.0), where(low, large.like(60.0), 0.0))
    factor = where(high, large.like(2.0**-4), where(low, large.like(2.0**60), 1.0))
    return x * factor, y * factor, exponent


@formula("complex")
def log(z: LlvmExpression) -> LlvmExpression:
    """log |z| + i arg z. Near |z| = 1 it is log1p(x^2 + y^2 - 1) / 2; the sum, which cancels, is computed to twice the digits."""
    x, y, exponent = scaled(z)
    far = x.math("hypot", y).math("log") - exponent * math.log(2.0)
    large, small = where(x >= y, x, y), where(x >= y, y, x)
    (p, p_rest), (q, q_rest) = large.product_and_error(large), small.product_and_error(small)
    above = (p - 1.0) + q + (p_rest + q_rest)
    near = (above > -0.5) & (above < 1.0) & exponent.equals(0.0)
    return where(near, 0.5 * where(near, above, 0.0).math("log1p"), far).i(z.im.math("atan2", z.re))


@formula("complex")
def sqrt(z: LlvmExpression) -> LlvmExpression:
    """With r = sqrt((|z| + |x|) / 2), the parts are r and |y| / 2r for x >= 0, else |y| / 2r and r."""
    x, y, exponent = scaled(z)
    root = (0.5 * (x.math("hypot", y) + x)).math("sqrt")
    other = where(y.equals(0.0), 0.0, y / where(root.equals(0.0), 1.0, root + root))
    back = where(exponent < 0.0, exponent.like(4.0), where(exponent > 0.0, exponent.like(2.0**-30), 1.0))
    root, other = root * back, other * back
    right = z.re >= 0.0
    re, im = where(right, root, other), where(right, other, root)
    nan_at_nan = where(z.im.is_nan, z.im, 0.0)
    re = where(infinite(z.re), where(right, z.re, nan_at_nan), re)
    im = where(infinite(z.re), where(right, nan_at_nan, math.inf), im)
    endless = infinite(z.im)
    nan = z.re.is_nan | z.im.is_nan
    im = where(nan & ~infinite(z.re), math.nan, im)
    re = where(nan & ~infinite(z.re), math.nan, re)
    return where(endless, math.inf, re).i(where(endless, math.inf, im).math("copysign", z.im))


# ---- hyperbolic and trigonometric ------------------------------------------------------------------------------------------------
def parts(z: LlvmExpression) -> tuple[LlvmExpression, LlvmExpression, LlvmExpression, LlvmExpression, LlvmExpression]:
    """sinh |x|, cosh |x|, sin y, cos y, and the factor by which their products are scaled.

    With u = e^|x| - 1, sinh |x| = (u + u / (u + 1)) / 2.
    """
    x, y = abs(z.re), z.im
    edge, rest = limits(x)
    beyond = x > edge
    less = where(beyond, x - edge, x).math("expm1")
    grown = less + 1.0
    sinh = where(beyond, 0.5 * grown, 0.5 * (less + less / grown))
    cosh = where(beyond, 0.5 * grown, 0.5 * (grown + 1.0 / grown))
    infinity = infinite(x)
    return where(infinity, math.inf, sinh), where(infinity, math.inf, cosh), y.math("sin"), y.math("cos"), where(beyond, x.like(rest), 1.0)


@formula("complex")
def sinh(z: LlvmExpression) -> LlvmExpression:
    """sinh(x) cos(y) + i cosh(x) sin(y)."""
    x, y = z.re, z.im
    sh, ch, s, c, rest = parts(z)
    odd = sh.math("copysign", x) * c * rest
    re = where(finite(y), odd, where(x.equals(0.0), x, where(infinite(x), abs(x), math.nan)))
    return re.i(where(y.equals(0.0), y, ch * s * rest))


@formula("complex")
def cosh(z: LlvmExpression) -> LlvmExpression:
    """cosh(x) cos(y) + i sinh(x) sin(y)."""
    x, y = z.re, z.im
    sh, ch, s, c, rest = parts(z)
    vague = ~finite(y)
    re = where(vague & infinite(x), math.inf, ch * c * rest)
    flat = (x.equals(0.0) & vague) | y.equals(0.0)
    return re.i(where(flat, x.like(1.0).math("copysign", x) * where(vague, 0.0, y), sh.math("copysign", x) * s * rest))


@formula("complex")
def tanh(z: LlvmExpression) -> LlvmExpression:
    """(sinh(x) cosh(x) + i sin(y) cos(y)) / (sinh(x)^2 + cos(y)^2); for large |x| the real part is +-1 to rounding."""
    x, y = z.re, z.im
    far = abs(x) > (22.0 if x.dtype == np.float64 else 11.0)
    sh, ch, s, c, _ = parts(where(far, x.like(1.0), x).i(y))
    size = sh * sh + c * c
    re = where(far, 1.0, sh * ch / size)
    im = where(far, 4.0 * s * c * (-2.0 * abs(x)).math("exp"), s * c / size)
    vague = ~finite(y)
    im = where(y.equals(0.0), y, where(infinite(x) & vague, zero_of(y), im))
    re = where(vague & ~infinite(x), where(x.equals(0.0), x, math.nan), re)
    return where(x.is_nan, x, re.math("copysign", x)).i(im)


@formula("complex")
def sin(z: LlvmExpression) -> LlvmExpression:
    """sin(x + iy) and sinh(y + ix) have the same parts, exchanged."""
    return swapped(swapped(z).math("sinh"))


@formula("complex")
def cos(z: LlvmExpression) -> LlvmExpression:
    return swapped(z).math("cosh").math("conj")


@formula("complex")
def tan(z: LlvmExpression) -> LlvmExpression:
    return swapped(swapped(z).math("tanh"))
