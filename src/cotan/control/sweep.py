"""Checkpointed reversal: `Sweep` runs through a loop forward and back, and stores only some of the states (snapshots).

    c[i+1] = forward(k, c[i], x[i])                 in the order of the loop
    a, v[i] = backward(k, c[i], x[i], a, w[i])      in the opposite order

On the way back, a state that was not stored is recomputed from the nearest snapshot, by the binomial schedule: with s snapshots and each
step taken at most t times, a loop of binomial(s + t, s) steps can be reversed, and no schedule does better.

A `BoundedScan` is linearized as a `LoopTangent`, whose transpose is a Sweep. The forward derivative of a Sweep is a Sweep, so
Hessian-vector products are bounded too. Its reverse derivative is the derivative of two scans, and stores all states.

Source: Griewank & Walther 2000, "Algorithm 799: revolve"; Griewank & Walther 2008, "Evaluating Derivatives", chapter 12.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import compress
from math import comb
from typing import Any, NamedTuple

import numpy as np

from ..core.op import Region, op
from ..core.program import Program, Var, evaluate
from ..core.stack import Stack
from ..core.staging import stage_flat
from ..core.tracing import type_of
from ..core.types import ArrayType, StackType, Type, stack_type
from ..engines import numpy as engine
from ..ops.logic import less
from ..ops.reduction import ReduceMax
from ..transforms.batch import batch_flat
from ..transforms.jvp import jvp_flat
from ..transforms.linearize import linearize_flat
from ..transforms.transpose import accumulate, backward_pass
from .base import ControlOp, active_outputs, filled, linearize_function
from .call import derived_program
from .cond import only_if
from .residuals import extract, without_effects
from .scan import Scan, swap_leading, take
from .stacks import INT, Count, copied, zeros_of

__all__ = ["BoundedScan", "LoopTangent", "Sweep", "reversal"]


class Operands(NamedTuple):
    """A list with an entry for each operand but the number of steps, cut in five."""

    constants: list[Any]
    carry: list[Any]
    xs: list[Any]
    sums: list[Any]
    ws: list[Any]


@op
class Sweep(ControlOp):
    """Run forward through a loop, and back with another program. Results: the final values of the way back, and its outputs of each step.

    Operands: the number of steps, if ``length`` is None (then there are no xs and ws); constants, carry, xs, sums, ws. At most
    ``snapshots`` states are stored; 0 means as many as needed to take each step three times at most.
    """

    forward: Program
    backward: Program
    sizes: tuple[int, int, int, int]
    """The numbers of constants, carries, xs and sums; the remaining operands are ws."""
    length: int | None
    backwards: bool
    snapshots: int

    def __str__(self) -> str:
        return f"sweep[{self.forward.name}, length={self.length}, snapshots={self.snapshots or 'auto'}]"

    def regions(self) -> tuple[Region[Program], ...]:
        """The backward program also reads the constants, carry and xs of the forward one; for it, the carry is one of the xs."""
        constants, carry, xs, sums = self.sizes
        first, summed = 1 if self.length is None else 0, constants + carry + xs
        return (
            Region(self.forward, first, constants, range(constants, constants + carry), self.length),
            Region(self.backward, first, constants, range(summed, summed + sums), self.length),
        )

    def with_regions(self, programs: Sequence[Program], captured: int = 0) -> Sweep:
        forward, backward = programs
        constants, *rest = self.sizes
        return replace(self, forward=forward, backward=backward, sizes=(constants + captured, *rest))

    def cut(self, values: Sequence[Any]) -> Operands:
        it = iter(values[1:] if self.length is None else values)
        constants, carry, xs, sums = (take(it, n) for n in self.sizes)
        return Operands(constants, carry, xs, sums, list(it))

    def count(self, values: Sequence[Any]) -> list[Any]:
        return list(values[:1]) if self.length is None else []

    def allowed(self, length: int) -> int:
        """The most states that are stored for this number of steps."""
        return states_for(length, self.snapshots)

    def type_rule(self, *types: Type) -> tuple[Type, ...]:
        outs, n = self.backward.output_types, self.sizes[3]
        return (*outs[:n], *map(self.stacked, outs[n:]))

    def stacked(self, t: Type) -> Type:
        return stack_type(t) if self.length is None or isinstance(t, StackType) else t.batched(self.length)

    # ---- meaning --------------------------------------------------------------------------------------------------------
    def impl(self, *operands: Any) -> Sequence[Any]:
        constants, carry, xs, sums, ws = self.cut(operands)
        length = int(operands[0]) if self.length is None else self.length
        ahead, back = engine.compiled(self.forward), engine.compiled(self.backward)
        xs, ws = ([v.rows(length) if isinstance(v, Stack) else v for v in vs] for vs in (xs, ws))
        n = self.sizes[3]
        types = list(map(self.stacked, self.backward.output_types[n:]))
        results: list[Any] = [np.empty(t.shape, t.dtype) if isinstance(t, ArrayType) else [None] * length for t in types]
        place = (lambda k: length - 1 - k) if self.backwards else (lambda k: k)

        def step(state: list[Any], k: int) -> list[Any]:
            i = place(k)
            return ahead([*constants, *state, *[x[i] for x in xs]])

        def reverse(state: list[Any], k: int) -> None:
            nonlocal sums
            i = place(k)
            arguments = [*constants, *state, *[x[i] for x in xs], *sums, *[w[i] for w in ws]]
            sums = []  # without references they may be updated in place
            outs = back(arguments)
            sums = outs[:n]
            for result, value in zip(results, outs[n:], strict=True):
                result[i] = value

        reversal(step, reverse, carry, length, self.snapshots)
        return (*sums, *[Stack(t, y) if isinstance(t, StackType) else y for y, t in zip(results, types, strict=True)])

    def expand(self, *operands: Any) -> Sequence[Any]:
        """An equivalent computation by two scans, which store every state."""
        constants, carry, xs, sums, ws = self.cut(operands)
        ahead, back = derived_program(self.forward, ("states", self.backward, self.sizes), self.with_states)
        count = self.count(operands)
        states = Scan(ahead, len(constants), len(carry), self.length, self.backwards)(*count, *constants, *carry, *xs)[len(carry) :]
        return Scan(back, len(constants), len(sums), self.length, not self.backwards)(*count, *constants, *sums, *states, *xs, *ws)

    def with_states(self) -> tuple[Program, Program]:
        """A forward step that also returns its initial state, and a backward step that takes this state from the scanned inputs."""
        ahead = self.forward
        carry = list(ahead.inputs)[self.sizes[0] : self.sizes[0] + self.sizes[1]]
        constants, state, xs, sums, ws = self.cut_inputs(list(self.backward.inputs))
        back = replace(self.backward, inputs=[*constants, *sums, *state, *xs, *ws])
        return replace(ahead, outputs=[*ahead.outputs, *carry]), back

    def cut_inputs(self, values: Sequence[Any]) -> Operands:
        """A list with an entry for each input of ``backward``, cut in five."""
        it = iter(values)
        constants, carry, xs, sums = (take(it, n) for n in self.sizes)
        return Operands(constants, carry, xs, sums, list(it))

    # ---- derivatives ------------------------------------------------------------------------------------------------------
    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        """A sweep over values and tangents."""
        given = tuple(t is not None for t in tangents)
        active, out_active, forward, backward = derived_program(
            self.backward, ("jvp", self.forward, self.sizes, given), lambda: self.jvp_programs(given)
        )
        x = self.cut(primals)
        dx = self.cut([zeros_of(type_of(p)) if t is None else t for p, t in zip(primals, tangents, strict=True)])
        moved = [list(compress(d, f)) for d, f in zip(dx, active, strict=True)]
        captured = list(backward.constants)
        parts = [[*part, *more] for part, more in zip(x, moved, strict=True)]
        sizes = (len(captured) + len(parts[0]), len(parts[1]), len(parts[2]), len(parts[3]))
        loop = Sweep(forward, backward, sizes, self.length, self.backwards, self.snapshots)
        results = iter(loop(*self.count(primals), *captured, *[v for part in parts for v in part]))
        n_sums, n_out = self.sizes[3], len(self.backward.outputs)
        sums, d_sums = take(results, n_sums), take(results, sum(active.sums))
        vs, d_vs = take(results, n_out - n_sums), list(results)
        return [*sums, *vs], [*filled(d_sums, active.sums), *filled(d_vs, out_active[n_sums:])]

    def jvp_programs(self, given: tuple[bool, ...]) -> tuple[Operands, list[bool], Program, Program]:
        """Which operands have a tangent in some step, which outputs have one, and both programs on values and tangents."""
        active = self.cut(given)
        while True:
            ahead = active_outputs(self.forward, [*active.constants, *active.carry, *active.xs])
            back = active_outputs(self.backward, [flag for part in active for flag in part])
            carry = [a or b for a, b in zip(active.carry, ahead, strict=True)]
            sums = [a or b for a, b in zip(active.sums, back, strict=False)]
            if (carry, sums) == (active.carry, active.sums):
                break
            active = active._replace(carry=carry, sums=sums)
        n = self.sizes[3]
        wanted = [*active.sums, *back[n:]]
        forward = self.jvp_program(self.forward, list(active[:3]), active.carry, len(active.carry))
        backward = self.jvp_program(self.backward, list(active), wanted, n)
        return active, wanted, *with_constants_of_both(forward, backward)

    def jvp_program(self, program: Program, active: Sequence[list[bool]], wanted: Sequence[bool], first: int) -> tuple[Program, list[Any]]:
        """``program`` on values and tangents, part by part; the outputs are split at ``first``, for values and tangents alike."""
        types = iter(program.input_types)
        parts = [take(types, len(flags)) for flags in active]

        def run(*values: Any) -> list[Any]:
            it = iter(values)
            x, dx = [], []
            for flags in active:
                x += take(it, len(flags))
                dx += filled(take(it, sum(flags)), flags)
            outs, douts = jvp_flat(lambda *v: evaluate(program, *v), x, dx)
            douts = [zeros_of(type_of(y)) if dy is None and w else dy for y, dy, w in zip(outs, douts, wanted, strict=True)]
            return [*outs[:first], *compress(douts[:first], wanted), *outs[first:], *compress(douts[first:], wanted[first:])]

        every = [t for part, flags in zip(parts, active, strict=True) for t in (*part, *compress(part, flags))]
        return stage_flat(run, every, name=f"{program.name}_jvp")

    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> tuple[Any, Any]:  # type: ignore[override]
        return linearize_function(self.expand, primals, active)

    # ---- batch ------------------------------------------------------------------------------------------------------------
    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, Any]:
        if self.length is None and batched[0]:
            return self.masked(size, batched, operands)
        given = tuple(batched)
        flags, out_flags, forward, backward = derived_program(
            self.backward, ("batch", self.forward, self.sizes, size, given), lambda: self.batched_programs(size, given)
        )
        had, parts = self.cut(batched), self.cut(operands)

        def spread(values: list[Any], wanted: list[bool], have: list[bool]) -> list[Any]:
            return [copied(x, size) if w and not h else x for x, w, h in zip(values, wanted, have, strict=True)]

        def steps_first(values: list[Any], flagged: list[bool]) -> list[Any]:
            return [swap_leading(x) if f else x for x, f in zip(values, flagged, strict=True)]

        carry, sums = spread(parts.carry, flags.carry, had.carry), spread(parts.sums, flags.sums, had.sums)
        xs, ws = steps_first(parts.xs, flags.xs), steps_first(parts.ws, flags.ws)
        captured = list(backward.constants)
        sizes = (len(captured) + self.sizes[0], *self.sizes[1:])
        loop = Sweep(forward, backward, sizes, self.length, self.backwards, self.snapshots)
        results = loop(*self.count(operands), *captured, *parts.constants, *carry, *xs, *sums, *ws)
        n = self.sizes[3]
        return [*results[:n], *steps_first(results[n:], out_flags[n:])], out_flags

    def batched_programs(self, size: int, given: tuple[bool, ...]) -> tuple[Operands, list[bool], Program, Program]:
        """Which operands are batched in some step, which outputs are, and both programs on a batch."""
        flags = self.cut(given)
        while True:
            ahead = batched_program(self.forward, size, [*flags.constants, *flags.carry, *flags.xs], flags.carry)
            back = batched_program(self.backward, size, [f for part in flags for f in part], flags.sums)
            carry, sums = ahead[2], back[2][: self.sizes[3]]
            if (carry, sums) == (flags.carry, flags.sums):
                return flags, back[2], *with_constants_of_both(ahead[:2], back[:2])
            flags = flags._replace(carry=carry, sums=sums)

    def masked(self, size: int, batched: Sequence[bool], operands: Sequence[Any]) -> tuple[Any, Any]:
        """The sweep on a batch in which each example has its own number of steps: it runs the largest number, and further steps of an
        example change nothing.
        """
        each, parts, of = operands[0], self.cut(operands), self.cut(batched)
        longest = ReduceMax((0,))(each) if size else np.int64(0)
        forward, backward = derived_program(self.backward, ("masked", self.forward, self.sizes), self.masked_programs)
        sizes = (self.sizes[0] + 1, self.sizes[1], self.sizes[2] + 1, self.sizes[3])
        loop = Sweep(forward, backward, sizes, None, self.backwards, self.snapshots)
        constants, carry, xs, sums, ws = parts
        flags = [False, True, *of.constants, *of.carry, False, *of.xs, *of.sums, *of.ws]
        return loop.batch(size, flags, longest, each, *constants, *carry, Count()(longest), *xs, *sums, *ws)

    def masked_programs(self) -> tuple[Program, Program]:
        """Steps that run only if their index, the first of the xs, is less than the number of steps, the first constant."""
        constants, carry, xs, sums, ws = self.cut_inputs(self.backward.input_types)
        n_constants, n_carry, n_xs, n_sums = self.sizes

        def ahead(n: Any, *values: Any) -> list[Any]:
            it = iter(values)
            k, c, (i,), x = take(it, n_constants), take(it, n_carry), take(it, 1), list(it)
            return only_if(less(i, n), self.forward, [*k, *c, *x], c, sure=True)

        def back(n: Any, *values: Any) -> list[Any]:
            it = iter(values)
            k, c, (i,), x, a, w = take(it, n_constants), take(it, n_carry), take(it, 1), take(it, n_xs), take(it, n_sums), list(it)
            return only_if(less(i, n), self.backward, [*k, *c, *x, *a, *w], a, sure=True)

        forward, _ = stage_flat(ahead, [INT, *constants, *carry, INT, *xs], name=self.forward.name)
        backward, _ = stage_flat(back, [INT, *constants, *carry, INT, *xs, *sums, *ws], name=self.backward.name)
        return forward, backward


def with_constants_of_both(first: tuple[Program, list[Any]], second: tuple[Program, list[Any]]) -> tuple[Program, Program]:
    """Two programs whose leading inputs are the captured values of both, stored as the ``constants`` of the second."""
    (a, a_values), (b, b_values) = first, second
    n, m = len(a_values), len(b_values)
    fresh_a, fresh_b = [Var(type_of(v)) for v in b_values], [Var(type_of(v)) for v in a_values]
    inputs_a, inputs_b = list(a.inputs), list(b.inputs)
    return (
        replace(a, inputs=[*inputs_a[:n], *fresh_a, *inputs_a[n:]]),
        replace(b, inputs=[*fresh_b, *inputs_b[:m], *inputs_b[m:]], constants=(*a_values, *b_values)),
    )


def batched_program(program: Program, size: int, flags: Sequence[bool], carry: Sequence[bool]) -> tuple[Program, list[Any], list[bool]]:
    """``program`` on a batch, with the outputs flagged in ``carry`` broadcast; the values that it captured; which outputs are batched."""
    found: list[bool] = []

    def run(*values: Any) -> list[Any]:
        outs, out_flags = batch_flat(lambda *x: evaluate(program, *x), size, flags, values)
        wanted = [a or b for a, b in zip(out_flags, [*carry, *[False] * len(outs)], strict=False)]
        found.extend(wanted)
        return [copied(y, size) if w and not f else y for y, f, w in zip(outs, out_flags, wanted, strict=True)]

    types = [t.batched(size) if b else t for t, b in zip(program.input_types, flags, strict=True)]
    staged, captured = stage_flat(run, types, name=program.name)
    return staged, captured, found


def reversal(
    step: Callable[[list[Any], int], list[Any]], reverse: Callable[[list[Any], int], None], start: list[Any], length: int, snapshots: int
) -> None:
    """Call ``reverse(state before step k, k)`` for k = length-1 .. 0, with at most ``snapshots`` states stored (0: see `Sweep`)."""
    allowed = states_for(length, snapshots)
    kept: list[tuple[int, list[Any]]] = [(0, start)]
    end = length
    while end:
        k, state = kept[-1]
        steps, free = end - k, allowed - len(kept) + 1
        if steps == 1:
            kept.pop()
        else:
            goal = end - 1 if free <= 1 else k + advance(steps, free)
            while k < goal:
                state = step(state, k)
                k += 1
            if free > 1:
                kept.append((k, state))
                continue
        reverse(state, k)
        end = k


def advance(steps: int, free: int) -> int:
    """How far to advance before the next snapshot, with ``free`` slots for states, including the slot of the current one."""
    times = 1
    while comb(free + times, free) < steps:
        times += 1
    return max(1, steps - comb(free - 1 + times, free - 1))


def states_for(length: int, snapshots: int) -> int:
    """The most states that are stored if ``snapshots`` are allowed (0: see `Sweep`); no more than one for each step."""
    return max(1, min(snapshots or enough_for(length), length))


def enough_for(length: int, times: int = 3) -> int:
    """The least number of states with which ``length`` steps can be reversed if each step is taken at most ``times`` times."""
    states = 1
    while comb(states + times, states) < length:
        states += 1
    return states


@op
class BoundedScan(Scan):
    """A scan whose reverse mode stores at most ``snapshots`` states (0: see `Sweep`) and recomputes the others."""

    snapshots: int = 0

    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> tuple[Any, Any]:
        flags = tuple(active)
        carried, y_moving = derived_program(self.body, ("reached", self.constants, self.carry, flags), lambda: self.reached(flags))
        moving = (*carried.carry, *y_moving)
        again = replace(self, body=derived_program(self.body, "again", lambda: without_effects(self.body)))
        return self(*primals), lambda *tangents: filled(LoopTangent(again, flags, moving)(*primals, *tangents), moving)


@op
class LoopTangent(ControlOp):
    """The tangents of a loop, computed by running it again.

    Operands: the operands of the loop, then the tangents of the ``active`` ones, in which the op is linear. Results: the tangents of the
    outputs flagged in ``moving``.
    """

    loop: BoundedScan
    active: tuple[bool, ...]
    moving: tuple[bool, ...]

    def __str__(self) -> str:
        return f"loop_tangent[{self.loop}]"

    def regions(self) -> tuple[Region[Program], ...]:
        return tuple(region._replace(gives_carry=False) for region in self.loop.regions())

    def linear_sets(self, count: int) -> tuple[int, ...]:
        return (((1 << count) - 1) & ~((1 << len(self.active)) - 1),)

    def type_rule(self, *types: Type) -> tuple[Type, ...]:
        return tuple(compress(self.loop.type_rule(), self.moving))

    def snapshot_bytes(self) -> int:
        """The bytes of the states that the transpose stores at once; those of one if the number of steps is not known."""
        loop = self.loop
        states = 1 if loop.length is None else states_for(loop.length, loop.snapshots) if loop.length else 0
        return states * sum(t.nbytes for t in loop.cut_inputs(loop.body.input_types).carry)

    def impl(self, *operands: Any) -> Sequence[Any]:
        return tuple(self.expand(*operands))

    def expand(self, *operands: Any) -> Sequence[Any]:
        """The loop, in forward mode."""
        count = len(self.active)
        return list(compress(self.loop.jvp(operands[:count], filled(operands[count:], self.active))[1], self.moving))

    written_out = expand

    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> tuple[Any, Any]:  # type: ignore[override]
        count = len(self.active)
        if any(active[:count]):
            return linearize_function(self.expand, primals, active)

        def push(*tangents: Any) -> Sequence[Any]:
            it = iter(tangents)
            moved = [next(it) if a else zeros_of(type_of(x)) for x, a in zip(primals[count:], active[count:], strict=True)]
            return self(*primals[:count], *moved)

        return self(*primals), push

    def accumulates(self) -> Sequence[int]:  # type: ignore[override]
        """The tangents of constants: their cotangents are carries of the backward loop."""
        count = len(self.active)
        return range(count, count + sum(self.loop.cut(self.active).constants))

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Any | None]:
        return self.transpose_onto(y_bar, {}, *operands)

    def transpose_onto(self, y_bar: Any, totals: dict[int, Any], *operands: Any) -> Sequence[Any | None]:  # type: ignore[override]
        loop, count = self.loop, len(self.active)
        primals = operands[:count]
        flags, _ = loop.reached(self.active)
        forward, backward, captured = derived_program(
            loop.body, ("sweep", loop.constants, loop.carry, *map(tuple, flags), self.moving), lambda: self.programs(flags)
        )
        constants, carry, xs = loop.cut(primals)
        of = loop.cut(self.active)
        bars = filled([zeros_of(t) if bar is None else bar for bar, t in zip(y_bar, self.type_rule(), strict=True)], self.moving)
        types = loop.cut_inputs(loop.body.input_types)
        carry_bars = [zeros_of(t) if bar is None else bar for bar, t in zip(bars, types.carry, strict=False)]
        pairs = zip(self.accumulates(), compress(types.constants, of.constants), strict=True)
        sums = [*[totals[k] if k in totals else zeros_of(t) for k, t in pairs], *compress(carry_bars, flags.carry)]
        ws = [bar for bar in bars[loop.carry :] if bar is not None]
        sizes = (len(captured) + len(constants), len(carry), len(xs), len(sums))
        sweep = Sweep(forward, backward, sizes, loop.length, loop.backwards, loop.snapshots)
        results = iter(sweep(*loop.count(primals), *captured, *constants, *carry, *xs, *sums, *ws))
        constant_bars = take(results, sum(flags.constants))
        ends = filled(take(results, sum(flags.carry)), flags.carry)
        return [None] * count + [*constant_bars, *compress(ends, of.carry), *results]

    def programs(self, flags: Any) -> tuple[Program, Program, list[Any]]:
        """A step of the loop that returns the carry alone; a backward step, (constants, carry, x; sums, carry_bar; y_bar) -> (sums,
        carry_bar; x_bar); and the values that both captured.
        """
        loop = self.loop
        body = without_effects(loop.body)
        every = [*flags.constants, *flags.carry, *flags.xs]
        y_moving = self.moving[loop.carry :]

        def back(*values: Any) -> list[Any]:
            it = iter(values)
            x, sums, carry_bars = take(it, len(every)), take(it, sum(flags.constants)), filled(take(it, sum(flags.carry)), flags.carry)
            y_bars = filled(list(it), y_moving)
            _, tape, inputs, outputs = linearize_flat(lambda *v: evaluate(body, *v), x, every)
            cotangents: dict[Var, Any] = {}
            for v, bar in zip(outputs, [*carry_bars, *y_bars], strict=True):
                accumulate(cotangents, v, bar)
            for v, bar in zip(inputs, sums, strict=False):
                accumulate(cotangents, v, bar)
            bars = backward_pass(tape.equations, cotangents, inputs, last=True)
            types = compress(body.input_types, every)
            return [zeros_of(t) if bar is None else bar for bar, t in zip(bars, types, strict=True)]

        types = body.input_types
        out_types = [*compress(body.output_types[loop.carry :], y_moving)]
        summed = [*compress(types[: loop.constants], flags.constants), *compress(body.output_types[: loop.carry], flags.carry)]
        backward, captured = stage_flat(back, [*types, *summed, *out_types], name=f"{loop.body.name}_back")
        ahead = extract(body, list(body.inputs), list(body.outputs[: loop.carry]))
        forward, backward = with_constants_of_both((replace(ahead, name=loop.body.name), []), (backward, captured))
        return forward, backward, captured

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, Any]:
        """The loop on a batch in which all operands and results are batched."""
        count, n = len(self.active), len(self.loop.count(operands))
        if n and batched[0]:
            return batch_flat(self.expand, size, batched, operands)
        steps, rest = operands[:n], operands[n:]
        whole = [x if b else copied(x, size) for x, b in zip(rest, batched[n:], strict=True)]
        loop, captured = self.loop.batched_whole(size)
        primals, of, d_it = self.loop.cut([*steps, *whole[: count - n]]), self.loop.cut(self.active), iter(whole[count - n :])
        d_constants, d_carry, d_xs = (take(d_it, sum(flags)) for flags in of)
        tangent = LoopTangent(loop, (*[False] * (n + len(captured)), *self.active[n:]), self.moving)
        xs, d_xs = map(swap_leading, primals.xs), map(swap_leading, d_xs)
        results = tangent(*steps, *captured, *primals.constants, *primals.carry, *xs, *d_constants, *d_carry, *d_xs)
        carried = sum(self.moving[: self.loop.carry])
        return [*results[:carried], *map(swap_leading, results[carried:])], [True] * len(results)
