"""The base class of the ops that hold programs. Their results are tuples. Their forward mode is `linearize`, applied to the tangents at
once. Such an op may fail in the operands in which an op of its programs may fail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, ClassVar

from ..core.formula import Formula, called
from ..core.op import Op
from ..core.program import Program, Var, evaluate
from ..core.staging import stage_flat
from ..transforms.jvp import jvp_flat
from ..transforms.linearize import linearize_flat, replay

__all__ = ["ControlOp", "active_outputs", "filled", "inputs_that_fail", "linearize_function", "with_captured"]


class ControlOp(Op):
    """An op that holds programs. It defines ``linearize``; its JVP applies the linear function to the given tangents."""

    family = "control"
    multiple: ClassVar[bool] = True
    holds_programs = True
    compare_by_value: ClassVar[bool] = False

    def fails_on(self, *types: Any) -> Sequence[int]:
        """All operands if the op holds opaque code or a program that may fail; otherwise none."""
        programs = [region.program for region in self.regions()]
        total = self.total or (programs and not any(any(inputs_that_fail(p)) for p in programs))
        return () if total else range(len(types))

    def formula(self, *operands: Formula) -> Formula:
        return called(str(self), *operands)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        assert self.linearize is not None
        outs, push = self.linearize(primals, [t is not None for t in tangents])
        return outs, push(*[t for t in tangents if t is not None])


def with_captured(flags: Sequence[bool], first: int, captured: int) -> tuple[bool, ...]:
    """The flags of linear operands after ``captured`` constants are inserted before operand ``first``."""
    return (*flags[:first], *[False] * captured, *flags[first:]) if flags else ()


def linearize_function(
    function: Callable[..., Sequence[Any]], primals: Sequence[Any], active: Sequence[bool]
) -> tuple[list[Any], Callable[..., list[Any | None]]]:
    """``linearize`` of an op that is a composition of other ops: its values, and its tangents by replaying the recorded equations."""
    outs, tape, inputs, outputs = linearize_flat(function, primals, active)
    return outs, lambda *tangents: replay(tape.equations, inputs, tangents, outputs)


def inputs_that_fail(program: Program) -> tuple[bool, ...]:
    """For each input of the program, whether values of it may make the program fail: an op `fails_on` a value that depends on it."""
    found: tuple[bool, ...] | None = program.derived.get("fails")
    if found is None:
        reached: set[Any] = set()
        for e in reversed(program.equations):
            places = range(len(e.inputs)) if reached.intersection(e.outputs) else e.op.fails_on(*[v.type for v in e.inputs])
            reached.update(v for v in (e.inputs[k] for k in places) if isinstance(v, Var))
        found = program.derived["fails"] = tuple(v in reached for v in program.inputs)
    return found


def active_outputs(program: Program, active: Sequence[bool]) -> list[bool]:
    """Which outputs of ``program`` have a tangent in forward mode if the flagged inputs have one."""
    found: list[bool] = []
    count = len(program.inputs)

    def run(*values: Any) -> list[Any]:
        _, douts = jvp_flat(lambda *x: evaluate(program, *x), values[:count], filled(values[count:], active))
        found.extend(dy is not None for dy in douts)
        return []

    stage_flat(run, [*program.input_types, *compress(program.input_types, active)])
    return found


def filled(values: Sequence[Any], flags: Sequence[bool]) -> list[Any | None]:
    """A list with ``values`` in the flagged positions and None elsewhere."""
    it = iter(values)
    return [next(it) if flag else None for flag in flags]
