"""Interrupt checks: loops that may run long look every so many iterations whether a signal waits (`runtime.signals`).

A counted loop runs in blocks of so many iterations, with a check behind each block: the loop itself has none, and LLVM optimizes it as it
would without. Another loop pays an addition, a comparison and a branch per iteration. A scan that is known to be short has no checks.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from cotan.core.program import Program
from cotan.engines.native.codegen.program import ProgramLowering
from cotan.engines.native.cost import program_cost
from cotan.engines.native.options import CodegenOptions
from cotan.engines.native.runtime.signals import CHECK
from cotan.engines.native.status import Status

__all__ = ["checked_iteration", "checked_loop", "iteration_counter"]


def iterations_between(options: CodegenOptions, cost: int) -> int:
    """The number of iterations of this cost between two checks, a power of 2."""
    return max(1, min(options.check_iterations, 1 << max(0, (options.check_cost // cost).bit_length() - 1)))


def checked_loop(lowering: ProgramLowering, length: str, trip_count: int | None, body: Program, iteration: Callable[[str], None]) -> None:
    """Write a loop of ``length`` iterations, each of which runs ``body`` once; ``trip_count`` is their number if it is known."""
    context, code, options = lowering.context, lowering.code, lowering.options
    known = trip_count is not None
    if trip_count is not None and trip_count * program_cost(body, copying=True) < options.unchecked_cost:
        return code.loop(length, iteration, at_least_once=True)
    copied, every, place = context.copied, context.module.name("i64"), code.later()

    def block(first: str) -> None:
        beyond = code.value("i64", f"add i64 {first}, {every}")
        end = code.value("i64", context.module.call("i64", "llvm.smin.i64", f"i64 {beyond}", f"i64 {length}"))
        code.loop(end, iteration, start=first, at_least_once=True)
        check(lowering)

    code.loop(length, block, step=every, at_least_once=known)
    with code.at(place):  # the cost of an iteration is known now
        code.line(f"{every} = add i64 0, {iterations_between(options, program_cost(body) + context.copied - copied)}")
    return None


def iteration_counter(lowering: ProgramLowering) -> str:
    """The address of a new iteration counter, for loops that have none."""
    counter = lowering.code.alloca("i64")
    lowering.code.line(f"store i64 0, ptr {counter}")
    return counter


@contextmanager
def checked_iteration(lowering: ProgramLowering, counter: str, body: Program) -> Generator[None]:
    """A context that writes an iteration of a loop, which runs ``body`` once, and a check behind it; ``counter`` is an
    `iteration_counter`.
    """
    context, code = lowering.context, lowering.code
    copied = context.copied
    yield
    every = iterations_between(lowering.options, program_cost(body) + context.copied - copied)
    iteration = code.value("i64", f"load i64, ptr {counter}")
    code.line(f"store i64 {code.value('i64', f'add i64 {iteration}, 1')}, ptr {counter}")
    look, on = code.label(), code.label()
    due = code.value("i1", f"icmp eq i64 {code.value('i64', f'and i64 {iteration}, {every - 1}')}, {every - 1}")
    code.branch(due, look, on)
    code.start(look)
    check(lowering)
    code.jump(on)
    code.start(on)


def check(lowering: ProgramLowering) -> None:
    """Look for a signal, and return from the call if one waits whose handler raises."""
    context, code = lowering.context, lowering.code
    stop, on = code.label(), code.label()
    status = code.value("i32", f"call i32 {context.module.refer(CHECK)}()")
    code.branch(code.value("i1", f"icmp ne i32 {status}, 0"), stop, on)
    code.start(stop)
    context.leave(Status.INTERRUPTED)
    code.start(on)
