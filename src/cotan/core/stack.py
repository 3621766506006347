"""`Stack`: the value of a `StackType`, one entry for each step that a loop has taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .tracing import TYPE_READERS
from .types import StackType, Type

__all__ = ["Stack", "zero_value"]


class Stack:
    """Entries of one type; beyond them, it is zero."""

    __slots__ = ("entries", "type")

    def __init__(self, type: StackType, entries: Sequence[Any] = ()):
        self.type, self.entries = type, entries

    def rows(self, count: int) -> Sequence[Any]:
        """The first ``count`` entries, or more."""
        entries = self.entries
        missing = count - len(entries)
        return [*entries, *[zero_value(self.type.element)] * missing] if missing > 0 else entries


def zero_value(type: Type) -> Any:
    """Zero of this type, as a value."""
    return Stack(type) if isinstance(type, StackType) else np.zeros(type.shape, type.dtype)[()]


TYPE_READERS[Stack] = lambda x: x.type
