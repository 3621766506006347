"""The alias check of donated arguments: whether a call may write a result over an argument (`schedule.aliasing` says where code does).

The argument must own its memory, or view an array that does, all of them writeable, and no other argument may share that memory. Otherwise
the code gets a copy. So an argument that is not donated is never changed, and neither is one that a recording has made read-only
(core/borrowing.py). The trampoline calls `may_write_address`, and `call.caller` `may_write` where it cannot use the trampoline.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cotan.core.array import Array

from .capi import TYPE_OFFSET, ArrayFlag, ArrayOffset
from .compile_lock import lazy_singleton
from .symbols import Jit

__all__ = ["may_write", "may_write_address"]

# LLVM vectorizes the second loop.
MAY_WRITE = f"""
define ptr @may_write(ptr %x, i64 %k, ptr noalias %data, ptr noalias %bytes, i64 %count, i64 %ndarray, i64 %array) nounwind {{
entry:
  br label %object
object:
  %y = phi ptr [%x, %entry], [%base, %next]
  %at.flags = getelementptr i8, ptr %y, i64 {ArrayOffset.FLAGS}
  %flags = load i32, ptr %at.flags
  %bit = and i32 %flags, {ArrayFlag.WRITEABLE}
  %writeable = icmp ne i32 %bit, 0
  br i1 %writeable, label %look, label %no
look:
  %at.base = getelementptr i8, ptr %y, i64 {ArrayOffset.BASE}
  %base = load ptr, ptr %at.base
  %last = icmp eq ptr %base, null
  br i1 %last, label %owner, label %next
next:
  %at.type = getelementptr i8, ptr %base, i64 {TYPE_OFFSET}
  %type = load i64, ptr %at.type
  %is.ndarray = icmp eq i64 %type, %ndarray
  %is.ours = icmp eq i64 %type, %array
  %is.array = or i1 %is.ndarray, %is.ours
  br i1 %is.array, label %object, label %no
owner:
  %own.bit = and i32 %flags, {ArrayFlag.OWNS_DATA}
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
written there; else null. ``data`` and ``bytes`` are the addresses and sizes of the arguments: x must overlap with itself alone."""


@lazy_singleton
def may_write_address(jit: Jit) -> int:
    """The address of `may_write`."""
    return jit.compile(MAY_WRITE, ["may_write"])["may_write"]


def may_write(x: np.ndarray, others: Sequence[np.ndarray]) -> bool:
    """The check of `MAY_WRITE` in Python, for C-contiguous arrays."""
    if any(np.may_share_memory(x, other) for other in others):
        return False
    while x.flags.writeable and isinstance(base := x.base, np.ndarray) and type(base) in (np.ndarray, Array):
        x = base
    return x.flags.writeable and x.base is None and x.flags.owndata
