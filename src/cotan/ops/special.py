"""Special functions, elementwise. Their meaning is the function of scipy.special, loaded at the first use.

The derivatives are the formulas of DLMF (dlmf.nist.gov); each rule names its section. None divides by an operand that may be zero, so they
hold there to every order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..core.errors import MissingRuleError, teach
from ..core.op import Op, op
from ..core.tracing import type_of
from .arithmetic import constant_like, div, mul, neg, one_like, sub, zero_like
from .families import Analytic, Elementwise, Reals, add, default_rng, fill_shape, scale
from .gaussian import erfc_of, gaussian, in_double, scaled_erfc
from .logic import equal, less, select
from .ordering import abs_, sign
from .routines import special, special_function
from .transcendental import exp, log, log1p

__all__ = [
    "beta", "betaln", "digamma", "entr", "erf", "erfc", "erfinv", "gamma", "gammainc", "gammaincc", "i0", "i0e", "i1", "i1e", "lgamma",
    "logit", "polygamma",
    "xlog1py", "xlogy",
]  # fmt: skip

POSITIVE = Reals(0.3, 3.0)


@op
class Erf(Analytic):
    """The error function, 2/sqrt(pi) times the integral of e^(-t^2) from 0 to x."""

    machine, takes = "erf", "fc"
    numpy = special_function("erf")

    def derivative(self, x: Any, y: Any) -> Any:
        return bell(x)


@op
class Erfc(Analytic):
    """1 - erf(x), accurate for large x."""

    machine, takes = "erfc", "fc"

    def impl(self, x: Any) -> Any:
        return special.erfc(x) if np.iscomplexobj(x) else in_double(x, erfc_of)

    def derivative(self, x: Any, y: Any) -> Any:
        return neg(bell(x))


def bell(x: Any) -> Any:
    """erf'(x) = 2/sqrt(pi) e^(-x^2)."""
    square = exp(neg(mul(x, x))) if type_of(x).dtype.kind == "c" else gaussian(1.0, x)
    return mul(constant_like(2 / math.sqrt(math.pi), x), square)


@op
class Erfinv(Analytic):
    """The inverse of the error function on (-1, 1)."""

    machine, takes, domain = "erfinv", "f", Reals(-0.9, 0.9)
    numpy = special_function("erfinv")

    def singular(self, x: Any) -> Any:
        return np.abs(x) == 1

    def derivative(self, x: Any, y: Any) -> Any:
        """sqrt(pi)/2 e^(y^2). Near the ends, where the error of y^2 would grow, E(y) / erfc(y), E = `ScaledErfc`, erfc(y) = 1 - x."""
        size = abs_(x)
        near = less(size, constant_like(0.5, x))
        middle = select(near, y, zero_like(y))
        grown = exp(mul(middle, middle))
        rest = sub(one_like(x), select(near, zero_like(x), size))
        tail = div(scaled_erfc(0, abs_(select(near, zero_like(y), y))), rest)
        return mul(constant_like(math.sqrt(math.pi) / 2, y), select(near, grown, tail))


def is_pole(x: Any) -> Any:
    """Where the gamma function has its poles: 0, -1, -2, ..."""
    return (x <= 0) & (x == np.floor(x))


@op
class Lgamma(Analytic):
    """log |gamma(x)|; its derivative is the digamma function (DLMF 5.2.2)."""

    machine, takes, domain = "lgamma", "f", POSITIVE
    numpy = special_function("gammaln")

    def singular(self, x: Any) -> Any:
        return is_pole(x)

    def derivative(self, x: Any, y: Any) -> Any:
        return digamma(x)


@op
class Gamma(Analytic):
    """The gamma function; its derivative is itself times the digamma function (DLMF 5.2.2)."""

    machine, takes, domain = "gamma", "f", POSITIVE
    numpy = special_function("gamma")

    def singular(self, x: Any) -> Any:
        return is_pole(x)

    def derivative(self, x: Any, y: Any) -> Any:
        return mul(y, digamma(x))


@op
class Digamma(Analytic):
    """The logarithmic derivative of the gamma function."""

    machine, takes, domain = "digamma", "f", POSITIVE
    numpy = special_function("psi")

    def singular(self, x: Any) -> Any:
        return is_pole(x)

    def derivative(self, x: Any, y: Any) -> Any:
        return Polygamma(1)(x)


@op
class Polygamma(Analytic):
    """The derivative of `Digamma` of this order, (-1)^(n+1) n! zeta(n+1, x) (DLMF 5.15.1)."""

    order: int
    machine, takes, domain = "polygamma", "f", POSITIVE

    def singular(self, x: Any) -> Any:
        return is_pole(x)

    def impl(self, x: Any) -> Any:
        n = self.order
        y = special.psi(x) if n == 0 else (-1) ** (n + 1) * math.factorial(n) * special.zeta(n + 1, x)
        return np.asarray(y, getattr(x, "dtype", np.float64))[()]

    def element(self, e: Any, i: Any, *readers: Any) -> Any:
        return e.math(self.machine, readers[0](i), self.order)

    def derivative(self, x: Any, y: Any) -> Any:
        return Polygamma(self.order + 1)(x)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for order in (0, 1, 2, 4):
            yield cls(order), (POSITIVE.sample(rng, (3,)),)
        for shape in ((), (2, 3), (0,)):
            yield cls(1), (POSITIVE.sample(rng, shape),)


@op
class Betaln(Elementwise):
    """log |B(a, b)| = lgamma(a) + lgamma(b) - lgamma(a + b)."""

    costly = True
    arity, machine, takes, domain = 2, "betaln", "f", POSITIVE
    numpy = special_function("betaln")

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        return sub(fill_shape(digamma(operands[k]), y), digamma(add(*operands)))


@op
class Beta(Elementwise):
    """B(a, b) = gamma(a) gamma(b) / gamma(a + b)."""

    costly = True
    arity, machine, takes, domain = 2, "beta", "f", POSITIVE
    numpy = special_function("beta")

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        return mul(y, sub(fill_shape(digamma(operands[k]), y), digamma(add(*operands))))


@op
class Xlogy(Elementwise):
    """x log(y), and 0 at x = 0 for every y."""

    costly = True
    arity, machine, takes, domain = 2, "xlogy", "fc", (Reals(), POSITIVE)
    numpy = special_function("xlogy")

    def singular(self, x: Any, y: Any) -> Any:
        return y == 0, (y == 0) & (x != 0)

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        x, z = operands
        return log(z) if k == 0 else quotient(x, z, y)


@op
class Xlog1py(Elementwise):
    """x log(1 + y), and 0 at x = 0 for every y."""

    costly = True
    arity, machine, takes, domain = 2, "xlog1py", "fc", (Reals(), Reals(-0.7, 2.0))
    numpy = special_function("xlog1py")

    def singular(self, x: Any, y: Any) -> Any:
        return y == -1, (y == -1) & (x != 0)

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        x, z = operands
        return log1p(z) if k == 0 else quotient(x, add(one_like(z), z), y)


def quotient(x: Any, z: Any, y: Any) -> Any:
    """The quotient x / z, 0 where both are zero; in the shape of ``y``. Its derivative in x is 1 / z, even where that is infinite."""
    x, z = fill_shape(x, y), fill_shape(z, y)
    none = equal(z, constant_like(0, z))
    return select(none, scale(div(one_like(z), z), x), div(x, select(none, one_like(z), z)))


@op
class Logit(Analytic):
    """log(x / (1 - x)), the inverse of the logistic function."""

    machine, takes, domain = "logit", "f", Reals(0.1, 0.9)
    numpy = special_function("logit")

    def singular(self, x: Any) -> Any:
        return (x == 0) | (x == 1)

    def derivative(self, x: Any, y: Any) -> Any:
        return div(one_like(x), mul(x, sub(one_like(x), x)))


@op
class Entr(Analytic):
    """The entropy of one outcome: -x log x, 0 at 0, -inf below."""

    machine, takes, domain = "entr", "f", POSITIVE
    numpy = special_function("entr")

    def singular(self, x: Any) -> Any:
        return x == 0

    def derivative(self, x: Any, y: Any) -> Any:
        return neg(add(log(x), one_like(x)))


class Bessel(Analytic):
    """A modified Bessel function of the first kind and integer order n; 2 I_n' = I_{n-1} + I_{n+1}, I_{-1} = I_1 (DLMF 10.29.1)."""

    order: int
    takes = "f"

    def neighbours(self, x: Any) -> Any:
        kind = type(self)
        below, above = kind(abs(self.order - 1))(x), kind(self.order + 1)(x)  # type: ignore[call-arg]
        return above if self.order == 0 else mul(constant_like(0.5, x), add(below, above))

    def element(self, e: Any, i: Any, *readers: Any) -> Any:
        return e.math(self.machine, readers[0](i), self.order)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for order in (0, 1, 2, 3):
            yield cls(order), (rng.uniform(0.2, 3.0, 3),)  # type: ignore[call-arg]
        for shape in ((), (2, 3), (0,)):
            yield cls(1), (-rng.uniform(0.2, 3.0, shape),)  # type: ignore[call-arg]


@op
class BesselI(Bessel):
    """The modified Bessel function I_n(x)."""

    order: int
    machine = "bessel_i"

    def impl(self, x: Any) -> Any:
        y = special.i0(x) if self.order == 0 else special.i1(x) if self.order == 1 else special.iv(self.order, x)
        return y if y.dtype == getattr(x, "dtype", y.dtype) else y.astype(x.dtype)

    def derivative(self, x: Any, y: Any) -> Any:
        return self.neighbours(x)


@op
class BesselIe(Bessel):
    """The modified Bessel function, scaled: e^(-|x|) I_n(x)."""

    order: int
    machine = "bessel_ie"

    def impl(self, x: Any) -> Any:
        y = special.i0e(x) if self.order == 0 else special.i1e(x) if self.order == 1 else special.ive(self.order, x)
        return y if y.dtype == getattr(x, "dtype", y.dtype) else y.astype(x.dtype)

    def derivative(self, x: Any, y: Any) -> Any:
        return sub(self.neighbours(x), mul(sign(x), y))


class IncompleteGamma(Elementwise):
    """A regularized incomplete gamma function of (a, x): its x-derivative is +- x^(a-1) e^(-x) / gamma(a) (DLMF 8.8.13)."""

    costly = True
    arity, takes, domain = 2, "f", POSITIVE

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        a, x = operands
        if k == 0:
            raise teach(
                MissingRuleError,
                f"{self.name} has no derivative in its first operand, the parameter a.",
                do="differentiate in x only: hold a fixed (cotan.stop_gradient(a)), or define the function with cotan.custom_jvp.",
            )
        density = sub(sub(xlogy_of(sub(a, one_like(a)), x, y), fill_shape(x, y)), fill_shape(lgamma(a), y))
        return exp(density)


def xlogy_of(x: Any, z: Any, y: Any) -> Any:
    """The product x log(z) in the shape of ``y``."""
    return fill_shape(xlogy(x, z), y)


@op
class Gammainc(IncompleteGamma):
    """The lower regularized incomplete gamma function P(a, x)."""

    machine = "gammainc"
    numpy = special_function("gammainc")


@op
class Gammaincc(IncompleteGamma):
    """The upper regularized incomplete gamma function Q(a, x) = 1 - P(a, x)."""

    machine = "gammaincc"
    numpy = special_function("gammaincc")

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        return neg(super().derivative(k, y, *operands))


erf, erfc, erfinv = Erf(), Erfc(), Erfinv()
gamma, lgamma, digamma, beta, betaln = Gamma(), Lgamma(), Digamma(), Beta(), Betaln()
xlogy, xlog1py, logit, entr, gammainc, gammaincc = Xlogy(), Xlog1py(), Logit(), Entr(), Gammainc(), Gammaincc()
i0, i1, i0e, i1e = BesselI(0), BesselI(1), BesselIe(0), BesselIe(1)


def polygamma(order: int, x: Any) -> Any:
    """`Polygamma`: the derivative of the digamma function of this order."""
    return Polygamma(order)(x)
