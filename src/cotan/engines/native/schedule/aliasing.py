"""Results in the memory of arguments: which results of a Program may lie where a donated argument does, and the test that a call makes.

A result y may be written over an argument x of its type if nothing reads an element of x after that of y is written there (`fits`). Each
argument takes one result and each result one argument: a matching, of which the largest is taken. What has no partner stays as it is.

The code is compiled for that. Whether the argument of a call may really be changed is found out by each call (`TEXT`): it must own its
memory, or view an array that does, all of them writeable; and no other argument may lie there. Where that fails the call is given a copy:
so what is not donated is never changed, and neither is what a recording has made read-only (core/borrowing.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cotan.core.array import Array
from cotan.core.program import Var
from cotan.engines.native.llvm.compile_lock import once
from cotan.engines.native.llvm.jit import machine

from .fusion import TINY, Plan

__all__ = ["LOOPS", "may_write", "may_write_address", "results_in_arguments", "unused"]

LOOPS = frozenset({"scan", "bounded_scan", "while"})
"""Control ops whose carries become results after the last turn, when nothing is read any more."""


# ---- at compile time ---------------------------------------------------------------------------------------------------------------
def results_in_arguments(plan: Plan, donated: Sequence[int]) -> dict[int, int]:
    """The inputs in whose memory outputs are written, by the numbers of the outputs."""
    inputs, outputs = plan.program.inputs, plan.program.outputs
    first: dict[Any, int] = {}
    for k, v in enumerate(outputs):
        if isinstance(v, Var):
            first.setdefault(v, k)
    choices = {
        k: sorted([j for j in donated if fits(plan, inputs[j], v)], key=lambda j: inputs[j] is not origin(plan, v))
        for v, k in first.items()
    }
    taker: dict[int, int] = {}

    def take(k: int, seen: set[int]) -> bool:
        """Find an input for an output; another output may have to take another one."""
        free = [j for j in choices[k] if j not in taker]
        for j in free or choices[k]:
            if j not in seen:
                seen.add(j)
                if j not in taker or take(taker[j], seen):
                    taker[j] = k
                    return True
        return False

    for k in choices:
        take(k, set())
    return {k: j for j, k in sorted(taker.items(), key=lambda pair: pair[1])}


def origin(plan: Plan, v: Var) -> Any:
    """The value over which ``v`` is best written: itself, the start of the carry that it is, or what it is an update of."""
    node = plan.opaque.get(v)
    if node is None:
        return v
    e, place = node.equation, node.equation.outputs.index(v)
    if e.op.name not in LOOPS:
        return e.inputs[0] if e.inputs else None
    op: Any = e.op
    starts = e.inputs[op.constants :] if op.name == "while" else op.cut(e.inputs)[1]
    return starts[place] if place < len(starts) else None


def fits(plan: Plan, old: Var, new: Var) -> bool:
    """Whether the output ``new`` may lie where the input ``old`` does."""
    if old.type is not new.type or old.type.size <= TINY:
        return False
    if new is old or plan.may_replace(old, new):
        return True
    node = plan.opaque.get(new)
    if node is None:
        return False
    if node.equation.op.name in LOOPS:
        return origin(plan, new) is not None and plan.last_use(old) <= node.position
    source = plan.updated(new)
    return source is not None and fits(plan, old, source) and plan.last_use(old) <= node.position


def unused(plan: Plan, donated: Sequence[int], shared: dict[int, int]) -> tuple[int, ...]:
    """The donated inputs in which there is no result, but for those that are too small to matter."""
    return tuple(j for j in donated if j not in shared.values() and plan.program.inputs[j].type.size > TINY)


# ---- in a call ---------------------------------------------------------------------------------------------------------------------
C_CONTIGUOUS, OWNS_DATA, ALIGNED, WRITEABLE = 0x1, 0x4, 0x100, 0x400

# Offsets of PyArrayObject: data 16, base 48, flags 64; ob_type 8. `calling` verifies them. LLVM makes vectors of the second loop.
TEXT = f"""
define ptr @may_write(ptr %x, i64 %k, ptr noalias %data, ptr noalias %bytes, i64 %count, i64 %ndarray, i64 %array) nounwind {{
entry:
  br label %object
object:
  %y = phi ptr [%x, %entry], [%base, %next]
  %at.flags = getelementptr i8, ptr %y, i64 64
  %flags = load i32, ptr %at.flags
  %bit = and i32 %flags, {WRITEABLE}
  %writeable = icmp ne i32 %bit, 0
  br i1 %writeable, label %look, label %no
look:
  %at.base = getelementptr i8, ptr %y, i64 48
  %base = load ptr, ptr %at.base
  %last = icmp eq ptr %base, null
  br i1 %last, label %owner, label %next
next:
  %at.type = getelementptr i8, ptr %base, i64 8
  %type = load i64, ptr %at.type
  %is.ndarray = icmp eq i64 %type, %ndarray
  %is.ours = icmp eq i64 %type, %array
  %is.array = or i1 %is.ndarray, %is.ours
  br i1 %is.array, label %object, label %no
owner:
  %own.bit = and i32 %flags, {OWNS_DATA}
  %owns = icmp ne i32 %own.bit, 0
  br i1 %owns, label %ranges, label %no
ranges:
  %at.start = getelementptr i64, ptr %data, i64 %k
  %start = load i64, ptr %at.start
  %at.size = getelementptr i64, ptr %bytes, i64 %k
  %size = load i64, ptr %at.size
  %end = add i64 %start, %size
  br label %range
range:
  %i = phi i64 [0, %ranges], [%i.next, %range]
  %met = phi i64 [0, %ranges], [%met.next, %range]
  %at.a = getelementptr i64, ptr %data, i64 %i
  %a = load i64, ptr %at.a
  %at.n = getelementptr i64, ptr %bytes, i64 %i
  %n = load i64, ptr %at.n
  %b = add i64 %a, %n
  %before = icmp ult i64 %a, %end
  %after = icmp ult i64 %start, %b
  %both = and i1 %before, %after
  %one = zext i1 %both to i64
  %met.next = add i64 %met, %one
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %count
  br i1 %more, label %range, label %judge
judge:
  %alone = icmp eq i64 %met.next, 1
  br i1 %alone, label %yes, label %no
yes:
  ret ptr %y
no:
  ret ptr null
}}
"""
"""``may_write(x, k, data, bytes, count, ndarray, Array)``: the array that owns the memory of argument k, the object x, if a result may be
written there; else null. ``data`` and ``bytes`` are where the arguments lie and their sizes: that of x meets itself alone."""


@once
def may_write_address() -> int:
    """The address of `may_write`, compiled when the first function with donated arguments is."""
    return machine().compile(TEXT, ["may_write"])["may_write"]


def may_write(x: np.ndarray[Any, Any], others: Sequence[np.ndarray[Any, Any]]) -> bool:
    """The same in Python, for arrays that lie without gaps."""
    if any(np.may_share_memory(x, other) for other in others):
        return False
    while x.flags.writeable and type(x.base) in (np.ndarray, Array):
        x = x.base  # type: ignore[assignment]
    return x.flags.writeable and x.base is None and x.flags.owndata
