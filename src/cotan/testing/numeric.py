"""Numerical derivatives, with an estimate of their own error.

Central differences at steps h, h/2, h/4, ... extrapolated to h = 0 by Richardson's scheme (Ridders 1982): the column whose last two
extrapolations agree best is the answer, and their difference the estimate of its error. So neither step nor tolerance has to be chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["FlatFunction", "complex_as_real", "directional", "real_as_complex"]

Vector = np.ndarray[Any, np.dtype[np.float64]]


def complex_as_real(leaves: Sequence[Any]) -> Vector:
    """All numbers of the inexact leaves as one real vector; a complex number is two of them."""
    parts: list[Any] = [np.asarray(x) for x in leaves if np.asarray(x).dtype.kind in "fc"]
    flat = [np.stack([p.real, p.imag], -1).ravel() if p.dtype.kind == "c" else p.ravel() for p in parts]
    return np.concatenate(flat).astype(np.float64) if flat else np.zeros(0)


def real_as_complex(vector: Vector, like: Sequence[Any]) -> list[Any]:
    """The inverse of `complex_as_real`: leaves of the shapes and dtypes of ``like``; its other leaves as they are."""
    leaves: list[Any] = []
    start = 0
    for x in map(np.asarray, like):
        if x.dtype.kind not in "fc":
            leaves.append(x)
            continue
        count = x.size * (2 if x.dtype.kind == "c" else 1)
        piece = vector[start : start + count]
        start += count
        value = piece.reshape(*x.shape, 2) @ np.array([1, 1j]) if x.dtype.kind == "c" else piece.reshape(x.shape)
        leaves.append(value.astype(x.dtype))
    return leaves


class FlatFunction:
    """A function of leaves as a function of one real vector, to one real vector."""

    def __init__(self, function: Callable[..., Sequence[Any]], leaves: Sequence[Any]):
        self.function, self.leaves = function, list(leaves)
        self.point = complex_as_real(leaves)
        self.precision = max([np.finfo(np.asarray(x).dtype).eps for x in leaves if np.asarray(x).dtype.kind in "fc"] or [2.3e-16])

    def __call__(self, vector: Vector) -> Vector:
        return complex_as_real(self.function(*real_as_complex(vector, self.leaves)))

    def along(self, direction: Vector) -> tuple[Vector, Vector]:
        """The derivative along ``direction`` at the point, and an estimate of the error of each entry."""
        return directional(self, self.point, direction, float(self.precision))


def directional(
    function: Callable[[Vector], Vector], point: Vector, direction: Vector, precision: float = 2.3e-16
) -> tuple[Vector, Vector]:
    """d/dt function(point + t direction) at t = 0, entry by entry, with error estimates."""
    scale = float(np.max(np.abs(point), initial=1.0)) / max(float(np.max(np.abs(direction), initial=0.0)), 1e-300)
    step = scale * precision ** (1 / 5) * 2
    best, error, used = np.zeros(0), np.zeros(0), np.zeros(0)
    previous: list[Vector] = []
    size = 0.0
    for row in range(6):
        h = step / 2**row
        up, down = function(point + h * direction), function(point - h * direction)
        size = max(size, float(np.max(np.abs(np.concatenate([up, down])), initial=0.0)))
        current = [(up - down) / (2 * h)]
        for k, old in enumerate(previous):
            factor = 4.0 ** (k + 1)
            current.append((factor * current[k] - old) / (factor - 1))
        if row == 0:
            best, error, used = current[0], np.full(current[0].shape, np.inf), np.full(current[0].shape, h)
        else:
            for k in range(1, len(current)):
                estimate = np.maximum(np.abs(current[k] - current[k - 1]), np.abs(current[k] - previous[k - 1]))
                better = ~(estimate >= error)
                best = np.where(better, current[k], best)
                error = np.where(better, estimate, error)
                used = np.where(better, h, used)
        previous = current
    # What rounding alone does to a difference at the step used.
    return best, error + precision * size / used
