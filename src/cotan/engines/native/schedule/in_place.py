"""Updates in place: which values of a Program may be written over a value that they come from.

A result of an op that is run as a whole may be written over an operand (`overwritten_operand`)

- if the op updates a part of its first operand;
- if the op is a loop, and the operand is the start of the carry that becomes the result;
- if the op is a branch, and each of its programs returns that operand as it is, or updated in place.

An element of a loop nest may be written over the element that it reads (`replaces_elements`). Both hold only if nothing reads the old value
afterwards, and the op does not read it otherwise. `chain` finds the steps from a value to one that is written over it.
"""

from __future__ import annotations

from collections.abc import Iterator

from cotan.core.op import Op, Region
from cotan.core.program import Equation, Program, Var
from cotan.core.types import ArrayType
from cotan.engines.native.affine import ElementIndex

from .fusion import Schedule
from .loop_nest import Opaque, Statement

__all__ = ["chain", "in_registers", "loops", "overwritten_operand", "passed_on", "predecessor", "predecessors", "updates_input", "why_kept"]


def chain(schedule: Schedule, old: Var, new: Var) -> list[Var] | None:
    """The values between ``old`` and ``new``, from the last to the first, if each may be written over the one before it, and ``new`` over
    the last; None if ``new`` may not be written over ``old``.
    """
    if old.type is not new.type:
        return None
    failed: set[Var] = set()

    def search(v: Var) -> list[Var] | None:
        for before in steps_before(schedule, v, old):
            if before is old:
                return []
            rest = search(before) if before not in failed else None
            if rest is not None:
                return [before, *rest]
        failed.add(v)
        return None

    return search(new)


def steps_before(schedule: Schedule, v: Var, old: Var) -> Iterator[Var]:
    """The values over which ``v`` may be written: results of ops that are run as a whole, or ``old``."""
    if v in schedule.opaque:
        before = predecessor(schedule, v)
        if before is not None:
            yield before
        return
    statement = schedule.statement.get(v)
    if statement is not None and v.type.size > schedule.options.small_array:
        reads = [r for r, _ in statement.reads if r in schedule.opaque]
        yield from (before for before in dict.fromkeys([*reads, old]) if replaces_elements(schedule, before, v))


def predecessor(schedule: Schedule, new: Var) -> Var | None:
    """The operand over which the result ``new`` of an op that is run as a whole may be written, if it is not used afterwards."""
    node = schedule.opaque.get(new)
    if node is None:
        return None
    old = overwritten_operand(schedule, node.equation, node.equation.outputs.index(new))
    return old if old is not None and schedule.last_use(old) <= node.position else None


def predecessors(schedule: Schedule, new: Var) -> Iterator[Var]:
    """The predecessor of ``new``, its predecessor, and so on."""
    before = predecessor(schedule, new)
    while before is not None:
        yield before
        before = predecessor(schedule, before)


# ---- ops that are run as a whole ------------------------------------------------------------------------------------------------
def overwritten_operand(schedule: Schedule, equation: Equation, k: int) -> Var | None:
    """The operand over which result ``k`` may be written, as far as the equation itself is concerned."""
    op, inputs, new = equation.op, equation.inputs, equation.outputs[k]
    if not isinstance(new.type, ArrayType):
        return None
    small = new.type.size <= schedule.options.small_array
    if op.update is not None:
        candidates = [0] if k == 0 else []
    else:
        candidates = [
            region.first + region.carry[k]
            for region in loops(op)
            if k < len(region.carry) and not (small and in_registers(schedule.of(region.program), region, k))
        ]
        candidates = candidates or branch_operands(schedule, equation)[k : k + 1]
    for j in candidates:
        if j is not None and may_be_overwritten(schedule, equation, j, new):
            old = inputs[j]
            assert isinstance(old, Var)
            return old
    return None


def may_be_overwritten(schedule: Schedule, equation: Equation, j: int, new: Var) -> bool:
    """Whether operand ``j`` has the type of a result, and is read as that operand alone."""
    old = equation.inputs[j]
    return isinstance(old, Var) and old.type is new.type and not read_otherwise(schedule, equation, j)


def read_otherwise(schedule: Schedule, equation: Equation, j: int) -> bool:
    """Whether an equation reads the value of its operand ``j`` as another operand, too."""
    others = (root for k, x in enumerate(equation.inputs) if k != j and isinstance(x, Var) for root in schedule.roots_of(x))
    return any(root is equation.inputs[j] for root in others)


def why_kept(schedule: Schedule, node: Opaque) -> str:
    """Why an op that updates its first operand is not written over it, if it is not. Nobody asks for a small array."""
    old = node.equation.inputs[0]
    if old.type.size <= schedule.options.small_array:
        return ""
    if not isinstance(old, Var):
        return "the updated array is a constant"
    if old in schedule.views:
        return f"the updated array is a view: {schedule.views[old].described}"
    if read_otherwise(schedule, node.equation, 0):
        return "the update also reads the updated array"
    for later in schedule.program.equations:
        if schedule.position(later) > node.position and any(old in schedule.roots_of(x) for x in later.inputs if isinstance(x, Var)):
            return f"the updated array is read afterwards: {later.described}"
    if schedule.last_use(old) > node.position:
        return "the updated array is also a result"
    return "the updated array is an argument, or is needed outside of this loop or branch"


def loops(op: Op) -> list[Region[Program]]:
    """The regions of an op whose final carry is returned. It is stored after the last iteration."""
    return [region for region in op.regions() if region.gives_carry]


def branch_operands(schedule: Schedule, equation: Equation) -> list[int | None]:
    """For each result of a branch, the operand that each of its programs returns there, as it is or updated in place; a different one for
    each result.
    """
    known = schedule.branch_operands.get(id(equation))
    if known is not None:
        return known
    branches = equation.op.regions()
    found = schedule.branch_operands[id(equation)] = [None] * len(equation.outputs)
    if not branches or not all(region.exclusive for region in branches):
        return found
    first = branches[0].first
    for k, new in enumerate(equation.outputs):
        for j in range(first, first + branches[0].constants):
            if j in found or not may_be_overwritten(schedule, equation, j, new):
                continue
            if all(updates_input(schedule.of(region.program), j - first, k) for region in branches):
                found[k] = j
                break
    return found


def updates_input(schedule: Schedule, j: int, k: int) -> bool:
    """Whether a Program returns its input ``j``, as it is or updated in place, as its output ``k`` and in no other one."""
    old, outputs = schedule.program.inputs[j], schedule.program.outputs
    new, others = outputs[k], [v for i, v in enumerate(outputs) if i != k and isinstance(v, Var)]
    if new is old:
        return not any(old in schedule.roots_of(v) for v in others)
    return isinstance(new, Var) and not any(new in schedule.roots_of(v) for v in others) and chain(schedule, old, new) is not None


def in_registers(schedule: Schedule, region: Region[Program], k: int) -> bool:
    """Whether the small carry ``k`` of a loop, whose body has this schedule, is in registers: its body does not update it in memory."""
    return passed_on(region, k) or not updates_input(schedule, region.carry[k], k)


def passed_on(region: Region[Program], k: int) -> bool:
    """Whether a loop never changes its carry ``k``."""
    return region.program.outputs[k] is region.program.inputs[region.carry[k]]


# ---- loop nests ----------------------------------------------------------------------------------------------------------------
def replaces_elements(schedule: Schedule, old: Var, new: Var) -> bool:
    """Whether the elements of ``new`` may be written over those of ``old``: each reader of ``old`` is done, or reads the element that is
    next.
    """
    s = schedule.statement[new]
    if old.type is not new.type or s.monoid or max(schedule.whole_uses.get(old, []), default=-1) >= s.position:
        return False
    readers = schedule.readers.get(old, [])
    access = schedule.accesses[new]
    known = any(r is s for r, _ in readers) and not s.splits and access is not None and not access.conditional
    return all(read_before(r, i, s, known) for r, i in readers)


def read_before(r: Statement, i: ElementIndex, s: Statement, known: bool) -> bool:
    """Whether ``r`` reads the element ``i`` of an array before ``s`` writes its own element there. ``known``: the elements that ``s`` reads
    are remembered, which they are not under conditions.
    """
    if r is s:
        return i == tuple(s.order)
    shared = 0
    while shared < min(len(r.path), len(s.path)) and r.path[shared] is s.path[shared]:
        shared += 1
    if i[:shared] != tuple(r.order[:shared]):
        return False  # another iteration of these loops reads the element that this one writes
    return r.positions[shared] < s.positions[shared] or (known and r.loop is s.loop)
