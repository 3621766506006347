"""Symbolic sizes: numbers that know how they come from the sizes of arguments, so that one trace serves many sizes.

A `Size` has the value that it has in the run at hand, and an expression in the sizes of arguments. Python computes with it as with a
number: arithmetic gives a Size or, where the expression is constant, a plain number. What depends on the value is noted in the `SizeLog`:

- a comparison is a *condition*: another size takes the same path through the code if it meets all conditions;
- a conversion to a plain number (``range(n)``, ``float(n)``, ``f"{n}"``, ``np.zeros(n)``, a key of a dict) *pins* the expression: a
  condition that it has this value.

Invariant: a run of Python code on Sizes does, for all sizes that meet the conditions of its log, what it does on these sizes, and its
results are the values of their expressions there. For Size is no subclass of int: nothing, not even code in C, comes to its value but by a
method of this class. There are two gaps. ``type(n) is int`` is False, where ``isinstance(n, int)`` is True. And code of cotan hashes
expressions, not values, so that a table may hold two keys that are equal for some size; code that asks one must be right, if slower, when
equal keys are told apart. Whoever relies on a log therefore compares the result with that of a run on plain numbers, for two values of each
size (`engines.native.sized`).

An integer is a polynomial of *atoms* with integer coefficients: the sizes of arguments, quotients, remainders. Equal polynomials have one
expression: ``n - 1 + 1`` is ``n``. Any other operation makes a new atom.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .origin import Origin, user_frame

__all__ = ["MARKS", "Mark", "Size", "SizeLog", "as_index", "integer", "integer_in", "is_int", "plain_number", "real"]

Monomial = tuple[int, ...]
"""A product of atoms, by their numbers in order."""
Polynomial = dict[Monomial, int]
ONE: Monomial = ()
INFIX = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**",
    "lshift": "<<", "rshift": ">>", "and_": "&", "or_": "|", "xor": "^",
}  # fmt: skip
ROUNDING = ("//", "%", ">>", "&", "bit_length", "floor", "ceil", "trunc")
COMPARED = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
MARKS = "\x01", "\x02"
"""Around the number of a `Mark`."""
OURS = __name__.partition(".")[0] + "."
ENGINE = OURS + "engines.native."
CONTAINERS = {"collections", "dataclasses", "functools", "weakref"}
"""Modules whose code hashes what it is given: their callers are looked at instead."""
PYTHON = (int, float, bool)
FOREIGN = (np.generic, np.ndarray, complex)
"""Operands with which there is no expression."""


class Mark(str):
    """The text that stands for a ``size`` in code that the engine writes: a number between two characters that occur nowhere else."""

    size: Size
    __slots__ = ("size",)


class SizeLog:
    """The atoms and conditions of one run, in the order in which they came up."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}
        """The number of an atom by its definition."""
        self.atoms: list[str] = []
        """The names of the atoms; those of sizes of arguments are ``n0``, ``n1``, ..., and come first."""
        self.values: list[Any] = []
        self.many_to_one: list[bool] = []
        """Whether an atom has one value for many values of its operands, as a quotient has."""
        self.steps: list[str] = []
        """The run as Python code: definitions of atoms, and conditions, which return None where they do not hold."""
        self.conditions: set[str] = set()
        self.fixed: list[Origin | None] = []
        """The user's lines at which the sizes of arguments were found to have one value."""
        self.marks: dict[str, Mark] = {}
        """The marks of expressions, in the order of their numbers."""
        self.given: list[int] = []
        """The sizes of arguments."""
        self.closed = False

    def variable(self, value: int) -> Size:
        """The size of an argument."""
        self.given.append(value)
        return self.new_atom("n", value)

    def new_atom(self, letter: str, value: Any, *, many_to_one: bool = False) -> Size:
        number = len(self.atoms)
        self.many_to_one.append(many_to_one)
        self.atoms.append(f"{letter}{number}")
        self.values.append(value)
        return Size(self, {(number,): 1}, value)

    def atom(self, definition: str, value: Any, *operands: Any) -> Any:
        """The result of an operation on these operands, by its Python expression."""
        number = self.known.get(definition)
        if number is not None:
            return Size(self, {(number,): 1}, value)
        found = self.new_atom("a", value, many_to_one=self.merges(definition, operands))
        self.known[definition] = len(self.atoms) - 1
        self.steps.append(f"{found.text} = {definition}")
        return found

    def merges(self, definition: str, operands: Sequence[Any]) -> bool:
        """Whether an atom has one value for many sizes of arguments."""
        if any(sign in definition for sign in ROUNDING):
            return True
        sizes = [x for x in operands if type(x) is Size]
        return bool(sizes) and all(self.many_to_one[k] for x in sizes for monomial in x.terms for k in monomial)

    def condition(self, text: str) -> None:
        """Note a condition, which holds for the values at hand."""
        if not self.closed and text not in self.conditions:
            self.conditions.add(text)
            self.steps.append(f"if not ({text}): return None")

    def pin(self, size: Size) -> Any:
        """The value of a Size that somebody looks at."""
        if not self.closed:
            self.condition(f"{size.text} == {size.value!r}")
            self.fix(size, pinned=True)
        return size.value

    def fix(self, size: Size, *, pinned: bool = False) -> None:
        """Note that a Size has one value, since it was ``pinned`` or compared with that value. Unless many sizes of arguments give that
        value, or the comparison says how sizes are related, the run is for these sizes alone.
        """
        atoms = {k for monomial in size.terms for k in monomial}
        if not all(self.many_to_one[k] for k in atoms) and (len(atoms) == 1 or pinned):
            frame = user_frame(sys._getframe(1))
            self.fixed.append(Origin(frame.f_code, frame.f_lasti) if frame is not None else None)

    def mark(self, size: Size) -> Mark:
        """The text that stands for a Size in code."""
        mark = self.marks.get(size.text)
        if mark is None:
            mark = self.marks[size.text] = Mark(f"{MARKS[0]}{len(self.marks)}{MARKS[1]}")
            mark.size = size
        return mark

    def close(self) -> None:
        """The run has ended: from now on its Sizes are plain numbers."""
        self.closed = True
        self.known.clear()
        self.marks.clear()
        self.conditions.clear()

    def function(self, results: Iterable[Any]) -> Callable[..., tuple[Any, ...] | None]:
        """The function of the variables that gives the values of these expressions, or None where a condition does not hold."""
        body = [*self.steps, f"return ({''.join(f'{text_of(x)}, ' for x in results)})"]
        namespace: dict[str, Any] = {
            "np": np,
            "floor": math.floor,
            "ceil": math.ceil,
            "trunc": math.trunc,
            "inf": math.inf,
            "nan": math.nan,
        }
        exec(f"def at({', '.join(f'n{k}' for k in range(len(self.given)))}):\n    " + "\n    ".join(body), namespace)
        return namespace["at"]


def text_of(x: Any) -> str:
    """The Python expression of a number."""
    if isinstance(x, np.generic) and type(x) is not Size:
        return f"np.{x.dtype.name}({x.item()!r})"
    return x.text if type(x) is Size else f"({x!r})"


def scalars(operands: Sequence[Any]) -> bool:
    """Whether all are numbers with expressions, and the Sizes among them of one open log."""
    return all(
        type(x) in PYTHON
        or (x.log is not None and not x.log.closed if type(x) is Size else isinstance(x, np.generic) and x.dtype.kind in "iuf")
        for x in operands
    ) and one_log(operands)


def plain_number(x: Any) -> Any:
    """The number itself; that of a Size is pinned."""
    return x.log.pin(x) if type(x) is Size else x


def integer(x: Any) -> Any:
    """An integer of any class as an int, or the Size that it is."""
    return x if type(x) is Size else int(x)


def is_int(x: Any) -> bool:
    """Whether this is an int or an integer Size, and neither a bool nor a number of NumPy."""
    return type(x) is int or (type(x) is Size and type(x.value) is int)


def as_index(x: Any) -> Any:
    """``operator.index`` that leaves a Size as it is."""
    return x if type(x) is Size and type(x.value) is int else operator.index(x)


def integer_in(text: str) -> Any:
    """The integer that is written, or the Size that a mark stands for."""
    return text.size if type(text) is Mark else int(text)


def real(x: Any) -> Any:
    """A number as a float, or as a Size that is one."""
    return x * 1.0 if type(x) is Size else float(x)


def is_hashed_by_cotan() -> bool:
    """Whether the code that hashes a Size is cotan's own."""
    frame = sys._getframe(2)
    while frame.f_globals.get("__name__") in CONTAINERS and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_globals.get("__name__", "").startswith(OURS)


def is_written_by_engine() -> bool:
    """Whether the native engine asks for the text of a Size, itself or through other code of cotan, and no user code is in between."""
    frame = sys._getframe(2)
    while frame is not None and (name := frame.f_globals.get("__name__", "")).startswith(OURS):
        if name.startswith(ENGINE):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


class Size:
    """A number with its expression in the sizes of arguments. To ``isinstance`` it is an int, or a float."""

    __slots__ = ("__weakref__", "log", "terms", "text", "value")

    def __init__(self, log: SizeLog, terms: Polynomial, value: Any):
        self.log, self.terms, self.value = log, terms, value
        self.text = polynomial_text(terms, log.atoms)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self.value)

    # ---- arithmetic ----------------------------------------------------------------------------------------------------------
    def __add__(self, other: Any) -> Any:
        return polynomial(self, other, added) if integers(self, other) else combined("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return polynomial(other, self, added) if integers(other, self) else combined("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return polynomial(self, other, subtracted) if integers(self, other) else combined("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        return polynomial(other, self, subtracted) if integers(other, self) else combined("sub", other, self)

    def __mul__(self, other: Any) -> Any:
        return polynomial(self, other, multiplied) if integers(self, other) else combined("mul", self, other)

    def __rmul__(self, other: Any) -> Any:
        return polynomial(other, self, multiplied) if integers(other, self) else combined("mul", other, self)

    def __floordiv__(self, other: Any) -> Any:
        return divided(self, other)[0] if integers(self, other) else combined("floordiv", self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return divided(other, self)[0] if integers(other, self) else combined("floordiv", other, self)

    def __mod__(self, other: Any) -> Any:
        return divided(self, other)[1] if integers(self, other) else combined("mod", self, other)

    def __rmod__(self, other: Any) -> Any:
        return divided(other, self)[1] if integers(other, self) else combined("mod", other, self)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __truediv__(self, other: Any) -> Any:
        return combined("truediv", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return combined("truediv", other, self)

    def __pow__(self, other: Any) -> Any:
        if type(other) is int and 0 <= other <= 4 and integers(self, other):
            return math.prod([self] * other)
        return combined("pow", self, other)

    def __rpow__(self, other: Any) -> Any:
        return combined("pow", other, self)

    def __lshift__(self, other: Any) -> Any:
        return combined("lshift", self, other)

    def __rlshift__(self, other: Any) -> Any:
        return combined("lshift", other, self)

    def __rshift__(self, other: Any) -> Any:
        return combined("rshift", self, other)

    def __rrshift__(self, other: Any) -> Any:
        return combined("rshift", other, self)

    def __and__(self, other: Any) -> Any:
        return combined("and_", self, other)

    def __rand__(self, other: Any) -> Any:
        return combined("and_", other, self)

    def __or__(self, other: Any) -> Any:
        return combined("or_", self, other)

    def __ror__(self, other: Any) -> Any:
        return combined("or_", other, self)

    def __xor__(self, other: Any) -> Any:
        return combined("xor", self, other)

    def __rxor__(self, other: Any) -> Any:
        return combined("xor", other, self)

    def __neg__(self) -> Any:
        return 0 - self if integers(self, 0) else called("-", self, -self.value)

    def __pos__(self) -> Any:
        return self

    def __invert__(self) -> Any:
        return -1 - self

    def __abs__(self) -> Any:
        return self if self >= 0 else -self

    def __floor__(self) -> Any:
        return self if integers(self, 0) else called("floor", self, math.floor(self.value))

    def __ceil__(self) -> Any:
        return self if integers(self, 0) else called("ceil", self, math.ceil(self.value))

    def __trunc__(self) -> Any:
        return self if integers(self, 0) else called("trunc", self, math.trunc(self.value))

    def __round__(self, digits: int | None = None) -> Any:
        return self if integers(self, 0) and digits is None else round(self.log.pin(self), digits)

    def bit_length(self) -> Any:
        return self.value.bit_length() if self.log.closed else self.log.atom(f"{self.text}.bit_length()", self.value.bit_length(), self)

    # ---- dtypes --------------------------------------------------------------------------------------------------------------
    def converted(self, dtype: np.dtype[Any]) -> Any:
        """The number in a dtype: a float or an int for float64 and int64, as of a number of Python, else a number of NumPy."""
        if dtype == np.float64:
            return self * 1.0
        if dtype == np.int64:
            return math.trunc(self)
        return self.strong(dtype)

    def strong(self, dtype: np.dtype[Any]) -> Any:
        """The number as one of NumPy."""
        if dtype.kind == "c" or self.log.closed:
            return dtype.type(self.log.pin(self))
        return self.log.atom(f"np.{dtype.name}({self.text})", dtype.type(self.value), self)

    def item(self) -> Any:
        """The number of Python that a number of NumPy is."""
        return (
            self
            if isinstance(self.value, PYTHON) and not isinstance(self.value, np.generic)
            else called("np.generic.item", self, self.value.item())
        )

    # ---- conditions ----------------------------------------------------------------------------------------------------------
    def __lt__(self, other: Any) -> bool:
        return compared("lt", self, other)

    def __le__(self, other: Any) -> bool:
        return compared("le", self, other)

    def __gt__(self, other: Any) -> bool:
        return compared("gt", self, other)

    def __ge__(self, other: Any) -> bool:
        return compared("ge", self, other)

    def __eq__(self, other: object) -> bool:
        return compared("eq", self, other)

    def __ne__(self, other: object) -> bool:
        return compared("ne", self, other)

    def __bool__(self) -> bool:
        return compared("ne", self, 0)

    # ---- the value -----------------------------------------------------------------------------------------------------------
    def __hash__(self) -> int:
        if not self.log.closed and is_hashed_by_cotan():
            return hash((id(self.log), self.text))
        return hash(self.log.pin(self))

    def __index__(self) -> int:
        return operator.index(self.log.pin(self))

    def __int__(self) -> int:
        return int(self.log.pin(self))

    def __float__(self) -> float:
        return float(self.log.pin(self))

    def __complex__(self) -> complex:
        return complex(self.log.pin(self))

    def __format__(self, spec: str) -> str:
        if not spec and not self.log.closed and is_written_by_engine():
            return self.log.mark(self)
        return format(self.log.pin(self), spec)

    def __str__(self) -> str:
        return self.log.mark(self) if not self.log.closed and is_written_by_engine() else str(self.log.pin(self))

    def __repr__(self) -> str:
        return self.log.mark(self) if not self.log.closed and is_written_by_engine() else repr(self.log.pin(self))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self.log.pin(self), dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(type(x) is not Size and hasattr(x, "__array_ufunc__") and not isinstance(x, np.ndarray | np.generic) for x in inputs):
            return NotImplemented
        name = ufunc.__name__
        if method == "__call__" and not kwargs and ufunc.nout == 1 and getattr(np, name, None) is ufunc and scalars(inputs):
            value = ufunc(*map(value_of, inputs))
            return self.log.atom(f"np.{name}({', '.join(map(text_of, inputs))})", value, *inputs)
        return getattr(ufunc, method)(*map(plain_number, inputs), **kwargs)

    def __getattr__(self, name: str) -> Any:
        if not hasattr(type(self.value), name):
            raise AttributeError(name)
        return getattr(self.log.pin(self), name)

    def __copy__(self) -> Size:
        return self

    def __deepcopy__(self, memo: Any) -> Size:
        return self

    def __reduce__(self) -> Any:
        return type(self.value), (self.log.pin(self),)


def integers(*operands: Any) -> bool:
    """Whether an operation on these is one of polynomials: each is a plain int or an integer Size, and no log is closed."""
    return all(
        type(x) is int or (type(x) is Size and type(x.value) is int and not x.log.closed) or type(x) is bool for x in operands
    ) and one_log(operands)


def one_log(operands: Sequence[Any]) -> bool:
    logs = {id(x.log) for x in operands if type(x) is Size}
    return len(logs) == 1


def combined(name: str, a: Any, b: Any) -> Any:
    """The result of an operation that has a new atom, or of plain numbers."""
    if not scalars((a, b)):
        if any(type(x) is not Size and type(x) not in PYTHON and not isinstance(x, FOREIGN) for x in (a, b)):
            return NotImplemented
        return getattr(operator, name)(plain_number(a), plain_number(b))
    log: SizeLog = a.log if type(a) is Size else b.log
    value = getattr(operator, name)(value_of(a), value_of(b))
    return log.atom(f"{text_of(a)} {INFIX[name]} {text_of(b)}", value, a, b)


def called(name: str, x: Size, value: Any) -> Any:
    """The result of a function of one Size."""
    return value if x.log.closed else x.log.atom(f"{name}({x.text})", value, x)


def value_of(x: Any) -> Any:
    return x.value if type(x) is Size else x


def compared(name: str, a: Size, b: Any) -> bool:
    """The outcome of a comparison, which is noted as a condition unless it is certain."""
    if not scalars((a, b)):
        if type(b) is not Size and type(b) not in PYTHON and not isinstance(b, FOREIGN):
            return NotImplemented
        return getattr(operator, name)(plain_number(a), plain_number(b))
    outcome = bool(getattr(operator, name)(a.value, value_of(b)))
    if integers(a, b):
        difference = a - b
        if type(difference) is not Size:
            return outcome
        first = difference.terms[max(difference.terms)]
        left = difference if first > 0 else -difference
        flipped = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}.get(name, name) if first < 0 else name
        constant = left.terms.get(ONE, 0)
        text = f"{(left - constant).text} {COMPARED[flipped]} {-constant}"
        if outcome is (name == "eq") and name in ("eq", "ne"):
            a.log.fix(left)
    else:
        text = f"{a.text} {COMPARED[name]} {text_of(b)}"
    a.log.condition(text if outcome else f"not {text}")
    return outcome


# ---- polynomials --------------------------------------------------------------------------------------------------------------
def polynomial_text(terms: Polynomial, atoms: Sequence[str]) -> str:
    parts = []
    for monomial, factor in sorted(terms.items()):
        names = [atoms[k] for k in monomial]
        parts.append("*".join([str(factor), *names] if factor != 1 or not names else names))
    return parts[0] if len(parts) == 1 and parts[0].isidentifier() else f"({' + '.join(parts)})"


def terms_of(x: Any) -> Polynomial:
    return x.terms if type(x) is Size else {ONE: int(x)} if x else {}


def added(a: Polynomial, b: Polynomial) -> Polynomial:
    found = dict(a)
    for monomial, factor in b.items():
        found[monomial] = found.get(monomial, 0) + factor
    return found


def subtracted(a: Polynomial, b: Polynomial) -> Polynomial:
    return added(a, {monomial: -factor for monomial, factor in b.items()})


def multiplied(a: Polynomial, b: Polynomial) -> Polynomial:
    found: Polynomial = {}
    for one, factor in a.items():
        for other, times in b.items():
            monomial = tuple(sorted(one + other))
            found[monomial] = found.get(monomial, 0) + factor * times
    return found


def polynomial(a: Any, b: Any, combine: Callable[[Polynomial, Polynomial], Polynomial]) -> Any:
    """A sum, difference or product of integers."""
    log: SizeLog = a.log if type(a) is Size else b.log
    return settled(log, combine(terms_of(a), terms_of(b)))


def settled(log: SizeLog, terms: Polynomial) -> Any:
    """The Size of a polynomial; a plain int if it is constant."""
    terms = {monomial: factor for monomial, factor in terms.items() if factor}
    if all(monomial == ONE for monomial in terms):
        return terms.get(ONE, 0)
    values = log.values
    return Size(log, terms, sum(factor * math.prod([values[k] for k in monomial]) for monomial, factor in terms.items()))


def divided(a: Any, b: Any) -> tuple[Any, Any]:
    """Quotient and remainder of integers. Multiples of the divisor are taken out, so that ``(4 * n + 3) // 4`` is ``n``."""
    log: SizeLog = a.log if type(a) is Size else b.log
    if type(b) is not Size:
        b = int(b)
        if b <= 0:
            return combined("floordiv", a, b), combined("mod", a, b)
        whole = settled(log, {monomial: factor // b for monomial, factor in a.terms.items()})
        rest = settled(log, {monomial: factor % b for monomial, factor in a.terms.items()})
        return (whole, rest) if type(rest) is not Size else (whole + combined("floordiv", rest, b), combined("mod", rest, b))
    if type(a) is Size and len(b.terms) == 1:
        ((divisor, times),) = b.terms.items()
        found: Polynomial = {}
        for monomial, factor in a.terms.items():
            left = list(monomial)
            if factor % times or any(not taken(left, k) for k in divisor):
                break
            found[tuple(left)] = factor // times
        else:
            if b != 0:
                return settled(log, found), 0
    return combined("floordiv", a, b), combined("mod", a, b)


def taken(atoms: list[int], atom: int) -> bool:
    """Whether an atom was in a product, from which it is taken."""
    if atom in atoms:
        atoms.remove(atom)
        return True
    return False
