"""The NumPy engine: a Program as a flat list of calls of ``impl``. The reference for every other engine.

`compile_program` resolves variables to slots once, so that running is a loop over tuples; a slot is emptied after its last use, so that
an intermediate array lives no longer than it is needed. An op that returns a changed copy of an operand (`Scatter`) changes the operand
itself where nobody else has it, which its reference count tells: a loop that fills an array, or adds up the cotangent of one, copies
it once and not at each step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from sys import getrefcount
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..core.program import Literal, Program, Var

__all__ = ["compile_program", "compiled", "run"]

_compiled: WeakKeyDictionary[Program, Callable[..., list[Any]]] = WeakKeyDictionary()


def run(program: Program, arguments: Sequence[Any]) -> list[Any]:
    """The outputs of ``program`` on flat arguments."""
    return compiled(program)(list(arguments))


def compiled(program: Program) -> Callable[[list[Any]], list[Any]]:
    """`compile_program`, done once for each Program."""
    run = _compiled.get(program)
    if run is None:
        run = _compiled[program] = compile_program(program)
    return run


def compile_program(program: Program) -> Callable[[list[Any]], list[Any]]:
    """A function of the flat arguments that runs ``program``. It takes over the list that it is given, and empties it."""
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
    unused = set(range(len(program.inputs))) - {k for _, ins, _ in rows for k in ins} - set(outputs)
    steps = [
        (op.impl, op.update if may_update(op, ins, dead) else None, op.multiple, ins, outs, dead)
        for (op, ins, outs), dead in zip(rows, dying, strict=True)
    ]
    # The function must not hold the Program: it is the value of a table whose weak key the Program is.
    name, count, rest = program.name, len(program.inputs), [None] * (len(variables) - len(program.inputs)) + literals

    def execute(values: list[Any]) -> list[Any]:
        if len(values) != count:
            raise TypeError(f"{name} takes {count} arguments, not {len(values)}")
        values += rest
        for k in unused:
            values[k] = None
        for impl, update, multiple, ins, outs, dead in steps:
            if update is not None:
                x = values[ins[0]]
                values[ins[0]] = None
                if type(x) is np.ndarray and getrefcount(x) == UNSHARED and x.base is None and x.flags.writeable:
                    result = update(x, *[values[k] for k in ins[1:]])
                else:
                    result = impl(x, *[values[k] for k in ins[1:]])
                x = None
            else:
                result = impl(*[values[k] for k in ins])
            if multiple:
                for k, y in zip(outs, result, strict=True):
                    values[k] = y
            else:
                values[outs[0]] = result
            result = None
            for k in dead:
                values[k] = None
        return [values[k] for k in outputs]

    return execute


def unshared_count() -> int:
    """What `getrefcount` says of an array that one local variable holds and nothing else."""
    x = np.empty(1)
    return getrefcount(x)


UNSHARED = unshared_count()


def may_update(op: Any, ins: tuple[int, ...], dead: tuple[int, ...]) -> bool:
    """Whether ``op`` may change its first operand in place if nobody else has it: this is the operand's last use."""
    return op.update is not None and ins[0] in dead and ins[0] not in ins[1:]


def last_uses(rows: Sequence[tuple[Any, tuple[int, ...], tuple[int, ...]]], keep: set[int]) -> list[tuple[int, ...]]:
    """For each row, the slots that no later row reads and that are not to be kept."""
    last = {k: number for number, (_, ins, outs) in enumerate(rows) for k in (*ins, *outs)}
    dying: list[list[int]] = [[] for _ in rows]
    for k, number in last.items():
        if k not in keep:
            dying[number].append(k)
    return [tuple(slots) for slots in dying]
