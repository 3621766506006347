"""Scalars of native code, and formulas of them: a `Expression` is written like a number, and emits what it says.

A module of words (`words_*.py`) defines each of its functions once, as a formula of terms, under the kind
of the operands and the name by which defining equations call it. The emitter looks them up in `FORMULAS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import DTypeLike

from cotan.core.emitting import Emitter, Expression
from cotan.engines.native.llvm.builder import Module

__all__ = [
    "BOOL",
    "COMPLEX",
    "FORMULAS",
    "HALF",
    "LlvmExpression",
    "NoInstructionError",
    "Scalar",
    "ScalarEmitter",
    "formula",
    "helper",
    "supported",
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


class ScalarEmitter(Emitter, Protocol):
    """What a formula needs of the emitter: `emitter.LlvmEmitter`, which imports the formulas."""

    module: Module

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


class LlvmExpression(Expression[ScalarEmitter, Scalar]):
    """An expression of LLVM scalars, which carry their dtype."""

    __slots__ = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.scalar.dtype

    def of(self, scalar: Scalar) -> Self:
        return type(self)(self.e, scalar)

    def cast(self, dtype: DTypeLike) -> Self:
        return self.of(self.e.cast(self.scalar, np.dtype(dtype)))

    def bits(self, dtype: DTypeLike) -> Self:
        """The same bits as a number of another dtype of this size."""
        return self.of(self.e.bits(self.scalar, np.dtype(dtype)))

    def fused(self, factor: Self | complex, term: Self | complex) -> Self:
        return self.of(self.e.fused(self.scalar, self.like(factor).scalar, self.like(term).scalar))

    def product_and_error(self, other: Self) -> tuple[Self, Self]:
        """The rounded product, and its rounding error, exactly."""
        product = self * other
        return product, self.of(self.e.fused(self.scalar, other.scalar, (-product).scalar, exactly=True))

    @property
    def is_nan(self) -> Self:
        return self.math("isnan")

    # ---- complex numbers
    @property
    def re(self) -> Self:
        return self.math("real")

    @property
    def im(self) -> Self:
        return self.math("imag")

    def i(self, im: Self | complex) -> Self:
        """The complex number with this real part."""
        return self.math("complex", im)


FORMULAS: dict[tuple[str, str], Callable[..., LlvmExpression]] = {}
"""The functions that are formulas, by the kind of their first operand (bool, integer, half, float, complex) and their name."""


def formula(*kinds: str, name: str = "") -> Callable[[Callable[..., LlvmExpression]], Callable[..., LlvmExpression]]:
    """Make a function of terms the meaning of its name for operands of these kinds."""

    def defined(function: Callable[..., LlvmExpression]) -> Callable[..., LlvmExpression]:
        for kind in kinds:
            FORMULAS[kind, name or function.__name__] = function
        return function

    return defined


def helper(name: str, body: Callable[..., LlvmExpression], *operands: LlvmExpression) -> LlvmExpression:
    """``body`` of the operands as a function of its own, written once in a module: what has loops or is long."""
    e = operands[0].e
    dtype = e.function(name, [x.dtype for x in operands], lambda *xs: body(*[LlvmExpression(e, x) for x in xs]).scalar)
    return LlvmExpression(e, e.call(name, dtype, *[x.scalar for x in operands]))
