"""The engines that run a Program: native machine code, imported at its first use, and the NumPy interpreter.

This is the interface of the engines to the rest of cotan. Its functions import the native engine when they are called, since this import
takes as long as all others together. Control ops and `jit` also import `engines.numpy`, to run Programs by the NumPy engine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from .choice import ENGINES, NATIVE, NUMPY, Engine

if TYPE_CHECKING:
    from ..core.program import Program
    from ..core.sizes import SizeLog
    from ..core.types import ArrayType
    from .native.aot.c_entry import AheadOfTimeCode
    from .native.aot.export import Exported
    from .native.llvm.disk_cache import Contents
    from .native.report import Report
    from .native.sized import SizedCode

__all__ = [
    "ENGINES", "NATIVE", "NUMPY", "Engine", "EngineRefusal", "compile_ahead", "computed_late", "disk_cache", "export", "limit_threads",
    "llvm_text", "release_memory", "report", "runner", "scipy_signatures", "sized_code", "thread_count",
]  # fmt: skip

Run = Callable[[list[Any]], list[Any]]


class EngineRefusal(Exception):  # noqa: N818 - the caller makes an error of it, in the words of the user
    """The reason why the native engine cannot do the requested operation."""


# ---- running ------------------------------------------------------------------------------------------------------------------
def runner(engine: Engine) -> Callable[[Program], Run]:
    """The function that compiles a Program to a function of flat arguments."""
    if engine.name == "numpy":
        from .numpy import compiled as interpreted

        return interpreted
    from .native.engine import compiled

    return lambda program: compiled(program, engine)


def sized_code(program: Program, exact: Program, constants: Sequence[Any], log: SizeLog, engine: Engine) -> SizedCode:
    """Code for several sizes, of a Program on symbolic sizes.

    Raises:
        EngineRefusal: there is none.
    """
    from .native.sized import SizedCode, UnsizedError

    try:
        return SizedCode(program, exact, constants, log, engine)
    except UnsizedError as reason:
        raise EngineRefusal(str(reason)) from None


def report(program: Program, engine: Engine = NATIVE) -> Report:
    """How the native engine compiles a Program; it compiles it again for the report."""
    from .native.engine import compile_with_report

    return compile_with_report(program, engine)[1]


def computed_late(program: Program) -> list[bool]:
    """For each output of a Program, whether compiled code would compute it when it is read, from other outputs and the inputs."""
    from .native.passes import sinking

    return sinking.computed_late(program)


# ---- ahead of time ------------------------------------------------------------------------------------------------------------
def compile_ahead(program: Program, constants: Sequence[Any], donated: Sequence[int]) -> AheadOfTimeCode:
    """The code of a Program for one signature, with a C entry.

    Raises:
        EngineRefusal: the native engine has no code for an operation of the Program.
    """
    from .native.aot.c_entry import AheadOfTimeCode
    from .native.status import UnsupportedError

    try:
        return AheadOfTimeCode(program, constants, donated)
    except UnsupportedError as reason:
        raise EngineRefusal(str(reason)) from None


def llvm_text(program: Program, donated: Sequence[int]) -> str:
    """The LLVM IR of a Program. Raises: as `compile_ahead`."""
    from .native.pipeline import LoweredProgram
    from .native.status import UnsupportedError

    try:
        return LoweredProgram(program, donated).code.ir
    except UnsupportedError as reason:
        raise EngineRefusal(str(reason)) from None


def scipy_signatures(inputs: Sequence[ArrayType], outputs: Sequence[ArrayType]) -> list[str]:
    """The C signatures of SciPy's low-level callables that code of these types can have."""
    from .native.aot.c_entry import ROUTINES, suits

    return [signature for signature in ROUTINES if suits(signature, inputs, outputs)]


def export(ahead: AheadOfTimeCode, name: str, arguments: Sequence[str], results: Sequence[str]) -> Exported:
    """Compiled code as an object file with a header.

    Raises:
        EngineRefusal: it calls back into this process.
    """
    from .native.aot.export import exported
    from .native.status import NotExportableError

    try:
        return exported(ahead, name, arguments, results)
    except NotExportableError as reason:
        raise EngineRefusal(str(reason)) from None


# ---- the process --------------------------------------------------------------------------------------------------------------
def thread_count() -> int:
    """The most threads that compiled code uses."""
    from .native.runtime.thread_pool import count

    return count()


def limit_threads(count: int) -> AbstractContextManager[None]:
    """At most ``count`` threads, within a context."""
    from .native.runtime.thread_pool import limited

    return limited(count)


def disk_cache(*, clear: bool = False) -> Contents:
    """The contents of the cache of compiled code on disk; with ``clear``, the contents that were removed."""
    from .native.llvm import disk_cache as cache

    return cache.clear() if clear else cache.contents()


def release_memory() -> int:
    """Free the unused memory that is reserved for results of compiled code; returns the number of bytes."""
    recycling = sys.modules.get(f"{__name__}.native.runtime.allocator")
    return int(recycling.release()) if recycling is not None else 0
