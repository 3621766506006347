"""Sign and order: magnitude, sign, maximum, minimum, remainder, rounding. Elementwise ops that have kinks or steps.

Conventions at the kinks (see docs/conventions): abs'(0) = 0; the tangent of maximum and minimum at a tie is the mean of both; a
rounding has derivative 0 everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.op import op
from ..core.tracing import type_of
from .arithmetic import constant_of, div, like_python, mul, neg, one_like, sub, zero_like
from .casting import conj, convert, real
from .families import Elementwise, Flat, Reals, Unary, fill_shape, scale
from .logic import equal, select

__all__ = ["abs_", "ceil", "copysign", "floor", "floor_divide", "maximum", "minimum", "nextafter", "rem", "rint", "sign", "trunc"]


@op
class Abs(Unary):
    """Magnitude; for complex x the result is real. abs'(x) = sign(x); for complex x, d|x| = Re(conj(x) dx) / |x|; zero at 0."""

    verb = "abs"
    takes, machine, keeps_weak = "iufc", "abs", True
    numpy = staticmethod(abs)

    def singular(self, x: Any) -> Any:
        return x == 0

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return np.finfo(dtype).dtype if dtype.kind == "c" else dtype

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (x,), (dx,) = primals, tangents
        y = self(x)
        if type_of(x).dtype.kind != "c":
            return y, scale(sign(x), dx)
        # sign(x) = x / |x| and 0 at 0, as NumPy 2 defines it.
        return y, real(scale(conj(sign(x)), dx))


@op
class Sign(Unary):
    """-1, 0 or 1; for complex x, x / |x| (0 at 0)."""

    takes, machine = "iufc", "sign"
    numpy = np.sign

    def singular(self, x: Any) -> Any:
        return x == 0

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (x,), (dx,) = primals, tangents
        y = self(x)
        if type_of(x).dtype.kind != "c":
            return y, None
        # d(x/|x|) = (dx - s Re(conj(s) dx)) / |x| with s = x/|x|; zero at 0, as for hypot
        s, r = y, abs_(x)
        at_zero = equal(r, zero_like(r))
        inverse = select(at_zero, zero_like(r), div(one_like(r), select(at_zero, one_like(r), r)))
        radial = real(scale(conj(s), dx))
        dtype = type_of(x).dtype
        return y, scale(convert(inverse, dtype), sub(dx, scale(s, convert(radial, dtype))))


class Choice(Elementwise):
    """maximum or minimum: the tangent of the selected operand; at a tie, half of each."""

    arity, takes = 2, "biuf"

    def singular(self, x: Any, y: Any) -> Any:
        return x == y

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        dtype = type_of(y).dtype
        taken, other = operands[k], operands[1 - k]
        half = select(equal(taken, other), constant_of(0.5, dtype), constant_of(1.0, dtype))
        return select(equal(taken, y), fill_shape(half, y), constant_of(0.0, dtype))


@op
class Maximum(Choice):
    """The larger of two, elementwise; nan if either is."""

    machine = "maximum"
    numpy = np.maximum


@op
class Minimum(Choice):
    """The smaller of two, elementwise; nan if either is."""

    machine = "minimum"
    numpy = np.minimum


@op
class Rem(Elementwise):
    """Remainder with the sign of the divisor, as Python's %: x - floor(x/y) y, so d = dx - floor(x/y) dy."""

    verb = "remainder"
    arity, takes, machine, keeps_weak = 2, "iuf", "rem", True
    numpy = like_python(np.remainder)
    domain = (Reals(-5, 5), Reals(0.5, 2.0))

    def singular(self, x: Any, y: Any) -> Any:
        return np.remainder(x, y) == 0

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        x, n = operands
        return one_like(y) if k == 0 else neg(fill_shape(floor_divide(x, n), y))


@op
class FloorDivide(Flat):
    """The quotient rounded down, as Python's //; exact for integers."""

    arity, takes, machine, keeps_weak = 2, "iuf", "floor_divide", True
    numpy = like_python(np.floor_divide)
    domain = (Reals(-5, 5), Reals(0.5, 2.0))

    def singular(self, x: Any, y: Any) -> Any:
        return np.remainder(x, y) == 0


@op
class Copysign(Elementwise):
    """|x| with the sign of y: d = sign(x) sign(y) dx, counting the sign bit of y."""

    arity, takes, machine = 2, "f", "copysign"
    numpy = np.copysign

    def singular(self, x: Any, y: Any) -> Any:
        return x == 0, y == 0

    def derivative(self, k: int, y: Any, *operands: Any) -> Any | None:
        x, s = operands
        return mul(sign(x), fill_shape(copysign(one_like(s), s), y) if type_of(x).shape else copysign(one_like(s), s)) if k == 0 else None


@op
class Nextafter(Elementwise):
    """The next number after x towards y. It is x to within rounding, so the tangent is the tangent of x."""

    arity, takes, machine = 2, "f", "nextafter"
    numpy = np.nextafter

    def derivative(self, k: int, y: Any, *operands: Any) -> Any | None:
        return one_like(y) if k == 0 else None


@op
class Floor(Flat):
    """The largest integer not above x."""

    takes, machine = "biuf", "floor"
    numpy = np.floor

    def singular(self, x: Any) -> Any:
        return np.floor(x) == x


@op
class Ceil(Flat):
    """The smallest integer not below x."""

    takes, machine = "biuf", "ceil"
    numpy = np.ceil

    def singular(self, x: Any) -> Any:
        return np.ceil(x) == x


@op
class Rint(Flat):
    """The nearest integer, halves to even."""

    takes, machine = "fc", "rint"
    numpy = np.rint

    def singular(self, x: Any) -> Any:
        return (np.abs(np.real(x) - np.trunc(np.real(x))) == 0.5) | (np.abs(np.imag(x) - np.trunc(np.imag(x))) == 0.5)


@op
class Trunc(Flat):
    """The integer part."""

    takes, machine = "biuf", "trunc"
    numpy = np.trunc

    def singular(self, x: Any) -> Any:
        return np.trunc(x) == x


abs_, sign, maximum, minimum, rem, floor_divide = Abs(), Sign(), Maximum(), Minimum(), Rem(), FloorDivide()
copysign, nextafter, floor, ceil, rint, trunc = Copysign(), Nextafter(), Floor(), Ceil(), Rint(), Trunc()
