"""The limit of a computation, mostly of a derivative, at a matrix with equal eigenvalues or singular values.

There single vectors have no derivative, and its rule divides by zero. But a function that does not depend on their choice may have one,
V f(w) V^H for instance. Its derivative at a matrix is the limit of those at matrices nearby, whose values are distinct. The trace here
computes this limit exactly, by Laurent series: the values of each decomposition are split, w + t d with distinct numbers d, and every
further number is a series in t. A gap of equal values becomes (d_j - d_i) t, and its reciprocal a pole. Where the function does not depend
on the choice, the poles cancel, and the limit is the coefficient of t^0. Where they do not cancel there is no derivative.

Ops need no rules for this. An op that is linear is applied to each coefficient, one that is linear in each of two operands to pairs of
them, and the Taylor series of any other comes from nested jvp rules (Griewank & Walther 2008, "Evaluating Derivatives", chapter 13).

Values that are not quite equal are taken as equal, since the plain rule loses most digits there. The result is then continued to the given
values by a Taylor step, again with a jvp (`OffsetTrace`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..core.op import Op
from ..core.origin import here
from ..core.tracing import Trace, Tracer, running, type_of
from ..core.types import ArrayType
from ..ops.clusters import Splitting, Turn
from ..ops.creation import full
from ..ops.families import add, scale, zeros
from ..ops.gaps import InverseGap, Undetermined, tolerance
from .jvp import JVPTrace, jvp_flat

__all__ = ["LimitTrace", "NoLimit", "OffsetTrace", "OrderTooLow", "Series"]

CANCELLED = 1e5
"""A pole cancels if what is left of it is less than this many units of rounding of the largest one that was met, or of the limit."""


class NoLimit(Exception):  # noqa: N818 - it never reaches the user
    """The limit cannot be found."""


class OrderTooLow(NoLimit):
    """The series end before the power that is asked for."""


class Series(NamedTuple):
    """The terms of powers of t, from ``first`` on (None is zero), up to and with ``last``: what comes after it is not known. ``sizes``
    bound the terms as if nothing in them had cancelled.
    """

    first: int
    terms: Sequence[Any | None]
    last: float
    type: ArrayType
    sizes: Sequence[float]

    def __getitem__(self, power: int) -> Any | None:  # type: ignore[override]
        k = power - self.first
        return self.terms[k] if 0 <= k < len(self.terms) else None

    @property
    def end(self) -> int:
        """The power after that of the last term."""
        return self.first + len(self.terms)

    @classmethod
    def unknown(cls, t: ArrayType) -> Series:
        """A series of which nothing is known."""
        return cls(0, [full(t.shape, t.dtype.type(np.nan))], -math.inf, t, [0.0])

    @classmethod
    def of(cls, terms: Sequence[Any]) -> Series:
        """The series that has these terms, from t^0 on, and no others."""
        return cls(0, terms, math.inf, type_of(terms[0]), list(map(largest, terms)))

    def size(self, power: int) -> float:
        """The bound of the term of a power."""
        k = power - self.first
        return self.sizes[k] if 0 <= k < len(self.sizes) else 0.0

    def shifted(self, power: int) -> Series:
        """Multiplied by a power of t."""
        return self._replace(first=self.first + power, last=self.last + power)


def largest(x: Any | None) -> float:
    """The largest absolute value of a coefficient."""
    return 0.0 if x is None else float(np.abs(x).max(initial=0))


def coefficient(s: Series, power: int) -> Any:
    """The coefficient of a power of t."""
    found = s[power]
    return zeros(s.type) if found is None else found


class LimitTrace(Trace):
    """Computes with series in t up to the power ``order``. Its tracers hold a `Series`, other values are constants. Values are equal up to
    the tolerance for a derivative of order ``power``. Their vectors are those that were found, or ``turned`` at random (of a ``pair`` of
    equal values alone).
    """

    __slots__ = ("noise", "order", "origins", "pair", "parent", "power", "splittings", "turned")

    def __init__(self, parent: Trace, order: int, power: int, *, turned: bool = False, pair: Turn = None):
        super().__init__("limit", recording=False)
        self.parent, self.order, self.power, self.turned, self.pair = parent, order, power, turned, pair
        self.splittings: list[Splitting] = []
        """Those of the decompositions so far."""
        self.origins: list[str] = []
        """What each of them decomposes, and where."""
        self.noise = 0.0
        """What a limit may differ by, because of rounding."""

    def type_of(self, payload: Any) -> ArrayType:
        t: ArrayType = payload.type
        return t

    def value(self, payload: Any) -> Any | None:
        return coefficient(payload, 0) if payload.first >= 0 else None

    def concrete(self, tracer: Tracer, conversion: str) -> Any:
        return self.leading(tracer)

    def finite_part(self, x: Any) -> Any:
        """The coefficient of t^0."""
        return coefficient(x.payload, 0) if type(x) is Tracer and x.owner is self else x

    def leading(self, x: Any) -> Any:
        """The value at t = 0."""
        if type(x) is Tracer and x.owner is self and self.without_noise(x.payload).first < 0:
            raise NoLimit
        return self.finite_part(x)

    def has_cancelled(self, s: Series, power: int) -> Any:
        """Where the term of a negative power is but the rounding error of poles that have cancelled."""
        scale = max(s.size(power), largest(s[0]))
        return np.abs(coefficient(s, power)) <= CANCELLED * float(np.finfo(s.type.dtype).eps) * scale

    def without_noise(self, s: Series) -> Series:
        """The series without poles that have cancelled."""
        while s.first < 0 and np.all(self.has_cancelled(s, s.first)):
            s = s._replace(first=s.first + 1, terms=s.terms[1:], sizes=s.sizes[1:])
        return s

    def process(self, op: Op, operands: Sequence[Any]) -> Sequence[Any]:  # type: ignore[override]
        ours = [type(x) is Tracer and x.owner is self for x in operands]
        if op.splitting is not None:
            return self.decompose(op, operands)
        if op.holds_programs and op.expand is not None:
            with running(self.parent):
                run = op.chosen([self.finite_part(x) for x in operands]) if op.chosen is not None else op.expand
            if run is not None:
                with running(self):
                    return run(*operands)
        with running(self.parent):
            if not any(ours) and type(op) is not Undetermined:
                return self.parent.process(op, operands)
            if type(op) is InverseGap:
                return [self.made(self.inverse_gap(op, *operands))]
            if type(op) is Undetermined:
                (x,) = operands
                return [self.made(self.series(x).shifted(-1))]
            return list(map(self.made, self.apply(op, operands)))

    def made(self, s: Any) -> Any:
        """A tracer for a series; the constant if it is one."""
        if type(s) is not Series:
            return s
        while s.first < 0 and s.terms and not largest(s.terms[0]):
            s = s._replace(first=s.first + 1, terms=s.terms[1:], sizes=s.sizes[1:])
        return Tracer(self, s)

    def series(self, x: Any) -> Series:
        """The series of any value."""
        return x.payload if type(x) is Tracer and x.owner is self else Series.of([x])

    # ---- decompositions ------------------------------------------------------------------------------------------------
    def decompose(self, op: Op, operands: Sequence[Any]) -> Sequence[Any]:
        """The results of a decomposition, with equal values split. Where the matrix varies with t, this is left out: the limit is the same
        for all paths to it, since the derivatives before and after are continuous each.
        """
        assert op.splitting is not None
        last = min(self.series(x).last for x in operands)
        if -math.inf < last < 0:
            raise OrderTooLow
        with running(self.parent):
            results = list(self.parent.process(op, [self.leading(x) for x in operands]))
            if last < 0:
                return [self.made(Series.unknown(type_of(y))) for y in results]
            found = op.splitting(results, tolerance(np.finfo(results[0].dtype).dtype, self.power), self.turned, self.pair)
            if found is None:
                return results
        self.splittings.append(found)
        self.origins.append(f"{op.verb} of {type_of(operands[0]).long_name()}, {here()}")
        results[: len(found.results)] = found.results
        values = results[found.place]
        results[found.place] = self.made(Series.of([values, found.directions.astype(values.dtype)]))
        return results

    def inverse_gap(self, op: InverseGap, x: Any, w: Any) -> Series:
        """The series of the reciprocal: of x0 + x1 t + ..., and t^-1 times that of x1 + x2 t + ... where x0 is zero."""
        x, count = self.series(x), self.order + 1
        if x.first < 0:
            return Series.unknown(x.type)
        terms = [coefficient(x, k) for k in range(count + 1)]
        none = terms[0] == 0
        diagonal = np.broadcast_to(np.eye(none.shape[-1], dtype=bool), none.shape) if op.pairs else np.zeros(none.shape, bool)
        pole = none & ~diagonal
        if np.any(pole & (terms[1] == 0)):
            return Series.unknown(x.type)
        ones = [np.where(diagonal, 1, np.where(pole, after, here)) for here, after in pairwise(terms)]
        y = [1 / ones[0]]
        for k in range(1, count):
            y.append(-sum(ones[j] * y[k - j] for j in range(1, k + 1)) * y[0])
        last = min(self.order, x.last) - 1 if np.any(pole) else min(self.order, x.last)
        zero = np.zeros_like(y[0])
        apart = [np.where(pole | diagonal, 0, z) for z in y]
        close = [np.where(pole, z, 0) for z in y]
        found = [a + b for a, b in zip([zero, *apart], [*close, zero], strict=True)]
        inverse = Series(-1, found, last, x.type, list(map(largest, found)))
        return reduce(lambda a, b: self.product(scale, a, b, x.type), [inverse] * op.power)

    # ---- other ops --------------------------------------------------------------------------------------------------
    def apply(self, op: Op, operands: Sequence[Any]) -> Sequence[Any]:
        """The series of each result."""
        series = [x.payload if type(x) is Tracer and x.owner is self else None for x in operands]
        moving = sum(1 << k for k, s in enumerate(series) if s is not None)
        types = [type_of(x) for x in operands]
        result = op.type_rule(*types)
        kinds = result if op.multiple else [result]
        if not any(isinstance(t, ArrayType) and t.inexact for t in kinds):
            return self.parent.process(op, [self.leading(x) for x in operands])
        sets = op.linear_sets(len(operands))
        if any(moving & ~members == 0 and self.is_whole(members, operands) for members in sets):
            return self.linear(op, operands, series, kinds)
        alone = [k for k in range(len(operands)) if 1 << k in sets]
        active = [k for k, s in enumerate(series) if s is not None]
        if len(active) == 2 and not op.multiple and set(active) <= set(alone):
            first, second = active

            def both(x: Any, y: Any) -> Any:
                return op(*[x if k == first else y if k == second else z for k, z in enumerate(operands)])

            return [self.product(both, operands[first].payload, operands[second].payload, kinds[0])]
        return self.taylor(op, operands, series, kinds)

    def is_whole(self, members: int, operands: Sequence[Any]) -> bool:
        """Whether each of a set of operands, in which an op is linear jointly, is an array: one that is fixed is the term of t^0."""
        return all(isinstance(type_of(x), ArrayType) for k, x in enumerate(operands) if members >> k & 1)

    def linear(self, op: Op, operands: Sequence[Any], series: Sequence[Series | None], kinds: Sequence[Any]) -> Sequence[Any]:
        """Of an op that is linear in all series together: it is applied to the terms of each power."""
        (members, *_) = [m for m in op.linear_sets(len(operands)) if all(s is None or m >> k & 1 for k, s in enumerate(series))]
        given = [s for s in series if s is not None]
        first, end = min(s.first for s in given), max(s.end for s in given)
        fixed = any(s is None and members >> k & 1 for k, s in enumerate(series))
        if fixed:
            first, end = min(first, 0), max(end, 1)
        rows: list[Sequence[Any] | None] = []
        for power in range(first, end):
            parts: list[Any] = []
            for k, (x, s) in enumerate(zip(operands, series, strict=True)):
                parts.append(s[power] if s is not None else x if power == 0 or not members >> k & 1 else None)
            if all(parts[k] is None for k in range(len(parts)) if members >> k & 1):
                rows.append(None)
            else:
                filled = [zeros(type_of(x)) if part is None else part for x, part in zip(operands, parts, strict=True)]
                rows.append(self.parent.process(op, filled))
        last = min(s.last for s in given)
        others = [x for k, x in enumerate(operands) if not members >> k & 1 and type_of(x).inexact]
        factor = math.prod(map(largest, others)) * gain_of([s.type for s in given[:1]] + [type_of(x) for x in others], kinds)
        fixed_size = sum(largest(x) for k, x in enumerate(operands) if members >> k & 1 and series[k] is None)
        sizes = [factor * (sum(s.size(power) for s in given) + (0 if power else fixed_size)) for power in range(first, end)]
        return [Series(first, [row and row[k] for row in rows], last, t, sizes) for k, t in enumerate(kinds)]

    def product(self, op: Callable[[Any, Any], Any], a: Series, b: Series, t: ArrayType) -> Series:
        """The product of two series by an op that is linear in each."""
        first = a.first + b.first
        last = min(a.last + b.first, b.last + a.first, self.order)
        terms: list[Any] = []
        sizes, gain = list[float](), gain_of([a.type, b.type], [t])
        for power in range(first, int(min(a.end + b.end - 1, max(last, first) + 1))):
            pairs = [(a[k], b[power - k]) for k in range(a.first, a.end)]
            found = [op(x, y) for x, y in pairs if x is not None and y is not None]
            terms.append(reduce(add, found) if found else None)
            sizes.append(gain * sum(a.size(k) * b.size(power - k) for k in range(a.first, a.end)))
        return Series(first, terms, last, t, sizes)

    def taylor(self, op: Op, operands: Sequence[Any], series: Sequence[Series | None], kinds: Sequence[Any]) -> Sequence[Any]:
        """The Taylor series of any op. A pole in operands in which it is linear is taken out before."""
        shift, sets = 0, op.linear_sets(len(operands))
        series = list(series)
        for k, s in enumerate(series):
            if s is None or s.first >= 0:
                continue
            group = [m for m in sets if m >> k & 1]
            if not group:
                series[k] = s = self.without_noise(s)
                if s.first < 0:
                    return list(map(unknown, kinds))
                continue
            inside = [j for j in range(len(operands)) if group[0] >> j & 1]
            down = min((s.first for j in inside if (s := series[j]) is not None), default=0)
            for j in inside:
                series[j] = (series[j] or self.series(operands[j])).shifted(-down)
            shift += down
        known = min([s.last for s in series if s is not None] + [self.order - shift])
        if known < 0:
            return list(map(unknown, kinds))
        order = int(known)
        active = [k for k, s in enumerate(series) if s is not None]
        paths = [[s[power] if power else coefficient(s, 0) for power in range(order + 1)] for s in series if s is not None]

        def function(*xs: Any) -> Sequence[Any]:
            given = dict(zip(active, xs, strict=True))
            results = op(*[given.get(k, x) for k, x in enumerate(operands)])
            return results if op.multiple else [results]

        rows = coefficients(function, paths, order)
        lost = max(max(s.sizes, default=0) / (max(map(largest, s.terms), default=0) or 1) for s in series if s is not None)

        def made(terms: Sequence[Any], t: ArrayType) -> Series:
            return Series(shift, terms, order + shift, t, [max(lost, 1) * max(map(largest, terms))] * len(terms))

        return [made([row[k] for row in rows], t) if isinstance(t, ArrayType) and t.inexact else rows[0][k] for k, t in enumerate(kinds)]

    # ---- the end -------------------------------------------------------------------------------------------------------
    def limit(self, x: Any) -> Any:
        """The limit of a value: infinite where a pole is left, nan where it is not known."""
        if type(x) is not Tracer or x.owner is not self:
            return x
        s: Series = x.payload
        if -math.inf < s.last < 0:
            raise OrderTooLow
        y = coefficient(s, 0)
        self.noise = max(self.noise, CANCELLED * float(np.finfo(s.type.dtype).eps) * s.size(0))
        for power in range(s.first, min(s.end, 0)):
            y = np.where(self.has_cancelled(s, power), y, np.asarray(np.inf, y.dtype))
        return y

    def pole(self, x: Any) -> Any:
        """The coefficient of the lowest power that is left of a value."""
        if type(x) is not Tracer or x.owner is not self:
            return x
        s = self.without_noise(x.payload)
        return coefficient(s, min(s.first, 0))


def unknown(t: Any) -> Any:
    """A result of which nothing is known."""
    if not isinstance(t, ArrayType) or not t.inexact:
        raise NoLimit
    return Series.unknown(t)


def gain_of(operands: Sequence[ArrayType], results: Sequence[Any]) -> float:
    """How many products an op adds up for an element of its results: of matrices m x k and k x n, the square root of mk kn / mn."""
    size = min((t.size for t in results if isinstance(t, ArrayType)), default=1)
    return max(1.0, (math.prod(t.size for t in operands) / max(size, 1)) ** (1 / max(len(operands), 1)))


def coefficients(function: Callable[..., Sequence[Any]], paths: Sequence[Sequence[Any]], order: int) -> list[list[Any]]:
    """The Taylor coefficients of each result of a function along paths, which are given by theirs: of y and y' = f'(x) x'."""
    if order == 0:
        return [list(function(*[path[0] for path in paths]))]
    count = len(paths)

    def with_derivative(*values: Any) -> list[Any]:
        outs, douts = jvp_flat(function, values[:count], values[count:])
        return [*outs, *[zeros(type_of(y)) if dy is None else dy for y, dy in zip(outs, douts, strict=True)]]

    speeds = [[None if x is None else scale(type_of(x).dtype.type(k), x) for k, x in enumerate(path)][1:] for path in paths]
    shorter = [[zeros(type_of(path[0])) if x is None else x for x in path] for path in [*paths, *zip_filled(paths, speeds)]]
    rows = coefficients(with_derivative, [path[:order] for path in shorter], order - 1)
    half = len(rows[0]) // 2
    last = [scale(type_of(dy).dtype.type(1 / order), dy) if type_of(dy).inexact else dy for dy in rows[-1][half:]]
    return [*[row[:half] for row in rows], last]


def zip_filled(paths: Sequence[Sequence[Any]], speeds: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """The speeds, with zeros for what is absent."""
    return [[zeros(type_of(p[0])) if x is None else x for x in s] for p, s in zip(paths, speeds, strict=True)]


class OffsetTrace(JVPTrace):
    """Continues the results of decompositions from equal values to the given ones: the tangent of the values are their offsets."""

    __slots__ = ()

    def process(self, op: Op, operands: Sequence[Any]) -> Sequence[Any]:
        if op.splitting is None or any(type(x) is Tracer and x.owner is self for x in operands):
            return super().process(op, operands)
        limit: Any = self.parent
        before = len(limit.splittings)
        with running(limit):
            results = list(limit.process(op, operands))
        for found in limit.splittings[before:]:
            results[found.place] = self.join(results[found.place], found.offsets)
        return results
