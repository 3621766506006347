"""The emitter: the vocabulary of defining equations (`core.emitting`) as LLVM text.

A scalar is a value with its dtype; a complex one is a pair. What has no exact counterpart here raises `NoInstructionError`, and the op
is left to NumPy.
"""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from cotan.engines.native.affine import Atom, Condition, Index
from cotan.engines.native.llvm.builder import PURE, Function, Module, register_type
from cotan.engines.native.llvm.jit import VECTOR_FUNCTIONS, Variant, machine

from . import (
    formulas_complex,
    formulas_complex_analytic,
    formulas_complex_inverse,
    formulas_integer,
    formulas_real,
    formulas_special,
    half,
)
from .expression import BOOL, COMPLEX, FORMULAS, HALF, LlvmExpression, NoInstructionError, Scalar, supported
from .polynomials import FASTER, POLYNOMIALS
from .vector_variants import on_vectors

__all__ = ["BOOL", "LlvmEmitter", "NoInstructionError", "Scalar", "supported"]

TRUTH = ("true", "false")
EXACT: dict[str, Callable[[int, int], int]] = {"add": operator.add, "sub": operator.sub, "mul": operator.mul}
MODULES = (formulas_complex, formulas_complex_analytic, formulas_complex_inverse, formulas_integer, formulas_real, formulas_special)
"""Importing these fills `FORMULAS`."""
KINDS = {"e": "half", "f": "float", "d": "float", "?": "bool", "F": "complex", "D": "complex"}
"""What words are for operands of a dtype, by its letter; other letters are integers."""
COMPARISONS = {"eq": "oeq eq eq", "ne": "une ne ne", "lt": "olt slt ult", "le": "ole sle ule", "gt": "ogt sgt ugt", "ge": "oge sge uge"}
INTRINSICS = dict.fromkeys(("floor", "ceil", "rint", "trunc", "sqrt", "copysign", "fmuladd"))
FOLDS = {"add": "fadd reassoc", "mul": "fmul reassoc"}


class LlvmEmitter:
    """Writes scalar code where the module is being written."""

    def __init__(self, module: Module):
        self.module = module
        self.folded: dict[Any, Scalar] = {}
        """What words give on integers that are known."""
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
        have, want = operand.dtype, dtype
        if have == want:
            return operand
        if not supported(want):
            raise NoInstructionError(f"scalars of dtype {want}")
        if have.kind == "c" or want.kind == "c":
            return self.cast_complex(operand, want)
        if want == HALF:
            return half.from_number(self, operand)
        if have == HALF:
            return self.cast(half.to_single(self, operand), want)
        if want.kind == "b":
            return self.compare("ne", operand, self.constant(0, have))
        return self.cast_real(operand, want)

    def cast_real(self, operand: Scalar, want: np.dtype[Any]) -> Scalar:
        have, x = operand.dtype, operand.value
        a, b = register_type(have), register_type(want)
        if have.kind == "f" and want.kind == "f":
            return Scalar(self.pure(b, f"{'fptrunc' if want.itemsize < have.itemsize else 'fpext'} {a} {x} to {b}"), want)
        if want.kind == "f":
            return Scalar(self.pure(b, f"{'sitofp' if have.kind == 'i' else 'uitofp'} {a} {x} to {b}"), want)
        if have.kind == "f":
            if not machine().casts_as_x86:
                raise NoInstructionError("floats to integers, which NumPy does in another way on this processor")
            return formulas_real.float_to_integer(LlvmExpression(self, operand), want).scalar
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
        if not operands or type(operands[0]) is not Scalar:
            raise NoInstructionError(name)
        if name == "select":
            return self.select(*operands)
        if name == "copy":
            return operands[0]
        dtype = operands[0].dtype
        kind = KINDS.get(dtype.char, "integer")
        if kind == "integer" and is_known(operands[-1]):
            found = self.folded.get((name, *operands))
            if found is None:
                found = self.applied(kind, name, dtype, operands)
                if is_known(found) and all(map(is_known, operands)):
                    self.folded[name, *operands] = found
            return found
        return self.applied(kind, name, dtype, operands)

    def applied(self, kind: str, name: str, dtype: np.dtype[Any], operands: Sequence[Any]) -> Scalar:
        """What a word gives on operands of a kind."""
        formula = FORMULAS.get((kind, name))
        if formula is not None:
            return formula(*[LlvmExpression(self, x) if type(x) is Scalar else x for x in operands]).scalar
        if kind == "half":
            return half.in_single(self, name, operands)
        values: list[Any] = []
        for x in operands:
            if type(x) is not Scalar:
                raise NoInstructionError(name)
            values.append(x.value)
        if name in COMPARISONS:
            return self.compare(name, *operands)
        method = getattr(self, f"{kind}_{name}", None)
        found = method(dtype, *values) if method is not None else getattr(self, f"{kind}_math")(name, dtype, *values)
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

    def reduce(self, monoid: str, extents: Sequence[int], at: Callable[[Sequence[Any]], Scalar], dtype: np.dtype[Any]) -> Scalar:
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

    def value(self, dtype: np.dtype[Any], text: str) -> Scalar:
        """The scalar that a pure instruction gives."""
        return Scalar(self.pure(register_type(dtype), text), dtype)

    def bits(self, x: Scalar, dtype: np.dtype[Any]) -> Scalar:
        """The same bits as another dtype."""
        a, b = register_type(x.dtype), register_type(dtype)
        return Scalar(x.value, dtype) if a == b else self.value(dtype, f"bitcast {a} {x.value} to {b}")

    def fused(self, x: Scalar, y: Scalar, z: Scalar, exactly: bool = False) -> Scalar:
        """The sum ``x * y + z``: rounded once where the processor can, or, slowly where it cannot, ``exactly`` so."""
        if exactly and not machine().fuses:
            self.needs("fma", x.dtype)
        return Scalar(self.intrinsic("fma" if exactly else "fmuladd", register_type(x.dtype), x.value, y.value, z.value), x.dtype)

    def remainder(self, x: Scalar, y: Scalar) -> Scalar:
        """The remainder of a division rounded to zero, by long division: an instruction to LLVM, a call of libm to the processor."""
        self.needs("fmod", x.dtype)
        return self.value(x.dtype, f"frem {register_type(x.dtype)} {x.value}, {y.value}")

    def needs(self, name: str, dtype: np.dtype[Any]) -> str:
        """The symbol of a function of libm, if it is here."""
        symbol = name if dtype.itemsize == 8 else f"{name}f"
        if not machine().has_symbol(symbol):
            raise NoInstructionError(f"{symbol}: there is no such function here")
        return symbol

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
        if condition in ("true", "false"):
            return yes if condition == "true" else no
        return self.pure(kind, f"select i1 {condition}, {kind} {yes}, {kind} {no}")

    def combined(self, monoid: str, dtype: np.dtype[Any], x: Any, y: Any) -> Any:
        """One step of a fold. A sum of floats may be reordered; a maximum with a nan is nan. Of zeros it is one of them, as in NumPy: to
        tell their signs apart would take twice as long.
        """
        if dtype.kind == "c":
            if monoid == "add":
                part = self.part(dtype)
                return tuple(self.combined(monoid, part, a, b) for a, b in zip(x, y, strict=True))
            return self.math(monoid, Scalar(x, dtype), Scalar(y, dtype)).value
        if dtype == HALF:
            return self.math({"max": "maximum", "min": "minimum"}.get(monoid, monoid), Scalar(x, dtype), Scalar(y, dtype)).value
        if dtype.kind == "f":
            kind = register_type(dtype)
            if monoid in FOLDS:
                return self.module.code.value(kind, f"{FOLDS[monoid]} {kind} {x}, {y}")
            return self.intrinsic("maximum" if monoid == "max" else "minimum", kind, x, y, flags="nsz ")
        name = {"max": "maximum", "min": "minimum"}.get(monoid, monoid)
        if dtype.kind == "b":
            name = {"add": "or", "mul": "and", "maximum": "or", "minimum": "and"}.get(name, name)
        return self.math(name, Scalar(x, dtype), Scalar(y, dtype)).value

    def identity(self, monoid: str, dtype: np.dtype[Any]) -> Scalar:
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
            sides = [[Scalar(c.value[k], part) for c in cases] for k in (0, 1)]
            return Scalar(tuple(self.select(which, *side).value for side in sides), dtype)
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
            both = [self.compare(name, a, b).value for a, b in zip(self.parts(x), self.parts(y), strict=True)]
            return Scalar(self.pure("i1", f"{'and' if name == 'eq' else 'or'} i1 {both[0]}, {both[1]}"), BOOL)
        if x.dtype == HALF:
            x, y = half.to_single(self, x), half.to_single(self, y)
        known = compared_constants(name, x, y)
        if known is not None:
            return Scalar("true" if known else "false", BOOL)
        signs, kind = COMPARISONS[name].split(), x.dtype.kind
        sign = signs[0] if kind == "f" else signs[1] if kind == "i" else signs[2]
        word = "fcmp" if kind == "f" else "icmp"
        return Scalar(self.pure("i1", f"{word} {sign} {register_type(x.dtype)} {x.value}, {y.value}"), BOOL)

    # ---- bools and integers ------------------------------------------------------------
    def bool_math(self, name: str, dtype: np.dtype[Any], *xs: str) -> Any:
        name = {"maximum": "or", "minimum": "and", "mul": "and", "add": "or"}.get(name, name)
        if name in ("and", "or") and (xs[0] in TRUTH or xs[1] in TRUTH):
            known, other = xs if xs[0] in TRUTH else xs[::-1]
            return known if (known == "true") == (name == "or") else other
        if name in ("and", "or", "xor"):
            return self.pure("i1", f"{name} i1 {xs[0]}, {xs[1]}")
        if name == "not":
            return self.pure("i1", f"xor i1 {xs[0]}, true")
        raise NoInstructionError(f"{name} of bools")

    def integer_math(self, name: str, dtype: np.dtype[Any], *xs: str) -> Any:
        kind = register_type(dtype)
        if name in ("add", "sub", "mul") and not any(x.startswith("%") for x in xs):
            return self.module.code.number(EXACT[name](*map(int, xs)), dtype)
        if name in ("and", "or", "xor", "add", "sub", "mul"):
            return self.pure(kind, f"{name} {kind} {xs[0]}, {xs[1]}")
        raise NoInstructionError(f"{name} of integers")

    def integer_not(self, dtype: np.dtype[Any], x: str) -> str:
        return self.pure(register_type(dtype), f"xor {register_type(dtype)} {x}, -1")

    def integer_neg(self, dtype: np.dtype[Any], x: str) -> str:
        return self.pure(register_type(dtype), f"sub {register_type(dtype)} 0, {x}")

    def integer_extremum(self, dtype: np.dtype[Any], sign: str, x: str, y: str) -> str:
        return self.bit(self.compare(sign, Scalar(x, dtype), Scalar(y, dtype)).value, x, y, register_type(dtype))

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
        """The strong zero: zero where either factor is. A number that is neither zero nor infinite needs no such care."""
        kind, zero = register_type(dtype), self.module.code.number(0.0, dtype)
        if any(harmless(x, dtype) for x in (d, t)):
            return self.pure(kind, f"fmul {kind} {d}, {t}")
        none = [self.compare("eq", Scalar(x, dtype), Scalar(zero, dtype)).value for x in (d, t)]
        return self.bit(self.bool_math("or", BOOL, *none), zero, self.pure(kind, f"fmul {kind} {d}, {t}"), kind)

    def float_sign(self, dtype: np.dtype[Any], x: str) -> str:
        kind, zero = register_type(dtype), self.module.code.number(0.0, dtype)
        one = self.intrinsic("copysign", kind, self.module.code.number(1.0, dtype), x)
        other = self.bit(self.is_nan(kind, x), x, zero, kind)
        return self.bit(self.pure("i1", f"fcmp ueq {kind} {x}, {zero}"), other, one, kind)

    def float_maximum(self, dtype: np.dtype[Any], x: str, y: str) -> str:
        return self.extremum("uge", register_type(dtype), x, y)

    def float_minimum(self, dtype: np.dtype[Any], x: str, y: str) -> str:
        return self.extremum("ule", register_type(dtype), x, y)

    def extremum(self, sign: str, kind: str, x: str, y: str) -> str:
        """As NumPy: nan if either is. The comparison holds if one is nan."""
        better = self.bit(self.pure("i1", f"fcmp {sign} {kind} {x}, {y}"), x, y, kind)
        return self.bit(self.is_nan(kind, y), y, better, kind)

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
        raise NoInstructionError(f"{name} of complex numbers")

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

    # ---- calls ------------------------------------------------------------
    def intrinsic(self, name: str, kind: str, *xs: str, flags: str = "") -> str:
        symbol = f"llvm.{name}.{'f64' if kind == 'double' else 'f32'}"
        return self.pure(kind, self.module.call(kind, symbol, *[f"{kind} {x}" for x in xs], flags=flags))

    def call_libm(self, name: str, kind: str, *xs: str) -> str:
        """A call of libm, with its vector variant if there is one."""
        bits = 64 if kind == "double" else 32
        symbol = self.needs(name, np.dtype(f"f{bits // 8}"))
        variant = self.variant(name, symbol, bits)
        note = ""
        if variant is not None:
            vector = f"<{variant.lanes} x {kind}>"
            if symbol not in self.module.variants:
                self.module.declare(variant.symbol, vector, *[vector] * len(xs))
                self.module.variants[symbol] = variant
            note = f' "vector-function-abi-variant"="{variant.attribute}"'
        return self.pure(kind, f"{self.module.call(kind, symbol, *[f'{kind} {x}' for x in xs])} {PURE}{note}")

    def variant(self, name: str, symbol: str, bits: int) -> Variant | None:
        """The variant on vectors of a function of libm: the C library's; where it has none or a slower one, one written here."""
        variant, formula = machine().variant(name, bits), POLYNOMIALS.get(name)
        if formula is None or (variant is not None and (name, bits) not in FASTER):
            return variant
        if name == "pow" and not machine().fuses:  # nor is it then fast to find what a product was rounded by
            return None
        return on_vectors(self, symbol, formula, np.dtype(f"f{bits // 8}"), VECTOR_FUNCTIONS[name])

    def call_complex(self, name: str, *operands: Scalar, further: Sequence[tuple[str, str]] = ()) -> Scalar:
        """A call of a C function of complex numbers: how these are passed is up to the processor and the system."""
        dtype = operands[0].dtype
        part = register_type(self.part(dtype))
        symbol = name if part == "double" else f"{name}f"
        convention = machine().complex_numbers
        if convention is None or not machine().has_symbol(symbol):
            raise NoInstructionError(f"{symbol}: no call of such a function here")
        if part == "float" and convention == "packed":
            kind, arguments = "<2 x float>", [self.packed(x.value) for x in operands]
            found = self.pure(kind, self.declared(symbol, kind, [(kind, x) for x in arguments]))
            return Scalar(tuple(self.pure(part, f"extractelement {kind} {found}, i32 {k}") for k in (0, 1)), dtype)
        kind = f"{{ {part}, {part} }}"
        arguments = [(part, half) for x in operands for half in x.value]
        found = self.pure(kind, self.declared(symbol, kind, [*arguments, *further]))
        return Scalar(tuple(self.pure(part, f"extractvalue {kind} {found}, {k}") for k in (0, 1)), dtype)

    def packed(self, parts: Any) -> str:
        half = self.pure("<2 x float>", f"insertelement <2 x float> poison, float {parts[0]}, i32 0")
        return self.pure("<2 x float>", f"insertelement <2 x float> {half}, float {parts[1]}, i32 1")

    def declared(self, symbol: str, result: str, arguments: Sequence[tuple[str, str]]) -> str:
        """The text of a call of a pure function, which is declared."""
        return f"{self.module.call(result, symbol, *[f'{kind} {x}' for kind, x in arguments])} {PURE}"

    def function(self, name: str, operands: Sequence[np.dtype[Any]], body: Callable[..., Scalar]) -> np.dtype[Any]:
        """A function of its own that computes ``body``, written once; the dtype of its result."""
        if name not in self.module.functions:
            code = Function(self.module, [])
            xs = [Scalar(self.module.name(register_type(t)), t) for t in operands]
            self.module.stack.append(code)
            result = body(*xs)
            kind = register_type(result.dtype)
            code.line(f"ret {kind} {result.value}")
            self.module.stack.pop()
            parameters = ", ".join(f"{register_type(x.dtype)} {x.value}" for x in xs)
            self.module.finish(code, f"define internal {kind} @{name}({parameters}) willreturn memory(none)")
            self.module.functions[name] = result.dtype
        return self.module.functions[name]

    def call(self, name: str, dtype: np.dtype[Any], *operands: Scalar) -> Scalar:
        """A call of a pure function of real numbers."""
        arguments = ", ".join(f"{register_type(x.dtype)} {x.value}" for x in operands)
        return self.value(dtype, f"call {register_type(dtype)} @{name}({arguments}) {PURE}")

    def guard(self) -> str | None:
        """The condition, as one bit, under which what is written now is used; None if always."""
        code = self.module.code
        bits = [self.bool_math("not", BOOL, code.condition(g[1])) if isinstance(g, tuple) else code.condition(g) for g in self.guards]
        return reduce(lambda a, b: self.pure("i1", f"and i1 {a}, {b}"), bits) if bits else None


def is_known(x: Any) -> bool:
    """Whether a scalar is a real constant."""
    return type(x) is Scalar and type(x.value) is str and not x.value.startswith("%")


def compared_constants(name: str, x: Scalar, y: Scalar) -> bool | None:
    """The outcome of a comparison of two constants; None if one is not."""
    if x.value.startswith("%") or y.value.startswith("%"):
        return None
    return bool(getattr(operator, name)(*[number_of(v) for v in (x, y)]))


def harmless(x: str, dtype: np.dtype[Any]) -> bool:
    """Whether a float is a constant, finite and not zero."""
    number = 0.0 if x.startswith("%") else number_of(Scalar(x, dtype))
    return number != 0 and math.isfinite(number)


def number_of(constant: Scalar) -> float:
    """The number that a constant's text stands for."""
    text, dtype = constant.value, constant.dtype
    if dtype.kind == "f":
        return struct.unpack("<d", int(text, 16).to_bytes(8, "little"))[0]
    if dtype.kind == "b":
        return text == "true"
    return int(text) % (1 << 8 * dtype.itemsize) if dtype.kind == "u" else int(text)
