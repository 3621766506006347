"""Long programs: the time per operation of staging and of differentiating a chain of 10^2 to 10^5 operations, which must not grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import cotan
import cotan.numpy as cnp
from benchmarks.harness import Cell, Contestant, Row, Table, compare, contestant, optional

LENGTHS = (100, 1_000, 10_000, 100_000)
NUMBERS = np.linspace(0.1, 0.9, 10)
# JAX needs 50 us and more for an operation under grad: it is not asked for the longest chain there.
LONGEST_FOR_JAX = 10_000
TOO_SLOW = "too slow"


def chain(library: Any, length: int) -> Callable[[Any], Any]:
    """A function of so many operations, half of them sin and half mul, with a sum at the end."""

    def function(x: Any) -> Any:
        for _ in range(length // 2):
            x = library.sin(x) * 1.01
        return x.sum()

    return function


def stagers(length: int) -> dict[str, Contestant]:
    """Turning a Python function into a program."""
    jax = optional("jax")

    def in_jax(jax: Any) -> Callable[[], Any]:
        # A new function each time, for JAX keeps the program of one that it has seen.
        return lambda: jax.make_jaxpr(chain(jax.numpy, length))(NUMBERS)

    return {"cotan": lambda: cotan.stage(chain(cnp, length))(NUMBERS), "JAX": contestant(in_jax, jax)}


def stagers_of_gradients(length: int) -> dict[str, Contestant]:
    """Differentiating while staging: rules, linear program, transposition."""
    jax = optional("jax")

    def in_jax(jax: Any) -> Callable[[], Any]:
        return lambda: jax.make_jaxpr(jax.grad(chain(jax.numpy, length)))(NUMBERS)

    return {
        "cotan": lambda: cotan.stage(cotan.grad(chain(cnp, length)))(NUMBERS),
        "JAX": contestant(in_jax, jax) if length <= LONGEST_FOR_JAX else TOO_SLOW,
    }


def eager_gradients(length: int) -> dict[str, Contestant]:
    """Differentiating with nothing staged."""
    jax, autograd, autograd_numpy = optional("jax"), optional("autograd"), optional("autograd.numpy")
    torch, torch_func = optional("torch"), optional("torch.func")

    def in_jax(jax: Any) -> Callable[[], Any]:
        function, numbers = jax.grad(chain(jax.numpy, length)), jax.numpy.asarray(NUMBERS)
        return lambda: function(numbers).block_until_ready()

    def in_autograd(autograd: Any, autograd_numpy: Any) -> Callable[[], Any]:
        function = autograd.grad(chain(autograd_numpy, length))
        return lambda: function(NUMBERS)

    def in_torch(torch: Any, torch_func: Any) -> Callable[[], Any]:
        function, numbers = torch_func.grad(chain(torch, length)), torch.from_numpy(NUMBERS)
        return lambda: function(numbers)

    function = cotan.grad(chain(cnp, length))
    return {
        "cotan": lambda: function(NUMBERS),
        "JAX": contestant(in_jax, jax) if length <= LONGEST_FOR_JAX else TOO_SLOW,
        "autograd": contestant(in_autograd, autograd, autograd_numpy),
        "torch": contestant(in_torch, torch, torch_func),
    }


KINDS: dict[str, tuple[Callable[[int], dict[str, Contestant]], str]] = {
    "stage": (stagers, "8 us"),
    "stage(grad)": (stagers_of_gradients, ""),
    "grad, eager": (eager_gradients, ""),
}


def per_operation(cells: dict[str, Cell], length: int) -> dict[str, Cell]:
    """Times of whole chains as times of one operation."""
    return {name: cell / length if isinstance(cell, float) else cell for name, cell in cells.items()}


def table() -> Table:
    """Each kind at each length; that a kind's times per operation stay level is what linear means."""
    rows: list[Row] = []
    for kind, (contestants, target) in KINDS.items():
        of_kind: list[Row] = []
        for length in LENGTHS:
            cells = compare(contestants(length), seconds=1.0)
            of_kind.append(Row(f"{kind}, {length:,} operations", per_operation(cells, length), target))
        shortest, longest = (of_kind[index].cells["cotan"] for index in (1, -1))
        if isinstance(shortest, float) and isinstance(longest, float):
            of_kind[-1].target += f"{'; ' if target else ''}{longest / shortest:.2f}x of that at {LENGTHS[1]:,}"
        rows += of_kind
    return Table("staging", "time per operation of a chain", "us", rows)
