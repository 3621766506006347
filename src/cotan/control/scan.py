"""`Scan`: a loop over the leading axis of its inputs, with a carry.

    body(constants, carry, x[i]) -> (carry, y[i])          for i = 0 .. length-1 (backwards if ``reverse``)

If the number of steps is not known when the loop is traced, it is the first operand, and the xs and ys are stacks (`StackType`).

The tangent of a Scan is a scan of the body's tangent. Its transpose is a scan in the opposite direction, whose carry is the cotangent of
the carry, and which sums the cotangents of the constants. The forward scan stores the residuals of each step (see `residuals`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from typing import Any, NamedTuple, Self

import numpy as np

from ..core.errors import ShapeError, teach
from ..core.op import Region, op
from ..core.program import Program, evaluate
from ..core.stack import Stack
from ..core.staging import stage_flat
from ..core.tracing import type_of
from ..core.types import ArrayType, StackType, Type, stack_type
from ..engines import numpy as engine
from ..ops.families import add, spread, zeros
from ..ops.logic import less
from ..ops.movement import concatenate, permute, reshape, slice_
from ..ops.reduction import ReduceMax
from ..transforms.batch import batch_flat
from ..transforms.jvp import jvp_flat
from ..transforms.linearize import linearize_program
from ..transforms.transpose import TOTALS, transpose_program_rule
from .base import ControlOp, active_outputs, filled, with_captured
from .call import derived_program
from .cond import only_if
from .residuals import ResidualPlan, extract, has_room, plan_residuals
from .stacks import INT, LOOPS, Count, copied, with_each, zeros_of

__all__ = ["Scan", "take"]


class Parts(NamedTuple):
    """A list with an entry for each operand, cut in three."""

    constants: list[Any]
    carry: list[Any]
    xs: list[Any]


class Derivative(NamedTuple):
    """The derivative of a body for one pattern of active operands."""

    active: Parts
    primal: Program
    forward: Program
    """The primal program, which also returns the values that the plan stores."""
    tangent: Program
    out_active: list[bool]
    plan: ResidualPlan

    def y_active(self) -> list[bool]:
        """Which of the ys have a tangent."""
        return self.out_active[len(self.active.carry) :]


@op
class Scan(ControlOp):
    """Loop over the leading axis; the results are the last carry and the stacked ys.

    Operands: the number of steps, if ``length`` is None; constants, carry, xs. For a loop that is a derivative, ``linear_operands`` flags
    the operands in which it is linear together; they include the whole carry.
    """

    body: Program
    constants: int
    carry: int
    length: int | None
    backwards: bool = False
    linear_operands: tuple[bool, ...] = ()

    def __str__(self) -> str:
        length = "" if self.length is None else f", length={self.length}"
        return f"scan[{self.body.name}{length}{', reverse' if self.backwards else ''}]"

    def count(self, values: Sequence[Any]) -> list[Any]:
        """The entry for the number of steps in a list with an entry for each operand: a list of one entry, or an empty list."""
        return list(values[:1]) if self.length is None else []

    def cut(self, values: Sequence[Any]) -> Parts:
        """The entries for constants, carry and xs."""
        start = 1 if self.length is None else 0
        a, b = start + self.constants, start + self.constants + self.carry
        return Parts(list(values[start:a]), list(values[a:b]), list(values[b:]))

    def cut_inputs(self, values: Sequence[Any]) -> Parts:
        """A list with an entry for each input of the body, cut in three."""
        a, b = self.constants, self.constants + self.carry
        return Parts(list(values[:a]), list(values[a:b]), list(values[b:]))

    def regions(self) -> tuple[Region[Program], ...]:
        first = 1 if self.length is None else 0
        carry = range(self.constants, self.constants + self.carry)
        return (Region(self.body, first, self.constants, carry, self.length, gives_carry=True),)

    def with_regions(self, programs: Sequence[Program], captured: int = 0) -> Scan:
        (body,), first = programs, 1 if self.length is None else 0
        linear = with_captured(self.linear_operands, first, captured)
        return replace(self, body=body, constants=self.constants + captured, linear_operands=linear)

    def linear_sets(self, count: int) -> tuple[int, ...]:
        return (sum(1 << k for k, flag in enumerate(self.linear_operands) if flag),) if self.linear_operands else ()

    def type_rule(self, *types: Type) -> tuple[Type, ...]:
        outs: tuple[Any, ...] = self.body.output_types
        carried = self.body.input_types[self.constants : self.constants + self.carry]
        if any(str(a).rstrip("*") != str(b).rstrip("*") for a, b in zip(carried, outs, strict=False) if a is not b):
            raise teach(
                ShapeError,
                f"scan: the body takes a carry of {', '.join(map(str, carried))} and returns {', '.join(map(str, outs[: self.carry]))}.",
                do="make the body return the same types each time that it is traced.",
            )
        return (*outs[: self.carry], *map(self.stacked, outs[self.carry :]))

    def stacked(self, t: Type) -> Type:
        """The type of the stack of all ys (or xs), each of which has type ``t``."""
        return stack_type(t) if self.length is None or isinstance(t, StackType) else t.batched(self.length)

    def steps(self, operands: Sequence[Any]) -> range:
        """The indices, in the order of the loop."""
        length = int(operands[0]) if self.length is None else self.length
        return range(length - 1, -1, -1) if self.backwards else range(length)

    def impl(self, *operands: Any) -> Sequence[Any]:
        constants, carry, xs = self.cut(operands)
        run = engine.compiled(self.body)
        steps = self.steps(operands)
        types = list(map(self.stacked, self.body.output_types[self.carry :]))
        ys: list[Any] = [np.empty(t.shape, t.dtype) if isinstance(t, ArrayType) else [None] * len(steps) for t in types]
        rows = [x.rows(len(steps)) if isinstance(x, Stack) else x for x in xs]
        n = self.carry
        for i in steps:
            arguments = [*constants, *carry, *[x[i] for x in rows]]
            carry = outs = None  # without references the body may change the carry in place
            outs = run(arguments)
            carry = outs[:n]
            for k, y in enumerate(ys, n):
                y[i] = outs[k]
        return (*carry, *[Stack(t, y) if isinstance(t, StackType) else y for y, t in zip(ys, types, strict=True)])

    def expand(self, *operands: Any) -> Sequence[Any]:
        """The loop, unrolled."""
        constants, carry, xs = self.cut(operands)
        rows: list[list[Any]] = [[] for _ in self.body.outputs[self.carry :]]
        for i in self.steps(operands):
            outs = evaluate(self.body, *constants, *carry, *[element(x, i) for x in xs])
            carry = outs[: self.carry]
            for row, value in zip(rows, outs[self.carry :], strict=True):
                row.insert(0, value) if self.backwards else row.append(value)
        types = self.body.output_types[self.carry :]
        return [*carry, *[stack(row) if row else zeros(t.batched(0)) for row, t in zip(rows, types, strict=True)]]

    # ---- forward ------------------------------------------------------------------------------------------------------
    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        """One scan that carries the values and their tangents; it stores nothing."""
        given = tuple(t is not None for t in tangents)
        active, y_active = derived_program(self.body, ("reached", self.constants, self.carry, given), lambda: self.reached(given))
        body = derived_program(self.body, ("jvp", *map(tuple, active)), lambda: self.jvp_body(active, y_active))
        x = self.cut(primals)
        dx = self.cut([zeros_of(type_of(p)) if t is None else t for p, t in zip(primals, tangents, strict=True)])
        moved = [list(compress(d, f)) for d, f in zip(dx, active, strict=True)]
        count, n_carry, n_y = len(body.constants) + self.constants + len(moved[0]), len(moved[1]), len(self.body.outputs) - self.carry
        loop = replace(self, body=body, constants=count, carry=self.carry + n_carry, linear_operands=())
        results = loop(*self.count(primals), *body.constants, *x.constants, *moved[0], *x.carry, *moved[1], *x.xs, *moved[2])
        ends, ys = results[: self.carry + n_carry], results[self.carry + n_carry :]
        outs = [*ends[: self.carry], *ys[:n_y]]
        return outs, [*filled(ends[self.carry :], active.carry), *filled(ys[n_y:], y_active)]

    def reached(self, active: Sequence[bool]) -> tuple[Parts, list[bool]]:
        """The operands that have a tangent in some step, and which ys have one."""
        flags = self.cut(active)
        while True:
            out_active = active_outputs(self.body, [*flags.constants, *flags.carry, *flags.xs])
            carry = [a or b for a, b in zip(flags.carry, out_active, strict=False)]
            if carry == flags.carry:
                return flags, out_active[self.carry :]
            flags = flags._replace(carry=carry)

    def jvp_body(self, active: Parts, y_active: Sequence[bool]) -> Program:
        """One step of values and tangents: (constants, t_constants; carry, t_carry; x, t_x) -> (carry, t_carry; y, t_y)."""

        def step(*values: Any) -> list[Any]:
            it = iter(values)
            x, dx = [], []
            for flags in active:
                x += take(it, len(flags))
                dx += filled(take(it, sum(flags)), flags)
            outs, douts = jvp_flat(lambda *v: evaluate(self.body, *v), x, dx)
            wanted = [*active.carry, *y_active]
            douts = [zeros_of(type_of(y)) if dy is None and w else dy for y, dy, w in zip(outs, douts, wanted, strict=True)]
            n = self.carry
            return [*outs[:n], *compress(douts[:n], active.carry), *outs[n:], *compress(douts[n:], wanted[n:])]

        types = [
            t for part, flags in zip(self.cut_inputs(self.body.input_types), active, strict=True) for t in (*part, *compress(part, flags))
        ]
        program, captured = stage_flat(step, types, name=f"{self.body.name}_jvp")
        return replace(program, constants=tuple(captured))

    # ---- linearize ------------------------------------------------------------------------------------------------------
    def derivative(self, active: Sequence[bool]) -> Derivative:
        """The derivative of the body; a carry is active if an active value reaches it in any step."""
        key = ("scan", self.constants, self.carry, tuple(active))
        flags, primal, tangent, out_active = derived_program(self.body, key, lambda: self.linearized_body(active))
        roomy = has_room(primal, self.length)
        forward, plan = derived_program(primal, ("kept", roomy), lambda: self.planned(primal, roomy))
        return Derivative(flags, primal, forward, tangent, out_active, plan)

    def linearized_body(self, active: Sequence[bool]) -> tuple[Parts, Program, Program, list[bool]]:
        """The operands that are active in some step, and the result of `linearize_program` for them."""
        flags = self.cut(active)
        while True:
            primal, tangent, out_active, count = linearize_program(self.body, (*flags.constants, *flags.carry, *flags.xs))
            assert len(primal.outputs) == len(self.body.outputs) + count
            reached = [a or b for a, b in zip(flags.carry, out_active, strict=False)]
            if reached == flags.carry:
                return flags, primal, tangent, out_active
            flags = flags._replace(carry=reached)

    def planned(self, primal: Program, roomy: bool) -> tuple[Program, ResidualPlan]:
        """The primal body that stores the values of the plan, and the plan."""
        inputs, n = list(primal.inputs), len(self.body.outputs)
        shift = len(primal.constants)
        constants, xs = inputs[: shift + self.constants], inputs[shift + self.constants + self.carry :]
        plan = plan_residuals(primal, constants, xs, primal.outputs[n:], roomy)
        needed = extract(primal, inputs, [*primal.outputs[:n], *plan.saved], effects=True)
        return replace(needed, constants=primal.constants, name=primal.name), plan

    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> tuple[Any, Any]:  # type: ignore[override]
        derivative = self.derivative(list(active))
        flags, forward, plan = derivative.active, derivative.forward, derivative.plan
        constants, carry, xs = self.cut(primals)
        constants = [*forward.constants, *constants]
        n_out = len(self.body.outputs)
        results = Scan(forward, len(constants), self.carry, self.length, self.backwards)(*self.count(primals), *constants, *carry, *xs)
        outs, saved = results[:n_out], results[n_out:]

        def push(*tangents: Any) -> list[Any | None]:
            given = self.cut(filled(tangents, active))
            pairs = compress(zip(carry, given.carry, strict=True), flags.carry)
            start = [zeros_of(type_of(c)) if t is None else t for c, t in pairs]
            t_constants, t_xs = [t for t in given.constants if t is not None], [t for t in given.xs if t is not None]
            body = derived_program(forward, "tangent", lambda: self.tangent_body(derivative))
            known = [*body.constants, *constants, *evaluate(plan.once, *constants)]
            count = self.count(primals)
            linear = [*[False] * (len(count) + len(known)), *[True] * (len(t_constants) + len(start))]
            linear += [*[False] * (len(xs) + len(saved)), *[True] * len(t_xs)]
            loop = Scan(body, len(known) + len(t_constants), len(start), self.length, self.backwards, tuple(linear))
            results = loop(*count, *known, *t_constants, *start, *xs, *saved, *t_xs)
            return [*filled(results[: len(start)], flags.carry), *filled(results[len(start) :], derivative.y_active())]

        return outs, push

    def tangent_body(self, derivative: Derivative) -> Program:
        """One step of the tangent: (constants, residuals that never change, t_constants; t_carry; x, saved, t_x) -> (t_carry; t_y)."""
        flags, primal, _, tangent, active_outs, plan = derivative
        n_const = len(primal.constants) + self.constants

        def step(*values: Any) -> list[Any]:
            it = iter(values)
            constants, once = take(it, n_const), take(it, len(plan.once.outputs))
            t_constants, t_carry = take(it, sum(flags.constants)), take(it, sum(flags.carry))
            xs, saved, t_xs = take(it, len(flags.xs)), take(it, len(plan.saved)), list(it)
            fixed, changing = iter(once), iter(evaluate(plan.again, *constants, *xs, *saved))
            residuals = [next(fixed) if same else next(changing) for same in plan.invariant]
            douts = filled(evaluate(tangent, *residuals, *t_constants, *t_carry, *t_xs), active_outs)
            ends = [zeros_of(t) if d is None else d for d, t in zip(douts, self.body.output_types, strict=True)][: self.carry]
            return [*compress(ends, flags.carry), *[d for d in douts[self.carry :] if d is not None]]

        const_types, carry_types, x_types = self.cut_inputs(self.body.input_types)
        types = [v.type for v in primal.inputs[:n_const]] + list(plan.once.output_types)
        types += [*compress(const_types, flags.constants), *compress(carry_types, flags.carry)]
        types += [*x_types, *[v.type for v in plan.saved], *compress(x_types, flags.xs)]
        program, captured = stage_flat(step, types, name=f"{self.body.name}_tangent")
        return replace(program, constants=tuple(captured))

    # ---- transpose ------------------------------------------------------------------------------------------------------
    def accumulates(self) -> Sequence[int]:  # type: ignore[override]
        """The linear constants: their cotangents are carries of the backward loop."""
        first = 1 if self.length is None else 0
        return [k for k in range(first, first + self.constants) if self.linear_operands[k]]

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Any | None]:
        return self.transpose_onto(y_bar, {}, *operands)

    def transpose_onto(self, y_bar: Any, totals: dict[int, Any], *operands: Any) -> Sequence[Any | None]:  # type: ignore[override]
        linear = self.cut(self.linear_operands)
        constants, _, xs = self.cut(operands)
        known_constants = [c for c, flag in zip(constants, linear.constants, strict=True) if not flag]
        known_xs = [x for x, flag in zip(xs, linear.xs, strict=True) if not flag]
        body = derived_program(self.body, ("transpose", *map(tuple, linear)), lambda: self.backward_body(linear))
        const_types = self.cut_inputs(self.body.input_types).constants
        bars = [zeros_of(t) if bar is None else bar for bar, t in zip(y_bar, self.type_rule(), strict=True)]
        pairs = zip(self.accumulates(), compress(const_types, linear.constants), strict=True)
        start = [*[totals[k] if k in totals else zeros_of(t) for k, t in pairs], *bars[: self.carry]]
        known = [*body.constants, *known_constants]
        count = self.count(operands)
        flags = [*[False] * (len(count) + len(known)), *[True] * (len(start) + len(bars) - self.carry), *[False] * len(known_xs)]
        loop = Scan(body, len(known), len(start), self.length, not self.backwards, tuple(flags))
        results = loop(*count, *known, *start, *bars[self.carry :], *known_xs)
        n = len(start) - self.carry
        return [
            *[None] * len(count),
            *filled(results[:n], linear.constants),
            *results[n : len(start)],
            *filled(results[len(start) :], linear.xs),
        ]

    def backward_body(self, linear: Parts) -> Program:
        """One step back: (known constants; sums of constants' cotangents, carry_bar; y_bar, known xs) -> (sums, carry_bar; x_bar)."""
        flags = [*linear.constants, *linear.carry, *linear.xs]
        known_const = linear.constants.count(False)

        def step(*values: Any) -> list[Any]:
            it = iter(values)
            constants, sums, carry_bar = take(it, known_const), take(it, sum(linear.constants)), take(it, self.carry)
            y_bar, known_xs = take(it, len(self.body.outputs) - self.carry), list(it)
            bars = transpose_program_rule(self.body, flags, [*constants, *known_xs], [*carry_bar, *y_bar], sums)
            types = compress(self.body.input_types, flags)
            return [zeros_of(t) if bar is None else bar for bar, t in zip(bars, types, strict=True)]

        const_types, _, x_types = self.cut_inputs(self.body.input_types)
        outs = self.body.output_types
        types = [t for t, flag in zip(const_types, linear.constants, strict=True) if not flag]
        types += [*compress(const_types, linear.constants), *outs[: self.carry], *outs[self.carry :]]
        types += [t for t, flag in zip(x_types, linear.xs, strict=True) if not flag]
        program, captured = stage_flat(step, types, name=f"{self.body.name}_transpose")
        return replace(program, constants=tuple(captured))

    # ---- batch ----------------------------------------------------------------------------------------------------------
    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, Any]:
        if self.length is None and batched[0]:
            return self.masked(size, batched, operands)
        flags = self.cut(batched)
        while True:  # a carry is batched if a batched value reaches it in any step
            body, out_flags = self.batched_body(size, flags)
            reached = [a or b for a, b in zip(flags.carry, out_flags, strict=False)]
            if reached == flags.carry:
                break
            flags = flags._replace(carry=reached)
        constants, carry, xs = self.cut(operands)
        had = self.cut(batched).carry
        carry = [copied(c, size) if flag and not before else c for c, flag, before in zip(carry, flags.carry, had, strict=True)]
        xs = [swap_leading(x) if flag else x for x, flag in zip(xs, flags.xs, strict=True)]
        count = self.count(operands)
        linear = (*[False] * len(body.constants), *self.linear_operands) if self.linear_operands else ()
        loop = replace(self, body=body, constants=len(body.constants) + self.constants, linear_operands=linear)
        results = loop(*count, *body.constants, *constants, *carry, *xs)
        ys = [swap_leading(y) if flag else y for y, flag in zip(results[self.carry :], out_flags[self.carry :], strict=True)]
        return [*results[: self.carry], *ys], [*flags.carry, *out_flags[self.carry :]]

    def batched_whole(self, size: int) -> tuple[Self, list[Any]]:
        """The loop on a batch in which all operands and results are batched, and the values that its body captured."""
        body, _ = self.batched_body(size, self.cut_inputs([True] * len(self.body.inputs)), whole=True)
        return replace(self, body=body, constants=len(body.constants) + self.constants), list(body.constants)

    def batched_body(self, size: int, flags: Parts, whole: bool = False) -> tuple[Program, list[bool]]:
        """The body on a batch, and which of its outputs are batched. Flagged carries (all, if ``whole``) are broadcast over the batch."""
        batched = (*flags.constants, *flags.carry, *flags.xs)

        def make() -> tuple[Program, list[bool]]:
            found: list[bool] = []

            def step(*values: Any) -> list[Any]:
                outs, out_flags = batch_flat(lambda *x: evaluate(self.body, *x), size, batched, values)
                wanted = [a or b for a, b in zip(out_flags, [*flags.carry, *[whole] * len(outs)], strict=False)]
                found.extend(wanted)
                return [copied(y, size) if w and not f else y for y, f, w in zip(outs, out_flags, wanted, strict=True)]

            types = [t.batched(size) if b else t for t, b in zip(self.body.input_types, batched, strict=True)]
            program, captured = stage_flat(step, types, name=self.body.name)
            return replace(program, constants=tuple(captured)), found

        return derived_program(self.body, ("scan batch", size, self.carry, batched, whole), make)

    def masked(self, size: int, batched: Sequence[bool], operands: Sequence[Any]) -> tuple[Any, Any]:
        """The loop on a batch in which each example has its own number of steps: it runs the largest number, and further steps of an
        example change nothing.
        """
        each, (constants, carry, xs) = operands[0], self.cut(operands)
        longest = ReduceMax((0,))(each) if size else np.int64(0)
        body = derived_program(self.body, ("masked", self.constants, self.carry), self.masked_body)
        linear = self.cut(self.linear_operands) if self.linear_operands else None
        flags = (False, False, *linear.constants, *linear.carry, False, *linear.xs) if linear else ()
        loop = replace(self, body=body, constants=self.constants + 1, linear_operands=flags)
        of = self.cut(batched)
        return loop.batch(
            size,
            [False, True, *of.constants, *of.carry, False, *of.xs],
            longest,
            *[each, *constants, *carry, Count()(longest), *xs],
        )

    def masked_body(self) -> Program:
        """A step that runs only if its index is less than the number of steps: (n, constants; carry; index, x) -> (carry; y)."""

        def step(n: Any, *values: Any) -> list[Any]:
            constants, rest = values[: self.constants], values[self.constants :]
            carry, index, xs = rest[: self.carry], rest[self.carry], rest[self.carry + 1 :]
            linear = self.cut(self.linear_operands) if self.linear_operands else None
            flags = [*linear.constants, *linear.carry, *linear.xs] if linear else None
            return only_if(less(index, n), self.body, [*constants, *carry, *xs], carry, flags, sure=True)

        const_types, carry_types, x_types = self.cut_inputs(self.body.input_types)
        program, captured = stage_flat(step, [INT, *const_types, *carry_types, INT, *x_types], name=self.body.name)
        assert not captured
        return program


def total(x: Any, y: Any) -> Any:
    """The sum of two values of one type."""
    return with_each(total, (), (x, y), linear=True) if isinstance(type_of(x), StackType) else add(x, y)


TOTALS[StackType] = total
LOOPS.append(Scan)


def take(it: Any, count: int) -> list[Any]:
    """The next ``count`` items."""
    return [next(it) for _ in range(count)]


def element(x: Any, i: int) -> Any:
    """``x[i]`` along the leading axis."""
    shape = type_of(x).shape
    return reshape(slice_(x, (i, *[0] * (len(shape) - 1)), (i + 1, *shape[1:])), shape[1:])


def stack(rows: Sequence[Any]) -> Any:
    """Arrays of one shape along a new leading axis."""
    return concatenate([spread(y, 1) for y in rows], 0)


def swap_leading(x: Any) -> Any:
    """The first two axes exchanged: (batch, step, ...) to (step, batch, ...) and back. Entries of a stack already have a batch axis."""
    if isinstance(type_of(x), StackType):
        return x
    ndim = type_of(x).ndim
    return permute(x, (1, 0, *range(2, ndim)))
