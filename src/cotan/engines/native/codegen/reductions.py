"""The lowering of reductions: accumulators before, in and after the loops that a statement reduces over.

If all loops inside are reduced over, an accumulator is a register. The innermost loop reduces a block of elements into one, which joins the
total afterwards: so a long sum stays accurate, and LLVM vectorizes it. Otherwise an iteration of the outer loops has an array of
accumulators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cotan.core.emitting import DType
from cotan.core.types import ArrayType
from cotan.engines.native.affine import ElementIndex, Index
from cotan.engines.native.scalar.emitter import LlvmEmitter
from cotan.engines.native.scalar.expression import Scalar
from cotan.engines.native.schedule.fusion import Schedule
from cotan.engines.native.schedule.loop_nest import Statement

from .context import ModuleContext
from .elements import ElementLowering
from .values import Memory, Value, memory_type

__all__ = ["ReductionLowering"]


class Accumulator:
    """A scalar variable of the function that is being written, which LLVM keeps in a register."""

    def __init__(self, e: LlvmEmitter, type: ArrayType):
        self.memory = Memory(e.module.code.alloca(memory_type(type.dtype)), type.with_shape(()))

    def get(self, e: LlvmEmitter) -> Scalar:
        return self.memory.forgotten().read(e, ())

    def set(self, e: LlvmEmitter, x: Scalar) -> None:
        self.memory.write(e, (), x)


class ReductionLowering(ElementLowering):
    """Statements that reduce, in the loops of one Program."""

    def __init__(self, context: ModuleContext, schedule: Schedule, values: Sequence[Value]):
        super().__init__(context, schedule, values)
        self.accumulators: dict[Statement, tuple[Accumulator, Accumulator]] = {}
        self.grouped: dict[Statement, tuple[Memory, Index]] = {}
        """The accumulators of a group of rows, and the index of the one that an element joins (`row_groups`)."""

    def in_register(self, s: Statement) -> bool:
        """Whether all the loops inside are reduced over."""
        return s.ready == len(s.var.type.shape)

    def identity(self, s: Statement) -> Scalar:
        return self.e.identity(s.monoid, s.var.type.dtype)

    def combined(self, s: Statement, x: Scalar, y: Scalar) -> Scalar:
        """One step of a reduction."""
        return self.e.combine(s.monoid, x, y)

    def start_reduction(self, s: Statement, iteration: ElementIndex) -> None:
        """Set the accumulators before the loops that are reduced over."""
        if self.in_register(s):
            total = Accumulator(self.e, s.var.type)
            self.accumulators[s] = (total if s.loop is not None and s.loop.unrolled else Accumulator(self.e, s.var.type)), total
            for accumulator in dict.fromkeys(self.accumulators[s]):
                accumulator.set(self.e, self.identity(s))
        else:
            place = self.places.get(s.var) or self.contracted_memory(s) or self.partial(s)
            self.context.every(s.var.type.shape[s.ready :], lambda index: place.write(self.e, (*iteration, *index), self.identity(s)))

    def accumulate(self, s: Statement, iteration: ElementIndex) -> None:
        """Reduce one more element into the accumulator."""
        place: dict[tuple[str, int], Index | int] = {
            next(iter(symbol.terms)).value: k for symbol, k in zip(s.order, iteration, strict=True)
        }
        out = tuple(place["o", k] for k in range(len(s.var.type.shape)))
        found: list[Scalar] = []

        def element(monoid: str, extents: Sequence[int], at: Callable[[ElementIndex], Scalar], dtype: DType) -> Scalar:
            found.append(at(tuple(place["r", k] for k in range(len(extents)))))
            return found[0]

        self.element(s.equation, out, self.e.reducing(element))
        if s in self.accumulators:
            part = self.accumulators[s][0]
            old = part.get(self.e)
            part.set(self.e, self.combined(s, old, found[0]))
        else:
            memory, at = self.places[s.var].forgotten(), out
            if s in self.grouped:
                rows, k = self.grouped[s]
                memory, at = rows.forgotten(), (k,)
            old = memory.read(self.e, at)
            memory.write(self.e, at, self.combined(s, old, found[0]))

    def flush(self, reductions: list[Statement]) -> None:
        """Add the accumulators of the innermost loop to the totals."""
        for s in reductions:
            part, total = self.accumulators[s]
            if part is total:
                continue
            total.set(self.e, self.combined(s, total.get(self.e), part.get(self.e)))
            part.set(self.e, self.identity(s))

    def finish_reduction(self, s: Statement, iteration: ElementIndex) -> None:
        """Define the result after the loops that are reduced over."""
        if s in self.accumulators:
            self.define(s, iteration, self.accumulators.pop(s)[1].get(self.e))
