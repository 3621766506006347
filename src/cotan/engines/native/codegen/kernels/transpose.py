"""Matrix transpose: copies of matrices from row-major to column-major order, or in one order.

A matrix that is read along one axis and written along the other is taken in square blocks of as many vectors as these have lanes. A block
is transposed in registers in log2(n) steps, each of which exchanges halves of pairs of vectors. The last blocks overlap others, so that all
are full.
"""

from __future__ import annotations

from collections.abc import Callable

from cotan.engines.native.affine import Index, linear, variable
from cotan.engines.native.codegen.loop_builder import LoopBuilder
from cotan.engines.native.codegen.strided import StridedView
from cotan.engines.native.codegen.values import memory_type
from cotan.engines.native.llvm.jit import machine

__all__ = ["copy_matrix"]


def copy_matrix(w: LoopBuilder, source: StridedView, target: StridedView) -> None:
    """``target[i, j] = source[i, j]`` for all of the target: in loops, which belong into a function of their own."""
    assert all(a >= b for a, b in zip(source.shape, target.shape, strict=True)), (source.shape, target.shape)
    if 0 in target.shape:
        return
    along = [next((k for k in (1, 0) if block.strides[k] == 1), None) for block in (source, target)]
    side = 1
    if None not in along and along[0] != along[1] and source.dtype == target.dtype and source.dtype.kind in "biuf":
        most = machine().width // (8 * source.dtype.itemsize)
        while 2 * side <= min(*target.shape, most):
            side *= 2
    if side > 1:
        transposed_blocks(w, source, target, side)
    elif along[1] == 0:
        rows(w, source.mT, target.mT)
    else:
        rows(w, source, target)


def rows(w: LoopBuilder, source: StridedView, target: StridedView) -> None:
    """Copy element by element, along the rows of the target."""
    w.every(target.shape, lambda i: target.__setitem__(i, source[i]))


def transposed_blocks(w: LoopBuilder, source: StridedView, target: StridedView, n: int) -> None:
    """Copy all blocks of ``n`` rows and columns."""

    def loop(size: int, body: Callable[[Index | int], None]) -> None:
        if size == n:
            body(0)
        else:
            w.code.loop(str(-(-size // n)), lambda k: body(w.block_start(variable(k, -(-size // n)), size, n)))

    height, width = target.shape
    loop(height, lambda i: loop(width, lambda j: transposed_block(w, source, target, n, i, j)))


def transposed_block(w: LoopBuilder, source: StridedView, target: StridedView, n: int, i: Index | int, j: Index | int) -> None:
    """Copy the block that begins at row ``i`` and column ``j``, transposed in registers."""
    code, ir_type = w.code, memory_type(source.dtype)
    vector = f"<{n} x {ir_type}>"

    def place(block: StridedView, k: int) -> str:
        index = (linear([(i, 1), (k, 1)]), j) if block.strides[1] == 1 else (i, linear([(j, 1), (k, 1)]))
        return f"ptr {code.address(block.at, ir_type, block.offset(index))}, align {block.dtype.itemsize}"

    def mixed(a: str, b: str, lanes: list[int]) -> str:
        mask = ", ".join(f"i32 {lane}" for lane in lanes)
        return code.value(vector, f"shufflevector {vector} {a}, {vector} {b}, <{n} x i32> <{mask}>")

    vectors = [code.value(vector, f"load {vector}, {place(source, k)}") for k in range(n)]
    half = 1
    while half < n:
        for k in range(n):
            if not k & half:
                a, b = vectors[k], vectors[k + half]
                vectors[k] = mixed(a, b, [lane if not lane & half else n + lane - half for lane in range(n)])
                vectors[k + half] = mixed(a, b, [lane + half if not lane & half else n + lane for lane in range(n)])
        half *= 2
    for k, x in enumerate(vectors):
        code.line(f"store {vector} {x}, {place(target, k)}")
