"""The same straight code on many small arrays at once: each lane of a vector is another of them.

Blocks of as many as a vector has lanes are copied so that element ``i`` of all of them lies together; there the code is a loop over the
lanes, which LLVM makes vectors of. The last block overlaps the one before, so that every block is a full one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from .blocks import Block
from .index import linear, variable
from .machine import machine
from .values import memory_type

if TYPE_CHECKING:
    from .routines import Writer

__all__ = ["together"]


def together(w: Writer, lead: tuple[int, ...], operands: Sequence[Any], results: Sequence[Any], body: Callable[..., None]) -> None:
    """``body(*blocks)`` for every index below ``lead``."""
    count = prod(lead)
    if not count:
        return
    widest = max(x.dtype.itemsize for x in (*operands, *results))
    lanes = max(machine().width // (8 * widest), 1)
    if count < lanes:
        w.every(lead, lambda k: body(*[Shifted(x, k) for x in operands], *[y.part(*k) for y in results]))
        return
    w.apart(lambda: blocks(w, lead, count, lanes, operands, results, body))


class Shifted:
    """An operand under leading indices, as a block that is read."""

    def __init__(self, x: Any, leading: tuple[Any, ...]):
        self.x, self.leading, self.dtype, self.shape = x, leading, x.dtype, x.shape[len(leading) :]

    def __getitem__(self, index: Any) -> Any:
        return self.x((*self.leading, *(index if isinstance(index, tuple) else (index,))))


class Lane:
    """One of the arrays that lie side by side."""

    def __init__(self, block: Block, lane: Any):
        self.block, self.lane, self.dtype, self.shape = block, lane, block.dtype, block.shape[:-1]

    def __getitem__(self, index: Any) -> Any:
        return self.block[(*(index if isinstance(index, tuple) else (index,)), self.lane)]

    def __setitem__(self, index: Any, x: Any) -> None:
        self.block[(*(index if isinstance(index, tuple) else (index,)), self.lane)] = x


def blocks(
    w: Writer, lead: tuple[int, ...], count: int, lanes: int, operands: Sequence[Any], results: Sequence[Any], body: Callable[..., None]
) -> None:
    """The loop over blocks of ``lanes`` arrays."""
    code = w.code
    rests = [x.shape[len(lead) :] for x in (*operands, *results)]
    sides = [side_by_side(w, (*rest, lanes), x.dtype) for rest, x in zip(rests, (*operands, *results), strict=True)]
    inputs, outputs = sides[: len(operands)], sides[len(operands) :]

    def one(number: Any) -> None:
        first = variable(number, -(-count // lanes)) * lanes
        if count % lanes:
            wanted = code.index(first)
            late = code.value("i1", f"icmp sgt i64 {wanted}, {count - lanes}")
            first = variable(code.value("i64", f"select i1 {late}, i64 {count - lanes}, i64 {wanted}"), count - lanes + 1)
        for x, side, rest in zip(operands, inputs, rests, strict=False):
            scalar_loops(w, (lanes, *rest), lambda i, x=x, side=side: side.__setitem__((*i[1:], i[0]), x((*at(first, i[0], lead), *i[1:]))))
        code.loop(str(lanes), lambda k: body(*[Lane(side, variable(k, lanes)) for side in sides]), note=vectorized(w))
        for y, side, rest in zip(results, outputs, rests[len(operands) :], strict=True):
            scalar_loops(w, (lanes, *rest), lambda i, y=y, side=side: y.__setitem__((*at(first, i[0], lead), *i[1:]), side[(*i[1:], i[0])]))

    code.loop(str(-(-count // lanes)), one)


def at(first: Any, lane: Any, lead: tuple[int, ...]) -> tuple[Any, ...]:
    """The leading indices of the array in a lane."""
    number, found = linear([(first, 1), (lane, 1)]), []
    for n in reversed(lead[1:]):
        found.append(number % n)
        number = number // n
    return (number, *reversed(found)) if lead else ()


def side_by_side(w: Writer, shape: tuple[int, ...], dtype: Any) -> Block:
    """Memory of the function at hand."""
    return Block(w.emitter, w.code.alloca(f"[{max(prod(shape), 1)} x {memory_type(dtype)}]"), dtype, shape)


def scalar_loops(w: Writer, shape: tuple[int, ...], body: Callable[[tuple[Any, ...]], None]) -> None:
    """Loops that LLVM is not to make vectors of."""
    code, constants = w.code, w.g.module.constants
    constants.setdefault("scalar", '!90 = distinct !{!90, !91}\n!91 = !{!"llvm.loop.vectorize.enable", i1 false}')

    def level(rest: tuple[int, ...], index: tuple[Any, ...]) -> None:
        if rest:
            code.loop(str(rest[0]), lambda k: level(rest[1:], (*index, variable(k, rest[0]))), note=", !llvm.loop !90")
        else:
            body(index)

    if 0 not in shape:
        level(shape, ())


def vectorized(w: Writer) -> str:
    """The note of a loop that LLVM is to make vectors of, before it may unroll it."""
    w.g.module.constants.setdefault(
        "vectors",
        '!92 = distinct !{!92, !93, !94}\n!93 = !{!"llvm.loop.vectorize.enable", i1 true}\n!94 = !{!"llvm.loop.unroll.disable"}',
    )
    return ", !llvm.loop !92"
