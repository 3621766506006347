"""Aliasing: which results of a Program may lie in the memory of a donated argument.

A result y may be written over an argument x of its type if nothing reads an element of x after that of y is written there (`fits`). Each
argument takes one result and each result one argument: a matching, of which the largest is taken. Results and arguments without a partner
have memory of their own. Whether the argument of a call may really be changed is found out by each call (`runtime.alias_check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cotan.core.program import Var

from .fusion import TINY, Schedule

__all__ = ["LOOPS", "results_in_arguments", "unused"]

LOOPS = frozenset({"scan", "bounded_scan", "while"})
"""Control ops whose carries become results after the last turn, when nothing is read any more."""


def results_in_arguments(schedule: Schedule, donated: Sequence[int]) -> dict[int, int]:
    """The inputs in whose memory outputs are written, by the numbers of the outputs."""
    inputs, outputs = schedule.program.inputs, schedule.program.outputs
    first: dict[Any, int] = {}
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


def origin(schedule: Schedule, v: Var) -> Any:
    """The value over which ``v`` is best written: itself, the start of the carry that it is, or what it is an update of."""
    node = schedule.opaque.get(v)
    if node is None:
        return v
    e, place = node.equation, node.equation.outputs.index(v)
    if e.op.name not in LOOPS:
        return e.inputs[0] if e.inputs else None
    op: Any = e.op
    starts = e.inputs[op.constants :] if op.name == "while" else op.cut(e.inputs)[1]
    return starts[place] if place < len(starts) else None


def fits(schedule: Schedule, old: Var, new: Var) -> bool:
    """Whether the output ``new`` may lie where the input ``old`` does."""
    if old.type is not new.type or old.type.size <= TINY:
        return False
    if new is old or schedule.may_replace(old, new):
        return True
    node = schedule.opaque.get(new)
    if node is None:
        return False
    if node.equation.op.name in LOOPS:
        return origin(schedule, new) is not None and schedule.last_use(old) <= node.position
    source = schedule.updated(new)
    return source is not None and fits(schedule, old, source) and schedule.last_use(old) <= node.position


def unused(schedule: Schedule, donated: Sequence[int], shared: dict[int, int]) -> tuple[int, ...]:
    """The donated inputs in which there is no result, but for those that are too small to matter."""
    return tuple(j for j in donated if j not in shared.values() and schedule.program.inputs[j].type.size > TINY)
