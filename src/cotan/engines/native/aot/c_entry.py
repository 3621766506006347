"""Ahead-of-time compilation in this process: code with an entry for C beside the caller for Python.

The entry for C takes a pointer to the data of each input, then of each output, row-major without gaps, and returns 0 or a status:

    int32_t f(const double *x, const double *y, double *result);

It takes its workspace from malloc and frees it. Results must not overlap arguments; one that the code writes over a donated argument may be
given the same memory as that: the argument is copied there first. `routine` wraps it as a function of scalars, for SciPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from cotan.core.program import Program
from cotan.core.types import ArrayType
from cotan.engines.native.call.caller import Argument, Caller
from cotan.engines.native.codegen.lower import LoweredModule
from cotan.engines.native.llvm.builder import Module
from cotan.engines.native.llvm.jit import BoundCode, Main, machine
from cotan.engines.native.pipeline import LoweredProgram
from cotan.engines.native.runtime.capi import Capsule, new_capsule
from cotan.engines.native.runtime.compile_lock import compile_lock
from cotan.engines.native.status import Status
from cotan.engines.native.target import ALIGNMENT

__all__ = ["ROUTINES", "AheadOfTimeCode", "suits", "write_entry"]

ENTRY = "cotan_entry"
_kept: list[tuple[AheadOfTimeCode, bytes]] = []
"""The objects that capsules of `routine` point to; they and their code live as long as the process."""


class AheadOfTimeCode:
    """A compiled Program. ``constants`` are values that it captured, its first inputs; results may be written in the memory of the
    inputs ``donated``.
    """

    def __init__(self, program: Program, constants: Sequence[Argument], donated: Sequence[int] = (), threads: int = 0):
        with compile_lock:
            self.written = written = LoweredProgram(program, donated)
            self.captured = constants
            start = perf_counter()
            address = machine().compile(written.code.ir, ["main"], written.level)["main"]
            self.report = written.report(perf_counter() - start)
            placed = BoundCode(Main(address, None), ())
            self.caller = Caller(written.program, [*written.constants, *constants], written.code, placed, threads=threads)
            self.given, self.outputs = self.caller.given, self.caller.outputs
            self.entry = 0
            self.routines: dict[str, Capsule] = {}

    def bound(self, single: bool) -> Caller:
        """The function that Python calls; ``single`` if it gives its one result as it is."""
        return self.caller.bound((), single)

    def text(self, dialect: str) -> str:
        """The optimized LLVM IR ("llvm") or the assembly ("asm") of the code."""
        module, host = machine().optimize(self.written.code.ir, self.written.level)
        return host.emit_assembly(module) if dialect == "asm" else str(module)

    def copies(self, code: LoweredModule) -> dict[int, tuple[int, int]]:
        """For each argument that the code overwrites with a result: the number of the result, and its bytes."""
        first = len(self.caller.constants)
        return {j - first: (k, self.outputs[k].nbytes) for k, j in code.donated_input_of.items()}

    @property
    def address(self) -> int:
        """The address of the entry for C. It holds as long as this object does."""
        if not self.entry:
            caller = self.caller
            fixed = [str(x.ctypes.data) for x in caller.constants]
            constants = [f"inttoptr (i64 {x} to ptr)" for x in fixed]
            callback_table = f"inttoptr (i64 {caller.callback_table_address} to ptr)"
            main = f"inttoptr (i64 {caller.main.address} to ptr)"
            copies = self.copies(caller.code)
            module, sizes = Module(), (len(self.given), len(self.outputs))
            write_entry(module, ENTRY, main, constants, sizes, caller.code.workspace, callback_table, copies)
            self.entry = machine().compile(str(module), [ENTRY], 1, cached=False)[ENTRY]
        return self.entry

    def routine(self, signature: str) -> Capsule:
        """A capsule with a function of this C signature, which must be one that `suits` the types; made once."""
        if signature not in self.routines:
            self.routines[signature] = self.make_routine(signature)
        return self.routines[signature]

    def make_routine(self, signature: str) -> Capsule:
        """Compile a function of this C signature."""
        text = ROUTINES[signature]
        arguments, lines = "ptr %xs", ""
        if text.endswith(NUMBER) and not self.given[0].shape:
            places = range(len(self.given))
            lines = "\n".join(f"  %x{k} = getelementptr double, ptr %xs, i64 {k}" for k in places)
            arguments = ", ".join(f"ptr %x{k}" for k in places)
        count = self.given[0].size if self.given[0].shape else len(self.given)
        entry = f"inttoptr (i64 {self.address} to ptr)"
        text = text.format(entry=entry, arguments=arguments, lines=lines, count=count, rank=self.outputs[0].size)
        address = machine().compile(text, ["routine"], 2, cached=False)["routine"]
        name = signature.encode()
        _kept.append((self, name))
        return new_capsule(address, name)


def write_entry(
    module: Module,
    name: str,
    main: str,
    constants: Sequence[str],
    sizes: tuple[int, int],
    workspace: int,
    callback_table: str,
    copies: dict[int, tuple[int, int]],
) -> None:
    """Write the entry for C, which calls ``main`` with its tables. ``constants`` are pointers, the first arguments of ``main``; ``sizes``
    are the numbers of arguments and results. Arguments that ``main`` writes over are copied to their results first, so many bytes.
    """
    given, results = ([module.name("ptr") for _ in range(n)] for n in sizes)
    sources = [*constants, *[results[copies[k][0]] if k in copies else x for k, x in enumerate(given)]]
    with module.function(name, "i32", [("ptr", v) for v in (*given, *results)]) as code:
        for j, (k, nbytes) in copies.items():
            arguments = (f"ptr {results[k]}", f"ptr {given[j]}", f"i64 {nbytes}", "i1 false")
            code.line(module.call("void", "llvm.memmove.p0.p0.i64", *arguments))
        tables: list[str] = []
        for pointers in (sources, results):
            tables.append(code.alloca(f"[{max(len(pointers), 1)} x ptr]"))
            for k, pointer in enumerate(pointers):
                code.line(f"store ptr {pointer}, ptr {code.address(tables[-1], 'ptr', k)}")
        block, start = "", "null"
        if workspace:
            block = code.value("ptr", module.call("ptr", "malloc", f"i64 {workspace + ALIGNMENT}"))
            missing, run = code.label(), code.label()
            code.branch(code.value("i1", f"icmp eq ptr {block}, null"), missing, run)
            code.start(missing)
            code.line(f"ret i32 {Status.OUT_OF_MEMORY}")
            code.start(run)
            end = code.value("i64", f"add i64 {code.value('i64', f'ptrtoint ptr {block} to i64')}, {ALIGNMENT - 1}")
            start = code.value("ptr", f"inttoptr i64 {code.value('i64', f'and i64 {end}, -{ALIGNMENT}')} to ptr")
        status = code.value("i32", f"call i32 {main}(ptr {tables[0]}, ptr {tables[1]}, ptr {start}, ptr {callback_table})")
        if block:
            code.line(module.call("void", "free", f"ptr {block}"))
        code.line(f"ret i32 {status}")


# ---- functions of scalars, for SciPy ---------------------------------------------------------------------------------------------
NUMBER = """
{lines}
  %y = alloca double
  %status = call i32 {entry}({arguments}, ptr %y)
  %failed = icmp ne i32 %status, 0
  %number = load double, ptr %y
  %answer = select i1 %failed, double 0x7FF8000000000000, double %number
  ret double %answer
}}
"""
STATUS = """
  %status = call i32 {entry}(ptr %xs, ptr %y)
  %fine = icmp eq i32 %status, 0
  %answer = zext i1 %fine to i32
  ret i32 %answer
}}
"""
ONE = "entry:\n  %xs = alloca double\n  store double %x, ptr %xs" + NUMBER
SEVERAL = (
    """entry:
  %right = icmp eq i32 %n, {count}
  br i1 %right, label %run, label %wrong
wrong:
  ret double 0x7FF8000000000000
run:"""
    + NUMBER
)
WINDOW = (
    """entry:
  %right = icmp eq i64 %n, {count}
  br i1 %right, label %run, label %wrong
wrong:
  ret i32 0
run:"""
    + STATUS
)
BOTH = (
    """entry:
  %right.n = icmp eq KIND %n, {count}
  %right.m = icmp eq KIND %m, {rank}
  %right = and i1 %right.n, %right.m
  br i1 %right, label %run, label %wrong
wrong:
  ret i32 0
run:"""
    + STATUS
)
ROUTINES = {
    "double (double)": "define double @routine(double %x) {{\n" + ONE,
    "double (double, void *)": "define double @routine(double %x, ptr %data) {{\n" + ONE,
    "double (int, double *)": "define double @routine(i32 %n, ptr %xs) {{\n" + SEVERAL,
    "double (int, double *, void *)": "define double @routine(i32 %n, ptr %xs, ptr %data) {{\n" + SEVERAL,
    "int (double *, intptr_t, double *, void *)": "define i32 @routine(ptr %xs, i64 %n, ptr %y, ptr %data) {{\n" + WINDOW,
    "int (double *, intptr_t, double *, intptr_t, void *)": "define i32 @routine(ptr %xs, i64 %n, ptr %y, i64 %m, ptr %data) {{\n"
    + BOTH.replace("KIND", "i64"),
    "int (intptr_t *, double *, int, int, void *)": "define i32 @routine(ptr %xs, ptr %y, i32 %n, i32 %m, ptr %data) {{\n"
    + BOTH.replace("KIND", "i32"),
}
"""Functions that SciPy's integrators and filters call, by their signatures: of a number, of several; of a window; from line to line; of the
coordinates of a point. A failure is NaN, or 0 where a status is wanted."""


def suits(signature: str, given: Sequence[ArrayType], outputs: Sequence[ArrayType]) -> bool:
    """Whether a function of these types can be one of this signature."""
    if signature not in ROUTINES or not given or len(outputs) != 1:
        return False
    shapes, out = [t.shape for t in given], outputs[0].shape
    source = "i8" if signature.startswith("int (intptr_t") else "f8"
    if any(t.dtype.str[1:] != source for t in given) or outputs[0].dtype.str[1:] != "f8":
        return False
    numbers, vector = all(shape == () for shape in shapes), len(shapes) == 1 and len(shapes[0]) == 1
    if signature.startswith("double (double"):
        return numbers and len(shapes) == 1 and out == ()
    if signature.startswith("double (int"):
        return (numbers or vector) and out == ()
    return vector and (out == () if signature.count("intptr_t") == 1 and source == "f8" else len(out) == 1)
