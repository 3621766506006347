"""Interrupt checks: loops that may run long look every so many iterations whether a signal waits (`runtime.signals`).

The price is an ``and``, a comparison and a branch per iteration of such a loop; a scan that is known to be short has none.
"""

from __future__ import annotations

from cotan.engines.native.codegen.program import ProgramLowering
from cotan.engines.native.runtime.signals import CHECK
from cotan.engines.native.status import Status

__all__ = ["check_after", "iteration_counter"]


def iteration_counter(lowering: ProgramLowering) -> str:
    """A counter of the turns of a loop that has none, as an address."""
    counter = lowering.code.alloca("i64")
    lowering.code.line(f"store i64 0, ptr {counter}")
    return counter


def check_after(lowering: ProgramLowering, turn: str, work: int, length: int | None = None) -> None:
    """Write, in a turn of a loop, the check. ``turn`` is the number of the turn, or a counter from `iteration_counter`; a turn does so much
    ``work``, and there are ``length`` turns, if that is known.
    """
    options = lowering.options
    if length is not None and length * work < options.unchecked_cost:
        return
    every = max(1, min(options.check_iterations, 1 << max(0, (options.check_cost // work).bit_length() - 1)))
    context, code = lowering.context, lowering.code
    if context.module.types[turn] == "ptr":
        counter, turn = turn, code.value("i64", f"load i64, ptr {turn}")
        code.line(f"store i64 {code.value('i64', f'add i64 {turn}, 1')}, ptr {counter}")
    look, stop, on = code.label(), code.label(), code.label()
    due = code.value("i1", f"icmp eq i64 {code.value('i64', f'and i64 {turn}, {every - 1}')}, {every - 1}")
    code.branch(due, look, on)
    code.start(look)
    status = code.value("i32", f"call i32 {context.module.refer(CHECK)}()")
    code.branch(code.value("i1", f"icmp ne i32 {status}, 0"), stop, on)
    code.start(stop)
    context.leave(Status.INTERRUPTED)
    code.start(on)
