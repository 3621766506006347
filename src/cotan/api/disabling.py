"""`disable_jit`: jitted functions and loops run as plain Python, so that a debugger steps through them with values."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any

from ..core.tracing import EVAL, current_trace

__all__ = ["SOMEWHERE", "disable_jit", "jit_is_disabled", "runs_as_python"]

SOMEWHERE = [0]
"""The number of these contexts, of all threads: where there is none, a call needs to look no further."""
_lock = Lock()
_disabled: ContextVar[bool] = ContextVar("jit is disabled", default=False)


@contextmanager
def disable_jit(disable: bool = True) -> Generator[None]:
    """Within this context, `jit` does nothing, and loops of `cotan.lax` run step by step in Python, under derivatives too: ``print``,
    ``breakpoint()`` and a debugger see the value of each step. (`cond` and `switch` run so wherever the value is known.)

    Args:
        disable: False turns compiling on again inside such a context.

    A while loop under `vmap` is staged as ever, since its condition has many values.

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
    token = _disabled.set(disable)
    with _lock:
        SOMEWHERE[0] += 1
    try:
        yield
    finally:
        with _lock:
            SOMEWHERE[0] -= 1
        _disabled.reset(token)


jit_is_disabled = _disabled.get


def runs_as_python() -> bool:
    """Whether loops run step by step, whatever transforms their values: they are not being staged."""
    if not _disabled.get():
        return False
    trace: Any = current_trace()
    while hasattr(trace, "parent"):
        trace = trace.parent
    return trace is EVAL
