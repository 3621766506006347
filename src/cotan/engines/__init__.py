"""What runs a Program: machine code, imported when it is first asked for; and the NumPy interpreter, always there."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ..core.program import Program

__all__ = ["ENGINES", "NATIVE", "NUMPY", "Engine", "runner"]

ENGINES = ("native", "numpy")
Run = Callable[[list[Any]], list[Any]]


class Engine(NamedTuple):
    """An engine by name, and how it is to run Programs.

    ``threads``: the most threads, None for the setting of the process; ``dynamic_sizes``: whether code serves several sizes, None if that
    is found out; ``donated``: the numbers of the inputs in whose memory results may be written, which only the native engine does.
    """

    name: str
    threads: int | None = None
    dynamic_sizes: bool | None = None
    donated: tuple[int, ...] = ()

    @classmethod
    def default(cls) -> str:
        """The name of the engine that runs what names none: by the environment variable COTAN_ENGINE, else the native one."""
        return os.environ.get("COTAN_ENGINE") or "native"


NATIVE, NUMPY = Engine("native"), Engine("numpy")


def runner(engine: Engine) -> Callable[[Program], Run]:
    """What makes a function of flat arguments of a Program."""
    if engine.name == "numpy":
        return import_module("cotan.engines.numpy").compiled
    compiled = import_module("cotan.engines.native.engine").compiled
    return lambda program: compiled(program, engine)
