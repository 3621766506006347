"""Scatter: updates of a part of an array as loops. Each element goes to its destination; updates of one destination are taken in order.

If the target is small next to the updates, the updates are parallel: each chunk has a target of its own that begins with the identity
element, and these are combined in order. So sums depend on the number of threads, as all sums do. Updates of a large target, and updates
that replace elements, are done by one thread: to find the owner of each destination takes as long as the update.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from cotan.engines.native.affine import Condition, ElementIndex, variable
from cotan.engines.native.analysis.access import AccessProbe, Reader, axis
from cotan.engines.native.codegen.loop_builder import unravelled
from cotan.engines.native.codegen.partials import PartialResults
from cotan.engines.native.codegen.program import ProgramLowering
from cotan.engines.native.codegen.values import Memory, Value
from cotan.engines.native.codegen.workspace import padded_size
from cotan.engines.native.llvm.builder import Function
from cotan.engines.native.runtime import thread_pool
from cotan.engines.native.scalar.emitter import EXTREMA, Scalar
from cotan.engines.native.schedule.in_place import why_kept
from cotan.engines.native.schedule.loop_nest import Opaque

__all__ = ["scatter"]

Destination = Callable[..., tuple[Condition | bool, ElementIndex]]
"""``op.destination``: whether an element goes anywhere, and where."""


def scatter(lowering: ProgramLowering, node: Opaque, operands: list[Value], results: list[Memory]) -> bool:
    """Write an op that updates a part of its first operand: each element of the second goes to its destination, in order. Whether the op
    has destinations.
    """
    op = node.equation.op
    if op.destination is None:
        return False
    if operands[0].pointer(lowering.e) != results[0].at:
        lowering.context.copy(operands[0], results[0], why_kept(lowering.schedule, node))
    Scatter(lowering, op.destination, op.kind, operands, results[0]).write()
    return True


class Scatter:
    """The scatter of one equation."""

    def __init__(self, lowering: ProgramLowering, destination: Destination, kind: str, operands: list[Value], target: Memory):
        self.lowering, self.destination, self.operands, self.target = lowering, destination, operands, target
        self.options = lowering.options
        self.context, self.e, self.type = lowering.context, lowering.e, operands[1].type
        self.readers = [Reader(x.type, lambda index, x=x: x.read(self.e, index)) for x in operands]
        self.kind, self.function = kind, EXTREMA.get(kind, kind)

    @property
    def code(self) -> Function:
        return self.lowering.code

    def write(self) -> None:
        """Write all updates."""
        shape = self.type.shape
        if self.type.size <= self.options.small_array:
            return self.context.every(shape, lambda i: self.one(i, self.target))
        target, cost = self.target.type, self.total_cost()
        room = padded_size(target) * target.dtype.itemsize
        most = min(
            thread_pool.MOST_CHUNKS,
            cost // self.options.chunk_cost,
            cost // (self.options.scatter_target_cost * max(target.size, 1)),
            self.options.scatter_target_bytes // room,
        )
        whole = self.kind == "set" or (self.kind == "mul" and target.dtype.kind == "c")  # no complex number leaves infinities as they are
        if most > 1 and not whole:
            return self.apart(most)
        return self.context.outlined(lambda: self.context.every(shape, lambda i: self.one(i, self.target)))

    def one(self, i: ElementIndex, target: Memory) -> None:
        """Write the update by one element."""
        code = self.code
        inside, at = self.destination(self.e, i, *self.readers)
        x = self.operands[1].read(self.e, i)
        if isinstance(inside, Condition):
            yes, on = code.label(), code.label()
            code.branch(code.condition(inside), yes, on)
            code.start(yes)
            with code.scope():
                self.change(target, at, x)
            code.jump(on)
            code.start(on)
        elif inside:
            self.change(target, at, x)

    def change(self, target: Memory, at: ElementIndex, x: Scalar) -> None:
        if self.kind != "set":
            x = self.e.math(self.function, target.forgotten().read(self.e, at), x)
        target.write(self.e, at, x)

    def total_cost(self) -> int:
        """The cost of all updates. A row that is contiguous in the target has one destination to find."""
        shape = self.type.shape
        index = tuple(axis(k, n) for k, n in enumerate(shape))
        _, at = self.destination(AccessProbe(), index, *[Reader(x.type, lambda _: None) for x in self.operands])
        row = shape[-1] if shape[-1] > 1 and at[-1] == index[-1] else 1
        return self.type.size + self.type.size // row * (self.options.scatter_cost - 1)

    # ---- threads ---------------------------------------------------------------------------------------------------------------
    def apart(self, most: int) -> None:
        """Each chunk has a target of its own, if there are several threads."""
        t, lead = self.target.type, self.type.shape
        depth = next(k for k in range(1, len(lead) + 1) if prod(lead[:k]) >= self.options.scatter_balance * most or k == len(lead))
        count = prod(lead[:depth])
        partial = PartialResults(self.lowering, t, most)

        def write(first: str, end: str, chunk: str) -> None:
            own = partial.own(chunk)
            self.context.every(t.shape, lambda i: own.write(self.e, i, self.identity()))
            self.code.loop(end, lambda i: rest(unravelled(variable(i, count), lead[:depth]), own), start=first, at_least_once=False)

        def rest(index: ElementIndex, own: Memory) -> None:
            self.context.every(lead[depth:], lambda i: self.one((*index, *i), own))

        code, alone, several, on = self.code, self.code.label(), self.code.label(), self.code.label()
        code.branch(code.value("i1", f"icmp sle i32 {self.context.module.threads()}, 1"), alone, several)
        code.start(alone)
        with code.scope():
            self.context.outlined(lambda: self.context.every(lead, lambda i: self.one(i, self.target)))
        code.jump(on)
        code.start(several)
        with code.scope():
            chunks = self.parallel_for(count, most, write)
            self.context.outlined(lambda: partial.combine(chunks, self.target, lambda old, x: self.e.math(self.function, old, x)))
        code.jump(on)
        code.start(on)

    def identity(self) -> Scalar:
        """The identity element of the update; of a sum it is -0.0, which keeps the sign of a zero."""
        t = self.target.type.dtype
        if self.kind == "add" and t.kind in "fc":
            return self.e.constant(complex(-0.0, -0.0) if t.kind == "c" else -0.0, t)
        return self.e.identity(self.kind, t)

    def parallel_for(self, size: int, most: int, write: Callable[[str, str, str], None]) -> str:
        """``write(first, end, chunk)`` on a chunk of the range below ``size`` for each thread; the number of chunks."""
        small = self.total_cost() < self.options.small_job_cost
        return self.context.parallel_for("update", size, most, write, small=small, each=1)
