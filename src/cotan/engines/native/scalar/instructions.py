"""LLVM instructions and calls on scalars: the part of the emitter that writes them into the function at hand.

Every instruction here is pure, so an equal one in scope is used again. A call is of an intrinsic of LLVM, of libm or another C function, or
of a function of the module. A libm function that the process lacks raises `NoInstructionError`. `emitter.LlvmEmitter` extends this class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cotan.core.emitting import DType
from cotan.engines.native.llvm.builder import PURE, Function, Module, register_type
from cotan.engines.native.llvm.jit import Variant, machine

from .expression import COMPLEX, NoInstructionError, Scalar

__all__ = ["InstructionEmitter"]


class InstructionEmitter:
    """Writes instructions and calls on scalars where the module is being written."""

    def __init__(self, module: Module):
        self.module = module

    # ---- instructions ------------------------------------------------------------
    def pure(self, type: str, ir: str) -> str:
        """The register of a pure instruction."""
        return self.module.code.pure(type, ir)

    def value(self, dtype: DType, ir: str) -> Scalar:
        """The result of a pure instruction."""
        return Scalar(self.pure(register_type(dtype), ir), dtype)

    def bits(self, x: Scalar, dtype: DType) -> Scalar:
        """The bits of a scalar as a number of another dtype of its size."""
        a, b = register_type(x.dtype), register_type(dtype)
        return Scalar(x.value, dtype) if a == b else self.value(dtype, f"bitcast {a} {x.value} to {b}")

    def bit(self, condition: str, yes: str, no: str, ir_type: str) -> str:
        """``yes`` where ``condition``, an i1, is set, else ``no``; ``ir_type`` is their LLVM type."""
        if condition in ("true", "false"):
            return yes if condition == "true" else no
        return self.pure(ir_type, f"select i1 {condition}, {ir_type} {yes}, {ir_type} {no}")

    def fused(self, x: Scalar, y: Scalar, z: Scalar, exactly: bool = False) -> Scalar:
        """The sum ``x * y + z``: rounded once where the processor can; with ``exactly``, once also where that is slow."""
        if exactly and not machine().fuses:
            self.libm_symbol("fma", x.dtype)
        name = "fma" if exactly else "fmuladd"
        return Scalar(self.intrinsic(name, register_type(x.dtype), x.register, y.register, z.register), x.dtype)

    def remainder(self, x: Scalar, y: Scalar) -> Scalar:
        """The remainder of a division rounded to zero, by long division: an instruction to LLVM, a call of libm to the processor."""
        self.libm_symbol("fmod", x.dtype)
        return self.value(x.dtype, f"frem {register_type(x.dtype)} {x.value}, {y.value}")

    # ---- complex numbers ------------------------------------------------------------
    def part(self, dtype: DType) -> DType:
        """The dtype of the parts of a complex number."""
        return COMPLEX[dtype]

    def parts(self, x: Scalar) -> tuple[Scalar, Scalar]:
        """The real and the imaginary part of a complex scalar."""
        part = self.part(x.dtype)
        return Scalar(x.value[0], part), Scalar(x.value[1], part)

    # ---- calls of LLVM's and of C's functions ------------------------------------------------------------
    def intrinsic(self, name: str, ir_type: str, *xs: str, flags: str = "") -> str:
        """A call of an LLVM intrinsic on floats of type ``ir_type``."""
        symbol = f"llvm.{name}.{'f64' if ir_type == 'double' else 'f32'}"
        return self.pure(ir_type, self.module.call(ir_type, symbol, *[f"{ir_type} {x}" for x in xs], flags=flags))

    def libm_symbol(self, name: str, dtype: DType) -> str:
        """The symbol of a function of libm for floats of this dtype.

        Raises:
            NoInstructionError: the process does not have it.
        """
        symbol = name if dtype.itemsize == 8 else f"{name}f"
        if not machine().has_symbol(symbol):
            raise NoInstructionError(f"{symbol}: there is no such function here")
        return symbol

    def call_libm(self, name: str, ir_type: str, *xs: str) -> str:
        """A call of libm, with its vector variant if there is one."""
        bits = 64 if ir_type == "double" else 32
        symbol = self.libm_symbol(name, np.dtype(f"f{bits // 8}"))
        variant = self.variant(name, symbol, bits)
        note = ""
        if variant is not None:
            vector = f"<{variant.lanes} x {ir_type}>"
            if symbol not in self.module.variants:
                self.module.declare(variant.symbol, vector, *[vector] * len(xs))
                self.module.variants[symbol] = variant
            note = f' "vector-function-abi-variant"="{variant.attribute}"'
        return self.pure(ir_type, f"{self.module.call(ir_type, symbol, *[f'{ir_type} {x}' for x in xs])} {PURE}{note}")

    def variant(self, name: str, symbol: str, bits: int) -> Variant | None:
        """The vector variant of a libm function of this symbol, for numbers of so many bits."""
        return machine().variant(name, bits)

    def call_complex(self, name: str, *operands: Scalar, further: Sequence[tuple[str, str]] = ()) -> Scalar:
        """A call of a C function of complex numbers, by the calling convention of the processor and the system."""
        dtype = operands[0].dtype
        part = register_type(self.part(dtype))
        symbol = name if part == "double" else f"{name}f"
        convention = machine().complex_numbers
        if convention is None or not machine().has_symbol(symbol):
            raise NoInstructionError(f"{symbol}: no call of such a function here")
        if part == "float" and convention == "packed":
            ir_type, arguments = "<2 x float>", [self.packed(x) for x in operands]
            found = self.pure(ir_type, self.pure_call(symbol, ir_type, [(ir_type, x) for x in arguments]))
            re, im = (self.pure(part, f"extractelement {ir_type} {found}, i32 {k}") for k in (0, 1))
        else:
            ir_type, halves = f"{{ {part}, {part} }}", [(part, half) for x in operands for half in x.value]
            found = self.pure(ir_type, self.pure_call(symbol, ir_type, [*halves, *further]))
            re, im = (self.pure(part, f"extractvalue {ir_type} {found}, {k}") for k in (0, 1))
        return Scalar((re, im), dtype)

    def packed(self, x: Scalar) -> str:
        """A complex number of two floats as one vector."""
        half = self.pure("<2 x float>", f"insertelement <2 x float> poison, float {x.value[0]}, i32 0")
        return self.pure("<2 x float>", f"insertelement <2 x float> {half}, float {x.value[1]}, i32 1")

    def pure_call(self, symbol: str, result: str, arguments: Sequence[tuple[str, str]]) -> str:
        """The LLVM IR of a call of a pure function, which is declared; arguments are pairs of a type and a value."""
        return f"{self.module.call(result, symbol, *[f'{ir_type} {x}' for ir_type, x in arguments])} {PURE}"

    # ---- functions of the module ------------------------------------------------------------
    def function(self, name: str, operands: Sequence[DType], body: Callable[..., Scalar]) -> DType:
        """Define a function that computes ``body``, unless the module has it; the dtype of its result."""
        if name not in self.module.functions:
            code = Function(self.module, [])
            xs = [Scalar(self.module.name(register_type(t)), t) for t in operands]
            self.module.stack.append(code)
            result = body(*xs)
            ir_type = register_type(result.dtype)
            code.line(f"ret {ir_type} {result.value}")
            self.module.stack.pop()
            parameters = ", ".join(f"{register_type(x.dtype)} {x.value}" for x in xs)
            self.module.finish(code, f"define internal {ir_type} @{name}({parameters}) willreturn memory(none)")
            self.module.functions[name] = result.dtype
        return self.module.functions[name]

    def call(self, name: str, dtype: DType, *operands: Scalar) -> Scalar:
        """A call of a pure function of real numbers."""
        arguments = ", ".join(f"{register_type(x.dtype)} {x.value}" for x in operands)
        return self.value(dtype, f"call {register_type(dtype)} @{name}({arguments}) {PURE}")
