"""Checkpointed reversal: a `Sweep` as machine code. It goes forward through a loop and back, in the memory of a few snapshots.

    while end > 0:
        load the last snapshot, the state before step k
        plan: advance from step k towards end-1
        if a snapshot is wanted there: store it, and go on from it at ``plan``
        else:                          reverse step end-1;  end = k

This is the binomial schedule of control/sweep.py (revolve), step by step. Snapshots have memory for as many as may be stored: in the
workspace if their number is known when the code is written, else from the heap.
"""

from __future__ import annotations

from typing import Protocol

from cotan.core.op import Region
from cotan.core.program import Program
from cotan.core.types import ArrayType, Type, array_type, stack_type
from cotan.engines.native.affine import Index, variable
from cotan.engines.native.codegen.program import ProgramLowering
from cotan.engines.native.codegen.values import Memory, Value
from cotan.engines.native.runtime.symbols import Symbol
from cotan.engines.native.scalar.emitter import Scalar
from cotan.engines.native.schedule.loop_nest import Opaque

from .carries import (
    INT,
    MANY,
    Carry,
    KeptCarry,
    Output,
    ScannedInputs,
    StackValue,
    advance,
    carries,
    entry,
    entry_bytes,
    number,
    outputs,
    put,
    settle,
    slot,
)
from .interrupt_checks import checked_iteration, iteration_counter

__all__ = ["checkpointed_reversal"]

ADVANCE = Symbol(
    "cotan_advance",
    """define internal i64 @cotan_advance(i64 %steps, i64 %places) nounwind {
entry:
  %few = icmp slt i64 %places, %steps
  %free = select i1 %few, i64 %places, i64 %steps
  %wanted = sitofp i64 %steps to double
  %n = sitofp i64 %free to double
  br label %head
head:
  %times = phi double [1.0, %entry], [%more.times, %more]
  %before = phi double [1.0, %entry], [%reached, %more]
  %sum = fadd double %n, %times
  %product = fmul double %before, %sum
  %reached = fdiv double %product, %times
  %enough = fcmp oge double %reached, %wanted
  br i1 %enough, label %found, label %more
more:
  %more.times = fadd double %times, 1.0
  br label %head
found:
  %share = fmul double %reached, %n
  %left = fdiv double %share, %sum
  %far = fsub double %wanted, %left
  %above = fcmp ogt double %far, 1.0
  %some = select i1 %above, double %far, double 1.0
  %last = fsub double %wanted, 1.0
  %below = fcmp olt double %some, %last
  %result = select i1 %below, double %some, double %last
  %whole = fptosi double %result to i64
  ret i64 %whole
}""",
)
ENOUGH_FOR = Symbol(
    "cotan_enough_for",
    """define internal i64 @cotan_enough_for(i64 %length) nounwind {
entry:
  %wanted = sitofp i64 %length to double
  br label %head
head:
  %states = phi double [1.0, %entry], [%a, %more]
  %a = fadd double %states, 1.0
  %b = fadd double %states, 2.0
  %c = fadd double %states, 3.0
  %ab = fmul double %a, %b
  %abc = fmul double %ab, %c
  %reached = fdiv double %abc, 6.0
  %enough = fcmp oge double %reached, %wanted
  br i1 %enough, label %found, label %more
more:
  br label %head
found:
  %whole = fptosi double %states to i64
  ret i64 %whole
}""",
)
"""`advance` and `enough_for` of control/sweep.py. Binomials are doubles: beyond 2^53 they are rounded, which may cost a step, no more."""


class SweepOp(Protocol):
    """A `Sweep`, as much of it as its regions, the programs forward and backward, do not say."""

    length: int | None
    backwards: bool
    snapshots: int

    def regions(self) -> tuple[Region[Program], Region[Program]]: ...

    def allowed(self, length: int) -> int:
        """The most snapshots on the way through so many steps."""
        ...


class Snapshots:
    """The states that are stored, and the steps that they precede. The first ``count`` slots are taken."""

    def __init__(self, lowering: ProgramLowering, op: SweepOp, length: str, state: list[Carry]):
        self.lowering, self.state = lowering, [carry for carry in state if not isinstance(carry, KeptCarry)]
        self.allowed = str(op.allowed(op.length)) if op.length is not None else self.allowed_of(op.snapshots, length)
        types = [*[carry.value().type for carry in self.state], array_type((), INT)]
        *self.slots, self.steps = [StackValue(stack_type(t), self.memory(op, t), self.allowed) for t in types]
        self.count = lowering.code.alloca("i64")

    def memory(self, op: SweepOp, type: Type) -> str:
        """Memory for as many entries as may be stored."""
        if op.length is None:
            return self.lowering.context.allocate_again(self.allowed, entry_bytes(type))
        whole = type.batched(int(self.allowed)) if isinstance(type, ArrayType) else array_type((int(self.allowed), 2), INT)
        return self.lowering.buffer(whole).at

    def allowed_of(self, snapshots: int, length: str) -> str:
        """The number of slots, if the number of steps is a value."""
        context, code = self.lowering.context, self.lowering.code
        module = context.module
        most = str(snapshots) if snapshots else code.value("i64", f"call i64 {module.refer(ENOUGH_FOR)}(i64 {length})")
        fewer = code.value("i64", module.call("i64", "llvm.smin.i64", f"i64 {most}", f"i64 {length}"))
        return code.value("i64", module.call("i64", "llvm.smax.i64", f"i64 {fewer}", "i64 1"))

    def store(self, step: str) -> None:
        """Store the current state, which precedes a step, in the next slot."""
        lowering, code = self.lowering, self.lowering.code
        count = code.value("i64", f"load i64, ptr {self.count}")
        at = variable(count, MANY)
        for stack, carry in zip(self.slots, self.state, strict=True):
            value, target = carry.value(), slot(lowering, stack, at)
            if target is None:
                put(lowering, stack, at, value)
            else:
                lowering.context.copy(value, target, "the state is stored in a snapshot", in_body=True)
        self.step_at(at).write(lowering.e, (), Scalar(step, INT))
        code.line(f"store i64 {code.value('i64', f'add i64 {count}, 1')}, ptr {self.count}")

    def load(self) -> str:
        """Make the last snapshot the current state; the step that it precedes."""
        lowering, code = self.lowering, self.lowering.code
        at = variable(code.value("i64", f"sub i64 {code.value('i64', f'load i64, ptr {self.count}')}, 1"), MANY)
        for stack, carry in zip(self.slots, self.state, strict=True):
            carry.reset(entry(lowering, stack, "null", at))
        return self.step_at(at).read(lowering.e, ()).register

    def step_at(self, at: Index) -> Memory:
        found = slot(self.lowering, self.steps, at)
        assert found is not None
        return found


class Reversal:
    """The way forward and back of one `Sweep`. ``step`` is the step that the current state precedes, ``end`` the number of steps left."""

    def __init__(
        self, lowering: ProgramLowering, node: Opaque, op: SweepOp, operands: list[Value], length: str, sums: list[Carry], ys: list[Output]
    ):
        self.lowering, self.code, self.op, self.length, self.sums, self.ys = lowering, lowering.code, op, length, sums, ys
        forward, backward = op.regions()
        self.forward, self.backward = forward.program, backward.program
        constants, starts, xs = forward.cut(operands)
        ws = backward.cut(operands)[2][len(starts) + len(xs) :]  # for the backward program, the carry is one of its xs
        self.state = carries(lowering, node, forward, starts, [None] * len(starts))
        self.constants = [lowering.steady(x) for x in constants]
        self.xs, self.ws = ScannedInputs(lowering, xs), ScannedInputs(lowering, ws)
        self.snapshots = Snapshots(lowering, op, length, self.state)
        self.step, self.end = self.code.alloca("i64"), self.code.alloca("i64")
        self.counter = iteration_counter(lowering)

    def read(self, cell: str) -> str:
        return self.code.value("i64", f"load i64, ptr {cell}")

    def index(self, k: str) -> Index:
        """The index of the scanned entries of a step."""
        if self.op.backwards:
            k = self.code.value("i64", f"sub i64 {self.code.value('i64', f'sub i64 {self.length}, 1')}, {k}")
        return variable(k, self.op.length if self.op.length is not None else MANY)

    def write(self) -> None:
        code = self.code
        head, last, plan, ahead, advancing, there, storing, reversing, after = (code.label() for _ in range(9))
        code.line(f"store i64 {self.length}, ptr {self.end}")
        code.line(f"store i64 0, ptr {self.snapshots.count}")
        with code.scope():
            self.snapshots.store("0")
        code.jump(head)

        code.start(head)
        code.branch(code.value("i1", f"icmp sgt i64 {self.read(self.end)}, 0"), last, after)
        code.start(last)
        with code.scope():
            code.line(f"store i64 {self.snapshots.load()}, ptr {self.step}")
        code.jump(plan)

        code.start(plan)
        goal, stays = self.plan()
        code.jump(ahead)
        code.start(ahead)
        code.branch(code.value("i1", f"icmp slt i64 {self.read(self.step)}, {goal}"), advancing, there)
        code.start(advancing)
        with code.scope():
            self.advance()
        code.jump(ahead)

        code.start(there)
        code.branch(stays, storing, reversing)
        code.start(storing)
        with code.scope():
            self.snapshots.store(self.read(self.step))
        code.jump(plan)
        code.start(reversing)
        with code.scope():
            self.reverse()
        code.jump(head)
        code.start(after)

    def plan(self) -> tuple[str, str]:
        """The step to advance to, and whether a snapshot is stored there. The last snapshot gives its slot back if its one step is next."""
        code, snapshots = self.code, self.snapshots
        first = self.read(self.step)
        steps = code.value("i64", f"sub i64 {self.read(self.end)}, {first}")
        single = code.value("i1", f"icmp eq i64 {steps}, 1")
        count = self.read(snapshots.count)
        left = code.value("i64", f"select i1 {single}, i64 {code.value('i64', f'sub i64 {count}, 1')}, i64 {count}")
        code.line(f"store i64 {left}, ptr {snapshots.count}")
        free = code.value("i64", f"add i64 {code.value('i64', f'sub i64 {snapshots.allowed}, {count}')}, 1")
        more = code.value("i1", f"icmp sgt i64 {free}, 1")
        stays = code.value("i1", f"and i1 {more}, {code.value('i1', f'xor i1 {single}, true')}")
        way = code.value("i64", f"call i64 {self.lowering.context.module.refer(ADVANCE)}(i64 {steps}, i64 {free})")
        to_end = code.value("i64", f"sub i64 {steps}, 1")
        return code.value("i64", f"add i64 {first}, {code.value('i64', f'select i1 {stays}, i64 {way}, i64 {to_end}')}"), stays

    def advance(self) -> None:
        """One step forward."""
        code, forward = self.code, self.forward
        with checked_iteration(self.lowering, self.counter, forward):
            k = self.read(self.step)
            advance(self.lowering, forward, self.constants, self.state, self.xs.at(self.index(k)), [])
            code.line(f"store i64 {code.value('i64', f'add i64 {k}, 1')}, ptr {self.step}")

    def reverse(self) -> None:
        """One step back."""
        lowering, backward = self.lowering, self.backward
        with checked_iteration(lowering, self.counter, backward):
            k = self.read(self.step)
            i = self.index(k)
            given = [*self.constants, *[carry.value() for carry in self.state], *self.xs.at(i)]
            outs = advance(lowering, backward, given, self.sums, self.ws.at(i), [slot(lowering, y, i) for y in self.ys])
            for y, out in zip(self.ys, outs, strict=True):
                put(lowering, y, i, out)
            self.code.line(f"store i64 {k}, ptr {self.end}")


def checkpointed_reversal(
    lowering: ProgramLowering, node: Opaque, op: SweepOp, operands: list[Value], results: list[Memory | None]
) -> None:
    """A `Sweep`."""
    _, backward = op.regions()
    count, length = len(backward.carry), str(op.length) if op.length is not None else number(lowering, operands[0])
    sums = carries(lowering, node, backward, backward.cut(operands)[1], results[:count])
    ys = outputs(lowering, node, count, results, length)
    if op.length != 0:
        Reversal(lowering, node, op, operands, length, sums, ys).write()
    settle(lowering, node, sums, results)
