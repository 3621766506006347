"""Batched loops in strips: a scan that runs a batch of examples side by side, such as vmap of a scan, runs some examples at a time.

All steps of a strip run before the next strip begins. So threads share the strips, which one step alone is too short for, and what a step
makes stays in the cache until the next one reads it.

As in `strip_mining`, the axes of the body are put into classes of equal axes; here the axis of a carry into a step and that out of it are
equal, too. A loop is cut along a class if each equation of its body reads each row by itself, or sums all rows. Such a sum may only be
added to others: then the sums over the strips are added up at the end. The same holds of loops in the body.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from cotan.core.errors import CotanError
from cotan.core.op import Op, Region
from cotan.core.program import Equation, Literal, Program, Var
from cotan.core.types import ArrayType
from cotan.engines.native.affine import Index
from cotan.engines.native.analysis.access import AccessProbe, AccessSummary, Reader, access_summary, axis
from cotan.engines.native.cost import program_cost
from cotan.engines.native.options import CodegenOptions, current_options
from cotan.ops.families import BroadcastInDim, add

from .strip_mining import Axes, Axis, RowWise, alone, candidates, key, resized, row_wise, strip_of, symbols
from .strip_op import Strips

__all__ = ["cut_batched_loops"]


def cut_batched_loops(program: Program, options: CodegenOptions | None = None) -> Program:
    """The Program with its batched scans as `Strips`, where that pays."""
    options = options or current_options()
    if not options.batched_loops or not any(is_counted(e) for e in program.equations):
        return program
    needed = {v for e in program.equations for v in e.inputs} | set(program.outputs)
    equations = [new for e in program.equations for new in cut(e, needed, options)]
    return Program(program.inputs, equations, program.outputs, program.constants, program.name)


def cut(e: Equation, needed: set[Var | Literal], options: CodegenOptions) -> list[Equation]:
    """The equations of a batched loop in strips; the equation itself if it is none, or if strips do not pay."""
    if not is_counted(e):
        return [e]
    (region,) = e.op.regions()
    body, trip_count = region.program, region.trip_count
    equations = [f for program in programs_in(region) for f in program.equations]
    arrays = all(isinstance(v.type, ArrayType) for f in (e, *equations) for v in (*f.inputs, *f.outputs))
    assert trip_count is not None
    if trip_count < options.loop_strip_steps or not arrays:
        return [e]
    if trip_count * program_cost(body) < options.batched_loop_cost:
        return [e]
    loops = Loops(region)
    for root in loops.roots(options):
        found = BatchedLoop(e, loops, root, needed, options)
        if found.strip is not None:
            return found.equations()
    return [e]


# ---- the body ---------------------------------------------------------------------------------------------------------------------
class UpdateSummary(NamedTuple):
    """The accesses of an update: for the update at the symbols of its axes, the index of its destination, and what it reads."""

    destination: tuple[Index | int, ...]
    reads: tuple[tuple[int, tuple[Index | int, ...]], ...]


def update_summary(op: Op, types: Sequence[ArrayType]) -> UpdateSummary | None:
    """The access summary of an op with a destination; None if whether an update has one depends on its index."""
    if op.destination is None:
        return None
    reads: list[tuple[int, tuple[Index | int, ...]]] = []
    at = tuple(axis(k, n) for k, n in enumerate(types[1].shape))
    readers = [Reader(t, lambda index, k=k: reads.append((k, index))) for k, t in enumerate(types)]
    inside, destination = op.destination(AccessProbe(), at, *readers)
    return UpdateSummary(tuple(destination), tuple(reads)) if inside is True else None


class Loops:
    """A scan with the scans in its body: the summaries of their equations, and the classes of their axes."""

    def __init__(self, region: Region[Program]):
        self.region = region
        self.forms: dict[int, AccessSummary | None] = {}
        self.updates: dict[int, UpdateSummary | None] = {}
        programs = [*programs_in(region)]
        equations = [e for program in programs for e in program.equations]
        for e in equations:
            types = [v.type for v in e.inputs]
            self.forms[id(e)] = access_summary(e.op, tuple(types)) if not e.op.multiple and e.op.update is None else None
            if e.op.update is not None:
                self.updates[id(e)] = update_summary(e.op, types)
        self.values = [v for program in programs for v in program.inputs] + [v for e in equations for v in e.outputs]
        everything = Program([v for program in programs for v in program.inputs], equations, (), (), "")
        equal = [pair for e in equations for pair in self.equal_axes(e)]
        self.axes = Axes(everything, [self.forms[id(e)] for e in equations], [*carried(region), *equal])

    def equal_axes(self, e: Equation) -> Iterator[tuple[Axis, Axis]]:
        """Axes of the values of an equation that are equal for other reasons than a read."""
        if e.op.loop_axes is not None:
            for k in e.op.loop_axes(*[v.type for v in e.inputs]):
                yield from (((e.outputs[0], k), (v, k)) for v in (*e.inputs, *e.outputs) if isinstance(v, Var))
        if is_counted(e):
            (region,) = e.op.regions()
            yield from carried(region)
            for k, (v, x) in enumerate(zip(e.inputs, region.program.inputs, strict=True)):
                if isinstance(v, Var):
                    yield from (((x, p), (v, p + is_scanned(region, k))) for p in range(x.type.ndim))
            for k, (v, y) in enumerate(zip(e.outputs, region.program.outputs, strict=True)):
                if isinstance(y, Var):
                    yield from (((y, p), (v, p + (k >= len(region.carry)))) for p in range(y.type.ndim))
        if e.op.update is not None:
            yield from self.equal_axes_of_update(e)

    def equal_axes_of_update(self, e: Equation) -> Iterator[tuple[Axis, Axis]]:
        form, (result,), (x, part, *_) = self.updates[id(e)], e.outputs, e.inputs
        for p, i in enumerate(form.destination if form is not None else ()):
            if isinstance(x, Var):
                yield (result, p), (x, p)
            symbol = alone(i)
            if symbol is not None and symbol[0] == "o" and isinstance(part, Var) and part.type.shape[symbol[1]] == result.type.shape[p]:
                yield (result, p), (part, symbol[1])

    def roots(self, options: CodegenOptions) -> list[Axis]:
        """The classes of long axes that carries have, those of the most bytes first."""
        found: Counter[Axis] = Counter()
        for old, _ in carries(self.region):
            for root in {self.axes.find((old, k)) for k, n in enumerate(old.type.shape) if n >= options.strip_axis}:
                found[root] += old.type.nbytes
        return [root for root, _ in found.most_common(options.strip_axes)]


def is_counted(e: Equation) -> bool:
    """Whether an equation is a scan of a known number of steps."""
    return e.op.name == "scan" and e.op.regions()[0].trip_count is not None


def programs_in(region: Region[Program]) -> Iterator[Program]:
    """The body of a scan, and those of the scans in it."""
    yield region.program
    for e in region.program.equations:
        if is_counted(e):
            yield from programs_in(e.op.regions()[0])


def carries(region: Region[Program]) -> list[tuple[Var, Var | Literal]]:
    """The carries into a step and out of it."""
    return [(region.program.inputs[j], region.program.outputs[k]) for k, j in enumerate(region.carry)]


def carried(region: Region[Program]) -> Iterator[tuple[Axis, Axis]]:
    """The axes of the carries out of a step are those of the carries into it."""
    for old, new in carries(region):
        if isinstance(new, Var):
            yield from (((old, k), (new, k)) for k in range(old.type.ndim))


def is_scanned(region: Region[Program], k: int) -> bool:
    """Whether operand ``k`` of a scan is an xs: it has the steps as an axis before those of the body's input."""
    return k >= region.constants and k not in region.carry


# ---- one loop along one axis ----------------------------------------------------------------------------------------------------
class BatchedLoop:
    """A scan along a class of axes of its body; ``strip`` is the number of rows of a strip, None if the loop is not cut."""

    def __init__(self, whole: Equation, loops: Loops, root: Axis, needed: set[Var | Literal], options: CodegenOptions):
        self.whole, self.loops, self.root = whole, loops, root
        self.axes, self.region, self.body = loops.axes, loops.region, loops.region.program
        self.size = self.axes.length[root]
        self.strip: int | None = None
        self.sums: set[Var | Literal] = set()
        """The values that are sums over all rows, or parts of such sums."""
        self.grows: dict[Var | Literal, Var] = {}
        """The sums that are a carry of the loop and something added to it. It may begin with another value than zero, so no other one may
        depend on it.
        """
        self.zeros: set[Var | Literal] = set()
        if any(len(self.along(v)) > 1 for v in loops.values) or not self.sums_in_loop(self.region, set(), None):
            return
        if any(y in self.grows for y in self.body.outputs[len(self.region.carry) :]):
            return
        self.kinds = ["rows" if self.along(new) else "total" if new in self.sums else "" for new in self.body.outputs]
        self.shared = [k for k, (kind, v) in enumerate(zip(self.kinds, whole.outputs, strict=True)) if not kind and v in needed]
        """The results that do not depend on rows."""
        made = sum(v.type.nbytes for v in loops.values if self.along(v))
        fixed = sum(v.type.nbytes for v in self.body.inputs if not self.along(v))
        wanted = max(options.least_strip, self.size // (2 * options.threads))
        limits = replace(options, strip_bytes=options.loop_strip_bytes, most_strip=min(options.most_strip, wanted))
        self.strip = strip_of(self.size, made, fixed, limits)

    def along(self, v: Var | Literal | Equation) -> Sequence[int]:
        return self.axes.along(v, self.root)

    def cut(self, v: Var | Literal, size: int) -> ArrayType:
        """The type of a value of the body with so many rows."""
        along = self.along(v)
        return v.type.with_shape(tuple(size if k in along else n for k, n in enumerate(v.type.shape))) if along else v.type

    def types(self, e: Equation, size: int) -> list[ArrayType]:
        return [self.cut(v, size) for v in (*e.inputs, *e.outputs)]

    # ---- what the equations do with the rows
    def sums_in_loop(self, region: Region[Program], given: set[Var], starts: dict[Var, Var] | None) -> bool:
        """Find the `sums` in a loop, of whose inputs ``given`` are sums; False if an equation neither reads each row by itself nor adds
        sums to each other.

        A carry without rows that depends on rows is a sum, which begins with zero in each strip. ``starts`` has the carries of a loop in
        the body that begin with a sum which grows.
        """
        summed = self.changed_by_rows(region, given)
        if any(old.type.dtype.kind not in "iufc" for old in summed):
            return False
        self.sums |= summed | given
        for old in summed if starts is None else starts:
            self.grows[old] = old if starts is None else starts[old]
        if not all(self.fits(e) for e in region.program.equations):
            return False
        return all(
            list(self.along(new)) == list(self.along(old))
            and (new in self.sums) == (old in self.sums)
            and self.grows.get(new) is self.grows.get(old)
            for old, new in carries(region)
        )

    def changed_by_rows(self, region: Region[Program], given: set[Var]) -> set[Var]:
        """The carries without rows that depend on rows, or on sums of them, in some step."""
        reached: set[Var | Literal] = {*given}
        while True:
            for e in region.program.equations:
                if any(v in reached or self.along(v) for v in e.inputs):
                    reached.update(e.outputs)
            more = {old for old, new in carries(region) if (new in reached or old in reached) and not self.along(old)}
            if more <= reached:
                return more
            reached |= more

    def fits(self, e: Equation) -> bool:
        """Whether an equation reads each row by itself, or adds sums over rows. Its results that are sums are among the `sums` then."""
        given = [v in self.sums for v in e.inputs]
        rows = any(self.along(v) for v in (*e.inputs, *e.outputs)) or bool(self.along(e))
        if e.op.regions():
            return (rows or any(given)) and is_counted(e) and self.fits_loop(e)
        if rows:
            row = None if any(given) else self.row_of(e)
            if row is None or self.op_on(e, 2) is None:
                return False
            if row.axis is None:
                self.sums.add(e.outputs[0])
        elif any(given):
            self.sums.update(e.outputs)
            return self.adds(e, [g or v in self.zeros for g, v in zip(given, e.inputs, strict=True)], given) and self.grows_by(e)
        elif e.op.name == "broadcast_in_dim" and is_zero(e.inputs[0]):
            self.zeros.update(e.outputs)
        return True

    def fits_loop(self, e: Equation) -> bool:
        """`fits` for a loop in the body: its sums begin with a sum, or with zero."""
        (region,) = e.op.regions()
        pairs = list(zip(e.inputs, region.program.inputs, strict=True))
        if not all(self.keeps_rows(v, x, is_scanned(region, k)) for k, (v, x) in enumerate(pairs)):
            return False
        results = enumerate(zip(e.outputs, region.program.outputs, strict=True))
        if not all(self.keeps_rows(v, y, k >= len(region.carry)) for k, (v, y) in results):
            return False
        starts = {x: self.grows[v] for v, x in pairs if v in self.grows}
        if not starts.keys() <= {old for old, _ in carries(region)}:
            return False
        if not self.sums_in_loop(region, {x for v, x in pairs if v in self.sums}, starts):
            return False
        for k, (v, y) in enumerate(zip(e.outputs, region.program.outputs, strict=True)):
            if y in self.sums:
                self.sums.add(v)
            if y in self.grows and k < len(region.carry):
                self.grows[v] = self.grows[y]
            elif y in self.grows:
                return False
        return all(v in self.sums or v in self.zeros or is_zero(v) for v, x in pairs if x in self.sums)

    def grows_by(self, e: Equation) -> bool:
        """Whether an equation reads no sum that grows, or adds to one."""
        growing = [k for k, v in enumerate(e.inputs) if v in self.grows]
        if not growing:
            return True
        adds = growing in ([0], [1]) if e.op.name == "add" else growing == [0] and (e.op.name == "sub" or e.op.update is not None)
        self.grows[e.outputs[0]] = self.grows[e.inputs[growing[0]]]
        return adds

    def keeps_rows(self, outer: Var | Literal, inner: Var | Literal, scanned: bool) -> bool:
        """Whether a value of a loop has the rows along the same axis within; where it is ``scanned``, the steps are an axis before."""
        return list(self.along(outer)) == [k + scanned for k in self.along(inner)]

    def adds(self, e: Equation, sums: Sequence[bool], given: Sequence[bool]) -> bool:
        """Whether an equation is linear in sums over all rows: it adds them, moves their elements, or scales one."""
        form = self.loops.forms[id(e)]
        if e.op.name in ("add", "sub"):
            return all(sums)
        if e.op.update is not None:
            return e.op.kind == "add" and all(sums[:2]) and not any(given[2:])
        if e.op.name in ("mul", "scale"):
            return sum(given) == 1
        return len(e.inputs) == 1 and (e.op.name == "neg" or (form is not None and form.only_moves and not form.conditional))

    def row_of(self, e: Equation) -> RowWise | None:
        """How an equation without a loop reads rows (`strip_mining.row_wise`)."""
        if e.op.loop_axes is not None and self.loops.forms[id(e)] is None:
            along = self.along(e.outputs[0])
            alike = all(self.along(v) == along for v in (*e.inputs, *e.outputs))
            return RowWise(along[0]) if alike and along and along[0] in e.op.loop_axes(*[v.type for v in e.inputs]) else None
        return row_wise(e, self.loops.forms[id(e)], self.axes, self.root) if e.op.update is None else self.row_of_update(e)

    def row_of_update(self, e: Equation) -> RowWise | None:
        form, along = self.loops.updates[id(e)], self.along(e.outputs[0])
        if form is None or len(along) != 1 or self.along(e.inputs[0]) != along:
            return None
        symbol = alone(form.destination[along[0]])
        if symbol is None or symbol[0] != "o" or list(self.along(e.inputs[1])) != [symbol[1]]:
            return None
        elsewhere = [i for p, i in enumerate(form.destination) if p != along[0]]
        elsewhere += [i for k, index in form.reads for p, i in enumerate(index) if p not in self.along(e.inputs[k])]
        own = [i for k, index in form.reads for p, i in enumerate(index) if p in self.along(e.inputs[k])]
        return None if any(symbol in symbols(i) for i in elsewhere) or any(alone(i) != symbol for i in own) else RowWise(along[0])

    def op_on(self, e: Equation, size: int) -> Op | None:
        """The op of an equation of the body, not of a loop, on so many rows."""
        form, update = self.loops.forms[id(e)], self.loops.updates.get(id(e))
        types = self.types(e, size)
        if form is not None:
            return resized(e, form, types, self.size, size)
        operands, results = types[: len(e.inputs)], types[len(e.inputs) :]
        for op in candidates(e.op, self.size, size):
            try:
                made = op.type_rule(*operands)
            except CotanError:
                continue
            if (list(made) if op.multiple else [made]) == results and (update is None or alike(update, update_summary(op, operands))):
                return op
        return None

    # ---- the loop in strips
    def equations(self) -> list[Equation]:
        """The loop as `Strips`, and the sums that begin with another value than zero."""
        assert self.strip is not None
        e, carried = self.whole, len(self.region.carry)
        constants = [v for v, x in zip(e.inputs, self.body.inputs, strict=True) if self.role(v, x) == "constant"]
        rows = [(v, self.row_axis(k)) for k, (v, x) in enumerate(zip(e.inputs, self.body.inputs, strict=True)) if self.role(v, x) == "rows"]
        totals = [k for k, kind in enumerate(self.kinds) if kind == "total"]
        made = [(k, self.along(self.body.outputs[k])[0] + (k >= carried)) for k, kind in enumerate(self.kinds) if kind == "rows"]
        bodies = [self.program(size, totals, [k for k, _ in made]) for size in (self.strip, self.size % self.strip) if size]
        axes = tuple(k for _, k in rows), tuple(k for _, k in made)
        op = Strips(bodies[0], bodies[1] if len(bodies) > 1 else None, self.size, self.strip, len(constants), len(totals), *axes)
        sums = [Var(e.outputs[k].type) if k < carried else e.outputs[k] for k in totals]
        strips = Equation(op, [*constants, *[v for v, _ in rows]], [*sums, *[e.outputs[k] for k, _ in made]], e.origin)
        starts = [e.inputs[self.region.carry[k]] for k in totals if k < carried]
        shared = [self.shared_loop()] if self.shared else []
        return [*shared, strips, *[Equation(add, [v, x], [e.outputs[k]], e.origin) for v, x, k in zip(starts, sums, totals, strict=False)]]

    def shared_loop(self) -> Equation:
        """The loop for the results that do not depend on rows alone; it passes on the other carries."""
        e, pairs, outputs = self.whole, carries(self.region), self.body.outputs
        wanted = {outputs[k] for k in self.shared}
        equations: list[Equation] = []
        while True:
            equations = [*needed_for(self.body, wanted)]
            read = wanted.union(v for f in equations for v in f.inputs)
            more = {new for old, new in pairs if old in read} - wanted
            if not more:
                break
            wanted |= more
        ys = [k for k in self.shared if k >= len(pairs)]
        step = Program(
            self.body.inputs,
            equations,
            [*[new if new in wanted else old for old, new in pairs], *[outputs[k] for k in ys]],
            (),
            self.body.name,
        )
        results = [v if k in self.shared else Var(v.type) for k, v in enumerate(e.outputs) if k < len(pairs) or k in ys]
        return Equation(e.op.with_regions([step]), e.inputs, results, e.origin)

    def role(self, operand: Var | Literal, inner: Var) -> str:
        """What an operand of the loop is for its strips: a constant, rows, or neither (a sum, which begins with zero, or a literal)."""
        if inner in self.sums or isinstance(operand, Literal):
            return ""
        return "rows" if self.along(inner) else "constant"

    def row_axis(self, k: int) -> int:
        """The axis of operand ``k`` that has the rows."""
        return self.along(self.body.inputs[k])[0] + is_scanned(self.region, k)

    def program(self, size: int, totals: Sequence[int], rows: Sequence[int]) -> Program:
        """The loop on so many rows, as a function of the constants, the totals so far and the rows."""
        e, carried = self.whole, len(self.region.carry)
        equations: list[Equation] = []
        given: list[Var | Literal] = []
        inputs: dict[str, list[Var]] = {"constant": [], "rows": []}
        for k, (v, x) in enumerate(zip(e.inputs, self.body.inputs, strict=True)):
            role = self.role(v, x)
            if role:
                new = Var(self.with_rows(v.type, self.row_axis(k), size) if role == "rows" else v.type)
                inputs[role].append(new)
                given.append(new)
            elif isinstance(v, Literal) and x not in self.sums:
                given.append(v)
            else:
                start = Var(v.type)
                given.append(start)
                equations.append(Equation(BroadcastInDim(v.type.shape, ()), [Literal(v.type.dtype.type(0))], [start], None))
        results = [Var(v.type) for v in e.outputs]
        for k in rows:
            results[k] = Var(self.with_rows(e.outputs[k].type, self.along(self.body.outputs[k])[0] + (k >= carried), size))
        equations.append(Equation(e.op.with_regions([self.step(self.body, size)]), given, results, e.origin))
        before, after = [Var(results[k].type) for k in totals], [Var(results[k].type) for k in totals]
        equations += [Equation(add, [a, results[k]], [b], None) for a, k, b in zip(before, totals, after, strict=True)]
        arguments = [*inputs["constant"], *before, *inputs["rows"]]
        return Program(arguments, equations, [*after, *[results[k] for k in rows]], (), "strip")

    def with_rows(self, type: ArrayType, axis: int, size: int) -> ArrayType:
        return type.with_shape((*type.shape[:axis], size, *type.shape[axis + 1 :]))

    def step(self, body: Program, size: int) -> Program:
        """The body of a loop on so many rows."""
        new: dict[Var, Var] = {v: Var(self.cut(v, size)) for v in body.inputs}
        equations: list[Equation] = []
        for e in body.equations:
            new.update({v: Var(self.cut(v, size)) for v in e.outputs})
            if is_counted(e):
                op = e.op.with_regions([self.step(e.op.regions()[0].program, size)])
            else:
                op = self.op_on(e, size) if any(self.along(v) for v in (*e.inputs, *e.outputs)) else e.op
            assert op is not None
            equations.append(Equation(op, [new[v] if isinstance(v, Var) else v for v in e.inputs], [new[v] for v in e.outputs], e.origin))
        outputs = [new[v] if isinstance(v, Var) else v for v in body.outputs]
        return Program([new[v] for v in body.inputs], equations, outputs, (), body.name)


def needed_for(program: Program, wanted: set[Var | Literal]) -> list[Equation]:
    """The equations of a Program that some of its values need."""
    needed, found = {*wanted}, list[Equation]()
    for e in reversed(program.equations):
        if any(v in needed for v in e.outputs):
            needed.update(e.inputs)
            found.append(e)
    return found[::-1]


def alike(a: UpdateSummary | None, b: UpdateSummary | None) -> bool:
    """Whether two updates have the same accesses, whatever the lengths of their axes."""
    if a is None or b is None:
        return False
    return list(map(key, a.destination)) == list(map(key, b.destination)) and [(k, tuple(map(key, i))) for k, i in a.reads] == [
        (k, tuple(map(key, i))) for k, i in b.reads
    ]


def is_zero(x: Var | Literal) -> bool:
    return isinstance(x, Literal) and not np.any(x.value)
