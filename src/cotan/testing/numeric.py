"""Numerical derivatives, with an estimate of their error.

Central differences at steps h, h/2, h/4, ... are extrapolated to h = 0 by Richardson's scheme (Ridders 1982). Two errors remain. The
*truncation* error of an entry of the table is estimated by its distance from its neighbours: the entries it is made of, and the next finer
one. The *rounding* error follows from the noise of the function, divided by the step and grown by each extrapolation. The noise is measured
by high-order differences of values at steps too small to show anything else (Hamming; Moré and Wild 2011). The entry with the smallest sum
of errors is the result, and the sum its error. A table with large errors is computed again with other steps: coordinates may have different
scales, and a kink may lie within the first steps.

A kink (of abs, maximum, a sort) at the point, or closer than any usable step, is detected by the second difference, which falls with h
there and not with h^2; a jump by the first difference, which does not fall. Such entries have no derivative and are ``rough``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["GOOD", "Estimate", "FlatFunction", "complex_as_real", "directional", "noise_of", "real_as_complex"]

Vector = np.ndarray[Any, np.dtype[np.float64]]
ROWS = 7
"""Steps of a table, each half of the previous one."""
STARTS = (0, -7, 6, -14, 12, -21, 18)
"""First steps of further tables, as powers of 2 times the first one, tried until a table is good."""
GOOD = 1e-8
"""The relative error below which a table is good enough."""


def complex_as_real(leaves: Sequence[Any]) -> Vector:
    """All numbers of the inexact leaves as one real vector; a complex number gives two of them."""
    parts: list[Any] = [np.asarray(x) for x in leaves if np.asarray(x).dtype.kind in "fc"]
    flat = [np.stack([p.real, p.imag], -1).ravel() if p.dtype.kind == "c" else p.ravel() for p in parts]
    return np.concatenate(flat).astype(np.float64) if flat else np.zeros(0)


def real_as_complex(vector: Vector, like: Sequence[Any]) -> list[Any]:
    """The inverse of `complex_as_real`: leaves of the shapes and dtypes of ``like``; its other leaves are unchanged."""
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


class Estimate(NamedTuple):
    """Derivatives along a direction, entry by entry: the values, bounds of their errors, one-sided derivatives, and which do not exist."""

    value: Vector
    error: Vector
    sides: tuple[Vector, Vector]
    rough: np.ndarray[Any, np.dtype[np.bool_]]


def scales_of(numbers: Vector) -> Vector:
    """The magnitudes of numbers; for zeros, the smallest magnitude beside them, or 1."""
    sizes = np.abs(numbers)
    known = np.isfinite(sizes) & (sizes > 0)
    return np.where(known, sizes, np.min(sizes, initial=np.inf, where=known) if known.any() else 1.0)


class FlatFunction:
    """A function of leaves as a function of one real vector, to one real vector."""

    def __init__(self, function: Callable[..., Sequence[Any]], leaves: Sequence[Any]):
        self.function, self.leaves = function, list(leaves)
        self.point = complex_as_real(leaves)
        limits = [np.finfo(np.asarray(x).dtype) for x in leaves if np.asarray(x).dtype.kind in "fc"]
        self.precision = float(max([limit.eps for limit in limits], default=2.3e-16))
        self.least = float(max([limit.tiny for limit in limits], default=2.3e-308))
        """Smaller numbers are denormal, with less precision."""
        self.scales = np.concatenate([scales_of(complex_as_real([x])) for x in leaves]) if leaves else np.zeros(0)
        """By how much each number may be changed."""

    def __call__(self, vector: Vector) -> Vector:
        return complex_as_real(self.function(*real_as_complex(vector, self.leaves)))

    def along(self, direction: Vector, noise: Any = 0.0) -> Estimate:
        """The derivative along ``direction`` at the point; ``noise`` is a known lower bound of the function's noise."""
        moved = direction != 0
        scale = float(np.min(self.scales[moved] / np.abs(direction[moved]), initial=np.inf))
        return directional(self, self.point, direction, scale if math.isfinite(scale) else 1.0, self.precision, noise)


def noise_of(values: Sequence[Vector]) -> Vector:
    """The standard deviation of the rounding errors of values at equal, tiny steps, from the differences of the two orders where it is
    least.

    Differences of a smooth function fall with the order; differences of errors, divided by their growth, do not.
    """
    table = np.array(values)
    size = np.max(np.abs(table), axis=0)
    size = np.where(np.isfinite(size) & (size > 0), size, 1.0)
    table, by_order = table / size, []
    for order in range(1, len(values)):
        table = np.diff(table, axis=0)
        if order >= 3:
            gamma = math.factorial(order) ** 2 / math.factorial(2 * order)
            by_order.append(np.sqrt(gamma * np.mean(table**2, axis=0)))
    return np.min(np.maximum(by_order[:-1], by_order[1:]), axis=0) * size


def directional(
    function: Callable[[Vector], Vector], point: Vector, direction: Vector, scale: float = 1.0, precision: float = 2.3e-16, known: Any = 0.0
) -> Estimate:
    """d/dt function(point + t direction) at t = 0, where t may change by a fraction of ``scale``; ``known`` bounds the noise from below."""
    centre = function(point)
    sizes = np.abs(np.nan_to_num(centre))

    def noise_at(step: float) -> Vector:
        return noise_of([function(point + k * step * direction) for k in range(-3, 4)])

    least_noise = np.maximum(noise_at(300.7 * precision * scale), np.maximum(known, 0.5 * precision * sizes))  # no multiple of a spacing
    best, steps, rounding = None, np.zeros(0), least_noise
    sides: list[tuple[float, Vector, Vector]] = []
    plain = 1 / float(np.max(np.abs(direction), initial=1e-300))
    scales = [scale * 2.0**start for start in STARTS]
    if not 1 / 64 < plain / scale < 64:
        scales.insert(1, plain)
    for natural in scales:
        first = 2 * natural * precision ** (1 / 5)
        noise = np.maximum(least_noise, noise_at(first / 2**ROWS / 20))
        least_noise = np.where(noise <= 1e-6 * sizes, noise, least_noise)  # also of larger steps, unless they show more than noise
        table = difference_table(function, point, direction, first, noise, sides)
        if best is None:
            best, steps = table, np.full(centre.shape, first)
        else:  # far away a function may be flat: larger steps count unless smaller ones contradict
            agreed = np.abs(table[0] - best[0]) <= 10 * (table[1] + best[1])
            better = (table[1] < best[1]) & (agreed | (first < steps))
            best, steps = (np.where(better, table[0], best[0]), np.where(better, table[1], best[1])), np.where(better, first, steps)
        value, error = best
        if ((error <= GOOD * np.abs(value)) | (error * max(scale, 1.0) <= 1e-3 * GOOD * sizes)).all():
            break
    assert best is not None
    return Estimate(*best, *from_both_sides(sides, centre, rounding, precision * sizes))


def difference_table(
    function: Callable[[Vector], Vector],
    point: Vector,
    direction: Vector,
    first: float,
    noise: Vector,
    sides: list[tuple[float, Vector, Vector]],
) -> tuple[Vector, Vector]:
    """The best entry of the table of extrapolations that begins with this step, with its error; values used are appended to ``sides``."""
    rows: list[list[tuple[Vector, Vector]]] = []
    for r in range(ROWS):
        h = first / 2**r
        up, down = function(point + h * direction), function(point - h * direction)
        sides.append((h, up, down))
        row = [((up - down) / (2 * h), 3 * noise / h)]
        for k, (old, old_noise) in enumerate(rows[-1] if rows else []):
            factor = 4.0 ** (k + 1)
            fine, fine_noise = row[k]
            row.append(((factor * fine - old) / (factor - 1), (factor * fine_noise + old_noise) / (factor - 1)))
        rows.append(row)
    best, least = rows[0][0][0], np.full(noise.shape, np.inf)
    for r in range(1, ROWS):
        for k in range(1, r + 1):
            value, rounding = rows[r][k]
            made_of = np.maximum(np.abs(value - rows[r][k - 1][0]), np.abs(value - rows[r - 1][k - 1][0]))
            if r + 1 < ROWS:
                finer, finer_rounding = rows[r + 1][k]
                made_of = np.maximum(made_of, np.abs(value - finer) - finer_rounding)
            error = made_of + rounding
            better = error < least
            best, least = np.where(better, value, best), np.where(better, error, least)
    return best, least


def from_both_sides(
    sides: list[tuple[float, Vector, Vector]], centre: Vector, noise: Vector, spacing: Vector
) -> tuple[tuple[Vector, Vector], np.ndarray[Any, np.dtype[np.bool_]]]:
    """The one-sided derivatives at the smallest steps that resolve them, and where they differ.

    ``spacing`` is the spacing of floating-point numbers at the value. Let a(h) = |f(h) - 2 f(0) + f(-h)| / h. Where it is above the noise,
    it halves with h if f is smooth, and is constant at a kink. A change of the slope by less than a thousandth is not detected.
    """
    sides = sorted(sides, key=lambda side: side[0])
    kinked, jumping = np.zeros(centre.shape, bool), np.zeros(centre.shape, bool)
    low, high = np.full(centre.shape, -np.inf), np.full(centre.shape, np.inf)
    settled = np.zeros(centre.shape, bool)
    for k, (h, up, down) in enumerate(sides):
        wider = [side for side in (at_least(sides[k:], 8 * h), at_least(sides[k:], 64 * h)) if side is not None]
        if len(wider) < 2:
            break
        bend, step = np.abs(up - 2 * centre + down) / h, np.abs(up - down)
        bends = [np.abs(u - 2 * centre + d) / g for g, u, d in wider]
        far_step = np.abs(wider[1][1] - wider[1][2])
        lasting = (step > 0.5 * far_step) & (step < 2 * far_step)
        jumps = ~settled & lasting & (step > 1e5 * spacing) & (step > 0.1 * bends[1] * wider[1][0])
        seen = ~settled & ~jumps & (bend > 40 * noise / h) & (bend < 2.5 * bends[0])
        kinks = seen & (bend > 0.4 * bends[0]) & (bend > 0.3 * bends[1]) & (bend < 4 * bends[1])
        kinked, jumping = kinked | kinks, jumping | jumps
        slopes = [s for g, u, d in ((h, up, down), *wider) for s in ((centre - d) / g, (u - centre) / g)]
        low, high = np.where(kinks, np.min(slopes, axis=0), low), np.where(kinks, np.max(slopes, axis=0), high)
        settled |= seen | jumps
    low, high = np.where(jumping, -np.inf, low), np.where(jumping, np.inf, high)
    with np.errstate(invalid="ignore"):
        kinked &= high - low > 1e-3 * np.maximum(np.abs(low), np.abs(high))
    return (low, high), kinked | jumping


def at_least(sides: list[tuple[float, Vector, Vector]], h: float) -> tuple[float, Vector, Vector] | None:
    """The first of these with a step of at least this length."""
    return next((side for side in sides if side[0] >= 0.99 * h), None)
