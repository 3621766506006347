"""compile_report: how the native engine compiles a function, without running it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import engines
from ..engines import NATIVE
from .arguments import check_callable
from .jit import BoundJitted, Jitted
from .stage import stage
from .transformed import transformation

__all__ = ["compile_report"]


@transformation
def compile_report(fun: Callable[..., Any]) -> Callable[..., Any]:
    """How ``fun`` is compiled by the native engine: ``print(compile_report(f)(*args))``.

    The report lists the loops and the equations that share them, the equations that are left to NumPy or call back into Python
    (``outside``), the results that lie in the memory of donated arguments (``donated``), the bytes of workspace, and the seconds that each
    stage took; ``llvm`` is the LLVM IR.

    ``fun`` may be jitted; it is staged at the types of the arguments, compiled, and not run.
    """
    check_callable("compile_report", fun)

    def report(*args: Any, **kwargs: Any) -> Any:
        if not isinstance(fun, (Jitted, BoundJitted)):
            return engines.report(stage(fun)(*args, **kwargs))
        lowered = fun.lower(*args, **kwargs)
        return engines.report(lowered.program, NATIVE._replace(donated=lowered.donated)).naming(*lowered.leaf_names())

    return report
