"""Running Programs as machine code.

The interface is that of `engines.numpy`: a function that takes over the flat list of its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from cotan.core.collecting import no_collection
from cotan.core.program import Program
from cotan.engines import numpy as numpy_engine
from cotan.engines.choice import NATIVE, Engine
from cotan.engines.native.cache import program_cache
from cotan.engines.native.cache.fingerprint import key_of
from cotan.engines.native.cache.size_templates import templates
from cotan.engines.native.cache.tiers import compiled_in_tiers, level_of
from cotan.engines.native.call.caller import Caller
from cotan.engines.native.codegen.context import UnsupportedError
from cotan.engines.native.codegen.lower import Code, lowered
from cotan.engines.native.libraries.blas import standard
from cotan.engines.native.llvm import object_cache
from cotan.engines.native.llvm.compile_lock import compiling
from cotan.engines.native.passes.simplify import simplified
from cotan.engines.native.passes.strip_mining import blocked

from .report import Report, describe

__all__ = ["Written", "compile_program", "compiled", "made"]

_compiled: WeakKeyDictionary[Program, dict[Engine, Callable[[list[Any]], list[Any]]]] = WeakKeyDictionary()


def compiled(program: Program, engine: Engine = NATIVE) -> Callable[[list[Any]], list[Any]]:
    """`compile_program`, done once for each Program and setting."""
    run = _compiled.get(program, {}).get(engine)
    if run is None:
        with compiling:
            runs = _compiled.setdefault(program, {})
            run = runs.get(engine)
            if run is None:
                run = runs[engine] = compile_program(program, engine)
    return run


def compile_program(program: Program, engine: Engine = NATIVE) -> Callable[[list[Any]], list[Any]]:
    """A function of the flat arguments that runs ``program``. It takes over the list that it is given."""
    return run_and_report(program, engine, recalled=True)[0]


def made(program: Program, engine: Engine = NATIVE) -> tuple[Callable[[list[Any]], list[Any]], Report]:
    """A function that runs ``program``, and the report of how it was made, which it is anew."""
    return run_and_report(program, engine, recalled=False)


def run_and_report(program: Program, engine: Engine, recalled: bool) -> tuple[Callable[[list[Any]], list[Any]], Report]:
    """The same; the text may be ``recalled``, and then the report knows no plans."""
    with compiling:
        return made_now(program, engine, recalled)


def made_now(program: Program, engine: Engine, recalled: bool) -> tuple[Callable[[list[Any]], list[Any]], Report]:
    """The same, by the thread that may."""
    try:
        written = Written(program, engine.donated, recalled=recalled)
    except UnsupportedError as reason:
        return quiet(numpy_engine.compile_program(program)), Report(program.name, (), (f"the whole program: {reason}",), 0, "", {})
    code, start = written.code, perf_counter()
    finish = partial(compiled_in_tiers, program=program)
    placed = templates.place(code.text, code.table, len(code.callbacks), finish, engine.dynamic_sizes)
    caller = Caller(written.program, written.constants, code, placed, threads=engine.threads or 0)
    return caller, written.report(perf_counter() - start)


def in_strips(program: Program, donated: Sequence[int]) -> tuple[Program, Code]:
    """A Program and its code: in strips, unless there is something in it that has to leave the call from within one."""
    try:
        blocks = blocked(program)
        return blocks, lowered(blocks, donated)
    except UnsupportedError:
        return program, lowered(program, donated)


class Written:
    """A Program as LLVM text: the simplified Program, the values of its leading inputs that are constants, and the code.

    ``donated`` are the numbers of inputs in whose memory results may lie, and ``shared`` says which do. The text may be ``recalled`` from
    disk: then nothing is planned, and the code has no plans.

    Raises:
        UnsupportedError: the engine cannot write it.
    """

    def __init__(self, program: Program, donated: Sequence[int] = (), *, recalled: bool = False):
        start = perf_counter()
        with no_collection():
            self.program, self.constants = simplified(program)
            middle = perf_counter()
            first = len(self.program.inputs) - len(program.inputs)
            self.donated = [first + k for k in donated]
            self.write(recalled)
        self.shared = {k: j - first for k, j in self.code.shared.items()}
        self.seconds = {"simplify": middle - start, "plan and write": perf_counter() - middle}

    def write(self, recalled: bool) -> None:
        """Find the code on disk, or write it, which leaves it there."""
        key = key_of(self.program, self.donated) if recalled and object_cache.folder() is not None else None
        known = program_cache.load(key) if key is not None else None
        if known is not None:
            self.code = known
            return
        self.program, self.code = in_strips(self.program, self.donated)
        if key is not None:
            program_cache.store(key, self.code)

    def for_linker(self) -> Code:
        """The code with routines of BLAS and LAPACK that a linker finds."""
        with standard():
            return lowered(self.program, self.donated)

    @property
    def level(self) -> int:
        """How well LLVM is to optimise it."""
        return level_of(self.code.text)

    def report(self, seconds: float) -> Report:
        """The report, after LLVM took so many seconds."""
        code = self.code
        outside = tuple(f"{c.equation.op}{f'   # {c.equation.origin}' if c.equation.origin else ''}" for c in code.callbacks)
        buffers = {str(t): count for t, count in code.buffers.items()}
        times = {**self.seconds, "LLVM": seconds}
        return Report(self.program.name, tuple(map(describe, code.plans)), outside, code.workspace, code.text, times, buffers, self.shared)


def quiet(execute: Callable[[list[Any]], list[Any]]) -> Callable[[list[Any]], list[Any]]:
    """The same without floating-point warnings."""

    def run(values: list[Any]) -> list[Any]:
        with np.errstate(all="ignore"):
            return execute(values)

    return run
