"""Transpose: a linear program, run backwards.

Each linear equation y = L x has a transpose x_bar = L^T y_bar, given by its op. The whole program is transposed by visiting the equations
from the last to the first, and summing the cotangents of each variable. Known operands (residuals) are ordinary values: the tape of
`linearize` holds them directly, and a closed Program gets them from an environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.op import Op
from ..core.origin import deriving
from ..core.program import Equation, Program, Var
from ..core.tracing import EVAL, Tracer, current_trace
from ..core.types import ArrayType
from ..ops.families import add

__all__ = ["TOTALS", "accumulate", "backward_pass", "transpose_program_rule"]


TOTALS: dict[type, Callable[[Any, Any], Any]] = {ArrayType: add}
"""The function that adds two cotangents, by the class of their type; `control.scan` adds stacks."""


def accumulate(cotangents: dict[Var, Any], v: Any, x_bar: Any) -> None:
    """Add ``x_bar`` to the cotangent of ``v``."""
    if x_bar is not None and type(v) is Var:
        old = cotangents.get(v)
        cotangents[v] = x_bar if old is None else TOTALS[type(v.type)](old, x_bar)


def backward_pass(
    equations: Sequence[Equation],
    cotangents: dict[Var, Any],
    inputs: Sequence[Var],
    known: Mapping[Var, Any] | None = None,
    rule: str | None = None,
) -> list[Any | None]:
    """The cotangents of ``inputs``, given the cotangents of the outputs.

    ``known`` holds the values of Vars that are residuals. A cotangent that is None is zero.
    """
    own: set[Var] = set()  # variables whose cotangent is referenced here only, and may change in place
    for equation in reversed(equations):
        op: Op = equation.op
        if op.multiple:
            y_bar: Any = [cotangents.pop(v, None) for v in equation.outputs]
            if all(c is None for c in y_bar):
                continue
        else:
            y_bar = cotangents.pop(equation.outputs[0], None)
            if y_bar is None:
                continue
        operands = equation.inputs
        if known is not None:  # a closed program; the equations of a tape hold their values
            operands = [known.get(v, v) if type(v) is Var else v.value for v in operands]
        if rule is not None and equation.origin is not None:
            with deriving(equation, rule):
                if op.transpose_update is not None and update_total(op, y_bar, operands, cotangents, own):
                    continue
                x_bars = op.transpose(y_bar, *operands)
        else:
            if op.transpose_update is not None and update_total(op, y_bar, operands, cotangents, own):
                continue
            x_bars = op.transpose(y_bar, *operands)
        for v, x_bar in zip(operands, x_bars, strict=True):
            if x_bar is not None and type(v) is Var:
                old = cotangents.get(v)
                cotangents[v] = x_bar if old is None else TOTALS[type(v.type)](old, x_bar)
    return [cotangents.get(v) for v in inputs]


def update_total(op: Op, y_bar: Any, operands: Sequence[Any], cotangents: dict[Var, Any], own: set[Var]) -> bool:
    """Add the transpose of an op that reads part of an array to the cotangent of that array, touching that part only.

    On values the addition is in place, in an array that is referenced here only, so reading n elements one by one costs n steps and not n
    arrays. While tracing it is an op on the total so far, if there is one; otherwise nothing is done, and the result is False.
    """
    v = operands[0]
    assert op.transpose_update is not None
    total = cotangents.get(v)
    adding, rest = op.transpose_update(y_bar, *operands)
    if current_trace() is EVAL and not any(type(x) is Tracer for x in (total, *rest)):
        if v not in own:
            total = np.zeros(v.type.shape, v.type.dtype) if total is None else np.array(total)
            own.add(v)
        assert adding.update is not None
        cotangents[v] = adding.update(total, *rest)
    elif total is None:
        return False
    else:
        cotangents[v] = adding(total, *rest)
    return True


def transpose_program_rule(
    program: Program, linear: Sequence[bool], known: Sequence[Any], y_bars: Sequence[Any | None], totals: Sequence[Any | None] = ()
) -> list[Any | None]:
    """Transpose a closed Program that is linear in the inputs flagged ``linear``; ``known`` are the values of the other inputs.

    Equations that touch no linear input are evaluated first. Returns a cotangent, or None, for each linear input; the first ones are added
    to ``totals``.
    """
    values = iter(known)
    environment: dict[Var, Any] = {v: next(values) for v, is_linear in zip(program.inputs, linear, strict=True) if not is_linear}
    trace = current_trace()
    todo: list[Equation] = []
    tangent: set[Var] = {v for v, is_linear in zip(program.inputs, linear, strict=True) if is_linear}
    for equation in program.equations:
        if any(type(v) is Var and v in tangent for v in equation.inputs):
            tangent.update(equation.outputs)
            todo.append(equation)
        else:
            operands = [environment[v] if type(v) is Var else v.value for v in equation.inputs]
            with deriving(equation, None):
                environment.update(zip(equation.outputs, trace.process(equation.op, operands), strict=True))
    cotangents: dict[Var, Any] = {}
    for v, y_bar in zip(program.outputs, y_bars, strict=True):
        if v in tangent:
            accumulate(cotangents, v, y_bar)
    inputs = [v for v, is_linear in zip(program.inputs, linear, strict=True) if is_linear]
    for v, total in zip(inputs, totals, strict=False):
        accumulate(cotangents, v, total)
    return backward_pass(todo, cotangents, inputs, environment, "transpose")
