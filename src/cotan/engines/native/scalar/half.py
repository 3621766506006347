"""Scalars of half precision: their functions are computed in single precision, and the result is rounded.

`passes.half_precision` has replaced whole ops on halves by ops on singles; the scalar functions of updates and the like
remain. Conversions are instructions where the processor has them, else arithmetic of integers. A number of
double precision is rounded once, by way of a float whose last bit tells whether it is exact (Boldo & Melquiond 2008,
"Emulation of a FMA and correctly rounded sums: proved algorithms using rounding to odd"). `emitter` calls this module.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cotan.core.emitting import where
from cotan.engines.native.llvm.jit import machine

from .expression import HALF, LlvmExpression, NoInstructionError, Operand, Scalar, ScalarEmitter, formula, is_constant
from .formulas_real import nextafter

__all__ = ["from_number", "in_single", "to_single"]

SINGLE, DOUBLE, BITS, WIDE = (np.dtype(t) for t in (np.float32, np.float64, np.uint16, np.uint32))
formula("half")(nextafter)  # its neighbours are halves, not singles


def to_single(e: ScalarEmitter, x: Scalar) -> Scalar:
    """A number of half precision in single precision."""
    if is_constant(x):
        return e.constant(np.uint16(int(x.register.removeprefix("0xH"), 16)).view(np.float16), SINGLE)
    if machine().converts_halves:
        return e.value(SINGLE, f"fpext half {x.value} to float")
    bits = LlvmExpression(e, x).bits(BITS).cast(WIDE)
    size = bits & 0x7FFF
    shifted = size.math("shl", 13)
    number = where(size < 0x7C00, shifted.bits(SINGLE) * 2.0**112, (shifted | 0x7F800000).bits(SINGLE))
    return (number.bits(WIDE) | (bits & 0x8000).math("shl", 16)).bits(SINGLE).scalar


def from_single(e: ScalarEmitter, x: Scalar) -> Scalar:
    """A number of single precision rounded to the nearest half, ties to even."""
    if machine().converts_halves:
        return e.value(HALF, f"fptrunc float {x.value} to half")
    bits = LlvmExpression(e, x).bits(WIDE)
    size = bits & 0x7FFFFFFF
    large = where(size > 0x7F800000, size.like(0x7E00), 0x7C00)
    small = (size.bits(SINGLE) + 0.5).bits(WIDE) - 0x3F000000  # the sum rounds to multiples of the least half
    middle = (size + 0xFFF + (size.math("shr", 13) & 1) - 0x38000000).math("shr", 13)
    found = where(size < 0x47800000, where(size < 0x38800000, small, middle), large)
    return (found | (bits.math("shr", 16) & 0x8000)).cast(BITS).bits(HALF).scalar


def from_number(e: ScalarEmitter, x: Scalar) -> Scalar:
    """A real number of any dtype, rounded once."""
    if x.dtype != DOUBLE:
        return from_single(e, e.cast(x, SINGLE))
    exact, near = LlvmExpression(e, x), LlvmExpression(e, x).cast(SINGLE)
    bits, back = near.bits(WIDE), near.cast(DOUBLE)
    lower = where(abs(back) > abs(exact), bits - 1, bits)
    odd = where((back < exact) | (back > exact), lower | 1, bits)
    return from_single(e, odd.bits(SINGLE).scalar)


def in_single(e: ScalarEmitter, name: str, operands: Sequence[Operand]) -> Scalar:
    """A scalar function of numbers of half precision."""
    found = e.math(name, *[to_single(e, x) if type(x) is Scalar and x.dtype == HALF else x for x in operands])
    if found.dtype.kind == "c":
        raise NoInstructionError(f"{name}: there are no complex numbers of half precision")
    return from_single(e, found) if found.dtype == SINGLE else found
