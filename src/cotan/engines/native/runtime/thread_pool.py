"""The thread pool: workers parked in a compiled loop, to which compiled code hands the chunks of its parallel loops.

Compiled code calls ``cotan_parallel(function, context, chunks, threads, small)``, which returns when ``function`` has run on
every chunk. The caller takes chunks too, so it never waits for a worker to wake up; a worker polls for the next job for some
microseconds before it sleeps. The division into chunks is fixed and only the thread of a chunk is not: results depend on the
number of threads alone.

The pool serves one caller at a time. A caller that finds it taken (by another Python thread, or because a chunk is parallel
itself) runs its chunks alone. Workers are started when they are first needed; a child process after a fork has none and
starts its own. `llvm.parallel_for` calls the pool; `thread_pool_ir` is its code.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Generator
from contextlib import contextmanager

from cotan.engines.native.target import processors

from .compile_lock import lazy_singleton
from .symbols import Jit, runtime_symbol
from .thread_pool_ir import MOST_CHUNKS, POOL_BYTES, SERIAL, thread_pool_ir

__all__ = ["MOST_CHUNKS", "PARALLEL", "SETTING", "count", "limited", "set_count", "start"]


def configured() -> int:
    """The number of threads by the environment: COTAN_NUM_THREADS, else OMP_NUM_THREADS, else the number of processors."""
    for name in ("COTAN_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "").split(",")[0].strip()
        if value.isdecimal() and int(value) > 0:
            return int(value)
    return processors()


@lazy_singleton
def setting() -> ctypes.c_int32:
    """The number of threads of compiled code, in the memory from which it reads it."""
    return ctypes.c_int32(configured())


class Pool:
    """The memory that workers and callers share. Compiled code refers to it and to the setting by symbols."""

    def __init__(self, jit: Jit) -> None:
        self.block = ctypes.create_string_buffer(POOL_BYTES + 64)
        self.address = ctypes.addressof(self.block) + -ctypes.addressof(self.block) % 64
        jit.add_symbol("cotan_pool", self.address)
        jit.add_symbol("cotan_threads", ctypes.addressof(setting()))
        # Not optimized: LLVM would take seven times as long, and the code no less, since it waits for the memory that threads share.
        for name, address in jit.compile(thread_pool_ir(), ["cotan_parallel", "cotan_reset_pool"], 0).items():
            if name == "cotan_parallel":
                jit.add_symbol(name, address)
            else:
                self.reset = ctypes.CFUNCTYPE(None)(address)
        self.reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.reset)


@lazy_singleton
def start(jit: Jit) -> Pool:
    """The pool, made known to compiled code."""
    return Pool(jit)


def count() -> int:
    """The number of threads of compiled code."""
    return int(setting().value)


def set_count(threads: int) -> None:
    """Set the number of threads of compiled code in the whole process."""
    setting().value = threads


@contextmanager
def limited(threads: int) -> Generator[None]:
    """A context in which compiled code uses so many threads, in the whole process."""
    before = count()
    set_count(threads)
    try:
        yield
    finally:
        set_count(before)


PARALLEL = runtime_symbol(
    "cotan_parallel",
    "declare void @cotan_parallel(ptr, ptr, i32, i32, i1)",
    make_known=start,
    standalone=SERIAL,
)
"""Runs the chunks of a job on the pool."""
SETTING = runtime_symbol(
    "cotan_threads", "@cotan_threads = external global i32", make_known=start, standalone="@cotan_threads = internal global i32 1"
)
"""The number of threads of the process."""
