"""Simplification: calls are inlined, functions of constants computed, equal equations merged, unused ones dropped.

The programs that ops hold, of loops and branches, are simplified too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from cotan.core.op import Op
from cotan.core.program import Equation, Literal, Program, Var, has_effect
from cotan.core.sizes import Size
from cotan.core.staging import stage_flat
from cotan.core.tracing import type_of
from cotan.core.types import ArrayType
from cotan.ops.families import BroadcastInDim
from cotan.ops.movement import Permute

from .shared_factors import with_shared_factors

__all__ = ["simplify"]

Operand: TypeAlias = Var | Literal
Captured: TypeAlias = Any
"""The value of an input that a Program brings with it, of any class that `core.tracing.type_of` knows."""


class Simplifier:
    """The equations of the result, in order, and the arrays that inlined ops bring in."""

    def __init__(self) -> None:
        self.equations: list[Equation] = []
        self.known: dict[Hashable, Sequence[Var]] = {}
        self.filled: dict[Var, Literal] = {}
        """The variables that are one number everywhere."""
        self.captured: dict[int, tuple[Var, Captured]] = {}
        self.regions: dict[Program, tuple[Program, list[Captured]]] = {}

    def write(self, program: Program, inputs: Sequence[Operand]) -> list[Operand]:
        """The outputs of ``program`` on these inputs, as variables or literals of the whole."""
        environment: dict[Var, Operand] = dict(zip(program.inputs, inputs, strict=True))

        for equation in program.equations:
            op = equation.op
            operands = [environment[v] if type(v) is Var else v for v in equation.inputs]
            if op.written_out is not None:
                written = written_out(equation, operands)
                if written is not None:
                    inner, constants = written
                    outs = self.write(inner, [*map(self.constant, constants), *operands])
                    environment.update(zip(equation.outputs, outs, strict=True))
                    continue
            known = known_number(equation, operands)
            if known is None and op.unit is not None:
                known = self.beside_unit(equation, operands)
            if known is not None:
                environment[equation.outputs[0]] = known
                continue
            if op.holds_programs:
                op, operands = self.written_within(op, operands)
            key = (op, *map(key_of, operands)) if op.compare_by_value else None
            found = self.known.get(key) if key is not None else None
            if found is None:
                found = [Var(v.type) for v in equation.outputs]
                self.equations.append(Equation(op, operands, found, equation.origin))
                if type(op) is BroadcastInDim and type(operands[0]) is Literal:
                    self.filled[found[0]] = operands[0]
                if key is not None:
                    self.known[key] = found
            environment.update(zip(equation.outputs, found, strict=True))
        return [environment[v] if type(v) is Var else v for v in program.outputs]

    def beside_unit(self, equation: Equation, operands: Sequence[Operand]) -> Operand | None:
        """The operand that is the result, since the other one is the unit of the op everywhere; None if there is none."""
        for one, other in zip(operands, reversed(operands), strict=True):
            number = one if type(one) is Literal else self.filled.get(one)  # type: ignore[arg-type]
            if number is not None and number.value == equation.op.unit and other.type is equation.outputs[0].type:
                return other
        return None

    def written_within(self, op: Op, operands: list[Operand]) -> tuple[Op, list[Operand]]:
        """An op whose programs are simplified. Arrays that these bring in become further operands."""
        regions = op.regions()
        if not regions:
            return op, operands
        made = [self.simplified_region(region.program) for region in regions]
        arrays = {id(x): x for _, brought in made for x in brought}
        programs: list[Program] = []
        for program, brought in made:
            own = dict(zip(map(id, brought), program.inputs, strict=False))
            leading = [own.get(k) or Var(type_of(x)) for k, x in arrays.items()]
            programs.append(Program([*leading, *program.inputs[len(brought) :]], program.equations, program.outputs, (), program.name))
        further = [self.constant(x) for x in arrays.values()]
        first = regions[0].first
        try:
            return op.with_regions(programs, len(arrays)), [*operands[:first], *further, *operands[first:]]
        except NotImplementedError:
            return op, operands

    def simplified_region(self, program: Program) -> tuple[Program, list[Captured]]:
        """A Program that an op holds, simplified once: equal ops stay equal."""
        if program not in self.regions:
            self.regions[program] = simplify(program)
        return self.regions[program]

    def constant(self, array: Captured) -> Var:
        """A variable for an array that an inlined op brings in."""
        if id(array) not in self.captured:
            self.captured[id(array)] = Var(type_of(array)), array
        return self.captured[id(array)][0]


def known_number(equation: Equation, operands: Sequence[Operand]) -> Literal | None:
    """The value of a function of constants; None for other equations."""
    numbers: list[Any] = []
    for x in operands:
        if type(x) is not Literal:  # most often
            return None
        numbers.append(x.value)
    op, t = equation.op, equation.outputs[0].type if len(equation.outputs) == 1 else None
    if type(t) is not ArrayType or t.shape or op.multiple or not operands or not op.has_element():
        return None
    with np.errstate(all="ignore"):
        y = op.impl(*numbers)
    number = (y.item() if t.weak else y) if type(y) is Size else np.asarray(y).item() if t.weak else np.asarray(y)[()]
    found = Literal(number)
    return found if found.type is t else None


def written_out(equation: Equation, operands: Sequence[Operand]) -> tuple[Program, list[Captured]] | None:
    """The Program that running an equation runs, and the arrays that it brings in; None if the op is not inlined."""
    assert equation.op.written_out is not None
    try:
        program, captured = stage_flat(equation.op.written_out, [v.type for v in operands], name=equation.op.name)
    except NotImplementedError:
        return None
    if not equation.op.holds_programs:  # the lines in a program that an op holds are those of its own equations
        program = replace(program, equations=[Equation(e.op, e.inputs, e.outputs, equation.origin) for e in program.equations])
    return program, captured


def simplify(program: Program) -> tuple[Program, list[Captured]]:
    """The Program in fewer equations, and the values of inputs that it has before the others."""
    simplifier = Simplifier()
    outputs = simplifier.write(program, list(program.inputs))
    needed = {v for v in outputs if isinstance(v, Var)}
    kept: list[Equation] = []
    for equation in reversed(simplifier.equations):
        if not needed.isdisjoint(equation.outputs) or has_effect(equation.op):
            kept.append(of_needed_result(equation, needed))
            needed.update([v for v in equation.inputs if type(v) is Var])
    kept = with_shared_factors(with_swapped_products(kept[::-1], outputs))
    captured = list(simplifier.captured.values())
    inputs = [*[v for v, _ in captured], *program.inputs]
    return Program(inputs, kept, outputs, (), program.name), [x for _, x in captured]


def of_needed_result(equation: Equation, needed: Collection[Var]) -> Equation:
    """The equation, of the one result that is needed if the op gives that alone at less cost."""
    op, wanted = equation.op, [k for k, v in enumerate(equation.outputs) if v in needed]
    alone = op.result_alone(wanted[0]) if op.result_alone is not None and len(wanted) == 1 else None
    return equation if alone is None else Equation(alone, equation.inputs, [equation.outputs[wanted[0]]], equation.origin)


def with_swapped_products(equations: Sequence[Equation], outputs: Sequence[Operand]) -> list[Equation]:
    """The equations with the operands of a product swapped if its result is transposed, and that of the swapped one is read along its
    last axis.
    """
    uses = Counter(id(v) for v in (*outputs, *[v for e in equations for v in e.inputs]))
    made = {id(e.outputs[0]): k for k, e in enumerate(equations) if e.op.swapped is not None}
    found = list(equations)
    for k, e in enumerate(equations):
        if type(e.op) is not Permute or id(e.inputs[0]) not in made or uses[id(e.inputs[0])] > 1:
            continue
        (v,), number = e.inputs, made[id(e.inputs[0])]
        product = equations[number]
        last = v.type.ndim - 1
        assert product.op.swapped is not None
        op, order = product.op.swapped(*[x.type for x in product.inputs])
        both = tuple(order[j] for j in e.op.order)
        if e.op.order[-1] == last or both[-1] != last:
            continue
        inverse = [order.index(j) for j in range(last + 1)]
        other = Var(v.type.with_shape(tuple(v.type.shape[j] for j in inverse)))
        found[number] = Equation(op, product.inputs[::-1], [other], product.origin)
        found[k] = Equation(Permute(both), [other], e.outputs, e.origin)
    return found


def key_of(v: Var | Literal) -> Hashable:
    """A key that equal operands share: the variable; or the type of a literal and its number, with the sign of a zero."""
    return v if isinstance(v, Var) else (v.type, repr(v.value))
