"""Loop nests: the tree of loops that a Program becomes, and its leaves: statements, and equations that are run as a whole."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from cotan.core.program import Equation, Var
from cotan.engines.native.affine import Condition
from cotan.engines.native.analysis.access import AccessSummary, axis, extent

__all__ = ["SCALAR", "Layout", "Loop", "Opaque", "Statement", "layout_of"]


class Loop:
    """A loop over ``extent`` turns of the nodes in ``body``. A tiny one is written out."""

    def __init__(self, extent: int, level: int, unrolled: bool, parent: Loop | None, position: int):
        self.extent, self.level, self.unrolled, self.parent, self.position = extent, level, unrolled, parent, position
        self.body: list[Any] = []
        self.loops: dict[tuple[int, bool], list[int]] = {}
        self.statements: list[Statement] = []
        self.cuts: set[int] = set()
        self.straight = 0
        """What one turn of the straight code in it costs, without the loops inside, next to an addition."""
        self.row = 0
        """The turns of the longest loop inside; 0 where there is none that is not written out."""

    @property
    def work(self) -> int:
        """What all iterations cost, in elementary operations."""
        return sum(s.work for s in self.statements)

    def joined(self, row: int, work: int) -> None:
        """Code has joined."""
        self.row = max(self.row, row)
        self.straight += 0 if row else work


class Opaque:
    """An equation that is run as a whole: a loop, a branch, a routine, NumPy."""

    def __init__(self, equation: Equation, position: int):
        self.equation, self.position = equation, position


class Layout(NamedTuple):
    """The axes of a statement in the order of the loops, and what follows from how it reads."""

    order: list[Any]
    sizes: tuple[int, ...]
    ready: int
    """How many of the outer loops are the leading axes of the result: where the others are done, a part of it is."""
    flat: bool
    """Whether every element is read at the place where it is needed, and nothing depends on what place it is, so that all axes may be
    one."""
    cuts: list[tuple[Any, int]]


SCALAR = Layout([], (), 0, True, [])


def layout_of(
    shape: tuple[int, ...], form: AccessSummary, reads: list[tuple[Any, tuple[Any, ...]]], conditions: Any, index_dependent: bool
) -> Layout:
    """The layout of a statement whose result has this shape. ``reads`` are the types and indices of what it reads in the end."""
    direct = [index for _, index in form.reads]
    out = [axis(k, n) for k, n in enumerate(shape)]
    red = [axis(k, n, True) for k, n in enumerate(form.extents)]
    order = loop_order(out, red, direct, reads)
    sizes = tuple(map(extent, order))
    ready = next((k for k, (a, b) in enumerate(zip(order, out, strict=False)) if a != b), len(out))
    whole = tuple(order)
    flat = (
        not index_dependent
        and (not (form.monoid and red) or not out)
        and all(index == () or (index == whole and type.shape == sizes) for type, index in reads)
    )
    return Layout(order, sizes, ready, flat, [cut for condition in conditions for cut in cuts_of(condition)])


class Statement:
    """An equation in loops: its axes in the order of the loops, and which elements it reads."""

    def __init__(self, equation: Equation, reads: list[tuple[Var, tuple[Any, ...]]], layout: Layout, monoid: str = "", work: int = 1):
        self.equation, self.reads, self.monoid = equation, reads, monoid
        self.order, self.sizes, self.ready, self.flat, self.cuts = layout
        self.cost = work
        self.work = work * prod(self.sizes)
        """About what all its elements cost, next to an addition."""
        self.var = equation.outputs[0]
        self.loop: Loop | None = None
        self.path: list[Loop] = []
        """The loops around it, outermost first."""
        self.positions: list[int] = []
        """Of the nodes around it and of itself, each in the body that it is in."""

    @property
    def position(self) -> int:
        return self.positions[0]


def loop_order(out: list[Any], red: list[Any], direct: list[tuple[Any, ...]], reads: list[tuple[Var, tuple[Any, ...]]]) -> list[Any]:
    """The axes of a statement from the outermost loop to the innermost: elements are read in the order in which they lie."""
    if not red:
        return out
    if len(direct) == 1:
        (index,) = direct
        if len(index) == len(out) + len(red) and all(i in (*out, *red) for i in index):
            return list(index)
    last = [index[-1] for _, index in reads if index]
    if out and out[-1] in last and not all(i in red for i in last):
        return [*out[:-1], *red, out[-1]]
    return [*out, *red]


def cuts_of(condition: Any) -> list[tuple[Any, int]]:
    """Where along an axis a condition changes: the axis and the first index of the other side."""
    if not isinstance(condition, Condition):
        return []
    if condition.sign in ("and", "or"):
        return [cut for part in condition.parts for cut in cuts_of(part)]
    (difference,) = condition.parts
    if len(difference.terms) != 1:
        return []
    ((atom, factor),) = difference.terms.items()
    if factor not in (1, -1) or type(atom.value) is not tuple or atom.of is not None:
        return []
    # a + c < 0 changes at a = -c;  c - a < 0 changes at a = c + 1
    return [(atom, -difference.constant if factor == 1 else difference.constant + 1)]
