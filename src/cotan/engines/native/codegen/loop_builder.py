"""The loop builder: loops over indices and blocks, and functions of their own, for kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cotan.engines.native.affine import ElementIndex, Index, variable
from cotan.engines.native.llvm.builder import NOT_UNROLLED, Function, Line
from cotan.engines.native.scalar.expression import Scalar

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

    def independent(self, count: int, body: Callable[[Index | int], None]) -> None:
        """`vectorized`, and LLVM is told that no k reads what another one writes: straight-line code of any length, at computed places."""
        if count == 1:
            with self.code.scope():
                return body(0)
        module, code = self.context.module, self.code
        group = f"!{module.node('distinct !{}')}"

        def one(k: str) -> None:
            written, code.lines = code.lines, []
            body(variable(k, count))
            written += [in_group(line, group) for line in code.lines]
            code.lines = written

        note = module.loop_note(NOT_UNROLLED, f'!{{!"llvm.loop.parallel_accesses", {group}}}')
        return code.loop(str(count), one, note=note)

    def repeat(self, most: int, more: Callable[[], Scalar], body: Callable[[], None]) -> None:
        """``body()`` while the condition holds, at most ``most`` times."""
        code = self.code
        head, inside, after, before = code.label(), code.label(), code.label(), code.block
        code.jump(head)
        code.start(head)
        k, following = code.module.name("i64"), code.module.name("i64")
        phi = code.later()
        with code.scope():
            few = code.value("i1", f"icmp slt i64 {k}, {most}")
            code.branch(code.value("i1", f"and i1 {few}, {more().register}"), inside, after)
            code.start(inside)
            body()
        code.line(f"{following} = add nuw nsw i64 {k}, 1")
        phi.append(f"  {k} = phi i64 [0, %{before}], [{following}, %{code.block}]")
        code.jump(head)
        code.start(after)

    def when(self, condition: Scalar, body: Callable[[], None]) -> None:
        """``body()`` where the condition holds."""
        code = self.code
        yes, on = code.label(), code.label()
        code.branch(condition.register, yes, on)
        code.start(yes)
        with code.scope():
            body()
        code.jump(on)
        code.start(on)

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


def in_group(line: Line, group: str) -> Line:
    """A line of straight-line code; if it reads or writes memory, as an access of a group."""
    if not isinstance(line, str):
        return [in_group(x, group) for x in line]
    return f"{line}, !llvm.access.group {group}" if " = load " in line or line.startswith("  store ") else line


def unravelled(k: Index | int, shape: Sequence[int]) -> ElementIndex:
    """The index of an element from its number in row-major order."""
    index: list[Index | int] = []
    for n in reversed(shape):
        index.append(k % n)
        k = k // n
    return tuple(reversed(index))
