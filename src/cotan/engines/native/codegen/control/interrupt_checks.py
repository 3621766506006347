"""Interrupt checks: loops that may run long look every so many iterations whether a signal waits (`runtime.signals`).

The price is an ``and``, a comparison and a branch per iteration of such a loop; a scan that is known to be short has none.
"""

from __future__ import annotations

from cotan.engines.native.codegen.program import ProgramLowering
from cotan.engines.native.runtime.signals import CHECK
from cotan.engines.native.status import Status

__all__ = ["check_for_interrupt", "iteration_counter"]


def iteration_counter(lowering: ProgramLowering) -> str:
    """The address of a new iteration counter, for a loop that has none."""
    counter = lowering.code.alloca("i64")
    lowering.code.line(f"store i64 0, ptr {counter}")
    return counter


def check_for_interrupt(lowering: ProgramLowering, iteration: str, cost: int, length: int | None = None) -> None:
    """Write the check into the body of a loop. ``iteration`` is the number of the iteration, or a counter from `iteration_counter`; an
    iteration has this ``cost``, and there are ``length`` of them, if that is known.
    """
    options = lowering.options
    if length is not None and length * cost < options.unchecked_cost:
        return
    every = max(1, min(options.check_iterations, 1 << max(0, (options.check_cost // cost).bit_length() - 1)))
    context, code = lowering.context, lowering.code
    if context.module.types[iteration] == "ptr":
        counter, iteration = iteration, code.value("i64", f"load i64, ptr {iteration}")
        code.line(f"store i64 {code.value('i64', f'add i64 {iteration}, 1')}, ptr {counter}")
    look, stop, on = code.label(), code.label(), code.label()
    due = code.value("i1", f"icmp eq i64 {code.value('i64', f'and i64 {iteration}, {every - 1}')}, {every - 1}")
    code.branch(due, look, on)
    code.start(look)
    status = code.value("i32", f"call i32 {context.module.refer(CHECK)}()")
    code.branch(code.value("i1", f"icmp ne i32 {status}, 0"), stop, on)
    code.start(stop)
    context.leave(Status.INTERRUPTED)
    code.start(on)
