"""Transpose: a linear program, run backwards.

Each linear equation y = L x has a transpose x_bar = L^T y_bar, given by its op. The whole program is transposed by visiting the equations
from the last to the first, and summing the cotangents of each variable. Known operands (residuals) are ordinary values: the tape of
`linearize` holds them directly, and a closed Program gets them from an environment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from ..core.op import Op
from ..core.origin import deriving, evaluating, is_capturing, observer
from ..core.program import Equation, Program, Var, is_observed
from ..core.tracing import EVAL, Tracer, current_trace, type_of
from ..core.types import ArrayType
from ..ops.families import add, zeros

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
    known: Residuals | None = None,
    *,
    last: bool = False,
) -> list[Any | None]:
    """The cotangents of ``inputs``, given the cotangents of the outputs.

    ``known`` has the values of Vars that are residuals. A cotangent that is None is zero. The ``last`` pass over a list of equations
    empties it: each equation is given up after its use, with the residuals in it.
    """
    totals = Totals(cotangents)
    recording, watching, capturing = current_trace().recording, observer(), is_capturing()
    todo = equations if last else list(equations)
    assert isinstance(todo, list)
    while todo:
        equation = todo.pop()
        op: Op = equation.op
        if op.multiple:
            y_bar: Any = [totals.take(v) for v in equation.outputs]
            absent = all(c is None for c in y_bar)
        else:
            v = equation.outputs[0]
            y_bar = totals.take(v) if totals.waiting else cotangents.pop(v, None)
            absent = y_bar is None
        if absent and not (capturing and is_observed(op)):
            continue
        if watching is not None and not absent:
            for v, bar in zip(equation.outputs, y_bar if op.multiple else (y_bar,), strict=True):
                watching.cotangent(v, bar)
        operands = equation.inputs
        if known is not None:  # a closed program; the equations of a tape hold their values
            operands = known.operands(equation)
        if absent:  # nothing reads it: the zero is for those who look
            op.transpose(y_bar if op.multiple else zeros(equation.outputs[0].type), *operands)
        elif recording:
            with deriving(equation, "transpose"):
                totals.pull_back(equation, y_bar, operands)
        else:
            totals.pull_back(equation, y_bar, operands)
    found = [totals.take(v, keep=True) for v in inputs]
    if watching is not None:
        for v, bar in zip(inputs, found, strict=True):
            watching.cotangent(v, bar)
    return found


class Residuals:
    """The values of the known variables of a closed Program, for the equations ``todo`` that read them from the last to the first.

    A value is computed when it is first asked for, and given up after its last use.
    """

    def __init__(self, values: dict[Var, Any], equations: Sequence[Equation], todo: Sequence[Equation]) -> None:
        self.values = values
        self.maker = {v: e for e in equations for v in e.outputs}
        self.uses: Counter[Var] = Counter()
        """The reads of each value to come."""
        wanted = [*todo]
        seen: set[int] = set()
        while wanted:
            for v in wanted.pop().inputs:
                if type(v) is Var:
                    self.uses[v] += 1
                    e = self.maker.get(v)
                    if e is not None and id(e) not in seen:
                        seen.add(id(e))
                        wanted.append(e)
        for v in [v for v in values if not self.uses[v]]:
            del values[v]

    def operands(self, equation: Equation) -> list[Any]:
        """The operands of one of the equations; a variable that is not known stands for itself."""
        trace, todo = current_trace(), self.makers(equation)
        while todo:
            e = todo[-1]
            before = self.makers(e)
            if before:
                todo += before
                continue
            todo.pop()
            if e.outputs[0] in self.maker:
                for v in e.outputs:
                    del self.maker[v]
                with evaluating(e):
                    made = trace.process(e.op, self.taken(e))
                self.values.update((v, y) for v, y in zip(e.outputs, made, strict=True) if self.uses[v])
        return self.taken(equation)

    def makers(self, equation: Equation) -> list[Equation]:
        """The equations that make operands, and have not been run."""
        return [e for v in equation.inputs if type(v) is Var and (e := self.maker.get(v)) is not None]

    def taken(self, equation: Equation) -> list[Any]:
        """The operands, all of which are there; those that nothing reads later are given up."""
        found = [self.values.get(v, v) if type(v) is Var else v.value for v in equation.inputs]
        for v in equation.inputs:
            if type(v) is Var:
                self.uses[v] -= 1
                if not self.uses[v]:
                    self.values.pop(v, None)
        return found


class Totals:
    """The cotangents of a backward pass, as sums of what came so far.

    The cotangent of an array of which an op read a part is added to the total of that array, touching that part only: so reading n
    elements one by one costs n steps and not n arrays. On values the addition is in place, in an array that is referenced here only. While
    tracing it is an op on the total. If there is no total yet, the cotangent of a small part waits: the total that comes later may be an
    array that the op can change in place. (That of a slice does not wait: padded with zeros, it is added in the loop that makes the total.)
    """

    def __init__(self, cotangents: dict[Var, Any]) -> None:
        self.cotangents, self.recording = cotangents, current_trace().recording
        self.own: set[Var] = set()
        """Variables whose cotangent is referenced here only, and may change in place."""
        self.waiting: dict[Var, list[tuple[Equation, Any, Sequence[Any]]]] = {}
        """Equations that read a small part of an array, with the cotangent of that part and the operands."""

    def pull_back(self, equation: Equation, y_bar: Any, operands: Sequence[Any]) -> None:
        """Add the transpose of an equation, applied to the cotangent of its result, to the cotangents of its operands."""
        op: Op = equation.op
        onto = self.onto(op.accumulates(), operands) if op.accumulates is not None else None
        if op.transpose_update is not None and self.update(equation, y_bar, operands):
            return
        if onto:
            assert op.transpose_onto is not None
            x_bars = op.transpose_onto(y_bar, onto, *operands)
        else:
            x_bars = op.transpose(y_bar, *operands)
        cotangents = self.cotangents
        for v, x_bar in zip(operands, x_bars, strict=True):
            if x_bar is not None and type(v) is Var:
                old = cotangents.get(v)
                cotangents[v] = x_bar if old is None else TOTALS[type(v.type)](old, x_bar)

    def take(self, v: Var, *, keep: bool = False) -> Any | None:
        """The whole cotangent of ``v``, which no one asks for again unless it is kept."""
        if self.waiting:
            for equation, y_bar, operands in self.waiting.pop(v, ()):
                with deriving(equation, "transpose") if self.recording else nullcontext():
                    if not self.update(equation, y_bar, operands, wait=False):
                        self.cotangents[v] = equation.op.transpose(y_bar, *operands)[0]
        return self.cotangents.get(v) if keep else self.cotangents.pop(v, None)

    def onto(self, numbers: Sequence[int], operands: Sequence[Any]) -> dict[int, Any]:
        """The cotangents so far of these operands, as far as they are traced arrays. The op adds to them, and returns the new ones.
        (On values they are added outside of the op: so its derived Program, which may be compiled, is one whether there is a total or not.)
        """
        found: dict[int, Any] = {}
        tracing = current_trace() is not EVAL
        for k in numbers:
            v = operands[k]
            total = self.cotangents.get(v) if type(v) is Var and isinstance(v.type, ArrayType) and v.type.shape else None
            if total is not None and (tracing or type(total) is Tracer) and sum(x is v for x in operands) == 1:
                found[k] = self.cotangents.pop(v)
        return found

    def update(self, equation: Equation, y_bar: Any, operands: Sequence[Any], *, wait: bool = True) -> bool:
        """Add the transpose of an op that reads a part of an array to the cotangent of that array, now or later; False if the op's own
        transpose is to be added.
        """
        v = operands[0]
        assert equation.op.transpose_update is not None
        total = self.cotangents.get(v)
        adding, rest = equation.op.transpose_update(y_bar, *operands)
        if current_trace() is EVAL and Tracer not in map(type, (total, *rest)):
            if v not in self.own:
                total = np.zeros(v.type.shape, v.type.dtype) if total is None else np.array(total)
                self.own.add(v)
            assert adding.update is not None
            self.cotangents[v] = adding.update(total, *rest)
        elif total is not None:
            if equation.op.family == "movement" and 3 * type_of(y_bar).size > 2 * v.type.size:
                return False  # padded with zeros, most of an array is added in one loop (every second element is not that much)
            self.cotangents[v] = adding(total, *rest)
        elif wait and equation.op.family == "indexing" and 2 * type_of(y_bar).size <= v.type.size:
            self.waiting.setdefault(v, []).append((equation, y_bar, operands))
        else:
            return False
        return True


def transpose_program_rule(
    program: Program, linear: Sequence[bool], known: Sequence[Any], y_bars: Sequence[Any | None], totals: Sequence[Any | None] = ()
) -> list[Any | None]:
    """Transpose a closed Program that is linear in the inputs flagged ``linear``; ``known`` are the values of the other inputs.

    Equations that touch no linear input are evaluated when their results are needed, and values are given up as they are used. Returns a
    cotangent, or None, for each linear input; the first ones are added to ``totals``.
    """
    values = iter(known)
    given: dict[Var, Any] = {v: next(values) for v, is_linear in zip(program.inputs, linear, strict=True) if not is_linear}
    del known, values  # so that a value can be given up
    if (watching := observer()) is not None:
        watching.values(given)
    todo: list[Equation] = []
    computed: list[Equation] = []
    tangent: set[Var] = {v for v, is_linear in zip(program.inputs, linear, strict=True) if is_linear}
    for equation in program.equations:
        if any(type(v) is Var and v in tangent for v in equation.inputs):
            tangent.update(equation.outputs)
            todo.append(equation)
        else:
            computed.append(equation)
    cotangents: dict[Var, Any] = {}
    for v, y_bar in zip(program.outputs, y_bars, strict=True):
        if v in tangent:
            accumulate(cotangents, v, y_bar)
    inputs = [v for v, is_linear in zip(program.inputs, linear, strict=True) if is_linear]
    for v, total in zip(inputs, totals, strict=False):
        accumulate(cotangents, v, total)
    return backward_pass(todo, cotangents, inputs, Residuals(given, computed, todo))
