"""Random programs with nested control flow: scans, loops, branches and smooth steps, on a vector of three.

A program is data (a tree of blocks) and runs on any `Kit`: on cotan's loops and on Python loops. Every block is bounded, so values and
derivatives stay moderate. Predicates are of sums shifted by an irrational amount, so they are not near their thresholds, and finite
differences do not step over a branch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .loops import COTAN, Kit

SMOOTH: dict[str, Callable[[Kit, Any, Any], Any]] = {
    "sin": lambda k, v, p: k.np.sin(v),
    "tanh": lambda k, v, p: k.np.tanh(v),
    "parameter": lambda k, v, p: k.np.cos(v) * p,
    "turn": lambda k, v, p: v[::-1],
    "mean": lambda k, v, p: 0.5 * v + k.np.mean(p),
    "outer": lambda k, v, p: k.np.tanh(k.np.outer(v, p) @ v),
    "nothing": lambda k, v, p: v,
    "constant": lambda k, v, p: np.array([0.3, -0.2, 0.9]),
}


@dataclass(frozen=True)
class Block:
    """One step of a program: a smooth function by its name, or control flow around the blocks inside."""

    kind: str
    inside: tuple[tuple[Block, ...], ...] = ()
    number: int = 0

    def run(self, k: Kit, v: Any, p: Any) -> Any:
        if self.kind in SMOOTH:
            return SMOOTH[self.kind](k, v, p)
        return getattr(self, f"run_{self.kind}")(k, v, p)

    def body(self, k: Kit, v: Any, p: Any, which: int = 0) -> Any:
        for block in self.inside[which]:
            v = block.run(k, v, p)
        return v

    def run_scan(self, k: Kit, v: Any, p: Any) -> Any:
        """The carry goes through the body, beside a counter and a carry that becomes active later; the ys are added up."""

        def step(c: Any, x: Any) -> Any:
            value, i, late = c
            new = self.body(k, value * x, p)
            return (new, i + 1, late * 0.5 + k.np.sum(value)), k.np.sin(new) + i + late

        (value, _, late), ys = k.lax.scan(step, (v, 0, 0.0), p[: self.number % 4], reverse=self.number > 3, **self.options(k))
        return k.np.tanh(value + late + k.np.sum(ys, axis=0))

    def run_fori(self, k: Kit, v: Any, p: Any) -> Any:
        return k.lax.fori_loop(0, self.number % 4, lambda i, v: self.body(k, v + 0.1 * i, p), v, **self.options(k))

    def run_while(self, k: Kit, v: Any, p: Any) -> Any:
        """The number of steps depends on the data."""
        bound = self.number % 4 + 1.3 * k.np.sin(k.np.sum(v) + 0.14142)
        return k.lax.while_loop(lambda s: s[0] < bound, lambda s: (s[0] + 1.0, self.body(k, s[1], p)), (0.0, v), **self.options(k))[1]

    def options(self, k: Kit) -> dict[str, Any]:
        """Some loops of cotan's are to keep few states."""
        return {"checkpoint": self.number % 3 or True} if k is COTAN and self.number % 2 else {}

    def run_map(self, k: Kit, v: Any, p: Any) -> Any:
        return k.np.sum(k.lax.map(lambda x: self.body(k, x * v, p), p), axis=0) / 3

    def run_cond(self, k: Kit, v: Any, p: Any) -> Any:
        return k.lax.cond(self.predicate(k, v), lambda v: self.body(k, v, p, 0), lambda v: self.body(k, v, p, 1), v)

    def run_switch(self, k: Kit, v: Any, p: Any) -> Any:
        index = k.np.where(self.predicate(k, v), self.number % 3, (self.number + 1) % 3)
        return k.lax.switch(index, [lambda v, j=j: self.body(k, v, p, j) for j in range(3)], v)

    def predicate(self, k: Kit, v: Any) -> Any:
        return k.np.sum(v) > 0.14142 * self.number - 0.5


@dataclass(frozen=True)
class LoopProgram:
    """Blocks, one after the other, on a vector of three that they may also close over."""

    blocks: tuple[Block, ...]
    seed: int

    def input(self) -> np.ndarray:
        return np.random.default_rng(self.seed).uniform(-1, 1, 3)

    def on(self, k: Kit) -> Callable[[Any], Any]:
        def run(p: Any) -> Any:
            v = p
            for block in self.blocks:
                v = block.run(k, v, p)
            return v * p

        return run


def blocks(depth: int, most: int) -> st.SearchStrategy[tuple[Block, ...]]:
    smooth = st.sampled_from(sorted(SMOOTH)).map(Block)
    if depth == 0:
        return st.lists(smooth, min_size=1, max_size=2).map(tuple)
    inside = blocks(depth - 1, 2)
    number = st.integers(0, 7)
    loop = st.builds(lambda kind, body, n: Block(kind, (body,), n), st.sampled_from(["scan", "fori", "map", "while"]), inside, number)
    cond = st.builds(lambda a, b, n: Block("cond", (a, b), n), inside, inside, number)
    switch = st.builds(lambda a, b, c, n: Block("switch", (a, b, c), n), inside, inside, inside, number)
    return st.lists(st.one_of(loop, cond, switch, smooth), min_size=1, max_size=most).map(tuple)


def loop_programs(most: int = 3) -> st.SearchStrategy[LoopProgram]:
    """Programs whose control flow is nested up to two deep."""
    return st.builds(LoopProgram, blocks(2, most), st.integers(0, 10**6))
