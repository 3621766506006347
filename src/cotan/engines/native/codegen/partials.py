"""Partial results: the chunks of a parallel loop reduce into memory of their own, and their results are combined in order afterwards.

So results depend on the number of chunks, and on nothing else. The parts of two chunks share no cache line.
"""

from __future__ import annotations

from collections.abc import Callable

from cotan.core.types import ArrayType, array_type
from cotan.engines.native.affine import ElementIndex, variable
from cotan.engines.native.scalar.expression import Scalar

from .elements import ElementLowering
from .values import Memory, memory_type, offset_of
from .workspace import padded_size

__all__ = ["PartialResults"]


class PartialResults:
    """An array of one type for each of at most ``most`` chunks: each is the beginning of a row of ``memory``, or is in new memory."""

    def __init__(self, lowering: ElementLowering, type: ArrayType, most: int, memory: Memory | None = None):
        self.lowering, self.type, self.most = lowering, type, most
        self.memory = memory or lowering.workspace_array(array_type((most, padded_size(type)), type.dtype))
        self.span = self.memory.type.shape[1]

    def own(self, chunk: str) -> Memory:
        """The array of a chunk."""
        code, module = self.lowering.code, self.lowering.context.module
        start = module.within(variable(chunk, self.most) * self.span, self.memory.type.size - self.type.size + 1)
        return Memory(code.address(self.memory.at, memory_type(self.type.dtype), start), self.type)

    def combine(self, chunks: str, target: Memory, step: Callable[[Scalar, Scalar], Scalar]) -> None:
        """Write ``target = step(target, part)``, element by element, for the parts of so many chunks in order."""
        lowering, e = self.lowering, self.lowering.e

        def element(chunk: str, index: ElementIndex) -> None:
            x = self.memory.read(e, (variable(chunk, self.most), offset_of(self.type.shape, index)))
            old = target.forgotten().read(e, index)
            target.write(e, index, step(old, x))

        lowering.code.loop(chunks, lambda chunk: lowering.context.every(self.type.shape, lambda i: element(chunk, i)))
