"""Means, variances and norms over axes, with the weighted sum that is the tangent of each.

Of the n elements x_r that are reduced to one,

    mean(x) = sum_r x_r / n        mean_square(x) = sum_r x_r^2 / (n - k)
    norm(x) = (sum_r x_r^2)^(1/2)  variance(x) = mean_square(x - mean(x))

Each is one op, for without a compiler a step of Python takes longer than the arithmetic of a thousand numbers. An engine compiles the sums
and quotients that they are written out in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any, ClassVar

import numpy as np

from ..core.errors import DtypeError, teach
from ..core.formula import Formula, axes_text, called
from ..core.op import Op, op
from ..core.program import Var
from ..core.sizes import real
from ..core.tracing import type_of
from ..core.types import ArrayType, Shape
from .arithmetic import constant_of, div, integer_pow, sub
from .families import Weighted, axes_examples, check_axes, default_rng, put_back, reduce_sum, scale
from .transcendental import inverse_or_zero, norm_sqrt

__all__ = ["Mean", "MeanSquare", "Norm", "Variance", "mean", "mean_square", "norm", "variance"]


class Moment(Op):
    """A reduction over ``axes`` that is a sum and a function of it."""

    total = True
    family = "reduction"
    axes: tuple[int, ...]
    takes: ClassVar[str] = "f"

    def type_rule(self, x: ArrayType) -> ArrayType:
        check_axes(self, x)
        if x.dtype.kind not in self.takes:
            raise teach(DtypeError, f"{self.name} does not take {x.dtype} operands.", do="convert to a dtype that it takes first.")
        return x.with_shape(tuple([n for k, n in enumerate(x.shape) if k not in self.axes]))

    def count(self, shape: Shape) -> Any:
        """The number of elements that are reduced to one."""
        return prod([shape[k] for k in self.axes])

    def formula(self, x: Formula) -> Formula:
        return called(self.name, x, **axes_text(self.axes, x))

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        return axes_examples(cls, empty=False)


@op
class Mean(Moment):
    """The mean over ``axes``."""

    axes: tuple[int, ...]
    takes: ClassVar[str] = "fc"
    linear = ((0,),)
    tangent = "itself"
    library: ClassVar[str] = "mean"

    def impl(self, x: Any) -> Any:
        return np.add.reduce(x, self.axes, x.dtype) / x.dtype.type(self.count(x.shape))

    def written_out(self, x: Any) -> Sequence[Any]:  # type: ignore[override]
        t = type_of(x)
        return [div(reduce_sum(x, self.axes), as_dtype(self.count(t.shape), t.dtype))]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        return self(*primals), self(*tangents)

    # <y_bar, mean(x')> = sum_r (y_bar / n) x'_r
    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [put_back(div(y_bar, as_dtype(self.count(x.shape), x.dtype)), x.shape, self.axes)]

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return Mean(tuple([k + 1 for k in self.axes]))(x), True


class Quadratic(Weighted, Moment):
    """A sum of squares over ``axes`` divided by the number of elements less ``less``, which is at least zero."""

    axes: tuple[int, ...]
    less: float

    def degrees(self, shape: Shape, dtype: np.dtype[Any]) -> Any:
        """The denominator."""
        return as_dtype(max(real(self.count(shape) - self.less), 0.0), dtype)

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return type(self)(tuple([k + 1 for k in self.axes]), self.less)(x), True  # type: ignore[call-arg]

    # mean_square(x)' = sum_r 2 x_r / (n - k) x'_r
    def slope(self, x: Any) -> Any:
        """The weights in the tangent of the mean square."""
        t = type_of(x)
        return scale(div(constant_of(2, t.dtype), self.degrees(t.shape, t.dtype)), x)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for axes, shape in (((0,), (3,)), ((1,), (2, 3, 2)), ((0, 2), (2, 3, 2)), ((1,), (0, 3))):
            for less in (0.0, 1.5):
                yield cls(axes, less), (rng.normal(size=shape),)  # type: ignore[call-arg]


@op
class MeanSquare(Quadratic):
    """The sum of squares over ``axes`` by the number of elements less ``less``; nan or infinite if there are too few."""

    axes: tuple[int, ...]
    less: float
    library: ClassVar[str] = "mean_square"

    def impl(self, x: Any) -> Any:
        return np.add.reduce(x * x, self.axes, x.dtype) / self.degrees(x.shape, x.dtype)

    def written_out(self, x: Any) -> Sequence[Any]:  # type: ignore[override]
        t = type_of(x)
        return [div(reduce_sum(integer_pow(x, 2), self.axes), self.degrees(t.shape, t.dtype))]

    def weighted(self, x: Any) -> tuple[Any, Any, None]:
        return self(x), self.slope(x), None


@op
class Variance(Quadratic):
    """The sum of squared deviations from the mean over ``axes`` by the number of elements less ``less``; nan if there are too few."""

    axes: tuple[int, ...]
    less: float
    library: ClassVar[str] = "variance"

    def impl(self, x: Any) -> Any:
        total = np.add.reduce(x, self.axes, x.dtype, keepdims=True)
        deviations = x - total / x.dtype.type(self.count(x.shape))
        np.multiply(deviations, deviations, deviations)
        return np.add.reduce(deviations, self.axes, x.dtype) / self.degrees(x.shape, x.dtype)

    def written_out(self, x: Any) -> Sequence[Any]:  # type: ignore[override]
        return [MeanSquare(self.axes, self.less)(self.deviations(x))]

    def deviations(self, x: Any) -> Any:
        """The differences from the mean."""
        shape, m = type_of(x).shape, mean(x, self.axes)
        return sub(x, m if len(self.axes) == len(shape) else put_back(m, shape, self.axes))

    # The deviations d_r add up to zero, so the tangent of the mean does not count: sum_r d_r (x'_r - m') = sum_r d_r x'_r.
    def weighted(self, x: Any) -> tuple[Any, Any, None]:
        d = self.deviations(x)
        return MeanSquare(self.axes, self.less)(d), self.slope(d), None


@op
class Norm(Weighted, Moment):
    """The square root of the sum of squares over ``axes``. Its derivative at 0 is 0."""

    axes: tuple[int, ...]
    library: ClassVar[str] = "norm"

    def singular(self, x: Any) -> Any:
        return self.impl(x) == 0

    def impl(self, x: Any) -> Any:
        return np.sqrt(np.add.reduce(x * x, self.axes, x.dtype))

    def written_out(self, x: Any) -> Sequence[Any]:  # type: ignore[override]
        return [norm_sqrt(reduce_sum(integer_pow(x, 2), self.axes))]

    # norm(x)' = 1 / norm(x) sum_r x_r x'_r
    def weighted(self, x: Any) -> tuple[Any, Any, Any]:
        y = self(x)
        return y, x, inverse_or_zero(y)

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return Norm(tuple([k + 1 for k in self.axes]))(x), True


def as_dtype(n: Any, dtype: np.dtype[Any]) -> Any:
    """A number of elements in this dtype."""
    n = real(n)
    return dtype.type(n) if type(n) is float else n.converted(dtype)


# ---- as functions ------------------------------------------------------------------------------------------------------
def mean(x: Any, axes: Sequence[int]) -> Any:
    """`Mean`, or ``x`` itself for no axes."""
    return Mean(tuple(axes))(x) if axes else x


def mean_square(x: Any, axes: Sequence[int], less: float) -> Any:
    """`MeanSquare`."""
    return MeanSquare(tuple(axes), less)(x)


def variance(x: Any, axes: Sequence[int], less: float) -> Any:
    """`Variance`."""
    return Variance(tuple(axes), less)(x)


def norm(x: Any, axes: Sequence[int]) -> Any:
    """`Norm`."""
    return Norm(tuple(axes))(x)
