"""The kernel builder: the vocabulary of an op's ``routine`` (`core.emitting.Routines`) as native code.

A kernel is written inline, so that a failure can return from the whole call. Long loops without calls are outlined into functions whose
pointers are known not to alias.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from math import prod

import numpy as np

from cotan.core.emitting import DType
from cotan.core.program import Literal, Var
from cotan.core.types import array_type
from cotan.engines.native.affine import ElementIndex, Index, variable
from cotan.engines.native.analysis.access import AccessProbe, Reader, axis
from cotan.engines.native.codegen.failures import Failures
from cotan.engines.native.codegen.loop_builder import LoopBuilder, unravelled
from cotan.engines.native.codegen.program import ProgramLowering
from cotan.engines.native.codegen.strided import StridedView, strides_of
from cotan.engines.native.codegen.values import Memory, Value, memory_type
from cotan.engines.native.codegen.workspace import padded_size
from cotan.engines.native.libraries.blas import fortran_integer
from cotan.engines.native.libraries.registry import routine, sorts_in_vectors
from cotan.engines.native.runtime import thread_pool
from cotan.engines.native.scalar.emitter import Scalar

from .batched import batch_lanes, batched, dense_batch, gapless
from .transpose import copy_matrix

__all__ = ["KernelBuilder", "Operand"]


class Operand(Reader):
    """An operand of a kernel: its variable in the Program, and its value."""

    __slots__ = ("value", "variable")

    def __init__(self, lowering: ProgramLowering, v: Var | Literal, value: Value):
        super().__init__(v.type, lambda index: value.read(lowering.e, index))
        self.variable, self.value = v, value


Argument = StridedView | Scalar | np.generic | str | int | None
"""An argument of a library routine: memory, a scalar, a constant of a dtype, a letter, a number, or the null pointer."""


class KernelBuilder(LoopBuilder):
    """Builds the kernel of one equation."""

    def __init__(self, lowering: ProgramLowering, failures: Failures, op: str = ""):
        self.lowering, self.failures, self.op = lowering, failures, op
        super().__init__(lowering.context)
        self.integer = fortran_integer(self.context.module.target)
        self.chunk: tuple[Index | int, int] = (0, 1)
        """The number of the current chunk, and the most chunks that there are. Each has its own memory."""

    # ---- libraries -----------------------------------------------------------------------------------------------------------
    def has(self, name: str) -> bool:
        return routine(name, self.context.module.target) is not None

    def in_vectors(self, name: str) -> bool:
        return self.has(name) and sorts_in_vectors(name)

    def call(self, name: str, *arguments: Argument, work: int = 0) -> None:
        found = routine(name, self.context.module.target)
        if found is None:
            raise LookupError(f"{name}: there is no such routine here")
        self.failures.routines[name] = None
        if found.by_address:
            passed = [f"ptr {self.by_address(x, found.integer)}" for x in arguments]
        else:
            passed = [f"ptr {self.by_address(x, '')}" if not isinstance(x, int) else f"{found.integer} {x}" for x in arguments]
        one = work < self.context.options.blas_threads_products
        with self.context.blas_threads(one=one) if work > 0 and not self.context.in_chunk else nullcontext():
            self.code.line(self.context.module.call_routine(found, *passed))

    def by_address(self, x: Argument, integer: str) -> str:
        """The pointer to a block, or to a constant."""
        if x is None:
            return "null"
        if isinstance(x, StridedView):
            return x.pointer
        if type(x) is Scalar:
            return self.variable(self.emitter.cast(x, self.integer)).pointer
        if isinstance(x, str):
            return self.constant("i8", str(ord(x)))
        if isinstance(x, int):
            return self.cell(integer, x)
        assert isinstance(x, np.generic), x
        number = self.emitter.constant(x, x.dtype)
        if x.dtype.kind != "c":
            return self.constant(memory_type(x.dtype), number.register)
        ir_type = memory_type(x.dtype).split()[-1][:-1]
        re, im = number.value
        return self.constant(memory_type(x.dtype), f"[{ir_type} {re}, {ir_type} {im}]")

    def cell(self, ir_type: str, number: int) -> str:
        """A number in memory. The code stores it, so that code for other sizes differs in numbers alone."""
        key = ("cell", ir_type, number)
        found = self.code.known(key)
        if found is None:
            found = self.code.alloca(ir_type)
            self.code.line(f"store {ir_type} {number}, ptr {found}")
            self.code.remember(key, found)
        return found

    def constant(self, ir_type: str, text: str) -> str:
        """A constant in memory."""
        constants = self.context.module.constants
        key = f"{ir_type} {text}"
        if key not in constants:
            constants[key] = f"@constant{len(constants)} = private constant {key}"
        return constants[key].split(" ", 1)[0]

    # ---- memory --------------------------------------------------------------------------------------------------------------
    def scratch(self, shape: Sequence[int], dtype: DType) -> StridedView:
        t = array_type(tuple(shape), np.dtype(dtype))
        if not self.context.in_chunk or t.size <= self.context.options.small_array:
            return StridedView(self.emitter, self.lowering.buffer(t).at, t.dtype, t.shape)
        chunk, most = self.chunk
        every = self.lowering.buffer(array_type((most, padded_size(t)), t.dtype))
        return StridedView(self.emitter, every.at, t.dtype, t.shape, None, chunk * padded_size(t))

    def variable(self, start: Scalar) -> StridedView:
        cell = StridedView(self.emitter, self.context.on_stack(array_type((), start.dtype)).at, start.dtype, ())
        cell[()] = start
        return cell

    def result(self, memory: Memory) -> StridedView:
        """A result as a view."""
        return StridedView(self.emitter, memory.at, memory.type.dtype, memory.type.shape)

    def dense(self, operand: Operand) -> StridedView:
        return StridedView(self.emitter, self.lowering.contiguous(operand.value), operand.dtype, operand.shape)

    def strided(self, operand: Operand) -> StridedView:
        return self.as_it_lies(operand.variable) or self.dense(operand)

    def as_it_lies(self, v: Var | Literal) -> StridedView | None:
        """The strided view of an array in memory that a value is; None if it is none."""
        source, index = self.source(v)
        at = source.pointer(self.emitter) if source is not None else None
        found = strides_of(index, source.type.shape, len(v.type.shape)) if source is not None and at is not None else None
        if at is None or found is None:
            return None
        strides, start = found
        return StridedView(self.emitter, at, v.type.dtype, v.type.shape, strides, start)

    def source(self, v: Var | Literal) -> tuple[Value | None, ElementIndex]:
        """The value that ``v`` is a view of, and the index there of each element; None if it is no view of one value."""
        index: ElementIndex = tuple(0 if n == 1 else axis(k, n) for k, n in enumerate(v.type.shape))
        while v in self.lowering.schedule.views:
            equation, probe = self.lowering.schedule.views[v], AccessProbe()
            read: list[tuple[Var | Literal, ElementIndex]] = []

            def noted(
                x: Var | Literal, at: ElementIndex, read: list[tuple[Var | Literal, ElementIndex]] = read
            ) -> tuple[Var | Literal, ElementIndex]:
                read.append((x, at))
                return read[-1]

            readers = [Reader(x.type, lambda at, x=x: noted(x, at)) for x in equation.inputs]
            found = equation.op.element(probe, index, *readers)
            if probe.conditions or len(read) != 1 or found is not read[0]:
                return None, ()
            v, index = read[0]
        return (None, ()) if isinstance(v, Literal) else (self.lowering.value(v), index)

    # ---- loops ----------------------------------------------------------------------------------------------------------------
    def up_to(self, end: Scalar, most: int, body: Callable[[Index | int], None], *, first: Scalar | None = None) -> None:
        start, number = (0 if x is None else self.emitter.cast(x, np.dtype(np.int64)).register for x in (first, end))
        self.code.loop(number, lambda k: body(variable(k, most)), start=start, at_least_once=False)

    def totals(self, monoid: str, first: Scalar, end: Scalar, most: int, at: Callable[[Index | int], Sequence[Scalar]]) -> Sequence[Scalar]:
        cells: list[StridedView] = []
        before = self.code.later()

        def step(k: Index | int) -> None:
            for j, x in enumerate(at(k)):
                if j == len(cells):
                    with self.code.at(before):
                        cells.append(self.variable(self.emitter.identity(monoid, x.dtype)))
                cells[j][()] = self.emitter.combine(monoid, cells[j][()], x)

        self.up_to(end, most, step, first=first)
        return [cell[()] for cell in cells]

    def parallel_for(
        self, shape: Sequence[int], body: Callable[[ElementIndex], None], work: int, *, most: int = thread_pool.MOST_CHUNKS
    ) -> None:
        count = prod(shape)
        if count < 2:
            return self.every(shape, body)

        def some(first: Index | int, number: Scalar | int) -> None:
            if isinstance(number, int):
                return self.every(shape, body)
            end = self.code.value("i64", f"add i64 {self.code.index(first)}, {number.register}")
            return self.code.loop(
                end, lambda k: body(unravelled(variable(k, count), shape)), start=self.code.index(first), at_least_once=False
            )

        return self.parallel_ranges(count, some, work * count, most=most, each=self.context.options.chunks_per_thread)

    def parallel_ranges(
        self,
        count: int,
        body: Callable[[Index | int, Scalar | int], None],
        work: int,
        *,
        most: int = thread_pool.MOST_CHUNKS,
        each: int = 1,
    ) -> None:
        most = min(count, most, each * self.context.options.threads)  # they may have memory of their own
        if work < self.context.options.kernel_products or most < 2 or self.context.in_chunk:
            return body(0, count)

        def chunk(first: str, end: str, number: str) -> None:
            self.chunk = variable(number, most), most
            size = self.code.value("i64", f"sub i64 {end}, {first}")
            body(variable(first, count), Scalar(size, np.dtype(np.int64)))

        with self.context.blas_threads(one=True):
            small = work < self.context.options.small_kernel_products
            self.context.parallel_for("share", count, most, chunk, small=small, each=each)
        return None

    def fill(self, target: StridedView, element: Callable[[ElementIndex], Scalar]) -> None:
        def write() -> None:
            self.context.every(target.shape, lambda index: target.__setitem__(index, element(index)))

        if prod(target.shape) > self.context.options.small_array:
            self.context.outlined(write)
        else:
            write()

    def copy(self, source: StridedView, target: StridedView) -> None:
        self.outlined(lambda: copy_matrix(self, source, target))

    def batched(self, lead: Sequence[int], operands: Sequence[Operand], results: Sequence[StridedView], body: Callable[..., None]) -> None:
        batched(
            self,
            tuple(lead),
            operands,
            results,
            body,
            lambda x: dense_batch(self.strided(x), len(lead)) or gapless(self.dense(x), len(lead)),
        )

    def batches(
        self, lead: Sequence[int], operands: Sequence[Operand], results: Sequence[StridedView], body: Callable[..., None], work: int
    ) -> None:
        count = prod(lead)
        if not count:
            return
        given = [dense_batch(self.strided(x), len(lead)) or gapless(self.dense(x), len(lead)) for x in operands]
        blocks = batch_lanes(self, tuple(lead), given, results)
        if work * count < self.context.options.kernel_products or self.context.in_chunk:
            self.outlined(lambda: self.every((blocks.number,), lambda k: blocks.block(k[0], body)))
        else:
            self.parallel_for((blocks.number,), lambda k: blocks.block(k[0], body), work * blocks.lanes)

    # ---- branches -------------------------------------------------------------------------------------------------------------
    def fail(self, condition: Scalar, error: type[Exception], message: str, number: Scalar | None = None) -> None:
        code, returned = self.code, self.failures.status_of(error, message, self.op)
        if number is None:
            return self.context.leave_if(condition.register, returned)
        wide = self.emitter.cast(number, np.dtype(np.int32)).register
        status = code.value("i32", f"or i32 {code.value('i32', f'shl i32 {wide}, 8')}, {returned}")
        return self.context.leave_if(condition.register, status)
