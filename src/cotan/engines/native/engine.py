"""Running Programs as machine code.

The interface is that of `engines.numpy`: a function that takes over the flat list of its arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ...core.program import Program
from .. import numpy as numpy_engine
from .calling import Caller
from .control import UnsupportedError
from .lower import lowered
from .machine import machine
from .report import Report, describe
from .simplify import simplified

__all__ = ["compile_program", "compiled", "made"]

MOST_LINES = 3000
"""Beyond so much straight code, which LLVM takes far more than linear time for, it is compiled quickly and not at its best."""
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
    return Caller(simple, constants, code, address), report


def quiet(execute: Callable[[list[Any]], list[Any]]) -> Callable[[list[Any]], list[Any]]:
    """The same without floating-point warnings."""

    def run(values: list[Any]) -> list[Any]:
        with np.errstate(all="ignore"):
            return execute(values)

    return run
