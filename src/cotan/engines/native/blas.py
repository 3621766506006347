"""BLAS: products of matrices by SciPy's routines, called from native code."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .index import linear
from .machine import machine
from .values import Moved, Value, memory_type, offset_of

if TYPE_CHECKING:
    from .generate import Run
    from .plan import Opaque

__all__ = ["product", "worth_a_call"]

FEWEST_PRODUCTS = 1 << 12
"""From so many multiplications of two matrices on, a call of BLAS is faster than loops."""


@lru_cache(maxsize=16)
def routine(name: str) -> str:
    """The symbol of a routine of SciPy's BLAS, which is made known to LLVM."""
    capsule = import_module("scipy.linalg.cython_blas").__pyx_capi__[name]
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature = name_of(capsule)
    if b"int *" not in signature or b"long" in signature:
        raise NotImplementedError(f"{name} takes other integers than int")
    symbol = f"cotan_{name}"
    machine().add_symbol(symbol, pointer_of(capsule, signature))
    return symbol


def worth_a_call(op: Any, types: tuple[Any, ...]) -> bool:
    """Whether an equation is a product of matrices, large enough and of a dtype that BLAS has."""
    if op.name != "dot_general" or types[0].dtype not in (np.dtype(np.float64), np.dtype(np.float32)):
        return False
    m, n, k = sizes(op, types)
    return m > 1 and n > 1 and m * n * k >= FEWEST_PRODUCTS


def sizes(op: Any, types: tuple[Any, ...]) -> tuple[int, int, int]:
    """Rows, columns and inner length of the matrices that an equation multiplies."""
    (xc, yc), (xb, yb) = op.contract, op.batch_axes
    x, y = types
    inner = prod(x.shape[j] for j in xc)
    rows = prod(n for j, n in enumerate(x.shape) if j not in xc and j not in xb)
    columns = prod(n for j, n in enumerate(y.shape) if j not in yc and j not in yb)
    return rows, columns, inner


class Matrix(NamedTuple):
    """Stacked matrices in memory: where they are, the offset of one of a batch, and the steps from row to row and column to column."""

    at: str
    base: Callable[[tuple[Any, ...]], Any]
    row: int
    column: int


def product(run: Run, node: Opaque, operands: list[Value], results: list[Any]) -> Any:
    """``dot_general`` by gemm, for each element of the batch; transposed operands are read where they lie."""
    op: Any = node.equation.op
    types = tuple(v.type for v in operands)
    if not worth_a_call(op, types):
        return NotImplemented
    code, dtype = run.code, types[0].dtype
    try:
        symbol = routine("dgemm" if dtype.itemsize == 8 else "sgemm")
    except (ImportError, KeyError, NotImplementedError):
        return NotImplemented
    (xc, yc), (xb, yb) = op.contract, op.batch_axes
    m, n, k = sizes(op, types)
    free = [[j for j in range(len(t.shape)) if j not in (*c, *b)] for t, c, b in zip(types, (xc, yc), (xb, yb), strict=True)]
    x = matrix(run, node.equation.inputs[0], xb, free[0], xc)
    y = matrix(run, node.equation.inputs[1], yb, yc, free[1])
    kind = memory_type(dtype)

    def cell(type: str, value: Any) -> str:
        at = code.alloca(type)
        code.line(f"store {type} {value}, ptr {at}")
        return at

    # gemm counts along columns, so it computes out^T = y^T x^T.
    letters = [cell("i8", ord("N" if v.column == 1 else "T")) for v in (y, x)]
    leading = [cell("i32", v.row if v.column == 1 else v.column) for v in (y, x)]
    dims = [cell("i32", v) for v in (n, m, k)]
    one, zero = cell(kind, code.number(1.0, dtype)), cell(kind, code.number(0.0, dtype))
    run.g.module.declare(symbol, "void", *["ptr"] * 13)
    batch = [types[0].shape[j] for j in xb]

    def one_of(index: tuple[Any, ...]) -> None:
        at = [code.address(v.at, kind, v.base(index)) for v in (y, x)]
        out = code.address(results[0].at, kind, offset_of((*batch, m * n), (*index, 0)))
        arguments = [*letters, *dims, one, at[0], leading[0], at[1], leading[1], zero, out, dims[0]]
        code.line(f"call void @{symbol}({', '.join(f'ptr {a}' for a in arguments)})")

    run.g.every(batch, one_of)
    return None


def matrix(run: Run, v: Any, batch: Sequence[int], rows: Sequence[int], columns: Sequence[int]) -> Matrix:
    """An operand as matrices: as it lies if that can be, else as a copy in that order."""
    while v in run.plan.moved and run.plan.moved[v].op.name == "permute":
        equation: Any = run.plan.moved[v]
        batch, rows, columns = ([equation.op.order[j] for j in axes] for axes in (batch, rows, columns))
        v = equation.inputs[0]
    value, shape = run.value(v), v.type.shape
    count = [prod(shape[j] for j in axes) for axes in (rows, columns)]
    at = value.pointer(run.e)
    if at is not None:
        steps = [prod(shape[j + 1 :]) for j in range(len(shape))]
        row, column = (step_along(steps, shape, axes) for axes in (rows, columns))
        row, column = (other if number == 1 else step for step, number, other in ((row, count[0], count[1]), (column, count[1], count[0])))
        if row and column and ((column == 1 and row >= count[1]) or (row == 1 and column >= count[0])):
            return Matrix(at, lambda index: linear([(i, steps[j]) for j, i in zip(batch, index, strict=True)]), row, column)
    order = (*batch, *rows, *columns)
    t = v.type.with_shape(tuple(shape[j] for j in order))

    def read(index: tuple[Any, ...]) -> Any:
        full: list[Any] = [0] * len(shape)
        for j, i in zip(order, index, strict=True):
            full[j] = i
        return value.read(run.e, tuple(full))

    memory = run.buffer(t)
    run.g.copy(Moved(t, read), memory)
    zeros = (0,) * (len(rows) + len(columns))
    return Matrix(memory.at, lambda index: offset_of(t.shape, (*index, *zeros)), count[1], 1)


def step_along(steps: Sequence[int], shape: Sequence[int], axes: Sequence[int]) -> int:
    """The step along several axes taken as one; 0 if there is none."""
    size, step = 1, 0
    for j in reversed(axes):
        if shape[j] != 1:
            step = step or steps[j]
            if steps[j] != step * size:
                return 0
            size *= shape[j]
    return step
