"""`disable_jit`: jitted functions and loops run as plain Python, so that a debugger steps through them with values."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any

from ..core.tracing import EVAL, current_trace

__all__ = ["SOMEWHERE", "disable_jit", "is_staging", "jit_is_disabled", "runs_as_python"]

SOMEWHERE = [0]
"""The number of these contexts, of all threads: where there is none, a call needs to look no further."""
_lock = Lock()


class Entry:
    """One of these contexts that was entered: whether it disables, and whether it is left."""

    __slots__ = ("disable", "left")

    def __init__(self, disable: bool):
        self.disable, self.left = disable, False


_entries: ContextVar[tuple[Entry, ...]] = ContextVar("contexts of disable_jit", default=())
"""The contexts of this thread or task, the last one entered at the end. One leaves by itself: generators may leave in any order, and one
that the garbage collector closes may do so in another thread."""


@contextmanager
def disable_jit(disable: bool = True) -> Generator[None]:
    """Within this context, `jit` and `checkpoint` do nothing, and loops of `cotan.lax` run step by step in Python, under derivatives too:
    ``print``, ``breakpoint()`` and a debugger see the value of each step. (`cond` and `switch` run so wherever the value is known.)

    Args:
        disable: False turns compiling on again inside such a context.

    What has many values is staged as ever: under `vmap`, a while loop whose value is batched, and the branches of a `cond` or `switch`,
    with the loops in them. So is what `stage`, `explain` and `why_nan` run.

    >>> import cotan
    >>> seen = []
    >>> def step(c, x):
    ...     seen.append(float(x))
    ...     return c * x, None
    >>> f = cotan.jit(lambda xs: cotan.lax.scan(step, 1.0, xs)[0])
    >>> import numpy as np
    >>> with cotan.disable_jit():
    ...     f(np.array([1.0, 2.0, 3.0]))
    Array(6.)
    >>> seen
    [1.0, 2.0, 3.0]
    """
    entry = Entry(disable)
    _entries.set((*_entries.get(), entry))
    with _lock:
        SOMEWHERE[0] += 1
    try:
        yield
    finally:
        entry.left = True
        with _lock:
            SOMEWHERE[0] -= 1
        _entries.set(tuple(e for e in _entries.get() if not e.left))


def jit_is_disabled() -> bool:
    """Whether the innermost of these contexts disables jit."""
    return next((e.disable for e in reversed(_entries.get()) if not e.left), False)


def runs_as_python() -> bool:
    """Whether loops run step by step, whatever transforms their values: they are not being staged."""
    return bool(SOMEWHERE[0]) and jit_is_disabled() and not is_staging(current_trace())


def is_staging(trace: Any) -> bool:
    """Whether what runs in ``trace`` becomes a Program in the end."""
    while hasattr(trace, "parent"):
        trace = trace.parent
    return trace is not EVAL
