"""The order of updates: reads of an array come before the update of it, where the data flow allows that.

An update may be in place if nothing reads the old value afterwards. In ``x.at[i].set(v), x[j]`` the read follows the update, but does not
depend on it, so it can be done first. Each update moves behind the equations that it does not precede in the data flow, as far as to the
last read of its operand. A loop or a branch, which may call functions of Python, only moves behind elementwise equations and the like.
"""

from __future__ import annotations

from dataclasses import replace

from cotan.core.program import Equation, Program, Var
from cotan.core.types import ArrayType
from cotan.engines.native.options import CodegenOptions

__all__ = ["reads_before_updates", "updated_by_index", "updated_operands"]


def reads_before_updates(program: Program, options: CodegenOptions) -> Program:
    """The Program with reads of large arrays before their updates; the same Program if they are."""
    updates = [e for e in program.equations if updated_operands(e, options)]
    if not updates:
        return program
    equations, position = list(program.equations), {id(e): k for k, e in enumerate(program.equations)}
    last_reader = {v: e for e in program.equations for v in variables(e)}
    moved = False
    for update in updates:
        olds = updated_operands(update, options)
        last = max((position[id(last_reader[v])] for v in olds), default=-1)
        start = position[id(update)]
        window = after_reads(equations[start : last + 1], olds) if last > start else None
        if window is not None:
            equations[start : last + 1] = window
            position.update({id(e): start + k for k, e in enumerate(window)})
            moved = True
    return replace(program, equations=equations) if moved else program


def updated_operands(equation: Equation, options: CodegenOptions) -> set[Var]:
    """The large operands that an equation might update in place."""
    if equation.op.update is None and not equation.op.regions():
        return set()
    least = 0 if updated_by_index(equation, options) else options.small_array
    types = {id(v.type) for v in equation.outputs if isinstance(v.type, ArrayType) and v.type.size > least}
    operands = equation.inputs[:1] if equation.op.update is not None else equation.inputs
    return {v for v in operands if isinstance(v, Var) and id(v.type) in types} if types else set()


def updated_by_index(equation: Equation, options: CodegenOptions) -> bool:
    """Whether an equation updates a few elements of a small array at indices that are known when it runs: its elements are then in memory,
    where an index finds them, and not in registers.
    """
    if equation.op.update is None or equation.op.family != "indexing":
        return False
    size, count = equation.outputs[0].type.size, equation.inputs[1].type.size
    return size >= options.least_indexed and 4 * count <= size and any(isinstance(v, Var) for v in equation.inputs[2:])


def after_reads(window: list[Equation], olds: set[Var]) -> list[Equation] | None:
    """Equations that begin with an update and end with a read of what it updates, with the reads in front; None if one depends on it."""
    update = window[0]
    may_call = bool(update.op.regions())
    """Whether it may call functions of Python, whose order stays."""
    dependent = set(update.outputs)
    first: list[Equation] = []
    later: list[Equation] = []
    for equation in window[1:]:
        if dependent.isdisjoint(variables(equation)):
            if may_call and not equation.op.has_element():
                return None
            first.append(equation)
        elif olds.isdisjoint(variables(equation)):
            dependent.update(equation.outputs)
            later.append(equation)
        else:
            return None
    return [*first, update, *later]


def variables(equation: Equation) -> list[Var]:
    return [v for v in equation.inputs if isinstance(v, Var)]
