"""Iterations that threads share: each chunk of them has a workspace of its own, and totals of its own, which are added up afterwards."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from cotan.core.types import ArrayType, array_type
from cotan.engines.native.codegen.partials import PartialResults
from cotan.engines.native.codegen.program import ProgramLowering
from cotan.engines.native.codegen.values import Memory, WorkspaceArray
from cotan.engines.native.codegen.workspace import MANY_NODES, Buffer, ChunkWorkspaces, WorkspaceFrame
from cotan.engines.native.target import Target

__all__ = ["Chunk", "clear", "in_chunks"]

Chunk = Callable[[str, str, list[Memory], WorkspaceFrame], None]
"""``write(first, end, totals, frame)``: the code of the iterations from ``first`` to before ``end``, which adds to these totals and takes
memory from this frame.
"""


def in_chunks(lowering: ProgramLowering, name: str, count: int, totals: Sequence[ArrayType], write: Chunk) -> Callable[[Memory, int], None]:
    """Write ``count`` iterations in chunks; the totals of each chunk begin with zeros. What is returned adds total ``k`` of every chunk to
    an array.
    """
    context, options = lowering.context, lowering.options
    each = options.workspaces_per_thread
    most = min(options.chunk_workspaces, count)
    if context.module.target is Target.IN_PROCESS:
        most = min(most, each * options.threads)
    own: list[Buffer] = []

    def chunk(first: str, end: str, number: str) -> None:
        with area.of_chunk(number):
            own.extend(area.frame.take(t.nbytes, 0, MANY_NODES) for t in totals)
            mine = [context.in_workspace(t, buffer) for t, buffer in zip(totals, own, strict=True)]
            clear(lowering, mine)
            write(first, end, mine, area.frame)

    area = ChunkArea(lowering, most, each)
    with context.blas_threads(one=True):
        chunks = context.parallel_for(name, count, most, chunk, small=False, each=each, nest=False)

    def add_total(target: Memory, k: int) -> None:
        rows = array_type((most, area.nbytes // target.type.dtype.itemsize), target.type.dtype)
        parts = PartialResults(lowering, target.type, most, WorkspaceArray(context.module, context.workspace, own[k], rows))
        context.outlined(lambda: parts.combine(chunks, target, lambda old, x: lowering.e.math("add", old, x)))

    return add_total


class ChunkArea:
    """The workspaces of the chunks of a parallel loop, one after the other, above the frame around the loop."""

    def __init__(self, lowering: ProgramLowering, most: int, each: int):
        self.context, self.most, self.each, self.nested = lowering.context, most, each, lowering.context.in_chunk
        self.frame = WorkspaceFrame(lowering.frame)
        self.nbytes = 0
        """The bytes of one of them, once the code of a chunk is written."""

    @contextmanager
    def of_chunk(self, number: str) -> Generator[None]:
        """A context whose code takes memory from the workspace of this chunk."""
        context = self.context
        code = context.module.code
        outer, bytes_before = context.workspace, context.workspace_bytes
        place, context.workspace, context.workspace_bytes = code.later(), context.module.name("ptr"), 0
        context.frames.append(self.frame)
        yield
        context.frames.pop()
        self.nbytes = max(context.workspace_bytes, self.frame.top) - self.frame.base
        with code.at(place):
            offset = context.module.name("i64")
            code.line(f"{offset} = mul i64 {number}, {self.nbytes}")
            code.line(f"{context.workspace} = getelementptr i8, ptr {outer}, i64 {offset}")
        context.workspace, context.workspace_bytes = outer, bytes_before
        all_chunks = ChunkWorkspaces(self.frame.base, self.nbytes, self.most, self.each)
        if self.nested:
            context.workspace_bytes = max(bytes_before, all_chunks.end())
        else:
            context.chunk_workspaces.append(all_chunks)


def clear(lowering: ProgramLowering, totals: Sequence[Memory]) -> None:
    """Set all elements of arrays to zero."""
    for total in totals:
        zero = lowering.e.constant(0, total.type.dtype)
        lowering.context.outlined(lambda: lowering.context.every(total.type.shape, lambda i: total.write(lowering.e, i, zero)))  # noqa: B023 - used at once
