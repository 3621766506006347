"""One way of printing: what has a text shows it everywhere, in a REPL and a notebook too."""

from __future__ import annotations

__all__ = ["Printed"]


class Printed:
    """The base of Programs, plans and reports: ``repr`` is the text that ``print`` shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
