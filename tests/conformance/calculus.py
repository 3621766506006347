"""The vocabulary of the laws: the transformations of flat functions, pairings, and finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from cotan.core.tracing import type_of
from cotan.ops.failing import quiet
from cotan.ops.families import add
from cotan.transforms.jvp import jvp_flat
from cotan.transforms.linearize import linearize_flat
from cotan.transforms.transpose import backward_pass

Flat = Callable[..., Sequence[Any]]


def zeros_like(x: Any) -> Any:
    t = type_of(x)
    return np.zeros(t.shape, t.dtype)


def push(f: Flat, xs: Sequence[Any], vs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Values and tangents of f; absent tangents as zeros."""
    with quiet():
        ys, dys = jvp_flat(f, xs, vs)
    return ys, [zeros_like(y) if dy is None else dy for y, dy in zip(ys, dys, strict=True)]


def pull(f: Flat, xs: Sequence[Any], ws: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Values of f, and the cotangents of xs for the cotangents ws of the results."""
    with quiet():
        ys, tape, inputs, outputs = linearize_flat(f, xs, [True] * len(xs))
        cotangents: dict[Any, Any] = {}
        for v, w in zip(outputs, ws, strict=True):
            if v is not None:
                cotangents[v] = w if v not in cotangents else add(cotangents[v], w)
        bars = backward_pass(tape.equations, cotangents, inputs)
    return ys, [zeros_like(x) if bar is None else bar for x, bar in zip(xs, bars, strict=True)]


def pair(ws: Sequence[Any], vs: Sequence[Any]) -> float:
    """The pairing of cotangents with tangents: Re sum w v, without a conjugate."""
    return float(sum(np.sum((np.asarray(w, np.complex128) * np.asarray(v, np.complex128)).real) for w, v in zip(ws, vs, strict=True)))


def step_along(xs: Sequence[Any], vs: Sequence[Any], t: float) -> list[Any]:
    return [(np.asarray(x) + np.asarray(v) * t).astype(np.asarray(x).dtype) for x, v in zip(xs, vs, strict=True)]


def difference(f: Flat, xs: Sequence[Any], vs: Sequence[Any]) -> list[Any]:
    """The derivative of f along vs by central differences with steps h, h/2, h/4, extrapolated (Richardson) to an error of h^6."""
    rows = []
    for k in range(3):
        t = 1e-3 / 2**k
        up, down = f(*step_along(xs, vs, t)), f(*step_along(xs, vs, -t))
        rows.append([(np.asarray(a) - np.asarray(b)) / (2 * t) for a, b in zip(up, down, strict=True)])
    for order in range(1, len(rows)):
        weight = 4.0**order
        rows = [[(weight * b - a) / (weight - 1) for a, b in zip(p, q, strict=True)] for p, q in pairwise(rows)]
    return rows[0]
