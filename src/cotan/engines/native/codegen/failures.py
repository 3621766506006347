"""Failures: the exceptions that a call can raise, by the status that it returns."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from cotan.core.program import Program
from cotan.engines.native.status import Status

__all__ = ["Failures"]


class Failures:
    """The exceptions that a call can raise, by the status that it returns; and the library routines that it calls, by name."""

    def __init__(self) -> None:
        self.known: list[tuple[type[Exception], str]] = []
        self.ops: dict[str, list[str]] = {}
        """The names of the ops that raise with each message."""
        self.routines: dict[str, None] = {}

    def status_of(self, error: type[Exception], message: str, op: str = "") -> int:
        """The status of this exception of an op."""
        if (error, message) not in self.known:
            self.known.append((error, message))
        names = self.ops.setdefault(message, [])
        if op not in names:
            names.append(op)
        return Status.FIRST_FAILURE + min(self.known.index((error, message)), 255 - Status.FIRST_FAILURE)

    def statuses(self) -> list[tuple[int, str]]:
        """The statuses, in the lowest byte, and their messages."""
        return [
            (Status.FIRST_FAILURE + k, message.format("<the number above the lowest byte>")) for k, (_, message) in enumerate(self.known)
        ]

    def raised(self, returned: int, program: Program | None = None) -> Exception | None:
        """The exception for what a call of the code of ``program`` returned; None if that is none of them.

        A note says which line of the user it may be: that of each equation whose op raises with this message.
        """
        which, number = returned & 255, returned >> 8
        if not 0 <= which - Status.FIRST_FAILURE < len(self.known):
            return None
        error, message = self.known[which - Status.FIRST_FAILURE]
        found = error(message.format(number))
        lines = dict.fromkeys(lines_of(program, self.ops.get(message, ()))) if program is not None else {}
        if program is not None and lines:
            found.add_note(f"in the compiled {program.name}, at{' one of' if len(lines) > 1 else ''}:\n" + "\n".join(lines))
        return found


def lines_of(program: Program, names: Collection[str]) -> Iterator[str]:
    """The excerpts of the user's lines from which the equations with ops of these names come, those of loops and branches included."""
    for equation in program.equations:
        if equation.op.name in names and equation.origin is not None and equation.origin.code is not None:
            yield equation.origin.excerpt()
        for region in equation.op.regions():
            yield from lines_of(region.program, names)
