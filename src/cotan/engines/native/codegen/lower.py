"""A whole Program as one machine-code function, and the equations that it cannot hold: those are callbacks into Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cotan.core.program import Equation, Literal, Program, Var
from cotan.core.types import ArrayType, StackType, Type
from cotan.engines.native.llvm.builder import Function, Module
from cotan.engines.native.options import CodegenOptions, current_options
from cotan.engines.native.scalar.expression import supported
from cotan.engines.native.schedule.aliasing import results_in_arguments, unused
from cotan.engines.native.schedule.fusion import Schedule
from cotan.engines.native.schedule.in_place import why_kept
from cotan.engines.native.schedule.loop_nest import Loop, Opaque
from cotan.engines.native.status import Status, UnsupportedError
from cotan.engines.native.target import Target

from .context import ModuleContext
from .control.carries import StackValue
from .control.loops import CONTROL
from .copies import Copy
from .failures import Failures
from .kernels.builder import KernelBuilder, Operand
from .kernels.scatter import scatter
from .kernels.tiling import tiled_nest, transposed_copy
from .program import ProgramLowering, lower_program, schedule_of
from .values import Memory, Value

__all__ = ["Callback", "LoweredModule", "lower_module"]


class Callback(NamedTuple):
    """An equation without machine code, which NumPy runs on arrays in memory; ``in_place`` if it changes its first operand there."""

    equation: Equation
    in_place: bool


class LoweredModule(NamedTuple):
    """The LLVM IR of a Program's module, its callbacks, and the bytes of workspace that a call needs."""

    ir: str
    callbacks: list[Callback]
    workspace: int
    schedules: list[Schedule]
    """The loop nests of the Program, and of the programs that its control ops hold."""
    failures: Failures
    callback_table: str
    """The name of the pointer to the callback table (`llvm.builder.Module.callback_table`)."""
    places: list[str]
    """In a checked build, the equation of each access that is tested."""
    buffers: dict[ArrayType, int]
    """The number of arrays in the workspace by type. Arrays that do not live at the same time share memory."""
    copies: list[Copy]
    """The copies of large arrays."""
    donated_input_of: dict[int, int]
    """For each result that is written in the memory of a donated input, both by number: the number of the input, with constants counted."""
    unused: tuple[int, ...]
    """Donated inputs in whose memory there is no result."""
    workspace_on: Callable[[int], int] | None = None
    """The bytes of the workspace that a call on so many threads uses; None for code from the IR cache."""


class NodeStrategies:
    """The strategies of a module (`program.Strategies`), and the callbacks and failures that its equations have."""

    def __init__(self) -> None:
        self.callbacks: list[Callback] = []
        self.failures = Failures()

    def tiled(self, lowering: ProgramLowering, loop: Loop) -> bool:
        return tiled_nest(lowering, loop)

    def transposed(self, lowering: ProgramLowering, v: Var | Literal, target: Memory) -> bool:
        return transposed_copy(lowering, v, target)

    def runs_in_chunks(self, lowering: ProgramLowering, program: Program) -> bool:
        """Whether the code of a Program calls no Python and takes no heap memory: it is written on trial."""
        known: bool | None = program.derived.get("runs in chunks")
        if known is not None:
            return known
        context = ModuleContext(lowering.options, lowering.context.module.target)
        context.schedules, context.in_chunk = lowering.context.schedules, True
        module, given = context.module, [Memory(context.module.name("ptr"), v.type) for v in program.inputs]
        module.callback_table = module.name("ptr")
        try:
            with module.function("trial", "void", [("ptr", x.at) for x in given]):
                lower_program(context, NodeStrategies(), program, given, [Memory(module.name("ptr"), v.type) for v in program.outputs])
            fine = True
        except UnsupportedError:
            fine = False
        program.derived["runs in chunks"] = fine
        return fine

    def opaque(self, lowering: ProgramLowering, node: Opaque, operands: list[Value], results: list[Memory | None]) -> None:
        """An equation that is run as a whole: by the lowering of its control op, as a scatter, by its routine, or by a callback.

        A result that is a stack has no memory yet: it is None among the results.
        """
        op = node.equation.op
        control = CONTROL.get(op.name)
        if control is not None:
            return control(lowering, node, op, operands, results)
        if any(not isinstance(v.type, ArrayType) for v in [*node.equation.inputs, *node.equation.outputs]):
            raise UnsupportedError(f"{op.name} of stacks")
        arrays = [y for y in results if y is not None]
        write = scatter if op.update is not None else self.kernel if op.routine is not None else None
        if write is not None and write(lowering, node, operands, arrays):
            return None
        if any(t.dtype.kind not in "biufc" for t in [v.type for v in node.equation.outputs]):
            raise UnsupportedError(op.name)
        return self.callback(lowering, node, operands, arrays)

    def kernel(self, lowering: ProgramLowering, node: Opaque, operands: list[Value], results: list[Memory]) -> bool:
        """Write the routine of an op; whether it has code for these types."""
        if not all(supported(x.type.dtype) for x in (*operands, *results)):
            return False
        w = KernelBuilder(lowering, self.failures, node.equation.op.name)
        given = [Operand(lowering, v, value) for v, value in zip(node.equation.inputs, operands, strict=True)]
        assert node.equation.op.routine is not None
        return node.equation.op.routine(w, given, [w.result(y) for y in results]) is not NotImplemented

    def callback(self, lowering: ProgramLowering, node: Opaque, operands: Sequence[Value], results: Sequence[Memory]) -> None:
        """A call of the next function of the callback table, on a table of pointers to operands and results."""
        context, code = lowering.context, lowering.code
        if context.in_chunk:
            raise UnsupportedError(f"{node.equation.op.name} in a chunk: other threads cannot call Python")
        in_place = node.equation.op.update is not None and len(results) == 1
        self.callbacks.append(Callback(node.equation, in_place))
        if in_place:
            if operands[0].pointer(lowering.e) != results[0].at:
                context.copy(operands[0], results[0], why_kept(lowering.schedule, node))
            pointers = [results[0].at, *[lowering.contiguous(x) for x in operands[1:]]]
        else:
            pointers = [*[lowering.contiguous(x) for x in operands], *[y.at for y in results]]
        table = code.alloca(f"[{max(len(pointers), 1)} x ptr]")
        for k, pointer in enumerate(pointers):
            code.line(f"store ptr {pointer}, ptr {code.address(table, 'ptr', k)}")
        number = len(self.callbacks) - 1
        function = code.value("ptr", f"load ptr, ptr {code.address(context.module.callback_table, 'ptr', number)}")
        returned = code.value("i32", f"call i32 {function}(ptr {table})")
        context.leave_if(code.value("i1", f"icmp ne i32 {returned}, 0"), Status.RAISED)


def lower_module(
    program: Program,
    donated: Sequence[int] = (),
    target: Target = Target.IN_PROCESS,
    name: str = "main",
    finish: Callable[[Module, LoweredModule], None] | None = None,
    options: CodegenOptions | None = None,
) -> LoweredModule:
    """Lower a Program to ``i32 main(ptr arguments, ptr results, ptr workspace, ptr callback_table)``, on two tables of pointers to the data
    of arrays that are C-contiguous and aligned. It returns 0, or a status. `llvm.builder.Module.callback_table` says what the last argument
    points to. Results may be written in the memory of the inputs ``donated``. Under another name than ``main`` the function is internal to
    the module, and ``finish`` writes the functions that call it.

    Raises:
        UnsupportedError: there is something in it that the engine cannot write.
    """
    context, strategies = ModuleContext(options or current_options(), target), NodeStrategies()
    module = context.module
    arguments, results, module.callback_table = (module.name("ptr") for _ in range(3))
    parameters = [("ptr", v) for v in (arguments, results, context.workspace, module.callback_table)]
    with module.function(name, "i32", parameters, internal=finish is not None) as code:
        code.lines.append(context.beginning)
        inputs = [argument(code, entry(code, arguments, k), v.type) for k, v in enumerate(program.inputs)]
        schedule = schedule_of(context, program, [v for k, v in enumerate(program.inputs) if k not in donated])
        donated_input_of = results_in_arguments(schedule, donated) if donated else {}
        targets = [
            None if isinstance(v.type, StackType)
            else Memory(entry(code, results, k), v.type) if k not in donated_input_of
            else over(inputs[donated_input_of[k]], program.inputs[donated_input_of[k]] is v)
            for k, v in enumerate(program.outputs)
        ]  # fmt: skip
        outs = lower_program(context, strategies, program, inputs, targets)
        if None in targets:
            hand_over(context, outs, results)
        else:
            context.leave(Status.FINE)
        context.free_all()

    def workspace(threads: int | None = None) -> int:
        return max([context.workspace_bytes, *[w.end(threads) for w in context.chunk_workspaces]])

    found = LoweredModule(
        ir="",
        callbacks=strategies.callbacks,
        workspace=workspace(),
        schedules=list(context.schedules.values()),
        failures=strategies.failures,
        callback_table=module.callback_table,
        places=module.checks.accesses if module.checks is not None else [],
        buffers=dict(context.buffers),
        copies=context.copies,
        donated_input_of=donated_input_of,
        unused=unused(schedule, donated, donated_input_of),
        workspace_on=workspace,
    )
    if finish is not None:
        finish(module, found)
    return found._replace(ir=str(module))


def argument(code: Function, at: str, type: Type) -> Value:
    """The value of an argument: an array, or a stack, which is passed as two 64-bit integers."""
    if not isinstance(type, StackType):
        return Memory(at, type)
    return StackValue(type, code.value("ptr", f"load ptr, ptr {at}"), code.value("i64", f"load i64, ptr {code.address(at, 'i64', 1)}"))


def hand_over(context: ModuleContext, outs: Sequence[Value], results: str) -> None:
    """Return from a call that gives stacks: address and length of each, and the list of all heap blocks, which are not freed."""
    code = context.module.code
    for k, y in enumerate(outs):
        if isinstance(y, StackValue):
            at = entry(code, results, k)
            code.line(f"store ptr {y.at}, ptr {at}")
            code.line(f"store i64 {y.count}, ptr {code.address(at, 'i64', 1)}")
    first = code.value("ptr", f"load ptr, ptr {context.heap}") if context.heap else "null"
    code.line(f"store ptr {first}, ptr {entry(code, results, len(outs))}")
    context.leave(0, freeing=False)


def over(given: Value, same: bool) -> Memory:
    """The memory of a result that is written over an input: another value there, unless it is the input itself."""
    assert isinstance(given, Memory)
    return given if same else given.forgotten()


def entry(code: Function, table: str, k: int) -> str:
    """A pointer in a table."""
    return code.value("ptr", f"load ptr, ptr {code.address(table, 'ptr', k)}")
