"""Sign and order: magnitude, sign, maximum, minimum, remainder, rounding. Elementwise ops that have kinks or steps.

Conventions at the kinks (see docs/conventions): abs'(0) = 0; the tangent of maximum and minimum at a tie is the mean of both; a
rounding has derivative 0 everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.emitting import Emitter, Reader
from ..core.op import op
from ..core.tracing import type_of
from .arithmetic import div, like_python, mul, neg, one_like, sub, zero_like
from .casting import conj, convert, real
from .families import Elementwise, Flat, Reals, Unary, fill_shape, scale
from .logic import equal, select

__all__ = ["abs_", "ceil", "clip", "copysign", "floor", "floor_divide", "maximum", "minimum", "nextafter", "rem", "rint", "sign", "trunc"]


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


@op
class Maximum(Choice):
    """The larger of two, elementwise; nan if either is."""

    machine = "maximum"
    numpy = np.maximum

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        return lead(operands[k], operands[1 - k])


@op
class Minimum(Choice):
    """The smaller of two, elementwise; nan if either is."""

    machine = "minimum"
    numpy = np.minimum

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        return lead(operands[1 - k], operands[k])


@op
class Lead(Flat):
    """The share of x in the maximum of x and y: 1 where x > y, 1/2 at a tie, 0 elsewhere, at nan too."""

    arity, takes = 2, "f"

    def impl(self, x: Any, y: Any) -> Any:
        return halves(np.greater(x, y), np.greater_equal(x, y), x)

    def element(self, e: Emitter, i: Sequence[Any], *readers: Reader) -> Any:
        x, y = (read(i if read.shape else ()) for read in readers)
        return lead_of(e, x, y, readers[0].dtype)


@op
class Clip(Elementwise):
    """The smaller of z and ``max(x, y)``: x between the limits y and z. At a limit, its tangent is the mean of both."""

    arity, takes = 3, "iuf"
    domain = (Reals(), Reals(-1.5, -0.5), Reals(0.5, 1.5))

    def singular(self, x: Any, y: Any, z: Any) -> Any:
        return (x == y) | (np.maximum(x, y) == z)

    def impl(self, x: Any, y: Any, z: Any) -> Any:
        return x.clip(y, z) if type(x) is np.ndarray else np.minimum(np.maximum(x, y), z)

    def element(self, e: Emitter, i: Sequence[Any], *readers: Reader) -> Any:
        x, y, z = (read(i if read.shape else ()) for read in readers)
        return e.math("minimum", e.math("maximum", x, y), z)

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        x, low, high = operands
        if k == 0:
            return fill_shape(within(x, low, high), y)
        reached = maximum(x, low)
        return fill_shape(lead(reached, high) if k == 2 else mul(fill_shape(lead(low, x), y), fill_shape(lead(high, reached), y)), y)


@op
class Within(Flat):
    """The share of x in `Clip`: 1 where it is between the limits, 1/2 at one, 1/4 where both are equal to it, 0 elsewhere, at nan too."""

    arity, takes = 3, "f"
    domain = (Reals(), Reals(-1.5, -0.5), Reals(0.5, 1.5))

    def impl(self, x: Any, y: Any, z: Any) -> Any:
        one = y == z
        if one.any() if isinstance(one, np.ndarray) else one:
            return np.multiply(lead.impl(x, y), lead.impl(z, np.maximum(x, y)))
        return halves(np.greater(x, y) & np.less(x, z), np.greater_equal(x, y) & np.less_equal(x, z), x)

    def element(self, e: Emitter, i: Sequence[Any], *readers: Reader) -> Any:
        x, y, z = (read(i if read.shape else ()) for read in readers)
        dtype = readers[0].dtype
        return e.math("mul", lead_of(e, x, y, dtype), lead_of(e, z, e.math("maximum", x, y), dtype))


def halves(one: Any, other: Any, like: Any) -> Any:
    """Half of the number of these two that are true, in the dtype of ``like``."""
    return (one.view(np.int8) + other.view(np.int8)) * type_of(like).dtype.type(0.5)


def lead_of(e: Emitter, x: Any, y: Any, dtype: np.dtype[Any]) -> Any:
    """An element of `Lead`."""
    zero, half, one = (e.constant(value, dtype) for value in (0.0, 0.5, 1.0))
    return e.math("select", e.math("gt", x, y), e.math("select", e.math("eq", x, y), zero, half), one)


@op
class Rem(Elementwise):
    """Remainder with the sign of the divisor, as Python's %: x - floor(x/y) y, so d = dx - floor(x/y) dy."""

    sign = "%"
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

    sign = "//"
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
lead, clip, within = Lead(), Clip(), Within()
copysign, nextafter, floor, ceil, rint, trunc = Copysign(), Nextafter(), Floor(), Ceil(), Rint(), Trunc()
