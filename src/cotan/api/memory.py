"""`memory_plan`: what reverse mode keeps of a function, with sizes and source lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..control.checkpoint import CheckpointTangent
from ..control.sweep import LoopTangent
from ..core import tree
from ..core.origin import Origin, describe_function
from ..core.printing import Printed
from ..core.program import Equation, Var
from ..core.staging import StagingTrace
from ..core.tracing import Tracer, running, type_of
from ..core.types import ArrayType, Type, array_type
from ..engines import computed_late
from ..ops.failing import quiet
from ..transforms.linearize import linearize_flat
from .arguments import Argnums, FlatCall, check_callable
from .transformed import transformation

__all__ = ["MemoryPlan", "Residual", "memory_plan"]


@dataclass(frozen=True)
class Residual:
    """A value that reverse mode keeps from the forward pass.

    Attributes:
        dtype, shape, nbytes: of the value; for a stack that grows with a loop of unknown length, of one step.
        kind: "computed"; "argument" or "constant" for one that is there anyway; "stack" for one entry per step of such a loop.
        op: the name of the op that made it ("" if none did).
        source: the user's line, as ``model.py:12``.
        code: the text of that line.
        late: whether compiled code does not keep it, but computes it from the others when the backward pass reads it.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    nbytes: int
    kind: str
    op: str
    source: str
    code: str
    late: bool = False


@dataclass(frozen=True, repr=False)
class MemoryPlan(Printed):
    """All residuals of a function, the largest first; ``str`` shows them as a table.

    The most memory in use at once is about `peak`, for compiled code `compiled_peak`, beside the arguments, the results, and the few arrays
    with which the computation is busy.

    Attributes:
        recomputed: the most bytes that the backward pass of one `checkpoint` computes again and keeps, or of one loop with ``checkpoint=``.
        compiled_recomputed: the same for compiled code.
    """

    function: str
    residuals: tuple[Residual, ...]
    recomputed: int = 0
    compiled_recomputed: int = 0

    @property
    def nbytes(self) -> int:
        """The bytes that reverse mode adds: of the residuals that are computed."""
        return sum(r.nbytes for r in self.residuals if r.kind not in ("argument", "constant"))

    @property
    def compiled_nbytes(self) -> int:
        """The bytes that compiled code adds: of those residuals that it keeps."""
        return sum(r.nbytes for r in self.residuals if r.kind not in ("argument", "constant") and not r.late)

    @property
    def peak(self) -> int:
        """The bytes that reverse mode keeps, and those that a checkpoint adds while it goes backwards."""
        return self.nbytes + self.recomputed

    @property
    def compiled_peak(self) -> int:
        """As `peak`, for compiled code."""
        return self.compiled_nbytes + self.compiled_recomputed

    def __str__(self) -> str:
        rows = [("bytes", "value", "kind", "op", "source")]
        for r in self.residuals:
            value = f"{r.dtype}[{','.join(map(str, r.shape))}]"
            size = f"{r.nbytes:,}" + (" a step" if r.kind == "stack" else "")
            rows.append((size, value, r.kind + (", late if compiled" if r.late else ""), r.op, f"{r.source}  {r.code}".strip()))
        widths = [max(len(row[k]) for row in rows) for k in range(4)]
        lines = ["  ".join([size.rjust(widths[0]), *map(str.ljust, rest, widths[1:]), source]).rstrip() for size, *rest, source in rows]
        head = f"{self.function}: reverse mode keeps {self.nbytes:,} bytes"
        if self.recomputed:
            head += f", and {self.recomputed:,} more while a checkpoint is computed again"
        if self.compiled_peak < self.peak:
            head += f"; compiled {self.compiled_nbytes:,}" + (f" and {self.compiled_recomputed:,}" if self.recomputed else "")
        return "\n".join([head, *lines])


@transformation
def memory_plan(fun: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., MemoryPlan]:
    """The values that reverse mode of ``fun`` keeps between the forward and the backward pass.

    Args:
        fun: a function of arrays (trees) with any output; it is traced, as under `jit`, and not run.
        argnums: the positions of the arguments to differentiate by.

    Returns:
        a function of the same arguments that gives a `MemoryPlan`.

    >>> import cotan, cotan.numpy as cnp, numpy as np
    >>> plan = cotan.memory_plan(lambda x: cnp.sum(cnp.sin(x) ** 2))(np.ones(1000))
    >>> [(r.op, r.nbytes) for r in plan.residuals if r.kind == "computed"]
    [('cos', 8000), ('mul', 8000)]
    """
    check_callable("memory_plan", fun)

    def plan(*args: Any, **kwargs: Any) -> MemoryPlan:
        every = FlatCall("memory_plan", fun, args, kwargs, None, False)
        chosen = FlatCall("memory_plan", fun, args, kwargs, argnums, False)
        by_position = [[k] * len(tree.leaves(a)) for k, a in enumerate(args)]
        moving = [k in chosen.indices for row in by_position for k in row]
        types = [type_of(x) for x in every.leaves]
        active = [m and t.inexact for m, t in zip(moving, types, strict=True)]
        trace = StagingTrace("memory_plan", fun)
        arguments = [trace.new_input(array_type(t.shape, t.dtype)) for t in types]
        try:
            with quiet(), running(trace):
                _, tape, inputs, outputs = linearize_flat(every, arguments, active, verb="memory_plan", of=fun)
            _, captured = tape.finish(inputs, [Tracer(tape, v) for v in outputs if v is not None])
            given = {a.payload for a in arguments}
            makers = {v: (e, k) for e in trace.equations for k, v in enumerate(e.outputs)}
            found = {id(v.payload if type(v) is Tracer else v): residual(v, given, makers) for v in captured}
            kept = [v for v in captured if type(v) is Tracer]
            program, _ = trace.finish([a.payload for a in arguments], kept)
        finally:
            trace.close()
        for v, late in zip(kept, computed_late(program), strict=True):
            found[id(v.payload)] = replace(found[id(v.payload)], late=late)
        rows = tuple(sorted(found.values(), key=lambda r: -r.nbytes))
        again = [recomputed(tape.equations, compiled=compiled) for compiled in (False, True)]
        return MemoryPlan(describe_function(fun), rows, *again)

    return plan


def residual(value: Any, arguments: set[Var], makers: dict[Var, tuple[Equation, int]]) -> Residual:
    """The row of a captured value."""
    t: Type = type_of(value)
    op, origin, kind = "", None, "constant"
    if type(value) is Tracer:
        v = value.payload
        if v in arguments:
            kind = "argument"
        elif v in makers:
            kind, (op, origin) = "computed", source_of(*makers[v])
    shape: tuple[int, ...]
    if isinstance(t, ArrayType):
        shape = t.shape
    else:
        shape, kind = innermost(t).shape, "stack"
    known = origin is not None and origin.code is not None
    return Residual(t.dtype, shape, t.nbytes, kind, op, str(origin) if known else "", origin.source if known and origin else "")


def recomputed(equations: Sequence[Equation], *, compiled: bool) -> int:
    """The most bytes that one checkpoint, or checkpointed loop, among linear equations computes again while these are transposed."""
    most = 0
    for op in (e.op for e in equations):
        if isinstance(op, CheckpointTangent):
            late = computed_late(op.again) if compiled else [False] * len(op.again.outputs)
            kept = {v for v, dropped in zip(op.again.outputs, late, strict=True) if isinstance(v, Var) and not dropped}
            nbytes = sum(v.type.nbytes for v in kept.difference(op.again.inputs))
            most = max(most, nbytes + recomputed(op.derivative.equations, compiled=compiled))
        else:
            kept_states = op.snapshot_bytes() if isinstance(op, LoopTangent) else 0
            inner = [recomputed(region.program.equations, compiled=compiled) for region in op.regions()]
            most = max(most, kept_states + max(inner, default=0))
    return most


def innermost(t: Any) -> ArrayType:
    """The type of the arrays that a stack holds, however deep."""
    while not isinstance(t, ArrayType):
        t = t.element
    return t


def source_of(equation: Equation, output: int) -> tuple[str, Origin | None]:
    """The op and the line that made output number ``output``: inside the loop or the called program, if it came from there."""
    op, regions = equation.op, equation.op.regions()
    if len(regions) != 1 or len(regions[0].program.outputs) != len(equation.outputs):
        return op.name, equation.origin
    made: Sequence[Any] = regions[0].program.outputs
    for inner in regions[0].program.equations:
        if made[output] in inner.outputs:
            return source_of(inner, list(inner.outputs).index(made[output]))
    return op.name, equation.origin
