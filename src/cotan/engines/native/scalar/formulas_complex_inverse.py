"""The inverse trigonometric and hyperbolic functions of complex numbers, as formulas of real ones that take no branch.

The formulas are of W. Kahan, "Branch cuts for complex elementary functions, or much ado about nothing's sign bit" (1987): with the square
roots of 1 - z and 1 + z, no sum in them cancels. Where a part is not finite, the values are as in Annex G of the C standard.
`emitter` looks the formulas up in `expression.FORMULAS`.
"""

from __future__ import annotations

import math

import numpy as np

from cotan.core.emitting import where

from .expression import LlvmExpression, formula, swapped

__all__: list[str] = []

HALF_PI, QUARTER_PI = math.pi / 2, math.pi / 4


def infinite(x: LlvmExpression) -> LlvmExpression:
    return x.math("isinf")


def signed(size: LlvmExpression | float, sign: LlvmExpression) -> LlvmExpression:
    """A number of this size with the sign of another."""
    return sign.like(size).math("copysign", sign)


def tamed(z: LlvmExpression) -> tuple[LlvmExpression, LlvmExpression]:
    """z, or z / 16 where products of its roots may overflow, and log(16) there, else 0: for such z, asinh(16 z) = asinh(z) + log(16)."""
    limit = float(np.finfo(z.re.dtype).max) / 8
    huge = (abs(z.re) > limit) | (abs(z.im) > limit)
    factor = where(huge, z.re.like(0.0625), 1.0)
    return (z.re * factor).i(z.im * factor), where(huge, z.re.like(math.log(16.0)), 0.0)


def roots(z: LlvmExpression) -> tuple[LlvmExpression, LlvmExpression]:
    """The square roots of 1 - z and 1 + z."""
    return (1.0 - z.re).i(-z.im).math("sqrt"), (1.0 + z.re).i(z.im).math("sqrt")


def plain(z: LlvmExpression) -> LlvmExpression:
    """Whether both parts are finite."""
    return z.math("isfinite")


@formula("complex")
def asinh(z: LlvmExpression) -> LlvmExpression:
    """asinh(x + iy) and asin(y + ix) have the same parts, exchanged."""
    x, y = z.re, z.im
    near, rest = tamed(z)
    a, b = roots(swapped(near))
    size = abs(a.re * b.im - a.im * b.re).math("asinh") + rest
    re = size.math("copysign", x)
    im = near.im.math("atan2", a.re * b.re - a.im * b.im)
    far_re = where(infinite(y), signed(math.inf, x), where(infinite(x), x, math.nan))
    slope = signed(where(infinite(x), x.like(QUARTER_PI), HALF_PI), y)
    flat = (infinite(x) & ~y.is_nan) | (x.is_nan & y.equals(0.0))
    far_im = where(infinite(y), where(x.is_nan, math.nan, slope), where(flat, signed(0.0, y), math.nan))
    return where(plain(z), re.i(im), far_re.i(far_im))


@formula("complex")
def asin(z: LlvmExpression) -> LlvmExpression:
    return swapped(swapped(z).math("asinh"))


@formula("complex")
def acos(z: LlvmExpression) -> LlvmExpression:
    """By the roots of 1 - z and 1 + z; pi / 2 - asin(z) where a part is not finite."""
    near, rest = tamed(z)
    a, b = roots(near)
    re = 2.0 * a.re.math("atan2", b.re)
    im = -(abs(b.re * a.im - b.im * a.re).math("asinh") + rest).math("copysign", z.im)
    other = z.math("asin")
    return where(plain(z), re.i(im), (HALF_PI - other.re).i(-other.im))


@formula("complex")
def acosh(z: LlvmExpression) -> LlvmExpression:
    x, y = z.re, z.im
    near, rest = tamed(z)
    s, t = (near.re - 1.0).i(near.im).math("sqrt"), (near.re + 1.0).i(near.im).math("sqrt")
    re = (s.re * t.re + s.im * t.im).math("asinh") + rest
    im = 2.0 * s.im.math("atan2", t.re)
    far_re = where(infinite(x) | infinite(y), x.like(math.inf), math.nan)
    left = where(x < 0.0, x.like(math.pi), 0.0)
    slope = where(infinite(x), where(x < 0.0, x.like(math.pi - QUARTER_PI), QUARTER_PI), HALF_PI)
    beside = where(infinite(x) & ~y.is_nan, signed(left, y), where(y.is_nan & x.equals(0.0), HALF_PI, x.like(math.nan)))
    far_im = where(infinite(y), where(x.is_nan, math.nan, signed(slope, y)), beside)
    return where(plain(z), re.i(im), far_re.i(far_im))


@formula("complex")
def atanh(z: LlvmExpression) -> LlvmExpression:
    """log1p(4x / ((1 - x)^2 + y^2)) / 4 + i arg(1 - x^2 - y^2 + 2iy) / 2; for large |z|, x / |z|^2 +- i pi / 2.

    Close to 1, at a distance of d whose square may vanish, the real part is log(2 sqrt(x) / d) / 2.
    """
    double = z.re.dtype == np.float64
    x, y = abs(z.re), abs(z.im)
    below = 1.0 - x
    distance = below.math("hypot", y)
    close = distance < (1e-9 if double else 1e-5)
    beside = 0.5 * ((2.0 * x.math("sqrt")).math("log") - distance.math("log"))
    near_re = where(close, beside, 0.25 * (4.0 * x / (below * below + y * y)).math("log1p"))
    near_im = 0.5 * (2.0 * y).math("atan2", below * (1.0 + x) - y * y)
    tame, rest = tamed(x.i(y))
    size = abs(tame)
    far = size > (1e17 if double else 1e8)
    re = where(far, (tame.re / size) / size * where(rest > 0.0, x.like(0.0625), 1.0), near_re)
    im = where(far, HALF_PI, near_im)
    endless = infinite(x) | infinite(y)
    vanishes = endless | x.equals(0.0)
    re = where(plain(z), re, where(vanishes, x.like(0.0), math.nan))
    im = where(plain(z), im, where(infinite(y) | (infinite(x) & ~y.is_nan), HALF_PI, y.like(math.nan)))
    return signed(re, z.re).i(signed(im, z.im))


@formula("complex")
def atan(z: LlvmExpression) -> LlvmExpression:
    """atan(x + iy) and atanh(y + ix) have the same parts, exchanged."""
    return swapped(swapped(z).math("atanh"))
