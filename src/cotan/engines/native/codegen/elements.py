"""The lowering of elements: the value of each variable of a Program, where it is in memory, and how one element of it is computed.

Elements that are known are not computed again: the function that is being written remembers them.
"""

from __future__ import annotations

from collections.abc import Sequence

from cotan.core.program import Equation, Literal, Var
from cotan.core.types import ArrayType
from cotan.engines.native.affine import ElementIndex
from cotan.engines.native.analysis.access import Reader
from cotan.engines.native.llvm.builder import Function
from cotan.engines.native.scalar.emitter import LlvmEmitter
from cotan.engines.native.scalar.expression import Scalar
from cotan.engines.native.schedule.fusion import Schedule
from cotan.engines.native.schedule.in_place import overwritten_operand
from cotan.engines.native.schedule.loop_nest import Opaque, Statement

from .context import ModuleContext
from .values import Constant, Memory, Value, View
from .workspace import WorkspaceFrame

__all__ = ["ElementLowering"]


class ElementLowering:
    """Lowers the elements of one Program whose inputs have these values."""

    def __init__(self, context: ModuleContext, schedule: Schedule, values: Sequence[Value]):
        self.context, self.e, self.options, self.schedule = context, context.e, context.options, schedule
        self.values: dict[Var, Value] = dict(zip(schedule.program.inputs, values, strict=True))
        self.places: dict[Var, Memory] = {}
        """The variables in memory."""
        self.frame = WorkspaceFrame(context.frames[-1] if context.frames else None)
        self.over_nothing = context.e.reducing(lambda monoid, extents, at, dtype: at(()))
        self.now = 0
        """The position of the node at the root that is being written: the lifetimes of buffers are ranges of positions."""

    @property
    def code(self) -> Function:
        return self.context.module.code

    def value(self, v: Var | Literal) -> Value:
        """The value of a variable."""
        if isinstance(v, Literal):
            return Constant(v.value, v.type)
        found = self.values.get(v)
        if found is None:
            place = self.places.get(v) if v not in self.schedule.views else None
            found = self.values[v] = place if place is not None else View(v.type, lambda index: self.read(v, index))
        return found

    def read(self, v: Var | Literal, index: ElementIndex) -> Scalar:
        """An element of a variable."""
        if isinstance(v, Literal):
            return self.e.constant(v.value, v.type.dtype)
        found = self.code.known((self, v, index))
        if found is not None:
            return found
        equation = self.schedule.views.get(v)
        if equation is not None:
            return self.element(equation, index)
        place = self.places.get(v)
        return place.read(self.e, index) if place is not None else self.values[v].read(self.e, index)

    def element(self, equation: Equation, index: ElementIndex, e: LlvmEmitter | None = None) -> Scalar:
        """An element of a result, by the defining equation; ``e`` may have a strategy for reductions."""
        readers = [Reader(v.type, lambda at, v=v: self.read(v, at)) for v in equation.inputs]
        with self.context.written_for(equation):
            return equation.op.element(e or self.e, index, *readers)

    def place(self, v: Var) -> Memory:
        """Memory for a whole value, until its last use."""
        found = self.places.get(v)
        if found is None:
            found = self.places[v] = self.buffer(v.type, max(self.schedule.last_use(v), self.now))
        return found

    def update_in_place(self, node: Opaque) -> None:
        """Let a result of an op be written over an operand that is not used afterwards."""
        for k, result in enumerate(node.equation.outputs):
            if result in self.places:
                continue
            operand = overwritten_operand(self.schedule, node.equation, k)
            if operand is None or self.schedule.last_use(operand) > node.position:
                continue
            memory = self.places.get(operand)
            if memory is not None and memory.buffer is not None:
                self.places[result] = memory.forgotten()
                memory.buffer.last = max(self.schedule.last_use(result), node.position)

    def buffer(self, type: ArrayType, last: int | None = None) -> Memory:
        """Memory until the node ``last``; on the stack if it is small."""
        if type.size <= self.options.small_array:
            return self.context.on_stack(type)
        return self.workspace_array(type, last)

    def workspace_array(self, type: ArrayType, last: int | None = None) -> Memory:
        """Memory of the workspace until the node ``last``, or for this node."""
        return self.context.in_workspace(type, self.frame.take(type.nbytes, self.now, self.now if last is None else last))

    def contiguous(self, value: Value) -> str:
        """The pointer to a value, which is copied to memory if it is not contiguous there."""
        at = value.pointer(self.e)
        if at is None:
            memory = self.buffer(value.type)
            self.context.copy(value, memory, "the operation reads an array that is contiguous in memory")
            at = memory.at
        return at

    # ---- statements ---------------------------------------------------------------------------------------------------------
    def element_of(self, s: Statement, index: ElementIndex) -> Scalar:
        """An element of a statement that reduces nothing, or over nothing."""
        return self.element(s.equation, index, self.over_nothing)

    def define(self, s: Statement, index: ElementIndex, x: Scalar) -> None:
        """Define an element of a result, which is stored if it is read elsewhere."""
        self.code.remember((self, s.var, index), x)
        place = self.places.get(s.var)
        if place is None and s.loop is not None and s.loop.unrolled:
            place = self.contracted_memory(s)
        if place is not None:
            place.write(self.e, index, x)

    def contracted_memory(self, s: Statement) -> Memory | None:
        """Memory for a value that is contracted along its shared loops; None if its readers are in the same iteration of all its
        loops.
        """
        t = s.var.type
        kept = self.schedule.shared_axes(s.var)
        if kept is None or kept == len(t.shape):
            return None
        rest = t.with_shape(t.shape[kept:])
        at = self.contracted_array(rest).at
        place = self.places[s.var] = Memory(at, t, kept)
        return place

    def contracted_array(self, type: ArrayType) -> Memory:
        """Memory for the part of a value that one iteration makes."""
        return self.context.on_stack(type) if type.nbytes <= self.options.stack_array_bytes else self.workspace_array(type)

    def partial(self, s: Statement) -> Memory:
        """Memory for the accumulators of one iteration of the outer loops, if no reader needs them in memory."""
        rest = s.var.type.with_shape(s.var.type.shape[s.ready :])
        at = self.contracted_array(rest).at
        place = self.places[s.var] = Memory(at, s.var.type, s.ready)
        return place
