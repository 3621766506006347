"""Products with sums: matmul, dot, tensordot, einsum and similar functions. Traced, each is one DotGeneral per pair of operands."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..core.errors import ShapeError, teach
from ..core.tracing import type_of
from ..core.types import Shape
from ..ops.contraction import dot_general
from ..ops.convolution import Correlate
from ..ops.families import broadcast_in_dim
from ..ops.movement import permute
from ..ops.reduction import ReduceOr
from .calling import eager
from .elementwise import conjugate, multiply, negative, subtract
from .indexing import getitem
from .promotion import Numbers, broadcast_shapes, canonical_axis, operand, promote, shape_of, spread_to
from .reduction import sum
from .roots import moves, strong
from .shape import atleast_1d, flip, moveaxis, reshape_op, stack

__all__ = [
    "convolve", "correlate", "cross", "dot", "inner", "kron", "matmul", "matvec", "outer", "tensordot", "vdot", "vecdot", "vecmat",
]  # fmt: skip


def contracted(x: Any, y: Any, contract: tuple[Sequence[int], Sequence[int]], batch: tuple[Sequence[int], Sequence[int]] = ((), ())) -> Any:
    """The `DotGeneral` of operands in their common dtype."""
    x, y = promote(x, y)
    return dot_general(x, y, contract, batch)


def conjugated(x: Any) -> Any:
    """The conjugate of complex numbers; other dtypes are unchanged (NumPy's conjugate of a bool is an int8)."""
    return conjugate(x) if type_of(x).dtype.kind == "c" else x


# ---- matmul ------------------------------------------------------------------------------------------------------------------
def check_matmul(x: Numbers, y: Numbers, *_: Any, **__: Any) -> None:
    """Raise ShapeError if ``x @ y`` does not fit."""
    a, b = shape_of(operand(x)), shape_of(operand(y))
    if not a or not b:
        raise teach(ShapeError, f"a @ b: {a} @ {b}: a scalar has no axis to sum over.", do="write a * b for a product with a scalar.")
    rows = b[-min(len(b), 2)]
    if a[-1] != rows:
        place = "last but one" if len(b) > 1 else "only"
        raise teach(
            ShapeError,
            f"a @ b: {a} @ {b}: the last axis of a has length {a[-1]}, the {place} axis of b has length {rows}.",
            do="transpose one of them (a @ b.T), or write cotan.numpy.einsum with the axes named.",
        )
    broadcast_shapes("a @ b (the axes in front)", [a[:-2], b[:-2]])


@eager(np.matmul, check_matmul)
def matmul(x: Numbers, y: Numbers, /) -> Any:
    """The matrix product ``x @ y``: sums over the last axis of x and the last but one of y; axes in front broadcast.

    Raises
    ------
    ShapeError
        The summed axes differ in length.
    """
    x, y = promote(x, y)
    a, b = shape_of(x), shape_of(y)
    check_matmul(x, y)
    m, n = len(a), len(b)
    if n <= 2:
        return dot_general(x, y, ((m - 1,), (max(n - 2, 0),)))
    if m == 1:
        return dot_general(x, y, ((0,), (n - 2,)))
    if m == 2:  # in the result, the rows of x precede the axes of y
        z = dot_general(x, y, ((1,), (n - 2,)))
        return permute(z, (*range(1, n - 1), 0, n - 1))
    lead = broadcast_shapes("matmul", [a[:-2], b[:-2]])
    x, y = (spread_to(v, (*lead, *s[-2:]), s) for v, s in ((x, a), (y, b)))
    axes, k = tuple(range(len(lead))), len(lead)
    return dot_general(x, y, ((k + 1,), (k,)), (axes, axes))


def check_core(name: str, x: Any, m: int, y: Any, n: int) -> None:
    """Raise ShapeError unless the operands have so many axes."""
    a, b = shape_of(x), shape_of(y)
    if len(a) < m or len(b) < n:
        raise teach(ShapeError, f"{name}: arrays of shapes {a} and {b}.", do="give a stack of matrices and a stack of vectors.")


@eager(np.matvec)
def matvec(x: Numbers, y: Numbers, /) -> Any:
    """Matrices times vectors: sums over the last axes of ``x`` (..., m, n) and ``y`` (..., n)."""
    check_core("matvec", x, 2, y, 1)
    return getitem(matmul(x, getitem(y, (..., None))), (..., 0))


@eager(np.vecmat)
def vecmat(x: Numbers, y: Numbers, /) -> Any:
    """Conjugated vectors times matrices: sums over the last axis of ``x`` (..., n) and the last but one of ``y`` (..., n, m)."""
    check_core("vecmat", x, 1, y, 2)
    return getitem(matmul(conjugated(getitem(x, (..., None, slice(None)))), y), (..., 0, slice(None)))


@eager(np.vecdot)
def vecdot(x: Numbers, y: Numbers, /, *, axis: int = -1) -> Any:
    """The sum of conj(x) * y over ``axis``; the other axes broadcast."""
    x, y = promote(x, y)
    x, y = conjugated(moveaxis(x, axis, -1)), moveaxis(y, axis, -1)
    a, b = shape_of(x), shape_of(y)
    if a[-1] != b[-1]:
        raise teach(ShapeError, f"vecdot: shapes {a} and {b}, whose last axes differ.", do="give vectors of one length.")
    lead = broadcast_shapes("vecdot", [a[:-1], b[:-1]])
    axes = tuple(range(len(lead)))
    x, y = (spread_to(v, (*lead, s[-1]), s) for v, s in ((x, a), (y, b)))
    return dot_general(x, y, ((len(lead),), (len(lead),)), (axes, axes))


def check_dot(x: Numbers, y: Numbers) -> None:
    """Raise ShapeError if ``dot(x, y)`` does not fit."""
    a, b = shape_of(operand(x)), shape_of(operand(y))
    rows = b[-min(len(b), 2)] if b else 0
    if a and b and a[-1] != rows:
        raise teach(
            ShapeError,
            f"dot: shapes {a} and {b}: the last axis of the first has length {a[-1]}, the axis of the second that it sums with {rows}.",
            do="transpose one of them, or write cotan.numpy.tensordot with the axes named.",
        )


@eager(np.dot, check_dot)
def dot(x: Numbers, y: Numbers) -> Any:
    """The sum over the last axis of ``x`` and the last but one (of a 1-d array the only one) of ``y``; scalars multiply.

    Raises
    ------
    ShapeError
        The summed axes differ in length.
    """
    x, y = strong(x), strong(y)
    a, b = shape_of(x), shape_of(y)
    if not a or not b:
        return multiply(x, y)
    check_dot(x, y)
    return contracted(x, y, ((len(a) - 1,), (max(len(b) - 2, 0),)))


@eager(np.inner)
def inner(x: Numbers, y: Numbers, /) -> Any:
    """The sum over the last axes of both; scalars multiply. Raises ShapeError if they differ in length."""
    x, y = strong(x), strong(y)
    a, b = shape_of(x), shape_of(y)
    if not a or not b:
        return multiply(x, y)
    if a[-1] != b[-1]:
        raise teach(ShapeError, f"inner: shapes {a} and {b}, whose last axes differ.", do="give arrays whose last axes have one length.")
    return contracted(x, y, ((len(a) - 1,), (len(b) - 1,)))


@eager(np.vdot)
def vdot(x: Numbers, y: Numbers, /) -> Any:
    """The sum of conj(x) * y over all elements of the flat arrays."""
    x, y = strong(x), strong(y)
    return dot(conjugated(reshape_op(x, (prod(shape_of(x)),))), reshape_op(y, (prod(shape_of(y)),)))


@moves
def copied(x: Any, shape: Shape, axes: Sequence[int]) -> Any:
    """``x`` copied along the other axes of ``shape``. It has no unit axes there, so its cotangent is a plain sum over these."""
    return reshape_op(x, shape) if prod(shape) == prod(shape_of(x)) else broadcast_in_dim(x, shape, axes)


@eager(np.outer)
def outer(x: Numbers, y: Numbers) -> Any:
    """The products of all pairs of elements of the flat arrays, of shape (x.size, y.size)."""
    x, y = strong(x), strong(y)
    n, m = prod(shape_of(x)), prod(shape_of(y))
    x, y = reshape_op(x, (n,)), reshape_op(y, (m,))
    return multiply(copied(x, (n, m), (0,)), copied(y, (n, m), (1,)))


@eager(np.kron)
def kron(x: Numbers, y: Numbers) -> Any:
    """The Kronecker product: each element of ``x`` times all of ``y``, in blocks."""
    x, y = strong(x), strong(y)
    n = max(len(shape_of(x)), len(shape_of(y)))
    a, b = ((1,) * (n - len(shape_of(v))) + shape_of(v) for v in (x, y))
    shape = tuple(k for pair in zip(a, b, strict=True) for k in pair)
    z = multiply(copied(reshape_op(x, a), shape, range(0, 2 * n, 2)), copied(reshape_op(y, b), shape, range(1, 2 * n, 2)))
    return reshape_op(z, [j * k for j, k in zip(a, b, strict=True)])


def tensordot_axes(axes: Any, a: Shape, b: Shape) -> tuple[list[int], list[int]]:
    """The axes that tensordot pairs. Raises ShapeError if their lengths differ."""
    if not isinstance(axes, Sequence) and np.ndim(axes) == 0:
        count = operator.index(axes)
        left, right = list(range(len(a) - count, len(a))), list(range(count))
    else:
        left, right = ([part] if np.ndim(part) == 0 else list(part) for part in axes)
    left = [canonical_axis("tensordot", k, len(a)) for k in left]
    right = [canonical_axis("tensordot", k, len(b)) for k in right]
    if len(left) != len(right) or any(a[j] != b[k] for j, k in zip(left, right, strict=False)):
        raise teach(ShapeError, f"tensordot: shapes {a} and {b} do not fit along axes {left} and {right}.", do="pair axes of equal length.")
    return left, right


def check_tensordot(x: Numbers, y: Numbers, axes: Any = 2) -> None:
    """Raise ShapeError if the axes do not pair."""
    tensordot_axes(axes, shape_of(operand(x)), shape_of(operand(y)))


@eager(np.tensordot, check_tensordot)
def tensordot(x: Numbers, y: Numbers, /, axes: int | Sequence[Any] = 2) -> Any:
    """The sum over pairs of axes: the last ``axes`` of x with the first of y, or two lists of axes. Raises ShapeError if their lengths
    differ.
    """
    x, y = operand(x), operand(y)
    left, right = tensordot_axes(axes, shape_of(x), shape_of(y))
    return contracted(x, y, (left, right))


@eager(np.cross)
def cross(x: Numbers, y: Numbers, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """The cross product of vectors of length 3 (for length 2, its third component) along an axis; the other axes broadcast."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = moveaxis(operand(x), axisa, -1), moveaxis(operand(y), axisb, -1)
    if shape_of(x)[-1] not in (2, 3) or shape_of(y)[-1] not in (2, 3):
        raise teach(ShapeError, f"cross: vectors of lengths {shape_of(x)[-1]} and {shape_of(y)[-1]}.", do="give vectors of length 3.")
    a, b = ([getitem(v, (..., k)) for k in range(shape_of(v)[-1])] for v in (x, y))
    third = subtract(multiply(a[0], b[1]), multiply(a[1], b[0]))
    if len(a) == len(b) == 2:
        return third
    a2, b2 = (v[2] if len(v) == 3 else None for v in (a, b))
    first = difference(a[1], b2, a2, b[1])
    second = difference(a2, b[0], a[0], b2)
    return moveaxis(stack([first, second, third], axis=-1), -1, axisc)


def difference(a: Any, b: Any, c: Any, d: Any) -> Any:
    """a b - c d, in which None is zero."""
    if a is None or b is None:
        return negative(multiply(c, d))
    return multiply(a, b) if c is None or d is None else subtract(multiply(a, b), multiply(c, d))


# ---- convolution in one dimension ----------------------------------------------------------------------------------------------
def sliding_sums(x: Any, y: Any, mode: str, shift: int = 0) -> Any:
    """sum_k x[i + k] y[k] over the indices i that ``mode`` selects; ``shift`` moves those of mode same."""
    n, k = shape_of(x)[0], shape_of(y)[0]
    longer, shorter = max(n, k), min(n, k)
    full = n + k - 1
    first, length = {
        "full": (0, full), "same": ((shorter - 1) // 2 + shift, longer), "valid": (shorter - 1, longer - shorter + 1),
    }[mode]  # fmt: skip
    if n < k:  # the longer one is read through: the reversed result is the sliding sum with the operands exchanged
        return flip(Correlate(full - first - length - (n - 1), length)(y, x))
    return Correlate(first - (k - 1), length)(x, y)


def check_vectors(name: str, x: Any, y: Any, mode: str) -> None:
    a, b = shape_of(x), shape_of(y)
    if len(a) != 1 or len(b) != 1 or not a[0] or not b[0] or mode not in ("full", "same", "valid"):
        raise teach(
            ShapeError,
            f"{name}: arrays of shapes {a} and {b}, mode {mode!r}.",
            do="give two nonempty vectors, and mode full, same or valid.",
        )


@eager(np.convolve)
def convolve(x: Numbers, y: Numbers, mode: str = "full") -> Any:
    """The convolution of two vectors; ``mode`` is full, same or valid."""
    x, y = promote(*[atleast_1d(strong(v)) for v in (x, y)])
    check_vectors("convolve", x, y, mode)
    x, y = (y, x) if shape_of(x)[0] < shape_of(y)[0] else (x, y)
    return sliding_sums(x, flip(y), mode)


@eager(np.correlate)
def correlate(x: Numbers, y: Numbers, mode: str = "valid") -> Any:
    """The correlation sum_n x[n + k] conj(y[n]) of two vectors; ``mode`` is full, same or valid."""
    x, y = promote(strong(x), strong(y))
    check_vectors("correlate", x, y, mode)
    n, k = shape_of(x)[0], shape_of(y)[0]
    shift = 1 if mode == "same" and n < k and n % 2 == 0 else 0
    return sliding_sums(x, conjugated(y), mode, shift)


def any_true(x: Any, axes: tuple[int, ...]) -> Any:
    """Whether any element is true over ``axes``: the sum of bools."""
    return ReduceOr(axes)(x) if axes else x


def total(x: Any, axes: tuple[int, ...]) -> Any:
    """The sum over ``axes`` in the dtype of ``x``; for bools, whether any is true."""
    dtype = type_of(x).dtype
    return any_true(x, axes) if dtype.kind == "b" else sum(x, axes, dtype) if axes else x
