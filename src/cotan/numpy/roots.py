"""Square roots that reference their radicand, and functions of them that carry their Taylor series.

``norm(x) ** 2`` and ``cos(norm(x))`` are smooth at 0, and norm(x) is not: the chain rule alone would lose their second derivatives there.
So a traced norm, magnitude, deviation or square root references its radicand, and its even powers are computed from the radicand. An
elementwise function of the root has a *germ*: the first coefficients of its Taylor series in the root at 0. If the linear coefficient is
zero, the value is smooth at 0, and gets the derivatives of the series (`ops.even`). A traced factor is stored separately, so that the
coefficients stay numbers. After a sum with another traced value a coefficient is traced; then each element is treated by its own linear
coefficient. A germ never changes a value: if the shapes or dtypes of its parts do not fit, it is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, NamedTuple

import numpy as np

from ..core.tracing import EVAL, Tracer, running, type_of
from ..ops import arithmetic, logic, ordering, transcendental
from ..ops.arithmetic import constant_like, zero_like
from ..ops.casting import imag, real
from ..ops.even import even, nearness
from ..ops.families import Analytic, add, fill_shape
from ..transforms.batch import BatchTrace
from ..transforms.jvp import JVPTrace, jvp_flat
from . import promotion
from .promotion import convert_to, shape_of
from .sameness import same

__all__ = [
    "after_binary", "after_unary", "converted", "even_power", "germ_of", "magnitude", "moves", "product", "rooted", "spread_to",
    "square_root", "strong", "two_norm",
]  # fmt: skip

ORDER = 4
ROOT = (0.0, 1.0, 0.0, 0.0, 0.0)
Series = tuple[Any, ...]


class Multiple(NamedTuple):
    """A root that is ``number`` times ``value`` times another root, which is not itself a multiple."""

    root: Any
    square: Callable[[], Any]
    number: float = 1.0
    value: Any = 1.0


class Germ(NamedTuple):
    """The Taylor series of a function of a root near its zero: ``series`` has the coefficients of powers of ``root``, up to `ORDER`."""

    root: Any
    """None for the root itself, to avoid a reference cycle."""
    square: Callable[[], Any]
    """Returns the square of the root."""
    series: Series
    matters: bool
    """Whether second derivatives may be taken at or near the zero."""
    scale: float = 1.0
    """The factor of the root in a function of it: the series holds that much nearer to the zero."""
    made_of: Multiple | None = None
    """The root as a multiple of another one by a traced value, if it is one."""
    smooth: bool = False
    """Whether its derivatives are right at the zero already."""
    factor: Any = 1.0
    """The factor of the series: an array or a traced value, or the number 1."""
    reach: Any = None
    """The value that must be near zero for the series to hold, if not only the root."""

    @property
    def pure(self) -> bool:
        """Whether the function is a number times the root."""
        if not all(map(is_number, (self.factor, *self.series))):
            return False
        return self.series[1] != 0.0 and not any(c for k, c in enumerate(self.series) if k != 1)

    @property
    def values(self) -> list[Any]:
        """The parts of the germ that are arrays or traced, without the roots."""
        return [c for c in (*self.series, self.factor, self.reach) if c is not None and not is_number(c)]

    def mapped(self, change: Callable[[Any], Any]) -> Germ:
        """The germ with ``change`` applied to all its values and roots."""
        return self._replace(
            root=None if self.root is None else change(self.root),
            square=lambda: change(self.square()),
            series=tuple(c if is_number(c) else change(c) for c in self.series),
            factor=self.factor if is_number(self.factor) else change(self.factor),
            reach=None if self.reach is None else change(self.reach),
            made_of=None,
        )


def is_number(c: Any) -> bool:
    """Whether a coefficient is a known number, equal for all elements."""
    return type(c) is float


def germ_of(x: Any) -> Germ | None:
    """The germ of ``x`` as a function of a root; None if it has none."""
    return x.germ if type(x) is Tracer else None


def rooted(y: Any, square: Callable[[], Any]) -> Any:
    """``y``, a root; ``square()`` computes its radicand, only if it is needed."""
    if type(y) is Tracer:
        y.germ = Germ(None, square, ROOT, matters(y))
    return y


def matters(r: Any) -> bool:
    """Whether the root is differentiated twice or is not known yet, and is zero or near zero."""
    order = 0
    while type(r) is Tracer:
        if isinstance(r.owner, JVPTrace):
            order, r = order + 1, r.payload[0]
        elif isinstance(r.owner, BatchTrace):
            r = r.payload
        else:
            return type_of(r).dtype.kind == "f"
    if order < 2:  # most often
        return False
    dtype = type_of(r).dtype
    return dtype.kind == "f" and bool(np.any(np.abs(r) < nearness(dtype)))


def even_power(y: Any, n: int) -> Any | None:
    """``y ** n`` for an even n >= 2, if ``y`` is a known root or a number times one; else None."""
    germ = germ_of(y)
    if germ is None or n < 2 or n % 2 or not germ.pure or not 1e-8 <= abs(germ.series[1]) <= 1e8:
        return None
    s, c = germ.square(), germ.series[1]
    power = s if n == 2 else even_power(s, n // 2)
    power = arithmetic.integer_pow(s, n // 2) if power is None else power
    if c != 1.0:
        power = multiplied(c**n, power)
    power = power if type_of(y).weak else strong(power)
    if type_of(power) != type_of(y):
        return None
    if germ.matters and type(power) is Tracer and power is not s:
        power.germ = based(y, germ)._replace(series=tuple(c**n if k == n else 0.0 for k in range(ORDER + 1)), smooth=True, made_of=None)
    return power


def square_root(x: Any) -> Any:
    """The square root; its square is x where x >= 0."""

    def square() -> Any:
        germ = germ_of(x)
        if type_of(x).dtype.kind == "c" or (germ is not None and germ.root is None and germ.made_of is None):
            return x  # a root itself is not negative
        return logic.select(logic.less(x, zero_like(x)), fill_shape(type_of(x).dtype.type(np.nan), x), x)

    return rooted(transcendental.sqrt(x), square)


def magnitude(x: Any) -> Any:
    """The magnitude; its square is x x, or the sum of the squares of the parts."""

    def square() -> Any:
        if type_of(x).dtype.kind != "c":
            return product(x, x)
        a, b = real(x), imag(x)
        return add(arithmetic.mul(a, a), arithmetic.mul(b, b))

    return rooted(ordering.abs_(x), square)


def two_norm(x: Any, y: Any) -> Any:
    """hypot; its square is x x + y y. With a nonzero number as an operand it has no germ."""
    z = transcendental.hypot(x, y)
    if any(type(v) is not Tracer and np.ndim(v) == 0 and v for v in (x, y)):
        return z
    return rooted(z, lambda: add(product(x, x), product(y, y)))


def product(x: Any, y: Any) -> Any:
    """The product; the product of a root with itself is its radicand."""
    if x is y:
        known = even_power(x, 2)
        if known is not None:
            return known
    return arithmetic.mul(x, y)


product.keeps_weak = arithmetic.mul.keeps_weak  # type: ignore[attr-defined]


# ---- germs -----------------------------------------------------------------------------------------------------------------
HELD = (arithmetic.div, transcendental.power, transcendental.logaddexp, transcendental.arctan2, two_norm)
"""Rules of two operands that are series in each operand, with a number for the other."""
SMOOTH = (Analytic, arithmetic.Neg, arithmetic.IntegerPow, transcendental.Sqrt, transcendental.Rsqrt)
"""Ops of one operand that equal their Taylor series wherever their derivatives are finite."""


def after_unary(rule: Any, x: Any, y: Any) -> Any:
    """``y``, the result of a rule on ``x``, which has a germ: with its own germ, or smooth."""
    germ = germ_of(x)
    if germ is None or not germ.matters or germ_of(y) is not None or type(y) is not Tracer:
        return y
    if rule is arithmetic.neg and not germ.pure:
        y.germ = based(x, germ)._replace(series=tuple(multiplied(-1.0, c) for c in germ.series))
        return y
    if not (isinstance(rule, SMOOTH) or getattr(rule, "smooth", False)) or not is_number(germ.factor):
        return y
    outer = taylor(rule, germ.series[0]) if is_number(germ.series[0]) else None
    return y if outer is None else settled(y, based(x, germ)._replace(series=composed(outer, germ.series)))


def based(x: Any, germ: Germ) -> Germ:
    """The germ with its root stored in it."""
    return germ if germ.root is not None else germ._replace(root=x)


def composed(outer: tuple[float, ...], series: Series) -> Series:
    """A series composed with another series, expanded at the constant of the latter; by Horner's rule."""
    inner: Series = (0.0, *series[1:])
    found: Series = (0.0,) * (ORDER + 1)
    for c in reversed(outer):
        found = times(found, inner)
        found = (total([c, found[0]]), *found[1:])
    return found


@lru_cache(maxsize=1024)
def taylor(rule: Any, at: float) -> tuple[float, ...] | None:
    """The coefficients of the Taylor series of a function of one number; None if one is infinite."""

    def derivative(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def slope(x: Any) -> Any:
            (dy,) = jvp_flat(lambda v: [f(v)], [x], [np.float64(1)])[1]
            return np.float64(0) if dy is None else dy

        return slope

    found, f = [], rule
    with running(EVAL), np.errstate(all="ignore"):
        for k in range(ORDER + 1):
            found.append(float(f(np.float64(at))) / math.factorial(k))
            f = derivative(f)
    return tuple(found) if all(map(math.isfinite, found)) else None


@lru_cache(maxsize=1024)
def with_constant(rule: Any, constant: float, first: bool) -> Callable[[Any], Any]:
    """A rule of two operands with one of them fixed."""

    def held(v: Any) -> Any:
        return rule(np.float64(constant), v) if first else rule(v, np.float64(constant))

    held.smooth = True  # type: ignore[attr-defined]
    return held


def times(a: Series, b: Series) -> Series:
    """The product of two series."""
    return tuple(total([multiplied(a[j], b[k - j]) for j in range(k + 1)]) for k in range(ORDER + 1))


def total(terms: list[Any]) -> Any:
    kept = [t for t in terms if not (is_number(t) and t == 0.0)]
    result = kept[0] if kept else 0.0
    for t in kept[1:]:
        result = result + t if is_number(result) and is_number(t) else add(*alike(result, t))
    return result


def multiplied(a: Any, b: Any) -> Any:
    if is_number(a) and is_number(b):
        return a * b
    for one, other in ((a, b), (b, a)):
        if is_number(one) and one in (0.0, 1.0):
            return other if one else 0.0
    return arithmetic.mul(*alike(a, b))


def divided(a: Any, b: Any) -> Any:
    return a if is_number(b) and b == 1.0 else a / b if is_number(a) and is_number(b) else arithmetic.div(*alike(a, b))


def alike(a: Any, b: Any) -> tuple[Any, Any]:
    """Two coefficients, of which one may be a number, as operands of an op."""
    return (constant_like(a, b) if is_number(a) else a), (constant_like(b, a) if is_number(b) else b)


def number(w: Any) -> Any:
    """An operand without a germ as a coefficient: a float if it is a known number."""
    return w if type(w) is Tracer or np.ndim(w) else float(w)


def after_binary(rule: Any, x: Any, y: Any, z: Any) -> Any:
    """``z``, the result of a rule on two operands of which one has a germ: with its own germ, or smooth."""
    left, right = germ_of(x), germ_of(y)
    if type(z) is not Tracer or germ_of(z) is not None or not any(g is not None and g.matters for g in (left, right)):
        return z
    if type_of(z).dtype.kind != "f":
        return z
    if left is not None and right is not None:
        return of_two_germs(rule, based(x, left), based(y, right), z)
    if left is not None:
        return of_germ_and_value(rule, (x, left), number(y), z, True)
    assert right is not None
    return of_germ_and_value(rule, (y, right), number(x), z, False)


def of_germ_and_value(rule: Any, one: tuple[Any, Germ], w: Any, z: Any, first: bool) -> Any:
    """`after_binary` for one germ, which is the ``first`` operand or not, and another value. It changes no linear coefficient to zero."""
    v, germ = one[0], based(*one)
    if rule is product or (rule is arithmetic.div and first):
        if is_number(w):
            by = w if rule is product else 1.0 / w if w else math.inf
            return kept(z, germ._replace(series=tuple(multiplied(c, by) for c in germ.series)))
        if germ.pure:
            return another_root(germ, w, z, rule is not product)
        return kept(z, germ._replace(factor=multiplied(germ.factor, w) if rule is product else divided(germ.factor, w)))
    if rule is arithmetic.add or rule is arithmetic.sub:
        sign, w = (-1.0, w) if rule is arithmetic.sub and not first else (1.0, multiplied(-1.0, w) if rule is arithmetic.sub else w)
        c0, *others = expanded(germ).series
        return kept(z, germ._replace(series=(total([multiplied(sign, c0), w]), *(multiplied(sign, c) for c in others)), factor=1.0))
    if is_number(w) and rule in HELD:
        return after_unary(with_constant(rule, w, not first), v, z)
    return z


def expanded(germ: Germ) -> Germ:
    """The germ with its factor in the coefficients."""
    return germ._replace(series=tuple(multiplied(germ.factor, c) for c in germ.series), factor=1.0)


def made_of(germ: Germ) -> Multiple:
    return germ.made_of or Multiple(germ.root, germ.square)


def another_root(germ: Germ, w: Any, z: Any, by_division: bool) -> Any:
    """``z``, a root times ``w``, or divided by it: the root of its square."""
    c, base = germ.series[1], made_of(germ)

    def square() -> Any:
        s, by = germ.square(), arithmetic.mul(w, w)
        s = multiplied(c, multiplied(c, s))
        return arithmetic.div(s, by) if by_division else arithmetic.mul(s, by)

    value = divided(base.value, w) if by_division else multiplied(base.value, w)
    return kept(z, Germ(z, square, ROOT, germ.matters, made_of=base._replace(number=base.number * c, value=value)))


def of_two_germs(rule: Any, left: Germ, right: Germ, z: Any) -> Any:
    """`after_binary` for two germs; germs of different roots have no common germ."""
    pair = in_one_root(left, right)
    if pair is None:
        return z
    left, right = pair
    reach = total([r for r in (left.reach, right.reach) if r is not None]) if left.reach is not right.reach else left.reach
    both = left._replace(scale=max(left.scale, right.scale), smooth=left.smooth and right.smooth, reach=None if is_number(reach) else reach)
    if rule is product:
        if left.pure and right.pure and left.series[1] == right.series[1] == 1.0:
            square = left.square()
            return square if type_of(square) == type_of(z) else z
        return settled(z, both._replace(series=times(left.series, right.series), factor=multiplied(left.factor, right.factor)))
    if rule is arithmetic.add or rule is arithmetic.sub:
        if not same(left.factor, right.factor):
            left, right, both = expanded(left), expanded(right), both._replace(factor=1.0)
        sign = -1.0 if rule is arithmetic.sub else 1.0
        series = tuple(total([a, multiplied(sign, b)]) for a, b in zip(left.series, right.series, strict=True))
        return settled(z, both._replace(series=series))
    if rule is arithmetic.div and is_number(right.series[0]) and right.series[0] != 0:
        inverse = taylor(with_constant(arithmetic.div, 1.0, True), right.series[0])
        if inverse is not None:
            series = times(left.series, composed(inverse, right.series))
            return settled(z, both._replace(series=series, factor=divided(left.factor, right.factor)))
    series = by_composition(rule, left, right)
    return z if series is None else settled(z, both._replace(series=series))


def by_composition(rule: Any, left: Germ, right: Germ) -> Series | None:
    """The series of x^y = exp(y log x), or of log(e^x + e^y) = x + log(1 + e^(y - x)), if their constants are numbers."""
    a, b = left.series, right.series
    if not all(map(is_number, (left.factor, right.factor, a[0], b[0]))):
        return None
    if rule is transcendental.power and a[0] > 0:
        inner = taylor(transcendental.log, a[0])
        exponent = None if inner is None else times(b, composed(inner, a))
        outer = None if exponent is None else taylor(transcendental.exp, exponent[0])
        return None if outer is None or exponent is None else composed(outer, exponent)
    if rule is transcendental.logaddexp:
        gap = tuple(total([y, multiplied(-1.0, x)]) for x, y in zip(a, b, strict=True))
        outer = taylor(with_constant(transcendental.logaddexp, 0.0, True), gap[0])
        return None if outer is None else tuple(total([x, y]) for x, y in zip(a, composed(outer, gap), strict=True))
    return None


def in_one_root(left: Germ, right: Germ) -> tuple[Germ, Germ] | None:
    """Two germs as functions of one root; None if their roots are not known multiples of one root."""
    if same(left.root, right.root):
        return left, right
    a, b = made_of(left), made_of(right)
    if not same(a.root, b.root) or not a.number or not b.number:
        return None
    ratio = b.number / a.number
    if same(a.value, b.value):
        return left, right._replace(series=stretched(right.series, ratio))
    if left.pure and is_number(b.value):
        one = left._replace(series=stretched(left.series, 1.0 / ratio), factor=multiplied(a.value, 1.0 / b.value))
        return one._replace(root=right.root, square=right.square, made_of=right.made_of, scale=right.scale), right
    if right.pure and is_number(a.value):
        return left, right._replace(series=stretched(right.series, ratio), factor=multiplied(b.value, 1.0 / a.value))
    # Not by division by a value, which may be zero: both become functions of the root of which theirs are multiples.
    reach = total([ordering.abs_(r) for r in (a.root, left.root, right.root)])
    return in_base(left, a, reach), in_base(right, b, reach)


def in_base(germ: Germ, multiple: Multiple, reach: Any) -> Germ:
    """The germ as a function of the root of which its own root is a multiple, where ``reach`` is near zero."""
    series = stretched(germ.series, multiplied(multiple.number, multiple.value))
    return germ._replace(root=multiple.root, square=multiple.square, series=series, made_of=None, reach=reach)


def stretched(series: Series, ratio: Any) -> Series:
    """The series in a root of which the root of this series is a multiple."""
    found, power = [], 1.0
    for c in series:
        found.append(multiplied(c, power))
        power = multiplied(power, ratio)
    return tuple(found)


def kept(z: Any, germ: Germ) -> Any:
    """``z`` with this germ, if its parts are numbers, or fit the elements of ``z``."""
    t = type_of(z)
    largest = float(np.finfo(t.dtype).max)
    if all(abs(c) <= largest for c in germ.series if is_number(c)) and all(
        v.dtype == t.dtype and v.shape in ((), t.shape) for v in map(type_of, (germ.root, *germ.values))
    ):
        z.germ = germ._replace(root=None) if germ.root is z else germ
    return z


def settled(z: Any, germ: Germ) -> Any:
    """``z`` with this germ: smooth if the linear coefficient is zero. The value is unchanged."""
    series, values = germ.series, germ.values
    numbers = [abs(c) if is_number(c) else 0.0 for c in series]
    pure = is_number(series[1]) and not any(numbers[2:])
    germ = germ._replace(scale=max(numbers[1], 1e-300) if pure else scale_of(germ, numbers))
    z = kept(z, germ)
    known = all(map(is_number, series[1:]))
    if germ_of(z) is None or germ.smooth:
        return z
    if is_number(series[1]) and (numbers[1] > 1e-12 * max(numbers) or (known and not numbers[2] and not numbers[4])):
        return z
    r, s = germ.root, germ.square()
    if not values:
        y = even(z, r, s, series[2:], germ.scale)
    else:
        rest = total([series[2], multiplied(series[4], s)])
        cube = 0.0 if is_number(series[3]) and series[3] == 0.0 else even(arithmetic.mul(r, s), r, s, (0.0, 1.0, 0.0), germ.scale)
        terms = total([series[0], multiplied(series[1], r), multiplied(rest, s), multiplied(series[3], cube)])
        near = r if germ.reach is None else germ.reach
        near = near if is_number(series[1]) else where_small(series[1], r, near, germ.scale)
        y = even(z, near, multiplied(germ.factor, terms), (1.0, 0.0, 0.0), germ.scale)
    if type_of(y) != type_of(z):
        return z
    if type(y) is Tracer:
        y.germ = germ._replace(smooth=is_number(series[1]))
    return y


def where_small(c1: Any, r: Any, near: Any, scale: float) -> Any:
    """``near``, but infinite where the linear coefficient exceeds rounding errors and a multiple of the root."""
    eps = 8 * float(np.finfo(type_of(r).dtype).eps)
    steep = min(16 * max(scale, 1.0) * max(scale, 1.0), float(np.finfo(type_of(r).dtype).max))
    small = total([multiplied(steep, ordering.abs_(r)), eps])
    far = constant_like(math.inf, r)
    y = logic.less_equal(ordering.abs_(c1), small)
    return logic.select(y, fill_shape(near, y), far if not type_of(y).shape else fill_shape(far, y))


def scale_of(germ: Germ, numbers: list[float]) -> float:
    """The scale of a function, from the scales of its parts and from its series: the square root of c4 / c2."""
    even_part = math.sqrt(numbers[4] / numbers[2]) if numbers[2] > 1e-12 * max(numbers) else 0.0
    return max(germ.scale, even_part)


def moves(definition: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function that moves elements of its first operand: their germ moves with them."""

    @wraps(definition)
    def call(x: Any, *args: Any) -> Any:
        y = definition(x, *args)
        if type(x) is not Tracer or x.germ is None:
            return y
        if type(y) is Tracer and germ_of(y) is None:
            shape = shape_of(x)
            move = lambda v: definition(v, *args) if shape_of(v) == shape else v  # noqa: E731
            return kept(y, moved(y, x.germ, move))
        return y

    return call


def moved(y: Any, germ: Germ, move: Callable[[Any], Any]) -> Germ:
    """The germ of ``y``, a moved or converted value with this germ."""
    found, base = based(y, germ.mapped(move)), germ.made_of
    if base is None:
        return found
    value = base.value if is_number(base.value) else move(base.value)
    return found._replace(made_of=base._replace(root=move(base.root), square=lambda: move(base.square()), value=value))


def converted(x: Any, dtype: Any, y: Any) -> Any:
    """``y``, which is ``x`` in another dtype: with the germ of ``x``, if both are real."""
    germ = germ_of(x)
    if germ is not None and type(y) is Tracer and dtype.kind == "f" and type_of(x).dtype.kind == "f":
        return kept(y, moved(y, germ, lambda v: convert_to(v, dtype)))
    return y


def strong(x: Any) -> Any:
    """`promotion.strong`, which keeps the germ of ``x``."""
    y = promotion.strong(x)
    return y if y is x or germ_of(x) is None else converted(x, type_of(y).dtype, y)


spread_to = moves(promotion.spread_to)
