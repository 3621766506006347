"""The clock of compiled code: the LLVM IR of ``i64 now()``, the nanoseconds since some moment in the past.

The poll for signals, the thread pool, and the tiers of the cache put it in their modules.
"""

from __future__ import annotations

import os
import sys

__all__ = ["clock", "posix_clock"]

MONOTONIC = 6 if sys.platform == "darwin" else 1
"""The number of the clock that is never set back (CLOCK_MONOTONIC)."""
NOW = f"""
declare i32 @clock_gettime(i32, ptr)
define internal i64 @now() nounwind {{
  %time = alloca [2 x i64]
  call i32 @clock_gettime(i32 {MONOTONIC}, ptr %time)
  %seconds = load i64, ptr %time
  %at = getelementptr i64, ptr %time, i64 1
  %rest = load i64, ptr %at
  %whole = mul i64 %seconds, 1000000000
  %sum = add i64 %whole, %rest
  ret i64 %sum
}}
"""


def posix_clock() -> str:
    """The clock of a POSIX system."""
    return NOW


def clock() -> str | None:
    """The clock of a system on which it is known to work, which is Linux; None on others."""
    return NOW if hasattr(os, "uname") and os.uname().sysname == "Linux" else None
