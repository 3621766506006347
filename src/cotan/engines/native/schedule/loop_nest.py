"""Loop nests: the tree of loops that a Program becomes, and its leaves: statements, and equations that are run as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import NamedTuple, final

from cotan.core.program import Equation, Var
from cotan.core.types import ArrayType, Shape
from cotan.engines.native.affine import Atom, Condition, ElementIndex, Index
from cotan.engines.native.analysis.access import AccessSummary, axis, extent

__all__ = ["SCALAR", "Layout", "Loop", "Opaque", "Statement", "layout_of"]


@final
class Loop:
    """A loop of ``extent`` iterations over the nodes in ``body``; a short one is ``unrolled``."""

    def __init__(self, extent: int, level: int, unrolled: bool, parent: Loop | None, position: int):
        self.extent, self.level, self.unrolled, self.parent, self.position = extent, level, unrolled, parent, position
        self.body: list[Statement | Loop | Opaque] = []
        self.loops: dict[tuple[int, bool], list[Loop]] = {}
        """The loops in the body by their extent, and whether they are unrolled."""
        self.statements: list[Statement] = []
        self.splits: set[int] = set()
        self.straight_line_cost = 0
        """The cost of an iteration of the straight-line code in it, without inner loops."""
        self.inner_iterations = 0
        """The iterations of the longest inner loop that is not unrolled; 0 if there is none."""

    @property
    def total_cost(self) -> int:
        """The cost of all iterations."""
        return sum(s.total_cost for s in self.statements)

    def joined(self, inner_iterations: int, iteration_cost: int) -> None:
        """Account for code that joins the loop: straight-line code, or code with an inner loop of so many iterations. One iteration of the
        loop runs it at this cost.
        """
        self.inner_iterations = max(self.inner_iterations, inner_iterations)
        self.straight_line_cost += 0 if inner_iterations else iteration_cost


@final
class Opaque:
    """An equation that is run as a whole: a loop, a branch, a kernel, a callback into Python."""

    def __init__(self, equation: Equation, position: int):
        self.equation, self.position = equation, position


class Layout(NamedTuple):
    """The axes of a statement in the order of its loops, and the properties that follow from its reads."""

    order: list[Index]
    sizes: tuple[int, ...]
    ready: int
    """The number of outer loops that are leading axes of the result: after the other loops, a part of the result is complete."""
    collapsible: bool
    """Whether all loops may be collapsed into one: each element is read at its own index, and no value depends on the index."""
    splits: list[tuple[Atom, int]]
    row: int = 0
    """Of a reduction over leading axes that could be collapsed else, the number of elements of the result: loops over the other axes, then
    over those of the result, read each element at its own index. Of others 0.
    """


SCALAR = Layout([], (), 0, True, [])


def layout_of(
    shape: Shape, access: AccessSummary, reads: list[tuple[ArrayType, ElementIndex]], conditions: Iterable[Condition], index_dependent: bool
) -> Layout:
    """The layout of a statement whose result has this shape. ``reads`` are the types and indices of its reads, through views."""
    direct = [index for _, index in access.reads]
    out = [axis(k, n) for k, n in enumerate(shape)]
    red = [axis(k, n, True) for k, n in enumerate(access.extents)]
    order = loop_order(out, red, direct, reads)
    sizes = tuple(map(extent, order))
    ready = next((k for k, (a, b) in enumerate(zip(order, out, strict=False)) if a != b), len(out))
    whole = tuple(order)
    conditions = [*conditions]
    own = not index_dependent and all(index == () or (index == whole and type.shape == sizes) for type, index in reads)
    reduced = bool(access.monoid and red)
    row = prod(shape) if own and reduced and out and order == [*red, *out] and not conditions else 0
    splits = [split for condition in conditions for split in splits_of(condition)]
    return Layout(order, sizes, ready, own and (not reduced or not out), splits, row if type(row) is int else 0)


@final
class Statement:
    """An equation in loops: its axes in the order of the loops, and the elements that it reads."""

    def __init__(self, equation: Equation, reads: list[tuple[Var, ElementIndex]], layout: Layout, monoid: str = "", element_cost: int = 1):
        self.equation, self.reads, self.monoid = equation, reads, monoid
        self.order, self.sizes, self.ready, self.collapsible, self.splits, self.row = layout
        self.element_cost = element_cost
        self.total_cost = element_cost * prod(self.sizes)
        """The cost of all its elements."""
        self.var = equation.outputs[0]
        self.loop: Loop | None = None
        self.path: list[Loop] = []
        """The loops around it, outermost first."""
        self.positions: list[int] = []
        """The positions of the loops around it and its own, each in its parent's body."""

    @property
    def position(self) -> int:
        return self.positions[0]


def loop_order(out: list[Index], red: list[Index], direct: list[ElementIndex], reads: list[tuple[ArrayType, ElementIndex]]) -> list[Index]:
    """The axes of a statement from the outermost loop to the innermost: elements are read in memory order."""
    if not red:
        return out
    if len(direct) == 1:
        (index,) = direct
        if len(index) == len(out) + len(red) and all(i in (*out, *red) for i in index):
            return [i for i in index if isinstance(i, Index)]
    last = [index[-1] for _, index in reads if index]
    if out and out[-1] in last and not all(i in red for i in last):
        return [*out[:-1], *red, out[-1]]
    return [*out, *red]


def splits_of(condition: Condition) -> list[tuple[Atom, int]]:
    """The points for index-set splitting: axes along which a condition changes, each with the first index of the other side."""
    if condition.sign in ("and", "or"):
        return [split for part in condition.parts for split in splits_of(part)]
    (difference,) = condition.parts
    if len(difference.terms) != 1:
        return []
    ((atom, factor),) = difference.terms.items()
    if factor not in (1, -1) or type(atom.value) is not tuple or atom.of is not None:
        return []
    # a + c < 0 changes at a = -c;  c - a < 0 changes at a = c + 1
    return [(atom, -difference.constant if factor == 1 else difference.constant + 1)]
