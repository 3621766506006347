"""Garbage collection waits while a program is traced and written.

That makes many objects which all stay alive, and Python's collector would look through them again and again: a third of the time of
tracing a long program. When the last pause ends, the collector is as it was, and its next run looks at all of them once; at those that
last, only its next run over all objects.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["no_collection"]

_lock = threading.Lock()
_pauses = 0
_resumes = False
"""Whether the collector was running before the first pause that has not ended."""


@contextmanager
def no_collection(*, lasting: bool = False) -> Generator[None]:
    """The collector does not run by itself until this, and all others that have begun meanwhile in any thread, have ended. Where what is
    made is ``lasting``, it is in the oldest generation then.
    """
    global _pauses, _resumes
    with _lock:
        if not _pauses:
            _resumes = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _lock:
            _pauses -= 1
            if not _pauses and _resumes:
                if lasting and not gc.get_freeze_count():
                    gc.freeze()
                    gc.unfreeze()
                gc.enable()
