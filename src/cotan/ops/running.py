"""Running reductions along one axis, y_i = f(y_{i-1}, x_i), and the linear recurrence that is the derivative of each.

Differentiating the step gives a linear recurrence for the tangents,

    t_i = c_i t_{i-1} + u_i,      c_i = df/dy_{i-1},  u_i = df/dx_i x_i',

which is an op, `Recurrence`. It is linear in u, and its adjoint is the same recurrence in the opposite direction. No rule divides by an
operand, so derivatives hold at zeros, to every order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Reader, Routines, StridedView
from ..core.errors import DtypeError, ShapeError, teach
from ..core.op import Op, op
from ..core.program import Var
from ..core.tracing import type_of
from ..core.types import ArrayType
from .arithmetic import constant_of, div, mul, sub
from .casting import convert
from .creation import full
from .families import Structural, add, broadcast_in_dim, default_rng, scale, spread
from .logic import equal, select
from .movement import pad, slice_
from .ordering import maximum
from .transcendental import gap, logistic

__all__ = [
    "Cumlogsumexp", "Cummax", "Cummin", "Cumprod", "Cumsum", "Differences", "Recurrence", "check_axis", "cumlogsumexp", "cummax", "cummin",
    "cumprod", "cumsum", "differences", "product_of_others", "product_of_others_in_runs", "recurrence", "shift",
]  # fmt: skip


def check_axis(op: Any, x: ArrayType, takes: str) -> None:
    """Refuse an axis that ``x`` does not have, and dtypes that ``op`` does not take."""
    if not 0 <= op.axis < x.ndim:
        raise teach(ShapeError, f"{op.name}: axis {op.axis} of an array of shape {x.shape}.", do="give an axis from 0 to ndim - 1.")
    if x.dtype.kind not in takes:
        raise teach(DtypeError, f"{op.name} does not take {x.dtype} operands.", do="convert to a dtype that it takes first.")


class Running(Op):
    """out[i] is the reduction of the elements up to i along ``axis`` (of the elements from i on, if ``reverse``)."""

    total = True
    family = "running"
    axis: int
    reverse: bool
    takes: ClassVar[str] = "iufc"
    numpy: ClassVar[np.ufunc]

    def type_rule(self, x: ArrayType) -> ArrayType:
        check_axis(self, x, self.takes)
        return x.with_shape(x.shape)

    def loop_axes(self, x: ArrayType) -> Sequence[int]:
        return [k for k in range(x.ndim) if k != self.axis]

    def impl(self, x: Any) -> Any:
        if not self.reverse:
            return self.numpy.accumulate(x, self.axis, x.dtype)
        return np.flip(self.numpy.accumulate(np.flip(x, self.axis), self.axis, x.dtype), self.axis)

    def step(self, e: Any, y: Any, x: Any) -> Any:
        """The next result from the previous result and an element."""
        return e.math({"add": "add", "multiply": "mul"}.get(self.numpy.__name__, self.numpy.__name__), y, x)

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        (x,), (y,) = operands, results
        along(w, y, self.axis, self.reverse, x, lambda before, k: self.step(w.emitter, before, x(k)))

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return type(self)(self.axis + 1, self.reverse)(x), True  # type: ignore[call-arg]

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for reverse_ in (False, True):
            yield cls(0, reverse_), (rng.normal(size=5),)  # type: ignore[call-arg]
            yield cls(1, reverse_), (rng.normal(size=(2, 3, 2)),)  # type: ignore[call-arg]
        yield cls(0, False), (rng.normal(size=1),)  # type: ignore[call-arg]
        yield cls(1, False), (rng.normal(size=(2, 0)),)  # type: ignore[call-arg]


@op
class Cumsum(Structural, Running):
    """Running sums along ``axis``."""

    axis: int
    reverse: bool = False
    family = "running"
    library: ClassVar[str] = "cumsum"
    numpy = np.add

    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [Cumsum(self.axis, not self.reverse)(y_bar)]


@op
class Cumprod(Running):
    """Running products along ``axis``: y_i = y_{i-1} x_i, so t_i = x_i t_{i-1} + y_{i-1} x_i'."""

    axis: int
    reverse: bool = False
    library: ClassVar[str] = "cumprod"
    numpy = np.multiply

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (x,), (dx,) = primals, tangents
        y = self(x)
        before = shift(y, self.axis, constant_of(1, type_of(x).dtype), back=self.reverse)
        return y, Recurrence(self.axis, self.reverse)(x, scale(before, dx))


class RunningExtremum(Running):
    """cummax or cummin. Tied elements belong to one run of equal results; the tangent is the mean over those of the run so far."""

    takes = "biuf"

    def singular(self, x: Any) -> Any:
        x, y = (np.moveaxis(v, self.axis, 0)[:: -1 if self.reverse else 1] for v in (x, self.impl(x)))
        return x[1:] == y[:-1]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (x,), (dx,) = primals, tangents
        y = self(x)
        dtype = type_of(x).dtype
        along = Recurrence(self.axis, self.reverse)
        taken = convert(equal(x, y), dtype)
        same_run = convert(equal(y, shift(y, self.axis, constant_of(0, dtype), back=self.reverse)), dtype)
        count = maximum(along(same_run, taken), constant_of(1, dtype))
        return y, scale(div(constant_of(1, dtype), count), along(same_run, scale(taken, dx)))


@op
class Cummax(RunningExtremum):
    """Running maxima along ``axis``; nan from the first nan on."""

    axis: int
    reverse: bool = False
    library: ClassVar[str] = "cummax"
    numpy = np.maximum


@op
class Cummin(RunningExtremum):
    """Running minima along ``axis``; nan from the first nan on."""

    axis: int
    reverse: bool = False
    library: ClassVar[str] = "cummin"
    numpy = np.minimum


@op
class Cumlogsumexp(Running):
    """log of running sums of exponentials, without overflow: y_i = log(e^{y_{i-1}} + e^{x_i}).

    The local derivatives are logistic(y_{i-1} - x_i) and logistic(x_i - y_{i-1}); at the first element they are 0 and 1.
    """

    axis: int
    reverse: bool = False
    library: ClassVar[str] = "cumlogsumexp"
    numpy, takes = np.logaddexp, "f"

    def step(self, e: Any, y: Any, x: Any) -> Any:
        # max + log(1 + e^-|difference|); if the two are equal, also infinite, the difference is zero.
        high, gap = e.math("maximum", x, y), e.math("abs", e.math("sub", x, y))
        gap = e.math("select", e.math("eq", x, y), gap, e.constant(0, x.dtype))
        return e.math("add", high, e.math("log1p", e.math("exp", e.math("neg", gap))))

    def singular(self, x: Any) -> Any:
        x, y = (np.moveaxis(v, self.axis, 0)[:: -1 if self.reverse else 1] for v in (x, self.impl(x)))
        return np.isinf(x[1:]) & (x[1:] == y[:-1])

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (x,), (dx,) = primals, tangents
        y = self(x)
        dtype = type_of(x).dtype
        before = shift(y, self.axis, constant_of(-np.inf, dtype), back=self.reverse)
        keep, take = logistic(gap(before, x)), logistic(gap(x, before))
        # The first element has no predecessor, even where it is -inf itself.
        zero = constant_of(0, dtype)
        ends = first_along(type_of(x).shape, self.axis, self.reverse)
        keep, take = select(ends, zero, keep), select(ends, constant_of(1, dtype), take)
        return y, Recurrence(self.axis, self.reverse)(keep, scale(take, dx))


def first_along(shape: Sequence[int], axis: int, reverse_: bool) -> Any:
    """Whether an element is the first (the last, if ``reverse_``) along ``axis``."""
    return shift(full(shape, np.False_), axis, np.True_, back=reverse_)


@op
class Recurrence(Op):
    """t_i = c_i t_{i-1} + u_i along ``axis``, with t = 0 before the first element (after the last, if ``reverse``).

    Linear in u. In c: t_i' = c_i t_{i-1}' + (c_i' t_{i-1} + u_i'), the same recurrence with another right-hand side. The adjoint in u, from
    t_bar: u_bar_i = c_{i+1} u_bar_{i+1} + t_bar_i, the recurrence in the opposite direction with c shifted by one.
    """

    total = True
    axis: int
    reverse: bool = False
    family = "running"
    linear = ((1,),)
    library: ClassVar[str] = "recurrence"
    takes: ClassVar[str] = "fc"

    def type_rule(self, c: ArrayType, u: ArrayType) -> ArrayType:
        check_axis(self, c, self.takes)
        if c.shape != u.shape or c.dtype != u.dtype:
            raise teach(
                ShapeError, f"recurrence: {c.long_name()} and {u.long_name()} differ.", do="give factors and terms of one shape and dtype."
            )
        return u.with_shape(u.shape)

    def impl(self, c: Any, u: Any) -> Any:
        return run_recurrence(c, u, self.axis, self.reverse)

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        (c, u), (t,), e = operands, results, w.emitter
        along(w, t, self.axis, self.reverse, u, lambda before, k: e.math("add", e.math("mul", c(k), before), u(k)))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (c, u), (dc, du) = primals, tangents
        t = self(c, u)
        if dc is None:
            return t, self(c, du)
        before = shift(t, self.axis, constant_of(0, type_of(t).dtype), back=self.reverse)
        term = scale(before, dc)
        return t, self(c, term if du is None else add(term, du))

    def transpose(self, y_bar: Any, c: Any, u: Var) -> Sequence[Any | None]:
        moved = shift(c, self.axis, constant_of(0, type_of(c).dtype), back=not self.reverse)
        return [None, Recurrence(self.axis, not self.reverse)(moved, y_bar)]

    def batch(self, size: int, batched: Sequence[bool], c: Any, u: Any) -> tuple[Any, bool]:
        c, u = (x if b else spread(x, size) for x, b in zip((c, u), batched, strict=True))
        return Recurrence(self.axis + 1, self.reverse)(c, u), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for reverse_ in (False, True):
            yield cls(0, reverse_), (rng.normal(size=5), rng.normal(size=5))
            yield cls(1, reverse_), (rng.normal(size=(2, 3, 2)), rng.normal(size=(2, 3, 2)))
        yield cls(0), (np.tile([1.0, -0.5, 0.9], 12), rng.normal(size=36))
        yield cls(1), (rng.normal(size=(2, 0)), rng.normal(size=(2, 0)))


def run_recurrence(c: Any, u: Any, axis: int, reverse_: bool) -> Any:
    """The recurrence, vectorized over the other axes and, if they are short, over about sqrt(n) blocks of the axis too.

    Within a block, t = p * (t before the block) + (t from zero), with p the running product of c. So the blocks run in parallel, and are
    then joined sequentially.
    """
    c, u = (np.moveaxis(v[::-1] if axis == 0 and reverse_ else np.flip(v, axis) if reverse_ else v, axis, 0) for v in (c, u))
    n = len(u)
    width = int(np.sqrt(n)) if n > 32 and u.size < 64 * n else n
    if width < n:
        blocks = n // width
        head = blocks * width
        grid = (blocks, width, *u.shape[1:])
        factors = np.moveaxis(c[:head].reshape(grid), 1, 0)
        local = steps(factors, np.moveaxis(u[:head].reshape(grid), 1, 0))
        with np.errstate(over="ignore", invalid="ignore"):
            powers = np.multiply.accumulate(factors, 0)
        t = np.empty_like(u, subok=False)
        joined = np.moveaxis(t[:head].reshape(grid), 1, 0)
        carry = np.zeros(u.shape[1:], u.dtype)
        for k in range(blocks):
            joined[:, k] = local[:, k]
            with np.errstate(invalid="ignore"):  # products may overflow, without effect where nothing is carried
                joined[:, k] += np.where(carry == 0, carry, powers[:, k] * carry)
            carry = joined[-1, k]
        if head < n:
            t[head:] = steps(c[head:], u[head:], carry)
    else:
        t = steps(c, u)
    t = np.moveaxis(t, 0, axis)
    return np.flip(t, axis) if reverse_ else t


def steps(c: Any, u: Any, carry: Any = None) -> Any:
    """The recurrence along the first axis, step by step."""
    t = np.array(u, order="C")
    if carry is not None and len(t):
        t[0] += c[0] * carry
    for k in range(1, len(t)):
        t[k] += c[k] * t[k - 1]
    return t


# ---- routines ----
def along(w: Routines, y: StridedView, axis: int, reverse_: bool, first: Reader, step: Any) -> None:
    """y_i = step(y_{i-1}, index of i) along ``axis``, starting from ``first``: element by element or, if there are axes inside of it, row
    by row.
    """
    lead, n, inner = y.shape[:axis], y.shape[axis], y.shape[axis + 1 :]
    if 0 in y.shape:
        return

    def place(i: Any) -> Any:
        return n - 1 - i if reverse_ else i

    def one(k: tuple[Any, ...]) -> None:
        start = place(0)
        if all(m == 1 for m in inner):
            rest = (0,) * len(inner)
            carry = w.variable(first((*k, start, *rest)))
            y[(*k, start, *rest)] = carry[()]

            def turn(i: tuple[Any, ...]) -> None:
                at = (*k, place(i[0] + 1), *rest)
                carry[()] = step(carry[()], at)
                y[at] = carry[()]

            w.every((n - 1,), turn)
            return
        w.every(inner, lambda j: y.__setitem__((*k, start, *j), first((*k, start, *j))))

        def row(i: tuple[Any, ...]) -> None:
            now, before = place(i[0] + 1), place(i[0])
            w.every(inner, lambda j: y.__setitem__((*k, now, *j), step(y[(*k, before, *j)], (*k, now, *j))))

        w.every((n - 1,), row)

    w.outlined(lambda: w.every(lead, one))


# ---- pieces of rules ----
def shift(x: Any, axis: int, fill: Any, *, back: bool = False) -> Any:
    """The previous element (or, ``back``, the next one) of each along ``axis``; ``fill`` at the end where there is none."""
    by = (-1, 1, 0) if back else (1, -1, 0)
    shape = type_of(x).shape
    return pad(x, fill, [by if k == axis else (0, 0, 0) for k in range(len(shape))]) if shape[axis] else x


@op
class ProductOfOthers(Op):
    """At each index the product of all other elements along ``axis``: that of the elements before it times that of those after it."""

    total = True
    family = "running"
    axis: int
    takes: ClassVar[str] = "iufc"
    library: ClassVar[str] = "product_of_others"

    def type_rule(self, x: ArrayType) -> ArrayType:
        check_axis(self, x, self.takes)
        return x.with_shape(x.shape)

    def impl(self, x: Any) -> Any:
        """One quotient does for elements whose product, and all products on the way to it, are normal numbers."""
        if x.dtype.char in "fdFD" and x.size:
            whole = normal_product(x, self.axis)
            if whole is not None:
                return whole / x
        left, right = self.sides(x)
        return np.multiply(left, right)

    def sides(self, x: Any) -> tuple[Any, Any]:
        """The products of the elements before each, and of those after it."""
        one = constant_of(1, type_of(x).dtype)
        before, after = Cumprod(self.axis)(x), Cumprod(self.axis, True)(x)
        return shift(before, self.axis, one), shift(after, self.axis, one, back=True)

    def written_out(self, x: Any) -> Sequence[Any]:  # type: ignore[override]
        return [mul(*self.sides(x))]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (x,), (dx,) = primals, tangents
        zero = constant_of(0, type_of(x).dtype)
        left, right = self.sides(x)
        d_left = shift(Cumprod(self.axis).jvp([x], [dx])[1], self.axis, zero)
        d_right = shift(Cumprod(self.axis, True).jvp([x], [dx])[1], self.axis, zero, back=True)
        return self(x), add(scale(right, d_left), scale(left, d_right))

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return ProductOfOthers(self.axis + 1)(x), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls(0), (rng.normal(size=4),)
        yield cls(1), (rng.normal(size=(2, 3, 2)),)
        yield cls(0), (np.array([2.0, 0.0, 3.0]),)
        yield cls(0), (rng.normal(size=1),)
        yield cls(0), (np.zeros((0, 2)),)


@cache
def normal_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Between these sizes a number is so far from subnormal and infinite ones that a factor of eps changes nothing."""
    limits = np.finfo(dtype)
    return float(limits.tiny / limits.eps), float(limits.max * limits.eps)


def normal_product(x: Any, axis: int) -> Any | None:
    """The product along ``axis``, which remains with length 1; None unless all products on the way to it are normal numbers.

    Halves of a long axis are multiplied first: a running product takes each factor only when it has the product of those before.
    """
    front, (least, most) = (slice(None),) * axis, normal_range(x.dtype)
    low, high = 0.0, math.inf  # bounds of the sizes of the products
    while True:
        half, odd = divmod(x.shape[axis], 2)
        if half > LONG:
            products = x[(*front, slice(half))] * x[(*front, slice(half, 2 * half))]
            low, high = low * low, high * high
            if odd:
                products[(*front, slice(1))] *= x[(*front, slice(-1, None))]
                low, high = 0.0, math.inf
            x = products
        else:
            products = np.multiply.accumulate(x, axis)
            x = products[(*front, slice(-1, None))]
            low, high = 0.0, math.inf
        if not least < low <= high < most:
            size = np.abs(products)
            low, high = float(np.minimum.reduce(size, None)), float(np.maximum.reduce(size, None))
            if not (low > least and high < most):  # true for nan
                return None
        if x.shape[axis] == 1:
            return x


LONG = 2048
"""Up to this number of elements a running product is faster than the calls that multiply halves."""


def product_of_others(x: Any, axis: int) -> Any:
    """`ProductOfOthers`."""
    return ProductOfOthers(axis)(x)


def product_of_others_in_runs(x: Any, same: Any) -> Any:
    """At each index the product of the other elements of its run along the first axis. ``same``: whether an element continues the previous
    run.

    The running product of a run obeys p_i = x_i p_{i-1} where it continues, x_i where it starts: a `Recurrence`.
    """
    t = type_of(x)
    zero, one = constant_of(0, t.dtype), constant_of(1, t.dtype)
    result: Any = None
    for back in (False, True):
        joined = shift(same, 0, np.False_, back=True) if back else same
        joined = broadcast_in_dim(joined, t.shape, (0,))
        products = Recurrence(0, back)(select(joined, x, zero), select(joined, zero, x))
        others = select(joined, shift(products, 0, one, back=back), one)
        result = others if result is None else mul(result, others)
    return result


@op
class Differences(Structural):
    """y[i] = x[i + 1] - x[i] along ``axis``; or, if ``adjoint``, y[i] = x[i - 1] - x[i], where x is zero outside."""

    family = "running"
    axis: int
    adjoint: bool = False
    takes: ClassVar[str] = "iufc"
    library: ClassVar[str] = "differences"

    def type_rule(self, x: ArrayType) -> ArrayType:
        check_axis(self, x, self.takes)
        n = x.shape[self.axis] + (1 if self.adjoint else -1)
        if n < 0:
            raise teach(ShapeError, f"differences: of no elements (shape {x.shape}).", do="test the size first.")
        return x.with_shape((*x.shape[: self.axis], n, *x.shape[self.axis + 1 :]))

    def impl(self, x: Any) -> Any:
        front = (slice(None),) * self.axis
        later, earlier = x[(*front, slice(1, None))], x[(*front, slice(None, -1))]
        if not self.adjoint:
            return later - earlier
        n = x.shape[self.axis]
        y = np.zeros((*x.shape[: self.axis], n + 1, *x.shape[self.axis + 1 :]), x.dtype)
        if n:
            np.negative(x[(*front, slice(0, 1))], y[(*front, slice(0, 1))])
            np.subtract(earlier, later, y[(*front, slice(1, -1))])
            y[(*front, -1)] = x[(*front, -1)]
        return y

    def written_out(self, x: Any) -> Sequence[Any]:  # type: ignore[override]
        t = type_of(x)
        if self.adjoint:
            zero = constant_of(0, t.dtype)
            ends = [[by if k == self.axis else (0, 0, 0) for k in range(t.ndim)] for by in ((1, 0, 0), (0, 1, 0))]
            return [sub(*[pad(x, zero, end) for end in ends])]
        starts, stops = [0] * t.ndim, list(t.shape)
        starts[self.axis], stops[self.axis] = 1, t.shape[self.axis] - 1
        return [sub(slice_(x, starts, t.shape), slice_(x, [0] * t.ndim, stops))]

    # <y_bar, differences(x')> = sum_i y_bar[i] (x'[i + 1] - x'[i]) = sum_i (y_bar[i - 1] - y_bar[i]) x'[i]
    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [Differences(self.axis, not self.adjoint)(y_bar)]

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return Differences(self.axis + 1, self.adjoint)(x), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for axis, shape in ((0, (4,)), (1, (2, 3, 2)), (0, (1,)), (1, (0, 2))):
            yield cls(axis), (rng.normal(size=shape),)
            yield cls(axis, True), (rng.normal(size=shape),)
        yield cls(0, True), (np.zeros((0, 2)),)


# ---- as functions ----
def cumsum(x: Any, axis: int, reverse: bool = False) -> Any:
    """`Cumsum`."""
    return Cumsum(axis, reverse)(x)


def cumprod(x: Any, axis: int, reverse: bool = False) -> Any:
    """`Cumprod`."""
    return Cumprod(axis, reverse)(x)


def cummax(x: Any, axis: int, reverse: bool = False) -> Any:
    """`Cummax`."""
    return Cummax(axis, reverse)(x)


def cummin(x: Any, axis: int, reverse: bool = False) -> Any:
    """`Cummin`."""
    return Cummin(axis, reverse)(x)


def cumlogsumexp(x: Any, axis: int, reverse: bool = False) -> Any:
    """`Cumlogsumexp`."""
    return Cumlogsumexp(axis, reverse)(x)


def differences(x: Any, axis: int) -> Any:
    """`Differences` of neighbours."""
    return Differences(axis)(x)


def recurrence(c: Any, u: Any, axis: int, reverse: bool = False) -> Any:
    """`Recurrence`."""
    return Recurrence(axis, reverse)(c, u)
