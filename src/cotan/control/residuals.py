"""What a loop's derivative has to remember of each step, and what it computes again.

Linearizing a loop's body gives a primal program whose last outputs are the residuals: the values that the tangent program needs. Storing
all of them at every step is the naive way. `plan_residuals` sorts them:

- a residual that depends on the loop's constants only is the same at every step: it is computed once, outside the loop;
- one that is an element of the scanned inputs is there already;
- of the others, those that cheap operations (elementwise, movement) give from values at hand need not be stored: what is stored instead
  is what they come from, the carry or the results of expensive operations (matmul, reductions, factorizations), if that takes fewer bytes.

So the gradient of ``scan(sin(c) * c + x)`` stores c, one array a step, and not c, sin(c) and cos(c).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from ..core.program import Equation, Program, Var
from ..core.types import ArrayType

__all__ = ["ResidualPlan", "extract", "plan_residuals"]

CHEAP_FAMILIES = frozenset({"elementwise", "flat", "movement", "creation"})


@dataclass(frozen=True)
class ResidualPlan:
    """How the residuals of a body come about in the loop that uses them.

    saved: the variables of the primal body that are stored at every step.
    once: a program from the body's constants to the residuals that never change; ``again``: one from (constants, scanned inputs, saved) to
    all others. ``invariant`` flags which residuals are of the first kind.
    """

    saved: tuple[Var, ...]
    once: Program
    again: Program
    invariant: tuple[bool, ...]


def plan_residuals(primal: Program, constants: Sequence[Var], scanned: Sequence[Var], residuals: Sequence[Any]) -> ResidualPlan:
    """Choose what to store so that ``residuals`` of the ``primal`` body can be had at each step of a later loop."""
    fixed = dependent_on_only(primal, constants)
    invariant = tuple(type(r) is not Var or r in fixed for r in residuals)
    changing = [r for r, same in zip(residuals, invariant, strict=True) if not same]
    free = {*fixed, *scanned}
    plainly = unique(r for r in changing if r not in free)
    derived = sources(primal, plainly, free)
    saved = derived if size_of(derived) < size_of(plainly) else plainly
    once = extract(primal, constants, [r for r, same in zip(residuals, invariant, strict=True) if same])
    again = extract(primal, [*constants, *scanned, *saved], changing)
    return ResidualPlan(tuple(saved), once, again, invariant)


def dependent_on_only(program: Program, inputs: Collection[Var]) -> set[Var]:
    """The variables of ``program`` that are computed from these inputs (and literals) alone."""
    known = set(inputs)
    for equation in program.equations:
        if all(type(v) is not Var or v in known for v in equation.inputs):
            known.update(equation.outputs)
    return known


def sources(program: Program, wanted: Sequence[Var], free: Collection[Var]) -> list[Var]:
    """The variables from which cheap operations give ``wanted``, besides those that are free."""
    maker: dict[Var, Equation] = {v: equation for equation in program.equations for v in equation.outputs}
    needed: list[Var] = []
    seen: set[Var] = set(free)
    todo = list(wanted)
    while todo:
        v = todo.pop()
        if v in seen:
            continue
        seen.add(v)
        equation = maker.get(v)
        if equation is not None and equation.op.family in CHEAP_FAMILIES:
            todo.extend(x for x in equation.inputs if type(x) is Var)
        else:
            needed.append(v)
    return needed


def extract(program: Program, inputs: Sequence[Var], outputs: Sequence[Any]) -> Program:
    """The part of ``program`` that computes ``outputs`` from ``inputs``, any of its variables."""
    given = set(inputs)
    needed = {v for v in outputs if type(v) is Var and v not in given}
    kept: list[Equation] = []
    for equation in reversed(program.equations):
        if any(v in needed and v not in given for v in equation.outputs):
            kept.append(equation)
            needed.update(v for v in equation.inputs if type(v) is Var and v not in given)
    return Program(list(inputs), kept[::-1], list(outputs), (), f"{program.name}_again")


def unique(variables: Any) -> list[Var]:
    return list(dict.fromkeys(variables))


def size_of(variables: Sequence[Var]) -> float:
    """Bytes that these variables take; a stack, of which the length is not known, is taken for long."""
    return sum(v.type.nbytes if isinstance(v.type, ArrayType) else inf for v in variables)
