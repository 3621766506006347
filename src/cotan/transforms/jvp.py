"""Forward mode: dual numbers by rule.

A tracer of `JVPTrace` carries (value, tangent). An op with an active operand runs its ``jvp`` rule under the parent trace; any other op
runs in the parent unchanged. An absent tangent is None, at the boundary of a rule only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import Any

from ..core.op import Op
from ..core.origin import applying
from ..core.refusals import LOCALLY_CONSTANT, refuse_conversion
from ..core.tracing import Trace, Tracer, concrete_zero, current_trace, reset_trace, running, set_trace, type_of
from ..core.types import ArrayType

__all__ = ["JVPTrace", "conversions", "jvp_flat"]


class JVPTrace(Trace):
    """Pushes tangents forward. ``parent`` is the trace under which values and tangents are computed."""

    __slots__ = ("parent",)

    def __init__(self, parent: Trace, verb: str = "jvp", function: Any = None):
        super().__init__(verb, function, recording=parent.recording)
        self.parent = parent

    def type_of(self, payload: Any) -> ArrayType:
        return type_of(payload[0])

    def is_zero(self, payload: Any) -> bool:
        return concrete_zero(payload[0]) and concrete_zero(payload[1])

    def value(self, payload: Any) -> Any | None:
        value = payload[0]
        return value.owner.value(value.payload) if type(value) is Tracer else value

    def concrete(self, tracer: Tracer, conversion: str) -> Any:
        value = tracer.payload[0]
        if type(value) is Tracer:
            value = value.owner.concrete(value, conversion)
        if conversion not in LOCALLY_CONSTANT:
            refuse_conversion(tracer, conversion, "and the derivative would silently be lost", self.made_static(tracer, ()))
        if conversion in ("index", "slice") and type_of(value).dtype.kind not in "biu":
            why = "but it is a float, as is any argument by which one differentiates"
            refuse_conversion(tracer, conversion, why, "differentiate by the other arguments alone (argnums), or write int(n)")
        COUNTER[0] += 1
        return value

    def made_static(self, tracer: Tracer, frames: Iterable[FrameType]) -> str:
        return "write cotan.stop_gradient(x) in place of x, for a constant without a derivative"

    def tangent(self, payload: Any) -> Any:
        """The tangent of a tracer of this trace with this payload, as a value."""
        return payload[1]

    def split(self, value: Any) -> tuple[Any, Any]:
        """The pair (primal, tangent or None) of any value."""
        return value.payload if type(value) is Tracer and value.owner is self else (value, None)

    def join(self, primal: Any, tangent: Any | None) -> Any:
        return primal if tangent is None else Tracer(self, (primal, tangent))

    def process(self, op: Op, operands: Sequence[Any]) -> Sequence[Any]:
        primals: list[Any] = []
        tangents: list[Any | None] = []
        tangent = None
        for x in operands:
            if type(x) is Tracer and x.owner is self:
                x, tangent = x.payload
                tangents.append(tangent)
            else:
                tangents.append(None)
            primals.append(x)
        token = set_trace(self.parent)
        try:
            if tangent is None:  # no operand is ours
                return self.parent.process(op, operands)
            if self.recording:
                with applying(op, "jvp"):
                    outs, douts = self.differentiate(op, primals, tangents)
            else:
                outs, douts = self.differentiate(op, primals, tangents)
        finally:
            reset_trace(token)
        if not op.multiple:
            return (outs if douts is None else Tracer(self, (outs, douts)),)
        return [y if dy is None else Tracer(self, (y, dy)) for y, dy in zip(outs, douts, strict=True)]

    def differentiate(self, op: Op, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
        """The value(s) of ``op`` and their tangent(s)."""
        return op.jvp(primals, tangents)


COUNTER = [0]


def conversions() -> int:
    """The number of conversions of traced values so far. A program that is staged while it grows may depend on the converted numbers."""
    return COUNTER[0]


def jvp_flat(
    function: Callable[..., Sequence[Any]],
    primals: Sequence[Any],
    tangents: Sequence[Any | None],
    *,
    verb: str = "jvp",
    of: Any = None,
    by: type[JVPTrace] = JVPTrace,
) -> tuple[list[Any], list[Any | None]]:
    """Values and tangents of a flat function; a tangent that is None is absent (zero)."""
    trace = by(current_trace(), verb, of)
    try:
        with running(trace):
            outs = function(*[trace.join(x, dx) for x, dx in zip(primals, tangents, strict=True)])
        pairs = [trace.split(y) for y in outs]
    finally:
        trace.close()
    return [y for y, _ in pairs], [dy for _, dy in pairs]
