"""The emitter: the vocabulary of defining equations (`core.emitting`) as LLVM instructions.

A scalar is an LLVM value with its dtype; bool is one bit in registers and one byte in memory. What has no exact counterpart here raises
`NoInstructionError`, and the op is left to NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import llvmlite.ir as ir
import numpy as np

from .machine import VECTOR_FUNCTIONS, Variant, machine

__all__ = ["Index", "LlvmEmitter", "NativeModule", "NoInstructionError", "Scalar", "memory_type", "register_type"]

I64, I32, POINTER, BIT, BYTE = ir.IntType(64), ir.IntType(32), ir.PointerType(), ir.IntType(1), ir.IntType(8)


class NativeModule(ir.Module):
    """A module, and the vector variants of the functions that it calls."""

    def __init__(self) -> None:
        super().__init__()
        self.variants: dict[str, Variant] = {}


class NoInstructionError(NotImplementedError):
    """A scalar function that the emitter does not have for this dtype."""


def register_type(dtype: np.dtype[Any]) -> Any:
    """The LLVM type of a scalar of this dtype in a register."""
    if dtype.kind == "f" and dtype.itemsize in (4, 8):
        return ir.DoubleType() if dtype.itemsize == 8 else ir.FloatType()
    if dtype.kind in "iu":
        return ir.IntType(8 * dtype.itemsize)
    if dtype.kind == "b":
        return BIT
    raise NoInstructionError(f"scalars of dtype {dtype}")


def memory_type(dtype: np.dtype[Any]) -> Any:
    """The LLVM type of an element of this dtype in memory."""
    return BYTE if dtype.kind == "b" else register_type(dtype)


@dataclass(frozen=True)
class Scalar:
    """An LLVM value and its dtype."""

    value: Any
    dtype: np.dtype[Any]


class Index:
    """An index: a 64-bit integer with the arithmetic of Python's."""

    def __init__(self, builder: Any, value: Any):
        self.builder, self.value = builder, value

    def of(self, other: Any) -> Any:
        return other.value if isinstance(other, Index) else I64(int(other))

    def __add__(self, other: Any) -> Index:
        return Index(self.builder, self.builder.add(self.value, self.of(other)))

    def __sub__(self, other: Any) -> Index:
        return Index(self.builder, self.builder.sub(self.value, self.of(other)))

    def __mul__(self, other: Any) -> Index:
        return Index(self.builder, self.builder.mul(self.value, self.of(other)))

    __radd__, __rmul__ = __add__, __mul__


FLOAT_COMPARISONS = {"eq": ("==", True), "ne": ("!=", False), "lt": ("<", True), "le": ("<=", True), "gt": (">", True), "ge": (">=", True)}
LIBM = frozenset(VECTOR_FUNCTIONS)
INTRINSICS = {"floor": "floor", "ceil": "ceil", "rint": "rint", "trunc": "trunc", "sqrt": "sqrt"}
BITWISE = {"and": "and_", "or": "or_", "xor": "xor"}


class LlvmEmitter:
    """Writes scalar code at the place where ``builder`` stands."""

    def __init__(self, module: Any, builder: Any):
        self.module, self.builder = module, builder

    # ---- the protocol ---------------------------------------------------------------------------------------------------
    def constant(self, value: Any, dtype: np.dtype[Any]) -> Scalar:
        kind = register_type(dtype)
        if dtype.kind == "f":
            value = float(value)
            return Scalar(ir.Constant(kind, value), dtype)
        return Scalar(ir.Constant(kind, int(value) & ((1 << kind.width) - 1) if dtype.kind == "u" else int(value)), dtype)

    def cast(self, operand: Scalar, dtype: np.dtype[Any]) -> Scalar:
        have, want, b, x = operand.dtype, dtype, self.builder, operand.value
        if have == want:
            return operand
        to = register_type(want)
        if want.kind == "b":
            return self.math("ne", operand, self.constant(0, have))
        if have.kind == "f" and want.kind == "f":
            return Scalar(b.fptrunc(x, to) if want.itemsize < have.itemsize else b.fpext(x, to), want)
        if have.kind == "b":
            return Scalar(b.uitofp(x, to) if want.kind == "f" else b.zext(x, to), want)
        if want.kind == "f":
            return Scalar(b.sitofp(x, to) if have.kind == "i" else b.uitofp(x, to), want)
        if have.kind == "f":
            raise NoInstructionError("floats to integers, of which some do not fit")
        if want.itemsize == have.itemsize:
            return Scalar(x, want)
        narrower = want.itemsize < have.itemsize
        return Scalar(b.trunc(x, to) if narrower else b.sext(x, to) if have.kind == "i" else b.zext(x, to), want)

    def math(self, name: str, *operands: Any) -> Scalar:
        dtype = operands[0].dtype if isinstance(operands[0], Scalar) else None
        if dtype is None or not all(isinstance(x, Scalar) for x in operands):
            raise NoInstructionError(name)
        if name == "select":
            return self.select(*operands)
        if name == "copy":
            return operands[0]
        if name in FLOAT_COMPARISONS:
            return self.compare(name, *operands)
        values = [x.value for x in operands]
        method = getattr(self, f"{'float' if dtype.kind == 'f' else 'bool' if dtype.kind == 'b' else 'integer'}_math")
        found = method(name, dtype, values)
        return found if isinstance(found, Scalar) else Scalar(found, dtype)

    def choose(self, condition: Any, yes: Callable[[], Scalar], no: Callable[[], Scalar]) -> Scalar:
        raise NoInstructionError("choose")

    def fold(self, monoid: str, extents: Sequence[int], at: Callable[[Sequence[Any]], Scalar], dtype: np.dtype[Any]) -> Scalar:
        raise NoInstructionError("fold")

    def as_index(self, operand: Scalar) -> Any:
        raise NoInstructionError("as_index")

    def as_scalar(self, index: Any, dtype: np.dtype[Any]) -> Scalar:
        raise NoInstructionError("as_scalar")

    # ---- by kind ------------------------------------------------------------------------------------------------------------
    def select(self, which: Scalar, *cases: Scalar) -> Scalar:
        if which.dtype.kind != "b" or len(cases) != 2:
            raise NoInstructionError("select by integers")
        return Scalar(self.builder.select(which.value, cases[1].value, cases[0].value), cases[0].dtype)

    def compare(self, name: str, x: Scalar, y: Scalar) -> Scalar:
        sign, ordered = FLOAT_COMPARISONS[name]
        b, kind = self.builder, x.dtype.kind
        if kind == "f":
            value = b.fcmp_ordered(sign, x.value, y.value) if ordered else b.fcmp_unordered(sign, x.value, y.value)
        else:
            value = b.icmp_signed(sign, x.value, y.value) if kind == "i" else b.icmp_unsigned(sign, x.value, y.value)
        return Scalar(value, np.dtype(np.bool_))

    def bool_math(self, name: str, dtype: np.dtype[Any], xs: list[Any]) -> Any:
        b = self.builder
        if name in BITWISE:
            return getattr(b, BITWISE[name])(*xs)
        if name == "not":
            return b.not_(xs[0])
        raise NoInstructionError(f"{name} of bools")

    def integer_math(self, name: str, dtype: np.dtype[Any], xs: list[Any]) -> Any:
        b = self.builder
        if name in BITWISE or name in ("add", "sub", "mul"):
            return getattr(b, BITWISE.get(name, name))(*xs)
        if name == "not":
            return b.not_(xs[0])
        if name == "neg":
            return b.neg(xs[0])
        if name in ("maximum", "minimum"):
            sign = ">" if name == "maximum" else "<"
            less = b.icmp_signed(sign, *xs) if dtype.kind == "i" else b.icmp_unsigned(sign, *xs)
            return b.select(less, *xs)
        if name == "abs":
            return xs[0] if dtype.kind == "u" else b.select(b.icmp_signed("<", xs[0], xs[0].type(0)), b.neg(xs[0]), xs[0])
        raise NoInstructionError(f"{name} of integers")

    def float_math(self, name: str, dtype: np.dtype[Any], xs: list[Any]) -> Any:
        b, kind = self.builder, xs[0].type
        if name in ("add", "sub", "mul", "div"):
            return getattr(b, f"f{name}")(*xs)
        if name in LIBM:
            return self.call_libm(name, kind, xs)
        if name in INTRINSICS:
            return self.intrinsic(INTRINSICS[name], kind, xs)
        written_out = getattr(self, f"float_{name}", None)
        if written_out is None:
            raise NoInstructionError(f"{name} of floats")
        return written_out(dtype, kind, *xs)

    # ---- functions of floats that are more than one instruction ---------------------------------------------------------------
    def float_neg(self, dtype: Any, kind: Any, x: Any) -> Any:
        return self.builder.fneg(x)

    def float_abs(self, dtype: Any, kind: Any, x: Any) -> Any:
        return self.intrinsic("fabs", kind, [x])

    def float_scale(self, dtype: Any, kind: Any, d: Any, t: Any) -> Any:
        """The strong zero: zero where either factor is."""
        b, zero = self.builder, kind(0.0)
        either = b.or_(b.fcmp_ordered("==", d, zero), b.fcmp_ordered("==", t, zero))
        return b.select(either, zero, b.fmul(d, t))

    def float_sign(self, dtype: Any, kind: Any, x: Any) -> Any:
        b = self.builder
        one = self.intrinsic("copysign", kind, [kind(1.0), x])
        return b.select(b.fcmp_unordered("==", x, kind(0.0)), b.select(b.fcmp_unordered("uno", x, x), x, kind(0.0)), one)

    def float_maximum(self, dtype: Any, kind: Any, x: Any, y: Any) -> Any:
        return self.extremum(">=", x, y)

    def float_minimum(self, dtype: Any, kind: Any, x: Any, y: Any) -> Any:
        return self.extremum("<=", x, y)

    def extremum(self, sign: str, x: Any, y: Any) -> Any:
        """As NumPy: nan if either is."""
        b = self.builder
        better = b.select(b.fcmp_ordered(sign, x, y), x, y)
        return b.select(b.fcmp_unordered("uno", x, x), x, b.select(b.fcmp_unordered("uno", y, y), y, better))

    def float_copysign(self, dtype: Any, kind: Any, x: Any, y: Any) -> Any:
        return self.intrinsic("copysign", kind, [x, y])

    def float_rsqrt(self, dtype: Any, kind: Any, x: Any) -> Any:
        return self.builder.fdiv(kind(1.0), self.intrinsic("sqrt", kind, [x]))

    def float_logistic(self, dtype: Any, kind: Any, x: Any) -> Any:
        b = self.builder
        return b.fdiv(kind(1.0), b.fadd(kind(1.0), self.call_libm("exp", kind, [b.fneg(x)])))

    def float_isnan(self, dtype: Any, kind: Any, x: Any) -> Scalar:
        return Scalar(self.builder.fcmp_unordered("uno", x, x), np.dtype(np.bool_))

    def float_isinf(self, dtype: Any, kind: Any, x: Any) -> Scalar:
        return Scalar(self.builder.fcmp_ordered("==", self.float_abs(dtype, kind, x), kind(math.inf)), np.dtype(np.bool_))

    def float_isfinite(self, dtype: Any, kind: Any, x: Any) -> Scalar:
        return Scalar(self.builder.fcmp_ordered("<", self.float_abs(dtype, kind, x), kind(math.inf)), np.dtype(np.bool_))

    def float_signbit(self, dtype: Any, kind: Any, x: Any) -> Scalar:
        bits = ir.IntType(8 * dtype.itemsize)
        return Scalar(self.builder.icmp_signed("<", self.builder.bitcast(x, bits), bits(0)), np.dtype(np.bool_))

    # ---- calls --------------------------------------------------------------------------------------------------------------
    def intrinsic(self, name: str, kind: Any, xs: list[Any]) -> Any:
        suffix = "f64" if isinstance(kind, ir.DoubleType) else "f32"
        return self.builder.call(self.declared(f"llvm.{name}.{suffix}", kind, len(xs)), xs)

    def call_libm(self, name: str, kind: Any, xs: list[Any]) -> Any:
        """A call of libm, with its vector variant if there is one."""
        bits = 64 if isinstance(kind, ir.DoubleType) else 32
        symbol = name if bits == 64 else f"{name}f"
        if not machine().has_symbol(symbol):
            raise NoInstructionError(f"{symbol}: there is no such function here")
        function = self.declared(symbol, kind, len(xs))
        variant = machine().variant(name, bits)
        if variant is not None:
            vector = ir.VectorType(kind, variant.lanes)
            if variant.symbol not in self.module.globals:
                ir.Function(self.module, ir.FunctionType(vector, [vector] * len(xs)), variant.symbol)
            self.module.variants.setdefault(symbol, variant)
        return self.builder.call(function, xs)

    def declared(self, symbol: str, kind: Any, arity: int) -> Any:
        known = self.module.globals.get(symbol)
        return known if known is not None else ir.Function(self.module, ir.FunctionType(kind, [kind] * arity), symbol)
