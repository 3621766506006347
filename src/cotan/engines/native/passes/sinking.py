"""Code sinking: a large array that is computed from values which live on anyway is computed when it is first read.

A backward pass reads ``1 - y * y`` long after the forward pass has made it, and it reads ``y`` as well. To compute the first late keeps one
array instead of two, and nothing is computed twice. An equation moves in front of its first reader if that saves more memory than it
costs, in bytes times the number of equations for which they live: its result lives shorter, and its operands may live longer. The
equations before it that nothing else reads move with it. What a checkpoint recomputes is a Program of its own, so such equations first move
out of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import inf

from cotan.core.program import Equation, Program, Var
from cotan.core.types import ArrayType
from cotan.engines.native.analysis.access import access_summary
from cotan.engines.native.options import CodegenOptions, current_options

from .simplify import simplify
from .update_order import updated_operands

__all__ = ["computed_late", "sink"]

Place = tuple[int, int, int]
"""Where an equation stands: the number of an equation; 0 for what is moved in front of it, 1 for itself; the number of what is there."""


def sink(program: Program, options: CodegenOptions, held: Iterable[Var] = ()) -> tuple[Program, dict[Var, Equation]]:
    """The Program with large elementwise equations in front of their first readers, and these readers by the results that moved.

    The inputs ``held`` live to the end of the Program in any case.
    """
    if not any(is_large(v, options) for e in program.equations for v in e.outputs):
        return program, {}
    program = moved_out(program, options)
    search = Search(program, options, held)
    found = {e.outputs[0]: program.equations[search.place[k][0]] for k, e in enumerate(program.equations) if search.place[k][1] == 0}
    if not found:
        return program, {}
    order = sorted(range(len(program.equations)), key=search.place.__getitem__)
    return replace(program, equations=[program.equations[k] for k in order]), found


def computed_late(program: Program) -> list[bool]:
    """For each output of a Program, whether code that reads it later would compute it then, from other outputs and from the inputs."""
    simple, _ = simplify(program)
    late = {e.outputs[0] for e in after_end(simple, current_options())}
    return [v in late for v in simple.outputs]


def after_end(program: Program, options: CodegenOptions) -> list[Equation]:
    """The equations of a Program that its reader would run: large results of them, and what only these need."""
    results = [v for v in program.outputs if isinstance(v, Var)]
    if len(set(results)) < len(results) or not any(is_large(v, options) for v in results):
        return []
    search = Search(program, options, program.inputs, late=True)
    return [e for e, (at, moved, _) in zip(program.equations, search.place, strict=True) if at == len(program.equations) and not moved]


def moved_out(program: Program, options: CodegenOptions) -> Program:
    """The Program with equations of recomputations that run late behind these, as equations of its own."""
    equations: list[Equation] = []
    for e in program.equations:
        late = after_end(e.op.regions()[0].program, options) if e.op.name == "again" else []
        equations += divided(e, late) if late else [e]
    return replace(program, equations=equations) if len(equations) > len(program.equations) else program


def divided(call: Equation, late: list[Equation]) -> list[Equation]:
    """The call of a Program without its equations ``late``, and these after it."""
    body = call.op.regions()[0].program
    given = dict(zip(body.inputs, call.inputs, strict=True))
    made = {v: x for v, x in zip(body.outputs, call.outputs, strict=True) if isinstance(v, Var)}
    moving = {v for e in late for v in e.outputs}
    results = [(v, x) for v, x in zip(body.outputs, call.outputs, strict=True) if v not in moving]
    for v in dict.fromkeys(v for e in late for v in (*e.inputs, *e.outputs) if isinstance(v, Var)):
        if v not in made and v not in given:
            made[v] = Var(v.type)
            results += [(v, made[v])] if v not in moving else []
    kept = [e for e in body.equations if e.outputs[0] not in moving]
    op = call.op.with_regions([replace(body, equations=kept, outputs=[v for v, _ in results])])
    outer = {**given, **made}

    def outside(e: Equation) -> Equation:
        return Equation(e.op, [outer[v] if isinstance(v, Var) else v for v in e.inputs], [made[v] for v in e.outputs], e.origin)

    return [Equation(op, call.inputs, [x for _, x in results], call.origin), *map(outside, late)]


def is_large(v: Var, options: CodegenOptions) -> bool:
    return isinstance(v.type, ArrayType) and v.type.nbytes >= options.sunk_bytes


class Search:
    """The place of each equation, found from the last one to the first: the readers of an equation have their places before it has."""

    def __init__(self, program: Program, options: CodegenOptions, held: Iterable[Var], *, late: bool = False):
        equations = program.equations
        end: Place = (len(equations), 1, 0)
        self.late = late
        self.maker = {v: e for e in equations for v in e.outputs}
        self.updated = {v for e in equations for v in updated_operands(e, options)}
        """What an equation may overwrite: a read that moves behind that would cost a copy."""
        self.place: list[Place] = [(k, 1, k) for k in range(len(equations))]
        self.first: dict[Var, Place] = {}
        self.last: dict[Var, Place] = dict.fromkeys(held, (len(equations), 2, 0))
        """The places of the first and the last reader of each value, as far as they are known; reads through views count."""
        self.views: dict[Var, list[tuple[int, Var]]] = {}
        """The views of each value, with their numbers."""
        self.uses: dict[Var, int] = {}
        for e in equations:
            for v in operands(e):
                self.uses[v] = self.uses.get(v, 0) + 1
        for v in program.outputs:
            if isinstance(v, Var):
                self.first.setdefault(v, end)
                self.last[v] = max(self.last.get(v, end), end)
                self.uses[v] = self.uses.get(v, 0) + 2
        fixed = set() if late else {v for v in program.outputs if isinstance(v, Var)}
        for k in reversed(range(len(equations))):
            e = equations[k]
            v = e.outputs[0] if len(e.outputs) == 1 else None
            if v is not None and v in self.first and v not in fixed and v not in self.updated and is_large(v, options) and may_move(e):
                reader = self.first[v]
                longer = sum(self.extension(x, k, reader) for x in operands(e))
                if (late or k + 1 < reader[0] < len(equations)) and longer < v.type.nbytes * self.distance(k, reader):
                    self.place[k] = (reader[0], 0, k)
                    self.move_views(v, reader)
            self.read(k, e)

    def move_views(self, v: Var, reader: Place) -> None:
        """Put the views of a value that is computed late, for this reader, behind it."""
        for k, view in self.views.get(v, ()):
            self.place[k] = (reader[0], 0, k)
            self.move_views(view, reader)

    def read(self, k: int, e: Equation) -> None:
        """An equation reads its operands at its place; a view, where its result is read."""
        first = last = self.place[k]
        if is_view(e):
            (v,) = e.outputs
            first, last = self.first.get(v, first), self.last.get(v, last)
            for x in operands(e):
                self.views.setdefault(x, []).append((k, v))
        for x in operands(e):
            self.first[x] = min(self.first.get(x, first), first)
            self.last[x] = max(self.last.get(x, last), last)

    def distance(self, k: int, reader: Place) -> int:
        """The equations from number ``k`` to a reader. A reader that comes late is far from all of them."""
        return 1 if self.late else reader[0] - k

    def extension(self, x: Var, k: int, reader: Place, depth: int = 8) -> float:
        """By how much ``x`` lives longer if this reader reads it, and not equation ``k``: bytes times equations."""
        last = self.last.get(x, (k, 1, k))
        if last >= reader:
            return 0
        if x in self.updated:
            return inf
        source = self.maker.get(x)
        whole = x.type.nbytes * self.distance(max(last[0], k), reader) if isinstance(x.type, ArrayType) else inf
        if source is None or not depth or not (is_view(source) or (self.uses[x] == 1 and may_move(source))):
            return whole
        parts = sum(self.extension(z, k, reader, depth - 1) for z in operands(source))
        return parts if is_view(source) else min(whole, parts)


def operands(e: Equation) -> list[Var]:
    return list(dict.fromkeys(v for v in e.inputs if isinstance(v, Var)))


def may_move(e: Equation) -> bool:
    """Whether an equation is a loop over the elements of its result, and each of them is computed from single elements of the operands."""
    if e.op.multiple or e.op.update is not None or not e.inputs:
        return False
    access = access_summary(e.op, tuple([v.type for v in e.inputs]))
    return access is not None and not access.monoid and not (access.only_moves and not access.conditional)


def is_view(e: Equation) -> bool:
    """Whether an equation only moves elements: what reads its result reads the operand."""
    if e.op.multiple or e.op.update is not None:
        return False
    access = access_summary(e.op, tuple([v.type for v in e.inputs]))
    return access is not None and access.only_moves and not access.conditional
