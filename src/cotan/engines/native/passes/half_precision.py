"""Half precision as NumPy computes with it: in single precision, each result rounded.

`widen_half` rewrites an op on float16 as the op on float32 between conversions, also sums, matrix products and sorts, which are rounded
once. Ops that only move elements stay; so do ops that Python runs, whose functions see the dtype that the user wrote them for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cotan.core.program import Equation, Literal, Program, Var
from cotan.core.types import ArrayType
from cotan.engines.native.analysis.access import access_summary
from cotan.engines.native.scalar.expression import FORMULAS, HALF
from cotan.ops.casting import ConvertElementType

__all__ = ["widen_half"]

SINGLE = np.dtype(np.float32)
MOVING = frozenset({"movement", "indexing", "creation", "control"})


def widen_half(program: Program) -> Program:
    """The Program with ops on float16 as ops on float32 between conversions. Its inputs and outputs stay the same variables."""
    if not any(is_half(v) for e in program.equations for v in (*e.inputs, *e.outputs)):
        return program
    equations: list[Equation] = []
    wide: dict[Var, Var] = {}

    def single(v: Var | Literal) -> Var | Literal:
        if not is_half(v):
            return v
        if isinstance(v, Literal):
            return Literal(np.float32(v.value))
        if v not in wide:
            wide[v] = Var(v.type.with_dtype(SINGLE))
            equations.append(Equation(ConvertElementType(SINGLE), [v], [wide[v]], None))
        return wide[v]

    for equation in program.equations:
        types = [v.type.with_dtype(SINGLE) if is_half(v) else v.type for v in equation.outputs]
        if not computes(equation, types):
            equations.append(equation)
            continue
        outputs = [Var(t) if is_half(v) else v for v, t in zip(equation.outputs, types, strict=True)]
        equations.append(Equation(equation.op, [single(v) for v in equation.inputs], outputs, equation.origin))
        for v, y in zip(equation.outputs, outputs, strict=True):
            if v is not y:
                equations.append(Equation(ConvertElementType(v.type.dtype), [y], [v], equation.origin))
    return Program(program.inputs, equations, program.outputs, program.constants, program.name)


def computes(equation: Equation, types: Sequence[ArrayType]) -> bool:
    """Whether an op computes with halves, and there is code for it that with singles gives these types."""
    op, given = equation.op, [v.type.with_dtype(SINGLE) if is_half(v) else v.type for v in equation.inputs]
    if op.family in MOVING or type(op) is ConvertElementType or not any(is_half(v) for v in equation.inputs):
        return False
    if ("half", getattr(op, "machine", "")) in FORMULAS:  # which is another function of halves than of singles
        return False
    if op.routine is None and access_summary(op, tuple(given)) is None:  # Python runs it, on what the user's function was written for
        return False
    found = op.type_rule(*given)
    return list(found if op.multiple else (found,)) == list(types)


def is_half(v: Var | Literal) -> bool:
    """Whether a variable is an array of halves."""
    return type(v.type) is ArrayType and v.type.dtype == HALF
