"""Equality of two traced values by construction: the same operations on the same values.

Under forward mode, two values with equal numbers and tangents at every level are equal for all derivatives that will be taken. A symbol of
a tape or a staged program is compared by its equation. The search stops after `BUDGET` comparisons, and answers "no".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.program import Literal, Var
from ..core.staging import StagingTrace
from ..core.tracing import Tracer
from ..transforms.batch import BatchTrace
from ..transforms.jvp import JVPTrace

__all__ = ["same"]

BUDGET = 300


class Comparison:
    """One comparison, with the facts found about the symbols so far."""

    def __init__(self) -> None:
        self.left = BUDGET
        self.definitions: dict[int, dict[Var, Any]] = {}
        self.equal: set[tuple[int, int]] = set()

    def same(self, a: Any, b: Any) -> bool:
        if a is b:
            return True
        self.left -= 1
        if self.left < 0 or type(a) is not type(b):
            return False
        if type(a) is Tracer:
            return a.owner is b.owner and self.same_payloads(a.owner, a.payload, b.payload)
        if type(a) is Literal:
            return a.type == b.type and bool(np.array_equal(a.value, b.value))
        return a is not None and type(a) is not Var and bool(np.array_equal(a, b))

    def same_payloads(self, owner: Any, p: Any, q: Any) -> bool:
        if isinstance(owner, JVPTrace):
            return self.same(p[0], q[0]) and self.same(owner.tangent(p), owner.tangent(q))
        if isinstance(owner, BatchTrace):
            return self.same(p, q)
        return isinstance(owner, StagingTrace) and self.same_symbols(owner, p, q)

    def same_symbols(self, owner: StagingTrace, p: Any, q: Any) -> bool:
        if p is q or (id(p), id(q)) in self.equal:
            return True
        known = self.definitions.get(id(owner))
        if known is None:
            known = self.definitions[id(owner)] = {v: equation for equation in owner.equations for v in equation.outputs}
        one, other = known.get(p), known.get(q)
        if one is None or other is None or one.op != other.op or len(one.inputs) != len(other.inputs):
            return False
        if list(one.outputs).index(p) != list(other.outputs).index(q) or not self.same_inputs(owner, one.inputs, other.inputs):
            return False
        self.equal.add((id(p), id(q)))
        return True

    def same_inputs(self, owner: StagingTrace, these: Sequence[Any], those: Sequence[Any]) -> bool:
        for a, b in zip(these, those, strict=True):
            self.left -= 1
            symbols = type(a) is Var and type(b) is Var
            if self.left < 0 or not (self.same_symbols(owner, a, b) if symbols else self.same(a, b)):
                return False
        return True


def same(a: Any, b: Any) -> bool:
    """Whether two values are known to be equal by construction."""
    return Comparison().same(a, b)
