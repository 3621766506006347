"""The emitter: the scalar functions of defining equations (`core.emitting.Emitter`) as LLVM instructions.

A scalar function is an instruction, a formula of others (`FORMULAS`), a call of a C function, or missing: then
`NoInstructionError` is raised, and the op is left to NumPy. `codegen` runs the defining equations of a module on one
emitter; `analysis.access` runs each of them on one whose code is thrown away, to find out whether all its functions exist.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from copy import copy
from functools import reduce
from typing import Any

import numpy as np

from cotan.core.emitting import DType, Number
from cotan.core.sizes import integer_in
from cotan.engines.native.affine import Atom, Condition, Index
from cotan.engines.native.libraries.libmvec import VECTOR_FUNCTIONS
from cotan.engines.native.llvm.builder import Module, register_type
from cotan.engines.native.llvm.jit import Variant, machine

from . import (
    formulas_complex,
    formulas_complex_analytic,
    formulas_complex_inverse,
    formulas_integer,
    formulas_real,
    formulas_special,
    half,
)
from .expression import (
    BOOL,
    FORMULAS,
    HALF,
    LlvmExpression,
    NoInstructionError,
    Operand,
    Scalar,
    is_constant,
    is_finite_and_not_zero,
    number_of,
    supported,
)
from .instructions import InstructionEmitter
from .polynomials import FASTER, POLYNOMIALS
from .vector_variants import on_vectors

__all__ = ["BOOL", "EXTREMA", "LlvmEmitter", "NoInstructionError", "Scalar", "supported"]

MODULES = (formulas_complex, formulas_complex_analytic, formulas_complex_inverse, formulas_integer, formulas_real, formulas_special)
"""Their import fills `FORMULAS`; they are named here so that it counts as used."""
KINDS = {"e": "half", "f": "float", "d": "float", "?": "bool", "F": "complex", "D": "complex"}
"""The kind of a dtype in `FORMULAS`, by its letter; other letters are integers."""
TRUTH = ("true", "false")
ARITHMETIC = frozenset({"add", "sub", "mul", "div"})
EXACT: dict[str, Callable[[int, int], int]] = {"add": operator.add, "sub": operator.sub, "mul": operator.mul}
COMPARISONS = {"eq": "oeq eq eq", "ne": "une ne ne", "lt": "olt slt ult", "le": "ole sle ule", "gt": "ogt sgt ugt", "ge": "oge sge uge"}
"""The predicates of fcmp, and of icmp for signed and unsigned integers."""
INTRINSICS = {name: name for name in ("floor", "ceil", "rint", "trunc", "sqrt", "copysign", "fmuladd")} | {"abs": "fabs"}
REASSOCIATED = {"add": "fadd reassoc", "mul": "fmul reassoc"}
"""The steps of reductions of floats that may be reordered."""
EXTREMA = {"max": "maximum", "min": "minimum"}
"""The scalar functions of monoids whose names differ from theirs."""
Guard = tuple[Condition, bool]
"""A condition, and whether it or its negation holds."""
Reduction = Callable[[str, Sequence[int], Callable[[Sequence[Any]], Scalar], DType], Scalar]
"""The value of a reduction: ``(monoid, extents, at, dtype)``, as in `core.emitting.Emitter.reduce`."""


class LlvmEmitter(InstructionEmitter):
    """Writes scalar code where the module is being written."""

    def __init__(self, module: Module):
        super().__init__(module)
        self.constants: dict[tuple[str | Operand, ...], Scalar] = {}
        """The results of scalar functions of integer constants that are constants themselves."""
        self.reduction: Reduction | None = None
        self.guards: list[Guard] = []
        """The conditions under which the result of the code at hand will be used: elsewhere the code must be harmless."""

    # ---- the protocol ------------------------------------------------------------
    def constant(self, value: Number, dtype: DType) -> Scalar:
        if dtype.kind == "c":
            value, part = complex(value), self.part(dtype)
            return Scalar((self.module.code.number(value.real, part), self.module.code.number(value.imag, part)), dtype)
        if not supported(dtype):
            raise NoInstructionError(f"scalars of dtype {dtype}")
        return Scalar(self.module.code.number(value, dtype), dtype)

    def cast(self, operand: Scalar, dtype: DType) -> Scalar:
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

    def cast_real(self, operand: Scalar, want: DType) -> Scalar:
        have, x = operand.dtype, operand.register
        a, b = register_type(have), register_type(want)
        if have.kind == "f" and want.kind == "f":
            return self.value(want, f"{'fptrunc' if want.itemsize < have.itemsize else 'fpext'} {a} {x} to {b}")
        if want.kind == "f":
            return self.value(want, f"{'sitofp' if have.kind == 'i' else 'uitofp'} {a} {x} to {b}")
        if have.kind == "f":
            if not machine().casts_as_x86:
                raise NoInstructionError("floats to integers, which NumPy does in another way on this processor")
            return formulas_real.float_to_integer(LlvmExpression(self, operand), want).scalar
        if a == b:
            return Scalar(x, want)
        if have.kind == "b" or want.itemsize > have.itemsize:
            return self.value(want, f"{'sext' if have.kind == 'i' else 'zext'} {a} {x} to {b}")
        return self.value(want, f"trunc {a} {x} to {b}")

    def cast_complex(self, operand: Scalar, want: DType) -> Scalar:
        if want.kind == "b":
            return self.compare("ne", operand, self.constant(0, operand.dtype))
        if want.kind != "c":
            re, _ = self.parts(operand)
            return self.cast(re, want)
        part = self.part(want)
        re, im = self.parts(operand) if operand.dtype.kind == "c" else (operand, self.constant(0, part))
        return Scalar((self.cast(re, part).register, self.cast(im, part).register), want)

    def math(self, name: str, *operands: Operand) -> Scalar:
        x = operands[0] if operands else None
        if type(x) is not Scalar:
            raise NoInstructionError(name)
        if name == "select":
            return self.select(*[x for x in operands if type(x) is Scalar])
        if name == "copy":
            return x
        kind = KINDS.get(x.dtype.char, "integer")
        if name in COMPARISONS and kind != "complex" and type(y := operands[1]) is Scalar:
            return self.compare(name, x, y)
        if kind == "float" and name in ARITHMETIC:
            return self.float_arithmetic(name, x, operands[1])
        if kind == "float" and name == "scale":
            return self.strong_product(x, operands[1])
        if kind != "integer" or not is_constant(operands[-1]):
            return self.apply(kind, name, operands)
        found = self.constants.get((name, *operands))
        if found is None:
            found = self.apply(kind, name, operands)
            if is_constant(found) and all(map(is_constant, operands)):
                self.constants[name, *operands] = found
        return found

    def choose(self, condition: Condition | bool, yes: Callable[[], Scalar], no: Callable[[], Scalar]) -> Scalar:
        if not isinstance(condition, Condition):
            return yes() if condition else no()
        cases: list[Scalar] = []
        for holds, case in ((True, yes), (False, no)):
            self.guards.append((condition, holds))
            try:
                cases.append(case())
            finally:
                self.guards.pop()
        return self.select(Scalar(self.module.code.condition(condition), BOOL), *cases[::-1])

    def reduce(self, monoid: str, extents: Sequence[int], at: Callable[[Sequence[Any]], Scalar], dtype: DType) -> Scalar:
        if self.reduction is None:
            raise NoInstructionError("a reduction within an expression")
        return self.reduction(monoid, extents, at, dtype)

    def reducing(self, reduction: Reduction) -> LlvmEmitter:
        """The emitter with a strategy for reductions: loops around the expression accumulate its elements (`codegen.reductions`)."""
        other = copy(self)
        other.reduction = reduction
        return other

    def as_index(self, operand: Scalar) -> Index | int:
        wide = self.cast(operand, np.dtype(np.int64)).register
        key = ("index", wide)
        found = self.module.code.known(key)
        if found is None:
            found = Index({Atom(wide): 1}, 0) if wide.startswith("%") else integer_in(wide)
            self.module.code.remember(key, found)
        return found

    def as_scalar(self, index: Index | int, dtype: DType) -> Scalar:
        return self.cast(Scalar(self.module.code.index(index), np.dtype(np.int64)), dtype)

    def guard(self) -> str | None:
        """The condition, an i1, under which the result of the code at hand is used; None if always."""
        code = self.module.code
        bits: list[str] = []
        for condition, holds in self.guards:
            bit = code.condition(condition)
            bits.append(bit if holds else self.bool_function("not", bit))
        return reduce(lambda a, b: self.pure("i1", f"and i1 {a}, {b}"), bits) if bits else None

    # ---- scalar functions by kind ------------------------------------------------------------
    def apply(self, kind: str, name: str, operands: Sequence[Operand]) -> Scalar:
        """A scalar function of operands of a kind."""
        formula = FORMULAS.get((kind, name))
        if formula is not None:
            return formula(*[LlvmExpression(self, x) if type(x) is Scalar else x for x in operands]).scalar
        if kind == "half":
            return half.in_single(self, name, operands)
        scalars = [x for x in operands if type(x) is Scalar]
        if len(scalars) < len(operands) or (kind == "complex" and name not in COMPARISONS):
            raise NoInstructionError(f"{name} of {kind} numbers")
        if name in COMPARISONS:
            return self.compare(name, *scalars)
        dtype, registers = scalars[0].dtype, [x.register for x in scalars]
        if kind == "bool":
            return Scalar(self.bool_function(name, *registers), dtype)
        return Scalar((self.integer_function if kind == "integer" else self.float_function)(name, dtype, *registers), dtype)

    def bool_function(self, name: str, *xs: str) -> str:
        name = {"maximum": "or", "minimum": "and", "mul": "and", "add": "or"}.get(name, name)
        if name in ("and", "or") and (xs[0] in TRUTH or xs[1] in TRUTH):
            known, other = xs if xs[0] in TRUTH else xs[::-1]
            return known if (known == "true") == (name == "or") else other
        if name in ("and", "or", "xor"):
            return self.pure("i1", f"{name} i1 {xs[0]}, {xs[1]}")
        if name == "not":
            return self.pure("i1", f"xor i1 {xs[0]}, true")
        raise NoInstructionError(f"{name} of bools")

    def integer_function(self, name: str, dtype: DType, *xs: str) -> str:
        ir_type = register_type(dtype)
        if name in EXACT and not any(x.startswith("%") for x in xs):
            return self.module.code.number(EXACT[name](*map(integer_in, xs)), dtype)
        if name in EXACT or name in ("and", "or", "xor"):
            return self.pure(ir_type, f"{name} {ir_type} {xs[0]}, {xs[1]}")
        raise NoInstructionError(f"{name} of integers")

    def float_arithmetic(self, name: str, x: Scalar, y: Operand) -> Scalar:
        if type(y) is not Scalar:
            raise NoInstructionError(f"{name} of float numbers")
        ir_type = register_type(x.dtype)
        return Scalar(self.pure(ir_type, f"f{name} {ir_type} {x.register}, {y.register}"), x.dtype)

    def strong_product(self, x: Scalar, y: Operand) -> Scalar:
        """The product with a strong zero: zero where either factor is, also times infinity or nan. A constant factor that is neither zero
        nor infinite needs no select.
        """
        if type(y) is not Scalar or is_finite_and_not_zero(x) or is_finite_and_not_zero(y):
            return self.float_arithmetic("mul", x, y)
        zero, ir_type = self.constant(0.0, x.dtype), register_type(x.dtype)
        none = self.bool_function("or", self.compare("eq", x, zero).register, self.compare("eq", y, zero).register)
        return Scalar(self.bit(none, zero.register, self.float_arithmetic("mul", x, y).register, ir_type), x.dtype)

    def float_function(self, name: str, dtype: DType, *xs: str) -> str:
        ir_type = register_type(dtype)
        if name in VECTOR_FUNCTIONS:
            return self.call_libm(name, ir_type, *xs)
        if name in INTRINSICS:
            return self.intrinsic(INTRINSICS[name], ir_type, *xs)
        raise NoInstructionError(f"{name} of floats")

    def variant(self, name: str, symbol: str, bits: int) -> Variant | None:
        """The vector variant of a libm function: the C library's, or one of `POLYNOMIALS` where that is missing or slower."""
        variant, formula = super().variant(name, symbol, bits), POLYNOMIALS.get(name)
        if formula is None or (variant is not None and (name, bits) not in FASTER):
            return variant
        if name == "pow" and not machine().fuses:  # without fused products, their rounding errors are slow to compute
            return None
        return on_vectors(self, symbol, formula, np.dtype(f"f{bits // 8}"), VECTOR_FUNCTIONS[name])

    # ---- every kind ------------------------------------------------------------
    def select(self, which: Scalar, *cases: Scalar) -> Scalar:
        """The case of a number: of a bool, the second where it holds; of an integer, clipped to the cases there are."""
        dtype = cases[0].dtype
        if dtype.kind == "c":
            re, im = (self.select(which, *[self.parts(c)[k] for c in cases]).register for k in (0, 1))
            return Scalar((re, im), dtype)
        ir_type = register_type(dtype)
        if which.dtype.kind == "b" and len(cases) == 2:
            return Scalar(self.bit(which.register, cases[1].register, cases[0].register, ir_type), dtype)
        result = cases[0].register
        number = self.cast(which, np.dtype(np.int64))
        for k, case in enumerate(cases[1:], 1):
            reached = self.compare("ge", number, self.constant(k, number.dtype))
            result = self.bit(reached.register, case.register, result, ir_type)
        return Scalar(result, dtype)

    def compare(self, name: str, x: Scalar, y: Scalar) -> Scalar:
        """A comparison; complex numbers are equal or not."""
        if x.dtype.kind == "c":
            if name not in ("eq", "ne"):
                raise NoInstructionError(f"{name} of complex numbers")
            re, im = (self.compare(name, a, b).register for a, b in zip(self.parts(x), self.parts(y), strict=True))
            return self.value(BOOL, f"{'and' if name == 'eq' else 'or'} i1 {re}, {im}")
        if x.dtype == HALF:
            x, y = half.to_single(self, x), half.to_single(self, y)
        if is_constant(x) and is_constant(y):
            return Scalar("true" if getattr(operator, name)(number_of(x), number_of(y)) else "false", BOOL)
        ordered, signed, unsigned = COMPARISONS[name].split()
        kind = x.dtype.kind
        predicate = f"fcmp {ordered}" if kind == "f" else f"icmp {signed if kind == 'i' else unsigned}"
        return self.value(BOOL, f"{predicate} {register_type(x.dtype)} {x.value}, {y.value}")

    # ---- reductions ------------------------------------------------------------
    def combine(self, monoid: str, x: Scalar, y: Scalar) -> Scalar:
        """One step of a reduction. A sum of floats may be reordered; a maximum with a nan is nan.

        A maximum of zeros is one of them, as in NumPy: to tell their signs apart would take twice as long.
        """
        dtype = x.dtype
        if dtype.kind == "c" and monoid == "add":
            re, im = (self.combine(monoid, a, b).register for a, b in zip(self.parts(x), self.parts(y), strict=True))
            return Scalar((re, im), dtype)
        if dtype.kind == "f" and dtype != HALF:
            ir_type = register_type(dtype)
            if monoid in REASSOCIATED:
                return Scalar(self.module.code.value(ir_type, f"{REASSOCIATED[monoid]} {ir_type} {x.value}, {y.value}"), dtype)
            return Scalar(self.intrinsic(EXTREMA[monoid], ir_type, x.register, y.register, flags="nsz "), dtype)
        return self.math(EXTREMA.get(monoid, monoid), x, y)

    def identity(self, monoid: str, dtype: DType) -> Scalar:
        """The identity element of a reduction."""
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
