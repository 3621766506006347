"""Formulas with holes: what the equations of a large program have in common.

A formula depends on the op, and on the types and the formulas of its operands, but not on which symbols stand in these. So an op writes
each `Template` once, and a formula of a program is a template and the symbols that fill its holes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import fields, replace
from functools import cached_property, partial
from typing import Any, TypeAlias

from ..core.formula import Formula, Number, Piece, Residual, Symbol
from ..core.op import Op
from ..core.program import Literal
from ..core.types import Type

__all__ = ["HOLE", "Filled", "Template", "Templates", "formula_of", "template_of"]

HOLE = "hole"
"""The role of a symbol that is a hole; its name is the number of the hole."""


class Template:
    """A formula with holes. It has identity: `Templates` makes each once."""

    def __init__(self, formula: Formula, holes: int = 0):
        self.formula, self.holes = formula, holes
        self.size = formula.size
        self.is_hole = isinstance(formula, Symbol) and formula.role == HOLE
        self.shortest = isinstance(formula, Number | Symbol)
        """Whether it is a number or a symbol."""

    @cached_property
    def parts(self) -> tuple[Piece | int, ...]:
        """The pieces of the formula, with numbers for the holes."""
        return tuple([int(text) if kind == HOLE else (text, kind) for text, kind in self.formula.pieces()])

    def pieces(self, symbols: Sequence[Symbol]) -> list[Piece]:
        """The pieces of the formula with these symbols in its holes."""
        return [(symbols[part].name, symbols[part].role) if isinstance(part, int) else part for part in self.parts]

    def fill(self, symbols: Sequence[Symbol]) -> Formula:
        """The formula with these symbols in its holes."""
        return filled(self.formula, symbols.__getitem__) if self.holes else self.formula


Filled: TypeAlias = tuple[Template, tuple[Symbol, ...]]
"""A template and the symbols that fill its holes: a formula."""


def formula_of(it: Filled) -> Formula:
    """The formula that a filled template is."""
    return it[0].fill(it[1])


def template_of(formula: Formula) -> Filled:
    """A formula as a template of its own; of a symbol, a hole and what fills it."""
    if isinstance(formula, Symbol):
        return Template(hole(0, 0, formula.type), 1), (formula,)
    return Template(formula), ()


def hole(first: int, number: int, type: Type | None = None) -> Symbol:
    return Symbol(str(first + number), HOLE, type=type)  # type: ignore[arg-type]


def filled(formula: Formula, symbol: Callable[[int], Symbol]) -> Any:
    """A formula with ``symbol(k)`` in hole k, for each k. Its parts keep their types."""
    if isinstance(formula, Symbol):
        if formula.role != HOLE:
            return formula
        found = symbol(int(formula.name))
        return found if found.type is formula.type else replace(found, type=formula.type)
    values = {it.name: getattr(formula, it.name) for it in fields(formula)}
    changed = {name: new for name, value in values.items() if (new := filled_within(value, symbol)) is not value}
    return replace(formula, **changed) if changed else formula


def filled_within(value: Any, symbol: Callable[[int], Symbol]) -> Any:
    """A field of a formula, with the holes of the formulas in it filled."""
    if isinstance(value, Formula):
        return filled(value, symbol)
    if not isinstance(value, tuple):
        return value
    parts = tuple([filled_within(part, symbol) for part in value])
    return parts if any(new is not old for new, old in zip(parts, value, strict=True)) else value


class Templates:
    """The templates of a story."""

    def __init__(self) -> None:
        self.made: dict[Hashable, Template] = {}
        self.ops: dict[int, tuple[Op, Op]] = {}
        """By the id of an op: the first one that is equal to it, and itself, so that no other gets its id."""
        self.equal: dict[Op, Op] = {}

    def symbol(self, type: Type) -> Template:
        """The template that is one hole."""
        found = self.made.get(type)
        if found is None:
            found = self.made[type] = Template(hole(0, 0, type), 1)
        return found

    def number(self, literal: Literal) -> Template:
        key = (literal.type, literal.value.__class__, repr(literal.value))
        found = self.made.get(key)
        if found is None:
            found = self.made[key] = Template(Number(literal.value, type=literal.type))
        return found

    def residual(self, part: Template, type: Type) -> Template:
        """The template of a value that is kept from the forward pass."""
        found = self.made.get((part, type))
        if found is None:
            found = self.made[part, type] = Template(Residual(part.formula, type=type), part.holes)  # type: ignore[arg-type]
        return found

    def applied(self, op: Op, parts: Sequence[Template], type: Type | None) -> Template:
        """The template of an op's formula of these operands, whose holes it has in their order; of a value of this type, if it has one."""
        key = (id(self.one_of_equal(op)), *parts)
        found = self.made.get(key)
        if found is None:
            found = self.made[key] = self.written(op, parts, type)
        return found

    def one_of_equal(self, op: Op) -> Op:
        """The first op that is equal to this one."""
        known = self.ops.get(id(op))
        if known is None:
            known = self.ops[id(op)] = self.equal.setdefault(op, op), op
        return known[0]

    def written(self, op: Op, parts: Sequence[Template], type: Type | None) -> Template:
        operands: list[Formula] = []
        count = 0
        for part in parts:
            operands.append(filled(part.formula, partial(hole, count)) if count and part.holes else part.formula)
            count += part.holes
        formula = op.formula(*operands)
        return Template(formula if type is None else formula.of_type(type), count)  # type: ignore[arg-type]
