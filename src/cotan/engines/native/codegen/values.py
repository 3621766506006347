"""Values: arrays and scalars that the variables of a Program stand for while it is written.

A value gives its elements (``read``) and, if it is in memory and contiguous in row-major order, its ``pointer``.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import cache
from math import prod
from typing import Any

import numpy as np

from cotan.core.emitting import DType, Number
from cotan.core.types import ArrayType
from cotan.engines.native.affine import ElementIndex, Index, bounds, linear
from cotan.engines.native.llvm.builder import Module, register_type
from cotan.engines.native.scalar.emitter import BOOL, LlvmEmitter, Scalar

from .workspace import Buffer

__all__ = ["Constant", "Memory", "RowBlock", "Subarray", "Value", "View", "WorkspaceArray", "load", "offset_of", "store"]


class Value:
    """An array or scalar of a type."""

    type: Any
    """An ArrayType; of a `control.carries.StackValue` alone, a StackType."""

    def read(self, e: LlvmEmitter, index: ElementIndex) -> Scalar:
        raise NotImplementedError

    def pointer(self, e: LlvmEmitter) -> str | None:
        """The pointer to its elements, if it is in memory and contiguous."""
        return None

    def lies_in(self, memory: Memory) -> bool:
        """Whether it is the array that is in this memory."""
        return self is memory

    @property
    def is_row_major(self) -> bool:
        """Whether its elements are contiguous in memory in row-major order, so that one index may count them all."""
        return False


class Memory(Value):
    """An array in memory, row-major. It may be ``contracted`` along leading axes: each iteration of their loops overwrites it."""

    def __init__(self, at: str, type: ArrayType, contracted: int = 0):
        self.at, self.type, self.contracted = at, type, contracted
        self.buffer: Buffer | None = None
        """Its part of the workspace, if it is there."""

    def lies_in(self, memory: Memory) -> bool:
        return self is memory or (self.type is memory.type and not self.contracted and self.at == memory.at)

    @property
    def is_row_major(self) -> bool:
        return not self.contracted

    def forgotten(self) -> Memory:
        """The same memory as another value. The function that is being written remembers the elements that it has read of a value, so code
        that may read memory again after it has changed reads it through another value.
        """
        return copy(self)

    def read(self, e: LlvmEmitter, index: ElementIndex) -> Scalar:
        code = e.module.code
        key = (self, index)
        found = code.known(key)
        if found is None:
            shape, rest = self.type.shape[self.contracted :], index[self.contracted :]
            offset = offset_of(shape, rest)
            safe = all(low >= 0 and high < n for n, (low, high) in zip(shape, map(bounds, rest), strict=True))
            guard = None if safe else e.guard()
            if guard is not None:
                offset = e.as_index(Scalar(e.bit(guard, code.index(offset), "0", "i64"), np.dtype(np.int64)))
            found = (
                e.constant(0, self.type.dtype) if 0 in shape else load(e, self.at, self.type.dtype, e.module.within(offset, prod(shape)))
            )
            if not e.guards:
                code.remember(key, found)
        return found

    def write(self, e: LlvmEmitter, index: ElementIndex, x: Scalar) -> None:
        shape = self.type.shape[self.contracted :]
        store(e, self.at, x, e.module.within(offset_of(shape, index[self.contracted :]), prod(shape)))

    def pointer(self, e: LlvmEmitter) -> str | None:
        return None if self.contracted else self.at


class WorkspaceArray(Memory):
    """An array in the workspace. Each function that uses it computes its address."""

    def __init__(self, module: Module, workspace: str, buffer: Buffer, type: ArrayType):
        self.module, self.workspace, self.type, self.contracted = module, workspace, type, 0
        self.buffer: Buffer | None = buffer

    @property
    def at(self) -> str:  # type: ignore[override] - computed here, stored in other memory
        return self.module.home.address(self.workspace, "i8", self.buffer.offset if self.buffer else 0)


class RowBlock(Memory):
    """Some consecutive rows of each entry of an array in memory, from row ``first`` on: entries are contiguous, but not all together."""

    def __init__(self, whole: Memory, first: Index | int, type: ArrayType):
        super().__init__("", type)
        self.whole, self.first = whole, first

    is_row_major = False  # type: ignore[assignment]

    def lies_in(self, memory: Memory) -> bool:
        """Blocks have no address of their own to compare."""
        return self is memory

    def in_whole(self, index: ElementIndex) -> ElementIndex:
        return (index[0], linear([(index[1], 1), (self.first, 1)]), *index[2:])

    def read(self, e: LlvmEmitter, index: ElementIndex) -> Scalar:
        return self.whole.read(e, self.in_whole(index))

    def write(self, e: LlvmEmitter, index: ElementIndex, x: Scalar) -> None:
        self.whole.write(e, self.in_whole(index), x)

    def pointer(self, e: LlvmEmitter) -> str | None:
        return None

    def entry(self, e: LlvmEmitter, k: Index | int) -> Memory:
        """The rows of entry ``k``."""
        type = self.type.with_shape(self.type.shape[1:])
        offset = offset_of(self.whole.type.shape, self.in_whole((k, *[0] * type.ndim)))
        offset = e.module.within(offset, self.whole.type.size - type.size + 1)
        return Memory(e.module.code.address(self.whole.at, memory_type(type.dtype), offset), type)


class Constant(Value):
    """A scalar constant."""

    def __init__(self, value: Number, type: ArrayType):
        self.value, self.type = value, type

    def read(self, e: LlvmEmitter, index: ElementIndex) -> Scalar:
        return e.constant(self.value, self.type.dtype)


class Subarray(Value):
    """The part of a value under leading indices."""

    def __init__(self, whole: Value, leading: ElementIndex):
        self.whole, self.leading = whole, leading
        self.type = whole.type.with_shape(whole.type.shape[len(leading) :])

    @property
    def is_row_major(self) -> bool:
        return self.whole.is_row_major

    def read(self, e: LlvmEmitter, index: ElementIndex) -> Scalar:
        return self.whole.read(e, (*self.leading, *index))

    def pointer(self, e: LlvmEmitter) -> str | None:
        whole = self.whole.pointer(e)
        if whole is None:
            return None
        shape = self.whole.type.shape
        offset = offset_of(shape, (*self.leading, *[0] * len(self.type.shape)))
        offset = e.module.within(offset, self.whole.type.size - self.type.size + 1)
        return e.module.code.address(whole, memory_type(self.type.dtype), offset)


class View(Value):
    """A value that is read through data movement."""

    def __init__(self, type: ArrayType, at: Callable[[ElementIndex], Scalar]):
        self.type, self.at = type, at

    def read(self, e: LlvmEmitter, index: ElementIndex) -> Scalar:
        return self.at(index)


# ---- memory ---------------------------------------------------------------------------------------------------------------
@cache
def memory_type(dtype: DType) -> str:
    """The LLVM type of an element in memory."""
    if dtype.kind == "c":
        return f"[2 x {'double' if dtype.itemsize == 16 else 'float'}]"
    return "i8" if dtype.kind == "b" else register_type(dtype)


def offset_of(shape: tuple[int, ...], index: ElementIndex) -> Index | int:
    """The offset of an element in row-major order."""
    parts, size = [], 1
    for n, k in zip(reversed(shape), reversed(index), strict=True):
        parts.append((k, size))
        size *= n
    return linear(parts)


def load(e: LlvmEmitter, pointer: str, dtype: DType, offset: Index | int) -> Scalar:
    """Load an element."""
    code = e.module.code
    at = code.address(pointer, memory_type(dtype), offset)
    if dtype.kind == "c":
        part = register_type(e.part(dtype))
        other = code.pure("ptr", f"getelementptr inbounds {part}, ptr {at}, i64 1")
        return Scalar((code.value(part, f"load {part}, ptr {at}"), code.value(part, f"load {part}, ptr {other}")), dtype)
    ir_type = memory_type(dtype)
    value = code.value(ir_type, f"load {ir_type}, ptr {at}")
    return Scalar(code.pure("i1", f"icmp ne i8 {value}, 0"), BOOL) if dtype.kind == "b" else Scalar(value, dtype)


def store(e: LlvmEmitter, pointer: str, x: Scalar, offset: Index | int) -> None:
    """Store an element."""
    code = e.module.code
    at = code.address(pointer, memory_type(x.dtype), offset)
    if x.dtype.kind == "c":
        part = register_type(e.part(x.dtype))
        other = code.pure("ptr", f"getelementptr inbounds {part}, ptr {at}, i64 1")
        code.line(f"store {part} {x.value[0]}, ptr {at}")
        code.line(f"store {part} {x.value[1]}, ptr {other}")
        return
    value = code.pure("i8", f"zext i1 {x.value} to i8") if x.dtype.kind == "b" else x.value
    code.line(f"store {memory_type(x.dtype)} {value}, ptr {at}")
