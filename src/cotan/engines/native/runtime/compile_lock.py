"""The compile lock, and lazy singletons: objects that are made at their first use, one in a process.

Compiled code refers by address to the singletons of the runtime: the thread pool, the trampoline, the check for signals. If two threads
each made one at the same moment, one of the two would be freed under code that uses it. So one thread compiles at a time; LLVM, as llvmlite
offers it, allows no more anyway. A fork waits until the lock is free, since the child has no thread that would release it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import RLock
from typing import Generic, ParamSpec, TypeVar

__all__ = ["compile_lock", "lazy_singleton"]

P = ParamSpec("P")
T = TypeVar("T")
compile_lock = RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=compile_lock.acquire, after_in_parent=compile_lock.release, after_in_child=compile_lock.release)


class lazy_singleton(Generic[P, T]):  # noqa: N801 - a decorator
    """A function that runs at its first call only; every later call, in any thread, returns the result of the first."""

    def __init__(self, make: Callable[P, T]):
        self.make = make
        self.found: list[T] = []

    @property
    def done(self) -> bool:
        """Whether the object exists."""
        return bool(self.found)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        if not self.found:
            with compile_lock:
                if not self.found:
                    self.found.append(self.make(*args, **kwargs))
        return self.found[0]
