"""LLVM text: functions whose values are named once, with what was computed already remembered by scope.

Text is written as it is read: a value is its name (``%v12``) or a constant. Equal pure instructions in a scope, or in one around it, are
one. A `Function` that is written in the middle of another (`Module.outlined`) takes what it uses of the outer one as parameters, so a loop
nest is compiled by itself, and its pointers are known not to overlap.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .index import Condition, Index, bounds
from .machine import Variant, machine

__all__ = ["Function", "Module", "register_type"]

VALUE = re.compile(r"%v\d+")
PURE = "nounwind willreturn memory(none)"


def register_type(dtype: np.dtype[Any]) -> str:
    """The LLVM type of a real scalar of this dtype in a register; bool is one bit (and one byte in memory)."""
    if dtype.kind == "f":
        return "double" if dtype.itemsize == 8 else "float"
    return "i1" if dtype.kind == "b" else f"i{8 * dtype.itemsize}"


class Module:
    """Functions, what they call, and the function that is being written."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.declared: dict[str, str] = {}
        self.variants: dict[str, Variant] = {}
        self.types: dict[str, str] = {}
        self.count = 0
        self.stack: list[Function] = []
        self.constants: dict[str, str] = {}
        self.functions: dict[str, np.dtype[Any]] = {}
        """The scalar functions that words have written, and what they give."""

    @property
    def code(self) -> Function:
        """The function at hand."""
        return self.stack[-1]

    def name(self, type: str) -> str:
        """A new value of this type."""
        self.count += 1
        name = f"%v{self.count}"
        self.types[name] = type
        return name

    def declare(self, symbol: str, result: str, *parameters: str) -> None:
        self.declared.setdefault(symbol, f"declare {result} @{symbol}({', '.join(parameters)})")

    @contextmanager
    def function(self, name: str, result: str, parameters: list[tuple[str, str]]) -> Generator[Function]:
        """Write a function of this name."""
        code = Function(self, self.stack[-1].scopes[:] if self.stack else [])
        self.stack.append(code)
        yield code
        self.stack.pop()
        self.finish(code, f"define {result} @{name}({', '.join(f'{t} {v}' for t, v in parameters)})")

    def finish(self, code: Function, head: str) -> None:
        body = code.flat()
        entry = [f"  {name} = alloca {kind}, align 64" for name, kind in code.allocas]
        text = f'{head} "prefer-vector-width"="{machine().width}" nounwind {{\nentry:\n' + "\n".join(
            [*entry, "  br label %start", "start:"]
        )
        self.done.append(text + "\n" + "\n".join(body) + "\n}")

    def outlined(self, name: str, write: Callable[[], None]) -> None:
        """What ``write`` writes, as a function of its own and a call of it."""
        code = Function(self, self.code.scopes)
        self.stack.append(code)
        write()
        code.line("ret void")
        self.stack.pop()
        body = code.flat()
        made = {name for name, _ in code.allocas}
        used: dict[str, None] = {}
        for row in body:
            names = VALUE.findall(row)
            if names and row.lstrip().startswith(names[0] + " ="):
                made.add(names.pop(0))
            used.update(dict.fromkeys(names))
        free = [v for v in used if v not in made]
        parameters = ", ".join(f"{self.types[v]}{' noalias' if self.types[v] == 'ptr' else ''} {v}" for v in free)
        code.lines = body
        self.finish(code, f"define internal void @{name}({parameters})")
        self.code.line(f"call void @{name}({', '.join(f'{self.types[v]} {v}' for v in free)})")

    def __str__(self) -> str:
        text = [*self.constants.values(), *self.declared.values(), *self.done]
        if self.variants:
            used = ", ".join(f"ptr @{v.symbol}" for v in self.variants.values())
            text.append(f'@llvm.compiler.used = appending global [{len(self.variants)} x ptr] [{used}], section "llvm.metadata"')
        return "\n".join(text) + "\n"


class Function:
    """The text of a function. ``scopes`` hold what is known where the writer stands: instructions, and elements of arrays."""

    def __init__(self, module: Module, around: list[dict[Any, Any]]):
        self.module = module
        self.lines: list[Any] = []
        self.allocas: list[tuple[str, str]] = []
        self.scopes: list[dict[Any, Any]] = [*around, {}]
        self.block = "start"
        self.blocks = 0

    def flat(self) -> list[str]:
        """The lines, with what was put in later at its place."""
        rows: list[str] = []

        def add(lines: list[Any]) -> None:
            for line in lines:
                if type(line) is list:
                    add(line)
                else:
                    rows.append(line)

        add(self.lines)
        return rows

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def later(self) -> list[Any]:
        """A place here for lines that are written later."""
        place: list[Any] = []
        self.lines.append(place)
        return place

    @contextmanager
    def at(self, place: list[Any]) -> Generator[None]:
        """Write at a place that was left."""
        lines, self.lines = self.lines, place
        yield
        self.lines = lines

    # ---- what is known ------------------------------------------------------------------------------------------------------
    def known(self, key: Any) -> Any:
        for scope in reversed(self.scopes):
            found = scope.get(key)
            if found is not None:
                return found
        return None

    def remember(self, key: Any, value: Any) -> None:
        self.scopes[-1][key] = value

    @contextmanager
    def scope(self) -> Generator[None]:
        """What is written here is not known afterwards."""
        self.scopes.append({})
        yield
        self.scopes.pop()

    # ---- instructions ---------------------------------------------------------------------------------------------------------
    def value(self, type: str, text: str) -> str:
        """The value of an instruction, written anew."""
        name = self.module.name(type)
        self.lines.append(f"  {name} = {text}")
        return name

    def pure(self, type: str, text: str) -> str:
        """The value of an instruction that depends on its operands alone, written once."""
        found = self.known(text)
        if found is None:
            found = self.value(type, text)
            self.remember(text, found)
        return found

    def alloca(self, type: str) -> str:
        name = self.module.name("ptr")
        self.allocas.append((name, type))
        return name

    def label(self) -> str:
        self.blocks += 1
        return f"b{self.blocks}"

    def start(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")
        self.block = label

    def jump(self, label: str) -> None:
        self.line(f"br label %{label}")

    def branch(self, condition: str, yes: str, no: str) -> None:
        self.line(f"br i1 {condition}, label %{yes}, label %{no}")

    def address(self, pointer: str, type: str, offset: Any) -> str:
        """The pointer to an element."""
        where = self.index(offset)
        return pointer if where == "0" else self.pure("ptr", f"getelementptr inbounds {type}, ptr {pointer}, i64 {where}")

    # ---- indices ----------------------------------------------------------------------------------------------------------------
    def index(self, index: Any) -> str:
        """The value of an index."""
        if type(index) is not Index:
            return str(int(index))
        total = ""
        for atom, factor in index.terms.items():
            value = self.atom(atom)
            if factor != 1:
                value = self.pure("i64", f"mul nsw i64 {value}, {factor}")
            total = value if not total else self.pure("i64", f"add nsw i64 {total}, {value}")
        return self.pure("i64", f"add nsw i64 {total}, {index.constant}") if index.constant else total

    def atom(self, atom: Any) -> str:
        if atom.of is None:
            return atom.value
        kind, index, n = atom.of
        low = bounds(index)[0]
        sign = "u" if low >= 0 else "s"
        return self.pure("i64", f"{sign}{'div' if kind == 'div' else 'rem'} i64 {self.index(index)}, {n}")

    def condition(self, condition: Any) -> str:
        """The value of a condition, one bit."""
        if not isinstance(condition, Condition):
            return "true" if condition else "false"
        if condition.sign in ("and", "or"):
            left, right = map(self.condition, condition.parts)
            return self.pure("i1", f"{condition.sign} i1 {left}, {right}")
        sign = {"<": "slt", ">=": "sge"}[condition.sign]
        return self.pure("i1", f"icmp {sign} i64 {self.index(condition.parts[0])}, 0")

    # ---- loops ----------------------------------------------------------------------------------------------------------------
    def loop(self, count: str, body: Callable[[str], None], *, at_least_once: bool = True, note: str = "") -> None:
        """``body(k)`` for k from 0 below ``count``, an i64 value."""
        head, after = self.label(), self.label()
        before = self.block
        if at_least_once:
            self.jump(head)
        else:
            self.branch(self.value("i1", f"icmp sgt i64 {count}, 0"), head, after)
        self.start(head)
        k = self.module.name("i64")
        phi = self.later()
        following = self.module.name("i64")
        with self.scope():
            body(k)
        self.lines.append(f"  {following} = add nuw nsw i64 {k}, 1")
        phi.append(f"  {k} = phi i64 [0, %{before}], [{following}, %{self.block}]")
        more = self.value("i1", f"icmp slt i64 {following}, {count}")
        self.line(f"br i1 {more}, label %{head}, label %{after}{note}")
        self.start(after)

    def number(self, value: float, dtype: np.dtype[Any]) -> str:
        """A real constant of this dtype."""
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                exact = float(dtype.type(value))
            return f"0x{struct.unpack('<Q', struct.pack('<d', exact))[0]:016X}"
        if dtype.kind == "b":
            return "true" if value else "false"
        bits = 8 * dtype.itemsize
        number = int(value) & ((1 << bits) - 1)
        return str(number - (1 << bits) if number >> (bits - 1) else number)
