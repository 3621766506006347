"""`Strips`: a Program along a long axis, run on some rows at a time.

    body(constants, totals, rows of the xs) -> (totals, rows of the ys)          strip after strip; the totals begin with zeros

Each strip stands for itself and totals are sums, so threads share the strips: each chunk of them has totals, and memory for what is in
between, of its own. `blocking` makes these ops; nobody else sees one.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cotan.core.op import Op
from cotan.core.program import Program, Var
from cotan.core.types import ArrayType, array_type
from cotan.engines import numpy as engine
from cotan.engines.native.affine import linear, variable
from cotan.engines.native.codegen.kernels.builder import Failures, Writer
from cotan.engines.native.codegen.values import Memory, Moved, Value, memory_type, offset_of
from cotan.engines.native.codegen.workspace import ALIGNMENT, MANY_NODES, Frame, padded
from cotan.engines.native.schedule.fusion import Opaque

if TYPE_CHECKING:
    from cotan.engines.native.codegen.program import Run

__all__ = ["Strips", "strips"]

MOST_CHUNKS, CHUNKS_EACH = 32, 2
"""The most chunks, and how many there are for each thread: every one has a workspace of its own, which should stay in the cache."""


@dataclass(repr=False, eq=False)
class Strips(Op):
    """Operands: the constants, then the xs; results: the totals, then the ys. ``rest`` is the body on the rows that are left over."""

    body: Program
    rest: Program | None
    size: int
    strip: int
    constants: int
    totals: int
    x_axes: tuple[int, ...]
    y_axes: tuple[int, ...]
    name = verb = "strips"
    multiple = True
    holds_programs = True
    compare_by_value = False

    def __str__(self) -> str:
        return f"strips[{self.strip} of {self.size} rows]"

    def type_rule(self, *types: Any) -> tuple[Any, ...]:
        outs = self.body.output_types
        return (*outs[: self.totals], *[longer(t, k, self.size) for t, k in zip(outs[self.totals :], self.y_axes, strict=True)])

    def impl(self, *operands: Any) -> Sequence[Any]:
        constants, xs = operands[: self.constants], operands[self.constants :]
        types = self.type_rule()
        totals: list[Any] = [np.zeros(t.shape, t.dtype) for t in types[: self.totals]]
        parts: list[list[Any]] = [[] for _ in self.y_axes]
        for first in range(0, self.size, self.strip):
            end = min(first + self.strip, self.size)
            body = self.body if end - first == self.strip else self.rest
            assert body is not None
            rows = [np.moveaxis(np.moveaxis(x, k, 0)[first:end], 0, k) for x, k in zip(xs, self.x_axes, strict=True)]
            outs = engine.compiled(body)([*constants, *totals, *rows])
            totals = outs[: self.totals]
            for part, y in zip(parts, outs[self.totals :], strict=True):
                part.append(y)
        return (*totals, *[np.concatenate(part, k) for part, k in zip(parts, self.y_axes, strict=True)])


Strips.parameter_names = ()
Strips.__eq__, Strips.__hash__ = object.__eq__, object.__hash__  # type: ignore[method-assign]


def longer(t: ArrayType, axis: int, size: int) -> ArrayType:
    """A type with so many rows."""
    return t.with_shape((*t.shape[:axis], size, *t.shape[axis + 1 :]))


# ---- machine code -------------------------------------------------------------------------------------------------------------
def strips(run: Run, node: Opaque, operands: list[Value], results: list[Memory]) -> None:
    """A `Strips`."""
    op: Any = node.equation.op
    g = run.g
    operands = [x if x.pointer(run.e) is not None else Memory(run.contiguous(x), x.type) for x in operands]
    totals, ys = results[: op.totals], results[op.totals :]
    count = op.size // op.strip
    most = min(MOST_CHUNKS, count)
    spans = [padded(t.type) for t in totals]
    parts = [g.in_workspace(array_type((most, n), t.type.dtype), []) for t, n in zip(totals, spans, strict=True)]
    for part in parts:
        part.taken = run.frame.take(part.type.nbytes, run.now, run.now)

    def chunk(first: str, end: str, number: str) -> None:
        with own_workspace(run, number, most) as frame:
            mine = [
                Memory(run.code.address(part.at, memory_type(t.type.dtype), variable(number, most) * n), t.type)
                for part, t, n in zip(parts, totals, spans, strict=True)
            ]
            clear(run, mine)
            run.code.loop(
                end,
                lambda k: one(run, op, op.body, operands, mine, ys, variable(k, count) * op.strip, frame),
                start=first,
                at_least_once=False,
            )

    with Writer(run, Failures()).limited(True):
        g.nests += 1
        outer, g.in_chunk = g.in_chunk, True
        chunks = g.module.divided(f"strips{g.nests}", count, most, chunk, small=False, each=CHUNKS_EACH, nest=False)
        g.in_chunk = outer
    clear(run, totals)
    for part, total, n in zip(parts, totals, spans, strict=True):
        run.code.loop(chunks, lambda k: added(run, total, part, variable(k, most) * n))  # noqa: B023 - used at once
    if op.rest is not None:
        frame = Frame(run.frame)
        g.frames.append(frame)
        one(run, op, op.rest, operands, totals, ys, count * op.strip, frame)
        g.frames.pop()


def one(
    run: Run, op: Any, body: Program, operands: Sequence[Value], totals: Sequence[Memory], ys: Sequence[Memory], first: Any, frame: Frame
) -> None:
    """The strip that begins with this row."""
    g, n = run.g, len(totals)
    before, inputs = body.inputs[op.constants : op.constants + n], body.inputs[op.constants + n :]
    xs = [rows_of(run, x, k, first, v.type) for x, k, v in zip(operands[op.constants :], op.x_axes, inputs, strict=True)]
    targets: list[Memory | None] = []
    for total, old, new in zip(totals, before, body.outputs, strict=False):
        over = isinstance(new, Var) and g.plan(body).may_replace(old, new)
        targets.append(total if over else beside(run, total.type, frame))
    for y, k, v in zip(ys, op.y_axes, body.outputs[n:], strict=True):
        at = rows_of(run, y, k, first, v.type)
        targets.append(at if isinstance(at, Memory) else None)
    outs = g.run(body, [*operands[: op.constants], *[Memory(t.at, t.type) for t in totals], *xs], targets)
    for total, target, out in zip(totals, targets, outs, strict=False):
        if target is not total:
            g.copy(out, total)
    for y, k, target, out in zip(ys, op.y_axes, targets[n:], outs[n:], strict=True):
        if target is None:
            spread_out(run, out, y, k, first)


def beside(run: Run, type: ArrayType, frame: Frame) -> Memory:
    """Memory for the next total where it cannot be written over the last one."""
    return run.g.on_stack(type) if type.nbytes <= ALIGNMENT else run.g.in_workspace(type, frame.take(type.nbytes, 0, MANY_NODES))


@contextmanager
def own_workspace(run: Run, number: str, most: int) -> Generator[Frame]:
    """What is written within takes memory from a workspace that only this chunk has."""
    g, code = run.g, run.code
    outer, bytes_before = g.workspace, g.workspace_bytes
    place, g.workspace, g.workspace_bytes = code.later(), g.module.name("ptr"), 0
    frame = Frame(run.frame)
    g.frames.append(frame)
    yield frame
    g.frames.pop()
    each = max(g.workspace_bytes, frame.top) - frame.base
    with code.at(place):
        offset = g.module.name("i64")
        code.line(f"{offset} = mul i64 {number}, {each}")
        code.line(f"{g.workspace} = getelementptr i8, ptr {outer}, i64 {offset}")
    g.workspace, g.workspace_bytes = outer, max(bytes_before, frame.base + most * each)


def clear(run: Run, totals: Sequence[Memory]) -> None:
    """Zeros everywhere."""
    for total in totals:
        zero = run.e.constant(0, total.type.dtype)
        run.g.outlined(lambda: run.g.every(total.type.shape, lambda i: total.write(run.e, i, zero)))  # noqa: B023 - used at once


def added(run: Run, total: Memory, parts: Memory, first: Any) -> None:
    """The total of a chunk is added."""

    def element(i: tuple[Any, ...]) -> None:
        x = parts.read(run.e, (0, linear([(first, 1), (offset_of(total.type.shape, i), 1)])))
        old = Memory(total.at, total.type).read(run.e, i)
        total.write(run.e, i, run.e.math("add", old, x))

    run.g.outlined(lambda: run.g.every(total.type.shape, element))


def shifted(index: Sequence[Any], axis: int, first: Any) -> tuple[Any, ...]:
    """The index in the whole of an element of a strip."""
    return tuple(linear([(i, 1), (first, 1)]) if k == axis else i for k, i in enumerate(index))


def rows_of(run: Run, whole: Value, axis: int, first: Any, type: ArrayType) -> Value:
    """Some rows of an array: where they lie, if they lie together."""
    at = whole.pointer(run.e)
    if axis == 0 and at is not None:
        offset = linear([(first, type.size // max(type.shape[0], 1))])
        offset = run.g.module.within(offset, whole.type.size - type.size + 1)
        return Memory(run.code.address(at, memory_type(type.dtype), offset), type)
    return Moved(type, lambda index: whole.read(run.e, shifted(index, axis, first)))


def spread_out(run: Run, rows: Value, whole: Memory, axis: int, first: Any) -> None:
    """Write the rows of a strip where they do not lie together."""
    write = run.g.every
    run.g.outlined(lambda: write(rows.type.shape, lambda i: whole.write(run.e, shifted(i, axis, first), rows.read(run.e, i))))
