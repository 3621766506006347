"""The memory that is kept for results of compiled code."""

from __future__ import annotations

from .. import engines

__all__ = ["release_memory"]


def release_memory() -> int:
    """Give the memory that is kept for large results back to the system.

    The memory of a large result of compiled code (half a megabyte or more) that is needed no more is kept for the next results of about its
    size: at most 256 MB or a sixteenth of the memory of the machine, or as many bytes as the environment variable COTAN_KEEP_BYTES says (0
    for none), which is read when the first such result is made. Results that are alive are not touched.

    Returns:
        how many bytes were kept.

    >>> import cotan
    >>> freed = cotan.release_memory()
    >>> cotan.release_memory()
    0
    """
    return engines.release_memory()
