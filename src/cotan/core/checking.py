"""Checks of a Program: single definition before use, types as the ops' rules say, and linearity in chosen inputs."""

from __future__ import annotations

from collections.abc import Collection

from .errors import ProgramError, teach
from .program import Equation, Literal, Program, Var
from .types import ArrayType, Type

__all__ = ["check_linear", "check_program"]


def check_program(program: Program) -> None:
    """Raise ProgramError if ``program`` breaks an invariant of the IR."""
    defined: set[Var] = set()
    for v in program.inputs:
        _require(v not in defined, "an input is listed twice", None)
        defined.add(v)
    for equation in program.equations:
        for v in equation.inputs:
            _require(isinstance(v, Literal) or v in defined, f"an input of {equation.op} is used before it is defined", equation)
        types = equation.op.type_rule(*[v.type for v in equation.inputs])
        types = tuple(types) if equation.op.multiple else (types,)
        actual = tuple(v.type for v in equation.outputs)
        same = len(types) == len(actual) and all(map(_alike, types, actual))
        _require(same, f"{equation.op} gives {', '.join(map(str, types))}, not {', '.join(map(str, actual))}", equation)
        for v in equation.outputs:
            _require(v not in defined, f"an output of {equation.op} is defined twice", equation)
            defined.add(v)
    for v in program.outputs:
        _require(isinstance(v, Literal) or v in defined, "an output is never defined", None)


def check_linear(program: Program, inputs: Collection[int]) -> None:
    """Raise ProgramError unless ``program`` is, by its ops' declarations, linear in the inputs at these positions together."""
    linear: set[Var] = {program.inputs[k] for k in inputs}
    for equation in program.equations:
        mask = sum(1 << k for k, v in enumerate(equation.inputs) if v in linear)
        if mask:
            sets = equation.op.linear_sets(len(equation.inputs))
            _require(any(mask & ~members == 0 for members in sets), f"{equation.op} is not linear in its tangent operands", equation)
            linear.update(equation.outputs)


def _alike(a: Type, b: Type) -> bool:
    """Whether two types are the same but for weakness."""
    return a is b or (isinstance(a, ArrayType) and isinstance(b, ArrayType) and (a.shape, a.dtype) == (b.shape, b.dtype))


def _require(condition: bool, what: str, equation: Equation | None) -> None:
    if not condition:
        remedy = "this is a defect of cotan, or of the `type_rule` or another rule of an op from elsewhere: please report it."
        raise teach(ProgramError, f"ill-formed program: {what}.", do=remedy, origin=equation.origin if equation else None)
