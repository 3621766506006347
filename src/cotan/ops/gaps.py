"""Reciprocals of the gaps between eigenvalues, or between singular values, by which derivatives of their vectors divide.

The vectors of equal values have no derivative, so the reciprocal of a gap that is zero is infinite. Neither have those of values that are
equal but for rounding: the reciprocal would have no digit that is right. Up to a *tolerance* a gap counts as zero, and a counter says that
there was one. `cotan.transforms.limit` then takes the limit of the derivative where there is one.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Reader, Routines, StridedView
from ..core.errors import DtypeError, EqualValuesError, ShapeError, teach
from ..core.formula import Formula, Number
from ..core.op import Op, op
from ..core.program import Var
from ..core.tracing import type_of
from ..core.types import ArrayType
from .arithmetic import constant_of, sub
from .families import Elementwise, Multilinear, default_rng, fill_shape, scale, spread, sum_tangents, sum_to
from .lapack import any_failed, magnitude
from .linalg import columns, transposed

__all__ = [
    "EQUAL",
    "GAPS_MET",
    "InverseGap",
    "PlainProduct",
    "inverse_gaps",
    "note_equal_values",
    "plain_product",
    "rounding",
    "tolerance",
    "undetermined",
    "up_to_rounding",
]

GAPS_MET = [0]
"""How many times so far a gap was met that counts as zero."""
EXACTLY: ContextVar[bool] = ContextVar("gaps_exactly", default=False)
EQUAL = "the derivative divides by the gap of eigenvalues, or singular values, that are equal"
ROUNDING = 64
"""Values whose gap is less than this many units of rounding are equal."""


def note_equal_values() -> None:
    """Say that a gap was met that counts as zero."""
    GAPS_MET[0] += 1


@contextmanager
def up_to_rounding() -> Generator[None]:
    """Only gaps that are zero but for rounding count as zero within this."""
    token = EXACTLY.set(True)
    try:
        yield
    finally:
        EXACTLY.reset(token)


def rounding(dtype: Any) -> float:
    """The largest gap, relative to the largest value, of values that are equal but for rounding."""
    return float(ROUNDING * np.finfo(dtype).eps)


def tolerance(dtype: Any, power: int = 1) -> float:
    """The largest gap, relative to the largest value, that counts as zero. The error of 1 / x^k is about eps / x^k."""
    return 2 * float(np.finfo(dtype).eps) ** (1 / (power + 1))


@op
class InverseGap(Op):
    """1 / x^power of gaps x between the values w; infinite for gaps up to the tolerance times the largest value.

    The first or the last of the values is the largest in magnitude. With ``pairs``, x are the gaps of all pairs of values, as matrices; the
    diagonal of the result is zero. The values only set the scale: there is no derivative in them.
    """

    power: int = 1
    pairs: bool = False

    family = "linalg"
    total = True
    takes: ClassVar[str] = "fc"
    library: ClassVar[str] = "inverse_gap"

    def type_rule(self, x: ArrayType, w: ArrayType) -> ArrayType:
        if x.dtype.kind not in self.takes or w.dtype.kind not in self.takes or np.finfo(w.dtype).dtype != np.finfo(x.dtype).dtype:
            what = f"inverse_gap: gaps of dtype {x.dtype} of values of dtype {w.dtype}."
            raise teach(DtypeError, what, do="give floating-point gaps and values of one precision.")
        if x.shape[: w.ndim - 1] != w.shape[:-1] or (self.pairs and x.shape[-1:] != x.shape[-2:-1]):
            what = f"inverse_gap: gaps of shape {x.shape} of values of shape {w.shape}."
            raise teach(ShapeError, what, do="give the gaps of each row of values.")
        return x.with_shape(x.shape)

    def relative_limit(self, dtype: Any) -> float:
        return rounding(dtype) if EXACTLY.get() else tolerance(dtype, self.power)

    def impl(self, x: Any, w: Any) -> Any:
        gaps = np.array(x, order="C")
        if x.size == 0:
            return gaps
        size = np.maximum(np.abs(w[..., 0]), np.abs(w[..., -1])) if w.shape[-1] else np.zeros(w.shape[:-1])
        limit = np.asarray(self.relative_limit(w.dtype) * size)
        diagonal = gaps.reshape(*gaps.shape[:-2], -1)[..., :: gaps.shape[-1] + 1] if self.pairs else gaps[..., :0]
        diagonal[...] = np.inf
        near = np.abs(gaps) <= limit.reshape(limit.shape + (1,) * (x.ndim - limit.ndim))
        some = near.any()
        if some:
            note_equal_values()
            gaps[near] = 1
        diagonal[...] = 1
        y = 1 / gaps if self.power == 1 else 1 / gaps**self.power
        if some:
            y[near] = np.inf
        diagonal = y.reshape(*y.shape[:-2], -1)[..., :: y.shape[-1] + 1] if self.pairs else y[..., :0]
        diagonal[...] = 0
        return y

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        (x, values), (y,) = operands, results
        if 0 in x.shape:
            return
        *lead, count = values.shape
        gaps, given = w.strided(x), w.strided(values)
        failed = w.scratch(lead, w.integer)

        def one(k: tuple[Any, ...]) -> None:
            near = w.variable(w.emitter.constant(0, w.integer))
            self.write(w, gaps.part(*k), given.part(*k), count, y.part(*k), near)
            failed[k] = near[()]

        w.parallel_for(lead, one, 10 * math.prod(x.shape[len(lead) :]))
        w.fail(any_failed(w, lead, failed), EqualValuesError, EQUAL)

    def write(self, w: Routines, x: StridedView, values: StridedView, count: int, y: StridedView, near: StridedView) -> None:
        """The result for the gaps of one row of values; ``near`` becomes 1 where one counts as zero."""
        e, part, one, none = w.emitter, np.finfo(x.dtype).dtype, w.emitter.constant(1, x.dtype), w.emitter.constant(0, x.dtype)
        limit = w.variable(e.constant(0, part))
        if count:
            ends = [magnitude(e, values[k,]) for k in (0, count - 1)]
            limit[()] = e.math("mul", e.constant(tolerance(part, self.power), part), e.math("maximum", *ends))
        no, yes = e.constant(0, w.integer), e.constant(1, w.integer)

        def element(i: tuple[Any, ...]) -> Any:
            gap = x[i]
            zero = e.math("le", magnitude(e, gap), limit[()])
            alone = e.choose(i[-1] <= i[-2], lambda: e.choose(i[-2] <= i[-1], lambda: yes, lambda: no), lambda: no) if self.pairs else no
            diagonal = e.math("ne", alone, no)
            counted = e.math("select", e.math("and", zero, e.math("not", diagonal)), no, yes)
            near[()] = e.math("maximum", near[()], counted)
            inverse = found = e.math("div", one, e.math("select", zero, gap, one))
            for _ in range(self.power - 1):
                found = e.math("mul", found, inverse)
            return e.math("select", diagonal, e.math("select", zero, found, e.constant(np.inf, x.dtype)), none)

        w.fill(y, element)

    def singular(self, x: Any, w: Any) -> Any:
        mask = ~np.isfinite(self.impl(x, w))
        return mask, np.zeros_like(mask)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        x, w = primals
        dx = tangents[0]
        if dx is None:
            return self(x, w), None
        slope = scale(constant_of(-self.power, type_of(x).dtype), InverseGap(self.power + 1, self.pairs)(x, w))
        return self(x, w), plain_product(slope, dx)

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, bool]:
        return self(*[x if b else spread(x, size) for x, b in zip(operands, batched, strict=True)]), True

    def formula(self, x: Formula, w: Formula) -> Formula:
        return Number(1) / (x if self.power == 1 else x**self.power)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        w = np.sort(rng.normal(size=(2, 3)))
        yield cls(), (w, w)
        yield cls(pairs=True), (w[:, None, :] - w[:, :, None], w)
        yield cls(2, pairs=True), (w[0] - w[0][:, None], w[0])
        yield cls(), ((w[0] - w[0][:, None] + 1j * np.eye(3)) + 0.5, w[0] + 0j)
        yield cls(pairs=True), (np.zeros((0, 0)), np.zeros(0))


@op
class PlainProduct(Elementwise, Multilinear):
    """x y, nan for 0 times infinity. A zero tangent or cotangent of a gap that is zero does not mean that nothing depends on it."""

    linear = ((0,), (1,))
    arity, takes, machine = 2, "fc", "mul"
    numpy = np.multiply

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        z = self(*primals)
        terms = [fill_shape(self(*primals[:k], dx, *primals[k + 1 :]), z) for k, dx in enumerate(tangents) if dx is not None]
        return z, sum_tangents(terms)

    def transpose(self, y_bar: Any, x: Any, y: Any) -> Sequence[Any | None]:
        return [None, sum_to(self(x, y_bar), y.type)] if type(y) is Var else [sum_to(self(y, y_bar), x.type), None]

    def formula(self, x: Formula, y: Formula) -> Formula:
        return x.times(y)


@op
class Undetermined(Op):
    """What a decomposition leaves undetermined: x times infinity, and 0 for 0; a quotient by a gap of zero."""

    linear = "all"
    family = "special"
    total = True
    takes: ClassVar[str] = "fc"
    library: ClassVar[str] = "undetermined"

    def type_rule(self, x: ArrayType) -> ArrayType:
        if x.dtype.kind not in self.takes:
            raise teach(DtypeError, f"undetermined: an array of dtype {x.dtype}.", do="give floating-point numbers.")
        return x.with_shape(x.shape)

    def impl(self, x: Any) -> Any:
        some = x != 0
        if np.any(some):
            note_equal_values()
        with np.errstate(all="ignore"):
            return np.where(some, x * np.inf, np.zeros((), x.dtype))[()]

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        given, e = w.strided(operands[0]), w.emitter
        none, no, yes = e.constant(0, given.dtype), e.constant(0, w.integer), e.constant(1, w.integer)
        some = w.variable(no)
        w.every(
            given.shape,
            lambda i: some.__setitem__((), e.math("maximum", some[()], e.math("select", e.math("eq", given[i], none), yes, no))),
        )
        w.fail(e.math("ne", some[()], no), EqualValuesError, EQUAL)
        w.fill(results[0], lambda _: none)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        return self(*primals), self(*tangents)

    def transpose(self, y_bar: Any, x: Any) -> Sequence[Any]:
        return [self(y_bar)]

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return self(x), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        """Without numbers: of others the result is not finite."""
        yield cls(), (np.zeros((2, 0)),)


def inverse_gaps(w: Any) -> Any:
    """1 / (w_j - w_i) for sorted values w, in row i and column j; zero on the diagonal."""
    wj = columns(w, type_of(w).shape[-1])
    return InverseGap(pairs=True)(sub(wj, transposed(wj)), w)


plain_product, undetermined = PlainProduct(), Undetermined()
