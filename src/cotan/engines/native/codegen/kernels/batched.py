"""Batched kernels: straight-line code on many small arrays at once, one array in each lane of a vector.

Blocks of as many arrays as a vector has lanes are copied to memory in which element ``i`` of all of them is contiguous; of complex numbers,
the real and the imaginary parts are, each by themselves. There the code is a loop over the lanes, which LLVM vectorizes. The last block
overlaps the one before, so every block is full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TypeVar

import numpy as np

from cotan.core.emitting import DType
from cotan.engines.native.affine import ElementIndex, Index, linear, variable
from cotan.engines.native.analysis.access import Reader
from cotan.engines.native.codegen.loop_builder import LoopBuilder
from cotan.engines.native.codegen.strided import StridedView, row_major
from cotan.engines.native.codegen.values import memory_type
from cotan.engines.native.llvm.jit import machine
from cotan.engines.native.scalar.expression import Scalar

from .transpose import copy_matrix

__all__ = ["batched", "dense_batch", "gapless"]

OperandT = TypeVar("OperandT", bound=Reader)


def batched(
    w: LoopBuilder,
    lead: tuple[int, ...],
    operands: Sequence[OperandT],
    results: Sequence[StridedView],
    body: Callable[..., None],
    stacked: Callable[[OperandT], DenseBatch],
) -> None:
    """``body(*blocks)`` for every index below ``lead``; ``stacked`` gives an operand in memory without gaps."""
    count = prod(lead)
    if not count:
        return
    lanes = lanes_of([x.dtype for x in (*operands, *results)])
    if count < lanes:
        w.every(lead, lambda k: body(*[Shifted(x, k) for x in operands], *[y.part(*k) for y in results]))
        return
    stacks = [stacked(x) for x in operands]
    w.outlined(lambda: BatchLoop(w, count, lanes, [*stacks, *[gapless(y, len(lead)) for y in results]], len(stacks)).write(body))


def lanes_of(dtypes: Sequence[DType]) -> int:
    """The lanes of a vector of the widest of these dtypes, of complex ones of their parts."""
    return max(machine().width // (8 * max(as_reals(dtype).itemsize for dtype in dtypes)), 1)


def as_reals(dtype: DType) -> DType:
    """The dtype of the parts of complex numbers; other dtypes are unchanged."""
    return np.finfo(dtype).dtype if dtype.kind == "c" else dtype


class Shifted:
    """An operand under leading indices, as a readable block."""

    def __init__(self, x: Reader, leading: ElementIndex):
        self.x, self.leading, self.dtype, self.shape = x, leading, x.dtype, x.shape[len(leading) :]

    def __getitem__(self, index: ElementIndex | Index | int) -> Scalar:
        return self.x((*self.leading, *(index if isinstance(index, tuple) else (index,))))


class BatchLane:
    """One array of a batch whose lanes are the first axis of the block. The parts of complex numbers are the last axis."""

    def __init__(self, block: StridedView, lane: Index | int, dtype: DType):
        self.block, self.lane, self.dtype, self.shape = block, lane, dtype, block.shape[1:]
        if dtype.kind == "c":
            self.shape = self.shape[:-1]

    def at(self, index: ElementIndex | Index | int) -> ElementIndex:
        return (self.lane, *(index if isinstance(index, tuple) else (index,)))

    def __getitem__(self, index: ElementIndex | Index | int) -> Scalar:
        at = self.at(index)
        if self.dtype.kind != "c":
            return self.block[at]
        return Scalar((self.block[(*at, 0)].register, self.block[(*at, 1)].register), self.dtype)

    def __setitem__(self, index: ElementIndex | Index | int, x: Scalar) -> None:
        at = self.at(index)
        if self.dtype.kind != "c":
            self.block[at] = x
        else:
            for k, part in enumerate(self.block.e.parts(self.block.e.cast(x, self.dtype))):
                self.block[(*at, k)] = part


class DenseBatch:
    """A contiguous batch of arrays: the shape of an array in memory order, and the position of each axis in that order."""

    def __init__(self, flat: StridedView, shape: tuple[int, ...], order: tuple[int, ...]):
        self.flat, self.shape, self.order, self.size = flat, shape, order, prod(shape)


def dense_batch(block: StridedView, depth: int) -> DenseBatch | None:
    """A view as a batch, its first ``depth`` axes as one; None if it has gaps or overlaps."""
    rest, steps = block.shape[depth:], block.strides[depth:]
    order = tuple(sorted(range(len(rest)), key=lambda k: (-steps[k], -rest[k])))
    lying = tuple(rest[k] for k in order)
    whole = (*block.shape[:depth], *lying)
    have = (*block.strides[:depth], *[steps[k] for k in order])
    if any(n != 1 and a != b for n, a, b in zip(whole, have, row_major(whole), strict=True)):
        return None
    count = prod(block.shape[:depth])
    flat = StridedView(block.e, block.at, block.dtype, (count, prod(rest)), None, block.start)
    return DenseBatch(flat, lying, tuple(order.index(k) for k in range(len(rest))))


def gapless(block: StridedView, depth: int) -> DenseBatch:
    """`dense_batch` of a view that has no gaps."""
    found = dense_batch(block, depth)
    assert found is not None, (block.shape, block.strides)
    return found


class BatchLoop:
    """The loop over blocks of ``lanes`` arrays. The first ``inputs`` batches are read, the others written."""

    def __init__(self, w: LoopBuilder, count: int, lanes: int, stacks: Sequence[DenseBatch], inputs: int):
        self.w, self.code, self.count, self.lanes, self.stacks, self.inputs = w, w.code, count, lanes, stacks, inputs

    def write(self, body: Callable[..., None]) -> None:
        code, lanes, number = self.code, self.lanes, -(-self.count // self.lanes)
        sides = [self.side(s) for s in self.stacks]

        def one(k: str) -> None:
            first = self.w.block_start(variable(k, number), self.count, lanes)
            parts = [self.part(s, first) for s in self.stacks]
            for part, side in zip(parts[: self.inputs], sides, strict=False):
                copy_matrix(self.w, part, side)
            views = [self.view(side, s) for side, s in zip(sides, self.stacks, strict=True)]
            dtypes = [s.flat.dtype for s in self.stacks]
            self.w.vectorized(lanes, lambda k: body(*[BatchLane(view, k, dtype) for view, dtype in zip(views, dtypes, strict=True)]))
            for part, side in zip(parts[self.inputs :], sides[self.inputs :], strict=True):
                copy_matrix(self.w, side, part)

        code.loop(str(number), one)

    def part(self, s: DenseBatch, first: Index | int) -> StridedView:
        """The arrays of a block as rows of real numbers."""
        each = 2 if s.flat.dtype.kind == "c" else 1
        offset = linear([(s.flat.offset((first, 0)), each)])
        return StridedView(self.w.emitter, s.flat.at, as_reals(s.flat.dtype), (self.lanes, each * s.size), None, offset)

    def side(self, s: DenseBatch) -> StridedView:
        """Memory in which the lanes of an element are contiguous, as a view ``[lane, element]``."""
        dtype, size = as_reals(s.flat.dtype), s.size * (2 if s.flat.dtype.kind == "c" else 1)
        at = self.code.alloca(f"[{max(size * self.lanes, 1)} x {memory_type(dtype)}]")
        return StridedView(self.w.emitter, at, dtype, (self.lanes, size), (1, self.lanes))

    def view(self, side: StridedView, s: DenseBatch) -> StridedView:
        """The arrays in it, by their own axes, and the parts of complex numbers."""
        parts = (2,) if s.flat.dtype.kind == "c" else ()
        steps = [self.lanes * step for step in row_major((*s.shape, *parts))]
        shape, strides = [s.shape[k] for k in s.order], [steps[k] for k in s.order]
        last = steps[len(s.shape) :]
        return StridedView(self.w.emitter, side.at, side.dtype, (self.lanes, *shape, *parts), (1, *strides, *last))
