"""The checked build, for finding defects of the engine: with COTAN_CHECK=1 every access to an array is tested before it happens.

The setting is read when a module is begun, and the tests are part of its LLVM IR, so the cache never confuses the two kinds
of code. An element of an array of n elements may be accessed at offsets 0 ... n-1 of the memory that holds it; a part of m
elements may begin at 0 ... n-m; an entry of a stack of k entries is 0 ... k-1. The tested offset is the used one, under the
conditions that guard it. An offset out of bounds is replaced by 0, so that nothing is overwritten, and the number of the
first such access is stored in a variable of the module. At the end ``main`` returns `Status.OUT_OF_BOUNDS` plus that number
instead of its status, and the caller raises EngineError, which names the op.

Tests are calls that LLVM does not move, so checked code is slow and not vectorized. `builder.Module.within` writes them.
"""

from __future__ import annotations

import os

from cotan.core.program import Equation
from cotan.engines.native.runtime.symbols import Symbol
from cotan.engines.native.status import Status

__all__ = ["JUDGED", "WITHIN", "Checks", "is_checked_build"]

OUTSIDE = Symbol("cotan_outside", "@cotan_outside = internal global i32 0")
WITHIN = Symbol(
    "cotan_within",
    """define internal i64 @cotan_within(i64 %at, i64 %count, i32 %place) noinline nounwind {
  %not.before = icmp sge i64 %at, 0
  %not.behind = icmp slt i64 %at, %count
  %inside = and i1 %not.before, %not.behind
  br i1 %inside, label %fine, label %wrong
fine:
  ret i64 %at
wrong:
  %noted = cmpxchg ptr @cotan_outside, i32 0, i32 %place seq_cst seq_cst
  ret i64 0
}""",
    needs=(OUTSIDE,),
)
"""The offset if it is below the count, else 0."""
JUDGED = Symbol(
    "cotan_judged",
    f"""define internal i32 @cotan_judged(i32 %status) noinline nounwind {{
  %place = atomicrmw xchg ptr @cotan_outside, i32 0 seq_cst
  %none = icmp eq i32 %place, 0
  %found = add i32 %place, {Status.OUT_OF_BOUNDS - 1}
  %judged = select i1 %none, i32 %status, i32 %found
  ret i32 %judged
}}""",
    needs=(OUTSIDE,),
)
"""The status of a call. Accesses count from 1."""


def is_checked_build() -> bool:
    """Whether COTAN_CHECK asks for the checked build."""
    return os.environ.get("COTAN_CHECK", "").strip().lower() not in ("", "0", "off", "false", "no")


class Checks:
    """The accesses of a module that are tested, numbered by the equation that they belong to."""

    def __init__(self) -> None:
        self.accesses: list[str] = []
        self.numbers: dict[str, int] = {}
        self.equation: Equation | None = None
        """The equation that is being lowered."""

    def access(self) -> int:
        """The number of an access of the equation at hand, from 1."""
        if self.equation is None:
            source = "a copy"
        else:
            source = f"{self.equation.op}{f'   # {self.equation.origin}' if self.equation.origin else ''}"
        if source not in self.numbers:
            self.accesses.append(source)
            self.numbers[source] = len(self.accesses)
        return self.numbers[source]
