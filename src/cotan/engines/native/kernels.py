"""Kernels: equations that run over the same elements share one native loop.

Equations are grouped by their iteration space (the shape) and their depth: how many values that are not elementwise, or of another shape,
lie between them and the inputs. Two equations of one group cannot depend on each other through anything outside of it, so a group is one
loop. In it each value is computed once for each element and stored only if somebody outside reads it. A sum, maximum or minimum
over the last axes (or all) joins the loop that makes its operand.
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
from ...ops.reduction import ReduceMax, ReduceMin
from .emit import BYTE, I32, I64, POINTER, Index, LlvmEmitter, NativeModule, NoInstructionError, Scalar, memory_type, register_type
from .machine import machine

__all__ = ["Kernel", "group", "module_of"]

BLOCK = 1024
"""How many elements are summed before their sum is added to the total: the error of a long sum stays small."""
LARGEST_KERNEL, LARGEST_SMALL_KERNEL = 400, 20_000
"""How many equations a kernel may have: one of few elements is mostly straight code, and cutting it makes many small results."""
FEW_ELEMENTS, MOST_ARGUMENTS = 16, 100
DATA_OFFSET, FLAGS_OFFSET, C_CONTIGUOUS_AND_ALIGNED = 16, 64, 0x0101
"""Where an ndarray object holds the pointer to its data, and its flags (the layout of PyArrayObject, which NumPy keeps stable)."""


@dataclass
class Kernel:
    """Equations that share one loop over ``shape``; ``reductions`` are those that fold one of their values over the axes from ``split``."""

    shape: tuple[int, ...]
    equations: list[Equation] = field(default_factory=list)
    reductions: list[Equation] = field(default_factory=list)
    split: int = 0

    @property
    def small(self) -> bool:
        """Whether it has too few elements for vectors to be worth their compilation."""
        return int(np.prod(self.shape, dtype=np.int64)) <= FEW_ELEMENTS

    @property
    def packed(self) -> bool:
        """Whether its operands are handed over as one array of pointers: a call takes so many at most."""
        return len(self.inputs) + len(self.outputs) > MOST_ARGUMENTS

    @property
    def full(self) -> bool:
        """Whether it is to take no more equations."""
        return len(self.equations) >= (LARGEST_SMALL_KERNEL if self.small else LARGEST_KERNEL)

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


def last_axes(equation: Equation) -> int | None:
    """Of a reduction of floats over the last axes, the first of them; else None."""
    op, operand = equation.op, equation.inputs[0] if equation.inputs else None
    if not isinstance(op, ReduceSum | ReduceMax | ReduceMin) or not isinstance(operand, Var):
        return None
    t = operand.type
    split = t.ndim - len(op.axes)
    right = t.dtype.kind == "f" and t.dtype.itemsize in (4, 8) and op.axes == tuple(range(split, t.ndim)) and op.axes
    return split if right and (isinstance(op, ReduceSum) or t.size) else None


def group(program: Program) -> list[Kernel | Equation]:
    """The program as kernels, and single equations that are left as they are, in an order in which they can run."""
    depth: dict[Var, int] = dict.fromkeys(program.inputs, 0)
    home: dict[Var, tuple[tuple[int, ...], int]] = {}
    kernels: dict[tuple[tuple[int, ...], int], Kernel] = {}
    steps: list[tuple[int, int, Kernel | Equation]] = []
    for number, equation in enumerate(program.equations):
        sources = [v for v in equation.inputs if isinstance(v, Var)]
        split = last_axes(equation)
        host = kernels[home[sources[0]]] if split is not None and sources[0] in home else None
        if host is not None and split is not None and (not host.reductions or host.split == split):
            host.reductions.append(equation)
            host.split = split
            depth[equation.outputs[0]] = home[sources[0]][1] + 1
        elif fusable(equation):
            shape = equation.outputs[0].type.shape
            joins = is_elementwise(equation.op)  # reads its operands at its own index; a broadcast reads them elsewhere
            at = max([depth[v] + (v in home and not (joins and home[v][0] == shape)) for v in sources], default=0)
            while (shape, at) in kernels and kernels[shape, at].full:
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
            # broadcasts alone: NumPy makes views of them; what reduces one comes after it
            whole += [(at, number, e) for e in step.equations] + [(at + 1, -1, e) for e in step.reductions]
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
    mine = {id(e) for e in [*kernel.equations, *kernel.reductions]}
    wanted = {v for e in program.equations if id(e) not in mine for v in e.inputs if isinstance(v, Var)} | {
        v for v in program.outputs if isinstance(v, Var)
    }
    kernel.inputs = list(dict.fromkeys(v for e in kernel.equations for v in e.inputs if isinstance(v, Var) and v not in made))
    kernel.outputs = [v for v in made if v in wanted] + [e.outputs[0] for e in kernel.reductions]


# ---- code ---------------------------------------------------------------------------------------------------------------------
def module_of(kernels: Sequence[Kernel]) -> tuple[str, list[str]]:
    """The text of a module with a function for each kernel, which takes array objects, inputs first."""
    module = NativeModule()
    names = []
    for number, kernel in enumerate(kernels):
        names.append(f"kernel{number}")
        write_kernel(module, kernel, names[-1])
    return with_variants(str(module), module.variants), names


def write_kernel(module: Any, kernel: Kernel, name: str) -> None:
    """Two functions: one that takes array objects, and the loop, whose pointers are known not to overlap.

    The first gives 1 and does nothing if an input is not C-contiguous and aligned.
    """
    operands = [*kernel.inputs, *kernel.outputs]
    inner = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER] * len(operands)), f"{name}_loop")
    inner.linkage = "internal"
    for argument in inner.args:
        argument.add_attribute("noalias")
    outer = ir.Function(module, ir.FunctionType(I32, [POINTER] * (1 if kernel.packed else len(operands))), name)
    b = ir.IRBuilder(outer.append_basic_block("entry"))
    arrays = list(outer.args)
    if kernel.packed:
        arrays = [b.load(b.gep(outer.args[0], [I64(k)], source_etype=POINTER), typ=POINTER) for k in range(len(operands))]
    fine: Any = I32(C_CONTIGUOUS_AND_ALIGNED)
    for array in arrays[: len(kernel.inputs)]:
        fine = b.and_(fine, b.load(b.gep(array, [I64(FLAGS_OFFSET)], source_etype=BYTE), typ=I32))
    with b.if_then(b.icmp_unsigned("!=", fine, I32(C_CONTIGUOUS_AND_ALIGNED)), likely=False):
        b.ret(I32(1))
    b.call(inner, [b.load(b.gep(array, [I64(DATA_OFFSET)], source_etype=BYTE), typ=POINTER) for array in arrays])
    b.ret(I32(0))
    b = ir.IRBuilder(inner.append_basic_block("entry"))
    LoopWriter(module, b, kernel, dict(zip(operands, inner.args, strict=True))).write()
    b.ret_void()


class LoopWriter:
    """Writes the loop of a kernel: over all elements at once where each operand has its shape or is a scalar, else axis by axis.

    A reduction has two cells: what the block at hand gives, and the total so far; the last axis is cut in blocks for that.
    """

    def __init__(self, module: Any, b: Any, kernel: Kernel, pointers: dict[Var, Any]):
        self.b, self.kernel, self.pointers = b, kernel, pointers
        self.emitter = LlvmEmitter(module, b)
        self.cells: list[tuple[Equation, Any, Any]] = []
        for equation in kernel.reductions:
            kind = register_type(equation.outputs[0].type.dtype)
            self.cells.append((equation, b.alloca(kind), b.alloca(kind)))

    def write(self) -> None:
        """The whole loop."""
        shape, split = self.kernel.shape, self.kernel.split if self.cells else 0
        flat = not any(isinstance(e.op, BroadcastInDim) and e.inputs[0].type.shape for e in self.kernel.equations)
        if flat:  # elements are found by their offset, and scalars need no index
            outer, inner = (int(np.prod(part, dtype=np.int64)) for part in (shape[:split], shape[split:]))
            nowhere = tuple(Index(self.b, I64(0)) for _ in shape)
            loop(self.b, outer, lambda k: self.row(k, lambda: self.strip(inner, lambda j: self.body(nowhere, self.at(k, inner, j)))))
        else:
            self.nest(shape, split, (), I64(0))

    def at(self, k: Any, size: int, j: Any) -> Any:
        return self.b.add(self.b.mul(k, I64(size)), j)

    def nest(self, shape: tuple[int, ...], split: int, index: tuple[Index, ...], offset: Any) -> None:
        """A loop for each axis that is left; where ``split`` of them are left to go, the reductions begin."""
        if len(index) == split and self.cells:
            rows = int(np.prod(self.kernel.shape[split:], dtype=np.int64))
            self.row(self.b.udiv(offset, I64(max(rows, 1))), lambda: self.axes(shape, index, offset))
        elif len(index) < split:
            size = int(np.prod(shape[1:], dtype=np.int64))
            loop(
                self.b,
                shape[0],
                lambda k: self.nest(shape[1:], split, (*index, Index(self.b, k)), self.b.add(offset, self.b.mul(k, I64(size)))),
            )
        else:
            self.axes(shape, index, offset)

    def axes(self, shape: tuple[int, ...], index: tuple[Index, ...], offset: Any) -> None:
        """Loops over the axes of ``shape``, the last one in blocks if something is reduced."""
        if not shape:
            self.body(index, offset)
        elif len(shape) == 1:
            self.strip(shape[0], lambda j: self.body((*index, Index(self.b, j)), self.b.add(offset, j)))
        else:
            size = int(np.prod(shape[1:], dtype=np.int64))
            loop(self.b, shape[0], lambda k: self.axes(shape[1:], (*index, Index(self.b, k)), self.b.add(offset, self.b.mul(k, I64(size)))))

    def row(self, number: Any, write: Any) -> None:
        """What ``write`` writes, between clearing the cells and storing the totals as element ``number`` of the reductions."""
        b = self.b
        for equation, part, total in self.cells:
            for cell in (part, total):
                b.store(self.neutral(equation), cell)
        write()
        self.flush()
        for equation, _, total in self.cells:
            t = equation.outputs[0].type
            store(b, self.pointers[equation.outputs[0]], Scalar(b.load(total, typ=register_type(t.dtype)), t.dtype), number)

    def strip(self, count: int, body: Any) -> None:
        """``body(j)`` for j below ``count``, in blocks if something is reduced."""
        blocks = count // BLOCK if self.cells and count >= 2 * BLOCK else 0

        def one_block(k: Any) -> None:
            start = self.b.mul(k, I64(BLOCK))
            loop(self.b, BLOCK, lambda j: body(self.b.add(start, j)))
            self.flush()

        loop(self.b, blocks, one_block)
        done = blocks * BLOCK
        loop(self.b, count - done, lambda j: body(self.b.add(j, I64(done)) if done else j))

    def body(self, index: tuple[Index, ...], offset: Any) -> None:
        """One element: each equation once, in order; results that others read are stored, those that are reduced are folded in."""
        environment: dict[Var, Scalar] = {}
        for equation in self.kernel.equations:
            v = equation.outputs[0]
            readers = [Reader(x.type, partial(self.element_of, x, environment, offset)) for x in equation.inputs]
            environment[v] = equation.op.element(self.emitter, index, *readers)  # type: ignore[attr-defined]
            if v in self.pointers:
                store(self.b, self.pointers[v], environment[v], offset)
        for equation, part, _ in self.cells:
            self.fold(equation, part, environment[equation.inputs[0]].value)

    def element_of(self, v: Any, environment: dict[Var, Scalar], offset: Any, at: tuple[Any, ...]) -> Scalar:
        """An element of an operand: a number, a value of this turn of the loop, or one from memory."""
        if isinstance(v, Literal):
            return self.emitter.constant(v.value, v.type.dtype)
        if v in environment:
            return environment[v]
        return load(self.b, self.pointers[v], v.type, offset if v.type.shape == self.kernel.shape else address(self.b, v.type.shape, at))

    # ---- reductions -------------------------------------------------------------------------------------------------------
    def neutral(self, equation: Equation) -> Any:
        """What a fold begins with."""
        op = equation.op
        value = 0.0 if isinstance(op, ReduceSum) else -np.inf if isinstance(op, ReduceMax) else np.inf
        return ir.Constant(register_type(equation.outputs[0].type.dtype), value)

    def fold(self, equation: Equation, cell: Any, x: Any) -> None:
        """Fold a value into a cell. A sum may be reordered; a maximum with a nan is nan."""
        b = self.b
        old = b.load(cell, typ=x.type)
        if isinstance(equation.op, ReduceSum):
            new = b.fadd(old, x, flags=("reassoc",))
        else:
            new = self.emitter.intrinsic("maximum" if isinstance(equation.op, ReduceMax) else "minimum", x.type, [old, x])
        b.store(new, cell)

    def flush(self) -> None:
        """Fold what the block gave into the totals."""
        b = self.b
        for equation, part, total in self.cells:
            self.fold(equation, total, b.load(part, typ=register_type(equation.outputs[0].type.dtype)))
            b.store(self.neutral(equation), part)


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
