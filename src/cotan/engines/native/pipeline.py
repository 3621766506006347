"""The pipeline from a Program to LLVM IR: simplification, strip-mining, lowering; or a lookup in the IR cache.

Lowering widens half precision in each Program, those in control ops included, before it schedules it (`codegen.program.schedule_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

from cotan.core.collecting import no_collection
from cotan.core.program import Program
from cotan.engines.native.cache import program_cache
from cotan.engines.native.cache.fingerprint import key_of
from cotan.engines.native.cache.tiers import level_of
from cotan.engines.native.codegen.lower import LoweredModule, lower_module
from cotan.engines.native.llvm import disk_cache
from cotan.engines.native.llvm.builder import Module
from cotan.engines.native.passes.batched_loops import cut_batched_loops
from cotan.engines.native.passes.simplify import simplify
from cotan.engines.native.passes.strip_mining import strip_mine
from cotan.engines.native.runtime import thread_pool

from .options import CodegenOptions, current_options
from .report import Report, describe, nests_of
from .status import UnsupportedError
from .target import Target

__all__ = ["LoweredProgram"]


def strip_mined(program: Program, donated: Sequence[int], options: CodegenOptions) -> tuple[Program, LoweredModule]:
    """A Program and its code: strip-mined, unless an equation in a strip may have to return from the call."""
    try:
        stripped = cut_batched_loops(strip_mine(program, options), options)
        return stripped, lower_module(stripped, donated, options=options)
    except UnsupportedError:
        return program, lower_module(program, donated, options=options)


class LoweredProgram:
    """A Program as LLVM IR: the simplified Program, the values of its leading inputs that are constants, and the code.

    Results may lie in the memory of the inputs ``donated``; ``donated_argument_of`` has the number of such an input by the number of the
    result, constants not counted. With ``recalled`` the IR may come from the IR cache; the code then has no loop nests to report.

    Raises:
        UnsupportedError: the engine has no code for it.
    """

    def __init__(self, program: Program, donated: Sequence[int] = (), *, recalled: bool = False):
        self.options = current_options()
        start = perf_counter()
        with no_collection():
            self.program, self.constants = simplify(program)
            middle = perf_counter()
            first = len(self.program.inputs) - len(program.inputs)
            self.donated = [first + k for k in donated]
            self.write(recalled)
        self.donated_argument_of = {k: j - first for k, j in self.code.donated_input_of.items()}
        self.seconds = {"simplify": middle - start, "schedule and write": perf_counter() - middle}

    def write(self, recalled: bool) -> None:
        """Take the code from the IR cache, or write it and store it there."""
        key = key_of(self.program, self.donated, self.options) if recalled and disk_cache.folder() is not None else None
        known = program_cache.load(key) if key is not None else None
        if known is not None:
            self.code = known
            return
        self.program, self.code = strip_mined(self.program, self.donated, self.options)
        if key is not None:
            program_cache.store(key, self.code)

    def standalone(self, name: str = "main", finish: Callable[[Module, LoweredModule], None] | None = None) -> LoweredModule:
        """The code for an object file, with the function ``name``; ``finish`` writes further functions into the module."""
        return lower_module(self.program, self.donated, Target.STANDALONE, name, finish, self.options)

    @property
    def level(self) -> int:
        """The optimization level for LLVM."""
        return level_of(self.code.ir)

    def report(self, seconds: float) -> Report:
        """The report; LLVM took so many seconds."""
        code = self.code
        outside = tuple(f"{c.equation.op}{f'   # {c.equation.origin}' if c.equation.origin else ''}" for c in code.callbacks)
        buffers = {str(t): count for t, count in code.buffers.items()}
        times = {**self.seconds, "LLVM": seconds}
        programs = tuple(map(describe, code.schedules))
        workspace = code.workspace if code.workspace_on is None else code.workspace_on(thread_pool.count())
        return Report(
            self.program.name,
            programs,
            outside,
            workspace,
            code.ir,
            times,
            buffers,
            tuple(code.copies),
            self.donated_argument_of,
            nests=nests_of(code.schedules[0]) if code.schedules else (),
        )
