"""The builder of LLVM IR: modules, their functions, and the instructions of a function.

A value is a register (``%v12``) or a constant. Pure instructions are numbered by value: an equal one in scope is used again. A `Function`
that is outlined from the middle of another (`Module.outlined`) takes the values of the outer one that it uses as parameters. So LLVM
compiles a loop nest by itself, and knows that its pointers do not overlap. `jit` compiles modules.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from cotan.core.emitting import DType, Number
from cotan.core.sizes import Size, integer
from cotan.engines.native.affine import Atom, Condition, Index, bounds, variable
from cotan.engines.native.libraries.registry import Routine
from cotan.engines.native.runtime.symbols import Symbol
from cotan.engines.native.runtime.thread_pool import SETTING
from cotan.engines.native.target import Target

from . import bounds_checks
from .jit import Variant, machine
from .parallel_for import FIRST_VALUE, IN_CHUNKS, THREAD_LIMIT_SLOT, chunk_function, mask

__all__ = ["NOT_UNROLLED", "Function", "Line", "Module", "register_type"]

Line: TypeAlias = "str | Sequence[Line]"
"""A line of LLVM IR, or the lines of a placeholder, which is filled later."""
Known = dict[Hashable, Any]
"""The values in a scope: registers by their instructions, scalars by the elements of arrays, and others by keys of the callers."""
REGISTER, DEFINED = re.compile(r"%v\d+"), re.compile(r"^  (%v\d+) =", re.MULTILINE)
NOT_UNROLLED = '!{!"llvm.loop.unroll.disable"}'
"""The metadata of a loop that is to be vectorized and not unrolled before."""
MASKED = '!{!"llvm.loop.vectorize.predicate.enable", i1 true}'
SHORTEST_MASKED, LONGEST_MASKED = 9, 63
"""Loops of so many iterations, not a multiple of 8, are vectorized with masks: a remainder of single iterations would take longer than the
vectors."""
UNKNOWN = 1 << 60
"""A bound above the number of elements of any array."""
PURE = "nounwind willreturn memory(none)"


@cache
def register_type(dtype: DType) -> str:
    """The LLVM type of a real scalar of this dtype in a register; bool is one bit (and one byte in memory)."""
    if dtype.kind == "f":
        return {8: "double", 4: "float", 2: "half"}[dtype.itemsize]
    return "i1" if dtype.kind == "b" else f"i{8 * dtype.itemsize}"


def in_dtype(size: Size, dtype: DType) -> Any:
    """A size as a constant of a dtype: a float, or an integer that the dtype has room for."""
    if dtype.kind == "f":
        return size.strong(dtype)
    limits = np.iinfo(dtype)
    n = math.trunc(size)
    return n if limits.min <= n <= limits.max and n < 1 << (8 * dtype.itemsize - 1) else int(n)


class Module:
    """The definitions and declarations of a module, and the stack of functions that are being written."""

    def __init__(self, target: Target = Target.IN_PROCESS) -> None:
        self.target = target
        self.definitions: list[str] = []
        self.declarations: dict[str, str] = {}
        self.variants: dict[str, Variant] = {}
        self.types: dict[str, str] = {}
        self.count = 0
        self.stack: list[Function] = []
        self.constants: dict[str, str] = {}
        """The LLVM IR of the symbols and constants to which the module refers, by name."""
        self.callback_table = ""
        """The pointer to the callback table of the call, which every function takes: 64-bit slots with the addresses of the callbacks, then
        the numbers of a size template; before them, in `THREAD_LIMIT_SLOT`, the limit of threads, or 0."""
        self.metadata: list[str] = []
        self.functions: dict[str, DType] = {}
        """The scalar functions of the module (`scalar.expression.helper`), and the dtypes of their results."""
        self.checks = bounds_checks.Checks() if bounds_checks.is_checked_build() else None

    @property
    def code(self) -> Function:
        """The function at hand."""
        return self.stack[-1]

    @property
    def home(self) -> Function:
        """The innermost function that is no loop nest: it computes the addresses that a nest takes."""
        return next(code for code in reversed(self.stack) if not code.nest)

    def name(self, type: str) -> str:
        """A new value of this type."""
        self.count += 1
        name = f"%v{self.count}"
        self.types[name] = type
        return name

    def within(self, offset: Index | int, count: int | str) -> Index | int:
        """An offset that should be below ``count``, a number or an i64 value; a checked build tests it."""
        if self.checks is None or (isinstance(offset, int) and isinstance(count, int) and 0 <= offset < count):
            return offset
        code = self.code
        at = code.value("i64", f"freeze i64 {code.index(offset)}")
        within = self.refer(bounds_checks.WITHIN)
        return variable(code.value("i64", f"call i64 {within}(i64 {at}, i64 {count}, i32 {self.checks.access()})"), UNKNOWN)

    def loop_note(self, *properties: str) -> str:
        """The metadata of the branch that closes a loop, for LLVM's vectorizer."""
        numbers = [f"!{self.metadata.index(x) if x in self.metadata else self.node(x)}" for x in properties]
        own = f"!{len(self.metadata)}"
        self.metadata.append(f"distinct !{{{', '.join([own, *numbers])}}}")
        return f", !llvm.loop {own}"

    def node(self, content: str) -> int:
        """The number of a new node of metadata."""
        self.metadata.append(content)
        return len(self.metadata) - 1

    def declare(self, symbol: str, result: str, *parameters: str) -> None:
        self.declarations.setdefault(symbol, f"declare {result} @{symbol}({', '.join(parameters)})")

    def call(self, result: str, symbol: str, *arguments: str, flags: str = "") -> str:
        """The LLVM IR of a call of a C function or an intrinsic, which is declared. Arguments stand with their types: ``i32 %v1``."""
        self.declare(symbol, result, *[argument.rpartition(" ")[0] for argument in arguments])
        return f"call {flags}{result} @{symbol}({', '.join(arguments)})"

    def call_routine(self, routine: Routine, *arguments: str) -> str:
        """The LLVM IR of a call of a library routine, which is declared and made known to the JIT."""
        if self.target is Target.IN_PROCESS:
            machine().add_symbol(routine.symbol, routine.address)
        return self.call("void" if routine.by_address else "i32", routine.symbol, *arguments)

    def refer(self, symbol: Symbol) -> str:
        """The name of a symbol. The module then has it, and all symbols that it needs."""
        if symbol.name not in self.constants:
            outside = self.target is Target.STANDALONE and symbol.standalone is not None
            for needed in symbol.needs:
                self.refer(needed)
            if symbol.make_known is not None and not outside:
                symbol.make_known(machine())
            self.constants[symbol.name] = symbol.standalone if outside and symbol.standalone is not None else symbol.ir
        return f"@{symbol.name}"

    @contextmanager
    def function(self, name: str, result: str, parameters: list[tuple[str, str]], *, internal: bool = False) -> Generator[Function]:
        """Write a function of this name."""
        code = Function(self, self.stack[-1].scopes[:] if self.stack else [])
        self.stack.append(code)
        yield code
        self.stack.pop()
        self.finish(code, f"define {'internal ' * internal}{result} @{name}({', '.join(f'{t} {v}' for t, v in parameters)})")

    def finish(self, code: Function, head: str) -> None:
        body = code.flat()
        entry = [f"  {name} = alloca {kind}, align 64" for name, kind in code.allocas]
        start = f'{head} "prefer-vector-width"="{machine().width}" nounwind {{\nentry:\n' + "\n".join(
            [*entry, "  br label %start", "start:"]
        )
        self.definitions.append(start + "\n" + "\n".join(body) + "\n}")

    def outlined(self, name: str, write: Callable[[], None], *, nest: bool = True) -> None:
        """The code of ``write`` as a function of its own, and a call of it. The pointers that a loop nest uses do not overlap."""
        free = self.outline(name, [], write, nest)
        self.code.line(f"call void @{name}({', '.join(f'{self.types[v]} {v}' for v in free)})")

    def outline(self, name: str, own: list[str], write: Callable[[], None], nest: bool) -> list[str]:
        """The code of ``write`` as a function of the values ``own`` and of the outer values that it uses; the outer values."""
        code = Function(self, self.code.scopes, nest)
        self.stack.append(code)
        write()
        code.line("ret void")
        self.stack.pop()
        body = code.flat()
        ir = "\n".join(body)
        made = {*own, *(name for name, _ in code.allocas), *DEFINED.findall(ir)}
        free = [v for v in dict.fromkeys(REGISTER.findall(ir)) if v not in made]
        if self.callback_table and self.callback_table not in free:
            free.append(self.callback_table)
        parameters = ", ".join(f"{self.types[v]}{' noalias' if nest and self.types[v] == 'ptr' else ''} {v}" for v in [*own, *free])
        code.lines = [*body]
        self.finish(code, f"define internal void @{name}({parameters}) noinline")
        return free

    def parallel_for(
        self, name: str, size: int, most: int, write: Callable[[str, str, str], None], *, small: bool, each: int,
        nest: bool = True,
    ) -> str:  # fmt: skip
        """``write(first, end, chunk)`` on chunks of the range below ``size``, ``each`` for a thread, at most ``most``; their number.

        A job that is ``small`` takes no longer than to wake the threads for it. A body that is no loop nest may contain nests.
        """
        first, end, chunk = (self.name("i64") for _ in range(3))
        free = self.outline(name, [first, end, chunk], lambda: write(first, end, chunk), nest)
        function = self.refer(chunk_function([self.types[v] for v in free]))
        code = self.code
        context = code.alloca(f"[{FIRST_VALUE + len(free)} x i64]")
        slots = [("ptr", f"@{name}"), ("i64", str(size)), ("i64", str(mask(size))), *[(self.types[v], v) for v in free]]
        for k, (type, value) in enumerate(slots):
            code.line(f"store {type} {value}, ptr {code.address(context, 'i64', k)}")
        arguments = f"ptr {function}, ptr {context}, i32 {each}, i32 {most}, i1 {str(small).lower()}, ptr {self.callback_table or 'null'}"
        return code.value("i64", f"call i64 {self.refer(IN_CHUNKS)}({arguments})")

    def threads(self) -> str:
        """The number of threads of a loop: the limit of the call, or the process's if that is 0."""
        code = self.code
        everywhere = code.value("i32", f"load i32, ptr {self.refer(SETTING)}")
        if not self.callback_table:
            return everywhere
        here = code.value("i32", f"load i32, ptr {code.address(self.callback_table, 'i64', THREAD_LIMIT_SLOT)}")
        return code.value("i32", f"select i1 {code.value('i1', f'icmp eq i32 {here}, 0')}, i32 {everywhere}, i32 {here}")

    def __str__(self) -> str:
        parts = [*self.constants.values(), *self.declarations.values(), *self.definitions]
        parts += [f"!{k} = {content}" for k, content in enumerate(self.metadata)]
        if self.variants:
            used = ", ".join(f"ptr @{v.symbol}" for v in self.variants.values())
            parts.append(f'@llvm.compiler.used = appending global [{len(self.variants)} x ptr] [{used}], section "llvm.metadata"')
        return "\n".join(parts) + "\n"


class Function:
    """The body of a function. ``scopes`` hold the values that are known at the point of writing, the innermost last."""

    def __init__(self, module: Module, around: list[Known], nest: bool = False):
        self.module, self.nest = module, nest
        self.lines: list[Line] = []
        self.allocas: list[tuple[str, str]] = []
        self.scopes: list[Known] = [*around, {}]
        self.block = "start"
        self.blocks = 0

    def flat(self) -> list[str]:
        """The lines, with placeholders replaced by their content."""
        rows: list[str] = []

        def add(lines: Sequence[Line]) -> None:
            for line in lines:
                if type(line) is str:
                    rows.append(line)
                else:
                    add(line)

        add(self.lines)
        return rows

    def line(self, ir: str) -> None:
        self.lines.append("  " + ir)

    def later(self) -> list[Line]:
        """A placeholder here for lines that are written later."""
        placeholder: list[Line] = []
        self.lines.append(placeholder)
        return placeholder

    @contextmanager
    def at(self, placeholder: list[Line]) -> Generator[None]:
        """Write into a placeholder."""
        lines, self.lines = self.lines, placeholder
        yield
        self.lines = lines

    # ---- known values -----------------------------------------------------------------------------------------------------
    def known(self, key: Hashable) -> Any:
        """The value of a key in scope; None if there is none."""
        for scope in reversed(self.scopes):
            found = scope.get(key)
            if found is not None:
                return found
        return None

    def remember(self, key: Hashable, value: object) -> None:
        self.scopes[-1][key] = value

    @contextmanager
    def scope(self) -> Generator[None]:
        """A scope: its values are not known afterwards."""
        self.scopes.append({})
        yield
        self.scopes.pop()

    # ---- instructions ---------------------------------------------------------------------------------------------------------
    def value(self, type: str, ir: str) -> str:
        """The value of an instruction, which is emitted again even if an equal one is known."""
        name = self.module.name(type)
        self.lines.append(f"  {name} = {ir}")
        return name

    def pure(self, type: str, ir: str) -> str:
        """The value of an instruction that depends on its operands alone, emitted once in a scope."""
        for scope in reversed(self.scopes):
            found = scope.get(ir)
            if found is not None:
                return found
        module = self.module  # `value`, inlined: it is called most often from here
        module.count += 1
        name = f"%v{module.count}"
        module.types[name] = type
        self.lines.append(f"  {name} = {ir}")
        self.scopes[-1][ir] = name
        return name

    def alloca(self, type: str, name: str = "") -> str:
        """Stack memory for the whole of the function; ``name``, if its address has a name already."""
        name = name or self.module.name("ptr")
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

    def address(self, pointer: str, type: str, offset: Index | int) -> str:
        """The pointer to an element."""
        where = self.index(offset)
        return pointer if where == "0" else self.pure("ptr", f"getelementptr inbounds {type}, ptr {pointer}, i64 {where}")

    # ---- indices ----------------------------------------------------------------------------------------------------------------
    def index(self, index: Index | int) -> str:
        """The value of an index."""
        if not isinstance(index, Index):
            return str(integer(index))
        total = ""
        for atom, factor in index.terms.items():
            value = self.atom(atom)
            if factor != 1:
                value = self.pure("i64", f"mul nsw i64 {value}, {factor}")
            total = value if not total else self.pure("i64", f"add nsw i64 {total}, {value}")
        return self.pure("i64", f"add nsw i64 {total}, {index.constant}") if index.constant else total

    def atom(self, atom: Atom) -> str:
        if atom.of is None:
            return atom.value
        kind, index, n = atom.of
        x = self.index(index)
        if bounds(index)[0] >= 0:
            return self.pure("i64", f"u{'div' if kind == 'div' else 'rem'} i64 {x}, {n}")
        # Where a guard does not hold, an index may be below zero. Its remainder still is not: the element is read in vain, and must exist.
        rest = self.pure("i64", f"srem i64 {x}, {n}")
        below = self.pure("i1", f"icmp slt i64 {rest}, 0")
        if kind == "mod":
            return self.pure("i64", f"select i1 {below}, i64 {self.pure('i64', f'add i64 {rest}, {n}')}, i64 {rest}")
        return self.pure("i64", f"add i64 {self.pure('i64', f'sdiv i64 {x}, {n}')}, {self.pure('i64', f'sext i1 {below} to i64')}")

    def condition(self, condition: Condition | bool) -> str:
        """The value of a condition, an i1."""
        if not isinstance(condition, Condition):
            return "true" if condition else "false"
        if condition.sign in ("and", "or"):
            left, right = map(self.condition, condition.parts)
            return self.pure("i1", f"{condition.sign} i1 {left}, {right}")
        sign = {"<": "slt", ">=": "sge"}[condition.sign]
        return self.pure("i1", f"icmp {sign} i64 {self.index(condition.parts[0])}, 0")

    # ---- loops ----------------------------------------------------------------------------------------------------------------
    def loop(
        self,
        end: int | str,
        body: Callable[[str], None],
        *,
        start: int | str = 0,
        step: int = 1,
        at_least_once: bool = True,
        note: str = "",
        masked: bool = True,
    ) -> None:  # fmt: skip
        """``body(k)`` for k from ``start`` below ``end``, numbers or i64 values. A short loop is vectorized with masks if ``masked``."""
        head, after = self.label(), self.label()
        before = self.block
        if at_least_once:
            self.jump(head)
        else:
            self.branch(self.value("i1", f"icmp slt i64 {start}, {end}"), head, after)
        self.start(head)
        k = self.module.name("i64")
        phi = self.later()
        following = self.module.name("i64")
        with self.scope():
            body(k)
        self.lines.append(f"  {following} = add nuw nsw i64 {k}, {step}")
        phi.append(f"  {k} = phi i64 [{start}, %{before}], [{following}, %{self.block}]")
        more = self.value("i1", f"icmp slt i64 {following}, {end}")
        if (
            masked
            and isinstance(start, int)
            and isinstance(end, int)
            and SHORTEST_MASKED <= end - start <= LONGEST_MASKED
            and (end - start) % 8
        ):
            note = self.module.loop_note(MASKED)
        self.line(f"br i1 {more}, label %{head}, label %{after}{note}")
        self.start(after)

    def number(self, value: Number, dtype: DType) -> str:
        """A real constant of this dtype."""
        if type(value) is Size and (dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize > 2)):
            return str(in_dtype(value, dtype))
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                if dtype.itemsize == 2:
                    return f"0xH{int(dtype.type(value).view(np.uint16)):04X}"
                exact = float(dtype.type(value))
            return f"0x{struct.unpack('<Q', struct.pack('<d', exact))[0]:016X}"
        if dtype.kind == "b":
            return "true" if value else "false"
        bits = 8 * dtype.itemsize
        number = int(value) & ((1 << bits) - 1)
        return str(number - (1 << bits) if number >> (bits - 1) else number)
