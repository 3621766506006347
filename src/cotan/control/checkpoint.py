"""Checkpoint: keep a function's inputs instead of its residuals, and compute it again when its derivative is pulled back.

    linearize    y = f(x), now;   y' = CheckpointTangent(x, x')
    transpose    f is linearized again at x, and its tape run backwards

Reference: Griewank & Walther 2008, "Evaluating Derivatives", chapter 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.op import op
from ..core.program import Program, Var, evaluate
from ..core.tracing import type_of
from ..core.types import ArrayType
from ..ops.families import spread, zeros
from ..transforms.batch import batch_program
from ..transforms.linearize import linearize_flat, replay
from ..transforms.transpose import accumulate, backward_pass
from .base import ControlOp, filled, linearize_function
from .call import derived_program

__all__ = ["Checkpoint", "CheckpointTangent"]


@op
class Checkpoint(ControlOp):
    """Evaluate a Program whose residuals are not kept."""

    program: Program

    def __str__(self) -> str:
        return f"checkpoint[{self.program.name}]"

    def type_rule(self, *types: ArrayType) -> tuple[ArrayType, ...]:
        return self.program.output_types

    def impl(self, *operands: Any) -> Sequence[Any]:
        return evaluate(self.program, *operands)

    def expand(self, *operands: Any) -> Sequence[Any]:
        return evaluate(self.program, *operands)

    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> tuple[Any, Any]:  # type: ignore[override]
        tangent = CheckpointTangent(self.program, tuple(active))
        return self(*primals), lambda *tangents: [
            dy if t.inexact else None for dy, t in zip(tangent(*primals, *tangents), self.program.output_types, strict=True)
        ]

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, Any]:
        flags = tuple(batched)
        program, out_flags = derived_program(self.program, ("batch", size, flags), lambda: batch_program(self.program, size, flags))
        return Checkpoint(program)(*program.constants, *operands), out_flags


@op
class CheckpointTangent(ControlOp):
    """The derivative of a Program at a point. Operands: all primals, then the active tangents, in which it is linear."""

    program: Program
    active: tuple[bool, ...]

    def __str__(self) -> str:
        return f"checkpoint_tangent[{self.program.name}]"

    def linear_sets(self, count: int) -> tuple[int, ...]:
        return (((1 << count) - 1) & ~((1 << len(self.active)) - 1),)

    def type_rule(self, *types: ArrayType) -> tuple[ArrayType, ...]:
        return self.program.output_types

    def impl(self, *operands: Any) -> Sequence[Any]:
        return tuple(self.expand(*operands))

    def expand(self, *operands: Any) -> Sequence[Any]:
        primals, tangents = operands[: len(self.active)], operands[len(self.active) :]
        _, tape, inputs, outputs = self.again(primals)
        dys = replay(tape.equations, inputs, tangents, outputs)
        return [zeros(t) if dy is None else dy for dy, t in zip(dys, self.program.output_types, strict=True)]

    def again(self, primals: Sequence[Any]) -> Any:
        """Linearize the program at ``primals``, once more."""
        return linearize_flat(lambda *xs: evaluate(self.program, *xs), primals, self.active)

    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> tuple[Any, Any]:  # type: ignore[override]
        count = len(self.active)
        if any(active[:count]):
            return linearize_function(self.expand, primals, active)

        def push(*tangents: Any) -> Sequence[Any]:
            it = iter(tangents)
            moved = [next(it) if a else zeros(type_of(x)) for x, a in zip(primals[count:], active[count:], strict=True)]
            return self(*primals[:count], *moved)

        return self(*primals), push

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Any | None]:
        count = len(self.active)
        _, tape, inputs, outputs = self.again(operands[:count])
        cotangents: dict[Var, Any] = {}
        for v, bar in zip(outputs, y_bar, strict=True):
            accumulate(cotangents, v, bar)
        return [None] * count + backward_pass(tape.equations, cotangents, inputs)

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, Any]:
        count = len(self.active)
        moving = filled(batched[count:], self.active)
        flags = tuple(bool(b or m) for b, m in zip(batched[:count], moving, strict=True))
        wanted = [*flags, *[f for f, a in zip(flags, self.active, strict=True) if a]]
        program, _ = derived_program(
            self.program, ("batch all", size, flags), lambda: batch_program(self.program, size, flags, all_outputs=True)
        )
        spread_out = [x if b or not w else spread(x, size) for x, b, w in zip(operands, batched, wanted, strict=True)]
        outs = CheckpointTangent(program, (False,) * len(program.constants) + self.active)(*program.constants, *spread_out)
        return outs, [True] * len(outs)
