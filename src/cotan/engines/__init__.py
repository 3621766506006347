"""What runs a Program: machine code, imported when it is first asked for; and the NumPy interpreter, always there."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..core.program import Program

__all__ = ["ENGINES", "chosen_engine", "runner"]

ENGINES = {"native": "cotan.engines.native.engine", "numpy": "cotan.engines.numpy"}
"""The engines, and the module of each, which has a function ``compiled``."""
DEFAULT = "native"


def chosen_engine(name: str | None) -> str:
    """The engine of this name; for None that of the environment variable COTAN_ENGINE, or the native one."""
    return name or os.environ.get("COTAN_ENGINE") or DEFAULT


def runner(engine: str) -> Callable[[Program], Callable[[list[Any]], list[Any]]]:
    """What makes a function of flat arguments of a Program."""
    return import_module(ENGINES[engine]).compiled
