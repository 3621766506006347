"""The checked build, for finding defects of the engine: with COTAN_CHECK=1 every access to an array is tested before it happens.

The setting is read when a module's text is begun, and the tests are part of that text, so code of the two kinds never meets in a cache. An
element of an array of n elements may be read or written at offsets 0 ... n-1 of the memory that holds it; a part of m elements may begin at
0 ... n-m; an entry of a stack of k entries is 0 ... k-1. The offset that is tested is the one that is used, after the conditions that guard
it. One that lies outside is replaced by 0, so that nothing is destroyed, and the first such place is noted in a word of the module. At the
end ``main`` returns `Status.OUT_OF_BOUNDS` plus the number of the place instead of its status, and the caller raises EngineError, which
names the op.

Tests are calls that LLVM keeps where they are: such code is slow, and not in vectors.
"""

from __future__ import annotations

import os
from typing import Any

from cotan.engines.native.runtime.symbols import Symbol
from cotan.engines.native.status import Status

__all__ = ["JUDGED", "WITHIN", "Checks", "wanted"]

PLACE = Symbol("cotan_outside", "@cotan_outside = internal global i32 0")
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
    needs=(PLACE,),
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
    needs=(PLACE,),
)
"""The status of a call. Places count from 1."""


def wanted() -> bool:
    """Whether code is to be checked."""
    return os.environ.get("COTAN_CHECK", "").strip().lower() not in ("", "0", "off", "false", "no")


class Checks:
    """The places of a module that are tested: what is being written there, by number."""

    def __init__(self) -> None:
        self.places: list[str] = []
        self.numbers: dict[str, int] = {}
        self.equation: Any = None
        """The equation that is being written."""

    def place(self) -> int:
        """The number of the place at hand, from 1."""
        if self.equation is None:
            text = "a copy"
        else:
            text = f"{self.equation.op}{f'   # {self.equation.origin}' if self.equation.origin else ''}"
        if text not in self.numbers:
            self.places.append(text)
            self.numbers[text] = len(self.places)
        return self.numbers[text]
