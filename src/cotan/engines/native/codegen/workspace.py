"""The workspace of a call: buffers with lifetimes in one block of memory."""

from __future__ import annotations

from cotan.core.types import ArrayType
from cotan.engines.native.target import ALIGNMENT

__all__ = ["WorkspaceFrame", "padded_size"]

SMALL_BUFFERS, MANY_NODES = 1 << 12, 1 << 60


class WorkspaceFrame:
    """The buffers of one Program in the workspace, above the buffers of the Program around it."""

    def __init__(self, around: WorkspaceFrame | None):
        self.base = self.top = around.top if around is not None else 0
        self.taken: list[list[int]] = []
        self.begin = self.room = 0

    def take(self, nbytes: int, now: int, last: int) -> list[int]:
        """Allocate a buffer that lives from the node ``now`` to the node ``last``: its offset, size and last node. First fit."""
        nbytes = -(-nbytes // ALIGNMENT) * ALIGNMENT
        self.taken = sorted(t for t in self.taken if t[2] >= now)
        offset = self.base
        for start, size, _ in self.taken:
            if start - offset >= nbytes:
                break
            offset = max(offset, start + size)
        self.taken.append([offset, nbytes, last])
        self.top = max(self.top, offset + nbytes)
        return self.taken[-1]

    def keep(self, nbytes: int) -> list[int]:
        """Allocate a small buffer that lives to the end."""
        if nbytes > SMALL_BUFFERS:
            return self.take(nbytes, 0, MANY_NODES)
        if self.room < nbytes:
            self.begin, self.room = self.take(SMALL_BUFFERS, 0, MANY_NODES)[0], SMALL_BUFFERS
        size = -(-nbytes // 16) * 16
        found = [self.begin, size, MANY_NODES]
        self.begin, self.room = self.begin + size, self.room - size
        return found


def padded_size(type: ArrayType) -> int:
    """The size of an array in elements, padded to a cache line to avoid false sharing between chunks."""
    return -(-max(type.size, 1) * type.dtype.itemsize // ALIGNMENT) * ALIGNMENT // type.dtype.itemsize
