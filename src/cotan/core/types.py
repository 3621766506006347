"""The type of an array: shape, dtype, and whether it is weak.

A *weak* type is that of a Python scalar: it takes part in promotion by its kind only, as NEP 50 says
(``float32_array * 2.0`` stays float32). Types are made by `array_type` only, which interns them: making one costs a cache look-up, and
two types are equal if they are one object, so they are cheap keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from math import prod
from typing import Any

import numpy as np

__all__ = ["ArrayType", "Shape", "StackType", "Type", "array_type", "dtype_name", "is_inexact", "stack_type"]

Shape = tuple[int, ...]


def dtype_name(dtype: np.dtype[Any]) -> str:
    """The short name used in printed programs: f64, c128, i32, u8, bool."""
    return "bool" if dtype.kind == "b" else f"{dtype.kind}{dtype.itemsize * 8}"


def is_inexact(dtype: np.dtype[Any]) -> bool:
    """Whether values of this dtype have tangents (floating or complex)."""
    return dtype.kind in "fc"


@dataclass(frozen=True, slots=True, eq=False)
class ArrayType:
    """``f64[3,4]``: the shape and dtype of an array; ``weak`` for a Python scalar."""

    shape: Shape
    dtype: np.dtype[Any]
    weak: bool = False

    def __str__(self) -> str:
        return f"{dtype_name(self.dtype)}[{','.join(map(str, self.shape))}]{'*' if self.weak else ''}"

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def inexact(self) -> bool:
        """Whether a value of this type has a tangent."""
        return self.dtype.kind in "fc"

    def with_shape(self, shape: Shape) -> ArrayType:
        return array_type(shape, self.dtype)

    def with_dtype(self, dtype: np.dtype[Any]) -> ArrayType:
        return array_type(self.shape, dtype)

    def batched(self, size: int) -> ArrayType:
        """The type of ``size`` such arrays stacked along a new leading axis."""
        return array_type((size, *self.shape), self.dtype)

    @property
    def unbatched(self) -> ArrayType:
        """The type without its leading axis."""
        return array_type(self.shape[1:], self.dtype)

    def long_name(self) -> str:
        """As error messages say it: ``float64[3,4]``."""
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True, eq=False)
class StackType:
    """``f64[3]...``: values of one type, as many as a loop had steps. What a loop of unknown length keeps for its derivative.

    No user sees one. The ops that take them are those that hold programs. On a batch, each element has the batch axis.
    """

    element: Type

    def __str__(self) -> str:
        return f"{self.element}..."

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.element.dtype

    @property
    def inexact(self) -> bool:
        return self.element.inexact

    @property
    def nbytes(self) -> int:
        """The bytes of one entry: how many there will be is not known."""
        return self.element.nbytes

    def batched(self, size: int) -> StackType:
        return stack_type(self.element.batched(size))

    @property
    def unbatched(self) -> StackType:
        return stack_type(self.element.unbatched)

    def long_name(self) -> str:
        return f"{self.element.long_name()}..."


Type = ArrayType | StackType
interned = lru_cache(maxsize=None)(ArrayType)


def array_type(shape: Shape, dtype: np.dtype[Any], weak: bool = False) -> ArrayType:
    """The one ArrayType of these fields."""
    return interned(shape, dtype, weak)


@cache
def stack_type(element: Type) -> StackType:
    """The one StackType of this element type."""
    return StackType(element)
