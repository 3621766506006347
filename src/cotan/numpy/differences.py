"""Differences of neighbours along an axis, and derivatives and integrals of samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import ArgumentError, DtypeError, ShapeError, teach
from ..core.tracing import BOOL, type_of
from ..ops import logic
from ..ops.movement import reshape as reshape_op
from ..ops.running import differences as differences_of
from .calling import eager
from .elementwise import add, divide, multiply, negative, subtract
from .promotion import ABSENT, Numbers, canonical_axis, convert_to, operand, shape_of, spread_to, strong
from .reduction import Axis, sum
from .shape import along, concatenate

__all__ = ["diff", "ediff1d", "gradient", "trapezoid"]


@eager(np.diff)
def diff(x: Numbers, n: int = 1, axis: int = -1, prepend: Numbers = ABSENT, append: Numbers = ABSENT) -> Any:
    """The ``n``-th differences along ``axis``; for bools, whether neighbours differ."""
    x = strong(x)
    if n == 0:
        return x
    if n < 0:
        raise teach(ArgumentError, f"diff: n={n}.", do="give the order of the differences, from 0.")
    k = canonical_axis("diff", axis, len(shape_of(x)))
    ends = [operand(end) if end is not ABSENT else None for end in (prepend, append)]
    one = [1 if j == k else m for j, m in enumerate(shape_of(x))]
    parts = [None if end is None else end if shape_of(end) else spread_to(end, tuple(one), ()) for end in ends]
    if parts[0] is not None or parts[1] is not None:
        x = concatenate([part for part in (parts[0], x, parts[1]) if part is not None], k)
    for _ in range(n):
        m = shape_of(x)[k]
        if m == 0:
            break
        x = logic.not_equal(along(x, k, 1, m), along(x, k, 0, m - 1)) if type_of(x).dtype == BOOL else differences_of(x, k)
    return x


@eager(np.ediff1d)
def ediff1d(x: Numbers, to_end: Numbers | None = None, to_begin: Numbers | None = None) -> Any:
    """The differences of the flat array, with these numbers before and after them, in its dtype."""
    x = strong(x).reshape(-1)
    dtype, n = type_of(x).dtype, shape_of(x)[0]
    parts = [subtract(along(x, 0, min(n, 1), n), along(x, 0, 0, max(n - 1, 0)))]
    for name, end in (("to_begin", to_begin), ("to_end", to_end)):
        if end is None:
            continue
        end = strong(end)
        if not np.can_cast(type_of(end).dtype, dtype, "same_kind"):
            what = f"ediff1d: {name}= of dtype {type_of(end).dtype} for an array of dtype {dtype}."
            raise teach(DtypeError, what, do=f"convert it with .astype({dtype}), or x.")
        end = convert_to(end, dtype).reshape(-1)
        parts = [end, *parts] if name == "to_begin" else [*parts, end]
    return concatenate(parts)


@eager(np.gradient)
def gradient(f: Numbers, *varargs: Numbers, axis: Axis = None, edge_order: int = 1) -> Any:
    """Differences of second order inside, of order ``edge_order`` (1 or 2) at the edges, along each axis; spacings are scalars or
    coordinates.
    """
    f = strong(f)
    t = type_of(f)
    given = range(t.ndim) if axis is None else axis if isinstance(axis, tuple | list) else (axis,)
    axes = [canonical_axis("gradient", k, t.ndim) for k in given]
    scalar = len(varargs) == 1 and shape_of(varargs[0]) == ()
    spacings = list(varargs) * (len(axes) if scalar else 1) or [1.0] * len(axes)
    if len(spacings) != len(axes) or edge_order not in (1, 2):
        raise teach(
            ShapeError,
            f"gradient: {len(varargs)} spacings for {len(axes)} axes, edge_order {edge_order}.",
            do="give one for all or one for each; edge_order is 1 or 2.",
        )
    dtype = t.dtype if t.inexact else np.dtype(np.float64)
    f = convert_to(f, dtype) if t.dtype.kind in "iu" else f
    results = [convert_to(differences(f, k, h, edge_order), dtype) for k, h in zip(axes, spacings, strict=True)]
    return results[0] if len(results) == 1 else tuple(results)


def differences(f: Any, axis: int, h: Any, edge_order: int) -> Any:
    """The derivative of sampled ``f`` along ``axis`` by differences of second order; at the edges of order ``edge_order``."""
    n, ndim = shape_of(f)[axis], len(shape_of(f))
    if n < edge_order + 1:
        raise teach(ShapeError, f"gradient: axis {axis} has length {n}.", do=f"give at least {edge_order + 1} samples.")
    at = lambda k, count=1: along(f, axis, k, k + count)  # noqa: E731
    have = shape_of(h)
    if have == ():
        inside = divide(subtract(at(2, n - 2), at(0, n - 2)), multiply(2.0, h)) if n > 2 else None
        first = last = h
        ends = [(divide(a, h), divide(b, h), divide(c, h)) for a, b, c in ((-1.5, 2.0, -0.5), (0.5, -2.0, 1.5))]
    elif have != (n,):
        what = f"gradient: coordinates of shape {have} for an axis of length {n}."
        raise teach(ShapeError, what, do="give a scalar, or one coordinate for each sample.")
    else:
        d = diff(convert_to(h, np.dtype(np.float64)) if type_of(h).dtype.kind in "biu" else h)
        d = reshape_op(d, [n - 1 if k == axis else 1 for k in range(ndim)])
        step = lambda k, count=1: along(d, axis, k, k + count)  # noqa: E731
        inside = None
        if n > 2:
            a, b, c = weights_of_three(step(0, n - 2), step(1, n - 2), 1)
            inside = add(add(multiply(a, at(0, n - 2)), multiply(b, at(1, n - 2))), multiply(c, at(2, n - 2)))
        first, last = step(0), step(n - 2)
        ends = [weights_of_three(step(0), step(1), 0), weights_of_three(step(n - 3), step(n - 2), 2)] if edge_order == 2 else []
    if edge_order == 1:
        edges = [divide(subtract(at(1), at(0)), first), divide(subtract(at(n - 1), at(n - 2)), last)]
    else:
        edges = [
            add(add(multiply(a, at(k)), multiply(b, at(k + 1))), multiply(c, at(k + 2)))
            for (a, b, c), k in zip(ends, (0, n - 3), strict=True)
        ]
    return concatenate([edges[0], *([] if inside is None else [inside]), edges[1]], axis)


# The derivatives of Lagrange's polynomials with the nodes 0, p and p + q, at one of these. For node 0 it is (2 t - 2 p - q) / (p (p +
# q)), for node p (2 t - p - q) / (-p q), for node p + q (2 t - p) / (q (p + q)).
def weights_of_three(p: Any, q: Any, place: int) -> tuple[Any, Any, Any]:
    """The weights of three samples, p and q apart, in the derivative at the first, second or third of them."""
    both = add(p, q)
    first, second, third = multiply(p, both), multiply(p, q), multiply(q, both)
    if place == 0:
        return divide(negative(add(multiply(2.0, p), q)), first), divide(both, second), divide(negative(p), third)
    if place == 1:
        return divide(negative(q), first), divide(subtract(q, p), second), divide(p, third)
    return divide(q, first), divide(negative(both), second), divide(add(multiply(2.0, q), p), third)


@eager(np.trapezoid)
def trapezoid(y: Numbers, x: Numbers | None = None, dx: Numbers = 1.0, axis: int = -1) -> Any:
    """The integral of samples ``y`` at ``x`` (or ``dx`` apart) along ``axis`` by the trapezoidal rule."""
    shape = shape_of(y)
    k = canonical_axis("trapezoid", axis, len(shape))
    n = shape[k]
    width: Any = dx
    if x is not None:
        width = diff(x, 1, -1 if len(shape_of(x)) == 1 else axis)
        if len(shape_of(width)) == 1:
            width = reshape_op(width, [shape_of(width)[0] if j == k else 1 for j in range(len(shape))])
    both = add(along(y, k, min(n, 1), n), along(y, k, 0, max(n - 1, 0)))
    return sum(divide(multiply(width, both), 2.0), k)
