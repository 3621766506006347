"""The Gaussian e^(-x^2), the tails of the error functions and the normal distribution function, exact to rounding in the far tails.

With E(z) = e^(z^2) erfc(z), erfc(z) = e^(-z^2) E(z): the first factor is tiny, the second varies slowly, and each is accurate by itself. In
the first factor, x^2 must not be rounded: a relative error of 2^-53 in it is one of 2^-53 x^2 in the result, 700 units in the last place at
the end of the range. The derivatives of the second factor must not be computed as E' = 2 z E - 2/sqrt(pi), which cancels; E'' cancels even
more. So `Gaussian` computes x^2 in two parts, and `ScaledErfc` has an approximation of its own for each order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..core.op import Op, op
from .arithmetic import constant_like, mul
from .families import Analytic, default_rng, scale
from .routines import special

__all__ = ["CENTRE", "DERIVATIVES_OF_SCALED_ERFC", "FARTHEST", "MENDED", "erfc_of", "gaussian", "in_double", "ndtr", "scaled_erfc"]

FARTHEST = 64.0
"""For larger |x|, e^(-x^2/2) is 0 in every dtype."""
CENTRE = 3.0
DERIVATIVES_OF_SCALED_ERFC: tuple[tuple[float, ...], ...] = (
    (
        *(1.2530080582697296, -0.13562110612458117, -0.0475622943534492, 0.1296451587027594, -0.11927366341538638),
        *(0.0683080273440099, -0.02377051491717134, 0.0025293918156939696, 0.0018886903449991718, -0.0007798322696543306),
        *(-0.00010515971958448065, 0.0001250993424583729, 4.949196649968345e-06, -2.0100542268525612e-05, -7.308281468783614e-07),
        *(3.472370944977168e-06, 3.5576086684080595e-07, -6.166011460398726e-07, -1.4047654315428462e-07, 1.0183620603842736e-07),
        *(4.1064013667940355e-08, -1.3312919661038687e-08, -8.217595058711455e-09, 9.862533510345587e-10, 8.393734858690877e-10),
    ),
    (
        *(2.6642407403514707, -0.20547056079930345, -0.6936084288393594, 0.866275414790496, -0.4719294741333821),
        *(0.019277493313852385, 0.16887802107994104, -0.12551965353626235, 0.03175691296454818, 0.00991897336087909),
        *(-0.00801503722647452, -0.00023673646292723366, 0.0014813052934880397, -6.582700602165238e-05, -0.0002834178860926518),
        *(9.019905344180866e-06, 5.828997267304885e-05, 3.174771117940825e-06, -1.2181932798194466e-05, -2.4695088459899376e-06),
        *(2.3560790446313313e-06, 9.842615667303603e-07, -3.7353332250282683e-07, -2.765718926816367e-07, 4.052504788446828e-08),
        *(5.1929113851195156e-08, -2.0715153752994308e-09, -4.89936054506745e-09),
    ),
    (
        *(10.896678615671737, 0.7280472371615183, -6.440028753683101, 5.377700571843333, -0.4637207027372374),
        *(-2.646005265918088, 2.1186681859634064, -0.246965554203886, -0.6246344480579232, 0.3746543295773729),
        *(0.018653495265111234, -0.08934520072289782, 0.01067863808111138, 0.01889352700037362, -0.0033268847403782166),
        *(-0.0043130725643871675, 0.0005927777822369038, 0.0010629474729614344, -2.0037141131028184e-05, -0.0002621093919805191),
        *(-4.101537888783564e-05, 5.8539856380680335e-05, 2.3372494892396133e-05, -1.0405989495820285e-05, -8.400759336078481e-06),
        *(1.146387643366401e-06, 2.163795616126404e-06, -1.0664138160500822e-08, -3.697023526228809e-07, -1.1462659432574934e-08),
        3.152828611974118e-08,
    ),
)
"""(-1)^n (1 + 2 z)^(n + 1) times the n-th derivative of E at z >= 0, as polynomials of (z - CENTRE) / (z + CENTRE): Chebyshev fits computed
with 60 digits and rounded, with errors of 6e-17, 4e-17 and 4.3e-16. (The first one resembles Shepherd and Laframboise 1981.)
"""


def in_double(x: Any, function: Any) -> Any:
    """``function`` of the operand in double precision, rounded once to its dtype."""
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        y = function(x.astype(np.promote_types(x.dtype, np.float64), copy=False))
    return np.asarray(y, x.dtype)[()]


def gaussian_of(rate: float, x: Any) -> Any:
    """e^(-rate x^2) in double precision; where the error of the square matters, multiplied by its correction."""
    s = x * x
    y = np.exp(-rate * s)
    far = s > 8 / rate
    if not np.count_nonzero(far):
        return y
    if not y.ndim:
        return y * correction_of(rate, x)
    y[far] *= correction_of(rate, x[far])
    return y


def correction_of(rate: float, x: Any) -> Any:
    """e^(-rate e) for x^2 = s + e, s = x^2 rounded: with h the leading 24 bits of x, e = (h^2 - s) + (x - h) (x + h)."""
    x = np.minimum(np.abs(x), FARTHEST)
    h = x.astype(np.float32).astype(x.dtype)
    return 1 - rate * ((h * h - x * x) + (x - h) * (x + h))


def scaled_erfc_of(order: int, z: Any) -> Any:
    """The derivative of E of this order at z >= 0 in double precision; from the third on by F_(n+1) = 2 z F_n + 2 n F_(n-1)."""
    if order >= len(DERIVATIVES_OF_SCALED_ERFC):
        return 2 * z * scaled_erfc_of(order - 1, z) + 2 * (order - 1) * scaled_erfc_of(order - 2, z)
    z = np.where(z < 0, np.nan, z)
    if order == 0:
        return special.erfcx(z)
    y, t = 0.0, np.where(z > 1e300, 1.0, (z - CENTRE) / (z + CENTRE))
    for c in reversed(DERIVATIVES_OF_SCALED_ERFC[order]):
        y = y * t + c
    y, half = (-0.5) ** (order + 1) * -y, z + 0.5
    for _ in range(order + 1):
        y = y / half
    return y


def mended(name: str, end: float, better: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function of scipy.special; for doubles beyond ``end``, where it uses a rounded x^2, the function ``better``."""

    def function(x: Any) -> Any:
        y = getattr(special, name)(x)
        if y.dtype != np.float64:
            return y
        x = np.asarray(x, np.float64)
        far = x > end if end > 0 else x < end
        if not np.count_nonzero(far):
            return y
        with np.errstate(all="ignore"):
            if not far.ndim:
                return better(x[()])
            y[far] = better(x[far])
        return y

    return function


def upper_tail(x: Any) -> Any:
    """1 - ndtr(x) = e^(-x^2/2) E(x / sqrt(2)) / 2 for x > 0, in double precision."""
    return 0.5 * gaussian_of(0.5, x) * special.erfcx(math.sqrt(0.5) * x)


erfc_of = mended("erfc", 2.0, lambda x: gaussian_of(1.0, x) * special.erfcx(x))
ndtr_of = mended("ndtr", -2.0, lambda x: upper_tail(-x))
log_ndtr_of = mended("log_ndtr", 2.0, lambda x: np.log1p(-upper_tail(x)))
MENDED = {"erfc": erfc_of, "ndtr": ndtr_of, "log_ndtr": log_ndtr_of}
"""Replacements for functions of scipy.special, accurate for larger arguments."""


@op
class Gaussian(Analytic):
    """e^(-rate x^2), for a rate of 1 or 1/2."""

    rate: float
    machine, takes = "gaussian", "f"

    def impl(self, x: Any) -> Any:
        return in_double(x, lambda x: gaussian_of(self.rate, x))

    def element(self, e: Any, i: Any, *readers: Any) -> Any:
        return e.math(self.machine, readers[0](i), self.rate)

    def derivative(self, x: Any, y: Any) -> Any:
        return scale(mul(constant_like(-2 * self.rate, x), x), y)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for rate, shape in ((1.0, (3,)), (0.5, (3,)), (1.0, ()), (0.5, (2, 3)), (1.0, (0,))):
            yield cls(rate), (rng.uniform(-2.0, 2.0, shape),)


@op
class ScaledErfc(Analytic):
    """The derivative of this order of e^(z^2) erfc(z), for z >= 0; nan below."""

    order: int
    machine, takes = "scaled_erfc", "f"

    def impl(self, x: Any) -> Any:
        return in_double(x, lambda x: scaled_erfc_of(self.order, x))

    def element(self, e: Any, i: Any, *readers: Any) -> Any:
        return e.math(self.machine, readers[0](i), self.order)

    def derivative(self, x: Any, y: Any) -> Any:
        return ScaledErfc(self.order + 1)(x)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for order in (0, 1, 2, 3):
            yield cls(order), (rng.uniform(0.2, 4.0, 3),)
        for shape in ((), (2, 3), (0,)):
            yield cls(0), (rng.uniform(0.2, 4.0, shape),)


@op
class Ndtr(Analytic):
    """The distribution function of the standard normal distribution."""

    machine, takes = "ndtr", "f"

    def impl(self, x: Any) -> Any:
        return in_double(x, ndtr_of)

    def derivative(self, x: Any, y: Any) -> Any:
        return mul(constant_like(1 / math.sqrt(2 * math.pi), x), gaussian(0.5, x))


def gaussian(rate: float, x: Any) -> Any:
    """`Gaussian`: e^(-rate x^2)."""
    return Gaussian(rate)(x)


def scaled_erfc(order: int, x: Any) -> Any:
    """`ScaledErfc`: a derivative of e^(x^2) erfc(x), for x >= 0."""
    return ScaledErfc(order)(x)


ndtr = Ndtr()
