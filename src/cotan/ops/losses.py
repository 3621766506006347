"""Box-Cox transformations, relative entropies and a smooth loss: functions of two operands whose derivatives by the chain rule would cancel
or overflow. Each op has a derivative formula that does neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from ..core.op import op
from .arithmetic import constant_like, div, mul, neg, one_like, sub, zero_like
from .families import Elementwise, Reals, add, fill_shape
from .logic import equal, less, select
from .ordering import abs_
from .special import POSITIVE
from .transcendental import direction, exp, expm1, hypot, log1p

__all__ = ["boxcox", "boxcox_inverse", "pseudo_huber", "rel_entr"]


class OverPower(Elementwise):
    """A function f(p x) / p of (x, p) with f(u) = u + O(u^2), hence x where p x is negligible beside 1; f is ``numpy``, or ``machine``."""

    costly = True
    arity, takes = 2, "f"

    def impl(self, x: Any, p: Any) -> Any:
        with np.errstate(all="ignore"):
            u = np.multiply(p, x)
        small = (np.abs(u) < np.finfo(u.dtype).eps / 4) | (p == 0)
        with np.errstate(all="ignore"):
            return np.where(small, x, self.numpy(u) / np.where(small, np.ones_like(u), p))[()]

    def element(self, e: Any, i: Any, *readers: Any) -> Any:
        x, p = [r(i if r.shape else ()) for r in readers]
        dtype = readers[0].dtype
        u = e.math("mul", p, x)
        tiny = e.math("lt", e.math("abs", u), e.constant(np.finfo(dtype).eps / 4, dtype))
        small = e.math("or", tiny, e.math("eq", p, e.constant(0, dtype)))
        return e.math("select", small, e.math("div", e.math(self.machine, u), e.math("select", small, p, e.constant(1, dtype))), x)

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        x, p = (fill_shape(v, y) for v in operands)
        u = mul(p, x)
        if k == 0:
            return self.slope(u)
        near = less(abs_(u), constant_like(self.near, u))
        small, large = select(near, u, zero_like(u)), select(near, one_like(u), u)
        series = constant_like(self.coefficient(self.terms), u)
        for n in range(self.terms - 1, -1, -1):
            series = add(mul(series, small), constant_like(self.coefficient(n), u))
        quotients = div(sub(self.slope(large), div(type(self).of(large), large)), large)
        return mul(mul(x, x), select(near, series, quotients))

    near: ClassVar[float]
    """Below this |p x|, the derivative in p, x^2 E(p x) with E(u) = (f(u) / u)' = (f'(u) - f(u) / u) / u, is computed by the series of E.
    """
    terms: ClassVar[int]
    of: ClassVar[Callable[[Any], Any]]

    def slope(self, u: Any) -> Any:
        """f'(u)."""
        raise NotImplementedError

    def coefficient(self, n: int) -> float:
        """The coefficient of u^n in E."""
        raise NotImplementedError


@op
class Boxcox(OverPower):
    """(e^(p x) - 1) / p of (x, p): the Box-Cox transformation of e^x."""

    machine, numpy, of, near, terms = "expm1", np.expm1, expm1, 1.0, 18
    domain = (Reals(0.3, 3.0), Reals(-2.0, 2.0))

    def slope(self, u: Any) -> Any:
        return exp(u)

    def coefficient(self, n: int) -> float:
        return 1 / (math.factorial(n) * (n + 2))


@op
class BoxcoxInverse(OverPower):
    """log(1 + p x) / p of (x, p): the logarithm of the inverse of the Box-Cox transformation."""

    machine, numpy, of, near, terms = "log1p", np.log1p, log1p, 0.25, 28
    domain = (Reals(0.3, 3.0), Reals(-0.2, 2.0))

    def singular(self, x: Any, p: Any) -> Any:
        return p * x == -1

    def slope(self, u: Any) -> Any:
        return div(one_like(u), add(one_like(u), u))

    def coefficient(self, n: int) -> float:
        return (-1) ** (n + 1) * (n + 1) / (n + 2)


@op
class LogRatio(Elementwise):
    """log(x / y) of positive x and y, also where it is near 0 or the quotient is out of range; its derivatives are 1 / x and -1 / y."""

    costly = True
    arity, takes, domain, machine = 2, "f", POSITIVE, "log_ratio"

    def impl(self, x: Any, y: Any) -> Any:
        with np.errstate(all="ignore"):
            gap, q = x - y, x / y
            inside = (q > 0) & (q < np.inf)
            logs = np.log(np.where(inside, q, x)) - np.where(inside, np.zeros_like(q), np.log(y))
            return np.where(np.abs(gap) < y / 2, np.log1p(gap / y), logs)[()]

    def element(self, e: Any, i: Any, *readers: Any) -> Any:
        x, y = [r(i if r.shape else ()) for r in readers]
        zero, half, inf = [e.constant(v, readers[0].dtype) for v in (0, 0.5, math.inf)]
        gap, q = e.math("sub", x, y), e.math("div", x, y)
        inside = e.math("and", e.math("gt", q, zero), e.math("lt", q, inf))
        rest = e.math("select", inside, e.math("log", y), zero)
        logs = e.math("sub", e.math("log", e.math("select", inside, x, q)), rest)
        near = e.math("lt", e.math("abs", gap), e.math("mul", half, y))
        return e.math("select", near, logs, e.math("log1p", e.math("div", gap, y)))

    def singular(self, x: Any, y: Any) -> Any:
        return x == 0, y == 0

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        x = fill_shape(operands[k], y)
        d = div(one_like(x), x)
        return d if k == 0 else neg(d)


@op
class RelEntr(Elementwise):
    """x log(x / y) of positive x and y."""

    costly = True
    arity, takes, domain, machine = 2, "f", POSITIVE, "rel_entr"

    def impl(self, x: Any, y: Any) -> Any:
        return x * log_ratio.impl(x, y)

    def element(self, e: Any, i: Any, *readers: Any) -> Any:
        x = readers[0]
        return e.math("mul", x(i if x.shape else ()), log_ratio.element(e, i, *readers))

    def singular(self, x: Any, y: Any) -> Any:
        return x == 0, y == 0

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        x, z = (fill_shape(v, y) for v in operands)
        return add(log_ratio(x, z), one_like(y)) if k == 0 else neg(div(x, z))


@op
class PseudoHuber(Elementwise):
    """d (h - d) of (d, r) with h = hypot(d, r), which is d r^2 / (h + d); inf for d < 0.

    In r its derivative is d r/h, in d it is q^2/h with q = h - d = r^2 / (h + d).
    """

    arity, machine, takes, domain = 2, "pseudo_huber", "f", (Reals(0.3, 3.0), Reals(-2.0, 2.0))

    def impl(self, d: Any, r: Any) -> Any:
        with np.errstate(all="ignore"):
            total = np.hypot(d, r) + d
            y = d * r * (r / np.where(total == 0, np.ones_like(total), total))
            return np.where(np.less(d, 0), np.full_like(y, np.inf), y)[()]

    def element(self, e: Any, i: Any, *readers: Any) -> Any:
        d, r = [x(i if x.shape else ()) for x in readers]
        zero, one, inf = [e.constant(v, readers[0].dtype) for v in (0, 1, math.inf)]
        total = e.math("add", e.math("hypot", d, r), d)
        ratio = e.math("div", r, e.math("select", e.math("eq", total, zero), total, one))
        return e.math("select", e.math("lt", d, zero), e.math("mul", e.math("mul", d, r), ratio), inf)

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        d, r = (fill_shape(v, y) for v in operands)
        if k == 1:
            return mul(d, direction(r, d))
        total = add(hypot(d, r), d)
        safe = select(equal(total, zero_like(total)), one_like(total), total)
        ratio = div(r, safe)
        return mul(mul(mul(r, ratio), ratio), direction(r, d))


boxcox, boxcox_inverse, pseudo_huber = Boxcox(), BoxcoxInverse(), PseudoHuber()
log_ratio, rel_entr = LogRatio(), RelEntr()
