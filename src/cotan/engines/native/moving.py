"""Copies of arrays whose axes are in another order: in squares of the two axes along which the one and the other lie.

Squares are taken tile by tile, so that few pages of memory are in use at a time; the last tiles overlap those before, so that all are full.
Threads take tiles: those that overlap write the same numbers.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from .blocks import Block
from .plan import TINY
from .routines import Failures, Writer
from .turning import begin, copy_matrix
from .values import Memory

if TYPE_CHECKING:
    from .run import Run

__all__ = ["copied_in_squares"]

TILE, FEWEST = 64, 8
"""The side of a tile, and the least that an axis has for squares to be worth it."""
WORK = 16
"""What a number costs, in multiplications."""


def copied_in_squares(run: Run, v: Any, target: Memory) -> bool:
    """Write a value that is a moved part of an array in memory to its target, if that is to be done in squares."""
    if v not in run.plan.moved or v.type.size <= TINY:
        return False
    w = Writer(run, Failures())
    source = w.as_it_lies(v)
    if source is None or source.shape[-1] < FEWEST or source.steps[-1] == 1:
        return False
    along = next((k for k, (n, step) in enumerate(zip(source.shape, source.steps, strict=True)) if step == 1 and n >= FEWEST), None)
    if along is None:
        return False
    order = (*[k for k in range(len(source.shape) - 1) if k != along], along, len(source.shape) - 1)
    copy_tiles(w, source.moved(order), w.result(target).moved(order))
    return True


def copy_tiles(w: Writer, source: Block, target: Block) -> None:
    """The matrices of the last two axes, tile by tile."""
    *lead, height, width = source.shape
    sides = min(height, TILE), min(width, TILE)
    counts = -(-height // sides[0]), -(-width // sides[1])

    def tile(index: tuple[Any, ...]) -> None:
        *k, i, j = index
        first = (*k, begin(w, i, height, sides[0]), begin(w, j, width, sides[1]))
        parts = [Block(b.e, b.at, b.dtype, sides, b.steps[-2:], b.offset(first)) for b in (source, target)]
        copy_matrix(w, *parts)

    shape = (*lead, *counts)
    w.spread(shape, lambda index: w.apart(lambda: tile(index)), WORK * prod(sides))
