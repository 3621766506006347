"""Stacks that calls take and give: what compiled loops of unknown length keep, held by Python from one call to the next.

The halves of a linearized loop, called apart, hand stacks to each other. For code a stack is two words, the address of its entries and how
many there are, so it goes in and out as an array of two integers (`at_call`). Entries lie in blocks from the heap. A call that gives stacks
does not free its blocks but gives their list, as one more result, to a `HeapBlocks`, which frees them when no stack refers to it; it refers
to what the call was given, since entries may lie there. Entries that Python has made are copied into arrays first.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from cotan.core.emitting import DType
from cotan.core.stack import Stack
from cotan.core.tracing import TYPE_READERS
from cotan.core.types import ArrayType, StackType, Type, array_type

from .compile_lock import lazy_singleton
from .symbols import Jit

__all__ = ["HeldStack", "at_call", "holds_stacks", "with_stacks"]

INT = np.dtype(np.int64)
FORMULAS, HEAD = array_type((2,), INT), array_type((1,), INT)
FREE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

TEXT = """
declare void @free(ptr)
define void @free_blocks(ptr %first) nounwind {
entry:
  br label %head
head:
  %block = phi ptr [%first, %entry], [%following, %turn]
  %none = icmp eq ptr %block, null
  br i1 %none, label %done, label %turn
turn:
  %following = load ptr, ptr %block
  call void @free(ptr %block)
  br label %head
done:
  ret void
}
"""
"""Each block begins with the address of the next (`Generator.allocate`)."""


def holds_stacks(types: Iterable[Type]) -> bool:
    """Whether there are stacks among values of these types."""
    return any(type(t) is StackType for t in types)


def at_call(types: Sequence[Type], *, given: bool = False) -> list[ArrayType]:
    """The types of arguments as code takes them; or, if ``given``, of results, with the list of blocks behind them."""
    found = [FORMULAS if isinstance(t, StackType) else t for t in types]
    return [*found, HEAD] if given and holds_stacks(types) else found


@lazy_singleton
def free_blocks(jit: Jit) -> Callable[[int], None]:
    """The function that frees a list of blocks."""
    return FREE(jit.compile(TEXT, ["free_blocks"], 0, forever=True)["free_blocks"])


class HeapBlocks:
    """Memory that a call took from the heap, and what else its stacks point to."""

    __slots__ = ("first", "free", "kept")

    def __init__(self, first: int, kept: Sequence[Any], free: Callable[[int], None]):
        self.first, self.kept, self.free = first, kept, free

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if self.first and not ending():
            self.free(self.first)


class EntryView:
    """The entries of a stack as NumPy asks for them; arrays that are made of it keep the blocks."""

    __slots__ = ("__array_interface__", "blocks")

    def __init__(self, address: int, shape: tuple[int, ...], dtype: DType, blocks: Any):
        self.blocks = blocks
        self.__array_interface__ = {"version": 3, "data": (address, True), "shape": shape, "typestr": dtype.str}


class HeldStack(Stack):
    """A stack that compiled code has made: two words, and the blocks that they point into. Its entries become arrays when they are read."""

    __slots__ = ("blocks", "words")

    def __init__(self, type: StackType, words: np.ndarray[Any, Any], blocks: Any):
        self.type, self.words, self.blocks = type, words, blocks

    @property
    def entries(self) -> Sequence[Any]:  # type: ignore[override]
        address, count = map(int, self.words)
        element = self.type.element
        if isinstance(element, StackType):
            return [HeldStack(element, words, self.blocks) for words in self.rows_at(address, (count, 2), INT)]
        if not count or not element.nbytes:
            return list(np.zeros((count, *element.shape), element.dtype))
        return list(self.rows_at(address, (count, *element.shape), element.dtype))

    def __reduce__(self) -> Any:
        return Stack, (self.type, self.entries)  # copies and pickles have entries of their own

    def rows_at(self, address: int, shape: tuple[int, ...], dtype: DType) -> np.ndarray[Any, Any]:
        return np.asarray(EntryView(address, shape, dtype, self.blocks)) if shape[0] else np.zeros(shape, dtype)


TYPE_READERS[HeldStack] = lambda x: x.type


def words_of(stack: Stack, kept: list[Any]) -> np.ndarray[Any, Any]:
    """A stack as code takes it. ``kept`` gets what has to live as long as the words are used."""
    if type(stack) is HeldStack:
        kept.append(stack.blocks)
        return stack.words
    element, count = stack.type.element, len(stack.entries)
    if isinstance(element, StackType):
        rows = np.zeros((count, 2), INT)
        for row, entry in zip(rows, stack.entries, strict=True):
            row[...] = words_of(entry, kept)
    else:
        rows = np.empty((count, *element.shape), element.dtype)
        for k, entry in enumerate(stack.entries):
            rows[k] = entry
    kept.append(rows)
    return np.array([rows.ctypes.data, count], INT)


def with_stacks(
    launch: Callable[..., Any], given: Sequence[Type], results: Sequence[Type], free: Callable[[int], None]
) -> Callable[..., Any]:
    """``launch``, which takes and gives words, as a function that takes and gives stacks; ``free`` is `free_blocks`."""
    gives = holds_stacks(results)

    def call(*values: Any) -> Any:
        kept: list[Any] = []
        words = [words_of(x, kept) if isinstance(t, StackType) else x for x, t in zip(values, given, strict=True)]
        found = launch(*words)
        if not gives or type(found) is not tuple:
            return found
        *outs, head = found
        blocks = HeapBlocks(int(head[0]), kept, free)
        return tuple(
            [HeldStack(t, y.view(np.ndarray), blocks) if isinstance(t, StackType) else y for y, t in zip(outs, results, strict=True)]
        )

    return call
