"""The target of a module: where its code will run, on how many processors, and how its data is aligned."""

from __future__ import annotations

import os
from enum import Enum, auto

__all__ = ["ALIGNMENT", "Target", "processors"]

ALIGNMENT = 64
"""The alignment in bytes of the workspace, of its buffers, and of the arrays in a module: a cache line, and the longest vector register."""


class Target(Enum):
    """Where code runs, and so which functions it finds outside of its module."""

    IN_PROCESS = auto()
    """In this process: the runtime library, and libraries by their addresses here."""
    STANDALONE = auto()
    """In an object file for a linker: the C library, and BLAS and LAPACK by their Fortran names, with integers of 32 bits."""


def processors() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
