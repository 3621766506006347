"""Code for many sizes: one compilation serves every Program whose text is the same up to numbers.

The text of a Program is written for exact sizes, which is cheap; compiling it is not. Programs that differ in sizes alone mostly have texts
that differ in numbers alone: bounds of loops, offsets, the 1/n of a mean. When a third such text comes, a `Template` is compiled, in which
those numbers are read from a table that each call brings along. A text may use the template if all its other numbers are those of the
template, which is compared number by number: so it is the text's own code that runs, whatever the sizes mean.

Numbers that have had one value in all texts so far stay constants; numbers that have always been equal to each other share an entry.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Text", "split"]

TEXTS_BEFORE = 3
"""So many texts that differ in numbers alone are worth a template."""
NUMBER = re.compile(r"(?<![\w.%@\"$-])(?:0x[0-9A-F]{16}|-?\d+)(?![\w.\"$])")
TYPE = re.compile(r"(?<![\w.%@])(i\d+|double|float|half|ptr)(?![\w.])")
FIXED = re.compile(r"^\s*(?:%v\d+ = alloca|declare|define|@|!|switch)|^[\w.]+:|= (?:extractvalue|insertvalue|shufflevector)")
"""Lines whose numbers belong to what the text is, and are not values."""
REPLACED = {"i64": "i64", "i32": "i32", "double": "double", "float": "float"}


class Text(NamedTuple):
    """A text as a skeleton and the numbers that fill it, each with its type."""

    skeleton: str
    numbers: tuple[str, ...]
    types: tuple[str, ...]


def split(text: str) -> Text:
    """The numbers of a text that are values of instructions, and the rest."""
    rows: list[str] = []
    numbers: list[str] = []
    types: list[str] = []
    for row in text.split("\n"):
        if FIXED.search(row) or not NUMBER.search(row):
            rows.append(row)
            continue
        body, note = (row.split(", !", 1) + [""])[:2] if ", !" in row else (row, None)
        parts: list[str] = []
        end = 0
        for found in NUMBER.finditer(body):
            type = type_before(body, found.start())
            if type not in REPLACED:
                continue
            parts += [body[end : found.start()], "\0"]
            end = found.end()
            numbers.append(found.group())
            types.append(type)
        parts.append(body[end:])
        rows.append("".join(parts) + (f", !{note}" if note is not None else ""))
    return Text("\n".join(rows), tuple(numbers), tuple(types))


def type_before(row: str, at: int) -> str:
    """The type that a number in a line has: the last one that is named before it."""
    named = TYPE.findall(row, 0, at)
    return named[-1] if named else ""
