"""Scalar formulas of special functions: routines of SciPy, and formulas of others.

`scipy.special.cython_special` gives pointers to its routines to compiled code, in capsules whose names are the C signatures.
Where a capsule is missing or has another signature, the function is missing too (`NoInstructionError`). Single precision is
computed in double precision and rounded once. `emitter` looks the formulas up in `expression.FORMULAS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from cotan.core.emitting import where
from cotan.engines.native.llvm.jit import machine
from cotan.engines.native.runtime.capi import capsule_address, capsule_name
from cotan.ops.gaussian import CENTRE, DERIVATIVES_OF_SCALED_ERFC, FARTHEST

from .expression import LlvmExpression, NoInstructionError, formula, helper
from .polynomials import polynomial

__all__: list[str] = []

DOUBLE = np.dtype(np.float64)


@cache
def routine(name: str, arity: int, c_type: str = "double") -> str:
    """The symbol of a routine of SciPy on numbers of double precision, made known to compiled code.

    Raises:
        NoInstructionError: SciPy has no such routine.
    """
    try:
        from scipy.special import cython_special  # noqa: PLC0415 - it takes a while to load
    except ImportError as missing:
        raise NoInstructionError(f"{name}: SciPy's routines for compiled code are not here") from missing
    wanted = f"{c_type} ({f'{c_type}, ' * arity}int __pyx_skip_dispatch)"
    capsules: dict[str, Any] = getattr(cython_special, "__pyx_capi__", {})
    for candidate in (name, f"__pyx_fuse_0{name}", f"__pyx_fuse_1{name}"):
        capsule = capsules.get(candidate)
        if capsule is not None and (signature := capsule_name(capsule)) == wanted.encode():
            symbol = f"cotan_scipy_{name}_{c_type}"
            machine().add_symbol(symbol, capsule_address(capsule, signature))
            return symbol
    raise NoInstructionError(f"{name}: SciPy has no such routine for compiled code")


def scipy(name: str, *operands: LlvmExpression) -> LlvmExpression:
    """A call of SciPy's routine."""
    e, symbol = operands[0].e, routine(name, len(operands))
    arguments = [("double", x.cast(DOUBLE).scalar.register) for x in operands]
    ir = e.pure_call(symbol, "double", [*arguments, ("i32", "0")])
    return LlvmExpression(e, e.value(DOUBLE, ir)).cast(operands[0].dtype)


def from_scipy(name: str, scipy_name: str) -> None:
    @formula("float", name=name)
    def function(*operands: LlvmExpression) -> LlvmExpression:
        return scipy(scipy_name, *operands)


for _name, _scipy_name in {
    "erfinv": "erfinv",
    "lgamma": "gammaln",
    "digamma": "psi",
    "gamma": "gamma",
    "beta": "beta",
    "betaln": "betaln",
    "gammainc": "gammainc",
    "gammaincc": "gammaincc",
}.items():
    from_scipy(_name, _scipy_name)


def from_scipy_complex(name: str) -> None:
    @formula("complex", name=name)
    def function(*operands: LlvmExpression) -> LlvmExpression:
        e, symbol = operands[0].e, routine(name, len(operands), "__pyx_t_double_complex")
        found = e.call_complex(symbol, *[x.cast(np.complex128).scalar for x in operands], further=[("i32", "0")])
        return LlvmExpression(e, found).cast(operands[0].dtype)


for _name in ("xlogy", "xlog1py", "erf", "erfc"):
    from_scipy_complex(_name)


def bessel(name: str, scaled: str) -> None:
    @formula("float", name=name)
    def function(x: LlvmExpression, n: int) -> LlvmExpression:
        return scipy(f"i{n}{scaled}", x) if n in (0, 1) else scipy(f"iv{scaled}", x.like(float(n)), x)


bessel("bessel_i", "")
bessel("bessel_ie", "e")


# ---- Gaussians and tails: see ops.gaussian ------------------------------------------------------------------------------------
@formula("float")
def gaussian(x: LlvmExpression, rate: float) -> LlvmExpression:
    """e^(-rate s) (1 - rate e), with x^2 = s + e; of singles in double, where e is 0."""
    size = abs(x.cast(DOUBLE))
    size = where(size > FARTHEST, FARTHEST, size)
    if x.dtype != DOUBLE:
        return (-rate * size * size).math("exp").cast(x.dtype)
    square, rest = size.product_and_error(size)
    y = (-rate * square).math("exp")
    return y - y * (rate * rest)


@formula("float")
def scaled_erfc(x: LlvmExpression, order: int) -> LlvmExpression:
    """The polynomials and the recursion of `ops.gaussian.scaled_erfc_of`."""
    z = x.cast(DOUBLE)
    orders = len(DERIVATIVES_OF_SCALED_ERFC)
    if order >= orders:
        known = [scaled_erfc(z, n) for n in (orders - 2, orders - 1)]
        for n in range(orders - 1, order):
            known.append(2.0 * z * known[-1] + 2.0 * n * known[-2])
        return known[-1].cast(x.dtype)
    far = z > 1e300
    t = where(far, 1.0, (z - CENTRE) / (z + CENTRE))
    y, half = (-0.5) ** (order + 1) * -polynomial(t, DERIVATIVES_OF_SCALED_ERFC[order]), z + 0.5
    for _ in range(order + 1):
        y = y / half
    return where(z < 0.0, math.nan, y).cast(x.dtype)


@formula("float")
def ndtr(x: LlvmExpression) -> LlvmExpression:
    """erfc(z) / 2 for z = -x / sqrt(2) rounded, times 1 - 2 z e for its rounding error e: erfc'(z) / erfc(z) is near -2z for large z."""
    high = float(np.asarray(math.sqrt(0.5), x.dtype))
    z, rest = (-x).product_and_error(x.like(high))
    lacking = (-x).fused(SQRT_HALF_LOW[x.dtype.itemsize], rest)
    correction = where((z > 1.0) & (z < FARTHEST), -2.0 * z * lacking, 0.0)
    y = 0.5 * z.math("erfc")
    return y + y * correction


SQRT_HALF_LOW = {8: -4.833646656726457e-17, 4: 1.210161710447897e-08}
"""The rounding errors of sqrt(1/2) in double and in single precision."""


# ---- polygamma --------------------------------------------------------------------------------------------------------------
SHIFT = 10
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330, 854513 / 138)


def whole_power(x: LlvmExpression, n: int) -> LlvmExpression:
    """x^n by squaring, for n >= 1."""
    result = x
    for bit in f"{n:b}"[1:]:
        result = result * result * x if bit == "1" else result * result
    return result


def zeta_of_positive(s: int, x: LlvmExpression) -> LlvmExpression:
    """Hurwitz's sum of (x + k)^-s over k >= 0, for x > 0: ten terms, then Euler-Maclaurin's formula (DLMF 25.11.5) for the rest.

    With w = x + 10, the rest is w^(1-s)/(s-1) + w^-s/2 + sum_j B_2j/(2j)! s (s+1) ... (s+2j-2) w^(-s-2j+1).
    """
    total = x.like(0.0)
    for k in reversed(range(SHIFT)):
        total = total + 1.0 / whole_power(x + float(k), s)
    w = x + float(SHIFT)
    inverse = 1.0 / w
    square, factors = inverse * inverse, []
    for j, bernoulli in enumerate(BERNOULLI, 1):
        factors.append(bernoulli / math.factorial(2 * j) * math.prod(range(s, s + 2 * j - 1)))
    series = x.like(0.0)
    for factor in reversed(factors):
        series = series * square + factor
    rest = (1 / (s - 1) + (0.5 + series * inverse) * inverse) / whole_power(w, s - 1)
    return total + rest


def zeta(s: int) -> Callable[[LlvmExpression], LlvmExpression]:
    """Hurwitz's zeta function of an integer s >= 2. Where x < 0, with the sum over all integers as the sum of its halves

    zeta(s, x) = zeta(s, f) + (-1)^s (zeta(s, 1 - f) - zeta(s, 1 - x)), f = x - floor(x); infinite at 0, -1, -2, ...
    """

    def positive(x: LlvmExpression) -> LlvmExpression:
        return helper(f"cotan_zeta_{s}", lambda x: zeta_of_positive(s, x), x)

    def function(x: LlvmExpression) -> LlvmExpression:
        below = x < 0.0
        up = x.math("ceil") - x
        mirrored = positive(where(below, up, 1.0)) - positive(where(below, 1.0 - x, 1.0))
        sign = 1.0 if s % 2 == 0 else -1.0
        found = positive(where(below, x - x.math("floor"), x)) + where(below, sign * mirrored, 0.0)
        return where((x <= 0.0) & x.equals(x.math("floor")), math.inf, found)

    return function


@formula("float")
def polygamma(x: LlvmExpression, n: int) -> LlvmExpression:
    """(-1)^(n+1) n! zeta(n + 1, x)."""
    if n == 0:
        return x.math("digamma")
    if n > 20:
        raise NoInstructionError("polygamma of so high an order")
    wide = helper(f"cotan_hurwitz_{n + 1}", zeta(n + 1), x.cast(DOUBLE))
    return ((-1.0) ** (n + 1) * math.factorial(n) * wide).cast(x.dtype)
