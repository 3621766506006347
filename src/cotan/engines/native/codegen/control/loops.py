"""Loops and branches of native code: control ops as machine code that runs their programs in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cotan.core.op import Op, Region
from cotan.core.program import Program
from cotan.engines.native.affine import variable
from cotan.engines.native.codegen.program import ProgramLowering
from cotan.engines.native.codegen.values import Memory, Value
from cotan.engines.native.scalar.emitter import Scalar
from cotan.engines.native.schedule.loop_nest import Opaque

from .carries import INT, MANY, ScannedInputs, StackCarry, StackValue, advance, carries, number, outputs, put, settle, slot, stack_of
from .checkpointed import checkpointed_reversal
from .interrupt_checks import checked_iteration, iteration_counter
from .parallel_scan import parallel_scan
from .strip_mined import strips

__all__ = ["CONTROL"]


# ---- scan -------------------------------------------------------------------------------------------------------------------
class ScanOp(Protocol):
    """A `Scan`, as much of it as its region does not say."""

    backwards: bool

    def regions(self) -> tuple[Region[Program]]: ...


def scan(lowering: ProgramLowering, node: Opaque, op: ScanOp, operands: list[Value], results: list[Memory | None]) -> None:
    """A `Scan`."""
    code = lowering.code
    (region,) = op.regions()
    if parallel_scan(lowering, node, region, operands, results, backwards=op.backwards):
        return None
    body, trip_count = region.program, region.trip_count
    constants, starts, xs = region.cut(operands)
    length = str(trip_count) if trip_count is not None else number(lowering, operands[0])
    state = carries(lowering, node, region, starts, results)
    ys = outputs(lowering, node, len(region.carry), results, length)
    if trip_count == 0:
        return settle(lowering, node, state, results)
    rows = ScannedInputs(lowering, xs)
    last = code.value("i64", f"sub i64 {length}, 1") if op.backwards else ""
    constants = [lowering.steady(x) for x in constants]

    def iteration(k: str) -> None:
        with checked_iteration(lowering, k, body, trip_count):
            i = variable(code.value("i64", f"sub i64 {last}, {k}") if op.backwards else k, trip_count if trip_count is not None else MANY)
            outs = advance(lowering, body, constants, state, rows.at(i), [slot(lowering, y, i) for y in ys])
            for y, out in zip(ys, outs, strict=True):
                put(lowering, y, i, out)

    code.loop(length, iteration, at_least_once=trip_count is not None)
    settle(lowering, node, state, results)
    return None


# ---- while, cond -----------------------------------------------------------------------------------------------------------
def while_(lowering: ProgramLowering, node: Opaque, op: Op, operands: list[Value], results: list[Memory | None]) -> None:
    """A `While`."""
    code = lowering.code
    condition, region = op.regions()
    body = region.program
    constants, starts, _ = region.cut(operands)
    constants = [lowering.steady(x) for x in constants]
    state = carries(lowering, node, region, starts, results)
    head, inside, after = code.label(), code.label(), code.label()
    counter = iteration_counter(lowering)
    code.jump(head)
    code.start(head)
    with code.scope():
        (going,) = lowering.inline(condition.program, [*constants, *[c.value() for c in state]], [None])
        code.branch(going.read(lowering.e, ()).register, inside, after)
    code.start(inside)
    with code.scope(), checked_iteration(lowering, counter, body):
        advance(lowering, body, constants, state, [], [])
    code.jump(head)
    code.start(after)
    settle(lowering, node, state, results)


def cond(lowering: ProgramLowering, node: Opaque, op: Op, operands: list[Value], results: list[Memory | None]) -> None:
    """A `Cond`: the index is known to be that of a branch."""
    context, code = lowering.context, lowering.code
    index = number(lowering, operands[0])
    rest = [lowering.steady(x) for x in operands[1:]]
    branches = [region.program for region in op.regions()]
    labels, after = [code.label() for _ in branches], code.label()
    stacks = [
        None if t is not None else StackCarry(context, StackValue(stack_of(v), "null", "0"))
        for v, t in zip(node.equation.outputs, results, strict=True)
    ]
    cases = " ".join(f"i64 {k}, label %{label}" for k, label in enumerate(labels[:-1]))
    code.line(f"switch i64 {index}, label %{labels[-1]} [{cases}]")
    for label, branch in zip(labels, branches, strict=True):
        code.start(label)
        with code.scope():
            outs = lowering.inline(branch, rest, results)
            for stack, out in zip(stacks, outs, strict=True):
                if stack is not None:
                    stack.prepare(out)()
        code.jump(after)
    code.start(after)
    for v, stack in zip(node.equation.outputs, stacks, strict=True):
        if stack is not None:
            lowering.values[v] = stack.value()


# ---- programs that are run once, stacks ------------------------------------------------------------------------------------------
def again(lowering: ProgramLowering, node: Opaque, op: Op, operands: list[Value], results: list[Memory | None]) -> None:
    """A program that is run once."""
    (region,) = op.regions()
    outs = lowering.inline(region.program, operands, results)
    for v, target, out in zip(node.equation.outputs, results, outs, strict=True):
        if target is None:
            lowering.values[v] = out


def zero_stack(lowering: ProgramLowering, node: Opaque, op: Op, operands: list[Value], results: list[Memory | None]) -> None:
    """A stack without entries."""
    v = node.equation.outputs[0]
    lowering.values[v] = StackValue(stack_of(v), "null", "0")


def stack_length(lowering: ProgramLowering, node: Opaque, op: Op, operands: list[Value], results: list[Memory | None]) -> None:
    """The number of entries of a stack."""
    (stack,), (result,) = operands, results
    assert isinstance(stack, StackValue)
    assert result is not None
    result.write(lowering.e, (), Scalar(stack.count, INT))


def count(lowering: ProgramLowering, node: Opaque, op: Op, operands: list[Value], results: list[Memory | None]) -> None:
    """The stack 0, 1, ..., n-1."""
    code, v = lowering.code, node.equation.outputs[0]
    n = number(lowering, operands[0])
    at = lowering.context.allocate(n, 8)
    code.loop(n, lambda k: code.line(f"store i64 {k}, ptr {code.address(at, 'i64', variable(k, MANY))}"), at_least_once=False)
    lowering.values[v] = StackValue(stack_of(v), at, n)


CONTROL: dict[str, Callable[..., None]] = {
    "scan": scan,
    "bounded_scan": scan,
    "while": while_,
    "sweep": checkpointed_reversal,
    "cond": cond,
    "again": again,
    "zero_stack": zero_stack,
    "stack_length": stack_length,
    "count": count,
    "strips": strips,
}
"""The lowerings of control ops by name, called with the lowering of the Program, the node, its op, the operands and the results."""
