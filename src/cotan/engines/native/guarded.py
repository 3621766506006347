"""Functions that are a formula on most operands, and a slow call on the rest; in vectors too.

A branch keeps a loop from becoming vectors, so the function gets a vector variant, to which the loop vectoriser is led by the same
attribute as to those of the C library. The variant takes the formula on all lanes, and only where that does not hold on one of them goes
through the lanes one by one. Both give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .machine import Variant, machine
from .scalars import Scalar, Term
from .writer import PURE, Function, register_type

__all__ = ["guarded"]

LOOP = "loop of lanes"
METADATA = """\
!0 = distinct !{!0, !1, !2}
!1 = !{!"llvm.loop.unroll.disable"}
!2 = !{!"llvm.loop.vectorize.enable", i1 true}"""

Formula = Callable[..., tuple[Term, Term]]


def guarded(name: str, formula: Formula, slow: Callable[..., Term], *operands: Term) -> Term:
    """``formula`` gives the result, and whether it holds; where not, the result is that of ``slow``. All have one dtype of floats."""
    e, dtype = operands[0].e, operands[0].dtype
    kind, module = register_type(dtype), e.module
    symbol = f"cotan_{name}_{dtype.name}"
    if symbol not in e.functions:
        e.functions[symbol] = dtype
        one_by_one(symbol, formula, slow, operands)
        lanes = machine().width // (8 * dtype.itemsize)
        module.variants[symbol] = Variant(f"{symbol}_v", lanes, f"_ZGV_LLVM_N{lanes}{'v' * len(operands)}_{symbol}({symbol}_v)")
        all_lanes(symbol, formula, lanes, operands)
    variant = module.variants[symbol]
    arguments = ", ".join(f"{kind} {x.scalar.value}" for x in operands)
    call = f'call {kind} @{symbol}({arguments}) {PURE} "vector-function-abi-variant"="{variant.attribute}"'
    return Term(e, e.value(dtype, call))


def one_by_one(symbol: str, formula: Formula, slow: Callable[..., Term], operands: tuple[Term, ...]) -> None:
    """The function of scalars. It must still be called when loops become vectors."""
    e, dtype = operands[0].e, operands[0].dtype
    kind, code = register_type(dtype), Function(e.module, [])
    names = [e.module.name(kind) for _ in operands]
    e.module.stack.append(code)
    xs = [Term(e, Scalar(x, dtype)) for x in names]
    result, fine = formula(*xs)
    yes, no = code.label(), code.label()
    code.branch(fine.scalar.value, yes, no)
    code.start(yes)
    code.line(f"ret {kind} {result.scalar.value}")
    code.start(no)
    code.line(f"ret {kind} {slow(*xs).scalar.value}")
    e.module.stack.pop()
    parameters = ", ".join(f"{kind} {x}" for x in names)
    e.module.finish(code, f"define internal {kind} @{symbol}({parameters}) noinline willreturn memory(none)")


def all_lanes(symbol: str, formula: Formula, lanes: int, operands: tuple[Term, ...]) -> None:
    """The function of vectors: a loop over the lanes, which becomes one turn on the vectors, and one that does not."""
    e, dtype = operands[0].e, operands[0].dtype
    kind, code = register_type(dtype), Function(e.module, [])
    vector = f"<{lanes} x {kind}>"
    e.module.constants[LOOP] = METADATA
    names = [e.module.name(vector) for _ in operands]
    e.module.stack.append(code)
    places, results, wrong = [code.alloca(vector) for _ in names], code.alloca(vector), code.alloca("i8")
    for x, place in zip(names, places, strict=True):
        code.line(f"store {vector} {x}, ptr {place}")
    code.line(f"store i8 0, ptr {wrong}")

    def lane(place: str, k: str) -> str:
        return code.value("ptr", f"getelementptr inbounds {kind}, ptr {place}, i64 {k}")

    def fast(k: str) -> None:
        xs = [Term(e, Scalar(code.value(kind, f"load {kind}, ptr {lane(place, k)}"), dtype)) for place in places]
        result, fine = formula(*xs)
        code.line(f"store {kind} {result.scalar.value}, ptr {lane(results, k)}")
        before = code.value("i8", f"load i8, ptr {wrong}")
        now = code.value("i8", f"or i8 {before}, {(~fine).cast(np.uint8).scalar.value}")
        code.line(f"store i8 {now}, ptr {wrong}")

    def each(k: str) -> None:
        xs = [code.value(kind, f"load {kind}, ptr {lane(place, k)}") for place in places]
        y = code.value(kind, f"call {kind} @{symbol}({', '.join(f'{kind} {x}' for x in xs)})")
        code.line(f"store {kind} {y}, ptr {lane(results, k)}")

    code.loop(str(lanes), fast, note=", !llvm.loop !0")
    again, end = code.label(), code.label()
    code.branch(code.value("i1", f"icmp ne i8 {code.value('i8', f'load i8, ptr {wrong}')}, 0"), again, end)
    code.start(again)
    code.loop(str(lanes), each)
    code.jump(end)
    code.start(end)
    code.line(f"ret {vector} {code.value(vector, f'load {vector}, ptr {results}')}")
    e.module.stack.pop()
    parameters = ", ".join(f"{vector} {x}" for x in names)
    e.module.finish(code, f"define internal {vector} @{symbol}_v({parameters}) noinline willreturn memory(none)")
