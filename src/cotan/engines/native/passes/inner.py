"""The programs inside of loops and branches, and the same ops with other programs.

The programs of an op take the same leading inputs in front of their own: arrays that their simplification brought in. They are operands
of the op then, as its constants are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from cotan.core.op import Op
from cotan.core.program import Program

__all__ = ["Holding", "holding"]


class Holding(NamedTuple):
    """The programs that an op holds, which of its operands is the first that they take, and how to make the op of others, which take so
    many inputs more in front.
    """

    programs: Sequence[Program]
    first: int
    made: Callable[[Sequence[Program], int], Op]


def of_scan(op: Any) -> Holding:
    def made(programs: Sequence[Program], more: int) -> Op:
        return replace(op, body=programs[0], constants=op.constants + more, linear_operands=())

    return Holding([op.body], 1 if op.length is None else 0, made)


def of_sweep(op: Any) -> Holding:
    def made(programs: Sequence[Program], more: int) -> Op:
        constants, *rest = op.sizes
        return replace(op, forward=programs[0], backward=programs[1], sizes=(constants + more, *rest))

    return Holding([op.forward, op.backward], 1 if op.length is None else 0, made)


def of_while(op: Any) -> Holding:
    def made(programs: Sequence[Program], more: int) -> Op:
        return replace(op, condition=programs[0], body=programs[1], constants=op.constants + more)

    return Holding([op.condition, op.body], 0, made)


def of_cond(op: Any) -> Holding:
    return Holding(op.branches, 1, lambda programs, more: replace(op, branches=tuple(programs), linear_operands=()))


def of_again(op: Any) -> Holding:
    return Holding([op.program], 0, lambda programs, more: replace(op, program=programs[0], residuals=None))


HOLDING: dict[str, Callable[[Any], Holding]] = {
    "scan": of_scan,
    "bounded_scan": of_scan,
    "sweep": of_sweep,
    "while": of_while,
    "cond": of_cond,
    "again": of_again,
}
"""By the names of ops. (Linear operands are of no concern to an engine.)"""


def holding(op: Op) -> Holding | None:
    """What an op holds; None if it holds nothing that is run in place."""
    found = HOLDING.get(op.name) if op.holds_programs else None
    return None if found is None else found(op)
