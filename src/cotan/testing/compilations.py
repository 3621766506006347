"""assert_compiles: how often jitted functions are staged and compiled in a block of code."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from ..api.jit import observers

__all__ = ["assert_compiles"]


@contextmanager
def assert_compiles(count: int) -> Generator[None]:
    """A context in which jitted functions are staged, and so compiled, ``count`` times in all, in any thread.

    Each new signature of a jitted function counts: a structure, shape or dtype of arguments, or a value of a static argument, for which it
    has no code yet. So ``assert_compiles(0)`` around the second round of a loop shows that no size varies.

    Raises:
        AssertionError: there were more or fewer. It names each function that was staged, and why.

    >>> import cotan, numpy as np
    >>> f = cotan.jit(lambda x: x * 2.0)
    >>> with cotan.testing.assert_compiles(1):
    ...     y = [f(np.ones(3)) for _ in range(10)]
    """
    found: list[str] = []
    observers.append(found.append)
    try:
        yield
    finally:
        observers.remove(found.append)
    if len(found) != count:
        names = "".join(f"\n  {line}" for line in found)
        raise AssertionError(f"assert_compiles: {len(found)} compilations, not {count}.{names}")
