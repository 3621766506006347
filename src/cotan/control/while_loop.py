"""`While`: a loop that runs while a condition, a program of the carry, is true.

Forward mode carries the tangents along. Reverse mode needs the residuals of each step. So the loop is run once to count its steps, and is
then a `Scan` of known length. Inside jit, where the length is not a number yet, it is an operand of the scan, and the residuals are stacks.

A batched loop runs while the condition is true for any example; an example that has ended keeps its carry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from typing import Any

import numpy as np

from ..core.errors import ArgumentError, teach
from ..core.op import Region, op
from ..core.origin import is_capturing
from ..core.program import Program, evaluate, holds, is_observed
from ..core.staging import StagingTrace, stage_flat
from ..core.tracing import Tracer, type_of
from ..core.types import ArrayType, array_type
from ..engines import numpy as engine
from ..ops.arithmetic import add
from ..ops.families import spread, zeros
from ..ops.reduction import ReduceOr
from ..transforms.batch import BatchTrace, batch_flat
from ..transforms.jvp import jvp_flat
from .base import ControlOp, active_outputs, filled
from .call import derived_program
from .cond import only_if
from .residuals import extract, inputs_read
from .scan import Scan, take
from .sweep import BoundedScan

__all__ = ["While"]


@op
class While(ControlOp):
    """``carry = body(constants, carry)`` while ``condition(constants, carry)``. Operands: constants (of both programs), carry."""

    condition: Program
    body: Program
    constants: int
    snapshots: int | None = None
    """If given, the most states that reverse mode stores (see `Sweep`)."""

    def __str__(self) -> str:
        return f"while[{self.condition.name}, {self.body.name}]"

    def regions(self) -> tuple[Region[Program], ...]:
        carry = range(self.constants, len(self.body.inputs))
        body = Region(self.body, 0, self.constants, carry, None, gives_carry=True)
        return Region(self.condition, 0, self.constants, carry, None), body

    def with_regions(self, programs: Sequence[Program], captured: int = 0) -> While:
        condition, body = programs
        return replace(self, condition=condition, body=body, constants=self.constants + captured)

    def type_rule(self, *types: ArrayType) -> tuple[ArrayType, ...]:
        return self.body.output_types

    def impl(self, *operands: Any) -> Sequence[Any]:
        constants, carry = list(operands[: self.constants]), list(operands[self.constants :])
        going, step = engine.compiled(self.condition), engine.compiled(self.body)
        while going([*constants, *carry])[0]:
            arguments = [*constants, *carry]
            carry = []  # without references the body may change the carry in place
            carry = step(arguments)
        return tuple(carry)

    def expand(self, *operands: Any) -> Sequence[Any]:
        """The loop in Python, on values under differentiation."""
        constants, carry = list(operands[: self.constants]), list(operands[self.constants :])
        while bool(evaluate(self.condition, *constants, *carry)[0]):
            carry = evaluate(self.body, *constants, *carry)
        return carry

    def chosen(self, values: Sequence[Any]) -> Any:
        """The loop, unrolled; refused on a batch, whose examples would run different numbers of steps."""
        if any(np.ndim(x) > t.ndim for x, t in zip(values, self.body.input_types, strict=True)):
            raise teach(
                ArgumentError,
                "strict=True takes the steps of a while_loop one by one, and under vmap each example has its own number of them.",
                do="put vmap inside of the derivative, or differentiate one example after the other.",
            )
        return self.expand

    def fails_on(self, *types: Any) -> Sequence[int]:
        return range(len(types))  # it may not end

    def derived(self, key: Any, make: Any) -> Any:
        return derived_program(self.body, (key, self.constants, self.condition), make)

    # ---- forward ------------------------------------------------------------------------------------------------------
    def reached(self, active: Sequence[bool]) -> tuple[bool, ...]:
        """The operands that have a tangent in some step."""
        flags = list(active)
        while True:
            carry = [a or b for a, b in zip(flags[self.constants :], active_outputs(self.body, flags), strict=True)]
            if carry == flags[self.constants :]:
                return tuple(flags)
            flags[self.constants :] = carry

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        active = tuple(t is not None for t in tangents)
        flags = self.derived(("reached", active), lambda: self.reached(active))
        moving = flags[self.constants :]
        n_constant_tangents = sum(flags[: self.constants])

        def make() -> tuple[Program, Program]:
            def step(*values: Any) -> list[Any]:
                it = iter(values)
                constants, t_constants = take(it, self.constants), take(it, n_constant_tangents)
                carry, t_carry = take(it, len(moving)), list(it)
                run = [*constants, *carry]
                outs, douts = jvp_flat(lambda *x: evaluate(self.body, *x), run, filled([*t_constants, *t_carry], flags))
                return [*outs, *[zeros(type_of(y)) if dy is None else dy for y, dy, m in zip(outs, douts, moving, strict=True) if m]]

            def going(*values: Any) -> list[Any]:
                start = self.constants + n_constant_tangents
                return evaluate(self.condition, *values[: self.constants], *values[start : start + len(moving)])

            types = self.body.input_types
            const_types, carry_types = types[: self.constants], types[self.constants :]
            both = [*const_types, *compress(const_types, flags), *carry_types, *compress(carry_types, moving)]
            condition = stage_flat(going, both, name=self.condition.name)
            return self.with_captured(condition, stage_flat(step, both, name=f"{self.body.name}_jvp"))

        condition, body = self.derived(("jvp", flags), make)
        dx = [zeros(type_of(x)) if t is None else t for x, t in zip(primals, tangents, strict=True)]
        loop = While(condition, body, len(body.constants) + self.constants + n_constant_tangents, self.snapshots)
        constants, carry = primals[: self.constants], primals[self.constants :]
        results = loop(*body.constants, *constants, *compress(dx[: self.constants], flags), *carry, *compress(dx[self.constants :], moving))
        return results[: len(moving)], filled(results[len(moving) :], moving)

    @staticmethod
    def with_captured(condition: tuple[Program, list[Any]], body: tuple[Program, list[Any]]) -> tuple[Program, Program]:
        """Both programs with the captured values of both as leading inputs (stored as ``constants`` of the body)."""
        (first, first_values), (second, second_values) = condition, body
        a, b = list(first.inputs), list(second.inputs)
        n, m = len(first_values), len(second_values)
        both = (*first_values, *second_values)
        return (
            replace(first, inputs=[*a[:n], *b[:m], *a[n:]], constants=both),
            replace(second, inputs=[*a[:n], *b[:m], *b[m:]], constants=both),
        )

    # ---- reverse ------------------------------------------------------------------------------------------------------
    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> tuple[Any, Any]:  # type: ignore[override]
        condition, body, carries = self.derived("counting", self.counting)
        carry = [primals[self.constants + k] for k in carries]
        counter = While(condition, body, self.constants)(*primals[: self.constants], *carry, np.int64(0))[-1]
        steps, masked = largest(counter)
        if steps is None or (is_capturing() and holds(self.body, "observed", is_observed)):  # its last step is looked at
            return self.as_scan(self.body, None).linearize([counter, *primals], [False, *active])
        body = self.derived("masked", lambda: self.masked_body(sure=False)) if masked else self.body
        return self.as_scan(body, steps).linearize(primals, active)

    def as_scan(self, body: Program, length: int | None) -> Scan:
        """A scan with ``length`` steps of ``body``."""
        n = len(self.body.outputs)
        if self.snapshots is None:
            return Scan(body, self.constants, n, length)
        return BoundedScan(body, self.constants, n, length, snapshots=self.snapshots)

    def counting(self) -> tuple[Program, Program, list[int]]:
        """The loop with a further carry that counts its steps. Of the other carries it has those on which the condition depends, whose
        numbers are returned too.
        """
        constants, inputs = self.body.inputs[: self.constants], self.body.inputs[self.constants :]
        read = inputs_read(self.condition, self.condition.outputs, effects=True)
        needed = [v in read for v in self.condition.inputs[self.constants :]]
        while True:
            outputs = list(compress(self.body.outputs, needed))
            read = inputs_read(self.body, outputs)
            more = [a or v in read for a, v in zip(needed, inputs, strict=True)]
            if more == needed:
                break
            needed = more
        step = extract(self.body, [*constants, *compress(inputs, needed)], outputs)
        given = [*self.condition.inputs[: self.constants], *compress(self.condition.inputs[self.constants :], needed)]
        going = extract(self.condition, given, self.condition.outputs, effects=True)
        types = [*step.input_types, array_type((), np.dtype(np.int64))]
        condition, _ = stage_flat(lambda *v: evaluate(going, *v[:-1]), types, name=self.condition.name)
        body, _ = stage_flat(lambda *v: [*evaluate(step, *v[:-1]), add(v[-1], np.int64(1))], types, name=self.body.name)
        return condition, body, [k for k, flag in enumerate(needed) if flag]

    def masked_body(self, *, sure: bool) -> Program:
        """A step that changes nothing once the condition is false. ``sure`` says that on every batch, the condition is true for some
        example.
        """

        def step(*values: Any) -> list[Any]:
            (going,) = evaluate(self.condition, *values)
            return only_if(going, self.body, values, values[self.constants :], sure=sure)

        program, captured = stage_flat(step, self.body.input_types, name=self.body.name)
        assert not captured
        return program

    # ---- batch ----------------------------------------------------------------------------------------------------------
    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, Any]:
        flags, many = self.derived(("batched", size, tuple(batched)), lambda: self.batched_flags(size, batched))
        condition, body = self.derived(("batch", size, flags, many), lambda: self.batched_programs(size, flags, many))
        moved = [spread(x, size) if flag and not had else x for x, flag, had in zip(operands, flags, batched, strict=True)]
        count = len(body.constants) + self.constants
        return While(condition, body, count, self.snapshots)(*body.constants, *moved), flags[self.constants :]

    def batched_flags(self, size: int, batched: Sequence[bool]) -> tuple[tuple[bool, ...], bool]:
        """Which operands are batched in some step, and whether the condition is."""
        flags = list(batched)
        while True:
            many = self.run_batched(self.condition, size, flags)[0]
            carry = [many or a or b for a, b in zip(flags[self.constants :], self.run_batched(self.body, size, flags), strict=True)]
            if carry == flags[self.constants :]:
                return tuple(flags), many
            flags[self.constants :] = carry

    def run_batched(self, program: Program, size: int, flags: Sequence[bool]) -> list[bool]:
        """Which outputs of ``program`` are batched if the flagged inputs are."""
        found: list[bool] = []

        def run(*values: Any) -> list[Any]:
            outs, out_flags = batch_flat(lambda *x: evaluate(program, *x), size, flags, values)
            found.extend(out_flags)
            return outs

        stage_flat(run, [t.batched(size) if b else t for t, b in zip(self.body.input_types, flags, strict=True)])
        return found

    def batched_programs(self, size: int, flags: tuple[bool, ...], many: bool) -> tuple[Program, Program]:
        """The condition (true for any example) and the body, on a batch."""
        types = [t.batched(size) if b else t for t, b in zip(self.body.input_types, flags, strict=True)]

        def run(program: Program, values: Sequence[Any]) -> tuple[list[Any], list[bool]]:
            return batch_flat(lambda *x: evaluate(program, *x), size, flags, values)

        def going(*values: Any) -> list[Any]:
            (answer,), _ = run(self.condition, values)
            return [ReduceOr((0,))(answer) if many else answer]

        def step(*values: Any) -> list[Any]:
            outs, out_flags = run(self.derived("masked, sure", lambda: self.masked_body(sure=True)) if many else self.body, values)
            wanted = flags[self.constants :]
            return [spread(y, size) if w and not f else y for y, f, w in zip(outs, out_flags, wanted, strict=True)]

        return self.with_captured(stage_flat(going, types, name=self.condition.name), stage_flat(step, types, name=self.body.name))


def largest(counter: Any) -> tuple[int | None, bool]:
    """The number of steps that ``counter`` holds (None if it is not known), and whether it differs between the examples of a batch."""
    masked = False
    while type(counter) is Tracer:
        if isinstance(counter.owner, StagingTrace):
            return None, masked
        if isinstance(counter.owner, BatchTrace):
            masked, counter = True, counter.payload
        else:
            counter = counter.payload[0]
    return int(np.max(counter, initial=0)), masked
