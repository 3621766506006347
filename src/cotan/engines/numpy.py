"""The NumPy engine: a Program as a flat list of calls of ``impl``. The reference for every other engine.

`compile_program` resolves variables to slots once, so that running is a loop over tuples; a slot is emptied after its last use, so that
an intermediate array lives no longer than it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from ..core.program import Literal, Program, Var

__all__ = ["compile_program", "compiled", "run"]

_compiled: WeakKeyDictionary[Program, Callable[..., list[Any]]] = WeakKeyDictionary()


def run(program: Program, arguments: Sequence[Any]) -> list[Any]:
    """The outputs of ``program`` on flat arguments."""
    return compiled(program)(arguments)


def compiled(program: Program) -> Callable[[Sequence[Any]], list[Any]]:
    """`compile_program`, done once for each Program."""
    run = _compiled.get(program)
    if run is None:
        run = _compiled[program] = compile_program(program)
    return run


def compile_program(program: Program) -> Callable[[Sequence[Any]], list[Any]]:
    """A function of the flat arguments that runs ``program``."""
    variables = [*program.inputs, *(v for equation in program.equations for v in equation.outputs)]
    slots: dict[Any, int] = {v: k for k, v in enumerate(variables)}
    literals: list[Any] = []

    def slot(v: Var | Literal) -> int:
        if isinstance(v, Var):
            return slots[v]
        literals.append(v.value)
        return len(variables) + len(literals) - 1

    rows = [(e.op, tuple(map(slot, e.inputs)), tuple(map(slot, e.outputs))) for e in program.equations]
    outputs = tuple(map(slot, program.outputs))
    dying = last_uses(rows, keep={*outputs, *range(len(variables), len(variables) + len(literals))})
    steps = [(op.impl, op.multiple, ins, outs, dead) for (op, ins, outs), dead in zip(rows, dying, strict=True)]
    # The function must not hold the Program: it is the value of a table whose weak key the Program is.
    name, count, empty = program.name, len(program.inputs), [None] * (len(variables) - len(program.inputs))

    def execute(arguments: Sequence[Any]) -> list[Any]:
        if len(arguments) != count:
            raise TypeError(f"{name} takes {count} arguments, not {len(arguments)}")
        values: list[Any] = [*arguments, *empty, *literals]
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


def last_uses(rows: Sequence[tuple[Any, tuple[int, ...], tuple[int, ...]]], keep: set[int]) -> list[tuple[int, ...]]:
    """For each row, the slots that no later row reads and that are not to be kept."""
    last = {k: number for number, (_, ins, outs) in enumerate(rows) for k in (*ins, *outs)}
    dying: list[list[int]] = [[] for _ in rows]
    for k, number in last.items():
        if k not in keep:
            dying[number].append(k)
    return [tuple(slots) for slots in dying]
