"""Ctrl-C in compiled loops: how code without the interpreter learns that a signal waits.

A loop that may run long calls, every so many turns (`check`),

    i32 cotan_interrupted()      ; 0: go on;  INTERRUPTED: a Python exception is set, return that status

On other threads than the main one it says 0 at once: Python runs handlers of signals on the main thread only. Otherwise it looks at the
clock, and once in 50 ms takes the interpreter's lock and calls PyErr_CheckSignals, which runs the handlers. If one raises
(KeyboardInterrupt), the exception stays set on the thread, the code returns `INTERRUPTED`, and the launcher passes the exception on. Code
that runs without Python has a ``cotan_interrupted`` of its own, which says 0.

The price is an ``and``, a comparison and a branch per turn of such a loop; a scan that is known to be short has none.
"""

from __future__ import annotations

import ctypes
import os
import threading
from math import prod
from typing import TYPE_CHECKING, Any

from cotan.core.program import Program
from cotan.engines.native.llvm.compile_lock import once
from cotan.engines.native.llvm.jit import machine
from cotan.engines.native.llvm.symbols import Symbol

if TYPE_CHECKING:
    from cotan.engines.native.codegen.program import Run

__all__ = ["CHECK", "INTERRUPTED", "check_after", "clock", "make_known", "turns_counted", "work_of"]

INTERRUPTED = 4
"""What a call returns when the handler of a signal has raised."""
SYMBOL = "cotan_interrupted"
SHORT = 1 << 25
"""A loop of so many elementary operations takes some 10 ms."""
WORK_BETWEEN = 1 << 14
"""About so many elementary operations, some microseconds, lie between two calls of the check."""
MOST_TURNS_BETWEEN = 1 << 12
NANOSECONDS_BETWEEN = 50_000_000

TEXT = f"""
@cotan_main_thread = global i64 0
@next_look = internal global i64 0
declare i64 @cotan_PyThread_get_thread_ident()
declare i32 @cotan_PyGILState_Ensure()
declare void @cotan_PyGILState_Release(i32)
declare i32 @cotan_PyErr_CheckSignals()
CLOCK

define i32 @{SYMBOL}() nounwind {{
entry:
  %thread = call i64 @cotan_PyThread_get_thread_ident()
  %main = load i64, ptr @cotan_main_thread
  %here = icmp eq i64 %thread, %main
  br i1 %here, label %look, label %on
look:
  %now = call i64 @now()
  %next = load i64, ptr @next_look
  %early = icmp slt i64 %now, %next
  br i1 %early, label %on, label %ask
ask:
  %later = add i64 %now, {NANOSECONDS_BETWEEN}
  store i64 %later, ptr @next_look
  %lock = call i32 @cotan_PyGILState_Ensure()
  %raised = call i32 @cotan_PyErr_CheckSignals()
  call void @cotan_PyGILState_Release(i32 %lock)
  %any = icmp ne i32 %raised, 0
  br i1 %any, label %stop, label %on
stop:
  ret i32 {INTERRUPTED}
on:
  ret i32 0
}}
"""
CLOCK = """
declare i32 @clock_gettime(i32, ptr)
define internal i64 @now() nounwind {
  %time = alloca [2 x i64]
  call i32 @clock_gettime(i32 1, ptr %time)
  %seconds = load i64, ptr %time
  %at = getelementptr i64, ptr %time, i64 1
  %rest = load i64, ptr %at
  %whole = mul i64 %seconds, 1000000000
  %sum = add i64 %whole, %rest
  ret i64 %sum
}
"""
COUNTING = """
@calls = internal global i64 0
define internal i64 @now() nounwind {
  %old = load i64, ptr @calls
  %new = add i64 %old, 1000
  store i64 %new, ptr @calls
  ret i64 %new
}
"""
"""Where there is no such clock: each call of the check counts as a microsecond."""


def clock() -> str | None:
    """A function ``i64 now()`` of nanoseconds, as text; None where there is no clock that is known."""
    return CLOCK if hasattr(os, "uname") and os.uname().sysname == "Linux" else None


@once
def make_known() -> None:
    """Compile the check and make it known to code that is compiled afterwards."""
    for name in ("PyThread_get_thread_ident", "PyGILState_Ensure", "PyGILState_Release", "PyErr_CheckSignals"):
        machine().add_symbol(f"cotan_{name}", ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0)
    addresses = machine().compile(
        TEXT.replace("CLOCK", clock() or COUNTING) + "define ptr @place() {\n  ret ptr @cotan_main_thread\n}\n",
        [SYMBOL, "place"], 1,
    )  # fmt: skip
    machine().add_symbol(SYMBOL, addresses[SYMBOL])
    cell = ctypes.c_int64.from_address(ctypes.CFUNCTYPE(ctypes.c_void_p)(addresses["place"])())

    def remember() -> None:
        cell.value = threading.main_thread().ident or 0

    remember()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=remember)


CHECK = Symbol(SYMBOL, f"declare i32 @{SYMBOL}()", make_known=make_known, alone=f"define internal i32 @{SYMBOL}() {{\n  ret i32 0\n}}")
HELD = ("body", "program", "condition", "forward", "backward")
"""What ops call the programs that they run again and again."""


def work_of(program: Program) -> int:
    """About how many elementary operations a Program does, as far as that is known beforehand."""
    total = 1
    for e in program.equations:
        op: Any = e.op
        if op.holds_programs:
            inner = [getattr(op, name) for name in HELD if isinstance(getattr(op, name, None), Program)]
            total += sum(work_of(p) for p in inner) * (getattr(op, "length", None) or 1)
        total += sum(prod(getattr(v.type, "shape", ())) for v in (*e.inputs, *e.outputs))
    return total


def turns_counted(run: Run) -> str:
    """A counter of the turns of a loop that has none, as an address."""
    counter = run.code.alloca("i64")
    run.code.line(f"store i64 0, ptr {counter}")
    return counter


def check_after(run: Run, turn: str, work: int, length: int | None = None) -> None:
    """Write, in a turn of a loop, the check. ``turn`` is the number of the turn, or a counter from `turns_counted`; a turn does so much
    ``work``, and there are ``length`` turns, if that is known.
    """
    if length is not None and length * work < SHORT:
        return
    every = max(1, min(MOST_TURNS_BETWEEN, 1 << max(0, (WORK_BETWEEN // work).bit_length() - 1)))
    g, code = run.g, run.code
    if g.module.types[turn] == "ptr":
        counter, turn = turn, code.value("i64", f"load i64, ptr {turn}")
        code.line(f"store i64 {code.value('i64', f'add i64 {turn}, 1')}, ptr {counter}")
    look, stop, on = code.label(), code.label(), code.label()
    due = code.value("i1", f"icmp eq i64 {code.value('i64', f'and i64 {turn}, {every - 1}')}, {every - 1}")
    code.branch(due, look, on)
    code.start(look)
    status = code.value("i32", f"call i32 {g.module.refer(CHECK)}()")
    code.branch(code.value("i1", f"icmp ne i32 {status}, 0"), stop, on)
    code.start(stop)
    g.leave(INTERRUPTED)
    code.start(on)
