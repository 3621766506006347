"""The exact values of elementwise functions and of their first two derivatives, by mpmath; the points to test; and exceptions to the law of
test_accuracy, with the reasons.

A row gives, for one operand, the function, its derivative and its second derivative. Formulas that cancel are avoided, or mpmath computes
them with as many digits as they need (`DIGITS`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np

import cotan.numpy as cnp
from cotan import lax, special

__all__ = ["DIGITS", "LOOSE", "ROWS", "Loose", "Row", "points"]

DIGITS = 60
Exact = Callable[..., Any]
Scale = Callable[[Any, int, tuple[Any, ...]], Any]


class Row(NamedTuple):
    """A function of one operand, ``x``; the others are held fixed at each of ``fixed``."""

    function: Callable[..., Any]
    exact: tuple[Exact, Exact, Exact]
    low: float = -np.inf
    high: float = np.inf
    near: tuple[float, ...] = ()
    """Zeros, poles and ends of the domain, to be approached."""
    at: int = 0
    """Which operand is x."""
    fixed: tuple[tuple[float, ...], ...] = ((),)
    """The other operands."""


def points(row: Row, dtype: np.dtype[Any], count: int) -> np.ndarray:
    """Operands of every size between the bounds, towards ``near`` from both sides, and where exponentials overflow and vanish."""
    rng, limits = np.random.default_rng(11), np.finfo(dtype)
    edge, digits = float(np.log(limits.max)), float(limits.precision)
    sign = rng.choice([-1.0, 1.0], count)
    small, large = np.log10(float(limits.tiny)), np.log10(float(limits.max))
    with np.errstate(all="ignore"):
        parts = [
            sign * 10 ** rng.uniform(small, large, count),
            sign * 10 ** rng.uniform(-3, 4, count),
            rng.uniform(-4, 4, count),
            edge * rng.uniform(0.95, 1.01, count // 2) * sign[: count // 2],
            np.sqrt(edge) * rng.uniform(0.9, 1.45, count // 2) * sign[: count // 2],
        ]
        for p in row.near:
            d = (abs(p) or 1.0) * rng.choice([-1.0, 1.0], count) * 10 ** rng.uniform(-digits, 0, count)
            parts.append(p + d)
        x = np.concatenate(parts).astype(dtype)
        # As the operands are rounded, so are the bounds: no point lies outside by that.
        inside = (x > np.asarray(row.low, dtype)) & (x < np.asarray(row.high, dtype)) & np.isfinite(x)
    return np.unique(x[inside])


def LN2() -> Any:  # noqa: N802 - a constant, in the precision of the moment
    return mp.log(2)


# ---- pieces ------------------------------------------------------------------------------------------------------------------
def sign(x: Any) -> Any:
    return mp.sign(x)


def sech2(x: Any) -> Any:
    e = mp.exp(-2 * abs(x))
    return 4 * e / (1 + e) ** 2


def sigmoid(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x)) if x > -1 else mp.exp(x) / (1 + mp.exp(x))


def sigmoid1(x: Any) -> Any:
    return sech2(x / 2) / 4


def sigmoid2(x: Any) -> Any:
    return -sigmoid1(x) * mp.tanh(x / 2)


def softplus(x: Any) -> Any:
    """log(1 + e^x)."""
    return x + mp.log1p(mp.exp(-x)) if x > 0 else mp.log1p(mp.exp(x))


def circle(x: Any) -> Any:
    return (1 - x) * (1 + x)


def sinc_of(n: int) -> Exact:
    def exact(x: Any) -> Any:
        u = mp.pi * x
        if abs(u) < mp.mpf(10) ** -12:
            return (1, -u / 3, -mp.mpf(1) / 3)[n] * mp.pi**n
        s, c = mp.sin(u), mp.cos(u)
        return (s / u, c / u - s / u**2, -s / u - 2 * c / u**2 + 2 * s / u**3)[n] * mp.pi**n

    return exact


def gauss(x: Any) -> Any:
    return 2 / mp.sqrt(mp.pi) * mp.exp(-x * x)


def erfinv1(x: Any) -> Any:
    return mp.sqrt(mp.pi) / 2 * mp.exp(mp.erfinv(x) ** 2)


def erfc(x: Any) -> Any:
    return mp.mpf(0 if x > 0 else 2) if abs(x) > 1000 else mp.erfc(x)


def phi(x: Any) -> Any:
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def ndtr(x: Any) -> Any:
    return mp.mpf(x > 0) if abs(x) > 10000 else mp.erfc(-x / mp.sqrt(2)) / 2


def log_ndtr(x: Any) -> Any:
    return mp.log1p(-ndtr(-x)) if x > 0 else tail(x)[0]


def log_ndtr1(x: Any) -> Any:
    return phi(x) / ndtr(x) if x > -30 else tail(x)[1]


def log_ndtr2(x: Any) -> Any:
    if x < -30:
        return tail(x)[2]
    h = log_ndtr1(x)
    return -h * (x + h)


def tail(x: Any) -> tuple[Any, Any, Any]:
    """log_ndtr and its derivatives for x < 0; far out by the asymptotic series of Mills' ratio and of its reciprocal."""
    if x > -30:
        return mp.log(ndtr(x)), log_ndtr1(x), log_ndtr2(x)
    t = -x
    ratio = sum((-1) ** k * mp.fac2(2 * k - 1) / t ** (2 * k) for k in range(1, 24))  # t R(t) - 1
    h = t / (1 + ratio)
    gap = -t * ratio / (1 + ratio)  # h - t
    return -t * t / 2 - mp.log(2 * mp.pi) / 2 - mp.log(t) + mp.log1p(ratio), h, -h * gap


def log_gamma(x: Any) -> Any:
    return mp.loggamma(x) if x > 0 else mp.log(mp.pi / abs(mp.sinpi(x))) - mp.loggamma(1 - x)


def gamma(n: int) -> Exact:
    def exact(x: Any) -> Any:
        y = mp.mpf(10) ** 400 if x > 1000 else mp.mpf(0) if x < -1000 else mp.gamma(x)
        return y * (1, mp.psi(0, x) if n else 0, mp.psi(0, x) ** 2 + mp.psi(1, x) if n == 2 else 0)[n]

    return exact


def bessel(order: int, n: int, scaled: bool) -> Exact:
    def exact(x: Any) -> Any:
        with mp.workdps(DIGITS + (20 if scaled else 0)):
            i = [mp.besseli(abs(order + k), x) for k in range(-2, 3)]
            d = [i[2], (i[1] + i[3]) / 2, (i[0] + 2 * i[2] + i[4]) / 4]
            if not scaled:
                return d[n]
            s = mp.sign(x)
            return mp.exp(-abs(x)) * (d[0], d[1] - s * d[0], d[2] - 2 * s * d[1] + d[0])[n]

    return exact


def zero(*_: Any) -> Any:
    return mp.mpf(0)


def beside_zero(f: Callable[..., Any]) -> Callable[[Any], Any]:
    """The function, over an axis, of x and 0."""
    return lambda x: f(cnp.stack([x, 0 * x]), 0)


HALF = mp.mpf(1) / 2
SIZES = ((1e-3,), (0.7,), (2.5,), (300.0,))

# ---- rows --------------------------------------------------------------------------------------------------------------------
ROWS: dict[str, Row] = {
    "exp": Row(cnp.exp, (mp.exp, mp.exp, mp.exp), -800, 800),
    "exp2": Row(cnp.exp2, tuple(lambda x, n=n: mp.power(2, x) * LN2() ** n for n in range(3)), -1100, 1100),
    "expm1": Row(cnp.expm1, (mp.expm1, mp.exp, mp.exp), -800, 800),
    "log": Row(cnp.log, (mp.log, lambda x: 1 / x, lambda x: -1 / x**2), 0, near=(1.0,)),
    "log2": Row(cnp.log2, (lambda x: mp.log(x) / LN2(), lambda x: 1 / x / LN2(), lambda x: -1 / x**2 / LN2()), 0, near=(1.0,)),
    "log10": Row(cnp.log10, (mp.log10, lambda x: 1 / x / mp.log(10), lambda x: -1 / x**2 / mp.log(10)), 0, near=(1.0,)),
    "log1p": Row(cnp.log1p, (mp.log1p, lambda x: 1 / (1 + x), lambda x: -1 / (1 + x) ** 2), -1, near=(-1.0,)),
    "sqrt": Row(cnp.sqrt, (mp.sqrt, lambda x: HALF / mp.sqrt(x), lambda x: -HALF / 2 / mp.sqrt(x) / x), 0),
    "rsqrt": Row(lax.rsqrt, (lambda x: 1 / mp.sqrt(x), lambda x: -HALF / mp.sqrt(x) / x, lambda x: 3 * HALF / 2 / mp.sqrt(x) / x**2), 0),
    "cbrt": Row(
        cnp.cbrt,
        (
            lambda x: sign(x) * mp.cbrt(abs(x)),
            lambda x: 1 / mp.cbrt(abs(x)) ** 2 / 3,
            lambda x: -2 * sign(x) / mp.cbrt(abs(x)) ** 5 / 9,
        ),
    ),
    "square": Row(cnp.square, (lambda x: x * x, lambda x: 2 * x, lambda x: mp.mpf(2))),
    "reciprocal": Row(cnp.reciprocal, (lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3)),
    "sin": Row(cnp.sin, (mp.sin, mp.cos, lambda x: -mp.sin(x)), near=(np.pi, np.pi / 2, 1e5 * np.pi)),
    "cos": Row(cnp.cos, (mp.cos, lambda x: -mp.sin(x), lambda x: -mp.cos(x)), near=(np.pi, np.pi / 2, 1e5 * np.pi)),
    "tan": Row(cnp.tan, (mp.tan, lambda x: mp.sec(x) ** 2, lambda x: 2 * mp.tan(x) * mp.sec(x) ** 2), near=(np.pi, np.pi / 2)),
    "arcsin": Row(cnp.arcsin, (mp.asin, lambda x: 1 / mp.sqrt(circle(x)), lambda x: x / mp.sqrt(circle(x)) ** 3), -1, 1, (-1.0, 1.0)),
    "arccos": Row(cnp.arccos, (mp.acos, lambda x: -1 / mp.sqrt(circle(x)), lambda x: -x / mp.sqrt(circle(x)) ** 3), -1, 1, (-1.0, 1.0)),
    "arctan": Row(cnp.arctan, (mp.atan, lambda x: 1 / (1 + x * x), lambda x: -2 * x / (1 + x * x) ** 2)),
    "sinh": Row(cnp.sinh, (mp.sinh, mp.cosh, mp.sinh), -800, 800),
    "cosh": Row(cnp.cosh, (mp.cosh, mp.sinh, mp.cosh), -800, 800),
    "tanh": Row(cnp.tanh, (mp.tanh, sech2, lambda x: -2 * mp.tanh(x) * sech2(x))),
    "arcsinh": Row(cnp.arcsinh, (mp.asinh, lambda x: 1 / mp.sqrt(1 + x * x), lambda x: -x / mp.sqrt(1 + x * x) ** 3)),
    "arccosh": Row(cnp.arccosh, (mp.acosh, lambda x: 1 / mp.sqrt(-circle(x)), lambda x: -x / mp.sqrt(-circle(x)) ** 3), 1, near=(1.0,)),
    "arctanh": Row(cnp.arctanh, (mp.atanh, lambda x: 1 / circle(x), lambda x: 2 * x / circle(x) ** 2), -1, 1, (-1.0, 1.0)),
    "sinc": Row(cnp.sinc, (sinc_of(0), sinc_of(1), sinc_of(2)), -1e6, 1e6, (1.0, 3.0)),
    "erf": Row(special.erf, (mp.erf, gauss, lambda x: -2 * x * gauss(x)), -1000, 1000),
    "erfc": Row(special.erfc, (erfc, lambda x: -gauss(x), lambda x: 2 * x * gauss(x))),
    "erfinv": Row(special.erfinv, (mp.erfinv, erfinv1, lambda x: 2 * mp.erfinv(x) * erfinv1(x) ** 2), -1, 1, (-1.0, 1.0)),
    "gammaln": Row(
        special.gammaln, (log_gamma, mp.digamma, lambda x: mp.psi(1, x)), -50, near=(1.0, 2.0, 1.4616321449683622, -1.0, -2.5, -30.0)
    ),
    "gamma": Row(special.gamma, (gamma(0), gamma(1), gamma(2)), -200, 200, (1.4616321449683622, -1.0, -2.5, -30.0)),
    "psi": Row(
        special.psi, (mp.digamma, lambda x: mp.psi(1, x), lambda x: mp.psi(2, x)), -50, near=(1.4616321449683622, -0.504083008264455, -1.0)
    ),
    "polygamma1": Row(lambda x: special.polygamma(1, x), tuple(lambda x, n=n: mp.psi(n, x) for n in (1, 2, 3)), -50, near=(-1.0,)),
    "i0": Row(special.i0, tuple(bessel(0, n, False) for n in range(3)), -709, 709),
    "i1": Row(special.i1, tuple(bessel(1, n, False) for n in range(3)), -709, 709),
    "i0e": Row(special.i0e, tuple(bessel(0, n, True) for n in range(3)), -1e4, 1e4),
    "i1e": Row(special.i1e, tuple(bessel(1, n, True) for n in range(3)), -1e4, 1e4),
    "expit": Row(special.expit, (sigmoid, sigmoid1, sigmoid2)),
    "logit": Row(
        special.logit,
        (lambda x: mp.log(x / (1 - x)), lambda x: 1 / x / (1 - x), lambda x: (2 * x - 1) / (x * (1 - x)) ** 2),
        0,
        1,
        (0.5, 1.0),
    ),
    "log_expit": Row(special.log_expit, (lambda x: -softplus(-x), lambda x: sigmoid(-x), lambda x: -sigmoid1(x))),
    "ndtr": Row(special.ndtr, (ndtr, phi, lambda x: -x * phi(x))),
    "log_ndtr": Row(special.log_ndtr, (log_ndtr, log_ndtr1, log_ndtr2), near=(-20.0, -14.0, -6.0, -1.0)),
    "logsumexp": Row(beside_zero(special.logsumexp), (softplus, sigmoid, sigmoid1)),
    "softmax": Row(lambda x: beside_zero(special.softmax)(x)[0], (sigmoid, sigmoid1, sigmoid2), -1e4, 1e4),
    "log_softmax": Row(
        lambda x: beside_zero(special.log_softmax)(x)[0],
        (lambda x: -softplus(-x), lambda x: sigmoid(-x), lambda x: -sigmoid1(x)),
        -1e4,
        1e4,
    ),
    "multigammaln": Row(
        lambda x: special.multigammaln(x, 2),
        (
            lambda x: mp.log(mp.pi) / 2 + mp.loggamma(x) + mp.loggamma(x - HALF),
            lambda x: mp.digamma(x) + mp.digamma(x - HALF),
            lambda x: mp.psi(1, x) + mp.psi(1, x - HALF),
        ),
        0.5,
        near=(0.5,),
    ),
    "entr": Row(special.entr, (lambda x: -x * mp.log(x), lambda x: -mp.log(x) - 1, lambda x: -1 / x), 0, near=(1.0,)),
}


# ---- of two operands ---------------------------------------------------------------------------------------------------------
def boxcox(x: Any, p: Any) -> Any:
    return mp.expm1(p * mp.log(x)) / p if p else mp.log(x)


def boxcox_p(n: int) -> Exact:
    """The derivatives of (e^(pL) - 1) / p = L g(u) in p, with u = pL and g(u) = (e^u - 1) / u: L^(n+1) times that of g."""

    def exact(log: Any, p: Any) -> Any:
        u = p * log
        if abs(u) < mp.mpf(10) ** -20:
            return log ** (n + 1) / (n + 1)
        e = mp.exp(u)
        return log ** (n + 1) * ((u * e - mp.expm1(u)) / u**2 if n == 1 else (u * u * e - 2 * u * e + 2 * mp.expm1(u)) / u**3)

    return exact


def inv_boxcox(x: Any, p: Any) -> Any:
    return mp.exp(mp.log1p(p * x) / p) if p else mp.exp(x)


def inv_boxcox_p(n: int) -> Exact:
    """exp(h(p)), h = log1p(p x) / p = x g(u), u = p x, g(u) = log1p(u) / u."""

    def exact(x: Any, p: Any) -> Any:
        u = p * x
        if abs(u) < mp.mpf(10) ** -20:
            g, g1, g2 = 1 - u / 2, -mp.mpf(1) / 2, mp.mpf(2) / 3
        else:
            log = mp.log1p(u)
            g = log / u
            g1 = (1 / (1 + u) - g) / u
            g2 = (-1 / (1 + u) ** 2 - 2 * g1) / u
        h1, h2 = x * x * g1, x**3 * g2
        return mp.exp(x * g) * (h1 if n == 1 else h2 + h1 * h1)

    return exact


def beta(a: Any, b: Any) -> Any:
    return mp.exp(mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b))


def beta_log1(a: Any, b: Any) -> Any:
    return mp.psi(0, a) - mp.psi(0, a + b)


def beta_log2(a: Any, b: Any) -> Any:
    return mp.psi(1, a) - mp.psi(1, a + b)


def lower_gamma(a: Any, x: Any) -> Any:
    return mp.gammainc(a, 0, x, regularized=True)


def upper_gamma(a: Any, x: Any) -> Any:
    return mp.gammainc(a, x, mp.inf, regularized=True)


def gamma_density(a: Any, x: Any) -> Any:
    return mp.exp((a - 1) * mp.log(x) - x - mp.loggamma(a))


def gamma_density1(a: Any, x: Any) -> Any:
    return gamma_density(a, x) * ((a - 1) / x - 1)


def negated(f: Exact) -> Exact:
    return lambda *xs: -f(*xs)


def root(d: Any, r: Any) -> Any:
    return mp.sqrt(1 + (r / d) ** 2)


def root_less_one(d: Any, r: Any) -> Any:
    return (r / d) ** 2 / (root(d, r) + 1)


def logaddexp(x: Any, y: Any) -> Any:
    return max(x, y) + mp.log1p(mp.exp(-abs(x - y)))


def logs2(x: Any, y: Any) -> Any:
    return logaddexp(x * LN2(), y * LN2()) / LN2()


def pair(function: Callable[..., Any], x: tuple[Exact, ...], y: tuple[Exact, ...], others: Any = SIZES, **where: Any) -> tuple[Row, Row]:
    """Rows for both operands of a function; ``x`` and ``y`` are the exact functions in each."""
    return (
        Row(function, x, at=0, fixed=others, **where),  # type: ignore[arg-type]
        Row(function, y, at=1, fixed=others, **where),  # type: ignore[arg-type]
    )


OF_TWO: dict[str, tuple[Row, ...]] = {
    "power": pair(
        cnp.power,
        (mp.power, lambda x, y: y * mp.power(x, y - 1), lambda x, y: y * (y - 1) * mp.power(x, y - 2)),
        (mp.power, lambda x, y: mp.power(x, y) * mp.log(x), lambda x, y: mp.power(x, y) * mp.log(x) ** 2),
        low=0.0,
        high=1e4,
    ),
    "arctan2": pair(
        cnp.arctan2,
        (mp.atan2, lambda y, x: x / (x * x + y * y), lambda y, x: -2 * x * y / (x * x + y * y) ** 2),
        (mp.atan2, lambda y, x: -y / (x * x + y * y), lambda y, x: 2 * x * y / (x * x + y * y) ** 2),
    ),
    "hypot": pair(
        cnp.hypot,
        (mp.hypot, lambda x, y: x / mp.hypot(x, y), lambda x, y: y * y / mp.hypot(x, y) ** 3),
        (mp.hypot, lambda x, y: y / mp.hypot(x, y), lambda x, y: x * x / mp.hypot(x, y) ** 3),
    ),
    "logaddexp": pair(
        cnp.logaddexp,
        (logaddexp, lambda x, y: sigmoid(x - y), lambda x, y: sigmoid1(x - y)),
        (logaddexp, lambda x, y: sigmoid(y - x), lambda x, y: sigmoid1(x - y)),
        others=((0.0,), (-2.0,), (30.0,)),
    ),
    "logaddexp2": pair(
        cnp.logaddexp2,
        (logs2, lambda x, y: sigmoid(LN2() * (x - y)), lambda x, y: LN2() * sigmoid1(LN2() * (x - y))),
        (logs2, lambda x, y: sigmoid(LN2() * (y - x)), lambda x, y: LN2() * sigmoid1(LN2() * (x - y))),
        others=((0.0,), (-2.0,)),
    ),
    "betaln": pair(
        special.betaln,
        (lambda a, b: mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b), beta_log1, beta_log2),
        (lambda a, b: mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b), lambda a, b: beta_log1(b, a), lambda a, b: beta_log2(b, a)),
        low=0.0,
        high=1e6,
    ),
    "beta": pair(
        special.beta,
        (beta, lambda a, b: beta(a, b) * beta_log1(a, b), lambda a, b: beta(a, b) * (beta_log1(a, b) ** 2 + beta_log2(a, b))),
        (beta, lambda a, b: beta(a, b) * beta_log1(b, a), lambda a, b: beta(a, b) * (beta_log1(b, a) ** 2 + beta_log2(b, a))),
        low=0.0,
        high=1e3,
    ),
    "gammainc": (
        Row(special.gammainc, (lower_gamma, gamma_density, gamma_density1), 1e-12, 700, at=1, fixed=((0.3,), (1.0,), (2.5,), (60.0,))),
    ),
    "gammaincc": (
        Row(
            special.gammaincc,
            (upper_gamma, negated(gamma_density), negated(gamma_density1)),
            1e-12,
            700,
            at=1,
            fixed=((0.3,), (1.0,), (2.5,), (60.0,)),
        ),
    ),
    "xlogy": pair(
        special.xlogy,
        (lambda x, y: x * mp.log(y), lambda x, y: mp.log(y), zero),
        (lambda x, y: x * mp.log(y), lambda x, y: x / y, lambda x, y: -x / y**2),
        low=0.0,
        near=(1.0,),
    ),
    "xlog1py": pair(
        special.xlog1py,
        (lambda x, y: x * mp.log1p(y), lambda x, y: mp.log1p(y), zero),
        (lambda x, y: x * mp.log1p(y), lambda x, y: x / (1 + y), lambda x, y: -x / (1 + y) ** 2),
        low=-1.0,
        near=(-1.0,),
    ),
    "rel_entr": pair(
        special.rel_entr,
        (lambda x, y: x * mp.log(x / y), lambda x, y: mp.log(x / y) + 1, lambda x, y: 1 / x),
        (lambda x, y: x * mp.log(x / y), lambda x, y: -x / y, lambda x, y: x / y**2),
        low=1e-300,  # SciPy's quotient x / y overflows
    ),
    "kl_div": pair(
        special.kl_div,
        (lambda x, y: x * mp.log(x / y) - x + y, lambda x, y: mp.log(x / y), lambda x, y: 1 / x),
        (lambda x, y: x * mp.log(x / y) - x + y, lambda x, y: 1 - x / y, lambda x, y: x / y**2),
        low=1e-300,
    ),
    "boxcox": (
        Row(
            special.boxcox,
            (boxcox, lambda x, p: mp.power(x, p - 1), lambda x, p: (p - 1) * mp.power(x, p - 2)),
            1e-12,  # further down the second derivative is the difference of what overflows
            1e4,
            (1.0,),
            fixed=((0.0,), (1e-9,), (0.3,), (-0.7,), (2.0,)),
        ),
        Row(
            special.boxcox,
            (boxcox, lambda x, p: boxcox_p(1)(mp.log(x), p), lambda x, p: boxcox_p(2)(mp.log(x), p)),
            -20,
            20,
            at=1,
            fixed=((0.02,), (0.9,), (1.5,), (40.0,)),
        ),
    ),
    "boxcox1p": (
        Row(
            special.boxcox1p,
            (
                lambda x, p: mp.expm1(p * mp.log1p(x)) / p if p else mp.log1p(x),
                lambda x, p: mp.exp((p - 1) * mp.log1p(x)),
                lambda x, p: (p - 1) * mp.exp((p - 2) * mp.log1p(x)),
            ),
            -1,
            1e4,
            (-1.0,),
            fixed=((0.0,), (1e-9,), (0.3,), (-0.7,), (2.0,)),
        ),
        Row(
            special.boxcox1p,
            (
                lambda x, p: mp.expm1(p * mp.log1p(x)) / p,
                lambda x, p: boxcox_p(1)(mp.log1p(x), p),
                lambda x, p: boxcox_p(2)(mp.log1p(x), p),
            ),
            -20,  # further out e^u overflows in float32, and not the quotient by p
            20,
            at=1,
            fixed=((-0.9,), (1e-3,), (1.5,), (40.0,)),
        ),
    ),
    "inv_boxcox": (
        Row(
            special.inv_boxcox,
            (
                inv_boxcox,
                lambda x, p: mp.exp((1 / p - 1) * mp.log1p(p * x)) if p else mp.exp(x),
                lambda x, p: (1 - p) * mp.exp((1 / p - 2) * mp.log1p(p * x)) if p else mp.exp(x),
            ),
            -1,
            30,
            fixed=((0.0,), (1e-9,), (0.3,), (0.9,)),
        ),
        Row(special.inv_boxcox, (inv_boxcox, inv_boxcox_p(1), inv_boxcox_p(2)), 0, 30, at=1, fixed=((-0.01,), (0.9,), (3.0,))),
    ),
    "huber": (
        Row(
            special.huber,
            (
                lambda d, r: r * r / 2 if abs(r) <= d else d * (abs(r) - d / 2),
                lambda d, r: r if abs(r) <= d else d * sign(r),
                lambda d, r: mp.mpf(abs(r) <= d),
            ),
            at=1,
            fixed=SIZES,
        ),
    ),
    "pseudo_huber": (
        Row(
            special.pseudo_huber,
            (
                lambda d, r: r * r / (root(d, r) + 1),
                lambda d, r: r / root(d, r),
                lambda d, r: 1 / root(d, r) ** 3,
            ),
            at=1,
            fixed=SIZES,
        ),
        Row(
            special.pseudo_huber,
            (
                lambda d, r: r * r / (root(d, r) + 1),
                lambda d, r: d * root_less_one(d, r) ** 2 / root(d, r),
                lambda d, r: -(root_less_one(d, r) ** 2) * (2 * root(d, r) + 1) / root(d, r) ** 3,
            ),
            0.0,
            at=0,
            fixed=((0.3,), (2.0,)),
        ),
    ),
}
ROWS |= {f"{name} in {'xy'[row.at] if len(rows) > 1 else 'x'}": row for name, rows in OF_TWO.items() for row in rows}


# ---- where less holds --------------------------------------------------------------------------------------------------------
class Loose(NamedTuple):
    """The errors of these orders are measured in the last place of a larger number than the exact one: ``scale(row, order, operands)``."""

    orders: tuple[int, ...]
    scale: Scale
    reason: str
    units: float = 8.0
    range: float = 1.0
    """So many times earlier intermediate results overflow, and so many times larger is the unit of denormal numbers."""


def moved(row: Row, n: int, xs: tuple[Any, ...]) -> Any:
    """|f| + |x f'|: what a change of the operand by a unit of its last place makes."""
    step = mp.mpf(10) ** -20
    near = [x * (1 + step) if k == row.at else x for k, x in enumerate(xs)]
    value = row.exact[n](*xs)
    return abs(value) + abs(row.exact[n](*near) - value) / step


def exponent(row: Row, n: int, xs: tuple[Any, ...]) -> Any:
    """|f| (1 + |log f|): what an error in the last place of the exponent makes."""
    values = [abs(row.exact[k](*xs)) for k in range(n + 1)]
    return values[n] * (1 + max(abs(mp.log(v)) for v in values if v)) if values[n] else 0


def exponents(row: Row, n: int, xs: tuple[Any, ...]) -> Any:
    """`exponent`, of a sum of terms of different signs in the second derivative."""
    return exponent(row, n, xs) + abs(row.exact[0](*xs)) * (abs(xs[0]) / (1 + abs(xs[0] * xs[1]))) ** (2 * n if row.at else 0)


def value_itself(row: Row, n: int, xs: tuple[Any, ...]) -> Any:
    return abs(row.exact[0](*xs))


def one(row: Row, n: int, xs: tuple[Any, ...]) -> Any:
    return 1


def as_it_is(row: Row, n: int, xs: tuple[Any, ...]) -> Any:
    return abs(row.exact[n](*xs))


def gap(row: Row, n: int, xs: tuple[Any, ...]) -> Any:
    return max(map(abs, xs)) if n == 0 else abs(row.exact[n](*xs)) * (1 + abs(xs[0] - xs[1]))


def relative_gap(row: Row, n: int, xs: tuple[Any, ...]) -> Any:
    return max(abs(row.exact[n](*xs)) * (1 + abs(xs[0] - xs[1])), max(map(abs, xs)) if n == 0 else 0)


def sum_of_sizes(row: Row, n: int, xs: tuple[Any, ...]) -> Any:
    return (xs[0] + xs[1], 1 + abs(mp.log(xs[0] / xs[1])) + (xs[0] / xs[1] if row.at else 0), abs(row.exact[2](*xs)))[n]


def gammas(row: Row, n: int, xs: tuple[Any, ...]) -> Any:
    """The largest of the functions of a, b and a + b of which a beta function is the sum, or e to the sum."""
    of = (*xs, sum(xs))
    logs = sum(abs(mp.loggamma(x)) for x in of) + 1
    x = xs[row.at]
    psi = 1 + abs(mp.psi(0, x)) + abs(mp.psi(0, sum(xs))), abs(mp.psi(1, x))
    return (logs, psi[0], psi[1])[n]


def gammas_up(row: Row, n: int, xs: tuple[Any, ...]) -> Any:
    f = row.exact[0](*xs)
    first, second = gammas(row, 1, xs), gammas(row, 2, xs)
    return f * gammas(row, 0, xs) * (1, 1 + first, 1 + first**2 + second)[n]


def density(row: Row, n: int, xs: tuple[Any, ...]) -> Any:
    a, x = xs
    return abs(row.exact[n](*xs)) * (1 + x + abs((a - 1) * mp.log(x)) + abs(mp.loggamma(a)) + abs(a * mp.log(x))) * (1 + n * abs(a - 1 + x))


def gammas_of_halves(row: Row, n: int, xs: tuple[Any, ...]) -> Any:
    parts = [(mp.loggamma, mp.digamma, lambda v: mp.psi(1, v))[n](x) for x in (xs[0], xs[0] - HALF)]
    return sum(map(abs, parts)) + 1


ROUNDED_EXPONENT = "the exponent of a power is rounded"
SCIPY_GAMMA = "SciPy's routine rounds pi x in its reflection, and what vanishes between its terms; exact for an operand within some units"
LOOSE: dict[str, tuple[Loose, ...]] = {
    "cbrt": (Loose((2,), as_it_is, "the fifth power of a rounded root", 14.0),),
    "tanh": (Loose((1, 2), one, "1 - tanh^2 from the output: it costs no second exponential"),),
    "sinc": (Loose((0, 1, 2), moved, "NumPy's function rounds pi x", 20.0),),
    "gammaln": (Loose((0, 1, 2), moved, SCIPY_GAMMA, 16.0),),
    "gamma": (Loose((0, 1, 2), moved, SCIPY_GAMMA),),
    "psi": (Loose((0, 1, 2), moved, SCIPY_GAMMA),),
    "polygamma1": (Loose((0, 1, 2), moved, "the sum over all integers is that of its halves, of opposite signs"),),
    "multigammaln": (Loose((0, 1, 2), gammas_of_halves, "a sum of functions of opposite signs"),),
    "i0": (Loose((2,), as_it_is, "SciPy's function of order 2", 40.0, 4.0),),
    "i1": (Loose((1, 2), as_it_is, "SciPy's function of order 2", 40.0, 4.0),),
    "i0e": (Loose((1, 2), value_itself, "the difference of functions of neighbouring orders", 12.0),),
    "i1e": (Loose((1, 2), value_itself, "the difference of functions of neighbouring orders", 12.0),),
    "logit": (Loose((2,), moved, "1 - x is rounded"),),
    "entr": (Loose((1,), moved, "log(x) + 1 is rounded"),),
    **{f"{name} in {x}": (Loose((0, 1, 2), gap, "x - y is rounded"),) for name in ("logaddexp",) for x in "xy"},
    **{f"logaddexp2 in {x}": (Loose((0, 1, 2), relative_gap, "(x - y) log(2) is rounded"),) for x in "xy"},
    **{f"power in {x}": (Loose((0, 1, 2), exponent, ROUNDED_EXPONENT, range=300.0**2),) for x in "xy"},
    **{f"{name} in {x}": (Loose((0, 1, 2), exponent, ROUNDED_EXPONENT, 16.0),) for name in ("boxcox", "boxcox1p") for x in "xy"},
    **{f"inv_boxcox in {x}": (Loose((0, 1, 2), exponents, ROUNDED_EXPONENT, 64.0),) for x in "xy"},
    **{
        name: (Loose((0, 1, 2), one, "the largest term is divided by, and the sum rounded"),)
        for name in ("logsumexp", "softmax", "log_softmax")
    },
    **{f"betaln in {x}": (Loose((0, 1, 2), gammas, "a difference of functions of a and a + b"),) for x in "xy"},
    **{f"beta in {x}": (Loose((0, 1, 2), gammas_up, "a difference of functions of a and a + b"),) for x in "xy"},
    **{f"{name} in x": (Loose((0, 1, 2), density, "the exponent of the density is rounded", 32.0),) for name in ("gammainc", "gammaincc")},
    "pseudo_huber in x": (Loose((2,), as_it_is, "a product of seven factors", 12.0),),
    "rel_entr in x": (Loose((1,), moved, "log(x / y) + 1 is rounded"),),
    **{f"kl_div in {x}": (Loose((0, 1), sum_of_sizes, "x - y is nearly the rest; the sum is rounded"),) for x in "xy"},
}
"""By the names of rows."""
