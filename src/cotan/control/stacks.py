"""Ops of stacks: the values that loops of unknown length store, one entry for each step (see `StackType`).

A `Scan` whose length is an operand reads and writes stacks. So all other operations on stacks are scans (`with_each`): sums, choices,
copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.op import op
from ..core.stack import Stack
from ..core.staging import stage_flat
from ..core.tracing import type_of
from ..core.types import ArrayType, StackType, Type, array_type, stack_type
from ..ops.families import broadcast_in_dim, spread, zeros
from ..ops.logic import select
from ..ops.ordering import maximum
from ..ops.reduction import ReduceMax
from .base import ControlOp

__all__ = ["INT", "LOOPS", "Count", "StackLength", "ZeroStack", "copied", "either", "with_each", "zeros_of"]

LOOPS: list[Any] = []
"""`Scan`, once it is defined: its module imports this one."""
INT = array_type((), np.dtype(np.int64))


class Plain(ControlOp):
    """An op without derivative and without programs that returns one value."""

    multiple = False
    compare_by_value = True
    total = True

    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> tuple[Any, Any]:  # type: ignore[override]
        return self(*primals), lambda *tangents: None


@op
class ZeroStack(Plain):
    """The stack without entries; reads of it give zero."""

    entry: Type

    def type_rule(self) -> StackType:
        return stack_type(self.entry)

    def impl(self) -> Any:
        return Stack(stack_type(self.entry))

    def batch(self, size: int, batched: Sequence[bool]) -> tuple[Any, bool]:
        return self(), False


@op
class StackLength(Plain):
    """The number of entries of a stack; further entries read as zero."""

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


def either(condition: Any, yes: Any, no: Any) -> Any:
    """One of two values of one type, by a scalar condition."""
    if isinstance(type_of(yes), StackType):
        return with_each(either, (condition,), (yes, no), linear=True)
    return select(condition, yes, no) if not (shape := type_of(yes).shape) else select(broadcast_in_dim(condition, shape, ()), yes, no)


def copied(x: Any, size: int) -> Any:
    """A value of any type, copied to each example of a batch."""
    if isinstance(type_of(x), StackType):
        return with_each(lambda entry: copied(entry, size), (), (x,), linear=True)
    return spread(x, size)


def element_type(stack: Any) -> Type:
    """The type of the entries of a stack."""
    t: Any = type_of(stack)
    return t.element


def with_each(function: Any, constants: Sequence[Any], stacks: Sequence[Any], *, linear: bool = False) -> Any:
    """The stack of ``function(*constants, *entries)``; ``linear`` says that the function is linear in the entries."""
    types: list[Any] = [*map(type_of, constants), *[element_type(s) for s in stacks]]
    body, captured = stage_flat(lambda *values: [function(*values)], types, name="each")
    assert not captured
    n = StackLength()(stacks[0])
    for other in stacks[1:]:
        n = maximum(n, StackLength()(other))
    flags = (False, *[False] * len(constants), *[True] * len(stacks)) if linear else ()
    (scan,) = LOOPS
    return scan(body, len(constants), 0, None, False, flags)(n, *constants, *stacks)[0]
