"""Powers, exponentials, logarithms, and the trigonometric and hyperbolic functions, elementwise.

Each op defines its local derivative, in terms of the output where that is cheaper. The domains exclude the singular points from the tests;
docs/conventions has a table of the derivatives there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Emitter, Reader, Routines, StridedView
from ..core.formula import Formula, Number, called
from ..core.op import Op, op
from ..core.tracing import type_of
from .arithmetic import constant_like, div, like_python, mul, neg, one_like, sub, zero_like
from .families import Analytic, Elementwise, Reals, Unary, add, default_rng, fill_shape, has_nan, scale
from .logic import bitwise_and, bitwise_or, equal, isinf, select
from .routines import special_function

__all__ = [
    "NEGATIVE_POWER",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "cbrt",
    "cos",
    "cosh",
    "direction",
    "exp",
    "exp2",
    "expm1",
    "hypot",
    "inverse_or_infinity",
    "inverse_or_zero",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logistic",
    "norm_sqrt",
    "power",
    "rsqrt",
    "sin",
    "sinc",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
]  # fmt: skip

NEGATIVE_POWER = "Integers to negative integer powers are not allowed."
"""NumPy's message."""
POSITIVE, UNIT, ABOVE_ONE = Reals(0.3, 3.0), Reals(-0.9, 0.9), Reals(1.2, 3.0)


@op
class Exp(Analytic):
    """e to the x."""

    numpy, machine = np.exp, "exp"

    def derivative(self, x: Any, y: Any) -> Any:
        return y


@op
class Exp2(Analytic):
    """2 to the x."""

    numpy, machine = np.exp2, "exp2"

    def derivative(self, x: Any, y: Any) -> Any:
        return mul(constant_like(math.log(2), x), y)


@op
class Expm1(Analytic):
    """e^x - 1, accurate for small x."""

    numpy, machine = np.expm1, "expm1"

    def derivative(self, x: Any, y: Any) -> Any:
        return exp(x)  # not y + 1, which loses all digits far below 0


@op
class Log(Analytic):
    """The natural logarithm."""

    numpy, machine, domain = np.log, "log", POSITIVE

    def singular(self, x: Any) -> Any:
        return x == 0

    def derivative(self, x: Any, y: Any) -> Any:
        return div(one_like(x), x)


@op
class Log2(Analytic):
    """The logarithm to base 2."""

    numpy, machine, domain = np.log2, "log2", POSITIVE

    def singular(self, x: Any) -> Any:
        return x == 0

    def derivative(self, x: Any, y: Any) -> Any:
        return div(constant_like(1 / math.log(2), x), x)


@op
class Log10(Analytic):
    """The logarithm to base 10."""

    numpy, machine, domain = np.log10, "log10", POSITIVE

    def singular(self, x: Any) -> Any:
        return x == 0

    def derivative(self, x: Any, y: Any) -> Any:
        return div(constant_like(1 / math.log(10), x), x)


@op
class Log1p(Analytic):
    """log(1 + x), accurate for small x."""

    numpy, machine, domain = np.log1p, "log1p", Reals(-0.7, 2.0)

    def singular(self, x: Any) -> Any:
        return x == -1

    def derivative(self, x: Any, y: Any) -> Any:
        return div(one_like(x), add(one_like(x), x))


@op
class Sqrt(Unary):
    """The square root; its derivative at 0 is infinite."""

    numpy, machine, domain = np.sqrt, "sqrt", POSITIVE

    def singular(self, x: Any) -> Any:
        return x == 0

    def derivative(self, x: Any, y: Any) -> Any:
        return div(constant_like(0.5, y), y)


@op
class NormSqrt(Unary):
    """The square root of a sum of squares, a norm: its derivative at 0 is 0."""

    verb = "norm"
    takes, machine = "f", "sqrt"
    numpy = np.sqrt
    domain = (Reals(0.1, 4.0),)

    def singular(self, x: Any) -> Any:
        return x == 0

    def derivative(self, x: Any, y: Any) -> Any:
        return mul(constant_like(0.5, y), inverse_or_zero(y))

    def formula(self, x: Formula) -> Formula:
        return called("sqrt", x)


@op
class InverseOr(Unary):
    """One over x, or the number ``at_zero`` where x is 0; its derivative there is 0."""

    at_zero: float
    takes, domain = "f", POSITIVE

    def singular(self, x: Any) -> Any:
        return x == 0

    def impl(self, x: Any) -> Any:
        if isinstance(x, np.ndarray) and x.ndim:
            return np.divide(1, x, out=np.full(x.shape, self.at_zero, x.dtype), where=x != 0)
        return np.true_divide(1, x) if x else type_of(x).dtype.type(self.at_zero)

    def element(self, e: Emitter, i: Sequence[Any], *readers: Reader) -> Any:
        x, (zero, one, other) = readers[0](i), (e.constant(value, readers[0].dtype) for value in (0.0, 1.0, self.at_zero))
        return e.math("select", e.math("eq", x, zero), e.math("div", one, x), other)

    def derivative(self, x: Any, y: Any) -> Any:
        z = y if self.at_zero == 0.0 else inverse_or_zero(x)
        return neg(mul(z, z))

    def formula(self, x: Formula) -> Formula:
        return Number(1) / x

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for shape in ((), (3,), (2, 3), (0,)):
            for at_zero in (0.0, math.inf):
                yield cls(at_zero), (POSITIVE.sample(rng, shape),)


@op
class Rsqrt(Unary):
    """One over the square root."""

    machine, domain = "rsqrt", POSITIVE
    numpy = staticmethod(lambda x: 1 / np.sqrt(x))

    def singular(self, x: Any) -> Any:
        return x == 0

    def derivative(self, x: Any, y: Any) -> Any:
        return div(mul(constant_like(-0.5, x), y), x)

    def formula(self, x: Formula) -> Formula:
        return Number(1) / called("sqrt", x)


@op
class Cbrt(Analytic):
    """The real cube root."""

    numpy, machine, domain, takes = np.cbrt, "cbrt", POSITIVE, "f"

    def singular(self, x: Any) -> Any:
        return x == 0

    def derivative(self, x: Any, y: Any) -> Any:
        return div(one_like(x), mul(mul(constant_like(3, y), y), y))


@op
class Sin(Analytic):
    """Sine of an angle in radians."""

    numpy, machine = np.sin, "sin"

    def derivative(self, x: Any, y: Any) -> Any:
        return cos(x)


@op
class Cos(Analytic):
    """Cosine of an angle in radians."""

    numpy, machine = np.cos, "cos"

    def derivative(self, x: Any, y: Any) -> Any:
        return neg(sin(x))


@op
class Tan(Analytic):
    """Tangent of an angle in radians."""

    numpy, machine, domain = np.tan, "tan", Reals(-1.2, 1.2)

    def derivative(self, x: Any, y: Any) -> Any:
        return add(one_like(y), mul(y, y))


@op
class Arcsin(Analytic):
    """The angle in [-pi/2, pi/2] with this sine."""

    numpy, machine, domain = np.arcsin, "asin", UNIT

    def singular(self, x: Any) -> Any:
        return np.abs(x) == 1

    def derivative(self, x: Any, y: Any) -> Any:
        return rsqrt(one_minus_square(x))


@op
class Arccos(Analytic):
    """The angle in [0, pi] with this cosine."""

    numpy, machine, domain = np.arccos, "acos", UNIT

    def singular(self, x: Any) -> Any:
        return np.abs(x) == 1

    def derivative(self, x: Any, y: Any) -> Any:
        return neg(rsqrt(one_minus_square(x)))


@op
class Arctan(Analytic):
    """The angle in [-pi/2, pi/2] with this tangent."""

    numpy, machine = np.arctan, "atan"

    def derivative(self, x: Any, y: Any) -> Any:
        return ArctanDerivative()(x)


@op
class ArctanDerivative(Unary):
    """1 / (1 + x^2), also where x^2 overflows; its derivative is -2 x y^2."""

    machine = "arctan_derivative"

    def impl(self, x: Any) -> Any:
        return np.reciprocal(1 + x * x) if np.iscomplexobj(x) else far_apart(x, lambda x: np.reciprocal(1 + x * x), lambda r: r * r)

    def derivative(self, x: Any, y: Any) -> Any:
        return mul(constant_like(-2, x), mul(mul(x, y), y))


@op
class Sinh(Analytic):
    """Hyperbolic sine."""

    numpy, machine = np.sinh, "sinh"

    def derivative(self, x: Any, y: Any) -> Any:
        return cosh(x)


@op
class Cosh(Analytic):
    """Hyperbolic cosine."""

    numpy, machine = np.cosh, "cosh"

    def derivative(self, x: Any, y: Any) -> Any:
        return sinh(x)


@op
class Tanh(Analytic):
    """Hyperbolic tangent."""

    numpy, machine = np.tanh, "tanh"

    def derivative(self, x: Any, y: Any) -> Any:
        return sub(one_like(y), mul(y, y))


@op
class Arcsinh(Analytic):
    """Inverse hyperbolic sine."""

    numpy, machine = np.arcsinh, "asinh"

    def derivative(self, x: Any, y: Any) -> Any:
        return ArcsinhDerivative()(x)


@op
class ArcsinhDerivative(Unary):
    """1 / sqrt(1 + x^2), also where x^2 overflows; its derivative is -x y^3."""

    machine = "arcsinh_derivative"

    def impl(self, x: Any) -> Any:
        return 1 / np.sqrt(1 + x * x) if np.iscomplexobj(x) else far_apart(x, lambda x: np.reciprocal(np.sqrt(1 + x * x)), lambda r: r)

    def derivative(self, x: Any, y: Any) -> Any:
        return neg(mul(mul(mul(x, y), y), y))


def far_apart(x: Any, near: Callable[[Any], Any], far: Callable[[Any], Any]) -> Any:
    """``near(x)``; where x^2 nearly overflows, and 1 is negligible beside it, ``far(1 / |x|)``."""
    with np.errstate(over="ignore"):
        y = near(x)
    y = np.asarray(y)
    large = np.abs(x) > largest_square(y.dtype)
    if not np.count_nonzero(large):
        return y[()]
    return np.where(large, far(np.reciprocal(np.where(large, np.abs(x), np.ones_like(y)))), y)[()]


def largest_square(dtype: np.dtype[Any]) -> Any:
    """Half of the largest number whose square does not overflow."""
    return np.asarray(math.sqrt(np.finfo(dtype).max) / 2, dtype)[()]


@op
class OneMinusSquare(Unary):
    """(1 - x)(1 + x), accurate near one; its derivative -2x is accurate near zero."""

    machine = "one_minus_square"
    numpy = staticmethod(lambda x: np.multiply(np.subtract(1, x), np.add(1, x)))

    def element(self, e: Any, i: Any, *readers: Any) -> Any:
        x, one = readers[0](i), e.constant(1, readers[0].dtype)
        return e.math("mul", e.math("sub", one, x), e.math("add", one, x))

    def derivative(self, x: Any, y: Any) -> Any:
        return mul(constant_like(-2, x), x)

    def formula(self, x: Formula) -> Formula:
        return Number(1) - x**2


@op
class Arccosh(Analytic):
    """Inverse hyperbolic cosine, for x >= 1."""

    numpy, machine, domain = np.arccosh, "acosh", ABOVE_ONE

    def singular(self, x: Any) -> Any:
        return x == 1

    def derivative(self, x: Any, y: Any) -> Any:
        # sqrt(x-1) sqrt(x+1), not sqrt(x^2-1): the same branch for complex x
        return mul(rsqrt(sub(x, one_like(x))), rsqrt(add(x, one_like(x))))


@op
class Arctanh(Analytic):
    """Inverse hyperbolic tangent, for -1 < x < 1."""

    numpy, machine, domain = np.arctanh, "atanh", UNIT

    def singular(self, x: Any) -> Any:
        return np.abs(x) == 1

    def derivative(self, x: Any, y: Any) -> Any:
        return div(one_like(x), one_minus_square(x))


@op
class Logistic(Analytic):
    """1 / (1 + e^-x), without overflow."""

    machine, takes = "logistic", "f"
    numpy = special_function("expit")

    def derivative(self, x: Any, y: Any) -> Any:
        return LogisticDerivative()(x)


@op
class LogisticDerivative(Analytic):
    """e^-|x| / (1 + e^-|x|)^2, and not y (1 - y), which loses all digits where y is 1; its derivative is -y tanh(x / 2)."""

    machine, takes = "logistic_derivative", "f"

    def impl(self, x: Any) -> Any:
        e = np.abs(x)
        if type(e) is not np.ndarray:
            e = np.exp(-e)
            return e / (1 + e) ** 2
        np.exp(np.negative(e, e), e)
        w = e + 1
        np.multiply(w, w, w)
        return np.divide(e, w, e)

    def derivative(self, x: Any, y: Any) -> Any:
        return neg(mul(y, tanh(mul(constant_like(0.5, x), x))))


@op
class Sinc(Analytic):
    """sin(pi x) / (pi x), 1 at 0.

    The derivatives satisfy one recursion, of which this op's own derivative is the first step; see `SincDerivative`.
    """

    machine, takes = "sinc", "f"
    numpy = staticmethod(np.sinc)

    def derivative(self, x: Any, y: Any) -> Any:
        return SincDerivative(1)(x)


def sinc_derivative(n: int, x: Any) -> Any:
    """The n-th derivative of sin(u)/u at u = pi x, times pi^n.

    With S_n(u) the n-th derivative, u S_n + n S_{n-1} = sin(u + n pi/2) (differentiate u S_0 = sin u n times). Upward recursion loses
    accuracy for small u, where the Taylor series S_n(u) = sum_k (-1)^k u^(2k-n) (2k)!/((2k+1)! (2k-n)!) is used.
    """
    u = np.pi * np.asarray(x)
    dtype = u.dtype
    u = u.astype(np.float64)
    small = np.abs(u) < 2.0 + n
    with np.errstate(all="ignore"):
        s = np.sinc(u / np.pi)
        for k in range(1, n + 1):
            s = (np.sin(u + k * np.pi / 2) - k * s) / u
    v = np.where(small, u, 0.0)
    series = np.zeros_like(v)
    for k in range((n + 1) // 2, (n + 1) // 2 + 24):
        series = series + (-1) ** k / ((2 * k + 1) * math.factorial(2 * k - n)) * v ** (2 * k - n)
    y = (np.where(small, series, s) * np.pi**n).astype(dtype)
    return y if y.ndim else y[()]


@op
class SincDerivative(Analytic):
    """The n-th derivative of `Sinc`."""

    order: int
    takes, machine = "f", "sinc_derivative"

    def impl(self, x: Any) -> Any:
        return sinc_derivative(self.order, x)

    def element(self, e: Any, i: Any, *readers: Any) -> Any:
        return e.math(self.machine, readers[0](i), self.order)

    def derivative(self, x: Any, y: Any) -> Any:
        return SincDerivative(self.order + 1)(x)

    @classmethod
    def examples(cls) -> Any:
        for order in (1, 2, 3):
            yield cls(order), (np.array([-2.3, -0.4, 0.0, 1e-3, 0.9, 4.2]),)
        yield cls(1), (np.array(0.3),)
        yield cls(1), (np.zeros(0),)


@op
class Power(Elementwise):
    """x to the power y, elementwise: d = y x^(y-1) dx + x^y log(x) dy.

    The factor y is a strong zero, so x^0 is constant at x = 0 too; where the base is 0, the derivative in the exponent is 0.
    """

    sign = "**"
    costly = True
    arity, takes, machine, keeps_weak = 2, "iufc", "pow", True
    numpy = like_python(np.power)
    domain = (Reals(0.3, 3.0), Reals())

    def fails_on(self, *types: Any) -> Sequence[int]:
        return (1,) if types[1].dtype.kind == "i" else ()  # negative integers

    def singular(self, x: Any, y: Any) -> Any:
        # In x: infinite for 0 < y < 1 and y < 0; x^1.5 has a one-sided derivative. In y: 0^y jumps at y = 0.
        return (x == 0) & (np.real(y) < 1) & (y != 0), (x == 0) & (np.real(y) <= 0)

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> Any:
        """The routine for signed integers, whose negative exponents raise."""
        (x, n), (y,), e = operands, results, w.emitter
        if n.dtype.kind != "i":
            return NotImplemented
        if 0 in y.shape:  # an exponent without a base is not checked
            return None
        unsigned, none, least = np.dtype(f"u{n.dtype.itemsize}"), e.constant(0, n.dtype), w.variable(e.constant(0, n.dtype))

        def smallest(i: Sequence[Any]) -> None:
            least[()] = e.math("minimum", least[()], n(i))

        def element(i: Sequence[Any]) -> Any:
            powers = [e.cast(v(i if v.shape else ()), unsigned) for v in (x, n)]
            return e.cast(e.math("pow", *powers), n.dtype)

        w.outlined(lambda: w.every(n.shape, smallest))
        w.fail(e.math("lt", least[()], none), ValueError, NEGATIVE_POWER)
        w.fill(y, element)
        return None

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        x, n = (fill_shape(v, y) for v in operands)
        none = equal(x, zero_like(x))
        if k == 0:
            constant = bitwise_and(none, equal(n, zero_like(n)))  # where x^(n-1) is infinite, to be multiplied by n = 0
            return scale(select(constant, zero_like(n), n), power(select(constant, one_like(x), x), sub(n, one_like(n))))
        return scale(log(select(none, one_like(x), x)), y)


@op
class Arctan2(Elementwise):
    """The angle of the point (x, y), operands in the order y, x: d = (x dy - y dx) / (x^2 + y^2); zero at the origin and at infinity."""

    costly = True
    arity, takes, machine = 2, "f", "atan2"
    numpy = np.arctan2
    domain = (Reals(0.3, 3.0), Reals(-2.0, 2.0))

    def singular(self, y: Any, x: Any) -> Any:
        return (x == 0) & (y == 0)

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        d = Inversion(1 - k)(*operands)
        return d if k == 0 else neg(d)


@op
class Inversion(Elementwise):
    """x (``k`` = 0) or y (1) over x^2 + y^2: the point (x, y) inverted in the unit circle; zero at the origin and at infinity.

    With u and v the two coordinates, du = (v^2 - u^2) dx - 2 u v dy.
    """

    k: int
    arity, takes = 2, "f"
    domain: ClassVar[Any] = (Reals(0.3, 3.0), Reals(-2.0, 2.0))

    def singular(self, x: Any, y: Any) -> Any:
        return (x == 0) & (y == 0)

    def impl(self, x: Any, y: Any) -> Any:
        dtype = type_of(x).dtype
        limits, own = np.finfo(dtype), np.asarray((x, y)[self.k], dtype)
        square = np.asarray(x * x + y * y, dtype)
        if square.size and square.min() > limits.tiny / limits.eps and square.max() < limits.max:
            return np.divide(own, square)
        r = np.hypot(x, y)  # the square may overflow or underflow where x / r / r does not
        none = (r == 0) | np.isinf(r)
        r = np.where(none, np.ones_like(r), r)
        return np.divide(np.divide(np.where(none, np.zeros_like(r), own), r), r)

    def element(self, e: Any, i: Any, *readers: Any) -> Any:
        x, y = [read(i if read.shape else ()) for read in readers]
        zero, one = (e.constant(number, readers[0].dtype) for number in (0, 1))
        r = e.math("hypot", x, y)
        none = e.math("or", e.math("eq", r, zero), e.math("isinf", r))
        r = e.math("select", none, r, one)
        return e.math("div", e.math("div", e.math("select", none, (x, y)[self.k], zero), r), r)

    def written_out(self, x: Any, y: Any) -> Sequence[Any]:  # type: ignore[override]
        """As in ``element``, so that both coordinates share what they have in common."""
        if type_of(x).dtype == np.float16:
            raise NotImplementedError  # one operation in single precision, rounded once
        r = hypot(x, y)
        none = bitwise_or(equal(r, zero_like(r)), isinf(r))
        safe = select(none, one_like(r), r)
        return [div(div(select(none, zero_like(r), fill_shape((x, y)[self.k], r)), safe), safe)]

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        v = Inversion(1 - self.k)(*operands)
        return mul(sub(v, y), add(v, y)) if k == self.k else mul(constant_like(-2.0, y), mul(y, v))

    def formula(self, x: Formula, y: Formula) -> Formula:
        return (x, y)[self.k] / (x**2 + y**2)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for k in (0, 1):
            for shapes in (((), ()), ((3,), (3,)), ((2, 3), (2, 3)), ((0,), (0,)), ((), (3,)), ((3,), ())):
                yield cls(k), tuple(d.sample(rng, shape) for d, shape in zip(cls.domain, shapes, strict=True))


@op
class Hypot(Elementwise):
    """sqrt(x^2 + y^2) without overflow: d = (x dx + y dy) / h; zero at the origin."""

    arity, takes, machine = 2, "f", "hypot"
    numpy = np.hypot
    domain = (Reals(0.3, 3.0), Reals(-2.0, 2.0))

    def singular(self, x: Any, y: Any) -> Any:
        return (x == 0) & (y == 0)

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        return Direction()(operands[k], operands[1 - k])


@op
class Direction(Elementwise):
    """x / h with h = hypot(x, y), the cosine of an angle; zero at the origin. With c = x/h and s = y/h, dc = s^2/h dx - c s/h dy.

    As a quotient of x and h, its derivative 1/h - x^2/h^3 would cancel where y is small.
    """

    arity, takes, machine = 2, "f", "direction"
    domain = (Reals(0.3, 3.0), Reals(-2.0, 2.0))

    def impl(self, x: Any, y: Any) -> Any:
        h = np.hypot(x, y)
        return x / np.where(h == 0, np.ones_like(h), h)

    def element(self, e: Any, i: Any, *readers: Any) -> Any:
        x, y = [r(i if r.shape else ()) for r in readers]
        h, dtype = e.math("hypot", x, y), readers[0].dtype
        return e.math("div", x, e.math("select", e.math("eq", h, e.constant(0, dtype)), h, e.constant(1, dtype)))

    def singular(self, x: Any, y: Any) -> Any:
        return (x == 0) & (y == 0)

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        h, s = hypot(*operands), self(*operands[::-1])
        part = mul(s, s) if k == 0 else neg(mul(y, s))
        return div(unless_zero(h, part, zero_like(h)), unless_zero(h, h, one_like(h)))

    def formula(self, x: Formula, y: Formula) -> Formula:
        return x / called("hypot", x, y)


@op
class Logaddexp(Elementwise):
    """log(e^x + e^y) without overflow: d = e^(x-z) dx + e^(y-z) dy; half of each where both are the same infinity."""

    costly = True
    arity, takes, machine = 2, "f", "logaddexp"
    numpy = np.logaddexp

    def singular(self, x: Any, y: Any) -> Any:
        return np.isinf(x) & (x == y)

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        return fill_shape(logistic(gap(operands[k], operands[1 - k])), y)


@op
class Gap(Elementwise):
    """The difference x - y; 0 where both are the same infinity, and so are its derivatives there."""

    arity, takes = 2, "f"

    def impl(self, x: Any, y: Any) -> Any:
        with np.errstate(invalid="ignore"):  # of two infinities
            d = np.subtract(x, y)
        undefined = has_nan(d) if isinstance(d, np.ndarray) else d != d
        return np.where(x == y, np.zeros((), d.dtype), d)[()] if undefined else d

    def element(self, e: Any, i: Sequence[Any], *readers: Reader) -> Any:
        x, y = (r(i if r.shape else ()) for r in readers)
        return e.math("select", e.math("eq", x, y), e.math("sub", x, y), e.constant(0.0, readers[0].dtype))

    def singular(self, x: Any, y: Any) -> Any:
        return np.isinf(x) & (x == y)

    def derivative(self, k: int, y: Any, *operands: Any) -> Any:
        x = operands[0]
        one = select(bitwise_and(equal(*operands), isinf(x)), zero_like(y), fill_shape(one_like(y), y))
        return neg(one) if k else one


def unless_zero(r: Any, x: Any, instead: Any) -> Any:
    """``x`` in the shape of ``r``, and ``instead`` where ``r`` is zero."""
    return select(equal(r, zero_like(r)), instead, fill_shape(x, r))


exp, exp2, expm1, log, log2, log10, log1p = Exp(), Exp2(), Expm1(), Log(), Log2(), Log10(), Log1p()
sqrt, norm_sqrt, rsqrt, cbrt, power = Sqrt(), NormSqrt(), Rsqrt(), Cbrt(), Power()
inverse_or_zero, inverse_or_infinity = InverseOr(0.0), InverseOr(math.inf)
sin, cos, tan, arcsin, arccos, arctan, arctan2 = Sin(), Cos(), Tan(), Arcsin(), Arccos(), Arctan(), Arctan2()
sinh, cosh, tanh, arcsinh, arccosh, arctanh = Sinh(), Cosh(), Tanh(), Arcsinh(), Arccosh(), Arctanh()
one_minus_square = OneMinusSquare()
logistic, sinc, hypot, direction, logaddexp, gap = Logistic(), Sinc(), Hypot(), Direction(), Logaddexp(), Gap()
