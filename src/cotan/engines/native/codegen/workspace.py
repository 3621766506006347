"""The workspace of a call: buffers with lifetimes in one block of memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from cotan.core.types import ArrayType
from cotan.engines.native.target import ALIGNMENT

__all__ = ["Buffer", "ChunkWorkspaces", "WorkspaceFrame", "padded_size"]

SMALL_BUFFERS, MANY_NODES = 1 << 12, 1 << 60


@dataclass(order=True, slots=True)
class Buffer:
    """A part of the workspace: its offset and size in bytes, and the last node that needs it."""

    offset: int
    size: int
    last: int


class ChunkWorkspaces(NamedTuple):
    """The workspaces of the chunks of a parallel loop, one after the other: where they begin, the bytes of each, the most chunks, and the
    chunks for each thread.
    """

    base: int
    nbytes: int
    most: int
    each: int

    def end(self, threads: int | None = None) -> int:
        """The end of those that so many threads use, or of all."""
        chunks = self.most if threads is None else 1 if threads <= 1 else min(self.most, threads * self.each)
        return self.base + chunks * self.nbytes


class WorkspaceFrame:
    """The buffers of one Program in the workspace, above the buffers of the Program around it."""

    def __init__(self, around: WorkspaceFrame | None):
        self.base = self.top = around.top if around is not None else 0
        self.live: list[Buffer] = []
        self.begin = self.room = 0

    def take(self, nbytes: int, now: int, last: int) -> Buffer:
        """Allocate a buffer that lives from the node ``now`` to the node ``last``. First fit."""
        nbytes = -(-nbytes // ALIGNMENT) * ALIGNMENT
        self.live = sorted(buffer for buffer in self.live if buffer.last >= now)
        offset = self.base
        for buffer in self.live:
            if buffer.offset - offset >= nbytes:
                break
            offset = max(offset, buffer.offset + buffer.size)
        found = Buffer(offset, nbytes, last)
        self.live.append(found)
        self.top = max(self.top, offset + nbytes)
        return found

    def keep(self, nbytes: int) -> Buffer:
        """Allocate a small buffer that lives to the end."""
        if nbytes > SMALL_BUFFERS:
            return self.take(nbytes, 0, MANY_NODES)
        if self.room < nbytes:
            self.begin, self.room = self.take(SMALL_BUFFERS, 0, MANY_NODES).offset, SMALL_BUFFERS
        size = -(-nbytes // 16) * 16
        found = Buffer(self.begin, size, MANY_NODES)
        self.begin, self.room = self.begin + size, self.room - size
        return found


def padded_size(type: ArrayType) -> int:
    """The size of an array in elements, padded to a cache line to avoid false sharing between chunks."""
    return -(-max(type.size, 1) * type.dtype.itemsize // ALIGNMENT) * ALIGNMENT // type.dtype.itemsize
