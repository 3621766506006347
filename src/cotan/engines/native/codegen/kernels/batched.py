"""Batched kernels: straight-line code on many small arrays at once, one array in each lane of a vector.

Blocks of as many arrays as a vector has lanes are copied to memory in which element ``i`` of all of them is contiguous; of complex numbers,
the real and the imaginary parts are, each by themselves. There the code is a loop over the lanes, which LLVM vectorizes. The last block
overlaps the one before, so every block is full.

A kernel with loops (`batches`) has a `LaneBatch`: its steps are loops over the lanes, between which there may be other loops. The lanes of
a step share no memory, which LLVM is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
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

__all__ = ["LaneBatch", "batch_lanes", "batched", "dense_batch", "gapless"]

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

    @property
    def number(self) -> int:
        """The number of blocks."""
        return -(-self.count // self.lanes)

    def write(self, body: Callable[..., None]) -> None:
        def run(batch: LaneBatch, *arrays: LaneArray) -> None:
            self.w.vectorized(self.lanes, lambda k: body(*[x.lane(k) for x in arrays]))

        self.code.loop(str(self.number), lambda k: self.block(variable(k, self.number), run))

    def block(self, k: Index | int, body: Callable[..., None]) -> None:
        """``body(batch, *arrays)`` on block ``k``."""
        sides = [self.side(s) for s in self.stacks]
        first = self.w.block_start(k, self.count, self.lanes)
        parts = [self.part(s, first) for s in self.stacks]
        for part, side in zip(parts[: self.inputs], sides, strict=False):
            copy_matrix(self.w, part, side)
        body(
            LaneBatch(self.w, self.lanes),
            *[LaneArray(self.view(side, s), s.flat.dtype) for side, s in zip(sides, self.stacks, strict=True)],
        )
        for part, side in zip(parts[self.inputs :], sides[self.inputs :], strict=True):
            copy_matrix(self.w, side, part)

    def part(self, s: DenseBatch, first: Index | int) -> StridedView:
        """The arrays of a block as rows of real numbers."""
        each = 2 if s.flat.dtype.kind == "c" else 1
        offset = linear([(s.flat.offset((first, 0)), each)])
        return StridedView(self.w.emitter, s.flat.at, as_reals(s.flat.dtype), (self.lanes, each * s.size), None, offset)

    def side(self, s: DenseBatch) -> StridedView:
        """Memory in which the lanes of an element are contiguous, as a view ``[lane, element]``."""
        return lane_memory(self.w, self.lanes, s.size * (2 if s.flat.dtype.kind == "c" else 1), as_reals(s.flat.dtype))

    def view(self, side: StridedView, s: DenseBatch) -> StridedView:
        """The arrays in it, by their own axes, and the parts of complex numbers."""
        parts = (2,) if s.flat.dtype.kind == "c" else ()
        steps = [self.lanes * step for step in row_major((*s.shape, *parts))]
        shape, strides = [s.shape[k] for k in s.order], [steps[k] for k in s.order]
        last = steps[len(s.shape) :]
        return StridedView(self.w.emitter, side.at, side.dtype, (self.lanes, *shape, *parts), (1, *strides, *last))


def lane_memory(w: LoopBuilder, lanes: int, size: int, dtype: DType) -> StridedView:
    """Memory on the stack for ``size`` real numbers of each lane, as a view ``[lane, element]``."""
    at = w.code.alloca(f"[{max(size * lanes, 1)} x {memory_type(dtype)}]")
    return StridedView(w.emitter, at, dtype, (lanes, size), (1, lanes))


# ---- kernels with loops ----------------------------------------------------------------------------------------------------
def batch_lanes(w: LoopBuilder, lead: tuple[int, ...], operands: Sequence[DenseBatch], results: Sequence[StridedView]) -> BatchLoop:
    """The blocks of a kernel with loops; of one array each, if there are fewer arrays than lanes."""
    count = prod(lead)
    lanes = lanes_of([*[x.flat.dtype for x in operands], *[y.dtype for y in results]])
    return BatchLoop(w, count, lanes if count >= lanes else 1, [*operands, *[gapless(y, len(lead)) for y in results]], len(operands))


class LaneArray:
    """An array of each lane: a view whose first axis are the lanes, and of complex numbers the last one their parts."""

    def __init__(self, view: StridedView, dtype: DType):
        self.view, self.dtype = view, dtype
        self.shape = view.shape[1:-1] if dtype.kind == "c" else view.shape[1:]

    def lane(self, k: Index | int) -> BatchLane:
        return BatchLane(self.view, k, self.dtype)


class LaneBatch:
    """Some arrays of a batch (`core.emitting.Batch`)."""

    def __init__(self, w: LoopBuilder, lanes: int):
        self.w, self.lanes = w, lanes
        self.lane: Index | int | None = None
        """The lane of the step that is being written."""

    def scratch(self, shape: Sequence[int], dtype: DType) -> LaneArray:
        whole = (*shape, 2) if dtype.kind == "c" else tuple(shape)
        memory = lane_memory(self.w, self.lanes, prod(whole), as_reals(dtype))
        strides = [self.lanes * step for step in row_major(whole)]
        return LaneArray(StridedView(memory.e, memory.at, memory.dtype, (self.lanes, *whole), (1, *strides)), dtype)

    def parts(self, array: LaneArray) -> LaneArray:
        view = array.view
        if array.dtype.kind != "c":
            view = StridedView(view.e, view.at, view.dtype, (*view.shape, 1), (*view.strides, 1), view.start)
        return LaneArray(view, view.dtype)

    def each(self, step: Callable[..., None], *arrays: LaneArray) -> None:
        if self.lane is not None:
            return step(*[x.lane(self.lane) for x in arrays])

        def one(k: Index | int) -> None:
            self.lane = k
            step(*[x.lane(k) for x in arrays])
            self.lane = None

        return self.w.independent(self.lanes, one)

    def over(self, count: int, step: Callable[..., None], *arrays: LaneArray) -> None:
        if self.lane is None:
            return self.w.every((count,), lambda k: self.each(lambda *views: step(*k, *views), *arrays))
        for k in range(count):
            step(k, *[x.lane(self.lane) for x in arrays])
        return None

    def some(self, flags: LaneArray) -> Scalar:
        """Whether a number is not zero in some lane."""
        e = self.w.emitter
        total = reduce(lambda x, y: e.math("add", x, y), [flags.view[(k,)] for k in range(self.lanes)])
        return e.math("ne", total, e.constant(0, total.dtype))

    def repeat(self, most: int, flags: LaneArray, body: Callable[[], None]) -> None:
        self.w.repeat(most, lambda: self.some(flags), body)

    def where_any(self, flags: LaneArray, body: Callable[[], None]) -> None:
        self.w.when(self.some(flags), body)
