"""The number of threads of compiled code."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from .. import engines
from ..core.errors import ArgumentError, teach

__all__ = ["check_threads", "num_threads", "threads"]


@contextmanager
def threads(count: int) -> Generator[None]:
    """At most ``count`` threads in compiled code, BLAS included, within a ``with`` block.

    The setting belongs to the process, as with NumPy's libraries: other Python threads see it too. ``jit(threads=n)`` sets it for a single
    function. At the start it is the environment variable COTAN_NUM_THREADS, else OMP_NUM_THREADS, else the number of processors that the
    process may use. Results are the same from run to run for a given number of threads; sums of many numbers may differ in their last
    places for another one.

    Raises:
        ArgumentError: ``count`` is no whole number from 1.

    >>> import cotan
    >>> with cotan.threads(1):
    ...     cotan.num_threads()
    1
    """
    check_threads("threads", count)
    with engines.limit_threads(count):
        yield


def num_threads() -> int:
    """The most threads that compiled code uses, unless a function has a number of its own."""
    return engines.thread_count()


def check_threads(verb: str, threads: Any) -> int:
    """A number of threads."""
    if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
        raise teach(ArgumentError, f"{verb}: {threads!r} is no number of threads.", do="give a whole number from 1.")
    return threads
