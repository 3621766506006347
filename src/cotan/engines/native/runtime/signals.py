"""The poll for signals: compiled loops run without the interpreter, and ask with it whether a signal (Ctrl-C) is pending.

A loop that may run long calls, every so many iterations (`codegen.control.interrupt_checks`),

    i32 cotan_interrupted()      ; 0: go on;  INTERRUPTED: a Python exception is set, return that status

On other threads than the main one it returns 0 at once: Python runs signal handlers on the main thread only. There it reads the clock, and
once in 50 ms takes the GIL and calls PyErr_CheckSignals, which runs the handlers. If a handler raises (KeyboardInterrupt), the exception
stays set on the thread, the code returns INTERRUPTED, and the trampoline passes the exception on. Code that runs without Python has a
``cotan_interrupted`` of its own, which returns 0.
"""

from __future__ import annotations

import ctypes
import os
import threading

from cotan.engines.native.status import Status

from .capi import add_python_functions
from .clock import clock
from .compile_lock import lazy_singleton
from .symbols import Jit, runtime_symbol

__all__ = ["CHECK", "make_known"]

SYMBOL = "cotan_interrupted"
NANOSECONDS_BETWEEN = 50_000_000

POLL = f"""
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
  ret i32 {Status.INTERRUPTED.value}
on:
  ret i32 0
}}
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
"""``now`` for systems whose clock is not known: each call of the poll counts as a microsecond."""


@lazy_singleton
def make_known(jit: Jit) -> None:
    """Compile the poll and make it known to the JIT."""
    add_python_functions(jit, "PyThread_get_thread_ident", "PyGILState_Ensure", "PyGILState_Release", "PyErr_CheckSignals")
    addresses = jit.compile(
        POLL.replace("CLOCK", clock() or COUNTING) + "define ptr @place() {\n  ret ptr @cotan_main_thread\n}\n",
        [SYMBOL, "place"], 1,
    )  # fmt: skip
    jit.add_symbol(SYMBOL, addresses[SYMBOL])
    main_thread = ctypes.c_int64.from_address(ctypes.CFUNCTYPE(ctypes.c_void_p)(addresses["place"])())

    def remember() -> None:
        main_thread.value = threading.main_thread().ident or 0

    remember()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=remember)


CHECK = runtime_symbol(
    SYMBOL, f"declare i32 @{SYMBOL}()", make_known=make_known, standalone=f"define internal i32 @{SYMBOL}() {{\n  ret i32 0\n}}"
)
