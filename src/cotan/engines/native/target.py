"""The target of a module: where its code will run."""

from __future__ import annotations

from enum import Enum, auto

__all__ = ["Target"]


class Target(Enum):
    """Where code runs, and so which functions it finds outside of its module."""

    IN_PROCESS = auto()
    """In this process: the runtime library, and libraries by their addresses here."""
    STANDALONE = auto()
    """In an object file for a linker: the C library, and BLAS and LAPACK by their Fortran names, with integers of 32 bits."""
