"""Fusion: the schedule of a Program says which equations share which loops, and which values have to be stored.

A schedule is a tree of loops. An equation that has a defining equation becomes a `Statement`, with one axis for each axis of its result and
one for each axis that it reduces over. Statements are inserted into the tree one after the other, each as far inside an existing loop as
its reads allow: it may join the loop of a statement that makes a value if each iteration reads only elements that the same iteration has
made. So elementwise chains share their innermost loop, and a statement that needs the sum of a row follows in the same iteration of that
row, while the row is in the cache.

Pure data movement (a transpose, a slice, a broadcast) is no statement but a view: its readers read through it. So is a cheap elementwise
value of which data movements alone read parts, each element once: the loop of the parts computes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from math import prod
from operator import mul

from cotan.core.emitting import DType, Scalar
from cotan.core.program import Equation, Literal, Program, Var
from cotan.engines.native.affine import ElementIndex, Index
from cotan.engines.native.analysis.access import AccessProbe, AccessSummary, Reader, access_summary, axis, extent
from cotan.engines.native.options import CodegenOptions, current_options
from cotan.engines.native.passes.half_precision import widen_half
from cotan.engines.native.passes.sinking import sink
from cotan.engines.native.passes.update_order import reads_before_updates, updated_by_index, updated_operands

from .loop_nest import SCALAR, Layout, Loop, Opaque, Statement, layout_of

__all__ = ["Schedule", "schedule_of"]


class Schedule:
    """The loop nests of a Program, the readers of each value, and how each value is stored."""

    def __init__(
        self,
        program: Program,
        options: CodegenOptions | None = None,
        schedules: dict[Program, Schedule] | None = None,
        late: Mapping[Var, Equation] | None = None,
    ):
        self.program = program
        self.late = late or {}
        """The values that are computed late, each with its first reader (`passes.sinking`)."""
        self.options = options = options or current_options()
        self.schedules = schedules if schedules is not None else {}
        self.accesses: dict[Var, AccessSummary | None] = {}
        for e in program.equations:
            if not e.op.multiple:
                self.accesses[e.outputs[0]] = access_summary(e.op, tuple([v.type for v in e.inputs]))
        self.layouts: dict[int, Layout] = {}
        """The layouts of access summaries without views among the operands, by the identity of the summary."""
        self.unrolled = longest_unrolled(program, self.accesses, options)
        """A nest of up to so many iterations is unrolled, and its values stay in registers."""
        self.most = options.one_loop_equations if len(program.equations) <= options.one_loop_equations else options.loop_statements
        self.root = Loop(1, -1, False, None, 0)
        self.views: dict[Var, Equation] = {}
        self.depth: dict[Var, int] = {}
        """How many views, one of the other, lie between a view and memory."""
        self.elements_read: dict[Var, int] = {}
        """How many elements in memory the code reads, each under its conditions, for one element of a view."""
        self.statement: dict[Var, Statement] = {}
        self.opaque: dict[Var, Opaque] = {}
        self.recomputed = 0
        """The first position after what a checkpoint has recomputed last: large values that follow are not wanted before."""
        self.uses = count_uses(program)
        self.readers: dict[Var, list[tuple[Statement, ElementIndex]]] = {}
        self.whole_uses: dict[Var, list[int]] = {}
        """The positions of the nodes that need a value as a whole array."""
        self.known_shared_axes: dict[Var, int | None] = {}
        """The known results of `shared_axes`, once the schedule is made."""
        self.rewritten = rewritten_updates(program, options)
        """Results of updates that are written anew, row by row."""
        self.branch_operands: dict[int, list[int | None]] = {}
        """The operands over which the results of branches may be written, by the id of the equation (`in_place.branch_operands`)."""
        self.last_reader = last_readers(program)
        self.overwritten = overwritten_values(program, self.last_reader, options)
        accesses = [self.access_in_loops(equation) for equation in program.equations]
        whole = [e for e, access in zip(program.equations, accesses, strict=True) if access is None and e.op.destination is None]
        opaque = [v for equation in whole for v in equation.inputs]
        self.counters = counters(program)
        self.stored = {v for v in (*opaque, *program.outputs) if isinstance(v, Var)}
        """The variables that must be in memory. Conditional data movement into them is a loop, which may be split."""
        self.read_anywhere = {
            v
            for equation, access in zip(program.equations, accesses, strict=True)
            for k, index in (access.reads if access is not None else ())
            if type(v := equation.inputs[k]) is Var and any(depends_on_values(i) for i in index)
        }
        """The variables that are read at an index that depends on values."""
        self.inlined = set() if self.overwritten else inlined_values(program, self.accesses, self.uses, self.stored, options)
        for equation, access in zip(program.equations, accesses, strict=True):
            self.add(equation, access)
        for v in program.outputs:
            if isinstance(v, Var):
                for root in self.roots_of(v):
                    self.whole_uses.setdefault(root, []).append(len(self.root.body))

    def of(self, program: Program) -> Schedule:
        """The schedule of a Program that an op holds, made once."""
        return schedule_of(program, self.options, self.schedules)

    # ---- equations -------------------------------------------------------------------------------------------------------
    def access_in_loops(self, equation: Equation) -> AccessSummary | None:
        """The access summary of an equation that becomes loops; None for one that is run as a whole."""
        access = self.accesses.get(equation.outputs[0]) if equation.outputs else None
        in_place = equation.op.update is not None and equation.outputs[0] not in self.rewritten
        large = in_place and equation.outputs[0].type.size > self.options.small_array
        if access is not None and (large or (in_place and updated_by_index(equation, self.options))):
            return None  # to update a part of an array costs less than to write it anew
        if (
            access is not None
            and equation.op.prefers_routine is not None
            and equation.op.prefers_routine(*[v.type for v in equation.inputs])
        ):
            return None
        return access

    def add(self, equation: Equation, access: AccessSummary | None) -> None:
        if access is None:
            node = Opaque(equation, len(self.root.body))
            self.root.body.append(node)
            if equation.op.name == "again":
                self.recomputed = len(self.root.body)
            for v in equation.outputs:
                self.opaque[v] = node
            for v in equation.inputs:
                if isinstance(v, Var):
                    for root in self.roots_of(v):
                        self.whole_uses.setdefault(root, []).append(node.position)
        elif self.becomes_view(equation, access):
            v = equation.outputs[0]
            self.views[v] = equation
            self.depth[v] = self.views_below(equation) + 1
            self.elements_read[v] = self.elements_below(equation, access)
        else:
            self.insert(self.statement_of(equation, access))

    def becomes_view(self, equation: Equation, access: AccessSummary) -> bool:
        """Whether the result of an equation is not stored: what reads it reads the operands, at other indices."""
        v = equation.outputs[0]
        if v in self.counters:
            return True
        if v not in self.inlined and (not access.only_moves or (access.conditional and not self.read_once(v))):
            return False
        if self.views_below(equation) >= self.options.view_depth:
            return False
        if self.elements_below(equation, access) > max(len(access.reads), self.options.view_reads):
            return False
        if v in self.inlined:
            return True
        roots = (root for x in equation.inputs if type(x) is Var for root in self.roots_of(x)) if self.overwritten else ()
        return not any(self.outlives(v, root) for root in roots)

    def outlives(self, view: Var, root: Var) -> bool:
        """Whether a small view is read after the value that it views is updated: stored before, it lets the update be in place."""
        at = self.overwritten.get(root)
        return at is not None and self.last_reader.get(view, -1) >= at and 2 * view.type.nbytes <= root.type.nbytes

    def views_below(self, equation: Equation) -> int:
        """How many views, one of the other, the operands of an equation are."""
        return max((self.depth.get(v, 0) for v in equation.inputs if type(v) is Var), default=0)

    def elements_below(self, equation: Equation, access: AccessSummary) -> int:
        """How many elements in memory the code of an equation reads for one element: views of views that read in two places double."""
        inputs = equation.inputs
        return sum(self.elements_read.get(v, 1) for k, _ in access.reads if type(v := inputs[k]) is Var)

    def read_once(self, v: Var) -> bool:
        """Whether a value is read by one equation in loops, and nowhere else, at indices that are known before: loops are split where
        these meet a condition.
        """
        return self.uses[v] == 1 and v not in self.stored and v not in self.read_anywhere

    def roots_of(self, v: Var) -> list[Var]:
        """The values that ``v`` is a view of; itself if it is none."""
        equation = self.views.get(v)
        return [v] if equation is None else [r for x in equation.inputs if isinstance(x, Var) for r in self.roots_of(x)]

    def statement_of(self, equation: Equation, access: AccessSummary) -> Statement:
        inputs, shape = equation.inputs, equation.outputs[0].type.shape
        monoid = access.monoid if access.extents else ""
        if not any(x in self.views for x in inputs if type(x) is Var):
            if not shape and not access.monoid and not any(x.type.shape for x in inputs):
                return Statement(equation, [(x, ()) for x in inputs if type(x) is Var], SCALAR)
            layout = self.layouts.get(id(access))
            if layout is None:
                types = [(inputs[k].type, index) for k, index in access.reads]
                layout = self.checked(equation, layout_of(shape, access, types, access.conditions, access.index_dependent))
                self.layouts[id(access)] = layout
            return Statement(
                equation, [(x, i) for k, i in access.reads if type(x := inputs[k]) is Var], layout, monoid, access.element_cost
            )
        reads: list[tuple[Var, ElementIndex]] = []
        probe = AccessProbe()
        for k, index in access.reads:
            self.resolve(inputs[k], index, probe, reads)
        probe.conditions += access.conditions
        types = [(v.type, index) for v, index in reads]
        layout = self.checked(equation, layout_of(shape, access, types, probe.conditions, access.index_dependent or probe.index_dependent))
        return Statement(equation, reads, layout, monoid, access.element_cost)

    def checked(self, equation: Equation, layout: Layout) -> Layout:
        """A layout whose axes are collapsible only if a trial says so: a condition that is certain along each axis (of one element, say)
        may be uncertain for an index that counts all elements.
        """
        if not layout.collapsible or len(layout.order) < 2:
            return layout
        probe, reads = CollapsedProbe(), []
        readers = [Reader(x.type, lambda at, x=x: self.resolve(x, at, probe, reads)) for x in equation.inputs]
        equation.op.element(probe, collapsed_index(equation.outputs[0].type.shape, False), *readers)
        whole = collapsed_index(layout.sizes, bool(probe.extents))
        fine = not probe.index_dependent and all(index in ((), whole) for _, index in reads)
        return layout if fine else layout._replace(collapsible=False)

    def resolve(self, v: Var | Literal, index: ElementIndex, probe: AccessProbe, reads: list[tuple[Var, ElementIndex]]) -> None:
        """Append the elements that a read of an element of ``v`` reads, through views."""
        if isinstance(v, Literal):
            return
        source = self.views.get(v)
        if source is None:
            reads.append((v, index))
        else:
            readers = [Reader(x.type, lambda at, x=x: self.resolve(x, at, probe, reads)) for x in source.inputs]
            source.op.element(probe, index, *readers)

    # ---- loops -----------------------------------------------------------------------------------------------------------------
    def insert(self, statement: Statement) -> None:
        """Insert a statement into the tree."""
        reader = self.late.get(statement.var)
        after = self.operands_made(reader) if reader is not None else 0
        self.statement[statement.var] = statement
        order, sizes = statement.order, statement.sizes
        inside: dict[Var, list[ElementIndex]] = {}
        for v, index in statement.reads:
            if v in self.statement:
                inside.setdefault(v, []).append(index)
            elif v in self.opaque:
                after = max(after, self.opaque[v].position + 1)
            self.readers.setdefault(v, []).append((statement, index))
        if statement.var.type.nbytes >= self.options.sunk_bytes:
            after = max(after, self.recomputed)
        row = min(self.unrolled, self.options.unrolled_row_bytes // statement.var.type.dtype.itemsize)
        body = self.root
        tiny = False
        for level in range(len(order)):
            tiny = tiny or prod(sizes[level:]) <= (row if level else self.unrolled)
            low, made = self.entry_point(inside, level, order[level], sizes[level], after if level == 0 else 0)
            rest = prod(sizes[level + 1 :])
            inner_iterations, iteration_cost = (rest if rest > row else 0), statement.element_cost * rest
            alone = level == 0 and self.better_alone(statement, made)
            loop = None if alone else self.loop_to_enter(body, sizes[level], tiny, low, made, inner_iterations, iteration_cost)
            if loop is None:
                loop = Loop(sizes[level], level, tiny, body, len(body.body))
                body.body.append(loop)
                body.loops.setdefault((sizes[level], tiny), []).append(loop)
            if level + 1 < len(order):
                inside = {v: i for v, i in inside.items() if len(p := self.statement[v].path) > level and p[level] is loop}
            for a, cut in statement.splits:
                if order[level] == Index({a: 1}, 0):
                    loop.splits.add(cut)
            loop.statements.append(statement)
            loop.joined(inner_iterations, iteration_cost)
            body = loop
            statement.path.append(body)
        statement.loop = body
        body.body.append(statement)
        statement.positions = [*[p.position for p in statement.path], len(body.body) - 1]

    def better_alone(self, statement: Statement, made: Loop | None) -> bool:
        """Whether costly code is vectorized in one loop over all its elements, and not among the short rows of the loop ``made``."""
        sizes, shortest = statement.sizes, self.options.vectorized_iterations
        if made is None or len(sizes) < 2 or not statement.collapsible or not sizes[-1] < shortest <= prod(sizes):
            return False
        if statement.monoid or statement.element_cost < self.options.costly_element:
            return False
        return not all(s.collapsible for s in made.statements)

    def operands_made(self, reader: Equation) -> int:
        """The first position at which an equation has all operands that are made so far."""
        after = 0
        for v in reader.inputs:
            for root in self.roots_of(v) if isinstance(v, Var) else ():
                if root in self.opaque:
                    after = max(after, self.opaque[root].position + 1)
                elif root in self.statement:
                    after = max(after, self.statement[root].position)
        return after

    def entry_point(self, inside: dict[Var, list[ElementIndex]], level: int, symbol: Index, size: int, low: int) -> tuple[int, Loop | None]:
        """The first position at which a loop that reads these values may be entered, and the loop that makes them, if the statement may
        join it.
        """
        made: Loop | None = None
        for v, indices in inside.items():
            source = self.statement[v]
            at = source.positions[level]
            if len(source.path) > level and self.aligned(v, indices, level, symbol) and source.path[level].extent == size:
                if at >= low:
                    low, made = at, source.path[level]
            else:
                low = max(low, at + 1)
        return low, made if made is not None and made.position == low else None

    def aligned(self, v: Var, indices: list[ElementIndex], level: int, symbol: Index) -> bool:
        """Whether each iteration of a loop over this axis reads only elements of ``v`` that the same iteration has made."""
        return self.statement[v].ready > level and all(len(i) > level and i[level] == symbol for i in indices)

    def loop_to_enter(
        self, body: Loop, size: int, unrolled: bool, low: int, made: Loop | None, inner_iterations: int, iteration_cost: int
    ) -> Loop | None:
        """The loop that such code joins: the loop ``made`` that makes a value which it reads, or another one after that; None for a new
        loop.
        """
        if (
            made is not None
            and (unrolled or not made.unrolled)
            and len(made.statements) < self.most
            and self.suits(made, inner_iterations, iteration_cost, reads=True)
        ):
            return made
        for loop in body.loops.get((size, unrolled), [])[-4:]:
            joinable = loop.position >= low and loop is not made and len(loop.statements) < self.most
            if joinable and self.suits(loop, inner_iterations, iteration_cost, reads=False):
                return loop
        return None

    def suits(self, loop: Loop, inner_iterations: int, iteration_cost: int, reads: bool) -> bool:
        """Whether code may join a loop: straight-line code, or code with an inner loop of so many iterations; ``reads`` says whether it
        reads a value of the same iteration. LLVM vectorizes innermost loops only.
        """
        options = self.options
        if loop.unrolled or loop.extent < options.vectorized_iterations:
            return True
        if inner_iterations:
            return bool(loop.inner_iterations) or loop.straight_line_cost < options.costly_iteration
        cheap = iteration_cost < options.costly_iteration
        return not loop.inner_iterations or cheap or (reads and loop.inner_iterations > options.short_inner_loop)

    # ---- parts --------------------------------------------------------------------------------------------------------------
    def function_parts(self) -> list[tuple[int, int, bool]]:
        """The nodes of the root in ranges, and whether each range is a function of its own: long straight-line code is cut, since LLVM's
        time is superlinear in the length of a function.
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
        """About how many operations are written for a node of the root; None for a node that must be in the main function."""
        if type(node) is Opaque:
            # Without a destination it is a routine or a callback, which may have to return from the call.
            return 8 if node.equation.op.destination is not None else None
        if type(node) is Statement:
            return 1
        assert type(node) is Loop
        return sum(prod(map(extent, s.order)) for s in node.statements) if node.unrolled else 8

    def live_across(self, first: int, end: int) -> list[Var]:
        """The small values that nodes of a range make and later nodes read."""
        found: list[Var] = []
        for node in self.root.body[first:end]:
            if type(node) is Opaque:
                made = node.equation.outputs
            else:
                made = [s.var for s in (node.statements if type(node) is Loop else [node])]
            found += [v for v in made if v.type.size <= self.options.small_array and self.last_use(v) >= end]
        return found

    # ---- storage ------------------------------------------------------------------------------------------------------------
    def position(self, equation: Equation) -> int:
        """The position of the node that computes an equation; -1 for a view, which is computed where it is read."""
        for v in equation.outputs[:1]:
            if v in self.opaque or v in self.statement:
                return (self.opaque.get(v) or self.statement[v]).position
        return -1

    def last_use(self, v: Var) -> int:
        """The position of the last node that reads a value."""
        return max([*self.whole_uses.get(v, []), *[s.position for s, _ in self.readers.get(v, [])]], default=-1)

    def shared_axes(self, v: Var) -> int | None:
        """The number of leading axes of ``v`` whose loops all readers share with it, so that it is contracted along them; None if it is
        needed as a whole array.
        """
        found = self.known_shared_axes.get(v, -1)
        if found == -1:
            found = self.known_shared_axes[v] = self.find_shared_axes(v)
        return found

    def find_shared_axes(self, v: Var) -> int | None:
        """`shared_axes`, computed."""
        if v in self.whole_uses:
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


def schedule_of(program: Program, options: CodegenOptions, schedules: dict[Program, Schedule], held: Sequence[Var] = ()) -> Schedule:
    """The schedule of a Program, in wider precision than half, with reads before updates and large values late; from the known ones, or
    made. The inputs ``held`` live to its end in any case.
    """
    found = schedules.get(program)
    if found is None:
        ordered, late = sink(reads_before_updates(widen_half(program), options), options, held)
        found = schedules[program] = Schedule(ordered, options, schedules, late)
    return found


def last_readers(program: Program) -> dict[Var, int]:
    """The number of the last equation that reads each value; the number of equations for an output."""
    found = {v: k for k, e in enumerate(program.equations) for v in e.inputs if isinstance(v, Var)}
    found.update({v: len(program.equations) for v in program.outputs if isinstance(v, Var)})
    return found


def overwritten_values(program: Program, last_reader: dict[Var, int], options: CodegenOptions) -> dict[Var, int]:
    """The large values that an equation might update in place, since no later one reads them; and the number of that equation."""
    found: dict[Var, int] = {}
    for k, e in enumerate(program.equations):
        found.update({v: k for v in updated_operands(e, options) if last_reader[v] == k})
    return found


def rewritten_updates(program: Program, options: CodegenOptions) -> set[Var]:
    """The results of updates that change a part of each row and are better written anew. If rows are short, this costs no more memory
    traffic; if half of a row is changed, it costs little more, and so does a further update of such an array.
    """
    found: set[Var] = set()
    mostly: set[Var | Literal] = set()
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


class CollapsedProbe(AccessProbe):
    """A probe that reduces as if all axes were one."""

    def reduce(self, monoid: str, extents: Sequence[int], at: Callable[[ElementIndex], Scalar], dtype: DType) -> None:
        self.extents = tuple(extents)
        at(collapsed_index(extents, True))


def collapsed_index(shape: Sequence[int], reduced: bool) -> ElementIndex:
    """The index of an element by its number in row-major order, as if all axes were the last one."""
    return (*[0] * (len(shape) - 1), axis(len(shape) - 1, prod(shape), reduced)) if shape else ()


def counters(program: Program) -> set[Var]:
    """The results of ops without operands, such as the numbers from 0 on, that loops alone read, entry by entry."""
    found = {e.outputs[0] for e in program.equations if not e.inputs and len(e.outputs) == 1}
    if not found:
        return found
    for equation in program.equations:
        reads = Counter(x for x in equation.inputs if type(x) is Var)
        for region in equation.op.regions():
            if region.gives_carry:
                reads.subtract(x for x in region.cut(equation.inputs)[2] if type(x) is Var)
        found -= {x for x, count in reads.items() if count > 0}
    return found.difference(program.outputs)


def inlined_values(
    program: Program, accesses: dict[Var, AccessSummary | None], uses: dict[Var, int], stored: set[Var], options: CodegenOptions
) -> set[Var]:
    """Cheap elementwise values that are not stored: data movements alone read them, in the order of their axes, an element once at most."""
    reading: dict[Var, list[Equation]] = {}
    for equation in program.equations:
        for x in equation.inputs:
            if type(x) is Var:
                reading.setdefault(x, []).append(equation)
    found: set[Var] = set()
    for equation in program.equations:
        v = equation.outputs[0] if equation.op.family == "elementwise" else None
        access = accesses.get(v) if v is not None else None
        if v is None or access is None or access.only_moves or v in stored or v.type.size <= options.small_array:
            continue
        if access.index_dependent or access.element_cost > options.inlined_cost:
            continue
        most = 0
        for reader in reading.get(v, ()):
            part = reader.outputs[0]
            its = accesses.get(part)
            once = uses.get(part) == 1 and (part not in stored or part in program.outputs)
            if its is None or not once or not its.only_moves or not keeps_axes(its, [k for k, x in enumerate(reader.inputs) if x is v]):
                break
            most += v.type.size if its.conditional else part.type.size
        else:
            if 0 < most <= v.type.size:
                found.add(v)
    return found


def keeps_axes(access: AccessSummary, numbers: Sequence[int]) -> bool:
    """Whether each axis of these operands is read along the same axis of the result."""
    indices = [index for k, index in access.reads if k in numbers]
    return all(
        type(i) is int or all(atom.value == ("o", k) for atom in i.terms)  # type: ignore[union-attr]
        for index in indices
        for k, i in enumerate(index)
    )


def depends_on_values(index: Index | int) -> bool:
    """Whether an index depends on numbers that the code reads."""
    return type(index) is Index and any(
        atom.value[0] == "read" if atom.of is None else depends_on_values(atom.of[1]) for atom in index.terms
    )


def count_uses(program: Program) -> dict[Var, int]:
    """The number of reads of each value."""
    uses: dict[Var, int] = {v: 0 for e in program.equations for v in e.outputs}
    for v in [*[v for e in program.equations for v in e.inputs], *program.outputs]:
        if isinstance(v, Var):
            uses[v] = uses.get(v, 0) + 1
    return uses


def longest_unrolled(program: Program, accesses: dict[Var, AccessSummary | None], options: CodegenOptions) -> int:
    """The most iterations of a nest that is unrolled: fewer if there would be too much unrolled code."""
    sizes: Counter[tuple[int, ...]] = Counter(
        (*v.type.shape, *access.extents) for v, access in accesses.items() if access is not None and not access.only_moves
    )
    written = [([*accumulate(reversed(shape), mul, initial=1)], count) for shape, count in sizes.items() if 0 not in shape]
    limit = options.unrolled_iterations
    while limit > 1 and sum(count * max(n for n in suffixes if n <= limit) for suffixes, count in written) > options.unrolled_elements:
        limit //= 2
    return limit
