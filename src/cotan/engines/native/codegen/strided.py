"""Strided views: arrays in memory that a kernel reads and writes, with any strides.

Loads are not remembered: a kernel may write to elements that it has read.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from cotan.core.emitting import DType
from cotan.engines.native.affine import ElementIndex, Index, linear
from cotan.engines.native.scalar.emitter import LlvmEmitter, Scalar

from .values import load, memory_type, store

__all__ = ["StridedView", "row_major", "strides_of"]


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides of a contiguous array, in elements."""
    return tuple(prod(shape[k + 1 :]) for k in range(len(shape)))


def strides_of(index: ElementIndex, shape: Sequence[int], ndim: int) -> tuple[list[int], int] | None:
    """The strides, along ``ndim`` axes, of the reads of a contiguous array at an index in the symbols of these axes
    (`analysis.access.axis`), and the offset of the first read; None if the index is not affine in the symbols.
    """
    offset = linear(list(zip(index, row_major(shape), strict=True)))
    strides = [0] * ndim
    if type(offset) is not Index:
        return strides, offset
    for atom, factor in offset.terms.items():
        if atom.of is not None or type(atom.value) is not tuple or atom.value[0] != "o":
            return None
        strides[atom.value[1]] = factor
    return strides, offset.constant


class StridedView:
    """Elements at ``start + sum of index * stride`` from a pointer, counted in elements."""

    def __init__(
        self, e: LlvmEmitter, at: str, dtype: DType, shape: Sequence[int], steps: Sequence[int] | None = None, start: Index | int = 0
    ):
        self.e, self.at, self.dtype, self.shape, self.start = e, at, dtype, tuple(shape), start
        self.strides = row_major(shape) if steps is None else tuple(steps)

    def offset(self, index: ElementIndex | Index | int) -> Index | int:
        """The offset of an element."""
        index = index if isinstance(index, tuple) else (index,)
        assert len(index) == len(self.shape), (index, self.shape)
        return linear([(self.start, 1), *zip(index, self.strides, strict=True)])

    def __getitem__(self, index: ElementIndex | Index | int) -> Scalar:
        return load(self.e, self.at, self.dtype, self.offset(index))

    def __setitem__(self, index: ElementIndex | Index | int, x: Scalar) -> None:
        store(self.e, self.at, self.e.cast(x, self.dtype), self.offset(index))

    def part(self, *leading: Index | int) -> StridedView:
        n = len(leading)
        start = linear([(self.start, 1), *zip(leading, self.strides[:n], strict=True)])
        return StridedView(self.e, self.at, self.dtype, self.shape[n:], self.strides[n:], start)

    def shifted(self, elements: Index | int) -> StridedView:
        return StridedView(self.e, self.at, self.dtype, self.shape, self.strides, linear([(self.start, 1), (elements, 1)]))

    def transposed(self, order: Sequence[int]) -> StridedView:
        """The view with its axes in another order."""
        return StridedView(self.e, self.at, self.dtype, [self.shape[k] for k in order], [self.strides[k] for k in order], self.start)

    def view(self, dtype: DType) -> StridedView:
        assert dtype.itemsize == self.dtype.itemsize, (dtype, self.dtype)
        return StridedView(self.e, self.at, dtype, self.shape, self.strides, self.start)

    @property
    def mT(self) -> StridedView:  # noqa: N802 - NumPy's name
        n = len(self.shape)
        return self.transposed((*range(n - 2), n - 1, n - 2))

    @property
    def pointer(self) -> str:
        """The pointer to its first element."""
        return self.e.module.code.address(self.at, memory_type(self.dtype), self.start)
