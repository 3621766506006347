"""Tiled permuted copies: arrays whose axes are in another order are copied in blocks of the two contiguous axes.

Blocks that fit in registers (`transpose`) are taken tile by tile, so that few pages of memory are in use at a time, and threads take tiles.
The last blocks overlap others, so that all are full. A loop nest with such reads goes by tiles, too: each array's tile is first copied to
contiguous memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from cotan.core.program import Literal, Var
from cotan.engines.native.affine import ElementIndex, Index, bounds, linear, variable
from cotan.engines.native.codegen.failures import Failures
from cotan.engines.native.codegen.program import ProgramLowering
from cotan.engines.native.codegen.strided import StridedView, strides_of
from cotan.engines.native.codegen.values import Memory, memory_type, offset_of
from cotan.engines.native.schedule.loop_nest import Loop, Statement

from .builder import KernelBuilder
from .transpose import copy_matrix

__all__ = ["tiled_nest", "transposed_copy"]


def transposed_copy(lowering: ProgramLowering, v: Var | Literal, target: Memory) -> bool:
    """Write a view with permuted axes to its target as a tiled copy, if that is faster; whether it is written."""
    options = lowering.options
    if v not in lowering.schedule.views or v.type.size <= options.small_array:
        return False
    w = KernelBuilder(lowering, Failures())
    source = w.as_it_lies(v)
    if source is None or source.shape[-1] < options.transposed_axis or source.strides[-1] == 1:
        return False
    along = next(
        (k for k, (n, step) in enumerate(zip(source.shape, source.strides, strict=True)) if step == 1 and n >= options.transposed_axis),
        None,
    )
    if along is None:
        return False
    order = (*[k for k in range(len(source.shape) - 1) if k != along], along, len(source.shape) - 1)
    copy_tiles(w, source.transposed(order), w.result(target).transposed(order))
    return True


def copy_tiles(w: KernelBuilder, source: StridedView, target: StridedView) -> None:
    """Copy the matrices of the last two axes, tile by tile."""
    *lead, height, width = source.shape
    options = w.context.options
    sides = min(height, options.tile), min(width, options.tile)
    counts = -(-height // sides[0]), -(-width // sides[1])

    def tile(index: ElementIndex) -> None:
        *k, i, j = index
        first = (*k, w.block_start(i, height, sides[0]), w.block_start(j, width, sides[1]))
        parts = [StridedView(b.e, b.at, b.dtype, sides, b.strides[-2:], b.offset(first)) for b in (source, target)]
        copy_matrix(w, *parts)

    shape = (*lead, *counts)
    w.parallel_for(shape, lambda index: w.outlined(lambda: tile(index)), options.transposed_element_cost * prod(sides))


# ---- loops ------------------------------------------------------------------------------------------------------------------------
def tiled_nest(lowering: ProgramLowering, loop: Loop) -> bool:
    """Write a loop nest tile by tile, if it reads arrays along a non-contiguous axis; whether it is written."""
    chain = chain_of(loop)
    if len(chain) < 2 or not all(plain(lowering, s, len(chain)) for s in chain[-1].statements):
        return False
    height, width = chain[-2].extent, chain[-1].extent
    options = lowering.options
    across = list(dict.fromkeys(read for s in chain[-1].statements for read in s.reads if is_across(lowering, read, len(chain))))
    if min(height, width) < options.tiled_axis or not 0 < len(across) <= options.tiled_operands:
        return False
    counts = (*[level.extent for level in chain[:-2]], -(-height // options.tile), -(-width // options.tile))
    w = KernelBuilder(lowering, Failures())
    cost = 4 * loop.total_cost // prod(counts)
    w.parallel_for(counts, lambda index: w.outlined(lambda: Tile(w, lowering, chain, index).write(across)), cost)
    return True


def chain_of(loop: Loop) -> list[Loop]:
    """A perfect nest of loops around statements; empty if the nest is not perfect, or is unrolled or split."""
    chain = [loop]
    while len(chain[-1].body) == 1 and type(chain[-1].body[0]) is Loop:
        chain.append(chain[-1].body[0])
    plain = not any(level.unrolled or level.splits for level in chain) and all(type(node) is Statement for node in chain[-1].body)
    return chain if plain else []


def plain(lowering: ProgramLowering, s: Statement, depth: int) -> bool:
    """Whether a statement reduces nothing, and its result is stored whole or not at all."""
    ndim = len(s.var.type.shape)
    return not s.monoid and ndim == depth and (s.var in lowering.places or lowering.schedule.shared_axes(s.var) == ndim)


def is_across(lowering: ProgramLowering, read: tuple[Var, ElementIndex], depth: int) -> bool:
    """Whether an array in memory is contiguous along the outer of the two innermost loops, and not along the inner one."""
    v, index = read
    if v in lowering.schedule.statement and v not in lowering.places:
        return False
    if v.type.dtype.kind not in "biuf" or lowering.value(v).pointer(lowering.e) is None:
        return False
    if any(low < 0 or high >= n for n, (low, high) in zip(v.type.shape, map(bounds, index), strict=True)):
        return False
    found = strides_of(index, v.type.shape, depth)
    return found is not None and found[0][-2] == 1 and found[0][-1] not in (0, 1)


class Tile:
    """One tile of a loop nest."""

    def __init__(self, w: KernelBuilder, lowering: ProgramLowering, chain: list[Loop], index: ElementIndex):
        self.w, self.lowering, self.chain, self.side = w, lowering, chain, lowering.options.tile
        *self.lead, i, j = index
        self.sizes = chain[-2].extent, chain[-1].extent
        self.sides = min(self.sizes[0], self.side), min(self.sizes[1], self.side)
        self.starts = i * self.side, j * self.side
        self.copied = w.block_start(i, self.sizes[0], self.sides[0]), w.block_start(j, self.sizes[1], self.sides[1])
        """The first indices of the copied tile: the last tiles overlap others, so that all are full."""

    def write(self, across: Sequence[tuple[Var, ElementIndex]]) -> None:
        copies = [(v, index, self.copy(v, index)) for v, index in across]
        code, inner = self.lowering.code, self.chain[-1]

        def one(iteration: ElementIndex) -> None:
            place = tuple(linear([(k, 1), (first, -1)]) for k, first in zip(iteration[-2:], self.copied, strict=True))
            for v, index, copy in copies:
                code.remember((self.lowering, v, at_iteration(index, iteration)), copy[place])
            self.lowering.nodes(inner, iteration)

        self.along(0, lambda i: self.along(1, lambda j: one((*self.lead, i, j))))

    def along(self, axis: int, body: Callable[[Index | int], None]) -> None:
        """``body`` for the iterations of the tile along an axis."""
        code, size, start = self.lowering.code, self.sizes[axis], self.lowering.code.index(self.starts[axis])
        end = code.value("i64", f"add nsw i64 {start}, {self.side}")
        if size % self.side:
            end = code.value("i64", self.lowering.context.module.call("i64", "llvm.smin.i64", f"i64 {end}", f"i64 {size}"))
        code.loop(end, lambda k: body(variable(k, size)), start=start)

    def copy(self, v: Var, index: ElementIndex) -> StridedView:
        """A copy of the elements of an array that the tile reads."""
        e, ir_type = self.lowering.e, memory_type(v.type.dtype)
        at, found = self.lowering.value(v).pointer(e), strides_of(index, v.type.shape, len(self.chain))
        assert at is not None
        assert found is not None
        strides, _ = found
        first = offset_of(v.type.shape, at_iteration(index, (*self.lead, *self.copied)))
        copy = StridedView(e, self.lowering.code.alloca(f"[{prod(self.sides)} x {ir_type}]"), v.type.dtype, self.sides)
        copy_matrix(self.w, StridedView(e, at, v.type.dtype, self.sides, strides[-2:], first), copy)
        return copy


def at_iteration(index: ElementIndex, iteration: ElementIndex) -> ElementIndex:
    """An index in symbols of axes, at an iteration."""
    return tuple(
        linear([*[(iteration[atom.value[1]], factor) for atom, factor in part.terms.items()], (part.constant, 1)])
        if type(part) is Index
        else part
        for part in index
    )
