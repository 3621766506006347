"""Sized code: one compilation for all sizes of arguments that take the same path through tracing, passes, schedule and codegen.

A Program is traced and lowered on symbolic sizes (`core.sizes`). Its IR then has marks where exact IR has numbers that depend on the sizes,
and the log has the conditions under which other sizes give the same IR with other numbers. `SizedCode` is that IR, compiled once, with the
numbers read from the callback table. For further sizes it evaluates the conditions and the numbers, in a few microseconds.

It is checked against the exact IR, character by character, for the sizes at which it was made, and again for the next sizes: until each
size of an argument has had another value, `SizedCode.agrees` is asked.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cotan.core.program import Program, Var
from cotan.core.sizes import MARKS, Size, SizeLog, plain_number
from cotan.core.types import ArrayType, array_type
from cotan.engines.choice import Engine
from cotan.engines.native.cache.size_templates import FIXED, FUNCTION, REPLACED, table_known_at, type_before, with_loads
from cotan.engines.native.cache.tiers import compile_in_tiers
from cotan.engines.native.call.caller import Argument, Caller
from cotan.engines.native.codegen.lower import LoweredModule
from cotan.engines.native.cost import SHORT_CALL, elements_of
from cotan.engines.native.llvm.jit import BoundCode
from cotan.engines.native.runtime.compile_lock import compile_lock

from .options import codegen_options
from .pipeline import LoweredProgram
from .status import UnsupportedError

__all__ = ["SizedCode", "UnsizedError"]

MARK = re.compile(f"{MARKS[0]}(\\d+){MARKS[1]}")


class UnsizedError(Exception):
    """The reason why there is no code for several sizes."""


class Slot(NamedTuple):
    """A number of the IR that depends on sizes, of an LLVM type."""

    size: Size
    type: str


class Marked:
    """IR with marks: the text between its numbers, which are slots, and the template, which reads them from the callback table.

    A number that is no operand of an instruction, or is used where there is no pointer to the callback table, is pinned.
    """

    def __init__(self, code: LoweredModule, log: SizeLog):
        self.sizes = [mark.size for mark in log.marks.values()]
        self.first = len(code.callbacks)
        self.slots: dict[tuple[str, str], int] = {}
        self.known: list[Slot] = []
        self.parts: list[str | int] = []
        """The exact IR: text, and the numbers of slots."""
        rows: list[str] = []
        for k, function in enumerate(FUNCTION.split(code.ir)):
            self.parts.append("\n" if k else "")
            body = function.split("\n")
            has_table = table_known_at(body, code.callback_table) is not None
            used: dict[int, str] = {}
            for j, row in enumerate(body):
                self.parts.append("\n" if j else "")
                body[j] = self.filled(row, used, has_table) if MARKS[0] in row else self.text(row)
            rows += with_loads(body, used, code.callback_table, self.first) if used else body
        self.template = "\n".join(rows)

    def text(self, text: str) -> str:
        self.parts.append(text)
        return text

    def filled(self, row: str, used: dict[int, str], has_table: bool) -> str:
        """A row with registers for its marks; ``used`` collects the slots."""
        operands = row.split(", !", 1)[0]
        movable = has_table and not FIXED.search(row)
        filled, end = "", 0
        for found in MARK.finditer(row):
            size, type = self.sizes[int(found.group(1))], type_before(row, found.start())
            filled += self.text(row[end : found.start()])
            end = found.end()
            if not movable or type not in REPLACED or found.start() >= len(operands):
                filled += self.text(number_text(plain_number(size), type))
                continue
            slot = self.slots.setdefault((size.text, type), len(self.known))
            if slot == len(self.known):
                self.known.append(Slot(size, type))
            used[slot] = type
            self.parts.append(slot)
            filled += f"%number{slot}"
        return filled + self.text(row[end:])

    def exact(self, numbers: Sequence[Any]) -> str:
        """The IR with these numbers."""
        texts = [number_text(number, slot.type) for number, slot in zip(numbers, self.known, strict=True)]
        return "".join([part if isinstance(part, str) else texts[part] for part in self.parts])


def number_text(number: Any, type: str) -> str:
    """A number as it stands in IR."""
    if isinstance(number, float | np.floating):
        return f"0x{struct.unpack('<Q', struct.pack('<d', float(number)))[0]:016X}"
    return str(int(number))


def slot_of(number: Any, type: str) -> int:
    """The 64-bit integer from which a load of this type reads a number."""
    if type in ("double", "float"):
        return int.from_bytes(struct.pack("<d" if type == "double" else "<f4x", number), "little", signed=True)
    if not -(2 ** (int(type[1:]) - 1)) <= number < 2 ** (int(type[1:]) - 1):
        raise OverflowError(number)
    return int(number)


def equal_arrays(a: Argument, b: Argument) -> bool:
    """Whether two arrays are equal, to the bit."""
    return a is b or (
        np.shape(a) == np.shape(b) and np.asarray(a).dtype == np.asarray(b).dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()
    )


class Instance(NamedTuple):
    """What sized code is for given sizes: its numbers, the bytes of its workspace, whether a call releases the interpreter lock, the shapes
    of inputs and results in a row.
    """

    numbers: tuple[Any, ...]
    workspace: int
    release: bool
    shapes: tuple[int, ...]


def for_many_sizes(program: Program, engine: Engine) -> LoweredProgram:
    """A Program whose code depends on its sizes as little as may be."""
    with codegen_options(batched_loops=False):
        return LoweredProgram(program, engine.donated)


class SizedCode:
    """The code of a Program on symbolic sizes.

    ``exact`` is the Program on the values that these sizes have, and ``constants`` its captured values.

    Raises:
        UnsizedError: there is none, or it would not be the code that exact sizes give.
    """

    def __init__(self, program: Program, exact: Program, constants: Sequence[Argument], log: SizeLog, engine: Engine):
        with compile_lock:
            try:
                lowered, known = for_many_sizes(program, engine), for_many_sizes(exact, engine)
            except UnsupportedError as reason:
                raise UnsizedError(str(reason)) from None
            code = lowered.code
            if code.callbacks or code.places or any(MARKS[0] in message for _, message in code.failures.known):
                raise UnsizedError("it calls back into Python, or names sizes in errors")
            self.constants, self.threads = [*known.constants, *constants], engine.threads or 0
            self.exact_program = known.program
            if not all(map(equal_arrays, lowered.constants, known.constants)) or len(lowered.constants) != len(known.constants):
                raise UnsizedError("it captures other arrays")
            elements = elements_of(lowered.program)
            self.types = [v.type for v in (*lowered.program.inputs, *lowered.program.outputs)]
            if not all(isinstance(t, ArrayType) for t in self.types):
                raise UnsizedError("it takes or gives stacks")
            self.code = code._replace(ir="", workspace=0, schedules=[], buffers={}, copies=[])
            self.marked = Marked(code, log)
            shapes = [n for t in self.types for n in t.shape]
            self.at = log.function(
                [code.workspace, SHORT_CALL if elements is None else elements, *[slot.size for slot in self.marked.known], *shapes]
            )
            log.close()
            self.unconfirmed = set(range(len(log.given)))
            """The arguments of ``at`` that have had one value so far."""
            self.given = log.given
            if log.fixed:
                raise UnsizedError("its code depends on a size as a number")
            if not self.agrees(log.given, known):
                raise UnsizedError("its code for these sizes is another than that for symbols")
            self.main = compile_in_tiers(self.marked.template, exact, lowered.options)

    def instance(self, sizes: Sequence[int]) -> Instance | None:
        """The code for these sizes; None if it is not for them."""
        try:
            with np.errstate(all="ignore"):  # a number that code divides by may be zero at some size
                found = self.at(*sizes)
        except (ArithmeticError, ValueError):
            return None
        if found is None:
            return None
        count = 2 + len(self.marked.known)
        return Instance(found[2:count], found[0], found[1] >= SHORT_CALL, found[count:])

    def agrees(self, sizes: Sequence[int], exact: LoweredProgram) -> bool:
        """Whether the code for these sizes is that of the exact Program."""
        found = self.instance(sizes)
        code, own = exact.code, self.code
        return (
            found is not None
            and self.marked.exact(found.numbers) == code.ir
            and found.workspace == code.workspace
            and self.typed(found) == [v.type for v in (*exact.program.inputs, *exact.program.outputs)]
            and own.donated_input_of == code.donated_input_of
            and own.unused == code.unused
            and own.callback_table == code.callback_table
            and own.failures.known == code.failures.known
        )

    def confirm(self, sizes: Sequence[int], exact: Program, engine: Engine) -> bool:
        """Whether the code for these further sizes is that of the exact Program."""
        with compile_lock:
            if not self.agrees(sizes, for_many_sizes(exact, engine)):
                return False
        self.unconfirmed -= {k for k, (a, b) in enumerate(zip(sizes, self.given, strict=True)) if a != b}
        return True

    @property
    def idle(self) -> bool:
        """Whether it has served the sizes at which it was made alone."""
        return len(self.unconfirmed) == len(self.given)

    def is_trusted(self, sizes: Sequence[int]) -> bool:
        """Whether the code is known to agree with exact code in each of the sizes that differ from those at which it was made."""
        return all(k not in self.unconfirmed or a == b for k, (a, b) in enumerate(zip(sizes, self.given, strict=True)))

    def typed(self, instance: Instance) -> list[ArrayType]:
        """The types of inputs and results."""
        shapes = iter(instance.shapes)
        return [array_type(tuple([next(shapes) for _ in t.shape]), t.dtype, t.weak) for t in self.types]

    def caller(self, sizes: Sequence[int], single: bool) -> Caller | None:
        """The code for these sizes as a function, which returns its one result as it is if ``single``; None if it is not for them."""
        found = self.instance(sizes)
        if found is None:
            return None
        try:
            numbers = tuple([slot_of(n, slot.type) for n, slot in zip(found.numbers, self.marked.known, strict=True)])
        except (OverflowError, struct.error):
            return None
        variables = [Var(t) for t in self.typed(found)]
        exact, count = self.exact_program, len(self.exact_program.inputs)
        program = Program(variables[:count], exact.equations, variables[count:], (), exact.name)
        code = self.code._replace(workspace=found.workspace)
        return Caller(
            program, self.constants, code, BoundCode(self.main, numbers), threads=self.threads, single=single, release=found.release
        )
