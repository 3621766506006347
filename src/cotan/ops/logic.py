"""Comparisons, bits and choices, elementwise.

Comparisons and bit operations have no tangents. `SelectN` is linear in its cases together: a case that is not differentiated must be zero
for the choice to be linear in the other one, as in the ``where(mask, t, 0)`` of a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..core.emitting import Emitter, Reader
from ..core.errors import DtypeError, ShapeError, teach
from ..core.formula import Formula, called
from ..core.op import Op, op
from ..core.program import Var
from ..core.tracing import type_of
from ..core.types import ArrayType, array_type
from .choosing import chosen
from .families import Elementwise, Flat, align, default_rng, fill_shape, sum_to

__all__ = [
    "bitwise_and", "bitwise_count", "bitwise_not", "bitwise_or", "bitwise_xor", "equal", "greater", "greater_equal", "isfinite", "isinf",
    "isnan", "left_shift", "less", "less_equal", "not_equal", "right_shift", "select", "select_n", "signbit",
]  # fmt: skip

BOOL = np.dtype(np.bool_)


class Predicate(Flat):
    """An elementwise op with a bool result."""

    arity, takes = 2, "biufc"

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return BOOL


@op
class Equal(Predicate):
    """x == y."""

    sign = "=="
    machine = "eq"
    numpy = np.equal


@op
class NotEqual(Predicate):
    """x != y."""

    sign = "!="
    machine = "ne"
    numpy = np.not_equal


@op
class Less(Predicate):
    """x < y; complex numbers are ordered by real, then imaginary part, as in NumPy."""

    sign = "<"
    machine = "lt"
    numpy = np.less


@op
class LessEqual(Predicate):
    """x <= y."""

    sign = "<="
    machine = "le"
    numpy = np.less_equal


@op
class Greater(Predicate):
    """x > y."""

    sign = ">"
    machine = "gt"
    numpy = np.greater


@op
class GreaterEqual(Predicate):
    """x >= y."""

    sign = ">="
    machine = "ge"
    numpy = np.greater_equal


@op
class Isnan(Predicate):
    """Whether x is nan."""

    arity, takes, machine = 1, "fc", "isnan"
    numpy = np.isnan


@op
class Isinf(Predicate):
    """Whether x is infinite."""

    arity, takes, machine = 1, "fc", "isinf"
    numpy = np.isinf


@op
class Isfinite(Predicate):
    """Whether x is neither infinite nor nan."""

    arity, takes, machine = 1, "fc", "isfinite"
    numpy = np.isfinite


@op
class Signbit(Predicate):
    """Whether the sign bit of x is set."""

    arity, takes, machine = 1, "f", "signbit"
    numpy = np.signbit


class Bits(Flat):
    """An elementwise op on the bits of integers or bools."""

    arity, takes = 2, "biu"

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for shape in ((), (3,), (2, 3), (0,)):
            yield cls(), tuple(rng.integers(0, 6, shape) for _ in range(cls.arity))
            if "b" in cls.takes:
                yield cls(), tuple(rng.integers(0, 2, shape).astype(bool) for _ in range(cls.arity))


@op
class BitwiseAnd(Bits):
    """x & y; for bools, logical and."""

    sign = "&"
    machine = "and"
    numpy = np.bitwise_and


@op
class BitwiseOr(Bits):
    """x | y; for bools, logical or."""

    sign = "|"
    machine = "or"
    numpy = np.bitwise_or


@op
class BitwiseXor(Bits):
    """x ^ y; for bools, exclusive or."""

    sign = "^"
    machine = "xor"
    numpy = np.bitwise_xor


@op
class BitwiseNot(Bits):
    """~x; for bools, logical not."""

    arity, machine = 1, "not"
    numpy = np.bitwise_not

    def formula(self, x: Formula) -> Formula:
        return called("~", x)


@op
class LeftShift(Bits):
    """x << y."""

    sign = "<<"
    takes, machine = "iu", "shl"
    numpy = np.left_shift


@op
class RightShift(Bits):
    """x >> y; the sign is kept for signed integers."""

    sign = ">>"
    takes, machine = "iu", "shr"
    numpy = np.right_shift


@op
class BitwiseCount(Bits):
    """The number of one bits of |x|, as uint8."""

    arity, takes, machine = 1, "iu", "popcount"
    numpy = np.bitwise_count

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return np.dtype(np.uint8)


@op
class SelectN(Elementwise):
    """``cases[which]``, elementwise. ``which`` is bool (False takes case 0) or integer; cases share dtype and shape, or are scalars."""

    verb = "where"
    machine = "select"

    def linear_sets(self, count: int) -> tuple[int, ...]:
        return ((1 << count) - 2,)  # all cases together, without the selector

    def type_rule(self, *types: ArrayType) -> ArrayType:
        which, cases = types[0], types[1:]
        if which.dtype.kind not in "biu" or (which.dtype.kind == "b" and len(cases) > 2) or not cases:
            raise teach(
                DtypeError,
                f"select_n: a selector of dtype {which.dtype} for {len(cases)} cases.",
                do="give a bool selector for two cases, an integer selector for more.",
            )
        shapes = {t.shape for t in types if t.shape}
        if len(shapes) > 1:
            raise self.wrong_shapes(types)
        if len({t.dtype for t in cases}) > 1:
            raise self.wrong_dtypes(cases)
        return array_type(next(iter(shapes), ()), cases[0].dtype)

    def wrong_shapes(self, types: Sequence[ArrayType]) -> ShapeError:
        shapes = " and ".join(str(t.shape) for t in types)
        return teach(
            ShapeError,
            f"select_n: shapes {shapes} differ.",
            do="broadcast the selector and the cases to one shape (cotan.numpy.where does).",
        )

    def impl(self, *operands: Any) -> Any:
        which, *cases = operands
        if len(cases) == 2 and np.asarray(which).dtype.kind == "b":
            y = chosen(which, cases[1], cases[0])
        else:
            y = np.choose(np.asarray(which, np.intp), cases, mode="clip")
        return y if y.ndim else y[()]

    def element(self, e: Emitter, i: Sequence[Any], *readers: Reader) -> Any:
        return e.math(self.machine, *[x(i if x.shape else ()) for x in readers])

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        which, y = primals[0], self(*primals)
        zero = type_of(y).dtype.type(0)
        return y, fill_shape(self(which, *[zero if dx is None else dx for dx in tangents[1:]]), y)

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Any | None]:
        which, cases = operands[0], operands[1:]
        zero = type_of(y_bar).dtype.type(0)
        bars: list[Any | None] = [None]
        for k, case in enumerate(cases):
            alone = [y_bar if j == k else zero for j in range(len(cases))]
            bars.append(sum_to(fill_shape(self(which, *alone), y_bar), case.type) if type(case) is Var else None)
        return bars

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, bool]:
        return self(*align(size, batched, operands)), True

    def formula(self, which: Formula, *cases: Formula) -> Formula:
        return called("where", which, *reversed(cases)) if len(cases) == 2 else super().formula(which, *cases)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for shape in ((), (3,), (2, 3), (0,)):
            yield cls(), (rng.integers(0, 2, shape).astype(bool), rng.normal(size=shape), rng.normal(size=shape))
        yield cls(), (rng.integers(0, 3, (4,)), *[rng.normal(size=4) for _ in range(3)])
        yield cls(), (np.bool_(True), rng.normal(size=3), rng.normal(size=3))
        yield cls(), (rng.integers(0, 2, (3,)).astype(bool), rng.normal(size=()), rng.normal(size=3))


equal, not_equal, less, less_equal, greater, greater_equal = Equal(), NotEqual(), Less(), LessEqual(), Greater(), GreaterEqual()
isnan, isinf, isfinite, signbit = Isnan(), Isinf(), Isfinite(), Signbit()
bitwise_and, bitwise_or, bitwise_xor, bitwise_not = BitwiseAnd(), BitwiseOr(), BitwiseXor(), BitwiseNot()
left_shift, right_shift, bitwise_count = LeftShift(), RightShift(), BitwiseCount()
select_n = SelectN()


def select(condition: Any, yes: Any, no: Any) -> Any:
    """`SelectN` with a bool condition and the cases in the order of ``where``."""
    return select_n(condition, no, yes)
