"""Strip-mining: equations along a long axis run on strips of rows, so that intermediates between two products stay in the cache.

The axes of the values of a Program are put into classes by access analysis: an axis of an operand and one of the result are of one class if
an element of the result reads the operand at its own index there. Of the equations along such a class, those that read each row by itself
run on a strip of rows as well as on all rows; a sum along the axis is the sum over the strips. Equations that do not wait for each other's
sums become one `Strips`: its body is these equations, on fewer rows.

This pays if large arrays are between matrix products (fusion joins loops without it), and if the products do so little work per byte that
they would wait for memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from math import prod
from typing import NamedTuple

from cotan.core.errors import CotanError
from cotan.core.op import Op
from cotan.core.program import Equation, Literal, Program, Var
from cotan.core.sizes import is_int
from cotan.core.types import ArrayType
from cotan.engines.native.affine import Condition, ElementIndex, Index
from cotan.engines.native.analysis.access import AccessSummary, access_summary, extent
from cotan.engines.native.options import CodegenOptions, current_options
from cotan.ops.families import add

from .strip_op import Strips

__all__ = ["Axes", "Axis", "RowWise", "alone", "candidates", "key", "resized", "row_wise", "strip_mine", "strip_of", "symbols"]

Symbol = tuple[str, int]
"""The symbol of an axis in an access summary: ``("o", k)`` of the result, ``("r", k)`` of the axes that are reduced."""
Axis = tuple[Var | Equation, int]
"""A variable and the number of its axis; or an equation and the number of an axis that it reduces over."""


def strip_mine(program: Program, options: CodegenOptions | None = None) -> Program:
    """The Program with the equations between products as `Strips`, where that pays."""
    options = options or current_options()
    given = set(program.inputs)
    between = dict.fromkeys(v for e in program.equations if is_product(e) for v in variables(e) if v not in given)
    if sum(v.type.nbytes for v in between) < options.strip_stored_bytes:
        return program
    forms = [access_summary(e.op, tuple([v.type for v in e.inputs])) if not e.op.multiple else None for e in program.equations]
    axes = Axes(program, forms)
    stored: Counter[Axis] = Counter()
    for v in between:
        for root in dict.fromkeys(axes.find((v, k)) for k, n in enumerate(v.type.shape) if n >= options.strip_axis):
            stored[root] += v.type.nbytes
    for root, nbytes in stored.most_common(options.strip_axes):
        if nbytes < options.strip_stored_bytes:
            break
        groups = Groups(program, forms, axes, root, options)
        if any(groups.worthwhile(level) for level in range(groups.levels)):
            return groups.program()
    return program


def is_product(e: Equation) -> bool:
    """Whether an equation is run by a routine though it has a defining equation."""
    return e.op.prefers_routine is not None and e.op.prefers_routine(*[v.type for v in e.inputs])


def variables(e: Equation) -> list[Var]:
    return [v for v in (*e.inputs, *e.outputs) if isinstance(v, Var)]


# ---- axes that are the same ---------------------------------------------------------------------------------------------------
def alone(index: Index | int) -> Symbol | None:
    """The axis of which an index is the symbol; None if it is another expression."""
    if type(index) is not Index or index.constant or len(index.terms) != 1:
        return None
    ((atom, factor),) = index.terms.items()
    return atom.value if factor == 1 and atom.of is None and type(atom.value) is tuple else None


def symbols(index: Index | Condition | int) -> Iterator[Symbol]:
    """The axes that an index or a condition depends on."""
    if isinstance(index, Condition):
        for part in index.parts:
            yield from symbols(part)
    elif type(index) is Index:
        for atom in index.terms:
            if atom.of is None:
                yield atom.value
            else:
                yield from symbols(atom.of[1])


class Axes:
    """The axes of a Program in classes of equal axes (union-find), those of the pairs ``equal`` included. All axes of a class have one
    length.
    """

    def __init__(self, program: Program, forms: Sequence[AccessSummary | None], equal: Iterable[tuple[Axis, Axis]] = ()):
        self.parent: dict[Axis, Axis] = {}
        self.length: dict[Axis, int] = {}
        for v in program.inputs:
            self.add(v)
        for e, form in zip(program.equations, forms, strict=True):
            for v in e.outputs:
                self.add(v)
            for v, index in reads_of(e, form):
                for p, i in enumerate(index):
                    symbol = alone(i)
                    # a slice reads a part of an axis, which is another one
                    if symbol is not None and isinstance(i, Index) and v.type.shape[p] == extent(i):
                        self.join((v, p), axis_of(e, symbol))
        for a, b in equal:
            self.join(a, b)
        self.same: dict[Axis, dict[Var | Literal | Equation, list[int]]] = {}
        """For each class of axes: the values, and the equations that reduce over it, with their axes of the class."""
        for a in self.parent:
            key, k = a
            self.same.setdefault(self.find(a), {}).setdefault(key, []).append(k)

    def add(self, v: Var) -> None:
        if type(v.type) is ArrayType:
            for k, n in enumerate(v.type.shape):
                self.parent[v, k] = (v, k)
                self.length[v, k] = n

    def find(self, a: Axis) -> Axis:
        parent = self.parent.setdefault(a, a)
        while parent is not a:
            self.parent[a] = above = self.parent[parent]
            a, parent = above, self.parent[above]
        return a

    def join(self, a: Axis, b: Axis) -> None:
        a, b = self.find(a), self.find(b)
        if a is not b:
            self.parent[b] = a

    def along(self, v: Var | Literal | Equation, root: Axis) -> Sequence[int]:
        """The axes of a value, or the reduced axes of an equation, that are of this class."""
        return self.same[root].get(v, ())


def reads_of(e: Equation, form: AccessSummary | None) -> list[tuple[Var, ElementIndex]]:
    """The variables that an equation reads, each with the index."""
    return [] if form is None else [(v, index) for k, index in form.reads if isinstance(v := e.inputs[k], Var)]


def axis_of(e: Equation, symbol: Symbol) -> Axis:
    """The axis of an equation with this symbol."""
    return (e.outputs[0] if symbol[0] == "o" else e, symbol[1])


# ---- equations along an axis --------------------------------------------------------------------------------------------------
class RowWise(NamedTuple):
    """An equation that reads each row by itself: the axis along which its result has them; None if the result is the sum of all rows."""

    axis: int | None


def row_wise(e: Equation, form: AccessSummary | None, axes: Axes, root: Axis) -> RowWise | None:
    """The `RowWise` of an equation along an axis; None if it is not along the axis, or reads other rows than its own."""
    if form is None or form.computes_index or e.op.update is not None:
        return None
    own = [("o", k) for k in axes.along(e.outputs[0], root)]
    own += [("r", k) for k in axes.along(e, root)]
    if len(own) != 1:
        return None
    (symbol,) = own
    for v, index in reads_of(e, form):
        along = axes.along(v, root)
        if len(along) > 1 or any(
            (alone(i) == symbol) != (p in along) or (p not in along and symbol in symbols(i)) for p, i in enumerate(index)
        ):
            return None
    if any(symbol in symbols(condition) for condition in form.conditions):
        return None
    if symbol[0] == "o":
        return RowWise(symbol[1])
    return RowWise(None) if form.monoid == "add" and e.outputs[0].type.dtype.kind != "b" else None


class Groups:
    """The equations along an axis in groups; each group follows the sums of the groups before."""

    def __init__(self, program: Program, forms: Sequence[AccessSummary | None], axes: Axes, root: Axis, options: CodegenOptions):
        self.whole, self.axes, self.root, self.options = program, axes, root, options
        self.results = {v for v in program.outputs if isinstance(v, Var)}
        self.forms = dict(zip(map(id, program.equations), forms, strict=True))
        self.size = next(n for a, n in axes.length.items() if axes.find(a) is root)
        assert all(n == self.size for a, n in axes.length.items() if axes.find(a) is root), "axes that are the same have one length"
        self.row_wise: dict[int, RowWise] = {}
        for e in program.equations:
            row = row_wise(e, self.forms[id(e)], axes, root)
            if row is not None and resized(e, self.forms[id(e)], self.types(e, 2), self.size, 2) is not None:
                self.row_wise[id(e)] = row
        self.level: dict[int, int] = {}
        made: dict[Var, Equation] = {}
        last = least = 0
        for e in program.equations:
            if e.op.name == "again":  # what a checkpoint recomputes is wanted now, and not before all strips
                least = last + 1
            level = max([self.level_after(made[v], e) for v in e.inputs if v in made], default=0)
            self.level[id(e)] = level = max(level, least)
            last = max(last, level)
            made.update(dict.fromkeys(e.outputs, e))
        self.levels = max(self.level.values(), default=-1) + 1
        self.groups: list[list[Equation]] = [[] for _ in range(self.levels)]
        self.others: list[list[Equation]] = [[] for _ in range(self.levels)]
        """The equations along the axis by level, and the others."""
        self.readers: dict[Var, list[Equation]] = {}
        for e in program.equations:
            (self.groups if id(e) in self.row_wise else self.others)[self.level[id(e)]].append(e)
            for v in {x for x in e.inputs if isinstance(x, Var)}:
                self.readers.setdefault(v, []).append(e)

    def level_after(self, source: Equation, e: Equation) -> int:
        """The first level for ``e``, which reads a result of ``source``."""
        row = self.row_wise.get(id(source))
        together = row is None or (row.axis is not None and id(e) in self.row_wise)
        return self.level[id(source)] + (0 if together else 1)

    def types(self, e: Equation, size: int) -> list[ArrayType]:
        """The types of the operands of an equation, then of its result, on so many rows."""
        return [self.cut(v, size) for v in (*e.inputs, *e.outputs)]

    def cut(self, v: Var | Literal, size: int) -> ArrayType:
        """The type of a value with so many rows."""
        along = self.axes.along(v, self.root)
        if not along or size == self.size:
            return v.type
        shape = list(v.type.shape)
        for k in along:
            shape[k] = size
        return v.type.with_shape(tuple(shape))

    def between(self, level: int) -> int:
        """The bytes that products of a group read or write and that only the group uses."""
        group = self.groups[level]
        inside = {v for e in group for v in e.outputs} - set(self.needed_outside(group))
        return sum(v.type.nbytes for v in {v for e in group if is_product(e) for v in variables(e)} & inside)

    def rows(self, level: int) -> int | None:
        """The rows of a strip of a group; None if the axis has too few."""
        return strip_of(self.size, self.between(level), self.again(level), self.options)

    def again(self, level: int) -> int:
        """The bytes that each strip of a group moves again: it reads the constants, and adds to the totals."""
        group = self.groups[level]
        made = {v for e in group for v in e.outputs}
        constants = {v for e in group for v in e.inputs if isinstance(v, Var) and v not in made and not self.axes.along(v, self.root)}
        totals = {v for v in self.needed_outside(group) if not self.axes.along(v, self.root)}
        return sum(v.type.nbytes for v in constants) + 2 * sum(v.type.nbytes for v in totals)

    def worthwhile(self, level: int) -> bool:
        nbytes = self.between(level)
        if self.rows(level) is None:
            return False
        products = [(e, self.forms[id(e)]) for e in self.groups[level] if is_product(e)]
        multiplications = sum(prod(e.outputs[0].type.shape) * prod(form.extents) for e, form in products if form is not None)
        return nbytes >= self.options.strip_stored_bytes and multiplications <= self.options.strip_products_per_byte * nbytes

    def needed_outside(self, group: Sequence[Equation]) -> list[Var]:
        """The variables of a group that others read."""
        inside = set(map(id, group))
        return [
            v for e in group for v in e.outputs
            if v in self.results or any(id(reader) not in inside for reader in self.readers.get(v, ()))
        ]  # fmt: skip

    def program(self) -> Program:
        """The Program with its worthwhile groups in strips."""
        equations: list[Equation] = []
        for level in range(self.levels):
            equations += self.others[level]
            equations += [self.strips(level)] if self.worthwhile(level) else self.groups[level]
        return Program(self.whole.inputs, equations, self.whole.outputs, self.whole.constants, self.whole.name)

    def strips(self, level: int) -> Equation:
        """A group as one equation."""
        group = self.groups[level]
        made = {v for e in group for v in e.outputs}
        given = [v for v in dict.fromkeys(v for e in group for v in e.inputs if isinstance(v, Var)) if v not in made]
        constants, cut = [v for v in given if not self.axes.along(v, self.root)], [v for v in given if self.axes.along(v, self.root)]
        outputs = self.needed_outside(group)
        totals, rows = [v for v in outputs if not self.axes.along(v, self.root)], [v for v in outputs if self.axes.along(v, self.root)]
        strip = self.rows(level)
        assert strip is not None
        bodies = [self.body(group, size, constants, cut, totals, rows) for size in (strip, self.size % strip) if size]
        axes = [tuple(self.axes.along(v, self.root)[0] for v in vs) for vs in (cut, rows)]
        op = Strips(bodies[0], bodies[1] if len(bodies) > 1 else None, self.size, strip, len(constants), len(totals), *axes)
        return Equation(op, [*constants, *cut], [*totals, *rows], group[0].origin)

    def body(
        self, group: Sequence[Equation], size: int, constants: Sequence[Var], cut: Sequence[Var], totals: Sequence[Var], rows: Sequence[Var]
    ) -> Program:
        """A group on so many rows, as a function of the constants, the totals so far and the rows: the next totals, and its own rows."""
        new = {v: Var(self.cut(v, size)) for v in [*constants, *cut, *[v for e in group for v in e.outputs]]}
        equations = []
        for e in group:
            op = resized(e, self.forms[id(e)], self.types(e, size), self.size, size)
            assert op is not None
            equations.append(Equation(op, [v if isinstance(v, Literal) else new[v] for v in e.inputs], [new[e.outputs[0]]], e.origin))
        before, after = [Var(v.type) for v in totals], [Var(v.type) for v in totals]
        equations += [Equation(add, [a, new[v]], [b], None) for a, v, b in zip(before, totals, after, strict=True)]
        inputs = [*[new[v] for v in constants], *before, *[new[v] for v in cut]]
        return Program(inputs, equations, [*after, *[new[v] for v in rows]], (), "strip")


def strip_of(size: int, nbytes: int, again: int, options: CodegenOptions) -> int | None:
    """The rows of a strip: a divisor of ``size`` near the number that the options want, if there is one; None if no number will do. The
    strips keep ``nbytes`` in the cache, and each of them moves ``again`` bytes: there are not so many that this undoes it. There are at
    least two strips, for the threads, and none of one row, since an axis of length one is one that is broadcast.
    """
    fewest = -(-100 * size * again // max(options.strip_overhead * nbytes, 1))
    wanted = max(options.least_strip, min(options.most_strip, options.strip_bytes * size // max(nbytes, 1)), fewest)
    if fewest > size // 2:
        return None
    wanted = min(size // 2, wanted)
    even = (n for n in range(wanted, wanted // 2, -1) if size % n == 0 and n >= fewest)
    found = next(even, 1)
    return found if found > 1 else next((n for n in range(wanted, max(fewest, 2) - 1, -1) if size % n != 1), None)


# ---- ops on fewer rows --------------------------------------------------------------------------------------------------------
def resized(e: Equation, form: AccessSummary | None, types: Sequence[ArrayType], size: int, rows: int) -> Op | None:
    """The op of an equation on ``rows`` rows instead of ``size``, with an equal access summary and the last of these types as result."""
    *operands, result = types
    for op in candidates(e.op, size, rows):
        try:
            if op.type_rule(*operands) == result and form is not None and alike(form, access_summary(op, tuple(operands)), size, rows):
                return op
        except CotanError:
            continue
    return None


def candidates(op: Op, size: int, rows: int) -> Iterator[Op]:
    """The op itself, and ops with the new length for the old one in a static parameter."""
    yield op
    if not is_dataclass(op):
        return
    for field in fields(op):
        value = getattr(op, field.name)
        if type(value) is tuple:
            for p, n in enumerate(value):
                if is_int(n) and n == size:
                    yield replace(op, **{field.name: (*value[:p], rows, *value[p + 1 :])})


def alike(a: AccessSummary, b: AccessSummary | None, size: int, rows: int) -> bool:
    """Whether two access summaries are equal, up to the length of a reduced axis."""
    if b is None or (a.monoid, a.only_moves, a.conditional, a.computes_index, a.element_cost) != (
        b.monoid,
        b.only_moves,
        b.conditional,
        b.computes_index,
        b.element_cost,
    ):
        return False
    lengths = len(a.extents) == len(b.extents) and all(m == n or (m, n) == (size, rows) for m, n in zip(a.extents, b.extents, strict=True))
    return (
        lengths
        and [(k, tuple(map(key, index))) for k, index in a.reads] == [(k, tuple(map(key, index))) for k, index in b.reads]
        and list(map(key, a.conditions)) == list(map(key, b.conditions))
    )


def key(index: Index | Condition | int) -> Hashable:
    """The structure of an index or a condition, without the lengths of its axes."""
    if isinstance(index, Condition):
        return index.sign, *map(key, index.parts)
    if type(index) is not Index:
        return index
    terms = [(atom.value if atom.of is None else (atom.of[0], key(atom.of[1]), atom.of[2]), factor) for atom, factor in index.terms.items()]
    return index.constant, tuple(sorted(terms, key=str))
