"""Scalar formulas of integers and bools: signs, order, division, powers, shifts.

Where mathematics has no result (a division by zero, a shift by too many bits), the result is NumPy's. `emitter` looks the
formulas up in `expression.FORMULAS`.
"""

from __future__ import annotations

import numpy as np

from cotan.core.emitting import where
from cotan.engines.native.llvm.builder import register_type

from .expression import LlvmExpression, NoInstructionError, Scalar, formula, helper, instruction
from .vector_variants import guarded

__all__: list[str] = []

DOUBLE = np.dtype(np.float64)
FEW_SQUARES = 16
"""Powers of integers of up to so many bits are computed by all squares."""
SMALL_EXPONENT = 31
"""The exponents of wider integers that take few squares, and no branch: in vectors they are computed together."""


@formula("bool", "integer")
def floor(x: LlvmExpression) -> LlvmExpression:
    """The number itself."""
    return x


formula("bool", "integer", name="ceil")(floor)
formula("bool", "integer", name="trunc")(floor)


# ---- signs and order --------------------------------------------------------------------------------------------------------
@formula("integer", name="not")
def invert(x: LlvmExpression) -> LlvmExpression:
    return instruction("xor", x, x.like(-1))


@formula("integer")
def neg(x: LlvmExpression) -> LlvmExpression:
    return instruction("sub", x.like(0), x)


@formula("integer")
def maximum(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    return where(x > y, x, y)


@formula("integer")
def minimum(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    return where(x < y, x, y)


@formula("integer", name="abs")
def magnitude(x: LlvmExpression) -> LlvmExpression:
    return x if x.dtype.kind == "u" else x.math("maximum", -x)


@formula("integer")
def sign(x: LlvmExpression) -> LlvmExpression:
    positive, negative = x > 0, x < 0
    return where(positive, 1, where(negative, x.like(-1), 0))


# ---- division ---------------------------------------------------------------------------------------------------------------
def truncated(x: LlvmExpression, y: LlvmExpression) -> tuple[LlvmExpression, LlvmExpression]:
    """Quotient and remainder, rounded to zero; the quotient must exist.

    Processors divide vectors of floats alone. Doubles are exact enough for 32 bits: a quotient that is no integer is farther from the
    next one than 2^-31 of its size.
    """
    letter = "u" if x.dtype.kind == "u" else "s"
    if x.dtype.itemsize == 8:
        return instruction(f"{letter}div", x, y), instruction(f"{letter}rem", x, y)
    real = x.cast(DOUBLE) / y.cast(DOUBLE)
    quotient = x.of(x.e.value(x.dtype, f"fpto{letter}i double {real.scalar.value} to {register_type(x.dtype)}"))
    return quotient, x - quotient * y


def floor_quotient_and_remainder(x: LlvmExpression, y: LlvmExpression) -> tuple[LlvmExpression, LlvmExpression]:
    """Quotient and remainder, rounded down. Both are 0 for a divisor of 0; the least number divided by -1 is itself."""
    zero = y.equals(0)
    if x.dtype.kind == "u":
        q, r = truncated(x, where(zero, 1, y))
        return where(zero, 0, q), where(zero, 0, r)
    minus_one = y.equals(-1)
    safe = where(zero | minus_one, 1, y)
    q, r = truncated(x, safe)
    down = ((r ^ safe) < 0) & r.differs(0)
    q, r = where(down, q - 1, q), where(down, r + safe, r)
    return where(zero, 0, where(minus_one, -x, q)), where(zero, 0, r)


@formula("integer")
def rem(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    return floor_quotient_and_remainder(x, y)[1]


@formula("integer")
def floor_divide(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    return floor_quotient_and_remainder(x, y)[0]


@formula("integer", name="pow")
def power(x: LlvmExpression, n: LlvmExpression) -> LlvmExpression:
    """By squaring, modulo the size of the dtype. NumPy raises for a negative exponent, which native code cannot."""
    if n.dtype.kind != "u":
        raise NoInstructionError("powers of signed integers, which raise for a negative exponent")
    bits = 8 * n.dtype.itemsize
    if bits <= FEW_SQUARES:
        return helper(f"cotan_power_{x.dtype}", lambda x, n: by_squaring(x, n, bits), x, n)
    few = SMALL_EXPONENT.bit_length()
    return guarded("power", lambda x, n: (by_squaring(x, n, few), n <= SMALL_EXPONENT), by_all_squares, x, n)


def by_squaring(x: LlvmExpression, n: LlvmExpression, bits: int) -> LlvmExpression:
    """x^n for an exponent of so many bits."""
    result = where((n & 1).differs(0), x, 1)
    for k in range(1, bits):
        x = x * x
        result = where((n & (1 << k)).differs(0), result * x, result)
    return result


def by_all_squares(x: LlvmExpression, n: LlvmExpression) -> LlvmExpression:
    """x^n, in a loop over the bits of the exponent."""
    e, code, ir_type, bits = x.e, x.e.module.code, register_type(x.dtype), 8 * n.dtype.itemsize
    result, square = code.alloca(ir_type), code.alloca(ir_type)
    code.line(f"store {ir_type} 1, ptr {result}")
    code.line(f"store {ir_type} {x.scalar.register}, ptr {square}")
    zeros = e.value(n.dtype, e.pure_call(f"llvm.ctlz.{ir_type}", ir_type, [(ir_type, n.scalar.register), ("i1", "false")]))
    rounds = (n.like(bits) - n.of(zeros)).cast(np.int64).scalar.register

    def loaded(cell: str) -> LlvmExpression:
        return x.of(Scalar(code.value(ir_type, f"load {ir_type}, ptr {cell}"), x.dtype))

    def step(k: str) -> None:
        base, found = loaded(square), loaded(result)
        shifted = instruction("lshr", n, x.of(Scalar(k, np.dtype(np.int64))).cast(n.dtype))
        code.line(f"store {ir_type} {where((shifted & 1).differs(0), found * base, found).scalar.register}, ptr {result}")
        code.line(f"store {ir_type} {(base * base).scalar.register}, ptr {square}")

    code.loop(rounds, step, at_least_once=False)
    return loaded(result)


# ---- bits -------------------------------------------------------------------------------------------------------------------
def shifted(name: str, x: LlvmExpression, y: LlvmExpression, beyond: LlvmExpression) -> LlvmExpression:
    """A shift by any number of bits; ``beyond`` is the result where no bit is left."""
    unsigned = np.dtype(f"u{x.dtype.itemsize}")
    fits = y.cast(unsigned) < 8 * x.dtype.itemsize
    return where(fits, instruction(name, x, where(fits, y, 0)), beyond)


@formula("integer")
def shl(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    return shifted("shl", x, y, x.like(0))


@formula("integer")
def shr(x: LlvmExpression, y: LlvmExpression) -> LlvmExpression:
    if x.dtype.kind == "u":
        return shifted("lshr", x, y, x.like(0))
    return shifted("ashr", x, y, instruction("ashr", x, x.like(8 * x.dtype.itemsize - 1)))


@formula("integer")
def popcount(x: LlvmExpression) -> LlvmExpression:
    """The number of bits that are set in the absolute value."""
    ir_type = register_type(x.dtype)
    ir = x.e.pure_call(f"llvm.ctpop.{ir_type}", ir_type, [(ir_type, abs(x).scalar.register)])
    return x.of(x.e.value(np.dtype(f"u{x.dtype.itemsize}"), ir)).cast(np.uint8)
