"""Vector variants of scalar functions, written here; the loop vectorizer finds them as it finds the C library's.

LLVM replaces a call of a scalar function in a loop by a call of its vector variant, which an attribute names. Such a variant
computes a formula on all lanes; if the formula does not hold on one of them, it calls the scalar function lane by lane. So a
function whose hard operands need a branch does not keep a loop from being vectorized. `formulas_real`, `formulas_integer` and
`emitter` call this module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cotan.core.emitting import DType
from cotan.engines.native.llvm.builder import NOT_UNROLLED, PURE, Function, register_type
from cotan.engines.native.llvm.jit import Variant, machine

from .expression import LlvmExpression, Scalar, ScalarEmitter

__all__ = ["Formula", "guarded", "on_vectors"]

Formula = Callable[..., tuple[LlvmExpression, LlvmExpression | None]]
"""A function of expressions: the result, and the condition under which it is right; None if it always is."""


def guarded(name: str, formula: Formula, slow: Callable[..., LlvmExpression], *operands: LlvmExpression) -> LlvmExpression:
    """The formula where it holds, and ``slow`` where not. All operands and the result have one dtype."""
    e, dtype = operands[0].e, operands[0].dtype
    symbol = f"cotan_{name}_{dtype.name}"
    if symbol not in e.module.functions:
        e.module.functions[symbol] = dtype
        on_scalars(symbol, formula, slow, operands)
    return LlvmExpression(e, call(e, symbol, on_vectors(e, symbol, formula, dtype, len(operands)), [x.scalar for x in operands]))


def call(e: ScalarEmitter, symbol: str, variant: Variant, operands: Sequence[Scalar]) -> Scalar:
    """A call of a scalar function that has this variant."""
    dtype = operands[0].dtype
    ir_type, note = register_type(dtype), f'"vector-function-abi-variant"="{variant.attribute}"'
    return e.value(dtype, f"call {ir_type} @{symbol}({', '.join(f'{ir_type} {x.value}' for x in operands)}) {PURE} {note}")


def on_scalars(symbol: str, formula: Formula, slow: Callable[..., LlvmExpression], operands: Sequence[LlvmExpression]) -> None:
    """Define the scalar function. It is not inlined, so that its call is there when LLVM vectorizes loops."""
    e, dtype = operands[0].e, operands[0].dtype
    ir_type, code = register_type(dtype), Function(e.module, [])
    names = [e.module.name(ir_type) for _ in operands]
    e.module.stack.append(code)
    xs = [LlvmExpression(e, Scalar(x, dtype)) for x in names]
    result, fine = formula(*xs)
    assert fine is not None
    yes, no = code.label(), code.label()
    code.branch(fine.scalar.register, yes, no)
    code.start(yes)
    code.line(f"ret {ir_type} {result.scalar.value}")
    code.start(no)
    code.line(f"ret {ir_type} {slow(*xs).scalar.value}")
    e.module.stack.pop()
    parameters = ", ".join(f"{ir_type} {x}" for x in names)
    e.module.finish(code, f"define internal {ir_type} @{symbol}({parameters}) noinline willreturn memory(none)")


def on_vectors(e: ScalarEmitter, symbol: str, formula: Formula, dtype: DType, arity: int) -> Variant:
    """The vector variant of a scalar function, defined once in a module: a loop over the lanes, which LLVM vectorizes itself."""
    module, ir_type = e.module, register_type(dtype)
    known = module.variants.get(symbol)
    if known is not None:
        return known
    lanes = machine().width // (8 * dtype.itemsize)
    name = f"{symbol}_on_vectors"
    variant = module.variants[symbol] = Variant(name, lanes, f"_ZGV_LLVM_N{lanes}{'v' * arity}_{symbol}({name})")
    code, vector, flags = Function(module, []), f"<{lanes} x {ir_type}>", f"<{lanes} x i8>"
    names = [module.name(vector) for _ in range(arity)]
    module.stack.append(code)
    inputs, results, wrong = [code.alloca(vector) for _ in names], code.alloca(vector), code.alloca(flags)
    for x, array in zip(names, inputs, strict=True):
        code.line(f"store {vector} {x}, ptr {array}")

    def lane(array: str, k: str, ir_type: str = ir_type) -> str:
        return code.value("ptr", f"getelementptr inbounds {ir_type}, ptr {array}, i64 {k}")

    def fast(k: str) -> None:
        xs = [LlvmExpression(e, Scalar(code.value(ir_type, f"load {ir_type}, ptr {lane(x, k)}"), dtype)) for x in inputs]
        result, fine = formula(*xs)
        code.line(f"store {ir_type} {result.scalar.value}, ptr {lane(results, k)}")
        if fine is not None:
            guards.append(fine)
            code.line(f"store i8 {(~fine).cast(np.uint8).scalar.value}, ptr {lane(wrong, k, 'i8')}")

    def each(k: str) -> None:
        xs = [code.value(ir_type, f"load {ir_type}, ptr {lane(x, k)}") for x in inputs]
        y = code.value(ir_type, f"call {ir_type} @{symbol}({', '.join(f'{ir_type} {x}' for x in xs)})")
        code.line(f"store {ir_type} {y}, ptr {lane(results, k)}")

    guards: list[LlvmExpression] = []
    code.loop(str(lanes), fast, note=module.loop_note(NOT_UNROLLED))
    if guards:
        found = code.value(flags, f"load {flags}, ptr {wrong}")
        any_wrong = code.value("i8", module.call("i8", f"llvm.vector.reduce.or.v{lanes}i8", f"{flags} {found}"))
        again, end = code.label(), code.label()
        code.branch(code.value("i1", f"icmp ne i8 {any_wrong}, 0"), again, end)
        code.start(again)
        code.loop(str(lanes), each, note=module.loop_note(NOT_UNROLLED))
        code.jump(end)
        code.start(end)
    code.line(f"ret {vector} {code.value(vector, f'load {vector}, ptr {results}')}")
    module.stack.pop()
    module.finish(code, f"define internal {vector} @{name}({', '.join(f'{vector} {x}' for x in names)}) noinline willreturn memory(none)")
    return variant
