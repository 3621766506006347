"""Batch: a leading axis for every value, by one rule per op.

The payload of a tracer of `BatchTrace` is the array with its batch axis in front. `vmap` moves axes of its arguments and results, so a rule
handles one case. A value that is the same for the whole batch is not a tracer of this trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from types import FrameType
from typing import Any

from ..core.op import Op
from ..core.origin import applying
from ..core.program import Program, evaluate
from ..core.refusals import refuse_conversion, stack
from ..core.staging import stage_flat
from ..core.tracing import Trace, Tracer, concrete_zero, current_trace, reset_trace, running, set_trace, type_of
from ..core.types import ArrayType
from ..ops.families import spread

__all__ = ["BatchTrace", "MeasuringTrace", "batch_flat", "batch_program"]


class BatchTrace(Trace):
    """Runs ops on ``size`` examples at once. The payload is the array with the batch axis in front."""

    __slots__ = ("parent", "size")

    def __init__(self, parent: Trace, size: int, function: Any = None):
        super().__init__("vmap", function, recording=parent.recording)
        self.parent, self.size = parent, size

    def type_of(self, payload: Any) -> ArrayType:
        return type_of(payload).unbatched

    def is_zero(self, payload: Any) -> bool:
        return concrete_zero(payload)

    def concrete(self, tracer: Tracer, conversion: str) -> Any:
        refuse_conversion(tracer, conversion, f"but under vmap it stands for {self.size} values at once", self.made_static(tracer, stack()))

    def made_static(self, tracer: Tracer, frames: Iterable[FrameType]) -> str:
        return "pass it with in_axes=None, if it is the same for all examples"

    def process(self, op: Op, operands: Sequence[Any]) -> Sequence[Any]:
        values = [x.payload if type(x) is Tracer and x.owner is self else x for x in operands]
        batched = [type(x) is Tracer and x.owner is self for x in operands]
        token = set_trace(self.parent)
        try:
            if True not in batched:
                return self.parent.process(op, operands)
            if self.recording:
                with applying(op, "batch"):
                    outs, flags = op.batch(self.size, batched, *values)
            else:
                outs, flags = op.batch(self.size, batched, *values)
        finally:
            reset_trace(token)
        if not op.multiple:
            return (Tracer(self, outs) if flags else outs,)
        return [Tracer(self, y) if flag else y for y, flag in zip(outs, flags, strict=True)]


class MeasuringTrace(BatchTrace):
    """A `BatchTrace` that counts the bytes of the batched results of its ops."""

    __slots__ = ("bytes",)

    def __init__(self, parent: Trace, size: int, function: Any = None):
        super().__init__(parent, size, function)
        self.bytes = 0

    def process(self, op: Op, operands: Sequence[Any]) -> Sequence[Any]:
        results = super().process(op, operands)
        for y in results:
            if type(y) is Tracer and y.owner is self:
                self.bytes += type_of(y.payload).nbytes
        return results


def batch_flat(
    function: Callable[..., Sequence[Any]],
    size: int,
    batched: Sequence[bool],
    operands: Sequence[Any],
    *,
    of: Any = None,
    trace: BatchTrace | None = None,
) -> tuple[list[Any], list[bool]]:
    """The results of a flat function on operands of which the flagged ones have a leading batch axis, and the flags of the results."""
    if trace is None:
        trace = BatchTrace(current_trace(), size, of)
    try:
        with running(trace):
            outs = function(*[Tracer(trace, x) if b else x for x, b in zip(operands, batched, strict=True)])
        flags = [type(y) is Tracer and y.owner is trace for y in outs]
    finally:
        trace.close()
    return [y.payload if flag else y for y, flag in zip(outs, flags, strict=True)], flags


def batch_program(program: Program, size: int, batched: Sequence[bool], *, all_outputs: bool = False) -> tuple[Program, list[bool]]:
    """The Program on a batch, and which of its outputs are batched (all, if ``all_outputs``)."""
    found: list[bool] = []

    def run(*arguments: Any) -> list[Any]:
        outs, flags = batch_flat(lambda *xs: evaluate(program, *xs), size, batched, arguments)
        if all_outputs:
            outs = [y if flag else spread(y, size) for y, flag in zip(outs, flags, strict=True)]
            flags = [True] * len(outs)
        found.extend(flags)
        return outs

    types = [t.batched(size) if b else t for t, b in zip(program.input_types, batched, strict=True)]
    result, constants = stage_flat(run, types, name=program.name)
    return replace(result, constants=tuple(constants)), found
