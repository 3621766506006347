"""`Cond`: one of several programs, chosen at run time by an index.

All branches take the same operands and return the same types. The derivative is again a `Cond`. The primal branches return their outputs
and residuals for every branch (zeros for the branches not taken). Each tangent branch reads its own residuals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from operator import or_
from typing import Any

import numpy as np

from ..core.errors import ArgumentError, teach
from ..core.op import Region, op
from ..core.program import Program, Var, evaluate
from ..core.staging import stage_flat
from ..core.tracing import Tracer, type_of
from ..core.types import ArrayType, StackType
from ..engines import numpy as engine
from ..ops.casting import convert
from ..ops.families import broadcast_in_dim
from ..ops.indexing import Gather
from ..ops.logic import equal, select, select_n
from ..ops.reduction import ReduceOr
from ..ops.searching import Argmax
from ..transforms.batch import batch_flat
from ..transforms.jvp import jvp_flat
from ..transforms.linearize import linearize_program
from ..transforms.transpose import transpose_program_rule
from .base import ControlOp, filled, inputs_that_fail, with_captured
from .call import derived_program
from .lanes import in_strips, is_costly, is_staged, on_own_lanes, one_by_one, strip_width
from .stacks import copied, either, with_each, zeros_of

__all__ = ["Cond", "only_if"]


@op
class Cond(ControlOp):
    """Evaluate ``branches[index]``. The first operand is the index (an integer from 0 on); the others are the operands of the branches."""

    branches: tuple[Program, ...]
    linear_operands: tuple[bool, ...] = ()
    run_all: bool = False
    """Whether all branches run on a batch, without a test that some example takes them: one example takes the last branch, and the others
    cost nothing.
    """

    def made(self, branches: tuple[Program, ...], linear: tuple[bool, ...] = ()) -> Cond:
        """A choice by the same index among other branches."""
        return Cond(branches, linear, self.run_all)

    def __str__(self) -> str:
        return f"cond[{', '.join(b.name for b in self.branches)}]"

    def regions(self) -> tuple[Region[Program], ...]:
        return tuple(Region(branch, 1, len(branch.inputs), exclusive=True) for branch in self.branches)

    def with_regions(self, programs: Sequence[Program], captured: int = 0) -> Cond:
        return self.made(tuple(programs), with_captured(self.linear_operands, 1, captured))

    def linear_sets(self, count: int) -> tuple[int, ...]:
        return (sum(1 << k for k, flag in enumerate(self.linear_operands) if flag),) if self.linear_operands else ()

    def type_rule(self, *types: ArrayType) -> tuple[ArrayType, ...]:
        return self.branches[0].output_types

    def impl(self, *operands: Any) -> Sequence[Any]:
        return tuple(engine.run(self.branches[int(operands[0])], operands[1:]))

    def expand(self, *operands: Any) -> Sequence[Any]:
        """The selected branch; if the index is not known, all branches and a choice among their results."""
        index, rest = operands[0], operands[1:]
        if type(index) is not Tracer and np.ndim(index) == 0:
            return evaluate(self.branches[int(index)], *rest)
        results = [evaluate(branch, *rest) for branch in self.branches]
        return [choose(index, values) for values in zip(*results, strict=True)]

    def chosen(self, values: Sequence[Any]) -> Any:
        """The branch that is taken; on a batch all branches, if none of them may fail for an example that does not take it."""
        if np.ndim(values[0]) == 0:
            return lambda index, *rest: evaluate(self.branches[int(values[0])], *rest)
        if any(any(inputs_that_fail(branch)) for branch in self.branches):
            raise teach(
                ArgumentError,
                "strict=True runs all branches of a cond for each example of a batch, and one of them may fail for an example that does "
                "not take it.",
                do="put vmap inside of the derivative, or differentiate one example after the other.",
            )
        return self.expand

    def derived(self, key: Any, make: Any) -> Any:
        return derived_program(self.branches[0], (key, self.branches[1:]), make)

    def stage_branches(self, name: str, functions: Sequence[Any], types: Sequence[ArrayType]) -> tuple[tuple[Program, ...], list[Any]]:
        """One program for each function, of the same types; the values that any function captured are leading inputs of all programs."""
        staged = [stage_flat(f, types, name=f"{b.name}_{name}") for f, b in zip(functions, self.branches, strict=True)]
        captured = [c for _, constants in staged for c in constants]
        programs: list[Program] = []
        start = 0
        for program, constants in staged:
            own = list(program.inputs[: len(constants)])
            others = [Var(type_of(c)) for c in captured]
            others[start : start + len(own)] = own
            programs.append(replace(program, inputs=[*others, *program.inputs[len(own) :]]))
            start += len(own)
        return tuple(programs), captured

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        active = tuple(t is not None for t in tangents[1:])
        n = len(primals) - 1

        def make() -> Any:
            def step(branch: Program) -> Any:
                def run(*values: Any) -> list[Any]:
                    outs, douts = jvp_flat(lambda *x: evaluate(branch, *x), values[:n], filled(values[n:], active))
                    pairs = [(y, dy) for y, dy in zip(outs, douts, strict=True) if type_of(y).inexact]
                    return [*outs, *[zeros_of(type_of(y)) if dy is None else dy for y, dy in pairs]]

                return run

            types = self.branches[0].input_types
            tangent_types = [t for t, a in zip(types, active, strict=True) if a]
            return self.stage_branches("jvp", [step(b) for b in self.branches], [*types, *tangent_types])

        branches, captured = self.derived(("jvp", active), make)
        results = self.made(branches)(primals[0], *captured, *primals[1:], *[t for t in tangents[1:] if t is not None])
        count = len(self.branches[0].outputs)
        return results[:count], filled(results[count:], [t.inexact for t in self.type_rule()])

    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> tuple[Any, Any]:  # type: ignore[override]
        flags = tuple(active[1:])
        forward, captured, backward, counts = self.derived(("linearize", flags), lambda: self.split_branches(flags))
        results = self.made(forward)(primals[0], *captured, *primals[1:])
        n_out = len(self.branches[0].outputs)
        outs, residuals = results[:n_out], results[n_out:]
        inexact = [t.inexact for t in self.type_rule()]

        def push(*tangents: Any) -> list[Any | None]:
            branches, extra = backward
            known = [*extra, *residuals]
            linear = (False, *[False] * len(known), *[True] * len(tangents))
            return filled(self.made(branches, linear)(primals[0], *known, *tangents), inexact)

        assert sum(counts) == len(residuals)
        return outs, push

    def split_branches(self, active: tuple[bool, ...]) -> Any:
        """The primal branches (outputs, residuals of all branches), the tangent branches over (these residuals, active tangents), and the
        counts.
        """
        parts = [linearize_program(branch, active) for branch in self.branches]
        counts = [part[3] for part in parts]
        types = [[v.type for v in part[0].outputs[len(b.outputs) :]] for part, b in zip(parts, self.branches, strict=True)]

        def primal(k: int) -> Any:
            program = parts[k][0]

            def run(*values: Any) -> list[Any]:
                results = evaluate(program, *program.constants, *values)
                count = len(self.branches[k].outputs)
                rest = [results[count:] if j == k else [zeros_of(t) for t in types[j]] for j in range(len(parts))]
                return [*results[:count], *[r for row in rest for r in row]]

            return run

        def tangent(k: int) -> Any:
            start = sum(counts[:k])
            out_types = self.branches[k].output_types

            def run(*values: Any) -> list[Any]:
                residuals, tangents = values[start : start + counts[k]], values[sum(counts) :]
                douts = filled(evaluate(parts[k][1], *residuals, *tangents), parts[k][2])
                return [zeros_of(t) if d is None else d for d, t in zip(douts, out_types, strict=True) if t.inexact]

            return run

        input_types = self.branches[0].input_types
        forward, captured = self.stage_branches("primal", [primal(k) for k in range(len(parts))], input_types)
        tangent_types = [*[t for row in types for t in row], *[t for t, a in zip(input_types, active, strict=True) if a]]
        backward = self.stage_branches("tangent", [tangent(k) for k in range(len(parts))], tangent_types)
        return forward, captured, backward, counts

    def accumulates(self) -> Sequence[int]:  # type: ignore[override]
        """The linear operands: each branch may add to their cotangents."""
        return [k for k, flag in enumerate(self.linear_operands) if flag]

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Any | None]:
        return self.transpose_onto(y_bar, {}, *operands)

    def transpose_onto(self, y_bar: Any, totals: dict[int, Any], *operands: Any) -> Sequence[Any | None]:  # type: ignore[override]
        flags = self.linear_operands[1:]
        given = tuple(bar is not None for bar in y_bar)
        onto = tuple(k in totals for k in self.accumulates())

        def make() -> Any:
            def step(branch: Program) -> Any:
                def run(*values: Any) -> list[Any]:
                    a, b = flags.count(False), flags.count(False) + sum(given)
                    bars = transpose_program_rule(branch, flags, values[:a], filled(values[a:b], given), filled(values[b:], onto))
                    linear = [t for t, flag in zip(branch.input_types, flags, strict=True) if flag]
                    return [zeros_of(t) if bar is None else bar for bar, t in zip(bars, linear, strict=True)]

                return run

            types = self.branches[0].input_types
            bar_types = [t for t, g in zip(self.type_rule(), given, strict=True) if g]
            known = [t for t, flag in zip(types, flags, strict=True) if not flag]
            total_types = compress([t for t, flag in zip(types, flags, strict=True) if flag], onto)
            return self.stage_branches("transpose", [step(b) for b in self.branches], [*known, *bar_types, *total_types])

        branches, captured = self.derived(("transpose", flags, given, onto), make)
        known = [x for x, flag in zip(operands[1:], flags, strict=True) if not flag]
        bars = [*[bar for bar in y_bar if bar is not None], *[totals[k] for k in self.accumulates() if k in totals]]
        linear = (False, *[False] * (len(captured) + len(known)), *[True] * len(bars))
        results = self.made(branches, linear)(operands[0], *captured, *known, *bars)
        return [None, *filled(results, flags)]

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, Any]:
        flags = tuple(batched[1:])
        if batched[0]:
            return self.each_by_index(size, flags, operands[0], operands[1:]), [True] * len(self.branches[0].outputs)
        (branches, captured), out_flags = self.on_batch(size, flags, whole=False)
        return self.made(branches, self.with_constants(captured))(operands[0], *captured, *operands[1:]), out_flags

    def with_constants(self, captured: Sequence[Any]) -> tuple[bool, ...]:
        """The flags of linear operands after captured values are inserted before the operands of the branches."""
        return with_captured(self.linear_operands, 1, len(captured))

    def on_batch(self, size: int, flags: tuple[bool, ...], *, whole: bool) -> Any:
        """The branches on a batch and the values that they captured; and which results are batched: all, if ``whole``."""

        def make() -> Any:
            needed = [whole] * len(self.branches[0].outputs)

            def step(branch: Program) -> Any:
                def run(*values: Any) -> list[Any]:
                    outs, out_flags = batch_flat(lambda *x: evaluate(branch, *x), size, flags, values)
                    needed[:] = map(or_, needed, out_flags)
                    return [copied(y, size) if n and not flag else y for y, flag, n in zip(outs, out_flags, needed, strict=True)]

                return run

            types = [t.batched(size) if b else t for t, b in zip(self.branches[0].input_types, flags, strict=True)]
            steps = [step(b) for b in self.branches]
            while True:
                before = list(needed)
                staged = self.stage_branches("batch", steps, types)
                if needed == before:
                    return staged, tuple(needed)

        return self.derived(("batch", size, flags, whole), make)

    def each_by_index(self, size: int, flags: tuple[bool, ...], index: Any, operands: Sequence[Any]) -> list[Any]:
        """The results if each example has an index of its own."""
        if not self.run_all and is_costly(self.branches, flags, size):
            if type(index) is not Tracer:
                return on_own_lanes(self, size, flags, index, operands)
            width = strip_width(self.branches, flags, size) if is_staged(index) else None
            if width == 1:
                return one_by_one(self, size, flags, index, operands)
            if width is not None:
                return in_strips(self, width, size, flags, index, operands)
        return self.together(size, flags, index, operands)

    def together(self, size: int, flags: tuple[bool, ...], index: Any, operands: Sequence[Any], *, alone: bool = False) -> list[Any]:
        """A branch that some example takes runs on the whole batch; one that none takes does not run. ``alone`` says that a branch sees
        only values of examples that take it: then no nan of another one is in the sums over the batch that its derivative takes.
        """
        (branches, captured), _ = self.on_batch(size, flags, whole=True)
        types = branches[0].output_types
        results: list[Any] = []
        for k, branch in enumerate(branches):
            rest = for_takers_alone(branch, index, k, [*captured, *operands], [*[False] * len(captured), *flags], size, alone)
            if self.run_all:
                results.append(evaluate(branch, *rest))
                continue
            idle, _ = stage_flat(lambda *_: list(map(zeros_of, types)), branch.input_types, name="idle")
            some = convert(ReduceOr((0,))(equal(index, np.int64(k))), np.dtype(np.int64))
            results.append(Cond((idle, branch), self.with_constants(captured))(some, *rest))
        which = equal(index, np.int64(1)) if len(branches) == 2 else index
        return [choose(which, values) for values in zip(*results, strict=True)]


def for_takers_alone(branch: Program, index: Any, k: int, operands: list[Any], flags: Sequence[bool], size: int, every: bool) -> list[Any]:
    """The operands of branch ``k`` on a batch; flagged operands have an entry for each example. Operands that might make the branch raise,
    or not end, for an example that does not take it (``every``: all of them) get the values of an example that takes it.
    """
    replaced = [b and (every or fails) for b, fails in zip(flags, inputs_that_fail(branch), strict=True)]
    if not size or not any(replaced):
        return operands
    takes = equal(index, np.int64(k))
    first = Argmax(0)(convert(takes, np.dtype(np.int64)))
    return [for_takers(x, takes, first, size) if r else x for x, r in zip(operands, replaced, strict=True)]


def only_if(
    going: Any, program: Program, operands: Sequence[Any], otherwise: Sequence[Any], linear: Sequence[bool] | None = None, *, sure: bool
) -> list[Any]:
    """The results of ``program`` if the scalar ``going`` is true; otherwise the values ``otherwise``, and zeros for the remaining results.

    A program that may fail runs only where ``going`` is true. ``linear`` flags the operands in which the program is linear together.
    ``sure`` says that on any batch on which this runs, ``going`` is true for some example.
    """
    rest = program.output_types[len(otherwise) :]
    if not any(inputs_that_fail(program)):
        old = [*otherwise, *map(zeros_of, rest)]
        return [either(going, y, x) for y, x in zip(evaluate(program, *operands), old, strict=True)]
    n = len(operands)
    types = [*program.input_types, *map(type_of, otherwise)]

    def make() -> tuple[Program, ...]:
        idle, _ = stage_flat(lambda *v: [*v[n:], *map(zeros_of, rest)], types, name="idle")
        busy, captured = stage_flat(lambda *v: evaluate(program, *v[:n]), types, name=program.name)
        assert not captured
        return idle, busy

    flags = (False, *linear, *[True] * len(otherwise)) if linear else ()
    branches = derived_program(program, ("only if", len(otherwise)), make)
    return list(Cond(branches, flags, run_all=sure)(convert(going, np.dtype(np.int64)), *operands, *otherwise))


def for_takers(x: Any, takes: Any, first: Any, size: int) -> Any:
    """A batch in which examples that do not take a branch are replaced by the first example that takes it."""
    if isinstance(type_of(x), StackType):
        return with_each(lambda t, k, entry: for_takers(entry, t, k, size), (takes, first), (x,), linear=True)
    shape = type_of(x).shape
    return select(broadcast_in_dim(takes, shape, (0,)) if len(shape) > 1 else takes, x, copied(Gather("promise_in_bounds")(x, first), size))


def choose(index: Any, values: Sequence[Any]) -> Any:
    """``values[index]``, elementwise along the leading axes of ``index``. For two values, ``index`` may be a bool."""
    if isinstance(type_of(values[0]), StackType):
        return with_each(lambda k, *entries: choose(k, entries), (index,), values, linear=True)
    shape, axes = type_of(values[0]).shape, range(type_of(index).ndim)
    wide = broadcast_in_dim(index, shape, axes) if axes else index
    return select_n(wide, *values)
