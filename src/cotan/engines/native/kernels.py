"""Kernels: equations that run over the same elements share one native loop.

Equations are grouped by their iteration space (the shape) and their depth: how many values that are not elementwise, or of another shape,
lie between them and the inputs. Two equations of one group cannot depend on each other through anything outside of it, so a group is one
loop. In it each value is computed once for each element and stored only if somebody outside reads it. A sum over all elements
joins the loop that makes its operand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import llvmlite.ir as ir
import numpy as np

from ...core.op import Op
from ...core.program import Equation, Literal, Program, Var
from ...core.types import ArrayType
from ...ops.families import BroadcastInDim, ReduceSum
from .emit import BYTE, I64, POINTER, Index, LlvmEmitter, NativeModule, NoInstructionError, Scalar, memory_type, register_type
from .machine import machine

__all__ = ["Kernel", "group", "module_of"]

BLOCK = 1024
"""How many elements are summed before their sum is added to the total: the error of a long sum stays small."""
LARGEST_KERNEL = 400
DATA_OFFSET = 16
"""Where an ndarray object holds the pointer to its data."""


@dataclass
class Kernel:
    """Equations that share one loop over ``shape``; ``sums`` are those that reduce one of their values to a scalar."""

    shape: tuple[int, ...]
    equations: list[Equation] = field(default_factory=list)
    sums: list[Equation] = field(default_factory=list)
    inputs: list[Var] = field(default_factory=list)
    outputs: list[Var] = field(default_factory=list)


class Reader:
    """An operand in a kernel: its type, and its element at an index."""

    def __init__(self, type: ArrayType, at: Any):
        self.shape, self.dtype, self.at = type.shape, type.dtype, at

    def __call__(self, index: Sequence[Any]) -> Scalar:
        return self.at(tuple(index))


# ---- which equations, and together with which -----------------------------------------------------------------------------
@lru_cache(maxsize=4096)
def has_instructions(op: Op, types: tuple[ArrayType, ...]) -> bool:
    """Whether the emitter has all that the defining equation of ``op`` needs, found out by writing it."""
    module = NativeModule()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "trial")
    emitter = LlvmEmitter(module, ir.IRBuilder(function.append_basic_block()))
    readers = [Reader(t, lambda _, t=t: Scalar(ir.Constant(register_type(t.dtype), ir.Undefined), t.dtype)) for t in types]
    try:
        index = tuple(Index(emitter.builder, I64(0)) for _ in op.type_rule(*types).shape)
        op.element(emitter, index, *readers)  # type: ignore[attr-defined]
    except NoInstructionError:
        return False
    return True


def is_elementwise(op: Op) -> bool:
    """Whether the op reads its operands at its own index alone."""
    return op.family in ("elementwise", "flat")


def fusable(equation: Equation) -> bool:
    """Whether the equation can be part of a kernel's loop."""
    op = equation.op
    if not (is_elementwise(op) or isinstance(op, BroadcastInDim)) or not hasattr(op, "element"):
        return False
    types = tuple(v.type for v in equation.inputs)
    return all(isinstance(t, ArrayType) for t in types) and has_instructions(op, types)


def is_total(equation: Equation) -> bool:
    """Whether the equation sums all elements of a floating array."""
    op = equation.op
    if not isinstance(op, ReduceSum):
        return False
    t = equation.inputs[0].type
    return type(equation.inputs[0]) is Var and t.dtype.kind == "f" and t.dtype.itemsize in (4, 8) and len(op.axes) == t.ndim > 0


def group(program: Program) -> list[Kernel | Equation]:
    """The program as kernels, and single equations that are left as they are, in an order in which they can run."""
    depth: dict[Var, int] = dict.fromkeys(program.inputs, 0)
    home: dict[Var, tuple[tuple[int, ...], int]] = {}
    kernels: dict[tuple[tuple[int, ...], int], Kernel] = {}
    steps: list[tuple[int, int, Kernel | Equation]] = []
    for number, equation in enumerate(program.equations):
        sources = [v for v in equation.inputs if isinstance(v, Var)]
        if is_total(equation) and sources[0] in home:
            kernel = kernels[home[sources[0]]]
            kernel.sums.append(equation)
            depth[equation.outputs[0]] = home[sources[0]][1] + 1
        elif fusable(equation):
            shape = equation.outputs[0].type.shape
            joins = is_elementwise(equation.op)  # reads its operands at its own index; a broadcast reads them elsewhere
            at = max([depth[v] + (v in home and not (joins and home[v][0] == shape)) for v in sources], default=0)
            while (shape, at) in kernels and len(kernels[shape, at].equations) >= LARGEST_KERNEL:
                at += 1
            key = (shape, at)
            if key not in kernels:
                kernels[key] = Kernel(shape)
                steps.append((at, number, kernels[key]))
            kernels[key].equations.append(equation)
            v = equation.outputs[0]
            depth[v], home[v] = at, key
        else:
            at = max([depth[v] + (1 if v in home else 0) for v in sources], default=0)
            steps.append((at, number, equation))
            for v in equation.outputs:
                depth[v] = at + 1
    whole: list[tuple[int, int, Kernel | Equation]] = []
    for at, number, step in steps:
        if isinstance(step, Kernel) and not any(is_elementwise(e.op) for e in step.equations):
            # broadcasts alone: NumPy makes views of them; a sum of one comes after it
            whole += [(at, number, e) for e in step.equations] + [(at + 1, -1, e) for e in step.sums]
        else:
            whole.append((at, number, step))
            if isinstance(step, Kernel):
                complete(step, program)
    # Values of a kernel have its depth and are there for what is deeper; results of single equations are one deeper than these.
    whole.sort(key=lambda step: (step[0], isinstance(step[2], Kernel), step[1]))
    return [step for _, _, step in whole]


def complete(kernel: Kernel, program: Program) -> None:
    """Find what a kernel reads and what others read of it."""
    made = {e.outputs[0] for e in kernel.equations}
    mine = {id(e) for e in [*kernel.equations, *kernel.sums]}
    wanted = {v for e in program.equations if id(e) not in mine for v in e.inputs if isinstance(v, Var)} | {
        v for v in program.outputs if isinstance(v, Var)
    }
    kernel.inputs = list(dict.fromkeys(v for e in kernel.equations for v in e.inputs if isinstance(v, Var) and v not in made))
    kernel.outputs = [v for v in made if v in wanted] + [e.outputs[0] for e in kernel.sums]


# ---- code ---------------------------------------------------------------------------------------------------------------------
def module_of(kernels: Sequence[Kernel]) -> tuple[str, list[str]]:
    """The text of a module with a function for each kernel, which takes the addresses of array objects, inputs first."""
    module = NativeModule()
    names = []
    for number, kernel in enumerate(kernels):
        names.append(f"kernel{number}")
        write_kernel(module, kernel, names[-1])
    return with_variants(str(module), module.variants), names


def write_kernel(module: Any, kernel: Kernel, name: str) -> None:
    """Two functions: one that fetches the data pointers of the array objects, and the loop, whose pointers are known not to overlap."""
    operands = [*kernel.inputs, *kernel.outputs]
    inner = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER] * len(operands)), f"{name}_loop")
    inner.linkage = "internal"
    for argument in inner.args:
        argument.add_attribute("noalias")
    outer = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * len(operands)), name)
    b = ir.IRBuilder(outer.append_basic_block("entry"))
    b.call(inner, [b.load(b.inttoptr(b.add(a, I64(DATA_OFFSET)), POINTER), typ=POINTER) for a in outer.args])
    b.ret_void()
    b = ir.IRBuilder(inner.append_basic_block("entry"))
    LoopWriter(module, b, kernel, dict(zip(operands, inner.args, strict=True))).write()
    b.ret_void()


class LoopWriter:
    """Writes the loop of a kernel: over all elements at once where each operand has its shape or is a scalar, else axis by axis."""

    def __init__(self, module: Any, b: Any, kernel: Kernel, pointers: dict[Var, Any]):
        self.b, self.kernel, self.pointers = b, kernel, pointers
        self.emitter = LlvmEmitter(module, b)
        self.sums: list[tuple[Equation, Any, Any]] = []
        for equation in kernel.sums:
            kind = register_type(equation.outputs[0].type.dtype)
            slots = b.alloca(kind), b.alloca(kind)
            for slot in slots:
                b.store(ir.Constant(kind, 0.0), slot)
            self.sums.append((equation, *slots))

    def write(self) -> None:
        b, shape = self.b, self.kernel.shape
        size = int(np.prod(shape, dtype=np.int64))
        if any(isinstance(e.op, BroadcastInDim) and e.inputs[0].type.shape for e in self.kernel.equations):
            nest(b, shape, self.body)
        else:
            nowhere = tuple(Index(b, I64(0)) for _ in shape)  # elements are found by their offset, and scalars need no index
            blocks = size // BLOCK if self.sums else 0

            def one_block(k: Any) -> None:
                start = b.mul(k, I64(BLOCK))
                loop(b, BLOCK, lambda j: self.body(nowhere, b.add(start, j)))
                self.flush()

            loop(b, blocks, one_block)
            loop(b, size - blocks * BLOCK, lambda j: self.body(nowhere, b.add(j, I64(blocks * BLOCK))))
        self.flush()
        for equation, _, total in self.sums:
            t = equation.outputs[0].type
            store(b, self.pointers[equation.outputs[0]], Scalar(b.load(total, typ=register_type(t.dtype)), t.dtype), I64(0))

    def body(self, index: tuple[Index, ...], offset: Any) -> None:
        """One element: each equation once, in order; results that others read are stored, those that are summed are added up."""
        environment: dict[Var, Scalar] = {}
        for equation in self.kernel.equations:
            v = equation.outputs[0]
            readers = [Reader(x.type, partial(self.element_of, x, environment, offset)) for x in equation.inputs]
            environment[v] = equation.op.element(self.emitter, index, *readers)  # type: ignore[attr-defined]
            if v in self.pointers:
                store(self.b, self.pointers[v], environment[v], offset)
        for equation, subtotal, _ in self.sums:
            x = environment[equation.inputs[0]]
            self.b.store(self.b.fadd(self.b.load(subtotal, typ=x.value.type), x.value, flags=("reassoc",)), subtotal)

    def element_of(self, v: Any, environment: dict[Var, Scalar], offset: Any, at: tuple[Any, ...]) -> Scalar:
        """An element of an operand: a number, a value of this turn of the loop, or one from memory."""
        if isinstance(v, Literal):
            return self.emitter.constant(v.value, v.type.dtype)
        if v in environment:
            return environment[v]
        return load(self.b, self.pointers[v], v.type, offset if v.type.shape == self.kernel.shape else address(self.b, v.type.shape, at))

    def flush(self) -> None:
        """Add the sums of a block to the totals."""
        b = self.b
        for equation, subtotal, total in self.sums:
            kind = register_type(equation.outputs[0].type.dtype)
            b.store(b.fadd(b.load(total, typ=kind), b.load(subtotal, typ=kind)), total)
            b.store(ir.Constant(kind, 0.0), subtotal)


def loop(b: Any, count: int, body: Any) -> None:
    """``body(k)`` for k from 0 to count - 1."""
    if count <= 0:
        return
    if count == 1:
        body(I64(0))
        return
    before = b.block
    head, after = b.append_basic_block("head"), b.append_basic_block("after")
    b.branch(head)
    b.position_at_end(head)
    k = b.phi(I64)
    k.add_incoming(I64(0), before)
    body(k)
    following = b.add(k, I64(1), flags=("nsw", "nuw"))
    k.add_incoming(following, b.block)
    b.cbranch(b.icmp_unsigned("<", following, I64(count)), head, after)
    b.position_at_end(after)


def nest(b: Any, shape: tuple[int, ...], body: Any, index: tuple[Index, ...] = (), offset: Any = None) -> None:
    """A loop for each axis, the last one innermost."""
    offset = I64(0) if offset is None else offset
    if not shape:
        body(index, offset)
        return
    size = int(np.prod(shape[1:], dtype=np.int64))
    loop(b, shape[0], lambda k: nest(b, shape[1:], body, (*index, Index(b, k)), b.add(offset, b.mul(k, I64(size)))))


def address(b: Any, shape: tuple[int, ...], at: tuple[Any, ...]) -> Any:
    """The offset of an element in a C-contiguous array."""
    offset: Any = I64(0)
    for n, k in zip(shape, at, strict=True):
        offset = b.add(b.mul(offset, I64(n)), k.value if isinstance(k, Index) else I64(int(k)))
    return offset


def load(b: Any, pointer: Any, t: ArrayType, offset: Any) -> Scalar:
    value = b.load(b.gep(pointer, [offset], source_etype=memory_type(t.dtype)), typ=memory_type(t.dtype))
    return Scalar(b.icmp_unsigned("!=", value, BYTE(0)) if t.dtype.kind == "b" else value, t.dtype)


def store(b: Any, pointer: Any, x: Scalar, offset: Any) -> None:
    value = b.zext(x.value, BYTE) if x.dtype.kind == "b" else x.value
    b.store(value, b.gep(pointer, [offset], source_etype=memory_type(x.dtype)))


def with_variants(text: str, variants: dict[str, Any]) -> str:
    """The module's text with what llvmlite's builder cannot say: the width of vectors, and the vector variants of libm's functions."""
    text = re.sub(r"^(define .*)$", rf'\1 "prefer-vector-width"="{machine().width}"', text, flags=re.MULTILINE)
    pure = "nounwind willreturn memory(none)"
    for symbol, variant in variants.items():
        quoted = re.escape(f'@"{symbol}"')
        text = re.sub(
            rf"^(.* call \w+ {quoted}\(.*\))$", rf'\1 {pure} "vector-function-abi-variant"="{variant.attribute}"', text, flags=re.MULTILINE
        )
    if variants:
        used = ", ".join(f'ptr @"{v.symbol}"' for v in variants.values())
        text += f'\n@llvm.compiler.used = appending global [{len(variants)} x ptr] [{used}], section "llvm.metadata"\n'
    return text
