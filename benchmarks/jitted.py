"""The cost of calling a compiled function: dispatch, for one array and for a tree of a hundred leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import cotan
import cotan.numpy as cnp
from benchmarks.harness import Contestant, Row, Table, compare, contestant, optional

LEAVES = 100


def twice(x: Any) -> Any:
    """As little work as an array can have."""
    return x + x


def twice_each(tree: dict[str, Any]) -> dict[str, Any]:
    """The same for a tree."""
    return {name: leaf + leaf for name, leaf in tree.items()}


def contestants(function: Callable[[Any], Any], build: Callable[[Callable[[np.ndarray], Any]], Any]) -> dict[str, Contestant]:
    """A function, compiled where a library compiles, on what `build` makes with the library's conversion from a NumPy array."""
    jax, torch = optional("jax"), optional("torch")

    def ours() -> Callable[[], Any]:
        compiled, argument = cotan.jit(function), build(cnp.asarray)
        return lambda: compiled(argument)

    def in_numpy() -> Callable[[], Any]:
        argument = build(np.asarray)
        return lambda: function(argument)

    def in_jax(jax: Any) -> Callable[[], Any]:
        compiled, argument = jax.jit(function), build(jax.numpy.asarray)
        return lambda: jax.block_until_ready(compiled(argument))

    def in_torch(torch: Any) -> Callable[[], Any]:
        argument = build(torch.from_numpy)
        return lambda: function(argument)

    return {"cotan.jit": ours(), "NumPy": in_numpy(), "jax.jit": contestant(in_jax, jax), "torch, eager": contestant(in_torch, torch)}


def table() -> Table:
    """One array of 1000 numbers, and a hundred arrays of ten."""
    one = contestants(twice, lambda convert: convert(np.linspace(0.0, 1.0, 1000)))
    many = contestants(twice_each, lambda convert: {f"leaf{i:02d}": convert(np.linspace(0.0, 1.0, 10)) for i in range(LEAVES)})
    rows = [
        Row("1000 numbers", compare(one), target="under 2 us"),
        Row(f"tree of {LEAVES} leaves", compare(many), target="under 50 us"),
    ]
    return Table("jitted", "call of a compiled function", "us", rows)
