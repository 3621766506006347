"""The lines of a large page as numbers, of which the page's script makes elements when they are shown.

A line is a few numbers in a row: its equation of the function, its note, its form, the names that it defines and those that fill the holes
of its template. The tables to which they refer have each name, note and form once.
"""

from __future__ import annotations

import base64
import json
import sys
from array import array
from collections.abc import Hashable, Iterable, Mapping, Sequence
from os.path import basename
from typing import Any

from ..core.formula import CLOSING, OPENING, Symbol
from .fold import Place, place_of
from .formulas import Statement
from .story import Line, Stage
from .templates import Filled

__all__ = ["PageData", "Table", "note", "types_of"]

MARKS = {OPENING: -1, CLOSING: -2}
"""The marks around a residual, in the parts of a form, where other numbers are holes."""


class Table:
    """A list that has each entry once."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self.numbers: dict[Hashable, int] = {}

    def number(self, key: Hashable, entry: Any = None) -> int:
        """The number of ``key`` in the list, where it stands as ``entry`` if that is another one."""
        found = self.numbers.get(key)
        if found is None:
            found = self.numbers[key] = len(self.entries)
            self.entries.append(key if entry is None else entry)
        return found


class PageData:
    """The lines of all stages, in order; those of a program that an op holds follow the line of the op."""

    def __init__(self, stages: Sequence[Stage], shown: Sequence[Sequence[str]]):
        self.lines: list[int] = []
        self.names, self.rows, self.notes, self.forms = Table(), Table(), Table(), Table()
        self.places, self.titles, self.ops = Table(), Table(), Table()
        self.table: list[int] = []
        """The rows of the table side by side: the number of a line, or -1 - that of a title; of the line of the source, or -1 if it is that
        of the row before, -2 if it is unknown; of the op; and the depth.
        """
        self.held: dict[int, list[tuple[Stage, int, int]]] = {}
        """By the number of a line, the programs that its op holds, with the first line and the one after the last."""
        self.count = 0
        self.shown = shown
        self.number: dict[int, int] = {}
        """The number of a line, by its id."""
        self.symbols: dict[int, int] = {}
        """The number of a name, by the id of its symbol."""
        self.origins: dict[Any, int] = {}
        """The number of a note, by where a line comes from."""
        self.stages = [(f"stage-{stage.key}", *self.add(stage.lines)) for stage in stages]
        self.same = [(f"stage-{stage.key}", *self.add_statements(stage.same)) for stage in stages]

    def add(self, lines: Iterable[Line]) -> tuple[int, int]:
        first = self.count
        rows, number, origins = self.rows.numbers, self.number, self.origins
        for line in lines:
            number[id(line)] = self.count
            definition = line.definition
            row = rows.get(line.row)
            origin = definition.equations[-1].origin
            key = (id(origin.code), origin.offset, line.provenance) if origin is not None else line.provenance
            note = origins.get(key)
            self.write(
                self.rows.number(line.row) if row is None else row,
                self.note(key, line) if note is None else note,
                definition.filled,
                definition.symbols,
            )
            if line.inner:
                held = self.held[self.count - 1] = []
                held += [(inner, *self.add(inner.lines)) for inner in line.inner]
        return first, self.count

    def add_statements(self, statements: Mapping[str, Statement]) -> tuple[int, int]:
        first = self.count
        for row, it in statements.items():
            self.write(self.rows.number(row), self.notes.number(""), it.filled, it.symbols)
        return first, self.count

    def write(self, row: int, note: int, filled: Filled, defined: Sequence[Symbol]) -> None:
        template, filling = filled
        key = (template, defined[0].type) if len(defined) == 1 else (template, *[s.type for s in defined])
        form = self.forms.numbers.get(key)
        if form is None:
            parts = [encoded(part) for part in template.parts]
            form = self.forms.number(key, [parts, template.holes, len(defined), types_of(defined)])
        known = self.symbols
        found = [row, note, form]
        for s in (*defined, *filling):
            number = known.get(id(s))
            found.append(self.name(s) if number is None else number)
        self.lines += found
        self.count += 1

    def name(self, s: Symbol) -> int:
        """The number of a name."""
        number = self.symbols[id(s)] = self.names.number((s.name, s.role))
        return number

    def note(self, key: Hashable, line: Line) -> int:
        """The number of the note that says where a line comes from, which is the same for all lines that have this key."""
        found = self.origins[key] = self.notes.number(note(place_of(line), line.provenance))
        return found

    def add_row(self, row: int, place: Place | None, begins: bool, op: int, depth: int) -> None:
        """A row of the table; ``row`` is the number of a line or -1 - that of a title."""
        number = -1 if not begins else -2 if place is None else self.place(place)
        self.table += (row, number, op, depth)

    def place(self, place: Place) -> int:
        return self.places.number(place, [basename(place.file), place.function, place.number, place.text])

    def json(self, held: Mapping[int, Any]) -> str:
        """All of it; ``held`` has the programs that ops hold, by the line of the op."""
        found = {
            "lines": encoded_numbers(self.lines),
            "names": [name for name, _ in self.names.entries],
            "roles": [role for _, role in self.names.entries],
            "rows": self.rows.entries,
            "notes": self.notes.entries,
            "forms": self.forms.entries,
            "stages": self.stages,
            "same": self.same,
            "held": held,
            "shown": self.shown,
            "table": encoded_numbers(self.table),
            "places": self.places.entries,
            "titles": self.titles.entries,
            "ops": self.ops.entries,
        }
        return json.dumps(found, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def encoded_numbers(numbers: Sequence[int]) -> str:
    """Numbers as text, each in 32 bits, the lowest first."""
    found = array("i", numbers)
    if sys.byteorder == "big":
        found.byteswap()
    return base64.b64encode(found).decode()


def encoded(part: Any) -> Any:
    """A part of a template: text, the number of a hole, a mark, or text with its kind."""
    if isinstance(part, int):
        return part
    text, kind = part
    return MARKS.get(kind, text if kind in ("", "value") else [text, kind])


def note(place: Place | None, provenance: str) -> str:
    """Where a line comes from."""
    return ", ".join(filter(None, [f"{basename(place.file)}:{place.number}" if place else "", provenance]))


def types_of(symbols: Iterable[Symbol]) -> str:
    """The types of the values that a statement defines."""
    return ", ".join([str(s.type) for s in symbols if s.type is not None])
