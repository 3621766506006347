"""Interrupt checks: loops that may run long look every so many iterations whether a signal waits (`runtime.signals`).

The price is an ``and``, a comparison and a branch per iteration of such a loop; a scan that is known to be short has none.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from cotan.core.program import Program
from cotan.engines.native.codegen.program import ProgramLowering
from cotan.engines.native.cost import program_cost
from cotan.engines.native.runtime.signals import CHECK
from cotan.engines.native.status import Status

__all__ = ["checked_iteration", "iteration_counter"]


def iteration_counter(lowering: ProgramLowering) -> str:
    """The address of a new iteration counter, for loops that have none."""
    counter = lowering.code.alloca("i64")
    lowering.code.line(f"store i64 0, ptr {counter}")
    return counter


@contextmanager
def checked_iteration(lowering: ProgramLowering, iteration: str, body: Program, trip_count: int | None = None) -> Generator[None]:
    """A context that writes an iteration of a loop, which runs ``body`` once, and a check behind it.

    ``iteration`` is its number, or an `iteration_counter`; ``trip_count`` is the number of iterations if it is known.
    """
    context, code, options = lowering.context, lowering.code, lowering.options
    copied = context.copied
    yield
    cost = program_cost(body) + context.copied - copied
    if trip_count is not None and trip_count * cost < options.unchecked_cost:
        return
    every = max(1, min(options.check_iterations, 1 << max(0, (options.check_cost // cost).bit_length() - 1)))
    if context.module.types[iteration] == "ptr":
        counter, iteration = iteration, code.value("i64", f"load i64, ptr {iteration}")
        code.line(f"store i64 {code.value('i64', f'add i64 {iteration}, 1')}, ptr {counter}")
    look, on = code.label(), code.label()
    due = code.value("i1", f"icmp eq i64 {code.value('i64', f'and i64 {iteration}, {every - 1}')}, {every - 1}")
    code.branch(due, look, on)
    code.start(look)
    status = code.value("i32", f"call i32 {context.module.refer(CHECK)}()")
    context.leave_if(code.value("i1", f"icmp ne i32 {status}, 0"), Status.INTERRUPTED)
    if context.in_chunk:
        context.leave_if(context.others_left(), Status.FINE)
    code.jump(on)
    code.start(on)
