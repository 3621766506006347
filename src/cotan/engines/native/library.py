"""Equations that are run as a whole by native code: loops over the updates of an array, and routines of libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .emit import Scalar
from .forms import Reader
from .index import Condition
from .plan import TINY, Opaque
from .values import Memory, Value

if TYPE_CHECKING:
    from .run import Run

__all__ = ["update"]


def update(run: Run, node: Opaque, operands: list[Value], results: list[Memory]) -> Any:
    """An op that changes a part of its first operand: each element of the second goes to its destination, in order."""
    op: Any = node.equation.op
    if op.destination is None or results[0].type.dtype.kind == "c":
        return NotImplemented
    g, e, target = run.g, run.e, results[0]
    if operands[0].pointer(e) != target.at:
        g.copy(operands[0], target)
    readers = [Reader(x.type, lambda index, x=x: x.read(e, index)) for x in operands]
    kind: str = {"min": "minimum", "max": "maximum"}.get(op.kind) or op.kind

    def one(i: tuple[Any, ...]) -> None:
        code = run.code
        inside, at = op.destination(e, i, *readers)
        x = operands[1].read(e, i)
        if isinstance(inside, Condition):
            yes, on = code.label(), code.label()
            code.branch(code.condition(inside), yes, on)
            code.start(yes)
            with code.scope():
                change(at, x)
            code.jump(on)
            code.start(on)
        elif inside:
            change(at, x)

    def change(at: tuple[Any, ...], x: Scalar) -> None:
        if kind != "set":
            x = e.math(kind, Memory(target.at, target.type).read(e, at), x)
        target.write(e, at, x)

    shape = operands[1].type.shape
    if operands[1].type.size > TINY:
        g.outlined(lambda: g.every(shape, one))
    else:
        g.every(shape, one)
    return None
