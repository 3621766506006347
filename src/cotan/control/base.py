"""What the ops that hold programs share: results are tuples, and forward mode is linearize applied at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, ClassVar

from ..core.op import Op
from ..core.program import Program, evaluate
from ..core.staging import stage_flat
from ..transforms.jvp import jvp_flat
from ..transforms.linearize import linearize_flat, replay

__all__ = ["ControlOp", "active_outputs", "filled", "linearize_function"]


class ControlOp(Op):
    """An op that holds programs. It states ``linearize``; the JVP is that, applied to the tangents at hand."""

    family = "control"
    multiple = True
    holds_programs = True
    compare_by_value: ClassVar[bool] = False

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        assert self.linearize is not None
        outs, push = self.linearize(primals, [t is not None for t in tangents])
        return outs, push(*[t for t in tangents if t is not None])


def linearize_function(
    function: Callable[..., Sequence[Any]], primals: Sequence[Any], active: Sequence[bool]
) -> tuple[list[Any], Callable[..., list[Any | None]]]:
    """``linearize`` of an op that is a computation of other ops: its values, and its tangents by replaying what was recorded."""
    outs, tape, inputs, outputs = linearize_flat(function, primals, active)
    return outs, lambda *tangents: replay(tape.equations, inputs, tangents, outputs)


def active_outputs(program: Program, active: Sequence[bool]) -> list[bool]:
    """Which outputs of ``program`` have a tangent in forward mode if these inputs have one."""
    found: list[bool] = []
    count = len(program.inputs)

    def run(*values: Any) -> list[Any]:
        _, douts = jvp_flat(lambda *x: evaluate(program, *x, rule="jvp"), values[:count], filled(values[count:], active))
        found.extend(dy is not None for dy in douts)
        return []

    stage_flat(run, [*program.input_types, *compress(program.input_types, active)])
    return found


def filled(values: Sequence[Any], flags: Sequence[bool]) -> list[Any | None]:
    """``values`` put where ``flags`` are set, None elsewhere."""
    it = iter(values)
    return [next(it) if flag else None for flag in flags]
