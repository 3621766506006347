"""The execution of a flat list of steps: the loop of the NumPy engine.

Variables are resolved to slots once, so execution is a loop over tuples. A slot is emptied after its last use, so an intermediate array
exists only as long as it is needed. A step that returns a changed copy of an operand (`Op.update`) updates the operand in place if nothing
else references it, by its reference count. So a loop that fills an array, or accumulates its cotangent, copies it once and not at each
step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from sys import getrefcount
from typing import Any, NamedTuple

import numpy as np

from ..core.origin import Origin
from ..core.program import Literal, Program, Var

__all__ = ["Step", "flat_runner", "note_line"]


class Step(NamedTuple):
    """``run(*inputs)`` gives the outputs, a sequence if ``multiple``; ``update`` is `Op.update`, or None."""

    run: Callable[..., Any]
    update: Callable[..., Any] | None
    multiple: bool
    inputs: Sequence[Var | Literal]
    outputs: Sequence[Var]
    origin: Origin | None = None


class Resolved(NamedTuple):
    """A Program whose variables are slots of a list: its steps as rows, and the initial contents of the list."""

    rows: list[tuple[Callable[..., Any], Callable[..., Any] | None, bool, tuple[int, ...], tuple[int, ...], tuple[int, ...]]]
    """(run, update, multiple, slots read, slots written, slots emptied afterwards)"""
    outputs: tuple[int, ...]
    unused: set[int]
    rest: list[Any]
    """The part of the list behind the arguments: slots of intermediates, and the literals."""


def resolved(program: Program, steps: Sequence[Step]) -> Resolved:
    """The steps with slots in place of variables."""
    variables = [*program.inputs, *(v for step in steps for v in step.outputs)]
    slots: dict[Any, int] = {v: k for k, v in enumerate(variables)}
    literals: list[Any] = []

    def slot(v: Var | Literal) -> int:
        if isinstance(v, Var):
            return slots[v]
        literals.append(v.value)
        return len(variables) + len(literals) - 1

    rows = [(tuple(map(slot, step.inputs)), tuple(map(slot, step.outputs))) for step in steps]
    outputs = tuple(map(slot, program.outputs))
    dying = last_uses(rows, keep={*outputs, *range(len(variables), len(variables) + len(literals))})
    unused = set(range(len(program.inputs))) - {k for ins, _ in rows for k in ins} - set(outputs)
    code = [
        (step.run, step.update if may_update(step, ins, dead) else None, step.multiple, ins, outs, dead)
        for step, (ins, outs), dead in zip(steps, rows, dying, strict=True)
    ]
    return Resolved(code, outputs, unused, [None] * (len(variables) - len(program.inputs)) + literals)


def flat_runner(program: Program, steps: Sequence[Step]) -> Callable[[list[Any]], list[Any]]:
    """A function of the flat arguments that runs ``steps``, which compute ``program``. It owns, and empties, the list that it is given."""
    code, outputs, unused, rest = resolved(program, steps)
    origins = {id(row[4]): step.origin for step, row in zip(steps, code, strict=True)}
    # The function must not reference the Program: it is a value of a table whose weak key is the Program.
    name, count = program.name, len(program.inputs)

    def execute(values: list[Any]) -> list[Any]:
        if len(values) != count:
            raise TypeError(f"{name} takes {count} arguments, not {len(values)}")
        values += rest
        for k in unused:
            values[k] = None
        outs: tuple[int, ...] = ()
        try:
            for run, update, multiple, ins, outs, dead in code:
                if update is not None:
                    x = values[ins[0]]
                    values[ins[0]] = None
                    if type(x) is np.ndarray and getrefcount(x) == UNSHARED and x.base is None and x.flags.writeable:
                        result = update(x, *[values[k] for k in ins[1:]])
                    else:
                        result = run(x, *[values[k] for k in ins[1:]])
                    x = None
                else:
                    result = run(*[values[k] for k in ins])
                if multiple:
                    for k, y in zip(outs, result, strict=True):
                        values[k] = y
                else:
                    values[outs[0]] = result
                result = None
                for k in dead:
                    values[k] = None
        except Exception as error:
            note_line(error, name, origins.get(id(outs)))
            raise
        return [values[k] for k in outputs]

    return execute


def note_line(error: Exception, name: str, origin: Origin | None) -> None:
    """Add the user's source line to an error, unless it has one."""
    if origin is not None and origin.code is not None and not hasattr(error, "__notes__"):
        error.add_note(f"in {name}, at:\n{origin.excerpt()}")


def unshared_count() -> int:
    """The value of `getrefcount` for an array that only one local variable references."""
    x = np.empty(1)
    return getrefcount(x)


UNSHARED = unshared_count()


def may_update(step: Step, ins: tuple[int, ...], dead: tuple[int, ...]) -> bool:
    """Whether a step may update its first operand in place if nothing else references it: this is the operand's last use."""
    return step.update is not None and ins[0] in dead and ins[0] not in ins[1:]


def last_uses(rows: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], keep: set[int]) -> list[tuple[int, ...]]:
    """For each row, the slots that no later row reads and that are not in ``keep``."""
    last = {k: number for number, (ins, outs) in enumerate(rows) for k in (*ins, *outs)}
    dying: list[list[int]] = [[] for _ in rows]
    for k, number in last.items():
        if k not in keep:
            dying[number].append(k)
    return [tuple(slots) for slots in dying]
