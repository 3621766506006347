"""The affine index algebra: linear forms of loop variables, simplified as they are built.

An index that is a number is a Python int. Others are an `Index`: a constant plus multiples of `Atom`s, each with the range of its values,
so that ``(i * 4 + j) // 4`` is ``i`` where ``0 <= j < 4``, and a comparison whose outcome is certain is a bool. Two indices are the same
number wherever they are equal. This module knows nothing of LLVM: the code generator gives atoms their values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, final
from weakref import WeakValueDictionary

from cotan.core.sizes import Size, integer

__all__ = ["Atom", "Condition", "ElementIndex", "Index", "bounds", "linear", "variable"]

HUGE = 1 << 62
NUMBERS = (int, Size)


class Atom:
    """A part of an index: a variable, a value that was loaded, or the quotient or remainder of an index.

    ``value`` denotes it outside this module: an LLVM register in code, the symbol of an axis (``("o", 0)``) in an analysis; None where
    ``of`` defines it: ``("div", x, n)`` or ``("mod", x, n)``.
    """

    __slots__ = ("__weakref__", "high", "low", "of", "value")

    def __init__(self, value: Any, low: int = -HUGE, high: int = HUGE, of: tuple[str, Index, int] | None = None):
        self.value, self.low, self.high, self.of = value, low, high, of


@final
class Index:
    """``constant + sum of factor * atom``."""

    __slots__ = ("_hash", "constant", "terms")

    def __init__(self, terms: dict[Atom, int], constant: int):
        self.terms, self.constant = terms, constant
        self._hash = hash((frozenset(terms.items()), constant))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return type(other) is Index and self._hash == other._hash and self.constant == other.constant and self.terms == other.terms

    def __add__(self, other: Index | int) -> Index | int:
        return linear([(self, 1), (other, 1)])

    def __sub__(self, other: Index | int) -> Index | int:
        return linear([(self, 1), (other, -1)])

    def __rsub__(self, other: Index | int) -> Index | int:
        return linear([(self, -1), (other, 1)])

    def __mul__(self, factor: int) -> Index | int:
        if type(factor) not in NUMBERS:
            raise TypeError("an index times an index")
        return linear([(self, factor)])

    __radd__, __rmul__ = __add__, __mul__

    def __floordiv__(self, n: int) -> Index | int:
        return self.divided(n)[0]

    def __mod__(self, n: int) -> Index | int:
        return self.divided(n)[1]

    def divided(self, n: int) -> tuple[Index | int, Index | int]:
        """Quotient and remainder: multiples of ``n`` are taken out, the rest is an atom unless it is below ``n``. There are no elements
        where ``n`` is zero, so that any result will do.
        """
        if type(n) not in NUMBERS or n < 0:
            raise TypeError("an index is divided by natural numbers only")
        if n <= 1:
            return (self, 0) if n else (0, 0)
        whole = Index({a: k // n for a, k in self.terms.items() if k % n == 0}, 0)
        rest = linear([(Index({a: k for a, k in self.terms.items() if k % n}, self.constant), 1)])
        low, high = bounds(rest)
        if low >= 0 and high < n:
            return linear([(whole, 1)]), rest
        if type(rest) is not Index:
            return linear([(whole, 1), (rest // n, 1)]), rest % n
        quotient = Index({Atom(None, low // n, high // n, ("div", rest, n)): 1}, 0)
        return linear([(whole, 1), (intern(quotient), 1)]), intern(Index({Atom(None, 0, n - 1, ("mod", rest, n)): 1}, 0))

    def __lt__(self, other: Index | int) -> Condition | bool:
        return compared("<", self - other)

    def __ge__(self, other: Index | int) -> Condition | bool:
        return compared(">=", self - other)

    def __gt__(self, other: Index | int) -> Condition | bool:
        return compared("<", other - self)

    def __le__(self, other: Index | int) -> Condition | bool:
        return compared(">=", other - self)


ElementIndex = tuple[Index | int, ...]
"""The index of an element of an array: one index for each axis."""
_atoms: WeakValueDictionary[tuple[str, Index, int], Atom] = WeakValueDictionary()
"""The atoms of quotients and remainders that are in use."""


def intern(index: Index) -> Index:
    """The index of one quotient or remainder, with one atom for equal ones."""
    ((atom, _),) = index.terms.items()
    assert atom.of is not None
    return Index({_atoms.setdefault(atom.of, atom): 1}, 0)


def variable(value: str | tuple[str, int], count: int, first: int = 0) -> Index:
    """The index of a loop variable that goes from ``first`` to ``count - 1``."""
    return Index({Atom(value, first, max(count - 1, first)): 1}, 0)


def linear(parts: Iterable[tuple[Index | int, int]]) -> Index | int:
    """The sum of multiples of indices and numbers."""
    terms: dict[Atom, int] = {}
    constant = 0
    for part, factor in parts:
        if type(part) is Index:
            constant += factor * part.constant
            for atom, k in part.terms.items():
                terms[atom] = terms.get(atom, 0) + factor * k
        else:
            constant += factor * integer(part)
    if any(a.of is not None for a in terms):
        constant += put_together(terms)
    terms = {a: k for a, k in terms.items() if k}
    return Index(terms, constant) if terms else constant


def put_together(terms: dict[Atom, int]) -> int:
    """Replace ``n * (x // n) + x % n`` by ``x`` where both are there; the constant that this adds."""
    constant = 0
    for atom, (_, x, n) in [(a, a.of) for a in terms if a.of is not None and a.of[0] == "mod"]:
        quotient = _atoms.get(("div", x, n))
        k = terms.get(atom, 0)
        if k and quotient is not None and terms.get(quotient) == k * n:
            terms[atom] = terms[quotient] = 0
            constant += k * x.constant
            for a, m in x.terms.items():
                terms[a] = terms.get(a, 0) + k * m
    return constant


def bounds(index: Index | int) -> tuple[int, int]:
    """The least and the greatest value."""
    if type(index) is not Index:
        return integer(index), integer(index)
    low = high = index.constant
    for atom, k in index.terms.items():
        low += k * (atom.low if k > 0 else atom.high)
        high += k * (atom.high if k > 0 else atom.low)
    return low, high


class Condition:
    """An index below zero, or at least zero; or two conditions joined.

    ``parts`` is the index where the ``sign`` is "<" or ">=", and the two conditions where it is "and" or "or".
    """

    __slots__ = ("parts", "sign")

    def __init__(self, sign: str, *parts: Any):
        self.sign, self.parts = sign, parts

    def __and__(self, other: Condition | bool) -> Condition | bool:
        return (self if other else False) if isinstance(other, bool) else Condition("and", self, other)

    def __or__(self, other: Condition | bool) -> Condition | bool:
        return (True if other else self) if isinstance(other, bool) else Condition("or", self, other)

    __rand__, __ror__ = __and__, __or__

    def __bool__(self) -> bool:
        raise TypeError("a condition of indices is known only when the code runs: use it in emitter.choose")


def compared(sign: str, difference: Index | int) -> Condition | bool:
    """Whether a difference is below zero, or at least zero: a bool where that is certain."""
    low, high = bounds(difference)
    if low >= 0:
        return sign == ">="
    if high < 0:
        return sign == "<"
    return Condition(sign, difference)
