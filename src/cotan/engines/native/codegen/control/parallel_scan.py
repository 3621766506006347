"""A scan whose iterations do not wait for each other, such as `lax.map` and its gradient, on several threads.

Its carries are passed on as they are, or are sums: a step adds something that does not depend on the sum so far.
"""

from __future__ import annotations

from collections.abc import Sequence

from cotan.core.op import Region
from cotan.core.program import Equation, Literal, Program, Var
from cotan.core.types import ArrayType
from cotan.engines.native.affine import variable
from cotan.engines.native.codegen.program import ProgramLowering, schedule_of
from cotan.engines.native.codegen.values import Memory, Value
from cotan.engines.native.codegen.workspace import WorkspaceFrame
from cotan.engines.native.cost import program_cost
from cotan.engines.native.schedule.fusion import Schedule, count_uses
from cotan.engines.native.schedule.in_place import in_registers, loops, passed_on, updates_input
from cotan.engines.native.schedule.loop_nest import Opaque

from .carries import Carry, KeptCarry, LargeCarry, ScannedInputs, SmallCarry, advance, settle, slot
from .chunks import in_chunks
from .interrupt_checks import checked_iteration

__all__ = ["independent_iterations", "parallel_scan"]


def parallel_scan(
    lowering: ProgramLowering,
    node: Opaque,
    region: Region[Program],
    operands: list[Value],
    results: Sequence[Memory | None],
    *,
    backwards: bool,
) -> bool:
    """Write a scan in chunks if its iterations are independent and that pays; whether it is written."""
    if not worth_threads(lowering, region) or not independent_iterations(schedule_of(lowering.context, region.program), region):
        return False
    if not lowering.strategies.runs_in_chunks(lowering, region.program):
        return False
    body, trip_count, context = region.program, region.trip_count, lowering.context
    assert trip_count is not None
    constants, starts, xs = region.cut(operands)
    constants = [lowering.steady(x) for x in constants]
    carried = len(region.carry)
    kept = {k: KeptCarry(lowering.steady(start)) for k, start in enumerate(starts) if passed_on(region, k)}
    summed = [k for k in range(carried) if k not in kept]
    rows, schedule = ScannedInputs(lowering, xs), schedule_of(context, body)
    ys = [y for y in results[carried:] if y is not None]

    def total(k: int, memory: Memory) -> Carry:
        small = memory.type.size <= lowering.options.small_array and in_registers(schedule, region, k)
        return SmallCarry(context, memory) if small else LargeCarry(lowering, memory, over=True, home=memory)

    def chunk(first: str, end: str, totals: list[Memory], frame: WorkspaceFrame) -> None:
        sums = {k: total(k, memory) for k, memory in zip(summed, totals, strict=True)}
        state: list[Carry] = [kept[k] if k in kept else sums[k] for k in range(carried)]

        def iteration(k: str) -> None:
            with checked_iteration(lowering, k, body, trip_count):
                at = lowering.code.value("i64", f"sub i64 {trip_count - 1}, {k}") if backwards else k
                i = variable(at, trip_count)
                advance(lowering, body, constants, state, rows.at(i), [slot(lowering, y, i) for y in ys])

        lowering.code.loop(end, iteration, start=first, at_least_once=False)
        for carry, memory in zip(sums.values(), totals, strict=True):
            if isinstance(carry, SmallCarry):
                context.copy(carry.value(), memory)

    add_total = in_chunks(lowering, "iterations", trip_count, [starts[k].type for k in summed], chunk)
    for number, k in enumerate(summed):
        target = results[k]
        assert target is not None
        if not starts[k].lies_in(target):
            context.copy(starts[k], target, "the loop changes the first value of a carry, which is kept")
        add_total(target, number)
    settle(lowering, node, [kept.get(k) for k in range(carried)], results)
    return True


def worth_threads(lowering: ProgramLowering, region: Region[Program]) -> bool:
    """Whether the iterations of a loop are many and costly enough for threads. Iterations that threads could share each are not taken if
    they are few, or make large arrays: then the memory of several at once is not worth it.
    """
    options, body, trip_count = lowering.options, region.program, region.trip_count
    if lowering.context.in_chunk or trip_count is None or trip_count < 2 or trip_count * program_cost(body) < 2 * options.chunk_cost:
        return False
    if not all(isinstance(v.type, ArrayType) for v in (*body.inputs, *body.outputs)):
        return False
    if max((v.type.nbytes for e in body.equations for v in e.outputs if isinstance(v.type, ArrayType)), default=0) > options.strip_bytes:
        return False
    return trip_count >= 2 * options.threads or program_cost(body) < 2 * options.chunk_cost


def independent_iterations(schedule: Schedule, region: Region[Program]) -> bool:
    """Whether each carry of a loop, whose body has this schedule, is passed on or is a sum that the loop adds to in place."""
    return all(passed_on(region, k) or summed(schedule, region, k) for k in range(len(region.carry)))


def summed(schedule: Schedule, region: Region[Program], k: int) -> bool:
    """Whether carry ``k`` is a sum, in registers or updated in place."""
    body = region.program
    old, new = body.inputs[region.carry[k]], body.outputs[k]
    if old.type.dtype.kind == "b" or not isinstance(new, Var) or not adds_to(body, old, new):
        return False
    small = old.type.size <= schedule.options.small_array and in_registers(schedule, region, k)
    return small or updates_input(schedule, region.carry[k], k)


def adds_to(program: Program, old: Var, new: Var) -> bool:
    """Whether ``new`` is ``old`` and something added to it, and nothing else reads ``old`` or the sums between them."""
    uses = count_uses(program)
    makers = {v: e for e in program.equations for v in e.outputs}

    def found(v: Var | Literal) -> bool:
        if v is old:
            return uses[old] == 1
        if not isinstance(v, Var) or uses[v] != 1 or v not in makers:
            return False
        return any(found(x) for x in terms(makers[v], v))

    return found(new)


def terms(e: Equation, v: Var) -> Sequence[Var | Literal]:
    """The operands that a result of an equation is a sum of, each with something that does not depend on it."""
    if e.op.name == "add":
        return e.inputs
    if e.op.update is not None and e.op.kind == "add":
        return e.inputs[:1]
    k = e.outputs.index(v)
    return [
        e.inputs[region.first + region.carry[k]]
        for region in loops(e.op)
        if k < len(region.carry) and isinstance(new := region.program.outputs[k], Var)
        if adds_to(region.program, region.program.inputs[region.carry[k]], new)
    ]
