"""Decompositions at equal values: which values are equal, and how a perturbation of the matrix splits them.

A matrix with eigenvalues that are nearly equal is replaced by the nearest one where they are equal. The eigenvectors of equal values are
any basis of their space; if they are *turned*, another one is taken at random, so that a function that depends on the choice is seen to.
The perturbation V diag(d) V^H splits the values, by w + t d, and changes no vector (Kato 1995, "Perturbation theory for linear
operators", section II.2.3).
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from .gaps import rounding

__all__ = ["Splitting", "Turn", "random_unitary", "split_eigenvalues", "split_singular_values"]


class Splitting(NamedTuple):
    """The results of a decomposition at a matrix nearby that has equal values; which of the results are the values; how far those given
    are from them, and the directions by which they are split. ``equal``: whether they were equal but for rounding.
    """

    results: tuple[Any, ...]
    place: int
    offsets: Any
    directions: Any
    equal: bool
    pairs: frozenset[tuple[int, int]] = frozenset()
    """The indices of values that are equal."""


Turn = tuple[int, int] | None
"""Whose vectors are turned: those of a pair of equal values, or of all (None)."""


def groups(values: Any, limit: float) -> list[Any]:
    """The indices of values that are nearer to each other than ``limit``, or linked by others that are; each more than one."""
    near = np.abs(values[:, None] - values) <= limit
    found, free = [], np.ones(len(values), bool)
    for k in range(len(values)):
        if free[k]:
            members = near[k]
            while not np.array_equal(members, more := near[members].any(axis=0)):
                members = more
            free &= ~members
            if members.sum() > 1:
                found.append(np.flatnonzero(members))
    return found


def equal_ones(members: Any, offsets: Any, size: float) -> list[Any]:
    """Those of a group that are equal but for rounding, together."""
    limit, free, found = rounding(offsets.dtype) * size, np.ones(len(members), bool), []
    for k in range(len(members)):
        if free[k]:
            same = free & (np.abs(offsets[members] - offsets[members[k]]) <= limit)
            free &= ~same
            found.append(members[same])
    return found


def random_unitary(rng: np.random.Generator, size: int, dtype: Any) -> Any:
    """A random unitary matrix."""
    x = rng.normal(size=(size, size))
    return np.linalg.qr(x + 1j * rng.normal(size=x.shape) if dtype.kind == "c" else x)[0].astype(dtype)


def turns(same: Any, pair: Turn, rng: np.random.Generator, dtype: Any) -> Any:
    """A random unitary matrix for the vectors of equal values; of a pair alone, if one is given."""
    if pair is None:
        return random_unitary(rng, len(same), dtype)
    turn, places = np.eye(len(same), dtype=dtype), np.flatnonzero(np.isin(same, pair))
    if len(places) == 2:
        turn[np.ix_(places, places)] = random_unitary(rng, 2, dtype)
    return turn


def apart(size: int, scale: float) -> Any:
    """Positive numbers that differ, of about this size."""
    return scale * (1 + np.arange(size) / max(size, 1)) ** 1.5


def size_of(values: Any) -> float:
    """The largest absolute value."""
    return float(np.abs(values).max(initial=0))


def split_eigenvalues(w: Any, v: Any | None, relative: float, turned: bool, pair: Turn = None) -> Splitting | None:
    """Of eigenvalues, and eigenvectors if there are any. Values are equal up to ``relative`` times the largest; None if none are."""
    rng, pairs, equal = np.random.default_rng(w.shape[-1]), set[tuple[int, int]](), True
    w, v, offsets, directions = w.copy(), None if v is None else v.copy(), np.zeros_like(w), np.zeros_like(w)
    for k in np.ndindex(*w.shape[:-1]):
        size = size_of(w[k])
        for members in groups(w[k], relative * size):
            pairs.update(combinations(map(int, members), 2))
            value = w[k][members].mean()
            offsets[k][members] = w[k][members] - value
            w[k][members] = value
            equal &= size_of(offsets[k]) <= rounding(w.dtype) * size
            directions[k][members] = apart(len(members), size or 1)
            if v is None or not turned:
                continue
            for same in equal_ones(members, offsets[k], size):
                other = v[k][:, same] @ turns(same, pair, rng, v.dtype)
                v[k][:, same] = other / np.linalg.norm(other, axis=0)
    return Splitting((w,) if v is None else (w, v), 0, offsets, directions, equal, frozenset(pairs)) if pairs else None


def split_singular_values(s: Any, vectors: tuple[Any, Any] | None, relative: float, turned: bool, pair: Turn = None) -> Splitting | None:
    """Of singular values, and vectors (U, V^H) if there are any; values up to ``relative`` times the largest are zero."""
    rng, pairs, equal = np.random.default_rng(s.shape[-1]), set[tuple[int, int]](), True
    s, offsets, directions = s.copy(), np.zeros_like(s), np.zeros_like(s)
    u, vh = (None, None) if vectors is None else (x.copy() for x in vectors)
    for k in np.ndindex(*s.shape[:-1]):
        size = size_of(s[k])
        small = s[k] <= relative * size
        zeros = np.flatnonzero(small)
        for members in [zeros, *groups(np.where(small, np.nan, s[k]), relative * size)]:
            if not len(members):
                continue
            pairs.update(combinations(map(int, members), 2) if len(members) > 1 else [(int(members[0]), int(members[0]))])
            value = 0 if members is zeros else s[k][members].mean()
            offsets[k][members] = s[k][members] - value
            s[k][members] = value
            equal &= size_of(offsets[k]) <= rounding(s.dtype) * size
            directions[k][members] = apart(len(members), size or 1)
            if u is None or vh is None or not turned:
                continue
            for same in equal_ones(members, offsets[k], size):
                left = turns(same, pair, rng, u.dtype)
                free = members is zeros and abs(offsets[k][same[0]]) <= rounding(s.dtype) * size
                right = turns(same, pair, rng, u.dtype) if free else left
                u[k][:, same] = u[k][:, same] @ left
                vh[k][same] = right.conj().T @ vh[k][same]
    results = (s,) if u is None else (u, s, vh)
    return Splitting(results, len(results) // 2, offsets, directions, equal, frozenset(pairs)) if pairs else None
