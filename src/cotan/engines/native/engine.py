"""Running Programs as machine code.

The interface is that of `engines.numpy`: a function that takes over the flat list of its arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from cotan.core.program import Program
from cotan.engines import numpy as numpy_engine
from cotan.engines.choice import NATIVE, Engine
from cotan.engines.native.cache.size_templates import templates
from cotan.engines.native.cache.tiers import compile_in_tiers
from cotan.engines.native.call.caller import Caller
from cotan.engines.native.runtime.compile_lock import compile_lock
from cotan.engines.native.status import UnsupportedError
from cotan.ops.failing import quiet

from .options import CodegenOptions, codegen_options, current_options
from .pipeline import LoweredProgram
from .report import Report

__all__ = ["compile_program", "compile_with_report", "compiled"]

Execute: TypeAlias = Callable[[list[Any]], list[Any]]
"""Runs a Program on a list of arguments, which it owns; they and the results are of any class, as in `engines.numpy`."""
_compiled: WeakKeyDictionary[Program, dict[tuple[Engine, CodegenOptions], Execute]] = WeakKeyDictionary()


def compiled(program: Program, engine: Engine = NATIVE) -> Execute:
    """`compile_program`, once for each Program, engine and options."""
    key = engine, current_options()
    run = _compiled.get(program, {}).get(key)
    if run is None:
        with compile_lock:
            runs = _compiled.setdefault(program, {})
            run = runs.get(key)
            if run is None:
                run = runs[key] = compile_program(program, engine)
    return run


def compile_program(program: Program, engine: Engine = NATIVE) -> Execute:
    """A function of the flat list of arguments that runs ``program``. It owns the list that it is given."""
    return compile_with_report(program, engine, recalled=True)[0]


def compile_with_report(program: Program, engine: Engine = NATIVE, *, recalled: bool = False) -> tuple[Execute, Report]:
    """`compile_program`, and the report. With ``recalled`` the IR may come from the cache; the report then has no loop nests."""
    with compile_lock:
        try:
            with codegen_options(**{"batched_loops": False} if engine.dynamic_sizes or engine.many_sizes else {}):
                written = LoweredProgram(program, engine.donated, recalled=recalled)
        except UnsupportedError as reason:
            return in_silence(numpy_engine.compile_program(program)), Report(program.name, (), (f"the whole program: {reason}",), 0, "", {})
        code, start = written.code, perf_counter()
        finish = partial(compile_in_tiers, program=program, options=written.options)
        placed = templates.code_for(code.ir, code.callback_table, len(code.callbacks), finish, engine.dynamic_sizes)
        caller = Caller(written.program, written.constants, code, placed, threads=engine.threads or 0)
        return caller, written.report(perf_counter() - start)


def in_silence(execute: Execute) -> Execute:
    """``execute`` without floating-point warnings and errors of matrices."""

    def run(values: list[Any]) -> list[Any]:
        with quiet():
            return execute(values)

    return run
