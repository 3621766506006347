"""The cost model: how much work a piece of code does, in elementary operations: one is about an addition of two numbers.

This module has the costs of scalar functions, `scalar_cost`. `analysis.access` adds them up for an element, and `schedule.loop_nest` for
all elements of a statement; an op's `routine` says what its calls cost, as ``work=``. For decisions that are made without a schedule,
`program_cost` estimates the cost of a whole Program by the elements that its equations read and write, so an `exp` costs as much as a copy.
`optimization_cost` is the time that LLVM takes. `options` has the costs at which decisions change.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from cotan.core.op import Op
from cotan.core.program import Equation, Literal, Program, Var
from cotan.engines.native.libraries.libmvec import VECTOR_FUNCTIONS

from .options import CodegenOptions

__all__ = ["SHORT_CALL", "elements_of", "is_short", "loop_heads", "optimization_cost", "program_cost", "scalar_cost"]

SCALAR_COSTS = dict.fromkeys(VECTOR_FUNCTIONS, 10) | dict.fromkeys(("div", "sqrt", "rsqrt", "rem", "floor_divide"), 4) | {"logistic": 14}
"""The scalar functions that cost more than one elementary operation."""
LOOP_HEAD = " = phi i64 "
SHORT_CALL = 1 << 14
"""So many elementary operations take about a microsecond or two."""


def scalar_cost(name: str) -> int:
    """The cost of a scalar function by its name in defining equations."""
    return SCALAR_COSTS.get(name, 1)


def elements(variables: Sequence[Var | Literal]) -> int:
    """The elements of these values. A stack counts as one: its length is known only when the code runs."""
    return sum([prod(getattr(v.type, "shape", ())) for v in variables])


def touched(e: Equation, *, copying: bool) -> int:
    """The elements that an equation reads and writes, at least 1.

    An op that moves elements touches those that it moves, whatever the size of the array from which it takes them. An update touches the
    updated elements; ``copying``, the others, too. What a loop or a branch is given counts where its programs read it.
    """
    op = e.op
    if op.regions():
        found = 0
    elif op.update is not None:
        found = 2 * elements(e.inputs[1:]) + (2 * elements(e.outputs) if copying else 0)
    elif op.family in ("indexing", "movement"):
        found = elements(e.inputs[1:]) + elements(e.outputs)
    else:
        found = elements(e.inputs) + elements(e.outputs)
    return max(found, 1)


def program_cost(program: Program, *, copying: bool = False) -> int:
    """An estimate of the cost of a Program: the number of elements that its equations read and write, in all iterations of its loops. An
    update is taken to be in place, or, ``copying``, to copy its array first.

    A loop of unknown length counts as one iteration.
    """
    key = "cost, copying" if copying else "cost"
    cost: int | None = program.derived.get(key)
    if cost is None:
        costs = [regions_cost(e.op, copying=copying) + touched(e, copying=copying) for e in program.equations]
        cost = program.derived[key] = 1 + sum(costs)
    return cost


def regions_cost(op: Op, *, copying: bool) -> int:
    """The `program_cost` of the programs that an op holds; of branches, that of the most expensive one."""
    costs = [
        (region.exclusive, program_cost(region.program, copying=copying) * (1 if region.trip_count is None else region.trip_count))
        for region in op.regions()
    ]
    return sum(cost for exclusive, cost in costs if not exclusive) + max([cost for exclusive, cost in costs if exclusive], default=0)


def is_short(program: Program) -> bool:
    """Whether a Program surely takes microseconds only: too little to let other threads run meanwhile."""
    work = 0
    for e in program.equations:
        if e.op.multiple or e.op.regions() or any(not hasattr(v.type, "size") for v in (*e.inputs, *e.outputs)):
            return False
        some = elements(e.inputs) + elements(e.outputs)
        work += some * e.inputs[0].type.shape[-1] if e.op.family == "linalg" else some
        if e.op.family == "contraction" or work >= SHORT_CALL:
            return False
    return True


def elements_of(program: Program) -> int | None:
    """The elements that the equations of a Program read and write, by which `is_short` decides; None if it is not short for any sizes."""
    if any(e.op.multiple or e.op.regions() or e.op.name == "dot_general" for e in program.equations):
        return None
    return sum([elements(e.inputs) + elements(e.outputs) for e in program.equations])


def loop_heads(ir: str) -> int:
    """The number of loops in LLVM IR."""
    return ir.count(LOOP_HEAD)


def optimization_cost(ir: str, options: CodegenOptions) -> tuple[int, int]:
    """The nanoseconds that LLVM takes to optimize IR, and the number of calls of quick code that should take less."""
    lines = ir.count("\n")
    in_loops = min(loop_heads(ir) * options.lines_per_loop, lines)
    spent = (lines - in_loops) * options.nanoseconds_per_line + in_loops * options.nanoseconds_per_loop_line
    return spent, options.quick_loop_calls if 2 * in_loops > lines else options.quick_calls
