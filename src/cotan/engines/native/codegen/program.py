"""The lowering of a Program: its schedule as LLVM IR, on the values that it is given.

Loop nests become functions of their own, parallel where that pays. The rest is written inline, or outlined in parts if it is long. The
bases `elements` and `reductions` say how an element is computed and how reductions accumulate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from math import prod
from typing import Protocol

from cotan.core.program import Literal, Program, Var
from cotan.core.types import ArrayType
from cotan.engines.native.affine import ElementIndex, Index, variable
from cotan.engines.native.runtime import thread_pool
from cotan.engines.native.schedule import fusion
from cotan.engines.native.schedule.fusion import Schedule
from cotan.engines.native.schedule.in_place import chain, predecessors
from cotan.engines.native.schedule.loop_nest import Loop, Opaque, Statement

from .context import ModuleContext
from .partials import PartialResults
from .reductions import ReductionLowering
from .values import Memory, Value, View, offset_of

__all__ = ["ProgramLowering", "Strategies", "lower_program", "schedule_of"]

Span = tuple[str, str]
"""The iterations of a chunk, as i64 values: the first, and the one after the last."""


class Strategies(Protocol):
    """The lowering of nodes that are more than loops over elements (`lower.NodeStrategies`)."""

    def opaque(self, lowering: ProgramLowering, node: Opaque, operands: list[Value], results: list[Memory | None]) -> None:
        """Write an equation that is run as a whole."""
        ...

    def runs_in_chunks(self, lowering: ProgramLowering, program: Program) -> bool:
        """Whether the code of a Program of arrays may run in chunks of a parallel loop."""
        ...

    def tiled(self, lowering: ProgramLowering, loop: Loop) -> bool:
        """Write a loop nest in tiles, if that is faster; whether it is written."""
        ...

    def transposed(self, lowering: ProgramLowering, v: Var | Literal, target: Memory) -> bool:
        """Write a permuted view to memory as a tiled copy, if that is faster; whether it is written."""
        ...


class ProgramLowering(ReductionLowering):
    """Lowers one Program whose inputs have these values."""

    def __init__(self, context: ModuleContext, strategies: Strategies, schedule: Schedule, values: Sequence[Value]):
        super().__init__(context, schedule, values)
        self.strategies = strategies

    def inline(self, program: Program, values: Sequence[Value], targets: Sequence[Memory | None]) -> list[Value]:
        """Write a Program that an op holds, inline, on these values."""
        return lower_program(self.context, self.strategies, program, values, targets)

    def steady(self, value: Value) -> Value:
        """A value for reads in each iteration of a loop: conditional data movement is done once before."""
        if isinstance(value, View) and value.type.size > self.options.small_array:
            memory = self.buffer(value.type)
            self.context.copy(value, memory, "a view that a loop or a branch reads is stored before it")
            return memory
        return value

    def write(self, targets: Sequence[Memory | None]) -> list[Value]:
        """Write the whole Program; its outputs."""
        outputs = self.schedule.program.outputs
        for v, target in zip(outputs, targets, strict=True):
            if (
                isinstance(v, Var)
                and target is not None
                and v not in self.places
                and (v in self.schedule.statement or v in self.schedule.opaque)
            ):
                self.places[v] = target
                self.place_predecessors(v, target)
        for first, end, apart in self.schedule.function_parts():
            if apart:
                for v in self.schedule.live_across(first, end):
                    if v not in self.places:
                        self.places[v] = self.context.in_workspace(v.type, self.frame.keep(v.type.nbytes))
                self.context.outlined(lambda: self.nodes_at_root(first, end), nest=False)  # noqa: B023 - used at once
            else:
                self.nodes_at_root(first, end)
        self.now = len(self.schedule.root.body)
        found = []
        for v, target in zip(outputs, targets, strict=True):
            value = self.value(v)
            if target is not None and not value.lies_in(target):
                if not self.strategies.transposed(self, v, target):
                    self.context.copy(value, target, "this result is a part of an argument or of another result", in_body=True)
                value = target
            found.append(value)
        return found

    def place_predecessors(self, v: Var, target: Memory) -> None:
        """Let the values that are updated into ``v`` be in the memory of ``v``, from the first on. If an input is there, a value that does
        not come from it waits for the last use of that input.
        """
        schedule = self.schedule
        given = [x for x in schedule.program.inputs if x.type is v.type and self.values[x].lies_in(target)]
        links = {x: chain(schedule, x, v) for x in given}
        for before in dict.fromkeys([*[w for link in links.values() for w in link or ()], *predecessors(schedule, v)]):
            node = schedule.opaque.get(before) or schedule.statement.get(before)
            if node is None or before in self.places:
                break
            if not all(before in (links[x] or ()) or schedule.last_use(x) < node.position for x in given):
                break
            self.places[before] = target.forgotten()

    def nodes_at_root(self, first: int, end: int) -> None:
        """Write the nodes of the root in this range."""
        for k in range(first, end):
            node, self.now = self.schedule.root.body[k], k
            if type(node) is Opaque:
                operands = [self.value(v) for v in node.equation.inputs]
                self.update_in_place(node)
                results = [self.place(v) if type(v.type) is ArrayType else None for v in node.equation.outputs]
                with self.context.in_equation(node.equation):
                    self.strategies.opaque(self, node, operands, results)
            elif type(node) is Statement:
                self.statement(node, ())
            else:
                self.nest(node)

    # ---- loops -------------------------------------------------------------------------------------------------------------------
    def nest(self, loop: Loop) -> None:
        """Write a loop at the root: unrolled, tiled, parallel, or as a function of its own."""
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
            self.context.outlined(lambda: self.loop_at_root(loop))

    def loop_at_root(self, loop: Loop, span: Span | None = None) -> None:
        """Write a loop, after the memory of contracted values is allocated."""
        for statement in loop.statements:
            if statement.var not in self.places:
                self.contracted_memory(statement)
        self.loop(loop, (), span)

    def loop(self, loop: Loop, iteration: ElementIndex, span: Span | None = None) -> None:
        """Write a loop at an iteration of the loops around it; with ``span``, only these of its iterations."""
        starting = [s for s in loop.statements if s.monoid and s.ready == len(iteration)]
        for statement in starting:
            self.start_reduction(statement, iteration)
        flat = None if iteration else self.flat(loop)
        if flat is not None:
            inner, size = flat
            depth = len(inner.statements[0].order)
            self.iterations(inner, size, (), lambda k: self.nodes(inner, (*[0] * (depth - 1), k)), span)
        elif not iteration and (rows := self.rows(loop)) is not None:
            self.row_groups(loop, *rows, [s for s in starting if s.row], span)
        elif loop.unrolled:
            for k in range(loop.extent):
                self.nodes(loop, (*iteration, k))
            self.flush([s for s in loop.statements if s in self.accumulators and s.loop is loop])
        else:
            self.iterations(loop, loop.extent, loop.splits, lambda k: self.nodes(loop, (*iteration, k)), span)
        for statement in starting:
            self.finish_reduction(statement, iteration)

    def flat(self, loop: Loop) -> tuple[Loop, int] | None:
        """The innermost of loops that are collapsed, and the number of all iterations; None if they are not."""
        return None if loop.unrolled or not self.reads_row_major(loop) else collapsed_size(loop)

    def rows(self, loop: Loop) -> tuple[Loop, int, int] | None:
        """The innermost loop of a nest that reduces short contiguous rows to one, the elements of a row, and how many rows are taken
        at a time; None of other nests.
        """
        if loop.unrolled or not self.reads_row_major(loop):
            return None
        nest = collapsed_size(loop, rows=True)
        (row, *others) = {s.row for s in loop.statements if s.row} or {0}
        if nest is None or others or not row:
            return None
        inner, size = nest
        count = self.options.row_group // row
        group = 1 << (count.bit_length() - 1) if count else 0
        return (inner, row, group) if group > 1 and size >= 4 * group * row else None

    def row_groups(self, loop: Loop, inner: Loop, row: int, group: int, reductions: list[Statement], span: Span | None) -> None:
        """Reduce groups of rows, each element into an accumulator of its own: one loop over a group is long enough for vectors. The
        accumulators join the totals of the row afterwards.
        """
        code, width = self.code, group * row
        depth, size = len(inner.statements[0].order), prod(inner.statements[0].sizes)
        blocks = [s for s in inner.statements if s in self.accumulators and s.loop is inner]
        accumulators = {s: self.context.on_stack(s.var.type.with_shape((width,))) for s in reductions}
        for s, memory in accumulators.items():
            self.context.every((width,), lambda k, s=s, memory=memory: memory.write(self.e, k, self.identity(s)))
        first, end = (0, size) if span is None else (code.value("i64", f"mul i64 {at}, {size // loop.extent}") for at in span)

        def some(start: int | str, count: int | str) -> None:
            """The elements from ``start`` on, at most those of a group."""

            def one(k: str) -> None:
                at = variable(k, width)
                self.grouped.update({s: (memory, at) for s, memory in accumulators.items()})
                from_start = at + start if isinstance(start, int) else at + variable(start, size)
                self.nodes(inner, (*[0] * (depth - 1), from_start))

            code.loop(count, one, at_least_once=isinstance(count, int))
            self.flush(blocks)

        if isinstance(first, int) and isinstance(end, int):
            whole: int | str = end // width * width
            rest: int | str = end - whole
        else:
            groups = code.value("i64", f"udiv i64 {code.value('i64', f'sub i64 {end}, {first}')}, {width}")
            whole = code.value("i64", f"add i64 {first}, {code.value('i64', f'mul i64 {groups}, {width}')}")
            rest = code.value("i64", f"sub i64 {end}, {whole}")
        code.loop(whole, lambda start: some(start, width), start=first, step=width, at_least_once=isinstance(whole, int))
        if rest != 0:
            some(whole, rest)
        for s, memory in accumulators.items():
            del self.grouped[s]

            def joined(k: ElementIndex, s: Statement = s, memory: Memory = memory) -> None:
                total, at = self.places[s.var].forgotten(), k[1:]
                part = memory.forgotten().read(self.e, (offset_of((group, *s.var.type.shape), k),))
                total.write(self.e, at, self.combined(s, total.read(self.e, at), part))

            self.context.every((group, *s.var.type.shape), joined)

    def reads_row_major(self, loop: Loop) -> bool:
        """Whether the input arrays that a loop reads are contiguous in row-major order."""
        given = {v for s in loop.statements for v, index in s.reads if index and v in self.values}
        return all(self.values[v].is_row_major for v in given if v not in self.schedule.statement)

    def iterations(
        self, loop: Loop, size: int, splits: Iterable[int], body: Callable[[Index | int], None], span: Span | None = None
    ) -> None:
        """Write the iterations of a loop, split where conditions change."""
        reductions = [s for s in loop.statements if s in self.accumulators and s.loop is loop]
        masked = not any(s.var.type.dtype.kind == "c" for s in loop.statements)
        at = sorted({0, size, *[c for c in splits if 0 < c < size]})
        if len(at) > self.options.index_set_pieces:
            at = [0, size]
        for first, end in pairwise(at):
            if span is not None:
                self.loop_in_blocks(*self.within(span, first, end, size), (first, end), body, reductions, masked)
            elif end - first == 1:
                body(first)
            elif end > first:
                self.loop_in_blocks(first, end, (first, end), body, reductions, masked)
            self.flush(reductions)

    def within(self, span: Span, first: int, end: int, size: int) -> Span:
        """The part of a span between two iterations. It never ends before it begins, since blocks are counted from the difference."""
        low, high = span
        call = self.context.module.call
        if first > 0:
            low = self.code.value("i64", call("i64", "llvm.smax.i64", f"i64 {low}", f"i64 {first}"))
        if end < size:
            high = self.code.value("i64", call("i64", "llvm.smin.i64", f"i64 {high}", f"i64 {end}"))
        if first > 0 or end < size:
            high = self.code.value("i64", call("i64", "llvm.smax.i64", f"i64 {high}", f"i64 {low}"))
        return low, high

    def loop_in_blocks(
        self, first: int | str, end: int | str, limits: tuple[int, int], body: Callable[[Index | int], None], reductions: list[Statement],
        masked: bool,
    ) -> None:  # fmt: skip
        """Write the iterations from ``first`` to before ``end``: numbers, or values between the ``limits``. They are in blocks if something
        is reduced. LLVM vectorizes no complex numbers with masks.
        """
        code, block_size = self.code, self.options.reduction_block

        def loop(first: int | str, end: int | str, at_least_once: bool) -> None:
            code.loop(end, lambda k: body(variable(k, limits[1], limits[0])), start=first, at_least_once=at_least_once, masked=masked)

        known = isinstance(first, int) and isinstance(end, int)
        if not reductions:
            return loop(first, end, known)
        if isinstance(first, int) and isinstance(end, int):
            if end - first < 2 * block_size:
                return loop(first, end, True)
            whole = first + (end - first) // block_size * block_size
            rest = end > whole
        else:
            rest = True
            whole = code.value("i64", f"and i64 {code.value('i64', f'sub i64 {end}, {first}')}, {-block_size}")
            whole = code.value("i64", f"add i64 {first}, {whole}")

        def block(start: str) -> None:
            loop(start, code.value("i64", f"add nuw nsw i64 {start}, {block_size}"), True)
            self.flush(reductions)

        code.loop(whole, block, start=first, step=block_size, at_least_once=known)
        if rest:
            loop(whole, end, known)
        return None

    # ---- threads ----------------------------------------------------------------------------------------------------------------
    def worth_parallelizing(self, loop: Loop) -> bool:
        """Whether a loop at the root is parallel."""
        totals = [s for s in loop.statements if s.monoid and s.ready == 0]
        rows = [s.var.type for s in loop.statements if s.var not in self.places]
        kept = [self.schedule.shared_axes(s.var) or 0 for s in loop.statements if s.var not in self.places]
        sizes = [prod(t.shape[k:]) * t.dtype.itemsize for t, k in zip(rows, kept, strict=True)]
        return (
            not self.context.in_chunk
            and loop.total_cost >= 2 * self.options.chunk_cost
            and all(s.var.type.nbytes <= self.options.stack_array_bytes for s in totals)
            and all(n <= self.options.stack_array_bytes for n in sizes)
        )

    def parallel_for(self, loop: Loop) -> None:
        """A loop at the root in chunks. Reductions over all its iterations have partial results for each chunk."""
        flat = self.flat(loop)
        most = min(thread_pool.MOST_CHUNKS, loop.total_cost // self.options.chunk_cost)
        totals = [s for s in loop.statements if s.monoid and s.ready == 0]
        partial = {s: PartialResults(self, s.var.type, most) for s in totals}
        places = {s: self.place(s.var) for s in totals}

        def write(first: str, end: str, chunk: str) -> None:
            self.places.update({s.var: parts.own(chunk) for s, parts in partial.items()})
            self.loop_at_root(loop, (first, end))

        size, cost = loop.extent if flat is None else flat[1], loop.total_cost
        small, each = cost < self.options.small_job_cost, min(1 + cost // self.options.small_job_cost, self.options.chunks_per_thread)
        chunks = self.context.parallel_for("nest", size, most, write, small=small, each=each)
        for s, parts in partial.items():
            self.places[s.var] = places[s]
            self.context.outlined(lambda: self.combine(s, parts, chunks))  # noqa: B023 - used at once

    def combine(self, s: Statement, parts: PartialResults, chunks: str) -> None:
        """The total of a reduction over all chunks, from the identity element on."""
        place = self.places[s.var]
        self.context.every(s.var.type.shape, lambda index: place.write(self.e, index, self.identity(s)))
        parts.combine(chunks, place, lambda total, x: self.combined(s, total, x))

    def nodes(self, loop: Loop, iteration: ElementIndex) -> None:
        """Write the body of a loop at one iteration."""
        for node in loop.body:
            if type(node) is Statement:
                self.statement(node, iteration)
            elif type(node) is Loop:
                self.loop(node, iteration)

    # ---- statements -------------------------------------------------------------------------------------------------------------
    def statement(self, s: Statement, iteration: ElementIndex) -> None:
        """Write one element of a statement."""
        with self.context.written_for(s.equation):
            if s.monoid:
                self.accumulate(s, iteration)
            else:
                self.define(s, iteration, self.element_of(s, iteration))


def schedule_of(context: ModuleContext, program: Program, held: Sequence[Var] = ()) -> Schedule:
    """The schedule of a Program, made once in a module. Half precision is widened first, here and not in the pipeline: so it is in the
    programs that control ops hold. The inputs ``held`` live to the end of the Program in any case.
    """
    return fusion.schedule_of(program, context.options, context.schedules, held)


def lower_program(
    context: ModuleContext, strategies: Strategies, program: Program, values: Sequence[Value], targets: Sequence[Memory | None]
) -> list[Value]:
    """Write ``program`` on ``values`` at the current point: at the top, or as the body of a loop. An output that has a target is written
    there.
    """
    lowering = ProgramLowering(context, strategies, schedule_of(context, program), values)
    context.frames.append(lowering.frame)
    outputs = lowering.write(targets)
    context.frames.pop()
    context.workspace_bytes = max(context.workspace_bytes, lowering.frame.top)
    return outputs


def collapsed_size(loop: Loop, *, rows: bool = False) -> tuple[Loop, int] | None:
    """The innermost loop of a collapsible nest, and the number of all iterations; with ``rows``, it may reduce rows to one of them."""
    if not all(s.collapsible or (rows and s.row) for s in loop.statements):
        return None
    size, inner = loop.extent, loop
    while len(inner.body) == 1 and type(inner.body[0]) is Loop:
        inner = inner.body[0]
        size *= inner.extent
    return (inner, size) if all(type(node) is Statement for node in inner.body) and inner is not loop else None
