"""Aliasing: which results of a Program may be written in the memory of a donated argument.

A result y may be written over an argument x of its type if nothing reads an element of x after that of y is written there (`fits`). Each
argument takes one result and each result one argument: a matching, of which the largest is taken. Results and arguments without a partner
have memory of their own. Whether the argument of a call may really be changed is found out by each call (`runtime.alias_check`).
"""

from __future__ import annotations

from collections.abc import Sequence

from cotan.core.program import Literal, Var

from .fusion import Schedule
from .in_place import chain, loops, predecessor

__all__ = ["results_in_arguments", "unused"]


def results_in_arguments(schedule: Schedule, donated: Sequence[int]) -> dict[int, int]:
    """The inputs in whose memory outputs are written, by the numbers of the outputs."""
    inputs, outputs = schedule.program.inputs, schedule.program.outputs
    first: dict[Var, int] = {}
    for k, v in enumerate(outputs):
        if isinstance(v, Var):
            first.setdefault(v, k)
    choices = {
        k: sorted([j for j in donated if fits(schedule, inputs[j], v)], key=lambda j: inputs[j] is not origin(schedule, v))
        for v, k in first.items()
    }
    taker: dict[int, int] = {}

    def take(k: int, seen: set[int]) -> bool:
        """Find an input for an output; another output may have to take another one."""
        free = [j for j in choices[k] if j not in taker]
        for j in free or choices[k]:
            if j not in seen:
                seen.add(j)
                if j not in taker or take(taker[j], seen):
                    taker[j] = k
                    return True
        return False

    for k in choices:
        take(k, set())
    return {k: j for j, k in sorted(taker.items(), key=lambda pair: pair[1])}


def origin(schedule: Schedule, v: Var) -> Var | Literal | None:
    """The value over which ``v`` is best written: itself, the start of the carry that it is, or what it is an update of."""
    node = schedule.opaque.get(v)
    if node is None:
        return v
    e, k = node.equation, node.equation.outputs.index(v)
    found = loops(e.op)
    if not found:
        return e.inputs[0] if e.inputs else None
    return next((e.inputs[region.first + region.carry[k]] for region in found if k < len(region.carry)), None)


def fits(schedule: Schedule, old: Var, new: Var) -> bool:
    """Whether the output ``new`` may be written in the memory of the input ``old``."""
    if old.type is not new.type or old.type.size <= schedule.options.small_array:
        return False
    if new is old or chain(schedule, old, new) is not None:
        return True
    node = schedule.opaque.get(new)
    if node is None:
        return False
    if loops(node.equation.op):
        return origin(schedule, new) is not None and schedule.last_use(old) <= node.position
    before = predecessor(schedule, new)
    return before is not None and fits(schedule, old, before) and schedule.last_use(old) <= node.position


def unused(schedule: Schedule, donated: Sequence[int], donated_input_of: dict[int, int]) -> tuple[int, ...]:
    """The donated inputs in which there is no result, but for those that are too small to matter."""
    return tuple(
        j for j in donated if j not in donated_input_of.values() and schedule.program.inputs[j].type.size > schedule.options.small_array
    )
