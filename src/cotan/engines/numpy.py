"""The NumPy engine: a Program as a flat list of calls of ``impl``. The reference for every other engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from ..core.outside import checked_impl
from ..core.program import Program
from .flat import Step, flat_runner

__all__ = ["compile_program", "compiled", "run"]

_compiled: WeakKeyDictionary[Program, Callable[..., list[Any]]] = WeakKeyDictionary()


def run(program: Program, arguments: Sequence[Any]) -> list[Any]:
    """The outputs of ``program`` on flat arguments."""
    return compiled(program)(list(arguments))


def compiled(program: Program) -> Callable[[list[Any]], list[Any]]:
    """`compile_program`, done once for each Program."""
    run = _compiled.get(program)
    if run is None:
        run = _compiled[program] = compile_program(program)
    return run


def compile_program(program: Program) -> Callable[[list[Any]], list[Any]]:
    """A function of the flat arguments that runs ``program``. It owns, and empties, the list that it is given."""
    steps = [Step(checked_impl(e), e.op.update, e.op.multiple, e.inputs, e.outputs, e.origin) for e in program.equations]
    return flat_runner(program, steps)
