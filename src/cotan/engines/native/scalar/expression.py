"""Scalars of native code, and formulas of them: a `Expression` is written like a number, and emits what it says.

A module of words (`words_*.py`) defines each of its functions once, as a formula of terms, under the kind
of the operands and the name by which defining equations call it. The emitter looks them up in `FORMULAS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from cotan.engines.native.llvm.builder import Module

__all__ = [
    "BOOL",
    "COMPLEX",
    "FORMULAS",
    "HALF",
    "Expression",
    "NoInstructionError",
    "Scalar",
    "ScalarEmitter",
    "formula",
    "helper",
    "supported",
    "where",
]

BOOL, HALF = np.dtype(np.bool_), np.dtype(np.float16)
COMPLEX = {np.dtype(np.complex64): np.dtype(np.float32), np.dtype(np.complex128): np.dtype(np.float64)}


class NoInstructionError(NotImplementedError):
    """A scalar function that the emitter does not have for this dtype."""


class Scalar(NamedTuple):
    """A value and its dtype; the value of a complex one is the pair of its parts."""

    value: Any
    dtype: np.dtype[Any]


def supported(dtype: np.dtype[Any]) -> bool:
    """Whether there are scalars of this dtype."""
    return dtype.isnative and (dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize in (2, 4, 8)) or dtype in COMPLEX)


class ScalarEmitter(Protocol):
    """What a formula needs of the emitter: `emitter.LlvmEmitter`, which imports the formulas."""

    module: Module

    def constant(self, value: Any, dtype: np.dtype[Any]) -> Scalar: ...

    def cast(self, operand: Scalar, dtype: np.dtype[Any]) -> Scalar: ...

    def math(self, name: str, *operands: Any) -> Scalar:
        """The scalar function ``name``, as defining equations call it."""
        ...

    def value(self, dtype: np.dtype[Any], text: str) -> Scalar:
        """The scalar that a pure instruction gives."""
        ...

    def bits(self, x: Scalar, dtype: np.dtype[Any]) -> Scalar:
        """The same bits as another dtype."""
        ...

    def fused(self, x: Scalar, y: Scalar, z: Scalar, exactly: bool = False) -> Scalar:
        """The sum ``x * y + z``: rounded once where the processor can, or, slowly where it cannot, ``exactly`` so."""
        ...

    def remainder(self, x: Scalar, y: Scalar) -> Scalar:
        """The remainder of a division rounded to zero."""
        ...

    def function(self, name: str, operands: Sequence[np.dtype[Any]], body: Callable[..., Scalar]) -> np.dtype[Any]:
        """A function of its own that computes ``body``, written once; the dtype of its result."""
        ...

    def call(self, name: str, dtype: np.dtype[Any], *operands: Scalar) -> Scalar:
        """A call of a pure function of real numbers."""
        ...

    def call_complex(self, name: str, *operands: Scalar, further: Sequence[tuple[str, str]] = ()) -> Scalar:
        """A call of a C function of complex numbers."""
        ...

    def declared(self, symbol: str, result: str, arguments: Sequence[tuple[str, str]]) -> str:
        """The text of a call of a pure function, which is declared."""
        ...


class Expression:
    """A scalar with the emitter that knows it. A number beside it is a constant of its dtype."""

    __slots__ = ("e", "scalar")

    def __init__(self, e: ScalarEmitter, scalar: Scalar):
        self.e, self.scalar = e, scalar

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.scalar.dtype

    def math(self, name: str, *others: Any) -> Expression:
        """The function ``name`` of it, as defining equations call it."""
        return Expression(self.e, self.e.math(name, self.scalar, *[self.like(x).scalar for x in others]))

    def like(self, x: Any) -> Expression:
        """A term, or a number as a constant."""
        return x if type(x) is Expression else Expression(self.e, self.e.constant(x, self.dtype))

    def cast(self, dtype: Any) -> Expression:
        return Expression(self.e, self.e.cast(self.scalar, np.dtype(dtype)))

    def bits(self, dtype: Any) -> Expression:
        """The same bits as a number of another dtype of this size."""
        return Expression(self.e, self.e.bits(self.scalar, np.dtype(dtype)))

    def fused(self, factor: Any, term: Any) -> Expression:
        """``self * factor + term``, rounded once where the processor can, else twice."""
        return Expression(self.e, self.e.fused(self.scalar, self.like(factor).scalar, self.like(term).scalar))

    def product_and_error(self, other: Expression) -> tuple[Expression, Expression]:
        """The rounded product, and what was rounded off, exactly."""
        product = self * other
        return product, Expression(self.e, self.e.fused(self.scalar, other.scalar, (-product).scalar, exactly=True))

    def __add__(self, other: Any) -> Expression:
        return self.math("add", other)

    def __radd__(self, other: Any) -> Expression:
        return self.like(other) + self

    def __sub__(self, other: Any) -> Expression:
        return self.math("sub", other)

    def __rsub__(self, other: Any) -> Expression:
        return self.like(other) - self

    def __mul__(self, other: Any) -> Expression:
        return self.math("mul", other)

    def __rmul__(self, other: Any) -> Expression:
        return self.like(other) * self

    def __truediv__(self, other: Any) -> Expression:
        return self.math("div", other)

    def __rtruediv__(self, other: Any) -> Expression:
        return self.like(other) / self

    def __neg__(self) -> Expression:
        return self.math("neg")

    def __abs__(self) -> Expression:
        return self.math("abs")

    # Comparisons are terms of bools; equality of terms is not that of Python.
    def equals(self, other: Any) -> Expression:
        return self.math("eq", other)

    def differs(self, other: Any) -> Expression:
        return self.math("ne", other)

    def __lt__(self, other: Any) -> Expression:
        return self.math("lt", other)

    def __le__(self, other: Any) -> Expression:
        return self.math("le", other)

    def __gt__(self, other: Any) -> Expression:
        return self.math("gt", other)

    def __ge__(self, other: Any) -> Expression:
        return self.math("ge", other)

    def __and__(self, other: Any) -> Expression:
        return self.math("and", other)

    def __or__(self, other: Any) -> Expression:
        return self.math("or", other)

    def __xor__(self, other: Any) -> Expression:
        return self.math("xor", other)

    def __invert__(self) -> Expression:
        return self.math("not")

    @property
    def is_nan(self) -> Expression:
        return self.math("isnan")

    # ---- complex numbers
    @property
    def re(self) -> Expression:
        return self.math("real")

    @property
    def im(self) -> Expression:
        return self.math("imag")

    def i(self, im: Any) -> Expression:
        """The complex number with this real part."""
        return self.math("complex", im)


def where(condition: Expression, yes: Any, no: Any) -> Expression:
    """``yes`` where the condition holds, else ``no``; one of them is a term."""
    like = yes if type(yes) is Expression else no
    return condition.math("select", like.like(no), like.like(yes))


FORMULAS: dict[tuple[str, str], Callable[..., Expression]] = {}
"""The functions that are formulas, by the kind of their first operand (bool, integer, half, float, complex) and their name."""


def formula(*kinds: str, name: str = "") -> Callable[[Callable[..., Expression]], Callable[..., Expression]]:
    """Make a function of terms the meaning of its name for operands of these kinds."""

    def defined(function: Callable[..., Expression]) -> Callable[..., Expression]:
        for kind in kinds:
            FORMULAS[kind, name or function.__name__] = function
        return function

    return defined


def helper(name: str, body: Callable[..., Expression], *operands: Expression) -> Expression:
    """``body`` of the operands as a function of its own, written once in a module: what has loops or is long."""
    e = operands[0].e
    dtype = e.function(name, [x.dtype for x in operands], lambda *xs: body(*[Expression(e, x) for x in xs]).scalar)
    return Expression(e, e.call(name, dtype, *[x.scalar for x in operands]))
