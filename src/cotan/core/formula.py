"""Formulas: how people write what an op computes. `Op.formula` builds one of the formulas of its operands; `explain` prints it.

A formula is a small tree, which nobody changes. Python's operators on formulas make bigger ones, so an op says ``return x / y``. ``str``
gives text with as few brackets as can be; other notations (MathML) walk the tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from .types import ArrayType

__all__ = [
    "CLOSING", "OPENING",
    "Brackets", "Call", "Formula", "Infix", "Item", "Juxtaposed", "Negative", "Number", "Power", "Residual", "Symbol", "Transposed",
    "Update", "array_of", "at_axes", "axes_text", "called", "shown", "slice_text",
]  # fmt: skip

# How tightly the parts of a formula hold together, the loosest first.
COMPARED, SUM, JUXTAPOSED, PRODUCT, APPLIED, SIGNED, POWER, ATOM = range(8)
LEVELS = {
    **dict.fromkeys(["<", "<=", ">", ">=", "==", "!=", "&", "|", "^", "<<", ">>"], COMPARED),
    **dict.fromkeys(["+", "-"], SUM),
    **dict.fromkeys(["*", "/", "//", "%", "@"], PRODUCT),
}


LONGEST_NUMBER = 10
"""A float of more characters is shortened."""
Piece: TypeAlias = tuple[str, str]
"""A part of the text of a formula, and what it is: the role of a symbol, or one of the two marks around a residual."""
OPENING, CLOSING = "residual begins", "residual ends"


@dataclass(slots=True)
class Formula:
    """A formula, and the type of its value where that is known."""

    type: ArrayType | None = field(default=None, kw_only=True, compare=False)

    @property
    def level(self) -> int:
        return ATOM

    @property
    def parts(self) -> tuple[Formula, ...]:
        return ()

    @property
    def size(self) -> int:
        """The number of symbols, functions and signs in it."""
        return 1 + sum(part.size for part in self.parts)

    def pieces(self) -> list[Piece]:
        """The text, in pieces: (text, kind), where kind is the role of a symbol, or empty."""
        raise NotImplementedError

    def within(self, level: int) -> list[Piece]:
        """The pieces as a part of a formula that holds its parts together with ``level``."""
        return self.pieces() if self.level >= level else bracketed(self.pieces())

    def __str__(self) -> str:
        return "".join([text for text, _ in self.pieces()])

    def of_type(self, type: ArrayType) -> Formula:
        """The formula for a value of this type."""
        if self.type is None:  # it was just written
            self.type = type
        return self if self.type == type else replace(self, type=type)

    # ---- what ops write ------------------------------------------------------------------------------------------------
    def __add__(self, other: Formula) -> Formula:
        return Infix("+", self, other) if not isinstance(other, Negative) else Infix("-", self, other.operand)

    def __sub__(self, other: Formula) -> Formula:
        return Infix("-", self, other)

    def __mul__(self, other: Formula) -> Formula:
        return Infix("*", self, other)

    def __truediv__(self, other: Formula) -> Formula:
        return Infix("/", self, other)

    def __floordiv__(self, other: Formula) -> Formula:
        return Infix("//", self, other)

    def __mod__(self, other: Formula) -> Formula:
        return Infix("%", self, other)

    def __matmul__(self, other: Formula) -> Formula:
        return Infix("@", self, other)

    def __pow__(self, exponent: Formula | float) -> Formula:
        return Power(self, exponent if isinstance(exponent, Formula) else Number(exponent))

    def __neg__(self) -> Formula:
        return self.operand if isinstance(self, Negative) else Negative(self)

    def __getitem__(self, index: Formula | str) -> Formula:
        return Item(self, (index if isinstance(index, Formula) else Symbol(index),))

    def infix(self, sign: str, other: Formula) -> Formula:
        """The two with a sign between them."""
        return self + other if sign == "+" else self**other if sign == "**" else Infix(sign, self, other)

    def times(self, tangent: Formula) -> Formula:
        """A local derivative times a tangent or cotangent, written one beside the other: ``cos(x) dx``."""
        if isinstance(tangent, Number):
            return tangent if self == Number(1) else self if tangent.value == 1 else self * tangent
        if isinstance(self, Number):
            return tangent if self.value == 1 else -tangent if self.value == -1 else Juxtaposed(self, tangent)
        return -self.operand.times(tangent) if isinstance(self, Negative) else Juxtaposed(self, tangent)

    @property
    def T(self) -> Formula:  # noqa: N802 - as in NumPy
        inner = plain(self)
        return inner.operand if isinstance(inner, Transposed) else Transposed(self, type=self.type)


@dataclass(slots=True)
class Symbol(Formula):
    """The name of a value. ``role`` says what it is in a derivation: value, residual, tangent, cotangent."""

    name: str
    role: str = "value"

    def __str__(self) -> str:
        return self.name

    def pieces(self) -> list[Piece]:
        return [(self.name, self.role)]


@dataclass(slots=True)
class Residual(Formula):
    """A formula whose value is kept from the forward pass."""

    formula: Formula

    @property
    def level(self) -> int:
        return self.formula.level

    @property
    def parts(self) -> tuple[Formula, ...]:
        return (self.formula,)

    def times(self, tangent: Formula) -> Formula:
        if isinstance(self.formula, Negative):
            return -Residual(self.formula.operand).times(tangent)
        product = self.formula.times(tangent)
        return Juxtaposed(self, tangent) if isinstance(product, Juxtaposed) else product

    def pieces(self) -> list[Piece]:
        return [("", OPENING), *self.formula.pieces(), ("", CLOSING)]


@dataclass(slots=True)
class Number(Formula):
    """A number."""

    value: Any

    @property
    def level(self) -> int:
        return SIGNED if str(self).startswith("-") else ATOM

    def __str__(self) -> str:
        value = self.value.item() if hasattr(self.value, "item") else self.value
        if isinstance(value, float) and value == value and abs(value) < 1e15 and value == int(value):
            return repr(value).removesuffix(".0")
        return shortened(value) if isinstance(value, float) else str(value)

    def pieces(self) -> list[Piece]:
        return [(str(self), "")]


@dataclass(slots=True)
class Infix(Formula):
    """Two formulas with a sign between them."""

    sign: str
    left: Formula
    right: Formula

    @property
    def level(self) -> int:
        return LEVELS[self.sign]

    @property
    def parts(self) -> tuple[Formula, ...]:
        return self.left, self.right

    @property
    def inner(self) -> tuple[int, int]:
        """The levels of the two parts: signs of one level are read from the left."""
        other = plain(self.right)
        same = self.sign == "+" or (self.sign == "*" and isinstance(other, Infix) and other.sign == "*")
        return (self.level + 1 if self.level == COMPARED else self.level), self.level if same else self.level + 1

    def pieces(self) -> list[Piece]:
        left, right = self.inner
        return joined(self.left.within(left), f" {self.sign} ", self.right.within(right))


@dataclass(slots=True)
class Juxtaposed(Formula):
    """A local derivative beside a tangent: their product."""

    left: Formula
    right: Formula

    @property
    def level(self) -> int:
        return JUXTAPOSED

    @property
    def parts(self) -> tuple[Formula, ...]:
        return self.left, self.right

    @property
    def inner(self) -> tuple[int, int]:
        """The levels of the two parts. A sign or a number after the space would be read as part of what stands before it."""
        left, first = plain(self.left), plain(self.right)
        product = isinstance(left, Juxtaposed) or (isinstance(left, Infix) and left.sign == "*")
        while isinstance(first, Juxtaposed):
            first = plain(first.left)
        return JUXTAPOSED if product else APPLIED, POWER if isinstance(first, Number | Infix | Negative) else JUXTAPOSED

    def pieces(self) -> list[Piece]:
        left, right = self.inner
        return joined(self.left.within(left), " ", self.right.within(right))


@dataclass(slots=True)
class Negative(Formula):
    """A formula with the opposite sign."""

    operand: Formula

    @property
    def level(self) -> int:
        return SIGNED

    @property
    def parts(self) -> tuple[Formula, ...]:
        return (self.operand,)

    def pieces(self) -> list[Piece]:
        return joined("-", self.operand.within(APPLIED))


@dataclass(slots=True)
class Power(Formula):
    """A formula to a power."""

    base: Formula
    exponent: Formula

    @property
    def level(self) -> int:
        return POWER

    @property
    def parts(self) -> tuple[Formula, ...]:
        return self.base, self.exponent

    def pieces(self) -> list[Piece]:
        return joined(self.base.within(ATOM), "**", self.exponent.within(SIGNED))


@dataclass(slots=True)
class Transposed(Formula):
    """A transposed matrix."""

    operand: Formula

    @property
    def parts(self) -> tuple[Formula, ...]:
        return (self.operand,)

    def pieces(self) -> list[Piece]:
        return joined(self.operand.within(ATOM), ".T" if self.operand.type is None or self.operand.type.ndim == 2 else ".mT")


@dataclass(slots=True)
class Item(Formula):
    """A part of an array."""

    array: Formula
    index: tuple[Formula, ...]

    @property
    def parts(self) -> tuple[Formula, ...]:
        return (self.array, *self.index)

    def pieces(self) -> list[Piece]:
        return joined(self.array.within(ATOM), "[", *listed(self.index), "]")


@dataclass(slots=True)
class Update(Formula):
    """A copy of an array in which a part is changed."""

    array: Formula
    index: tuple[Formula, ...]
    kind: str
    value: Formula

    @property
    def parts(self) -> tuple[Formula, ...]:
        return (self.array, *self.index, self.value)

    def pieces(self) -> list[Piece]:
        array = "zeros" if self.array == Number(0) else self.array.within(ATOM)
        return joined(array, ".at[", *listed(self.index), f"].{self.kind}(", self.value.pieces(), ")")


@dataclass(slots=True)
class Call(Formula):
    """A function of formulas, with parameters that are plain text, or formulas."""

    function: str
    arguments: tuple[Formula, ...]
    parameters: tuple[tuple[str, str | Formula], ...] = ()

    @property
    def parts(self) -> tuple[Formula, ...]:
        return self.arguments

    def pieces(self) -> list[Piece]:
        given = [*[x.pieces() for x in self.arguments], *[joined(f"{name}=" if name else "", value) for name, value in self.parameters]]
        return joined(f"{self.function}(", *separated(given), ")")


@dataclass(slots=True)
class Brackets(Formula):
    """Several formulas as a tuple."""

    members: tuple[Formula, ...]

    @property
    def parts(self) -> tuple[Formula, ...]:
        return self.members

    def pieces(self) -> list[Piece]:
        return joined("(", *listed(self.members), ",)" if len(self.members) == 1 else ")")


def shortened(value: float) -> str:
    """A number in few digits: ``0.1``, and ``3.14159…`` where there are more."""
    text = repr(value)
    if len(text) <= LONGEST_NUMBER:
        return text
    mantissa, e, exponent = f"{value:.6g}".partition("e")
    return f"{mantissa}…{e}{exponent}"


def joined(*parts: list[Piece] | str | Formula) -> list[Piece]:
    """The pieces of all parts, of which those that are text have no role."""
    found: list[Piece] = []
    for part in parts:
        if isinstance(part, str):
            found.append((part, ""))
        else:
            found += part.pieces() if isinstance(part, Formula) else part
    return found


def listed(members: Iterable[Formula]) -> Iterator[list[Piece] | str]:
    """Formulas with commas between them."""
    return separated([member.pieces() for member in members])


def separated(members: Iterable[list[Piece]]) -> Iterator[list[Piece] | str]:
    """Pieces with commas between them."""
    for k, member in enumerate(members):
        if k:
            yield ", "
        yield member


def bracketed(pieces: list[Piece]) -> list[Piece]:
    """Pieces in brackets."""
    return joined("(", pieces, ")")


def plain(formula: Formula) -> Formula:
    """A formula without the mark of a residual."""
    return formula.formula if isinstance(formula, Residual) else formula


def called(function: str, *arguments: Formula, **parameters: Any) -> Formula:
    """``function(arguments, name=value)``; a parameter whose name begins with an underscore is written without it."""
    return Call(function, arguments, tuple(parameter(*it) for it in parameters.items()))


def parameter(name: str, value: Any) -> tuple[str, str | Formula]:
    """A parameter of a call, as the call holds it."""
    return "" if name.startswith("_") else name, value if isinstance(value, Formula) else str(value)


def shown(numbers: Sequence[Any]) -> str:
    """A tuple of parameters as text."""
    return str(numbers[0]) if len(numbers) == 1 else f"({', '.join(map(str, numbers))})"


def array_of(x: Formula) -> Formula:
    """A formula for an array: a number that stands for one, at each index, is written as an array."""
    return called("full", Symbol(str(x.type.shape)), x).of_type(x.type) if isinstance(x, Number) and x.type and x.type.shape else x


def axes_text(axes: Sequence[int], x: Formula) -> dict[str, str]:
    """The parameter ``axis`` of a reduction of ``x``; none if it is over all axes."""
    return {} if x.type is None or len(axes) == x.type.ndim else {"axis": shown(axes)}


def at_axes(axes: Sequence[int], indices: Sequence[Formula]) -> tuple[Formula, ...]:
    """The indices of an array, of which each is at one of ``axes``, or all at the leading ones."""
    if not axes:
        return tuple(indices)
    return tuple(dict(zip(axes, indices, strict=True)).get(k, Symbol(":")) for k in range(max(axes) + 1))


def slice_text(start: Any, stop: Any, step: Any) -> str:
    """``start:stop:step`` as in an index."""
    return f"{start}:{stop}" if step == 1 else f"{start}:{stop}:{step}"
