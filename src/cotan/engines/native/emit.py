"""The emitter: the vocabulary of defining equations (`core.emitting`) as LLVM text.

A scalar is a value with its dtype; a complex one is a pair. What has no exact counterpart here raises `NoInstructionError`, and the op
is left to NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from .index import Atom, Condition, Index
from .machine import VECTOR_FUNCTIONS, machine
from .writer import PURE, Module, register_type

__all__ = ["BOOL", "LlvmEmitter", "NoInstructionError", "Scalar", "supported"]

BOOL = np.dtype(np.bool_)


class NoInstructionError(NotImplementedError):
    """A scalar function that the emitter does not have for this dtype."""


class Scalar(NamedTuple):
    """A value and its dtype; the value of a complex one is the pair of its parts."""

    value: Any
    dtype: np.dtype[Any]


def supported(dtype: np.dtype[Any]) -> bool:
    """Whether there are scalars of this dtype."""
    return dtype.isnative and (dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize in (4, 8)) or dtype in COMPLEX)


COMPLEX = {np.dtype(np.complex64): np.dtype(np.float32), np.dtype(np.complex128): np.dtype(np.float64)}
COMPARISONS = {"eq": "oeq eq eq", "ne": "une ne ne", "lt": "olt slt ult", "le": "ole sle ule", "gt": "ogt sgt ugt", "ge": "oge sge uge"}
INTRINSICS = dict.fromkeys(("floor", "ceil", "rint", "trunc", "sqrt", "copysign", "fmuladd"))
FOLDS = {"add": "fadd reassoc", "mul": "fmul reassoc"}


class LlvmEmitter:
    """Writes scalar code where the module is being written."""

    def __init__(self, module: Module):
        self.module = module
        self.guards: list[Any] = []
        """The conditions under which what is being written will be used: elsewhere it must be harmless."""

    # ---- the protocol ------------------------------------------------------------
    def constant(self, value: Any, dtype: np.dtype[Any]) -> Scalar:
        if dtype.kind == "c":
            value, part = complex(value), self.part(dtype)
            return Scalar((self.module.code.number(value.real, part), self.module.code.number(value.imag, part)), dtype)
        if not supported(dtype):
            raise NoInstructionError(f"scalars of dtype {dtype}")
        return Scalar(self.module.code.number(value, dtype), dtype)

    def cast(self, operand: Scalar, dtype: np.dtype[Any]) -> Scalar:
        have, want, x = operand.dtype, dtype, operand.value
        if have == want:
            return operand
        if not supported(want):
            raise NoInstructionError(f"scalars of dtype {want}")
        if have.kind == "c" or want.kind == "c":
            return self.cast_complex(operand, want)
        if want.kind == "b":
            return self.compare("ne", operand, self.constant(0, have))
        a, b = register_type(have), register_type(want)
        if have.kind == "f" and want.kind == "f":
            return Scalar(self.pure(b, f"{'fptrunc' if want.itemsize < have.itemsize else 'fpext'} {a} {x} to {b}"), want)
        if want.kind == "f":
            return Scalar(self.pure(b, f"{'sitofp' if have.kind == 'i' else 'uitofp'} {a} {x} to {b}"), want)
        if have.kind == "f":
            raise NoInstructionError("floats to integers, of which some do not fit")
        if a == b:
            return Scalar(x, want)
        if have.kind == "b" or want.itemsize > have.itemsize:
            return Scalar(self.pure(b, f"{'sext' if have.kind == 'i' else 'zext'} {a} {x} to {b}"), want)
        return Scalar(self.pure(b, f"trunc {a} {x} to {b}"), want)

    def cast_complex(self, operand: Scalar, want: np.dtype[Any]) -> Scalar:
        if want.kind == "b":
            return self.compare("ne", operand, self.constant(0, operand.dtype))
        if want.kind != "c":
            re, _ = self.parts(operand)
            return self.cast(re, want)
        part = self.part(want)
        if operand.dtype.kind == "c":
            return Scalar(tuple(self.cast(v, part).value for v in self.parts(operand)), want)
        return Scalar((self.cast(operand, part).value, self.constant(0, part).value), want)

    def math(self, name: str, *operands: Any) -> Scalar:
        if not operands or not all(type(x) is Scalar for x in operands):
            raise NoInstructionError(name)
        if name == "select":
            return self.select(*operands)
        if name == "copy":
            return operands[0]
        if name in COMPARISONS:
            return self.compare(name, *operands)
        dtype = operands[0].dtype
        kind = {"f": "float", "b": "bool", "c": "complex"}.get(dtype.kind, "integer")
        method = getattr(self, f"{kind}_{name}", None)
        if method is not None:
            found = method(dtype, *[x.value for x in operands])
        else:
            found = getattr(self, f"{kind}_math")(name, dtype, *[x.value for x in operands])
        return found if type(found) is Scalar else Scalar(found, dtype)

    def choose(self, condition: Any, yes: Callable[[], Scalar], no: Callable[[], Scalar]) -> Scalar:
        if not isinstance(condition, Condition):
            return yes() if condition else no()
        self.guards.append(condition)
        try:
            left = yes()
        finally:
            self.guards.pop()
        self.guards.append(("not", condition))
        try:
            right = no()
        finally:
            self.guards.pop()
        return self.select(Scalar(self.module.code.condition(condition), BOOL), right, left)

    def fold(self, monoid: str, extents: Sequence[int], at: Callable[[Sequence[Any]], Scalar], dtype: np.dtype[Any]) -> Scalar:
        raise NoInstructionError("a fold within an expression")

    def as_index(self, operand: Scalar) -> Any:
        wide = self.cast(operand, np.dtype(np.int64)).value
        key = ("index", wide)
        found = self.module.code.known(key)
        if found is None:
            found = Index({Atom(wide): 1}, 0) if wide.startswith("%") else int(wide)
            self.module.code.remember(key, found)
        return found

    def as_scalar(self, index: Any, dtype: np.dtype[Any]) -> Scalar:
        return self.cast(Scalar(self.module.code.index(index), np.dtype(np.int64)), dtype)

    # ---- tools ------------------------------------------------------------
    def pure(self, type: str, text: str) -> str:
        return self.module.code.pure(type, text)

    def part(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return COMPLEX[dtype]

    def parts(self, x: Scalar) -> tuple[Scalar, Scalar]:
        """The real and the imaginary part of a complex scalar."""
        part = self.part(x.dtype)
        return Scalar(x.value[0], part), Scalar(x.value[1], part)

    def joined(self, re: Scalar, im: Scalar, dtype: np.dtype[Any]) -> Scalar:
        return Scalar((re.value, im.value), dtype)

    def bit(self, condition: str, yes: Any, no: Any, kind: str) -> Any:
        """``yes`` where ``condition`` is set, else ``no``."""
        return self.pure(kind, f"select i1 {condition}, {kind} {yes}, {kind} {no}")

    def combined(self, monoid: str, dtype: np.dtype[Any], x: Any, y: Any) -> Any:
        """One step of a fold. A sum of floats may be reordered; a maximum with a nan is nan."""
        if dtype.kind == "c":
            if monoid == "add":
                part = self.part(dtype)
                return tuple(self.combined(monoid, part, a, b) for a, b in zip(x, y, strict=True))
            return self.math(monoid, Scalar(x, dtype), Scalar(y, dtype)).value
        if dtype.kind == "f":
            kind = register_type(dtype)
            if monoid in FOLDS:
                return self.module.code.value(kind, f"{FOLDS[monoid]} {kind} {x}, {y}")
            return self.intrinsic("maximum" if monoid == "max" else "minimum", kind, x, y)
        name = {"max": "maximum", "min": "minimum"}.get(monoid, monoid)
        if dtype.kind == "b":
            name = {"add": "or", "mul": "and", "maximum": "or", "minimum": "and"}.get(name, name)
        return self.math(name, Scalar(x, dtype), Scalar(y, dtype)).value

    def neutral(self, monoid: str, dtype: np.dtype[Any]) -> Scalar:
        """What a fold begins with."""
        if monoid in ("add", "or"):
            return self.constant(0, dtype)
        if monoid == "mul":
            return self.constant(1, dtype)
        if monoid == "and":
            return self.constant(1 if dtype.kind == "b" else -1 if dtype.kind == "i" else np.iinfo(dtype).max, dtype)
        sign = -1 if monoid == "max" else 1
        if dtype.kind == "f":
            return self.constant(sign * math.inf, dtype)
        if dtype.kind == "b":
            return self.constant(sign > 0, dtype)
        limits = np.iinfo(dtype)
        return self.constant(limits.min if sign < 0 else limits.max, dtype)

    # ---- every kind ------------------------------------------------------------
    def select(self, which: Scalar, *cases: Scalar) -> Scalar:
        dtype = cases[0].dtype
        if dtype.kind == "c":
            part = self.part(dtype)
            halves = [[Scalar(c.value[k], part) for c in cases] for k in (0, 1)]
            return Scalar(tuple(self.select(which, *half).value for half in halves), dtype)
        kind = register_type(dtype)
        if which.dtype.kind == "b" and len(cases) == 2:
            return Scalar(self.bit(which.value, cases[1].value, cases[0].value, kind), dtype)
        # By integers, clipped to the cases there are.
        result = cases[0]
        number = self.cast(which, np.dtype(np.int64))
        for k, case in enumerate(cases[1:], 1):
            reached = self.compare("ge", number, self.constant(k, number.dtype))
            result = Scalar(self.bit(reached.value, case.value, result.value, kind), dtype)
        return result

    def compare(self, name: str, x: Scalar, y: Scalar) -> Scalar:
        if x.dtype.kind == "c":
            if name not in ("eq", "ne"):
                raise NoInstructionError(f"{name} of complex numbers")
            halves = [self.compare(name, a, b).value for a, b in zip(self.parts(x), self.parts(y), strict=True)]
            return Scalar(self.pure("i1", f"{'and' if name == 'eq' else 'or'} i1 {halves[0]}, {halves[1]}"), BOOL)
        signs, kind = COMPARISONS[name].split(), x.dtype.kind
        sign = signs[0] if kind == "f" else signs[1] if kind == "i" else signs[2]
        word = "fcmp" if kind == "f" else "icmp"
        return Scalar(self.pure("i1", f"{word} {sign} {register_type(x.dtype)} {x.value}, {y.value}"), BOOL)

    # ---- bools and integers ------------------------------------------------------------
    def bool_math(self, name: str, dtype: np.dtype[Any], *xs: str) -> Any:
        name = {"maximum": "or", "minimum": "and", "mul": "and", "add": "or"}.get(name, name)
        if name in ("and", "or", "xor"):
            return self.pure("i1", f"{name} i1 {xs[0]}, {xs[1]}")
        if name == "not":
            return self.pure("i1", f"xor i1 {xs[0]}, true")
        raise NoInstructionError(f"{name} of bools")

    def integer_math(self, name: str, dtype: np.dtype[Any], *xs: str) -> Any:
        kind = register_type(dtype)
        if name in ("and", "or", "xor", "add", "sub", "mul"):
            return self.pure(kind, f"{name} {kind} {xs[0]}, {xs[1]}")
        raise NoInstructionError(f"{name} of integers")

    def integer_not(self, dtype: np.dtype[Any], x: str) -> str:
        return self.pure(register_type(dtype), f"xor {register_type(dtype)} {x}, -1")

    def integer_neg(self, dtype: np.dtype[Any], x: str) -> str:
        return self.pure(register_type(dtype), f"sub {register_type(dtype)} 0, {x}")

    def integer_extremum(self, dtype: np.dtype[Any], sign: str, x: str, y: str) -> str:
        kind = register_type(dtype)
        which = self.pure("i1", f"icmp {'s' if dtype.kind == 'i' else 'u'}{sign} {kind} {x}, {y}")
        return self.bit(which, x, y, kind)

    def integer_maximum(self, dtype: np.dtype[Any], x: str, y: str) -> str:
        return self.integer_extremum(dtype, "gt", x, y)

    def integer_minimum(self, dtype: np.dtype[Any], x: str, y: str) -> str:
        return self.integer_extremum(dtype, "lt", x, y)

    def integer_abs(self, dtype: np.dtype[Any], x: str) -> str:
        return x if dtype.kind == "u" else self.integer_maximum(dtype, x, self.integer_neg(dtype, x))

    def integer_sign(self, dtype: np.dtype[Any], x: str) -> str:
        kind = register_type(dtype)
        zero = Scalar("0", dtype)
        positive, negative = self.compare("gt", Scalar(x, dtype), zero).value, self.compare("lt", Scalar(x, dtype), zero).value
        return self.bit(positive, "1", self.bit(negative, "-1", "0", kind), kind)

    def quotient(self, dtype: np.dtype[Any], x: str, y: str) -> tuple[str, str]:
        """Quotient and remainder, rounded down as NumPy's; both 0 for a divisor of 0, and the least number by -1 is itself."""
        kind = register_type(dtype)
        zero = self.pure("i1", f"icmp eq {kind} {y}, 0")
        if dtype.kind == "u":
            safe = self.bit(zero, "1", y, kind)
            q, r = self.pure(kind, f"udiv {kind} {x}, {safe}"), self.pure(kind, f"urem {kind} {x}, {safe}")
            return self.bit(zero, "0", q, kind), self.bit(zero, "0", r, kind)
        minus_one = self.pure("i1", f"icmp eq {kind} {y}, -1")
        safe = self.bit(self.pure("i1", f"or i1 {zero}, {minus_one}"), "1", y, kind)
        q, r = self.pure(kind, f"sdiv {kind} {x}, {safe}"), self.pure(kind, f"srem {kind} {x}, {safe}")
        opposite = self.pure("i1", f"icmp slt {kind} {self.pure(kind, f'xor {kind} {r}, {safe}')}, 0")
        down = self.pure("i1", f"and i1 {opposite}, {self.pure('i1', f'icmp ne {kind} {r}, 0')}")
        q = self.bit(down, self.pure(kind, f"sub {kind} {q}, 1"), q, kind)
        r = self.bit(down, self.pure(kind, f"add {kind} {r}, {safe}"), r, kind)
        q = self.bit(minus_one, self.pure(kind, f"sub {kind} 0, {x}"), q, kind)
        return self.bit(zero, "0", q, kind), self.bit(zero, "0", r, kind)

    def integer_rem(self, dtype: np.dtype[Any], x: str, y: str) -> str:
        return self.quotient(dtype, x, y)[1]

    def integer_floor_divide(self, dtype: np.dtype[Any], x: str, y: str) -> str:
        return self.quotient(dtype, x, y)[0]

    def shifted(self, dtype: np.dtype[Any], word: str, x: str, y: str, beyond: str) -> str:
        """A shift by any number of bits: as NumPy, all bits are gone where that is too many."""
        kind = register_type(dtype)
        fits = self.pure("i1", f"icmp ult {kind} {y}, {8 * dtype.itemsize}")
        return self.bit(fits, self.pure(kind, f"{word} {kind} {x}, {self.bit(fits, y, '0', kind)}"), beyond, kind)

    def integer_shl(self, dtype: np.dtype[Any], x: str, y: str) -> str:
        return self.shifted(dtype, "shl", x, y, "0")

    def integer_shr(self, dtype: np.dtype[Any], x: str, y: str) -> str:
        if dtype.kind == "u":
            return self.shifted(dtype, "lshr", x, y, "0")
        kind = register_type(dtype)
        return self.shifted(dtype, "ashr", x, y, self.pure(kind, f"ashr {kind} {x}, {8 * dtype.itemsize - 1}"))

    def integer_popcount(self, dtype: np.dtype[Any], x: str) -> Scalar:
        magnitude, byte = self.integer_abs(dtype, x), np.dtype(np.uint8)
        kind = register_type(dtype)
        self.module.declare(f"llvm.ctpop.{kind}", kind, kind)
        count = self.pure(kind, f"call {kind} @llvm.ctpop.{kind}({kind} {magnitude})")
        return self.cast(Scalar(count, np.dtype(f"u{dtype.itemsize}")), byte)

    # ---- floats ------------------------------------------------------------
    def float_math(self, name: str, dtype: np.dtype[Any], *xs: str) -> Any:
        kind = register_type(dtype)
        if name in ("add", "sub", "mul", "div"):
            return self.pure(kind, f"f{name} {kind} {xs[0]}, {xs[1]}")
        if name in VECTOR_FUNCTIONS:
            return self.call_libm(name, kind, *xs)
        if name in INTRINSICS:
            return self.intrinsic(name, kind, *xs)
        raise NoInstructionError(f"{name} of floats")

    def float_neg(self, dtype: np.dtype[Any], x: str) -> str:
        kind = register_type(dtype)
        return self.pure(kind, f"fneg {kind} {x}")

    def float_abs(self, dtype: np.dtype[Any], x: str) -> str:
        return self.intrinsic("fabs", register_type(dtype), x)

    def is_nan(self, kind: str, x: str) -> str:
        return self.pure("i1", f"fcmp uno {kind} {x}, {x}")

    def float_scale(self, dtype: np.dtype[Any], d: str, t: str) -> str:
        """The strong zero: zero where either factor is."""
        kind, zero = register_type(dtype), self.module.code.number(0.0, dtype)
        either = self.pure(
            "i1", f"or i1 {self.pure('i1', f'fcmp oeq {kind} {d}, {zero}')}, {self.pure('i1', f'fcmp oeq {kind} {t}, {zero}')}"
        )
        return self.bit(either, zero, self.pure(kind, f"fmul {kind} {d}, {t}"), kind)

    def float_sign(self, dtype: np.dtype[Any], x: str) -> str:
        kind, zero = register_type(dtype), self.module.code.number(0.0, dtype)
        one = self.intrinsic("copysign", kind, self.module.code.number(1.0, dtype), x)
        other = self.bit(self.is_nan(kind, x), x, zero, kind)
        return self.bit(self.pure("i1", f"fcmp ueq {kind} {x}, {zero}"), other, one, kind)

    def float_maximum(self, dtype: np.dtype[Any], x: str, y: str) -> str:
        return self.extremum("oge", register_type(dtype), x, y)

    def float_minimum(self, dtype: np.dtype[Any], x: str, y: str) -> str:
        return self.extremum("ole", register_type(dtype), x, y)

    def extremum(self, sign: str, kind: str, x: str, y: str) -> str:
        """As NumPy: nan if either is."""
        better = self.bit(self.pure("i1", f"fcmp {sign} {kind} {x}, {y}"), x, y, kind)
        return self.bit(self.is_nan(kind, x), x, self.bit(self.is_nan(kind, y), y, better, kind), kind)

    def float_rsqrt(self, dtype: np.dtype[Any], x: str) -> str:
        kind = register_type(dtype)
        return self.pure(kind, f"fdiv {kind} {self.module.code.number(1.0, dtype)}, {self.intrinsic('sqrt', kind, x)}")

    def float_logistic(self, dtype: np.dtype[Any], x: str) -> str:
        kind, one = register_type(dtype), self.module.code.number(1.0, dtype)
        below = self.call_libm("exp", kind, self.float_neg(dtype, x))
        return self.pure(kind, f"fdiv {kind} {one}, {self.pure(kind, f'fadd {kind} {one}, {below}')}")

    def float_isnan(self, dtype: np.dtype[Any], x: str) -> Scalar:
        return Scalar(self.is_nan(register_type(dtype), x), BOOL)

    def float_isinf(self, dtype: np.dtype[Any], x: str) -> Scalar:
        return self.compare("eq", Scalar(self.float_abs(dtype, x), dtype), self.constant(math.inf, dtype))

    def float_isfinite(self, dtype: np.dtype[Any], x: str) -> Scalar:
        return self.compare("lt", Scalar(self.float_abs(dtype, x), dtype), self.constant(math.inf, dtype))

    def float_signbit(self, dtype: np.dtype[Any], x: str) -> Scalar:
        bits = f"i{8 * dtype.itemsize}"
        return Scalar(self.pure("i1", f"icmp slt {bits} {self.pure(bits, f'bitcast {register_type(dtype)} {x} to {bits}')}, 0"), BOOL)

    # ---- complex numbers ------------------------------------------------------------
    def complex_math(self, name: str, dtype: np.dtype[Any], *xs: Any) -> Any:
        part = self.part(dtype)
        if name in ("add", "sub"):
            return tuple(self.float_math(name, part, a, b) for a, b in zip(*xs, strict=True))
        raise NoInstructionError(f"{name} of complex numbers")

    def complex_neg(self, dtype: np.dtype[Any], x: Any) -> Any:
        return tuple(self.float_neg(self.part(dtype), a) for a in x)

    def complex_conj(self, dtype: np.dtype[Any], x: Any) -> Any:
        return x[0], self.float_neg(self.part(dtype), x[1])

    def complex_real(self, dtype: np.dtype[Any], x: Any) -> Scalar:
        return Scalar(x[0], self.part(dtype))

    def complex_imag(self, dtype: np.dtype[Any], x: Any) -> Scalar:
        return Scalar(x[1], self.part(dtype))

    def float_real(self, dtype: np.dtype[Any], x: str) -> str:
        return x

    def float_conj(self, dtype: np.dtype[Any], x: str) -> str:
        return x

    def float_imag(self, dtype: np.dtype[Any], x: str) -> Scalar:
        return self.constant(0.0, dtype)

    def float_complex(self, dtype: np.dtype[Any], re: str, im: str) -> Scalar:
        return Scalar((re, im), next(c for c, part in COMPLEX.items() if part == dtype))

    def complex_mul(self, dtype: np.dtype[Any], x: Any, y: Any) -> Any:
        part = self.part(dtype)

        def f(name: str, a: str, b: str) -> str:
            return self.float_math(name, part, a, b)

        return f("sub", f("mul", x[0], y[0]), f("mul", x[1], y[1])), f("add", f("mul", x[0], y[1]), f("mul", x[1], y[0]))

    def complex_scale(self, dtype: np.dtype[Any], d: Any, t: Any) -> Any:
        zero = self.constant(0, dtype)
        either = self.bool_math("or", BOOL, *[self.compare("eq", Scalar(v, dtype), zero).value for v in (d, t)])
        return self.select(Scalar(either, BOOL), Scalar(self.complex_mul(dtype, d, t), dtype), zero).value

    # ---- calls ------------------------------------------------------------
    def intrinsic(self, name: str, kind: str, *xs: str) -> str:
        symbol = f"llvm.{name}.{'f64' if kind == 'double' else 'f32'}"
        self.module.declare(symbol, kind, *[kind] * len(xs))
        return self.pure(kind, f"call {kind} @{symbol}({', '.join(f'{kind} {x}' for x in xs)})")

    def call_libm(self, name: str, kind: str, *xs: str) -> str:
        """A call of libm, with its vector variant if there is one."""
        bits = 64 if kind == "double" else 32
        symbol = name if bits == 64 else f"{name}f"
        if not machine().has_symbol(symbol):
            raise NoInstructionError(f"{symbol}: there is no such function here")
        self.module.declare(symbol, kind, *[kind] * len(xs))
        variant = machine().variant(name, bits)
        note = ""
        if variant is not None:
            vector = f"<{variant.lanes} x {kind}>"
            self.module.declare(variant.symbol, vector, *[vector] * len(xs))
            self.module.variants[symbol] = variant
            note = f' "vector-function-abi-variant"="{variant.attribute}"'
        return self.pure(kind, f"call {kind} @{symbol}({', '.join(f'{kind} {x}' for x in xs)}) {PURE}{note}")

    def guard(self) -> str | None:
        """The condition, as one bit, under which what is written now is used; None if always."""
        code = self.module.code
        bits = [self.bool_math("not", BOOL, code.condition(g[1])) if isinstance(g, tuple) else code.condition(g) for g in self.guards]
        return reduce(lambda a, b: self.pure("i1", f"and i1 {a}, {b}"), bits) if bits else None
