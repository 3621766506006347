"""The module context: what all Programs that are written into one module share: the module, its workspace, its heap and its exits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import prod

from cotan.core.program import Equation, Program
from cotan.core.types import ArrayType
from cotan.engines.native.affine import ElementIndex, variable
from cotan.engines.native.libraries.blas import LIMIT, has_count
from cotan.engines.native.llvm.bounds_checks import JUDGED, Checks
from cotan.engines.native.llvm.builder import Function, Line, Module
from cotan.engines.native.options import CodegenOptions
from cotan.engines.native.runtime.symbols import Symbol
from cotan.engines.native.scalar.emitter import LlvmEmitter
from cotan.engines.native.schedule.fusion import Schedule
from cotan.engines.native.status import Status, UnsupportedError
from cotan.engines.native.target import Target

from .copies import Copy, copy_of
from .values import Memory, Value, WorkspaceArray, memory_type
from .workspace import Buffer, ChunkWorkspaces, WorkspaceFrame

__all__ = ["ModuleContext"]

MOST_BYTES = 1 << 62
NOT_CHECKED = nullcontext()
EMPTY = Symbol("empty", "@empty = internal constant [2 x i64] zeroinitializer")


class ModuleContext:
    """A module that is being written, and the memory that a call of it uses."""

    def __init__(self, options: CodegenOptions, target: Target = Target.IN_PROCESS) -> None:
        self.options = options
        self.module = Module(target)
        self.e = LlvmEmitter(self.module)
        self.frames: list[WorkspaceFrame] = []
        self.workspace_bytes = 0
        """The bytes of all frames, without these:"""
        self.chunk_workspaces: list[ChunkWorkspaces] = []
        self.workspace = self.module.name("ptr")
        self.outlined_functions = 0
        self.in_chunk = False
        """Whether the current code runs in a chunk of a parallel loop: inner loops are then sequential, and BLAS has one thread."""
        self.chunk_status = ""
        """In a chunk, the address of an i32: zero, or the status with which one of the chunks leaves the call."""
        self.left: set[str] = set()
        """Those of these addresses that are used."""
        self.heap = ""
        self.beginning: list[str] = []
        self.endings: list[tuple[Function, list[Line]]] = []
        self.schedules: dict[Program, Schedule] = {}
        """The loop nests of the Programs in it (`codegen.program.schedule_of`)."""
        self.buffers: Counter[ArrayType] = Counter()
        """The number of buffers by type."""
        self.equations: list[Equation] = []
        """The equation that is being written, and before it those whose programs it is in."""
        self.copies: list[Copy] = []
        """The copies of large arrays."""
        self.copied = 0
        """The elements in these copies."""

    # ---- memory -------------------------------------------------------------------------------------------------------------
    def on_stack(self, type: ArrayType) -> Memory:
        """Stack memory of the current function."""
        size = max(type.size, 1)
        if size > self.options.small_array:  # so that code for some elements more has the same IR up to numbers
            size = 1 << (size - 1).bit_length()
        return Memory(self.module.code.alloca(f"[{size} x {memory_type(type.dtype)}]"), type)

    def in_workspace(self, type: ArrayType, buffer: Buffer) -> Memory:
        self.buffers[type] += 1
        return WorkspaceArray(self.module, self.workspace, buffer, type)

    def every(self, shape: Sequence[int], body: Callable[[ElementIndex], None]) -> None:
        """``body(index)`` for every index below ``shape``; few are unrolled."""
        code = self.module.code

        def level(rest: tuple[int, ...], index: ElementIndex, unrolled: bool) -> None:
            if not rest:
                body(index)
            elif unrolled:
                for k in range(rest[0]):
                    level(rest[1:], (*index, k), unrolled)
            else:
                code.loop(rest[0], lambda k: level(rest[1:], (*index, variable(k, rest[0])), False))

        if 0 not in shape:
            level(tuple(shape), (), prod(shape) <= self.options.small_array)

    def outlined(self, write: Callable[[], None], *, nest: bool = True) -> None:
        """Outline the code of ``write``: a loop nest, or a part of long straight-line code."""
        self.module.outlined(self.function_name("nest" if nest else "part"), write, nest=nest)

    def function_name(self, prefix: str) -> str:
        """A name for the next outlined function."""
        self.outlined_functions += 1
        return f"{prefix}{self.outlined_functions}"

    def parallel_for(
        self, prefix: str, size: int, most: int, write: Callable[[str, str, str], None], *, small: bool, each: int, nest: bool = True
    ) -> str:
        """`Module.parallel_for` as an outlined function whose name begins so: within, code is `in_chunk`. If a chunk leaves the call, the
        code around leaves it after all chunks, which see at their next check that they may stop.
        """
        code, around = self.module.code, (self.in_chunk, self.chunk_status)
        before, status = code.later(), self.module.name("ptr")
        self.in_chunk, self.chunk_status = True, status
        chunks = self.module.parallel_for(self.function_name(prefix), size, most, write, small=small, each=each, nest=nest)
        self.in_chunk, self.chunk_status = around
        if status in self.left:
            code.alloca("i32", status)
            with code.at(before):
                code.line(f"store i32 0, ptr {status}")
            returned = code.value("i32", f"load i32, ptr {status}")
            self.leave_if(code.value("i1", f"icmp ne i32 {returned}, 0"), returned)
        return chunks

    @contextmanager
    def blas_threads(self, *, one: bool) -> Generator[None]:
        """Calls of BLAS within use one thread, or as many as the call of the Program has."""
        if not has_count():
            yield
            return
        code, limit = self.module.code, self.module.refer(LIMIT)
        code.line(f"call void {limit}(i1 true, i32 {'1' if one else self.module.threads()})")
        yield
        code.line(f"call void {limit}(i1 false, i32 0)")

    def copy(self, source: Value, target: Memory, reason: str = "", *, in_body: bool = False) -> None:
        """Copy all elements of a value to memory. The report names a copy of a large array that has a ``reason`` (`copies.copy_of`)."""
        if reason and source.type.size > self.options.small_array:
            self.copies.append(copy_of(source.type, self.equations, reason, in_body=in_body))
            self.copied += source.type.size
        shape, at = source.type.shape, source.pointer(self.e)
        if at is not None and source.type.size > self.options.small_array:
            operands = (f"ptr {target.at}", f"ptr {at}", f"i64 {source.type.nbytes}", "i1 false")
            self.module.code.line(self.module.call("void", "llvm.memcpy.p0.p0.i64", *operands))
        elif source.type.size > self.options.small_array:
            self.outlined(lambda: self.every(shape, lambda index: target.write(self.e, index, source.read(self.e, index))))
        else:
            self.every(shape, lambda index: target.write(self.e, index, source.read(self.e, index)))

    @contextmanager
    def in_equation(self, equation: Equation) -> Generator[None]:
        """A context in which an equation that is run as a whole is written, with the programs that it holds."""
        self.equations.append(equation)
        with self.written_for(equation):
            yield
        self.equations.pop()

    def written_for(self, equation: Equation) -> AbstractContextManager[None]:
        """A context whose code belongs to an equation, which a checked build names in its errors."""
        checks = self.module.checks
        return NOT_CHECKED if checks is None else self.noted(checks, equation)

    @contextmanager
    def noted(self, checks: Checks, equation: Equation) -> Generator[None]:
        outer, checks.equation = checks.equation, equation
        try:
            yield
        finally:
            checks.equation = outer

    def allocate(self, count: str, size: int) -> str:
        """Allocate heap memory for so many entries of so many bytes until the call ends; a linked list of such blocks begins at ``heap``. A
        negative count is zero, and a size beyond the address space is out of memory.
        """
        code = self.module.code
        if self.in_chunk:
            raise UnsupportedError("heap memory in a chunk: the list of its blocks has one owner")
        if not self.heap:
            self.heap = code.alloca("ptr")
            self.beginning.append(f"  store ptr null, ptr {self.heap}")
        call = self.module.call
        some = code.value("i64", call("i64", "llvm.smax.i64", f"i64 {count}", "i64 0"))
        entries = code.value("i64", call("i64", "llvm.smin.i64", f"i64 {some}", f"i64 {MOST_BYTES // size}"))
        nbytes = code.value("i64", f"add i64 {code.value('i64', f'mul i64 {entries}, {size}')}, 64")
        block = code.value("ptr", call("ptr", "malloc", f"i64 {nbytes}"))
        missing, fine = code.label(), code.label()
        none, many = code.value("i1", f"icmp eq ptr {block}, null"), code.value("i1", f"icmp sgt i64 {count}, {MOST_BYTES // size}")
        code.branch(code.value("i1", f"or i1 {none}, {many}"), missing, fine)
        code.start(missing)
        self.leave(Status.OUT_OF_MEMORY)
        code.start(fine)
        code.line(f"store ptr {code.value('ptr', f'load ptr, ptr {self.heap}')}, ptr {block}")
        code.line(f"store ptr {block}, ptr {self.heap}")
        return code.value("ptr", f"getelementptr i8, ptr {block}, i64 64")

    def allocate_again(self, count: str, size: int) -> str:
        """`allocate` for memory that is needed only until this code runs again, which reuses the block if it is large enough."""
        code = self.module.code
        at, room = code.alloca("ptr"), code.alloca("i64")
        self.beginning.append(f"  store i64 -1, ptr {room}")
        more, on = code.label(), code.label()
        old = code.value("i64", f"load i64, ptr {room}")
        code.branch(code.value("i1", f"icmp sgt i64 {count}, {old}"), more, on)
        code.start(more)
        doubled = code.value("i64", f"mul i64 {old}, 2")
        twice = code.value("i64", self.module.call("i64", "llvm.smax.i64", f"i64 {count}", f"i64 {doubled}"))
        code.line(f"store ptr {self.allocate(twice, size)}, ptr {at}")
        code.line(f"store i64 {twice}, ptr {room}")
        code.jump(on)
        code.start(on)
        return code.value("ptr", f"load ptr, ptr {at}")

    def empty_stack(self) -> str:
        """The address and the length of an empty stack."""
        return self.module.refer(EMPTY)

    def leave_if(self, condition: str, result: int | str) -> None:
        """`leave` if an i1 value is true."""
        code = self.module.code
        stop, on = code.label(), code.label()
        code.branch(condition, stop, on)
        code.start(stop)
        with code.scope():
            self.leave(result)
        code.start(on)

    def leave(self, result: int | str, *, freeing: bool = True) -> None:
        """Return from the call, which frees its heap blocks. ``result`` is a status, or an i32 value. A chunk of a parallel loop ends, and
        the code around the loop returns. An exception is then set on the thread if the loop was interrupted, so that status replaces
        others.
        """
        code = self.module.code
        if self.in_chunk:
            self.left.add(self.chunk_status)
            if result == Status.INTERRUPTED:
                code.line(f"store atomic i32 {result}, ptr {self.chunk_status} monotonic, align 4")
            else:
                code.line(f"cmpxchg ptr {self.chunk_status}, i32 0, i32 {result} monotonic monotonic")
            code.line("ret void")
            return
        places = code.later()
        status = result
        if self.module.checks is not None:
            status = code.value("i32", f"call i32 {self.module.refer(JUDGED)}(i32 {result})")
        code.line(f"ret i32 {status}")
        if freeing:
            self.endings.append((code, places))

    def others_left(self) -> str:
        """In a chunk, whether another one has left the call, as an i1 value."""
        self.left.add(self.chunk_status)
        code = self.module.code
        status = code.value("i32", f"load atomic i32, ptr {self.chunk_status} monotonic, align 4")
        return code.value("i1", f"icmp ne i32 {status}, 0")

    def free_all(self) -> None:
        """Write the freeing at each return, once it is known whether there are heap blocks."""
        for number, (code, places) in enumerate(self.endings):
            if self.heap:
                with code.at(places):
                    head, turn, after = (f"free{number}{word}" for word in ("head", "turn", "after"))
                    first = code.value("ptr", f"load ptr, ptr {self.heap}")
                    before = f"free{number + 1}before"
                    code.jump(before)
                    code.start(before)
                    code.jump(head)
                    code.start(head)
                    block, following = self.module.name("ptr"), self.module.name("ptr")
                    code.line(f"{block} = phi ptr [{first}, %{before}], [{following}, %{turn}]")
                    code.branch(code.value("i1", f"icmp eq ptr {block}, null"), after, turn)
                    code.start(turn)
                    code.line(f"{following} = load ptr, ptr {block}")
                    code.line(self.module.call("void", "free", f"ptr {block}"))
                    code.jump(head)
                    code.start(after)
