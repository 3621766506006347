"""A costly branch on a batch runs for the examples that take it, its *lanes*, and few others.

`Cond.together` runs each branch on the whole batch and chooses among the results. That is best where branches cost little. Where one costs
more than it takes to move the lanes, there are three other ways:

- The index is known. Each branch runs on the lanes whose index it is (`on_own_lanes`).
- The index is traced, and a branch is not faster on many lanes at once: factorizations, large arrays. One lane runs after the other, each
  the branch that it takes (`one_by_one`).
- The index is traced. The lanes are put in the order of their index, and strips of them run together (`in_strips`). A strip skips the
  branches that none of its lanes takes. Only strips at the border between two indices run more than one branch.

      order = argsort(index);  y'[s] = together(index[order[s]], x[order[s]]) for strips s of the order;  y = y'[order^-1]

The loop over lanes or strips is a `Scan` without a carry. All of this consists of ops, so derivatives and further batches come from their
rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from math import ceil, prod
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..core.op import Op
from ..core.origin import inherited
from ..core.program import Equation, Program, evaluate, has_effect
from ..core.staging import StagingTrace, stage_flat
from ..core.tracing import Trace, Tracer, current_trace, type_of
from ..core.types import StackType, Type
from ..engines.flat import note_line
from ..ops.casting import convert
from ..ops.contraction import DotGeneral
from ..ops.creation import iota
from ..ops.families import spread, zeros
from ..ops.indexing import Gather, Scatter
from ..ops.movement import concatenate, reshape, slice_
from ..ops.ordering import floor_divide, rem
from ..ops.searching import Argsort
from ..ops.small import LARGEST, MANY
from ..transforms.batch import BatchTrace, batch_flat
from .custom_rules import CustomCall
from .external import External
from .stacks import INT, LOOPS, copied, with_each

__all__ = ["in_strips", "is_costly", "is_staged", "on_own_lanes", "one_by_one", "strip_width"]

LEAST_WORK = 1 << 14
"""The least work of all lanes, a few microseconds: finding their order costs that much."""
WORK_PER_MOVED = 8
"""The least work of a lane for each element of it that is moved, to its place in the order and back; half of it suffices where there is no
order.
"""
LEAST_STRIP, MOST_STRIPS = 8, 32
"""The lanes of a strip are a multiple of a vector. The strips of a batch are few: where ops run one by one, a strip costs their calls."""
WORK_PER_STEP = 3 << 8
"""The least work of a strip in a step of a loop, some tens of nanoseconds: loops over fewer elements are slower."""
WIDE = 128
"""The elements of an array that is as fast alone as in a batch."""
NARROW_SHARE = 1 / 8
"""The most of its work that a lane which runs alone may do in operations that are faster in a batch."""
COSTLY, UNKNOWN_STEPS, CALL = 10, 16, 1 << 12
"""The work of an element of a costly function; the steps of a loop of unknown length; the work of a call of outside code."""


class Branching(Protocol):
    """A `Cond`, as much of it as this module needs."""

    @property
    def branches(self) -> tuple[Program, ...]: ...
    @property
    def linear_operands(self) -> tuple[bool, ...]: ...
    def __call__(self, *operands: Any) -> Any: ...
    def made(self, branches: tuple[Program, ...], linear: tuple[bool, ...] = ()) -> Branching: ...
    def derived(self, key: Any, make: Any) -> Any: ...
    def on_batch(self, size: int, flags: tuple[bool, ...], *, whole: bool) -> Any: ...
    def with_constants(self, captured: Sequence[Any]) -> tuple[bool, ...]: ...
    def together(self, size: int, flags: tuple[bool, ...], index: Any, operands: Sequence[Any], *, alone: bool = False) -> list[Any]: ...


# ---- how much a branch does ----------------------------------------------------------------------------------------------
class Work(NamedTuple):
    """An estimate of what a lane does. Work is counted in elementary operations: one is about an addition of two numbers."""

    total: float = 0
    narrow: float = 0
    """The part of it that is faster for many lanes at once."""
    steps: float = 0
    """The steps of loops."""
    lanes: int = LEAST_STRIP
    """The least number of lanes with which operations are as fast as with many."""

    @property
    def alone(self) -> bool:
        """Whether a lane is about as fast alone as in a batch."""
        return self.narrow <= NARROW_SHARE * self.total

    def times(self, count: float) -> Work:
        """Of so many steps."""
        return self._replace(total=count * self.total, narrow=count * self.narrow, steps=count * max(self.steps, 1))


def together(works: Sequence[Work]) -> Work:
    """One after the other."""
    totals, narrow, steps, lanes = zip(Work(), *works, strict=True)
    return Work(sum(totals), sum(narrow), sum(steps), max(lanes))


def work(program: Program) -> Work:
    """The work of a program."""
    found: Work | None = program.derived.get("work")
    if found is None:
        found = program.derived["work"] = together(list(map(work_of, program.equations)))
    return found


def work_of(e: Equation) -> Work:
    """The work of an equation; of branches, that of the most costly one."""
    op, types = e.op, tuple(v.type for v in e.inputs)
    if regions := op.regions():
        each = [(r, work(r.program).times(UNKNOWN_STEPS if r.trip_count is None else r.trip_count)) for r in regions]
        branches = [w for r, w in each if r.exclusive]
        return together([*[w for r, w in each if not r.exclusive], *([max(branches)] if branches else [])])
    if isinstance(op, CustomCall):
        return work(op.program(types))
    if isinstance(op, External):
        return Work(CALL) if op.method == "sequential" else Work()
    read, made = sum(map(elements, types)), sum(elements(v.type) for v in e.outputs)
    if op.family == "linalg":
        rows = types[0].shape[-1]
        done = (read + made) * rows
        return Work(done) if rows > LARGEST else Work(done, done, lanes=MANY)
    if op.family == "contraction":
        terms = prod(types[0].shape[k] for k in op.contract[0]) if isinstance(op, DotGeneral) else types[1].shape[-1]
        return Work(made * terms, made * terms)
    done = max(read, made) if op.family == "reduction" else COSTLY * made if op.costly or op.family == "sorting" else made
    return Work(done, 0 if max(read, made) >= WIDE else done)


def elements(t: Type) -> Any:
    """The elements of a value of this type. A stack is taken to have a few entries."""
    return UNKNOWN_STEPS * elements(t.element) if isinstance(t, StackType) else t.size


# ---- the choice ------------------------------------------------------------------------------------------------------------
def is_costly(branches: Sequence[Program], flags: Sequence[bool], size: Any) -> bool:
    """Whether some branch costs more than moving the lanes, or has an effect, which only the examples that take it have. Flagged operands
    have an entry for each example.
    """
    if with_effects(branches):
        return True
    moved = [elements(t) for t in moved_types(branches, flags)]
    if any(type(n) is not int for n in (size, *moved)):
        return False  # sizes are symbols
    most = max(map(work, branches))
    return most.total * size >= LEAST_WORK and most.total >= WORK_PER_MOVED * sum(moved) * (1 / 2 if most.alone else 1)


def with_effects(branches: Sequence[Program]) -> bool:
    """Whether some branch has an effect."""
    return any(has_effect(e.op) for branch in branches for e in branch.equations)


def moved_types(branches: Sequence[Program], flags: Sequence[bool]) -> list[Type]:
    """The types of what each lane has for itself."""
    return [*compress(branches[0].input_types, flags), *branches[0].output_types]


def strip_width(branches: Sequence[Program], flags: Sequence[bool], size: int) -> int | None:
    """The number of lanes of a strip; None if the lanes should not be cut into strips."""
    if any(isinstance(t, StackType) for t in moved_types(branches, flags)):
        return None
    most = max(map(work, branches))
    if most.alone or with_effects(branches):
        return 1
    least = max(most.lanes, ceil(WORK_PER_STEP * most.steps / most.total), ceil(size / MOST_STRIPS))
    width = ceil(size / max(size // least, 1) / LEAST_STRIP) * LEAST_STRIP
    return width if width < size else None


def is_staged(x: Any) -> bool:
    """Whether the values of ``x`` are not known yet."""
    while type(x) is Tracer:
        if isinstance(x.owner, StagingTrace):
            return True
        x = x.payload[0] if isinstance(x.payload, tuple) else x.payload
    return False


# ---- an index that is known ------------------------------------------------------------------------------------------------
def on_own_lanes(cond: Branching, size: int, flags: tuple[bool, ...], index: Any, operands: Sequence[Any]) -> list[Any]:
    """The results of a `Cond` on a batch: each branch runs on the examples whose index it is."""
    lanes = [(branch, rows) for k, branch in enumerate(cond.branches) if len(rows := np.flatnonzero(index == k))]
    if len(lanes) == 1:
        (branches, captured), _ = cond.on_batch(size, flags, whole=True)
        return list(cond.made(branches, cond.with_constants(captured))(np.int64(index[0]), *captured, *operands))
    parts: list[list[Any]] = []
    for branch, rows in lanes:
        given = [at_rows(x, rows) if b else x for x, b in zip(operands, flags, strict=True)]
        trace = LaneTrace(current_trace(), len(rows), branch.name)
        outs, out_flags = batch_flat(lambda *x, of=branch: evaluate(of, *x), len(rows), flags, given, trace=trace)
        parts.append([y if flag else copied(y, len(rows)) for y, flag in zip(outs, out_flags, strict=True)])
    places = np.argsort(np.concatenate([rows for _, rows in lanes]))
    return [joined(values, places) for values in zip(*parts, strict=True)]


class LaneTrace(BatchTrace):
    """A `BatchTrace` for the equations of a branch. Their lines are not those that run, so errors get them as notes."""

    __slots__ = ("name",)

    def __init__(self, parent: Trace, size: int, name: str):
        super().__init__(parent, size)
        self.name = name

    def process(self, op: Op, operands: Sequence[Any]) -> Sequence[Any]:
        try:
            return super().process(op, operands)
        except Exception as error:
            note_line(error, self.name, inherited())
            raise


def at_rows(x: Any, rows: Any) -> Any:
    """The examples ``rows`` of a batch. No index is out of bounds, so the mode is one that cannot fail."""
    if isinstance(type_of(x), StackType):
        return with_each(lambda rows, entry: at_rows(entry, rows), (rows,), (x,), linear=True)
    return Gather("clip")(x, rows)


def joined(parts: Sequence[Any], places: Any) -> Any:
    """The examples of all ``parts``, in the order ``places``."""
    if isinstance(type_of(parts[0]), StackType):
        return with_each(lambda places, *entries: joined(entries, places), (places,), parts, linear=True)
    return at_rows(concatenate(parts, 0), places)


# ---- an index that is traced --------------------------------------------------------------------------------------------------
def one_by_one(cond: Branching, size: int, flags: tuple[bool, ...], index: Any, operands: Sequence[Any]) -> list[Any]:
    """The results of a `Cond` on a batch, one lane after the other."""
    every = (True, *flags)

    def make() -> tuple[Program, list[Any]]:
        constants, lanes = parted((INT, *cond.branches[0].input_types), every)
        run = lambda *values: cond(*merged(values, every))  # noqa: E731
        return stage_flat(run, [*constants, *lanes], name="lane")

    program = cond.derived(("lane", flags, cond.linear_operands), make)
    return list(each_in_scan(cond, program, size, every, [index, *operands]))


def in_strips(cond: Branching, width: int, size: int, flags: tuple[bool, ...], index: Any, operands: Sequence[Any]) -> list[Any]:
    """The results of a `Cond` on a batch, by strips of ``width`` lanes; the last one is filled with copies of the last lane."""
    every, count = (True, *flags), ceil(size / width)
    order = Argsort(0)(convert(index, np.dtype(np.uint8)) if len(cond.branches) <= 1 << 8 else index)
    places = Scatter("set", "clip", unique=True)(zeros(type_of(order)), iota((size,)), order)
    if more := count * width - size:
        order = concatenate([order, spread(reshape(slice_(order, (size - 1,), (size,)), ()), more)], 0)
    strips = reshape(order, (count, width))

    def make() -> tuple[Program, list[Any]]:
        constants, lanes = parted((INT, *cond.branches[0].input_types), every)

        def run(*values: Any) -> list[Any]:
            index, *operands = merged(values, every)
            return cond.together(width, flags, index, operands, alone=True)

        return stage_flat(run, [*constants, *[t.batched(width) for t in lanes]], name="lanes")

    program = cond.derived(("lanes", width, flags, cond.linear_operands), make)
    ordered = [at_rows(x, strips) if b else x for x, b in zip([index, *operands], every, strict=True)]
    strip, lane = floor_divide(places, np.int64(width)), rem(places, np.int64(width))
    return [Gather("clip")(y, strip, lane) for y in each_in_scan(cond, program, count, every, ordered)]


def each_in_scan(
    cond: Branching, program: tuple[Program, list[Any]], count: int, flags: Sequence[bool], operands: Sequence[Any]
) -> Sequence[Any]:
    """The results of a body, (captured values, constants, lanes) -> results, for each entry of the flagged operands of a `Cond`."""
    body, captured = program
    constants, xs = parted(operands, flags)
    known, linear = parted(cond.linear_operands or [False] * len(flags), flags)
    linear_operands = (*[False] * len(captured), *known, *linear) if cond.linear_operands else ()
    (scan,) = LOOPS
    return scan(body, len(captured) + len(constants), 0, count, False, linear_operands)(*captured, *constants, *xs)


def parted(values: Sequence[Any], flags: Sequence[bool]) -> tuple[list[Any], list[Any]]:
    """The entries that are not flagged, and those that are."""
    return [x for x, b in zip(values, flags, strict=True) if not b], list(compress(values, flags))


def merged(values: Sequence[Any], flags: Sequence[bool]) -> list[Any]:
    """The entries before `parted`."""
    first = list(flags).count(False)
    constants, lanes = iter(values[:first]), iter(values[first:])
    return [next(lanes if b else constants) for b in flags]
