"""`associative_scan`: all prefix combinations of an associative operation, in logarithmic depth.

Combine neighbours, scan the list of half the length, and fill in the even positions (Blelloch 1990, "Prefix sums and their applications").
It uses slices and the user's function alone, so every transformation works on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import numpy as cnp
from ..api.arguments import boundary, check_callable, leaf
from ..core import tree
from ..core.errors import ArgumentError, teach
from ..core.tracing import type_of

__all__ = ["associative_scan"]


@boundary
def associative_scan(fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """``[e0, fn(e0, e1), fn(fn(e0, e1), e2), ...]`` along ``axis``.

    Args:
        fn: an associative function of two trees like ``elems``, which applies to many pairs at once along ``axis``.
        elems: a tree of arrays with one length along ``axis``.
        reverse: whether to begin at the end: ``fn(fn(e2, e1), e0)`` is the first result, ``e2`` the last.
        axis: the axis that counts the elements.

    Returns:
        a tree like ``elems``.

    Raises:
        ArgumentError: leaves of different lengths, or without that axis.

    >>> import cotan, cotan.numpy as cnp
    >>> cotan.lax.associative_scan(cnp.multiply, cnp.array([1.0, 2.0, 3.0, 4.0]))
    Array([ 1.,  2.,  6., 24.])
    """
    check_callable("associative_scan", fn)
    leaves, spec = tree.flatten(elems)
    names = tree.leaf_names(spec, "elems")
    leaves = [leaf(x, name) for x, name in zip(leaves, names, strict=True)]
    for x, name in zip(leaves, names, strict=True):
        ndim = type_of(x).ndim
        if not -ndim <= axis < ndim:
            what = f"associative_scan: {name} has shape {type_of(x).shape}, so it has no axis {axis}."
            raise teach(ArgumentError, what, do="give arrays with that axis.")
    lengths = {name: type_of(x).shape[axis] for x, name in zip(leaves, names, strict=True)}
    if len(set(lengths.values())) > 1:
        rows = "\n".join(f"{name} has length {n}" for name, n in lengths.items())
        raise teach(ArgumentError, "associative_scan: the lengths disagree.", detail=rows, do="give all leaves one length along the axis.")

    def combine(a: list[Any], b: list[Any]) -> list[Any]:
        return tree.leaves(fn(tree.unflatten(spec, a), tree.unflatten(spec, b)))

    front = [cnp.moveaxis(cnp.flip(x, axis) if reverse else x, axis, 0) for x in leaves]
    done = prefixes(lambda a, b: on_axis(combine, a, b, axis), front) if front else front
    placed = [cnp.moveaxis(x, 0, axis) for x in done]
    return tree.unflatten(spec, [cnp.flip(x, axis) if reverse else x for x in placed])


def on_axis(combine: Any, a: list[Any], b: list[Any], axis: int) -> list[Any]:
    """``combine`` with the element axis at the user's position."""
    there = combine([cnp.moveaxis(x, 0, axis) for x in a], [cnp.moveaxis(x, 0, axis) for x in b])
    return [cnp.moveaxis(x, axis, 0) for x in there]


def prefixes(combine: Callable[[list[Any], list[Any]], list[Any]], elems: list[Any]) -> list[Any]:
    """The scan along the leading axis."""
    n = elems[0].shape[0]
    if n < 2:
        return elems
    odd = prefixes(combine, combine([x[0 : n - 1 : 2] for x in elems], [x[1:n:2] for x in elems]))
    if n == 2:
        return [cnp.concatenate([x[:1], o]) for x, o in zip(elems, odd, strict=True)]
    even = combine([o[: (n - 1) // 2] for o in odd], [x[2:n:2] for x in elems])
    even = [cnp.concatenate([x[:1], e]) for x, e in zip(elems, even, strict=True)]
    return [interleave(e, o) for e, o in zip(even, odd, strict=True)]


def interleave(even: Any, odd: Any) -> Any:
    """The elements of both, alternating, beginning with ``even``, which may be one longer."""
    m = odd.shape[0]
    pairs = cnp.reshape(cnp.stack([even[:m], odd], axis=1), (2 * m, *odd.shape[1:]))
    return cnp.concatenate([pairs, even[m:]]) if even.shape[0] > m else pairs
