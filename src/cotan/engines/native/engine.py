"""Running Programs as machine code.

The interface is that of `engines.numpy`: a function that takes over the flat list of its arguments.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ...core.program import Program
from .. import numpy as numpy_engine
from .control import UnsupportedError
from .generate import OUT_OF_MEMORY, RAISED, WRONG_LAYOUT
from .lower import Code, lowered, python_function
from .machine import machine
from .report import Report, describe
from .simplify import simplified

__all__ = ["compile_program", "compiled", "made"]

MOST_LINES = 3000
"""Beyond so much straight code, which LLVM takes far more than linear time for, it is compiled quickly and not at its best."""
LAYOUT = ("C_CONTIGUOUS", "ALIGNED")
_compiled: WeakKeyDictionary[Program, Callable[[list[Any]], list[Any]]] = WeakKeyDictionary()


def compiled(program: Program) -> Callable[[list[Any]], list[Any]]:
    """`compile_program`, done once for each Program."""
    run = _compiled.get(program)
    if run is None:
        run = _compiled[program] = compile_program(program)
    return run


def compile_program(program: Program) -> Callable[[list[Any]], list[Any]]:
    """A function of the flat arguments that runs ``program``. It takes over the list that it is given."""
    return made(program)[0]


def made(program: Program) -> tuple[Callable[[list[Any]], list[Any]], Report]:
    """A function that runs ``program``, and the report of how it was made."""
    clock = [perf_counter()]
    simple, constants = simplified(program)
    clock.append(perf_counter())
    try:
        code = lowered(simple)
    except UnsupportedError as reason:
        return quiet(numpy_engine.compile_program(program)), Report(program.name, (), (f"the whole program: {reason}",), 0, "", {})
    clock.append(perf_counter())
    address = machine().compile(code.text, ["main"], 1 if code.lines > MOST_LINES else 3)["main"]
    clock.append(perf_counter())
    seconds = {name: b - a for name, a, b in zip(("simplify", "plan and write", "LLVM"), clock, clock[1:], strict=False)}
    outside = tuple(f"{c.equation.op}{f'   # {c.equation.origin}' if c.equation.origin else ''}" for c in code.callbacks)
    report = Report(program.name, tuple(map(describe, code.plans)), outside, code.workspace, code.text, seconds)
    return launcher(simple, constants, code, address), report


def quiet(execute: Callable[[list[Any]], list[Any]]) -> Callable[[list[Any]], list[Any]]:
    """The same without floating-point warnings."""

    def run(values: list[Any]) -> list[Any]:
        with np.errstate(all="ignore"):
            return execute(values)

    return run


def launcher(program: Program, constants: Sequence[Any], code: Code, address: int) -> Callable[[list[Any]], list[Any]]:
    """Calls the code on arrays, and gives its results as new arrays. Other threads run meanwhile."""
    errors: dict[int, BaseException] = {}
    functions = [python_function(c, lambda error: errors.__setitem__(threading.get_ident(), error)) for c in code.callbacks]
    table = (ctypes.c_void_p * max(len(functions), 1))(*[ctypes.cast(f, ctypes.c_void_p).value for f in functions])
    wanted = [v.type.dtype for v in program.inputs]
    results_of = [(v.type.shape, v.type.dtype) for v in program.outputs]
    scalars = [not shape for shape, _ in results_of]
    any_scalar = any(scalars)
    count, arity, name, where = len(wanted) - len(constants), len(wanted), program.name, ctypes.addressof(table)
    native = entry(address, arity, len(results_of), code.packed)
    spare: list[tuple[Any, int]] = []
    kept = (functions, table)
    empty, ndarray = np.empty, np.ndarray

    def run(values: list[Any]) -> list[Any]:
        if len(values) != count:
            raise TypeError(f"{name} takes {count} arguments, not {len(values)}")
        operands = [*constants, *values] if constants else values
        results: list[Any] = [empty(shape, dtype) for shape, dtype in results_of]
        block, base = (spare.pop() if spare else workspace(code.workspace)) if code.workspace else (None, 0)
        refused = 0
        for x, dtype in zip(operands, wanted, strict=True):
            if type(x) is not ndarray or x.dtype is not dtype:
                refused = WRONG_LAYOUT
                break
        else:
            refused = native(*operands, *results, base, where)
        if refused == WRONG_LAYOUT:  # a scalar, or an array in another layout
            refused = native(*[np.require(x, dtype, LAYOUT) for x, dtype in zip(operands, wanted, strict=True)], *results, base, where)
        if block is not None:
            spare.append((block, base))
        if refused:
            if refused == RAISED:
                raise errors.pop(threading.get_ident())
            failure = code.failures.raised(refused)
            if failure is not None:
                raise failure
            assert refused == OUT_OF_MEMORY, kept
            raise MemoryError(f"{name}: there is no memory for what a loop keeps")
        return [y[()] if scalar else y for y, scalar in zip(results, scalars, strict=True)] if any_scalar else results

    return run


def workspace(nbytes: int) -> tuple[Any, int]:
    """New memory, and the first address in it that is a multiple of 64."""
    block = np.empty(nbytes + 64, np.uint8)
    address = block.ctypes.data
    return block, address + -address % 64


def entry(address: int, n_in: int, n_out: int, packed: bool) -> Callable[..., int]:
    """The code as a function of array objects, inputs first, a workspace and a table of functions."""
    if not packed:
        return ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.py_object] * (n_in + n_out), ctypes.c_void_p, ctypes.c_void_p)(address)
    code = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4)(address)
    taking, giving = ctypes.py_object * max(n_in, 1), ctypes.py_object * max(n_out, 1)

    def call(*arguments: Any) -> int:
        ins, outs = taking(*arguments[:n_in]), giving(*arguments[n_in : n_in + n_out])
        return code(ctypes.addressof(ins), ctypes.addressof(outs), *arguments[n_in + n_out :])

    return call
