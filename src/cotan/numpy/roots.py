"""Square roots that remember what they are the root of, and functions of them that remember their series.

``norm(x) ** 2`` and ``cos(norm(x))`` are smooth at 0, and norm(x) is not: by the chain rule alone their second derivatives there would be
lost. So a traced norm, magnitude, deviation or square root keeps its radicand at hand, and its even powers are computed from that. What is
computed from the root elementwise has a *germ*: the first coefficients of its Taylor series in the root at 0. Where the linear one is zero,
the value is smooth at 0, and gets the derivatives of the series (`ops.even`). A coefficient is a number, or, after a sum with another
traced value, traced itself; then each element decides by its linear one.
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
from ..ops.even import even, near_zero, nearness
from ..ops.families import Analytic, add, fill_shape
from ..transforms.batch import BatchTrace
from ..transforms.jvp import JVPTrace, jvp_flat
from . import promotion
from .promotion import convert_to
from .sameness import same

__all__ = [
    "after_binary", "after_unary", "converted", "even_power", "germ_of", "magnitude", "moves", "product", "rooted", "spread_to",
    "square_root", "two_norm",
]  # fmt: skip

ORDER = 4
ROOT = (0.0, 1.0, 0.0, 0.0, 0.0)
Series = tuple[Any, ...]


class Multiple(NamedTuple):
    """A root that is ``number`` times ``value`` times another root, or divided by the value."""

    root: Any
    square: Callable[[], Any]
    number: float
    value: Any
    divided: bool

    @property
    def factor(self) -> Any:
        return self.number / self.value if self.divided else multiplied(self.number, self.value)


class Germ(NamedTuple):
    """What is known of a function of a root near its zero: ``series`` are the coefficients of the powers of ``root``, up to `ORDER`."""

    root: Any
    """None for the root itself, which would hold itself otherwise."""
    square: Callable[[], Any]
    """Gives the square of the root."""
    series: Series
    matters: bool
    """Whether second derivatives may be taken at or near the zero."""
    scale: float = 1.0
    """By how much the root is multiplied before a function of it is taken: the series holds that much nearer to the zero."""
    made_of: Multiple | None = None
    """What the root is, if it is a multiple of another one by a traced value."""
    smooth: bool = False
    """Whether its derivatives are right at the zero already."""

    @property
    def pure(self) -> bool:
        """Whether it is a number times the root."""
        return type(self.series[1]) is float and all(type(c) is float and c == 0.0 for k, c in enumerate(self.series) if k != 1)


def germ_of(x: Any) -> Germ | None:
    """What is known of ``x`` as a function of a root; None if nothing is."""
    return x.germ if type(x) is Tracer else None


def rooted(y: Any, square: Callable[[], Any]) -> Any:
    """``y``, a root; ``square()`` is what it is the root of, computed only if it is asked for."""
    if type(y) is Tracer:
        y.germ = Germ(None, square, ROOT, matters(y))
    return y


def matters(r: Any) -> bool:
    """Whether the root is differentiated twice or is not known yet, and vanishes, or nearly so."""
    order, dtype = 0, type_of(r).dtype
    while type(r) is Tracer:
        if isinstance(r.owner, JVPTrace):
            order, r = order + 1, r.payload[0]
        elif isinstance(r.owner, BatchTrace):
            r = r.payload
        else:
            return dtype.kind == "f"
    return order > 1 and dtype.kind == "f" and bool(np.any(np.abs(r) < nearness(dtype)))


def even_power(y: Any, n: int) -> Any | None:
    """``y ** n`` for an even n >= 2, if ``y`` is a root that is known, or a number times one; else None."""
    germ = germ_of(y)
    if germ is None or n < 2 or n % 2 or not germ.pure:
        return None
    s, c = germ.square(), germ.series[1] ** n
    power = s if n == 2 else arithmetic.integer_pow(s, n // 2)
    power = power if c == 1.0 else arithmetic.mul(power, constant_like(c, power))
    if germ.matters and type(power) is Tracer and power is not s:
        power.germ = based(y, germ)._replace(series=tuple(c if k == n else 0.0 for k in range(ORDER + 1)), smooth=True, made_of=None)
    return power


def square_root(x: Any) -> Any:
    """The square root; its square is x where x >= 0."""

    def square() -> Any:
        if type_of(x).dtype.kind == "c":
            return x
        return logic.select(logic.less(x, zero_like(x)), fill_shape(type_of(x).dtype.type(np.nan), x), x)

    return rooted(transcendental.sqrt(x), square)


def magnitude(x: Any) -> Any:
    """The magnitude; its square is x x, or the sum of those of the parts."""

    def square() -> Any:
        if type_of(x).dtype.kind != "c":
            return arithmetic.mul(x, x)
        a, b = real(x), imag(x)
        return add(arithmetic.mul(a, a), arithmetic.mul(b, b))

    return rooted(ordering.abs_(x), square)


def two_norm(x: Any, y: Any) -> Any:
    """hypot; its square is x x + y y."""
    return rooted(transcendental.hypot(x, y), lambda: add(arithmetic.mul(x, x), arithmetic.mul(y, y)))


def product(x: Any, y: Any) -> Any:
    """The product; of a root with itself, what it is the root of."""
    if x is y:
        known = even_power(x, 2)
        if known is not None:
            return known
    return arithmetic.mul(x, y)


product.keeps_weak = arithmetic.mul.keeps_weak  # type: ignore[attr-defined]


# ---- germs -----------------------------------------------------------------------------------------------------------------
SMOOTH = (Analytic, arithmetic.Neg, arithmetic.IntegerPow, transcendental.Sqrt, transcendental.Rsqrt)
"""Ops of one operand that are their Taylor series wherever their derivatives are finite."""


def after_unary(rule: Any, x: Any, y: Any) -> Any:
    """``y``, the result of a rule on ``x``, which has a germ: with its own, or smooth."""
    germ = germ_of(x)
    if germ is None or not germ.matters or germ_of(y) is not None or type(y) is not Tracer:
        return y
    if not (isinstance(rule, SMOOTH) or getattr(rule, "smooth", False)) or type(germ.series[0]) is not float:
        return y
    outer = taylor(rule, germ.series[0])
    return y if outer is None else settled(y, based(x, germ), composed(outer, germ.series))


def based(x: Any, germ: Germ) -> Germ:
    """The germ with its root in it."""
    return germ if germ.root is not None else germ._replace(root=x)


def composed(outer: tuple[float, ...], series: Series) -> Series:
    """A series at the constant of another, of which it is taken; by Horner's rule."""
    inner: Series = (0.0, *series[1:])
    found: Series = (0.0,) * (ORDER + 1)
    for c in reversed(outer):
        found = times(found, inner)
        found = (total([c, found[0]]), *found[1:])
    return found


@lru_cache(maxsize=1024)
def taylor(rule: Any, at: float) -> tuple[float, ...] | None:
    """The coefficients of the Taylor series of a function of one number; None where one is infinite."""

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
    """A rule of two operands with one of them held."""

    def held(v: Any) -> Any:
        return rule(np.float64(constant), v) if first else rule(v, np.float64(constant))

    held.smooth = True  # type: ignore[attr-defined]
    return held


def times(a: Series, b: Series) -> Series:
    """The product of two series."""
    return tuple(total([multiplied(a[j], b[k - j]) for j in range(k + 1)]) for k in range(ORDER + 1))


def total(terms: list[Any]) -> Any:
    kept = [t for t in terms if not (type(t) is float and t == 0.0)]
    result = kept[0] if kept else 0.0
    for t in kept[1:]:
        result = result + t
    return result


def multiplied(a: Any, b: Any) -> Any:
    if type(a) is float and type(b) is float:
        return a * b
    return 0.0 if (type(a) is float and a == 0.0) or (type(b) is float and b == 0.0) else a * b


def number(w: Any) -> Any:
    """An operand without a germ as a coefficient: a float if it is a known number."""
    return w if type(w) is Tracer or np.ndim(w) else float(w)


def after_binary(rule: Any, x: Any, y: Any, z: Any) -> Any:
    """``z``, the result of a rule on two operands of which one has a germ: with its own, or smooth."""
    left, right = germ_of(x), germ_of(y)
    if type(z) is not Tracer or germ_of(z) is not None or not any(g is not None and g.matters for g in (left, right)):
        return z
    if left is not None and right is not None:
        return of_two_germs(rule, (x, left), (y, right), z)
    if left is not None:
        return of_germ_and_value(rule, (x, left), number(y), z, True)
    assert right is not None
    return of_germ_and_value(rule, (y, right), number(x), z, False)


def of_germ_and_value(rule: Any, one: tuple[Any, Germ], w: Any, z: Any, first: bool) -> Any:
    """`after_binary` of one germ, which is the ``first`` operand or not, and another value."""
    v, germ = one
    if germ.smooth and type(w) is not float:
        return z
    if rule is product or (rule is arithmetic.div and first):
        if type(w) is not float and germ.pure:
            return another_root(based(v, germ), w, z, rule is not product)
        factor = w if rule is product else 1.0 / w if type(w) is not float or w else 0.0
        return settled(z, based(v, germ), tuple(multiplied(c, factor) for c in germ.series))
    if rule is arithmetic.add or rule is arithmetic.sub:
        sign, w = (-1.0, w) if rule is arithmetic.sub and not first else (1.0, multiplied(-1.0, w) if rule is arithmetic.sub else w)
        series = tuple(multiplied(sign, c) for c in germ.series)
        return settled(z, based(v, germ), (total([series[0], w]), *series[1:]))
    if type(w) is float and rule in (arithmetic.div, transcendental.power, transcendental.logaddexp):
        return after_unary(with_constant(rule, w, not first), v, z)
    return z


def another_root(germ: Germ, w: Any, z: Any, divided: bool) -> Any:
    """``z``, a root times ``w``, or divided by it: the root of its square."""
    c = germ.series[1]

    def square() -> Any:
        s, factor = germ.square(), arithmetic.mul(w, w)
        s = s if c == 1.0 else arithmetic.mul(s, constant_like(c * c, s))
        return arithmetic.div(s, factor) if divided else arithmetic.mul(s, factor)

    z.germ = Germ(None, square, ROOT, germ.matters, made_of=Multiple(germ.root, germ.square, c, w, divided))
    return z


def of_two_germs(rule: Any, x: tuple[Any, Germ], y: tuple[Any, Germ], z: Any) -> Any:
    """`after_binary` of two germs; those of different roots have none in common."""
    left, right = based(*x), based(*y)
    if rule is product and left.pure and right.pure:
        roots = [(g.made_of.root, g.made_of.factor) if g.made_of else (g.root, 1.0) for g in (left, right)]
        if same(roots[0][0], roots[1][0]):
            factor = multiplied(*(multiplied(g.series[1], by) for g, (_, by) in zip((left, right), roots, strict=True)))
            square = left.made_of.square() if left.made_of else left.square()
            return arithmetic.mul(square, fill_shape(constant_like(factor, square) if type(factor) is float else factor, square))
    ratio = ratio_of(left, right)
    if ratio is None:
        return z
    right = right._replace(series=tuple(multiplied(c, ratio**k) for k, c in enumerate(right.series)))
    left = left._replace(scale=max(left.scale, right.scale), smooth=left.smooth and right.smooth)
    if rule is product:
        return settled(z, left, times(left.series, right.series))
    if rule is arithmetic.add or rule is arithmetic.sub:
        sign = -1.0 if rule is arithmetic.sub else 1.0
        return settled(z, left, tuple(total([a, multiplied(sign, b)]) for a, b in zip(left.series, right.series, strict=True)))
    if rule is arithmetic.div and type(right.series[0]) is float and right.series[0] != 0:
        inverse = taylor(with_constant(arithmetic.div, 1.0, True), right.series[0])
        return z if inverse is None else settled(z, left, times(left.series, composed(inverse, right.series)))
    return z


def ratio_of(left: Germ, right: Germ) -> float | None:
    """The number by which the root of one germ is that of another; None if they are not known to be such multiples."""
    if same(left.root, right.root):
        return 1.0
    a, b = left.made_of, right.made_of
    if a is None or b is None or a.divided != b.divided or not same(a.root, b.root) or not same(a.value, b.value):
        return None
    return b.number / a.number


def settled(z: Any, germ: Germ, series: Series) -> Any:
    """``z`` with this series in the root: smooth if the linear coefficient is zero, else with a germ of its own."""
    numbers = [abs(c) if type(c) is float else 0.0 for c in series]
    pure = type(series[1]) is float and not any(numbers[2:])
    germ = germ._replace(series=series, scale=max(numbers[1], 1e-300) if pure else scale_of(germ, numbers))
    floats = all(type(c) is float for c in series[1:])
    if germ.smooth or (type(series[1]) is float and (numbers[1] > 1e-12 * max(numbers) or (floats and not numbers[2] and not numbers[4]))):
        z.germ = germ
        return z
    dtype, r, s = type_of(z).dtype, germ.root, germ.square()
    if any(type_of(v).dtype != dtype for v in (r, s, *(c for c in series if type(c) is not float))):
        return z
    if floats:
        z = even(z, r, s, series[2:], germ.scale)
        if type(z) is Tracer:
            z.germ = germ._replace(smooth=True)
        return z
    c0, c1, c2, c3, c4 = (fill_shape(constant_like(c, s) if type(c) is float else c, z) for c in series)
    near, r, s = fill_shape(near_zero(r, germ.scale), z), fill_shape(r, z), fill_shape(s, z)
    rest = add(c2, add(arithmetic.mul(c3, r), arithmetic.mul(c4, s)))
    sum_of_terms = add(add(c0, arithmetic.mul(c1, r)), arithmetic.mul(rest, s))
    # The linear coefficient is itself a function of the point; if it vanishes with the root, it is nearly zero next to it.
    small = add(arithmetic.mul(constant_like(16 * max(germ.scale, 1.0) ** 2, r), ordering.abs_(r)), constant_like(1e-14, r))
    return logic.select(logic.bitwise_and(near, logic.less_equal(ordering.abs_(c1), small)), sum_of_terms, z)


def scale_of(germ: Germ, numbers: list[float]) -> float:
    """The scale of a function, from those of its parts and from its series: the square root of c4 / c2."""
    even_part = math.sqrt(numbers[4] / numbers[2]) if numbers[2] > 1e-12 * max(numbers) else 0.0
    return max(germ.scale, even_part)


def moves(definition: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function that gives elements of its first operand in other places: what is known of them goes with them."""

    @wraps(definition)
    def call(x: Any, *args: Any) -> Any:
        y = definition(x, *args)
        if type(x) is not Tracer or x.germ is None:
            return y
        germ = x.germ
        if type(y) is Tracer and germ_of(y) is None and all(type(c) is float for c in germ.series):
            root = None if germ.root is None else definition(germ.root, *args)
            y.germ = germ._replace(root=root, square=lambda: definition(germ.square(), *args), made_of=None)
        return y

    return call


def converted(x: Any, dtype: Any, y: Any) -> Any:
    """``y``, which is ``x`` in another dtype: with its germ, if both are real."""
    germ = germ_of(x)
    if germ is not None and type(y) is Tracer and dtype.kind == "f":
        known = None if germ.root is None else convert_to(germ.root, dtype)
        y.germ = germ._replace(root=known, square=lambda: convert_to(germ.square(), dtype), made_of=None)
    return y


spread_to = moves(promotion.spread_to)
