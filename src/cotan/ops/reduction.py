"""Reductions over axes (`ReduceSum` is in `families`, running reductions along an axis are in `running`).

Derivatives never divide by an operand, so they hold at zeros, to every order:

- max, min: y' is the mean of x' over the elements that are equal to y (all tied ones).
- prod: y' = sum_k x_k' prod_{j != k} x_j; the product of the others is a running product from the left times one from the right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Emitter, Reader
from ..core.errors import DtypeError, ShapeError, teach
from ..core.formula import Formula, axes_text, called
from ..core.op import Op, op
from ..core.tracing import type_of
from ..core.types import ArrayType
from .arithmetic import constant_of, div
from .casting import convert
from .families import (
    Weighted,
    axes_examples,
    check_axes,
    default_rng,
    fold_axes,
    put_back,
    reduce_sum,
    spread,
)
from .logic import equal
from .movement import inverse_order, permute, reshape
from .ordering import maximum
from .running import (
    Cumlogsumexp,
    Cummax,
    Cummin,
    Cumprod,
    Cumsum,
    Recurrence,
    cumlogsumexp,
    cummax,
    cummin,
    cumprod,
    cumsum,
    product_of_others,
    recurrence,
)

__all__ = [
    "Cumlogsumexp", "Cummax", "Cummin", "Cumprod", "Cumsum", "Recurrence", "ReduceAnd", "ReduceMax", "ReduceMin", "ReduceOr", "ReduceProd",
    "cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum", "recurrence", "reduce_and", "reduce_max", "reduce_min",
    "reduce_or", "reduce_prod",
]  # fmt: skip


class Reduction(Op):
    """A reduction over ``axes``. ``monoid`` names it to an emitter; ``numpy`` is the ufunc whose ``reduce`` is its meaning."""

    total = True
    family = "reduction"
    axes: tuple[int, ...]
    takes: ClassVar[str] = "biuf"
    monoid: ClassVar[str]
    numpy: ClassVar[np.ufunc]
    has_identity: ClassVar[bool] = True

    def type_rule(self, x: ArrayType) -> ArrayType:
        check_axes(self, x)
        if x.dtype.kind not in self.takes:
            raise teach(DtypeError, f"{self.name} does not take {x.dtype} operands.", do="convert to a dtype that it takes first.")
        if not self.has_identity and any(x.shape[k] == 0 for k in self.axes):
            raise teach(
                ShapeError,
                f"{self.name} of no elements: axes {self.axes} of an array of shape {x.shape}.",
                do="give an initial value, or test the size first.",
            )
        return x.with_shape(tuple(n for k, n in enumerate(x.shape) if k not in self.axes))

    def impl(self, x: Any) -> Any:
        y = self.numpy.reduce(x, axis=self.axes)
        dtype = x.dtype if isinstance(x, np.ndarray | np.generic) else np.asarray(x).dtype
        return y if y.dtype == dtype else y.astype(dtype)  # NumPy widens small integers in sums and products

    def element(self, e: Emitter, i: Sequence[Any], x: Reader) -> Any:
        return fold_axes(e, self.monoid, self.axes, i, x)

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return type(self)(tuple(k + 1 for k in self.axes))(x), True  # type: ignore[call-arg]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        return self(*primals), None

    def formula(self, x: Formula) -> Formula:
        return called(self.name.removeprefix("reduce_"), x, **axes_text(self.axes, x))

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        return axes_examples(cls, empty=cls.has_identity)


class Extremum(Weighted, Reduction):
    """max or min over axes: the tangent is the mean of the tangents of the tied elements."""

    has_identity = False

    def singular(self, x: Any) -> Any:
        return np.sum(x == np.expand_dims(self.impl(x), self.axes), self.axes) > 1

    def weighted(self, x: Any) -> tuple[Any, Any, None]:
        y = self(x)
        return y, ExtremumShare(self.axes)(x, y), None


@op
class ExtremumShare(Op):
    """The share of each element in the extremum y over ``axes``: 1 over the number of elements that are equal to y, 0 for the others."""

    total = True
    family = "flat"
    axes: tuple[int, ...]
    takes: ClassVar[str] = "f"
    library: ClassVar[str] = "extremum_share"

    def type_rule(self, x: ArrayType, y: ArrayType) -> ArrayType:
        check_axes(self, x)
        if x.dtype.kind not in self.takes or y.dtype != x.dtype:
            raise teach(DtypeError, f"{self.name} of {x.dtype} and {y.dtype}.", do="give floating-point numbers of one dtype.")
        if y.shape != tuple(n for k, n in enumerate(x.shape) if k not in self.axes):
            raise teach(ShapeError, f"{self.name}: shapes {x.shape} and {y.shape}, axes {self.axes}.", do="give an array and its extrema.")
        return x.with_shape(x.shape)

    def impl(self, x: Any, y: Any) -> Any:
        if len(self.axes) == x.ndim:
            equals = np.equal(x, y)
            most = count = np.count_nonzero(equals)
        else:
            equals = np.equal(x, np.asarray(y).reshape([1 if k in self.axes else n for k, n in enumerate(x.shape)]))
            count = np.add.reduce(equals, self.axes, dtype=np.int64, keepdims=True)
            most = count.max(initial=0)
        return equals.astype(x.dtype) if most < 2 else equals / np.maximum(count, 1).astype(x.dtype)  # no element is equal to nan

    def written_out(self, x: Any, y: Any) -> Sequence[Any]:  # type: ignore[override]
        t = type_of(x)
        ties = convert(equal(x, put_back(y, t.shape, self.axes)), t.dtype)
        count = maximum(reduce_sum(ties, self.axes), constant_of(1, t.dtype))
        return [div(ties, put_back(count, t.shape, self.axes))]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, None]:
        return self(*primals), None

    def batch(self, size: int, batched: Sequence[bool], x: Any, y: Any) -> tuple[Any, bool]:
        x, y = (v if b else spread(v, size) for v, b in zip((x, y), batched, strict=True))
        return ExtremumShare(tuple(k + 1 for k in self.axes))(x, y), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for axes, shape in (((0,), (3,)), ((1,), (2, 3, 2)), ((0, 2), (2, 3, 2)), ((1,), (0, 3))):
            x = rng.normal(size=shape)
            yield cls(axes), (x, np.max(x, axes))
        yield cls((0,)), (np.array([1.0, 3.0, 3.0]), np.array(3.0))


@op
class ReduceMax(Extremum):
    """The largest element over ``axes``; nan if one is nan."""

    axes: tuple[int, ...]
    monoid, numpy = "max", np.maximum


@op
class ReduceMin(Extremum):
    """The smallest element over ``axes``; nan if one is nan."""

    axes: tuple[int, ...]
    monoid, numpy = "min", np.minimum


@op
class ReduceProd(Weighted, Reduction):
    """The product over ``axes``; 1 for no elements."""

    axes: tuple[int, ...]
    monoid, numpy, takes = "mul", np.multiply, "iufc"

    def weighted(self, x: Any) -> tuple[Any, Any, None]:
        shape = type_of(x).shape
        if len(self.axes) == 1:
            return self(x), product_of_others(x, self.axes[0]), None
        # One reduced axis, moved to the end, so that "the elements before k" is defined.
        order = (*[k for k in range(len(shape)) if k not in self.axes], *self.axes)
        kept = tuple(n for k, n in enumerate(shape) if k not in self.axes)
        flat = (*kept, prod([shape[k] for k in self.axes]))
        others = product_of_others(reshape(permute(x, order), flat), len(kept))
        return self(x), permute(reshape(others, [shape[k] for k in order]), inverse_order(order)), None


@op
class ReduceAnd(Reduction):
    """Whether all are true over ``axes``; for integers the bitwise and."""

    axes: tuple[int, ...]
    monoid, numpy, takes = "and", np.bitwise_and, "biu"

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        return logical_examples(cls)


@op
class ReduceOr(Reduction):
    """Whether any is true over ``axes``; for integers the bitwise or."""

    axes: tuple[int, ...]
    monoid, numpy, takes = "or", np.bitwise_or, "biu"

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        return logical_examples(cls)


def logical_examples(cls: Any) -> Iterable[tuple[Op, tuple[Any, ...]]]:
    """Bools and integers to reduce."""
    rng = default_rng()
    yield cls((0,)), (rng.integers(0, 2, 3).astype(bool),)
    yield cls((0, 2)), (rng.integers(0, 2, (2, 3, 2)).astype(bool),)
    yield cls((1,)), (rng.integers(0, 8, (2, 3)),)
    yield cls((0,)), (np.zeros((0, 3), bool),)


# ---- as functions ------------------------------------------------------------------------------------------------------
def reduce_max(x: Any, axes: Sequence[int]) -> Any:
    """`ReduceMax`, or ``x`` itself for no axes."""
    return ReduceMax(tuple(axes))(x) if axes else x


def reduce_min(x: Any, axes: Sequence[int]) -> Any:
    """`ReduceMin`, or ``x`` itself for no axes."""
    return ReduceMin(tuple(axes))(x) if axes else x


def reduce_prod(x: Any, axes: Sequence[int]) -> Any:
    """`ReduceProd`, or ``x`` itself for no axes."""
    return ReduceProd(tuple(axes))(x) if axes else x


def reduce_and(x: Any, axes: Sequence[int]) -> Any:
    """`ReduceAnd`, or ``x`` itself for no axes."""
    return ReduceAnd(tuple(axes))(x) if axes else x


def reduce_or(x: Any, axes: Sequence[int]) -> Any:
    """`ReduceOr`, or ``x`` itself for no axes."""
    return ReduceOr(tuple(axes))(x) if axes else x
