"""`Sweep` in native code: forward through a loop and back, in the memory of a few states.

    while end > 0:
        the last state that is kept is loaded: that before step k
        plan:  of the steps k ... end-1, some are taken
        if a state is to be kept there:  it is, and we go on from it at ``plan``
        else:                            step end-1 is taken back;  end = k

which is the binomial schedule of control/sweep.py, step by step. The states lie in memory of their own, as many as may be kept: that of
the call where their number is known, else from the heap.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cotan.core.types import ArrayType, Type, array_type, stack_type
from cotan.engines.native.affine import variable
from cotan.engines.native.codegen.program import ProgramLowering
from cotan.engines.native.codegen.values import Memory
from cotan.engines.native.cost import program_cost
from cotan.engines.native.runtime.symbols import Symbol
from cotan.engines.native.scalar.emitter import Scalar
from cotan.engines.native.schedule.loop_nest import Opaque

from .carries import MANY, Carry, ScannedInputs, StackValue, advance, carries, entry, entry_bytes, number, outputs, put, settle, slot
from .interrupt_checks import check_after, iteration_counter

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
"""`advance` and `enough_for` of control/sweep.py. Binomials are doubles, beyond 2^53 they are rounded, which may cost a step, no more."""


class Snapshots:
    """The states that are kept, and the steps that they are before. The first ``count`` places are taken."""

    def __init__(self, lowering: ProgramLowering, op: Any, length: str, state: list[Carry]):
        self.lowering, self.state = lowering, state
        self.allowed = str(op.allowed(op.length)) if op.length is not None else self.allowed_of(op.snapshots, length)
        types = [*[carry.value().type for carry in state], array_type((), np.dtype(np.int64))]
        *self.places, self.strides = [StackValue(stack_type(t), self.room(op, t), self.allowed) for t in types]
        self.count = lowering.code.alloca("i64")

    def room(self, op: Any, type: Type) -> str:
        """Memory for so many entries."""
        if op.length is None:
            return self.lowering.context.allocate_again(self.allowed, entry_bytes(type))
        whole = type.batched(int(self.allowed)) if isinstance(type, ArrayType) else array_type((int(self.allowed), 2), np.dtype(np.int64))
        return self.lowering.buffer(whole).at

    def allowed_of(self, snapshots: int, length: str) -> str:
        """How many, if the number of steps is a value."""
        context, code = self.lowering.context, self.lowering.code
        module = context.module
        most = str(snapshots) if snapshots else code.value("i64", f"call i64 {module.refer(ENOUGH_FOR)}(i64 {length})")
        fewer = code.value("i64", module.call("i64", "llvm.smin.i64", f"i64 {most}", f"i64 {length}"))
        return code.value("i64", module.call("i64", "llvm.smax.i64", f"i64 {fewer}", "i64 1"))

    def keep(self, step: str) -> None:
        """The state at hand, which is that before a step, is kept in the next place."""
        lowering, code = self.lowering, self.lowering.code
        count = code.value("i64", f"load i64, ptr {self.count}")
        at = variable(count, MANY)
        for place, carry in zip(self.places, self.state, strict=True):
            value, target = carry.value(), slot(lowering, place, at)
            if target is None:
                put(lowering, place, at, value)
            else:
                lowering.context.copy(value, target)
        self.steps_at(at).write(lowering.e, (), Scalar(step, np.dtype(np.int64)))
        code.line(f"store i64 {code.value('i64', f'add i64 {count}, 1')}, ptr {self.count}")

    def load(self) -> str:
        """The last of them is the state at hand; the step that it is before."""
        lowering, code = self.lowering, self.lowering.code
        at = variable(code.value("i64", f"sub i64 {code.value('i64', f'load i64, ptr {self.count}')}, 1"), MANY)
        for place, carry in zip(self.places, self.state, strict=True):
            carry.reset(entry(lowering, place, "null", at))
        return self.steps_at(at).read(lowering.e, ()).value

    def steps_at(self, at: Any) -> Memory:
        found = slot(self.lowering, self.strides, at)
        assert found is not None
        return found


def checkpointed_reversal(lowering: ProgramLowering, node: Opaque, operands: list[Any], results: list[Any]) -> None:
    """A `Sweep`."""
    op: Any = node.equation.op
    context, code = lowering.context, lowering.code
    parts = op.cut(operands)
    length = str(op.length) if op.length is not None else number(lowering, operands[0])
    forward, backward = op.regions()
    sums = carries(lowering, node, backward, parts.sums, results[: op.sizes[3]])
    ys = outputs(lowering, node, op.sizes[3], results, length)
    if op.length == 0:
        return settle(lowering, node, sums, results)
    state = carries(lowering, node, forward, parts.carry, [None] * len(parts.carry))
    constants = [lowering.steady(x) for x in parts.constants]
    xs, ws = ScannedInputs(lowering, parts.xs), ScannedInputs(lowering, parts.ws)
    kept = Snapshots(lowering, op, length, state)
    step, end = code.alloca("i64"), code.alloca("i64")
    turns = iteration_counter(lowering)
    head, last, schedule, ahead, turn, there, keep, back, after = (code.label() for _ in range(9))

    def read(cell: str) -> str:
        return code.value("i64", f"load i64, ptr {cell}")

    def place(k: str) -> Any:
        """The index of the rows of a step."""
        if op.backwards:
            k = code.value("i64", f"sub i64 {code.value('i64', f'sub i64 {length}, 1')}, {k}")
        return variable(k, op.length if op.length is not None else MANY)

    code.line(f"store i64 {length}, ptr {end}")
    code.line(f"store i64 0, ptr {kept.count}")
    with code.scope():
        kept.keep("0")
    code.jump(head)

    code.start(head)
    code.branch(code.value("i1", f"icmp sgt i64 {read(end)}, 0"), last, after)

    code.start(last)
    with code.scope():
        code.line(f"store i64 {kept.load()}, ptr {step}")
    code.jump(schedule)

    code.start(schedule)
    first = read(step)
    steps = code.value("i64", f"sub i64 {read(end)}, {first}")
    single = code.value("i1", f"icmp eq i64 {steps}, 1")
    count = read(kept.count)
    left = code.value("i64", f"select i1 {single}, i64 {code.value('i64', f'sub i64 {count}, 1')}, i64 {count}")
    code.line(f"store i64 {left}, ptr {kept.count}")
    free = code.value("i64", f"add i64 {code.value('i64', f'sub i64 {kept.allowed}, {count}')}, 1")
    more = code.value("i1", f"icmp sgt i64 {free}, 1")
    stays = code.value("i1", f"and i1 {more}, {code.value('i1', f'xor i1 {single}, true')}")
    way = code.value("i64", f"call i64 {context.module.refer(ADVANCE)}(i64 {steps}, i64 {free})")
    to_end = code.value("i64", f"sub i64 {steps}, 1")
    goal = code.value("i64", f"add i64 {first}, {code.value('i64', f'select i1 {stays}, i64 {way}, i64 {to_end}')}")
    code.jump(ahead)

    code.start(ahead)
    code.branch(code.value("i1", f"icmp slt i64 {read(step)}, {goal}"), turn, there)
    code.start(turn)
    with code.scope():
        check_after(lowering, turns, program_cost(op.forward))
        k = read(step)
        advance(lowering, op.forward, constants, state, xs.at(place(k)), [])
        code.line(f"store i64 {code.value('i64', f'add i64 {k}, 1')}, ptr {step}")
    code.jump(ahead)

    code.start(there)
    code.branch(stays, keep, back)
    code.start(keep)
    with code.scope():
        kept.keep(read(step))
    code.jump(schedule)

    code.start(back)
    with code.scope():
        check_after(lowering, turns, program_cost(op.backward))
        k = read(step)
        i = place(k)
        given = [*constants, *[carry.value() for carry in state], *xs.at(i)]
        outs = advance(lowering, op.backward, given, sums, ws.at(i), [slot(lowering, y, i) for y in ys])
        for y, out in zip(ys, outs, strict=True):
            put(lowering, y, i, out)
        code.line(f"store i64 {k}, ptr {end}")
    code.jump(head)

    code.start(after)
    return settle(lowering, node, sums, results)
