"""The plan of a Program: which equations share which loops, and what has to be stored.

A plan is a tree of loops. An equation that has a defining equation becomes a `Statement`, with one axis for each axis of its result and one
for each axis that it folds over. Statements are put into the tree one after the other, each as far inside of an existing loop as its reads
allow: a loop may be entered beside the statement that makes a value only where each turn reads what the same turn has made. So elementwise
chains share their innermost loop, and what needs the sum of a row comes later in the turn of that row, while it is in the cache.

What only moves elements (a transpose, a slice, a broadcast) is no statement: whoever reads it reads through it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from math import prod
from operator import mul
from typing import Any

from cotan.core.program import Equation, Literal, Program, Var
from cotan.engines.native.affine import Index
from cotan.engines.native.analysis.access import AccessProbe, AccessSummary, Reader, access_summary, axis, extent
from cotan.engines.native.options import CodegenOptions, current_options

from .loop_nest import SCALAR, Layout, Loop, Opaque, Statement, layout_of

__all__ = ["Schedule"]


class Schedule:
    """The tree of a Program, what reads what, and how each value is kept."""

    def __init__(self, program: Program, options: CodegenOptions | None = None):
        self.program = program
        self.options = options = options or current_options()
        self.forms: dict[Var, AccessSummary | None] = {}
        for e in program.equations:
            if not e.op.multiple:
                self.forms[e.outputs[0]] = access_summary(e.op, tuple([v.type for v in e.inputs]))
        self.layouts: dict[int, Layout] = {}
        """Those of the forms whose operands are not moved, by the number of the form."""
        self.unrolled = longest_unrolled(program, self.forms, options)
        """Up to so many turns, a nest is written out turn by turn and its values stay in registers."""
        self.most = options.one_loop_equations if len(program.equations) <= options.one_loop_equations else options.loop_statements
        self.root = Loop(1, -1, False, None, 0)
        self.moved: dict[Var, Equation] = {}
        self.statement: dict[Var, Statement] = {}
        self.opaque: dict[Var, Opaque] = {}
        self.uses = count_uses(program)
        self.readers: dict[Var, list[tuple[Statement, tuple[Any, ...]]]] = {}
        self.whole: dict[Var, list[int]] = {}
        """Values that are needed as whole arrays, and the positions of the nodes that need them."""
        self.kept: dict[Var, int | None] = {}
        """What is known of `shared_axes`, once the plan is made."""
        self.anew = written_anew(program, options)
        """Results of updates that are written row by row, with what is not changed."""
        forms = [self.form_in_loops(equation) for equation in program.equations]
        whole = [e for e, form in zip(program.equations, forms, strict=True) if form is None and e.op.destination is None]
        opaque = [v for equation in whole for v in equation.inputs]
        self.stored = {v for v in (*opaque, *program.outputs) if isinstance(v, Var)}
        """What has to be in memory: where conditions decide which element moves there, that is a loop, which may be cut."""
        for equation, form in zip(program.equations, forms, strict=True):
            self.add(equation, form)
        for v in program.outputs:
            if isinstance(v, Var):
                for root in self.roots_of(v):
                    self.whole.setdefault(root, []).append(len(self.root.body))

    # ---- equations -------------------------------------------------------------------------------------------------------
    def form_in_loops(self, equation: Equation) -> AccessSummary | None:
        """The form of an equation that becomes loops; None for one that is run as a whole."""
        form = self.forms.get(equation.outputs[0]) if equation.outputs else None
        in_place = equation.op.update is not None and equation.outputs[0] not in self.anew
        if form is not None and in_place and equation.outputs[0].type.size > self.options.small_array:
            return None  # changes a part of an array, which is less than to write it anew
        if form is not None and equation.op.prefers_routine is not None and equation.op.prefers_routine(*[v.type for v in equation.inputs]):
            return None
        return form

    def add(self, equation: Equation, form: AccessSummary | None) -> None:
        if form is None:
            node = Opaque(equation, len(self.root.body))
            self.root.body.append(node)
            for v in equation.outputs:
                self.opaque[v] = node
            for v in equation.inputs:
                if isinstance(v, Var):
                    for root in self.roots_of(v):
                        self.whole.setdefault(root, []).append(node.position)
        elif form.only_moves and (not form.conditional or self.read_once(equation.outputs[0])):
            self.moved[equation.outputs[0]] = equation
        else:
            self.place(self.statement_of(equation, form))

    def read_once(self, v: Var) -> bool:
        """Whether a value is read by one equation in loops, and nowhere else."""
        return self.uses[v] == 1 and v not in self.stored

    def roots_of(self, v: Var) -> list[Var]:
        """The values through whose movement ``v`` comes about."""
        equation = self.moved.get(v)
        return [v] if equation is None else [r for x in equation.inputs if isinstance(x, Var) for r in self.roots_of(x)]

    def statement_of(self, equation: Equation, form: Any) -> Statement:
        inputs, shape = equation.inputs, equation.outputs[0].type.shape
        monoid = form.monoid if form.extents else ""
        if not any(x in self.moved for x in inputs if type(x) is Var):
            if not shape and not form.monoid and not any(x.type.shape for x in inputs):
                return Statement(equation, [(x, ()) for x in inputs if type(x) is Var], SCALAR)
            layout = self.layouts.get(id(form))
            if layout is None:
                types = [(inputs[k].type, index) for k, index in form.reads]
                layout = self.tried(equation, layout_of(shape, form, types, form.conditions, form.index_dependent))
                self.layouts[id(form)] = layout
            return Statement(equation, [(x, i) for k, i in form.reads if type(x := inputs[k]) is Var], layout, monoid, form.work)
        reads: list[tuple[Var, tuple[Any, ...]]] = []
        probe = AccessProbe()
        for k, index in form.reads:
            self.resolve(inputs[k], index, probe, reads)
        probe.conditions += form.conditions
        types = [(v.type, index) for v, index in reads]
        layout = self.tried(equation, layout_of(shape, form, types, probe.conditions, form.index_dependent or probe.index_dependent))
        return Statement(equation, reads, layout, monoid, form.work)

    def tried(self, equation: Equation, layout: Layout) -> Layout:
        """A layout, after a trial of whether all axes may be one: what is certain of an index, along an axis of one element say, need not
        be certain of one that counts all elements.
        """
        if not layout.flat or len(layout.order) < 2:
            return layout
        probe, reads = FlatAccessProbe(), []
        readers = [Reader(x.type, lambda at, x=x: self.resolve(x, at, probe, reads)) for x in equation.inputs]
        equation.op.element(probe, counted(equation.outputs[0].type.shape, False), *readers)  # type: ignore[attr-defined]
        whole = counted(layout.sizes, bool(probe.extents))
        fine = not probe.index_dependent and all(index in ((), whole) for _, index in reads)
        return layout if fine else layout._replace(flat=False)

    def resolve(self, v: Any, index: tuple[Any, ...], probe: AccessProbe, reads: list[tuple[Var, tuple[Any, ...]]]) -> None:
        """What is read where an element of ``v`` is: through movement, elements of other values."""
        if isinstance(v, Literal):
            return
        source = self.moved.get(v)
        if source is None:
            reads.append((v, index))
        else:
            readers = [Reader(x.type, lambda at, x=x: self.resolve(x, at, probe, reads)) for x in source.inputs]
            source.op.element(probe, index, *readers)  # type: ignore[attr-defined]

    # ---- loops -----------------------------------------------------------------------------------------------------------------
    def place(self, statement: Statement) -> None:
        """Put a statement into the tree."""
        self.statement[statement.var] = statement
        order, sizes = statement.order, statement.sizes
        inside: dict[Var, list[tuple[Any, ...]]] = {}
        after = 0
        for v, index in statement.reads:
            if v in self.statement:
                inside.setdefault(v, []).append(index)
            elif v in self.opaque:
                after = max(after, self.opaque[v].position + 1)
            self.readers.setdefault(v, []).append((statement, index))
        body = self.root
        tiny = False
        for level in range(len(order)):
            tiny = tiny or prod(sizes[level:]) <= self.unrolled
            low, held = self.where(inside, level, order[level], sizes[level], after if level == 0 else 0)
            rest = prod(sizes[level + 1 :])
            row, work = (rest if rest > self.unrolled else 0), statement.cost * rest
            loop = self.entered(body, sizes[level], tiny, low, held, row, work)
            if loop is None:
                loop = Loop(sizes[level], level, tiny, body, len(body.body))
                body.body.append(loop)
                body.loops.setdefault((sizes[level], tiny), []).append(loop.position)
            if level + 1 < len(order):
                inside = {v: i for v, i in inside.items() if len(p := self.statement[v].path) > level and p[level] is loop}
            for a, cut in statement.cuts:
                if order[level] == Index({a: 1}, 0):
                    loop.cuts.add(cut)
            loop.statements.append(statement)
            loop.joined(row, work)
            body = loop
            statement.path.append(body)
        statement.loop = body
        body.body.append(statement)
        statement.positions = [*[p.position for p in statement.path], len(body.body) - 1]

    def where(self, inside: dict[Var, list[tuple[Any, ...]]], level: int, symbol: Any, size: int, low: int) -> tuple[int, int | None]:
        """The first position at which a loop may be entered that reads these values, and that of the one that makes them, if it may be."""
        held = None
        for v, indices in inside.items():
            source = self.statement[v]
            at = source.positions[level]
            if len(source.path) > level and self.aligned(v, indices, level, symbol) and source.path[level].extent == size:
                if at >= low:
                    low, held = at, at
            else:
                low = max(low, at + 1)
        return low, held if held == low else None

    def aligned(self, v: Var, indices: list[tuple[Any, ...]], level: int, symbol: Any) -> bool:
        """Whether a statement with this axis reads of ``v``, in each turn of a loop, what that turn has made."""
        return self.statement[v].ready > level and all(len(i) > level and i[level] == symbol for i in indices)

    def entered(self, body: Loop, size: int, unrolled: bool, low: int, held: int | None, row: int, work: int) -> Loop | None:
        """A loop to enter that suits such code: the one that makes what is read, or another one after that."""
        loop = body.body[held] if held is not None else None
        if (
            loop is not None
            and (unrolled or not loop.unrolled)
            and len(loop.statements) < self.most
            and self.suits(loop, row, work, reads=True)
        ):
            return loop
        for position in body.loops.get((size, unrolled), [])[-4:]:
            if position >= low and position != held:
                loop = body.body[position]
                if len(loop.statements) < self.most and self.suits(loop, row, work, reads=False):
                    return loop
        return None

    def suits(self, loop: Loop, row: int, work: int, reads: bool) -> bool:
        """Whether code may join a loop: straight-line code, or code with a loop of ``row`` iterations inside. One iteration costs ``work``;
        ``reads`` says whether it reads a value of the same iteration. LLVM vectorizes innermost loops only.
        """
        options = self.options
        if loop.unrolled or loop.extent < options.vectorized_iterations:
            return True
        if row:
            return bool(loop.row) or loop.straight < options.costly_iteration
        return not loop.row or work < options.costly_iteration or (reads and loop.row > options.short_inner_loop)

    # ---- parts --------------------------------------------------------------------------------------------------------------
    def parts(self) -> list[tuple[int, int, bool]]:
        """The nodes of the root in ranges, and whether each is a function of its own: long straight code is cut, since the time that LLVM
        takes for a function is more than linear in its length.
        """
        lengths = [self.length(node) for node in self.root.body]
        if sum(n or 0 for n in lengths) <= self.options.straight_line:
            return [(0, len(lengths), False)]
        found: list[tuple[int, int, bool]] = []
        first, size = 0, 0
        for k, n in enumerate([*lengths, None]):
            if n is None or size + n > self.options.function_part:
                if k > first:
                    found.append((first, k, True))
                first, size = k, 0
            if n is None:
                if k < len(lengths):
                    found.append((k, k + 1, False))
                first = k + 1
            else:
                size += n
        return found

    def length(self, node: Loop | Statement | Opaque) -> int | None:
        """About how many operations are written for a node of the root; None for one that must stand in the function of the Program."""
        if type(node) is Opaque:
            # Without a destination it is a routine or a call back into Python, which may have to return from the Program.
            return 8 if node.equation.op.destination is not None else None
        if type(node) is Statement:
            return 1
        assert type(node) is Loop
        return sum(prod(map(extent, s.order)) for s in node.statements) if node.unrolled else 8

    def handed_on(self, first: int, end: int) -> list[Var]:
        """Small values that are made by the nodes of a range and read after it."""
        found: list[Var] = []
        for node in self.root.body[first:end]:
            if type(node) is Opaque:
                made = node.equation.outputs
            else:
                made = [s.var for s in (node.statements if type(node) is Loop else [node])]
            found += [v for v in made if v.type.size <= self.options.small_array and self.last_use(v) >= end]
        return found

    # ---- storage ------------------------------------------------------------------------------------------------------------
    def last_use(self, v: Var) -> int:
        """The position of the last node that reads a value."""
        return max([*self.whole.get(v, []), *[s.position for s, _ in self.readers.get(v, [])]], default=-1)

    def may_replace(self, old: Var, new: Var) -> bool:
        """Whether ``new`` may be written over the input ``old``: what reads ``old`` is done, or reads the element that is written next."""
        if old.type is not new.type or old.type.size <= self.options.small_array:
            return False
        node = self.opaque.get(new)
        if node is not None:
            return self.changes(node.equation, old) and self.last_use(old) <= node.position
        s = self.statement.get(new)
        if s is None or s.monoid or max(self.whole.get(old, []), default=-1) >= s.position:
            return False
        readers = self.readers.get(old, [])
        form = self.forms[new]
        known = any(r is s for r, _ in readers) and not s.cuts and form is not None and not form.conditional
        return all(read_before(r, i, s, known) for r, i in readers)

    def updated(self, new: Var) -> Var | None:
        """What an update makes ``new`` of, if it is made by an update of a value that only lives until then."""
        node = self.opaque.get(new)
        source = node.equation.inputs[0] if node is not None and node.equation.inputs else None
        if node is None or not isinstance(source, Var) or not (source in self.opaque or source in self.statement):
            return None
        return source if self.changes(node.equation, source) and self.last_use(source) <= node.position else None

    def changes(self, equation: Equation, v: Var) -> bool:
        """Whether an equation returns a changed copy of ``v``, and reads nothing else of it."""
        first, *rest = equation.inputs or [None]
        others = [root for x in rest if isinstance(x, Var) for root in self.roots_of(x)]
        return equation.op.update is not None and first is v and v not in others

    def shared_axes(self, v: Var) -> int | None:
        """How many leading axes of ``v`` are those of loops that all its readers share with it; None if it is needed whole."""
        found = self.kept.get(v, -1)
        if found == -1:
            found = self.kept[v] = self.find_shared_axes(v)
        return found

    def find_shared_axes(self, v: Var) -> int | None:
        """The same, found out."""
        if v in self.whole:
            return None
        statement = self.statement[v]
        path, ndim = statement.path, len(v.type.shape)
        shared = ndim
        for reader, index in self.readers.get(v, []):
            other = reader.path
            k = 0
            while k < min(len(path), len(other), statement.ready) and path[k] is other[k] and index[k] == reader.order[k]:
                k += 1
            shared = min(shared, k)
        return shared


def written_anew(program: Program, options: CodegenOptions) -> set[Var]:
    """The results of updates that change a part of each row of an array. If rows are short, to write them anew costs memory no more; if
    much of them is changed, it costs little more, and neither does a further change of what is written so.
    """
    found: set[Var] = set()
    mostly: set[Any] = set()
    for equation in program.equations:
        if equation.op.update is None:
            continue
        whole, part = equation.outputs[0].type, equation.inputs[1].type
        up_to = options.longest_row_bytes if 2 * part.nbytes >= whole.nbytes or equation.inputs[0] in mostly else options.short_row_bytes
        if whole.shape and whole.shape[:1] == part.shape[:1] and whole.nbytes <= up_to * whole.shape[0]:
            found.update(equation.outputs)
            if 2 * part.nbytes >= whole.nbytes:
                mostly.update(equation.outputs)
    return found


class FlatAccessProbe(AccessProbe):
    """A probe that folds as if all axes were the last."""

    def reduce(self, monoid: str, extents: Sequence[int], at: Any, dtype: Any) -> Any:
        self.extents = tuple(extents)
        at(counted(extents, True))


def counted(shape: Sequence[int], folded: bool) -> tuple[Any, ...]:
    """The index of an element by its number: all axes are the last."""
    return (*[0] * (len(shape) - 1), axis(len(shape) - 1, prod(shape), folded)) if shape else ()


def read_before(r: Statement, i: tuple[Any, ...], s: Statement, known: bool) -> bool:
    """Whether ``r`` reads the element ``i`` of an array before ``s`` writes its own element there. ``known``: what ``s`` reads of the array
    is remembered, which it is not under conditions.
    """
    if r is s:
        return i == tuple(s.order)
    shared = 0
    while shared < min(len(r.path), len(s.path)) and r.path[shared] is s.path[shared]:
        shared += 1
    if i[:shared] != tuple(r.order[:shared]):
        return False  # another turn of these loops reads what this one writes
    return r.positions[shared] < s.positions[shared] or (known and r.loop is s.loop)


def count_uses(program: Program) -> dict[Var, int]:
    """How often each value is read."""
    uses: dict[Var, int] = {v: 0 for e in program.equations for v in e.outputs}
    for v in [*[v for e in program.equations for v in e.inputs], *program.outputs]:
        if isinstance(v, Var):
            uses[v] = uses.get(v, 0) + 1
    return uses


def longest_unrolled(program: Program, forms: dict[Var, AccessSummary | None], options: CodegenOptions) -> int:
    """The longest nests that are written out: as long as there is not too much of them."""
    sizes: Counter[tuple[int, ...]] = Counter(
        (*v.type.shape, *form.extents) for v, form in forms.items() if form is not None and not form.only_moves
    )
    written = [([*accumulate(reversed(shape), mul, initial=1)], count) for shape, count in sizes.items() if 0 not in shape]
    limit = options.unrolled_iterations
    while limit > 1 and sum(count * max(n for n in suffixes if n <= limit) for suffixes, count in written) > options.unrolled_elements:
        limit //= 2
    return limit
