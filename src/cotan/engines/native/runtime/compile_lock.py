"""The compile lock, and lazy singletons: objects that are made once in a process, whichever threads ask for them.

Code refers by address to the singletons of the runtime: the thread pool, the trampoline, the check for signals. If two threads that compile
their first functions at the same moment made two of each, one would be freed under code that uses it. So one thread compiles at a time;
LLVM, as llvmlite offers it, does so anyway. A fork waits until it is done, for the child has no thread that would end it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import RLock
from typing import Generic, ParamSpec, TypeVar

__all__ = ["compile_lock", "once"]

P = ParamSpec("P")
T = TypeVar("T")
compile_lock = RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=compile_lock.acquire, after_in_parent=compile_lock.release, after_in_child=compile_lock.release)


class once(Generic[P, T]):  # noqa: N801 - a decorator
    """A function that is called once, however often and by how many threads it is asked: each gets the result of the first call."""

    def __init__(self, make: Callable[P, T]):
        self.make = make
        self.found: list[T] = []

    @property
    def done(self) -> bool:
        """Whether it was called."""
        return bool(self.found)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        if not self.found:
            with compile_lock:
                if not self.found:
                    self.found.append(self.make(*args, **kwargs))
        return self.found[0]
