"""Code for many sizes: one compilation serves every Program whose text is the same up to numbers.

The text of a Program is written for exact sizes, which is cheap; compiling it is not. Programs that differ in sizes alone mostly have texts
that differ in numbers alone: bounds of loops, offsets, the 1/n of a mean. When a third such text comes, a `Template` is compiled, in which
those numbers are read from a table that each call brings along. A text may use the template if all its other numbers are those of the
template, which is compared number by number: so it is the text's own code that runs, whatever the sizes mean.

Numbers that have had one value in all texts so far stay constants; numbers that have always been equal to each other share an entry.
The table lies behind the functions that code calls back, at the pointer that is the last argument of ``main``.

To find the numbers of a text takes a while, and most texts are like no other. So a text is only taken apart when a second one comes with
the same `skeleton_hash`, which texts that differ in numbers alone have in common.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, NamedTuple

__all__ = ["BoundCode", "Main", "SplitIR", "Template", "split_ir", "templates"]

TEXTS_BEFORE = 3
"""So many texts that differ in numbers alone are worth a template."""
NUMBER = re.compile(r"(?<![\w.%@\"$-])(?:0x[0-9A-F]{16}|-?\d+)(?![\w.\"$])")
TYPE = re.compile(r"(?<![\w.%@])(i\d+|double|float|half|ptr)(?![\w.])")
FIXED = re.compile(r"^\s*(?:%v\d+ = alloca|declare|define|@|!|switch)|^[\w.]+:|= (?:extractvalue|insertvalue|shufflevector)")
"""Lines whose numbers belong to what the text is, and are not values."""
REPLACED = {"i64": "i64", "i32": "i32", "double": "double", "float": "float"}


class SplitIR(NamedTuple):
    """A text as a skeleton and the numbers that fill it, each with its type."""

    skeleton: str
    numbers: tuple[str, ...]
    types: tuple[str, ...]


def split_ir(text: str) -> SplitIR:
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
    return SplitIR("\n".join(rows), tuple(numbers), tuple(types))


def skeleton_hash(text: str) -> bytes:
    """What all texts of one skeleton have in common: the rest when every character that numbers consist of is left out, as a hash."""
    return hashlib.sha256(text.encode().translate(None, b"0123456789ABCDEFx-")).digest()


def type_before(row: str, at: int) -> str:
    """The type that a number in a line has: the last one that is named before it."""
    named = TYPE.findall(row, 0, at)
    return named[-1] if named else ""


class Template:
    """Code for all texts of a skeleton that differ from those given in certain numbers only.

    ``table`` is the name of the pointer to the table in every function of the text, and ``first`` the entry with which the numbers begin.
    """

    def __init__(self, texts: Sequence[SplitIR], table: str, first: int):
        self.model, self.table, self.first = texts[0], table, first
        entries: dict[tuple[str, ...], int] = {}
        self.entry_of: list[int | None] = []
        """The entry of each number, None for a constant."""
        for type, values in zip(self.model.types, zip(*[t.numbers for t in texts], strict=True), strict=True):
            varies = any(value != values[0] for value in values)
            self.entry_of.append(entries.setdefault((type, *values), len(entries)) if varies else None)
        self.count = len(entries)

    def words(self, text: SplitIR) -> list[int] | None:
        """The table of a text of this skeleton, as 64-bit words; None if the template is not its code."""
        found: list[tuple[str, str] | None] = [None] * self.count
        for number, type, entry, known in zip(text.numbers, text.types, self.entry_of, self.model.numbers, strict=True):
            if entry is None:
                if number != known:
                    return None
            elif found[entry] is None:
                found[entry] = (number, type)
            elif found[entry] != (number, type):
                return None
        return [slot_value(*pair) for pair in found if pair is not None]

    def text(self) -> str:
        """The text with its numbers read from the table."""
        rows: list[str] = []
        entries = iter(self.entry_of)
        numbers = iter(self.model.numbers)
        types = iter(self.model.types)
        for function in FUNCTION.split(self.model.skeleton):
            used: dict[int, str] = {}
            body: list[str] = []
            for row in function.split("\n"):
                parts = row.split("\0")
                filled = parts[0]
                for part in parts[1:]:
                    entry, number, type = next(entries), next(numbers), next(types)
                    if entry is not None:
                        used[entry] = type
                    filled += (number if entry is None else f"%number{entry}") + part
                body.append(filled)
            rows += self.with_loads(body, used) if used else body
        return "\n".join(rows)

    def with_loads(self, body: list[str], used: dict[int, str]) -> list[str]:
        """A function that begins with reading its numbers: where it has the table."""
        given = self.table in body[0].split("(", 1)[1] if body[0].startswith("define") else False
        start = next(k for k, row in enumerate(body) if (row == "start:" if given else row.startswith(f"  {self.table} = load")))
        loads: list[str] = []
        for entry, type in used.items():
            loads.append(f"  %place{entry} = getelementptr i64, ptr {self.table}, i64 {self.first + entry}")
            loads.append(f"  %number{entry} = load {type}, ptr %place{entry}")
        return [*body[: start + 1], *loads, *body[start + 1 :]]


FUNCTION = re.compile(r"\n(?=define )")


def slot_value(number: str, type: str) -> int:
    """A number as the word that is read as it."""
    if type in ("double", "float"):
        (exact,) = struct.unpack("<d", int(number, 16).to_bytes(8, "little"))
        form = "<d" if type == "double" else "<f4x"
        return int.from_bytes(struct.pack(form, exact), "little", signed=True)
    return int(number)


class Main(NamedTuple):
    """Where code is, which is there as long as somebody has its owner."""

    address: int
    owner: Any


class BoundCode(NamedTuple):
    """Code, and the numbers that it reads from its table."""

    main: Main
    words: tuple[int, ...]


class Family:
    """The texts of one skeleton: those that were compiled as they are, and the template, once there is one."""

    def __init__(self) -> None:
        self.exact: OrderedDict[tuple[str, ...], Main] = OrderedDict()
        self.texts: list[SplitIR] = []
        self.template: Template | None = None
        self.main = Main(0, None)
        self.made = 0


class Single(NamedTuple):
    """A text that is like no other so far, where its code is, and whether it counts among those that are worth a template."""

    text: str
    main: Main
    counts: bool


MOST_FAMILIES, MOST_TEMPLATES, MOST_TEXTS = 2000, 6, 8
"""A process can have some 30,000 codes at once: each takes two of its mappings of memory, and more than 65,530 the system refuses."""


class Templates:
    """The code of the process by skeleton. The same text is compiled once."""

    def __init__(self) -> None:
        self.outlines: OrderedDict[bytes, Single | None] = OrderedDict()
        """The only text of an skeleton_hash; None where there were several, which have families."""
        self.families: OrderedDict[str, Family] = OrderedDict()
        self.lock = Lock()

    def code_for(self, text: str, table: str, first: int, compile: Callable[[str], Main], dynamic: bool | None = None) -> BoundCode:
        """The code for a text: a template with ``dynamic``, or if that is None after a few texts that differ in numbers alone."""
        key = skeleton_hash(text)
        with self.lock:
            known = key in self.outlines
            single = self.outlines.get(key)
            if single is not None and single.text != text:
                self.outlines[key] = None
        if single is not None and single.text == text:
            return BoundCode(single.main, ())
        if not known:
            main = compile(text)
            with self.lock:
                self.outlines.setdefault(key, Single(text, main, dynamic is not False))
                if len(self.outlines) > MOST_FAMILIES:
                    self.outlines.popitem(last=False)
            return BoundCode(main, ())
        if single is not None:
            cut = split_ir(single.text)
            family = self.family(cut)
            family.exact[cut.numbers] = single.main
            if single.counts:
                family.texts = [*family.texts, cut]
        return self.among(split_ir(text), text, table, first, compile, dynamic)

    def family(self, cut: SplitIR) -> Family:
        """The texts of a skeleton."""
        with self.lock:
            family = self.families.setdefault(cut.skeleton, Family())
            self.families.move_to_end(cut.skeleton)
            if len(self.families) > MOST_FAMILIES:
                self.families.popitem(last=False)
        return family

    def among(self, cut: SplitIR, text: str, table: str, first: int, compile: Callable[[str], Main], dynamic: bool | None) -> BoundCode:
        """The code for a text that is like others."""
        family = self.family(cut)
        if cut.numbers in family.exact:
            return BoundCode(family.exact[cut.numbers], ())
        if dynamic is not False:
            if family.template is not None and (words := family.template.words(cut)) is not None:
                return BoundCode(family.main, tuple(words))
            family.texts = [*family.texts[-MOST_TEXTS:], cut]
            if len(family.texts) >= (2 if dynamic else TEXTS_BEFORE) and family.made < MOST_TEMPLATES:
                template = Template(family.texts, table, first)
                main = compile(template.text())
                words = template.words(cut)
                assert words is not None
                family.template, family.main, family.made = template, main, family.made + 1
                return BoundCode(main, tuple(words))
        main = family.exact[cut.numbers] = compile(text)
        if len(family.exact) > MOST_TEXTS:
            family.exact.popitem(last=False)
        return BoundCode(main, ())


templates = Templates()
