"""Size templates: one compilation serves every Program whose LLVM IR is equal up to numbers.

IR is written for exact sizes, which is cheap; compiling it is not. Programs that differ in sizes alone mostly have IR that differs in
numbers alone: loop bounds, offsets, the 1/n of a mean. When a third such module comes, a `Template` is compiled, which reads these numbers
from the callback table, which each call passes. A module may use the template if all its other numbers are equal to the template's, number
by number: so the code that runs computes exactly what the module's own code would.

A number that has had one value in all modules so far stays a constant; numbers that have always been equal to each other share a slot.
In the callback table, which is the last argument of ``main``, the slots of the numbers follow the callbacks.

To find the numbers of a module takes a while, and most modules are unique. So IR is split only when a second module comes with the same
`skeleton_hash`.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import NamedTuple

from cotan.engines.native.llvm.jit import BoundCode, Main

__all__ = [
    "FIXED", "FUNCTION", "REPLACED", "SplitIR", "Template", "slot_value", "split_ir", "table_known_at", "templates", "type_before",
    "with_loads",
]  # fmt: skip

MODULES_BEFORE = 3
"""So many modules that differ in numbers alone are worth a template."""
NUMBER = re.compile(r"(?<![\w.%@\"$-])(?:0x[0-9A-F]{16}|-?\d+)(?![\w.\"$])")
TYPE = re.compile(r"(?<![\w.%@])(i\d+|double|float|half|ptr)(?![\w.])")
FIXED = re.compile(r"^\s*(?:%v\d+ = alloca|declare|define|@|!|switch)|^[\w.]+:|= (?:extractvalue|insertvalue|shufflevector)")
"""Lines whose numbers are part of the skeleton, not values."""
REPLACED = {"i64": "i64", "i32": "i32", "double": "double", "float": "float"}


class SplitIR(NamedTuple):
    """The IR of a module as a skeleton and the numbers that fill it, each with its type."""

    skeleton: str
    numbers: tuple[str, ...]
    types: tuple[str, ...]


def split_ir(ir: str) -> SplitIR:
    """Split IR into the numbers that are operands of instructions, and the rest."""
    rows: list[str] = []
    numbers: list[str] = []
    types: list[str] = []
    for row in ir.split("\n"):
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


def skeleton_hash(ir: str) -> bytes:
    """A hash of IR without the characters that numbers consist of: modules of one skeleton have one hash."""
    return hashlib.sha256(ir.encode().translate(None, b"0123456789ABCDEFx-")).digest()


def type_before(row: str, at: int) -> str:
    """The type of a number in a line: the last type before it."""
    named = TYPE.findall(row, 0, at)
    return named[-1] if named else ""


class Template:
    """Code for all modules of a skeleton that differ from the given ones only in the numbers in which these differ.

    ``callback_table`` is the name of the pointer to the callback table in every function, and ``first`` the slot of the first number.
    """

    def __init__(self, modules: Sequence[SplitIR], callback_table: str, first: int):
        self.model, self.callback_table, self.first = modules[0], callback_table, first
        entries: dict[tuple[str, ...], int] = {}
        self.entry_of: list[int | None] = []
        """The entry of each number, None for a constant."""
        for type, values in zip(self.model.types, zip(*[m.numbers for m in modules], strict=True), strict=True):
            varies = any(value != values[0] for value in values)
            self.entry_of.append(entries.setdefault((type, *values), len(entries)) if varies else None)
        self.count = len(entries)

    def slots(self, split: SplitIR) -> list[int] | None:
        """The numbers of a module of this skeleton for the callback table, as 64-bit integers; None if the template is not its code."""
        found: list[tuple[str, str] | None] = [None] * self.count
        for number, type, entry, known in zip(split.numbers, split.types, self.entry_of, self.model.numbers, strict=True):
            if entry is None:
                if number != known:
                    return None
            elif found[entry] is None:
                found[entry] = (number, type)
            elif found[entry] != (number, type):
                return None
        return [slot_value(*pair) for pair in found if pair is not None]

    def ir(self) -> str:
        """The IR with its numbers read from the callback table."""
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
            rows += with_loads(body, used, self.callback_table, self.first) if used else body
        return "\n".join(rows)


def with_loads(body: list[str], used: dict[int, str], callback_table: str, first: int) -> list[str]:
    """A function that begins with loads of its numbers, after the pointer to the callback table is known."""
    start = table_known_at(body, callback_table)
    assert start is not None
    loads: list[str] = []
    for entry, type in used.items():
        loads.append(f"  %place{entry} = getelementptr i64, ptr {callback_table}, i64 {first + entry}")
        loads.append(f"  %number{entry} = load {type}, ptr %place{entry}")
    return [*body[: start + 1], *loads, *body[start + 1 :]]


def table_known_at(body: Sequence[str], callback_table: str) -> int | None:
    """The row of a function from which on it knows the pointer to the callback table; None if it has none."""
    given = callback_table in body[0].split("(", 1)[1] if body[0].startswith("define") else False
    return next((k for k, row in enumerate(body) if (row == "start:" if given else row.startswith(f"  {callback_table} = load"))), None)


FUNCTION = re.compile(r"\n(?=define )")


def slot_value(number: str, type: str) -> int:
    """The 64-bit integer from which a load of this type reads the number."""
    if type in ("double", "float"):
        (exact,) = struct.unpack("<d", int(number, 16).to_bytes(8, "little"))
        form = "<d" if type == "double" else "<f4x"
        return int.from_bytes(struct.pack(form, exact), "little", signed=True)
    return int(number)


class Family:
    """The modules of one skeleton: those that were compiled exactly, and the template, once there is one."""

    def __init__(self) -> None:
        self.exact: OrderedDict[tuple[str, ...], Main] = OrderedDict()
        self.modules: list[SplitIR] = []
        self.template: Template | None = None
        self.main = Main(0, None)
        self.made = 0


class Single(NamedTuple):
    """The only module of its hash so far, its code, and whether it counts towards a template."""

    ir: str
    main: Main
    counts: bool


MOST_FAMILIES, MOST_TEMPLATES, MOST_EXACT = 2000, 6, 8
"""A process can hold some 30,000 modules: each takes two memory mappings, and Linux allows 65,530."""


class Templates:
    """The code of the process by skeleton. Equal IR is compiled once."""

    def __init__(self) -> None:
        self.singles: OrderedDict[bytes, Single | None] = OrderedDict()
        """The only module of a hash; None where there were several, which have families."""
        self.families: OrderedDict[str, Family] = OrderedDict()
        self.lock = Lock()

    def code_for(self, ir: str, callback_table: str, first: int, compile: Callable[[str], Main], dynamic: bool | None = None) -> BoundCode:
        """The code for IR: a template with ``dynamic``, or if that is None after a few modules that differ in numbers alone."""
        key = skeleton_hash(ir)
        with self.lock:
            known = key in self.singles
            single = self.singles.get(key)
            if single is not None and single.ir != ir:
                self.singles[key] = None
        if single is not None and single.ir == ir:
            return BoundCode(single.main, ())
        if not known:
            main = compile(ir)
            with self.lock:
                self.singles.setdefault(key, Single(ir, main, dynamic is not False))
                if len(self.singles) > MOST_FAMILIES:
                    self.singles.popitem(last=False)
            return BoundCode(main, ())
        if single is not None:
            split = split_ir(single.ir)
            family = self.family(split)
            family.exact[split.numbers] = single.main
            if single.counts:
                family.modules = [*family.modules, split]
        return self.among(split_ir(ir), ir, callback_table, first, compile, dynamic)

    def family(self, split: SplitIR) -> Family:
        """The family of a skeleton."""
        with self.lock:
            family = self.families.setdefault(split.skeleton, Family())
            self.families.move_to_end(split.skeleton)
            if len(self.families) > MOST_FAMILIES:
                self.families.popitem(last=False)
        return family

    def among(
        self, split: SplitIR, ir: str, callback_table: str, first: int, compile: Callable[[str], Main], dynamic: bool | None
    ) -> BoundCode:
        """The code for a module that has relatives."""
        family = self.family(split)
        if split.numbers in family.exact:
            return BoundCode(family.exact[split.numbers], ())
        if dynamic is not False:
            if family.template is not None and (slots := family.template.slots(split)) is not None:
                return BoundCode(family.main, tuple(slots))
            family.modules = [*family.modules[-MOST_EXACT:], split]
            if len(family.modules) >= (2 if dynamic else MODULES_BEFORE) and family.made < MOST_TEMPLATES:
                template = Template(family.modules, callback_table, first)
                main = compile(template.ir())
                slots = template.slots(split)
                assert slots is not None
                family.template, family.main, family.made = template, main, family.made + 1
                return BoundCode(main, tuple(slots))
        main = family.exact[split.numbers] = compile(ir)
        if len(family.exact) > MOST_EXACT:
            family.exact.popitem(last=False)
        return BoundCode(main, ())


templates = Templates()
