"""The loop builder: loops over indices and blocks, and functions of their own, for kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cotan.engines.native.affine import ElementIndex, Index, variable
from cotan.engines.native.llvm.builder import NOT_UNROLLED, Function

from .context import ModuleContext

__all__ = ["LoopBuilder", "unravelled"]


class LoopBuilder:
    """Writes loops at the insertion point."""

    def __init__(self, context: ModuleContext):
        self.context, self.emitter = context, context.e

    @property
    def code(self) -> Function:
        return self.context.module.code

    def every(self, shape: Sequence[int], body: Callable[[ElementIndex], None]) -> None:
        """``body(index)`` for every index below ``shape``, in order. Axes of one element take no loop."""
        code = self.code

        def level(rest: tuple[int, ...], index: ElementIndex) -> None:
            if not rest:
                body(index)
            elif rest[0] == 1:
                level(rest[1:], (*index, 0))
            else:
                code.loop(rest[0], lambda k: level(rest[1:], (*index, variable(k, rest[0]))))

        if 0 not in shape:
            level(tuple(shape), ())

    def outlined(self, write: Callable[[], None]) -> None:
        """Outline the code of ``write``: loops without calls."""
        self.context.outlined(write)

    def vectorized(self, count: int, body: Callable[[Index | int], None]) -> None:
        """``body(k)`` for every k below ``count``, one k in each lane of a vector."""
        if count <= 2:
            for k in range(count):
                body(k)
        else:
            self.code.loop(str(count), lambda k: body(variable(k, count)), note=self.context.module.loop_note(NOT_UNROLLED))

    def block_start(self, k: Index | int, size: int, side: int) -> Index | int:
        """The start of block ``k`` of an axis of ``size`` elements. All blocks have ``side`` elements, so the last may overlap the one
        before.
        """
        first = k * side
        if size % side == 0:
            return first
        wanted = self.code.index(first)
        late = self.code.value("i1", f"icmp sgt i64 {wanted}, {size - side}")
        return variable(self.code.value("i64", f"select i1 {late}, i64 {size - side}, i64 {wanted}"), size - side + 1)


def unravelled(k: Index | int, shape: Sequence[int]) -> ElementIndex:
    """The index of an element from its number in row-major order."""
    index: list[Index | int] = []
    for n in reversed(shape):
        index.append(k % n)
        k = k // n
    return tuple(reversed(index))
