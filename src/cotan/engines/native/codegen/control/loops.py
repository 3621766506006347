"""Loops and branches of native code: control ops as machine code that runs their programs in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cotan.engines.native.affine import variable
from cotan.engines.native.scalar.emitter import Scalar
from cotan.engines.native.schedule.fusion import Opaque

from .carries import INT, MANY, Rows, StackCarry, StackValue, advance, carries, number, outputs, put, settle, slot
from .checkpointed import sweep
from .interrupt_checks import check_after, turns_counted, work_of
from .strip_mined import strips

if TYPE_CHECKING:
    from cotan.engines.native.codegen.program import Run

__all__ = ["CONTROL"]


# ---- scan -------------------------------------------------------------------------------------------------------------------
def scan(run: Run, node: Opaque, operands: list[Any], results: list[Any]) -> None:
    """A `Scan`."""
    op: Any = node.equation.op
    g, code = run.g, run.code
    constants, starts, xs = op.cut(operands)
    length = str(op.length) if op.length is not None else number(run, operands[0])
    state = carries(run, node, op.body, op.constants, starts, results)
    ys = outputs(run, node, op.carry, results, length)
    if op.length == 0:
        return settle(run, node, state, results)
    rows = Rows(run, xs)
    last = code.value("i64", f"sub i64 {length}, 1") if op.backwards else ""
    constants = [g.steady(run, x) for x in constants]

    def turn(k: str) -> None:
        check_after(run, k, work_of(op.body), op.length)
        k = code.value("i64", f"sub i64 {last}, {k}") if op.backwards else k
        i = variable(k, op.length if op.length is not None else MANY)
        outs = advance(g, op.body, constants, state, rows.at(i), [slot(run, y, i) for y in ys])
        for y, out in zip(ys, outs, strict=True):
            put(run, y, i, out)

    code.loop(length, turn, at_least_once=op.length is not None)
    settle(run, node, state, results)
    return None


# ---- while, cond -----------------------------------------------------------------------------------------------------------
def while_(run: Run, node: Opaque, operands: list[Any], results: list[Any]) -> None:
    """A `While`."""
    op: Any = node.equation.op
    g, code = run.g, run.code
    constants = [g.steady(run, x) for x in operands[: op.constants]]
    state = carries(run, node, op.body, op.constants, operands[op.constants :], results)
    head, inside, after = code.label(), code.label(), code.label()
    turns = turns_counted(run)
    code.jump(head)
    code.start(head)
    with code.scope():
        (going,) = g.run(op.condition, [*constants, *[c.value() for c in state]], [None])
        code.branch(going.read(run.e, ()).value, inside, after)
    code.start(inside)
    with code.scope():
        check_after(run, turns, work_of(op.body))
        advance(g, op.body, constants, state, [], [])
    code.jump(head)
    code.start(after)
    settle(run, node, state, results)


def cond(run: Run, node: Opaque, operands: list[Any], results: list[Any]) -> None:
    """A `Cond`: the index is known to be that of a branch."""
    op: Any = node.equation.op
    g, code = run.g, run.code
    index = number(run, operands[0])
    rest = [g.steady(run, x) for x in operands[1:]]
    labels, after = [code.label() for _ in op.branches], code.label()
    stacks = [
        None if t is not None else StackCarry(g, StackValue(v.type, "null", "0"))
        for v, t in zip(node.equation.outputs, results, strict=True)
    ]
    cases = " ".join(f"i64 {k}, label %{label}" for k, label in enumerate(labels[:-1]))
    code.line(f"switch i64 {index}, label %{labels[-1]} [{cases}]")
    for label, branch in zip(labels, op.branches, strict=True):
        code.start(label)
        with code.scope():
            outs = g.run(branch, rest, results)
            for stack, out in zip(stacks, outs, strict=True):
                if stack is not None:
                    stack.prepare(out)()
        code.jump(after)
    code.start(after)
    for v, stack in zip(node.equation.outputs, stacks, strict=True):
        if stack is not None:
            run.values[v] = stack.value()


# ---- plain runs, stacks ---------------------------------------------------------------------------------------------------------
def again(run: Run, node: Opaque, operands: list[Any], results: list[Any]) -> None:
    """A program that is run as it is."""
    op: Any = node.equation.op
    outs = run.g.run(op.program, operands, results)
    for v, target, out in zip(node.equation.outputs, results, outs, strict=True):
        if target is None:
            run.values[v] = out


def zero_stack(run: Run, node: Opaque, operands: list[Any], results: list[Any]) -> None:
    """A stack without entries."""
    v = node.equation.outputs[0]
    run.values[v] = StackValue(v.type, "null", "0")


def stack_length(run: Run, node: Opaque, operands: list[Any], results: list[Any]) -> None:
    """How many entries a stack has."""
    results[0].write(run.e, (), Scalar(operands[0].count, INT))


def count(run: Run, node: Opaque, operands: list[Any], results: list[Any]) -> None:
    """The stack 0, 1, ..., n-1."""
    code, v = run.code, node.equation.outputs[0]
    n = number(run, operands[0])
    at = run.g.allocate(n, 8)
    code.loop(n, lambda k: code.line(f"store i64 {k}, ptr {code.address(at, 'i64', variable(k, MANY))}"), at_least_once=False)
    run.values[v] = StackValue(v.type, at, n)


CONTROL: dict[str, Callable[..., None]] = {
    "scan": scan,
    "bounded_scan": scan,
    "while": while_,
    "sweep": sweep,
    "cond": cond,
    "again": again,
    "zero_stack": zero_stack,
    "stack_length": stack_length,
    "count": count,
    "strips": strips,
}
"""The control ops that there is native code for, by name."""
