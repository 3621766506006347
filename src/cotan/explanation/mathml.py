"""Formulas as MathML (Core): fractions, powers, roots, bars over cotangents."""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch
from html import escape

from ..core.formula import (
    ATOM,
    PRODUCT,
    Brackets,
    Call,
    Formula,
    Infix,
    Item,
    Juxtaposed,
    Negative,
    Number,
    Power,
    Residual,
    Symbol,
    Transposed,
    Update,
)
from .formulas import Statement

__all__ = ["mathml"]

TIMES = '<mo lspace="0.16em" rspace="0.16em">&#x2062;</mo>'
"""The invisible sign of a product."""
SIGNS = {"*": "·", "@": "", "<=": "≤", ">=": "≥", "!=": "≠", "==": "=", "-": "−", "//": "//", "%": "mod"}


def mathml(statement: Statement) -> str:
    """A statement as one MathML element, with its text as the alternative."""
    left = comma(map(symbol, statement.symbols))
    return f'<math alttext="{escape(str(statement))}"><mrow>{left}<mo>=</mo>{written(statement.formula)}</mrow></math>'


def symbol(s: Symbol) -> str:
    """``dx`` with an upright d, ``x_bar`` with a bar over x, ``x1`` with an index."""
    name = s.name
    if s.role == "cotangent" and name.endswith("_bar"):
        return f"<mover>{symbol(Symbol(name.removesuffix('_bar')))}<mo>¯</mo></mover>"
    if s.role == "tangent" and name.startswith("d"):
        return f'<mrow><mi mathvariant="normal">d</mi>{symbol(Symbol(name[1:]))}</mrow>'
    stem = name.rstrip("0123456789")
    if stem != name and stem.isalpha():
        return f"<msub><mi>{escape(stem)}</mi><mn>{name[len(stem) :]}</mn></msub>"
    return f"<mi>{escape(name)}</mi>"


def within(formula: Formula, level: int) -> str:
    """A formula as a part of one that holds its parts together with ``level``; fractions and powers need no brackets."""
    inner = written(formula)
    loose = formula.level < level and not is_fraction(formula)
    return f"<mrow><mo>(</mo>{inner}<mo>)</mo></mrow>" if loose else inner


def is_fraction(formula: Formula) -> bool:
    inner = formula.formula if isinstance(formula, Residual) else formula
    return isinstance(inner, Infix) and inner.sign == "/"


def comma(parts: Iterable[str]) -> str:
    return "<mo>,</mo>".join(parts)


@singledispatch
def written(formula: Formula) -> str:
    """The MathML of a formula."""
    return f"<mtext>{escape(str(formula))}</mtext>"


@written.register
def _(formula: Symbol) -> str:
    return symbol(formula)


@written.register
def _(formula: Residual) -> str:
    return f'<mrow class="kept">{written(formula.formula)}</mrow>'


@written.register
def _(formula: Number) -> str:
    return f"<mn>{escape(str(formula)).replace('-', '−')}</mn>"


@written.register
def _(formula: Infix) -> str:
    if formula.sign == "/":
        return f"<mfrac>{row(formula.left)}{row(formula.right)}</mfrac>"
    left, right = formula.inner
    sign = escape(SIGNS.get(formula.sign, formula.sign))
    return f"<mrow>{within(formula.left, left)}{f'<mo>{sign}</mo>' if sign else TIMES}{within(formula.right, right)}</mrow>"


@written.register
def _(formula: Juxtaposed) -> str:
    left, right = formula.inner
    return f"<mrow>{within(formula.left, left)}{TIMES}{within(formula.right, right)}</mrow>"


@written.register
def _(formula: Negative) -> str:
    return f"<mrow><mo>−</mo>{within(formula.operand, PRODUCT)}</mrow>"


@written.register
def _(formula: Power) -> str:
    return f"<msup>{base(formula.base)}{row(formula.exponent)}</msup>"


@written.register
def _(formula: Transposed) -> str:
    return f'<msup>{base(formula.operand)}<mi mathvariant="normal">T</mi></msup>'


@written.register
def _(formula: Item) -> str:
    return f"<mrow>{within(formula.array, ATOM)}<mo>[</mo>{comma(map(written, formula.index))}<mo>]</mo></mrow>"


@written.register
def _(formula: Update) -> str:
    array = "<mi>zeros</mi>" if formula.array == Number(0) else within(formula.array, ATOM)
    index = f"<mo>[</mo>{comma(map(written, formula.index))}<mo>]</mo>"
    return (
        f"<mrow>{array}<mtext>.at</mtext>{index}<mtext>.{escape(formula.kind)}</mtext><mo>(</mo>{written(formula.value)}<mo>)</mo></mrow>"
    )


@written.register
def _(formula: Call) -> str:
    if formula.function == "sqrt":
        return f"<msqrt>{written(formula.arguments[0])}</msqrt>"
    if formula.function == "abs":
        return f"<mrow><mo>|</mo>{written(formula.arguments[0])}<mo>|</mo></mrow>"
    parameters = [f"<mtext>{escape(f'{k}={v}' if k else str(v))}</mtext>" for k, v in formula.parameters]
    given = comma([*map(written, formula.arguments), *parameters])
    return f"<mrow><mi>{escape(formula.function)}</mi><mo>&#x2061;</mo><mo>(</mo>{given}<mo>)</mo></mrow>"


@written.register
def _(formula: Brackets) -> str:
    return f"<mrow><mo>(</mo>{comma(map(written, formula.members))}<mo>)</mo></mrow>"


def row(formula: Formula) -> str:
    return f"<mrow>{written(formula)}</mrow>"


def base(formula: Formula) -> str:
    """The base of a power: one element, in brackets unless it is one symbol."""
    inner = formula.formula if isinstance(formula, Residual) else formula
    return row(formula) if inner.level >= ATOM else f"<mrow><mo>(</mo>{written(formula)}<mo>)</mo></mrow>"
