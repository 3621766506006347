"""The cost model: how much work a piece of code does, in elementary operations: one is about an addition of two numbers."""

from __future__ import annotations

from math import prod

from cotan.core.op import Op
from cotan.core.program import Equation, Program

__all__ = ["is_short", "program_cost"]

SHORT_CALL = 1 << 14
"""So many elementary operations take about a microsecond or two."""


def elements(e: Equation) -> int:
    """The elements that an equation reads and writes. A stack counts as one: its length is known only when the code runs."""
    return sum(prod(getattr(v.type, "shape", ())) for v in (*e.inputs, *e.outputs))


def program_cost(program: Program) -> int:
    """The cost of a Program, as far as it is known beforehand: a loop of unknown length counts as one iteration."""
    return 1 + sum(regions_cost(e.op) + elements(e) for e in program.equations)


def regions_cost(op: Op) -> int:
    """The cost of the programs that an op holds: of branches, the dearest."""
    costs = [(region.exclusive, program_cost(region.program) * (region.trip_count or 1)) for region in op.regions()]
    return sum(cost for exclusive, cost in costs if not exclusive) + max([cost for exclusive, cost in costs if exclusive], default=0)


def is_short(program: Program) -> bool:
    """Whether a Program surely takes microseconds only: too little to let other threads run meanwhile."""
    work = 0
    for e in program.equations:
        if e.op.multiple or e.op.regions() or any(not hasattr(v.type, "size") for v in (*e.inputs, *e.outputs)):
            return False
        work += elements(e)
        if e.op.name == "dot_general" or work >= SHORT_CALL:
            return False
    return True
