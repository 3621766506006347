"""Minors of matrices and their derivatives, by the products of the exterior algebra.

M_p(A) has an entry for every two sets R, C of p rows and columns (sorted, in lexicographic order): the determinant of A restricted to them.
The product of such a matrix X with an n x n matrix E is a matrix over sets of p + 1,

    (X ^ E)[R, C] = sum over r in R, c in C of (-1)^(position of r in R + position of c in C) X[R - r, C - c] E[r, c].

It is commutative, and A ^ ... ^ A of p factors is p! M_p(A) (Laplace's expansion, along every row). So the derivatives of minors are

    D^k M_p(A)[E1, ..., Ek] = M_{p-k}(A) ^ E1 ^ ... ^ Ek,

These are sums of products in which each direction is a factor. Entries of one direction are never added to entries of another, so the
directions may have any scales. The cofactors of A are C(A)[i, j] = (-1)^(i+j) M_{n-1}(A)[all but i, all but j].

Each function has a version for NumPy arrays, with the matrices in the last two axes, and one for traced values.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from ..core.emitting import Emitter
from ..core.tracing import type_of
from .arithmetic import mul
from .families import broadcast_in_dim, reduce_sum
from .indexing import gather
from .movement import permute, reverse

__all__ = ["cofactors", "traced_cofactors", "written_cofactors"]


class Terms(NamedTuple):
    """The terms of a product. Axes: the row and the column of its entry (sets of p + 1), and the terms of the entry."""

    left: Any
    """Positions of the factors over sets of p, in a flat array."""
    right: Any
    """Positions of the factors from the n x n matrix, in a flat array."""
    signs: Any


@lru_cache(maxsize=256)
def terms(n: int, p: int, rows: int) -> Terms:
    """The product of a matrix over sets of p with an n x n matrix, expanded along the first ``rows`` rows of each set."""
    number = {chosen: k for k, chosen in enumerate(combinations(range(n), p))}
    sets = list(combinations(range(n), p + 1))
    without = np.array([[number[s[:k] + s[k + 1 :]] for k in range(p + 1)] for s in sets])
    place = np.arange(p + 1)

    def pairs(x: Any, columns: int) -> Any:
        return (x[:, None, :rows, None] * columns + x[None, :, None, :]).reshape(len(sets), len(sets), -1)

    signs = np.where((place[:rows, None] + place) % 2, -1.0, 1.0).ravel()
    return Terms(pairs(without, len(number)), pairs(np.array(sets), n), signs)


@lru_cache(maxsize=64)
def signs_of_cofactors(n: int) -> Any:
    """(-1)^(i+j)."""
    place = np.arange(n)
    return np.where((place[:, None] + place) % 2, -1.0, 1.0)


# ---- arrays -------------------------------------------------------------------------------------------------------------------
def cofactors(a: Any, directions: Sequence[Any]) -> Any:
    """D^k C(A)[E1, ..., Ek] of stacks of matrices, for k < n."""
    n, k = a.shape[-1], len(directions)
    x = None
    for p in range(n - 1):
        x = product(x, *((a, p, 1) if p < n - 1 - k else (directions[p - n + 1 + k], p, p + 1)))
    if x is None:
        return np.ones_like(a)
    return x[..., ::-1, ::-1] * signs_of_cofactors(n).astype(a.dtype)


def product(x: Any, e: Any, p: int, rows: int) -> Any:
    """X ^ E for X over sets of p, expanded along the first ``rows`` rows of each set. Over empty sets X is the number 1, and is passed as
    None.
    """
    if x is None:
        return e
    at = terms(e.shape[-1], p, rows)
    left, right = (y.reshape(*y.shape[:-2], -1)[..., where] for y, where in ((x, at.left), (e, at.right)))
    return np.sum(left * (right * at.signs.astype(e.dtype)), axis=-1)


# ---- traced values ------------------------------------------------------------------------------------------------------------
def traced_cofactors(directions: Sequence[Any]) -> Any:
    """E1 ^ ... ^ Ek as cofactors, of n = k + 1 rows: the derivative of order k, which does not depend on the matrix."""
    t = type_of(directions[0])
    lead = t.ndim - 2
    x = None
    for p, e in enumerate(directions):
        x = traced_product(x, e, p)
    signs = broadcast_in_dim(signs_of_cofactors(t.shape[-1]).astype(t.dtype), t.shape, (lead, lead + 1))
    return mul(signs, reverse(x, (lead, lead + 1)))


def traced_product(x: Any, e: Any, p: int) -> Any:
    """`product`, along all rows, for traced values."""
    if x is None:
        return e
    t = type_of(e)
    at, lead = terms(t.shape[-1], p, p + 1), t.shape[:-2]
    after, before = tuple(range(3, 3 + len(lead))), tuple(range(len(lead)))

    def taken(y: Any, where: Any) -> Any:
        rows, columns = np.divmod(where, type_of(y).shape[-1])
        first = permute(y, (len(lead), len(lead) + 1, *before))
        return permute(gather(first, [rows, columns], "promise_in_bounds"), (*after, 0, 1, 2))

    left, right = taken(x, at.left), taken(e, at.right)
    signs = broadcast_in_dim(at.signs.astype(t.dtype), type_of(right).shape, (len(lead) + 2,))
    return reduce_sum(mul(left, mul(right, signs)), (len(lead) + 2,))


# ---- straight-line code -------------------------------------------------------------------------------------------------------------
def written_cofactors(e: Emitter, matrices: Sequence[Any], result: Any) -> None:
    """The cofactors of one matrix and any number of directions, unrolled element by element."""
    a, *directions = matrices
    n, k = a.shape[-1], len(directions)
    minors: dict[tuple[tuple[int, ...], tuple[int, ...]], Any] = {}
    for p in range(n - 1 if k < n else 0):
        y, rows = (a, 1) if p < n - 1 - k else (directions[p - n + 1 + k], p + 1)
        minors = {
            (r, c): y[r[0], c[0]] if p == 0 else written_entry(e, minors, y, r, c, rows)
            for r in combinations(range(n), p + 1)
            for c in combinations(range(n), p + 1)
        }
    everything = tuple(range(n))
    for i, j in np.ndindex(n, n):
        if k >= n:
            result[i, j] = e.constant(0, a.dtype)
        elif n == 1:
            result[i, j] = e.constant(1, a.dtype)
        else:
            found = minors[everything[:i] + everything[i + 1 :], everything[:j] + everything[j + 1 :]]
            result[i, j] = e.math("neg", found) if (i + j) % 2 else found


def written_entry(e: Emitter, minors: Any, y: Any, r: tuple[int, ...], c: tuple[int, ...], rows: int) -> Any:
    """An entry of a product."""
    total = None
    for i, j in np.ndindex(rows, len(c)):
        factor = y[r[i], c[j]]
        factor = e.math("neg", factor) if (i + j) % 2 else factor
        other = minors[r[:i] + r[i + 1 :], c[:j] + c[j + 1 :]]
        if total is None:
            total = e.math("mul", other, factor)
        elif factor.dtype.kind == "c":
            total = e.math("add", total, e.math("mul", other, factor))
        else:
            total = e.math("fmuladd", other, factor, total)
    return total
