"""Two tiers of code: a long Program is compiled quickly at first, and optimized once its calls have taken so long that it pays.

Optimization takes LLVM five times as long as correct code does. So the code of a long Program whose calls are short is not optimized
(`quick`), and the code itself adds up the time of its calls. When that is about the time of the optimization, the current call optimizes
the code, and the next call runs the new code. In the worst case this takes twice the time of the better choice, and there is no thread
beside those of the user. Results of the two tiers differ by rounding only: vectorized functions and the order of sums differ.

If the disk cache has optimized code of a former process, that is used at once.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable

from cotan.core.program import Program
from cotan.engines.native.cost import loop_heads, optimization_cost, program_cost
from cotan.engines.native.llvm.jit import Main, machine
from cotan.engines.native.options import CodegenOptions
from cotan.engines.native.runtime.capi import add_python_functions
from cotan.engines.native.runtime.clock import clock

__all__ = ["compile_in_tiers", "level_of"]

FIRST = "first_tier"
FUNCTION = re.compile(r"^define internal (?!void)", re.MULTILINE)
"""A scalar function, which LLVM has to inline."""
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
"""``main`` of quick code: it calls the optimized code once that exists, and before that the quick code, whose time it measures. The cell
holds the address of the optimized code, the address of the function that makes it, and the nanoseconds that are left until then."""


def level_of(ir: str) -> int:
    """The optimization level that pays: straight-line code, in which common subexpressions are one already, gains nothing from level 3."""
    return 3 if loop_heads(ir) or FUNCTION.search(ir) else 1


def compile_in_tiers(ir: str, program: Program, options: CodegenOptions) -> Main:
    """``main`` of a module: quick code at first if that is better, else optimized code."""
    level, (limit, calls) = level_of(ir), optimization_cost(ir, options)
    if (
        ir.count("\n") < options.quick_lines
        or clock() is None
        or program_cost(program) * options.nanoseconds_per_operation * calls > limit
        or machine().is_cached(ir, level)
    ):
        found = machine().link(ir, ["main"], level)
        return Main(found["main"], found)
    return quick(ir, level, limit)


def quick(ir: str, level: int, limit: int) -> Main:
    """``main`` of quick code, which is optimized after ``limit`` nanoseconds of calls."""
    add_python_functions(machine(), "PyErr_SetInterrupt")
    first = ir.replace("define i32 @main(", f"define internal i32 @{FIRST}(", 1)
    wrapper = TEXT.replace("FIRST", FIRST).replace("LIMIT", str(limit))
    addresses = machine().link(f"{wrapper}{clock()}{first}", ["main", "tier"], 0)
    cell = (ctypes.c_int64 * 3).from_address(ctypes.CFUNCTYPE(ctypes.c_void_p)(addresses["tier"])())
    owner: list[object] = [addresses]
    improve = IMPROVE(improver(ir, level, cell, owner))
    cell[1] = ctypes.cast(improve, ctypes.c_void_p).value or 0
    owner.append(improve)
    return Main(addresses["main"], owner)


def improver(ir: str, level: int, cell: ctypes.Array[ctypes.c_int64], owner: list[object]) -> Callable[[], int]:
    """The function that quick code calls to be optimized. It returns 1 if it was interrupted: the caller then gets the signal again."""

    def improve() -> int:
        try:
            found = machine().link(ir, ["main"], level)
            owner.append(found)
            cell[0] = found["main"]
        except KeyboardInterrupt:
            return 1
        return 0

    return improve
