"""One lowering of a Program: its schedule, written as LLVM text on the values it is given.

The nests of the plan become functions of their own, divided among threads where that pays; the rest is written in line, or in parts if it
is long. Elements that are known are not computed again: the function at hand remembers them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from itertools import pairwise
from math import prod
from typing import Any, Protocol

from cotan.core.program import Equation, Literal, Program, Var
from cotan.core.types import ArrayType, array_type
from cotan.engines.native.affine import variable
from cotan.engines.native.analysis.access import Reader
from cotan.engines.native.passes.half_precision import widen_half
from cotan.engines.native.runtime import thread_pool
from cotan.engines.native.scalar.emitter import LlvmEmitter, Scalar
from cotan.engines.native.schedule.fusion import Schedule
from cotan.engines.native.schedule.loop_nest import Loop, Opaque, Statement

from .context import ModuleContext
from .values import Constant, Memory, Value, View, memory_type, offset_of
from .workspace import WorkspaceFrame, padded_size

__all__ = ["ProgramLowering", "Strategies", "lower_program", "schedule_of"]

Span = tuple[Any, Any]
"""The turns of a loop that a chunk has: the first, and the one after the last."""


class Cell:
    """A variable of the function at hand that holds a scalar."""

    def __init__(self, e: LlvmEmitter, type: ArrayType):
        self.memory = Memory(e.module.code.alloca(memory_type(type.dtype)), type.with_shape(()))

    def get(self, e: LlvmEmitter) -> Scalar:
        return Memory(self.memory.at, self.memory.type).read(e, ())

    def set(self, e: LlvmEmitter, x: Scalar) -> None:
        self.memory.write(e, (), x)


class Strategies(Protocol):
    """How nodes of the loop nests are written that are more than loops over elements (`lower.ModuleLowering`)."""

    def opaque(self, lowering: ProgramLowering, node: Opaque, operands: list[Value], results: list[Any]) -> None:
        """Write an equation that is run as a whole."""
        ...

    def tiled(self, lowering: ProgramLowering, loop: Loop) -> bool:
        """Write a loop nest in tiles, if that is better; whether it was."""
        ...

    def transposed(self, lowering: ProgramLowering, v: Any, target: Memory) -> bool:
        """Write a value that is a transpose to memory, in squares, if it is one; whether it was."""
        ...


class ProgramLowering:
    """One Program being written on values."""

    def __init__(self, context: ModuleContext, strategies: Strategies, schedule: Schedule, values: Sequence[Value]):
        self.context, self.e, self.strategies, self.schedule = context, context.e, strategies, schedule
        self.options = context.options
        self.values: dict[Var, Value] = dict(zip(schedule.program.inputs, values, strict=True))
        self.frame = WorkspaceFrame(context.frames[-1] if context.frames else None)
        self.now = 0
        self.cells: dict[Statement, tuple[Cell, Cell]] = {}
        self.places: dict[Var, Memory] = {}

    @property
    def code(self) -> Any:
        return self.context.module.code

    def inline(self, program: Program, values: Sequence[Value], targets: Sequence[Memory | None]) -> list[Value]:
        """Write a Program that this one holds, here, on these values."""
        return lower_program(self.context, self.strategies, program, values, targets)

    def steady(self, value: Value) -> Value:
        """A value that a loop reads in each iteration: what moves elements under conditions is done before."""
        if isinstance(value, View) and value.type.size > self.options.small_array:
            memory = self.buffer(value.type)
            self.context.copy(value, memory)
            return memory
        return value

    def write(self, targets: Sequence[Memory | None]) -> list[Value]:
        """The whole Program; its outputs."""
        outputs = self.schedule.program.outputs
        for v, target in zip(outputs, targets, strict=True):
            if (
                isinstance(v, Var)
                and target is not None
                and v not in self.places
                and (v in self.schedule.statement or v in self.schedule.opaque)
            ):
                self.places[v] = target
                self.updates_in(v, target)
        for first, end, apart in self.schedule.parts():
            if apart:
                for v in self.schedule.handed_on(first, end):
                    if v not in self.places:
                        self.places[v] = self.context.in_workspace(v.type, self.frame.keep(v.type.nbytes))
                self.context.outlined(lambda: self.nodes_at_root(first, end), nest=False)  # noqa: B023 - used at once
            else:
                self.nodes_at_root(first, end)
        self.now = len(self.schedule.root.body)
        found = []
        for v, target in zip(outputs, targets, strict=True):
            value = self.value(v)
            if target is not None and value is not target:
                if not self.strategies.transposed(self, v, target):
                    self.context.copy(value, target)
                value = target
            found.append(value)
        return found

    def updates_in(self, v: Var, target: Memory) -> None:
        """What ``v`` is updates of lies where ``v`` will, from the first on."""
        source = self.schedule.updated(v)
        while source is not None and source not in self.places:
            self.places[source] = copy(target)
            source = self.schedule.updated(source)

    def nodes_at_root(self, first: int, end: int) -> None:
        """The nodes of the root in this range."""
        for k in range(first, end):
            node, self.now = self.schedule.root.body[k], k
            if type(node) is Opaque:
                operands = [self.value(v) for v in node.equation.inputs]
                self.update_in_place(node)
                results = [self.place(v) if type(v.type) is ArrayType else None for v in node.equation.outputs]
                with self.context.written_for(node.equation):
                    self.strategies.opaque(self, node, operands, results)
            elif type(node) is Statement:
                self.statement(node, ())
            else:
                self.nest(node)

    # ---- values ---------------------------------------------------------------------------------------------------------------
    def value(self, v: Var | Literal) -> Value:
        """What a variable stands for."""
        if isinstance(v, Literal):
            return Constant(v.value, v.type)
        found = self.values.get(v)
        if found is None:
            equation = self.schedule.moved.get(v)
            if equation is not None:
                found = View(v.type, lambda index: self.read(v, index))
            elif v in self.places:
                found = self.places[v]
            else:
                found = View(v.type, lambda index: self.read(v, index))
            self.values[v] = found
        return found

    def read(self, v: Var | Literal, index: tuple[Any, ...]) -> Scalar:
        """An element of a variable."""
        if isinstance(v, Literal):
            return self.e.constant(v.value, v.type.dtype)
        found = self.code.known((self, v, index))
        if found is not None:
            return found
        equation = self.schedule.moved.get(v)
        if equation is not None:
            return self.element(equation, index)
        place = self.places.get(v)
        return place.read(self.e, index) if place is not None else self.values[v].read(self.e, index)

    def element(self, equation: Equation, index: tuple[Any, ...]) -> Scalar:
        """An element of a result, by the defining equation."""
        readers = [Reader(v.type, lambda at, v=v: self.read(v, at)) for v in equation.inputs]
        with self.context.written_for(equation):
            return equation.op.element(self.e, index, *readers)  # type: ignore[attr-defined]

    def place(self, v: Var) -> Memory:
        """Memory for the whole of a value, as long as it is read."""
        found = self.places.get(v)
        if found is None:
            found = self.places[v] = self.buffer(v.type, max(self.schedule.last_use(v), self.now))
        return found

    def update_in_place(self, node: Opaque) -> None:
        """An op that returns a changed copy of its operand may change the operand itself if it is read nowhere else."""
        equation = node.equation
        source, result = equation.inputs[0] if equation.inputs else None, equation.outputs[0]
        if not isinstance(source, Var) or result in self.places or not self.schedule.changes(equation, source):
            return
        memory = self.places.get(source)
        if memory is not None and memory.taken is not None and self.schedule.last_use(source) <= node.position:
            self.places[result] = copy(memory)  # another value in the same place: what is known of the elements of one is not of the other
            memory.taken[2] = max(self.schedule.last_use(result), node.position)

    def buffer(self, type: ArrayType, last: int | None = None) -> Memory:
        """Memory until the node ``last``: on the stack if it is small."""
        if type.size <= self.options.small_array:
            return self.context.on_stack(type)
        return self.context.in_workspace(type, self.frame.take(type.nbytes, self.now, self.now if last is None else last))

    def contiguous(self, value: Value) -> str:
        """The pointer to a value, which is put into memory if it is not there."""
        at = value.pointer(self.e)
        if at is None:
            memory = self.buffer(value.type)
            self.context.copy(value, memory)
            at = memory.at
        return at

    # ---- loops -------------------------------------------------------------------------------------------------------------------
    def nest(self, loop: Loop) -> None:
        """A loop at the root: turn by turn if it is tiny, else as a function of its own."""
        for statement in loop.statements:
            v = statement.var
            kept = self.schedule.shared_axes(v)
            outside = any(not s.path or s.path[0] is not loop for s, _ in self.schedule.readers.get(v, []))
            if kept is None or (kept == 0 and v.type.shape) or (outside and not (loop.unrolled and kept == len(v.type.shape))):
                self.place(v)
        if loop.unrolled:
            self.loop(loop, ())
        elif self.strategies.tiled(self, loop):
            pass
        elif self.worth_parallelizing(loop):
            self.parallel_for(loop)
        else:
            self.context.outlined(lambda: self.rows_and_loop(loop))

    def rows_and_loop(self, loop: Loop, span: Span | None = None) -> None:
        """A loop, after the memory that its turns use again and again has been set aside."""
        for statement in loop.statements:
            if statement.var not in self.places:
                self.row(statement)
        self.loop(loop, (), span)

    def loop(self, loop: Loop, turn: tuple[Any, ...], span: Span | None = None) -> None:
        """A loop inside of the turns of others; with ``span``, those of its turns."""
        starting = [s for s in loop.statements if s.monoid and s.ready == len(turn)]
        for statement in starting:
            self.start_fold(statement, turn)
        flat = None if turn else self.flat(loop)
        if flat is not None:
            inner, size = flat
            depth = len(inner.statements[0].order)
            self.turns(inner, size, (), lambda k: self.nodes(inner, (*[0] * (depth - 1), k)), span)
        elif loop.unrolled:
            for k in range(loop.extent):
                self.nodes(loop, (*turn, k))
            self.flush([s for s in loop.statements if s in self.cells and s.loop is loop])
        else:
            self.turns(loop, loop.extent, loop.cuts, lambda k: self.nodes(loop, (*turn, k)), span)
        for statement in starting:
            self.end_fold(statement, turn)

    def flat(self, loop: Loop) -> tuple[Loop, int] | None:
        """Of loops that may be one, the innermost and the number of all turns."""
        return None if loop.unrolled or not self.linear(loop) else flat_size(loop)

    def linear(self, loop: Loop) -> bool:
        """Whether the arrays from outside that are read in a loop lie in order."""
        given = {v for s in loop.statements for v, index in s.reads if index and v in self.values}
        return all(self.values[v].linear for v in given if v not in self.schedule.statement)

    def turns(self, loop: Loop, size: int, cuts: Any, body: Callable[[Any], None], span: Span | None = None) -> None:
        """The turns of a loop: in pieces where conditions change."""
        folds = [s for s in loop.statements if s in self.cells and s.loop is loop]
        at = sorted({0, size, *[c for c in cuts if 0 < c < size]})
        if len(at) > self.options.index_set_pieces:
            at = [0, size]
        for first, end in pairwise(at):
            if span is not None:
                self.stretch(*self.within(span, first, end, size), (first, end), body, folds)
            elif end - first == 1:
                body(first)
            elif end > first:
                self.stretch(first, end, (first, end), body, folds)
            self.flush(folds)

    def within(self, span: Span, first: int, end: int, size: int) -> Span:
        """The part of a span between two turns. It never ends before it begins: blocks are counted from the difference."""
        low, high = span
        call = self.context.module.call
        if first > 0:
            low = self.code.value("i64", call("i64", "llvm.smax.i64", f"i64 {low}", f"i64 {first}"))
        if end < size:
            high = self.code.value("i64", call("i64", "llvm.smin.i64", f"i64 {high}", f"i64 {end}"))
        if first > 0 or end < size:
            high = self.code.value("i64", call("i64", "llvm.smax.i64", f"i64 {high}", f"i64 {low}"))
        return low, high

    def stretch(self, first: Any, end: Any, range: tuple[int, int], body: Callable[[Any], None], folds: list[Statement]) -> None:
        """Turns one after the other, numbers or values within a range; in blocks where something is folded."""
        code, known, block_size = self.code, type(first) is int and type(end) is int, self.options.reduction_block

        def loop(first: Any, end: Any, at_least_once: bool) -> None:
            code.loop(end, lambda k: body(variable(k, range[1], range[0])), start=first, at_least_once=at_least_once)

        if not folds or (known and end - first < 2 * block_size):
            return loop(first, end, known)
        if known:
            whole: Any = first + (end - first) // block_size * block_size
        else:
            whole = code.value("i64", f"and i64 {code.value('i64', f'sub i64 {end}, {first}')}, {-block_size}")
            whole = code.value("i64", f"add i64 {first}, {whole}")

        def block(start: str) -> None:
            loop(start, code.value("i64", f"add nuw nsw i64 {start}, {block_size}"), True)
            self.flush(folds)

        code.loop(whole, block, start=first, step=block_size, at_least_once=known)
        if not known or end > whole:
            loop(whole, end, known)
        return None

    # ---- threads ----------------------------------------------------------------------------------------------------------------
    def worth_parallelizing(self, loop: Loop) -> bool:
        """Whether the turns of a loop at the root go to several threads."""
        totals = [s for s in loop.statements if s.monoid and s.ready == 0]
        rows = [s.var.type for s in loop.statements if s.var not in self.places]
        kept = [self.schedule.shared_axes(s.var) or 0 for s in loop.statements if s.var not in self.places]
        sizes = [prod(t.shape[k:]) * t.dtype.itemsize for t, k in zip(rows, kept, strict=True)]
        return (
            not self.context.in_chunk
            and loop.work >= 2 * self.options.chunk_cost
            and all(s.var.type.nbytes <= self.options.stack_array_bytes for s in totals)
            and all(n <= self.options.stack_array_bytes for n in sizes)
        )

    def parallel_for(self, loop: Loop) -> None:
        """A loop at the root in chunks. What is folded over all turns has a total for each chunk; these are folded in order."""
        flat = self.flat(loop)
        most = min(thread_pool.MOST_CHUNKS, loop.work // self.options.chunk_cost)
        totals = [s for s in loop.statements if s.monoid and s.ready == 0]
        parts = {s: self.context.in_workspace(array_type((most, padded_size(s.var.type)), s.var.type.dtype), []) for s in totals}
        for part in parts.values():
            part.taken = self.frame.take(part.type.nbytes, self.now, self.now)
        kept = {s: self.place(s.var) for s in totals}

        def write(first: str, end: str, chunk: str) -> None:
            for s, part in parts.items():
                start = self.context.module.within(variable(chunk, most) * padded_size(s.var.type), part.type.size - s.var.type.size + 1)
                at = self.code.address(part.at, memory_type(s.var.type.dtype), start)
                self.places[s.var] = Memory(at, s.var.type)
            self.rows_and_loop(loop, (first, end))

        self.context.nests += 1
        size, work = loop.extent if flat is None else flat[1], loop.work
        each = min(1 + work // self.options.small_job_cost, self.options.chunks_per_thread)
        count = self.context.module.parallel_for(
            f"nest{self.context.nests}", size, most, write, small=work < self.options.small_job_cost, each=each
        )
        for s, part in parts.items():
            place = self.places[s.var] = kept[s]
            self.context.outlined(lambda: self.together(s, part, count, place))  # noqa: B023 - used at once

    def together(self, s: Statement, parts: Memory, count: str, place: Memory) -> None:
        """Fold the totals of all chunks."""
        dtype = s.var.type.dtype
        self.context.every(s.var.type.shape, lambda index: place.write(self.e, index, self.identity(s)))

        def one(chunk: str) -> None:
            def element(index: tuple[Any, ...]) -> None:
                x = parts.read(self.e, (variable(chunk, parts.type.shape[0]), offset_of(s.var.type.shape, index)))
                old = Memory(place.at, place.type).read(self.e, index)
                place.write(self.e, index, Scalar(self.e.combined(s.monoid, dtype, old.value, x.value), dtype))

            self.context.every(s.var.type.shape, element)

        self.code.loop(count, one)

    def nodes(self, loop: Loop, turn: tuple[Any, ...]) -> None:
        """What is in a loop, at one turn."""
        for node in loop.body:
            if type(node) is Statement:
                self.statement(node, turn)
            else:
                self.loop(node, turn)

    # ---- statements -------------------------------------------------------------------------------------------------------------
    def statement(self, s: Statement, turn: tuple[Any, ...]) -> None:
        """One element of a statement."""
        with self.context.written_for(s.equation):
            if s.monoid:
                self.fold(s, turn)
            else:
                index = tuple(turn)
                self.define(s, index, self.element_of(s, index))

    def element_of(self, s: Statement, index: tuple[Any, ...]) -> Scalar:
        """An element of a statement that folds nothing, or has nothing to fold over."""
        outer, self.e.reduce = self.e.reduce, lambda monoid, extents, at, dtype: at(())  # type: ignore[method-assign]
        try:
            return self.element(s.equation, index)
        finally:
            self.e.reduce = outer  # type: ignore[method-assign]

    def define(self, s: Statement, index: tuple[Any, ...], x: Scalar) -> None:
        """An element of a result is known, and is stored if it is read elsewhere."""
        self.code.remember((self, s.var, index), x)
        place = self.places.get(s.var)
        if place is None and s.loop is not None and s.loop.unrolled:
            place = self.row(s)
        if place is not None:
            place.write(self.e, index, x)

    def row(self, s: Statement) -> Memory | None:
        """Memory for the part of a value that one turn of the shared loops makes; None if its readers are at the same element."""
        t = s.var.type
        kept = self.schedule.shared_axes(s.var)
        if kept is None or kept == len(t.shape):
            return None
        rest = t.with_shape(t.shape[kept:])
        if rest.nbytes <= self.options.stack_array_bytes:
            at = self.context.on_stack(rest).at
        else:
            at = self.context.in_workspace(rest, self.frame.take(rest.nbytes, self.now, self.now)).at
        place = self.places[s.var] = Memory(at, t, kept)
        return place

    def partial(self, s: Statement) -> Memory:
        """Memory for totals that are unfinished side by side, where no reader needs a row: what one turn of the outer loops makes."""
        rest = s.var.type.with_shape(s.var.type.shape[s.ready :])
        if rest.nbytes <= self.options.stack_array_bytes:
            at = self.context.on_stack(rest).at
        else:
            at = self.context.in_workspace(rest, self.frame.take(rest.nbytes, self.now, self.now)).at
        place = self.places[s.var] = Memory(at, s.var.type, s.ready)
        return place

    # ---- folds --------------------------------------------------------------------------------------------------------------------
    def in_register(self, s: Statement) -> bool:
        """Whether all the loops inside are folded over."""
        return s.ready == len(s.var.type.shape)

    def identity(self, s: Statement) -> Scalar:
        return self.e.identity(s.monoid, s.var.type.dtype)

    def start_fold(self, s: Statement, turn: tuple[Any, ...]) -> None:
        """Before the loops that are folded over."""
        if self.in_register(s):
            total = Cell(self.e, s.var.type)
            self.cells[s] = (total if s.loop is not None and s.loop.unrolled else Cell(self.e, s.var.type)), total
            for cell in dict.fromkeys(self.cells[s]):
                cell.set(self.e, self.identity(s))
        else:
            place = self.places.get(s.var) or self.row(s) or self.partial(s)
            self.context.every(s.var.type.shape[s.ready :], lambda index: place.write(self.e, (*turn, *index), self.identity(s)))

    def fold(self, s: Statement, turn: tuple[Any, ...]) -> None:
        """Fold one element in."""
        dtype = s.var.type.dtype
        place: dict[Any, Any] = {next(iter(symbol.terms)).value: k for symbol, k in zip(s.order, turn, strict=True)}
        out = tuple(place["o", k] for k in range(len(s.var.type.shape)))
        found: list[Scalar] = []

        def fold(monoid: str, extents: Sequence[int], at: Callable[[Any], Scalar], dtype: Any) -> Scalar:
            found.append(at(tuple(place["r", k] for k in range(len(extents)))))
            return found[0]

        outer, self.e.reduce = self.e.reduce, fold  # type: ignore[method-assign]
        try:
            self.element(s.equation, out)
        finally:
            self.e.reduce = outer  # type: ignore[method-assign]
        if s in self.cells:
            part = self.cells[s][0]
            old = part.get(self.e)
            part.set(self.e, Scalar(self.e.combined(s.monoid, dtype, old.value, found[0].value), dtype))
        else:
            memory = Memory(self.places[s.var].at, s.var.type, self.places[s.var].contracted)
            old = memory.read(self.e, out)
            memory.write(self.e, out, Scalar(self.e.combined(s.monoid, dtype, old.value, found[0].value), dtype))

    def flush(self, folds: list[Statement]) -> None:
        """Fold what the innermost loop gave into the totals."""
        for s in folds:
            part, total = self.cells[s]
            if part is total:
                continue
            dtype = s.var.type.dtype
            total.set(self.e, Scalar(self.e.combined(s.monoid, dtype, total.get(self.e).value, part.get(self.e).value), dtype))
            part.set(self.e, self.identity(s))

    def end_fold(self, s: Statement, turn: tuple[Any, ...]) -> None:
        """After the loops that are folded over."""
        if s in self.cells:
            self.define(s, turn, self.cells.pop(s)[1].get(self.e))


def schedule_of(context: ModuleContext, program: Program) -> Schedule:
    """The loop nests of a Program, made once in a module."""
    schedule = context.schedules.get(program)
    if schedule is None:
        schedule = context.schedules[program] = Schedule(widen_half(program), context.options)
    return schedule


def lower_program(
    context: ModuleContext, strategies: Strategies, program: Program, values: Sequence[Value], targets: Sequence[Memory | None]
) -> list[Value]:
    """Write ``program`` on ``values`` where the writer stands: at the top, or as the body of a loop. An output that has a target is
    written there.
    """
    lowering = ProgramLowering(context, strategies, schedule_of(context, program), values)
    context.frames.append(lowering.frame)
    outputs = lowering.write(targets)
    context.frames.pop()
    context.workspace_bytes = max(context.workspace_bytes, lowering.frame.top)
    return outputs


def flat_size(loop: Loop) -> tuple[Loop, int] | None:
    """Of loops in which every element is read where it is needed, the innermost and the number of all turns."""
    if not all(s.flat for s in loop.statements):
        return None
    size, inner = loop.extent, loop
    while len(inner.body) == 1 and type(inner.body[0]) is Loop:
        inner = inner.body[0]
        size *= inner.extent
    return (inner, size) if all(type(node) is Statement for node in inner.body) and inner is not loop else None
