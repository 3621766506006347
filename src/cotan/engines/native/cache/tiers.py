"""Two tiers of code: long programs are compiled quickly at first, and well once they have run so long that it pays.

What LLVM does for code that is to be fast takes five times as long as code that is right. So the code of a long Program whose calls are
short is made quickly (`quick`), and what its calls take is added up by the code itself. When that is about what compiling it well takes,
the call at hand compiles it well, and goes on with the new code from the next call on. All in all this takes at most about twice the time
that the better choice would have taken, and there is no thread beside those of the user. Results of the two tiers differ by rounding
only: vectors have other functions, and sums another order.

Code of the second tier that a former process has left in the cache is used at once.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import Any

from cotan.core.program import Program
from cotan.engines.native.cost import program_cost
from cotan.engines.native.llvm.jit import machine
from cotan.engines.native.options import CodegenOptions
from cotan.engines.native.runtime.capi import add_python_functions
from cotan.engines.native.runtime.signals import clock

from .size_templates import Main

__all__ = ["compile_in_tiers", "level_of"]

FIRST = "first_tier"
LOOP, FUNCTION = " = phi i64 ", re.compile(r"^define internal (?!void)", re.MULTILINE)
"""What the head of a loop begins with; and a scalar function, which has to become part of what calls it."""
IMPROVE = ctypes.CFUNCTYPE(ctypes.c_int32)

TEXT = """
@cell = internal global [3 x i64] [i64 0, i64 0, i64 LIMIT]
declare void @cotan_PyErr_SetInterrupt()
define ptr @tier() nounwind {
  ret ptr @cell
}
define i32 @main(ptr %arguments, ptr %results, ptr %workspace, ptr %functions) {
entry:
  %better.at = getelementptr i64, ptr @cell, i64 0
  %better = load atomic ptr, ptr %better.at acquire, align 8
  %none = icmp eq ptr %better, null
  br i1 %none, label %first, label %second
second:
  %status.second = call i32 %better(ptr %arguments, ptr %results, ptr %workspace, ptr %functions)
  ret i32 %status.second
first:
  %begin = call i64 @now()
  %status = call i32 @FIRST(ptr %arguments, ptr %results, ptr %workspace, ptr %functions)
  %end = call i64 @now()
  %took = sub i64 %end, %begin
  %left.at = getelementptr i64, ptr @cell, i64 2
  %before = atomicrmw sub ptr %left.at, i64 %took monotonic
  %after = sub i64 %before, %took
  %positive = icmp sgt i64 %before, 0
  %spent = icmp sle i64 %after, 0
  %fine = icmp eq i32 %status, 0
  %crossed = and i1 %positive, %spent
  %due = and i1 %crossed, %fine
  br i1 %due, label %improve, label %done
improve:
  %improve.at = getelementptr i64, ptr @cell, i64 1
  %improver = load ptr, ptr %improve.at
  %interrupted = call i32 %improver()
  %any = icmp ne i32 %interrupted, 0
  br i1 %any, label %again, label %done
again:
  call void @cotan_PyErr_SetInterrupt()
  br label %done
done:
  ret i32 %status
}
"""
"""``main`` of quick code: better code, once it is there; before, the quick code and the time it takes. The cell holds the address of the
better code, that of the function which makes it, and the nanoseconds until then."""


def level_of(text: str) -> int:
    """How well it pays to compile a text: straight code, in which equal instructions are one already, gains nothing from LLVM's best."""
    return 3 if LOOP in text or FUNCTION.search(text) else 1


def nanoseconds(text: str, options: CodegenOptions) -> tuple[int, int]:
    """About what it takes to compile a text well; and the calls of quick code that should fit into that time."""
    lines = text.count("\n")
    in_loops = min(text.count(LOOP) * options.lines_per_loop, lines)
    spent = (lines - in_loops) * options.nanoseconds_per_line + in_loops * options.nanoseconds_per_loop_line
    return spent, options.quick_loop_calls if 2 * in_loops > lines else options.quick_calls


def compile_in_tiers(text: str, program: Program, options: CodegenOptions) -> Main:
    """``main`` of a text: made quickly at first if that is better, else well at once."""
    level, (limit, calls) = level_of(text), nanoseconds(text, options)
    if (
        text.count("\n") < options.quick_lines
        or clock() is None
        or program_cost(program) * options.nanoseconds_per_operation * calls > limit
        or machine().is_kept(text, level)
    ):
        found = machine().linked(text, ["main"], level)
        return Main(found["main"], found)
    return quick(text, level, limit)


def quick(text: str, level: int, limit: int) -> Main:
    """``main`` of quick code, which after so many nanoseconds of calls becomes better code."""
    add_python_functions(machine(), "PyErr_SetInterrupt")
    first = text.replace("define i32 @main(", f"define internal i32 @{FIRST}(", 1)
    wrapper = TEXT.replace("FIRST", FIRST).replace("LIMIT", str(limit))
    addresses = machine().linked(f"{wrapper}{clock()}{first}", ["main", "tier"], 0)
    cell = (ctypes.c_int64 * 3).from_address(ctypes.CFUNCTYPE(ctypes.c_void_p)(addresses["tier"])())
    owner: list[Any] = [addresses]
    improve = IMPROVE(improver(text, level, cell, owner))
    cell[1] = ctypes.cast(improve, ctypes.c_void_p).value or 0
    owner.append(improve)
    return Main(addresses["main"], owner)


def improver(text: str, level: int, cell: Any, owner: list[Any]) -> Callable[[], int]:
    """What code calls when it is to become better. It says 1 if it was interrupted: the signal is then given again, to the caller."""

    def improve() -> int:
        try:
            found = machine().linked(text, ["main"], level)
            owner.append(found)
            cell[0] = found["main"]
        except KeyboardInterrupt:
            return 1
        return 0

    return improve
