"""What an op's defining equation may say: the protocol between ``element`` and whoever reads it.

``element(e, i, *readers)`` gives element ``i`` (a tuple of indices) of the result as a scalar of elements of the operands,
``reader(index)``. The same few lines become a native loop, a printed formula, or (in the tests) a slow scalar interpretation that is
compared with ``impl``.

An index supports ``+ - * // %`` and the comparisons ``< <= > >=``, which give conditions that support ``& |``. A scalar is opaque: only
the emitter's methods touch it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

__all__ = ["Emitter", "Reader"]

Index = Any
Scalar = Any
Condition = Any


class Reader(Protocol):
    """An operand: its type, and the scalar at an index."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __call__(self, index: Sequence[Index]) -> Scalar: ...


class Emitter(Protocol):
    """The vocabulary of defining equations."""

    def math(self, name: str, *operands: Scalar) -> Scalar:
        """A scalar function by name: the ``machine`` name of an elementwise op."""
        ...

    def constant(self, value: Any, dtype: np.dtype[Any]) -> Scalar: ...

    def cast(self, operand: Scalar, dtype: np.dtype[Any]) -> Scalar: ...

    def choose(self, condition: Condition, yes: Callable[[], Scalar], no: Callable[[], Scalar]) -> Scalar:
        """``yes()`` where the index condition holds, else ``no()``; only the one taken may read its operands."""
        ...

    def fold(self, monoid: str, extents: Sequence[int], at: Callable[[Sequence[Index]], Scalar], dtype: np.dtype[Any]) -> Scalar:
        """The fold of ``at(r)`` over all indices ``r`` below ``extents`` with add, mul, max, min, and, or."""
        ...

    def as_index(self, operand: Scalar) -> Index:
        """An integer element as an index (a gather reads one to read another)."""
        ...

    def as_scalar(self, index: Index, dtype: np.dtype[Any]) -> Scalar:
        """An index as an element (``iota``)."""
        ...
