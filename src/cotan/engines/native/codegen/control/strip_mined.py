"""Strip-mined code: a `Strips` (`passes.strip_op`) as machine code.

Strips are independent of each other and totals are sums, so threads share the strips (`chunks`).
"""

from __future__ import annotations

from collections.abc import Sequence

from cotan.core.program import Literal, Program, Var
from cotan.core.types import ArrayType
from cotan.engines.native.affine import ElementIndex, Index, linear, variable
from cotan.engines.native.codegen.program import ProgramLowering, schedule_of
from cotan.engines.native.codegen.values import Memory, RowBlock, Value, View, memory_type
from cotan.engines.native.codegen.workspace import MANY_NODES, WorkspaceFrame
from cotan.engines.native.passes.strip_op import Strips
from cotan.engines.native.schedule.in_place import chain
from cotan.engines.native.schedule.loop_nest import Opaque
from cotan.engines.native.target import ALIGNMENT

from .chunks import clear, in_chunks

__all__ = ["strips"]


def strips(lowering: ProgramLowering, node: Opaque, op: Strips, operands: list[Value], results: list[Memory]) -> None:
    """A `Strips`."""
    context = lowering.context
    operands = [x if x.pointer(lowering.e) is not None else Memory(lowering.contiguous(x), x.type) for x in operands]
    totals, ys = results[: op.totals], results[op.totals :]
    count = op.size // op.strip

    def chunk(first: str, end: str, mine: list[Memory], frame: WorkspaceFrame) -> None:
        lowering.code.loop(
            end,
            lambda k: one(lowering, op, op.body, operands, mine, ys, variable(k, count) * op.strip, frame),
            start=first,
            at_least_once=False,
        )

    add_total = in_chunks(lowering, "strips", count, [total.type for total in totals], chunk)
    clear(lowering, totals)
    for k, total in enumerate(totals):
        add_total(total, k)
    if op.rest is not None:
        frame = WorkspaceFrame(lowering.frame)
        context.frames.append(frame)
        one(lowering, op, op.rest, operands, totals, ys, count * op.strip, frame)
        context.frames.pop()


def one(
    lowering: ProgramLowering,
    op: Strips,
    body: Program,
    operands: Sequence[Value],
    totals: Sequence[Memory],
    ys: Sequence[Memory],
    first: Index | int,
    frame: WorkspaceFrame,
) -> None:
    """Write the strip that begins at this row."""
    context, n = lowering.context, len(totals)
    before, inputs = body.inputs[op.constants : op.constants + n], body.inputs[op.constants + n :]
    xs = [rows_of(lowering, x, k, first, v.type) for x, k, v in zip(operands[op.constants :], op.x_axes, inputs, strict=True)]
    targets: list[Memory | None] = []
    for total, old, new in zip(totals, before, body.outputs, strict=False):
        over = isinstance(new, Var) and chain(schedule_of(context, body), old, new) is not None
        targets.append(total if over else beside(lowering, total.type, frame))
    for y, k, v in zip(ys, op.y_axes, body.outputs[n:], strict=True):
        at = rows_of(lowering, y, k, first, v.type)
        entries = isinstance(at, RowBlock) and not written_by_entries(body, v)
        targets.append(at if isinstance(at, Memory) and not entries else None)
    outs = lowering.inline(body, [*operands[: op.constants], *[t.forgotten() for t in totals], *xs], targets)
    for total, target, out in zip(totals, targets, outs, strict=False):
        if target is not total:
            context.copy(out, total, "the next total of the strips", in_body=True)
    for y, k, target, out in zip(ys, op.y_axes, targets[n:], outs[n:], strict=True):
        if target is None:
            spread_out(lowering, out, y, k, first)


def written_by_entries(body: Program, v: Var | Literal) -> bool:
    """Whether a result is written entry by entry, by a loop."""
    maker = next((e for e in body.equations if v in e.outputs), None)
    return (
        maker is not None
        and any(region.gives_carry for region in maker.op.regions())
        and v not in maker.outputs[: len(maker.op.regions()[0].carry)]
    )


def beside(lowering: ProgramLowering, type: ArrayType, frame: WorkspaceFrame) -> Memory:
    """Memory for the next total, which cannot overwrite the last one."""
    return (
        lowering.context.on_stack(type)
        if type.nbytes <= ALIGNMENT
        else lowering.context.in_workspace(type, frame.take(type.nbytes, 0, MANY_NODES))
    )


def shifted(index: ElementIndex, axis: int, first: Index | int) -> ElementIndex:
    """The index in the whole array of an element of a strip."""
    return tuple(linear([(i, 1), (first, 1)]) if k == axis else i for k, i in enumerate(index))


def rows_of(lowering: ProgramLowering, whole: Value, axis: int, first: Index | int, type: ArrayType) -> Value:
    """Rows of an array: their memory if they are contiguous, else a view. The rows of axis 1 are a `RowBlock`."""
    at = whole.pointer(lowering.e)
    if axis == 0 and at is not None:
        offset = linear([(first, type.size // max(type.shape[0], 1))])
        offset = lowering.context.module.within(offset, whole.type.size - type.size + 1)
        return Memory(lowering.code.address(at, memory_type(type.dtype), offset), type)
    if axis == 1 and isinstance(whole, Memory) and at is not None:
        return RowBlock(whole, first, type)
    return View(type, lambda index: whole.read(lowering.e, shifted(index, axis, first)))


def spread_out(lowering: ProgramLowering, rows: Value, whole: Memory, axis: int, first: Index | int) -> None:
    """Write the rows of a strip to an array in which they are not contiguous."""
    write = lowering.context.every
    lowering.context.outlined(
        lambda: write(rows.type.shape, lambda i: whole.write(lowering.e, shifted(i, axis, first), rows.read(lowering.e, i)))
    )
