"""`Array`: what cotan's functions return. An ndarray to everyone else, with ``.at`` besides; a 0-d one is a number, which never changes."""

from __future__ import annotations

import math
import numbers
import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .operators import surface
from .subclasses import refuse_other_meaning
from .tracing import TYPE_READERS, Tracer
from .types import DTYPES

__all__ = ["Array", "handed", "plain", "settled", "to_array", "unwrapped"]


item = np.ndarray.__getitem__


class ArrayClass(type):
    """The class of `Array`: a traced array is an instance of it, too, as in JAX."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return type.__instancecheck__(cls, instance) or (cls is Array and type(instance) is Tracer)


def is_traced(index: Any) -> bool:
    """Whether a part of an index is a traced value, or a list of them."""
    kind = type(index)
    return kind is Tracer or ((kind is list or kind is tuple) and any(map(is_traced, index)))


def in_place(name: str) -> Callable[[Any, Any], Any]:
    """The method of ``x += y`` and the like: NumPy's of an array; of a number a new one, as NumPy's scalars and traced values have it."""
    change, compute = getattr(np.ndarray, f"__{name}__"), getattr(operator, f"__{name[1:]}__")

    def method(x: Any, y: Any) -> Any:
        return change(x, y) if x.ndim else compute(x, y)

    method.__name__ = f"__{name}__"
    return method


class Array(np.ndarray[Any, np.dtype[Any]], metaclass=ArrayClass):
    """An ndarray with the functional updates of JAX: ``x.at[i].set(v)`` is a changed copy.

    Every NumPy function takes it, and its arithmetic is NumPy's own. It is writable, like any ndarray, unless it is 0-d. A 0-d Array is a
    number, like NumPy's scalars: it is read-only (``x += 1`` makes a new one), it hashes and rounds by value, and it is an instance of
    `numbers.Real`, `numbers.Integral` or `numbers.Complex`.
    """

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        kind = type(index)
        if kind is int or kind is slice:  # most often, and never of a number
            return item(self, index)
        if kind is Tracer or ((kind is tuple or kind is list) and any(map(is_traced, index))):
            return surface().getitem(self, index)
        y = item(self, index)
        return y if self.ndim else free_of(self, y)

    @property
    def at(self) -> Any:
        return surface().at(self)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return surface()

    # ---- a 0-d array is a number -----------------------------------------------------------------------------------------
    __iadd__, __isub__, __imul__ = in_place("iadd"), in_place("isub"), in_place("imul")
    __itruediv__, __ifloordiv__, __imod__ = in_place("itruediv"), in_place("ifloordiv"), in_place("imod")
    __ipow__, __imatmul__ = in_place("ipow"), in_place("imatmul")
    __iand__, __ior__, __ixor__ = in_place("iand"), in_place("ior"), in_place("ixor")
    __ilshift__, __irshift__ = in_place("ilshift"), in_place("irshift")

    def reshape(self, *shape: Any, **options: Any) -> Any:
        return free_of(self, super().reshape(*shape, **options))

    def ravel(self, order: Any = "C") -> Any:
        return free_of(self, super().ravel(order))

    def __hash__(self) -> int:  # type: ignore[override]
        if self.ndim:
            raise TypeError(f"unhashable: an Array of shape {self.shape}; only 0-d ones are numbers.")
        return hash(self.item())

    def __round__(self, ndigits: int | None = None) -> Any:
        if self.ndim:
            raise TypeError("round() of an array with axes; write cotan.numpy.round(x, decimals).")
        number = round(super().__getitem__(()), ndigits)  # type: ignore[call-overload]
        return number if ndigits is None else to_array(number)

    def __trunc__(self) -> int:
        return math.trunc(self.item())

    def __floor__(self) -> int:
        return math.floor(self.item())

    def __ceil__(self) -> int:
        return math.ceil(self.item())

    def __getattr__(self, name: str) -> Any:
        if name in OF_NUMBERS and not self.ndim:
            return getattr(super().__getitem__(()), name)  # type: ignore[call-overload]
        raise AttributeError(f"'Array' object has no attribute {name!r}", name=name, obj=self)

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # type: ignore[override]
        return type(self) if self.ndim else NUMBERS.get(self.dtype.kind, type(self))


OF_NUMBERS = frozenset({"numerator", "denominator", "is_integer", "as_integer_ratio", "hex"})
"""Attributes of NumPy's scalars that its arrays lack."""


def free_of(number: Array, y: Any) -> Any:
    """``y``, made of ``number``; a copy where it is an array with axes that would view the number, which never changes."""
    return y.copy() if not number.ndim and isinstance(y, np.ndarray) and y.ndim else y


def settled(y: Any) -> Any:
    """``y``, a new Array: read-only if it is 0-d, as it is a number then."""
    if not y.ndim:
        y.setflags(write=False)
    return y


class IntegerArray(Array):
    """The class of a 0-d Array of integers, for `isinstance`."""

    __slots__ = ()


class RealArray(Array):
    """The class of a 0-d Array of floating-point numbers, for `isinstance`."""

    __slots__ = ()


class ComplexArray(Array):
    """The class of a 0-d Array of complex numbers, for `isinstance`."""

    __slots__ = ()


numbers.Integral.register(IntegerArray)
numbers.Real.register(RealArray)
numbers.Complex.register(ComplexArray)
NUMBERS: dict[str, type] = {"i": IntegerArray, "u": IntegerArray, "f": RealArray, "c": ComplexArray}
TYPE_READERS[Array] = TYPE_READERS[np.ndarray]


def to_array(x: Any, given: Sequence[Any] = ()) -> Any:
    """A result on its way to the user: an Array of its own memory; a tracer as it is.

    A view of memory that others may hold is copied, and so is an array that is one of the arguments ``given``.
    """
    kind = type(x)
    for other in given:
        if x is other and kind is np.ndarray:
            return settled(x.copy().view(Array))
    if kind is np.ndarray:
        return settled(x.view(Array) if (x.base is None or is_only_view(x)) and x.flags.writeable else x.copy().view(Array))
    return x if kind is Tracer or kind is Array else settled(np.array(x).view(Array))


def is_only_view(x: np.ndarray[Any, Any]) -> bool:
    """Whether ``x`` is most of the memory that it views, in row-major order, and nobody else refers to that memory: a reshaped result, or
    one without its ends.
    """
    base = x.base
    if type(base) is not np.ndarray or 2 * x.size < base.size or base.dtype != x.dtype:
        return False
    return base.flags.owndata and x.flags.c_contiguous and sys.getrefcount(base) <= OWN_REFERENCES


def own_references() -> int:
    """The references to the base of an array that `is_only_view` counts if there are no others."""
    x = np.empty(2).reshape(1, 2)
    base = x.base
    return sys.getrefcount(base)


OWN_REFERENCES = own_references()


class Between(np.ndarray[Any, np.dtype[Any]]):
    """The view between an array and the `Array` that views it.

    NumPy has a view of a view refer to the first array, unless the view between is of another class. With this class between, a view of
    the Array refers to the Array, which is then read-only, too, while a recording holds it (see `borrowing`).
    """

    __slots__ = ()


def handed(x: Any) -> Any:
    """An argument on its way to the user's function, which may index it by a traced value: an ndarray with axes as an Array."""
    return linked(x, Array) if type(x) is np.ndarray and x.ndim and x.dtype in DTYPES else x


def linked(x: np.ndarray[Any, Any], kind: type[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """A view of ``x``, of this class, that refers to ``x``, and whose views refer to it."""
    between = x.view(Between)
    y = between.view(kind)
    between.setflags(write=False)  # so that there is nothing to lend
    return y


def unwrapped(x: Any) -> Any:
    """The traced array in ``x.data``, if ``x`` is an object of another library (an xarray.DataArray, say) that holds one; else ``x``."""
    if isinstance(x, np.ndarray | np.generic | Tracer) or not hasattr(x, "__array__"):
        return x
    data = getattr(x, "data", None)
    return data if type(data) is Tracer else x


def plain(x: Any) -> Any:
    """An argument on its way in: a base-class ndarray in native byte order; scalars and tracers as they are.

    Raises:
        ArgumentTypeError: a subclass whose operators mean something else (see `subclasses`).
    """
    if isinstance(x, np.ndarray):
        if type(x) is not np.ndarray:
            if type(x) is not Array:
                refuse_other_meaning(x)
            y = x.view(np.ndarray)
            x = y if y.base is x else linked(x, np.ndarray)
        return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))
    return x
