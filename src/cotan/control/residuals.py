"""The residuals of a loop's derivative: which are stored at each step, and which are recomputed.

Linearizing a loop's body gives a primal program whose last outputs are the residuals: the values that the tangent program needs. The
simplest way stores all of them at every step. `plan_residuals` distinguishes three cases:

- A residual that depends on the loop's constants only is the same at every step. It is computed once, outside of the loop.
- A residual that is an element of the scanned inputs needs no storage.
- A residual that cheap operations (elementwise, movement) compute from available values is recomputed. Its sources are stored
  instead, the carry or the results of expensive operations (matmul, reductions, factorizations), if they take fewer bytes.

So the gradient of ``scan(sin(c) * c + x)`` stores c, one array for each step, and not c, sin(c) and cos(c). A loop whose values fit in the
memory budget `ROOM` also stores the results of costly functions.

A recomputed value may differ in its last bit: a vectorized sine is not the scalar one. For a number this is rounding. For a discrete value
it is an error: the derivative of max(y) asks where y equals the maximum, and must find the same elements as the primal loop. So the result
of a piecewise constant op (a comparison, a sign) is stored, unless its operands are available bit by bit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import inf
from typing import Any

from ..core.program import Equation, Program, Var, is_kept
from ..core.types import ArrayType

__all__ = ["ResidualPlan", "decisions_between", "extract", "has_room", "plan_residuals", "without_effects"]

ROOM = 1 << 22
"""The memory budget in bytes: values that a loop stores without further checks. A value in the cache is read faster than a sine is
recomputed.
"""
CHEAP_FAMILIES = frozenset({"elementwise", "flat", "movement", "creation"})
DECIDING, MOVING = "flat", frozenset({"movement", "creation"})


@dataclass(frozen=True)
class ResidualPlan:
    """How the loop that uses the residuals of a body obtains them. ``saved``: the variables of the primal body that are stored at every
    step. ``once``: a program from the body's constants to the residuals that never change. ``again``: a program from (constants, scanned
    inputs, saved) to all other residuals. ``invariant``: flags of the residuals that never change.
    """

    saved: tuple[Var, ...]
    once: Program
    again: Program
    invariant: tuple[bool, ...]


def plan_residuals(
    primal: Program, constants: Sequence[Var], scanned: Sequence[Var], residuals: Sequence[Any], roomy: bool
) -> ResidualPlan:
    """Choose the values to store so that a later loop can compute the ``residuals`` of the ``primal`` body at each step. If it is
    ``roomy``, results of costly functions are stored too.
    """
    fixed = dependent_on_only(primal, constants)
    invariant = tuple(type(r) is not Var or r in fixed for r in residuals)
    changing = [r for r, same in zip(residuals, invariant, strict=True) if not same]
    free = {*fixed, *scanned}
    plainly = unique(r for r in changing if r not in free)
    derived = sources(primal, plainly, free, fixed - set(constants), roomy)
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


def sources(program: Program, wanted: Sequence[Var], free: Collection[Var], anew: AbstractSet[Var], roomy: bool) -> list[Var]:
    """The variables to store so that cheap operations compute ``wanted`` from them and from the free ones; if it is ``roomy``, without
    costly operations. Variables in ``anew`` are themselves recomputed.
    """
    maker: dict[Var, Equation] = {v: equation for equation in program.equations for v in equation.outputs}
    same = same_bits(program, anew)
    needed: list[Var] = []
    seen: set[Var] = set(free)
    todo = list(wanted)
    while todo:
        v = todo.pop()
        if v in seen:
            continue
        seen.add(v)
        equation = maker.get(v)
        if equation is not None and may_be_repeated(equation, same) and not (roomy and equation.op.costly):
            todo.extend(variables(equation))
        else:
            needed.append(v)
    return needed


def same_bits(program: Program, anew: AbstractSet[Var]) -> set[Var]:
    """The variables that a later loop has bit by bit: stored values, and results of data movement and integer arithmetic on them."""
    same = set(program.inputs)
    for equation in program.equations:
        stored = equation.op.family not in CHEAP_FAMILIES and anew.isdisjoint(equation.outputs)
        exact = equation.op.family in MOVING or decides(equation)
        if stored or (exact and same.issuperset(variables(equation))):
            same.update(equation.outputs)
    return same


def may_be_repeated(equation: Equation, same: set[Var]) -> bool:
    """Whether a later loop may recompute this: it is cheap, and no discrete value that could differ."""
    return equation.op.family in CHEAP_FAMILIES and (not decides(equation) or same.issuperset(variables(equation)))


def decides(equation: Equation) -> bool:
    """Whether the result is a discrete value, as opposed to a number that is rounded."""
    return equation.op.family == DECIDING or not any(v.type.inexact for v in equation.outputs)


def decisions_between(program: Program, saved: Sequence[Var], residuals: Sequence[Any]) -> list[Var]:
    """Further variables to save if ``saved`` are stored and all others recomputed: discrete values whose operands include a saved value, or
    a value computed from one, and an operand whose recomputed bits may differ.
    """
    same, later, found = {*program.inputs, *saved}, set(saved), []
    for equation in extract(program, [*program.inputs, *saved], residuals).equations:
        operands = set(variables(equation))
        same_operands, mixed = same.issuperset(operands), len(operands) > 1 and not later.isdisjoint(operands)
        if decides(equation) and mixed and not same_operands:
            found.extend(equation.outputs)
            same.update(equation.outputs)
        elif same_operands and (equation.op.family in MOVING or decides(equation)):
            same.update(equation.outputs)
        if not later.isdisjoint(operands):
            later.update(equation.outputs)
    return found


def variables(equation: Equation) -> list[Var]:
    """The operands that are variables."""
    return [v for v in equation.inputs if type(v) is Var]


def extract(program: Program, inputs: Sequence[Var], outputs: Sequence[Any], *, effects: bool = False) -> Program:
    """The part of ``program`` that computes ``outputs`` from ``inputs``, which may be any of its variables; and its ``effects``, if it is
    run in place of the whole.
    """
    given = set(inputs)
    needed = {v for v in outputs if type(v) is Var and v not in given}
    kept: list[Equation] = []
    for equation in reversed(program.equations):
        if any(v in needed and v not in given for v in equation.outputs) or (effects and is_kept(equation.op)):
            kept.append(equation)
            needed.update(v for v in equation.inputs if type(v) is Var and v not in given)
    kept.reverse()
    outputs = list(outputs)
    if not effects and any(is_kept(e.op) for e in kept):
        kept, outputs = silenced(kept, outputs)
    return Program(list(inputs), kept, outputs, (), f"{program.name}_again")


def without_effects(program: Program) -> Program:
    """``program``, as it is run a second time."""
    return extract(program, list(program.inputs), list(program.outputs))


def silenced(equations: Sequence[Equation], outputs: Sequence[Any]) -> tuple[list[Equation], list[Any]]:
    """The equations, and outputs of them, as they are run a second time: nobody looks at them, and programs in them have no effects."""
    same: dict[Any, Any] = {}
    found: list[Equation] = []
    for e in equations:
        inputs = [same.get(v, v) for v in e.inputs]
        if e.op.observed:
            same[e.outputs[0]] = inputs[0]
            continue
        regions = e.op.regions() if is_kept(e.op) else ()
        op = e.op.with_regions([without_effects(r.program) for r in regions]) if regions else e.op
        found.append(Equation(op, inputs, e.outputs, e.origin))
    return found, [same.get(v, v) for v in outputs]


def inputs_read(program: Program, outputs: Sequence[Any], *, effects: bool = False) -> set[Var]:
    """The inputs of ``program`` on which these of its variables depend, and its ``effects``."""
    read = {v for v in outputs if type(v) is Var}
    for equation in reversed(program.equations):
        if not read.isdisjoint(equation.outputs) or (effects and is_kept(equation.op)):
            read.update(v for v in equation.inputs if type(v) is Var)
    return read.intersection(program.inputs)


def has_room(primal: Program, length: int | None) -> bool:
    """Whether the results of all costly functions of this primal body, including those for the derivative, fit in the memory budget of a
    loop.
    """
    return length is not None and length * sum(v.type.nbytes for e in primal.equations if e.op.costly for v in e.outputs) <= ROOM


def unique(variables: Any) -> list[Var]:
    return list(dict.fromkeys(variables))


def size_of(variables: Sequence[Var]) -> float:
    """The bytes of these variables; infinite for a stack, whose length is not known."""
    return sum(v.type.nbytes if isinstance(v.type, ArrayType) else inf for v in variables)
