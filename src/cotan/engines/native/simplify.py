"""Simplification: calls written out, equal equations merged, unused ones dropped."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from ...core.program import Equation, Literal, Program, Var

__all__ = ["simplified"]


def simplified(program: Program) -> Program:
    """The same Program in fewer equations."""
    equations: list[Equation] = []
    known: dict[Hashable, Sequence[Var]] = {}
    outputs = written_out(program, list(program.inputs), equations, known)
    needed = {v for v in outputs if isinstance(v, Var)}
    kept: list[Equation] = []
    for equation in reversed(equations):
        if not needed.isdisjoint(equation.outputs):
            kept.append(equation)
            needed.update(v for v in equation.inputs if isinstance(v, Var))
    return Program(program.inputs, kept[::-1], outputs, program.constants, program.name)


def written_out(program: Program, inputs: Sequence[Any], equations: list[Equation], known: dict[Hashable, Sequence[Var]]) -> list[Any]:
    """Append the equations of ``program`` on these inputs; its outputs, as variables or literals of the whole."""
    environment: dict[Var, Any] = dict(zip(program.inputs, inputs, strict=True))

    def value(v: Any) -> Any:
        return environment[v] if isinstance(v, Var) else v

    for equation in program.equations:
        operands = [value(v) for v in equation.inputs]
        if equation.op.name == "call":
            called: Program = equation.op.program  # type: ignore[attr-defined]
            environment.update(zip(equation.outputs, written_out(called, operands, equations, known), strict=True))
            continue
        key = (equation.op, *map(key_of, operands)) if equation.op.compare_by_value else None
        found = known.get(key) if key is not None else None
        if found is None:
            found = [Var(v.type) for v in equation.outputs]
            equations.append(Equation(equation.op, operands, found, equation.origin))
            if key is not None:
                known[key] = found
        environment.update(zip(equation.outputs, found, strict=True))
    return [value(v) for v in program.outputs]


def key_of(v: Var | Literal) -> Hashable:
    """What makes two operands the same: the variable, or the number, its type and its sign."""
    return v if isinstance(v, Var) else (v.type, repr(v.value))
