"""A whole Program as one machine-code function, and the equations that it cannot hold: those are calls back into Python."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from cotan.core.outside import checked_impl
from cotan.core.program import Equation, Program
from cotan.core.types import ArrayType, StackType, Type
from cotan.engines.native.codegen.control.carries import StackValue
from cotan.engines.native.codegen.control.loops import CONTROL
from cotan.engines.native.codegen.kernels.builder import Failures, Operand, Writer
from cotan.engines.native.codegen.kernels.scatter import update
from cotan.engines.native.llvm.builder import Function
from cotan.engines.native.scalar.emitter import supported
from cotan.engines.native.schedule.aliasing import results_in_arguments, unused
from cotan.engines.native.schedule.fusion import Opaque, Plan

from .context import RAISED, Generator, UnsupportedError
from .program import Run
from .values import Memory, Value

__all__ = ["Callback", "Code", "lowered"]

PYTHON = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)


class Callback(NamedTuple):
    """An equation that is run by NumPy, on arrays in memory."""

    equation: Equation
    in_place: bool


class Code(NamedTuple):
    """The text of a Program's module, what it calls back, the bytes of workspace that a call needs."""

    text: str
    callbacks: list[Callback]
    workspace: int
    plans: list[Plan]
    """Of the Program, and of the programs that its control ops hold."""
    failures: Failures
    table: str
    """The name of the pointer to the table."""
    places: list[str]
    """In a checked build, what is written at each place that is tested."""
    buffers: dict[ArrayType, int]
    """The arrays in the workspace by type, how many of each; they share its memory where they do not live at the same time."""
    shared: dict[int, int]
    """By the numbers of results, those of the inputs in whose memory they are written: ``main`` looks there for both."""
    unused: tuple[int, ...]
    """Donated inputs in whose memory there is no result."""


def lowered(program: Program, donated: Sequence[int] = ()) -> Code:
    """``i32 main(ptr arguments, ptr results, ptr workspace, ptr table)``, on two tables of pointers to the data of arrays that are
    C-contiguous and aligned. It returns 0, or what went wrong. The last table has the functions that are called back, then the numbers of a
    template; before it stands the number of threads, or 0. Results may lie in the memory of the inputs ``donated``.

    Raises:
        UnsupportedError: there is something in it that the engine cannot write.
    """
    callbacks: list[Callback] = []
    failures = Failures()

    def opaque(run: Run, node: Opaque, operands: list[Value], results: list[Any]) -> None:
        op = node.equation.op
        write = CONTROL.get(op.name) or (update if op.update is not None else call_routine if op.routine is not None else None)
        if write is not None and write(run, node, operands, results) is not NotImplemented:
            return
        in_place = op.update is not None and len(results) == 1
        if any(not isinstance(v.type, ArrayType) for v in [*node.equation.inputs, *node.equation.outputs]):
            raise UnsupportedError(f"{op.name} of stacks")
        if any(t.dtype.kind not in "biufc" for t in [v.type for v in node.equation.outputs]):
            raise UnsupportedError(op.name)
        callbacks.append(Callback(node.equation, in_place))
        call_back(run, operands, results, len(callbacks) - 1, in_place)

    def call_routine(run: Run, node: Opaque, operands: list[Value], results: list[Memory]) -> Any:
        if not all(supported(x.type.dtype) for x in (*operands, *results)):
            return NotImplemented
        w = Writer(run, failures, node.equation.op.name)
        given = [Operand(run, v, value) for v, value in zip(node.equation.inputs, operands, strict=True)]
        assert node.equation.op.routine is not None
        return node.equation.op.routine(w, given, [w.result(y) for y in results])

    def call_back(run: Run, operands: Sequence[Value], results: Sequence[Memory], number: int, in_place: bool) -> None:
        g, code = run.g, run.code
        if in_place:
            if operands[0].pointer(run.e) != results[0].at:
                g.copy(operands[0], results[0])
            pointers = [results[0].at, *[run.contiguous(x) for x in operands[1:]]]
        else:
            pointers = [*[run.contiguous(x) for x in operands], *[y.at for y in results]]
        table = code.alloca(f"[{max(len(pointers), 1)} x ptr]")
        for k, pointer in enumerate(pointers):
            code.line(f"store ptr {pointer}, ptr {code.address(table, 'ptr', k)}")
        function = code.value("ptr", f"load ptr, ptr {code.address(module.table, 'ptr', number)}")
        failed = code.value("i1", f"icmp ne i32 {code.value('i32', f'call i32 {function}(ptr {table})')}, 0")
        stop, on = code.label(), code.label()
        code.branch(failed, stop, on)
        code.start(stop)
        g.leave(RAISED)
        code.start(on)

    g = Generator(opaque)
    module = g.module
    arguments, results, module.table = (module.name("ptr") for _ in range(3))
    with module.function("main", "i32", [("ptr", v) for v in (arguments, results, g.workspace, module.table)]) as code:
        code.lines.append(g.beginning)
        inputs = [argument(code, entry(code, arguments, k), v.type) for k, v in enumerate(program.inputs)]
        plan = g.plan(program)
        shared = results_in_arguments(plan, donated) if donated else {}
        targets = [
            None if isinstance(v.type, StackType)
            else Memory(entry(code, results, k), v.type) if k not in shared
            else over(inputs[shared[k]], program.inputs[shared[k]] is v)
            for k, v in enumerate(program.outputs)
        ]  # fmt: skip
        outs = g.run(program, inputs, targets)
        if None in targets:
            hand_over(g, outs, results)
        else:
            g.leave(0)
        g.free_all()
    places = module.checks.places if module.checks is not None else []
    rest = unused(plan, donated, shared)
    buffers = dict(g.buffers)
    return Code(str(module), callbacks, g.workspace_bytes, list(g.plans.values()), failures, module.table, places, buffers, shared, rest)


def argument(code: Function, at: str, type: Type) -> Value:
    """An argument: an array, or a stack, which comes as two words."""
    if not isinstance(type, StackType):
        return Memory(at, type)
    return StackValue(type, code.value("ptr", f"load ptr, ptr {at}"), code.value("i64", f"load i64, ptr {code.address(at, 'i64', 1)}"))


def hand_over(g: Generator, outs: Sequence[Value], results: str) -> None:
    """Return from a call that gives stacks: their words, and the list of all blocks of memory, which are not freed."""
    code = g.module.code
    for k, y in enumerate(outs):
        if isinstance(y, StackValue):
            at = entry(code, results, k)
            code.line(f"store ptr {y.at}, ptr {at}")
            code.line(f"store i64 {y.count}, ptr {code.address(at, 'i64', 1)}")
    first = code.value("ptr", f"load ptr, ptr {g.heap}") if g.heap else "null"
    code.line(f"store ptr {first}, ptr {entry(code, results, len(outs))}")
    g.leave(0, freeing=False)


def over(given: Value, same: bool) -> Memory:
    """The place of a result that is written over an input: another value in the same memory, unless it is the input itself."""
    assert isinstance(given, Memory)
    return given if same else Memory(given.at, given.type)


def entry(code: Function, table: str, k: int) -> str:
    """A pointer out of a table."""
    return code.value("ptr", f"load ptr, ptr {code.address(table, 'ptr', k)}")


def python_function(callback: Callback, failed: Callable[[BaseException], None]) -> Any:
    """The callback as a C function of a table of pointers."""
    op, multiple = callback.equation.op, callback.equation.op.multiple
    operands = [v.type for v in callback.equation.inputs]
    results = [v.type for v in callback.equation.outputs]
    types = operands if callback.in_place else [*operands, *results]
    count = len(operands)
    run = checked_impl(callback.equation)
    buffers: list[tuple[Any, Any]] = [(t, ctypes.c_char * max(t.nbytes, 1)) for t in types]
    table_type = ctypes.c_void_p * max(len(types), 1)

    def call(table: int) -> int:
        try:
            pointers = table_type.from_address(table)
            arrays = [np.ndarray(t.shape, t.dtype, buffer.from_address(at)) for (t, buffer), at in zip(buffers, pointers, strict=False)]
            with np.errstate(all="ignore"):
                if callback.in_place:
                    assert op.update is not None
                    op.update(arrays[0], *[x if x.ndim else x[()] for x in arrays[1:]])
                    return 0
                for x in arrays[:count]:
                    x.flags.writeable = False
                found = run(*[x if x.ndim else x[()] for x in arrays[:count]])
            for target, y in zip(arrays[count:], found if multiple else (found,), strict=True):
                target[...] = y
            return 0
        except BaseException as error:
            failed(error)
            return 1

    return PYTHON(call)
