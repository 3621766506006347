"""Checkpoint: rematerialization. The inputs of a function, and the values that a policy allows, are stored in place of its residuals; the
residuals are recomputed when they are needed.

    linearize    y, s = f(x), now (s: the values that the policy allows to save)      y' = CheckpointTangent(x, s, x')
    transpose    recompute the residuals from x and s, then run the tangent program backwards

Reference: Griewank & Walther 2008, "Evaluating Derivatives", chapter 12. Policies and names are JAX's (jax.checkpoint_policies).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from ..core.emitting import Reader
from ..core.op import Op, Region, op
from ..core.origin import evaluating, observer
from ..core.program import Equation, Program, Var, evaluate
from ..core.staging import stage_flat
from ..core.tracing import current_trace
from ..core.types import ArrayType, Type
from ..ops.families import Structural, default_rng
from ..transforms.batch import batch_program
from ..transforms.linearize import linearize_program
from ..transforms.transpose import transpose_program_rule
from .base import ControlOp, filled, linearize_function
from .call import Call, derived_program
from .residuals import decisions_between, extract
from .stacks import zeros_of

__all__ = ["Checkpoint", "CheckpointName", "CheckpointTangent", "Policy"]

Policy = Callable[..., bool]
"""``policy(op, *operand_types)``: whether the results of an op may be stored for the derivative."""


@op
class CheckpointName(Structural):
    """The identity, which names a value for the policies of `checkpoint`."""

    label: str

    def type_rule(self, x: ArrayType) -> ArrayType:
        return x.with_shape(x.shape)

    def impl(self, x: Any) -> Any:
        return x

    def element(self, e: Any, i: Sequence[Any], x: Reader) -> Any:
        return x(i)

    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [y_bar]

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return self(x), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        yield cls("hidden"), (default_rng().normal(size=(2, 3)),)


@op
class Checkpoint(ControlOp):
    """Evaluate a Program. Of its residuals, only those that ``policy`` allows are stored; without a policy, none."""

    program: Program
    policy: Policy | None = None

    def __str__(self) -> str:
        return f"checkpoint[{self.program.name}]"

    def regions(self) -> tuple[Region[Program], ...]:
        return (Region(self.program, 0, len(self.program.inputs)),)

    def with_regions(self, programs: Sequence[Program], captured: int = 0) -> Checkpoint:
        (program,) = programs
        return replace(self, program=program)

    def type_rule(self, *types: Type) -> tuple[Type, ...]:
        return self.program.output_types

    def impl(self, *operands: Any) -> Sequence[Any]:
        return evaluate(self.program, *operands)

    def expand(self, *operands: Any) -> Sequence[Any]:
        return evaluate(self.program, *operands)

    written_out = expand

    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> tuple[Any, Any]:  # type: ignore[override]
        flags = tuple(active)
        forward, again, tangent, out_active = derived_program(self.program, ("checkpoint", flags, self.policy), lambda: self.split(flags))
        known = [*forward.constants, *primals]
        results = Checkpoint(forward, self.policy)(*known)
        count = len(self.program.outputs)
        known += results[count:]

        def push(*tangents: Any) -> list[Any | None]:
            return filled(CheckpointTangent(again, tangent, len(known))(*known, *tangents), out_active)

        return list(results[:count]), push if any(out_active) else lambda *_: [None] * count

    def split(self, active: tuple[bool, ...]) -> tuple[Program, Program, Program, list[bool]]:
        """The primal program, with the saved values as further outputs; the program that computes the residuals from the inputs and the
        saved values; the tangent program; which outputs have a tangent.
        """
        whole, captured = stage_flat(lambda *x: flat_evaluate(self.program, x), self.program.input_types, name=self.program.name)
        assert not captured
        primal, tangent, out_active, _ = linearize_program(whole, active)
        outputs, residuals = primal.outputs[: len(whole.outputs)], primal.outputs[len(whole.outputs) :]
        saved = allowed(self.policy, primal, residuals) if self.policy is not None else []
        saved += decisions_between(primal, saved, residuals) if saved else []
        again = extract(primal, [*primal.inputs, *saved], residuals)
        return replace(primal, outputs=[*outputs, *saved]), again, tangent, out_active

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, Any]:
        flags = tuple(batched)
        program, out_flags = derived_program(self.program, ("batch", size, flags), lambda: batch_program(self.program, size, flags))
        return Checkpoint(program, self.policy)(*program.constants, *operands), out_flags


def flat_evaluate(program: Program, operands: Sequence[Any]) -> list[Any]:
    """Evaluate a Program with the Programs that it calls inlined, so that a policy sees their ops."""
    environment: dict[Any, Any] = dict(zip(program.inputs, operands, strict=True))
    trace, watching = current_trace(), observer()
    if watching is not None:
        watching.values(environment)
    for equation in program.equations:
        values = [environment[v] if isinstance(v, Var) else v.value for v in equation.inputs]
        if type(equation.op) is Call:
            results: Sequence[Any] = flat_evaluate(equation.op.program, values)
        else:
            with evaluating(equation):
                results = trace.process(equation.op, values)
        if watching is not None:
            watching.values(dict(zip(equation.outputs, results, strict=True)))
        environment.update(zip(equation.outputs, results, strict=True))
    return [environment[v] if isinstance(v, Var) else v.value for v in program.outputs]


def allowed(policy: Policy, program: Program, residuals: Sequence[Any]) -> list[Var]:
    """The variables nearest to the residuals that the policy allows to save and on which the residuals depend."""
    maker: dict[Var, Equation] = {v: equation for equation in program.equations for v in equation.outputs}
    may: dict[int, bool] = {}
    # A name applies to the value that was named. Rules may have used that value without the name.
    named = {e.inputs[0] for e in program.equations if isinstance(e.op, CheckpointName) and policy(e.op, e.inputs[0].type)}
    found: list[Var] = []
    seen: set[Var] = set()
    todo = [v for v in residuals if type(v) is Var]
    while todo:
        v = todo.pop()
        if v in seen or v not in maker:
            continue
        seen.add(v)
        equation = maker[v]
        key = id(equation)
        if key not in may:
            may[key] = bool(policy(equation.op, *[x.type for x in equation.inputs]))
        if may[key] or v in named:
            found.append(v)
        else:
            todo.extend(x for x in equation.inputs if type(x) is Var)
    return found


@op
class Again(Call):
    """A call that is not inlined in the program around it.

    Its recomputed values must not be merged with the values of the first evaluation.
    """

    written_out = None


@op
class CheckpointTangent(ControlOp):
    """The derivative of a Program at a point.

    Operands: ``known`` values, from which ``again`` computes the residuals; then the tangents, in which it is linear, as ``derivative`` is.
    """

    again: Program
    derivative: Program
    known: int

    def __str__(self) -> str:
        return f"checkpoint_tangent[{self.derivative.name}]"

    def regions(self) -> tuple[Region[Program], ...]:
        """The second region takes the results of the first one, then the tangents."""
        return Region(self.again, 0, self.known), Region(self.derivative, self.known - len(self.again.outputs), len(self.derivative.inputs))

    def linear_sets(self, count: int) -> tuple[int, ...]:
        return (((1 << count) - 1) & ~((1 << self.known) - 1),)

    def type_rule(self, *types: Type) -> tuple[Type, ...]:
        return self.derivative.output_types

    def impl(self, *operands: Any) -> Sequence[Any]:
        return tuple(self.expand(*operands))

    def expand(self, *operands: Any) -> Sequence[Any]:
        return evaluate(self.derivative, *self.residuals(operands), *operands[self.known :])

    written_out = expand

    def residuals(self, operands: Sequence[Any]) -> Sequence[Any]:
        """The recomputed residuals, by one op, which is opaque to common-subexpression elimination."""
        return Again(self.again)(*operands[: self.known])

    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> tuple[Any, Any]:  # type: ignore[override]
        if any(active[: self.known]):
            return linearize_function(self.expand, primals, active)

        def push(*tangents: Any) -> Sequence[Any]:
            it = iter(tangents)
            types = self.derivative.input_types[len(self.again.outputs) :]
            moved = [next(it) if a else zeros_of(t) for t, a in zip(types, active[self.known :], strict=True)]
            return self(*primals[: self.known], *moved)

        return self(*primals), push

    def accumulates(self) -> Sequence[int]:  # type: ignore[override]
        """The tangents: the derivative may add to their cotangents."""
        return range(self.known, self.known + len(self.derivative.inputs) - len(self.again.outputs))

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Any | None]:
        return self.transpose_onto(y_bar, {}, *operands)

    def transpose_onto(self, y_bar: Any, totals: dict[int, Any], *operands: Any) -> Sequence[Any | None]:  # type: ignore[override]
        count = len(self.again.outputs)
        linear = [k >= count for k in range(len(self.derivative.inputs))]
        onto = [totals.get(k) for k in self.accumulates()]
        bars = transpose_program_rule(self.derivative, linear, self.residuals(operands), y_bar, onto)
        return [None] * self.known + bars

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, Any]:
        flags = tuple(batched)
        again, tangent, out_flags = derived_program(self.again, ("batch", self.derivative, size, flags), lambda: self.batched(size, flags))
        return CheckpointTangent(again, tangent, len(again.inputs))(*again.constants, *operands), out_flags

    def batched(self, size: int, flags: tuple[bool, ...]) -> tuple[Program, Program, list[bool]]:
        """Both programs on a batch. Values that the tangent program captured are passed through ``again``."""
        again, residual_flags = batch_program(self.again, size, flags[: self.known])
        tangent, out_flags = batch_program(self.derivative, size, (*residual_flags, *flags[self.known :]))
        extra = list(tangent.inputs)[: len(tangent.constants)]
        through = [Var(v.type) for v in extra]
        again = replace(
            again,
            inputs=[*through, *again.inputs],
            outputs=[*through, *again.outputs],
            constants=(*tangent.constants, *again.constants),
        )
        return again, replace(tangent, constants=()), out_flags
