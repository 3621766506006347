"""The NumPy engine: a Program as a flat list of calls of ``impl``. The reference for every other engine.

`compile_program` resolves variables to slots once, so that running is a loop over tuples; a slot is emptied after its last use, so that
an intermediate array lives no longer than it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from ..core.program import Literal, Program, Var

__all__ = ["compile_program", "run"]

Step = tuple[Callable[..., Any], bool, tuple[int, ...], tuple[int, ...], tuple[int, ...]]

_compiled: WeakKeyDictionary[Program, Callable[..., list[Any]]] = WeakKeyDictionary()


def run(program: Program, arguments: Sequence[Any]) -> list[Any]:
    """The outputs of ``program`` on flat arguments."""
    compiled = _compiled.get(program)
    if compiled is None:
        compiled = _compiled[program] = compile_program(program)
    return compiled(arguments)


def compile_program(program: Program) -> Callable[[Sequence[Any]], list[Any]]:
    """A function of the flat arguments that runs ``program``."""
    slots: dict[Var, int] = {v: k for k, v in enumerate(program.inputs)}
    constants: list[Any] = []
    for equation in program.equations:
        for v in equation.outputs:
            slots[v] = len(slots)
    total = len(slots)

    def slot(v: Var | Literal) -> int:
        if type(v) is Var:
            return slots[v]
        constants.append(v.value)
        return total + len(constants) - 1

    outputs = tuple(slot(v) for v in program.outputs)
    last: dict[int, int] = {}
    rows: list[tuple[Any, tuple[int, ...], tuple[int, ...]]] = []
    for number, equation in enumerate(program.equations):
        ins = tuple(slot(v) for v in equation.inputs)
        outs = tuple(slots[v] for v in equation.outputs)
        last.update((k, number) for k in (*ins, *outs))
        rows.append((equation.op, ins, outs))
    kept = set(outputs)
    dying: dict[int, list[int]] = {}
    for k, number in last.items():
        if k not in kept and k < total:
            dying.setdefault(number, []).append(k)
    steps: list[Step] = [(op.impl, op.multiple, ins, outs, tuple(dying.get(n, ()))) for n, (op, ins, outs) in enumerate(rows)]
    width, count, tail = total, len(program.inputs), constants

    def execute(arguments: Sequence[Any]) -> list[Any]:
        if len(arguments) != count:
            raise TypeError(f"{program.name} takes {count} arguments, not {len(arguments)}")
        values: list[Any] = [*arguments, *[None] * (width - count), *tail]
        for impl, multiple, ins, outs, dead in steps:
            result = impl(*[values[k] for k in ins])
            if multiple:
                for k, y in zip(outs, result, strict=True):
                    values[k] = y
            else:
                values[outs[0]] = result
            for k in dead:
                values[k] = None
        return [values[k] for k in outputs]

    return execute
