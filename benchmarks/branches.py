"""Branches on a batch: a costly one that few examples take, or all.

XLA turns a branch with an index for each example into a choice between the results of all branches.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.harness import JAX, OURS, Row, Table, timed
from benchmarks.loops import AHEAD, Names, compiled

SIZE = 10_000


def chain(xp: Any, x: Any) -> Any:
    """30 transcendental functions."""
    for k in range(15):
        x = xp.sin(xp.exp(-x * x) + 0.1 * k)
    return x


def loop(xp: Any, x: Any) -> Any:
    """100 steps."""
    return xp.scan(lambda v, _: (xp.sin(v) * 0.9 + 0.1, None), x, None, length=100)[0]


def solve(xp: Any, x: Any) -> Any:
    """A system of equations."""
    n = x.shape[0]
    return xp.linalg.solve(xp.outer(x, x) + 3.0 * xp.eye(n), x)


BRANCHES: list[tuple[str, Callable[[Any, Any], Any], int]] = [
    ("30 functions of 10 numbers", chain, 10),
    ("100 steps on 4 numbers", loop, 4),
    ("a 20 x 20 solve", solve, 20),
]


def values(branch: Callable[[Any, Any], Any], xp: Names) -> Callable[..., Any]:
    """The function of a batch: the branch for some examples, a product for the others."""
    return xp.transforms.vmap(lambda p, x: xp.transforms.lax.cond(p, lambda x: branch(xp, x), lambda x: 0.5 * x, x))


def gradient(branch: Callable[[Any, Any], Any], xp: Names) -> Callable[..., Any]:
    """The gradient of the sum of its results."""
    return xp.transforms.grad(lambda p, x: xp.sum(values(branch, xp)(p, x)), argnums=1)


def row(label: str, make: Callable[[Any], Callable[..., Any]], arguments: list[np.ndarray]) -> Row:
    """cotan and JAX; PyTorch has no such branch."""
    found = compiled(make, arguments)
    return timed(label, {OURS: found[OURS], JAX: found[JAX]}, AHEAD)


def table() -> Table:
    """Values, where few examples take the branch and where all do, and gradients, where few do."""
    rng = np.random.default_rng(0)
    rows: list[Row] = []
    for label, branch, n in BRANCHES:
        x, order = rng.uniform(0.5, 1.5, (SIZE, n)), rng.permutation(SIZE)
        rows += [
            row(f"{label}, 1 of 64 take it", partial(values, branch), [order < SIZE // 64, x]),
            row(f"{label}, all take it", partial(values, branch), [order < SIZE, x]),
            row(f"{label}, 1 of 64 take it, gradient", partial(gradient, branch), [order < SIZE // 64, x]),
        ]
    return Table("branches", f"a branch of {SIZE:,} examples, compiled", "us", rows)
