"""`Effect`: a call of a function of the user for what it does, such as printing; it gives no result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ..core.formula import Formula, called
from ..core.op import Op, op
from ..core.tracing import EVAL, running
from ..core.types import ArrayType

__all__ = ["Effect"]


@op
class Effect(Op):
    """Call ``function`` with the operands, as arrays of its own.

    The equation is neither dropped nor merged, and effects keep their order. A derivative calls it once, with the primals. In a linear
    program it is called with tangents when that is run forwards, and not when it is transposed. On a batch it is called for each example.
    """

    family = "control"
    multiple: ClassVar[bool] = True
    compare_by_value: ClassVar[bool] = False
    effect: ClassVar[bool] = True
    total = True
    function: Callable[..., Any]
    label: str

    def __str__(self) -> str:
        return f"effect[{self.label}]"

    def formula(self, *operands: Formula) -> Formula:
        return called(self.label.partition(" (")[0], *operands)

    def type_rule(self, *types: ArrayType) -> tuple[ArrayType, ...]:
        return ()

    def impl(self, *operands: Any) -> Sequence[Any]:
        with running(EVAL):  # the function may call cotan
            self.function(*map(np.array, operands))
        return ()

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        self(*primals)
        return (), ()

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, Any]:
        flags = tuple(batched)

        def each(*arrays: Any) -> None:
            for k in range(size):
                self.function(*[x[k] if b else x for x, b in zip(arrays, flags, strict=True)])

        replace(self, function=each)(*operands)
        return (), ()
