"""Creation: arrays made without an operand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..core.emitting import Emitter
from ..core.errors import DtypeError, ShapeError, teach
from ..core.op import Op, op
from ..core.types import ArrayType, Shape, array_type
from .families import broadcast_in_dim

__all__ = ["Iota", "full", "iota"]

INT64 = np.dtype(np.int64)


@op
class Iota(Op):
    """The index along ``axis``: out[i] = i[axis]."""

    total = True
    shape: Shape
    dtype: np.dtype[Any]
    axis: int
    family = "creation"

    def type_rule(self) -> ArrayType:
        if not 0 <= self.axis < len(self.shape):
            raise teach(ShapeError, f"iota: axis {self.axis} of the shape {self.shape}.", do="give an axis from 0 to ndim - 1.")
        if self.dtype.kind not in "iufc":
            raise teach(DtypeError, f"iota does not make {self.dtype} arrays.", do="make it of a number dtype and convert it.")
        return array_type(self.shape, self.dtype)

    def impl(self) -> Any:
        n = self.shape[self.axis]
        line = np.arange(n, dtype=self.dtype)
        if len(self.shape) == 1:
            return line
        return np.broadcast_to(line.reshape((n,) + (1,) * (len(self.shape) - 1 - self.axis)), self.shape)

    def element(self, e: Emitter, i: Sequence[Any]) -> Any:
        return e.as_scalar(i[self.axis], self.dtype)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        yield cls((3,), INT64, 0), ()
        yield cls((2, 3, 2), np.dtype(np.float64), 1), ()
        yield cls((2, 3), np.dtype(np.complex64), 0), ()
        yield cls((0, 3), INT64, 1), ()


def iota(shape: Sequence[int], axis: int = 0, dtype: np.dtype[Any] = INT64) -> Any:
    """`Iota`."""
    return Iota(tuple(shape), dtype, axis)()


def full(shape: Sequence[int], value: Any) -> Any:
    """The scalar ``value`` at every index of ``shape``."""
    return broadcast_in_dim(value, tuple(shape), ())
