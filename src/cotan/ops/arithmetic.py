"""Arithmetic: the field operations and integer powers, elementwise. All rules follow from the product rule."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from ..core.formula import Formula
from ..core.op import Op, op
from ..core.program import Var
from ..core.tracing import type_of
from .families import PYTHON_SCALARS, Elementwise, Multilinear, Reals, Unary, add, default_rng, fill_shape, scale, sum_to

__all__ = [
    "add",
    "constant_like",
    "constant_of",
    "div",
    "integer_pow",
    "like_python",
    "mul",
    "neg",
    "one_like",
    "scale",
    "sub",
    "zero_like",
]

nonzero = Reals(0.5, 2.0)


def like_python(function: Callable[..., Any]) -> Any:
    """NumPy's ``function``; Python scalars give a Python scalar, which stays weak in promotion."""

    def call(x: Any, y: Any) -> Any:
        z = function(x, y)
        return z.item() if type(x) in PYTHON_SCALARS and type(y) in PYTHON_SCALARS else z

    return staticmethod(call)


@op
class Sub(Elementwise):
    """Difference, elementwise."""

    sign = "-"
    linear = ((0, 1),)
    arity, takes, machine, keeps_weak = 2, "iufc", "sub", True
    numpy = staticmethod(operator.sub)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        y = self(*primals)
        a, b = (dx if dx is None else fill_shape(dx, y) for dx in tangents)
        return y, neg(b) if a is None else a if b is None else sub(a, b)

    def transpose(self, y_bar: Any, a: Any, b: Any) -> Sequence[Any | None]:
        return [sum_to(y_bar, a.type) if type(a) is Var else None, neg(sum_to(y_bar, b.type)) if type(b) is Var else None]


@op
class Neg(Unary, Multilinear):
    """Minus x, elementwise."""

    linear = ((0,),)
    takes, machine, keeps_weak = "iufc", "neg", True
    numpy = staticmethod(operator.neg)
    jvp, tangent = Multilinear.jvp, Multilinear.tangent  # type: ignore[assignment]

    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [neg(y_bar)]

    def formula(self, x: Formula) -> Formula:
        return -x


@op
class Mul(Elementwise):
    """Product, elementwise: d(xy) = y dx + x dy, each a strong-zero product (see `Scale`)."""

    sign = "*"
    linear = ((0,), (1,))
    verb = "multiply"
    arity, takes, machine, keeps_weak, unit = 2, "iufc", "mul", True, 1
    numpy = staticmethod(operator.mul)

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        return operands[1 - k]

    def transpose(self, y_bar: Any, a: Any, b: Any) -> Sequence[Any | None]:
        if type(a) is Var:
            return [sum_to(scale(b, y_bar), a.type), None]
        return [None, sum_to(scale(a, y_bar), b.type)]


@op
class Div(Elementwise):
    """Quotient, elementwise. Linear in the numerator only: d(x/y) = dx/y - (x/y) dy/y."""

    sign = "/"
    linear = ((0,),)
    verb = "divide"
    arity, takes, machine, keeps_weak = 2, "fc", "div", True
    numpy = like_python(np.true_divide)
    domain = (Reals(), nonzero)

    def singular(self, x: Any, y: Any) -> Any:
        return (y == 0) & (x == x)

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        divisor = operands[1]
        return div(one_like(divisor), divisor) if k == 0 else neg(div(y, divisor))

    def transpose(self, y_bar: Any, x: Var, y: Any) -> Sequence[Any | None]:
        return [sum_to(div(y_bar, y), x.type), None]


@op
class IntegerPow(Unary):
    """x to a fixed integer power: d = n x^(n-1) dx, exact at zero and for negative x."""

    exponent: int
    verb: ClassVar[str] = "power"
    keeps_weak = True

    def singular(self, x: Any) -> Any:
        return (x == 0) & (self.exponent < 0)

    @property
    def takes(self) -> str:  # type: ignore[override]
        """Integers have no negative powers."""
        return "iufc" if self.exponent >= 0 else "fc"

    def impl(self, x: Any) -> Any:
        n = self.exponent
        if n == 2:
            return x * x
        if n == 3:
            return x * x * x
        y = np.power(x, n)
        return y.item() if type(x) in PYTHON_SCALARS else y

    def element(self, e: Any, i: Sequence[Any], *readers: Any) -> Any:
        x = readers[0]
        if self.exponent == 0:
            return e.constant(1, x.dtype)
        result = value = x(i)
        for bit in f"{abs(self.exponent):b}"[1:]:
            result = e.math("mul", result, result)
            if bit == "1":
                result = e.math("mul", result, value)
        return result if self.exponent > 0 else e.math("div", e.constant(1, x.dtype), result)

    def derivative(self, x: Any, y: Any) -> Any | None:
        n = self.exponent
        if n == 0:
            return None
        if n == 1:
            return one_like(x)
        return mul(constant_like(n, x), x if n == 2 else to_the(n - 1)(x))

    def formula(self, x: Formula) -> Formula:
        return x**self.exponent

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for n in (-3, -1, 0, 1, 2, 3, 5):
            yield cls(n), (nonzero.sample(rng, (3,)),)
        for shape in ((), (2, 3), (0,)):
            yield cls(3), (Reals().sample(rng, shape),)


sub, neg, mul, div = Sub(), Neg(), Mul(), Div()


to_the = lru_cache(maxsize=256, typed=True)(IntegerPow)
"""The op for an exponent, cached."""


def integer_pow(x: Any, n: int) -> Any:
    """`IntegerPow` of ``x``."""
    return to_the(n)(x)


def constant_of(value: float, dtype: np.dtype[Any]) -> Any:
    """A scalar constant of this dtype."""
    return dtype.type(value)


def constant_like(value: float, x: Any) -> Any:
    """A scalar constant of the dtype of ``x``; a Python scalar if ``x`` is weak."""
    t = type_of(x)
    return type(t.dtype.type(0).item())(value) if t.weak else t.dtype.type(value)


def one_like(x: Any) -> Any:
    """The scalar 1 of the dtype of ``x``."""
    return constant_like(1, x)


def zero_like(x: Any) -> Any:
    """The scalar 0 of the dtype of ``x``."""
    return constant_like(0, x)
