"""Array creation. On arrays these are NumPy's functions; ``zeros`` and similar functions record ops under `jit`, not captured constants."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from ..core.errors import ArgumentError, DtypeError, ShapeError, teach
from ..core.sizes import as_index
from ..core.tracing import EVAL, Tracer, current_trace, type_of
from ..ops.families import BroadcastInDim
from ..ops.linalg import Band, Diagonal, OnDiagonal
from ..ops.logic import select
from .calling import eager, fitted, refuse_arguments
from .elementwise import add, divide, floor, log10, multiply, power, sign, subtract
from .promotion import (
    Numbers,
    canonical_axis,
    convert_to,
    from_nested,
    operand,
    promote,
    real_part,
    result_dtype,
    shape_of,
    spread_to,
    strong,
    wrap,
)
from .roots import moves
from .shape import broadcast_arrays, check_broadcast, concatenate, expand_dims, permute, reshape, stack

__all__ = [
    "arange", "array", "asanyarray", "asarray", "ascontiguousarray", "astype", "bartlett", "blackman", "copy", "diag", "diagflat",
    "diagonal", "empty", "empty_like", "eye", "from_dlpack", "frombuffer", "fromfunction", "fromiter", "full", "full_like", "geomspace",
    "hamming", "hanning", "identity", "indices", "kaiser", "linspace", "logspace", "meshgrid", "ones", "ones_like", "trace", "tri",
    "tril", "tril_indices", "triu", "triu_indices", "vander", "zeros", "zeros_like",
]  # fmt: skip

LARGE = 256
"""From this number of elements on, a constant array under `jit` is recorded as an op instead of being captured."""


# ---- from values -----------------------------------------------------------------------------------------------------------
@eager(np.asarray)
def asarray(x: Numbers, dtype: Any = None, order: str | None = None, *, copy: bool | None = None, device: str | None = None) -> Any:
    """``x`` as an array: numbers, nested lists (which may hold tracers), or any array-like of NumPy. Shares memory where possible.

    Parameters ---------- x
        Numbers of any shape.
    dtype
        The dtype of the result; the dtype of ``numpy.asarray`` if None.
    order
        The order in memory; traced arrays have none.
    copy, device
        As in the Array API; the device is "cpu".
    """
    if type_of(x).weak and type_of(x).dtype.kind == "c" and dtype is not None and np.dtype(dtype).kind != "c":
        raise teach(DtypeError, f"asarray: a complex number to {np.dtype(dtype)}.", do="take its real part first: x.real.")
    y = strong(x)
    if dtype is None or np.dtype(dtype) == y.dtype:
        return y
    if copy is False:
        raise teach(ArgumentError, f"asarray: {y.dtype} to {np.dtype(dtype)} with copy=False.", do="leave out copy=False.")
    return convert_to(y, np.dtype(dtype))


@eager(np.array)
def array(x: Numbers, dtype: Any = None, *, copy: bool = True, order: str = "K", ndmin: int = 0) -> Any:
    """A new array of ``x``: numbers, nested lists (which may hold tracers), or any array-like of NumPy.

    ``dtype`` is the dtype of ``numpy.array`` if None; axes of length 1 are put in front up to ``ndmin``.
    """
    y = asarray(x, dtype, copy=copy)
    return expand_dims(y, tuple(range(ndmin - len(y.shape)))) if ndmin > len(y.shape) else y


@eager(np.asanyarray)
def asanyarray(x: Numbers, dtype: Any = None, order: str | None = None, *, copy: bool | None = None, device: str | None = None) -> Any:
    """`asarray`; a traced array has no subclass to keep."""
    return asarray(x, dtype, copy=copy)


@eager(np.ascontiguousarray)
def ascontiguousarray(x: Numbers, dtype: Any = None) -> Any:
    """``x`` as a contiguous array of at least one axis; a traced one has no order in memory."""
    y = asarray(x, dtype)
    return y if y.shape else y.reshape(1)


@eager(np.copy)
def copy(x: Numbers, order: str = "K") -> Any:
    """A copy of ``x``; a tracer, which never changes, is its own copy."""
    return strong(x)


def astype_by_numpy(x: Any, dtype: Any, /, *, copy: bool = True, device: str | None = None) -> Any:
    """NumPy's astype, which also takes lists, and drops the imaginary part without a warning."""
    wanted = np.dtype(dtype)
    return real_part(np.asarray(x), wanted).astype(wanted, copy=copy)


@eager(astype_by_numpy)
def astype(x: Numbers, dtype: Any, /, *, copy: bool = True, device: str | None = None) -> Any:
    """``x`` converted to ``dtype``. Complex to real takes the real part; float to integer truncates and has no derivative."""
    return convert_to(strong(x), np.dtype(dtype))


def numpy_only(numpy_function: Callable[..., Any], sentence: str) -> Callable[..., Any]:
    """A function of concrete arguments: NumPy's function, whose arrays are returned as `Array`."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return wrap(numpy_function(*args, **kwargs))

    call.__wrapped__ = numpy_function  # type: ignore[attr-defined] - its signature
    call.__name__ = call.__qualname__ = numpy_function.__name__
    call.__module__ = "cotan.numpy"
    call.__doc__ = f"{sentence}\n\nThe arguments are those of ``numpy.{numpy_function.__name__}``, and concrete.\n"
    return call


from_dlpack = numpy_only(np.from_dlpack, "An array that shares the memory of a DLPack object.")
frombuffer = numpy_only(np.frombuffer, "The array in a buffer.")
fromiter = numpy_only(np.fromiter, "A 1-d array of an iterator.")
identity = numpy_only(np.identity, "The identity matrix.")
eye = numpy_only(np.eye, "A matrix with ones on one diagonal.")
tri = numpy_only(np.tri, "A matrix with ones at and below a diagonal.")
indices = numpy_only(np.indices, "The index along each axis of a grid.")
tril_indices = numpy_only(np.tril_indices, "The indices of the lower triangle.")
triu_indices = numpy_only(np.triu_indices, "The indices of the upper triangle.")
bartlett, blackman = numpy_only(np.bartlett, "The Bartlett window."), numpy_only(np.blackman, "The Blackman window.")
hamming, hanning = numpy_only(np.hamming, "The Hamming window."), numpy_only(np.hanning, "The Hann window.")
kaiser = numpy_only(np.kaiser, "The Kaiser window.")


# ---- constants -------------------------------------------------------------------------------------------------------------
def as_shape(shape: Any) -> tuple[int, ...]:
    """A shape from an int or a sequence of ints."""
    return tuple(map(as_index, shape)) if isinstance(shape, Sequence | np.ndarray) else (as_index(shape),)


def filled(shape: tuple[int, ...], value: Any) -> Any:
    """The NumPy scalar ``value`` at every index of ``shape``: an op if the current trace records, an `Array` otherwise."""
    if current_trace() is not EVAL and prod(shape) >= LARGE:
        y = BroadcastInDim(shape, ())(value)
        if type(y) is Tracer:
            return y
    return wrap(np.full(shape, value, value.dtype))


@fitted(np.zeros)
def zeros(shape: int | Sequence[int], dtype: Any = float, order: str = "C", *, device: str | None = None) -> Any:
    """Zeros of this shape and dtype (float64 if not given)."""
    if current_trace() is EVAL:
        return wrap(np.zeros(shape, dtype, device=device))  # type: ignore[call-overload]
    return filled(as_shape(shape), np.dtype(dtype).type(0))


@fitted(np.ones)
def ones(shape: int | Sequence[int], dtype: Any = None, order: str = "C", *, device: str | None = None) -> Any:
    """Ones of this shape and dtype (float64 if not given)."""
    if current_trace() is EVAL:
        return wrap(np.ones(shape, dtype, device=device))  # type: ignore[call-overload]
    return filled(as_shape(shape), np.dtype(dtype).type(1))


@fitted(np.empty)
def empty(shape: int | Sequence[int], dtype: Any = float, order: str = "C", *, device: str | None = None) -> Any:
    """`zeros` of this shape and dtype: results do not depend on the previous contents of memory."""
    return zeros(shape, dtype, device=device)


@fitted(np.full)
def full(shape: int | Sequence[int], fill_value: Numbers, dtype: Any = None, order: str = "C", *, device: str | None = None) -> Any:
    """``fill_value`` (it broadcasts) in an array of this shape; its dtype is the dtype of the value if not given."""
    wanted = as_shape(shape)
    if type(fill_value) is not Tracer:
        if dtype is None or type(fill_value) is int:
            value = np.asarray(fill_value, dtype)
        else:
            value = real_part(np.asarray(fill_value), np.dtype(dtype)).astype(dtype)
        return filled(wanted, value[()]) if value.ndim == 0 else wrap(np.full(wanted, value, dtype))
    value = strong(fill_value)
    check_broadcast(value, wanted)
    return spread_to(value if dtype is None else convert_to(value, np.dtype(dtype)), wanted, shape_of(value))


def like(make: Callable[..., Any]) -> Any:
    """A function like zeros_like: its shape and dtype are those of another array, unless given."""

    @fitted(getattr(np, f"{make.__name__}_like"))
    def call(x: Numbers, /, dtype: Any = None, order: str = "K", *, shape: Any = None, device: str | None = None) -> Any:
        t = type_of(x)
        return make(t.shape if shape is None else shape, t.dtype if dtype is None else dtype, device=device)

    call.__name__ = call.__qualname__ = f"{make.__name__}_like"
    call.__module__ = "cotan.numpy"
    call.__doc__ = f"As `{make.__name__}`, of the shape and dtype of ``x`` unless they are given."
    return call


zeros_like, ones_like, empty_like = like(zeros), like(ones), like(empty)


@fitted(np.full_like)
def full_like(x: Numbers, fill_value: Numbers, dtype: Any = None, order: str = "K", *, shape: Any = None, device: str | None = None) -> Any:
    """`full`, with the shape and dtype of ``x`` unless they are given."""
    t = type_of(x)
    return full(t.shape if shape is None else shape, fill_value, t.dtype if dtype is None else dtype, device=device)


# ---- ranges ----------------------------------------------------------------------------------------------------------------
@fitted(np.arange)
def arange(start: Any, /, stop: Any = None, step: Any = 1, dtype: Any = None, *, device: str | None = None) -> Any:
    """The numbers from ``start`` (0 if only one argument is given) up to ``stop`` in steps. All arguments are concrete, since they
    determine the length.
    """
    for x in (start, stop, step):
        if type(x) is Tracer:
            x.owner.concrete(x, "array")
    return wrap(np.arange(start, stop, step, dtype=dtype, device=device))  # type: ignore[call-overload]


@eager(np.linspace)
def linspace(
    start: Numbers,
    stop: Numbers,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: str | None = None,
) -> Any:
    """``num`` evenly spaced numbers from ``start`` to ``stop`` (left out if not ``endpoint``), along a new ``axis``; both may be traced.

    Integers give float64. With ``retstep`` also the step.
    """
    num = how_many("linspace", num)
    first, last = promote(start, stop)
    loop = result_dtype(first, last, 1.0)
    wide = loop if dtype is None else np.dtype(dtype)
    first, last = broadcast_arrays(convert_to(first, loop), convert_to(last, loop))
    parts = num - 1 if endpoint else num
    delta = subtract(last, first)
    step = divide(delta, parts) if parts > 0 else np.float64(np.nan)
    ramp = np.arange(num, dtype=loop).reshape((num,) + (1,) * len(shape_of(first)))
    y = add(multiply(ramp, step) if parts > 0 else multiply(ramp, delta), first)
    if endpoint and num > 1:  # exactly the end, without rounding
        y = select(
            np.broadcast_to(ramp == num - 1, shape_of(y)), spread_to(last, shape_of(y), shape_of(last)) if shape_of(last) else last, y
        )
    k = canonical_axis("linspace", axis, len(shape_of(y)))
    if wide.kind in "iu":
        y = floor(y)
    y = convert_to(y if k == 0 else moved(y, k), wide)
    return (y, step) if retstep else y


def how_many(name: str, num: Any) -> int:
    """The number of samples."""
    if operator.index(num) < 0:
        raise teach(ArgumentError, f"{name}: {num} samples.", do="give a number from 0.")
    return operator.index(num)


def moved(y: Any, axis: int) -> Any:
    """``y`` with its first axis at ``axis``."""
    return y.transpose((*range(1, axis + 1), 0, *range(axis + 1, len(shape_of(y)))))


@eager(np.logspace)
def logspace(
    start: Numbers, stop: Numbers, num: int = 50, endpoint: bool = True, base: Numbers = 10.0, dtype: Any = None, axis: int = 0
) -> Any:
    """``base`` to the power of `linspace`."""
    if shape_of(base):  # then it is broadcast, and determines the position of the new axis
        n = max(len(shape_of(v)) for v in (start, stop, base))
        start, stop, base = (reshape(strong(v), (1,) * (n - len(shape_of(v))) + shape_of(v)) for v in (start, stop, base))
        base = expand_dims(base, axis)
    y = power(base, linspace(start, stop, num, endpoint=endpoint, axis=axis))
    return y if dtype is None else convert_to(y, np.dtype(dtype))


@eager(np.geomspace)
def geomspace(start: Numbers, stop: Numbers, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    """``num`` numbers in a geometric progression from ``start`` to ``stop``, along a new ``axis``; both may be negative or complex."""
    num = how_many("geomspace", num)
    for end in (start, stop):
        if type(end) is not Tracer and not np.all(np.asarray(end)):
            raise teach(ArgumentError, "geomspace: an end is zero.", do="give ends that are not zero, or use linspace.")
    wide = np.result_type(result_dtype(strong(start), strong(stop), 1.0), np.float64 if dtype is None else np.dtype(dtype))
    first, last = broadcast_arrays(convert_to(strong(start), wide), convert_to(strong(stop), wide))
    turn = sign(first)  # for complex numbers, the direction: the rest of the first is positive
    first, last = divide(first, turn), divide(last, turn)
    y = power(10.0, linspace(log10(first), log10(last), num, endpoint=endpoint))
    known = [first[None]] if num else []
    known += [y[1 : num - 1], last[None]] if num > 1 and endpoint else [y[1:]]
    y = multiply(concatenate(known), turn)
    k = canonical_axis("geomspace", axis, len(shape_of(y)))
    return convert_to(y if k == 0 else moved(y, k), wide if dtype is None else np.dtype(dtype))


@eager(np.meshgrid)
def meshgrid(*xi: Numbers, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    """The coordinate arrays of a grid of 1-d arrays; the first two axes are exchanged unless ``indexing`` is "ij"."""
    count = len(xi)
    order = list(range(count))
    if indexing == "xy" and count > 1:
        order[:2] = [1, 0]
    grids = [expand_dims(strong(operand(x)).reshape(-1), tuple(j for j in range(count) if j != order[k])) for k, x in enumerate(xi)]
    return tuple(grids) if sparse else broadcast_arrays(*grids)


def fromfunction(function: Callable[..., Any], shape: Sequence[int], *, dtype: Any = float, like: None = None, **kwargs: Any) -> Any:
    """``function`` of the index arrays of a grid of this shape."""
    if like is not None:
        refuse_arguments("fromfunction", ("like",))
    return wrap(function(*np.indices(shape, dtype), **kwargs))


# ---- diagonals and triangles -----------------------------------------------------------------------------------------------
def triangle(numpy_function: Any, sentence: str) -> Any:
    """tril or triu: the other triangle becomes zero."""

    @eager(numpy_function)
    def call(x: Numbers, /, k: int = 0) -> Any:
        t = type_of(x)
        if t.ndim < 2:
            return select(numpy_function(np.ones((t.shape[0],) * 2, bool), k), spread_to(x, t.shape * 2, t.shape), t.dtype.type(0))
        k = operator.index(k)
        return (Band(None, k) if numpy_function is np.tril else Band(k, None))(x)

    call.__name__ = call.__qualname__ = numpy_function.__name__
    call.__doc__ = sentence
    return call


tril = triangle(np.tril, "The lower triangle of each matrix, up to the ``k``-th diagonal; zero above.")
triu = triangle(np.triu, "The upper triangle of each matrix, from the ``k``-th diagonal on; zero below.")


@eager(np.diagonal)
def diagonal(x: Numbers, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The ``offset``-th diagonal over two axes, along a new last axis."""
    n = len(shape_of(x))
    a, b = canonical_axis("diagonal", axis1, n), canonical_axis("diagonal", axis2, n)
    return diagonal_of(permute(x, (*[k for k in range(n) if k not in (a, b)], a, b)), operator.index(offset))


diagonal_of = moves(lambda x, offset: Diagonal(offset)(x))


@eager(np.trace)
def trace(x: Numbers, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Any:
    """The sum of a diagonal over two axes."""
    return diagonal(x, offset, axis1, axis2).sum(-1, dtype)


@eager(np.diag)
def diag(x: Numbers, k: int = 0) -> Any:
    """The ``k``-th diagonal of a matrix; of a 1-d array, the matrix that has it there and zeros elsewhere."""
    t = type_of(x)
    if t.ndim == 2:
        return diagonal(x, k)
    if t.ndim != 1:
        raise teach(ShapeError, f"diag: an array of shape {t.shape}.", do="give a matrix, or the diagonal of one; see linalg.diagonal.")
    n = t.shape[0] + abs(k)
    return OnDiagonal(n, n, operator.index(k))(x)


@eager(np.diagflat)
def diagflat(x: Numbers, k: int = 0) -> Any:
    """The matrix with the elements of ``x`` on its ``k``-th diagonal."""
    return diag(strong(from_nested(x)).reshape(-1), k)


@eager(np.vander)
def vander(x: Numbers, N: int | None = None, increasing: bool = False) -> Any:
    """The matrix of the powers of ``x``, falling unless ``increasing``."""
    if len(shape_of(x)) != 1:
        raise teach(ShapeError, f"vander: an array of shape {shape_of(x)}.", do="give a vector.")
    n = shape_of(x)[0] if N is None else N
    dtype = np.promote_types(type_of(x).dtype, np.int64)
    x = convert_to(strong(x), dtype)
    powers = [power(x, k) for k in range(n)]
    return stack(powers if increasing else powers[::-1], axis=1) if n else zeros((shape_of(x)[0], 0), dtype)
