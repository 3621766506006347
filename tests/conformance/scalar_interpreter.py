"""Defining equations, one element at a time: an `Emitter` whose scalars are Python numbers.

It is slow and simple on purpose. An op's ``element`` is run for every index of its result, and must agree with ``impl``. Scalar functions
come from Python's math and cmath if these have them, so that a second implementation is compared. The others are implemented below or, for
a few special functions, are scipy.special's scalar routines.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import scipy.integrate
import scipy.special

from cotan.core.op import Op
from cotan.core.tracing import type_of


class ArrayReader:
    """An operand that is read one element at a time, as a Python number."""

    def __init__(self, array: Any):
        self.array = np.asarray(array)
        self.shape, self.dtype = self.array.shape, self.array.dtype

    def __call__(self, index: Sequence[int]) -> Any:
        index = tuple(index)
        assert len(index) == len(self.shape), f"an index of {len(index)} numbers into {self.shape}"
        assert all(type(k) is int and 0 <= k < n for k, n in zip(index, self.shape, strict=True)), f"{index} lies outside of {self.shape}"
        return self.array[index].item()


def either(real: Callable[..., Any], complex_: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A function by the kind of its operands."""
    return lambda *xs: complex_(*xs) if complex_ is not None and any(isinstance(x, complex) for x in xs) else real(*xs)


def sign(x: Any) -> Any:
    if isinstance(x, complex):
        return x / abs(x) if x else 0j
    return (x > 0) - (x < 0)


def extremum(choose: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y: math.nan if x != x or y != y else choose(x, y)


def ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """A comparison, of complex numbers by their real, then imaginary parts."""
    key = lambda z: (z.real, z.imag) if isinstance(z, complex) else z  # noqa: E731
    return lambda x, y: compare(key(x), key(y))


def strong_product(d: Any, t: Any) -> Any:
    return type(d * t)(0) if d == 0 or t == 0 else d * t


def logaddexp(x: float, y: float) -> float:
    high, low = max(x, y), min(x, y)
    return high if math.isinf(high) else high + math.log1p(math.exp(low - high))


def sinc_derivative(x: float, order: int) -> float:
    """The derivatives of sin(u)/u = integral of cos(u t) over [0, 1]: integrate cos^(n) by Simpson's rule."""
    u, n = math.pi * x, 4000
    values = [t**order * math.cos(u * t + order * math.pi / 2) for t in (k / n for k in range(n + 1))]
    return math.pi**order * (values[0] + values[-1] + 4 * sum(values[1:-1:2]) + 2 * sum(values[2:-1:2])) / (3 * n)


def complex_erf(z: complex) -> complex:
    """2/sqrt(pi) z times the integral of e^(-(z t)^2) over [0, 1]."""
    integrand = lambda t: cmath.exp(-((z * t) ** 2))  # noqa: E731
    re, _ = scipy.integrate.quad(lambda t: integrand(t).real, 0, 1, epsabs=1e-14)
    im, _ = scipy.integrate.quad(lambda t: integrand(t).imag, 0, 1, epsabs=1e-14)
    return 2 / math.sqrt(math.pi) * z * complex(re, im)


def scaled_erfc(z: float, order: int) -> float:
    """The derivatives of e^(z^2) erfc(z) = 2/sqrt(pi) times the integral of e^(-t^2 - 2 z t) over t > 0, under the integral."""
    integral, _ = scipy.integrate.quad(lambda t: (-2 * t) ** order * math.exp(-t * t - 2 * z * t), 0, math.inf, epsabs=1e-13, epsrel=1e-12)
    return 2 / math.sqrt(math.pi) * integral


def trunc_to_zero(x: Any) -> Any:
    return math.trunc(x) if isinstance(x, float) else x


def rint(x: Any) -> Any:
    return complex(round(x.real), round(x.imag)) if isinstance(x, complex) else float(round(x))


def bitwise_not(x: Any) -> Any:
    return not x if isinstance(x, bool) else ~x


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "neg": lambda x: -x,
    "scale": strong_product,
    "copy": lambda x: x,
    "real": lambda z: z.real,
    "imag": lambda z: z.imag,
    "conj": lambda z: z.conjugate(),
    "complex": complex,
    "abs": abs,
    "sign": sign,
    "maximum": extremum(max),
    "minimum": extremum(min),
    "rem": lambda x, y: x - math.floor(x / y) * y if isinstance(x, float) else x % y,
    "floor_divide": lambda x, y: math.floor(x / y) if isinstance(x, float) else x // y,
    "copysign": math.copysign,
    "nextafter": math.nextafter,
    "floor": math.floor,
    "ceil": math.ceil,
    "rint": rint,
    "trunc": trunc_to_zero,
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
    "lt": ordered(lambda x, y: x < y),
    "le": ordered(lambda x, y: x <= y),
    "gt": ordered(lambda x, y: x > y),
    "ge": ordered(lambda x, y: x >= y),
    "isnan": either(math.isnan, cmath.isnan),
    "isinf": either(math.isinf, cmath.isinf),
    "isfinite": either(math.isfinite, cmath.isfinite),
    "signbit": lambda x: math.copysign(1.0, x) < 0,
    "and": lambda x, y: x & y,
    "or": lambda x, y: x | y,
    "xor": lambda x, y: x ^ y,
    "not": bitwise_not,
    "shl": lambda x, y: x << y,
    "shr": lambda x, y: x >> y,
    "popcount": lambda x: abs(x).bit_count(),
    "select": lambda which, *cases: cases[int(which)],
    "pow": lambda x, y: x**y,
    "exp": either(math.exp, cmath.exp),
    "exp2": either(math.exp2, lambda z: 2**z),
    "expm1": either(math.expm1, lambda z: cmath.exp(z) - 1),
    "log": either(math.log, cmath.log),
    "log2": either(math.log2, lambda z: cmath.log(z) / math.log(2)),
    "log10": either(math.log10, cmath.log10),
    "log1p": either(math.log1p, lambda z: cmath.log(1 + z)),
    "sqrt": either(math.sqrt, cmath.sqrt),
    "rsqrt": either(lambda x: 1 / math.sqrt(x), lambda z: 1 / cmath.sqrt(z)),
    "cbrt": math.cbrt,
    **{
        name: either(getattr(math, name), getattr(cmath, name))
        for name in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh")
    },
    **{name: either(getattr(math, name), getattr(cmath, name)) for name in ("asinh", "acosh", "atanh")},
    "atan2": math.atan2,
    "hypot": math.hypot,
    "logaddexp": logaddexp,
    "logistic": lambda x: 1 / (1 + math.exp(-x)),
    "sinc": lambda x: math.sin(math.pi * x) / (math.pi * x) if x else 1.0,
    "sinc_derivative": sinc_derivative,
    "arctan_derivative": lambda x: 1 / (1 + x * x),
    "arcsinh_derivative": either(lambda x: 1 / math.sqrt(1 + x * x), lambda z: 1 / cmath.sqrt(1 + z * z)),
    "logistic_derivative": lambda x: 0.25 / math.cosh(x / 2) ** 2,
    "gaussian": lambda x, rate: math.exp(-rate * x * x),
    "scaled_erfc": scaled_erfc,
    "ndtr": lambda x: 0.5 * math.erfc(-x / math.sqrt(2)),
    "logit": lambda x: math.log(x / (1 - x)),
    "gamma": math.gamma,
    "beta": lambda a, b: math.gamma(a) * math.gamma(b) / math.gamma(a + b),
    "erf": lambda x: complex_erf(x) if isinstance(x, complex) else math.erf(x),
    "erfc": lambda x: 1 - complex_erf(x) if isinstance(x, complex) else math.erfc(x),
    "lgamma": math.lgamma,
    "betaln": lambda a, b: math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b),
    "xlogy": lambda x, y: 0 * x if x == 0 else x * (cmath if isinstance(y, complex) else math).log(y),
    "xlog1py": lambda x, y: 0 * x if x == 0 else x * (cmath if isinstance(y, complex) else math).log(1 + y),
    "entr": lambda x: -x * math.log(x) if x > 0 else 0.0 if x == 0 else -math.inf,
    "polygamma": lambda x, n: scipy.special.polygamma(n, x),
    "bessel_i": lambda x, n: scipy.special.iv(n, x),
    "bessel_ie": lambda x, n: scipy.special.iv(n, x) * math.exp(-abs(x)),
    **{name: getattr(scipy.special, name) for name in ("erfinv", "digamma", "gammainc", "gammaincc")},
}

FOLDS: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
    "add": (FUNCTIONS["add"], 0),
    "mul": (FUNCTIONS["mul"], 1),
    "max": (FUNCTIONS["maximum"], None),
    "min": (FUNCTIONS["minimum"], None),
    "and": (FUNCTIONS["and"], -1),
    "or": (FUNCTIONS["or"], 0),
}


class ScalarInterpreter:
    """The vocabulary of defining equations on Python numbers; indices are Python ints."""

    def math(self, name: str, *operands: Any) -> Any:
        return FUNCTIONS[name](*operands)

    def constant(self, value: Any, dtype: np.dtype[Any]) -> Any:
        return dtype.type(value).item()

    def cast(self, operand: Any, dtype: np.dtype[Any]) -> Any:
        if dtype.kind not in "cb" and isinstance(operand, complex):
            operand = operand.real
        return dtype.type(operand).item()

    def choose(self, condition: bool, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
        return yes() if condition else no()

    def reduce(self, monoid: str, extents: Sequence[int], at: Callable[[Sequence[int]], Any], dtype: np.dtype[Any]) -> Any:
        combine, start = FOLDS[monoid]
        values = [at(r) for r in product(*map(range, extents))]
        if start is None:
            return reduce(combine, values)
        start = dtype.type(start).item() if dtype.kind != "u" else start & (2 ** (8 * dtype.itemsize) - 1)
        return reduce(combine, values, start)

    def as_index(self, operand: Any) -> int:
        assert type(operand) is int
        return operand

    def as_scalar(self, index: int, dtype: np.dtype[Any]) -> Any:
        return dtype.type(index).item()


def interpret(op: Op, operands: Sequence[Any]) -> Any:
    """The result of ``op`` by its defining equation."""
    t = op.type_rule(*map(type_of, operands))
    y = np.empty(t.shape, t.dtype)
    e, readers = ScalarInterpreter(), [ArrayReader(x) for x in operands]
    for i in np.ndindex(t.shape):
        y[i] = wrapped(op.element(e, tuple(int(k) for k in i), *readers), t.dtype)
    return y


def wrapped(value: Any, dtype: np.dtype[Any]) -> Any:
    """A Python integer as one of this dtype holds it: modulo 2 to the number of bits."""
    if dtype.kind not in "iu":
        return value
    size = 1 << 8 * dtype.itemsize
    value %= size
    return value - size if dtype.kind == "i" and value >= size // 2 else value
