"""Scalars of native code, scalar expressions, and the registry of scalar formulas.

A `Scalar` is an LLVM register or constant with its dtype, an `LlvmExpression` a scalar that is written like a number and emits LLVM
instructions. A module of formulas (``formulas_*.py``) defines each scalar function once, as a formula of expressions, under the kind of its
first operand and the name by which defining equations call it. `emitter.LlvmEmitter` looks the function up in `FORMULAS`. Formulas import
this module and never the emitter, whose interface to them is `ScalarEmitter`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import DTypeLike

from cotan.core.emitting import DType, Emitter, Expression
from cotan.core.sizes import Mark
from cotan.engines.native.llvm.builder import Module, register_type

__all__ = [
    "BOOL",
    "COMPLEX",
    "FORMULAS",
    "HALF",
    "LlvmExpression",
    "NoInstructionError",
    "Operand",
    "Scalar",
    "ScalarEmitter",
    "ScalarValue",
    "formula",
    "helper",
    "instruction",
    "is_constant",
    "is_finite_and_not_zero",
    "number_of",
    "supported",
    "swapped",
]

BOOL, HALF = np.dtype(np.bool_), np.dtype(np.float16)
COMPLEX = {np.dtype(np.complex64): np.dtype(np.float32), np.dtype(np.complex128): np.dtype(np.float64)}
"""The dtypes of complex numbers, and of their parts."""
ScalarValue = str | tuple[str, str]
"""The LLVM register (``%v12``) or constant of a real scalar; those of both parts of a complex one."""


class NoInstructionError(NotImplementedError):
    """A scalar function that the emitter does not have for this dtype."""


class Scalar(NamedTuple):
    """A value and its dtype."""

    value: ScalarValue
    dtype: DType

    @property
    def register(self) -> str:
        """The register or constant of a real scalar."""
        assert isinstance(self.value, str)
        return self.value


Operand = Scalar | int | float
"""An operand of a scalar function by name; the static parameters of some functions are Python numbers (the order of a Bessel function)."""


def supported(dtype: DType) -> bool:
    """Whether there are scalars of this dtype."""
    return dtype.isnative and (dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize in (2, 4, 8)) or dtype in COMPLEX)


# ---- constants --------------------------------------------------------------------------------------------------------------
def is_constant(x: Operand) -> bool:
    """Whether a scalar is a real constant."""
    return type(x) is Scalar and isinstance(x.value, str) and not x.value.startswith("%")


def number_of(constant: Scalar) -> Any:
    """The number that an LLVM constant denotes, or the Size whose mark it is."""
    literal, dtype = constant.register, constant.dtype
    if type(literal) is Mark:
        return literal.size
    if dtype.kind == "f":
        return struct.unpack("<d", int(literal, 16).to_bytes(8, "little"))[0]
    if dtype.kind == "b":
        return literal == "true"
    return int(literal) % (1 << 8 * dtype.itemsize) if dtype.kind == "u" else int(literal)


def is_finite_and_not_zero(x: Scalar) -> bool:
    """Whether a float is known to be so: a constant, finite and not zero."""
    number = number_of(x) if is_constant(x) else 0.0
    return number != 0 and abs(number) < math.inf


# ---- expressions ------------------------------------------------------------------------------------------------------------
class ScalarEmitter(Emitter, Protocol):
    """The interface of the emitter to formulas."""

    module: Module

    def value(self, dtype: DType, ir: str) -> Scalar:
        """The result of a pure instruction."""
        ...

    def bits(self, x: Scalar, dtype: DType) -> Scalar:
        """The bits of a scalar as a number of another dtype of its size."""
        ...

    def float_function(self, name: str, dtype: DType, *xs: str) -> str:
        """The result of an instruction or of a function of the C library, on registers of floats of this dtype."""
        ...

    def fused(self, x: Scalar, y: Scalar, z: Scalar, exactly: bool = False) -> Scalar:
        """The sum ``x * y + z``: rounded once where the processor can; with ``exactly``, once also where that is slow."""
        ...

    def remainder(self, x: Scalar, y: Scalar) -> Scalar:
        """The remainder of a division rounded to zero."""
        ...

    def function(self, name: str, operands: Sequence[DType], body: Callable[..., Scalar]) -> DType:
        """Define a function that computes ``body``, unless the module has it; the dtype of its result."""
        ...

    def call(self, name: str, dtype: DType, *operands: Scalar) -> Scalar:
        """A call of a pure function of real numbers."""
        ...

    def call_complex(self, name: str, *operands: Scalar, further: Sequence[tuple[str, str]] = ()) -> Scalar:
        """A call of a C function of complex numbers."""
        ...

    def pure_call(self, symbol: str, result: str, arguments: Sequence[tuple[str, str]]) -> str:
        """The LLVM IR of a call of a pure function, which is declared; arguments are pairs of a type and a value."""
        ...


class LlvmExpression(Expression[ScalarEmitter, Scalar]):
    """An expression of LLVM scalars, which carry their dtype."""

    __slots__ = ()

    @property
    def dtype(self) -> DType:
        return self.scalar.dtype

    def of(self, scalar: Scalar) -> Self:
        return type(self)(self.e, scalar)

    def cast(self, dtype: DTypeLike) -> Self:
        return self.of(self.e.cast(self.scalar, np.dtype(dtype)))

    def bits(self, dtype: DTypeLike) -> Self:
        """The bits as a number of another dtype of this size."""
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


def instruction(name: str, *operands: LlvmExpression, dtype: DType | None = None) -> LlvmExpression:
    """An LLVM instruction on operands of one type: ``instruction("fcmp uno", x, x, dtype=BOOL)``."""
    x = operands[0]
    registers = ", ".join(y.scalar.register for y in operands)
    return x.of(x.e.value(dtype or x.dtype, f"{name} {register_type(x.dtype)} {registers}"))


def helper(name: str, body: Callable[..., LlvmExpression], *operands: LlvmExpression) -> LlvmExpression:
    """``body`` of the operands as a function of its own, defined once in a module: for formulas that are long."""
    e = operands[0].e
    dtype = e.function(name, [x.dtype for x in operands], lambda *xs: body(*[LlvmExpression(e, x) for x in xs]).scalar)
    return LlvmExpression(e, e.call(name, dtype, *[x.scalar for x in operands]))


# ---- formulas ---------------------------------------------------------------------------------------------------------------
FORMULAS: dict[tuple[str, str], Callable[..., LlvmExpression]] = {}
"""The scalar functions that are formulas, by the kind of their first operand (bool, integer, half, float, complex) and their name."""


def formula(*kinds: str, name: str = "") -> Callable[[Callable[..., LlvmExpression]], Callable[..., LlvmExpression]]:
    """Register a function of expressions as the scalar function of its name for operands of these kinds."""

    def register(function: Callable[..., LlvmExpression]) -> Callable[..., LlvmExpression]:
        for kind in kinds:
            FORMULAS[kind, name or function.__name__] = function
        return function

    return register


def swapped(z: LlvmExpression) -> LlvmExpression:
    """A complex number with its real and imaginary parts exchanged."""
    return z.im.i(z.re)
