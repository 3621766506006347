"""What a call of compiled code returns instead of 0, and the exceptions by which the engine refuses a Program."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["NotExportableError", "Status", "UnsupportedError"]


class Status(IntEnum):
    """The statuses of a call."""

    FINE = 0
    OUT_OF_MEMORY = 1
    RAISED = 2
    """A callback into Python has raised."""
    INTERRUPTED = 4
    """The handler of a signal has raised."""
    FIRST_FAILURE = 16
    """The first failure of the call (`codegen.failures`); the others follow. Above the lowest byte is the number in the message."""
    OUT_OF_BOUNDS = 1 << 30
    """In a checked build, this plus the number of the access that has left its memory."""


class UnsupportedError(NotImplementedError):
    """A Program for which the engine has no code."""


class NotExportableError(Exception):
    """Why code cannot leave the process."""
