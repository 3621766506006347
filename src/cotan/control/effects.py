"""`Effect`: a call of a function of the user for what it does, such as printing; it gives no result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
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

    @property
    def user_code(self) -> str:  # type: ignore[override]
        return self.label

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
        replace(self, function=partial(for_each, self.function, size, tuple(batched)))(*operands)
        return (), ()


def for_each(function: Callable[..., Any], size: int, batched: Sequence[bool], *arrays: Any) -> None:
    """``function`` of each example of a batch."""
    for k in range(size):
        function(*[x[k] if b else x for x, b in zip(arrays, batched, strict=True)])
