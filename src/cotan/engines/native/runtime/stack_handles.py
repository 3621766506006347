"""Owned stack handles: the stacks of compiled loops of unknown length, which Python owns from one call to the next.

The two halves of a linearized loop, called separately, pass stacks to each other. In compiled code a stack is a handle: the
address of its entries and their number, passed as an array of two integers (`argument_types`). Entries lie in blocks from the heap.
A call that returns stacks does not free its blocks. It returns their list, as one more result, to a `HeapBlocks`, which frees
them when no stack refers to it any more, and which keeps the arguments of the call, since entries may lie there. Entries made
by Python are copied into arrays first. `call.caller` wraps its calls in `with_stacks`.
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

__all__ = ["OwnedStack", "argument_types", "free_blocks", "holds_stacks", "result_types", "with_stacks"]

INT = np.dtype(np.int64)
HANDLE, HEAD = array_type((2,), INT), array_type((1,), INT)
"""The types of a handle, and of the address of the first block of a call."""
Array = np.ndarray[Any, DType]
FREE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

FREE_BLOCKS = """
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
"""Each block begins with the address of the next one (`codegen.context.ModuleContext`)."""


def holds_stacks(types: Iterable[Type]) -> bool:
    """Whether one of these types is of a stack."""
    return any(type(t) is StackType for t in types)


def argument_types(types: Sequence[Type]) -> list[ArrayType]:
    """The types of the arrays that compiled code takes for arguments of these types: a handle for a stack."""
    return [HANDLE if isinstance(t, StackType) else t for t in types]


def result_types(types: Sequence[Type]) -> list[ArrayType]:
    """The types of the arrays that compiled code returns for results of these types: after handles, also the list of blocks."""
    return [*argument_types(types), HEAD] if holds_stacks(types) else argument_types(types)


@lazy_singleton
def free_blocks(jit: Jit) -> Callable[[int], None]:
    """The function that frees a list of blocks, by the address of the first."""
    return FREE(jit.compile(FREE_BLOCKS, ["free_blocks"], 0, forever=True)["free_blocks"])


class HeapBlocks:
    """The heap blocks of a call, and the arrays to which its stacks refer beside them."""

    __slots__ = ("first", "free", "kept")

    def __init__(self, first: int, kept: Sequence[object], free: Callable[[int], None]):
        self.first, self.kept, self.free = first, kept, free

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if self.first and not ending():
            self.free(self.first)


class EntryView:
    """The entries of a stack by NumPy's array interface; arrays made of it keep the blocks alive."""

    __slots__ = ("__array_interface__", "blocks")

    def __init__(self, address: int, shape: tuple[int, ...], dtype: DType, blocks: HeapBlocks):
        self.blocks = blocks
        self.__array_interface__ = {"version": 3, "data": (address, True), "shape": shape, "typestr": dtype.str}


class OwnedStack(Stack):
    """A stack made by compiled code: its handle, and the blocks to which it points. Entries become arrays when they are read."""

    __slots__ = ("blocks", "handle")

    def __init__(self, type: StackType, handle: Array, blocks: HeapBlocks):
        self.type, self.handle, self.blocks = type, handle, blocks

    @property
    def entries(self) -> Sequence[Any]:  # type: ignore[override]
        address, count = map(int, self.handle)
        element = self.type.element
        if isinstance(element, StackType):
            return [OwnedStack(element, handle, self.blocks) for handle in self.rows_at(address, (count, 2), INT)]
        if not count or not element.nbytes:
            return list(np.zeros((count, *element.shape), element.dtype))
        return list(self.rows_at(address, (count, *element.shape), element.dtype))

    def __reduce__(self) -> tuple[type[Stack], tuple[StackType, Sequence[Any]]]:
        return Stack, (self.type, self.entries)  # copies and pickles have entries of their own

    def rows_at(self, address: int, shape: tuple[int, ...], dtype: DType) -> Array:
        return np.asarray(EntryView(address, shape, dtype, self.blocks)) if shape[0] else np.zeros(shape, dtype)


TYPE_READERS[OwnedStack] = lambda x: x.type


def handle_of(stack: Stack, kept: list[object]) -> Array:
    """The handle of a stack. ``kept`` receives the objects that must live as long as the handle is used."""
    if isinstance(stack, OwnedStack):
        kept.append(stack.blocks)
        return stack.handle
    element, count = stack.type.element, len(stack.entries)
    if isinstance(element, StackType):
        rows = np.zeros((count, 2), INT)
        for row, entry in zip(rows, stack.entries, strict=True):
            row[...] = handle_of(entry, kept)
    else:
        rows = np.empty((count, *element.shape), element.dtype)
        for k, entry in enumerate(stack.entries):
            rows[k] = entry
    kept.append(rows)
    return np.array([rows.ctypes.data, count], INT)


def with_stacks(
    launch: Callable[..., Any], given: Sequence[Type], results: Sequence[Type], free: Callable[[int], None]
) -> Callable[..., Any]:
    """``launch``, which takes and returns handles, as a function that takes and returns stacks; ``free`` is `free_blocks`."""
    gives = holds_stacks(results)

    def call(*values: Any) -> Any:
        kept: list[object] = []
        arguments = [handle_of(x, kept) if isinstance(t, StackType) else x for x, t in zip(values, given, strict=True)]
        found = launch(*arguments)
        if not gives or type(found) is not tuple:
            return found
        *outs, head = found
        blocks = HeapBlocks(int(head[0]), kept, free)
        return tuple(
            [OwnedStack(t, y.view(np.ndarray), blocks) if isinstance(t, StackType) else y for y, t in zip(outs, results, strict=True)]
        )

    return call
