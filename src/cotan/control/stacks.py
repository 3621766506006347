"""Ops of stacks: what loops of unknown length keep, one entry for each step (see `StackType`).

A `Scan` whose length is an operand reads and writes them, and so gives everything else: their sum, a choice among them, copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.op import op
from ..core.stack import Stack
from ..core.types import ArrayType, StackType, Type, array_type, stack_type
from ..ops.families import zeros
from ..ops.reduction import ReduceMax
from .base import ControlOp

__all__ = ["Count", "StackLength", "ZeroStack", "zeros_of"]

INT = array_type((), np.dtype(np.int64))


class Plain(ControlOp):
    """An op without derivative and without programs that gives one value."""

    multiple = False
    compare_by_value = True

    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> tuple[Any, Any]:  # type: ignore[override]
        return self(*primals), lambda *tangents: None


@op
class ZeroStack(Plain):
    """The stack without entries: zero throughout."""

    element: Type

    def type_rule(self) -> StackType:
        return stack_type(self.element)

    def impl(self) -> Any:
        return Stack(stack_type(self.element))

    def batch(self, size: int, batched: Sequence[bool]) -> tuple[Any, bool]:
        return self(), False


@op
class StackLength(Plain):
    """The number of entries of a stack: beyond them it is zero."""

    def type_rule(self, x: StackType) -> ArrayType:
        return INT

    def impl(self, x: Any) -> Any:
        return np.int64(len(x.entries))

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return self(x), False


@op
class Count(Plain):
    """The stack 0, 1, ..., n-1."""

    def type_rule(self, n: ArrayType) -> StackType:
        return stack_type(INT)

    def impl(self, n: Any) -> Any:
        return Stack(stack_type(INT), list(np.arange(int(n))))

    def batch(self, size: int, batched: Sequence[bool], n: Any) -> tuple[Any, bool]:
        return self(ReduceMax((0,))(n) if size else np.int64(0)), False


def zeros_of(type: Type) -> Any:
    """Zeros of any type."""
    return ZeroStack(type.element)() if isinstance(type, StackType) else zeros(type)
