"""The type of an array: shape, dtype, and whether it is weak.

A *weak* type is that of a Python scalar: it takes part in promotion by its kind only, as NEP 50 says
(``float32_array * 2.0`` stays float32). Types are made by `array_type` only, which interns them: making one costs a cache look-up, and
two types are equal if they are one object, so they are cheap keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any, NoReturn

import numpy as np

from .errors import DtypeError, teach

__all__ = [
    "DTYPES", "ArrayType", "Shape", "StackType", "Type", "array_type", "dtype_name", "is_inexact", "is_known", "refuse_foreign_dtype",
    "stack_type",
]  # fmt: skip

Shape = tuple[int, ...]
DTYPES = frozenset(
    np.dtype(name)
    for name in (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64", "complex64", "complex128",
    )
)  # fmt: skip
"""Every dtype that an array can have here, in native byte order."""
REMEDIES = {
    "f": "convert it with .astype(np.float64): no engine computes in extended precision.",
    "c": "convert it with .astype(np.complex128): no engine computes in extended precision.",
    "M": "subtract a reference date and divide by a unit: (t - t0) / np.timedelta64(1, 's').",
    "m": "divide by a unit: dt / np.timedelta64(1, 's').",
    "O": "make an array of numbers of it (np.asarray(x, float)), or pass its elements as a list.",
    "V": "pass its fields as separate arrays.",
}
"""The advice for an array of another dtype, by the dtype's kind."""


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

    def __reduce__(self) -> Any:
        return array_type, (self.shape, self.dtype, self.weak)  # there is one of each

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
    """``f64[3]...``: values of one type, one for each step that a loop of unknown length took, kept for its derivative.

    No user sees one. Only ops that hold programs take them. On a batch, each element has the batch axis.
    """

    element: Type

    def __reduce__(self) -> Any:
        return stack_type, (self.element,)

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


@cache
def interned(shape: Shape, dtype: np.dtype[Any], weak: bool) -> ArrayType:
    """The ArrayType of these fields, made once, if cotan has the dtype."""
    if not is_known(dtype):
        refuse_foreign_dtype("this operation has a result", dtype)
    return ArrayType(shape, dtype, weak)


def is_known(dtype: np.dtype[Any]) -> bool:
    """Whether arrays here can have this dtype, in either byte order."""
    return dtype in DTYPES or (not dtype.isnative and dtype.newbyteorder("=") in DTYPES)


def refuse_foreign_dtype(what: str, dtype: np.dtype[Any]) -> NoReturn:
    """Raise: ``what`` is of a dtype that NumPy has and cotan does not."""
    do = REMEDIES.get(dtype.kind, "pass numbers; make other arguments static: a closure, functools.partial, or jit's static_argnums.")
    raise teach(DtypeError, f"{what} of dtype {dtype}; arrays here are of bool, integer, float (16, 32, 64 bits) or complex dtype.", do=do)


def array_type(shape: Shape, dtype: np.dtype[Any], weak: bool = False) -> ArrayType:
    """The one ArrayType of these fields.

    Raises:
        DtypeError: there are no arrays of this dtype here.
    """
    return interned(shape, dtype, weak)


@cache
def stack_type(element: Type) -> StackType:
    """The one StackType of this element type."""
    return StackType(element)
