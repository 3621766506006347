"""What is made once in a process, whichever threads ask for it, and the lock under which code is made.

Code refers by address to what was made for it: the pool of threads, the launcher, the check for signals. If two threads that compile their
first functions at the same moment made two of each, one would be freed under code that uses it. So compiling is done by one thread at a
time; LLVM, as llvmlite offers it, does so anyway. A fork waits until it is done, for the child has no thread that would end it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import RLock
from typing import Generic, TypeVar

__all__ = ["compiling", "once"]

T = TypeVar("T")
compiling = RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=compiling.acquire, after_in_parent=compiling.release, after_in_child=compiling.release)


class once(Generic[T]):  # noqa: N801 - a decorator
    """A function without arguments that is called once, however often and by how many threads it is asked."""

    def __init__(self, make: Callable[[], T]):
        self.make = make
        self.found: list[T] = []

    @property
    def done(self) -> bool:
        """Whether somebody has asked for it."""
        return bool(self.found)

    def __call__(self) -> T:
        if not self.found:
            with compiling:
                if not self.found:
                    self.found.append(self.make())
        return self.found[0]
