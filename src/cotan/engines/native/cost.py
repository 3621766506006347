"""The cost model: how much work a piece of code does, in elementary operations: one is about an addition of two numbers."""

from __future__ import annotations

from math import prod
from typing import Any

from cotan.core.program import Program

__all__ = ["program_cost"]

HELD = ("body", "program", "condition", "forward", "backward")
"""What ops call the programs that they run again and again."""


def program_cost(program: Program) -> int:
    """About how many elementary operations a Program does, as far as that is known beforehand."""
    total = 1
    for e in program.equations:
        op: Any = e.op
        if op.holds_programs:
            inner = [getattr(op, name) for name in HELD if isinstance(getattr(op, name, None), Program)]
            total += sum(program_cost(p) for p in inner) * (getattr(op, "length", None) or 1)
        total += sum(prod(getattr(v.type, "shape", ())) for v in (*e.inputs, *e.outputs))
    return total
