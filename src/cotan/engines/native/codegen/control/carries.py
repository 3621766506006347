"""Loop-carried values: carries, the entries of scanned inputs, and the entries of outputs and residual stacks.

A carry of few elements is in registers, unless the body updates it at indices that are known only when it runs. A large one has two
buffers that are swapped after each iteration, or one buffer if the body updates it in place (`schedule.in_place`); one that the body passes
on has none. A stack (the residuals of a loop of unknown length) is heap memory, freed when the call ends. Its value is the address of its
entries and their number; entry k is at ``address + k * entry_bytes``. An entry of a stack of stacks is such a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cotan.core.op import Region
from cotan.core.program import Program, Var
from cotan.core.types import StackType, Type
from cotan.engines.native.affine import ElementIndex, Index, variable
from cotan.engines.native.codegen.context import ModuleContext
from cotan.engines.native.codegen.program import ProgramLowering, schedule_of
from cotan.engines.native.codegen.values import Memory, RowBlock, Subarray, Value
from cotan.engines.native.scalar.emitter import Scalar
from cotan.engines.native.schedule.in_place import in_registers, passed_on, updates_input
from cotan.engines.native.schedule.loop_nest import Opaque
from cotan.engines.native.status import UnsupportedError

__all__ = [
    "INT",
    "MANY",
    "Carry",
    "KeptCarry",
    "Output",
    "ScannedInputs",
    "StackCarry",
    "StackValue",
    "advance",
    "carries",
    "entry",
    "entry_bytes",
    "number",
    "outputs",
    "put",
    "settle",
    "slot",
    "stack_of",
]

INT = np.dtype(np.int64)
STACK_BYTES, MANY = 16, 1 << 40


class StackValue(Value):
    """A stack: the address of its entries, and their number."""

    def __init__(self, type: StackType, at: str, count: str):
        self.type, self.stack, self.at, self.count = type, type, at, count

    @property
    def element(self) -> Type:
        return self.stack.element


Output = Memory | StackValue
"""A result that a loop writes entry by entry: an array, or a new stack."""


def stack_of(v: Var) -> StackType:
    """The type of a variable that is a stack."""
    assert isinstance(v.type, StackType)
    return v.type


def entry_bytes(type: Type) -> int:
    """The bytes of an entry of a stack."""
    return STACK_BYTES if isinstance(type, StackType) else max(type.nbytes, 1)


# ---- variables of loops ----------------------------------------------------------------------------------------------------
class Carry:
    """A loop-carried value."""

    def value(self) -> Value:
        """The value in this iteration."""
        raise NotImplementedError

    def target(self) -> Memory | None:
        """The memory to which the body may write the next value directly."""
        return None

    def prepare(self, new: Value) -> Callable[[], None]:
        """Read the next value; the function that is returned stores it."""
        raise NotImplementedError

    def reset(self, value: Value) -> None:
        """Set the value between two iterations."""
        self.prepare(value)()


class SmallCarry(Carry):
    """A carry of few elements, which LLVM keeps in registers."""

    def __init__(self, context: ModuleContext, start: Value):
        self.context, self.memory = context, context.on_stack(start.type)
        self.prepare(start)()

    def value(self) -> Memory:
        return self.memory.forgotten()

    def prepare(self, new: Value) -> Callable[[], None]:
        found: list[tuple[ElementIndex, Scalar]] = []
        self.context.every(self.memory.type.shape, lambda index: found.append((index, new.read(self.context.e, index))))

        def change() -> None:
            for index, x in found:
                self.memory.write(self.context.e, index, x)

        return change


class LargeCarry(Carry):
    """A carry in two buffers that are swapped. With ``over``, in one buffer; it is that of the result if that may be (``home``)."""

    def __init__(self, lowering: ProgramLowering, start: Value, over: bool, home: Memory | None):
        self.context, self.over, self.type, self.home = lowering.context, over, start.type, home
        buffers = [home] if home is not None else [lowering.buffer(self.type) for _ in range(1 if over else 2)]
        if not start.lies_in(buffers[0]):
            self.context.copy(start, buffers[0], "the loop changes the first value of a carry, which is kept")
        self.cells = [self.context.module.code.alloca("ptr") for _ in buffers]
        for cell, buffer in zip(self.cells, buffers, strict=True):
            self.context.module.code.line(f"store ptr {buffer.at}, ptr {cell}")

    def value(self) -> Memory:
        self.at = [self.context.module.code.value("ptr", f"load ptr, ptr {cell}") for cell in self.cells]
        self.current = Memory(self.at[0], self.type)
        return self.current

    def target(self) -> Memory:
        return Memory(self.at[-1], self.type)

    def prepare(self, new: Value) -> Callable[[], None]:
        if new is self.current or (isinstance(new, Memory) and new.at == self.at[0]):
            return lambda: None
        target = self.target()
        if not (isinstance(new, Memory) and new.at == target.at):
            if self.over:
                raise UnsupportedError("a carry that is written over")
            self.context.copy(new, target, "the next value of a carry lies in another carry, or in an operand of the loop", in_body=True)

        def swap() -> None:
            for cell, at in zip(self.cells, self.at[::-1], strict=True):
                self.context.module.code.line(f"store ptr {at}, ptr {cell}")

        return swap

    def reset(self, value: Value) -> None:
        self.context.copy(value, self.value(), "the state of a snapshot", in_body=True)


class KeptCarry(Carry):
    """A carry that the loop never changes."""

    def __init__(self, start: Value):
        self.start = start

    def value(self) -> Value:
        return self.start

    def prepare(self, new: Value) -> Callable[[], None]:
        return lambda: None


class StackCarry(Carry):
    """A stack as a carry."""

    def __init__(self, context: ModuleContext, start: StackValue):
        self.context, self.stack = context, start.stack
        self.cells = context.module.code.alloca("ptr"), context.module.code.alloca("i64")
        self.prepare(start)()

    def value(self) -> StackValue:
        code, (at, count) = self.context.module.code, self.cells
        return StackValue(self.stack, code.value("ptr", f"load ptr, ptr {at}"), code.value("i64", f"load i64, ptr {count}"))

    def prepare(self, new: Value) -> Callable[[], None]:
        assert isinstance(new, StackValue)

        def change() -> None:
            code, (at, count) = self.context.module.code, self.cells
            code.line(f"store ptr {new.at}, ptr {at}")
            code.line(f"store i64 {new.count}, ptr {count}")

        return change


def carries(
    lowering: ProgramLowering, node: Opaque, region: Region[Program], starts: Sequence[Value], results: Sequence[Memory | None]
) -> list[Carry]:
    """The carries of a loop over a region, from these values on; in the end carry ``k`` becomes result ``k``."""
    schedule = schedule_of(lowering.context, region.program)
    found: list[Carry] = []
    for k, start in enumerate(starts):
        if isinstance(start, StackValue):
            found.append(StackCarry(lowering.context, start))
        elif start.type.size <= lowering.options.small_array and in_registers(schedule, region, k):
            found.append(SmallCarry(lowering.context, start))
        elif passed_on(region, k):
            found.append(KeptCarry(lowering.steady(start)))
        else:
            over = updates_input(schedule, region.carry[k], k)
            found.append(LargeCarry(lowering, start, over, home(lowering, node, start, results[k]) if over else None))
    return found


def home(lowering: ProgramLowering, node: Opaque, start: Value, result: Memory | None) -> Memory | None:
    """The memory of a result, if its carry may lie there: no operand of the loop does but, once, the start."""
    if result is None or result.contracted:
        return None
    roots = [lowering.values.get(root) for v in node.equation.inputs if isinstance(v, Var) for root in lowering.schedule.roots_of(v)]
    there = sum(isinstance(value, Memory) and value.at == result.at for value in roots)
    return result if there == int(start.lies_in(result)) else None


def advance(
    lowering: ProgramLowering,
    body: Program,
    constants: Sequence[Value],
    state: list[Carry],
    xs: Sequence[Value],
    ys: Sequence[Memory | None],
) -> list[Value]:
    """One iteration: the body, and the next values of the carries. The other outputs of the body."""
    values = [c.value() for c in state]
    outs = lowering.inline(body, [*constants, *values, *xs], [*[c.target() for c in state], *ys])
    ready = [c.prepare(new) for c, new in zip(state, outs, strict=False)]
    for change in ready:
        change()
    return outs[len(state) :]


def settle(lowering: ProgramLowering, node: Opaque, state: Sequence[Carry | None], results: Sequence[Memory | None]) -> None:
    """Make the last values of the carries results; None for a carry whose result is written already."""
    for v, carry, target in zip(node.equation.outputs, state, results, strict=False):
        if carry is None or (isinstance(carry, LargeCarry) and carry.home is not None):
            continue  # the result is its buffer
        value = carry.value()
        if target is None:
            lowering.values[v] = value
        elif not value.lies_in(target) and lowering.schedule.last_use(v) >= 0:
            lowering.context.copy(value, target, "the last value of a carry becomes a result")


# ---- rows -------------------------------------------------------------------------------------------------------------------
def number(lowering: ProgramLowering, value: Value) -> str:
    """A scalar integer as an i64."""
    return lowering.e.cast(value.read(lowering.e, ()), INT).register


class ScannedInputs:
    """The scanned inputs of a loop."""

    def __init__(self, lowering: ProgramLowering, xs: Sequence[Value]):
        self.lowering = lowering
        self.xs = [(x, zeros(lowering, x.element) if isinstance(x, StackValue) else "") for x in xs]

    def at(self, i: Index) -> list[Value]:
        """Entry ``i`` of each."""
        e = self.lowering.e
        return [
            entry(self.lowering, x, zero, i)
            if isinstance(x, StackValue)
            else x.entry(e, i)
            if isinstance(x, RowBlock)
            else Subarray(x, (i,))
            for x, zero in self.xs
        ]


def zeros(lowering: ProgramLowering, type: Type) -> str:
    """Zeroed memory of the size of an entry."""
    if isinstance(type, StackType):
        return "null"
    memory = lowering.buffer(type)
    lowering.context.every(type.shape, lambda index: memory.write(lowering.e, index, lowering.e.constant(0, type.dtype)))
    return memory.at


def entry(lowering: ProgramLowering, x: StackValue, zero: str, i: Index | int) -> Value:
    """An entry of a stack, zero beyond its end."""
    code, element = lowering.code, x.element
    inside = code.value("i1", f"icmp slt i64 {code.index(i)}, {x.count}")
    if lowering.context.module.checks is not None:
        read = code.value("i64", f"select i1 {inside}, i64 {code.index(i)}, i64 0")
        room = code.value("i64", f"select i1 {inside}, i64 {x.count}, i64 1")
        i = lowering.context.module.within(variable(read, MANY), room)
    at = code.address(x.at, f"[{entry_bytes(element)} x i8]", i)
    if not isinstance(element, StackType):
        return Memory(code.value("ptr", f"select i1 {inside}, ptr {at}, ptr {zero}"), element)
    empty = lowering.context.empty_stack()
    at = code.value("ptr", f"select i1 {inside}, ptr {at}, ptr {empty}")
    count = code.value("i64", f"load i64, ptr {code.value('ptr', f'getelementptr i8, ptr {at}, i64 8')}")
    return StackValue(element, code.value("ptr", f"load ptr, ptr {at}"), count)


def outputs(lowering: ProgramLowering, node: Opaque, first: int, results: Sequence[Memory | None], length: str) -> list[Output]:
    """The results from ``first`` on, which a loop writes entry by entry: arrays, and new stacks of ``length`` entries."""
    ys: list[Output] = []
    for v, target in zip(node.equation.outputs[first:], results[first:], strict=True):
        if target is None:
            stack = stack_of(v)
            ys.append(StackValue(stack, lowering.context.allocate(length, entry_bytes(stack.element)), length))
            lowering.values[v] = ys[-1]
        else:
            ys.append(target)
    return ys


def slot(lowering: ProgramLowering, y: Output, i: Index) -> Memory | None:
    """The memory to which the body may write its entry of a result."""
    if isinstance(y, StackValue):
        element = y.element
        if isinstance(element, StackType):
            return None
        return Memory(lowering.code.address(y.at, f"[{entry_bytes(element)} x i8]", lowering.context.module.within(i, y.count)), element)
    if isinstance(y, RowBlock):
        return y.entry(lowering.e, i)
    part = Subarray(y, (i,))
    at = part.pointer(lowering.e)
    assert at is not None
    return Memory(at, part.type)


def put(lowering: ProgramLowering, y: Output, i: Index, out: Value) -> None:
    """Write a stack that is an entry of a result. (An array is in its `slot`.)"""
    if isinstance(out, StackValue) and isinstance(y, StackValue):
        code = lowering.code
        at = code.address(y.at, f"[{STACK_BYTES} x i8]", lowering.context.module.within(i, y.count))
        code.line(f"store ptr {out.at}, ptr {at}")
        code.line(f"store i64 {out.count}, ptr {code.value('ptr', f'getelementptr i8, ptr {at}, i64 8')}")
